//! A BitLocker volume whose metadata blocks are the fuzzer's, with sizes and checksums repaired: opened, unlocked with
//! raw keys, read.
//!
//! The input: switches and what is read, changes by which the second and third block differ from the first, what is
//! sealed as the encryption key, and the first block from its first byte on.
#![no_main]

#[allow(dead_code, reason = "each target uses a part of it")]
mod fve;

use fve::{Input, PLACES, SIZE, Volume, checks, made};
use libfuzzer_sys::fuzz_target;
use undelfs_bitlocker::{BitLocker, Key};

/// The switches of an input, one bit each.
struct Switches(u32);

impl Switches {
    /// Offsets stay near the volume.
    const NEAR: u32 = 0;
    /// The sizes of the dataset are right.
    const DATASET: u32 = 1;
    /// The sizes of the datums are possible.
    const DATUMS: u32 = 2;
    const SECOND: u32 = 3;
    const THIRD: u32 = 4;
    /// A clear key protector opens the volume.
    const CLEAR_KEY: u32 = 5;
    const NO_BOOT_SECTOR: u32 = 6;
    /// The image is cut short, or a part of it unreadable.
    const DAMAGED: u32 = 7;
    /// Two bits: which key the volume has, or is given.
    const KEY: u32 = 8;
    const LARGE_SECTORS: u32 = 10;
    const VISTA: u32 = 11;
    /// Version and state are known ones.
    const KNOWN: u32 = 12;
    /// The volume master key is given too.
    const VMK: u32 = 13;
    /// What is sealed as encryption key is one.
    const SOUND_KEY: u32 = 14;
    /// The blocks are others than those that were sealed.
    const NOT_GENUINE: u32 = 15;
    const NO_RAW_KEY: u32 = 16;

    fn has(&self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// A cipher, and how many bytes its key has.
    fn method(&self) -> (u16, usize) {
        [(0x8004, 32), (0x8002, 16), (0x8005, 64), (0x8003, 32)][(self.0 >> Self::KEY & 3) as usize]
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let switches = Switches(u32::from(input.u16()) | u32::from(input.u8()) << 16);
    let (cluster, changes) = (512u32 << (input.u8() % 8), input.u8() % 16);
    let (cut, sealed) = (input.u16(), input.u16() % 256);
    let mut ranges = Input(input.take(16));
    let changes = input.take(usize::from(changes) * 3).as_chunks::<3>().0;
    let sealed = input.take(sealed.into());
    let body = body(input.0, &switches, sealed);
    let genuine = !switches.has(Switches::NOT_GENUINE);

    let mut volume = Volume::new();
    if !switches.has(Switches::NO_BOOT_SECTOR) {
        let sector = if switches.has(Switches::LARGE_SECTORS) { 4096 } else { 512 };
        let sectors = (cluster / u32::from(sector)).max(1) as u8;
        volume.put(0, &made::boot(sector, sectors, switches.has(Switches::VISTA)));
    }
    let mut head = relocated(&body);
    for (nth, bit) in [(1, Switches::SECOND), (2, Switches::THIRD)] {
        if switches.has(bit) {
            let mut other = body.clone();
            for [low, high, value] in changes {
                let at = usize::from(u16::from_le_bytes([*low, *high])) * nth % other.len();
                other[at] = *value;
            }
            head = head.max(relocated(&other));
            volume.put(PLACES[nth], &made::block(other, genuine));
        }
    }
    volume.put(PLACES[0], &made::block(body.clone(), genuine));
    if switches.has(Switches::DAMAGED) {
        let start = u64::from(cut) * 4;
        volume.bad = start..start + 700;
        volume.size += start & 0xFFF;
    } else {
        volume.shorten(if cut % 4 == 0 { cut / 4 } else { 0 });
    }

    let is_whole = volume.is_whole();
    let size = volume.size;
    let volume = volume.share();
    let _ = BitLocker::find(&volume, size, &());
    let opened = BitLocker::open(volume, u64::MAX, &()).expect("nobody cancels");
    if let Some(facts) = opened.facts() {
        let _ = (
            format!("{facts:?} {}", facts.conversion),
            facts.protectors.iter().map(ToString::to_string).count(),
        );
    }
    match opened.unlock(&keys(&switches), &()) {
        Ok(unlocked) => {
            let is_doubted = unlocked.notes().iter().any(|note| note.contains("sealed"));
            // Another key than that of the seal may be in the fuzzer's bytes, behind the one that is made here.
            let is_sealed = genuine
                && changes.is_empty()
                && switches.has(Switches::CLEAR_KEY)
                && switches.has(Switches::DATASET);
            assert!(!is_sealed || !is_doubted, "{:?}", unlocked.notes());
            checks::unlocked(unlocked, &mut ranges, cluster, is_whole, head);
        }
        Err(error) => drop(error.to_string()),
    }
});

/// The first block, up to its validation.
fn body(bytes: &[u8], switches: &Switches, sealed: &[u8]) -> Vec<u8> {
    let head = made::HEADER + made::DATASET;
    let mut body = bytes.to_vec();
    body.truncate(0xF000);
    body.resize(body.len().max(head), 0);
    if switches.has(Switches::DATUMS) {
        made::repair_datums(&mut body[head..]);
    }
    if switches.has(Switches::CLEAR_KEY) {
        let (method, len) = switches.method();
        let whole = made::key(method, &made::FVEK[..len]);
        let content = if switches.has(Switches::SOUND_KEY) { &whole } else { sealed };
        body.splice(head..head, made::clear_key(content));
    }
    if switches.has(Switches::DATASET) {
        made::repair_dataset(&mut body);
    }
    if switches.has(Switches::KNOWN) {
        let (version, state) = (body[10] % 2 + 1, body[12] % 5 + 1);
        made::put(&mut body, 10, &[version, 0, state, 0]);
    }
    if switches.has(Switches::NEAR) {
        let reach = SIZE as u64 + 0x10000;
        for (at, usual) in [32, 40, 48].into_iter().zip(PLACES).chain([(16, 0), (56, 0)]) {
            let value = u64::from_le_bytes(made::get(&body, at));
            let value = if value < 8 { usual } else { value % reach };
            made::put(&mut body, at, &value.to_le_bytes());
        }
        // The size of the log, and the number of relocated sectors.
        for (at, reach) in [(24, 0x20000), (28, 0x100)] {
            let value = u32::from_le_bytes(made::get(&body, at)) % reach;
            made::put(&mut body, at, &value.to_le_bytes());
        }
    }
    body
}

/// How many bytes a block relocates at most: as many sectors as it says, of the largest size.
fn relocated(body: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes(made::get(body, 28))) * 4096
}

/// Raw keys: none of them is stretched.
fn keys(switches: &Switches) -> Vec<Key> {
    let mut keys = Vec::new();
    if !switches.has(Switches::NO_RAW_KEY) {
        keys.extend(Key::volume_encryption_key(made::FVEK[..switches.method().1].to_vec()));
    }
    if switches.has(Switches::VMK) {
        keys.extend(Key::volume_master_key(made::VMK.to_vec()));
    }
    keys
}
