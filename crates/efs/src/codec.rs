use std::{fmt, sync::Arc};

use undelfs_source::{ReadAt, ReadError};
use undelfs_volume::filesystem::{Codec, InPlace};

use crate::cipher::{Cipher, UNIT};

/// The decryption of the streams of one file.
///
/// A unit reaches up to 511 bytes beyond the content's end, and all of it has to be there to be decrypted.
#[derive(Clone)]
pub struct Efs(Arc<Cipher>);

impl Efs {
    /// The decryption with `cipher`.
    pub fn new(cipher: Arc<Cipher>) -> Self {
        Self(cipher)
    }
}

impl Codec for Efs {
    fn unit(&self) -> u64 {
        UNIT as u64
    }

    fn decode(&self, unit: u64, raw: &dyn ReadAt, out: &mut [u8]) -> Result<(), ReadError> {
        let offset = unit.saturating_mul(UNIT as u64);
        let mut whole = [0; UNIT];
        raw.read_exact_at(&mut whole, offset)?;
        self.0.decrypt(&mut whole, offset);
        let part = whole.get(..out.len()).ok_or(ReadError::Decode {
            offset,
            len: out.len() as u64,
            reason: format!("a unit of EFS has {UNIT} bytes"),
        })?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn in_place(&self) -> Option<&dyn InPlace> {
        Some(self)
    }
}

impl InPlace for Efs {
    fn decode(&self, units: &mut [u8], offset: u64) {
        self.0.decrypt(units, offset);
    }
}

impl fmt::Debug for Efs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EFS {}", self.0.algorithm())
    }
}
