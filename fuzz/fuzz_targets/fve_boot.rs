//! A BitLocker volume with sound metadata whose boot sector and record of a conversion are the fuzzer's, with
//! checksums repaired: opened, unlocked, read in every way.
//!
//! The input: switches and what is read, the boot sector, the record, and each region's structure and two bitmaps.
#![no_main]

#[allow(dead_code, reason = "each target uses a part of it")]
mod fve;

use fve::{Input, PLACES, RECORDS, REGIONS, RELOCATED, SIZE, Volume, checks, made};
use libfuzzer_sys::fuzz_target;
use undelfs_bitlocker::{BitLocker, Key};

/// The switches of an input, one bit each.
struct Switches(u16);

impl Switches {
    /// Two bits: what of the boot sector is put right.
    const BOOT: u32 = 0;
    /// Offsets in the record stay near the volume.
    const NEAR: u32 = 2;
    /// There is no metadata block, so that the layout has to be guessed.
    const NO_BLOCKS: u32 = 3;
    /// Without metadata, the file system's boot sector is there to be found.
    const FILE_SYSTEM: u32 = 4;
    /// Two bits: the state.
    const STATE: u32 = 5;
    const DAMAGED: u32 = 7;
    /// The head stands at no sector's begin.
    const ODD_PLACE: u32 = 8;
    /// The relocated boot sector is not encrypted.
    const PLAIN_HEAD: u32 = 9;
    /// The second copy of the record is there too.
    const COPY: u32 = 10;
    /// Nothing but the raw key opens the volume, which has to show that it fits.
    const RAW_KEY: u32 = 11;

    fn has(&self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let switches = Switches(input.u16());
    let cluster = 512u32 << (input.u8() % 8);
    let sector_bits = input.u8() % 4;
    let cut = input.u16();
    let mut ranges = Input(input.take(16));
    let mut volume = Volume::new();

    let place = RELOCATED + if switches.has(Switches::ODD_PLACE) { 0x123 } else { 0 };
    let boot = boot(input.array(), switches.0 >> Switches::BOOT & 3, sector_bits);
    volume.put(0, &boot);
    if switches.has(Switches::NO_BLOCKS) {
        let places = PLACES.into_iter().filter(|_| !switches.has(Switches::FILE_SYSTEM));
        places.for_each(|at| volume.put(at, &[0; 16]));
        if switches.has(Switches::FILE_SYSTEM) {
            volume.put(place, &made::encrypted(place, &made::ntfs()));
        }
    } else {
        let state = [4, 5, 2, 3][usize::from(switches.0 >> Switches::STATE & 3)];
        let clear_key = match switches.has(Switches::RAW_KEY) {
            true => Vec::new(),
            false => made::clear_key(&made::key(0x8002, &made::FVEK[..16])),
        };
        let block = made::usual_block(state, place, &clear_key);
        PLACES.iter().for_each(|at| volume.put(*at, &block));
        if switches.has(Switches::PLAIN_HEAD) {
            volume.put(place, &made::boot(512, 8, false));
        }
    }
    put_records(&mut volume, &mut input, &switches);
    if switches.has(Switches::DAMAGED) {
        let start = u64::from(cut) * 4;
        volume.bad = start..start + 700;
        volume.size += start & 0xFFF;
    } else {
        volume.shorten(if cut % 4 == 0 { cut / 4 } else { 0 });
    }

    let is_whole = volume.is_whole();
    let opened = BitLocker::open(volume.share(), u64::MAX, &()).expect("nobody cancels");
    let _ = format!("{:?} {:?}", opened.facts(), opened.notes());
    let key = Key::volume_encryption_key(made::FVEK[..16].to_vec());
    match opened.unlock(&[key.expect("16 bytes")], &()) {
        // 16 sectors of any size.
        Ok(unlocked) => checks::unlocked(unlocked, &mut ranges, cluster, is_whole, 16 * 4096),
        Err(error) => drop(error.to_string()),
    }
});

/// The boot sector: `repair` says how much of it is made right.
fn boot(mut boot: [u8; 512], repair: u16, sector_bits: u8) -> [u8; 512] {
    if repair > 0 {
        made::put(&mut boot, 11, &(512u16 << sector_bits).to_le_bytes());
        made::put(&mut boot, 3, made::SIGNATURE);
    }
    if repair > 1 {
        made::put(&mut boot, 160, &made::BLOCKS_AND_RECORDS);
        for (at, place) in (200..).step_by(8).zip(RECORDS) {
            made::put(&mut boot, at, &place.to_le_bytes());
        }
    }
    if repair > 2 {
        for (at, place) in (176..).step_by(8).zip(PLACES) {
            made::put(&mut boot, at, &place.to_le_bytes());
        }
    }
    boot
}

/// Sizes in bytes of the structures.
const RECORD: usize = 56 + 8 * REGIONS.len();
const REGION: usize = 64;
const BITMAP: usize = 128;

/// Puts the record of a conversion, and the structures of its regions.
fn put_records(volume: &mut Volume, input: &mut Input<'_>, switches: &Switches) {
    let mut record: [u8; RECORD] = input.array();
    made::put(&mut record, 0, b"FVE-EOW\0");
    made::put(&mut record, 8, &[56, 0, RECORD as u8, 0]);
    if switches.has(Switches::NEAR) {
        let chunk = u32::from_le_bytes(made::get(&record, 20)) % 0x8000;
        made::put(&mut record, 20, &chunk.to_le_bytes());
        for (at, region) in (56..).step_by(8).zip(REGIONS) {
            made::put(&mut record, at, &region.to_le_bytes());
        }
    }
    made::put_crc(&mut record, 36);
    let copies = if switches.has(Switches::COPY) { &RECORDS[..] } else { &RECORDS[..1] };
    copies.iter().for_each(|at| volume.put(*at, &record));
    for at in REGIONS {
        let mut region: [u8; REGION] = input.array();
        made::put(&mut region, 0, b"FVE-EOWBM\0");
        if switches.has(Switches::NEAR) {
            made::put(&mut region, 12, &((REGION + 2 * BITMAP) as u32).to_le_bytes());
            for field in [20, 28, 36] {
                let value = u64::from_le_bytes(made::get(&region, field)) % (SIZE as u64 + 0x4000);
                made::put(&mut region, field, &value.to_le_bytes());
            }
        }
        for (field, from) in [(44, REGION), (48, REGION + BITMAP)] {
            made::put(&mut region, field, &(from as u32).to_le_bytes());
        }
        made::put_crc(&mut region, 56);
        let mut structure = region.to_vec();
        for _ in 0..2 {
            let mut bitmap: [u8; BITMAP] = input.array();
            made::put(&mut bitmap, 0, b"FVE-EOWBR\0");
            if switches.has(Switches::NEAR) {
                made::put(&mut bitmap, 10, &[36, 0, BITMAP as u8, 0, 0, 0]);
            }
            let len = usize::try_from(u32::from_le_bytes(made::get(&bitmap, 12))).unwrap_or(BITMAP);
            made::put_crc(&mut bitmap[..len.clamp(36, BITMAP)], 32);
            structure.extend(bitmap);
        }
        volume.put(at, &structure);
    }
}
