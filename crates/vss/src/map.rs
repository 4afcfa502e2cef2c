//! Where every block of one snapshot is, put together from its store and all newer ones.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use undelfs_source::ReadAt;

use crate::{
    block::BLOCK,
    blocks::Blocks,
    catalogue::Places,
    descriptor::{Overlay, Place, Table},
};

/// Size of a sector of an overlay in bytes.
const SECTOR: u64 = 512;

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// At this byte of the volume.
    At(u64),
    /// A block list that would tell is damaged.
    Unknown,
    /// It was free when the snapshot was made, and was not kept: Windows leaves what is read there undefined.
    Undefined,
}

/// Blocks that follow each other, here and where they are. No more of them are held than there are descriptors in the
/// stores, and none is larger than one.
#[derive(Debug, Clone, Copy)]
struct Extent {
    first: u64,
    count: u64,
    to: Target,
}

impl Extent {
    /// Takes the next block in where it follows.
    fn join(&mut self, block: u64, to: Target) -> bool {
        let follows = self.first.checked_add(self.count) == Some(block)
            && match (self.to, to) {
                (Target::At(at), Target::At(next)) => {
                    at.checked_add(self.count.saturating_mul(BLOCK)) == Some(next)
                }
                (known, next) => known == next,
            };
        if follows {
            self.count = self.count.saturating_add(1);
        }
        follows
    }

    fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

/// What keeps the blocks of a snapshot. Blocks are numbers: offsets in units of a block's size.
#[derive(Debug, Default)]
pub(crate) struct Map {
    /// Those that some store tells of, in order.
    extents: Vec<Extent>,
    /// Sectors that count before the blocks, in order.
    overlays: Vec<(u64, Overlay)>,
    /// Those that were free when the snapshot was made, and so were not copied before they were written; all that its
    /// store does not have where that is not known.
    free: Blocks,
    /// Which blocks were free is known.
    is_known: bool,
    /// Those that were in use when a newer snapshot was made.
    later: Blocks,
    /// There is no newer snapshot.
    is_newest: bool,
    /// Those that hold what was moved there, in order.
    moved: Vec<u64>,
    /// Why it is not known where the other blocks are, where it is not.
    pub(crate) damage: Option<String>,
    pub(crate) notes: Vec<String>,
}

/// A store on the way from now to a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Number of its shadow copy.
    pub(crate) number: u32,
    pub(crate) places: Places,
    /// Size of the volume when it was made, in bytes.
    pub(crate) size: u64,
}

impl Step {
    /// How many blocks the volume has.
    fn blocks(&self, volume: &dyn ReadAt) -> u64 {
        self.size.min(volume.present()).div_ceil(BLOCK)
    }
}

