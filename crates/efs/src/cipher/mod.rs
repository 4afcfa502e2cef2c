//! The ciphers of encrypted streams.
//!
//! A stream is encrypted in units of 512 bytes, each a CBC run of its own, whatever sectors and clusters have. The IV of
//! a unit is made of its byte offset in the stream alone.

mod aes_cbc;
mod des_cbc;
#[cfg(test)]
mod tests;

use std::fmt;

use aes::{Aes128, Aes192, Aes256};
use des::TdesEde3;

use self::{
    aes_cbc::AesCbc,
    des_cbc::{DesCbc, Desx},
};
use crate::fek::{Algorithm, Fek};

/// Bytes that are encrypted as one CBC run.
pub const UNIT: usize = 512;

/// Encrypts and decrypts the streams of one file. Its key schedules are wiped when it is dropped.
pub struct Cipher {
    algorithm: Algorithm,
    mode: Mode,
}

/// Boxed, so that moving a cipher leaves no copy of its key schedules behind.
enum Mode {
    Aes128(Box<AesCbc<Aes128>>),
    Aes192(Box<AesCbc<Aes192>>),
    Aes256(Box<AesCbc<Aes256>>),
    TripleDes(Box<DesCbc<TdesEde3>>),
    Desx(Box<DesCbc<Desx>>),
}

impl Cipher {
    /// The cipher of a file; `None` where the key has not its length, which a [`Fek`] always has.
    pub fn new(fek: &Fek) -> Option<Self> {
        let key = fek.key();
        let mode = match fek.algorithm() {
            Algorithm::Aes128 => Mode::Aes128(Box::new(AesCbc::new(key)?)),
            Algorithm::Aes192 => Mode::Aes192(Box::new(AesCbc::new(key)?)),
            Algorithm::Aes256 => Mode::Aes256(Box::new(AesCbc::new(key)?)),
            Algorithm::TripleDes => Mode::TripleDes(Box::new(DesCbc::new(key)?)),
            Algorithm::Desx => Mode::Desx(Box::new(DesCbc(Desx::new(key)?))),
        };
        Some(Self { algorithm: fek.algorithm(), mode })
    }

    /// What it is.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Decrypts whole units in place, the first of which stands at byte `offset` of the stream, a multiple of [`UNIT`].
    /// Bytes after the last whole unit stay as they are.
    pub fn decrypt(&self, units: &mut [u8], offset: u64) {
        let units = whole(units, offset);
        match &self.mode {
            Mode::Aes128(mode) => mode.decrypt(units, offset),
            Mode::Aes192(mode) => mode.decrypt(units, offset),
            Mode::Aes256(mode) => mode.decrypt(units, offset),
            Mode::TripleDes(mode) => mode.decrypt(units, offset),
            Mode::Desx(mode) => mode.decrypt(units, offset),
        }
    }

    /// Encrypts whole units in place, as [`decrypt`](Self::decrypt) decrypts them.
    pub fn encrypt(&self, units: &mut [u8], offset: u64) {
        let units = whole(units, offset);
        match &self.mode {
            Mode::Aes128(mode) => mode.encrypt(units, offset),
            Mode::Aes192(mode) => mode.encrypt(units, offset),
            Mode::Aes256(mode) => mode.encrypt(units, offset),
            Mode::TripleDes(mode) => mode.encrypt(units, offset),
            Mode::Desx(mode) => mode.encrypt(units, offset),
        }
    }
}

fn whole(units: &mut [u8], offset: u64) -> &mut [u8] {
    debug_assert!(units.len().is_multiple_of(UNIT) && offset.is_multiple_of(UNIT as u64));
    let len = units.len() - units.len() % UNIT;
    units.get_mut(..len).unwrap_or_default()
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.algorithm)
    }
}
