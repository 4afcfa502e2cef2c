//! The HRESULTs of Certificate Services backup and restore.

use std::fmt;

use undelfs_source::ErrorKind;

/// An HRESULT.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HResult(pub u32);

/// Those of the database engine are 0xC8000000 and the number of its error, without sign. `0xC7FF....` are the backup
/// interface's own (`NtDsBMsg.h`).
macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl HResult {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name that headers give it, where one does.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

known! {
    /// Done.
    OK = 0x0000_0000, "S_OK";
    /// What was asked for was not found.
    FILE_NOT_FOUND = 0x8007_0002, "ERROR_FILE_NOT_FOUND";
    /// A folder was not found.
    PATH_NOT_FOUND = 0x8007_0003, "ERROR_PATH_NOT_FOUND";
    /// Not allowed, or a key is needed, or the target lies on the source.
    ACCESS_DENIED = 0x8007_0005, "E_ACCESSDENIED";
    /// No open session.
    INVALID_HANDLE = 0x8007_0006, "E_HANDLE";
    /// No memory.
    OUT_OF_MEMORY = 0x8007_000E, "E_OUTOFMEMORY";
    /// Bytes cannot be written.
    WRITE_FAULT = 0x8007_001D, "ERROR_WRITE_FAULT";
    /// Bytes cannot be read.
    READ_FAULT = 0x8007_001E, "ERROR_READ_FAULT";
    /// Somebody else holds the source.
    SHARING_VIOLATION = 0x8007_0020, "ERROR_SHARING_VIOLATION";
    /// Not known how to.
    NOT_SUPPORTED = 0x8007_0032, "ERROR_NOT_SUPPORTED";
    /// An argument is missing or makes no sense.
    INVALID_PARAMETER = 0x8007_0057, "E_INVALIDARG";
    /// The disk is full.
    DISK_FULL = 0x8007_0070, "ERROR_DISK_FULL";
    /// A folder is not laid out as a backup set is.
    DIRECTORY = 0x8007_010B, "ERROR_DIRECTORY";
    /// It was ended.
    CANCELLED = 0x8007_04C7, "ERROR_CANCELLED";
    /// A fault of the program.
    INTERNAL = 0x8007_054F, "ERROR_INTERNAL_ERROR";
    /// There is no certification authority.
    SERVER_UNAVAILABLE = 0x8007_06BA, "RPC_S_SERVER_UNAVAILABLE";
    /// A call out of order.
    UNEXPECTED = 0x8000_FFFF, "E_UNEXPECTED";
    /// A restore has been begun and was not ended.
    RESTORE_IN_PROGRESS = 0xC7FF_0004, "hrRestoreInProgress";
    /// A file is open already.
    ALREADY_OPEN = 0xC7FF_0005, "hrAlreadyOpen";
    /// Something else stands where a file is to be restored to.
    RESTORE_MAP_EXISTS = 0xC7FF_0008, "hrRestoreMapExists";
    /// A log that was named is not there.
    LOG_FILE_NOT_FOUND = 0xC7FF_000A, "hrLogFileNotFound";
    /// Logs without a database, before any full set was restored.
    NO_FULL_RESTORE = 0xC7FF_000C, "hrNoFullRestore";
    /// A file is larger or smaller than its header says, or was cut.
    BACKUP_FILE_DAMAGED = 0xC800_01FE, "JET_errReadVerifyFailure";
    /// A log is damaged.
    LOG_FILE_CORRUPT = 0xC800_01F5, "JET_errLogFileCorrupt";
    /// Database names without a full backup, or a database after the logs.
    INVALID_BACKUP_SEQUENCE = 0xC800_0209, "hrInvalidBackupSequence";
    /// A log is missing in a set.
    MISSING_LOG_FILE = 0xC800_0210, "hrMissingLogFile";
    /// The database is not whole and cannot be made whole.
    DATABASE_INCONSISTENT = 0xC800_0226, "hrDatabaseInconsistent";
    /// The lowest log is below what the set has.
    RESTORE_LOG_TOO_LOW = 0xC800_0229, "hrRestoreLogTooLow";
    /// The highest log is above what the set has.
    RESTORE_LOG_TOO_HIGH = 0xC800_022A, "hrRestoreLogTooHigh";
    /// A log belongs to another database.
    BAD_RESTORE_SIGNATURE = 0xC800_022B, "hrGivenLogFileHasBadSignature";
    /// A log between others is missing.
    LOG_NOT_CONTIGUOUS = 0xC800_022C, "hrGivenLogFileIsNotContiguous";
    /// Logs that the database needs are missing.
    MISSING_RESTORE_LOGS = 0xC800_022D, "hrMissingRestoreLogFiles";
    /// An incremental backup, and there never was a full one.
    MISSING_FULL_BACKUP = 0xC800_0230, "hrMissingFullBackup";
    /// The size of a database is not that of whole pages.
    BAD_DATABASE_SIZE = 0xC800_0231, "hrBadBackupDatabaseSize";
    /// The set is not what the restore began with.
    LOG_FILE_NOT_COPIED = 0xC800_0268, "JET_errLogFileNotCopied";
    /// A page, header or database has not the right checksum or form.
    DATABASE_CORRUPTED = 0xC800_04B6, "JET_errDatabaseCorrupted";
}

impl HResult {
    /// True for success.
    pub fn is_ok(self) -> bool {
        self.0 & 0x8000_0000 == 0
    }

    /// What an error of the layers below means.
    pub fn of_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::FILE_NOT_FOUND,
            ErrorKind::PermissionDenied | ErrorKind::KeyNeeded => Self::ACCESS_DENIED,
            ErrorKind::Busy => Self::SHARING_VIOLATION,
            ErrorKind::Unsupported => Self::NOT_SUPPORTED,
            ErrorKind::InvalidInput | ErrorKind::IsDirectory => Self::INVALID_PARAMETER,
            ErrorKind::NotDirectory => Self::DIRECTORY,
            ErrorKind::Cancelled => Self::CANCELLED,
            _ => Self::READ_FAULT,
        }
    }
}

impl fmt::Debug for HResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010X}", self.0)?;
        self.name().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}
