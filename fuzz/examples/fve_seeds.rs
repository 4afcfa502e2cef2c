//! Writes inputs for the BitLocker targets to begin with: `cargo run --example fve_seeds [IMAGE...]`.
//!
//! What is made by hand goes into `corpus/TARGET`; of each image of a BitLocker volume, and of each `.BEK` file, so does
//! the metadata.

#[allow(dead_code, reason = "a part of it is for the targets")]
#[path = "../fuzz_targets/fve/mod.rs"]
mod fve;

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use fve::{SIZE, made};

/// What is read of the volume in each seed: two ranges, of which the second is cut at an odd byte.
fn ranges() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (offset, len, cut) in [(0u32, 0x4000u16, 0x1000u16), (0x11F00, 0x3000, 0x123)] {
        bytes.extend(offset.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(cut.to_le_bytes());
    }
    bytes
}

fn main() -> io::Result<()> {
    let mut number = 0;
    let mut seed = |target: &str, bytes: &[&[u8]]| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&dir)?;
        number += 1;
        fs::write(dir.join(format!("seed-{number:03}")), bytes.concat())
    };
    for (switches, cluster, cut) in METADATA {
        let head = metadata_head(switches, cluster, cut);
        seed("fve_metadata", &[&head, &body(switches)])?;
    }
    for (switches, cluster, sector) in BOOT {
        let head = boot_head(switches, cluster, sector);
        seed("fve_boot", &[&head, &made::boot(512, 8, false), &records()])?;
    }
    let package = [&[0; made::DATASET][..], &made::key(0x2002, &made::CLEAR)].concat();
    for switches in [1, 3, 7] {
        seed("fve_keys", &[&[switches], &package])?;
    }
    let external = made::datum(6, 9, &[&[9; 16][..], &[0; 8], &made::key(0x2002, &made::CLEAR)].concat());
    seed("fve_keys", &[&[1], &[0; made::DATASET], &external])?;
    seed("fve_keys", &[b"235818-357951-253979-013365-241120-245575-342914-591910"])?;
    seed("fve_keys", &[b"235818357951253979013365241120245575342914591910"])?;
    for len in [16, 32, 64] {
        seed("fve_keys", &[&made::FVEK[..len]])?;
        seed("fve_keys", &["4a".repeat(len).as_bytes()])?;
    }
    for image in std::env::args_os().skip(1) {
        let mut file = fs::File::open(image)?;
        let mut boot = vec![0; 512];
        let len = file.read(&mut boot)?;
        if len < 512 {
            seed("fve_keys", &[&[0], &boot[..len]])?;
            continue;
        }
        let Some(block) = block(&mut file, &boot)? else { continue };
        for (switches, cluster, cut) in METADATA {
            seed("fve_metadata", &[&metadata_head(switches, cluster, cut), &block])?;
        }
        for (switches, cluster, sector) in BOOT {
            seed("fve_boot", &[&boot_head(switches, cluster, sector), &boot, &records()])?;
        }
        seed("fve_keys", &[&[0], &block])?;
    }
    Ok(())
}

/// Switches, logarithm of the cluster's sectors, and the number by which the volume is shortened or damaged.
const METADATA: [(u32, u8, u16); 14] = [
    // The made clear key, with each cipher, sector size and boot sector.
    (0b0_0101_0000_0011_1111, 3, 1),
    (0b0_0101_0001_0011_1111, 3, 1),
    (0b0_0101_0010_0011_1111, 3, 1),
    (0b0_0101_0011_0011_1111, 0, 4 * 300),
    (0b0_0101_0101_0011_1111, 7, 4 * 700),
    (0b0_0101_1001_0011_1111, 3, 1),
    (0b0_1101_0001_0011_1111, 3, 1),
    // What is sealed is the input's; no boot sector; damage.
    (0b0_0001_0001_0011_1111, 3, 1),
    (0b0_0101_0001_0111_1111, 3, 1),
    (0b0_0101_0001_1011_1111, 3, 0x2000),
    // Raw keys, and none that fits.
    (0b0_0001_0001_0001_1111, 3, 1),
    (0b1_0111_0001_0001_1111, 3, 1),
    (0b1_0011_0010_0010_0110, 3, 1),
    (0b0_0000_0000_0001_1000, 3, 1),
];

