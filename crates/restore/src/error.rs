use undelfs_source::{ErrorKind, OpenError, ReadError};

/// Why a restore context, a file in it or its content could not be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The volume or one of its structures could not be used.
    #[error(transparent)]
    Volume(#[from] undelfs_volume::Error),
    /// Bytes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Output could not be written.
    #[error(transparent)]
    Write(#[from] std::io::Error),
    /// The request cannot be served, for a reason that is not damage.
    #[error("{reason}")]
    Refused {
        /// What kind of reason.
        kind: ErrorKind,
        /// The reason, and what the user can do.
        reason: String,
    },
}

impl Error {
    /// What the error means to the outside.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Write(error) => error.kind().into(),
            Self::Refused { kind, .. } => *kind,
        }
    }

    pub(crate) fn refused(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self::Refused { kind, reason: reason.into() }
    }

    pub(crate) fn not_found(what: &[u8]) -> Self {
        Self::refused(ErrorKind::NotFound, format!("there is no `{}`", String::from_utf8_lossy(what)))
    }
}
