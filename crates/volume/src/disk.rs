//! The volumes of a source, by its partition table or by its only boot sector.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::sync::Arc;

use undelfs_source::{ReadAt, ReadError};

use crate::{
    Error, Extent, FileSystemKind,
    boot_sector::{self, BootSector, recognise},
    gpt,
    mbr::BootRecord,
    notes::Notes,
    partition::{Partition, order_and_check},
};

/// The kind of partition table that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// None: a bare volume, or nothing that is known.
    None,
    /// A master boot record, perhaps with extended partitions.
    Mbr,
    /// A GUID partition table.
    Gpt,
}

/// What is on a source.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Size in bytes of the sectors that the partition table counts in.
    pub sector_size: u32,
    /// The partition table.
    pub table: Table,
    /// The volumes, in disk order.
    pub volumes: Vec<Volume>,
    /// What is damaged or doubtful, one sentence each, in a bounded number.
    pub notes: Vec<String>,
}

/// A volume's place on its source, and what it seems to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Number, from 1 in disk order.
    pub number: u32,
    /// First sector.
    pub start_sector: u64,
    /// Number of sectors, as declared; a cut image may end earlier.
    pub sectors: u64,
    /// Size of these sectors in bytes.
    pub sector_size: u32,
    /// The partition's type as text, such as `Basic data` or `0x07 NTFS/exFAT`.
    pub role: String,
    /// The partition's name, which only a GPT has.
    pub name: Option<String>,
    /// What its boot sector says: the first sector, or for NTFS the last where the first is destroyed.
    pub boot: Option<BootSector>,
    /// The bytes of a boot sector to be used instead of the volume's own, where a search has found the volume by its
    /// backup or by its records.
    pub boot_bytes: Option<Arc<[u8]>>,
    /// What it holds.
    pub file_system: FileSystemKind,
}

impl Volume {
    /// The volume's bytes in `source`, the one that it was found on.
    pub fn extent(&self, source: Arc<dyn ReadAt>) -> Extent {
        let bytes = |sectors: u64| sectors.saturating_mul(u64::from(self.sector_size));
        Extent::new(source, bytes(self.start_sector), bytes(self.sectors))
    }

    /// A volume that no partition table names: `boot` says how much it holds, `sectors` how long it is.
    pub(crate) fn unlisted(
        role: &str,
        start_sector: u64,
        sectors: u64,
        sector_size: u32,
        boot: BootSector,
    ) -> Self {
        Self {
            number: 1,
            start_sector,
            sectors,
            sector_size,
            role: role.to_owned(),
            name: None,
            boot: Some(boot),
            boot_bytes: None,
            file_system: boot.kind,
        }
    }
}

impl Disk {
    /// Finds the volumes of `source`. What is damaged is worked around and noted; a source on which nothing is
    /// known has no volumes, and a note that says so.
    ///
    /// # Errors
    /// [`Error::Read`] when sector 0 cannot be read and nothing else tells what is on the source.
    pub fn read(source: Arc<dyn ReadAt>) -> Result<Self, Error> {
        let mut finder = Finder::new(&*source);
        let found =
            finder.gpt().or_else(|| finder.bare()).or_else(|| finder.mbr()).or_else(|| finder.backup());
        if found.is_none()
            && let Some(error) = finder.sector0_error.take()
        {
            return Err(error.into());
        }
        let (table, sector_size, volumes) =
            found.unwrap_or_else(|| (Table::None, finder.sizes[0], finder.nothing()));
        Ok(Self { sector_size, table, volumes, notes: finder.notes.into_sentences() })
    }
}

/// A table with its sector size and volumes.
type Found = (Table, u32, Vec<Volume>);

struct Finder<'a> {
    source: &'a dyn ReadAt,
    /// Sector sizes to try, the source's own first: an image does not tell what its disk had, and some USB bridges
    /// change it.
    sizes: [u32; 2],
    sector0: [u8; boot_sector::LEN],
    sector0_error: Option<ReadError>,
    record: Option<BootRecord>,
    boot: Option<BootSector>,
    notes: Notes,
}

