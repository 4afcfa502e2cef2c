//! A volume that no partition table names, by what the user knows of it.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::sync::Arc;

use undelfs_source::{ErrorKind, ReadAt, bytes::u64_at};

use crate::{
    Error, FileSystemKind, Volume,
    boot_sector::{self, BootSector, recognise},
    disk::read_boot_sector,
};

/// The lost volume that starts at `start_sector`, or whose first or last sector is `boot_sector`, in sectors of
/// `sector_size` bytes. Of both, `start_sector` says where it starts, and `boot_sector` how long it is.
///
/// With a boot sector of NTFS alone, `$MFT` and the other copy of the boot sector tell which end it is.
///
/// # Errors
/// When neither is given, there is no boot sector, or the volume would start before the source or behind it.
pub fn lost_volume(
    source: &Arc<dyn ReadAt>,
    start_sector: Option<u64>,
    boot_sector: Option<u64>,
    sector_size: u32,
) -> Result<Volume, Error> {
    let Some(boot_at) = boot_sector.or(start_sector) else {
        return Err(refused(
            "neither a start sector nor a boot sector is given; give one of them".to_owned(),
        ));
    };
    if sector_size == 0 {
        return Err(refused("a sector cannot have 0 bytes; give its size, usually 512 or 4096".to_owned()));
    }
    let sectors = source.size().checked_div(u64::from(sector_size)).unwrap_or(0);
    for (name, given) in [("start sector", start_sector), ("boot sector", boot_sector)] {
        if let Some(given) = given.filter(|&given| given >= sectors) {
            return Err(refused(format!(
                "{name} {given} is behind the end: the source has {sectors} sectors of {sector_size} bytes; give a \
                 smaller number"
            )));
        }
    }

    let sector = read_boot_sector(source, boot_at, sector_size)?;
    let Some(boot) = recognise(&sector) else {
        return Err(Error::Structure {
            structure: "boot sector",
            at: boot_at.saturating_mul(u64::from(sector_size)),
            expected: "that of NTFS, FAT, exFAT, ReFS or BitLocker".to_owned(),
            found: boot_sector::describe(&sector),
            advice: "check the sector number; for NTFS the last sector of the volume serves as well, as boot sector",
        });
    };
    let length = boot.volume_len().map(|len| len.div_ceil(u64::from(sector_size)));
    let start = match (start_sector, length) {
        (Some(start), _) => start,
        (None, Some(length)) if boot.kind == FileSystemKind::Ntfs => {
            ntfs_start(source, &sector, boot, boot_at, length, sector_size)
        }
        (None, _) => boot_at,
    };
    // BitLocker does not say in the boot sector how long its volume is; it cannot be longer than the source.
    let length = length.unwrap_or_else(|| sectors.saturating_sub(start));
    Ok(Volume::unlisted("Lost volume", start, length, sector_size, boot))
}

fn refused(reason: String) -> Error {
    Error::Refused { kind: ErrorKind::InvalidInput, reason }
}

/// Where the volume starts of which the NTFS boot sector in sector `boot_at` is the first or the last sector: there,
/// unless more speaks for the other end.
fn ntfs_start(
    source: &dyn ReadAt,
    sector: &[u8; boot_sector::LEN],
    boot: BootSector,
    boot_at: u64,
    length: u64,
    sector_size: u32,
) -> u64 {
    let last = length.saturating_sub(1);
    let Some(other_start) = boot_at.checked_sub(last) else {
        return boot_at;
    };
    let other_copy = |at: u64| read_boot_sector(source, at, sector_size).is_ok_and(|copy| copy == *sector);
    let evidence = |start: u64, copy_at: u64| {
        // LCNs of $MFT and $MFTMirr.
        let [mft, mirror] =
            [0x30, 0x38].map(|field| is_file_record(source, sector, field, boot, start, sector_size));
        [(mft, 2u32), (mirror, 1), (other_copy(copy_at), 1)]
            .iter()
            .fold(0u32, |sum, (found, weight)| if *found { sum.saturating_add(*weight) } else { sum })
    };
    let as_first = evidence(boot_at, boot_at.saturating_add(last));
    let as_last = evidence(other_start, other_start);
    if as_last > as_first { other_start } else { boot_at }
}

