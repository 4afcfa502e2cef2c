//! The command line: the one definition from which help, manual pages and completions come.

mod certsrv;
mod efs;
mod groups;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use undelfs_restore as restore;

use crate::platform::NOTICE;

pub(crate) use certsrv::{
    AuthorityArgs, CertsrvArgs, CertsrvBackupArgs, CertsrvCommand, CertsrvFormat, CertsrvListArgs,
    CertsrvRestoreArgs, CertsrvVerifyArgs, ListedName,
};
pub(crate) use efs::{EfsArgs, EfsCommand, EfsExportArgs, EfsImportArgs, EfsInfoArgs, EfsKeyArgs, EfsView};
pub(crate) use groups::{ContentArgs, KeyArgs, LostArgs, SelectionArgs, ViewArgs, VolumeArgs};

/// What the process ends with.
pub(crate) mod exit_code {
    /// Everything that was asked for is done.
    pub(crate) const DONE: u8 = 0;
    /// It could not be done.
    pub(crate) const FAILED: u8 = 1;
    /// What was asked for makes no sense.
    pub(crate) const USAGE: u8 = 2;
    /// Some files could not be restored in full.
    pub(crate) const PARTIAL: u8 = 4;
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a key is needed, 4 some files could not be restored in full.
Results go to standard output, everything else to standard error.
UNDELFS_LOG takes a tracing filter such as `undelfs_ntfs=debug` and replaces -v.";

/// Shows the deleted files of a disk or an image as ordinary read-only files.
///
/// Nothing is exported first and nothing is ever written to the source: a file is put together when somebody
/// reads it. A source is a raw image, the first of a set of split images (`.001`), or a block device.
#[derive(Debug, Parser)]
#[command(name = "undelfs", version, after_help = [EXIT_CODES, NOTICE].concat(), propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) chatter: Chatter,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Chatter {
    /// Say more; twice for details, three times for everything.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Say nothing but errors, and show no progress.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Mount(MountArgs),
    Umount(UmountArgs),
    Volumes(VolumesArgs),
    Scan(ScanArgs),
    Restore(RestoreArgs),
    Efs(EfsArgs),
    Certsrv(CertsrvArgs),
    Demo(DemoArgs),
    Generate(GenerateArgs),
}

/// Mount the tree of deleted files on a folder.
///
/// Returns when the tree is there; the files then stand at their old paths below MOUNTPOINT. Ends with
/// `undelfs umount`, `umount` or `fusermount3 -u`.
#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Image, first split image or block device.
    pub(crate) source: PathBuf,

    /// Existing folder to mount on.
    pub(crate) mountpoint: PathBuf,

    /// Stay in the foreground; Ctrl-C unmounts.
    #[arg(short, long)]
    pub(crate) foreground: bool,

    /// Let every user of this machine read the files, not only the one who mounts.
    #[arg(long)]
    pub(crate) allow_other: bool,

    /// Read past the page cache. Faster for one pass over large files, slower for everything read twice;
    /// a damaged sector then costs exactly its own bytes and not the page around it.
    #[arg(long)]
    pub(crate) direct_io: bool,

    #[command(flatten)]
    pub(crate) volume: VolumeArgs,

    #[command(flatten)]
    pub(crate) view: ViewArgs,

    #[command(flatten)]
    pub(crate) content: ContentArgs,

    /// How named streams are shown.
    #[arg(long, value_enum, default_value_t = Streams::Xattr)]
    pub(crate) streams: Streams,

    /// Instead of files, show each certification authority that is found, live or deleted, as a folder: its backup set in
    /// `DataBase`, its certificates in `Certificates`.
    #[arg(long, conflicts_with_all = ["view", "streams"])]
    pub(crate) certsrv: bool,
}

/// Unmount a tree that `undelfs mount` mounted, and wait until the source is free again.
#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// The folder it is mounted on.
    pub(crate) mountpoint: PathBuf,

    /// Detach the tree even while files are open; the source is free once they are closed.
    #[arg(short = 'z', long)]
    pub(crate) lazy: bool,
}

/// List the partitions of a source and what is on them.
///
/// With --lost also the volumes that no partition table names: what lay on the disk before it was partitioned anew or
/// formatted, and what is in image files. Each has a number that `--lost --volume N` of the other commands takes.
#[derive(Debug, Args)]
pub(crate) struct VolumesArgs {
    /// Image, first split image or block device.
    pub(crate) source: PathBuf,

    /// Form of the list.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,

    /// Also search each NTFS volume for shadow copies that were deleted. Reads all of it.
    #[arg(long)]
    pub(crate) deep: bool,

    #[command(flatten)]
    pub(crate) lost: LostArgs,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

/// List the restorable files.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Image, first split image or block device.
    pub(crate) source: PathBuf,

    /// Form of the list.
    #[arg(long, value_enum, default_value_t = ScanFormat::Table)]
    pub(crate) format: ScanFormat,

    /// Also look at the content of deleted files: whether it begins as the name promises, and whether the drive has
    /// discarded it. Reads the begin of each file.
    #[arg(long)]
    pub(crate) check: bool,

    #[command(flatten)]
    pub(crate) volume: VolumeArgs,

    #[command(flatten)]
    pub(crate) view: ViewArgs,
}

