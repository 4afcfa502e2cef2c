//! Inode numbers, the same in every mount of the same source.

use std::fmt;

/// The number of something in the mount.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode(pub u64);

/// What an inode number stands for. Volumes count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    /// The directory of the volumes, where there are several.
    Top,
    /// The root of a volume.
    Root { volume: u32 },
    /// A file by its record.
    File { volume: u32, record: u32 },
    /// A named stream shown as a file: its number among the file's streams.
    Stream { volume: u32, record: u32, stream: u16 },
    /// `$Orphans` (1) or `$Orphans/unnamed` (2).
    Made { volume: u32, number: u32 },
    /// The group of a lost directory.
    Lost { volume: u32, record: u32, generation: u16 },
    /// `.undelfs` (0), or one of the files in it, from 1.
    Control { volume: u32, number: u16 },
    /// The raw backup stream of an encrypted file that is shown as it is.
    Raw { volume: u32, record: u32 },
    /// A folder that stands on no volume (0), or one of the files in it, from 1.
    Shown { folder: u16, file: u32 },
}

// From the top: 12 bits volume, 4 bits kind, 48 bits that the kind says.
const VOLUME_SHIFT: u32 = 52;
const KIND_SHIFT: u32 = 48;
const VALUE: u64 = (1 << KIND_SHIFT) - 1;

impl Inode {
    /// The root of the mount.
    pub const ROOT: Self = Self(1);

    pub(crate) fn of(id: Id) -> Self {
        let (volume, kind, value) = match id {
            Id::Top => return Self::ROOT,
            Id::Root { volume } => (volume, 0, 0),
            Id::File { volume, record } => (volume, 1, u64::from(record)),
            Id::Stream { volume, record, stream } => (volume, 2, u64::from(record) << 16 | u64::from(stream)),
            Id::Made { volume, number } => (volume, 3, u64::from(number)),
            Id::Lost { volume, record, generation } => {
                (volume, 4, u64::from(record) << 16 | u64::from(generation))
            }
            Id::Control { volume, number } => (volume, 5, u64::from(number)),
            Id::Raw { volume, record } => (volume, 6, u64::from(record)),
            Id::Shown { folder, file } => (0, 7, u64::from(folder) << 32 | u64::from(file)),
        };
        Self(u64::from(volume & 0xFFF) << VOLUME_SHIFT | kind << KIND_SHIFT | value)
    }

    pub(crate) fn id(self) -> Option<Id> {
        let volume = (self.0 >> VOLUME_SHIFT) as u32;
        let value = self.0 & VALUE;
        let (record, low) = ((value >> 16) as u32, value as u16);
        if self == Self::ROOT {
            return Some(Id::Top);
        }
        Some(match self.0 >> KIND_SHIFT & 0xF {
            0 if value == 0 && volume > 0 => Id::Root { volume },
            1 => Id::File { volume, record: u32::try_from(value).ok()? },
            2 => Id::Stream { volume, record, stream: low },
            3 => Id::Made { volume, number: u32::try_from(value).ok()? },
            4 => Id::Lost { volume, record, generation: low },
            5 => Id::Control { volume, number: low },
            6 => Id::Raw { volume, record: u32::try_from(value).ok()? },
            7 if volume == 0 => Id::Shown { folder: (value >> 32) as u16, file: value as u32 },
            _ => return None,
        })
    }
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => id.fmt(f),
            None => write!(f, "Inode({:#x})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inode_comes_back_as_what_it_stands_for() {
        let all = [
            Id::Top,
            Id::Root { volume: 1 },
            Id::File { volume: 4095, record: u32::MAX },
            Id::Stream { volume: 2, record: u32::MAX, stream: u16::MAX },
            Id::Made { volume: 1, number: 2 },
            Id::Lost { volume: 1, record: u32::MAX, generation: u16::MAX },
            Id::Control { volume: 1, number: 5 },
            Id::Raw { volume: 4095, record: u32::MAX },
            Id::Shown { folder: u16::MAX, file: u32::MAX },
        ];
        for id in all {
            assert_eq!(Inode::of(id).id(), Some(id));
        }
        assert_eq!(Inode(0).id(), None);
        assert_eq!(Inode(u64::MAX).id(), None);
    }
}
