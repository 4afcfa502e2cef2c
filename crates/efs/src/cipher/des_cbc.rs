//! Triple DES and DESX in CBC mode.

use des::{
    Des,
    cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U8},
};
use md5::{Digest, Md5};
use zeroize::{Zeroize, Zeroizing};

use super::UNIT;

/// What a unit's offset is added to for its IV.
const IV: u64 = 0x1691_1962_9891_AD13;

/// What is hashed behind the key to make the parts of a DESX key, with the NUL of a C string.
const SALTS: [&[u8; 12]; 2] = [b"Dan Simon  \0", b"Scott Field\0"];

/// A cipher with blocks of eight bytes.
pub(super) trait Blocks8 {
    fn decrypt(&self, block: u64) -> u64;
    fn encrypt(&self, block: u64) -> u64;
}

impl<C: BlockSizeUser<BlockSize = U8> + BlockCipherEncrypt + BlockCipherDecrypt> Blocks8 for C {
    fn decrypt(&self, block: u64) -> u64 {
        let mut block = Block::<C>::from(block.to_le_bytes());
        self.decrypt_block(&mut block);
        u64::from_le_bytes(block.0)
    }

    fn encrypt(&self, block: u64) -> u64 {
        let mut block = Block::<C>::from(block.to_le_bytes());
        self.encrypt_block(&mut block);
        u64::from_le_bytes(block.0)
    }
}

/// DESX as EFS has it: the DES in the middle works the other way round than in the usual one.
pub(super) struct Desx {
    des: Des,
    pub(super) inner: u64,
    pub(super) outer: u64,
}

impl Desx {
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        if key.len() != 16 {
            return None;
        }
        let (des_key, inner, outer) = expand(key);
        Some(Self { des: Des::new_from_slice(&*des_key).ok()?, inner, outer })
    }
}

impl Drop for Desx {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// The DES key, and what is XORed before and behind it.
pub(super) fn expand(key: &[u8]) -> (Zeroizing<[u8; 8]>, u64, u64) {
    let [first, second] = SALTS.map(|salt| {
        let hash = Md5::new().chain_update(key).chain_update(salt).finalize();
        Zeroizing::new(u128::from_le_bytes(hash.into()))
    });
    let word = |index: u32| (*first >> (32 * index)) as u32;
    let (low, high) = (word(0) ^ word(1), word(2) ^ word(3));
    let des_key = Zeroizing::new((u64::from(high) << 32 | u64::from(low)).to_le_bytes());
    (des_key, (*second >> 64) as u64, *second as u64)
}

impl Blocks8 for Desx {
    fn decrypt(&self, block: u64) -> u64 {
        Blocks8::encrypt(&self.des, block ^ self.outer) ^ self.inner
    }

    fn encrypt(&self, block: u64) -> u64 {
        Blocks8::decrypt(&self.des, block ^ self.inner) ^ self.outer
    }
}

/// The key schedule of a file.
pub(super) struct DesCbc<C>(pub(super) C);

impl<C: KeyInit> DesCbc<C> {
    /// `None` where the key has not the cipher's length.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        C::new_from_slice(key).ok().map(Self)
    }
}

impl<C: Blocks8> DesCbc<C> {
    pub(super) fn decrypt(&self, units: &mut [u8], offset: u64) {
        let mut offset = offset;
        for unit in units.chunks_exact_mut(UNIT) {
            let mut before = IV.wrapping_add(offset);
            for bytes in unit.as_chunks_mut().0 {
                let stored = u64::from_le_bytes(*bytes);
                *bytes = (self.0.decrypt(stored) ^ before).to_le_bytes();
                before = stored;
            }
            offset = offset.wrapping_add(UNIT as u64);
        }
    }

    pub(super) fn encrypt(&self, units: &mut [u8], offset: u64) {
        let mut offset = offset;
        for unit in units.chunks_exact_mut(UNIT) {
            let mut before = IV.wrapping_add(offset);
            for bytes in unit.as_chunks_mut().0 {
                before = self.0.encrypt(u64::from_le_bytes(*bytes) ^ before);
                *bytes = before.to_le_bytes();
            }
            offset = offset.wrapping_add(UNIT as u64);
        }
    }
}
