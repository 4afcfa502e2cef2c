//! FVE metadata blocks: the information, its dataset and the check behind it.

use sha2::{Digest, Sha256};

use super::{
    datum::{self, Guid, Nonces, key_type, kind, role},
    space::number,
};

/// Signature of a metadata block, and of a boot sector of a fixed disk.
pub(super) const SIGNATURE: &[u8; 8] = b"-FVE-FS-";

/// Size of the information's header in bytes.
const HEADER: usize = 64;

/// States of a volume, as they stand in the metadata.
pub(super) mod state {
    pub(crate) const DECRYPTED: u16 = 1;
    pub(crate) const PAUSED: u16 = 3;
    pub(crate) const ENCRYPTED: u16 = 4;
    pub(crate) const SWITCHING: u16 = 5;
}

/// What a metadata block says of its volume.
#[derive(Debug, Clone)]
pub(super) struct Information {
    /// 1 on Windows Vista, 2 since Windows 7.
    pub(super) version: u16,
    /// The state and the one aimed at.
    pub(super) states: [u16; 2],
    /// Byte up to which the volume is encrypted.
    pub(super) encrypted_to: u64,
    /// Number of relocated sectors; none on Windows Vista.
    pub(super) sectors: u32,
    /// Bytes at which the metadata blocks are.
    pub(super) offsets: [u64; 3],
    /// Byte of the relocated sectors; on Windows Vista, cluster of the `$MFT`'s mirror.
    pub(super) relocation: u64,
    /// The volume's identifier.
    pub(super) volume: Guid,
    /// FILETIME of the volume's making.
    pub(super) time: u64,
    /// Code of the method, none on a volume that is not encrypted.
    pub(super) method: u16,
    /// The datums.
    pub(super) datums: Vec<u8>,
}

/// Size of the place of a metadata block in bytes.
pub(super) fn place(version: u16) -> u64 {
    if version == 1 { 0x4000 } else { 0x1_0000 }
}

impl Information {
    /// The bytes of a metadata block, up to the end of its check. The check is for `vmk`, or in clear without one.
    pub(super) fn block(&self, vmk: Option<&[u8; 32]>, nonces: &mut Nonces) -> Vec<u8> {
        let check = nonces.next_of_check();
        let dataset = datum::dataset(self.volume, nonces.counter, self.method, self.time, &self.datums);
        let size = (HEADER + dataset.len()).next_multiple_of(16);
        let unit = if self.version == 1 { 1 } else { 16 };
        let mut bytes = SIGNATURE.to_vec();
        for number in [(size / unit) as u16, self.version, self.states[0], self.states[1]] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.encrypted_to.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(self.sectors.to_le_bytes());
        for number in self.offsets.iter().chain([&self.relocation]) {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(dataset);
        bytes.resize(size, 0);
        seal(&mut bytes, vmk, check, place(self.version));
        bytes
    }
}

/// Puts the check behind an information: its CRC-32 and, boxed for `vmk`, its SHA-256.
fn seal(information: &mut Vec<u8>, vmk: Option<&[u8; 32]>, nonce: [u8; 12], place: u64) {
    let hash = datum::key(key_type::HASH, &Sha256::digest(&*information));
    let hash = match vmk {
        Some(vmk) => datum::boxed(role::PROPERTY, vmk, nonce, &hash),
        None => hash,
    };
    let (rest, version) = (place - information.len() as u64, number(information, 10, 2));
    let crc = crc32fast::hash(information);
    information.extend((rest as u16).to_le_bytes());
    information.extend((version as u16).to_le_bytes());
    information.extend(crc.to_le_bytes());
    information.extend(hash);
}

/// Makes the check of `block` right again; its information has `size` bytes. Without the volume master key only the
/// CRC-32.
pub(super) fn reseal(block: &mut [u8], size: usize, vmk: Option<&[u8; 32]>) {
    let crc = crc32fast::hash(&block[..size]);
    block[size + 4..size + 8].copy_from_slice(&crc.to_le_bytes());
    if let Some(vmk) = vmk {
        let nonce = block[size + 16..size + 28].try_into().expect("the nonce");
        let hash = datum::key(key_type::HASH, &Sha256::digest(&block[..size]));
        let sealed = datum::boxed(role::PROPERTY, vmk, nonce, &hash);
        block[size + 8..size + 8 + sealed.len()].copy_from_slice(&sealed);
    }
}

/// Size in bytes of the information in a sound `block`.
pub(super) fn size(block: &[u8]) -> usize {
    let unit = if number(block, 10, 2) == 1 { 1 } else { 16 };
    number(block, 8, 2) as usize * unit
}

/// Bytes behind the relocated sectors that Windows 10 takes as well, and leaves empty.
pub(super) const BEHIND_RELOCATION: u64 = 0x1_0000;

/// The datum that says where the volume's first sectors went. Since Windows 8 it also tells which Windows wrote it.
pub(super) fn relocation(offset: u64, size: u64, sector: u32, builder: Option<u32>, flags: u64) -> Vec<u8> {
    let mut body = [offset.to_le_bytes(), size.to_le_bytes()].concat();
    if let Some(build) = builder {
        body.extend([5u16, 76].iter().flat_map(|number| number.to_le_bytes()));
        body.extend(0u32.to_le_bytes());
        body.extend(flags.to_le_bytes());
        body.extend([0; 12]);
        for number in [sector, sector, 10, 0, build, 2, 0] {
            body.extend(number.to_le_bytes());
        }
        body.extend(0x0201_0110u32.to_le_bytes());
        body.extend((offset + size).to_le_bytes());
        body.extend(BEHIND_RELOCATION.to_le_bytes());
    }
    datum::datum(role::RELOCATION, kind::RELOCATION, &[&body])
}
