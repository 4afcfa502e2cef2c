//! Recognising a file system by the first sector of its volume.
//!
//! Layouts: NTFS by the public NTFS headers, FAT by Microsoft's FAT specification (fatgen103), exFAT by
//! Microsoft's exFAT specification, ReFS and BitLocker by the libyal documentation.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use undelfs_source::bytes::{array, u16_at, u32_at, u64_at};

use crate::FileSystemKind;

/// Bytes of a sector that [`recognise`] looks at.
pub const LEN: usize = 512;

/// Largest cluster of NTFS and of the others but exFAT, in bytes.
pub(crate) const MAX_CLUSTER: u64 = 2 << 20;
/// Largest cluster of exFAT, in bytes.
const MAX_EXFAT_CLUSTER: u64 = 32 << 20;

/// Identifier of BitLocker To Go at byte 424: 4967D63B-2E29-4AD8-8399-F6A339E3D001.
const TO_GO: [u8; 16] =
    [0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01];
/// Identifier of a BitLocker To Go volume of which only used space is encrypted:
/// 92A84D3B-DD80-4D0E-9E4E-B1E3284EAED8.
const TO_GO_USED_SPACE: [u8; 16] =
    [0x3B, 0x4D, 0xA8, 0x92, 0x80, 0xDD, 0x0E, 0x4D, 0x9E, 0x4E, 0xB1, 0xE3, 0x28, 0x4E, 0xAE, 0xD8];

/// The geometry that a boot sector states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootSector {
    /// What is on the volume.
    pub kind: FileSystemKind,
    /// Logical sector size in bytes.
    pub bytes_per_sector: u32,
    /// Sectors of a cluster.
    pub sectors_per_cluster: u32,
    /// Sectors of the volume, as the boot sector counts them: NTFS leaves out its backup boot sector, and
    /// BitLocker since Windows 7 writes zero.
    pub total_sectors: u64,
}

impl BootSector {
    /// Length of the volume in bytes, the backup boot sector of NTFS included; `None` where the boot sector does
    /// not say it.
    pub fn volume_len(&self) -> Option<u64> {
        let backup = u64::from(self.kind == FileSystemKind::Ntfs);
        let sectors = self.total_sectors.checked_add(backup)?;
        sectors.checked_mul(u64::from(self.bytes_per_sector)).filter(|_| self.total_sectors > 0)
    }
}

/// What `sector`, the first of a volume, says that the volume holds; `None` where that is nothing known, or the
/// sector is shorter than [`LEN`].
pub fn recognise(sector: &[u8]) -> Option<BootSector> {
    let sector = sector.get(..LEN)?;
    match &array::<8>(sector, 3)? {
        b"NTFS    " => ntfs(sector),
        b"EXFAT   " => exfat(sector),
        b"-FVE-FS-" => bitlocker(sector),
        b"ReFS\0\0\0\0" => refs(sector),
        b"MSWIN4.1" if is_to_go(sector) => bitlocker(sector),
        _ => fat(sector),
    }
}

/// The first bytes of a sector in hexadecimal, to say in an error what was found.
pub(crate) fn describe(sector: &[u8]) -> String {
    let head = sector.get(..16).unwrap_or(sector);
    if head.iter().all(|&b| b == 0) {
        return "zeros".to_owned();
    }
    let hex: Vec<String> = head.iter().map(|b| format!("{b:02X}")).collect();
    format!("the bytes {}", hex.join(" "))
}

fn has_signature(sector: &[u8]) -> bool {
    array::<2>(sector, 510) == Some([0x55, 0xAA])
}

fn is_to_go(sector: &[u8]) -> bool {
    matches!(array::<16>(sector, 424), Some(TO_GO | TO_GO_USED_SPACE))
}

/// A sector size that media have.
fn sector_size(bytes: u32) -> Option<u32> {
    (bytes.is_power_of_two() && (256..=4096).contains(&bytes)).then_some(bytes)
}

/// A cluster that a file system can have.
fn cluster(bytes_per_sector: u32, sectors: u32, max: u64) -> Option<u32> {
    let bytes = u64::from(bytes_per_sector).checked_mul(u64::from(sectors))?;
    (sectors.is_power_of_two() && bytes <= max).then_some(sectors)
}

/// Sectors of a cluster as NTFS writes them: the number, or from 240 on the negative of its binary logarithm.
fn ntfs_sectors_per_cluster(code: u8) -> Option<u32> {
    match code {
        0..=128 => Some(u32::from(code)),
        240..=255 => 1u32.checked_shl(256u32.checked_sub(u32::from(code))?),
        _ => None,
    }
}

