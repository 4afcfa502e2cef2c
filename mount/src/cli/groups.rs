//! Groups of arguments that several commands take.

use std::path::PathBuf;

use clap::Args;
use undelfs_restore as restore;

use super::{EfsKeyArgs, EfsView, OverwrittenName, ViewName};

/// Which volume, and what unlocks it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VolumeArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

/// Which volume of the source.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which volume")]
pub(crate) struct SelectionArgs {
    /// Only this volume, by its number in `undelfs volumes`.
    #[arg(long, value_name = "N", conflicts_with_all = ["start_sector", "boot_sector"])]
    pub(crate) volume: Option<u32>,

    /// The volume that starts at this sector, whatever the partition table says.
    #[arg(long, value_name = "N", conflicts_with = "lost")]
    pub(crate) start_sector: Option<u64>,

    /// The sector with the volume's boot sector, which is its first or its last one.
    #[arg(long, value_name = "N", conflicts_with = "lost")]
    pub(crate) boot_sector: Option<u64>,

    /// Instead of the volume itself, its shadow copy with this number in `undelfs volumes`: the files that were deleted
    /// when it was made, with --view regular those that existed then.
    #[arg(long, value_name = "N")]
    pub(crate) snapshot: Option<u32>,

    #[command(flatten)]
    pub(crate) lost: LostArgs,
}

impl SelectionArgs {
    /// What is asked for, but for what a search has to find first.
    pub(crate) fn selection(&self) -> restore::Selection {
        restore::Selection {
            volume: self.volume,
            start_sector: self.start_sector,
            boot_sector: self.boot_sector,
            snapshot: self.snapshot,
            lost: Vec::new(),
        }
    }
}

/// Volumes that no partition table names.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LostArgs {
    /// Also the volumes that no partition table names. The whole source is read for it, once where --catalogue keeps
    /// what is found.
    #[arg(long)]
    pub(crate) lost: bool,

    /// Keep what the search for lost volumes finds in FILE. The next run on the same source goes on where this one
    /// ended, however it ended, and takes a finished search from there.
    #[arg(long, value_name = "FILE", requires = "lost")]
    pub(crate) catalogue: Option<PathBuf>,
}

/// What unlocks encrypted volumes.
///
/// Each may be given several times; every volume takes what fits. A secret on the command line is moved out of the
/// process list at once; a file or a descriptor never shows it there. Without any key a terminal is asked.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Keys of encrypted volumes")]
pub(crate) struct KeyArgs {
    /// A BitLocker password.
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) password: Vec<String>,

    /// A file with a BitLocker password in its first line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Vec<PathBuf>,

    /// An open file descriptor from which a BitLocker password is read.
    #[arg(long, value_name = "N")]
    pub(crate) password_fd: Vec<u32>,

    /// A BitLocker recovery password: 48 digits in 8 groups.
    #[arg(long, value_name = "DIGITS")]
    pub(crate) recovery_password: Vec<String>,

    /// A file with a BitLocker recovery password in its first line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) recovery_password_file: Vec<PathBuf>,

    /// An open file descriptor from which a BitLocker recovery password is read.
    #[arg(long, value_name = "N")]
    pub(crate) recovery_password_fd: Vec<u32>,

    /// A BitLocker startup key file.
    #[arg(long, value_name = "FILE.BEK")]
    pub(crate) bek: Vec<PathBuf>,

    /// A BitLocker key package, for a volume whose own metadata are destroyed; needs the recovery password too.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_package: Vec<PathBuf>,

    /// A file with the volume master key: 32 bytes, or 64 hexadecimal digits.
    #[arg(long, value_name = "FILE")]
    pub(crate) vmk: Vec<PathBuf>,

    /// A file with the full volume encryption key: 16, 32 or 64 bytes or as many hexadecimal digits, or dislocker's
    /// file of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) fvek: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) efs: EfsKeyArgs,
}

impl KeyArgs {
    /// True where no key was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.password.is_empty()
            && self.password_file.is_empty()
            && self.password_fd.is_empty()
            && self.recovery_password.is_empty()
            && self.recovery_password_file.is_empty()
            && self.recovery_password_fd.is_empty()
            && [&self.bek, &self.key_package, &self.vmk, &self.fvek].iter().all(|files| files.is_empty())
    }
}

/// Passwords stand in it.
impl std::fmt::Debug for KeyArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyArgs").finish_non_exhaustive()
    }
}

/// Which files.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Which files")]
pub(crate) struct ViewArgs {
    /// Which files are shown.
    #[arg(long, value_enum, default_value_t = ViewName::Deleted)]
    pub(crate) view: ViewName,

    /// Also search the whole volume for what its file table does not tell: files from before it was formatted, and a
    /// table whose own description is lost. Reads all of the volume once.
    #[arg(long)]
    pub(crate) deep: bool,
}

/// How content is read.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Content")]
pub(crate) struct ContentArgs {
    /// What is read where other files have overwritten a deleted one.
    #[arg(long, value_enum, default_value_t = OverwrittenName::Zeros)]
    pub(crate) overwritten: OverwrittenName,

    /// Memory for decompressed blocks, in bytes or with K, M, G (powers of 1024).
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_CACHE, value_parser = parse_size)]
    pub(crate) cache_size: u64,

    /// How files are shown that EFS has encrypted.
    #[arg(long, value_enum, default_value_t = EfsView::Plain)]
    pub(crate) efs: EfsView,
}

/// [`restore::Options::DEFAULT_CACHE`], as it is written.
const DEFAULT_CACHE: &str = "64M";

/// A number of bytes such as `4096`, `64K` or `64MiB`: suffixes are powers of 1024.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write bytes, or a number with K, M or G, such as 64M");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase();
    let shift = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_and_nonsense_is_refused() {
        for (text, size) in [("0", 0), ("4096", 4096), ("64k", 65536), ("1M", 1 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "12X", "99999999999T", "1 M"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
