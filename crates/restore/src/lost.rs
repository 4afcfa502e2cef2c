//! Volumes that no partition table names: what a search of the source has found, told from what is listed and from
//! images in files.

pub(crate) mod images;
mod kept;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use undelfs_bitlocker::BitLocker;
use undelfs_source::ReadAt;
use undelfs_volume::{
    BootSector, Disk, FileSystemKind, Volume,
    boot_sector::LEN,
    filesystem::Watch,
    search::{Certainty, Evidence, Found, MAX_FOUND, Search, resolve},
};

use crate::Error;
use images::Outer;

pub use kept::KeptSearch;

/// A volume that a search has found.
#[derive(Debug, Clone)]
pub struct LostVolume {
    /// The volume. Numbers go on behind those of the listed volumes: first the volumes of the disk, then those in
    /// images, each in disk order.
    pub volume: Volume,
    /// What speaks for it.
    pub evidence: Evidence,
    /// Where it lies in a file of another volume, so that it is none of the disk's own.
    pub inside: Option<Inside>,
}

impl LostVolume {
    /// How sure it is that it is or was there.
    pub fn certainty(&self) -> Certainty {
        self.evidence.certainty(self.volume.file_system)
    }
}

/// The file that a volume lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// Number of the volume that has the file.
    pub volume: u32,
    /// The file's name, without its folders; `None` where the volume does not tell it.
    pub file: Option<String>,
    /// The file's record, where it is known.
    pub record: Option<u32>,
}

/// What a search has found.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    /// The volumes, by number.
    pub volumes: Vec<LostVolume>,
    /// What to know of the search, one sentence each.
    pub notes: Vec<String>,
}

/// The volumes that `search` has found on `source` and that its partition table does not list. Files of the volumes
/// around others are listed, which `watch` follows; nothing else takes long. The same search of the same source always
/// gives the same.
///
/// # Errors
/// When the begin of the source cannot be read, or `watch` cancelled.
pub fn lost_volumes(source: &Arc<dyn ReadAt>, search: &Search, watch: &dyn Watch) -> Result<Lost, Error> {
    let disk = Disk::read(source.clone())?;
    let resolved = resolve(source, &search.hits);
    let mut found = resolved.volumes;
    add_bitlocker(source, &resolved.fve_blocks, &mut found);
    found.retain(|found| !disk.volumes.iter().any(|listed| is_listed(found, listed)));
    found.truncate(MAX_FOUND);

    let mut notes = Vec::new();
    if search.unreadable > 0 {
        notes.push(format!("{} bytes could not be read and were not searched", search.unreadable));
    }
    if search.left_out > 0 || resolved.left_out > 0 {
        notes.push(format!(
            "more volumes seem to be there than are listed: {} places and {} doubtful volumes are left out",
            search.left_out, resolved.left_out
        ));
    }

    let entries: Vec<Volume> = found.iter().map(|found| found.volume(source, disk.sector_size)).collect();
    let listed = disk.volumes.iter().map(|volume| Outer::listed(volume, source));
    let lost = found.iter().zip(&entries).map(|(found, volume)| Outer::lost(found, volume, source));
    let outers: Vec<Outer<'_>> = listed.chain(lost).collect();
    let inside = images::inside(source, &outers, disk.volumes.len(), watch)?;

    // Numbers: those of the disk first, then those in images.
    let numbers: Vec<u32> = numbers(&disk, &inside);
    let number_of = |index: usize| match index.checked_sub(disk.volumes.len()) {
        None => disk.volumes.get(index).map_or(0, |volume| volume.number),
        Some(lost) => numbers.get(lost).copied().unwrap_or(0),
    };
    let mut volumes: Vec<LostVolume> = Vec::new();
    for (index, ((found, mut volume), place)) in found.iter().zip(entries).zip(inside).enumerate() {
        volume.number = numbers.get(index).copied().unwrap_or(0);
        let inside = place.map(|place| Inside {
            volume: number_of(place.outer),
            file: place.file,
            record: place.record,
        });
        if inside.is_some() {
            volume.role = "Image in a file".to_owned();
        }
        volumes.push(LostVolume { volume, evidence: found.evidence, inside });
    }
    volumes.sort_by_key(|lost| lost.volume.number);
    Ok(Lost { volumes, notes })
}

/// The number of each lost volume.
fn numbers(disk: &Disk, inside: &[Option<images::Place>]) -> Vec<u32> {
    let first = disk.volumes.iter().map(|volume| volume.number).max().unwrap_or(0);
    let own = inside.iter().filter(|place| place.is_none()).count();
    let (mut next_own, mut next_inside) = (1_u32, u32::try_from(own).unwrap_or(u32::MAX).saturating_add(1));
    let number = |place: &Option<images::Place>| {
        let next = if place.is_none() { &mut next_own } else { &mut next_inside };
        let number = first.saturating_add(*next);
        *next = next.saturating_add(1);
        number
    };
    inside.iter().map(number).collect()
}

