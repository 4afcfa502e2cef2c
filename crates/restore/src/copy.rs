//! Copying one stream into a file, with what the medium does not deliver as zeros.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    ops::Range,
};

use sha2::{Digest, Sha256};
use undelfs_source::{ErrorKind, ReadError};

use crate::{Content, Error};

/// Bytes that are read at once.
pub const PIECE: usize = 1 << 20;

/// Zeros of at least this many bytes, at such a multiple, become a hole in the copy.
const HOLE: usize = 64 << 10;

/// Unit in which what the medium delivers is told from what it does not.
const SECTOR: usize = 512;

/// Units of compressed content are multiples of this many bytes and begin at multiples of it.
const BLOCK: usize = 4096;

/// A finished copy.
#[derive(Debug)]
pub struct Copied {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the copy.
    pub sha256: [u8; 32],
    /// Byte ranges that could not be read and are zeros in the copy: ascending, not touching each other.
    pub unreadable: Vec<Range<u64>>,
    /// The first error of the medium.
    pub problem: Option<String>,
}

/// Why there is no copy.
#[derive(Debug)]
pub enum NotCopied {
    /// The content cannot be given at all.
    Content(Error),
    /// The copy cannot be written.
    Write(io::Error),
    /// The user wants to end.
    Stopped,
}

/// Copies `content` into the empty file `out`. After each piece `advance` is told its size and says whether to go on.
///
/// # Errors
/// When the content cannot be given at all, the copy cannot be written, or `advance` said no.
pub fn copy(
    content: &dyn Content,
    out: &File,
    buffer: &mut Vec<u8>,
    advance: &mut dyn FnMut(u64) -> bool,
) -> Result<Copied, NotCopied> {
    buffer.resize(PIECE, 0);
    let mut hash = Sha256::new();
    let mut copied = Copied { size: 0, sha256: [0; 32], unreadable: Vec::new(), problem: None };
    let size = content.size();
    while copied.size < size {
        let len = usize::try_from(size - copied.size).unwrap_or(usize::MAX).min(PIECE);
        let Some(piece) = buffer.get_mut(..len) else { break };
        let read = read_piece(content, piece, &mut copied).map_err(NotCopied::Content)?;
        if read == 0 {
            copied
                .problem
                .get_or_insert_with(|| format!("the content ends at byte {}, not {size}", copied.size));
            break;
        }
        let piece = piece.get(..read).unwrap_or_default();
        hash.update(piece);
        write_with_holes(piece, out, copied.size).map_err(NotCopied::Write)?;
        copied.size = copied.size.saturating_add(read as u64);
        if !advance(read as u64) {
            return Err(NotCopied::Stopped);
        }
    }
    // Holes at the end count as well.
    out.set_len(copied.size).map_err(NotCopied::Write)?;
    copied.sha256 = hash.finalize().into();
    Ok(copied)
}

/// Reads a stream of at most `limit` bytes whole; `None` where it is longer or a byte of it cannot be read.
pub fn read_small(content: &dyn Content, limit: usize) -> Option<Vec<u8>> {
    let size = usize::try_from(content.size()).ok().filter(|&size| size <= limit)?;
    let mut value = vec![0; size];
    let mut filled = 0;
    while let Some(rest) = value.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match content.read_at(rest, filled as u64) {
            Ok(read) if read > 0 => filled += read,
            _ => return None,
        }
    }
    Some(value)
}

/// Fills `piece` with what comes at `copied.size`, with zeros where the medium fails, and notes where that was.
fn read_piece(content: &dyn Content, piece: &mut [u8], copied: &mut Copied) -> Result<usize, Error> {
    let start = copied.size;
    let error = match content.read_at(piece, start) {
        Ok(read) => return Ok(read.min(piece.len())),
        Err(error) if error.kind() == ErrorKind::Damaged => error,
        Err(error) => return Err(error),
    };
    copied.problem.get_or_insert_with(|| error.to_string());
    let mut retry = Retry { content, unreadable: &mut copied.unreadable, bad_until: 0, request: None };
    let mut at = start;
    let mut rest = &mut *piece;
    while !rest.is_empty() {
        // Up to the next multiple of a block, wherever the piece began.
        let len = BLOCK.saturating_sub(usize::try_from(at % BLOCK as u64).unwrap_or(0)).min(rest.len());
        let Some((block, after)) = rest.split_at_mut_checked(len) else { break };
        retry.block(block, at)?;
        at = at.saturating_add(len as u64);
        rest = after;
    }
    Ok(piece.len())
}

