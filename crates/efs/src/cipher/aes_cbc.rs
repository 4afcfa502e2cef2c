//! AES in CBC mode.

use aes::{
    Block,
    cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16},
};

use super::UNIT;

/// Bytes that are decrypted together: enough blocks for the widest AES instructions, few enough to stay in the
/// first-level cache.
const GROUP: usize = 8192;

/// What a unit's offset is added to, for each half of its IV.
const IV: [u64; 2] = [0x5816_657B_E916_1312, 0x1989_ADBE_4491_8961];

fn iv(offset: u64) -> u128 {
    let [low, high] = IV.map(|half| u128::from(half.wrapping_add(offset)));
    high << 64 | low
}

/// The key schedule of a file.
pub(super) struct AesCbc<C>(C);

impl<C> AesCbc<C>
where
    C: BlockSizeUser<BlockSize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + KeyInit,
{
    /// `None` where the key has not the cipher's length.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        C::new_from_slice(key).ok().map(Self)
    }

    pub(super) fn decrypt(&self, units: &mut [u8], offset: u64) {
        // What each block is XORed with when it is decrypted: the IV, or the encrypted block before it.
        let mut before = [Block::default(); GROUP / 16];
        let mut offset = offset;
        for group in units.chunks_mut(GROUP) {
            let blocks = Array::cast_slice_from_core_mut(group.as_chunks_mut().0);
            let befores = before.chunks_exact_mut(UNIT / 16);
            for (unit, before) in blocks.chunks_exact(UNIT / 16).zip(befores) {
                if let ([first, others @ ..], [blocks @ .., _]) = (before, unit) {
                    *first = Block::from(iv(offset).to_le_bytes());
                    others.copy_from_slice(blocks);
                }
                offset = offset.wrapping_add(UNIT as u64);
            }
            self.0.decrypt_blocks(blocks);
            for (block, before) in blocks.iter_mut().zip(&before) {
                block.0 = (u128::from_le_bytes(block.0) ^ u128::from_le_bytes(before.0)).to_le_bytes();
            }
        }
    }

    pub(super) fn encrypt(&self, units: &mut [u8], offset: u64) {
        let mut offset = offset;
        for unit in units.chunks_exact_mut(UNIT) {
            let mut before = iv(offset);
            for bytes in unit.as_chunks_mut::<16>().0 {
                let mut block = Block::from((u128::from_le_bytes(*bytes) ^ before).to_le_bytes());
                self.0.encrypt_block(&mut block);
                *bytes = block.0;
                before = u128::from_le_bytes(*bytes);
            }
            offset = offset.wrapping_add(UNIT as u64);
        }
    }
}
