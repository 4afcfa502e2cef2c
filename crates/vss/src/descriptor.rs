//! Block descriptors: where a store keeps the blocks of its snapshot.

use std::collections::{BTreeMap, HashSet};

use bitflags::bitflags;
use undelfs_source::{
    ReadAt,
    bytes::{u32_at, u64_at},
};

use crate::block::{BLOCK, Chain, Kind};

/// Size of a descriptor in bytes.
const LEN: usize = 32;

bitflags! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Flags: u32 {
        /// The block was moved to another place of the volume instead of being copied.
        const FORWARDER = 1;
        /// Only some sectors were copied.
        const OVERLAY = 1 << 1;
        /// Means nothing.
        const NOT_USED = 1 << 2;
        const _ = !0;
    }
}

#[derive(Debug, Clone, Copy)]
struct Descriptor {
    /// Where the block stood when the snapshot was made, in bytes.
    original: u64,
    /// Of a forwarder, where it was moved to, in bytes.
    relative: u64,
    /// Where its copy stands, in bytes from the begin of the volume.
    at: u64,
    flags: Flags,
    /// Of an overlay, a bit for each sector of 512 bytes that it has.
    sectors: u32,
}

impl Descriptor {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            original: u64_at(bytes, 0)?,
            relative: u64_at(bytes, 8)?,
            at: u64_at(bytes, 16)?,
            flags: Flags::from_bits_retain(u32_at(bytes, 24)?),
            sectors: u32_at(bytes, 28)?,
        })
    }

    /// What of the descriptor cannot be, on a volume of `size` bytes.
    fn fault(&self, size: u64) -> Option<String> {
        let is_block = |offset: u64| offset.is_multiple_of(BLOCK) && offset < size;
        let forwards = self.flags.contains(Flags::FORWARDER) && !self.flags.contains(Flags::OVERLAY);
        if !is_block(self.original) {
            return Some(format!("a block at byte {}", self.original));
        }
        if forwards && !is_block(self.relative) {
            return Some(format!("a block that was moved to byte {}", self.relative));
        }
        None
    }
}

/// Where one store has a block of its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Copied, to this byte of the volume.
    At(u64),
    /// Moved, to this block of what the next snapshot shows.
    Moved(u64),
}

/// Sectors that a store has beside the blocks. Only its own snapshot has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overlay {
    /// Where the copy of the block's first sector would stand, in bytes.
    pub(crate) at: u64,
    /// Bit `n` is set where sector `n` of 512 bytes is copied.
    pub(crate) sectors: u32,
}

/// The block list of a store. Blocks are numbers: offsets in units of a block's size.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) places: BTreeMap<u64, Place>,
    pub(crate) overlays: BTreeMap<u64, Overlay>,
    /// Blocks that hold what was moved there, and from where.
    pub(crate) moved: BTreeMap<u64, u64>,
    /// Why the list is not complete, where it is not.
    pub(crate) damage: Option<String>,
}

impl Table {
    /// Reads the list whose first block stands at byte `first`, of a volume that was `size` bytes large.
    pub(crate) fn read(volume: &dyn ReadAt, first: u64, size: u64, seen: &mut HashSet<u64>) -> Self {
        let mut table = Self::default();
        if first == 0 {
            table.damage = Some("the shadow copy has no block list".to_owned());
        }
        for block in Chain::new(volume, first, Kind::BlockList, seen) {
            let block = match block {
                Ok(block) => block,
                Err(error) => {
                    table.damage = Some(error.to_string());
                    break;
                }
            };
            for bytes in block.body().chunks_exact(LEN).filter(|bytes| bytes.iter().any(|byte| *byte != 0)) {
                let Some(descriptor) = Descriptor::parse(bytes) else { continue };
                if descriptor.flags.contains(Flags::NOT_USED) {
                    continue;
                }
                match descriptor.fault(size) {
                    None => table.insert(&descriptor),
                    Some(fault) => {
                        let at = block.header.at;
                        table.damage.get_or_insert_with(|| {
                            format!(
                                "{} at byte {at}: expected blocks of a volume of {size} bytes, found {fault}",
                                Kind::BlockList.name()
                            )
                        });
                    }
                }
            }
        }
        table
    }

