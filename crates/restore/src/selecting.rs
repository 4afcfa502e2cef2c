//! Which volumes of a source are opened.

use std::{ops::Range, path::Path, sync::Arc};

use undelfs_bitlocker::{BitLocker, Key};
use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{Disk, Extent, FileSystemKind, Volume, filesystem::Watch, lost_volume};

use crate::{Error, Selection};

/// Most volumes of a source that are used. An inode number has room for more.
const MAX_VOLUMES: usize = 1024;

/// How far an unknown volume is searched for the metadata of BitLocker when nobody has said that it is encrypted, in
/// bytes. Windows puts the first copy 20 to 50 MiB into a volume.
const PROBED: u64 = 64 << 20;

/// How far an unknown volume is searched for the metadata of BitLocker. Who gives keys knows that it is encrypted.
pub(crate) fn search_limit(keys: &[Key]) -> u64 {
    if keys.is_empty() { PROBED } else { u64::MAX }
}

/// How far one of several unknown volumes is searched: the keys may be meant for another.
pub(crate) const AMONG_OTHERS: u64 = PROBED;

/// Whether one of `keys` opens a volume of which no metadata is left, so that nothing but the key says that it is
/// encrypted.
pub(crate) fn need_no_metadata(keys: &[Key]) -> bool {
    keys.iter().any(|key| matches!(key, Key::VolumeEncryptionKey(..) | Key::Package(_)))
}

/// Where on a source without partition table and boot sector a volume of BitLocker begins.
pub(crate) fn lost_start(source: &dyn ReadAt, keys: &[Key], watch: &dyn Watch) -> Result<Option<u64>, Error> {
    let found = BitLocker::find(source, search_limit(keys), watch)?;
    Ok(found.first().copied().or_else(|| need_no_metadata(keys).then_some(0)))
}

/// The volumes that are asked for, and what the partition table has to say.
pub(crate) fn select(
    source: &Arc<dyn ReadAt>,
    selection: &Selection,
    path: &Path,
    deep: bool,
    keys: &[Key],
    watch: &dyn Watch,
) -> Result<(Vec<Volume>, Vec<String>), Error> {
    let Selection { volume, start_sector, boot_sector, snapshot, ref lost } = *selection;
    if start_sector.is_some() || boot_sector.is_some() {
        // Sectors are counted as the partition table counts them, where there is one.
        let sector_size = Disk::read(source.clone()).map_or(source.sector_size(), |disk| disk.sector_size);
        let lost = lost_volume(source, start_sector, boot_sector, sector_size).or_else(|error| {
            let start = start_sector.or(boot_sector).unwrap_or(0);
            let at = start.saturating_mul(sector_size.into());
            let rest = Extent::new(source.clone(), at, source.size().saturating_sub(at));
            match BitLocker::find(&rest, search_limit(keys), watch)? {
                starts if starts.contains(&0) => Ok(encrypted(source, at, sector_size)),
                _ if need_no_metadata(keys) => Ok(encrypted(source, at, sector_size)),
                _ if deep => Ok(unknown(source, at, sector_size)),
                _ => Err(error),
            }
        })?;
        return Ok((vec![lost], Vec::new()));
    }
    let Disk { mut volumes, mut notes, sector_size, .. } = Disk::read(source.clone())?;
    if volumes.len() > MAX_VOLUMES {
        notes.push(format!(
            "the partition table lists {} volumes; only the first {MAX_VOLUMES} are used",
            volumes.len()
        ));
        volumes.truncate(MAX_VOLUMES);
    }
    // A search of the whole source has found what the search for metadata of BitLocker would.
    if volumes.is_empty()
        && lost.is_empty()
        && let Some(at) = lost_start(source, keys, watch)?
    {
        notes.clear();
        volumes.push(encrypted(source, at, sector_size));
    }
    let wanted = lost.iter().filter(|lost| volume.is_some() || lost.inside.is_none());
    volumes.extend(wanted.map(|lost| lost.volume.clone()));
    let path = path.display();
    if volumes.is_empty() && deep {
        // All of it is searched; that it begins with no boot sector is said of the volume then.
        volumes.push(unknown(source, 0, sector_size));
    }
    if volumes.is_empty() {
        let notes = notes.join("; ");
        let reason = format!(
            "{path} holds no partition table and no known file system ({notes}); of a volume --deep searches all for files, of a disk `undelfs volumes --lost` for volumes"
        );
        return Err(Error::refused(ErrorKind::Unsupported, reason));
    }
    let known: Vec<String> = volumes.iter().map(|volume| volume.number.to_string()).collect();
    let Some(number) = volume else {
        if let (Some(snapshot), 2..) = (snapshot, volumes.len()) {
            let reason = format!(
                "{path} has the volumes {}; --volume says of which of them shadow copy {snapshot} is meant",
                known.join(", ")
            );
            return Err(Error::refused(ErrorKind::InvalidInput, reason));
        }
        return Ok((volumes, notes));
    };
    let chosen: Vec<Volume> = volumes.into_iter().filter(|volume| volume.number == number).collect();
    if chosen.is_empty() {
        let reason = format!("{path} has no volume {number}; it has {}", known.join(", "));
        return Err(Error::refused(ErrorKind::InvalidInput, reason));
    }
    Ok((chosen, notes))
}

/// A volume of BitLocker that begins at byte `at` and whose boot sector is destroyed. It cannot be longer than the
/// source.
pub(crate) fn encrypted(source: &dyn ReadAt, at: u64, sector_size: u32) -> Volume {
    Volume { file_system: FileSystemKind::BitLocker, ..unknown(source, at, sector_size) }
}

/// A volume that begins at byte `at` and of which nothing tells what it is.
fn unknown(source: &dyn ReadAt, at: u64, sector_size: u32) -> Volume {
    let sector = u64::from(sector_size.max(1));
    Volume {
        number: 1,
        start_sector: at / sector,
        sectors: source.size().saturating_sub(at) / sector,
        sector_size: sector_size.max(1),
        role: "Volume without boot sector".to_owned(),
        name: None,
        boot: None,
        boot_bytes: None,
        file_system: FileSystemKind::Unknown,
    }
}

/// Whether two volumes are the same one.
pub(crate) fn is_same(one: &Volume, other: &Volume) -> bool {
    extent_of(one).start == extent_of(other).start && one.boot == other.boot
}

/// The bytes of the source that a volume has.
pub(crate) fn extent_of(volume: &Volume) -> Range<u64> {
    let bytes = |sectors: u64| sectors.saturating_mul(u64::from(volume.sector_size));
    let start = bytes(volume.start_sector);
    start..start.saturating_add(bytes(volume.sectors))
}

pub(crate) fn listed_twice(entry: &Volume) -> Error {
    let reason = format!(
        "volume {} begins where another one does, at sector {}; --volume {} opens it",
        entry.number, entry.start_sector, entry.number
    );
    Error::refused(ErrorKind::InvalidInput, reason)
}
