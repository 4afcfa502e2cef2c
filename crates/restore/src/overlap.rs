//! Clusters that more than one file claims, and whose bytes they hold.
//!
//! When a file is deleted its clusters are free and another file may get them. If that one is deleted too, the
//! allocation bitmap no longer tells: only both files' runs do. The bytes are those of the file that had the
//! clusters last.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    ops::Range,
};

use undelfs_volume::filesystem::{Claim, Owner};

/// A range of clusters that several files claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    first: u64,
    end: u64,
    /// Shared clusters before this segment.
    before: Shared,
    /// A live file is among those that claim it.
    live: bool,
    /// Index of the file whose bytes are there; `None` for a live file, or where it cannot be told.
    winner: Option<u32>,
}

/// Numbers of clusters that a deleted file shares with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shared {
    /// With live files.
    pub(crate) live: u64,
    /// With deleted files only.
    pub(crate) deleted: u64,
}

/// All clusters that several files claim, at least one of them deleted.
#[derive(Debug, Default)]
pub(crate) struct Overlaps {
    segments: Vec<Segment>,
}

impl Segment {
    /// Shared clusters before `cluster`, which is in this segment or its end.
    fn through(&self, cluster: u64) -> Shared {
        let here = cluster - self.first;
        let Shared { live, deleted } = self.before;
        if self.live {
            Shared { live: live + here, deleted }
        } else {
            Shared { live, deleted: deleted + here }
        }
    }
}

/// The holder of claims that stands for all live files.
const LIVE: u32 = u32::MAX;

impl Overlaps {
    /// Finds them. Sorts `claims` by their first cluster. Takes time in proportion to the claims and the
    /// logarithm of how many there are.
    pub(crate) fn find(claims: &mut [Claim], owners: &[Owner]) -> Self {
        claims.sort_unstable_by_key(|claim| claim.first);
        let holders = Holders::new(owners);
        let mut all = Self::default();
        let mut rest = &*claims;
        while let Some((first, tail)) = rest.split_first() {
            let mut end = first.first + u64::from(first.count);
            let touching = tail.iter().take_while(|claim| {
                let overlaps = claim.first < end;
                end = end.max(claim.first + u64::from(claim.count));
                overlaps
            });
            let (group, next) = rest.split_at(1 + touching.count());
            if group.len() > 1 {
                Sweep::new(&holders).run(group, &mut all.segments);
            }
            rest = next;
        }
        all
    }

    /// True when no cluster is claimed twice.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Clusters of `range` that several files claim.
    pub(crate) fn count(&self, range: Range<u64>) -> Shared {
        let (end, start) = (self.before(range.end), self.before(range.start));
        Shared { live: end.live - start.live, deleted: end.deleted - start.deleted }
    }

    fn before(&self, cluster: u64) -> Shared {
        let index = self.segments.partition_point(|segment| segment.first < cluster);
        match index.checked_sub(1).and_then(|index| self.segments.get(index)) {
            Some(last) => last.through(cluster.min(last.end)),
            None => Shared::default(),
        }
    }

    /// Adds to `wins`, by file, the clusters that the file holds although others claim them.
    pub(crate) fn wins(&self, mut add: impl FnMut(u32, u64)) {
        for segment in &self.segments {
            if let Some(winner) = segment.winner {
                add(winner, segment.end - segment.first);
            }
        }
    }

    /// Calls `each` with the ranges of `clusters` that `file` has lost to others, ascending.
    pub(crate) fn lost(&self, file: u32, clusters: Range<u64>, mut each: impl FnMut(Range<u64>)) {
        let from = self.segments.partition_point(|segment| segment.end <= clusters.start);
        let inside = self.segments.iter().skip(from).take_while(|segment| segment.first < clusters.end);
        for segment in inside.filter(|segment| segment.winner != Some(file)) {
            each(segment.first.max(clusters.start)..segment.end.min(clusters.end));
        }
    }
}

/// Owners seen as holders: all live files are one, and so are the several records of one file.
struct Holders {
    owners: Vec<Owner>,
    holder: Vec<u32>,
}