/// Whether a FILE record is at the cluster that the boot sector's field names, if the volume starts at `start`.
fn is_file_record(
    source: &dyn ReadAt,
    sector: &[u8],
    field: usize,
    boot: BootSector,
    start: u64,
    sector_size: u32,
) -> bool {
    let place = || {
        let cluster = u64::from(boot.bytes_per_sector).checked_mul(u64::from(boot.sectors_per_cluster))?;
        let inside = u64_at(sector, field)?.checked_mul(cluster)?;
        start.checked_mul(u64::from(sector_size))?.checked_add(inside)
    };
    let mut magic = [0; 4];
    place().is_some_and(|at| source.read_exact_at(&mut magic, at).is_ok()) && magic == *b"FILE"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::boot_sector::samples;

    /// A disk of `sectors` with an NTFS volume of 1000 sectors from sector 300 on, `$MFT` in its cluster 4.
    fn disk(copies: &[usize], sectors: usize) -> Arc<dyn ReadAt> {
        let mut bytes = vec![0; sectors * 512];
        let boot = samples::ntfs(512, 8, 999);
        for at in copies {
            bytes[at * 512..][..512].copy_from_slice(&boot);
        }
        bytes[(300 + 4 * 8) * 512..][..4].copy_from_slice(b"FILE");
        Arc::new(bytes)
    }

    fn place(result: Result<Volume, Error>) -> (u64, u64, FileSystemKind) {
        let volume = result.unwrap();
        (volume.start_sector, volume.sectors, volume.file_system)
    }

    #[test]
    fn either_boot_sector_of_ntfs_gives_the_same_volume() {
        let expected = (300, 1000, FileSystemKind::Ntfs);
        for copies in [&[300, 1299][..], &[300], &[1299]] {
            let source = disk(copies, 2000);
            for &at in copies {
                assert_eq!(place(lost_volume(&source, None, Some(at as u64), 512)), expected, "{copies:?}");
            }
        }
        assert_eq!(place(lost_volume(&disk(&[300], 2000), Some(300), None, 512)), expected);
    }

    #[test]
    fn of_both_numbers_the_start_sector_wins_as_the_start() {
        let source = disk(&[1299], 2000);
        let expected = (250, 1000, FileSystemKind::Ntfs);
        assert_eq!(place(lost_volume(&source, Some(250), Some(1299), 512)), expected);
    }

    #[test]
    fn a_volume_of_4096_byte_sectors_is_given_in_the_sectors_of_the_disk() {
        let mut bytes = vec![0; 2000 * 512];
        bytes[80 * 512..][..512].copy_from_slice(&samples::ntfs(4096, 1, 99));
        let source: Arc<dyn ReadAt> = Arc::new(bytes);
        assert_eq!(place(lost_volume(&source, Some(10), None, 4096)), (10, 100, FileSystemKind::Ntfs));
        assert_eq!(place(lost_volume(&source, Some(80), None, 512)), (80, 800, FileSystemKind::Ntfs));
    }

    #[test]
    fn the_first_sector_of_other_file_systems_gives_their_extent() {
        let mut bytes = vec![0; 6000 * 512];
        bytes[70 * 512..][..512].copy_from_slice(&samples::fat16(5000));
        let source: Arc<dyn ReadAt> = Arc::new(bytes);
        assert_eq!(place(lost_volume(&source, None, Some(70), 512)), (70, 5000, FileSystemKind::Fat12));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let source = disk(&[300], 2000);
        let invalid = |result: Result<Volume, Error>| result.unwrap_err().kind() == ErrorKind::InvalidInput;
        assert!(invalid(lost_volume(&source, None, None, 512)));
        assert!(invalid(lost_volume(&source, Some(300), None, 0)));
        assert!(invalid(lost_volume(&source, Some(2000), None, 512)));
        assert!(invalid(lost_volume(&source, Some(300), Some(u64::MAX), 512)));
        let error = lost_volume(&source, Some(301), None, 512).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let sentence = error.to_string();
        assert!(
            sentence.contains(&format!("byte {}", 301 * 512)) && sentence.contains("zeros"),
            "{sentence}"
        );
    }

    proptest! {
        #[test]
        fn any_geometry_and_any_sectors_give_a_volume_or_an_error(
            fields in prop::collection::vec(any::<u8>(), 32),
            start in prop::option::of(0u64..5),
            boot in prop::option::of(0u64..5),
            size in prop::sample::select(vec![0u32, 1, 512, 4096]),
        ) {
            let mut sector = samples::ntfs(512, 8, 1);
            sector[0x28..0x48].copy_from_slice(&fields);
            sector[0x2F] &= 0x7F;
            sector[0x37] &= 0x7F;
            let source: Arc<dyn ReadAt> = Arc::new(sector.repeat(4));
            let _ = lost_volume(&source, start, boot, size);
        }
    }
}
