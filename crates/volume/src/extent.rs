use std::sync::Arc;

use undelfs_source::{BadRange, ReadAt, ReadError};

/// A range of bytes of a source: a partition, or any part of one.
///
/// Its size is the declared one, also where the source ends earlier: reads come back short there.
#[derive(Clone)]
pub struct Extent {
    source: Arc<dyn ReadAt>,
    start: u64,
    len: u64,
}

impl Extent {
    /// The `len` bytes of `source` from byte `start` on.
    pub fn new(source: Arc<dyn ReadAt>, start: u64, len: u64) -> Self {
        Self { source, start, len }
    }

    /// Offset of the first byte in the source.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Offset in the source, and how many of `len` bytes at `offset` the extent has.
    fn clip(&self, offset: u64, len: usize) -> (u64, usize) {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        match self.start.checked_add(offset) {
            Some(at) => (at, left.min(len)),
            None => (u64::MAX, 0),
        }
    }
}

impl std::fmt::Debug for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extent").field("start", &self.start).field("len", &self.len).finish_non_exhaustive()
    }
}

impl ReadAt for Extent {
    fn size(&self) -> u64 {
        self.len
    }

    fn present(&self) -> u64 {
        self.len.min(self.source.present().saturating_sub(self.start))
    }

    fn sector_size(&self) -> u32 {
        self.source.sector_size()
    }

    fn next_data(&self, offset: u64) -> u64 {
        let data = self.start.checked_add(offset).map(|at| self.source.next_data(at));
        let inside = data.map_or(offset, |data| data.saturating_sub(self.start));
        inside.min(self.len).max(offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let (at, n) = self.clip(offset, buf.len());
        match buf.get_mut(..n) {
            Some(piece) if n > 0 => self.source.read_at(piece, at),
            _ => Ok(0),
        }
    }

    fn read_salvage(&self, buf: &mut [u8], offset: u64) -> Vec<BadRange> {
        let (at, n) = self.clip(offset, buf.len());
        let len = buf.len();
        let (inside, outside) = buf.split_at_mut(n);
        let mut bad = if n > 0 { self.source.read_salvage(inside, at) } else { Vec::new() };
        if !outside.is_empty() {
            outside.fill(0);
            match bad.last_mut() {
                Some(last) if last.range.end == n && last.error.is_none() => last.range.end = len,
                _ => bad.push(BadRange { range: n..len, error: None }),
            }
        }
        bad
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(size: u8, start: u64, len: u64) -> Extent {
        let data: Vec<u8> = (0..size).collect();
        Extent::new(Arc::new(data), start, len)
    }

    #[test]
    fn an_extent_never_gives_bytes_behind_its_end() {
        let extent = extent(100, 10, 20);
        let mut buf = [0xFF; 30];
        assert_eq!(extent.read_at(&mut buf, 5).unwrap(), 15);
        assert_eq!(buf[..15], (15..30).collect::<Vec<u8>>());
        assert_eq!(buf[15..], [0xFF; 15]);
    }

    #[test]
    fn a_cut_source_leaves_the_declared_size_and_shortens_reads() {
        let extent = extent(100, 90, 500);
        assert_eq!(extent.size(), 500);
        let mut buf = [0; 40];
        assert_eq!(extent.read_at(&mut buf, 4).unwrap(), 6);
        assert!(extent.read_exact_at(&mut buf, 4).is_err());
        let bad = extent.read_salvage(&mut buf, 4);
        assert_eq!((bad.len(), bad[0].range.clone()), (1, 6..40));
        assert_eq!(buf[..8], [94, 95, 96, 97, 98, 99, 0, 0]);
    }

    #[test]
    fn salvage_past_both_the_end_of_the_source_and_of_the_extent_is_one_range() {
        let extent = extent(100, 90, 20);
        let mut buf = [1; 40];
        let bad = extent.read_salvage(&mut buf, 0);
        assert_eq!((bad.len(), bad[0].range.clone()), (1, 10..40));
    }

    proptest! {
        #[test]
        fn any_request_reads_as_the_slice_it_names(
            start in prop_oneof![0u64..300, any::<u64>()],
            len in prop_oneof![0u64..300, any::<u64>()],
            offset in prop_oneof![0u64..300, any::<u64>()],
            want in 0usize..300,
        ) {
            let extent = extent(200, start, len);
            let mut buf = vec![0xFF; want];
            let read = extent.read_at(&mut buf, offset).unwrap();
            let from = start.saturating_add(offset).min(200);
            let to = from.max(start.saturating_add(len).min(200)).min(from.saturating_add(want as u64));
            let expected: Vec<u8> = (from as u8..to as u8).collect();
            prop_assert_eq!(&buf[..read], &expected[..]);
        }
    }
}
