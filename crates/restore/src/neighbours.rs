//! Volumes of one source that lie over each other: which clusters of an older one a later one has taken.
//!
//! A disk that was partitioned anew has volumes in the place of others. Where a later volume has written, an older one
//! has no bytes of its own any more, whatever its file table says.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use undelfs_source::ReadAt;
use undelfs_volume::{
    FileSystemKind, Volume,
    filesystem::{Facts, FileFlags, FileTime, Want, Watch},
};

use crate::{
    Error, Inside,
    allocation::Allocation,
    lost::images,
    opened::{Manner, Opened},
    selecting::{extent_of, is_same},
    taken::Taken,
};

/// A volume of the source.
#[derive(Debug)]
struct Neighbour {
    volume: Volume,
    /// Where it lies in a file of another volume.
    inside: Option<Inside>,
    /// Named by the partition table.
    listed: bool,
    /// What it uses, once somebody asked. `None` where that cannot be told.
    usage: OnceLock<Option<Usage>>,
}

/// What a volume uses.
#[derive(Debug)]
struct Usage {
    /// When it was formatted.
    formatted: FileTime,
    /// Bytes of the source that it has in use, or had in use for files of which it still knows; ascending, not touching.
    ranges: Vec<Range<u64>>,
}

/// The volumes of a source.
pub(crate) struct Neighbours {
    source: Arc<dyn ReadAt>,
    all: Vec<Neighbour>,
}

/// How a volume stands to one that lies over it.
enum Relation {
    /// The other's clusters are its own.
    Over,
    /// The volume is an image in a file of the other, whose record this is where it is known.
    InFile(Option<u32>),
    /// Nothing of it is the other's.
    Apart,
}

impl Neighbours {
    /// The volumes that a partition table lists, and those that a search has found, with where they lie in files.
    pub(crate) fn new(
        source: Arc<dyn ReadAt>,
        listed: &[Volume],
        found: impl Iterator<Item = (Volume, Option<Inside>)>,
    ) -> Self {
        let neighbour =
            |(volume, inside), listed| Neighbour { volume, inside, listed, usage: OnceLock::new() };
        let listed = listed.iter().map(|volume| neighbour((volume.clone(), None), true));
        Self { source, all: listed.chain(found.map(|found| neighbour(found, false))).collect() }
    }

    /// The clusters of `volume`, of which `facts` tell, that later volumes have taken.
    ///
    /// # Errors
    /// When `watch` cancelled the scan of another volume.
    pub(crate) fn taken(&self, volume: &Volume, facts: &Facts, watch: &dyn Watch) -> Result<Taken, Error> {
        let own = extent_of(volume);
        let mut taken = Taken::new(own.start, facts.bytes_per_cluster, facts.clusters);
        let me = self.all.iter().find(|other| is_same(&other.volume, volume));
        taken.spares_existing = me.is_some_and(|me| me.listed);
        for other in self.all.iter().filter(|other| !is_same(&other.volume, volume)) {
            let place = extent_of(&other.volume);
            let shared = own.start.max(place.start)..own.end.min(place.end);
            if shared.is_empty() {
                continue;
            }
            match self.relation(volume, me, other, watch)? {
                Relation::Apart => {}
                Relation::Over => self.add_over(&mut taken, other, shared, facts, watch)?,
                Relation::InFile(record) => self.add_around(&mut taken, other, record, shared, watch)?,
            }
        }
        taken.finish();
        Ok(taken)
    }

    fn relation(
        &self,
        volume: &Volume,
        me: Option<&Neighbour>,
        other: &Neighbour,
        watch: &dyn Watch,
    ) -> Result<Relation, Error> {
        let held = match me {
            Some(Neighbour { inside: Some(inside), .. }) if inside.volume != other.volume.number => {
                return Ok(Relation::Apart);
            }
            Some(me) => me.inside.as_ref().map(|inside| inside.record),
            // Nobody has asked yet whether a volume that is given by its sectors is an image in a file.
            None => images::holder(&self.source, &other.volume, volume, watch)?.map(|place| place.record),
        };
        Ok(match held {
            Some(record) => Relation::InFile(record),
            // What lies in a file is content of the volume that has the file.
            None if other.inside.is_some() => Relation::Apart,
            None => Relation::Over,
        })
    }

    /// Adds what a volume has taken that lies over this one.
    fn add_over(
        &self,
        taken: &mut Taken,
        other: &Neighbour,
        shared: Range<u64>,
        facts: &Facts,
        watch: &dyn Watch,
    ) -> Result<(), Error> {
        let number = other.volume.number;
        let kind = other.volume.file_system;
        let Some(usage) = self.usage(other, watch)? else {
            // A partition in which nothing is known has perhaps never been used.
            if other.listed && kind != FileSystemKind::Unknown {
                taken.doubt(shared, || {
                    format!("volume {number} ({kind}) lies over this one; which clusters it has written is not known")
                });
            }
            return Ok(());
        };
        let known = usage.formatted != FileTime(0) && facts.formatted != FileTime(0);
        if known && usage.formatted < facts.formatted {
            return Ok(());
        }
        let from = usage.ranges.partition_point(|range| range.end <= shared.start);
        let ranges = usage.ranges.iter().skip(from).take_while(|range| range.start < shared.end);
        let clusters =
            taken.add(ranges.map(|range| range.start.max(shared.start)..range.end.min(shared.end)));
        if clusters > 0 {
            taken.notes.push(format!(
                "volume {number} lies over this one and has used {clusters} of its clusters; they are declared overwritten"
            ));
        }
        Ok(())
    }

