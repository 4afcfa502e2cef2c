//! How far a restorable file can be trusted, and why.

use std::fmt;

use undelfs_volume::filesystem::{File, FileFlags};

use crate::check::Remark;

/// How far the content can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// The content is the file's.
    Certain,
    /// Nothing speaks against the content.
    Likely,
    /// Some of the content is gone: clusters that are others' by now, which are declared, or something that the
    /// content itself shows.
    Partial,
    /// Nothing of the content is left.
    Lost,
}

impl Confidence {
    /// All values, the best first.
    pub const ALL: [Self; 4] = [Self::Certain, Self::Likely, Self::Partial, Self::Lost];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Partial => "partial",
            Self::Lost => "lost",
        }
    }
}

/// What happened to the clusters of a file since it was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Clusters that the allocation bitmap has in use now.
    pub(crate) in_use: u32,
    /// Clusters that existing files claim. Mostly the same, but for a bitmap that cannot be read or is out of date.
    pub(crate) live: u32,
    /// Clusters that another deleted file had later, as far as its own claim or a journal tells.
    pub(crate) claimed: u32,
    /// Clusters that a volume has taken that was made over this one.
    pub(crate) taken: u32,
    /// Another volume of which nothing more is known lies over some clusters.
    pub(crate) doubtful: bool,
}

/// The reason of a confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Exists,
    Directory,
    Empty,
    InRecord,
    Free,
    NoBitmap,
    Damaged,
    BeyondEnd,
    NoContent,
    Elsewhere,
    JournalOnly,
    OtherVolume,
    Overwritten { in_use: u32, claimed: u32, taken: u32, clusters: u64 },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("the file still exists"),
            Self::Directory => f.write_str("a directory has no content of its own"),
            Self::Empty => f.write_str("the file was empty"),
            Self::InRecord => f.write_str("the content is in the FILE record"),
            Self::Free => f.write_str("no cluster is in use or was another file's later"),
            Self::NoBitmap => f.write_str(
                "no other file that is known claims a cluster; $Bitmap cannot be read in full to make sure",
            ),
            Self::BeyondEnd => f.write_str("a part of the content lies beyond the end of the source"),
            Self::Damaged => f.write_str("a part of the file's description is missing or damaged"),
            Self::JournalOnly => {
                f.write_str("only a journal knows the name; no description of the content is left")
            }
            Self::Elsewhere => f.write_str(
                "the content is not in the file: it is a placeholder (cloud, other storage) or deduplicated; reading it says which",
            ),
            Self::NoContent => f.write_str("no description of the content is left"),
            Self::OtherVolume => f.write_str(
                "another volume lies over some of its clusters, and which of them that has written is not known",
            ),
            Self::Overwritten { in_use, claimed, taken, clusters } => {
                let parts = [
                    (*taken, "are those of a volume that was made over this one"),
                    (*in_use, "are in use by other files"),
                    (*claimed, "were those of files deleted later"),
                ];
                for (number, (count, what)) in parts.iter().filter(|(count, _)| *count > 0).enumerate() {
                    let and = if number > 0 { "; " } else { "" };
                    write!(f, "{and}{count} of {clusters} clusters {what}")?;
                }
                Ok(())
            }
        }
    }
}

/// How far a file can be trusted, and why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judgement {
    pub(crate) confidence: Confidence,
    reason: Reason,
    /// What its content was found to be, where it was looked at.
    pub(crate) remark: Option<Remark>,
}

impl Judgement {
    /// What the structures say, and what the content shows: the worse of both.
    pub(crate) fn new((confidence, reason): (Confidence, Reason), remark: Option<Remark>) -> Self {
        let at_best = remark.map_or(Confidence::Certain, |remark| remark.at_best());
        Self { confidence: confidence.max(at_best), reason, remark }
    }
}

/// The reason, a sentence.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        self.remark.map_or(Ok(()), |remark| write!(f, "; {remark}"))
    }
}

