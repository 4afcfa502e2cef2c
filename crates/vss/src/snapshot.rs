//! The bytes of a volume as they were.

use std::{ops::Range, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt, ReadError};

use crate::map::{Map, Target};

/// A volume as it was when a shadow copy of it was made.
///
/// Blocks of 16 KiB that were written since are read from the stores of this shadow copy and the newer ones, the others
/// from the volume. Those that were free then were not copied before they were written: [`Gaps`] says how they read, and
/// [`unkept`](Self::unkept) which they are.
#[derive(Clone)]
pub struct Snapshot {
    volume: Arc<dyn ReadAt>,
    map: Arc<Map>,
    size: u64,
    gaps: Gaps,
}

/// How blocks read that were free when a snapshot was made and that it has therefore not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gaps {
    /// As other readers of the format present them, because Windows leaves it undefined: of the newest shadow copy as
    /// zeros, of an older one as what the next newer one has there, and at last the volume.
    #[default]
    Presented,
    /// As zeros. Nothing of a later time is read then.
    Zeros,
    /// As what a newer shadow copy has there, and at last the volume.
    Later,
}

/// What is known of blocks that a snapshot has not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// They were free in every newer snapshot too: they read as what is on the volume now.
    Now,
    /// They were in use when a newer snapshot was made.
    Later,
}

impl Snapshot {
    pub(crate) fn new(volume: Arc<dyn ReadAt>, map: Map, size: u64) -> Self {
        Self { volume, map: Arc::new(map), size, gaps: Gaps::default() }
    }

    /// The same snapshot, with what it has not kept read so.
    #[must_use]
    pub fn with_gaps(&self, gaps: Gaps) -> Self {
        Self { gaps, ..self.clone() }
    }

    /// Calls `each` with the parts of `bytes` that were free when the snapshot was made and that it has therefore not
    /// kept, in order: whatever reads there may have been written later.
    pub fn unkept(&self, bytes: Range<u64>, mut each: impl FnMut(Range<u64>, Unkept)) {
        let bytes = bytes.start..bytes.end.min(self.size);
        self.map.unkept(bytes, |part, newer| each(part, if newer { Unkept::Later } else { Unkept::Now }));
    }

    /// What of the snapshot cannot be told, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.map.notes
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("size", &self.size).finish_non_exhaustive()
    }
}

impl ReadAt for Snapshot {
    fn size(&self) -> u64 {
        self.size
    }

    fn present(&self) -> u64 {
        self.size.min(self.volume.present())
    }

    fn sector_size(&self) -> u32 {
        self.volume.sector_size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..len).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let (target, here) = self.map.find(at, rest.len() as u64, self.gaps == Gaps::Zeros);
            let here = usize::try_from(here).unwrap_or(usize::MAX).clamp(1, rest.len());
            let piece = rest.get_mut(..here).unwrap_or_default();
            let read = match target {
                Target::At(to) => {
                    let read = self.volume.read_at(piece, to)?;
                    // Only where a byte stands at its own place can the volume end before it.
                    if read < here && to != at {
                        let (len, size) = (here as u64, self.volume.present());
                        return Err(ReadError::PastEnd { offset: to, len, size });
                    }
                    read
                }
                Target::Undefined if self.gaps == Gaps::Later => self.volume.read_at(piece, at)?,
                Target::Undefined => {
                    piece.fill(0);
                    here
                }
                Target::Unknown => {
                    let reason = self.map.damage.as_deref().unwrap_or_default();
                    return Err(ReadError::Refused {
                        kind: ErrorKind::Damaged,
                        reason: format!(
                            "where the {here} bytes at byte {at} of the snapshot are is lost: {reason}; try another snapshot"
                        ),
                    });
                }
            };
            done = done.saturating_add(read);
            if read < here {
                break;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        block::{BLOCK, made},
        catalogue::Places,
        descriptor::made::descriptor,
        map::Step,
    };

    /// Blocks of the volume, before those with the structures of two stores.
    const DATA: u64 = 24;
    const SIZE: u64 = DATA * BLOCK;

    /// One descriptor: flags, original block, block that it leads to, sectors.
    type Made = (u32, u64, u64, u32);

    /// What the description of the format says, store by store and sector by sector: which sector of the volume is at
    /// `sector` of the snapshot of store `active`; `None` where it is undefined.
    fn naive(
        stores: &[Vec<Made>],
        free: &[[u8; 3]; 2],
        active: usize,
        store: usize,
        sector: u64,
    ) -> Option<u64> {
        let (block, within) = (sector / 32, sector % 32);
        let (mut places, mut moved, mut overlays) = (HashMap::new(), HashMap::new(), HashMap::new());
        for &(flags, original, to, sectors) in &stores[store] {
            if flags & 4 != 0 {
                continue;
            }
            if flags & 2 != 0 {
                overlays.entry(original).or_insert((to, 0)).1 |= sectors;
                continue;
            }
            let original = moved.remove(&original).unwrap_or(original);
            if flags & 1 == 0 {
                places.insert(original, (false, to));
            } else if to != original {
                places.insert(original, (true, to));
                moved.insert(to, original);
            }
        }
        let next = store + 1 < stores.len();
        if let Some((to, sectors)) = overlays.get(&block)
            && store == active
            && sectors >> within & 1 == 1
        {
            return Some(to * 32 + within);
        }
        match places.get(&block) {
            Some((true, to)) if next => naive(stores, free, active, store + 1, to * 32 + within),
            Some((_, to)) => Some(to * 32 + within),
            None if next => naive(stores, free, active, store + 1, sector),
            None => {
                let is_free = free.iter().all(|bits| bits[(block / 8) as usize] >> (block % 8) & 1 == 1);
                let is_gap = store == active && is_free && !moved.contains_key(&block);
                (!is_gap).then_some(sector)
            }
        }
    }

