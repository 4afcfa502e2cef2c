//! The building stones of FVE metadata: identifiers, datums, AES-CCM boxes and datasets.
//!
//! Layouts are those of volumes made by Windows Vista, 7, 10 and 11, compared byte for byte; all numbers are
//! little-endian.

use std::fmt;

use aes::Aes256;
use ccm::{
    Ccm, KeyInit,
    aead::AeadInOut,
    consts::{U12, U16},
};

/// What a datum is for.
pub(super) mod role {
    pub(crate) const PROPERTY: u16 = 0x00;
    pub(crate) const VMK: u16 = 0x02;
    pub(crate) const FVEK: u16 = 0x03;
    pub(crate) const EXTERNAL_KEY: u16 = 0x06;
    pub(crate) const DESCRIPTION: u16 = 0x07;
    pub(crate) const PUBLIC_KEY: u16 = 0x0C;
    pub(crate) const RELOCATION: u16 = 0x0F;
    pub(crate) const RECOVERY_KEY: u16 = 0x12;
    pub(crate) const RECOVERY_HASH: u16 = 0x13;
    pub(crate) const VOLUME: u16 = 0x19;
}

/// What a datum holds.
pub(super) mod kind {
    pub(crate) const KEY: u16 = 0x01;
    pub(crate) const TEXT: u16 = 0x02;
    pub(crate) const STRETCH: u16 = 0x03;
    pub(crate) const USE: u16 = 0x04;
    pub(crate) const BOX: u16 = 0x05;
    pub(crate) const TPM_BLOB: u16 = 0x06;
    pub(crate) const VMK: u16 = 0x08;
    pub(crate) const EXTERNAL: u16 = 0x09;
    pub(crate) const ASYMMETRIC: u16 = 0x0C;
    pub(crate) const PUBLIC_KEY: u16 = 0x0D;
    pub(crate) const CERTIFICATE: u16 = 0x0E;
    pub(crate) const RELOCATION: u16 = 0x0F;
    pub(crate) const BACKUP: u16 = 0x15;
    pub(crate) const IDENTIFIER: u16 = 0x17;
}

/// What a key is for, and how it is used; the codes of volume keys are those of [`super::Method`].
pub(super) mod key_type {
    pub(crate) const RECOVERY: u16 = 0x1000;
    pub(crate) const PASSWORD: u16 = 0x1001;
    pub(crate) const CLEAR: u16 = 0x2000;
    pub(crate) const EXTERNAL: u16 = 0x2002;
    pub(crate) const VMK: u16 = 0x2003;
    pub(crate) const PIN: u16 = 0x2004;
    pub(crate) const HASH: u16 = 0x2005;
    pub(crate) const SMART_CARD: u16 = 0x2006;
    pub(crate) const PASSWORD_HASH: u16 = 0x2007;
    pub(crate) const RECOVERY_HASH: u16 = 0x2008;
}

/// An identifier, as its 16 bytes stand on disk. Shown as `manage-bde` shows it, without braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// A random one.
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let mut bytes = random(rng);
        bytes[7] = bytes[7] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        Self(bytes)
    }

    /// The one of these five groups.
    pub(super) const fn of(a: u32, b: u16, c: u16, d: [u8; 8]) -> Self {
        let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
        Self([a0, a1, a2, a3, b0, b1, c0, c1, d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]])
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (place, at) in ORDER.iter().enumerate() {
            let dash = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{:02X}", self.0[*at])?;
        }
        Ok(())
    }
}

/// Random bytes.
pub(super) fn random<const N: usize>(rng: &mut fastrand::Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}

/// Numbers used once: a FILETIME and a counter that no two boxes of a volume share.
#[derive(Debug, Clone)]
pub(super) struct Nonces {
    /// When the volume was made.
    pub(super) time: u64,
    /// The counter of the next box.
    pub(super) counter: u32,
}

impl Nonces {
    pub(super) fn next(&mut self) -> [u8; 12] {
        self.counter += 1;
        nonce(self.time, self.counter - 1)
    }

    /// The number for the check of a metadata block: Windows sets the highest bit of its time.
    pub(super) fn next_of_check(&mut self) -> [u8; 12] {
        self.counter += 1;
        nonce(self.time | 1 << 63, self.counter - 1)
    }
}

fn nonce(time: u64, counter: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&time.to_le_bytes());
    bytes[8..].copy_from_slice(&counter.to_le_bytes());
    bytes
}

/// A datum: 8 bytes of header and the parts of its body.
pub(super) fn datum(role: u16, kind: u16, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let size = u16::try_from(8 + body.len()).expect("a datum below 64 KiB");
    let mut bytes = Vec::with_capacity(usize::from(size));
    for number in [size, role, kind, 1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(body);
    bytes
}

/// Type of a key and its flags, which lead every datum about a key.
pub(super) fn key_head(key_type: u16) -> [u8; 4] {
    let [low, high] = key_type.to_le_bytes();
    [low, high, 0, 0]
}

/// A key in clear, as it stands in `.BEK` files and inside boxes.
pub(super) fn key(key_type: u16, key: &[u8]) -> Vec<u8> {
    datum(role::PROPERTY, kind::KEY, &[&key_head(key_type), key])
}

/// A text of UTF-16 that ends with zero.
pub(super) fn text(role: u16, text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    datum(role, kind::TEXT, &[&units])
}

/// A box: `content` under `key` by AES-256-CCM, as nonce, tag and ciphertext.
pub(super) fn boxed(role: u16, key: &[u8; 32], nonce: [u8; 12], content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    let tag = Ccm::<Aes256, U16, U12>::new(key.into())
        .encrypt_inout_detached(&nonce.into(), &[], bytes.as_mut_slice().into())
        .expect("a box of few bytes");
    datum(role, kind::BOX, &[&nonce, &tag, &bytes])
}

/// A dataset: 48 bytes of header and its datums.
pub(super) fn dataset(id: Guid, nonce_counter: u32, method: u16, time: u64, datums: &[u8]) -> Vec<u8> {
    let size = u32::try_from(48 + datums.len()).expect("a dataset of few bytes");
    let mut bytes = Vec::new();
    for number in [size, 1, 48, size] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(id.0);
    bytes.extend(nonce_counter.to_le_bytes());
    bytes.extend(method.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(time.to_le_bytes());
    bytes.extend(datums);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_shown_with_its_first_groups_turned_round() {
        let bytes = [59, 214, 103, 73, 41, 46, 216, 74, 131, 153, 246, 163, 57, 227, 208, 1];
        assert_eq!(Guid(bytes).to_string(), "4967D63B-2E29-4AD8-8399-F6A339E3D001");
        let groups = (0x4967D63B, 0x2E29, 0x4AD8, [131, 153, 246, 163, 57, 227, 208, 1]);
        assert_eq!(Guid::of(groups.0, groups.1, groups.2, groups.3), Guid(bytes));
    }
}
