//! Files that the Windows Overlay Filter compressed: CompactOS, and `compact /exe`.
//!
//! Such a file has a reparse point that names the method, an unnamed stream that has the size of the content and
//! nothing in it, and a named stream, `WofCompressedData`, with the content in chunks. The layout of the reparse
//! point is that of `WOF_EXTERNAL_INFO` and `FILE_PROVIDER_EXTERNAL_INFO_V1` in Microsoft's `ntifs.h`; the stream
//! is that of a resource in a WIM image.

mod bits;
mod chunks;
mod copy;
mod huffman;
pub mod lzx;
pub mod xpress;

use std::{fmt, ops::Range, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt, ReadError, bytes::u32_at};
use undelfs_volume::filesystem::{Codec, Refusal, Stream};

pub use chunks::{BadTable, Chunks};

/// Name of the stream with the compressed content.
pub const STREAM: &[u8] = b"WofCompressedData";

const VERSION: u32 = 1;
const PROVIDER_WIM: u32 = 1;
const PROVIDER_FILE: u32 = 2;

/// A method of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// XPRESS with Huffman codes in chunks of 4 KiB.
    Xpress4k,
    /// LZX in chunks of 32 KiB.
    Lzx,
    /// XPRESS with Huffman codes in chunks of 8 KiB.
    Xpress8k,
    /// XPRESS with Huffman codes in chunks of 16 KiB.
    Xpress16k,
}

impl Algorithm {
    /// From the content of a reparse point of the Windows Overlay Filter.
    ///
    /// # Errors
    /// With what the file is, where its content is not in its own stream or the method is unknown.
    pub fn of_reparse_point(content: &[u8]) -> Result<Self, String> {
        let number = |at| {
            let cut = || "its reparse point of the Windows Overlay Filter is cut short".to_owned();
            u32_at(content, at).ok_or_else(cut)
        };
        match (number(8)?, number(12)?) {
            (VERSION, PROVIDER_FILE) => {}
            (VERSION, PROVIDER_WIM) => {
                return Err(
                    "its content is in a WIM image (WIMBoot), not in the file; extract it from that image"
                        .to_owned(),
                );
            }
            (version, provider) => {
                return Err(format!(
                    "it belongs to provider {provider} in version {version} of the Windows Overlay Filter, known are \
                     1 and 2 in version {VERSION}"
                ));
            }
        }
        match (number(16)?, number(20)?) {
            (VERSION, 0) => Ok(Self::Xpress4k),
            (VERSION, 1) => Ok(Self::Lzx),
            (VERSION, 2) => Ok(Self::Xpress8k),
            (VERSION, 3) => Ok(Self::Xpress16k),
            (version, algorithm) => Err(format!(
                "it is compressed by the Windows Overlay Filter (CompactOS) with algorithm {algorithm} in version \
                 {version}, known are 0 to 3 in version {VERSION}"
            )),
        }
    }

    /// Content of a chunk in bytes.
    pub fn chunk(self) -> u32 {
        match self {
            Self::Xpress4k => 4 << 10,
            Self::Xpress8k => 8 << 10,
            Self::Xpress16k => 16 << 10,
            Self::Lzx => 32 << 10,
        }
    }

    /// Decompresses a chunk, the content of which has the size of `out`, at most [`chunk`](Self::chunk).
    ///
    /// # Errors
    /// [`Bad`] where the chunk is not sound.
    pub fn decompress(self, packed: &[u8], out: &mut [u8]) -> Result<(), Bad> {
        match self {
            Self::Lzx => lzx::decompress(packed, out),
            _ => xpress::decompress(packed, out),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xpress4k => "XPRESS4K",
            Self::Lzx => "LZX",
            Self::Xpress8k => "XPRESS8K",
            Self::Xpress16k => "XPRESS16K",
        })
    }
}

