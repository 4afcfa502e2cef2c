use proptest::prelude::*;

use super::*;
use crate::{boot_sector::samples, mbr::samples as records};

const SECTOR: usize = 512;

fn disk(sectors: usize) -> Vec<u8> {
    vec![0; sectors * SECTOR]
}

fn put(disk: &mut [u8], sector: usize, bytes: &[u8]) {
    disk[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
}

fn read(disk: Vec<u8>) -> Disk {
    Disk::read(Arc::new(disk)).unwrap()
}

fn places(disk: &Disk) -> Vec<(u32, u64, u64, FileSystemKind)> {
    disk.volumes.iter().map(|v| (v.number, v.start_sector, v.sectors, v.file_system)).collect()
}

/// A GPT disk made by the `gpt` crate: NTFS in partition 2, and 1 empty.
fn gpt_disk() -> (Vec<u8>, u64) {
    use ::gpt::{GptConfig, disk::LogicalBlockSize::Lb512, mbr::ProtectiveMBR, partition_types::BASIC};
    let mut device = std::io::Cursor::new(disk(4096));
    ProtectiveMBR::with_lb_size(4095).overwrite_lba0(&mut device).unwrap();
    let config = GptConfig::new().writable(true).logical_block_size(Lb512);
    let mut table = config.create_from_device(device, None).unwrap();
    table.add_partition("Reserved", 100 * 512, BASIC, 0, None).unwrap();
    let id = table.add_partition("Data", 1000 * 512, BASIC, 0, None).unwrap();
    let start = table.partitions()[&id].first_lba;
    let mut bytes = table.write().unwrap().into_inner();
    put(&mut bytes, start as usize, &samples::ntfs(512, 8, 999));
    (bytes, start)
}

#[test]
fn an_ntfs_boot_sector_whose_code_looks_like_a_table_is_a_bare_volume() {
    let mut bytes = disk(1000);
    put(&mut bytes, 0, &samples::ntfs(512, 8, 999));
    records::write(&mut bytes[..512], &[(7, 63, 100)]);
    let disk = read(bytes);
    assert_eq!((disk.table, disk.sector_size), (Table::None, 512));
    assert_eq!(places(&disk), [(1, 0, 1000, FileSystemKind::Ntfs)]);
    assert!(disk.notes.is_empty(), "{:?}", disk.notes);
}

#[test]
fn a_fat_superfloppy_is_a_bare_volume() {
    let mut bytes = disk(4000);
    put(&mut bytes, 0, &samples::fat16(4000));
    let disk = read(bytes);
    assert_eq!(disk.table, Table::None);
    assert_eq!(places(&disk), [(1, 0, 4000, FileSystemKind::Fat12)]);
}

#[test]
fn a_bare_volume_of_4096_byte_sectors_is_measured_in_them() {
    let mut bytes = disk(80);
    put(&mut bytes, 0, &samples::ntfs(4096, 1, 9));
    let disk = read(bytes);
    assert_eq!(disk.sector_size, 4096);
    assert_eq!(places(&disk), [(1, 0, 10, FileSystemKind::Ntfs)]);
}

#[test]
fn a_cut_bare_volume_keeps_its_declared_size_with_a_note() {
    let mut bytes = disk(100);
    put(&mut bytes, 0, &samples::ntfs(512, 8, 999));
    let disk = read(bytes);
    assert_eq!(places(&disk), [(1, 0, 1000, FileSystemKind::Ntfs)]);
    assert_eq!(disk.notes.len(), 1, "{:?}", disk.notes);
}

#[test]
fn mbr_volumes_are_numbered_in_disk_order_and_know_their_file_system() {
    let mut bytes = disk(5000);
    records::write(&mut bytes[..512], &[(0x0C, 4500, 100), (7, 10, 490), (5, 500, 4000)]);
    records::write(&mut bytes[500 * SECTOR..][..512], &[(6, 1, 3999)]);
    put(&mut bytes, 10, &samples::ntfs(512, 8, 489));
    put(&mut bytes, 501, &samples::fat16(3999));
    let disk = read(bytes);
    assert_eq!(disk.table, Table::Mbr);
    let expected = [
        (1, 10, 490, FileSystemKind::Ntfs),
        (2, 501, 3999, FileSystemKind::Fat12),
        (3, 4500, 100, FileSystemKind::Unknown),
    ];
    assert_eq!(places(&disk), expected);
    assert_eq!(disk.volumes[0].role, "0x07 NTFS/exFAT");
    assert!(disk.notes.is_empty(), "{:?}", disk.notes);
}

#[test]
fn an_mbr_of_a_disk_with_4096_byte_sectors_is_told_by_where_its_boot_sectors_are() {
    let mut bytes = disk(8000);
    records::write(&mut bytes[..512], &[(7, 10, 500)]);
    put(&mut bytes, 80, &samples::ntfs(4096, 1, 499));
    let disk = read(bytes);
    assert_eq!(disk.sector_size, 4096);
    assert_eq!(places(&disk), [(1, 10, 500, FileSystemKind::Ntfs)]);
}

#[test]
fn a_partition_behind_the_end_of_the_image_is_kept_and_noted() {
    let mut bytes = disk(1000);
    records::write(&mut bytes[..512], &[(7, 10, 490), (7, 2000, 500)]);
    let disk = read(bytes);
    assert_eq!(places(&disk)[1], (2, 2000, 500, FileSystemKind::Unknown));
    assert_eq!(disk.notes.len(), 1, "{:?}", disk.notes);
    assert!(disk.notes[0].contains("sector 2000"), "{:?}", disk.notes);
}

#[test]
fn a_partition_whose_boot_sector_is_gone_is_known_by_its_backup() {
    let mut bytes = disk(1000);
    records::write(&mut bytes[..512], &[(7, 10, 500)]);
    put(&mut bytes, 509, &samples::ntfs(512, 8, 499));
    let disk = read(bytes);
    assert_eq!(places(&disk), [(1, 10, 500, FileSystemKind::Ntfs)]);
    assert!(disk.notes[0].contains("backup boot sector"), "{:?}", disk.notes);
}

#[test]
fn a_bare_volume_whose_boot_sector_is_gone_is_known_by_its_backup() {
    for (sectors, start) in [(1000, 0), (1300, 300)] {
        let mut bytes = disk(sectors);
        put(&mut bytes, sectors - 1, &samples::ntfs(512, 8, 999));
        let disk = read(bytes);
        assert_eq!(disk.table, Table::None);
        assert_eq!(places(&disk), [(1, start, 1000, FileSystemKind::Ntfs)]);
        assert_eq!(disk.notes.len(), 1, "{:?}", disk.notes);
    }
}

#[test]
fn a_gpt_is_read_and_wins_over_a_hybrid_mbr() {
    let (mut bytes, start) = gpt_disk();
    records::write(&mut bytes[..512], &[(0xEE, 1, 33), (7, 3000, 50)]);
    let disk = read(bytes);
    assert_eq!(disk.table, Table::Gpt);
    assert_eq!(places(&disk)[1], (2, start, 1000, FileSystemKind::Ntfs));
    assert_eq!(disk.volumes[1].name.as_deref(), Some("Data"));
    assert!(disk.notes.is_empty(), "{:?}", disk.notes);
}

#[test]
fn a_gpt_is_found_where_the_first_sectors_are_wiped() {
    let (mut bytes, start) = gpt_disk();
    bytes[..34 * SECTOR].fill(0);
    let disk = read(bytes);
    assert_eq!(disk.table, Table::Gpt);
    assert_eq!(places(&disk)[1], (2, start, 1000, FileSystemKind::Ntfs));
    assert_eq!(disk.notes.len(), 1, "{:?}", disk.notes);
}

#[test]
fn a_gpt_left_over_behind_a_newer_mbr_or_boot_sector_is_not_taken() {
    let (mut bytes, _) = gpt_disk();
    records::write(&mut bytes[..512], &[(7, 100, 3000), (0, 0, 0), (0, 0, 0), (0, 0, 0)]);
    let disk = read(bytes);
    assert_eq!((disk.table, places(&disk)), (Table::Mbr, vec![(1, 100, 3000, FileSystemKind::Unknown)]));
    assert_eq!(disk.notes.len(), 1, "{:?}", disk.notes);

    let (mut bytes, _) = gpt_disk();
    bytes[..34 * SECTOR].fill(0);
    put(&mut bytes, 0, &samples::ntfs(512, 8, 4000));
    let disk = read(bytes);
    assert_eq!((disk.table, places(&disk)), (Table::None, vec![(1, 0, 4001, FileSystemKind::Ntfs)]));
}

#[test]
fn a_gpt_broken_at_both_ends_leaves_what_a_hybrid_mbr_names() {
    let (mut bytes, start) = gpt_disk();
    bytes[SECTOR..34 * SECTOR].fill(0);
    put(&mut bytes, 4095, &[0; SECTOR]);
    records::write(&mut bytes[..512], &[(0xEE, 1, 33), (7, start as u32, 1000)]);
    let disk = read(bytes);
    assert_eq!((disk.table, places(&disk)), (Table::Mbr, vec![(1, start, 1000, FileSystemKind::Ntfs)]));
    assert!(disk.notes[0].contains("protective MBR"), "{:?}", disk.notes);
}

#[test]
fn text_and_zeros_and_next_to_nothing_hold_no_volume_and_say_so() {
    for bytes in [b"Dear reader, this is a letter. ".repeat(100), vec![0; 4096], vec![1]] {
        let disk = read(bytes);
        assert_eq!((disk.table, disk.volumes.len()), (Table::None, 0));
        assert!(disk.notes.iter().any(|n| n.contains("sector 0: expected")), "{:?}", disk.notes);
    }
}

#[test]
fn boot_code_without_a_plausible_table_is_no_table() {
    let mut bytes = disk(1000);
    bytes[..510].iter_mut().zip(1u8..=250).for_each(|(to, b)| *to = b.wrapping_mul(77));
    bytes[446..510].fill(0x33);
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    let disk = read(bytes);
    assert_eq!((disk.table, disk.volumes.len()), (Table::None, 0));
}

#[test]
fn an_extent_covers_exactly_its_volume() {
    let mut bytes = disk(1000);
    records::write(&mut bytes[..512], &[(7, 10, 490)]);
    put(&mut bytes, 10, &samples::ntfs(512, 8, 489));
    let source: Arc<dyn ReadAt> = Arc::new(bytes);
    let extent = Disk::read(source.clone()).unwrap().volumes[0].extent(source);
    assert_eq!((extent.start(), extent.size()), (10 * 512, 490 * 512));
    let mut head = [0; 11];
    extent.read_exact_at(&mut head, 0).unwrap();
    assert_eq!(&head[3..], b"NTFS    ");
}

/// A medium of which the first sector cannot be read.
struct BadSector0(Vec<u8>);

impl ReadAt for BadSector0 {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        if offset < 512 {
            let error = std::io::Error::other("bad sector");
            return Err(ReadError::Medium { what: "disk".to_owned(), offset, len: buf.len() as u64, error });
        }
        self.0.read_at(buf, offset)
    }
}

#[test]
fn an_unreadable_first_sector_is_an_error_only_where_nothing_else_helps() {
    assert!(Disk::read(Arc::new(BadSector0(disk(100)))).is_err());
    let (bytes, start) = gpt_disk();
    let disk = Disk::read(Arc::new(BadSector0(bytes))).unwrap();
    assert_eq!(places(&disk)[1], (2, start, 1000, FileSystemKind::Ntfs));
    assert!(disk.notes[0].contains("bad sector"), "{:?}", disk.notes);
}

proptest! {
    #[test]
    fn any_bytes_make_a_disk_without_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..6000),
        kind in prop::sample::select(vec![0u8, 5, 7, 0x0F, 0xEE]),
    ) {
        if bytes.len() > 520 {
            bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
            bytes[446] = 0;
            bytes[450] = kind;
            bytes[512..520].copy_from_slice(b"EFI PART");
        }
        let disk = Disk::read(Arc::new(bytes)).unwrap();
        prop_assert!(disk.notes.len() <= 65);
    }
}