impl Map {
    /// Goes back from now to the last of `steps`, the first of which is the newest. Every descriptor is read once.
    pub(crate) fn new(volume: &dyn ReadAt, steps: &[Step]) -> Self {
        let mut seen = HashSet::new();
        let mut map = Self::default();
        let mut blocks: BTreeMap<u64, Target> = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            let table = Table::read(volume, step.places.block_list, step.size, &mut seen);
            let is_own = index.saturating_add(1) == steps.len();
            let is_newest = index == 0;
            let resolve = |place: &Place| match *place {
                Place::At(at) => Target::At(at),
                // Since the newest snapshot nothing but its own store has moved anything.
                Place::Moved(to) if is_newest => Target::At(to.saturating_mul(BLOCK)),
                Place::Moved(to) => match blocks.get(&to) {
                    Some(target) => *target,
                    None if map.damage.is_some() => Target::Unknown,
                    None => Target::At(to.saturating_mul(BLOCK)),
                },
            };
            let own: Vec<(u64, Target)> =
                table.places.iter().map(|(block, place)| (*block, resolve(place))).collect();
            if let Some(damage) = table.damage {
                // What the list has lost may be about any block that it does not name.
                blocks.clear();
                map.damage = Some(format!("shadow copy {}: {damage}", step.number));
            }
            if !is_own {
                map.use_later(volume, step, &mut seen);
            } else {
                map.is_newest = is_newest;
                map.protect(volume, step, &mut seen);
                own.iter().for_each(|(block, _)| map.free.remove(*block));
                map.overlays = table.overlays.into_iter().collect();
                map.moved = table.moved.into_keys().collect();
            }
            blocks.extend(own);
        }
        for (block, to) in blocks {
            if !map.extents.last_mut().is_some_and(|last| last.join(block, to)) {
                map.extents.push(Extent { first: block, count: 1, to });
            }
        }
        map.extents.shrink_to_fit();
        map.notes.extend(map.damage.clone());
        map
    }

    /// Reads which blocks were free.
    fn protect(&mut self, volume: &dyn ReadAt, step: &Step, seen: &mut HashSet<u64>) {
        let count = step.blocks(volume);
        let Places { bitmap, previous_bitmap, .. } = step.places;
        if bitmap == 0 {
            self.free = Blocks::all(count);
            return;
        }
        let read = Blocks::read(volume, bitmap, count, seen).and_then(|mut free| {
            // What the snapshot before needs is kept too.
            if previous_bitmap != 0 {
                free.intersect(&Blocks::read(volume, previous_bitmap, count, seen)?);
            }
            Ok(free)
        });
        match read {
            Ok(free) => {
                self.free = free;
                self.is_known = true;
            }
            Err(error) => {
                self.free = Blocks::all(count);
                self.notes.push(format!(
                    "which blocks shadow copy {} has not kept is not known, so every block that has not changed counts as such: {error}",
                    step.number
                ));
            }
        }
    }

    /// Reads which blocks were in use when a newer snapshot was made; where that is not known, all of them were.
    fn use_later(&mut self, volume: &dyn ReadAt, step: &Step, seen: &mut HashSet<u64>) {
        let count = step.blocks(volume);
        let read = Blocks::read(volume, step.places.bitmap, count, seen);
        self.later.add_missing(&read.unwrap_or_default(), count);
    }

    /// Where the byte at `at` is, and how many bytes from there on stand together; at most `limit`. With `only_kept` all
    /// blocks that were not kept are undefined, also those that the volume or a newer snapshot gives something for.
    pub(crate) fn find(&self, at: u64, limit: u64, only_kept: bool) -> (Target, u64) {
        let (block, within) = (at / BLOCK, at % BLOCK);
        let end = at.saturating_add(limit);
        let next = self.overlays.partition_point(|(first, _)| *first < block);
        let mut end = match self.overlays.get(next) {
            Some((first, overlay)) if *first == block => {
                let sector = within / SECTOR;
                let bits =
                    overlay.sectors.checked_shr(u32::try_from(sector).unwrap_or(u32::MAX)).unwrap_or(0);
                let same = if bits & 1 == 1 { bits.trailing_ones() } else { bits.trailing_zeros() };
                let sectors = u64::from(same).min((BLOCK / SECTOR).saturating_sub(sector));
                let stop = sector.saturating_add(sectors).saturating_mul(SECTOR).saturating_sub(within);
                let stop = at.saturating_add(stop).min(end);
                if bits & 1 == 1 {
                    return (Target::At(overlay.at.saturating_add(within)), stop.saturating_sub(at));
                }
                stop
            }
            Some((first, _)) => end.min(first.saturating_mul(BLOCK)),
            None => end,
        };
        if only_kept && self.is_known {
            let same = self.free.run(block..end.div_ceil(BLOCK));
            end = end.min(block.saturating_add(same).saturating_mul(BLOCK));
            if self.free.contains(block) {
                return (Target::Undefined, end.saturating_sub(at));
            }
        }
        let next = self.extents.partition_point(|extent| extent.end() <= block);
        let target = match self.extents.get(next) {
            Some(extent) if extent.first <= block => {
                end = end.min(extent.end().saturating_mul(BLOCK));
                let inside = at.saturating_sub(extent.first.saturating_mul(BLOCK));
                match extent.to {
                    Target::At(to) => Target::At(to.saturating_add(inside)),
                    other => other,
                }
            }
            extent => {
                end = end.min(extent.map_or(u64::MAX, |extent| extent.first.saturating_mul(BLOCK)));
                self.elsewhere(at, &mut end)
            }
        };
        (target, end.saturating_sub(at))
    }

    /// As [`find`](Self::find), of a block that no store tells of.
    fn elsewhere(&self, at: u64, end: &mut u64) -> Target {
        if self.damage.is_some() {
            return Target::Unknown;
        }
        if !self.is_newest || !self.is_known {
            return Target::At(at);
        }
        let block = at / BLOCK;
        let next = self.moved.partition_point(|moved| *moved < block);
        match self.moved.get(next) {
            Some(moved) if *moved == block => {
                *end = (*end).min(block.saturating_add(1).saturating_mul(BLOCK));
                return Target::At(at);
            }
            Some(moved) => *end = (*end).min(moved.saturating_mul(BLOCK)),
            None => {}
        }
        let same = self.free.run(block..end.div_ceil(BLOCK));
        *end = (*end).min(block.saturating_add(same).saturating_mul(BLOCK));
        if self.free.contains(block) { Target::Undefined } else { Target::At(at) }
    }

    /// Calls `each` with the parts of `bytes` that the snapshot has not kept, in order; and whether they were in use when a newer one was made.
    pub(crate) fn unkept(&self, bytes: Range<u64>, mut each: impl FnMut(Range<u64>, bool)) {
        let end = bytes.end.div_ceil(BLOCK);
        let mut block = bytes.start / BLOCK;
        while block < end {
            let mut stop = block.saturating_add(self.free.run(block..end));
            if self.free.contains(block) {
                let next = self.extents.partition_point(|extent| extent.end() <= block);
                let (is_elsewhere, border) = match self.extents.get(next) {
                    Some(extent) if extent.first <= block => (true, extent.end()),
                    Some(extent) => (false, extent.first),
                    None => (false, u64::MAX),
                };
                let later = self.later.run(block..stop);
                stop = stop.min(border).min(block.saturating_add(later));
                let is_elsewhere = is_elsewhere || self.later.contains(block);
                let part =
                    block.saturating_mul(BLOCK).max(bytes.start)..stop.saturating_mul(BLOCK).min(bytes.end);
                each(part, is_elsewhere);
            }
            block = stop;
        }
    }
}
