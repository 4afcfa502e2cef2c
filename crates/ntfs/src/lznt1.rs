//! LZNT1, the compression of NTFS files.
//!
//! A stream is cut into units of a power of two of clusters. A unit that is stored in fewer clusters than it
//! has is compressed: a sequence of chunks that each hold 4096 bytes of content. The format is the one of
//! MS-XCA 2.5.

use std::{fmt, sync::Arc};

use undelfs_source::{ReadAt, ReadError, bytes::u16_at};
use undelfs_volume::filesystem::{Codec, Place, Run};

/// Content bytes of a chunk.
const CHUNK: usize = 4096;

/// The compression of one stream.
pub struct Lznt1 {
    runs: Arc<[Run]>,
    cluster: u64,
    unit_clusters: u64,
}

impl Lznt1 {
    /// Largest unit that is read, in bytes: 16 of the largest clusters.
    pub const MAX_UNIT: u64 = 32 << 20;

    /// The compression of a stream that has `runs` of clusters of `cluster` bytes, in units of
    /// 2^`unit_exponent` clusters. `None` where the unit is larger than [`MAX_UNIT`](Self::MAX_UNIT).
    pub fn new(runs: Arc<[Run]>, cluster: u32, unit_exponent: u8) -> Option<Self> {
        let cluster = u64::from(cluster);
        let unit_clusters = 1_u64.checked_shl(u32::from(unit_exponent))?;
        let unit = unit_clusters.checked_mul(cluster)?;
        (unit > 0 && unit <= Self::MAX_UNIT).then_some(Self { runs, cluster, unit_clusters })
    }

    /// How many clusters of a unit are stored. `None` where they are not its first ones, as they have to be.
    fn stored(&self, unit: u64) -> Option<u64> {
        let first = unit.saturating_mul(self.unit_clusters);
        let end = first.saturating_add(self.unit_clusters);
        let from = self.runs.partition_point(|run| run.first.saturating_add(run.count) <= first);
        let mut stored = first;
        for run in self.runs.iter().skip(from).take_while(|run| run.first < end) {
            if run.place == Place::Hole {
                continue;
            }
            if run.first > stored {
                return None;
            }
            stored = run.first.saturating_add(run.count).min(end);
        }
        Some(stored.saturating_sub(first))
    }
}

impl fmt::Debug for Lznt1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LZNT1 in units of {} clusters", self.unit_clusters)
    }
}

impl Codec for Lznt1 {
    fn unit(&self) -> u64 {
        self.unit_clusters.saturating_mul(self.cluster)
    }

    fn decode(&self, unit: u64, raw: &dyn ReadAt, out: &mut [u8]) -> Result<(), ReadError> {
        let offset = unit.saturating_mul(self.unit());
        let out_len = out.len() as u64;
        let bad = |reason: String| ReadError::Decode { offset, len: out_len, reason };
        let stored = self.stored(unit).ok_or_else(|| bad("LZNT1: a unit begins with a hole".to_owned()))?;
        match stored {
            0 => out.fill(0),
            stored if stored == self.unit_clusters => raw.read_exact_at(out, offset)?,
            stored => {
                let len = usize::try_from(stored.saturating_mul(self.cluster)).unwrap_or(0);
                let mut packed = vec![0; len];
                raw.read_exact_at(&mut packed, offset)?;
                decompress(&packed, out).map_err(|reason| bad(format!("LZNT1: {reason}")))?;
            }
        }
        Ok(())
    }
}

/// Why compressed bytes are not sound.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// A chunk says that it is longer than what there is.
    #[error("a chunk at byte {at} of the unit has {wanted} bytes, {left} are left")]
    Cut {
        /// Where the chunk begins, in compressed bytes.
        at: usize,
        /// Size that its header states.
        wanted: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A chunk copies from before its own start.
    #[error("a chunk refers {distance} bytes back where it has only {have}")]
    Distance {
        /// How far back.
        distance: usize,
        /// How many bytes the chunk has so far.
        have: usize,
    },
    /// A chunk's header has bits that no chunk has.
    #[error("a chunk begins with {0:#06x}, expected 0x3nnn or 0xBnnn")]
    Header(u16),
}

/// Decompresses `packed` into `out`. What the chunks do not fill is zeros.
///
/// # Errors
/// [`Bad`] when a chunk is not sound.
pub fn decompress(packed: &[u8], out: &mut [u8]) -> Result<(), Bad> {
    let mut at = 0_usize;
    for content in out.chunks_mut(CHUNK) {
        let header = u16_at(packed, at).unwrap_or(0);
        if header == 0 {
            content.fill(0);
            continue;
        }
        if header & 0x7000 != 0x3000 {
            return Err(Bad::Header(header));
        }
        let start = at.saturating_add(2);
        let wanted = usize::from(header & 0x0FFF).saturating_add(1);
        let end = start.saturating_add(wanted);
        let Some(chunk) = packed.get(start..end) else {
            return Err(Bad::Cut { at, wanted, left: packed.len().saturating_sub(start) });
        };
        if header & 0x8000 == 0 {
            let len = chunk.len().min(content.len());
            let (to, rest) = content.split_at_mut(len);
            to.copy_from_slice(chunk.get(..len).unwrap_or_default());
            rest.fill(0);
        } else {
            decompress_chunk(chunk, content)?;
        }
        at = end;
    }
    Ok(())
}

