//! Where the chunks of a compressed stream are: a table with the end of each chunk but the last one, counted from
//! the end of the table, then the chunks.

use std::ops::Range;

use undelfs_source::{ReadAt, ReadError};

/// The chunks of one stream. Their table is read when it is needed, an entry at a time.
#[derive(Debug, Clone, Copy)]
pub struct Chunks {
    /// Bytes of the whole content.
    content: u64,
    /// Content bytes of each chunk but the last one.
    chunk: u64,
    /// How many there are.
    count: u64,
    /// Size of an entry of the table in bytes.
    entry: u64,
    /// Bytes of the whole stored stream.
    stored: u64,
}

/// Why the table does not say where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// The stream is too short for its table.
    #[error("the chunk table has {table} bytes where the stored stream has {stored}")]
    Cut {
        /// Size of the table in bytes.
        table: u64,
        /// Size of the stored stream in bytes.
        stored: u64,
    },
    /// The chunk ends before it begins, or beyond the end of the stream.
    #[error("the chunk table says that chunk {chunk} is the bytes {from} to {to} of {data} stored bytes")]
    Place {
        /// Number of the chunk.
        chunk: u64,
        /// Where it begins, in bytes from the end of the table.
        from: u64,
        /// Where it ends.
        to: u64,
        /// How many bytes all chunks have.
        data: u64,
    },
}

impl Chunks {
    /// The chunks of `content` bytes, cut into `chunk` bytes each, in a stream of `stored` bytes. Entries of the table
    /// have eight bytes where the content has 4 GiB or more.
    pub fn new(content: u64, chunk: u32, stored: u64) -> Self {
        let chunk = u64::from(chunk.max(1));
        let entry = if content > u64::from(u32::MAX) { 8 } else { 4 };
        Self { content, chunk, count: content.div_ceil(chunk), entry, stored }
    }

    /// Size of the table in bytes.
    fn table(&self) -> u64 {
        self.count.saturating_sub(1).saturating_mul(self.entry)
    }

    /// Where chunk `index` ends, in bytes from the end of the table, as the table says.
    fn end(&self, index: u64, raw: &dyn ReadAt) -> Result<u64, ReadError> {
        if index >= self.count.saturating_sub(1) {
            return Ok(self.stored.saturating_sub(self.table()));
        }
        let mut number = [0; 8];
        let (entry, _) = number.split_at_mut(usize::try_from(self.entry).unwrap_or(8).min(8));
        raw.read_exact_at(entry, index.saturating_mul(self.entry))?;
        Ok(u64::from_le_bytes(number))
    }

    /// The bytes of the stored stream that chunk `index` stands in.
    ///
    /// # Errors
    /// The outer error where the table cannot be read, the inner one where it contradicts itself.
    pub fn stored(&self, index: u64, raw: &dyn ReadAt) -> Result<Result<Range<u64>, BadTable>, ReadError> {
        let table = self.table();
        let Some(data) = self.stored.checked_sub(table) else {
            return Ok(Err(BadTable::Cut { table, stored: self.stored }));
        };
        let from = match index.checked_sub(1) {
            Some(before) => self.end(before, raw)?,
            None => 0,
        };
        let to = self.end(index, raw)?;
        if from > to || to > data {
            return Ok(Err(BadTable::Place { chunk: index, from, to, data }));
        }
        Ok(Ok(table.saturating_add(from)..table.saturating_add(to)))
    }

    /// The ranges of content that are made of any of the bytes in `stored`, chunks or entries of the table. Both
    /// ascend without touching each other.
    ///
    /// Where `raw` cannot give an entry, the chunks beside it count only if the entry is in `stored` itself. A table
    /// that contradicts itself gives some ranges.
    pub fn depends_on(&self, stored: &[Range<u64>], raw: &dyn ReadAt) -> Vec<Range<u64>> {
        let table = self.table();
        let mut chunks: Vec<Range<u64>> = Vec::new();
        let mut push = |first: u64, last: u64| match chunks.last_mut() {
            Some(range) if (range.start..=range.end).contains(&first) => {
                range.end = range.end.max(last.saturating_add(1));
            }
            _ => chunks.push(first..last.saturating_add(1)),
        };
        for range in stored.iter().filter(|range| !range.is_empty() && range.start < table) {
            // An entry is the end of its own chunk and the begin of the next one.
            let last = range.end.min(table).saturating_sub(1);
            let entry = |byte: u64| byte.checked_div(self.entry).unwrap_or(0);
            push(entry(range.start), entry(last).saturating_add(1));
        }
        let mut found = 0;
        for range in stored {
            let (start, end) = (range.start.max(table), range.end.min(self.stored));
            if start < end {
                let place = |byte: u64| byte.saturating_sub(table);
                let first = self.find(place(start), found, stored, raw);
                found = self.find(place(end).saturating_sub(1), first, stored, raw);
                push(first, found);
            }
        }
        let bytes = |chunk: u64| chunk.saturating_mul(self.chunk).min(self.content);
        chunks.sort_unstable_by_key(|range| range.start);
        let mut ranges: Vec<Range<u64>> = Vec::with_capacity(chunks.len());
        for range in chunks {
            let (start, end) = (bytes(range.start), bytes(range.end));
            match ranges.last_mut() {
                _ if start >= end => {}
                Some(last) if last.end >= start => last.end = last.end.max(end),
                _ => ranges.push(start..end),
            }
        }
        ranges
    }

