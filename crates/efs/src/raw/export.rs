use std::{ops::Range, sync::Arc};

use undelfs_source::{ReadAt, ReadError};

use super::{
    DATA_TYPE, ENCRYPTION_HEADER, EXTENDED, FILE_HEADER, FORMAT_DEFAULT, MAGIC, METADATA_NAME, SEGMENT,
    SEGMENT_HEADER, SEGMENT_TAG, STREAM_HEADER, STREAM_TAG, UNNAMED,
    pieces::{HEADERS, Pieces, Segment},
};
use crate::text::wtf8_to_utf16;

/// Largest stream that is exported, in bytes: with its headers it still has a size.
const MAX_SIZE: u64 = 1 << 56;

/// A stream to be exported.
pub struct Source {
    /// Name in WTF-8; empty for the unnamed stream.
    pub name: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Bytes from here on were never written and read as zeros.
    pub valid: u64,
    /// Where it is encrypted, which ranges of it are stored: in whole units of 512 bytes, ascending, not touching. All
    /// else is zeros. `None` for a stream that is not encrypted.
    pub stored: Option<Vec<Range<u64>>>,
    /// True for a stream with holes.
    pub sparse: bool,
    /// Its bytes at their own offsets: encrypted ones to the end of their last unit; else the content.
    pub bytes: Arc<dyn ReadAt>,
}

/// A stream is larger than any volume.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a stream of {0} bytes is larger than any volume; its description is damaged")]
pub struct TooLarge(pub u64);

/// A raw backup stream, made as it is read. Nothing but headers is kept.
pub struct Export {
    parts: Vec<Part>,
    /// Exponent of two of the cluster size.
    cluster_shift: u8,
    size: u64,
}

struct Part {
    /// Where it begins.
    at: u64,
    what: What,
}

enum What {
    Header(Vec<u8>),
    Encrypted(Pieces, Source),
    Plain(Source),
}

