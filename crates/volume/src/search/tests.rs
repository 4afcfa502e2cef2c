use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;
use undelfs_source::ReadError;

use super::*;
use crate::{FileSystemKind, boot_sector::samples};

const CLUSTER: usize = 4096;

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

/// An NTFS boot sector of a volume of `clusters` clusters: `$MFT` at cluster `mft`, `$MFTMirr` in the middle.
fn boot(bytes_per_sector: u16, clusters: usize, mft: usize, serial: u64) -> Vec<u8> {
    let sectors = clusters * CLUSTER / usize::from(bytes_per_sector);
    let mut boot =
        samples::ntfs(bytes_per_sector, (CLUSTER / usize::from(bytes_per_sector)) as u8, sectors as u64);
    put(&mut boot, 0x30, &(mft as u64).to_le_bytes());
    put(&mut boot, 0x38, &(clusters as u64 / 2).to_le_bytes());
    put(&mut boot, 0x40, &[0xF6]);
    put(&mut boot, 0x48, &serial.to_le_bytes());
    boot
}

/// Formats a volume at byte `start`, over whatever is there.
fn format(disk: &mut [u8], start: usize, clusters: usize, bytes_per_sector: u16, serial: u64) {
    let sector = boot(bytes_per_sector, clusters, 4, serial);
    put(disk, start, &sector);
    put(disk, start + clusters * CLUSTER, &sector);
    let records = mft::samples::mft(4, clusters as u64 / 2, clusters as u64);
    put(disk, start + 4 * CLUSTER, &records);
    put(disk, start + clusters / 2 * CLUSTER, &records[..CLUSTER]);
}

fn found(disk: &[u8]) -> Vec<Found> {
    let mut search = Search::default();
    assert!(search.run(&disk, &(), &mut |_| ()));
    resolve(&disk, &search.hits).volumes
}

/// Start, length and evidence of each volume.
fn places(disk: &[u8]) -> Vec<(u64, Option<u64>, String)> {
    let describe = |found: &Found| found.evidence.describe(found.boot.kind);
    found(disk).iter().map(|found| (found.start, found.len, describe(found))).collect()
}

fn place(start: usize, clusters: usize, sector: usize, evidence: &str) -> (u64, Option<u64>, String) {
    (start as u64, Some((clusters * CLUSTER + sector) as u64), evidence.to_owned())
}

const ALL: &str = "both boot sectors, $MFT, $MFTMirr";

#[test]
fn generations_that_overlap_are_kept_apart() {
    let mut disk = vec![0; 12 << 20];
    format(&mut disk, 1 << 20, 2000, 512, 1);
    format(&mut disk, 3 << 20, 1500, 512, 2);
    // The third begins where the first did and is shorter, so it takes the boot sector and $MFT of the first.
    format(&mut disk, 1 << 20, 300, 512, 3);
    assert_eq!(
        places(&disk),
        [
            place(1 << 20, 300, 512, ALL),
            place(1 << 20, 2000, 512, "backup boot sector, $MFTMirr"),
            place(3 << 20, 1500, 512, ALL),
        ]
    );
}

#[test]
fn a_volume_of_4096_byte_sectors_at_an_odd_place_is_measured_in_them() {
    let mut disk = vec![0; 6 << 20];
    format(&mut disk, 63 * 512, 1000, 4096, 1);
    assert_eq!(places(&disk), [place(63 * 512, 1000, 4096, ALL)]);
}

#[test]
fn what_is_left_of_a_volume_says_how_sure_it_is() {
    let mut whole = vec![0; 6 << 20];
    let start = 1 << 20;
    format(&mut whole, start, 1000, 512, 1);
    let wiped = |places: &[(usize, usize)]| {
        let mut disk = whole.clone();
        places.iter().for_each(|(at, len)| disk[start + at..][..*len].fill(0));
        disk
    };
    let (first, backup) = ((0, 512), (1000 * CLUSTER, 512));
    let (table, mirror) = ((4 * CLUSTER, 32 << 10), (500 * CLUSTER, CLUSTER));
    let left = |wipes: &[(usize, usize)], evidence: &str| {
        assert_eq!(places(&wiped(wipes)), [place(start, 1000, 512, evidence)]);
    };
    left(&[], ALL);
    left(&[backup], "boot sector, $MFT, $MFTMirr");
    left(&[first], "backup boot sector, $MFT, $MFTMirr");
    left(&[first, table], "backup boot sector, $MFTMirr");
    left(&[table, mirror], "both boot sectors");
    left(&[first, backup], "$MFT, $MFTMirr");
    left(&[first, backup, mirror], "$MFT");
    left(&[backup, table, mirror], "boot sector");
    // A partition begins where 1 MiB do, so the sector can only be the last.
    left(&[first, table, mirror], "backup boot sector");
    assert_eq!(places(&wiped(&[first, backup, table])), [(start as u64, None, "$MFTMirr".to_owned())]);
    assert_eq!(places(&wiped(&[first, backup, table, mirror])), []);
}