/// Whether the partition table lists the volume that was found. An earlier volume at the same place, of another
/// geometry, is another one; and one of which the listed partition shows nothing can be opened only as found.
fn is_listed(found: &Found, listed: &Volume) -> bool {
    let at = listed.start_sector.saturating_mul(u64::from(listed.sector_size));
    let encrypted = found.boot.kind == FileSystemKind::BitLocker;
    let shows = match listed.file_system {
        FileSystemKind::BitLocker | FileSystemKind::Unknown if encrypted => true,
        _ => listed.boot == Some(found.boot),
    };
    at == found.start && shows
}

/// Joins the boot sectors of BitLocker with the metadata blocks at `blocks`, and adds the volumes that only those tell.
fn add_bitlocker(source: &dyn ReadAt, blocks: &[u64], found: &mut Vec<Found>) {
    let located = BitLocker::by_blocks(source, blocks).into_iter();
    let mut by_start: BTreeMap<u64, (Evidence, Option<u64>)> = located
        .map(|located| {
            let more = if located.blocks > 1 { Evidence::MORE_METADATA } else { Evidence::empty() };
            (located.start, (Evidence::METADATA | more, located.len))
        })
        .collect();
    for volume in found.iter_mut().filter(|found| found.boot.kind == FileSystemKind::BitLocker) {
        if let Some((evidence, len)) = by_start.remove(&volume.start) {
            volume.evidence |= evidence;
            volume.len = volume.len.or(len);
        }
    }
    // A boot sector without metadata that is the copy of one with them is no volume.
    let told = |found: &Found| {
        found.boot.kind == FileSystemKind::BitLocker && found.certainty() > Certainty::Possible
    };
    let sound: BTreeSet<[u8; LEN]> =
        found.iter().filter(|found| told(found)).map(|found| *found.sector).collect();
    found.retain(|found| {
        found.boot.kind != FileSystemKind::BitLocker || told(found) || !sound.contains(&*found.sector)
    });
    let boot = BootSector {
        kind: FileSystemKind::BitLocker,
        bytes_per_sector: 512,
        sectors_per_cluster: 8,
        total_sectors: 0,
    };
    let without_boot_sector = by_start.into_iter().map(|(start, (evidence, len))| Found {
        start,
        len,
        boot,
        evidence,
        sector: Box::new([0; LEN]),
    });
    found.extend(without_boot_sector);
    found.sort_by_key(|found| (found.start, found.end(source)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(start: u64, kind: FileSystemKind, total_sectors: u64) -> Found {
        let boot = BootSector { kind, bytes_per_sector: 512, sectors_per_cluster: 8, total_sectors };
        let sector = Box::new([0; LEN]);
        Found { start, len: boot.volume_len(), boot, evidence: Evidence::FIRST, sector }
    }

    fn listed(start_sector: u64, boot: Option<BootSector>) -> Volume {
        let mut volume = found(start_sector * 512, FileSystemKind::Ntfs, 1).volume(&Vec::new(), 512);
        volume.boot = boot;
        volume.file_system = boot.map_or(FileSystemKind::Unknown, |boot| boot.kind);
        volume
    }

    #[test]
    fn a_listed_partition_is_not_found_again_but_what_lay_there_before_is() {
        let now = found(1 << 20, FileSystemKind::Ntfs, 1000);
        let volume = listed(2048, Some(now.boot));
        assert!(is_listed(&now, &volume));
        assert!(!is_listed(&found(1 << 20, FileSystemKind::Ntfs, 900), &volume));
        assert!(!is_listed(&found(2 << 20, FileSystemKind::Ntfs, 1000), &volume));
        let unknown = listed(2048, None);
        assert!(!is_listed(&now, &unknown));
        assert!(is_listed(&found(1 << 20, FileSystemKind::BitLocker, 0), &unknown));
        assert!(!is_listed(&found(1 << 20, FileSystemKind::BitLocker, 0), &volume));
    }

    #[test]
    fn numbers_go_on_behind_the_listed_volumes_and_images_come_last() {
        let place = || Some(images::Place { outer: 0, file: None, record: None });
        let mut disk = Disk {
            sector_size: 512,
            table: undelfs_volume::Table::Mbr,
            volumes: vec![listed(1, None), listed(2, None)],
            notes: Vec::new(),
        };
        disk.volumes[1].number = 2;
        assert_eq!(numbers(&disk, &[None, place(), None, place()]), [3, 5, 4, 6]);
        disk.volumes.clear();
        assert_eq!(numbers(&disk, &[place(), None]), [2, 1]);
    }
}