impl<'a> Finder<'a> {
    fn new(source: &'a dyn ReadAt) -> Self {
        let own = source.sector_size().clamp(512, 65536);
        let mut sector0 = [0; boot_sector::LEN];
        let bad = source.read_salvage(&mut sector0, 0);
        let sector0_error = bad.into_iter().find_map(|bad| bad.error);
        let mut notes = Notes::default();
        if let Some(error) = &sector0_error {
            notes.push(error.to_string());
        }
        Self {
            source,
            sizes: [own, if own == 512 { 4096 } else { 512 }],
            record: BootRecord::parse(&sector0),
            boot: recognise(&sector0),
            sector0,
            sector0_error,
            notes,
        }
    }

    /// Size of the source in sectors.
    fn sectors(&self, sector_size: u32) -> u64 {
        self.source.size().checked_div(u64::from(sector_size)).unwrap_or(0)
    }

    fn gpt(&mut self) -> Option<Found> {
        let protects_until = self.record.as_ref().and_then(BootRecord::protects_until);
        let partitioned =
            self.record.as_ref().is_some_and(|record| record.plausible && record.has_partitions());
        let gpt = if protects_until.is_none() && (self.boot.is_some() || partitioned) {
            // Sector 0 has another use, and a GPT can be left over from before. Where a boot sector stands there,
            // only a file system that leaves sector 1 alone can share the disk with a GPT.
            let sizes = self.sizes.into_iter();
            let gpt = sizes
                .filter_map(|size| gpt::Gpt::read(self.source, 1, size).ok())
                .find(gpt::Gpt::is_sound)?;
            if self.boot.is_none() {
                self.notes.push(
                    "there is a GPT behind an MBR that does not announce it; the MBR is used, as Windows and Linux do"
                        .to_owned(),
                );
                return None;
            }
            gpt
        } else {
            gpt::find(self.source, &self.sizes, protects_until, &mut self.notes)?
        };
        let volumes = self.volumes(gpt.partitions, gpt.sector_size);
        Some((Table::Gpt, gpt.sector_size, volumes))
    }

    fn bare(&mut self) -> Option<Found> {
        let boot = self.boot?;
        let size = boot.bytes_per_sector;
        let sectors = boot
            .volume_len()
            .and_then(|len| len.checked_div(u64::from(size)))
            .unwrap_or_else(|| self.sectors(size));
        let volume = Volume::unlisted("Bare volume", 0, sectors, size, boot);
        let present = self.sectors(size);
        // The backup boot sector of NTFS is left out of some images; nothing is lost with it.
        if sectors > present.saturating_add(1) {
            self.notes.push(format!(
                "the volume has {sectors} sectors, the source ends at sector {present}; the image is cut short, and \
                 what it lacks cannot be read"
            ));
        }
        Some((Table::None, size, vec![volume]))
    }

    fn mbr(&mut self) -> Option<Found> {
        let record = self.record.clone()?;
        if !record.has_partitions() {
            return None;
        }
        let mut best: Option<(usize, u32, Vec<Partition>, Notes)> = None;
        for size in self.sizes {
            let mut notes = Notes::default();
            let partitions = record.partitions(self.source, size, &mut notes);
            let known =
                partitions.iter().filter(|p| matches!(self.first_sector(p, size), Ok(Some(_)))).count();
            if best.as_ref().is_none_or(|(most, ..)| known > *most) {
                best = Some((known, size, partitions, notes));
            }
        }
        let (known, size, partitions, notes) = best?;
        if known == 0 && !record.plausible {
            return None;
        }
        notes.into_sentences().into_iter().for_each(|note| self.notes.push(note));
        if !record.plausible {
            self.notes.push("MBR at sector 0: an entry is damaged; its partition is not listed".to_owned());
        }
        let volumes = self.volumes(partitions, size);
        Some((Table::Mbr, size, volumes))
    }

