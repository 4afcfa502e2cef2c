//! Clusters of deleted files that were given to other files since, as a journal tells: also to files of which nothing else
//! is left, because their records describe others by now.

use std::{
    collections::{BTreeMap, BinaryHeap},
    ops::Range,
};

use undelfs_volume::filesystem::{Claim, Grant, Owner};

/// Ranges that are looked at for all files together. More than that there are only where somebody wants it; what is left
/// then counts as given away.
const MAX_STEPS: usize = 256 << 20;

/// What each deleted file has lost.
#[derive(Debug, Default)]
pub(crate) struct Regranted {
    /// File and clusters; ascending, not touching.
    lost: Vec<(u32, Range<u64>)>,
}

/// Clusters that were given away, at last in the entry with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    first: u64,
    end: u64,
    journal: u64,
}

impl Regranted {
    /// Compares what `grants` tells with the last entry that changed each file. Of a file whose entry is not known nothing is
    /// said. `is_earlier`: the file is of an earlier generation of the volume, so all that the journal tells came later.
    pub(crate) fn find(
        claims: &[Claim],
        owners: &[Owner],
        grants: &[Grant],
        is_earlier: impl Fn(u32) -> bool,
    ) -> Self {
        let last = last(grants);
        if last.is_empty() {
            return Self::default();
        }
        let mut changed: BTreeMap<u32, u64> = BTreeMap::new();
        for owner in owners.iter().filter(|owner| !owner.live && owner.file != u32::MAX) {
            let number = changed.entry(owner.file).or_default();
            *number = owner.journal.max(*number);
        }
        for (file, number) in &mut changed {
            *number = match (is_earlier(*file), *number) {
                (true, _) => 0,
                (false, 0) => u64::MAX,
                (false, known) => known,
            };
        }
        let mut lost: Vec<(u32, Range<u64>)> = Vec::new();
        let mut steps = 0;
        for claim in claims {
            let owner = owners.get(claim.owner as usize).filter(|owner| !owner.live);
            let Some((owner, number)) = owner.and_then(|owner| Some((owner, *changed.get(&owner.file)?)))
            else {
                continue;
            };
            let (first, end) = (claim.first, claim.first.saturating_add(claim.count.into()));
            if steps > MAX_STEPS {
                lost.push((owner.file, first..end));
                continue;
            }
            let from = last.partition_point(|last| last.end <= first);
            for range in last.iter().skip(from).take_while(|last| last.first < end) {
                steps += 1;
                if range.journal > number {
                    lost.push((owner.file, range.first.max(first)..range.end.min(end)));
                }
            }
        }
        lost.sort_unstable_by_key(|(file, range)| (*file, range.start));
        lost.dedup_by(|(next_file, next), (file, range)| {
            let touches = next_file == file && next.start <= range.end;
            if touches {
                range.end = range.end.max(next.end);
            }
            touches
        });
        lost.shrink_to_fit();
        Self { lost }
    }

    /// Every file that has lost clusters, and which; ascending.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, Range<u64>)> {
        self.lost.iter().cloned()
    }

    /// Calls `each` with the ranges of `clusters` that `file` has lost, ascending.
    pub(crate) fn within(&self, file: u32, clusters: Range<u64>, mut each: impl FnMut(Range<u64>)) {
        let from = self.lost.partition_point(|(of, range)| (*of, range.end) <= (file, clusters.start));
        let inside = self.lost.iter().skip(from);
        for (_, range) in inside.take_while(|(of, range)| *of == file && range.start < clusters.end) {
            each(range.start.max(clusters.start)..range.end.min(clusters.end));
        }
    }
}

