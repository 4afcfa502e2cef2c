//! The ciphers of EFS over other crates than the program's own code.

use cbc::{
    Encryptor,
    cipher::{Block, BlockCipherDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit},
};
use des::{Des, TdesEde3};
use md5::{Digest, Md5};

use super::Fek;

/// A cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Algorithm {
    Desx,
    TripleDes,
    Aes256,
    Aes192,
    Aes128,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Desx, Self::TripleDes, Self::Aes256, Self::Aes192, Self::Aes128];

    /// Those that Windows and `ntfsdecrypt` know.
    pub const OF_WINDOWS: [Self; 3] = [Self::Desx, Self::TripleDes, Self::Aes256];

    /// `ALG_ID` of `wincrypt.h`.
    pub fn id(self) -> u32 {
        match self {
            Self::Desx => 0x6604,
            Self::TripleDes => 0x6603,
            Self::Aes256 => 0x6610,
            Self::Aes192 => 0x660F,
            Self::Aes128 => 0x660E,
        }
    }

    /// Bytes of the key.
    pub fn key_len(self) -> usize {
        match self {
            Self::Desx | Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

fn aes_iv(offset: u64) -> [u8; 16] {
    let low = 0x5816_657B_E916_1312_u64.wrapping_add(offset);
    let high = 0x1989_ADBE_4491_8961_u64.wrapping_add(offset);
    [low.to_le_bytes(), high.to_le_bytes()].concat().try_into().expect("16 bytes")
}

fn des_iv(offset: u64) -> [u8; 8] {
    0x1691_1962_9891_AD13_u64.wrapping_add(offset).to_le_bytes()
}

/// The halves of a DESX key: that of DES, what is XORed with the encrypted block, and with the plain one.
fn desx(key: &[u8]) -> [[u8; 8]; 3] {
    let hash = |salt: &[u8]| -> [u8; 16] { Md5::digest([key, salt].concat()).into() };
    let (first, second) = (hash(b"Dan Simon  \0"), hash(b"Scott Field\0"));
    let mut des = [0; 8];
    for (index, byte) in des.iter_mut().enumerate() {
        let at = index % 4 + index / 4 * 8;
        *byte = first[at] ^ first[at + 4];
    }
    let half = |at: usize| second[at..at + 8].try_into().expect("8 bytes");
    [des, half(0), half(8)]
}

fn xor(block: &mut [u8], with: &[u8]) {
    block.iter_mut().zip(with).for_each(|(byte, other)| *byte ^= other);
}

fn encrypt_desx(key: &[u8], unit: &mut [u8], offset: u64) {
    let [des, outer, inner] = desx(key);
    let des = Des::new_from_slice(&des).expect("a key");
    let mut before = des_iv(offset);
    for block in unit.chunks_mut(8) {
        xor(block, &before);
        xor(block, &inner);
        let mut turned = Block::<Des>::try_from(&*block).expect("a block");
        des.decrypt_block(&mut turned);
        block.copy_from_slice(&turned);
        xor(block, &outer);
        before = (&*block).try_into().expect("a block");
    }
}

macro_rules! cbc {
    ($cipher:ty, $iv:expr, $key:expr, $unit:expr) => {{
        let mut mode = Encryptor::<$cipher>::new_from_slices($key, &$iv).expect("a key");
        for block in $unit.chunks_mut($iv.len()) {
            mode.encrypt_block(block.try_into().expect("a block"));
        }
    }};
}

/// Encrypts the units of a stream that begins with `units`.
pub fn encrypt(fek: &Fek, units: &mut [u8]) {
    encrypt_at(fek, units, 0);
}

/// Encrypts units of a stream, the first of which stands at byte `from`.
pub fn encrypt_at(fek: &Fek, units: &mut [u8], from: u64) {
    let key = &fek.key[..];
    for (index, unit) in units.chunks_mut(512).enumerate() {
        let offset = from + index as u64 * 512;
        match fek.algorithm {
            Algorithm::Desx => encrypt_desx(key, unit, offset),
            Algorithm::TripleDes => cbc!(TdesEde3, des_iv(offset), key, unit),
            Algorithm::Aes256 => cbc!(aes::Aes256, aes_iv(offset), key, unit),
            Algorithm::Aes192 => cbc!(aes::Aes192, aes_iv(offset), key, unit),
            Algorithm::Aes128 => cbc!(aes::Aes128, aes_iv(offset), key, unit),
        }
    }
}
