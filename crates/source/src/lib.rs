//! Bytes at an offset: the bottom layer of undelfs.
//!
//! A [`Source`] is what a user names on the command line: a raw image, a set of split files or a block device.
//! It is opened read-only and locked, and speaks [`ReadAt`], the one reading interface that every layer above
//! implements and consumes: partition, decryption, file system stream, restorable file.

pub mod bytes;
mod error;
mod open_error;
mod platform;
mod read_at;
mod source;
mod split;

pub use error::{ErrorKind, ReadError};
pub use open_error::OpenError;
pub use read_at::{BadRange, ReadAt};
pub use source::{Source, SourceKind};
