use std::{io, path::PathBuf};

use crate::{
    ErrorKind,
    platform::{DEVICE_ADVICE, DIRECTORY_ADVICE, FILE_ADVICE, RELEASE_ADVICE},
};

/// Why a source could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such file.
    #[error("{} does not exist; check the name of the image or device", path.display())]
    NotFound {
        /// What the user named.
        path: PathBuf,
    },
    /// The file may not be read.
    #[error(
        "no permission to read {}; {}", path.display(), if *device { DEVICE_ADVICE } else { FILE_ADVICE }
    )]
    PermissionDenied {
        /// What could not be read.
        path: PathBuf,
        /// Whether it is a block device.
        device: bool,
    },
    /// A directory was named.
    #[error("{} is a directory; {DIRECTORY_ADVICE}", path.display())]
    Directory {
        /// What the user named.
        path: PathBuf,
    },
    /// Neither a regular file nor a block device.
    #[error("{} is a {what} and cannot be read at any offset; name a disk image or a block device", path.display())]
    NotSeekable {
        /// What the user named.
        path: PathBuf,
        /// What it is, as the field calls it.
        what: &'static str,
    },
    /// Nothing is in it.
    #[error(
        "{} is empty (0 bytes); {}", path.display(),
        if *device { "insert the medium, or attach the loop device to an image" }
        else { "check that the image was copied in full" }
    )]
    Empty {
        /// What has no bytes.
        path: PathBuf,
        /// Whether it is a block device.
        device: bool,
    },
    /// Another program holds an exclusive lock on an image file.
    #[error("{} is locked by another program that may be writing to it; end that program and try again", path.display())]
    Locked {
        /// The locked file.
        path: PathBuf,
    },
    /// The device, or a device that shares its sectors, is mounted read-write.
    #[error(
        "{} cannot be opened: {} is mounted read-write on {}, and writes would destroy what is to be recovered; \
         run `umount {}` or `mount -o remount,ro {}` first",
        path.display(), device.display(), mount_point.display(), mount_point.display(), mount_point.display()
    )]
    Mounted {
        /// What the user named.
        path: PathBuf,
        /// The device that is mounted: the one named, one of its partitions, or the disk that it is a part of.
        device: PathBuf,
        /// Where it is mounted.
        mount_point: PathBuf,
    },
    /// The device is held by something that is no mount.
    #[error(
        "{} is in use by {}; {RELEASE_ADVICE} and try again",
        path.display(),
        if holders.is_empty() { "another program".to_owned() } else { holders.join(", ") }
    )]
    InUse {
        /// What the user named.
        path: PathBuf,
        /// Names of the devices built on it.
        holders: Vec<String>,
    },
    /// A set of split files has a hole.
    #[error(
        "{} is missing, but {} exists; put all parts of the split image into one folder",
        missing.display(), present.display()
    )]
    MissingPart {
        /// The part that is not there.
        missing: PathBuf,
        /// A part that is.
        present: PathBuf,
    },
    /// So many split files that the process may not open them all.
    #[error(
        "{} is one of {parts} split files, more than a process may open here; raise the limit with `ulimit -n {}`, \
         or join the parts with `cat`",
        path.display(), parts.saturating_add(256)
    )]
    TooManyParts {
        /// The part that could not be opened.
        path: PathBuf,
        /// Number of parts.
        parts: usize,
    },
    /// The system refused for another reason.
    #[error("cannot open {}: {error}; check the path and that the device is connected", path.display())]
    Io {
        /// What could not be opened.
        path: PathBuf,
        /// The system's own error.
        error: io::Error,
    },
}

impl OpenError {
    /// What the error means to the outside.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::MissingPart { .. } => ErrorKind::NotFound,
            Self::PermissionDenied { .. } => ErrorKind::PermissionDenied,
            Self::Directory { .. } => ErrorKind::IsDirectory,
            Self::NotSeekable { .. } | Self::TooManyParts { .. } => ErrorKind::Unsupported,
            Self::Empty { .. } => ErrorKind::Damaged,
            Self::Locked { .. } | Self::Mounted { .. } | Self::InUse { .. } => ErrorKind::Busy,
            Self::Io { error, .. } => error.kind().into(),
        }
    }
}
