//! FVE metadata blocks: what a BitLocker volume says of itself, in three copies.
//!
//! Layout in bytes: signature `-FVE-FS-` 0, size 8 (since version 2 in units of 16 bytes), version 10, state 12, next state 14,
//! border between encrypted and plain 16, size of the conversion log 24, relocated sectors 28, offsets of the three
//! blocks 32, offset of the relocated sectors 56 (version 1: the cluster of `$MFTMirr`), dataset 64. The
//! validation follows: size, version, CRC-32 of all before it, and since version 2 a sealed SHA-256 of it.
//! Source: the documentation of libbde, compared with volumes that Windows made.

use sha2::{Digest, Sha256};
use undelfs_source::{
    ReadAt,
    bytes::{array, u16_at, u32_at, u64_at},
};
use undelfs_volume::Error;

use crate::datum::{Dataset, Datum, Sealed, Value};

/// What begins every metadata block, and the boot sector.
pub(crate) const SIGNATURE: &[u8; 8] = b"-FVE-FS-";
/// Size in bytes of a metadata block since Windows 7.
pub(crate) const BLOCK: usize = 0x10000;
/// Size in bytes of a metadata block of Windows Vista, before it is rounded up to clusters.
pub(crate) const VISTA_BLOCK: u64 = 0x4000;
const HEADER: usize = 64;
const ADVICE: &str = "another copy is used where there is one";

/// How far the conversion of a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is encrypted.
    Decrypted,
    /// Encryption or decryption was interrupted in the middle of a piece.
    SwitchingDirty,
    /// Encryption or decryption was paused.
    Paused,
    /// Encrypted, or being encrypted on write.
    Encrypted,
    /// Encryption or decryption goes on.
    Switching,
}

impl State {
    fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Decrypted,
            2 => Self::SwitchingDirty,
            3 => Self::Paused,
            4 => Self::Encrypted,
            5 => Self::Switching,
            _ => return None,
        })
    }
}

/// A metadata block whose checksum is right.
#[derive(Debug)]
pub(crate) struct Information {
    pub(crate) version: u16,
    pub(crate) state: State,
    /// What the volume is to become; `None` for a code that is not known.
    pub(crate) next: Option<State>,
    /// Bytes below are encrypted, those from here on are not. Zero says nothing.
    pub(crate) border: u64,
    /// Size in bytes of the conversion log, which stands at the border.
    pub(crate) log_len: u32,
    /// How many sectors from the volume's start stand elsewhere.
    pub(crate) relocated_sectors: u32,
    /// Where the three blocks stand, in bytes from the volume's start.
    pub(crate) blocks: [u64; 3],
    /// Since version 2 where the relocated sectors stand, in bytes; in version 1 the cluster of `$MFTMirr`.
    pub(crate) place: u64,
    pub(crate) dataset: Dataset,
    /// SHA-256 of the block.
    digest: [u8; 32],
    /// The same, sealed with the volume master key.
    integrity: Option<Sealed>,
}

impl Information {
    /// Reads the block at byte `at` of `volume`.
    ///
    /// # Errors
    /// When the block cannot be read, or is not sound.
    pub(crate) fn read(volume: &dyn ReadAt, at: u64) -> Result<Self, Error> {
        // Most of what has the signature by chance has no such version and state.
        let mut head = [0; HEADER];
        volume.read_salvage(&mut head, at);
        let plausible = matches!(u16_at(&head, 10), Some(1 | 2))
            && u16_at(&head, 12).and_then(State::from_code).is_some();
        if !plausible {
            return Self::parse(&head, at);
        }
        let mut bytes = vec![0; BLOCK];
        // The last block may be cut off with the image's end, or have a bad sector behind what counts.
        volume.read_salvage(&mut bytes, at);
        Self::parse(&bytes, at)
    }

