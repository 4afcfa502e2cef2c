//! When files were deleted.

use std::fmt;

use undelfs_volume::filesystem::{File, FileFlags, FileTime};

use super::{Catalogue, placement::links_of};
use crate::report;

/// Between which times a file was deleted. One of them is known at least; where both are the same, that is the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedBetween {
    /// It still existed at this time.
    pub after: Option<FileTime>,
    /// It did not exist any more at this time.
    pub before: Option<FileTime>,
}

/// As `2026-01-02T03:04:05Z/2026-01-02T03:05:00Z`, with `..` for a time that is not known.
impl fmt::Display for DeletedBetween {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |time: Option<FileTime>| time.map_or("..".to_owned(), report::time);
        write!(f, "{}/{}", text(self.after), text(self.before))
    }
}

impl DeletedBetween {
    /// From two times of which zero is an unknown one. What ends before it begins has no known end.
    fn new(after: FileTime, before: FileTime) -> Option<Self> {
        let known = |time: FileTime| (time.0 > 0).then_some(time);
        let between = Self { after: known(after), before: known(before).filter(|before| *before >= after) };
        (between.after.is_some() || between.before.is_some()).then_some(between)
    }
}

impl Catalogue {
    /// When a file was deleted, as far as anything tells: a journal, or else the last change of its own description, which was
    /// before, and of the directories that it stood in, which change when it goes.
    pub(crate) fn deleted_between(&self, index: u32) -> Option<DeletedBetween> {
        let file = self.file(index).filter(|file| file.flags.contains(FileFlags::REMOVED))?;
        let told = self.deletions.binary_search_by_key(&index, |deletion| deletion.file).ok();
        let told = told.and_then(|at| self.deletions.get(at));
        let (after, before) = told.map_or_else(Default::default, |told| (told.after, told.before));
        if after.0 > 0 && after == before {
            return DeletedBetween::new(after, before);
        }
        let after = after.max(file.changed);
        let ended = [before, self.ended(index, file)].into_iter().filter(|time| time.0 > 0).min();
        DeletedBetween::new(after, ended.unwrap_or_default())
    }

    /// By when a file must have been gone; zero where that is unknown.
    fn ended(&self, index: u32, file: &File) -> FileTime {
        let formatted = self.table(file).map_or(FileTime(0), |table| table.formatted);
        if formatted.0 > 0 {
            return formatted;
        }
        // A name from elsewhere may have been taken away before the file was, and its directory not been changed since.
        let other_names = FileFlags::SLACK_NAME | FileFlags::USN_NAME | FileFlags::LOG_NAME;
        if file.flags.intersects(other_names | FileFlags::JOURNAL_ONLY) {
            return FileTime(0);
        }
        // Which of several names was the last to go is not known.
        let directories = links_of(&self.files, &self.links, index).map(|link| {
            let link = self.links.get(link as usize)?;
            let parent = self.file(self.find_record(link.parent)?)?;
            let flags = parent.flags;
            let is_parent = parent.generation == link.parent_generation
                && flags.contains(FileFlags::DIRECTORY)
                && !flags.contains(FileFlags::JOURNAL_ONLY);
            Some(parent.changed).filter(|_| is_parent)
        });
        directories
            .collect::<Option<Vec<_>>>()
            .and_then(|changed| changed.into_iter().max())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_bound_is_two_dots_and_a_bound_that_cannot_be_is_left_out() {
        let epoch = FileTime::UNIX_EPOCH;
        let later = FileTime(epoch.0 + 10_000_000);
        let text = |after, before| DeletedBetween::new(after, before).map(|between| between.to_string());
        assert_eq!(text(epoch, later).unwrap(), "1970-01-01T00:00:00Z/1970-01-01T00:00:01Z");
        assert_eq!(text(epoch, FileTime(0)).unwrap(), "1970-01-01T00:00:00Z/..");
        assert_eq!(text(FileTime(0), epoch).unwrap(), "../1970-01-01T00:00:00Z");
        assert_eq!(text(later, epoch).unwrap(), "1970-01-01T00:00:01Z/..");
        assert_eq!(text(FileTime(0), FileTime(0)), None);
    }
}