/// Decompresses one chunk. `out` may be shorter than the chunk's content: the rest is dropped.
fn decompress_chunk(mut packed: &[u8], out: &mut [u8]) -> Result<(), Bad> {
    let mut have = 0_usize;
    'chunk: while let Some((&flags, rest)) = packed.split_first() {
        packed = rest;
        for bit in 0..8_u32 {
            if packed.is_empty() || have == out.len() {
                break 'chunk;
            }
            if flags & (1_u8 << bit) == 0 {
                if let (Some(to), Some((&byte, rest))) = (out.get_mut(have), packed.split_first()) {
                    *to = byte;
                    packed = rest;
                }
                have = have.saturating_add(1);
                continue;
            }
            let Some(token) = u16_at(packed, 0) else {
                break 'chunk;
            };
            packed = packed.get(2..).unwrap_or_default();
            let (distance, length) = split_token(token, have);
            if distance > have {
                return Err(Bad::Distance { distance, have });
            }
            let end = have.saturating_add(length).min(out.len());
            copy_back(out, have, end, distance);
            have = end;
        }
    }
    out.get_mut(have..).unwrap_or_default().fill(0);
    Ok(())
}

/// The distance and the length of a back reference. The further a chunk has come, the more of the 16 bits are
/// distance: the smallest number, at least four, that can reach its start.
fn split_token(token: u16, have: usize) -> (usize, usize) {
    let reach = usize::BITS.saturating_sub(have.saturating_sub(1).leading_zeros()).clamp(4, 12);
    let length_bits = 16_u32.saturating_sub(reach);
    let distance = usize::from(token.checked_shr(length_bits).unwrap_or(0)).saturating_add(1);
    let mask = 1_u16.checked_shl(length_bits).map_or(u16::MAX, |n| n.wrapping_sub(1));
    (distance, usize::from(token & mask).saturating_add(3))
}

/// Fills `out[from..to]` with the bytes that stand `distance` before, which may overlap.
fn copy_back(out: &mut [u8], from: usize, to: usize, distance: usize) {
    let start = from.saturating_sub(distance);
    let mut done = from;
    while done < to {
        let step = done.saturating_sub(start).min(to.saturating_sub(done));
        if step == 0 {
            return;
        }
        out.copy_within(start..start.saturating_add(step), done);
        done = done.saturating_add(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_ms_xca_decompresses() {
        let packed = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01,
            0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24,
            0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09, 0x16, 0x01, 0x48,
            0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
        ];
        let text = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        let mut out = vec![9; text.len() + 5];
        decompress(&packed, &mut out).unwrap();
        assert_eq!(&out[..text.len()], text);
        assert_eq!(&out[text.len()..], [0; 5]);
    }

    #[test]
    fn stored_chunks_are_copied() {
        let mut packed = vec![0xFF, 0x3F];
        packed.extend((0..CHUNK).map(|i| i as u8));
        let mut out = vec![0; CHUNK];
        decompress(&packed, &mut out).unwrap();
        assert_eq!(out, packed[2..]);
    }

    #[test]
    fn damage_is_an_error() {
        let mut out = [0; 100];
        assert_eq!(decompress(&[0x05, 0xB0, 0], &mut out), Err(Bad::Cut { at: 0, wanted: 6, left: 1 }));
        assert_eq!(decompress(&[0x02, 0xB0, 1, 0, 0], &mut out), Err(Bad::Distance { distance: 1, have: 0 }));
        assert_eq!(decompress(&[0x02, 0xC0, 1, 0, 0], &mut out), Err(Bad::Header(0xC002)));
    }

    #[test]
    fn only_units_with_a_hole_are_decompressed() {
        let runs: Arc<[Run]> = [
            Run { first: 0, count: 16, place: Place::At(0) },
            Run { first: 16, count: 1, place: Place::At(16) },
            Run { first: 17, count: 31, place: Place::Hole },
        ]
        .into();
        let codec = Lznt1::new(runs, 512, 4).unwrap();
        let mut raw = vec![7_u8; 16 * 512];
        raw.extend([0x02, 0xB0, 2, b'x', 0xFC]);
        raw.resize(48 * 512, 0);
        let mut out = vec![9; 8192];
        codec.decode(0, &raw, &mut out).unwrap();
        assert_eq!(out, vec![7; 8192]);
        assert!(codec.decode(1, &raw, &mut out).is_ok());
        codec.decode(2, &raw, &mut out).unwrap();
        assert_eq!(out, vec![0; 8192]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(packed: Vec<u8>, len in 0_usize..9000) {
            let mut out = vec![0; len];
            let _ = decompress(&packed, &mut out);
            let mut chunk = vec![(packed.len().saturating_sub(1) & 0xFF) as u8, 0xB0];
            chunk.extend(&packed);
            let _ = decompress(&chunk, &mut out);
        }
    }
}
