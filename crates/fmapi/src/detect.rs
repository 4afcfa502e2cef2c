//! Boot sectors.

use undelfs_volume::{FileSystemKind, boot_sector};

use crate::abi::BootSectorInfo;

/// What a boot sector of NTFS, FAT or BitLocker says of its volume.
pub(crate) fn boot_sector(sector: &[u8]) -> Option<BootSectorInfo> {
    let boot = boot_sector::recognise(sector)?;
    let file_system = match boot.kind {
        FileSystemKind::Fat12 => 1,
        FileSystemKind::Fat16 => 2,
        FileSystemKind::Fat32 => 3,
        FileSystemKind::Ntfs => 4,
        // What is inside of the encryption cannot be known.
        FileSystemKind::BitLocker => 0,
        // The enumeration has no number for the others.
        _ => return None,
    };
    Some(BootSectorInfo {
        total_sectors: i64::try_from(boot.total_sectors).unwrap_or(i64::MAX),
        file_system,
        byte_per_sector: boot.bytes_per_sector,
        sector_per_cluster: boot.sectors_per_cluster,
        is_encrypted: i32::from(boot.kind == FileSystemKind::BitLocker),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(name: &[u8; 8], fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut sector = vec![0; 512];
        sector[..3].copy_from_slice(&[0xEB, 0x52, 0x90]);
        sector[3..11].copy_from_slice(name);
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        for (at, bytes) in fields {
            sector[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        sector
    }

    #[test]
    fn ntfs_gives_its_geometry() {
        let sector =
            sector(b"NTFS    ", &[(11, &[0, 2, 8]), (0x28, &[0x9F, 0x86, 1]), (0x30, &[4]), (0x38, &[2])]);
        let expected = BootSectorInfo {
            total_sectors: 99_999,
            file_system: 4,
            byte_per_sector: 512,
            sector_per_cluster: 8,
            is_encrypted: 0,
        };
        assert_eq!(boot_sector(&sector), Some(expected));
    }

    #[test]
    fn each_fat_has_its_number() {
        let fat = |total: u16| {
            let total = total.to_le_bytes();
            sector(b"MSDOS5.0", &[(11, &[0, 2, 4, 1, 0, 2, 0, 2]), (19, &total), (21, &[0xF8, 80, 0])])
        };
        assert_eq!(boot_sector(&fat(4_000)).unwrap().file_system, 1);
        assert_eq!(boot_sector(&fat(40_000)).unwrap().file_system, 2);
        let fat32 = [(11, &[0, 2, 1, 32, 0, 2][..]), (21, &[0xF8]), (32, &[0x40, 0x0D, 3, 0]), (36, &[0, 8])];
        assert_eq!(boot_sector(&sector(b"MSDOS5.0", &fat32)).unwrap().file_system, 3);
    }

    #[test]
    fn bitlocker_is_encrypted_and_of_no_known_file_system() {
        let info = boot_sector(&sector(b"-FVE-FS-", &[(11, &[0, 2, 8])])).unwrap();
        assert_eq!((info.file_system, info.is_encrypted), (0, 1));
    }

    #[test]
    fn what_the_enumeration_does_not_have_is_no_boot_sector() {
        let exfat = [(72, &[0x70, 0x11, 1][..]), (92, &[0xE8, 3]), (108, &[12, 5, 1])];
        assert_eq!(boot_sector(&sector(b"EXFAT   ", &exfat)), None);
        assert_eq!(boot_sector(&[0; 512]), None);
    }
}