/// Reading a piece in smaller parts, after it could not be read as a whole.
struct Retry<'a> {
    content: &'a dyn Content,
    unreadable: &'a mut Vec<Range<u64>>,
    /// Up to here a unit is known to be unreadable.
    bad_until: u64,
    /// Where on the source the last request that failed began. All parts of one compressed unit fail with the same
    /// request, because the unit is read as a whole; parts of other content have requests of their own.
    request: Option<u64>,
}

impl Retry<'_> {
    /// Reads one block, and only where that fails its sectors.
    fn block(&mut self, block: &mut [u8], at: u64) -> Result<(), Error> {
        let end = at.saturating_add(block.len() as u64);
        if end <= self.bad_until {
            self.bad(block, at);
            return Ok(());
        }
        let before = self.request;
        let good = self.part(block, at)?;
        if good == block.len() {
            return Ok(());
        }
        let mut same_unit = before.is_some() && self.request == before;
        let mut before = None;
        let mut at = at;
        for sector in block.chunks_mut(SECTOR) {
            let known = same_unit || at < self.bad_until;
            let good = if known { 0 } else { self.part(sector, at)? };
            if let Some(bad) = sector.get_mut(good..).filter(|bad| !bad.is_empty()) {
                self.bad(bad, at.saturating_add(good as u64));
                same_unit |= before.is_some() && self.request == before;
                before = self.request;
            }
            at = at.saturating_add(sector.len() as u64);
        }
        Ok(())
    }

    /// Reads into `part` and says how many bytes came: none where they are damaged.
    fn part(&mut self, part: &mut [u8], at: u64) -> Result<usize, Error> {
        self.request = None;
        match self.content.read_at(part, at) {
            Ok(read) => Ok(read.min(part.len())),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                match error {
                    Error::Read(ReadError::Medium { offset, .. }) => self.request = Some(offset),
                    Error::Read(ReadError::Decode { offset, len, .. }) if offset <= at => {
                        self.bad_until = self.bad_until.max(offset.saturating_add(len));
                    }
                    _ => {}
                }
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    fn bad(&mut self, part: &mut [u8], at: u64) {
        part.fill(0);
        let end = at.saturating_add(part.len() as u64);
        match self.unreadable.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => self.unreadable.push(at..end),
        }
    }
}

fn write_with_holes(piece: &[u8], mut out: &File, offset: u64) -> io::Result<()> {
    let mut at = offset;
    // Pieces begin at multiples of the hole size, except after a short read, where a hole is missed at worst.
    for part in piece.chunks(HOLE) {
        if part.len() < HOLE || !is_zero(part) {
            out.seek(SeekFrom::Start(at))?;
            out.write_all(part)?;
        }
        at = at.saturating_add(part.len() as u64);
    }
    Ok(())
}