#[test]
fn a_volume_by_its_records_alone_has_the_geometry_of_its_boot_sector() {
    let mut disk = vec![0; 6 << 20];
    format(&mut disk, 1 << 20, 1000, 512, 0);
    let with = found(&disk).remove(0);
    disk[1 << 20..][..512].fill(0);
    disk[(1 << 20) + 1000 * CLUSTER..].fill(0);
    let without = found(&disk).remove(0);
    assert_eq!(with.boot, without.boot);
    assert_eq!(with.sector[0x28..0x41], without.sector[0x28..0x41]);
}

#[test]
fn a_copy_of_a_boot_sector_somewhere_is_no_volume_of_its_own() {
    let mut disk = vec![0; 6 << 20];
    format(&mut disk, 1 << 20, 1000, 512, 1);
    let sector = boot(512, 1000, 4, 1);
    for at in [512, (2 << 20) + 512, 5 << 20] {
        put(&mut disk, at, &sector);
    }
    assert_eq!(places(&disk), [place(1 << 20, 1000, 512, ALL)]);
}

#[test]
fn records_that_a_shadow_copy_holds_are_no_volume() {
    let mut disk = vec![0; 6 << 20];
    format(&mut disk, 1 << 20, 1000, 512, 1);
    let records = mft::samples::mft(4, 500, 1000);
    put(&mut disk, 3 << 20, &records[..16 << 10]);
    assert_eq!(places(&disk), [place(1 << 20, 1000, 512, ALL)]);
}

#[test]
fn fat_and_exfat_are_found_by_either_boot_sector() {
    let mut disk = vec![0; 120 << 20];
    let fat32 = {
        let mut sector = samples::fat32(200_000);
        put(&mut sector, 0x32, &[6, 0]);
        sector
    };
    put(&mut disk, (1 << 20) + 6 * 512, &fat32);
    put(&mut disk, (1 << 20) + 32 * 512, &[0xF8, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0xF7]);
    let mut exfat = samples::exfat(1000);
    put(&mut exfat, 80, &24u32.to_le_bytes());
    put(&mut exfat, 84, &8u32.to_le_bytes());
    put(&mut disk, 101 << 20, &exfat);
    put(&mut disk, (101 << 20) + 12 * 4096, &exfat);
    let fat16 = samples::fat16(40_000);
    put(&mut disk, 110 << 20, &fat16);
    for fat in [1, 81] {
        put(&mut disk, (110 << 20) + fat * 512, &[0xF8, 0xFF, 0xFF, 0x7F]);
    }
    let place = |at: u64, len: u64, evidence: &str| (at << 20, Some(len), evidence.to_owned());
    assert_eq!(
        places(&disk),
        [
            place(1, 200_000 * 512, "backup boot sector, FAT"),
            place(101, 1000 * 4096, "both boot sectors"),
            place(110, 40_000 * 512, "boot sector, both FATs"),
        ]
    );
}

#[test]
fn blocks_of_bitlocker_are_handed_on() {
    let mut disk = vec![0; 4 << 20];
    put(&mut disk, 512, &samples::bitlocker());
    put(&mut disk, 3 << 20, b"-FVE-FS-");
    put(&mut disk, (3 << 20) + 700, b"-FVE-FS-");
    let mut search = Search::default();
    search.run(&disk, &(), &mut |_| ());
    let resolved = resolve(&disk, &search.hits);
    assert_eq!(resolved.fve_blocks, [3 << 20]);
    assert_eq!((resolved.volumes[0].start, resolved.volumes[0].len), (512, None));
}

