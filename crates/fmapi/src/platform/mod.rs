//! The system border: what a file of the host is made of, and the last error of the host's own kind.
//!
//! Each system has one module with the same items: `set_stream`, `is_still` and `set_last_error`; Windows has `resolve`
//! and `destination` too, which on Linux are those of `source_name`: there names of Windows have to be translated.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
