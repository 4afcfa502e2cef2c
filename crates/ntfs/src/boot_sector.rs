//! The boot sector: where the master file table is and how large things are.

use undelfs_source::ReadAt;
use undelfs_volume::Error;
use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    little_endian::{U16, U64},
};

/// The fields of the boot sector that reading needs; offsets as in the `$Boot` file.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    jump: [u8; 3],
    oem_id: [u8; 8],
    bytes_per_sector: U16,
    sectors_per_cluster: u8,
    unused_1: [u8; 26],
    total_sectors: U64,
    mft: U64,
    mft_mirror: U64,
    record_size: i8,
    unused_2: [u8; 3],
    index_size: i8,
    unused_3: [u8; 3],
    serial: U64,
}

/// The geometry of an NTFS volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootSector {
    /// Logical sector size in bytes, 256 to 4096.
    pub bytes_per_sector: u32,
    /// Cluster size in bytes, up to 2 MiB.
    pub bytes_per_cluster: u32,
    /// Sectors of the volume; the backup of the boot sector is in the one after them.
    pub total_sectors: u64,
    /// First cluster of `$MFT`.
    pub mft: u64,
    /// First cluster of `$MFTMirr`.
    pub mft_mirror: u64,
    /// Size of a FILE record in bytes.
    pub record_size: u32,
    /// Volume serial number.
    pub serial: u64,
}

/// Largest cluster that Windows makes, in bytes.
const MAX_CLUSTER: u32 = 2 << 20;

impl BootSector {
    /// The geometry of a volume of `size` bytes whose boot sectors are lost.
    pub(crate) fn assumed(size: u64, bytes_per_cluster: u32, record_size: u32) -> Self {
        let bytes_per_sector = 512;
        Self {
            bytes_per_sector,
            bytes_per_cluster,
            total_sectors: size.checked_div(bytes_per_sector.into()).unwrap_or(0),
            mft: 0,
            mft_mirror: 0,
            record_size,
            serial: 0,
        }
    }

    /// Clusters of the volume.
    pub fn clusters(&self) -> u64 {
        let bytes = self.total_sectors.saturating_mul(u64::from(self.bytes_per_sector));
        bytes.checked_div(u64::from(self.bytes_per_cluster)).unwrap_or(0)
    }

    /// Reads the geometry from the first 512 bytes of a boot sector that stands at byte `at` of the volume.
    ///
    /// # Errors
    /// [`Error::Structure`] that names the first field that makes no sense.
    pub fn parse(sector: &[u8], at: u64) -> Result<Self, Error> {
        let wrong = |expected: &str, found: String| Error::Structure {
            structure: "NTFS boot sector",
            at,
            expected: expected.to_owned(),
            found,
            advice: "this is no NTFS volume or its boot sector is damaged; `undelfs volumes` lists what the source holds",
        };
        let (boot, _) = Layout::ref_from_prefix(sector)
            .map_err(|_| wrong("512 bytes", format!("{} bytes", sector.len())))?;
        if boot.oem_id != *b"NTFS    " {
            return Err(wrong("the signature `NTFS    `", format!("{:02x?}", boot.oem_id)));
        }
        let bytes_per_sector = u32::from(boot.bytes_per_sector.get());
        if !bytes_per_sector.is_power_of_two() || !(256..=4096).contains(&bytes_per_sector) {
            return Err(wrong("a sector size of 256 to 4096 bytes", format!("{bytes_per_sector}")));
        }
        // Up to 128 the field counts sectors; from 244 on it is 256 less the exponent of two.
        let sectors_per_cluster = match boot.sectors_per_cluster {
            n @ 1..=128 => u32::from(n),
            n @ 244..=255 => 1_u32.checked_shl(u32::from(n.wrapping_neg())).unwrap_or(0),
            _ => 0,
        };
        let bytes_per_cluster = bytes_per_sector.saturating_mul(sectors_per_cluster);
        if !sectors_per_cluster.is_power_of_two() || bytes_per_cluster > MAX_CLUSTER {
            return Err(wrong(
                "a power of two of sectors per cluster, at most 2 MiB",
                format!("the value {}", boot.sectors_per_cluster),
            ));
        }
        let record_size = size_in_clusters(boot.record_size, bytes_per_cluster)
            .filter(|size| (512..=65536).contains(size))
            .ok_or_else(|| wrong("a FILE record of 512 to 65536 bytes", format!("{}", boot.record_size)))?;
        let found = Self {
            bytes_per_sector,
            bytes_per_cluster,
            total_sectors: boot.total_sectors.get(),
            mft: boot.mft.get(),
            mft_mirror: boot.mft_mirror.get(),
            record_size,
            serial: boot.serial.get(),
        };
        if found.clusters() == 0 || found.total_sectors > u64::MAX >> 13 {
            return Err(wrong("a number of sectors", format!("{}", found.total_sectors)));
        }
        if found.mft >= found.clusters() && found.mft_mirror >= found.clusters() {
            return Err(wrong(
                "`$MFT` or `$MFTMirr` inside the volume",
                format!("clusters {} and {} of {}", found.mft, found.mft_mirror, found.clusters()),
            ));
        }
        Ok(found)
    }

