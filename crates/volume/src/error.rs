use undelfs_source::{ErrorKind, ReadError};

/// Why a volume or a structure on it could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes were read and are not what the format demands.
    #[error("{structure} at byte {at}: expected {expected}, found {found}; {advice}")]
    Structure {
        /// The structure's name, as the field calls it.
        structure: &'static str,
        /// Where it stands, in bytes from the start of the volume (or of the source, for a partition table).
        at: u64,
        /// What the format demands.
        expected: String,
        /// What is there.
        found: String,
        /// What the user can do.
        advice: &'static str,
    },
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
            Self::Read(error) => error.kind(),
            Self::Structure { .. } => ErrorKind::Damaged,
            Self::Refused { kind, .. } => *kind,
        }
    }
}
