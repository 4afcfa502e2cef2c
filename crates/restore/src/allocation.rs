//! The allocation bitmap: which clusters are in use now.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use undelfs_source::ReadAt;

/// Bytes of the bitmap that are held together.
const PAGE: usize = 64 << 10;
/// Clusters that a page tells of.
const PAGE_CLUSTERS: u64 = (PAGE as u64) * 8;
/// Pages that are held: 16 MiB, the whole bitmap of a volume of 512 GiB with 4 KiB clusters.
const PAGES: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Words of a page whose clusters are counted together.
const BLOCK: usize = 8;

/// A part of the bitmap.
struct Page {
    words: Vec<u64>,
    /// Clusters in use before each block of words.
    before: Vec<u32>,
    /// Clusters of which the bitmap cannot be read.
    unreadable: u64,
}

impl Page {
    fn new(words: Vec<u64>, unreadable: u64) -> Self {
        let mut total = 0;
        let mut before = Vec::with_capacity(words.len() / BLOCK + 2);
        before.push(0);
        for block in words.chunks(BLOCK) {
            total += ones(block);
            before.push(total);
        }
        Self { words, before, unreadable }
    }

    /// Clusters in use among the first `clusters` of the page.
    fn used_before(&self, clusters: u64) -> u64 {
        let (word, rest) = ((clusters / 64) as usize, clusters % 64);
        let block = word / BLOCK;
        let before = self.before.get(block).copied().unwrap_or(0);
        let full = self.words.get(block * BLOCK..word).map_or(0, ones);
        let last = self.words.get(word).map_or(0, |word| (word & ((1 << rest) - 1)).count_ones());
        u64::from(before + full + last)
    }
}

fn ones(words: &[u64]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

/// A volume's allocation bitmap, read in pages.
pub(crate) struct Allocation {
    bitmap: Arc<dyn ReadAt>,
    clusters: u64,
    /// Clusters in use before each page.
    before: Vec<u64>,
    pages: Mutex<LruCache<u64, Arc<Page>>>,
    /// Clusters of which the bitmap cannot be read; they count as free.
    unreadable: u64,
}

impl Allocation {
    /// Reads `bitmap` once and counts.
    pub(crate) fn new(bitmap: Arc<dyn ReadAt>, clusters: u64) -> Self {
        let mut all = Self {
            bitmap,
            clusters,
            before: vec![0],
            pages: Mutex::new(LruCache::new(PAGES)),
            unreadable: 0,
        };
        let mut total = 0;
        for number in 0..clusters.div_ceil(PAGE_CLUSTERS) {
            let page = all.read(number);
            total += page.used_before(PAGE_CLUSTERS);
            all.before.push(total);
            all.unreadable += page.unreadable;
            all.keep(number, page);
        }
        all
    }

    /// Clusters of which the bitmap cannot be read.
    pub(crate) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Reads a page. Clusters beyond the volume's end, and those that cannot be read, are free in it.
    fn read(&self, number: u64) -> Arc<Page> {
        let first = number * PAGE_CLUSTERS;
        let clusters = (self.clusters - first.min(self.clusters)).min(PAGE_CLUSTERS);
        let mut bytes = vec![0; usize::try_from(clusters.div_ceil(64)).unwrap_or(0) * 8];
        let wanted = usize::try_from(clusters.div_ceil(8)).unwrap_or(0).min(bytes.len());
        let wanted = bytes.get_mut(..wanted).unwrap_or_default();
        let bad = self.bitmap.read_salvage(wanted, number * PAGE as u64);
        let unreadable = bad.iter().map(|bad| bad.range.len() as u64 * 8).sum();
        let mut words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect();
        if let (Some(last), rest @ 1..) = (words.last_mut(), clusters % 64) {
            *last &= (1 << rest) - 1;
        }
        Arc::new(Page::new(words, unreadable))
    }

    fn keep(&self, number: u64, page: Arc<Page>) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).put(number, page);
    }

    fn page(&self, number: u64) -> Arc<Page> {
        let held = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
        held.unwrap_or_else(|| {
            let page = self.read(number);
            self.keep(number, page.clone());
            page
        })
    }

    /// How many of the clusters are in use.
    pub(crate) fn count(&self, clusters: Range<u64>) -> u64 {
        let (start, end) = (clusters.start.min(self.clusters), clusters.end.min(self.clusters));
        if start / PAGE_CLUSTERS == end / PAGE_CLUSTERS {
            let page = self.page(start / PAGE_CLUSTERS);
            let within = |cluster: u64| page.used_before(cluster % PAGE_CLUSTERS);
            return within(end).saturating_sub(within(start));
        }
        self.used_before(end).saturating_sub(self.used_before(start))
    }

    fn used_before(&self, cluster: u64) -> u64 {
        let number = cluster / PAGE_CLUSTERS;
        let before = usize::try_from(number).ok().and_then(|n| self.before.get(n)).copied().unwrap_or(0);
        match cluster % PAGE_CLUSTERS {
            0 => before,
            within => before + self.page(number).used_before(within),
        }
    }

    /// Calls `each` with every range of clusters in use among `clusters`, ascending. Ranges that touch may come
    /// as several.
    pub(crate) fn used(&self, clusters: Range<u64>, mut each: impl FnMut(Range<u64>)) {
        let end = clusters.end.min(self.clusters);
        let mut at = clusters.start;
        let mut held: Option<(u64, Arc<Page>)> = None;
        while at < end {
            let number = at / PAGE_CLUSTERS;
            let page = match &held {
                Some((held, page)) if *held == number => page.clone(),
                _ => {
                    let page = self.page(number);
                    held = Some((number, page.clone()));
                    page
                }
            };
            let word = page.words.get((at % PAGE_CLUSTERS / 64) as usize).copied().unwrap_or(0) >> (at % 64);
            let left = (64 - at % 64).min(end - at);
            let free = u64::from(word.trailing_zeros()).min(left);
            if free > 0 {
                at += free;
                continue;
            }
            let used = u64::from(word.trailing_ones()).min(left);
            each(at..at + used);
            at += used;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_and_ranges_agree_with_the_bits(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0_u64..16,
            from in 0_u64..1700,
            len in 0_u64..1700,
        ) {
            let clusters = (bytes.len() as u64 * 8).saturating_sub(cut);
            let bit = |c: u64| c < clusters && bytes[(c / 8) as usize] >> (c % 8) & 1 == 1;
            let allocation = Allocation::new(Arc::new(bytes.clone()), clusters);
            let expected: Vec<u64> = (from..from + len).filter(|c| bit(*c)).collect();
            prop_assert_eq!(allocation.count(from..from + len), expected.len() as u64);
            let mut found = Vec::new();
            allocation.used(from..from + len, |range| found.extend(range));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_bitmap_of_many_pages_is_counted_across_them() {
        let bytes = vec![0b0101_0101_u8; PAGE * 3];
        let allocation = Allocation::new(Arc::new(bytes), PAGE_CLUSTERS * 3);
        assert_eq!(allocation.count(1..PAGE_CLUSTERS * 3 - 1), PAGE_CLUSTERS * 3 / 2 - 1);
    }

    #[test]
    fn clusters_without_a_readable_bitmap_are_counted() {
        let allocation = Allocation::new(Arc::new(vec![0xFF_u8; 10]), 160);
        assert_eq!(allocation.unreadable(), 80);
        assert_eq!(allocation.count(0..160), 80);
    }
}
