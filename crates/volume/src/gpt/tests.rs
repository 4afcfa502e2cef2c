use std::io::Cursor;

use ::gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types};
use proptest::prelude::*;

use super::*;

const SECTORS: u64 = 4096;

/// A disk made by the `gpt` crate, with two partitions.
fn disk(block: LogicalBlockSize) -> Vec<u8> {
    let size = SECTORS * block.as_u64();
    let mut device = Cursor::new(vec![0u8; size as usize]);
    ProtectiveMBR::with_lb_size((SECTORS - 1) as u32).overwrite_lba0(&mut device).unwrap();
    let mut disk =
        GptConfig::new().writable(true).logical_block_size(block).create_from_device(device, None).unwrap();
    disk.add_partition("Systemlaufwerk ä", 600 * block.as_u64(), partition_types::EFI, 0, None).unwrap();
    disk.add_partition("", 900 * block.as_u64(), partition_types::BASIC, 0, None).unwrap();
    disk.write().unwrap().into_inner()
}

fn found(disk: &[u8]) -> (Option<Gpt>, Vec<String>) {
    let mut notes = Notes::default();
    let gpt = find(&disk, &[512, 4096], Some(SECTORS - 1), &mut notes);
    (gpt, notes.into_sentences())
}

/// What the `gpt` crate reads, in the order of the entries.
fn theirs(disk: &[u8], block: LogicalBlockSize) -> Vec<(u64, u64)> {
    let disk =
        GptConfig::new().logical_block_size(block).open_from_device(Cursor::new(disk.to_vec())).unwrap();
    disk.partitions().values().map(|p| (p.first_lba, p.last_lba - p.first_lba + 1)).collect()
}

fn places(gpt: &Gpt) -> Vec<(u64, u64)> {
    gpt.partitions.iter().map(|p| (p.start, p.sectors)).collect()
}

fn set(disk: &mut [u8], at: u64, bytes: &[u8]) {
    disk[at as usize..][..bytes.len()].copy_from_slice(bytes);
}

#[test]
fn the_same_partitions_as_the_gpt_crate_are_read_at_both_sector_sizes() {
    for (block, size) in [(LogicalBlockSize::Lb512, 512), (LogicalBlockSize::Lb4096, 4096)] {
        let disk = disk(block);
        let (gpt, notes) = found(&disk);
        let gpt = gpt.unwrap();
        assert_eq!((gpt.sector_size, gpt.header_at), (size, 1));
        assert_eq!(places(&gpt), theirs(&disk, block));
        assert_eq!(gpt.partitions.len(), 2);
        assert_eq!(gpt.partitions[0].role, "EFI system");
        assert_eq!(gpt.partitions[0].name.as_deref(), Some("Systemlaufwerk ä"));
        assert_eq!(gpt.partitions[1].role, "Basic data");
        assert_eq!(gpt.partitions[1].name, None);
        assert!(notes.is_empty(), "{notes:?}");
    }
}

#[test]
fn the_backup_is_used_and_noted_where_the_primary_header_or_its_entries_are_damaged() {
    let whole = disk(LogicalBlockSize::Lb512);
    let expected = theirs(&whole, LogicalBlockSize::Lb512);
    for (at, bytes) in [(512, &[0u8; 512][..]), (512 + 40, &[9]), (1024 + 32, &[9])] {
        let mut disk = whole.clone();
        set(&mut disk, at, bytes);
        let (gpt, notes) = found(&disk);
        let gpt = gpt.unwrap();
        assert_eq!(gpt.header_at, SECTORS - 1);
        assert_eq!(places(&gpt), expected);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("primary GPT header at sector 1 is damaged"), "{notes:?}");
    }
}

#[test]
fn the_backup_is_found_in_an_image_with_more_behind_the_disk() {
    let mut disk = disk(LogicalBlockSize::Lb512);
    let expected = theirs(&disk, LogicalBlockSize::Lb512);
    set(&mut disk, 512, &[0; 512]);
    disk.extend([0; 5 * 512]);
    assert_eq!(places(&found(&disk).0.unwrap()), expected);
}

#[test]
fn entries_with_a_wrong_check_sum_are_used_and_noted_where_there_is_nothing_better() {
    let mut disk = disk(LogicalBlockSize::Lb512);
    set(&mut disk, 1024 + 56, b"X");
    set(&mut disk, (SECTORS - 1) * 512, &[0; 512]);
    let (gpt, notes) = found(&disk);
    let gpt = gpt.unwrap();
    assert_eq!(gpt.header_at, 1);
    assert_eq!(gpt.partitions.len(), 2);
    assert!(notes.iter().any(|n| n.contains("check sum of the entries is wrong")), "{notes:?}");
}

#[test]
fn a_table_that_is_gone_at_both_ends_is_noted() {
    let mut disk = disk(LogicalBlockSize::Lb512);
    set(&mut disk, 512, &[0; 512]);
    set(&mut disk, (SECTORS - 1) * 512, &[0; 512]);
    let (gpt, notes) = found(&disk);
    assert!(gpt.is_none());
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_partition_is_cut_at_the_end_of_the_disk_but_not_at_the_end_of_a_cut_image() {
    let entry_with = |first: u64, last: u64| {
        let mut raw = vec![1; 128];
        raw[32..40].copy_from_slice(&first.to_le_bytes());
        raw[40..48].copy_from_slice(&last.to_le_bytes());
        entry(&raw, 1000)
    };
    let (partition, note) = entry_with(10, 5000).unwrap().unwrap();
    assert_eq!((partition.start, partition.sectors, note.is_some()), (10, 991, true));
    let (partition, note) = entry_with(2000, 5000).unwrap().unwrap();
    assert_eq!((partition.start, partition.sectors, note.is_some()), (2000, 3001, false));
    assert!(entry_with(10, 9).is_err());
    assert!(entry_with(0, 9).is_err());
    assert!(entry_with(u64::MAX - 1, u64::MAX).is_err());

    let mut cut = disk(LogicalBlockSize::Lb512);
    let expected = theirs(&cut, LogicalBlockSize::Lb512);
    cut.truncate(700 * 512);
    assert_eq!(places(&found(&cut).0.unwrap()), expected);
}

#[test]
fn a_header_that_announces_billions_of_entries_is_read_within_bounds() {
    let mut disk = disk(LogicalBlockSize::Lb512);
    set(&mut disk, 512 + 80, &u32::MAX.to_le_bytes());
    set(&mut disk, (SECTORS - 1) * 512, &[0; 512]);
    let (gpt, notes) = found(&disk);
    assert!(gpt.is_some());
    assert!(notes.iter().any(|n| n.contains("announces 4294967295 entries")), "{notes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_anywhere_in_the_table_never_panics(
        changes in prop::collection::vec((512usize..2048, any::<u8>()), 1..40),
        end in 0usize..5000,
    ) {
        let mut disk = disk(LogicalBlockSize::Lb512);
        disk.truncate(512 * 64 + end);
        for (at, byte) in changes {
            disk[at] = byte;
        }
        let _ = found(&disk);
    }

    #[test]
    fn arbitrary_bytes_behind_the_signature_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 512..4096),
        size in prop::sample::select(vec![512u32, 4096]),
    ) {
        bytes[..8].copy_from_slice(b"EFI PART");
        let _ = Gpt::read(&bytes, 0, size);
        let mut small = bytes;
        small[84..88].copy_from_slice(&128u32.to_le_bytes());
        small[72..80].copy_from_slice(&0u64.to_le_bytes());
        let _ = Gpt::read(&small, 0, size);
    }
}
