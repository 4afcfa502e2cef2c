//! Volumes: where they are in a source, what is on them, and what every file system provides.

mod error;
pub mod filesystem;

pub use error::Error;

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