    /// Takes a descriptor in. Later ones count over earlier ones.
    fn insert(&mut self, descriptor: &Descriptor) {
        let block = descriptor.original / BLOCK;
        if descriptor.flags.contains(Flags::OVERLAY) {
            // A further one of the same block names more sectors of the same copy.
            let first = Overlay { at: descriptor.at, sectors: 0 };
            self.overlays.entry(block).or_insert(first).sectors |= descriptor.sectors;
            return;
        }
        // What stood in the block had been moved there, so the descriptor is about where it came from.
        let block = self.moved.remove(&block).unwrap_or(block);
        if !descriptor.flags.contains(Flags::FORWARDER) {
            self.places.insert(block, Place::At(descriptor.at));
            return;
        }
        let to = descriptor.relative / BLOCK;
        if to != block {
            self.places.insert(block, Place::Moved(to));
            self.moved.insert(to, block);
        }
    }
}

#[cfg(test)]
pub(crate) mod made {
    /// A descriptor on disk.
    pub(crate) fn descriptor(original: u64, relative: u64, at: u64, flags: u32, sectors: u32) -> Vec<u8> {
        let mut bytes = [original, relative, at].map(u64::to_le_bytes).concat();
        bytes.extend([flags, sectors].map(u32::to_le_bytes).concat());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{made::descriptor, *};
    use crate::block;

    const SIZE: u64 = 100 * BLOCK;

    fn table(descriptors: &[Vec<u8>]) -> Table {
        let list = block::made::block(3, 0, BLOCK, 0, &descriptors.concat());
        let volume = [vec![0; BLOCK as usize], list].concat();
        Table::read(&volume, BLOCK, SIZE, &mut HashSet::new())
    }

    #[test]
    fn the_last_descriptor_of_a_block_counts_and_unused_ones_do_not() {
        let table = table(&[
            descriptor(3 * BLOCK, 0, 111, 0, 0),
            descriptor(3 * BLOCK, 0, 222, 0x88, 0),
            descriptor(3 * BLOCK, 0, 333, 4, 0),
        ]);
        assert_eq!(table.places, BTreeMap::from([(3, Place::At(222))]));
        assert_eq!(table.damage, None);
    }

    #[test]
    fn overlays_of_a_block_add_their_sectors_and_stay_when_the_block_is_copied() {
        let table = table(&[
            descriptor(3 * BLOCK, 0, 512, 2, 0xFF),
            descriptor(3 * BLOCK, 0, 111, 0, 0),
            descriptor(3 * BLOCK, 1, 999, 2, 0xFF00),
        ]);
        assert_eq!(table.overlays, BTreeMap::from([(3, Overlay { at: 512, sectors: 0xFFFF })]));
        assert_eq!(table.places, BTreeMap::from([(3, Place::At(111))]));
    }

    #[test]
    fn a_moved_block_is_followed_when_it_is_copied_or_moved_again() {
        let moved = |from: u64, to: u64| descriptor(from * BLOCK, to * BLOCK, 0, 1, 0);
        let found = table(&[moved(1, 5), moved(5, 6), moved(2, 7)]);
        assert_eq!(found.places, BTreeMap::from([(1, Place::Moved(6)), (2, Place::Moved(7))]));
        assert_eq!(found.moved, BTreeMap::from([(6, 1), (7, 2)]));
        let found = table(&[moved(1, 5), descriptor(5 * BLOCK, 0, 777, 0, 0)]);
        assert_eq!(found.places, BTreeMap::from([(1, Place::At(777))]));
        assert_eq!(found.moved, BTreeMap::new());
    }

    #[test]
    fn a_descriptor_that_cannot_be_makes_the_list_incomplete_and_hides_no_other() {
        for wrong in [
            descriptor(SIZE, 0, 1, 0, 0),
            descriptor(BLOCK + 1, 0, 1, 0, 0),
            descriptor(BLOCK, SIZE, 0, 1, 0),
        ] {
            let table = table(&[wrong, descriptor(2 * BLOCK, 0, 5, 0, 0)]);
            assert!(table.damage.unwrap().contains("at byte 16384"));
            assert_eq!(table.places, BTreeMap::from([(2, Place::At(5))]));
        }
    }
}
