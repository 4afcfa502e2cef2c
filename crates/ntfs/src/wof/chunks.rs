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
        let range = gone.get(gone.partition_point(|range| range.end <= start))?;
        let entries = |byte: u64| byte.checked_div(self.entry).unwrap_or(0);
        (range.start < end).then(|| entries(range.start)..range.end.div_ceil(self.entry))
    }
}
