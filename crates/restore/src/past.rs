//! A context of a shadow copy: the volume as it was, and what has become since of the clusters that were free then.
//!
//! A shadow copy keeps the clusters that were in use. The deleted files of that time lie in the others, which have been
//! written by who knows whom since. So what the volume of today says of these clusters counts too: its allocation, and
//! the claims of its files, live and
//! deleted. So does what the other shadow copies say, in which files stand that came and went since.

use std::{ops::Range, sync::Arc};

use undelfs_source::{BadRange, ErrorKind, ReadAt, ReadError};
use undelfs_volume::filesystem::{Claim, Facts, Owner, Scan, Want, Watch};
use undelfs_vss::{Gaps, Snapshot, Unkept, Vss};

use crate::{Error, opened::sound_file_system};

/// Most other snapshots that are asked whose clusters were not kept.
const MOST_OTHERS: usize = 64;

/// A snapshot that is shown instead of its volume.
pub(crate) struct Past {
    number: u32,
    snapshot: Snapshot,
    /// The volume as it is now.
    now: Arc<dyn ReadAt>,
    vss: Vss,
}

impl Past {
    /// The volume `now`, which is volume `volume` of its source, as its shadow copy with this number has it. One that no
    /// catalogue lists is searched for, in all of the volume.
    pub(crate) fn open(
        now: &Arc<dyn ReadAt>,
        number: u32,
        volume: u32,
        watch: &dyn Watch,
    ) -> Result<Self, Error> {
        let listed = |vss: &Vss| vss.copies().iter().any(|copy| copy.number == number);
        let vss = match Vss::open(now.clone()) {
            Ok(Some(vss)) if listed(&vss) => vss,
            _ => Vss::search(now.clone(), watch)?,
        };
        if vss.copies().is_empty() {
            let notes: String = vss.notes().iter().map(|note| format!("; {note}")).collect();
            let reason = format!(
                "volume {volume} has no shadow copies; `undelfs volumes` lists those that there are{notes}"
            );
            return Err(Error::refused(ErrorKind::InvalidInput, reason));
        }
        let snapshot = vss.snapshot(number).map_err(|error| {
            let notes: String = vss.notes().iter().map(|note| format!("; {note}")).collect();
            Error::refused(error.kind(), format!("volume {volume}: {error}{notes}"))
        })?;
        Ok(Self { number, snapshot, now: now.clone(), vss })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The volume as Windows presents it.
    pub(crate) fn presented(&self) -> Arc<dyn ReadAt> {
        Arc::new(self.snapshot.clone())
    }

    /// The volume as its file system is read: nothing that was written later is taken for what was there.
    pub(crate) fn kept(&self) -> Arc<dyn ReadAt> {
        Arc::new(self.snapshot.with_gaps(Gaps::Zeros))
    }

    /// The volume as deleted files are read.
    pub(crate) fn leftovers(&self) -> Arc<dyn ReadAt> {
        Arc::new(self.snapshot.with_gaps(Gaps::Later))
    }

    /// What of the snapshot cannot be told, one sentence each.
    pub(crate) fn notes(&self) -> &[String] {
        self.snapshot.notes()
    }

    /// Adds to `scan`, of the snapshot, the claims that files of today and of other snapshots have on clusters that were not
    /// kept; and gives the allocation bitmap in which such clusters are in use that are so now or were since. Where the
    /// volume of today cannot be read, everything that was not kept counts as in use.
    ///
    /// # Errors
    /// When `watch` cancelled it.
    pub(crate) fn judge(
        &self,
        scan: &mut Scan,
        facts: &Facts,
        then: Arc<dyn ReadAt>,
        watch: &dyn Watch,
    ) -> Result<Arc<dyn ReadAt>, Error> {
        let gaps = self.gaps(facts);
        let now = match scanned(&self.now, facts, watch)? {
            Some((found, Some(bitmap))) => {
                add_claims(scan, &found, &gaps.free, true);
                Some(bitmap)
            }
            _ => {
                scan.notes.push(
                    "the volume of today cannot be read, so what its shadow copy has not kept counts as overwritten"
                        .to_owned(),
                );
                None
            }
        };
        // A file that came and went since may stand only in another snapshot's records.
        for other in self.vss.copies().iter().filter(|other| other.number != self.number).take(MOST_OTHERS) {
            let Ok(snapshot) = self.vss.snapshot(other.number) else { continue };
            let volume: Arc<dyn ReadAt> = Arc::new(snapshot.with_gaps(Gaps::Zeros));
            if let Some((found, _)) = scanned(&volume, facts, watch)? {
                add_claims(scan, &found, &gaps.free, other.number > self.number);
            }
        }
        Ok(Arc::new(Allocated { then, now, gaps }))
    }

    fn gaps(&self, facts: &Facts) -> Gone {
        let cluster = u64::from(facts.bytes_per_cluster.max(1));
        let mut gone = Gone::default();
        self.snapshot.unkept(0..self.snapshot.size(), |bytes, unkept| {
            let clusters = bytes.start / cluster..bytes.end.div_ceil(cluster);
            push(if unkept == Unkept::Now { &mut gone.free } else { &mut gone.later }, clusters);
        });
        gone
    }
}

/// Passes on only that the work is to end: its progress is that of one scan.
struct Quiet<'a>(&'a dyn Watch);

