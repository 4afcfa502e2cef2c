//! NTFS volumes by a boot sector, or by their records alone.

use undelfs_source::{
    ReadAt,
    bytes::{array, u64_at},
};

use super::{
    evidence::Evidence,
    mft::{self, ByRecords, Places},
    resolve::{Found, Sector, judge},
};
use crate::{
    BootSector, FileSystemKind,
    boot_sector::{LEN, recognise},
};

/// Sector size in bytes that is written where only records tell of a volume; nothing but counting depends on it.
const SECTOR: u64 = 512;

/// The volume that the boot sector at byte `at` belongs to.
pub(super) fn by_boot_sector(
    source: &dyn ReadAt,
    at: u64,
    sector: &Sector,
    boot: BootSector,
) -> Option<Found> {
    let bytes_per_sector = u64::from(boot.bytes_per_sector);
    let cluster = bytes_per_sector.checked_mul(u64::from(boot.sectors_per_cluster)).filter(|len| *len > 0)?;
    let stated = boot.total_sectors.checked_mul(bytes_per_sector)?;
    let clusters = stated.checked_div(cluster)?;
    let places = Places { cluster, mft: u64_at(sector, 0x30)?, mirror: u64_at(sector, 0x38)? };
    let tables = |start: u64| {
        let has = |lcn: u64| {
            let at = lcn.checked_mul(cluster).and_then(|inside| start.checked_add(inside));
            at.is_some_and(|at| mft::is_of_volume(source, at, places, clusters))
        };
        let mut tables = Evidence::empty();
        tables.set(Evidence::TABLE, has(places.mft));
        tables.set(Evidence::MIRROR, has(places.mirror));
        tables
    };
    // The backup stands behind the sectors that the volume counts.
    let (start, evidence) = judge(source, at, sector, boot, Some(stated), &tables);
    Some(Found { start, len: boot.volume_len(), boot, evidence, sector: Box::new(*sector) })
}

/// The volume of which only the records are left, those of `$MFT` or of `$MFTMirr` at byte `at`.
pub(super) fn by_records(source: &dyn ReadAt, at: u64) -> Option<Found> {
    let volume = ByRecords::read(source, at)?;
    // Where nothing says how long the volume is, it is taken to go on to the end of the source.
    let sectors = match volume.clusters {
        Some(clusters) => clusters.checked_mul(volume.places.cluster.checked_div(SECTOR)?)?,
        None => source.size().checked_sub(volume.start)?.checked_div(SECTOR)?.saturating_sub(1),
    };
    let sector = made(&volume, sectors)?;
    let boot = recognise(&sector).filter(|boot| boot.kind == FileSystemKind::Ntfs)?;
    let mut evidence = Evidence::empty();
    evidence.set(Evidence::TABLE, volume.table);
    evidence.set(Evidence::MIRROR, volume.mirror);
    Some(Found {
        start: volume.start,
        len: volume.clusters.and(boot.volume_len()),
        boot,
        evidence,
        sector: Box::new(sector),
    })
}

/// The boot sector that a volume had, as far as reading needs it.
fn made(volume: &ByRecords, sectors: u64) -> Option<Sector> {
    // Sizes that are no power of two times the unit before are written as a negative binary logarithm.
    let exponent = |bytes: u64| Some(u8::try_from(bytes.checked_ilog2()?).ok()?.wrapping_neg());
    let per_cluster = volume.places.cluster.checked_div(SECTOR)?;
    let per_cluster = match u8::try_from(per_cluster) {
        Ok(sectors @ 1..=128) => sectors,
        _ => exponent(per_cluster)?,
    };
    let mut sector = [0; LEN];
    let mut put = |at: usize, bytes: &[u8]| {
        let end = at.checked_add(bytes.len())?;
        sector.get_mut(at..end)?.copy_from_slice(bytes);
        Some(())
    };
    put(0, &[0xEB, 0x52, 0x90])?;
    put(3, b"NTFS    ")?;
    put(11, &u16::try_from(SECTOR).ok()?.to_le_bytes())?;
    put(13, &[per_cluster])?;
    put(21, &[0xF8])?;
    put(0x28, &sectors.to_le_bytes())?;
    put(0x30, &volume.places.mft.to_le_bytes())?;
    put(0x38, &volume.places.mirror.to_le_bytes())?;
    put(0x40, &[exponent(volume.record_size)?])?;
    put(0x44, &[exponent(4096)?])?;
    put(510, &[0x55, 0xAA])?;
    Some(sector)
}

/// Whether a boot sector with all that `sector` says of the volume's structures is that of a volume whose records say
/// the same: then the volume is known.
pub(super) fn same_structures(sector: &Sector, other: &Sector) -> bool {
    let told = |sector: &Sector| {
        let boot = recognise(sector)?;
        let cluster = boot.bytes_per_sector.checked_mul(boot.sectors_per_cluster)?;
        Some((cluster, array::<16>(sector, 0x30)?))
    };
    told(sector).is_some_and(|one| told(other) == Some(one))
}
