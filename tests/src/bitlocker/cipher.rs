//! The six ways in which BitLocker encrypts sectors, one sector at a time and without any haste.

use aes::{
    Aes128, Aes256,
    cipher::{
        BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser,
        InnerIvInit, KeyInit, consts::U16,
    },
};
use xts_mode::{Xts128, get_tweak_default};

/// A method, with the code that stands in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Method {
    /// AES-CBC with 128-bit key and Elephant diffuser.
    Cbc128Elephant = 0x8000,
    /// AES-CBC with 256-bit key and Elephant diffuser.
    Cbc256Elephant = 0x8001,
    /// AES-CBC with 128-bit key.
    Cbc128 = 0x8002,
    /// AES-CBC with 256-bit key.
    Cbc256 = 0x8003,
    /// AES-XTS with two 128-bit keys.
    Xts128 = 0x8004,
    /// AES-XTS with two 256-bit keys.
    Xts256 = 0x8005,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cbc128Elephant, Self::Cbc256Elephant, Self::Cbc128, Self::Cbc256, Self::Xts128, Self::Xts256];

    /// The code in the metadata.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Size of the full volume encryption key in bytes.
    pub fn key_size(self) -> usize {
        match self {
            Self::Cbc128 => 16,
            Self::Cbc256 | Self::Xts128 => 32,
            Self::Cbc128Elephant | Self::Cbc256Elephant | Self::Xts256 => 64,
        }
    }

    /// The cipher of a volume with sectors of `sector` bytes.
    ///
    /// # Panics
    /// When the key is not of [`Self::key_size`].
    pub fn cipher(self, fvek: &[u8], sector: usize) -> Box<dyn Cipher> {
        assert_eq!(fvek.len(), self.key_size(), "{self:?}");
        let (first, second) = fvek.split_at(fvek.len() / 2);
        match self {
            Self::Cbc128 => Box::new(Cbc::<Aes128>::new(fvek, None, sector)),
            Self::Cbc256 => Box::new(Cbc::<Aes256>::new(fvek, None, sector)),
            // Each half has room for a key of 256 bits, of which the 128-bit method uses the beginning.
            Self::Cbc128Elephant => Box::new(Cbc::<Aes128>::new(&first[..16], Some(&second[..16]), sector)),
            Self::Cbc256Elephant => Box::new(Cbc::<Aes256>::new(first, Some(second), sector)),
            Self::Xts128 => Box::new(Xts::<Aes128>::new(first, second, sector)),
            Self::Xts256 => Box::new(Xts::<Aes256>::new(first, second, sector)),
        }
    }
}

/// Encrypts and decrypts sectors in place.
pub trait Cipher {
    /// Encrypts whole sectors that stand at byte `offset` of the volume.
    fn encrypt(&self, sectors: &mut [u8], offset: u64);
    /// Decrypts whole sectors that stand at byte `offset` of the volume.
    fn decrypt(&self, sectors: &mut [u8], offset: u64);
}

struct Xts<C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>> {
    xts: Xts128<C>,
    sector: usize,
}

impl<C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>> Xts<C> {
    fn new(first: &[u8], second: &[u8], sector: usize) -> Self {
        Self { xts: Xts128::new(block_cipher(first), block_cipher(second)), sector }
    }

    /// Number of the sector at byte `offset`.
    fn number(&self, offset: u64) -> u128 {
        u128::from(offset / self.sector as u64)
    }
}

impl<C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>> Cipher
    for Xts<C>
{
    fn encrypt(&self, sectors: &mut [u8], offset: u64) {
        self.xts.encrypt_area(sectors, self.sector, self.number(offset), get_tweak_default);
    }

    fn decrypt(&self, sectors: &mut [u8], offset: u64) {
        self.xts.decrypt_area(sectors, self.sector, self.number(offset), get_tweak_default);
    }
}

/// AES-CBC, whose initialisation vector is the sector's byte offset, encrypted; with a second key, Elephant.
struct Cbc<C> {
    aes: C,
    tweak: Option<C>,
    sector: usize,
}

impl<C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>> Cbc<C> {
    fn new(key: &[u8], tweak: Option<&[u8]>, sector: usize) -> Self {
        Self { aes: block_cipher(key), tweak: tweak.map(block_cipher), sector }
    }

    fn offsets<'a>(&self, sectors: &'a mut [u8], offset: u64) -> impl Iterator<Item = (u64, &'a mut [u8])> {
        assert!(sectors.len().is_multiple_of(self.sector), "{} bytes are no whole sectors", sectors.len());
        (offset..).step_by(self.sector).zip(sectors.chunks_exact_mut(self.sector))
    }
}