    /// The block that begins `bytes`, which were read at byte `at` of the volume.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn parse(bytes: &[u8], at: u64) -> Result<Self, Error> {
        let wrong = |expected: &str, found: String| Error::Structure {
            structure: "FVE metadata block",
            at,
            expected: expected.to_owned(),
            found,
            advice: ADVICE,
        };
        let cut = || wrong("a whole block", format!("only {} bytes", bytes.len()));
        let signature: [u8; 8] = array(bytes, 0).ok_or_else(cut)?;
        if signature != *SIGNATURE {
            return Err(wrong("the signature -FVE-FS-", format!("the bytes {signature:02X?}")));
        }
        let version = u16_at(bytes, 10).ok_or_else(cut)?;
        let units = usize::from(u16_at(bytes, 8).ok_or_else(cut)?);
        let size = match version {
            1 => units,
            2 => units.saturating_mul(16),
            _ => return Err(wrong("version 1 or 2", version.to_string())),
        };
        let bad_size = || wrong("a size of 112 to 65528 bytes", format!("{size} bytes"));
        let body = bytes.get(..size).filter(|body| body.len() >= HEADER).ok_or_else(bad_size)?;
        let stated = u32_at(bytes, size.saturating_add(4)).ok_or_else(bad_size)?;
        let crc = crc32fast::hash(body);
        if crc != stated {
            return Err(wrong(&format!("the CRC-32 {stated:08X}"), format!("{crc:08X}")));
        }
        let code = u16_at(body, 12).ok_or_else(cut)?;
        let state = State::from_code(code).ok_or_else(|| wrong("a state from 1 to 5", code.to_string()))?;
        let field = |at: usize| u64_at(body, at).ok_or_else(cut);
        let dataset = body.get(HEADER..).and_then(Dataset::parse);
        let dataset = dataset.ok_or_else(|| wrong("a dataset", "sizes that make no sense".to_owned()))?;
        let sealed = bytes.get(size.saturating_add(8)..).and_then(Datum::first);
        Ok(Self {
            version,
            state,
            next: State::from_code(u16_at(body, 14).ok_or_else(cut)?),
            border: field(16)?,
            log_len: u32_at(body, 24).ok_or_else(cut)?,
            relocated_sectors: u32_at(body, 28).ok_or_else(cut)?,
            blocks: [field(32)?, field(40)?, field(48)?],
            place: field(56)?,
            dataset,
            digest: Sha256::digest(body).into(),
            integrity: sealed.and_then(|datum| match datum.value {
                Value::Sealed(sealed) if version > 1 => Some(sealed),
                _ => None,
            }),
        })
    }

    /// Whether the block is as it was sealed with the volume master key; `None` where nothing was sealed.
    pub(crate) fn is_genuine(&self, vmk: &[u8]) -> Option<bool> {
        let sealed = self.integrity.as_ref()?;
        let opened = crate::unseal::unseal(sealed, vmk);
        Some(opened.is_some_and(
            |datum| matches!(&datum.value, Value::Key { key, .. } if key.expose() == self.digest),
        ))
    }

    /// Size in bytes of a sector, where the block tells: the relocated sectors' size in bytes is in the dataset too.
    pub(crate) fn sector_size(&self) -> Option<u32> {
        let len = self.dataset.datums.iter().find_map(Datum::relocated_len)?;
        let size = u32::try_from(len.checked_div(u64::from(self.relocated_sectors))?).ok()?;
        (size.is_power_of_two() && (512..=4096).contains(&size)).then_some(size)
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Metadata blocks made field by field.

    pub(crate) struct Sample {
        pub(crate) version: u16,
        pub(crate) states: [u16; 2],
        pub(crate) border: u64,
        pub(crate) relocated: (u32, u64),
        pub(crate) blocks: [u64; 3],
        pub(crate) dataset: Vec<u8>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                version: 2,
                states: [4, 4],
                border: 0,
                relocated: (16, 0x20000),
                blocks: [0x10000, 0x40000, 0x80000],
                dataset: crate::datum::samples::dataset([1; 16], 1, 0x8004, &[]),
            }
        }
    }

    impl Sample {
        pub(crate) fn bytes(&self) -> Vec<u8> {
            let mut bytes = b"-FVE-FS-\0\0".to_vec();
            for field in [self.version, self.states[0], self.states[1]] {
                bytes.extend(field.to_le_bytes());
            }
            bytes.extend(self.border.to_le_bytes());
            bytes.extend(0u32.to_le_bytes());
            bytes.extend(self.relocated.0.to_le_bytes());
            for field in self.blocks.into_iter().chain([self.relocated.1]) {
                bytes.extend(field.to_le_bytes());
            }
            bytes.extend(&self.dataset);
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            let units = if self.version == 1 { bytes.len() } else { bytes.len() / 16 };
            bytes[8..10].copy_from_slice(&u16::try_from(units).unwrap().to_le_bytes());
            let crc = crc32fast::hash(&bytes);
            bytes.extend([8, 0, 2, 0]);
            bytes.extend(crc.to_le_bytes());
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{samples::Sample, *};

    #[test]
    fn a_block_of_either_version_is_read() {
        for version in [1, 2] {
            let sample = Sample { version, states: [5, 1], border: 77, ..Sample::default() };
            let block = Information::parse(&sample.bytes(), 0).unwrap();
            assert_eq!((block.version, block.state, block.border), (version, State::Switching, 77));
            assert_eq!(block.next, Some(State::Decrypted));
            assert_eq!(block.blocks, [0x10000, 0x40000, 0x80000]);
            assert_eq!((block.relocated_sectors, block.place), (16, 0x20000));
        }
    }

    #[test]
    fn every_changed_byte_of_a_block_is_noticed() {
        let good = Sample::default().bytes();
        for at in 0..good.len() - 8 {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(Information::parse(&bad, 0).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_error_names_the_block_by_its_byte_and_says_what_was_expected() {
        let mut bad = Sample::default().bytes();
        bad[70] ^= 1;
        let text = Information::parse(&bad, 0x2195000).unwrap_err().to_string();
        assert!(text.starts_with("FVE metadata block at byte 35213312: expected the CRC-32 "), "{text}");
        let text = Information::parse(&[0; 4096], 512).unwrap_err().to_string();
        assert!(text.contains("at byte 512: expected the signature -FVE-FS-"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_block_or_an_error(
            mut bytes in prop::collection::vec(any::<u8>(), 0..2048),
            version in 1u16..=2,
            fix in any::<bool>(),
        ) {
            if fix && bytes.len() > 400 {
                bytes[..8].copy_from_slice(SIGNATURE);
                bytes[10..12].copy_from_slice(&version.to_le_bytes());
                let size = 256usize;
                let units = if version == 1 { size } else { size / 16 };
                bytes[8..10].copy_from_slice(&(units as u16).to_le_bytes());
                let crc = crc32fast::hash(&bytes[..size]);
                bytes[size + 4..size + 8].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = Information::parse(&bytes, 0);
        }
    }
}
