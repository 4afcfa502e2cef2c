//! The search for lost volumes: the input is patches to a disk that has one. An interrupted search gives what one in a
//! single run does, and every volume has a place.
#![no_main]

use std::sync::atomic::{AtomicU32, Ordering};

use libfuzzer_sys::fuzz_target;
use undelfs_source::ReadAt;
use undelfs_volume::{
    filesystem::Watch,
    search::{Search, resolve},
};

const CLUSTER: usize = 4096;
const CLUSTERS: usize = 250;

/// Cancels after some steps.
struct Steps(AtomicU32);

impl Watch for Steps {
    fn advance(&self, _: u64) {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(1);
        self.0.store(left, Ordering::Relaxed);
    }
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// A disk with the boot sectors of a volume at its second sector, and the begin of a record at its `$MFT`.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 2 << 20];
    let mut boot = [0; 512];
    boot[..11].copy_from_slice(b"\xEB\x52\x90NTFS    ");
    boot[12] = 2;
    boot[13] = 8;
    boot[0x28..0x2A].copy_from_slice(&((CLUSTERS * 8) as u16).to_le_bytes());
    boot[0x30] = 4;
    boot[0x38] = 100;
    boot[0x40] = 0xF6;
    for at in [512, 512 + CLUSTERS * CLUSTER] {
        disk[at..at + 512].copy_from_slice(&boot);
    }
    for lcn in [4, 100] {
        let at = 512 + lcn * CLUSTER;
        disk[at..at + 8].copy_from_slice(b"FILE\x30\0\x03\0");
        disk[at + 0x14] = 0x38;
        disk[at + 0x38] = 0x30;
        disk[at + 0x3C] = 0x70;
        disk[at + 0x4C] = 0x18;
        disk[at + 0x90] = 4;
        disk[at + 0x92..at + 0x9A].copy_from_slice(b"$\0M\0F\0T\0");
    }
    disk
}

fuzz_target!(|data: &[u8]| {
    let mut disk = disk();
    // Three bytes of position and one of value: near the boot sectors and records, where they matter.
    for patch in data.chunks_exact(4) {
        let base = [512, 512 + 4 * CLUSTER, 512 + 100 * CLUSTER, 512 + CLUSTERS * CLUSTER];
        let at = base[usize::from(patch[0] & 3)] + usize::from(u16::from_le_bytes([patch[1], patch[2]]));
        if let Some(byte) = disk.get_mut(at) {
            *byte = patch[3];
        }
    }
    let mut whole = Search::default();
    whole.run(&disk, &(), &mut |_| ());
    let mut parts = Search::default();
    while !parts.run(&disk, &Steps(AtomicU32::new(2)), &mut |_| ()) {}
    assert_eq!(whole, parts);
    for found in resolve(&disk, &whole.hits).volumes {
        assert!(found.end(&disk) >= found.start && !found.evidence.is_empty());
        let volume = found.volume(&disk, 512);
        let _ = volume.extent(std::sync::Arc::new(disk.clone())).present();
        assert!(!found.evidence.describe(found.boot.kind).is_empty());
    }
});