    /// An NTFS volume whose backup boot sector is the last sector of the source.
    fn backup(&mut self) -> Option<Found> {
        for size in self.sizes {
            let end = self.sectors(size);
            let Ok(Some(boot)) = self.ntfs_backup(end, size) else {
                continue;
            };
            let Some(start) = boot.total_sectors.checked_add(1).and_then(|sectors| end.checked_sub(sectors))
            else {
                continue;
            };
            self.notes.push(format!(
                "sector 0 is neither a boot sector nor a partition table; the backup boot sector of NTFS in the last \
                 sector names a volume that starts at sector {start}"
            ));
            let sectors = end.saturating_sub(start);
            let volume = Volume::unlisted("Bare volume", start, sectors, size, boot);
            return Some((Table::None, size, vec![volume]));
        }
        None
    }

    fn nothing(&mut self) -> Vec<Volume> {
        self.notes.push(format!(
            "sector 0: expected a partition table or a boot sector, found {}; a volume that \
             starts elsewhere is given with --start-sector",
            boot_sector::describe(&self.sector0)
        ));
        Vec::new()
    }

    fn volumes(&mut self, mut partitions: Vec<Partition>, sector_size: u32) -> Vec<Volume> {
        order_and_check(&mut partitions, self.sectors(sector_size), &mut self.notes);
        let numbered = (1..).zip(partitions);
        numbered.map(|(number, partition)| self.volume(number, partition, sector_size)).collect()
    }

    fn volume(&mut self, number: u32, partition: Partition, sector_size: u32) -> Volume {
        let mut boot = match self.first_sector(&partition, sector_size) {
            Ok(boot) => boot,
            Err(error) => {
                self.note_read_error(number, "first", &error);
                None
            }
        };
        if boot.is_none() {
            let len = partition.sectors.saturating_mul(u64::from(sector_size));
            match self.ntfs_backup(partition.end(), sector_size) {
                Ok(backup) => boot = backup.filter(|backup| backup.volume_len().is_some_and(|n| n <= len)),
                Err(error) => self.note_read_error(number, "last", &error),
            }
            if boot.is_some() {
                self.notes.push(format!(
                    "volume {number}: the first sector is no boot sector; the backup boot sector of NTFS in its last \
                     sector is used"
                ));
            }
        }
        Volume {
            number,
            start_sector: partition.start,
            sectors: partition.sectors,
            sector_size,
            role: partition.role,
            name: partition.name,
            boot,
            boot_bytes: None,
            file_system: boot.map_or(FileSystemKind::Unknown, |boot| boot.kind),
        }
    }

    /// A partition past the end of the source has its note already.
    fn note_read_error(&mut self, number: u32, which: &str, error: &ReadError) {
        if !matches!(error, ReadError::PastEnd { .. }) {
            self.notes.push(format!("volume {number}: its {which} sector: {error}"));
        }
    }

    fn first_sector(&self, partition: &Partition, sector_size: u32) -> Result<Option<BootSector>, ReadError> {
        read_boot_sector(self.source, partition.start, sector_size).map(|sector| recognise(&sector))
    }

    /// The backup boot sector of NTFS in the sector before sector `end`.
    fn ntfs_backup(&self, end: u64, sector_size: u32) -> Result<Option<BootSector>, ReadError> {
        let Some(last) = end.checked_sub(1) else {
            return Ok(None);
        };
        let sector = read_boot_sector(self.source, last, sector_size)?;
        Ok(recognise(&sector)
            .filter(|boot| boot.kind == FileSystemKind::Ntfs && boot.bytes_per_sector == sector_size))
    }
}

/// The bytes of sector `at` that a boot sector is known by.
pub(crate) fn read_boot_sector(
    source: &dyn ReadAt,
    at: u64,
    sector_size: u32,
) -> Result<[u8; boot_sector::LEN], ReadError> {
    let mut sector = [0; boot_sector::LEN];
    source.read_exact_at(&mut sector, at.saturating_mul(u64::from(sector_size)))?;
    Ok(sector)
}

#[cfg(test)]
mod tests;