    fn stores() -> impl Strategy<Value = Vec<Vec<Made>>> {
        let flags = prop_oneof![3 => Just(0), 2 => Just(1), 2 => Just(2), 1 => Just(0x88), 1 => Just(4)];
        let one = (flags, 0..DATA, 0..DATA, any::<u32>());
        proptest::collection::vec(proptest::collection::vec(one, 0..20), 1..4)
    }

    proptest! {
        #[test]
        fn every_sector_is_where_the_stores_say_one_after_the_other(
            stores in stores(),
            free in any::<[[u8; 3]; 2]>(),
            active in any::<prop::sample::Index>(),
            reads in proptest::collection::vec((0..SIZE, 1_usize..100_000), 8),
        ) {
            let active = active.index(stores.len());
            let mut volume: Vec<u8> = (0..SIZE / 512).flat_map(|n| [n as u8 ^ ((n >> 8) as u8 * 85) ^ 0x5A; 512]).collect();
            let mut steps = Vec::new();
            for (n, store) in stores.iter().enumerate() {
                let place = |nth: u64| SIZE + (n as u64 * 3 + nth) * BLOCK;
                let list: Vec<u8> = store
                    .iter()
                    .flat_map(|&(flags, original, to, sectors)| {
                        descriptor(original * BLOCK, to * BLOCK, to * BLOCK, flags, sectors)
                    })
                    .collect();
                volume.extend(made::block(3, 0, place(0), 0, &list));
                volume.extend(made::block(6, 0, place(1), 0, &free[0]));
                volume.extend(made::block(6, 0, place(2), 0, &free[1]));
                let (block_list, bitmap, previous_bitmap) = (place(0), place(1), place(2));
                let places = Places { header: 0, block_list, bitmap, previous_bitmap };
                steps.push(Step { number: n as u32 + 1, places, size: SIZE });
            }
            steps.drain(..active);
            steps.reverse();
            let map = Map::new(&volume, &steps);
            prop_assert!(map.damage.is_none());
            let snapshot = Snapshot::new(Arc::new(volume.clone()), map, SIZE);
            let expected: Vec<u8> = (0..SIZE / 512)
                .flat_map(|sector| match naive(&stores, &free, active, active, sector) {
                    Some(at) => volume[at as usize * 512..][..512].to_vec(),
                    None => vec![0; 512],
                })
                .collect();
            for (at, len) in reads.into_iter().chain([(0, SIZE as usize)]) {
                let mut buf = vec![0xFF; len];
                let read = snapshot.read_at(&mut buf, at).unwrap();
                prop_assert_eq!(read, len.min((SIZE - at) as usize));
                prop_assert!(buf[..read] == expected[at as usize..at as usize + read]);
            }
        }
    }

    #[test]
    fn a_damaged_list_hides_what_newer_stores_tell_and_not_what_older_ones_do() {
        let mut volume: Vec<u8> = (0..DATA).flat_map(|n| [n as u8; BLOCK as usize]).collect();
        // The newest store keeps block 1, the second is damaged and keeps block 2, the oldest keeps block 3.
        for (n, block) in [(0, 1), (1, 2), (2, 3)] {
            let next = if n == 1 { BLOCK } else { 0 };
            let list = descriptor(block * BLOCK, 0, (block + 10) * BLOCK, 0, 0);
            volume.extend(made::block(3, 0, SIZE + n * BLOCK, next, &list));
        }
        let steps: Vec<Step> = (0..3)
            .map(|n| {
                let places = Places { block_list: SIZE + n * BLOCK, ..Places::default() };
                Step { number: 3 - n as u32, places, size: SIZE }
            })
            .collect();
        let snapshot = Snapshot::new(Arc::new(volume.clone()), Map::new(&volume, &steps), SIZE);
        let first = |block: u64| {
            let mut byte = [0];
            snapshot.read_exact_at(&mut byte, block * BLOCK).map(|()| byte[0])
        };
        assert_eq!((first(2).unwrap(), first(3).unwrap()), (12, 13));
        for block in [0, 1, 4] {
            let error = first(block).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
            assert!(error.to_string().contains("shadow copy 2"), "{error}");
        }
        assert_eq!(snapshot.notes().len(), 1);
    }
}