fn ntfs(sector: &[u8]) -> Option<BootSector> {
    let bytes_per_sector = sector_size(u32::from(u16_at(sector, 11)?))?;
    let code = array::<1>(sector, 13)?[0];
    let sectors_per_cluster = cluster(bytes_per_sector, ntfs_sectors_per_cluster(code)?, MAX_CLUSTER)?;
    // Reserved sectors, FATs, root entries, sectors (16 bits), sectors of a FAT and sectors (32 bits) are FAT's.
    let fat_only = sector.get(14..21)?.iter().chain(sector.get(22..24)?).chain(sector.get(32..36)?);
    let total_sectors = u64_at(sector, 0x28)?;
    let mft = u64_at(sector, 0x30)?;
    let signed = |n: u64| n > 0 && i64::try_from(n).is_ok();
    let sound = fat_only.copied().all(|b| b == 0) && signed(total_sectors) && signed(mft);
    sound.then_some(BootSector {
        kind: FileSystemKind::Ntfs,
        bytes_per_sector,
        sectors_per_cluster,
        total_sectors,
    })
}

fn exfat(sector: &[u8]) -> Option<BootSector> {
    let zeros = sector.get(11..64)?.iter().all(|&b| b == 0);
    let [sector_shift, cluster_shift, fats] = array::<3>(sector, 108)?;
    let bytes_per_sector = sector_size(1u32.checked_shl(u32::from(sector_shift))?).filter(|&n| n >= 512)?;
    let sectors_per_cluster =
        cluster(bytes_per_sector, 1u32.checked_shl(u32::from(cluster_shift))?, MAX_EXFAT_CLUSTER)?;
    let total_sectors = u64_at(sector, 72)?;
    let clusters = u32_at(sector, 92)?;
    let sound =
        zeros && has_signature(sector) && (1..=2).contains(&fats) && total_sectors > 0 && clusters > 0;
    sound.then_some(BootSector {
        kind: FileSystemKind::ExFat,
        bytes_per_sector,
        sectors_per_cluster,
        total_sectors,
    })
}

fn refs(sector: &[u8]) -> Option<BootSector> {
    let total_sectors = u64_at(sector, 24)?;
    let bytes_per_sector = sector_size(u32_at(sector, 32)?)?;
    let sectors_per_cluster = cluster(bytes_per_sector, u32_at(sector, 36)?, MAX_CLUSTER)?;
    let sound = array::<4>(sector, 16)? == *b"FSRS" && total_sectors > 0;
    sound.then_some(BootSector {
        kind: FileSystemKind::ReFs,
        bytes_per_sector,
        sectors_per_cluster,
        total_sectors,
    })
}

/// The signature alone tells BitLocker. Where the rest of the sector makes no sense the usual geometry is assumed: what
/// counts stands in the metadata.
fn bitlocker(sector: &[u8]) -> Option<BootSector> {
    let bytes_per_sector = sector_size(u32::from(u16_at(sector, 11)?)).unwrap_or(512);
    let code = array::<1>(sector, 13)?[0];
    let sectors_per_cluster = ntfs_sectors_per_cluster(code)
        .and_then(|sectors| cluster(bytes_per_sector, sectors, MAX_CLUSTER))
        .unwrap_or(8);
    let total_sectors = if is_to_go(sector) {
        match u16_at(sector, 19)? {
            0 => u64::from(u32_at(sector, 32)?),
            small => u64::from(small),
        }
    } else {
        // Windows Vista leaves what NTFS has written there, which leaves out its backup boot sector.
        match u64_at(sector, 0x28)? {
            0 => 0,
            sectors => sectors.saturating_add(1),
        }
    };
    Some(BootSector { kind: FileSystemKind::BitLocker, bytes_per_sector, sectors_per_cluster, total_sectors })
}

