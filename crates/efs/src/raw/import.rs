use std::{
    collections::HashSet,
    io::{self, Read},
};

use undelfs_source::bytes::{array, u16_at, u32_at, u64_at};

use super::{
    DATA_TYPE, ENCRYPTION_HEADER, FILE_HEADER, MAGIC, METADATA_NAME, SEGMENT_HEADER, SEGMENT_TAG,
    STREAM_HEADER, STREAM_TAG,
};
use crate::{metadata::MAX_METADATA, text::utf16_to_wtf8};

/// Largest segment that is taken, in bytes. Windows writes up to 66,048.
const MAX_SEGMENT: usize = 64 << 20;
/// Longest name of a stream, in bytes: 255 units and what stands around them, with a NUL.
const MAX_NAME: usize = 2 * (255 + 16);
/// Most streams of a file: each has a name that differs.
const MAX_STREAMS: usize = 1 << 16;
/// Units of a block: from 512 bytes on, of at most the largest segment.
const SHIFTS: std::ops::RangeInclusive<u8> = 9..=26;
const UNIT: u32 = 512;

/// Why a stream is no raw backup stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no raw backup stream of EFS, or it is damaged: at byte {at} expected {expected}, found {found}"
)]
pub struct BadRaw {
    /// Where, in bytes from the stream's start.
    pub at: u64,
    /// What the format demands.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// Why a raw backup stream was not read to its end.
#[derive(Debug)]
pub enum Unread<E> {
    /// It is none.
    Bad(BadRaw),
    /// It could not be read.
    Read(io::Error),
    /// What takes it failed.
    Sink(E),
}

/// A part of an encrypted stream.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Where it stands in the stream, a multiple of 512 bytes.
    pub offset: u64,
    /// Its encrypted bytes, whole units of 512; what follows them, up to the next block or to the stream's end, is zeros.
    pub stored: &'a [u8],
    /// Where the bytes that were ever written end, in the stream; from there on all is zeros once it is decrypted.
    pub valid: u64,
    /// Where the stream ends as far as is known by now.
    pub end: u64,
}

/// What takes the parts of a raw backup stream, in their order. Whoever does not get [`finish`](Sink::finish) has not got
/// all of it.
pub trait Sink {
    /// What can go wrong with it.
    type Error;

    /// The `$EFS` attribute. Comes first.
    ///
    /// # Errors
    /// Any ends the reading.
    fn metadata(&mut self, efs: &[u8]) -> Result<(), Self::Error>;

    /// A stream begins; its name in WTF-8 is empty for the unnamed one.
    ///
    /// # Errors
    /// Any ends the reading.
    fn stream(&mut self, name: &[u8], encrypted: bool) -> Result<(), Self::Error>;