/// Stops a search after so many bytes.
struct Until(AtomicU64);

impl Watch for Until {
    fn advance(&self, units: u64) {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(units);
        self.0.store(left, Ordering::Relaxed);
    }
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn a_search_that_was_interrupted_and_resumed_finds_the_same_as_one_that_was_not() {
    let mut disk = vec![0; 80 << 20];
    for (serial, start) in (1..).zip([1, 9, 17, 20, 33]) {
        format(&mut disk, start << 20, 1200, 512, serial);
    }
    let mut whole = Search::default();
    assert!(whole.run(&disk, &(), &mut |_| ()));
    let mut resumed = Search::default();
    let mut runs = 0;
    while !resumed.run(&disk, &Until(AtomicU64::new(resumed.position + (3 << 20))), &mut |_| ()) {
        runs += 1;
        assert!(runs < 100 && resumed.hits.iter().all(|hit| hit.at < resumed.position));
    }
    assert!(runs > 2);
    assert_eq!(whole, resumed);
    // What is kept on the way is as good a begin as any.
    let kept = Mutex::new(Vec::new());
    Search::default().run(&disk, &(), &mut |search| kept.lock().unwrap().push(search.clone()));
    for mut search in kept.into_inner().unwrap() {
        search.run(&disk, &(), &mut |_| ());
        assert_eq!(whole, search);
    }
}

/// Bytes with a hole in which reading fails the test, and a sector that the medium has lost.
struct Holed {
    bytes: Vec<u8>,
    hole: std::ops::Range<u64>,
    lost: u64,
}

impl ReadAt for Holed {
    fn size(&self) -> u64 {
        self.bytes.size()
    }
    fn next_data(&self, offset: u64) -> u64 {
        if self.hole.contains(&offset) { self.hole.end } else { offset }
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let end = offset + buf.len() as u64;
        assert!(end <= self.hole.start || offset >= self.hole.end - 512, "{offset}");
        if (offset..end).contains(&self.lost) {
            let error = std::io::Error::other("lost");
            return Err(ReadError::Medium { what: "disk".into(), offset, len: 512, error });
        }
        self.bytes.read_at(buf, offset)
    }
}

#[test]
fn holes_are_not_read_and_lost_sectors_are_counted_and_passed_over() {
    let mut bytes = vec![0; 20 << 20];
    format(&mut bytes, 11 << 20, 1000, 512, 1);
    let disk = Holed { bytes, hole: 1 << 20..(11 << 20) - 100, lost: 16 << 20 };
    let mut search = Search::default();
    assert!(search.run(&disk, &(), &mut |_| ()));
    assert_eq!(search.unreadable, 512);
    assert_eq!(resolve(&disk.bytes, &search.hits).volumes[0].certainty(), Certainty::Certain);
}

#[test]
fn a_disk_full_of_boot_sectors_gives_a_bounded_number_of_volumes() {
    let mut disk = vec![0; (Search::MAX_HITS + 3) * 512];
    for (serial, sector) in (0..).zip(disk.chunks_exact_mut(512)) {
        sector.copy_from_slice(&boot(512, 1000, 4, serial));
    }
    let mut search = Search::default();
    search.run(&disk, &(), &mut |_| ());
    assert_eq!((search.hits.len(), search.left_out), (Search::MAX_HITS, 3));
    let resolved = resolve(&disk, &search.hits[..3000]);
    assert_eq!(resolved.volumes.len(), MAX_FOUND);
    assert!(resolved.left_out > 0);
    assert!(resolved.volumes.iter().all(|found| found.boot.kind == FileSystemKind::Ntfs));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_volumes_are_searched_without_panic(
        damage in prop::collection::vec((0usize..1 << 20, any::<u8>()), 0..60),
        fields in prop::collection::vec(any::<u8>(), 0x38),
    ) {
        let mut disk = vec![0; 1 << 20];
        format(&mut disk, 512, 100, 512, 1);
        for (at, byte) in damage {
            disk[at % (60 << 10)] = byte;
        }
        disk[512 + 0x24..][..fields.len()].copy_from_slice(&fields);
        let _ = found(&disk);
    }
}
