//! The ciphers of BitLocker sectors. Decryption only: nothing is ever written to a volume.

mod cbc;
mod elephant;
#[cfg(test)]
mod tests;
mod xts;

use std::fmt;

use aes::{Aes128, Aes256};
use fearless_simd::Level;

use self::{cbc::Cbc, elephant::Elephant, xts::Xts};

/// Bytes that are decrypted together: enough blocks for the widest AES instructions, few enough to stay in the
/// first-level cache beside the tweaks or the encrypted blocks that belong to them.
const GROUP: usize = 8192;

/// How the sectors of a volume are encrypted, with the codes of the FVE metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// AES-128 in CBC mode with the Elephant diffuser, 0x8000: the default of Windows Vista and 7.
    Aes128CbcElephant,
    /// AES-256 in CBC mode with the Elephant diffuser, 0x8001.
    Aes256CbcElephant,
    /// AES-128 in CBC mode, 0x8002: the default of Windows 8.
    Aes128Cbc,
    /// AES-256 in CBC mode, 0x8003.
    Aes256Cbc,
    /// AES-128 in XTS mode, 0x8004: the default since Windows 10 version 1511.
    Aes128Xts,
    /// AES-256 in XTS mode, 0x8005.
    Aes256Xts,
}

impl Method {
    /// Every method, by code.
    pub const ALL: [Self; 6] = [
        Self::Aes128CbcElephant,
        Self::Aes256CbcElephant,
        Self::Aes128Cbc,
        Self::Aes256Cbc,
        Self::Aes128Xts,
        Self::Aes256Xts,
    ];

    /// The method that `code` of the FVE metadata stands for.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.code() == code)
    }

    /// Its code in the FVE metadata.
    pub fn code(self) -> u16 {
        match self {
            Self::Aes128CbcElephant => 0x8000,
            Self::Aes256CbcElephant => 0x8001,
            Self::Aes128Cbc => 0x8002,
            Self::Aes256Cbc => 0x8003,
            Self::Aes128Xts => 0x8004,
            Self::Aes256Xts => 0x8005,
        }
    }

    /// Bytes of the full volume encryption key as the metadata store it. With the diffuser that is always 64: the FVEK
    /// at byte 0 and the TWEAK key at byte 32, each followed by unused bytes where it has only 16.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128CbcElephant | Self::Aes256CbcElephant | Self::Aes256Xts => 64,
            Self::Aes128Cbc => 16,
            Self::Aes256Cbc | Self::Aes128Xts => 32,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Aes128CbcElephant => "AES 128 with Diffuser",
            Self::Aes256CbcElephant => "AES 256 with Diffuser",
            Self::Aes128Cbc => "AES 128",
            Self::Aes256Cbc => "AES 256",
            Self::Aes128Xts => "XTS-AES 128",
            Self::Aes256Xts => "XTS-AES 256",
        })
    }
}

/// Decrypts the sectors of one volume. Its key schedules are wiped when it is dropped.
pub struct SectorCipher {
    method: Method,
    /// The widest vector instructions of this CPU.
    level: Level,
    mode: Mode,
}

/// Boxed, so that moving a cipher leaves no copy of its key schedules behind.
enum Mode {
    Elephant128(Box<Elephant<Aes128>>),
    Elephant256(Box<Elephant<Aes256>>),
    Cbc128(Box<Cbc<Aes128>>),
    Cbc256(Box<Cbc<Aes256>>),
    Xts128(Box<Xts<Aes128>>),
    Xts256(Box<Xts<Aes256>>),
}

impl SectorCipher {
    /// A cipher with the full volume encryption key `key`, laid out as [`Method::key_len`] says; `None` where it has
    /// not that length.
    pub fn new(method: Method, key: &[u8]) -> Option<Self> {
        if key.len() != method.key_len() {
            return None;
        }
        let mode = match method {
            Method::Aes128CbcElephant => Mode::Elephant128(Box::new(Elephant::new(key)?)),
            Method::Aes256CbcElephant => Mode::Elephant256(Box::new(Elephant::new(key)?)),
            Method::Aes128Cbc => Mode::Cbc128(Box::new(Cbc::new(key)?)),
            Method::Aes256Cbc => Mode::Cbc256(Box::new(Cbc::new(key)?)),
            Method::Aes128Xts => Mode::Xts128(Box::new(Xts::new(key)?)),
            Method::Aes256Xts => Mode::Xts256(Box::new(Xts::new(key)?)),
        };
        Some(Self { method, level: Level::new(), mode })
    }

    /// The method that it decrypts.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Decrypts whole sectors of `sector_size` bytes in place, the first of which stands at byte `offset` of the
    /// volume.
    ///
    /// `sector_size` is a power of two from 512 to 4096, `offset` and the length of `sectors` are multiples of it.
    /// Bytes after the last whole sector stay as they are; so does everything where `sector_size` is none of those.
    pub fn decrypt(&self, sectors: &mut [u8], sector_size: usize, offset: u64) {
        let is_size = matches!(sector_size, 512 | 1024 | 2048 | 4096);
        debug_assert!(is_size, "a sector size of {sector_size}");
        debug_assert!(
            sectors.len().is_multiple_of(sector_size.max(1)),
            "{} bytes are no whole sectors",
            sectors.len()
        );
        if !is_size {
            return;
        }
        let rest = sectors.len() % sector_size;
        let whole = sectors.len() - rest;
        let Some(sectors) = sectors.get_mut(..whole) else { return };
        match &self.mode {
            Mode::Elephant128(mode) => mode.decrypt(self.level, sectors, sector_size, offset),
            Mode::Elephant256(mode) => mode.decrypt(self.level, sectors, sector_size, offset),
            Mode::Cbc128(mode) => mode.decrypt(sectors, sector_size, offset),
            Mode::Cbc256(mode) => mode.decrypt(sectors, sector_size, offset),
            Mode::Xts128(mode) => mode.decrypt(self.level, sectors, sector_size, offset),
            Mode::Xts256(mode) => mode.decrypt(self.level, sectors, sector_size, offset),
        }
    }
}

impl fmt::Debug for SectorCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectorCipher").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Numbers or byte offsets of sectors that follow each other. Past the last number it goes on at 0.
struct Count {
    next: u64,
    step: u64,
}

impl Iterator for Count {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let number = self.next;
        self.next = number.wrapping_add(self.step);
        Some(number)
    }
}
