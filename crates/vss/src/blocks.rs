//! Sets of blocks, as the bitmaps of a store tell them.

use std::{collections::HashSet, ops::Range};

use undelfs_source::ReadAt;
use undelfs_volume::Error;

use crate::block::{BLOCK, Chain, HEADER, Kind};

/// Blocks that one block of a bitmap tells of.
const PER_BLOCK: u64 = (BLOCK - HEADER as u64) * 8;

/// A set of blocks: a bit for each block of the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    words: Vec<u64>,
}

impl Blocks {
    /// All of the first `count` blocks.
    pub(crate) fn all(count: u64) -> Self {
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(0);
        Self { words: vec![u64::MAX; words] }
    }

    /// Reads the bitmap whose first block stands at byte `first`; only its first `count` bits count. What it does not
    /// reach is not in the set.
    ///
    /// # Errors
    /// When a part of it cannot be read.
    pub(crate) fn read(
        volume: &dyn ReadAt,
        first: u64,
        count: u64,
        seen: &mut HashSet<u64>,
    ) -> Result<Self, Error> {
        let mut words = Vec::new();
        let needed = usize::try_from(count.div_ceil(PER_BLOCK)).unwrap_or(usize::MAX);
        for block in Chain::new(volume, first, Kind::Bitmap, seen).take(needed) {
            let block = block?;
            words.extend(block.body().as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
        }
        words.truncate(usize::try_from(count.div_ceil(64)).unwrap_or(usize::MAX));
        Ok(Self { words })
    }

    /// Adds those of the first `count` blocks that are not in `other`.
    pub(crate) fn add_missing(&mut self, other: &Self, count: u64) {
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(0);
        self.words.resize(words.max(self.words.len()), 0);
        for (index, word) in self.words.iter_mut().enumerate() {
            *word |= !other.words.get(index).copied().unwrap_or(0);
        }
    }

    fn word(&self, index: u64) -> u64 {
        usize::try_from(index).ok().and_then(|index| self.words.get(index)).copied().unwrap_or(0)
    }

    pub(crate) fn contains(&self, block: u64) -> bool {
        self.word(block / 64) >> (block % 64) & 1 == 1
    }

    pub(crate) fn remove(&mut self, block: u64) {
        if let Some(word) = usize::try_from(block / 64).ok().and_then(|index| self.words.get_mut(index)) {
            *word &= !(1 << (block % 64));
        }
    }

    /// Keeps only what is in `other` too.
    pub(crate) fn intersect(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// How many blocks from `blocks.start` on are in the set, or are not, as the first one; not beyond `blocks`.
    pub(crate) fn run(&self, blocks: Range<u64>) -> u64 {
        let is_in = self.contains(blocks.start);
        let mut at = blocks.start;
        while at < blocks.end {
            let word = if is_in { !self.word(at / 64) } else { self.word(at / 64) };
            let same = u64::from((word >> (at % 64)).trailing_zeros()).min(64_u64.saturating_sub(at % 64));
            at = at.saturating_add(same);
            if same == 0 || !at.is_multiple_of(64) {
                break;
            }
        }
        at.min(blocks.end).saturating_sub(blocks.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::made;
    use proptest::prelude::*;

    #[test]
    fn a_bitmap_of_several_blocks_is_read_as_far_as_the_volume_goes() {
        let volume = [
            vec![0; BLOCK as usize],
            made::block(6, 0, BLOCK, 2 * BLOCK, &[0xFF; BLOCK as usize - HEADER]),
            made::block(6, 0, 2 * BLOCK, 3 * BLOCK, &[0b101]),
        ]
        .concat();
        let read = |count| Blocks::read(&volume, BLOCK, count, &mut HashSet::new());
        let blocks = read(PER_BLOCK + 64).unwrap();
        assert!(blocks.contains(0) && blocks.contains(PER_BLOCK) && blocks.contains(PER_BLOCK + 2));
        assert!(!blocks.contains(PER_BLOCK + 1) && !blocks.contains(PER_BLOCK + 64));
        assert!(read(2 * PER_BLOCK + 1).is_err());
        assert_eq!(read(64).unwrap(), Blocks::all(64));
    }

    proptest! {
        #[test]
        fn runs_are_as_the_bits_are(
            words in proptest::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 0..6),
            other in proptest::collection::vec(any::<u64>(), 0..6),
            start in 0_u64..400,
            len in 1_u64..400,
            removed in 0_u64..400,
        ) {
            let mut blocks = Blocks { words };
            blocks.remove(removed);
            prop_assert!(!blocks.contains(removed));
            let first = blocks.contains(start);
            let expected = (start..start + len).take_while(|n| blocks.contains(*n) == first).count() as u64;
            prop_assert_eq!(blocks.run(start..start + len), expected);
            let (before, other) = (blocks.clone(), Blocks { words: other });
            blocks.intersect(&other);
            let mut added = before.clone();
            added.add_missing(&other, 384);
            for n in 0..384 {
                prop_assert_eq!(blocks.contains(n), before.contains(n) && other.contains(n));
                prop_assert_eq!(added.contains(n), before.contains(n) || !other.contains(n));
            }
        }
    }
}