impl Watch for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// What a scan finds on a volume with clusters as in `facts`, and its allocation bitmap; `None` where it cannot be read.
///
/// # Errors
/// When `watch` cancelled it.
#[allow(clippy::type_complexity, reason = "a pair of two plain things")]
fn scanned(
    volume: &Arc<dyn ReadAt>,
    facts: &Facts,
    watch: &dyn Watch,
) -> Result<Option<(Scan, Option<Arc<dyn ReadAt>>)>, Error> {
    let want = Want { removed: true, regular: false, deep: false };
    let read = sound_file_system(volume).and_then(|file_system| {
        let is_alike = file_system.facts().bytes_per_cluster == facts.bytes_per_cluster;
        let found = file_system.scan(want, &Quiet(watch))?;
        Ok(is_alike.then(|| (found, file_system.bitmap())))
    });
    match read {
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        read => Ok(read.ok().flatten()),
    }
}

fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ => ranges.push(range),
    }
}

/// Ranges of clusters that a snapshot has not kept, in order.
#[derive(Default)]
struct Gone {
    /// They were free in every newer snapshot.
    free: Vec<Range<u64>>,
    /// They were in use in a newer one.
    later: Vec<Range<u64>>,
}

/// Calls `each` with what `ranges`, which are in order, have in common with `wanted`.
fn common(ranges: &[Range<u64>], wanted: Range<u64>, mut each: impl FnMut(Range<u64>)) {
    let from = ranges.partition_point(|range| range.end <= wanted.start);
    for range in ranges.iter().skip(from).take_while(|range| range.start < wanted.end) {
        each(range.start.max(wanted.start)..range.end.min(wanted.end));
    }
}

/// Adds the claims of `found` on clusters in `free` to those of `scan`, but for those of deleted files that both know.
/// Those of live files only where `found` is `later`: of an earlier time they say nothing of who came after.
fn add_claims(scan: &mut Scan, found: &Scan, free: &[Range<u64>], later: bool) {
    let is_known = |owner: &Owner| {
        if owner.live {
            return (!later).then_some(());
        }
        let file = found.files.get(owner.file as usize)?;
        let at = scan.files.binary_search_by_key(&file.record, |file| file.record).ok()?;
        (scan.files.get(at)?.generation == file.generation).then_some(())
    };
    let strange: Vec<bool> = found.owners.iter().map(|owner| is_known(owner).is_none()).collect();
    let mut owners: Vec<Option<u32>> = vec![None; found.owners.len()];
    for claim in &found.claims {
        let index = claim.owner as usize;
        let (Some(owner), Some(known), Some(true)) =
            (found.owners.get(index), owners.get_mut(index), strange.get(index))
        else {
            continue;
        };
        common(free, claim.first..claim.first.saturating_add(claim.count.into()), |clusters| {
            let owner = *known.get_or_insert_with(|| {
                scan.owners.push(Owner { file: u32::MAX, ..*owner });
                u32::try_from(scan.owners.len()).unwrap_or(u32::MAX).saturating_sub(1)
            });
            // No part is longer than the claim that it is of.
            let count = u32::try_from(clusters.end.saturating_sub(clusters.start)).unwrap_or(u32::MAX);
            scan.claims.push(Claim { first: clusters.start, count, owner });
        });
    }
}

/// The allocation bitmap of a snapshot, in which the clusters that it has not kept are in use where something else has had
/// them since.
struct Allocated {
    then: Arc<dyn ReadAt>,
    /// That of the volume as it is now; `None` where everything may have been written.
    now: Option<Arc<dyn ReadAt>>,
    gaps: Gone,
}

impl Allocated {
    /// Adds to `buf`, the bitmap from byte `offset` on, the bits of `clusters` that `bits` has.
    fn add(buf: &mut [u8], offset: u64, clusters: Range<u64>, bits: Option<&[u8]>) {
        let first = offset.saturating_mul(8);
        let mut at = clusters.start.saturating_sub(first);
        let end = clusters.end.saturating_sub(first);
        while at < end {
            let Some(byte) = usize::try_from(at / 8).ok() else { break };
            let Some(target) = buf.get_mut(byte) else { break };
            let here = (8 - at % 8).min(end - at);
            let mask = (0xFF_u16 >> (8 - here)) << (at % 8);
            let source = bits.map_or(0xFF, |bits| bits.get(byte).copied().unwrap_or(0xFF));
            *target |= source & u8::try_from(mask).unwrap_or(0xFF);
            at += here;
        }
    }
}