impl Holders {
    fn new(owners: &[Owner]) -> Self {
        let mut owners = owners.to_vec();
        let mut by_file: Vec<(u32, u32)> = owners
            .iter()
            .enumerate()
            .filter(|(_, owner)| !owner.live && owner.file != u32::MAX)
            .map(|(index, owner)| (owner.file, index as u32))
            .collect();
        by_file.sort_unstable();
        let mut holder: Vec<u32> =
            owners.iter().enumerate().map(|(i, owner)| if owner.live { LIVE } else { i as u32 }).collect();
        for same in by_file.chunk_by(|a, b| a.0 == b.0) {
            let Some((_, first)) = same.first() else { continue };
            for (_, index) in same.iter().skip(1) {
                if let Some(holder) = holder.get_mut(*index as usize) {
                    *holder = *first;
                }
                // The last change of any of a file's records is its last change.
                let Some(Owner { journal, latest, .. }) = owners.get(*index as usize).copied() else {
                    continue;
                };
                if let Some(owner) = owners.get_mut(*first as usize) {
                    owner.journal = owner.journal.max(journal);
                    owner.latest = owner.latest.max(latest);
                }
            }
        }
        Self { owners, holder }
    }

    fn of(&self, claim: &Claim) -> u32 {
        self.holder.get(claim.owner as usize).copied().unwrap_or(LIVE)
    }

    fn owner(&self, holder: u32) -> Option<&Owner> {
        self.owners.get(holder as usize)
    }
}

/// The walk over a group of claims that overlap.
struct Sweep<'a> {
    holders: &'a Holders,
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    active: BTreeMap<u32, u32>,
    by_time: BTreeSet<(u64, u32)>,
    by_journal: BTreeSet<(u64, u32)>,
}

impl<'a> Sweep<'a> {
    fn new(holders: &'a Holders) -> Self {
        Self {
            holders,
            ends: BinaryHeap::new(),
            active: BTreeMap::new(),
            by_time: BTreeSet::new(),
            by_journal: BTreeSet::new(),
        }
    }

    fn run(&mut self, group: &[Claim], out: &mut Vec<Segment>) {
        let mut at = 0;
        for claim in group {
            self.advance(&mut at, claim.first, out);
            self.enter(self.holders.of(claim));
            self.ends.push(Reverse((claim.first + u64::from(claim.count), self.holders.of(claim))));
        }
        self.advance(&mut at, u64::MAX, out);
    }

    /// Goes on to cluster `to`, and writes the segments before it.
    fn advance(&mut self, at: &mut u64, to: u64, out: &mut Vec<Segment>) {
        while let Some(Reverse((end, holder))) = self.ends.peek().copied().filter(|end| end.0.0 <= to) {
            self.emit(*at, end, out);
            *at = end;
            self.ends.pop();
            self.leave(holder);
        }
        if !self.active.is_empty() {
            self.emit(*at, to, out);
        }
        *at = to;
    }

    fn enter(&mut self, holder: u32) {
        let times = self.active.entry(holder).or_insert(0);
        *times += 1;
        if let (1, Some(owner)) = (*times, self.holders.owner(holder)) {
            self.by_time.insert((owner.latest.0, holder));
            self.by_journal.insert((owner.journal, holder));
        }
    }

    fn leave(&mut self, holder: u32) {
        let Some(times) = self.active.get_mut(&holder) else {
            return;
        };
        *times -= 1;
        if *times > 0 {
            return;
        }
        self.active.remove(&holder);
        if let Some(owner) = self.holders.owner(holder) {
            self.by_time.remove(&(owner.latest.0, holder));
            self.by_journal.remove(&(owner.journal, holder));
        }
    }

    fn emit(&self, first: u64, end: u64, out: &mut Vec<Segment>) {
        if first >= end || self.active.len() < 2 {
            return;
        }
        let winner = self.winner();
        let live = self.active.contains_key(&LIVE);
        match out.last_mut() {
            Some(last) if last.end == first && last.winner == winner && last.live == live => last.end = end,
            last => {
                let before = last.map_or_else(Shared::default, |last| last.through(last.end));
                out.push(Segment { first, end, before, live, winner });
            }
        }
    }

