//! Clusters of a volume that other volumes have taken.

use std::ops::Range;

/// Clusters of a volume that other volumes on the same source have taken.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Clusters; ascending, not touching once all are [added](Self::finish).
    ranges: Vec<Range<u64>>,
    /// How many clusters there are before each range.
    before: Vec<u64>,
    /// Clusters that another volume may have taken; ascending, not touching once all are added.
    doubtful: Vec<Range<u64>>,
    /// What to know of it, one sentence each.
    pub(crate) notes: Vec<String>,
    /// Files that exist on the volume have what they claim all the same.
    pub(crate) spares_existing: bool,
    start: u64,
    cluster: u64,
    clusters: u64,
}

impl Taken {
    /// Of a volume that begins at byte `start` of its source, none yet. A cluster has `cluster` bytes.
    pub(crate) fn new(start: u64, cluster: u32, clusters: u64) -> Self {
        Self { start, cluster: u64::from(cluster.max(1)), clusters, ..Self::default() }
    }

    /// Adds these bytes of the source, and says how many clusters they touch.
    pub(crate) fn add(&mut self, bytes: impl Iterator<Item = Range<u64>>) -> u64 {
        let mut count = 0;
        for range in bytes {
            let clusters = self.clusters_in(&range);
            count += clusters.end - clusters.start;
            if !clusters.is_empty() {
                self.ranges.push(clusters);
            }
        }
        count
    }

    /// Adds bytes of the source of which it is not known whether they were taken.
    pub(crate) fn doubt(&mut self, bytes: Range<u64>, note: impl FnOnce() -> String) {
        let clusters = self.clusters_in(&bytes);
        if !clusters.is_empty() {
            self.doubtful.push(clusters);
            self.notes.push(note());
        }
    }

    /// To be called when all is added.
    pub(crate) fn finish(&mut self) {
        for ranges in [&mut self.ranges, &mut self.doubtful] {
            ranges.sort_unstable_by_key(|range| range.start);
            ranges.dedup_by(|next, last| {
                let touches = next.start <= last.end;
                if touches {
                    last.end = last.end.max(next.end);
                }
                touches
            });
            ranges.shrink_to_fit();
        }
        let mut total = 0;
        let counted = self.ranges.iter().map(|range| {
            let before = total;
            total += range.end - range.start;
            before
        });
        self.before = counted.collect();
    }

    /// The clusters that these bytes of the source touch.
    fn clusters_in(&self, bytes: &Range<u64>) -> Range<u64> {
        if bytes.is_empty() {
            return 0..0;
        }
        let first = bytes.start.saturating_sub(self.start) / self.cluster;
        let end = bytes.end.saturating_sub(self.start).div_ceil(self.cluster);
        first.min(self.clusters)..end.min(self.clusters)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.doubtful.is_empty()
    }

    /// How many of the clusters are taken.
    pub(crate) fn count(&self, clusters: Range<u64>) -> u64 {
        let before = |cluster: u64| {
            let next = self.ranges.partition_point(|range| range.start < cluster);
            let Some(index) = next.checked_sub(1) else { return 0 };
            let last = self.ranges.get(index).map_or(0, |last| cluster.min(last.end) - last.start);
            self.before.get(index).copied().unwrap_or(0) + last
        };
        before(clusters.end).saturating_sub(before(clusters.start))
    }

    /// Whether some of the clusters may be taken.
    pub(crate) fn is_doubtful(&self, clusters: &Range<u64>) -> bool {
        let next = self.doubtful.partition_point(|range| range.end <= clusters.start);
        self.doubtful.get(next).is_some_and(|range| range.start < clusters.end)
    }

    /// Calls `each` with the ranges of `clusters` that are taken, ascending.
    pub(crate) fn within(&self, clusters: Range<u64>, mut each: impl FnMut(Range<u64>)) {
        let from = self.ranges.partition_point(|range| range.end <= clusters.start);
        for range in self.ranges.iter().skip(from).take_while(|range| range.start < clusters.end) {
            let inside = range.start.max(clusters.start)..range.end.min(clusters.end);
            if !inside.is_empty() {
                each(inside);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cluster_of_which_one_byte_is_taken_is_taken() {
        let mut taken = Taken::new(1000, 512, 100);
        assert_eq!(taken.add([1000 + 511..1000 + 513, 0..1001, 5000..5000].into_iter()), 3);
        taken.finish();
        assert_eq!((taken.count(0..100), taken.count(1..2), taken.count(2..100)), (2, 1, 0));
    }

    proptest! {
        #[test]
        fn counting_and_listing_agree(
            bytes in prop::collection::vec((0u64..60_000, 0u64..4000), 0..20),
            from in 0u64..130, len in 0u64..130,
        ) {
            let mut taken = Taken::new(700, 512, 110);
            taken.add(bytes.iter().map(|(at, len)| *at..at + len));
            taken.finish();
            let mut listed = 0;
            let mut last = from;
            taken.within(from..from + len, |range| {
                assert!(range.start >= last && range.end <= from + len && !range.is_empty());
                last = range.end + 1;
                listed += range.end - range.start;
            });
            prop_assert_eq!(taken.count(from..from + len), listed);
            let touched = |cluster: u64| bytes.iter().any(|(at, len)| {
                let (start, end) = (700 + cluster * 512, 700 + cluster * 512 + 512);
                cluster < 110 && *len > 0 && *at < end && at + len > start
            });
            prop_assert_eq!(listed, (from..from + len).filter(|cluster| touched(*cluster)).count() as u64);
        }
    }
}
