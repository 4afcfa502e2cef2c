//! The raw backup stream: an encrypted file with its metadata, as `ReadEncryptedFileRaw` gives it (MS-EFSR 2.2.3).
//!
//! A file header, the metadata stream, then every data stream: a stream header and segments, each of at most 64 KiB of
//! content. [`Export`] makes one, a part at a time and without a key; [`read`] takes one apart.

mod export;
mod import;
mod pieces;
#[cfg(test)]
mod tests;
mod walk;

pub use export::{Export, Source, TooLarge};
pub use import::{BadRaw, Block, Sink, Unread, read};
pub use walk::without_named_streams;

/// What every raw backup stream begins with.
pub const MAGIC: [u8; 12] = [0, 1, 0, 0, b'R', 0, b'O', 0, b'B', 0, b'S', 0];
/// Size of the file header in bytes; what follows the magic is zero.
const FILE_HEADER: usize = 20;
/// `NTFS`, in the header of a stream.
const STREAM_TAG: [u8; 8] = [b'N', 0, b'T', 0, b'F', 0, b'S', 0];
/// Size of a stream header without its name, in bytes.
const STREAM_HEADER: usize = 28;
/// `GURE`, in the header of a segment.
const SEGMENT_TAG: [u8; 8] = [b'G', 0, b'U', 0, b'R', 0, b'E', 0];
/// Size of a segment's header in bytes.
const SEGMENT_HEADER: usize = 16;
/// The name of the metadata stream.
const METADATA_NAME: [u8; 2] = [0x10, 0x19];
/// The name of the unnamed stream.
const UNNAMED: &str = "::$DATA";
/// What stands behind the name of a named stream.
const DATA_TYPE: &str = ":$DATA";
/// Size of the encryption header of a segment without block sizes, in bytes.
const ENCRYPTION_HEADER: usize = 28;
/// What begins the extended header.
const EXTENDED: [u8; 8] = [b'E', b'X', b'T', b'D', 16, 0, 0, 0];
/// `ENCRYPTION_FORMAT_DEFAULT`.
const FORMAT_DEFAULT: u8 = 1;
/// Content of a segment at most, in bytes.
const SEGMENT: u64 = 64 << 10;