/// FAT has no magic number of its own, so every field of the BIOS parameter block has to fit the others.
fn fat(sector: &[u8]) -> Option<BootSector> {
    let jump = array::<3>(sector, 0)?;
    if !(matches!(jump, [0xEB, _, 0x90] | [0xE9, _, _]) && has_signature(sector)) {
        return None;
    }
    let bytes_per_sector = sector_size(u32::from(u16_at(sector, 11)?)).filter(|&n| n >= 512)?;
    let [per_cluster, ..] = array::<1>(sector, 13)?;
    let sectors_per_cluster = cluster(bytes_per_sector, u32::from(per_cluster), 256 << 10)?;
    let reserved = u64::from(u16_at(sector, 14)?);
    let [fats] = array::<1>(sector, 16)?;
    let root_entries = u64::from(u16_at(sector, 17)?);
    let [media] = array::<1>(sector, 21)?;
    let small = u64::from(u16_at(sector, 19)?);
    let total = if small > 0 { small } else { u64::from(u32_at(sector, 32)?) };
    let fat16_sectors = u64::from(u16_at(sector, 22)?);
    // Only the layout of FAT32 has no 16-bit FAT size.
    let fat32 = fat16_sectors == 0;
    let fat_sectors = if fat32 { u64::from(u32_at(sector, 36)?) } else { fat16_sectors };

    let root_sectors = root_entries.checked_mul(32)?.div_ceil(u64::from(bytes_per_sector));
    let overhead =
        reserved.checked_add(u64::from(fats).checked_mul(fat_sectors)?)?.checked_add(root_sectors)?;
    let clusters = total.checked_sub(overhead)?.checked_div(u64::from(sectors_per_cluster))?;
    let kind = match clusters {
        _ if fat32 => FileSystemKind::Fat32,
        ..4085 => FileSystemKind::Fat12,
        _ => FileSystemKind::Fat16,
    };
    let entry_bits = match kind {
        FileSystemKind::Fat32 => 32u64,
        FileSystemKind::Fat16 => 16,
        _ => 12,
    };
    let needed = clusters.checked_add(2)?.checked_mul(entry_bits)?.div_ceil(8);
    let has = fat_sectors.checked_mul(u64::from(bytes_per_sector))?;
    let sound = reserved > 0
        && (1..=2).contains(&fats)
        && (media == 0xF0 || media >= 0xF8)
        && clusters > 0
        && (fat32 == (root_entries == 0))
        && (fat32 || clusters < 65_525)
        && has >= needed;
    sound.then_some(BootSector { kind, bytes_per_sector, sectors_per_cluster, total_sectors: total })
}

#[cfg(test)]
pub(crate) mod samples {
    //! Boot sectors made field by field.

    use super::*;

