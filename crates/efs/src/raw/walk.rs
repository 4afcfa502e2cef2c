use undelfs_source::{
    ReadAt, ReadError,
    bytes::{array, u32_at},
};

use super::{FILE_HEADER, METADATA_NAME, SEGMENT_TAG, STREAM_HEADER, STREAM_TAG, UNNAMED};

/// Where the unnamed stream of a raw backup stream ends, and what follows are named streams, in bytes from its start; the
/// size of it where none follow, or where it is damaged. Nothing but headers is read.
///
/// # Errors
/// When it cannot be read.
pub fn without_named_streams(raw: &dyn ReadAt) -> Result<u64, ReadError> {
    /// Bytes of a header that tell what it is: those of a stream header with the longest name that is looked at.
    const LOOKED_AT: usize = STREAM_HEADER + 2 * UNNAMED.len() + 2;
    let size = raw.size();
    let mut at = FILE_HEADER as u64;
    while at < size {
        let mut header = [0; LOOKED_AT];
        let read = raw.read_at(&mut header, at)?;
        let header = header.get(..read).unwrap_or_default();
        let length = u32_at(header, 0).map_or(0, u64::from);
        match array(header, 4) {
            Some(STREAM_TAG) if size.saturating_sub(at) < length => break,
            Some(STREAM_TAG) if is_named(header) => return Ok(at),
            Some(STREAM_TAG | SEGMENT_TAG) if length >= STREAM_TAG.len() as u64 => {}
            _ => break,
        }
        at = at.saturating_add(length);
    }
    Ok(size)
}

/// Whether a stream header is that of a named stream.
fn is_named(header: &[u8]) -> bool {
    let len = u32_at(header, 24).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
    let name = header.get(STREAM_HEADER..).and_then(|name| name.get(..len));
    let unnamed: Vec<u8> = UNNAMED.encode_utf16().flat_map(u16::to_le_bytes).collect();
    // Windows writes no NUL behind a name, the specification has one.
    name.is_none_or(|name| name != METADATA_NAME && name.strip_suffix(&[0, 0]).unwrap_or(name) != unnamed)
}
