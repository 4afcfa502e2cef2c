//! Structures of BitLocker, made or repaired so that their sizes and checksums do not hide what stands in them.

use aes::{
    Aes128, Aes256, Block,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use ccm::{
    Ccm,
    aead::AeadInOut,
    consts::{U12, U16},
};
use sha2::{Digest, Sha256};

use super::PLACES;

pub const SIGNATURE: &[u8; 8] = b"-FVE-FS-";
/// Marks a boot sector with the offsets of the metadata blocks.
pub const BLOCKS: [u8; 16] =
    [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01];
/// Marks one with two further offsets, of the record of a conversion.
pub const BLOCKS_AND_RECORDS: [u8; 16] =
    [0x3B, 0x4D, 0xA8, 0x92, 0x80, 0xDD, 0x0E, 0x4D, 0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E, 0xAE, 0xD8];

/// The volume master key, and the key of the clear key protector.
pub const VMK: [u8; 32] = [0x56; 32];
pub const CLEAR: [u8; 32] = [0x43; 32];
/// The encryption key; shorter ones are its begin.
pub const FVEK: [u8; 64] = [0x46; 64];

/// Bytes of a metadata block before its dataset, and of the dataset's header.
pub const HEADER: usize = 64;
pub const DATASET: usize = 48;
/// Largest metadata block, its validation not counted.
const LARGEST: usize = 0xFF00;

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("as many bytes")
}

pub fn datum(role: u16, kind: u16, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(8 + body.len()).expect("a small datum");
    let mut bytes: Vec<u8> = [size, role, kind, 1].into_iter().flat_map(u16::to_le_bytes).collect();
    bytes.extend(body);
    bytes
}

/// A key in the clear.
pub fn key(kind: u16, key: &[u8]) -> Vec<u8> {
    datum(0, 1, &[&kind.to_le_bytes(), &[0; 2], key].concat())
}

/// `content` sealed with AES-CCM.
pub fn sealed(role: u16, key: &[u8; 32], content: &[u8]) -> Vec<u8> {
    let nonce = [7; 12];
    let mut data = content.to_vec();
    let mac = Ccm::<Aes256, U16, U12>::new(key.into())
        .encrypt_inout_detached(&nonce.into(), &[], data.as_mut_slice().into())
        .expect("a short content");
    datum(role, 5, &[&nonce[..], &mac, &data].concat())
}

/// The clear key protector, and the encryption key: `content` sealed with the volume master key.
pub fn clear_key(content: &[u8]) -> Vec<u8> {
    let protector = [&[9; 16][..], &[0; 12], &key(0x2000, &CLEAR), &sealed(0, &CLEAR, &key(0x2003, &VMK))];
    [datum(2, 8, &protector.concat()), sealed(3, &VMK, content)].concat()
}

/// Makes the sizes of the datums in `bytes` such that each fits into what is left.
pub fn repair_datums(mut bytes: &mut [u8]) {
    while bytes.len() >= 8 {
        let stated = usize::from(u16::from_le_bytes(get(bytes, 0)));
        let size = if (8..=bytes.len()).contains(&stated) { stated } else { bytes.len().min(LARGEST) };
        put(bytes, 0, &(size as u16).to_le_bytes());
        bytes = &mut bytes[size..];
    }
}

/// Makes the sizes of the dataset in a metadata block's `body` right.
pub fn repair_dataset(body: &mut [u8]) {
    let size = (body.len() - HEADER) as u32;
    for (at, value) in [(0, size), (8, DATASET as u32), (12, size)] {
        put(body, HEADER + at, &value.to_le_bytes());
    }
}

/// A metadata block: `body` with signature and size, and its validation, which is sealed for other bytes where the
/// block is not `genuine`.
pub fn block(mut body: Vec<u8>, genuine: bool) -> Vec<u8> {
    body.resize(body.len().clamp(HEADER + DATASET, LARGEST).next_multiple_of(16), 0);
    put(&mut body, 0, SIGNATURE);
    let units = if body[10] == 1 { body.len() } else { body.len() / 16 };
    put(&mut body, 8, &(units as u16).to_le_bytes());
    let crc = crc32fast::hash(&body);
    let digest = Sha256::digest(if genuine { &body } else { &body[1..] });
    body.extend([8, 0, 2, 0]);
    body.extend(crc.to_le_bytes());
    body.extend(sealed(0, &VMK, &key(0x2005, &digest)));
    body
}

/// A metadata block of version 2 for AES-CBC 128: the head stands at `place`, and nothing but `datums` unlocks it.
pub fn usual_block(state: u16, place: u64, datums: &[u8]) -> Vec<u8> {
    let mut body = vec![0; HEADER + DATASET];
    for (at, value) in [(10, 2), (12, state), (14, 4), (100, 0x8002)] {
        put(&mut body, at, &value.to_le_bytes());
    }
    put(&mut body, 28, &16u32.to_le_bytes());
    for (at, value) in [32, 40, 48].into_iter().zip(PLACES).chain([(56, place)]) {
        put(&mut body, at, &value.to_le_bytes());
    }
    body.extend(datums);
    repair_dataset(&mut body);
    block(body, true)
}

/// A boot sector that names the metadata blocks.
pub fn boot(sector: u16, cluster: u8, vista: bool) -> [u8; 512] {
    let mut boot = [0; 512];
    put(&mut boot, 3, SIGNATURE);
    put(&mut boot, 11, &sector.to_le_bytes());
    boot[13] = cluster;
    if vista {
        let bytes = u64::from(sector) * u64::from(cluster.max(1));
        put(&mut boot, 0x30, &4u64.to_le_bytes());
        put(&mut boot, 0x38, &(PLACES[0] / bytes.max(1)).to_le_bytes());
    } else {
        put(&mut boot, 160, &BLOCKS);
        for (at, place) in [176, 184, 192].into_iter().zip(PLACES) {
            put(&mut boot, at, &place.to_le_bytes());
        }
    }
    put(&mut boot, 510, &[0x55, 0xAA]);
    boot
}

/// The boot sector of an NTFS volume.
pub fn ntfs() -> [u8; 512] {
    let mut boot = [0u8; 512];
    put(&mut boot, 3, b"NTFS    ");
    put(&mut boot, 11, &[0, 2, 8]);
    boot[21] = 0xF8;
    for (at, value) in [(0x28, 500u64), (0x30, 4), (0x38, 2)] {
        put(&mut boot, at, &value.to_le_bytes());
    }
    (boot[0x40], boot[0x44]) = (0xF6, 1);
    put(&mut boot, 510, &[0x55, 0xAA]);
    boot
}

/// What decrypts to `plain` by AES-CBC 128 in sectors of 512 bytes, where it stands at `at`.
pub fn encrypted(at: u64, plain: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new_from_slice(&FVEK[..16]).expect("16 bytes");
    let mut bytes = Vec::with_capacity(plain.len());
    for (at, sector) in (at..).step_by(512).zip(plain.chunks(512)) {
        let mut before = Block::from(u128::from(at).to_le_bytes());
        cipher.encrypt_block(&mut before);
        for block in sector.chunks(16) {
            before.iter_mut().zip(block).for_each(|(byte, other)| *byte ^= other);
            cipher.encrypt_block(&mut before);
            bytes.extend(&before[..]);
        }
    }
    bytes
}

/// Puts the CRC-32 of `bytes`, in which its own place counts as zero, at `at`.
pub fn put_crc(bytes: &mut [u8], at: usize) {
    put(bytes, at, &[0; 4]);
    let crc = crc32fast::hash(bytes);
    put(bytes, at, &crc.to_le_bytes());
}
