//! The part of the command line that is about files that EFS has encrypted.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::VolumeArgs;

/// Files that EFS has encrypted: who can decrypt them, and their raw backup streams.
#[derive(Debug, Args)]
pub(crate) struct EfsArgs {
    #[command(subcommand)]
    pub(crate) command: EfsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EfsCommand {
    Info(EfsInfoArgs),
    Export(EfsExportArgs),
    Import(EfsImportArgs),
}

/// Say who can decrypt a file, and whether one of the keys that are given does.
#[derive(Debug, Args)]
pub(crate) struct EfsInfoArgs {
    /// Image, first split image or block device; or a raw backup stream.
    pub(crate) source: PathBuf,

    /// Encrypted files, by their paths in the mounted tree; none of a raw backup stream.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) volume: VolumeArgs,
}

/// Write the raw backup stream of an encrypted file, which needs no key.
///
/// It is what `ReadEncryptedFileRaw` gives on Windows, and holds all streams of the file and who can decrypt them. What
/// other files have overwritten is zeros once it is decrypted.
#[derive(Debug, Args)]
pub(crate) struct EfsExportArgs {
    /// Image, first split image or block device.
    pub(crate) source: PathBuf,

    /// The encrypted file, by its path in the mounted tree.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,

    /// File to write; `-` is standard output.
    pub(crate) file: PathBuf,

    /// Replace FILE where it exists.
    #[arg(long)]
    pub(crate) force: bool,

    /// Leave out named streams.
    #[arg(long)]
    pub(crate) drop_streams: bool,

    #[command(flatten)]
    pub(crate) volume: VolumeArgs,
}

/// Make a file of a raw backup stream.
///
/// With a key that fits it is decrypted. Without, FILE becomes an encrypted file again, which only NTFS can hold: mount it
/// with `ntfs-3g -o efs_raw`.
#[derive(Debug, Args)]
pub(crate) struct EfsImportArgs {
    /// The raw backup stream; `-` is standard input.
    pub(crate) raw: PathBuf,

    /// File to make.
    pub(crate) file: PathBuf,

    /// Replace FILE where it exists.
    #[arg(long)]
    pub(crate) force: bool,

    /// Leave out named streams, which otherwise become `FILE:STREAM`.
    #[arg(long)]
    pub(crate) drop_streams: bool,

    /// Make an encrypted file though a key is given: what is not stored because it is zeros becomes encrypted zeros.
    #[arg(long, requires = "efs_key")]
    pub(crate) keep_encrypted: bool,

    /// FILE is a directory, as the raw backup stream is that of one. It may exist.
    #[arg(long)]
    pub(crate) directory: bool,

    #[command(flatten)]
    pub(crate) keys: EfsKeyArgs,
}

/// What decrypts single files.
///
/// A file is plain text where one of the keys fits; without one, reading it fails. A terminal is asked for the passwords
/// that are missing.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Keys of encrypted files (EFS)")]
pub(crate) struct EfsKeyArgs {
    /// A file with the private key of a user or recovery agent: .pfx, PEM or DER. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) efs_key: Vec<PathBuf>,

    /// The password of a key file.
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) efs_key_password: Vec<String>,

    /// A file with the password of a key file in its first line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) efs_key_password_file: Vec<PathBuf>,

    /// An open file descriptor from which the password of a key file is read.
    #[arg(long, value_name = "N")]
    pub(crate) efs_key_password_fd: Vec<u32>,
}

/// Passwords stand in it.
impl std::fmt::Debug for EfsKeyArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EfsKeyArgs").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EfsView {
    /// As plain text, where a key fits.
    Plain,
    /// As raw backup streams, `NAME.efsraw`, which need no key.
    Raw,
}
