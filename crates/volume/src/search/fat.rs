//! FAT and exFAT volumes by a boot sector.
//!
//! Layouts: Microsoft's FAT specification (fatgen103) and exFAT specification.

use undelfs_source::{
    ReadAt,
    bytes::{array, u16_at, u32_at},
};

use super::{
    evidence::Evidence,
    resolve::{Found, Sector, judge},
};
use crate::{BootSector, FileSystemKind};

/// Sectors of exFAT's boot region; the backup region follows it.
const EXFAT_REGION: u64 = 12;

/// The volume that the boot sector at byte `at` belongs to.
pub(super) fn by_boot_sector(
    source: &dyn ReadAt,
    at: u64,
    sector: &Sector,
    boot: BootSector,
) -> Option<Found> {
    let bytes_per_sector = u64::from(boot.bytes_per_sector);
    let fat = Fats::parse(sector, boot)?;
    let tables = |start: u64| {
        let has = |inside: Option<u64>| {
            let place = inside.and_then(|inside| start.checked_add(inside));
            place.is_some_and(|place| fat.begins_at(source, place))
        };
        let mut tables = Evidence::empty();
        tables.set(Evidence::TABLE, has(Some(fat.first)));
        tables.set(Evidence::MIRROR, has(fat.second));
        tables
    };
    let backup = match boot.kind {
        FileSystemKind::ExFat => Some(EXFAT_REGION),
        FileSystemKind::Fat32 => Some(u64::from(u16_at(sector, 0x32)?)).filter(|at| (1..32).contains(at)),
        _ => None,
    };
    let backup = backup.and_then(|sectors| sectors.checked_mul(bytes_per_sector));
    let (start, evidence) = judge(source, at, sector, boot, backup, &tables);
    Some(Found { start, len: boot.volume_len(), boot, evidence, sector: Box::new(*sector) })
}

/// Where the FATs are, in bytes from the volume's start, and how they begin.
struct Fats {
    first: u64,
    second: Option<u64>,
    head: Vec<u8>,
    /// Bits of the head that may be anything: the state of the volume stands there.
    free: Vec<u8>,
}

impl Fats {
    fn parse(sector: &Sector, boot: BootSector) -> Option<Self> {
        let bytes = |sectors: u64| sectors.checked_mul(u64::from(boot.bytes_per_sector));
        if boot.kind == FileSystemKind::ExFat {
            let first = u64::from(u32_at(sector, 80)?);
            let len = u64::from(u32_at(sector, 84)?);
            let [fats] = array(sector, 110)?;
            let second = if fats > 1 { Some(bytes(first.checked_add(len)?)?) } else { None };
            let head = vec![0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
            return Some(Self { first: bytes(first)?, second, free: vec![0; head.len()], head });
        }
        let first = u64::from(u16_at(sector, 14)?);
        let [fats] = array(sector, 16)?;
        let [media] = array(sector, 21)?;
        let len = match u16_at(sector, 22)? {
            0 => u64::from(u32_at(sector, 36)?),
            len => u64::from(len),
        };
        let second = if fats > 1 { Some(bytes(first.checked_add(len)?)?) } else { None };
        // The first entry is the media byte and ones, the second ones; the top bits of the second say whether the
        // volume was closed, and the top four bits of FAT32's entries are nobody's.
        let (head, free) = match boot.kind {
            FileSystemKind::Fat12 => (vec![media, 0xFF, 0xFF], vec![0; 3]),
            FileSystemKind::Fat16 => (vec![media, 0xFF, 0xFF, 0xFF], vec![0, 0, 0, 0xC0]),
            _ => (vec![media, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0x0F], vec![0, 0, 0, 0xF0, 0, 0, 0, 0xFC]),
        };
        Some(Self { first: bytes(first)?, second, head, free })
    }

    fn begins_at(&self, source: &dyn ReadAt, at: u64) -> bool {
        let mut found = vec![0; self.head.len()];
        source.read_exact_at(&mut found, at).is_ok()
            && found
                .iter()
                .zip(&self.head)
                .zip(&self.free)
                .all(|((found, head), free)| found | free == head | free)
    }
}
