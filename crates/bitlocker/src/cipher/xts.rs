//! AES in XTS mode (IEEE 1619); a sector's data unit number is its number in the volume.

use aes::{
    Block,
    cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16},
};
use fearless_simd::{Level, Simd, dispatch, prelude::*, u64x8};

use super::{Count, GROUP};

/// Blocks whose tweaks make one vector.
const STEP: usize = 4;

/// The tweaks of `STEP` blocks that follow each other, each as its low and its high half.
type Tweaks = [u64; 2 * STEP];

/// The key schedules of a volume in XTS mode.
pub(super) struct Xts<C> {
    data: C,
    tweak: C,
}

impl<C> Xts<C>
where
    C: BlockSizeUser<BlockSize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + KeyInit,
{
    /// The data key and the tweak key, one after the other; `None` where they have not the cipher's lengths.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let (data, tweak) = key.split_at_checked(key.len() / 2)?;
        Some(Self { data: C::new_from_slice(data).ok()?, tweak: C::new_from_slice(tweak).ok()? })
    }

    pub(super) fn decrypt(&self, level: Level, sectors: &mut [u8], sector_size: usize, offset: u64) {
        let mut numbers = Count { next: offset / sector_size as u64, step: 1 };
        let mut first = [Block::default(); GROUP / 512];
        let mut tweaks = [Tweaks::default(); GROUP / 16 / STEP];
        for group in sectors.chunks_mut(GROUP) {
            let Some(first) = first.get_mut(..group.len() / sector_size) else { return };
            for (first, number) in first.iter_mut().zip(&mut numbers) {
                *first = Block::from(u128::from(number).to_le_bytes());
            }
            self.tweak.encrypt_blocks(first);
            dispatch!(level, simd => whiten_first(simd, group, sector_size, first, &mut tweaks));
            self.data.decrypt_blocks(Array::cast_slice_from_core_mut(group.as_chunks_mut().0));
            dispatch!(level, simd => whiten(simd, group, &tweaks));
        }
    }
}

/// XORs each block with its tweak, and keeps the tweaks; `first` has that of each sector's first block.
#[inline(always)]
fn whiten_first<S: Simd>(
    simd: S,
    group: &mut [u8],
    sector_size: usize,
    first: &[Block],
    tweaks: &mut [Tweaks],
) {
    let low_halves = u64x8::load_array(simd, [u64::MAX, 0, u64::MAX, 0, u64::MAX, 0, u64::MAX, 0]);
    let sectors = group.chunks_exact_mut(sector_size).zip(first);
    for ((sector, first), tweaks) in sectors.zip(tweaks.chunks_exact_mut(sector_size / 16 / STEP)) {
        let mut tweak = u64x8::load_array(simd, start(*first));
        for (blocks, kept) in sector.as_chunks_mut().0.iter_mut().zip(tweaks) {
            *kept = tweak.to_array();
            xor(simd, blocks, tweak);
            // Times x to the fourth: a shift by 4 of all 128 bits, and for each of the bits that it drops the bits 0,
            // 1, 2 and 7, which the field's polynomial has.
            let carried = (tweak >> 60).slide_within_blocks::<1>(tweak >> 60);
            let folded = (carried << 1) ^ (carried << 2) ^ (carried << 7);
            tweak = (tweak << 4) ^ carried ^ (folded & low_halves);
        }
    }
}

/// XORs each block with its tweak.
#[inline(always)]
fn whiten<S: Simd>(simd: S, group: &mut [u8], tweaks: &[Tweaks]) {
    for (blocks, tweak) in group.as_chunks_mut().0.iter_mut().zip(tweaks) {
        xor(simd, blocks, u64x8::load_array(simd, *tweak));
    }
}

#[inline(always)]
fn xor<S: Simd>(simd: S, blocks: &mut [u8; 16 * STEP], tweak: u64x8<S>) {
    let mut words = Tweaks::default();
    for (word, bytes) in words.iter_mut().zip(blocks.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let words = (u64x8::load_array(simd, words) ^ tweak).to_array();
    for (word, bytes) in words.iter().zip(blocks.as_chunks_mut().0) {
        *bytes = word.to_le_bytes();
    }
}

/// The tweaks of a sector's first blocks.
#[inline(always)]
fn start(first: Block) -> Tweaks {
    let mut tweak = u128::from_le_bytes(first.0);
    let mut tweaks = Tweaks::default();
    for halves in tweaks.as_chunks_mut::<2>().0 {
        *halves = [tweak as u64, (tweak >> 64) as u64];
        tweak = (tweak << 1) ^ (0x87 & (tweak >> 127).wrapping_neg());
    }
    tweaks
}