    /// A part of an encrypted stream. Parts ascend without overlapping.
    ///
    /// # Errors
    /// Any ends the reading.
    fn block(&mut self, block: Block<'_>) -> Result<(), Self::Error>;

    /// The next bytes of a stream that is not encrypted.
    ///
    /// # Errors
    /// Any ends the reading.
    fn plain(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// All of it was sound.
    ///
    /// # Errors
    /// Any is that of the reading.
    fn finish(&mut self) -> Result<(), Self::Error>;
}

/// Takes apart a raw backup stream that comes in pieces of any size.
///
/// The format says nowhere how long it is: a stream that ends between two segments cannot be told from a shorter file.
///
/// # Errors
/// When it is none, cannot be read, or `sink` fails.
pub fn read<S: Sink>(input: &mut dyn Read, sink: &mut S) -> Result<(), Unread<S::Error>> {
    let mut reader = Reader { input, at: 0 };
    let header: [u8; FILE_HEADER] = reader.array("the file header")?;
    if !header.starts_with(&MAGIC) {
        return Err(bad(0, "the magic ROBS", hex(&header)));
    }
    let mut item = reader.item()?.ok_or_else(|| bad(reader.at, "the metadata stream", "the end"))?;
    if item.tag != STREAM_TAG || reader.stream_header(&item)?.name != METADATA_NAME {
        return Err(bad(item.at, "the metadata stream", "another"));
    }
    item = reader.item()?.ok_or_else(|| bad(reader.at, "the metadata", "the end"))?;
    if item.tag != SEGMENT_TAG || item.body > MAX_METADATA {
        return Err(bad(item.at, "a segment with at most 256 KiB of metadata", item.describe()));
    }
    let metadata = reader.segment(&item)?;
    sink.metadata(&metadata).map_err(Unread::Sink)?;

    let mut names: HashSet<Vec<u8>> = HashSet::new();
    let mut stream: Option<Position> = None;
    while let Some(item) = reader.item()? {
        if item.tag == STREAM_TAG {
            let header = reader.stream_header(&item)?;
            let name = stream_name(&header.name)
                .ok_or_else(|| bad(item.at, "a name like `:name:$DATA`", hex(&header.name)))?;
            if names.contains(&name) || names.len() >= MAX_STREAMS {
                let name = String::from_utf8_lossy(&name).into_owned();
                return Err(bad(item.at, "each stream once, in one part", format!("`{name}` again")));
            }
            sink.stream(&name, header.encrypted).map_err(Unread::Sink)?;
            names.insert(name);
            stream = Some(Position { encrypted: header.encrypted, next: 0, ended: false });
            continue;
        }
        let Some(position) = &mut stream else {
            return Err(bad(item.at, "a stream header", "a segment"));
        };
        let content = reader.segment(&item)?;
        if position.encrypted {
            position.blocks(&content, item.at, sink)?;
        } else {
            sink.plain(&content).map_err(Unread::Sink)?;
        }
    }
    sink.finish().map_err(Unread::Sink)
}

fn bad<E>(at: u64, expected: impl Into<String>, found: impl Into<String>) -> Unread<E> {
    Unread::Bad(BadRaw { at, expected: expected.into(), found: found.into() })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a stream: what stands between the first colon and `:$DATA`. Empty for the unnamed one.
fn stream_name(bytes: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = bytes.as_chunks::<2>() else { return None };
    let mut units: Vec<u16> = pairs.iter().copied().map(u16::from_le_bytes).collect();
    // Windows writes none, the specification has one.
    if units.last() == Some(&0) {
        units.pop();
    }
    let end: Vec<u16> = DATA_TYPE.encode_utf16().collect();
    let name = units.strip_suffix(&end[..])?.strip_prefix(&[u16::from(b':')])?;
    let bad = |unit: &u16| [0, u16::from(b':'), u16::from(b'/'), u16::from(b'\\')].contains(unit);
    if name.len() > 255 || name.iter().any(bad) {
        return None;
    }
    Some(utf16_to_wtf8(name))
}

struct Reader<'a> {
    input: &'a mut dyn Read,
    at: u64,
}

/// The begin of a stream header or a segment.
struct Item {
    at: u64,
    tag: [u8; 8],
    /// Bytes behind the length and the tag.
    body: usize,
}

impl Item {
    fn describe(&self) -> String {
        format!("tag {} with {} bytes", hex(&self.tag), self.body)
    }
}

struct StreamHeader {
    name: Vec<u8>,
    encrypted: bool,
}

impl Reader<'_> {
    /// Fills `buf`, and says how far the input did.
    fn fill<E>(&mut self, buf: &mut [u8]) -> Result<usize, Unread<E>> {
        let mut done = 0_usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Unread::Read(error)),
            }
        }
        self.at = self.at.saturating_add(done as u64);
        Ok(done)
    }

    fn array<E, const N: usize>(&mut self, what: &str) -> Result<[u8; N], Unread<E>> {
        let (at, mut bytes) = (self.at, [0; N]);
        match self.fill(&mut bytes)? {
            read if read == N => Ok(bytes),
            read => Err(bad(at, format!("{what} of {N} bytes"), format!("{read} bytes"))),
        }
    }

    /// `len` bytes. Memory grows only with what is really there.
    fn bytes<E>(&mut self, len: usize, what: &str) -> Result<Vec<u8>, Unread<E>> {
        const STEP: usize = 128 << 10;
        let (at, mut bytes) = (self.at, Vec::new());
        while bytes.len() < len {
            let from = bytes.len();
            bytes.resize(len.min(from.saturating_add(STEP)), 0);
            let wanted = bytes.len().saturating_sub(from);
            let read = self.fill(bytes.get_mut(from..).unwrap_or_default())?;
            if read < wanted {
                let found = format!("{} bytes", from.saturating_add(read));
                return Err(bad(at, format!("{what} of {len} bytes"), found));
            }
        }
        Ok(bytes)
    }

    /// The next item; `None` at the end.
    fn item<E>(&mut self) -> Result<Option<Item>, Unread<E>> {
        let (at, mut head) = (self.at, [0; 12]);
        match self.fill(&mut head)? {
            0 => return Ok(None),
            12 => {}
            read => return Err(bad(at, "a header of 12 bytes", format!("{read} bytes"))),
        }
        let length = u32_at(&head, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let tag = array(&head, 4).unwrap_or_default();
        let (least, most) = match tag {
            STREAM_TAG => (STREAM_HEADER, STREAM_HEADER.saturating_add(MAX_NAME)),
            SEGMENT_TAG => (SEGMENT_HEADER, MAX_SEGMENT),
            _ => return Err(bad(at, "the tag NTFS or GURE", hex(&head))),
        };
        if !(least..=most).contains(&length) {
            return Err(bad(at, format!("a length from {least} to {most}"), length.to_string()));
        }
        Ok(Some(Item { at, tag, body: length.saturating_sub(head.len()) }))
    }

    /// The rest of a stream header.
    fn stream_header<E>(&mut self, item: &Item) -> Result<StreamHeader, Unread<E>> {
        let bytes = self.bytes(item.body, "a stream header")?;
        let flag = u32_at(&bytes, 0).unwrap_or(u32::MAX);
        let name_len = u32_at(&bytes, 12).and_then(|len| usize::try_from(len).ok());
        let name = bytes.get(16..).unwrap_or_default();
        if name_len != Some(name.len()) {
            let found = format!("{name_len:?}");
            return Err(bad(item.at, format!("a name of {} bytes", name.len()), found));
        }
        if flag > 1 {
            return Err(bad(item.at, "flag 0 or 1", flag.to_string()));
        }
        Ok(StreamHeader { name: name.to_vec(), encrypted: flag == 0 })
    }

    /// What a segment holds behind its header.
    fn segment<E>(&mut self, item: &Item) -> Result<Vec<u8>, Unread<E>> {
        let mut bytes = self.bytes(item.body, "a segment")?;
        bytes.drain(..4.min(bytes.len()));
        Ok(bytes)
    }
}

