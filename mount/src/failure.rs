//! What ends a command: one sentence for the user and an exit code.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
};

use undelfs_source::ErrorKind;

use crate::cli::exit_code;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: exit_code::FAILED }
    }

    /// A request that makes no sense, with exit code 2.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: exit_code::USAGE }
    }

    /// A failure of the kind that a library reported.
    pub(crate) fn of_kind(kind: ErrorKind, sentence: impl fmt::Display) -> Self {
        Self { sentence: sentence.to_string(), code: kind.exit_code() }
    }

    /// `cannot DO PATH: system error`.
    pub(crate) fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot {what} {}: {error}", path.display()))
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Prints the sentence on standard error.
    pub(crate) fn print(&self) {
        notice(&self.sentence);
    }
}

impl From<undelfs_restore::Error> for Failure {
    fn from(error: undelfs_restore::Error) -> Self {
        Self::of_kind(error.kind(), error)
    }
}

impl From<undelfs_source::OpenError> for Failure {
    fn from(error: undelfs_source::OpenError) -> Self {
        Self::of_kind(error.kind(), error)
    }
}

impl From<undelfs_volume::Error> for Failure {
    fn from(error: undelfs_volume::Error) -> Self {
        Self::of_kind(error.kind(), error)
    }
}

/// Says something on standard error that does not end the command.
///
/// Whoever closed standard error does not want to know.
pub(crate) fn notice(sentence: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "undelfs: {sentence}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whether_a_key_is_needed_the_usage_was_wrong_or_it_failed() {
        assert_eq!(Failure::of_kind(ErrorKind::KeyNeeded, "x").code(), 3);
        assert_eq!(Failure::of_kind(ErrorKind::InvalidInput, "x").code(), 2);
        for kind in [ErrorKind::Damaged, ErrorKind::NotFound, ErrorKind::Busy, ErrorKind::Unsupported] {
            assert_eq!(Failure::of_kind(kind, "x").code(), 1, "{kind:?}");
        }
    }

    #[test]
    fn an_input_output_failure_names_what_was_done_and_to_which_file() {
        let error = io::Error::from(io::ErrorKind::StorageFull);
        let failure = Failure::io("write", Path::new("/out/a"), &error);
        assert!(failure.to_string().starts_with("cannot write /out/a: "), "{failure}");
    }
}