/// Why a chunk is not sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// It ends before its content does.
    #[error("the chunk ends before its content does")]
    Cut,
    /// The lengths of code words are those of no code.
    #[error("the lengths of the code words are those of no Huffman code")]
    Code,
    /// A code word belongs to no symbol.
    #[error("a code word belongs to no symbol")]
    Word,
    /// A match reaches before the begin of the content or beyond its end.
    #[error("a match of {length} bytes refers {distance} bytes back where the chunk has {have}")]
    Match {
        /// How far back.
        distance: usize,
        /// How long.
        length: usize,
        /// How much of the content is there.
        have: usize,
    },
    /// A length is stored in the long form and needs only the short one.
    #[error("the match length {0} is stored in the form for lengths from 15 on")]
    Length(usize),
    /// A block is empty or larger than what is left of the content.
    #[error("a block has {size} bytes where {left} are left")]
    BlockSize {
        /// What it says.
        size: usize,
        /// What is left of the content.
        left: usize,
    },
    /// A block is of no known kind.
    #[error("a block is of kind {0}, expected 1, 2 or 3")]
    BlockKind(u32),
}

/// Gives the unnamed stream among `streams` the content of the stream [`STREAM`], which is left out.
pub(crate) fn unfold(streams: &mut Vec<Stream>, algorithm: Algorithm) {
    let Some(index) = streams.iter().position(|stream| stream.name.is_empty()) else { return };
    let packed = streams.iter().position(|stream| stream.name == STREAM).map(|at| streams.remove(at));
    // The unnamed stream comes first.
    let Some(plain) = streams.get_mut(index) else { return };
    plain.valid = plain.size;
    let Some(packed) = packed else {
        plain.refusal.get_or_insert_with(|| Refusal {
            kind: ErrorKind::Damaged,
            reason: format!(
                "the content cannot be read: it is compressed by the Windows Overlay Filter ({algorithm}), and the \
                 description of the stream WofCompressedData, which holds it, is lost"
            ),
        });
        return;
    };
    let refusal = packed.refusal.or_else(|| {
        packed.codec.as_ref().map(|codec| Refusal {
            kind: ErrorKind::Unsupported,
            reason: format!(
                "the content cannot be read: its stream WofCompressedData is compressed again ({codec:?})"
            ),
        })
    });
    plain.refusal = plain.refusal.take().or(refusal);
    plain.layout = packed.layout;
    let chunks = Chunks::new(plain.size, algorithm.chunk(), packed.size.min(packed.valid));
    plain.codec = Some(Arc::new(Wof { algorithm, chunks }));
}

/// The compression of one stream.
#[derive(Debug)]
struct Wof {
    algorithm: Algorithm,
    chunks: Chunks,
}

impl Codec for Wof {
    fn unit(&self) -> u64 {
        u64::from(self.algorithm.chunk())
    }

    fn decode(&self, unit: u64, raw: &dyn ReadAt, out: &mut [u8]) -> Result<(), ReadError> {
        let (algorithm, out_len) = (self.algorithm, out.len() as u64);
        let bad = |reason: &dyn fmt::Display| ReadError::Decode {
            offset: unit.saturating_mul(u64::from(algorithm.chunk())),
            len: out_len,
            reason: format!("{algorithm}: {reason}"),
        };
        let stored = self.chunks.stored(unit, raw)?.map_err(|reason| bad(&reason))?;
        let len = stored.end.saturating_sub(stored.start);
        if len == out.len() as u64 {
            return raw.read_exact_at(out, stored.start);
        }
        let len = usize::try_from(len).ok().filter(|len| (1..out.len()).contains(len));
        let Some(len) = len else {
            let found = format!("chunk {unit} is stored in the bytes {stored:?}, more than it has or none");
            return Err(bad(&found));
        };
        let mut packed = vec![0; len];
        raw.read_exact_at(&mut packed, stored.start)?;
        algorithm.decompress(&packed, out).map_err(|reason| bad(&reason))
    }

    fn depends_on(&self, stored: &[Range<u64>], raw: &dyn ReadAt) -> Vec<Range<u64>> {
        self.chunks.depends_on(stored, raw)
    }
}

#[cfg(test)]
mod tests;