    fn put(sector: &mut [u8], at: usize, bytes: &[u8]) {
        sector[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn base(jump: [u8; 3], name: &[u8; 8], bytes_per_sector: u16, per_cluster: u8) -> Vec<u8> {
        let mut sector = vec![0; LEN];
        put(&mut sector, 0, &jump);
        put(&mut sector, 3, name);
        put(&mut sector, 11, &bytes_per_sector.to_le_bytes());
        sector[13] = per_cluster;
        put(&mut sector, 510, &[0x55, 0xAA]);
        sector
    }

    /// NTFS whose volume has `total + 1` sectors, `$MFT` at cluster 4.
    pub(crate) fn ntfs(bytes_per_sector: u16, per_cluster: u8, total: u64) -> Vec<u8> {
        let mut sector = base([0xEB, 0x52, 0x90], b"NTFS    ", bytes_per_sector, per_cluster);
        sector[21] = 0xF8;
        put(&mut sector, 0x28, &total.to_le_bytes());
        put(&mut sector, 0x30, &4u64.to_le_bytes());
        put(&mut sector, 0x38, &2u64.to_le_bytes());
        sector
    }

    pub(crate) fn fat16(total: u16) -> Vec<u8> {
        let mut sector = base([0xEB, 0x3C, 0x90], b"mkfs.fat", 512, 4);
        put(&mut sector, 14, &1u16.to_le_bytes());
        sector[16] = 2;
        put(&mut sector, 17, &512u16.to_le_bytes());
        put(&mut sector, 19, &total.to_le_bytes());
        sector[21] = 0xF8;
        put(&mut sector, 22, &80u16.to_le_bytes());
        sector
    }

    pub(crate) fn fat32(total: u32) -> Vec<u8> {
        let mut sector = base([0xEB, 0x58, 0x90], b"MSDOS5.0", 512, 1);
        put(&mut sector, 14, &32u16.to_le_bytes());
        sector[16] = 2;
        sector[21] = 0xF8;
        put(&mut sector, 32, &total.to_le_bytes());
        put(&mut sector, 36, &2048u32.to_le_bytes());
        sector
    }

    pub(crate) fn exfat(total: u64) -> Vec<u8> {
        let mut sector = base([0xEB, 0x76, 0x90], b"EXFAT   ", 0, 0);
        put(&mut sector, 72, &total.to_le_bytes());
        put(&mut sector, 92, &1000u32.to_le_bytes());
        put(&mut sector, 108, &[12, 5, 1]);
        sector
    }

    pub(crate) fn refs(total: u64) -> Vec<u8> {
        let mut sector = base([0, 0, 0], b"ReFS\0\0\0\0", 0, 0);
        put(&mut sector, 16, b"FSRS");
        put(&mut sector, 24, &total.to_le_bytes());
        put(&mut sector, 32, &512u32.to_le_bytes());
        put(&mut sector, 36, &128u32.to_le_bytes());
        sector
    }

    pub(crate) fn bitlocker() -> Vec<u8> {
        base([0xEB, 0x58, 0x90], b"-FVE-FS-", 512, 8)
    }

    pub(crate) fn bitlocker_to_go(total: u32) -> Vec<u8> {
        let mut sector = fat32(total);
        put(&mut sector, 3, b"MSWIN4.1");
        put(&mut sector, 424, &TO_GO);
        sector
    }
}

#[cfg(test)]
mod tests {
    use FileSystemKind::{BitLocker, ExFat, Fat12, Fat16, Fat32, Ntfs, ReFs};
    use proptest::prelude::*;

    use super::*;

    fn seen(sector: &[u8]) -> Option<(FileSystemKind, u32, u32, u64)> {
        recognise(sector).map(|b| (b.kind, b.bytes_per_sector, b.sectors_per_cluster, b.total_sectors))
    }

    #[test]
    fn each_file_system_is_told_with_its_geometry() {
        assert_eq!(seen(&samples::ntfs(512, 8, 99_999)), Some((Ntfs, 512, 8, 99_999)));
        assert_eq!(seen(&samples::ntfs(4096, 1, 5_000)), Some((Ntfs, 4096, 1, 5_000)));
        assert_eq!(seen(&samples::fat16(40_000)), Some((Fat16, 512, 4, 40_000)));
        assert_eq!(seen(&samples::fat16(4_000)), Some((Fat12, 512, 4, 4_000)));
        assert_eq!(seen(&samples::fat32(200_000)), Some((Fat32, 512, 1, 200_000)));
        assert_eq!(seen(&samples::exfat(70_000)), Some((ExFat, 4096, 32, 70_000)));
        assert_eq!(seen(&samples::refs(70_000)), Some((ReFs, 512, 128, 70_000)));
        assert_eq!(seen(&samples::bitlocker()), Some((BitLocker, 512, 8, 0)));
        let mut damaged = samples::bitlocker();
        damaged[11..500].fill(0);
        assert_eq!(seen(&damaged), Some((BitLocker, 512, 8, 0)));
        assert_eq!(seen(&samples::bitlocker_to_go(200_000)), Some((BitLocker, 512, 1, 200_000)));
    }

    #[test]
    fn clusters_of_ntfs_reach_two_mebibytes_and_no_further() {
        assert_eq!(seen(&samples::ntfs(512, 0xF4, 9)), Some((Ntfs, 512, 4096, 9)));
        assert_eq!(seen(&samples::ntfs(512, 0xF3, 9)), None);
        assert_eq!(seen(&samples::ntfs(512, 200, 9)), None);
        assert_eq!(seen(&samples::ntfs(512, 3, 9)), None);
        assert_eq!(seen(&samples::ntfs(512, 0, 9)), None);
    }

    #[test]
    fn a_volume_of_ntfs_is_one_sector_longer_than_it_says() {
        assert_eq!(recognise(&samples::ntfs(512, 8, 9)).unwrap().volume_len(), Some(10 * 512));
        assert_eq!(recognise(&samples::fat16(40_000)).unwrap().volume_len(), Some(40_000 * 512));
        assert_eq!(recognise(&samples::bitlocker()).unwrap().volume_len(), None);
    }

    #[test]
    fn ntfs_is_known_without_the_signature_at_the_end() {
        let mut sector = samples::ntfs(512, 8, 9);
        sector[510..].fill(0);
        assert!(recognise(&sector).is_some());
    }

    #[test]
    fn text_boot_code_and_implausible_parameter_blocks_are_no_fat() {
        assert_eq!(recognise(&b"The quick brown fox ".repeat(26)), None);
        assert_eq!(recognise(&[0; LEN]), None);
        assert_eq!(recognise(&samples::ntfs(512, 8, 9)[..511]), None);
        let broken: [(usize, &[u8]); 8] = [
            (0, &[0xFA]),
            (11, &[1]),
            (13, &[3]),
            (14, &[0, 0]),
            (16, &[0]),
            (21, &[7]),
            (22, &[1]),
            (510, &[0]),
        ];
        for (at, bytes) in broken {
            let mut sector = samples::fat16(40_000);
            sector[at..at + bytes.len()].copy_from_slice(bytes);
            assert_eq!(recognise(&sector), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_recognised_or_not_without_panic(
            mut sector in prop::collection::vec(any::<u8>(), 0..600),
            name in prop::sample::select(vec![
                b"NTFS    ", b"EXFAT   ", b"-FVE-FS-", b"ReFS\0\0\0\0", b"MSWIN4.1", b"        ",
            ]),
        ) {
            if let Some(field) = sector.get_mut(3..11) {
                field.copy_from_slice(name);
            }
            if let Some(end) = sector.get_mut(510..512) {
                end.copy_from_slice(&[0x55, 0xAA]);
            }
            if let Some(boot) = recognise(&sector) {
                prop_assert!(boot.bytes_per_sector.is_power_of_two());
                prop_assert!(boot.sectors_per_cluster.is_power_of_two());
            }
        }
    }
}
