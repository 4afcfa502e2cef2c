//! From the places that a search has kept to volumes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use undelfs_source::{ReadAt, bytes::u32_at};

use super::{
    Hit, HitKind,
    evidence::{Certainty, Evidence},
    fat, ntfs,
};
use crate::{
    BootSector, FileSystemKind, Volume,
    boot_sector::{LEN, recognise},
};

/// Bytes of a boot sector.
pub(super) type Sector = [u8; LEN];

/// How many volumes a search gives at most: the surest ones.
pub const MAX_FOUND: usize = 1024;

/// Partitions begin at multiples of this many bytes since Windows Vista.
const ALIGNMENT: u64 = 1 << 20;

/// A volume that a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// First byte.
    pub start: u64,
    /// Length in bytes; `None` where nothing says it.
    pub len: Option<u64>,
    /// The geometry.
    pub boot: BootSector,
    /// What speaks for it.
    pub evidence: Evidence,
    /// The boot sector that it was found by, or one that was made of what its records say.
    pub sector: Box<[u8; LEN]>,
}

impl Found {
    /// The volume, with its first sector and length in units of `sector_size` bytes; in sectors of 512 bytes where it
    /// does not begin or end at such a unit.
    pub fn volume(&self, source: &dyn ReadAt, sector_size: u32) -> Volume {
        let len = self.end(source).saturating_sub(self.start);
        let fits = |bytes: u64| bytes.checked_rem(u64::from(sector_size)) == Some(0);
        let unit = if fits(self.start) && (fits(len) || self.len.is_none()) { sector_size } else { 512 };
        let sectors = |bytes: u64| bytes.checked_div(u64::from(unit)).unwrap_or(0);
        let mut volume = Volume::unlisted("Lost volume", sectors(self.start), sectors(len), unit, self.boot);
        let own = self.evidence.contains(Evidence::FIRST) || self.boot.kind == FileSystemKind::BitLocker;
        volume.boot_bytes = (!own).then(|| Arc::from(&self.sector[..]));
        volume
    }

    /// How sure it is.
    pub fn certainty(&self) -> Certainty {
        self.evidence.certainty(self.boot.kind)
    }

    /// First byte behind it; that of `source` where its length is not known.
    pub fn end(&self, source: &dyn ReadAt) -> u64 {
        self.len.map_or(source.size().max(self.start), |len| self.start.saturating_add(len))
    }
}

/// What became of the hits of a search.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The volumes, by their start and length. Those of BitLocker stand here as far as boot sectors tell of them.
    pub volumes: Vec<Found>,
    /// How many more there were.
    pub left_out: usize,
    /// Where metadata blocks of BitLocker seem to be, in bytes.
    pub fve_blocks: Vec<u64>,
}

/// Makes volumes of the hits of a search of `source`. The same hits always give the same volumes.
pub fn resolve(source: &dyn ReadAt, hits: &[Hit]) -> Resolved {
    let places = |kind: HitKind| hits.iter().filter(move |hit| hit.kind == kind).map(|hit| hit.at);
    let mut found: BTreeMap<(u64, Identity), Found> = BTreeMap::new();
    for volume in places(HitKind::BootSector).filter_map(|at| by_boot_sector(source, at)) {
        let evidence = volume.evidence;
        let key = (volume.start, identity(volume.boot.kind, &volume.sector));
        found.entry(key).or_insert(volume).evidence |= evidence;
    }
    let mut volumes: Vec<Found> = found.into_values().collect();
    drop_copies(&mut volumes);
    add_by_records(source, places(HitKind::MftRecord), &mut volumes);
    volumes.sort_by_key(|volume| {
        (std::cmp::Reverse(volume.certainty()), volume.start, volume.end(source), volume.sector.clone())
    });
    let left_out = volumes.len().saturating_sub(MAX_FOUND);
    volumes.truncate(MAX_FOUND);
    volumes.sort_by_key(|volume| (volume.start, volume.end(source), volume.sector.clone()));
    Resolved { volumes, left_out, fve_blocks: places(HitKind::FveBlock).collect() }
}

fn by_boot_sector(source: &dyn ReadAt, at: u64) -> Option<Found> {
    let mut sector = [0; LEN];
    source.read_salvage(&mut sector, at);
    let boot = recognise(&sector)?;
    match boot.kind {
        FileSystemKind::Ntfs => ntfs::by_boot_sector(source, at, &sector, boot),
        FileSystemKind::Fat12 | FileSystemKind::Fat16 | FileSystemKind::Fat32 | FileSystemKind::ExFat => {
            fat::by_boot_sector(source, at, &sector, boot)
        }
        _ => {
            let (start, evidence) = judge(source, at, &sector, boot, None, &|_| Evidence::empty());
            Some(Found { start, len: boot.volume_len(), boot, evidence, sector: Box::new(sector) })
        }
    }
}