/// Judges a file by what the structures of the volume say.
pub(crate) fn judge(file: &File, damage: Damage, bitmap: bool) -> (Confidence, Reason) {
    let (in_use, claimed, taken) = (damage.in_use.max(damage.live), damage.claimed, damage.taken);
    let flags = file.flags;
    let whole = !flags.intersects(FileFlags::DAMAGED | FileFlags::BEYOND_END);
    if flags.contains(FileFlags::ELSEWHERE) {
        (Confidence::Lost, Reason::Elsewhere)
    } else if !flags.contains(FileFlags::REMOVED) && whole && taken == 0 && !damage.doubtful {
        (Confidence::Certain, Reason::Exists)
    } else if flags.contains(FileFlags::DIRECTORY) {
        (Confidence::Certain, Reason::Directory)
    } else if flags.contains(FileFlags::NO_CONTENT) {
        (Confidence::Lost, Reason::NoContent)
    } else if in_use > 0 || claimed > 0 || taken > 0 {
        let all = u64::from(in_use.max(claimed).max(taken)) >= file.clusters;
        let reason = Reason::Overwritten { in_use, claimed, taken, clusters: file.clusters };
        (if all { Confidence::Lost } else { Confidence::Partial }, reason)
    } else if flags.contains(FileFlags::BEYOND_END) {
        (Confidence::Partial, Reason::BeyondEnd)
    } else if flags.contains(FileFlags::DAMAGED) {
        (Confidence::Partial, Reason::Damaged)
    } else if damage.doubtful {
        (Confidence::Partial, Reason::OtherVolume)
    } else if file.clusters == 0 && flags.contains(FileFlags::RESIDENT) {
        (Confidence::Certain, if file.size == 0 { Reason::Empty } else { Reason::InRecord })
    } else if file.clusters == 0 && file.size == 0 {
        (Confidence::Certain, Reason::Empty)
    } else if bitmap {
        (Confidence::Likely, Reason::Free)
    } else {
        (Confidence::Likely, Reason::NoBitmap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undelfs_volume::filesystem::FileTime;

    fn file(flags: FileFlags, size: u64, clusters: u64) -> File {
        let time = FileTime(0);
        File {
            record: 40,
            generation: 1,
            flags: flags | FileFlags::REMOVED,
            attributes: 0,
            first_link: 0,
            size,
            clusters,
            created: time,
            modified: time,
            changed: time,
            accessed: time,
        }
    }

    fn damage(in_use: u32, claimed: u32) -> Damage {
        Damage { in_use, claimed, ..Damage::default() }
    }

    #[test]
    fn only_content_inside_the_record_is_certain() {
        let judged = |flags, size, clusters| judge(&file(flags, size, clusters), Damage::default(), true).0;
        assert_eq!(judged(FileFlags::RESIDENT, 100, 0), Confidence::Certain);
        assert_eq!(judged(FileFlags::empty(), 0, 0), Confidence::Certain);
        assert_eq!(judged(FileFlags::empty(), 8192, 2), Confidence::Likely);
        assert_eq!(judged(FileFlags::RESIDENT, 100, 2), Confidence::Likely);
        assert_eq!(judged(FileFlags::DAMAGED, 8192, 2), Confidence::Partial);
        assert_eq!(judged(FileFlags::NO_CONTENT, 0, 0), Confidence::Lost);
        assert_eq!(judged(FileFlags::ELSEWHERE, 100, 0), Confidence::Lost);
    }

    #[test]
    fn overwritten_clusters_make_it_partial_and_all_of_them_lost() {
        let f = file(FileFlags::empty(), 8192, 2);
        assert_eq!(judge(&f, damage(1, 0), true).0, Confidence::Partial);
        assert_eq!(judge(&f, damage(1, 1), true).0, Confidence::Partial);
        assert_eq!(judge(&f, damage(0, 2), true).0, Confidence::Lost);
        let (_, reason) = judge(&f, damage(1, 1), true);
        assert_eq!(
            reason.to_string(),
            "1 of 2 clusters are in use by other files; 1 of 2 clusters were those of files deleted later"
        );
    }
}
