use std::io;

use undelfs_restore::Error;

/// A Win32 error code, as MS-ERREF 2.2 numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// `ERROR_SUCCESS`.
    pub const SUCCESS: Self = Self(0);
    /// `ERROR_FILE_NOT_FOUND`: there is no such volume.
    pub const FILE_NOT_FOUND: Self = Self(2);
    /// `ERROR_PATH_NOT_FOUND`: there is no such folder.
    pub const PATH_NOT_FOUND: Self = Self(3);
    /// `ERROR_ACCESS_DENIED`: not allowed, or a key is needed.
    pub const ACCESS_DENIED: Self = Self(5);
    /// `ERROR_INVALID_HANDLE`: this is no open context.
    pub const INVALID_HANDLE: Self = Self(6);
    /// `ERROR_NO_MORE_FILES`: the end of a scan.
    pub const NO_MORE_FILES: Self = Self(18);
    /// `ERROR_WRITE_PROTECT`: the place of a restored file is read-only.
    pub const WRITE_PROTECT: Self = Self(19);
    /// `ERROR_WRITE_FAULT`: a restored file cannot be written.
    pub const WRITE_FAULT: Self = Self(29);
    /// `ERROR_NOT_SUPPORTED`: the version of the context does not have it, or the volume is of an unknown kind.
    pub const NOT_SUPPORTED: Self = Self(50);
    /// `ERROR_FILE_EXISTS`: something stands where a file was to be restored to.
    pub const FILE_EXISTS: Self = Self(80);
    /// `ERROR_INVALID_PARAMETER`.
    pub const INVALID_PARAMETER: Self = Self(87);
    /// `ERROR_DISK_FULL`.
    pub const DISK_FULL: Self = Self(112);
    /// `ERROR_INSUFFICIENT_BUFFER`.
    pub const INSUFFICIENT_BUFFER: Self = Self(122);
    /// `ERROR_FILENAME_EXCED_RANGE`: a path is too long.
    pub const FILENAME_TOO_LONG: Self = Self(206);
    /// `ERROR_PARTIAL_COPY`: a file was restored with zeros for what is gone, or a failed restore has left a file.
    pub const PARTIAL_COPY: Self = Self(299);
    /// `ERROR_CANCELLED`.
    pub const CANCELLED: Self = Self(1223);
    /// `ERROR_INTERNAL_ERROR`: a fault of this library.
    pub const INTERNAL_ERROR: Self = Self(1359);
    /// `ERROR_FILE_CORRUPT`: nothing is known of a content any more, or a structure is damaged.
    pub const FILE_CORRUPT: Self = Self(1392);
    /// `ERROR_NO_SYSTEM_RESOURCES`: no thread could be started.
    pub const NO_SYSTEM_RESOURCES: Self = Self(1450);
    /// `ERROR_BAD_FORMAT`: there is no private key in a file.
    pub const BAD_FORMAT: Self = Self(11);
    /// `ERROR_INVALID_PASSWORD`: it does not open a file with private keys.
    pub const INVALID_PASSWORD: Self = Self(86);
    /// `ERROR_DIRECTORY`: a directory was meant, and this is none.
    pub const DIRECTORY: Self = Self(267);
    /// `ERROR_NO_USER_KEYS`: none of the private keys fits.
    pub const NO_USER_KEYS: Self = Self(6006);
    /// `ERROR_FILE_READ_ONLY`: a read-only file is not replaced.
    pub const FILE_READ_ONLY: Self = Self(6009);
    /// `ERROR_VOLUME_NOT_SUPPORT_EFS`: the volume holds no encrypted files.
    pub const VOLUME_NOT_SUPPORT_EFS: Self = Self(6014);

    /// What an error of writing a restored file means.
    pub(crate) fn of_write(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::FILE_EXISTS,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::PATH_NOT_FOUND,
            io::ErrorKind::PermissionDenied => Self::ACCESS_DENIED,
            io::ErrorKind::ReadOnlyFilesystem => Self::WRITE_PROTECT,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DISK_FULL
            }
            io::ErrorKind::InvalidFilename => Self::FILENAME_TOO_LONG,
            io::ErrorKind::InvalidInput => Self::INVALID_PARAMETER,
            io::ErrorKind::Unsupported => Self::NOT_SUPPORTED,
            _ => Self::WRITE_FAULT,
        }
    }
}

impl From<Error> for Code {
    fn from(error: Error) -> Self {
        Self(error.kind().win32())
    }
}