    /// The file that had the clusters last. Times and journal numbers must not contradict each other, and one
    /// of them must put it behind all others; else nobody is the winner.
    fn winner(&self) -> Option<u32> {
        if self.active.contains_key(&LIVE) {
            return None;
        }
        let mut times = self.by_time.iter().rev();
        let mut numbers = self.by_journal.iter().rev();
        let ((time, latest), (next_time, _)) = (*times.next()?, *times.next()?);
        let ((number, last), (next_number, _)) = (*numbers.next()?, *numbers.next()?);
        let timed = time > next_time && self.by_time.first()?.0 > 0;
        let numbered = number > next_number && self.by_journal.first()?.0 > 0;
        let holder = match (timed, numbered) {
            (true, true) => (latest == last).then_some(latest)?,
            // No numbers, or numbers that do not tell the two last apart, contradict nothing.
            (true, false) => {
                let own = self.holders.owner(latest)?.journal;
                (own == 0 || own == number).then_some(latest)?
            }
            (false, true) => (self.holders.owner(last)?.latest.0 == time).then_some(last)?,
            (false, false) => return None,
        };
        self.holders.owner(holder).map(|owner| owner.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use undelfs_volume::filesystem::FileTime;

    fn owner(file: u32, latest: u64, journal: u64) -> Owner {
        Owner { file, live: false, journal, latest: FileTime(latest) }
    }

    fn claim(owner: u32, first: u64, count: u32) -> Claim {
        Claim { first, count, owner }
    }

    fn lost(overlaps: &Overlaps, file: u32) -> Vec<Range<u64>> {
        let mut all = Vec::new();
        overlaps.lost(file, 0..1000, |range| all.push(range));
        all
    }

    #[test]
    fn the_file_that_changed_last_holds_the_clusters() {
        let owners = [owner(0, 10, 0), owner(1, 20, 0)];
        let overlaps = Overlaps::find(&mut [claim(0, 100, 10), claim(1, 105, 10)], &owners);
        assert_eq!(lost(&overlaps, 0), vec![105..110]);
        assert_eq!(lost(&overlaps, 1), []);
        assert_eq!(overlaps.count(100..115), Shared { live: 0, deleted: 5 });
        assert_eq!(overlaps.count(107..108), Shared { live: 0, deleted: 1 });
    }

    #[test]
    fn live_files_hold_what_they_claim() {
        let owners = [owner(0, 10, 0), Owner { live: true, ..owner(u32::MAX, 1, 0) }];
        let overlaps = Overlaps::find(&mut [claim(0, 100, 10), claim(1, 102, 2)], &owners);
        assert_eq!(lost(&overlaps, 0), vec![102..104]);
        assert_eq!(overlaps.count(100..110), Shared { live: 2, deleted: 0 });
    }

    #[test]
    fn when_time_and_journal_disagree_nobody_holds_the_clusters() {
        let claims = [claim(0, 0, 4), claim(1, 0, 4)];
        let agree = Overlaps::find(&mut claims.clone(), &[owner(0, 10, 5), owner(1, 20, 6)]);
        assert_eq!((lost(&agree, 0).len(), lost(&agree, 1).len()), (1, 0));
        for (a, b) in [
            (owner(0, 10, 6), owner(1, 20, 5)),
            (owner(0, 10, 0), owner(1, 10, 0)),
            (owner(0, 0, 0), owner(1, 20, 0)),
        ] {
            let overlaps = Overlaps::find(&mut claims.clone(), &[a, b]);
            assert_eq!((lost(&overlaps, 0).len(), lost(&overlaps, 1).len()), (1, 1), "{a:?} {b:?}");
        }
        let journal_only = Overlaps::find(&mut claims.clone(), &[owner(0, 10, 5), owner(1, 10, 6)]);
        assert_eq!((lost(&journal_only, 0).len(), lost(&journal_only, 1).len()), (1, 0));
    }

    #[test]
    fn the_several_records_of_one_file_do_not_contend() {
        let owners = [owner(7, 10, 0), owner(7, 10, 3)];
        assert!(Overlaps::find(&mut [claim(0, 0, 4), claim(1, 2, 4)], &owners).is_empty());
    }

    proptest! {
        #[test]
        fn every_shared_cluster_goes_to_the_latest_claimant(
            spans in proptest::collection::vec((0_u64..60, 1_u32..20), 1..12),
        ) {
            let owners: Vec<Owner> = (0..spans.len()).map(|i| owner(i as u32, 100 + i as u64, 0)).collect();
            let mut claims: Vec<Claim> =
                spans.iter().enumerate().map(|(i, (first, count))| claim(i as u32, *first, *count)).collect();
            let overlaps = Overlaps::find(&mut claims, &owners);
            let has = |i: usize, c: u64| (spans[i].0..spans[i].0 + u64::from(spans[i].1)).contains(&c);
            let mut wins = vec![0; spans.len()];
            overlaps.wins(|file, count| wins[file as usize] += count);
            for file in 0..spans.len() {
                let mine = spans[file].0..spans[file].0 + u64::from(spans[file].1);
                let mut found = Vec::new();
                overlaps.lost(file as u32, mine.clone(), |range| found.extend(range));
                let later = |c: &u64| (file + 1..spans.len()).any(|other| has(other, *c));
                let expected: Vec<u64> = mine.clone().filter(later).collect();
                prop_assert_eq!(&found, &expected);
                prop_assert_eq!(overlaps.count(mine).deleted - wins[file], expected.len() as u64);
            }
        }
    }
}
