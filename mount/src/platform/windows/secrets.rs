//! Keeping secrets out of the process list.

use std::io;

use crate::failure::{Failure, notice};

/// Does nothing: what stands on the command line of a process can be read by the same user and by administrators, who
/// could as well read its memory, and Windows has no way to take it back.
pub(crate) fn hide() -> io::Result<()> {
    let secret = |arg: &str| {
        ["--password", "--recovery-password", "--efs-key-password"]
            .iter()
            .any(|name| arg.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    };
    if std::env::args().any(|arg| secret(&arg)) {
        notice(
            "the secret on the command line can be read by other programs of this user; a file keeps it out of there",
        );
    }
    Ok(())
}

/// Windows has no numbered descriptors that a program inherits.
pub(crate) fn read_descriptor(number: u32) -> Result<Vec<u8>, Failure> {
    Err(Failure::usage(format!(
        "there is no file descriptor {number} on Windows; give a file, or `-` for standard input"
    )))
}

/// Does nothing: Windows writes no dump of a process that did not ask for it, unless the administrator set that up.
pub(crate) fn keep_out_of_dumps() {}
