use std::{borrow::Cow, io, path::Path};

use undelfs_source::{ErrorKind, ReadError};

use crate::HResult;

/// Why a certification authority's files could not be read, or a session not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A source, volume or file could not be used.
    #[error(transparent)]
    Restore(#[from] undelfs_restore::Error),
    /// A structure is not what it must be.
    #[error("{structure} at byte {at}: expected {expected}, found {found}")]
    Structure {
        /// Which one.
        structure: Cow<'static, str>,
        /// Where it stands in its file, in bytes.
        at: u64,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// It cannot be done.
    #[error("{reason}")]
    Refused {
        /// What the C functions return.
        code: HResult,
        /// The reason, and what the user can do.
        reason: String,
    },
    /// A file of a set could not be written.
    #[error("cannot {what}: {error}")]
    Write {
        /// What was being done, with the file's name.
        what: String,
        /// The system's own error.
        error: io::Error,
    },
}

impl Error {
    pub(crate) fn structure(
        structure: impl Into<Cow<'static, str>>,
        at: u64,
        expected: String,
        found: String,
    ) -> Self {
        Self::Structure { structure: structure.into(), at, expected, found }
    }

    pub(crate) fn refused(code: HResult, reason: impl Into<String>) -> Self {
        Self::Refused { code, reason: reason.into() }
    }

    pub(crate) fn cancelled() -> Self {
        Self::refused(HResult::CANCELLED, "it was cancelled")
    }

    pub(crate) fn write(what: &str, path: &Path, error: io::Error) -> Self {
        Self::Write { what: format!("{what} {}", path.display()), error }
    }

    /// What the C functions return.
    pub fn code(&self) -> HResult {
        match self {
            Self::Read(error) => HResult::of_kind(error.kind()),
            Self::Restore(error) => HResult::of_kind(error.kind()),
            Self::Structure { .. } => HResult::DATABASE_CORRUPTED,
            Self::Refused { code, .. } => *code,
            Self::Write { error, .. } => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => HResult::PATH_NOT_FOUND,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => HResult::ACCESS_DENIED,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HResult::DISK_FULL,
                io::ErrorKind::AlreadyExists => HResult::RESTORE_MAP_EXISTS,
                _ => HResult::WRITE_FAULT,
            },
        }
    }

    /// What the error means to the outside.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Restore(error) => error.kind(),
            Self::Structure { .. } => ErrorKind::Damaged,
            Self::Write { error, .. } => error.kind().into(),
            Self::Refused { code, .. } => match *code {
                HResult::FILE_NOT_FOUND | HResult::PATH_NOT_FOUND | HResult::SERVER_UNAVAILABLE => {
                    ErrorKind::NotFound
                }
                HResult::ACCESS_DENIED => ErrorKind::PermissionDenied,
                HResult::INVALID_PARAMETER => ErrorKind::InvalidInput,
                HResult::CANCELLED => ErrorKind::Cancelled,
                HResult::NOT_SUPPORTED => ErrorKind::Unsupported,
                _ => ErrorKind::Damaged,
            },
        }
    }
}