/// Where the volume begins whose boot sector, or the backup of it that stands `backup` bytes behind the volume's start,
/// is at byte `at`; and what speaks for it. `tables` says which further structures are there if it begins at a byte.
pub(super) fn judge(
    source: &dyn ReadAt,
    at: u64,
    sector: &Sector,
    boot: BootSector,
    backup: Option<u64>,
    tables: &dyn Fn(u64) -> Evidence,
) -> (u64, Evidence) {
    let copy = |place: Option<u64>, flag: Evidence| {
        let mut other = [0; LEN];
        let read = place.is_some_and(|place| source.read_exact_at(&mut other, place).is_ok());
        let same = read && recognise(&other).is_some_and(|other| other.kind == boot.kind);
        if same && identity(boot.kind, &other) == identity(boot.kind, sector) {
            flag
        } else {
            Evidence::empty()
        }
    };
    let backup_of = |start: u64| backup.and_then(|inside| start.checked_add(inside));
    let as_first = Evidence::FIRST | copy(backup_of(at), Evidence::BACKUP) | tables(at);
    let Some(start) = backup.and_then(|inside| at.checked_sub(inside)) else {
        return (at, as_first);
    };
    let as_backup = Evidence::BACKUP | copy(Some(start), Evidence::FIRST) | tables(start);
    // Where nothing else tells, a volume begins where it says itself, or where partitions begin.
    let begins = |start: u64| {
        let hidden = u32_at(sector, 0x1C).map(u64::from).filter(|sectors| *sectors > 0);
        let stated = hidden.and_then(|sectors| sectors.checked_mul(u64::from(boot.bytes_per_sector)));
        let end = boot.volume_len().and_then(|len| start.checked_add(len));
        let fits = end.is_some_and(|end| end <= source.size());
        (fits, stated == Some(start), start.checked_rem(ALIGNMENT) == Some(0))
    };
    let better = (as_backup.weight(), begins(start)) > (as_first.weight(), begins(at));
    if better { (start, as_backup) } else { (at, as_first) }
}

/// What tells a boot sector from those of other volumes: what both copies have and what never changes.
type Identity = Vec<u8>;

fn identity(kind: FileSystemKind, sector: &Sector) -> Identity {
    // The rest is code, and the state of the volume.
    let ranges: &[(usize, usize)] = match kind {
        FileSystemKind::Ntfs => &[(3, 0x24), (0x28, 0x50)],
        FileSystemKind::Fat12 | FileSystemKind::Fat16 => &[(3, 0x24), (0x26, 0x2B)],
        FileSystemKind::Fat32 => &[(3, 0x40), (0x42, 0x47)],
        FileSystemKind::ExFat => &[(3, 0x6A), (0x6C, 0x70)],
        _ => &[(3, LEN)],
    };
    ranges.iter().flat_map(|(from, to)| sector.get(*from..*to).unwrap_or_default()).copied().collect()
}

/// Boot sectors are copied into files, and by defragmenting. A copy for which nothing but itself speaks is left out
/// where another one is better, or stands before it.
fn drop_copies(volumes: &mut Vec<Found>) {
    let key = |volume: &Found| identity(volume.boot.kind, &volume.sector);
    let alone = |volume: &Found| volume.evidence.bits().count_ones() < 2;
    let supported: BTreeSet<Identity> = volumes.iter().filter(|volume| !alone(volume)).map(key).collect();
    let mut seen = BTreeSet::new();
    volumes.retain(|volume| {
        // Only its metadata, which are looked at later, tell whether a volume of BitLocker is one.
        let bitlocker = volume.boot.kind == FileSystemKind::BitLocker;
        bitlocker || !alone(volume) || (!supported.contains(&key(volume)) && seen.insert(key(volume)))
    });
}

/// Adds the volumes whose boot sectors are both gone.
fn add_by_records(source: &dyn ReadAt, records: impl Iterator<Item = u64>, volumes: &mut Vec<Found>) {
    let mut known: BTreeMap<u64, Vec<Found>> = BTreeMap::new();
    for volume in volumes.iter().filter(|volume| volume.boot.kind == FileSystemKind::Ntfs) {
        known.entry(volume.start).or_default().push(volume.clone());
    }
    for at in records {
        let Some(new) = ntfs::by_records(source, at) else { continue };
        let same = |old: &Found| ntfs::same_structures(&old.sector, &new.sector);
        let here = known.entry(new.start).or_default();
        // Of a volume of unknown length any with the same structures may be it.
        if here.iter().any(|old| same(old) && (old.len == new.len || new.len.is_none() || near(old, &new))) {
            continue;
        }
        here.push(new);
    }
    let found = known.into_values().flatten();
    let mut all: Vec<Found> = found.filter(|new| !volumes.contains(new)).collect();
    // Shadow copies and backups hold the first records of the volume that they lie in.
    all.retain(|new| {
        let at = new.start.saturating_add(record_place(new));
        let inside = |old: &&Found| {
            old.certainty() > Certainty::Possible && (old.start..old.end(source)).contains(&at)
        };
        new.certainty() > Certainty::Possible
            || !volumes.iter().filter(inside).any(|old| ntfs::same_structures(&old.sector, &new.sector))
    });
    volumes.append(&mut all);
}

/// Whether two lengths are the same up to the sectors that are no whole cluster.
fn near(old: &Found, new: &Found) -> bool {
    let cluster = |found: &Found| {
        u64::from(found.boot.bytes_per_sector).saturating_mul(u64::from(found.boot.sectors_per_cluster))
    };
    match (old.len, new.len) {
        (Some(old_len), Some(new_len)) => old_len.abs_diff(new_len) <= cluster(old).saturating_add(8192),
        _ => true,
    }
}

/// Where the records of a volume that was found by them stand, in bytes from its start.
fn record_place(found: &Found) -> u64 {
    let at = if found.evidence.contains(Evidence::TABLE) { 0x30 } else { 0x38 };
    let cluster =
        u64::from(found.boot.bytes_per_sector).saturating_mul(u64::from(found.boot.sectors_per_cluster));
    undelfs_source::bytes::u64_at(&*found.sector, at).unwrap_or(0).saturating_mul(cluster)
}
