//! What speaks for a volume.

use bitflags::bitflags;

use crate::FileSystemKind;

bitflags! {
    /// The structures that were found where the volume's geometry has them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Evidence: u8 {
        /// The boot sector, in the volume's first sector.
        const FIRST = 1;
        /// The backup boot sector.
        const BACKUP = 1 << 1;
        /// `$MFT`, or the first FAT.
        const TABLE = 1 << 2;
        /// `$MFTMirr`, or the second FAT.
        const MIRROR = 1 << 3;
        /// A sound metadata block of BitLocker.
        const METADATA = 1 << 4;
        /// Further sound metadata blocks of BitLocker.
        const MORE_METADATA = 1 << 5;
    }
}

/// How sure it is that a volume is, or was, where it seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// One structure alone says so.
    Possible,
    /// Two kinds of structures agree.
    Likely,
    /// Two copies of the one and one of the other agree.
    Certain,
}

impl std::fmt::Display for Certainty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        })
    }
}

impl Evidence {
    const BOOT_SECTORS: Self = Self::FIRST.union(Self::BACKUP);
    const TABLES: Self = Self::TABLE.union(Self::MIRROR);
    const BLOCKS: Self = Self::METADATA.union(Self::MORE_METADATA);

    /// What it makes sure of a volume of this kind.
    pub fn certainty(self, kind: FileSystemKind) -> Certainty {
        if kind == FileSystemKind::BitLocker {
            return match (self.intersects(Self::FIRST), self.intersection(Self::BLOCKS)) {
                (true, blocks) if !blocks.is_empty() => Certainty::Certain,
                (_, Self::BLOCKS) => Certainty::Certain,
                (_, blocks) if !blocks.is_empty() => Certainty::Likely,
                _ => Certainty::Possible,
            };
        }
        let both = self.contains(Self::BOOT_SECTORS) || self.contains(Self::TABLES);
        match (self.intersects(Self::BOOT_SECTORS), self.intersects(Self::TABLES)) {
            (true, true) if both => Certainty::Certain,
            (true, true) => Certainty::Likely,
            _ if both => Certainty::Likely,
            _ => Certainty::Possible,
        }
    }

    /// The structures by name, such as `both boot sectors, $MFT`.
    pub fn describe(self, kind: FileSystemKind) -> String {
        let ntfs = kind == FileSystemKind::Ntfs;
        let mut parts: Vec<&str> = Vec::new();
        match (self.contains(Self::FIRST), self.contains(Self::BACKUP)) {
            (true, true) => parts.push("both boot sectors"),
            (true, false) => parts.push("boot sector"),
            (false, true) => parts.push("backup boot sector"),
            (false, false) => {}
        }
        match (self.contains(Self::TABLE), self.contains(Self::MIRROR)) {
            (true, true) if !ntfs => parts.push("both FATs"),
            (table, mirror) => {
                parts.extend(table.then_some(if ntfs { "$MFT" } else { "FAT" }));
                parts.extend(mirror.then_some(if ntfs { "$MFTMirr" } else { "second FAT" }));
            }
        }
        match (self.contains(Self::METADATA), self.contains(Self::MORE_METADATA)) {
            (_, true) => parts.push("metadata blocks"),
            (true, false) => parts.push("metadata block"),
            (false, false) => {}
        }
        parts.join(", ")
    }

    /// By which of two readings of one sector is decided: `$MFT` says more than a copy of the sector, because copies
    /// can lie anywhere.
    pub(super) fn weight(self) -> u32 {
        let one = |flag: Self, weight: u32| if self.contains(flag) { weight } else { 0 };
        one(Self::TABLE, 2).saturating_add(one(Self::MIRROR, 1)).saturating_add(one(Self::BOOT_SECTORS, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_certain_when_copies_and_kinds_agree() {
        let ntfs = |evidence: Evidence| evidence.certainty(FileSystemKind::Ntfs);
        assert_eq!(ntfs(Evidence::all()), Certainty::Certain);
        assert_eq!(ntfs(Evidence::BOOT_SECTORS | Evidence::TABLE), Certainty::Certain);
        assert_eq!(ntfs(Evidence::BACKUP | Evidence::TABLE), Certainty::Likely);
        assert_eq!(ntfs(Evidence::BOOT_SECTORS), Certainty::Likely);
        assert_eq!(ntfs(Evidence::TABLES), Certainty::Likely);
        assert_eq!(ntfs(Evidence::TABLE), Certainty::Possible);
        assert_eq!(ntfs(Evidence::FIRST), Certainty::Possible);
        let bitlocker = |evidence: Evidence| evidence.certainty(FileSystemKind::BitLocker);
        assert_eq!(bitlocker(Evidence::FIRST), Certainty::Possible);
        assert_eq!(bitlocker(Evidence::METADATA), Certainty::Likely);
        assert_eq!(bitlocker(Evidence::BLOCKS), Certainty::Certain);
        assert_eq!(bitlocker(Evidence::FIRST | Evidence::METADATA), Certainty::Certain);
    }

    #[test]
    fn evidence_is_named_as_the_file_system_names_it() {
        let all = Evidence::BOOT_SECTORS | Evidence::TABLES;
        assert_eq!(all.describe(FileSystemKind::Ntfs), "both boot sectors, $MFT, $MFTMirr");
        assert_eq!(all.describe(FileSystemKind::Fat32), "both boot sectors, both FATs");
        assert_eq!(Evidence::BACKUP.describe(FileSystemKind::Ntfs), "backup boot sector");
        assert_eq!(Evidence::BLOCKS.describe(FileSystemKind::BitLocker), "metadata blocks");
    }
}