impl ReadAt for Allocated {
    fn size(&self) -> u64 {
        self.then.size()
    }

    fn present(&self) -> u64 {
        self.then.present()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let read = self.then.read_at(buf, offset)?;
        let buf = buf.get_mut(..read).unwrap_or_default();
        self.merge(buf, offset);
        Ok(read)
    }

    fn read_salvage(&self, buf: &mut [u8], offset: u64) -> Vec<BadRange> {
        let bad = self.then.read_salvage(buf, offset);
        self.merge(buf, offset);
        bad
    }
}

impl Allocated {
    fn merge(&self, buf: &mut [u8], offset: u64) {
        let clusters = offset.saturating_mul(8)..offset.saturating_add(buf.len() as u64).saturating_mul(8);
        common(&self.gaps.later, clusters.clone(), |range| Self::add(buf, offset, range, None));
        let mut now = None;
        common(&self.gaps.free, clusters, |range| {
            let bits = now.get_or_insert_with(|| {
                // What cannot be read of it counts as in use.
                let mut bits = vec![0xFF; buf.len()];
                for bad in
                    self.now.as_ref().map(|now| now.read_salvage(&mut bits, offset)).unwrap_or_default()
                {
                    bits.get_mut(bad.range).unwrap_or_default().fill(0xFF);
                }
                bits
            });
            Self::add(buf, offset, range, Some(bits));
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use undelfs_volume::filesystem::{File, FileFlags, FileTime};

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        proptest::collection::vec((1_u64..30, 1_u64..30), 0..8).prop_map(|steps| {
            let mut at = 0;
            let next = |(gap, len): (u64, u64)| {
                let start = at + gap;
                at = start + len;
                start..at
            };
            steps.into_iter().map(next).collect()
        })
    }

    proptest! {
        #[test]
        fn a_cluster_is_in_use_when_it_was_or_was_not_kept_and_has_been_since(
            then in proptest::collection::vec(any::<u8>(), 32),
            now in proptest::option::of(proptest::collection::vec(any::<u8>(), 20..40)),
            free in ranges(),
            later in ranges(),
            from in 0_usize..32,
            len in 1_usize..32,
        ) {
            let bit = |bytes: &[u8], n: u64| bytes.get((n / 8) as usize).is_none_or(|byte| byte >> (n % 8) & 1 == 1);
            let allocated = Allocated {
                then: Arc::new(then.clone()),
                now: now.clone().map(|now| Arc::new(now) as Arc<dyn ReadAt>),
                gaps: Gone { free: free.clone(), later: later.clone() },
            };
            let mut buf = vec![0; len];
            let read = allocated.read_at(&mut buf, from as u64).unwrap();
            for n in from as u64 * 8..(from + read) as u64 * 8 {
                let within = |ranges: &[Range<u64>]| ranges.iter().any(|range| range.contains(&n));
                let since = within(&free) && now.as_ref().is_none_or(|now| bit(now, n));
                let expected = bit(&then, n) || within(&later) || since;
                prop_assert_eq!(bit(&buf, n - from as u64 * 8), expected, "cluster {}", n);
            }
        }
    }

    fn file(record: u32, generation: u16) -> File {
        File {
            record,
            generation,
            flags: FileFlags::REMOVED,
            attributes: 0,
            first_link: 0,
            size: 0,
            clusters: 0,
            created: FileTime(0),
            modified: FileTime(0),
            changed: FileTime(0),
            accessed: FileTime(0),
        }
    }

    #[test]
    fn claims_of_today_count_where_nothing_was_kept_but_for_those_of_files_that_both_know() {
        let owner = |file, live| Owner { file, live, journal: 1, latest: FileTime(1) };
        let mut scan = Scan { files: vec![file(30, 1), file(40, 2)], ..Scan::default() };
        let found = Scan {
            files: vec![file(30, 1), file(40, 3)],
            owners: vec![owner(0, false), owner(1, false), owner(u32::MAX, true)],
            claims: vec![
                Claim { first: 0, count: 10, owner: 0 },
                Claim { first: 8, count: 4, owner: 1 },
                Claim { first: 20, count: 1, owner: 2 },
                Claim { first: 100, count: 50, owner: 2 },
            ],
            ..Scan::default()
        };
        add_claims(&mut scan, &found, &[2..4, 9..11, 120..121, 149..200], true);
        let claims: Vec<(u64, u32, u32, bool)> = scan
            .claims
            .iter()
            .map(|claim| {
                let owner = &scan.owners[claim.owner as usize];
                (claim.first, claim.count, owner.file, owner.live)
            })
            .collect();
        let none = u32::MAX;
        assert_eq!(claims, [(9, 2, none, false), (120, 1, none, true), (149, 1, none, true)]);
        assert_eq!(scan.owners.len(), 2);
    }
}