/// The last grant of each cluster; ascending, not overlapping. Takes time in proportion to the grants and the logarithm
/// of how many there are.
fn last(grants: &[Grant]) -> Vec<Last> {
    let mut grants: Vec<Last> = grants
        .iter()
        .map(|grant| {
            let end = grant.first.saturating_add(grant.count.into());
            Last { first: grant.first, end, journal: grant.journal }
        })
        .filter(|grant| grant.first < grant.end)
        .collect();
    grants.sort_unstable_by_key(|grant| grant.first);
    let mut all: Vec<Last> = Vec::with_capacity(grants.len());
    // Those that have begun, the latest on top, until they are found to have ended.
    let mut begun: BinaryHeap<(u64, u64)> = BinaryHeap::new();
    let mut at = 0;
    let mut emit = |begun: &mut BinaryHeap<(u64, u64)>, at: &mut u64, to: u64| {
        while let Some((journal, end)) = begun.peek().copied() {
            if end <= *at {
                begun.pop();
                continue;
            }
            if *at >= to {
                break;
            }
            let until = end.min(to);
            match all.last_mut() {
                Some(last) if last.end == *at && last.journal == journal => last.end = until,
                _ => all.push(Last { first: *at, end: until, journal }),
            }
            *at = until;
        }
        *at = to;
    };
    for grant in grants {
        emit(&mut begun, &mut at, grant.first);
        begun.push((grant.journal, grant.end));
    }
    emit(&mut begun, &mut at, u64::MAX);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use undelfs_volume::filesystem::FileTime;

    use super::*;

    fn owner(file: u32, journal: u64) -> Owner {
        Owner { file, live: false, journal, latest: FileTime(1) }
    }

    fn lost(owners: &[Owner], claims: &[Claim], grants: &[Grant]) -> Vec<(u32, Range<u64>)> {
        Regranted::find(claims, owners, grants, |file| file >= 100).all().collect()
    }

    #[test]
    fn what_was_given_away_after_the_last_change_of_a_file_is_lost_to_it_and_what_was_before_is_its_own() {
        let claims = [Claim { first: 10, count: 10, owner: 0 }];
        let grants = [Grant { first: 10, count: 10, journal: 5 }, Grant { first: 12, count: 3, journal: 9 }];
        assert_eq!(lost(&[owner(0, 7)], &claims, &grants), [(0, 12..15)]);
        assert_eq!(lost(&[owner(0, 9)], &claims, &grants), []);
        assert_eq!(lost(&[owner(0, 4)], &claims, &grants), [(0, 10..20)]);
    }

    #[test]
    fn nothing_is_said_of_a_file_without_a_number_unless_it_is_of_an_earlier_generation() {
        let grants = [Grant { first: 0, count: 4, journal: 3 }];
        let claims = [Claim { first: 2, count: 4, owner: 0 }];
        assert_eq!(lost(&[owner(0, 0)], &claims, &grants), []);
        assert_eq!(lost(&[owner(100, 9)], &claims, &grants), [(100, 2..4)]);
    }

    #[test]
    fn the_records_of_one_file_count_with_the_last_change_of_any() {
        let grants = [Grant { first: 0, count: 8, journal: 5 }];
        let claims = [Claim { first: 0, count: 2, owner: 0 }, Claim { first: 4, count: 2, owner: 1 }];
        assert_eq!(lost(&[owner(3, 2), owner(3, 6)], &claims, &grants), []);
        assert_eq!(lost(&[owner(3, 2), owner(3, 4)], &claims, &grants), [(3, 0..2), (3, 4..6)]);
    }

    proptest! {
        #[test]
        fn each_cluster_is_lost_that_any_later_grant_covers(
            spans in prop::collection::vec((0_u64..60, 1_u32..20, 1_u64..20), 0..20),
            files in prop::collection::vec((0_u64..60, 1_u32..20, 1_u64..20), 1..8),
        ) {
            let grants: Vec<Grant> =
                spans.iter().map(|&(first, count, journal)| Grant { first, count, journal }).collect();
            let owners: Vec<Owner> = (0..).zip(&files).map(|(file, of)| owner(file, of.2)).collect();
            let claims: Vec<Claim> = (0..)
                .zip(&files)
                .map(|(owner, &(first, count, _))| Claim { first, count, owner })
                .collect();
            let regranted = Regranted::find(&claims, &owners, &grants, |_| false);
            for (file, &(first, count, number)) in (0..).zip(&files) {
                let own = first..first + u64::from(count);
                let later = |cluster: &u64| {
                    let covers = |grant: &&Grant| {
                        (grant.first..grant.first + u64::from(grant.count)).contains(cluster)
                    };
                    grants.iter().filter(covers).any(|grant| grant.journal > number)
                };
                let mut found = Vec::new();
                regranted.within(file, own.clone(), |range| found.extend(range));
                prop_assert_eq!(found, own.filter(later).collect::<Vec<u64>>());
            }
        }
    }
}
