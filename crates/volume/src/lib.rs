//! Volumes: where they are in a source, what is on them, and what every file system provides.

pub mod boot_sector;
mod disk;
mod error;
mod extent;
pub mod filesystem;
mod gpt;
mod guid;
mod lost;
mod mbr;
mod notes;
mod partition;
pub mod search;

pub use boot_sector::BootSector;
pub use disk::{Disk, Table, Volume};
pub use error::Error;
pub use extent::Extent;
pub use guid::Guid;
pub use lost::lost_volume;

/// What a volume holds, as its first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileSystemKind {
    /// NTFS.
    Ntfs,
    /// FAT with 12-bit entries.
    Fat12,
    /// FAT with 16-bit entries.
    Fat16,
    /// FAT with 32-bit entries.
    Fat32,
    /// exFAT.
    ExFat,
    /// ReFS.
    ReFs,
    /// A BitLocker volume; what is in it shows with a key.
    BitLocker,
    /// Nothing that is known.
    Unknown,
}

impl std::fmt::Display for FileSystemKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ntfs => "NTFS",
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
            Self::ExFat => "exFAT",
            Self::ReFs => "ReFS",
            Self::BitLocker => "BitLocker",
            Self::Unknown => "unknown",
        })
    }
}