    /// The chunk, from `from` on, that has the byte `wanted`, counted from the end of the table. Entries in `gone` are
    /// not known; where the chunk is among theirs, one of them is given.
    fn find(&self, wanted: u64, from: u64, gone: &[Range<u64>], raw: &dyn ReadAt) -> u64 {
        // The chunk is in `low..=high`.
        let (mut low, mut high) = (from, self.count.saturating_sub(1));
        let mut stride = 1_u64;
        while low < high {
            // Wanted bytes ascend in small steps, so near chunks are asked first.
            let half = high.saturating_sub(low) >> 1;
            let middle = low.saturating_add(stride.saturating_sub(1).min(half));
            stride = stride.saturating_mul(2);
            let hidden = self.hidden(middle, gone);
            let (asked, before) = match &hidden {
                None => (middle, middle),
                Some(hidden) => (hidden.end, hidden.start.max(low)),
            };
            if asked >= high {
                high = before;
                continue;
            }
            match self.end(asked, raw) {
                Ok(end) if end <= wanted => low = asked.saturating_add(1),
                Ok(_) => high = before,
                Err(_) => return low,
            }
        }
        low
    }

    /// The entries around `index` that are in `gone`, where it is itself.
    fn hidden(&self, index: u64, gone: &[Range<u64>]) -> Option<Range<u64>> {
        let start = index.saturating_mul(self.entry);
        let end = start.saturating_add(self.entry);
        let mut ranges = gone.iter().skip(gone.partition_point(|range| range.end <= start));
        let range = ranges.next().filter(|range| range.start < end)?;
        let entries = |byte: u64| byte.checked_div(self.entry).unwrap_or(0);
        let mut hidden = entries(range.start)..range.end.div_ceil(self.entry);
        // What follows may begin within the next entry, which is then not known either.
        for next in ranges {
            if entries(next.start) > hidden.end {
                break;
            }
            hidden.end = hidden.end.max(next.end.div_ceil(self.entry));
        }
        Some(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cannot give the bytes of some ranges.
    struct Holed {
        bytes: Vec<u8>,
        gone: Vec<Range<u64>>,
    }

    impl ReadAt for Holed {
        fn size(&self) -> u64 {
            self.bytes.size()
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
            let end = offset + buf.len() as u64;
            if self.gone.iter().any(|range| range.start < end && offset < range.end) {
                return Err(ReadError::PastEnd { offset, len: 0, size: 0 });
            }
            self.bytes.read_at(buf, offset)
        }
    }

    /// The stored bytes of chunks of these sizes; only their table counts.
    fn table(sizes: &[u64], entry: usize) -> Vec<u8> {
        let mut end = 0;
        let ends = sizes[..sizes.len() - 1].iter().map(|size| {
            end += size;
            end
        });
        ends.flat_map(|end: u64| end.to_le_bytes()[..entry].to_vec()).collect()
    }

    #[test]
    fn entries_have_eight_bytes_from_four_gibibytes_on() {
        for (content, entry) in [((1 << 32) - 1, 4), (1 << 32, 8)] {
            let chunks = Chunks::new(content, 32 << 10, 1 << 30);
            assert_eq!(chunks.table(), 131_071 * entry);
            let mut raw = vec![0; 64];
            raw[usize::try_from(entry).unwrap()] = 77;
            let stored = chunks.stored(1, &raw).unwrap().unwrap();
            assert_eq!(stored, 131_071 * entry..131_071 * entry + 77);
        }
    }

    #[test]
    fn entries_that_go_back_or_lie_outside_spoil_only_the_chunks_beside_them() {
        let mut raw = table(&[10, 10, 10, 10], 4);
        let chunks = Chunks::new(400, 100, 12 + 40);
        let good = |raw: &Vec<u8>| -> Vec<bool> {
            (0..4).map(|index| chunks.stored(index, raw).unwrap().is_ok()).collect()
        };
        assert_eq!(good(&raw), [true; 4]);
        raw[4] = 5;
        assert_eq!(good(&raw), [true, false, true, true]);
        raw[4] = 41;
        assert_eq!(good(&raw), [true, false, false, true]);
        let error = chunks.stored(2, &raw).unwrap().unwrap_err().to_string();
        assert_eq!(error, "the chunk table says that chunk 2 is the bytes 41 to 30 of 40 stored bytes");
        assert!(matches!(Chunks::new(400, 100, 11).stored(0, &raw), Ok(Err(BadTable::Cut { .. }))));
    }

    /// A table of entries of eight bytes, each 2000 more than the one before, that counts how often it is asked.
    struct Endless(std::sync::atomic::AtomicU64);

    impl ReadAt for Endless {
        fn size(&self) -> u64 {
            u64::MAX
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            buf.copy_from_slice(&((offset / 8 + 1) * 2000).to_le_bytes());
            Ok(8)
        }
    }

    #[test]
    fn a_table_of_any_size_is_asked_only_a_few_times() {
        let (chunks, raw) = (Chunks::new(1 << 60, 4096, 1 << 60), Endless(0.into()));
        let byte = |chunk: u64| chunks.table() + chunk * 2000;
        let gone = [byte(3)..byte(4), byte(1 << 40) + 1..byte((1 << 40) + 2) + 1];
        let found = chunks.depends_on(&gone, &raw);
        assert_eq!(found, [3 * 4096..4 * 4096, 1 << 52..(1 << 52) + 3 * 4096]);
        assert!(raw.0.into_inner() < 200);
    }

    proptest! {
        #[test]
        fn all_that_depends_on_lost_bytes_is_named_and_hardly_more(
            sizes in proptest::collection::vec(1_u64..60, 1..80),
            cuts in proptest::collection::btree_set(0_u64..3000, 0..14),
        ) {
            let entries = table(&sizes, 4);
            let stored = entries.len() as u64 + sizes.iter().sum::<u64>();
            let chunks = Chunks::new(sizes.len() as u64 * 100 - 50, 100, stored);
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let gone: Vec<Range<u64>> = cuts.as_chunks::<2>().0.iter().map(|[from, to]| *from..*to).collect();
            let whole = { let mut all = entries; all.resize(stored as usize, 0); all };
            let raw = Holed { bytes: whole.clone(), gone: gone.clone() };
            let touches = |range: &Range<u64>| gone.iter().any(|gone| gone.start < range.end && range.start < gone.end);
            let found = chunks.depends_on(&gone, &raw);
            prop_assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start));
            for index in 0..sizes.len() as u64 {
                let place = chunks.stored(index, &whole).unwrap().unwrap();
                let own = index.saturating_sub(1) * 4..((index + 1) * 4).min(chunks.table());
                let lost = touches(&place) || touches(&own);
                let named = found.iter().any(|range| range.contains(&(index * 100)));
                prop_assert_eq!(named, lost, "chunk {} {:?}", index, found);
            }
        }

        #[test]
        fn no_table_makes_it_panic_or_give_ranges_in_disorder(
            bytes: Vec<u8>, content: u64, stored: u64,
            cuts in proptest::collection::btree_set(any::<u64>(), 0..9), small: bool,
        ) {
            let (content, stored) = if small { (content % 9_000_000, stored % 600) } else { (content, stored) };
            let chunks = Chunks::new(content, 4096, stored);
            let cuts: Vec<u64> = cuts.into_iter().map(|cut| if small { cut % 500 } else { cut }).collect();
            let mut gone: Vec<Range<u64>> = cuts.as_chunks::<2>().0.iter().map(|[from, to]| *from..*to).collect();
            if small {
                gone.sort_by_key(|range| range.start);
                gone.dedup_by(|later, earlier| later.start <= earlier.end);
            }
            let found = chunks.depends_on(&gone, &bytes);
            prop_assert!(found.iter().all(|range| range.start < range.end && range.end <= content));
            prop_assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start));
            for index in [0, 1, 2, content / 4096] {
                if let Ok(Ok(place)) = chunks.stored(index, &bytes) {
                    prop_assert!(place.start <= place.end && place.end <= stored);
                }
            }
        }
    }
}