impl<C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>> Cipher
    for Cbc<C>
{
    fn encrypt(&self, sectors: &mut [u8], offset: u64) {
        for (offset, sector) in self.offsets(sectors, offset) {
            if let Some(tweak) = &self.tweak {
                elephant::encrypt(sector, &sector_key(tweak, offset));
            }
            let iv = encrypted_number(&self.aes, offset, 0);
            let mut cbc = cbc::Encryptor::inner_iv_init(&self.aes, &iv.into());
            for block in sector.chunks_exact_mut(16) {
                cbc.encrypt_block(block.try_into().expect("a block"));
            }
        }
    }

    fn decrypt(&self, sectors: &mut [u8], offset: u64) {
        for (offset, sector) in self.offsets(sectors, offset) {
            let iv = encrypted_number(&self.aes, offset, 0);
            let mut cbc = cbc::Decryptor::inner_iv_init(&self.aes, &iv.into());
            for block in sector.chunks_exact_mut(16) {
                cbc.decrypt_block(block.try_into().expect("a block"));
            }
            if let Some(tweak) = &self.tweak {
                elephant::decrypt(sector, &sector_key(tweak, offset));
            }
        }
    }
}

fn block_cipher<C: KeyInit>(key: &[u8]) -> C {
    C::new_from_slice(key).expect("a key of the right size")
}

/// A block of `offset` and a last byte, encrypted.
fn encrypted_number<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(
    aes: &C,
    offset: u64,
    last: u8,
) -> [u8; 16] {
    let mut block = [0; 16];
    block[..8].copy_from_slice(&offset.to_le_bytes());
    block[15] = last;
    aes.encrypt_block((&mut block).into());
    block
}

fn sector_key<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(tweak: &C, offset: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(&encrypted_number(tweak, offset, 0));
    key[16..].copy_from_slice(&encrypted_number(tweak, offset, 0x80));
    key
}

/// The Elephant diffuser, as N. Ferguson's paper of 2006 defines it.
mod elephant {
    const A: (usize, [u32; 4]) = (5, [9, 0, 13, 0]);
    const B: (usize, [u32; 4]) = (3, [0, 10, 0, 25]);

    pub(super) fn encrypt(sector: &mut [u8], key: &[u8; 32]) {
        mix(sector, key);
        let mut words = words(sector);
        let count = words.len();
        for _ in 0..A.0 {
            for at in (0..count).rev() {
                let term = words[(at + count - 2) % count]
                    ^ words[(at + count - 5) % count].rotate_left(A.1[at % 4]);
                words[at] = words[at].wrapping_sub(term);
            }
        }
        for _ in 0..B.0 {
            for at in (0..count).rev() {
                let term = words[(at + 2) % count] ^ words[(at + 5) % count].rotate_left(B.1[at % 4]);
                words[at] = words[at].wrapping_sub(term);
            }
        }
        put(sector, &words);
    }

    pub(super) fn decrypt(sector: &mut [u8], key: &[u8; 32]) {
        let mut words = words(sector);
        let count = words.len();
        for _ in 0..B.0 {
            for at in 0..count {
                let term = words[(at + 2) % count] ^ words[(at + 5) % count].rotate_left(B.1[at % 4]);
                words[at] = words[at].wrapping_add(term);
            }
        }
        for _ in 0..A.0 {
            for at in 0..count {
                let term = words[(at + count - 2) % count]
                    ^ words[(at + count - 5) % count].rotate_left(A.1[at % 4]);
                words[at] = words[at].wrapping_add(term);
            }
        }
        put(sector, &words);
        mix(sector, key);
    }

    fn mix(sector: &mut [u8], key: &[u8; 32]) {
        sector.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }

    fn words(sector: &[u8]) -> Vec<u32> {
        sector.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect()
    }

    fn put(sector: &mut [u8], words: &[u32]) {
        for (bytes, word) in sector.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_decrypts_what_it_encrypted_and_no_two_sectors_look_alike() {
        for method in Method::ALL {
            for sector in [512, 4096] {
                let key: Vec<u8> = (0..method.key_size() as u8).collect();
                let cipher = method.cipher(&key, sector);
                let mut bytes = vec![7; 3 * sector];
                cipher.encrypt(&mut bytes, 1 << 33);
                assert_ne!(bytes[..sector], bytes[sector..2 * sector], "{method:?}");
                let mut last = bytes[2 * sector..].to_vec();
                cipher.decrypt(&mut bytes, 1 << 33);
                assert_eq!(bytes, vec![7; 3 * sector], "{method:?}");
                cipher.decrypt(&mut last, (1 << 33) + 2 * sector as u64);
                assert_eq!(last, vec![7; sector], "{method:?}");
            }
        }
    }
}