/// Switches, logarithm of the cluster's sectors, and of the sector's size over 512.
const BOOT: [(u16, u8, u8); 10] = [
    (0b1000_0000_0111, 3, 0),
    (0b0100_0000_0111, 7, 0),
    (0b0000_0000_0111, 3, 0),
    (0b0100_0000_0111, 3, 3),
    (0b0000_0010_0111, 1, 0),
    (0b0000_0001_1111, 3, 0),
    (0b0010_0010_0011, 3, 0),
    (0b0000_1000_0111, 3, 0),
    (0b0001_0000_0111, 3, 1),
    (0b0000_0110_0111, 3, 0),
];

fn metadata_head(switches: u32, cluster: u8, cut: u16) -> Vec<u8> {
    let [low, high, more, _] = switches.to_le_bytes();
    // Two changes, in the counter and in the border; then what is sealed as encryption key.
    let sealed = made::key(0x8002, &made::FVEK[..16]);
    let mut head = vec![low, high, more, cluster, 2];
    head.extend(cut.to_le_bytes());
    head.extend((sealed.len() as u16).to_le_bytes());
    head.extend(ranges());
    head.extend([96, 0, 5, 17, 0, 0x80]);
    head.extend(sealed);
    head
}

fn boot_head(switches: u16, cluster: u8, sector: u8) -> Vec<u8> {
    let [low, high] = switches.to_le_bytes();
    // The volume is not shortened.
    [&[low, high, cluster, sector, 1, 0][..], &ranges()].concat()
}

/// The first block of a metadata seed.
fn body(switches: u32) -> Vec<u8> {
    let mut body = vec![0; made::HEADER + made::DATASET];
    let state = 2 + (switches >> 8 & 3) as u8;
    made::put(&mut body, 10, &[1, 0, state, 0, 4, 0]);
    made::put(&mut body, 16, &(SIZE as u64 / 2).to_le_bytes());
    made::put(&mut body, 28, &16u32.to_le_bytes());
    made::put(&mut body, 56, &fve::RELOCATED.to_le_bytes());
    made::put(&mut body, 100, &0x8002u16.to_le_bytes());
    body.extend(made::datum(7, 2, &"DISK".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()));
    body.extend(made::datum(15, 15, &[fve::RELOCATED, 0x2000].map(u64::to_le_bytes).concat()));
    body
}

/// A record of two regions with chunks of 4 KiB.
fn records() -> Vec<u8> {
    let mut record = vec![0; 72];
    for (at, value) in [(12, 512u32), (16, 512), (20, 0x1000), (24, 0x1000), (32, 2)] {
        made::put(&mut record, at, &value.to_le_bytes());
    }
    let mut bytes = record;
    for (start, len) in [(0u64, 0x10000u64), (0x10000, 0x20000)] {
        let mut region = vec![0; 64];
        for (at, value) in [(20, start), (28, len), (36, 0x3E000)] {
            made::put(&mut region, at, &value.to_le_bytes());
        }
        bytes.extend(region);
        for sequence in [7u64, 6] {
            let mut bitmap = vec![0b1011_0010; 128];
            made::put(&mut bitmap, 16, &(len as u32 / 0x1000).to_le_bytes());
            made::put(&mut bitmap, 20, &sequence.to_le_bytes());
            bytes.extend(bitmap);
        }
    }
    bytes
}

/// The first metadata block that the boot sector of an image names, up to its validation.
fn block(file: &mut fs::File, boot: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let marks = [made::BLOCKS, made::BLOCKS_AND_RECORDS];
    let mark = (0..480).find(|at| marks.iter().any(|mark| boot[*at..].starts_with(mark)));
    let at = match mark {
        Some(at) => u64::from_le_bytes(made::get(boot, at + 16)),
        None => {
            let cluster = u64::from(u16::from_le_bytes(made::get(boot, 11))) * u64::from(boot[13]);
            u64::from_le_bytes(made::get(boot, 0x38)).saturating_mul(cluster)
        }
    };
    file.seek(SeekFrom::Start(at))?;
    let mut block = vec![0; 0x10000];
    let read = file.read(&mut block)?;
    if read < block.len() || !block.starts_with(made::SIGNATURE) {
        return Ok(None);
    }
    let unit = if block[10] == 1 { 1 } else { 16 };
    block.truncate(usize::from(u16::from_le_bytes(made::get(&block, 8))) * unit);
    Ok(Some(block))
}