    /// Adds what the volume in whose file this one lies has used for other things since that file was deleted.
    fn add_around(
        &self,
        taken: &mut Taken,
        outer: &Neighbour,
        record: Option<u32>,
        shared: Range<u64>,
        watch: &dyn Watch,
    ) -> Result<(), Error> {
        let number = outer.volume.number;
        let used = match record {
            Some(record) => used_by_others(&self.source, &outer.volume, record, watch)?,
            None => None,
        };
        match used {
            Some(ranges) => {
                let clip = |range: &Range<u64>| range.start.max(shared.start)..range.end.min(shared.end);
                let clusters = taken.add(ranges.iter().map(clip).filter(|range| !range.is_empty()));
                if clusters > 0 {
                    taken.notes.push(format!(
                        "the file of volume {number} in which this volume lies was deleted, and {clusters} clusters are in use by other files"
                    ));
                }
            }
            None => taken.doubt(shared, || {
                format!("this volume lies in a file of volume {number} of which it is not known whether it was overwritten")
            }),
        }
        Ok(())
    }

    fn usage<'a>(&self, other: &'a Neighbour, watch: &dyn Watch) -> Result<Option<&'a Usage>, Error> {
        if other.usage.get().is_none() {
            let found = usage(&self.source, &other.volume, watch)?;
            let _ = other.usage.set(found);
        }
        Ok(other.usage.get().and_then(Option::as_ref))
    }
}

/// Opens a volume and lists all its files; `None` where it has none that can be listed.
fn opened(
    source: &Arc<dyn ReadAt>,
    volume: &Volume,
    watch: &dyn Watch,
) -> Result<Option<(Opened, undelfs_volume::filesystem::Scan)>, Error> {
    if volume.file_system != FileSystemKind::Ntfs {
        return Ok(None);
    }
    let opened = match Opened::new(volume, source, Manner::default(), &[], watch) {
        Ok(opened) => opened,
        Err(error) if watch.cancelled() => return Err(error),
        Err(_) => return Ok(None),
    };
    let Some(file_system) = &opened.file_system else { return Ok(None) };
    match file_system.scan(Want { removed: true, regular: true, deep: false }, watch) {
        Ok(scan) => Ok(Some((opened, scan))),
        Err(error) if watch.cancelled() => Err(error.into()),
        Err(error) => {
            tracing::debug!(%error, volume = volume.number, "what a volume uses that lies over another is not known");
            Ok(None)
        }
    }
}

/// What a volume uses: what its bitmap says, and all runs of all files.
fn usage(source: &Arc<dyn ReadAt>, volume: &Volume, watch: &dyn Watch) -> Result<Option<Usage>, Error> {
    let Some((opened, scan)) = opened(source, volume, watch)? else { return Ok(None) };
    let Some(file_system) = &opened.file_system else { return Ok(None) };
    let facts = file_system.facts();
    let place = Place::new(volume, facts);
    let mut ranges = place.in_use(file_system.bitmap(), facts.clusters);
    ranges.extend(scan.claims.iter().map(|claim| place.bytes(claim.first, claim.count.into())));
    // The backup of the boot sector stands behind the last cluster.
    let end = extent_of(volume).end;
    ranges.push(end.saturating_sub(volume.sector_size.into())..end);
    merge(&mut ranges);
    Ok(Some(Usage { formatted: facts.formatted, ranges }))
}

/// What in `volume` is in use, or was claimed by deleted files, but by the file with this record; nothing where that
/// file exists. `None` where the files of the volume cannot be listed.
fn used_by_others(
    source: &Arc<dyn ReadAt>,
    volume: &Volume,
    record: u32,
    watch: &dyn Watch,
) -> Result<Option<Vec<Range<u64>>>, Error> {
    let Some((opened, scan)) = opened(source, volume, watch)? else { return Ok(None) };
    let Some(file_system) = &opened.file_system else { return Ok(None) };
    let Ok(own) = scan.files.binary_search_by_key(&record, |file| file.record) else { return Ok(None) };
    if scan.files.get(own).is_some_and(|file| !file.flags.contains(FileFlags::REMOVED)) {
        return Ok(Some(Vec::new()));
    }
    let facts = file_system.facts();
    let place = Place::new(volume, facts);
    let mut ranges = place.in_use(file_system.bitmap(), facts.clusters);
    let others = scan.claims.iter().filter(|claim| {
        let owner = scan.owners.get(claim.owner as usize);
        owner.is_none_or(|owner| owner.live || owner.file as usize != own)
    });
    ranges.extend(others.map(|claim| place.bytes(claim.first, claim.count.into())));
    merge(&mut ranges);
    Ok(Some(ranges))
}

/// Where the clusters of a volume are on the source.
struct Place {
    start: u64,
    cluster: u64,
}

impl Place {
    fn new(volume: &Volume, facts: &Facts) -> Self {
        Self { start: extent_of(volume).start, cluster: facts.bytes_per_cluster.into() }
    }

    fn bytes(&self, first: u64, count: u64) -> Range<u64> {
        let at = self.start.saturating_add(first.saturating_mul(self.cluster));
        at..at.saturating_add(count.saturating_mul(self.cluster))
    }

    fn in_use(&self, bitmap: Option<Arc<dyn ReadAt>>, clusters: u64) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        if let Some(bitmap) = bitmap {
            // A bitmap tells of no more clusters than it has bits for.
            let clusters = clusters.min(bitmap.present().saturating_mul(8));
            Allocation::new(bitmap, clusters).used(0..clusters, |used| {
                let next = self.bytes(used.start, used.end.saturating_sub(used.start));
                match ranges.last_mut() {
                    Some(last) if last.end == next.start => last.end = next.end,
                    _ => ranges.push(next),
                }
            });
        }
        ranges
    }
}

/// Sorts ranges and joins those that touch.
fn merge(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let touches = next.start <= last.end;
        if touches {
            last.end = last.end.max(next.end);
        }
        touches
    });
}
