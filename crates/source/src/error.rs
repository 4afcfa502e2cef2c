use std::io;

/// What an error means to the outside, whatever layer it came from.
///
/// This is the one place where an error gets its number: [`errno`](ErrorKind::errno) for FUSE,
/// [`ntstatus`](ErrorKind::ntstatus) for WinFsp, [`win32`](ErrorKind::win32) for the C library and
/// [`exit_code`](ErrorKind::exit_code) for the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The medium could not deliver the bytes, or a structure that is needed to find them is damaged.
    Damaged,
    /// There is no such file, volume or stream.
    NotFound,
    /// The caller may not open it.
    PermissionDenied,
    /// Content is encrypted and no fitting key has been given.
    KeyNeeded,
    /// What an encrypted file was to be made of is no raw backup stream.
    NotExportFormat,
    /// An encrypted file was asked for, and it is not encrypted.
    NotEncrypted,
    /// The metadata of an encrypted file have a version that cannot be read.
    EfsVersion,
    /// Somebody else holds it.
    Busy,
    /// It is sound, but this program cannot read it.
    Unsupported,
    /// What was asked for makes no sense.
    InvalidInput,
    /// A directory was asked for content.
    IsDirectory,
    /// Something that is no directory was asked for entries.
    NotDirectory,
    /// A write was asked for.
    ReadOnly,
    /// The work was cancelled.
    Cancelled,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The Linux errno.
    pub fn errno(self) -> i32 {
        match self {
            Self::Damaged | Self::Other => 5,                 // EIO
            Self::NotFound => 2,                              // ENOENT
            Self::PermissionDenied | Self::KeyNeeded => 13,   // EACCES
            Self::Busy => 16,                                 // EBUSY
            Self::Unsupported | Self::EfsVersion => 95,       // EOPNOTSUPP
            Self::InvalidInput => 22,                         // EINVAL
            Self::NotExportFormat | Self::NotEncrypted => 22, // EINVAL
            Self::IsDirectory => 21,                          // EISDIR
            Self::NotDirectory => 20,                         // ENOTDIR
            Self::ReadOnly => 30,                             // EROFS
            Self::Cancelled => 4,                             // EINTR
        }
    }

    /// The NTSTATUS, from MS-ERREF 2.3.1.
    pub fn ntstatus(self) -> u32 {
        match self {
            Self::Damaged => 0xC000_0032,          // STATUS_DISK_CORRUPT_ERROR
            Self::NotFound => 0xC000_0034,         // STATUS_OBJECT_NAME_NOT_FOUND
            Self::PermissionDenied => 0xC000_0022, // STATUS_ACCESS_DENIED
            Self::KeyNeeded => 0xC000_0022,        // STATUS_ACCESS_DENIED
            Self::NotExportFormat => 0xC000_0292,  // STATUS_NOT_EXPORT_FORMAT
            Self::NotEncrypted => 0xC000_0291,     // STATUS_FILE_NOT_ENCRYPTED
            Self::Busy => 0xC000_0043,             // STATUS_SHARING_VIOLATION
            Self::Unsupported => 0xC000_00BB,      // STATUS_NOT_SUPPORTED
            Self::EfsVersion => 0xC000_00BB,       // STATUS_NOT_SUPPORTED
            Self::InvalidInput => 0xC000_000D,     // STATUS_INVALID_PARAMETER
            Self::IsDirectory => 0xC000_00BA,      // STATUS_FILE_IS_A_DIRECTORY
            Self::NotDirectory => 0xC000_0103,     // STATUS_NOT_A_DIRECTORY
            Self::ReadOnly => 0xC000_00A2,         // STATUS_MEDIA_WRITE_PROTECTED
            Self::Cancelled => 0xC000_0120,        // STATUS_CANCELLED
            Self::Other => 0xC000_00E9,            // STATUS_UNEXPECTED_IO_ERROR
        }
    }

    /// The Win32 error code, from MS-ERREF 2.2.
    pub fn win32(self) -> u32 {
        match self {
            Self::Damaged => 1392,                         // ERROR_FILE_CORRUPT
            Self::NotFound => 2,                           // ERROR_FILE_NOT_FOUND
            Self::PermissionDenied | Self::KeyNeeded => 5, // ERROR_ACCESS_DENIED
            Self::NotExportFormat => 6008,                 // ERROR_NOT_EXPORT_FORMAT
            Self::NotEncrypted => 6007,                    // ERROR_FILE_NOT_ENCRYPTED
            Self::Busy => 32,                              // ERROR_SHARING_VIOLATION
            Self::Unsupported => 50,                       // ERROR_NOT_SUPPORTED
            Self::EfsVersion => 6016,                      // ERROR_EFS_VERSION_NOT_SUPPORT
            Self::InvalidInput | Self::IsDirectory => 87,  // ERROR_INVALID_PARAMETER
            Self::NotDirectory => 267,                     // ERROR_DIRECTORY
            Self::ReadOnly => 19,                          // ERROR_WRITE_PROTECT
            Self::Cancelled => 1223,                       // ERROR_CANCELLED
            Self::Other => 1117,                           // ERROR_IO_DEVICE
        }
    }

    /// The exit code of the program when this error ends it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InvalidInput => 2,
            Self::KeyNeeded => 3,
            _ => 1,
        }
    }
}

impl From<io::ErrorKind> for ErrorKind {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => Self::Busy,
            io::ErrorKind::Unsupported => Self::Unsupported,
            io::ErrorKind::IsADirectory => Self::IsDirectory,
            io::ErrorKind::Interrupted => Self::Cancelled,
            _ => Self::Other,
        }
    }
}

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The medium reported an error for bytes inside `offset..offset + len`.
    #[error(
        "cannot read {len} bytes at byte {offset} of {what}: {error}; the medium is damaged there, copy it with ddrescue and mount the copy"
    )]
    Medium {
        /// What was being read, as the user named it.
        what: String,
        /// First byte of the request that failed, in `what`.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// The system's own error.
        error: io::Error,
    },
    /// The source ends before the bytes asked for.
    #[error(
        "{len} bytes at byte {offset} reach past the end, which is at byte {size}; the image is cut short"
    )]
    PastEnd {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Where the data end.
        size: u64,
    },
    /// Stored bytes could not be turned into content: decompressed, decrypted or decoded.
    #[error("cannot decode {len} bytes at byte {offset}: {reason}")]
    Decode {
        /// First byte of the unit, in the decoded stream.
        offset: u64,
        /// Size of the unit in bytes.
        len: u64,
        /// What was expected and what was found.
        reason: String,
    },
    /// The bytes cannot be given for a reason that is not the medium's.
    #[error("{reason}")]
    Refused {
        /// What kind of reason.
        kind: ErrorKind,
        /// The reason, and what the user can do.
        reason: String,
    },
}

impl ReadError {
    /// What the error means to the outside.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Medium { .. } | Self::PastEnd { .. } | Self::Decode { .. } => ErrorKind::Damaged,
            Self::Refused { kind, .. } => *kind,
        }
    }
}
