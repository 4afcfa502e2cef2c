//! The content of an encrypted stream as segments: where each begins, what it stores, where it stands in the raw stream.
//!
//! A segment begins at every multiple of 64 KiB, and where stored units follow ones of which nothing is stored. So a
//! segment is some stored units and zeros behind them, which is what one data block of the format can say.

use std::ops::Range;

use super::SEGMENT;

/// Size of the headers of a segment with one block, in bytes. Windows pads them to this.
pub(super) const HEADERS: u64 = 512;
/// Bytes that are encrypted as one run.
const UNIT: u64 = 512;

/// A range of a stream of which all is stored, or nothing.
#[derive(Debug, Clone)]
struct Piece {
    /// Bytes of the stream.
    range: Range<u64>,
    stored: bool,
    /// Where the first segment that begins in it stands, in bytes from the first segment of the stream.
    at: u64,
}

/// The segments of one stream.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    size: u64,
    /// Bytes that all segments take.
    pub(super) len: u64,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where its content stands in the stream, in bytes; it ends with the stream at the latest.
    pub(super) content: Range<u64>,
    /// Bytes that are stored of it, whole units.
    pub(super) stored: u64,
    /// Where its header stands, in bytes from the first segment of the stream.
    pub(super) at: u64,
}

/// The first multiple of a segment's size from `offset` on.
fn grid(offset: u64) -> u64 {
    offset.next_multiple_of(SEGMENT)
}

/// The first one behind `offset`.
fn grid_after(offset: u64) -> u64 {
    grid(offset.saturating_add(1))
}

impl Pieces {
    /// The segments of a stream of `size` bytes, far less than 2^64, of which the units in `stored` are stored:
    /// ascending, not touching, in whole units but at the end.
    pub(super) fn new(size: u64, stored: &[Range<u64>]) -> Self {
        let end = size.next_multiple_of(UNIT);
        let mut all = Self { pieces: Vec::new(), size, len: 0 };
        let mut at = 0;
        for range in stored {
            let range = range.start.max(at)..range.end.next_multiple_of(UNIT).min(end);
            if range.is_empty() {
                continue;
            }
            all.push(at..range.start, false);
            all.push(range.clone(), true);
            at = range.end;
        }
        all.push(at..end, false);
        all
    }

    fn push(&mut self, range: Range<u64>, stored: bool) {
        if range.is_empty() {
            return;
        }
        let at = self.len;
        let len = range.end.saturating_sub(range.start);
        // Segments that begin in the piece at multiples of a segment's size.
        let on_grid = range.end.div_ceil(SEGMENT).saturating_sub(range.start.div_ceil(SEGMENT));
        let extra = u64::from(stored && !range.start.is_multiple_of(SEGMENT));
        let headers = on_grid.saturating_add(extra).saturating_mul(HEADERS);
        let added = headers.saturating_add(if stored { len } else { 0 });
        self.len = self.len.saturating_add(added);
        self.pieces.push(Piece { range, stored, at });
    }

    /// The segment that has the byte at `offset` of all segments.
    pub(super) fn segment(&self, offset: u64) -> Option<Segment> {
        // Of pieces in which no segment begins the last one stands where the next one that has some does.
        let index = self.pieces.partition_point(|piece| piece.at <= offset).checked_sub(1)?;
        let piece = self.pieces.get(index).filter(|_| offset < self.len)?;
        let within = offset.checked_sub(piece.at)?;
        let Range { start, end } = piece.range.clone();
        let (start, at) = if piece.stored {
            let first = grid_after(start).min(end).saturating_sub(start).saturating_add(HEADERS);
            match within.checked_sub(first) {
                None => (start, piece.at),
                Some(within) => {
                    let whole = HEADERS.saturating_add(SEGMENT);
                    let number = within.checked_div(whole)?;
                    let start = grid_after(start).saturating_add(number.saturating_mul(SEGMENT));
                    (start, piece.at.saturating_add(first).saturating_add(number.saturating_mul(whole)))
                }
            }
        } else {
            let number = within.checked_div(HEADERS)?;
            let start = grid(start).saturating_add(number.saturating_mul(SEGMENT));
            (start, piece.at.saturating_add(number.saturating_mul(HEADERS)))
        };
        let limit = grid_after(start);
        let stored_end = if piece.stored { end.min(limit) } else { start };
        let mut content_end = end.min(limit);
        if piece.stored && content_end < limit {
            // Pieces alternate: what follows is not stored.
            content_end =
                self.pieces.get(index.saturating_add(1)).map_or(end, |next| next.range.end.min(limit));
        }
        Some(Segment {
            content: start..content_end.min(self.size),
            stored: stored_end.saturating_sub(start),
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_file_has_a_segment_for_each_64_kib() {
        let whole = 0..200_000;
        let pieces = Pieces::new(200_000, &[whole]);
        let first = pieces.segment(0).unwrap();
        assert_eq!(first, Segment { content: 0..65536, stored: 65536, at: 0 });
        let last = pieces.segment(pieces.len - 1).unwrap();
        assert_eq!(last, Segment { content: 196_608..200_000, stored: 3584, at: 3 * 66048 });
        assert_eq!(pieces.len, 3 * 66048 + 512 + 3584);
        assert_eq!(pieces.segment(pieces.len), None);
    }

    #[test]
    fn what_was_never_written_is_the_end_of_a_segment_and_segments_of_nothing() {
        let begin = 0..1024;
        let pieces = Pieces::new(150_000, &[begin]);
        assert_eq!(pieces.segment(1535).unwrap(), Segment { content: 0..65536, stored: 1024, at: 0 });
        assert_eq!(pieces.segment(1536).unwrap(), Segment { content: 65536..131_072, stored: 0, at: 1536 });
        assert_eq!(pieces.segment(2559).unwrap(), Segment { content: 131_072..150_000, stored: 0, at: 2048 });
        assert_eq!(pieces.len, 2560);
    }

    #[test]
    fn an_empty_stream_has_no_segment() {
        let pieces = Pieces::new(0, &[]);
        assert_eq!((pieces.len, pieces.segment(0)), (0, None));
    }

    proptest! {
        #[test]
        fn segments_cover_the_stream_once_and_store_what_is_stored(
            size in 1_u64..400_000, cuts in prop::collection::btree_set(0_u64..800, 0..12),
        ) {
            let cuts: Vec<u64> = cuts.into_iter().map(|cut| cut * UNIT).collect();
            let stored: Vec<Range<u64>> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let pieces = Pieces::new(size, &stored);
            let (mut at, mut content) = (0, 0);
            while let Some(segment) = pieces.segment(at) {
                prop_assert_eq!(segment.at, at);
                prop_assert_eq!(segment.content.start, content);
                prop_assert!(segment.content.end > content && segment.content.end - content <= SEGMENT);
                let next = at + HEADERS + segment.stored;
                for inside in [at + 1, at + HEADERS - 1, next - 1] {
                    prop_assert!(pieces.segment(inside).as_ref() == Some(&segment));
                }
                let mut unit = segment.content.start;
                while unit < segment.content.end {
                    let is_stored = stored.iter().any(|range| range.contains(&unit));
                    prop_assert_eq!(is_stored, unit < segment.content.start + segment.stored, "at {}", unit);
                    unit += UNIT;
                }
                (at, content) = (next, segment.content.end);
            }
            prop_assert_eq!((at, content), (pieces.len, size));
        }
    }
}