/// The first byte alone decides for almost all data; the rest is combined without branches, many bytes at a time.
fn is_zero(part: &[u8]) -> bool {
    part.first() == Some(&0) && part.iter().fold(0, |all, byte| all | byte) == 0
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    struct Bytes(Vec<u8>);

    impl Content for Bytes {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
            let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }

        fn size(&self) -> u64 {
            self.0.len() as u64
        }
    }

    fn copied(content: &dyn Content) -> (Copied, File) {
        let out = tempfile::tempfile().unwrap();
        let copied = copy(content, &out, &mut Vec::new(), &mut |_| true).unwrap();
        (copied, out)
    }

    fn content_of(mut file: &File, len: usize) -> Vec<u8> {
        let mut all = vec![0; len];
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_exact(&mut all).unwrap();
        all
    }

    #[test]
    fn a_copy_is_byte_exact_and_its_hash_is_that_of_the_content() {
        for len in [0, 1, 511, 65536, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 777] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let (copied, out) = copied(&Bytes(bytes.clone()));
            assert_eq!(copied.size, len as u64);
            assert_eq!(copied.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
            assert!(content_of(&out, len) == bytes, "{len}");
            assert_eq!(out.metadata().unwrap().len(), len as u64);
        }
    }

    #[test]
    fn long_zeros_take_no_space_and_still_count_in_size_and_hash() {
        let mut bytes = vec![0; 4 * PIECE];
        bytes[PIECE] = 1;
        let (copied, out) = copied(&Bytes(bytes.clone()));
        assert_eq!(copied.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert!(content_of(&out, bytes.len()) == bytes);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert!(out.metadata().unwrap().blocks() * 512 <= PIECE as u64);
        }
    }

    #[test]
    fn a_stop_between_two_pieces_ends_the_copy() {
        let out = tempfile::tempfile().unwrap();
        let stopped = copy(&Bytes(vec![1; 2 * PIECE]), &out, &mut Vec::new(), &mut |_| false);
        assert!(matches!(stopped, Err(NotCopied::Stopped)));
    }

    /// Bytes of which one sector fails with an error of this kind.
    struct Failing(Bytes, ErrorKind);

    const BAD: Range<u64> = 69_632..70_144;

    impl Content for Failing {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
            if offset < BAD.end && offset + buf.len() as u64 > BAD.start {
                return Err(Error::Refused { kind: self.1, reason: "planted".to_owned() });
            }
            self.0.read_at(buf, offset)
        }

        fn size(&self) -> u64 {
            self.0.size()
        }
    }

    #[test]
    fn a_bad_sector_costs_exactly_its_own_bytes_and_is_listed() {
        let (copied, out) = copied(&Failing(Bytes(vec![7; 200_000]), ErrorKind::Damaged));
        assert_eq!(copied.unreadable, [BAD]);
        assert_eq!(copied.size, 200_000);
        assert!(copied.problem.is_some());
        for (at, byte) in content_of(&out, 200_000).into_iter().enumerate() {
            assert_eq!(byte, if BAD.contains(&(at as u64)) { 0 } else { 7 }, "byte {at}");
        }
    }

    /// Content whose second unit of 64 KiB fails as a whole, with the error that this makes of the unit's range.
    struct BadUnit(Bytes, fn(Range<u64>) -> ReadError, std::cell::Cell<u32>);

    // `Content` is shared between threads; the tests' counter is not.
    struct Shared(std::sync::Mutex<BadUnit>);

    const UNIT: Range<u64> = 65_536..131_072;

    impl Content for Shared {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
            let BadUnit(bytes, error, failures) = &*self.0.lock().unwrap();
            if offset < UNIT.end && offset + buf.len() as u64 > UNIT.start {
                failures.set(failures.get() + 1);
                return Err(error(UNIT).into());
            }
            bytes.read_at(buf, offset)
        }

        fn size(&self) -> u64 {
            self.0.lock().unwrap().0.size()
        }
    }

    #[test]
    fn a_unit_that_cannot_be_decoded_is_not_decoded_again_for_each_of_its_sectors() {
        let decode = |unit: Range<u64>| ReadError::Decode {
            offset: unit.start,
            len: unit.end - unit.start,
            reason: "planted".to_owned(),
        };
        let medium = |unit: Range<u64>| ReadError::Medium {
            what: "disk".to_owned(),
            offset: unit.start + 999 * 512,
            len: 4096,
            error: io::Error::other("planted"),
        };
        for (error, most) in [(decode as fn(Range<u64>) -> ReadError, 3), (medium, 20)] {
            let content = Shared(BadUnit(Bytes(vec![7; 200_000]), error, Default::default()).into());
            let (copied, _) = copied(&content);
            assert_eq!(copied.unreadable, [UNIT]);
            let failures = content.0.lock().unwrap().2.get();
            assert!(failures <= most, "{failures}");
        }
    }

    #[test]
    fn content_that_needs_a_key_is_not_copied_as_zeros() {
        let out = tempfile::tempfile().unwrap();
        let encrypted = Failing(Bytes(vec![7; 200_000]), ErrorKind::KeyNeeded);
        let refused = copy(&encrypted, &out, &mut Vec::new(), &mut |_| true);
        assert!(matches!(refused, Err(NotCopied::Content(error)) if error.kind() == ErrorKind::KeyNeeded));
    }

    #[test]
    fn a_small_stream_is_read_whole_or_not_at_all() {
        assert_eq!(read_small(&Bytes(vec![5; 100]), 100), Some(vec![5; 100]));
        assert_eq!(read_small(&Bytes(vec![5; 101]), 100), None);
        assert_eq!(read_small(&Bytes(Vec::new()), 100), Some(Vec::new()));
    }
}
