//! AES in CBC mode; the IV of a sector is its byte offset in the volume, encrypted with the same key.

use aes::{
    Block,
    cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16},
};

use super::{Count, GROUP};

/// The key schedule of a volume in CBC mode.
pub(super) struct Cbc<C>(C);

impl<C> Cbc<C>
where
    C: BlockSizeUser<BlockSize = U16> + BlockCipherEncrypt + BlockCipherDecrypt + KeyInit,
{
    /// `None` where the key has not the cipher's length.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        C::new_from_slice(key).ok().map(Self)
    }

    pub(super) fn decrypt(&self, sectors: &mut [u8], sector_size: usize, offset: u64) {
        let mut offsets = Count { next: offset, step: sector_size as u64 };
        let mut ivs = [Block::default(); GROUP / 512];
        // What each block is XORed with when it is decrypted: the IV, or the encrypted block before it.
        let mut before = [Block::default(); GROUP / 16];
        let per_sector = sector_size / 16;
        for group in sectors.chunks_mut(GROUP) {
            let Some(ivs) = ivs.get_mut(..group.len() / sector_size) else { return };
            for (iv, offset) in ivs.iter_mut().zip(&mut offsets) {
                *iv = Block::from(u128::from(offset).to_le_bytes());
            }
            self.0.encrypt_blocks(ivs);
            let blocks = Array::cast_slice_from_core_mut(group.as_chunks_mut().0);
            let befores = before.chunks_exact_mut(per_sector);
            for ((sector, before), iv) in blocks.chunks_exact(per_sector).zip(befores).zip(ivs) {
                if let ([first, others @ ..], [blocks @ .., _]) = (before, sector) {
                    *first = *iv;
                    others.copy_from_slice(blocks);
                }
            }
            self.0.decrypt_blocks(blocks);
            for (block, before) in blocks.iter_mut().zip(&before) {
                block.0 = (u128::from_le_bytes(block.0) ^ u128::from_le_bytes(before.0)).to_le_bytes();
            }
        }
    }
}