/// Copy files and whole folders out of a source without mounting it.
///
/// Each PATH is a path as the mounted tree has it; `/` is all of it. It goes under its own name into DEST, which
/// is made when it is missing. Times are kept, and hard links among the restored files stay hard links. A name that
/// DEST cannot have, because it is too long or taken by this restore, gets ` (record N)`; the manifest then has the
/// path in the tree too. Under sudo everything belongs to the user who called it.
/// What the medium cannot deliver is zeros in the copy and listed. DEST/undelfs-manifest.sha256 can be
/// checked with `sha256sum -c`; DEST/undelfs-manifest.jsonl says of each file in which state it is.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Image, first split image or block device.
    pub(crate) source: PathBuf,

    /// What to restore.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Folder to restore into; must not be on the source.
    #[arg(value_name = "DEST")]
    pub(crate) destination: PathBuf,

    /// Replace files that exist in DEST; without it they and their named streams are left as they are.
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) volume: VolumeArgs,

    #[command(flatten)]
    pub(crate) view: ViewArgs,

    #[command(flatten)]
    pub(crate) content: ContentArgs,

    /// What becomes of named streams. As extended attributes, those that DEST's file system does not take become
    /// files `name:stream` all the same, so that none is lost.
    #[arg(long, value_enum, default_value_t = Streams::Xattr)]
    pub(crate) streams: Streams,
}

/// Mount a small bundled image and say what to try.
///
/// Waits for Ctrl-C and then removes what it made. With --once, or when standard input is no terminal, it
/// mounts, lists, reads every file, unmounts and ends.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder to mount on; without it `undelfs-demo` here, or a temporary folder.
    pub(crate) mountpoint: Option<PathBuf>,

    /// Do not wait: mount, list, read, unmount.
    #[arg(long)]
    pub(crate) once: bool,
}

/// Print the manual page or a shell's completions.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What to print.
    #[arg(value_enum)]
    pub(crate) what: Generated,

    /// Write into this folder, under the usual names, instead of printing; `man` then makes one page for each
    /// command.
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViewName {
    /// Deleted files, and the folders that lead to them.
    Deleted,
    /// Files that still exist.
    Regular,
    /// Both.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverwrittenName {
    /// Zeros.
    Zeros,
    /// Whatever is there now, which belongs to other files.
    Raw,
    /// An input/output error.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Streams {
    /// As extended attributes `user.STREAM`, when small enough.
    Xattr,
    /// As files `name:stream` beside the file.
    Files,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Aligned columns.
    Table,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScanFormat {
    /// Aligned columns.
    Table,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// The body file that mactime of The Sleuth Kit reads.
    Bodyfile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generated {
    /// Manual page.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
    /// Completions for PowerShell.
    Powershell,
}

impl From<ViewName> for restore::View {
    fn from(name: ViewName) -> Self {
        match name {
            ViewName::Deleted => Self::Deleted,
            ViewName::Regular => Self::Regular,
            ViewName::All => Self::All,
        }
    }
}

impl From<OverwrittenName> for restore::Overwritten {
    fn from(name: OverwrittenName) -> Self {
        match name {
            OverwrittenName::Zeros => Self::Zeros,
            OverwrittenName::Raw => Self::Raw,
            OverwrittenName::Error => Self::Error,
        }
    }
}

impl From<ScanFormat> for restore::Format {
    fn from(format: ScanFormat) -> Self {
        match format {
            ScanFormat::Table => Self::Table,
            ScanFormat::Jsonl => Self::Jsonl,
            ScanFormat::Csv => Self::Csv,
            ScanFormat::Bodyfile => Self::Bodyfile,
        }
    }
}

/// What a restore context is opened with.
pub(crate) fn options(view: ViewArgs, content: ContentArgs, streams: Streams) -> restore::Options {
    restore::Options {
        view: view.view.into(),
        overwritten: content.overwritten.into(),
        streams_as_files: streams == Streams::Files,
        cache_bytes: content.cache_size,
        deep: view.deep,
        efs_raw: content.efs == EfsView::Raw,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_argument_that_is_shown_has_a_help_text() {
        let mut command = Cli::command();
        command.build();
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
            for arg in sub.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", sub.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn mount_shows_deleted_files_and_reads_overwritten_ranges_as_zeros_unless_told_otherwise() {
        let Command::Mount(args) = parse("undelfs mount disk.img /mnt").unwrap().command else { panic!() };
        assert_eq!(args.view.view, ViewName::Deleted);
        assert_eq!(args.content.overwritten, OverwrittenName::Zeros);
        assert_eq!(args.streams, Streams::Xattr);
        assert_eq!(args.content.cache_size, restore::Options::DEFAULT_CACHE);
        assert!(!args.foreground && !args.allow_other && !args.direct_io);
    }

    #[test]
    fn restore_takes_several_paths_and_the_last_one_is_the_destination() {
        let Command::Restore(args) = parse("undelfs restore disk.img a b/c out").unwrap().command else {
            panic!()
        };
        assert_eq!(args.paths, [PathBuf::from("a"), PathBuf::from("b/c")]);
        assert_eq!(args.destination, PathBuf::from("out"));
        assert!(parse("undelfs restore disk.img out").is_err());
    }

    #[test]
    fn a_volume_is_named_by_number_or_by_sector_but_not_by_both() {
        assert!(parse("undelfs scan disk.img --volume 2").is_ok());
        assert!(parse("undelfs scan disk.img --start-sector 2048 --boot-sector 4095").is_ok());
        assert!(parse("undelfs scan disk.img --volume 2 --start-sector 2048").is_err());
    }

    #[test]
    fn wrong_usage_ends_with_exit_code_2() {
        for line in ["undelfs", "undelfs mount", "undelfs scan x --format xml", "undelfs -q -v scan x"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), i32::from(exit_code::USAGE), "{line}");
        }
    }

    #[test]
    fn verbosity_can_stand_before_and_after_the_command() {
        assert_eq!(parse("undelfs -vv scan x").unwrap().chatter.verbose, 2);
        assert_eq!(parse("undelfs scan x -vv").unwrap().chatter.verbose, 2);
    }
}