    /// Reads the boot sector of a volume, or where that is damaged its backup at the volume's end. The second
    /// value is a note about damage.
    ///
    /// # Errors
    /// When neither is sound: the error of the first.
    pub fn of_volume(volume: &dyn ReadAt) -> Result<(Self, Option<String>), Error> {
        let first = match read_512(volume, 0).and_then(|sector| Self::parse(&sector, 0)) {
            Ok(boot) => return Ok((boot, None)),
            Err(error) => error,
        };
        for sector_size in [volume.sector_size(), 512, 4096] {
            let Some(at) = volume.size().checked_sub(u64::from(sector_size)) else {
                continue;
            };
            if let Ok(boot) = read_512(volume, at).and_then(|sector| Self::parse(&sector, at)) {
                let note = format!("{first}; its backup in the last sector is used instead");
                return Ok((boot, Some(note)));
            }
        }
        Err(first)
    }
}

fn read_512(volume: &dyn ReadAt, at: u64) -> Result<[u8; 512], Error> {
    let mut sector = [0; 512];
    volume.read_exact_at(&mut sector, at)?;
    Ok(sector)
}

/// A size that is given in clusters where positive, else as the exponent of two of a number of bytes.
fn size_in_clusters(value: i8, cluster: u32) -> Option<u32> {
    let size = match value {
        1.. => cluster.checked_mul(u32::from(value.unsigned_abs()))?,
        0 => return None,
        _ => 1_u32.checked_shl(u32::from(value.unsigned_abs()))?,
    };
    size.is_power_of_two().then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sector(sectors_per_cluster: u8, record_size: i8) -> [u8; 512] {
        let mut s = [0; 512];
        s[3..11].copy_from_slice(b"NTFS    ");
        s[11..13].copy_from_slice(&512_u16.to_le_bytes());
        s[13] = sectors_per_cluster;
        s[40..48].copy_from_slice(&1_000_000_u64.to_le_bytes());
        s[48..56].copy_from_slice(&4_u64.to_le_bytes());
        s[56..64].copy_from_slice(&8_u64.to_le_bytes());
        s[64] = record_size.to_le_bytes()[0];
        s[72..80].copy_from_slice(&0x1234_u64.to_le_bytes());
        s
    }

    #[test]
    fn geometry_is_read_from_the_fields() {
        let boot = BootSector::parse(&sector(8, -10), 0).unwrap();
        assert_eq!((boot.bytes_per_cluster, boot.record_size, boot.clusters()), (4096, 1024, 125_000));
        assert_eq!((boot.mft, boot.mft_mirror, boot.serial), (4, 8, 0x1234));
    }

    #[test]
    fn clusters_above_64_kib_are_written_as_an_exponent() {
        let boot = BootSector::parse(&sector(244, -10), 0).unwrap();
        assert_eq!(boot.bytes_per_cluster, 2 << 20);
        assert_eq!(BootSector::parse(&sector(128, -12), 0).unwrap().bytes_per_cluster, 64 << 10);
        assert!(BootSector::parse(&sector(200, -10), 0).is_err());
    }

    #[test]
    fn record_sizes_in_clusters_are_understood() {
        assert_eq!(BootSector::parse(&sector(1, 2), 0).unwrap().record_size, 1024);
        assert!(BootSector::parse(&sector(1, 3), 0).is_err());
        assert!(BootSector::parse(&sector(1, 0), 0).is_err());
    }

    #[test]
    fn the_backup_in_the_last_sector_serves_when_the_first_is_gone() {
        let mut volume = vec![0; 8192];
        volume[7680..].copy_from_slice(&sector(8, -10));
        let (boot, note) = BootSector::of_volume(&volume).unwrap();
        assert_eq!(boot.mft, 4);
        assert!(note.unwrap().contains("at byte 0"));
        assert!(BootSector::of_volume(&vec![0_u8; 8192]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_fail_otherwise_than_by_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = BootSector::parse(&bytes, 0);
            if let Some(id) = bytes.get_mut(3..11) {
                id.copy_from_slice(b"NTFS    ");
            }
            if let Ok(boot) = BootSector::parse(&bytes, 0) {
                prop_assert!(boot.bytes_per_cluster.is_power_of_two() && boot.clusters() > 0);
            }
        }
    }
}
