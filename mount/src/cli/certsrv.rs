//! The part of the command line that is about certification authorities.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::VolumeArgs;

/// Certification authorities (Active Directory Certificate Services): their databases, backup sets and restores.
///
/// A source is an image or a device, on whose volumes certification authorities are found, live or deleted, by the registry, in
/// their default folder and by the content of every file; a folder with the files of one; a backup set; or a database.
#[derive(Debug, Args)]
pub(crate) struct CertsrvArgs {
    #[command(subcommand)]
    pub(crate) command: CertsrvCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertsrvCommand {
    List(CertsrvListArgs),
    Verify(CertsrvVerifyArgs),
    Backup(CertsrvBackupArgs),
    Restore(CertsrvRestoreArgs),
}

/// Which certification authority of which source.
#[derive(Debug, Args)]
pub(crate) struct AuthorityArgs {
    /// Image, first split image, block device, folder, backup set or database.
    pub(crate) source: PathBuf,

    /// Only the certification authority of this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) ca: Option<String>,

    /// Also search the whole volume for what its file table does not tell.
    #[arg(long)]
    pub(crate) deep: bool,

    #[command(flatten)]
    pub(crate) volume: VolumeArgs,
}

/// List issued, revoked and pending certificates, and the lists of revoked ones.
#[derive(Debug, Args)]
pub(crate) struct CertsrvListArgs {
    #[command(flatten)]
    pub(crate) authority: AuthorityArgs,

    /// What to list.
    #[arg(long, value_enum, default_value_t = ListedName::All)]
    pub(crate) only: ListedName,

    /// Instead, the records of a table of the database as they are: Certificates, Requests, RequestAttributes,
    /// CertificateExtensions, CRLs.
    #[arg(long, value_name = "NAME", conflicts_with = "only")]
    pub(crate) table: Option<String>,

    /// Form of the list.
    #[arg(long, value_enum, default_value_t = CertsrvFormat::Csv)]
    pub(crate) format: CertsrvFormat,
}

/// Check whether a certification authority's files, or a backup set, can be restored, and say what is missing.
///
/// Reads every page of the database. Exit code 0 says that they can be restored, 1 that they cannot.
#[derive(Debug, Args)]
pub(crate) struct CertsrvVerifyArgs {
    #[command(flatten)]
    pub(crate) authority: AuthorityArgs,
}

/// Write a backup set, laid out as `certutil -backupdb` does.
///
/// DEST/DataBase gets the database, its logs and certbkxp.dat. The private key of a certification authority is no part of its
/// database, nor of a set.
#[derive(Debug, Args)]
pub(crate) struct CertsrvBackupArgs {
    #[command(flatten)]
    pub(crate) authority: AuthorityArgs,

    /// Folder to write the set into; must not be on the source.
    #[arg(value_name = "DEST")]
    pub(crate) destination: PathBuf,

    /// The logs only, to be restored after a full set.
    #[arg(long)]
    pub(crate) incremental: bool,
}

/// Check a backup set and put its files where a certification authority takes them from.
///
/// Ends in the same state however often it is interrupted: begin it again with the same arguments.
#[derive(Debug, Args)]
pub(crate) struct CertsrvRestoreArgs {
    /// The full backup set.
    pub(crate) set: PathBuf,

    /// Folder for the database.
    #[arg(value_name = "DEST")]
    pub(crate) destination: PathBuf,

    /// Folder for the logs, where that is another one.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) logs: Option<PathBuf>,

    /// A set of logs only that was made after the full one. May be given several times.
    #[arg(long, value_name = "SET")]
    pub(crate) incremental: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListedName {
    /// Certificates and requests, whatever became of them, and lists of revoked certificates.
    All,
    /// Issued certificates that were not revoked.
    Issued,
    /// Revoked certificates.
    Revoked,
    /// Requests that somebody must decide on.
    Pending,
    /// Requests that failed or were denied.
    Failed,
    /// Lists of revoked certificates.
    Crls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CertsrvFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}
