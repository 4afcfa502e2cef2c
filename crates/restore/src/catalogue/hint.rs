//! Whether a deep search would find more.

use undelfs_volume::filesystem::{File, FileTime};

use super::Catalogue;
use crate::report;

/// A volume that was formatted not longer ago than this, seen from the last change on it, was formatted lately: 30 days.
const LATELY: u64 = 30 * 24 * 60 * 60 * 10_000_000;

impl Catalogue {
    /// Why a deep search may find files that this scan did not, as a sentence; `None` where nothing speaks for it.
    pub fn deep_would_help(&self) -> Option<String> {
        const ADVICE: &str = "--deep searches all of it for files";
        if self.facts().incomplete || self.missing > 0 {
            return Some(format!("the description of the volume is not whole; {ADVICE}"));
        }
        let formatted = self.facts().formatted;
        if is_lately(formatted, &self.files) {
            let day = report::time(formatted);
            let day = day.split('T').next().unwrap_or(&day);
            return Some(format!("the volume was formatted on {day}; if there were files before, {ADVICE}"));
        }
        self.is_empty().then(|| format!("if the volume was formatted or damaged, {ADVICE}"))
    }
}

/// Whether a volume on which these files are was formatted lately when it was last changed.
fn is_lately(formatted: FileTime, files: &[File]) -> bool {
    let last = files.iter().map(|file| file.changed).max().unwrap_or(formatted);
    formatted > FileTime(0) && last.0.saturating_sub(formatted.0) <= LATELY
}

#[cfg(test)]
mod tests {
    use undelfs_volume::filesystem::FileFlags;

    use super::*;

    fn file(changed: u64) -> File {
        let time = FileTime(0);
        File {
            record: 40,
            generation: 1,
            flags: FileFlags::empty(),
            attributes: 0,
            first_link: 0,
            size: 0,
            clusters: 0,
            created: time,
            modified: time,
            changed: FileTime(changed),
            accessed: time,
        }
    }

    #[test]
    fn a_volume_was_formatted_lately_as_seen_from_its_last_change() {
        let formatted = FileTime::UNIX_EPOCH;
        assert!(is_lately(formatted, &[]));
        assert!(is_lately(formatted, &[file(1), file(formatted.0 + LATELY)]));
        assert!(!is_lately(formatted, &[file(formatted.0 + LATELY + 1), file(1)]));
        assert!(!is_lately(FileTime(0), &[]), "nothing tells when it was");
    }
}