/// How far an encrypted stream has come.
struct Position {
    encrypted: bool,
    /// Where its next segment begins at the earliest.
    next: u64,
    /// A segment has said that the stream ends in it.
    ended: bool,
}

impl Position {
    fn blocks<S: Sink>(&mut self, content: &[u8], at: u64, sink: &mut S) -> Result<(), Unread<S::Error>> {
        let cut = || bad(at, "an encryption header", format!("{} bytes", content.len()));
        let number = |at: usize| u32_at(content, at).ok_or_else(cut);
        let start = u64_at(content, 0).ok_or_else(cut)?;
        let header = usize::try_from(number(8)?).unwrap_or(usize::MAX);
        let (within, valid) = (number(12)?, number(16)?);
        let (format, shift) = (u16_at(content, 20), content.get(22).copied().unwrap_or(0));
        let count = usize::from(u16_at(content, 26).ok_or_else(cut)?);
        let sizes_end = ENCRYPTION_HEADER.saturating_add(count.saturating_mul(4));
        let sizes =
            content.get(ENCRYPTION_HEADER..sizes_end).filter(|_| header >= sizes_end).ok_or_else(cut)?;
        let mut stored = content.get(header..).ok_or_else(cut)?;
        if format != Some(0) || content.get(25) != Some(&FORMAT) || !SHIFTS.contains(&shift) || count == 0 {
            let found = hex(content.get(20..28).unwrap_or_default());
            return Err(bad(
                at,
                "blocks of 512 bytes to 64 MiB, not compressed, encrypted in format 1",
                found,
            ));
        }
        let unit = 1_u32.checked_shl(shift.into()).unwrap_or(0);
        let extent = u64::from(unit).saturating_mul(count as u64);
        let in_order = start >= self.next && !self.ended && start.is_multiple_of(UNIT.into());
        let end = start.checked_add(extent).filter(|_| in_order);
        let end = end.ok_or_else(|| {
            bad(
                at,
                format!("content from byte {} on, at a multiple of 512", self.next),
                format!("from {start}"),
            )
        })?;
        if u64::from(within) > extent || valid > within || within == 0 {
            let found = format!("{within} bytes in the stream, {valid} of them written");
            return Err(bad(at, format!("at most {extent} bytes"), found));
        }
        let stream_end = start.saturating_add(within.into());
        for (index, size) in sizes.as_chunks().0.iter().copied().map(u32::from_le_bytes).enumerate() {
            let len = usize::try_from(size).unwrap_or(usize::MAX);
            let block = stored.split_at_checked(len).filter(|_| size <= unit && size.is_multiple_of(UNIT));
            let Some((block, rest)) = block else {
                let found = format!("a block of {size} bytes where {} are left", stored.len());
                return Err(bad(at, format!("blocks of at most {unit} bytes, multiples of 512"), found));
            };
            stored = rest;
            let offset = start.saturating_add(u64::from(unit).saturating_mul(index as u64));
            let block =
                Block { offset, stored: block, valid: start.saturating_add(valid.into()), end: stream_end };
            sink.block(block).map_err(Unread::Sink)?;
        }
        // A unit that is not full is the last one.
        self.ended = !stream_end.is_multiple_of(UNIT.into());
        self.next = stream_end.min(end);
        Ok(())
    }
}

const FORMAT: u8 = super::FORMAT_DEFAULT;