/// A field of four bytes. What is larger than it is never put there.
fn le32(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

fn stream_header(name: &[u8], encrypted: bool) -> Vec<u8> {
    let length = STREAM_HEADER.saturating_add(name.len()) as u64;
    let flag = le32(u64::from(!encrypted));
    [&le32(length)[..], &STREAM_TAG, &flag, &[0; 8], &le32(name.len() as u64), name].concat()
}

fn segment_header(length: u64) -> Vec<u8> {
    let length = length.saturating_add(SEGMENT_HEADER as u64);
    [&le32(length)[..], &SEGMENT_TAG, &[0; 4]].concat()
}

fn name_of(stream: &[u8]) -> Vec<u8> {
    let units = match stream {
        [] => UNNAMED.encode_utf16().collect(),
        name => {
            let colon = u16::from(b':');
            let name = wtf8_to_utf16(name);
            std::iter::once(colon).chain(name).chain(DATA_TYPE.encode_utf16()).collect::<Vec<u16>>()
        }
    };
    units.into_iter().flat_map(u16::to_le_bytes).collect()
}

impl Export {
    /// The raw backup stream of a file with this `$EFS` attribute and these streams, on a volume with clusters of
    /// `cluster` bytes.
    ///
    /// # Errors
    /// When a stream is larger than any volume.
    pub fn new(metadata: &[u8], streams: Vec<Source>, cluster: u32) -> Result<Self, TooLarge> {
        let cluster_shift = u8::try_from(cluster.max(1).ilog2()).unwrap_or(0);
        let mut export = Self { parts: Vec::new(), cluster_shift, size: 0 };
        let mut head = MAGIC.to_vec();
        head.resize(FILE_HEADER, 0);
        head.extend(stream_header(&METADATA_NAME, true));
        head.extend(segment_header(metadata.len() as u64));
        head.extend_from_slice(metadata);
        export.push(head.len() as u64, What::Header(head));
        for stream in streams {
            if stream.size > MAX_SIZE {
                return Err(TooLarge(stream.size));
            }
            let header = stream_header(&name_of(&stream.name), stream.stored.is_some());
            export.push(header.len() as u64, What::Header(header));
            let what = match &stream.stored {
                Some(stored) => What::Encrypted(Pieces::new(stream.size, stored), stream),
                None => What::Plain(stream),
            };
            let len = match &what {
                What::Encrypted(pieces, _) => pieces.len,
                What::Plain(stream) => plain_len(stream.size),
                What::Header(header) => header.len() as u64,
            };
            export.push(len, what);
        }
        Ok(export)
    }

    fn push(&mut self, len: u64, what: What) {
        self.parts.push(Part { at: self.size, what });
        self.size = self.size.saturating_add(len);
    }

    /// Reads from one piece of a part, `within` bytes from the part's start; says how much.
    fn read_part(&self, part: &Part, within: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        match &part.what {
            What::Header(header) => header.read_at(buf, within),
            What::Encrypted(pieces, stream) => {
                let Some(segment) = pieces.segment(within) else { return Ok(0) };
                let within = within.saturating_sub(segment.at);
                match within.checked_sub(HEADERS) {
                    None => self.encrypted_header(&segment, stream).read_at(buf, within),
                    Some(within) => {
                        let left = segment.stored.saturating_sub(within);
                        read_stored(&*stream.bytes, segment.content.start.saturating_add(within), left, buf)
                    }
                }
            }
            What::Plain(stream) => {
                let whole = SEGMENT.saturating_add(SEGMENT_HEADER as u64);
                let number = within.checked_div(whole).unwrap_or(0);
                let start = number.saturating_mul(SEGMENT);
                let within = within.saturating_sub(number.saturating_mul(whole));
                let len = stream.size.saturating_sub(start).min(SEGMENT);
                match within.checked_sub(SEGMENT_HEADER as u64) {
                    None => segment_header(len).read_at(buf, within),
                    Some(within) => {
                        let left = len.saturating_sub(within);
                        read_stored(&*stream.bytes, start.saturating_add(within), left, buf)
                    }
                }
            }
        }
    }

    /// The headers of a segment of an encrypted stream: its own, the encryption header with one block, the extended
    /// header, padding.
    fn encrypted_header(&self, segment: &Segment, stream: &Source) -> Vec<u8> {
        let Range { start, end } = segment.content.clone();
        let len = end.saturating_sub(start);
        let valid = stream.valid.saturating_sub(start).min(len);
        let unit = len.next_power_of_two().max(512).ilog2() as u8;
        let mut header = segment_header(HEADERS.saturating_sub(16).saturating_add(segment.stored));
        header.extend(start.to_le_bytes());
        header.extend(le32(HEADERS.saturating_sub(SEGMENT_HEADER as u64)));
        header.extend(le32(len));
        header.extend(le32(valid));
        header.extend([0, 0, unit, unit, self.cluster_shift, FORMAT_DEFAULT, 1, 0]);
        debug_assert_eq!(header.len(), SEGMENT_HEADER.saturating_add(ENCRYPTION_HEADER));
        header.extend(le32(segment.stored));
        header.extend(EXTENDED);
        header.extend(le32(u64::from(stream.sparse)));
        header.resize(HEADERS as usize, 0);
        header
    }
}

fn plain_len(size: u64) -> u64 {
    size.div_ceil(SEGMENT).saturating_mul(SEGMENT_HEADER as u64).saturating_add(size)
}

/// Reads at most `left` bytes, as many as `buf` takes.
fn read_stored(bytes: &dyn ReadAt, offset: u64, left: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
    let buf = buf.get_mut(..len).unwrap_or_default();
    bytes.read_exact_at(buf, offset)?;
    Ok(len)
}

impl ReadAt for Export {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let total = buf.len().min(left);
        let mut done = 0_usize;
        while done < total {
            let at = offset.saturating_add(done as u64);
            // Of parts without bytes the last one stands where the next one does.
            let index = self.parts.partition_point(|part| part.at <= at).saturating_sub(1);
            let Some(part) = self.parts.get(index) else { break };
            let rest = buf.get_mut(done..total).unwrap_or_default();
            match self.read_part(part, at.saturating_sub(part.at), rest)? {
                0 => break,
                read => done = done.saturating_add(read),
            }
        }
        Ok(done)
    }
}
