//! NTFS: its structures, each in its own file, and the scan of FILE records, live and deleted.
//!
//! The names are those of Microsoft's documentation and of the field. Layouts follow the open documentation of
//! the Linux-NTFS project and MS-FSCC, and were compared with volumes that Windows and ntfs-3g wrote.

#![deny(clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod attribute;
mod batch;
mod bitmap;
pub mod boot_sector;
mod index;
pub mod index_entry;
pub mod journal;
pub mod lznt1;
mod merge;
mod mft;
pub mod name;
pub mod record;
pub mod reparse_point;
pub mod runs;
mod scan;
mod search;
mod streams;
pub mod structures;
mod table;
pub mod upcase;
pub mod wof;

use std::sync::{Arc, OnceLock};

use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{
    Error, FileSystemKind,
    filesystem::{
        Facts, File, FileFlags, FileSystem, FileTime, Layout, LinkTarget, Place, Run, Scan, Stream, Want,
        Watch,
    },
};

use attribute::{Attribute, kind};
use bitmap::Spread;
use boot_sector::BootSector;
use mft::{Ground, Mft};
use scan::Extensions;
use streams::FileRecords;
use structures::{FileName, StandardInformation, VolumeInformation};
use table::Table;
use upcase::UpCase;

// Records of the files that NTFS keeps for itself.
const VOLUME: u32 = 3;
const BITMAP: u32 = 6;
const UPCASE: u32 = 10;

/// Size of a cluster in bytes where nothing tells it.
const USUAL_CLUSTER: u32 = 4096;

/// Size of the content of `$UpCase` in bytes.
const UPCASE_SIZE: usize = 128 << 10;

/// A volume with earlier generations of itself. All count in the smallest cluster that any of them has.
struct Generations {
    /// The volume's own file table.
    own: Table,
    /// Those of earlier generations, in the order of their numbers.
    earlier: Vec<Table>,
    facts: Facts,
}

/// An open NTFS volume.
pub struct Ntfs {
    /// The volume's own file table.
    own: Table,
    /// The volume with its earlier generations, once they were searched for.
    earlier: OnceLock<Generations>,
    facts: Facts,
    upcase: OnceLock<UpCase>,
    extensions: OnceLock<Extensions>,
}

impl Ntfs {
    /// Opens the volume whose bytes are `volume`. `boot` is its boot sector where the caller found it; otherwise, and
    /// where that is not sound, the volume's first sector is used, or its last one.
    ///
    /// # Errors
    /// When neither boot sector nor its backup is sound, or neither `$MFT` nor `$MFTMirr` begins with a sound
    /// record.
    pub fn open(volume: Arc<dyn ReadAt>, boot: Option<&[u8]>) -> Result<Self, Error> {
        let given = boot.and_then(|bytes| BootSector::parse(bytes, 0).ok());
        let (boot, note) = match given {
            Some(boot) => (boot, None),
            None => BootSector::of_volume(&volume)?,
        };
        let mut notes: Vec<String> = note.into_iter().collect();
        let stated = boot.total_sectors.saturating_mul(u64::from(boot.bytes_per_sector));
        let size = volume.present();
        if size < stated {
            notes.push(format!("the volume has {stated} bytes, only the first {size} are in the source"));
        }
        let ground = Ground { volume, boot };
        let mft = Mft::open(&ground, &mut notes)?;
        Ok(Self::new(ground, mft, false, notes))
    }

    /// Opens a volume of which the boot sectors or the begin of `$MFT` are lost: searches all of it for FILE records, and
    /// works out from them what is missing. `boot` is as in [`open`](Self::open).
    ///
    /// # Errors
    /// When no records are found, or `watch` cancelled the search.
    pub fn rebuild(volume: Arc<dyn ReadAt>, boot: Option<&[u8]>, watch: &dyn Watch) -> Result<Self, Error> {
        let given = boot.and_then(|bytes| BootSector::parse(bytes, 0).ok());
        let boot = given.map(|boot| (boot, None)).or_else(|| BootSector::of_volume(&volume).ok());
        let found = search::tables(search::search(&volume, &[], watch)?);
        let Some((main, others)) = found.split_first() else {
            return Err(Error::Refused {
                kind: ErrorKind::Unsupported,
                reason: "no FILE records of NTFS were found anywhere on the volume".to_owned(),
            });
        };
        let mut notes = vec![format!(
            "the file table was put together of {} FILE records that were found on the volume",
            main.records()
        )];
        let boot = match boot {
            Some((boot, note)) => {
                notes.extend(note);
                BootSector { record_size: main.record_size(), ..boot }
            }
            None => {
                let cluster = main.cluster_size(&volume).unwrap_or(USUAL_CLUSTER);
                notes.push(format!(
                    "both boot sectors are lost; that clusters have {cluster} bytes is worked out from the FILE records"
                ));
                BootSector::assumed(volume.size(), cluster, main.record_size())
            }
        };
        let ground = Ground { volume, boot };
        let mft = main.table(&ground.volume);
        let ntfs = Self::new(ground, mft, true, notes);
        let _ = ntfs.earlier.set(ntfs.generations(others));
        Ok(ntfs)
    }

    fn new(ground: Ground, mft: Mft, is_found: bool, notes: Vec<String>) -> Self {
        let boot = ground.boot;
        let mut facts = Facts {
            kind: FileSystemKind::Ntfs,
            version: String::new(),
            label: String::new(),
            serial: boot.serial,
            bytes_per_sector: boot.bytes_per_sector,
            bytes_per_cluster: boot.bytes_per_cluster,
            clusters: boot.clusters(),
            records: u64::from(mft.records()),
            root: batch::ROOT,
            formatted: born(&mft),
            incomplete: !notes.is_empty(),
            notes,
        };
        describe_volume(&ground, &mft, &mut facts);
        let own = Table { mft, ground, first: 0, factor: 1, formatted: None, is_found };
        Self { own, earlier: OnceLock::new(), facts, upcase: OnceLock::new(), extensions: OnceLock::new() }
    }

    /// Searches the volume for file tables of earlier generations, unless that was done.
    fn find_earlier(&self, watch: &dyn Watch) -> Result<(), Error> {
        if self.earlier.get().is_none() {
            let found = search::search(&self.own.ground.volume, &self.own.mft.places(), watch)?;
            let _ = self.earlier.set(self.generations(&search::tables(found)));
        }
        Ok(())
    }

    /// The volume with those of its earlier generations that are among the tables that were found.
    fn generations(&self, found: &[search::Found]) -> Generations {
        let own = &self.own.ground;
        let mut first = self.own.mft.records();
        let mut tables = Vec::new();
        for found in found {
            let cluster = found.cluster_size(&own.volume).unwrap_or(own.boot.bytes_per_cluster);
            let boot =
                BootSector { bytes_per_cluster: cluster, record_size: found.record_size(), ..own.boot };
            let ground = Ground { volume: own.volume.clone(), boot };
            let Some(found) = found.of_volume(&ground) else { continue };
            if found.is_later_than(self.facts.formatted, &own.volume) {
                tracing::info!(at = found.at(), records = found.records(), "found a copy of a file table");
                continue;
            }
            let mft = found.table(&own.volume);
            let Some(next) = first.checked_add(mft.records()) else { continue };
            tracing::info!(
                at = found.at(),
                records = found.records(),
                cluster,
                "found the file table of an earlier generation"
            );
            let formatted = Some(self.facts.formatted);
            tables.push(Table { mft, ground, first, factor: 1, formatted, is_found: true });
            first = next;
        }
        let mut generations =
            Generations { own: self.own.clone(), earlier: tables, facts: self.facts.clone() };
        generations.count_in_smallest();
        generations
    }

    fn tables(&self) -> impl DoubleEndedIterator<Item = &Table> {
        let all = self.earlier.get();
        let own = all.map_or(&self.own, |all| &all.own);
        std::iter::once(own).chain(all.into_iter().flat_map(|all| &all.earlier))
    }

    /// The table that a record is in.
    fn table_of(&self, record: u32) -> &Table {
        self.tables().rev().find(|table| table.first <= record).unwrap_or(&self.own)
    }

    /// The extension records of a base record that the scan found, ascending.
    fn extensions_of(&self, base: u32) -> impl Iterator<Item = u32> {
        let all = self.extensions.get().map_or(&[][..], Vec::as_slice);
        let from = all.partition_point(|(record, _)| *record < base);
        all.iter().skip(from).take_while(move |(record, _)| *record == base).map(|(_, extension)| *extension)
    }

    /// The streams of one of the volume's own files, in clusters of its own.
    fn own_streams(&self, record: u32) -> Result<Vec<Stream>, Error> {
        self.streams_of_record(record, FileFlags::METADATA)
    }

    /// The streams of the file that is in a record of the own table, or was last where `flags` say that it is deleted.
    fn streams_of_record(&self, record: u32, flags: FileFlags) -> Result<Vec<Stream>, Error> {
        let base = self.own.read(record)?;
        let generation = base.record().map_or(0, |record| record.sequence());
        let time = FileTime(0);
        let file = File {
            record,
            generation,
            flags,
            attributes: 0,
            first_link: 0,
            size: 0,
            clusters: 0,
            created: time,
            modified: time,
            changed: time,
            accessed: time,
        };
        Ok(FileRecords::read(self, &file)?.streams(&self.own.ground))
    }

    fn own_content(&self, record: u32) -> Option<Arc<dyn ReadAt>> {
        let stream = self.own_streams(record).ok()?.into_iter().find(|stream| stream.name.is_empty())?;
        Some(match stream.layout {
            Layout::Resident(content) => Arc::new(content.to_vec()),
            Layout::Runs(runs) => {
                // The volume's own files have no holes: one is damage, and must not read as zeros.
                let place = |run: &Run| if run.place == Place::Hole { Place::Lost } else { run.place };
                let runs = runs.iter().map(|run| Run { place: place(run), ..*run }).collect();
                Arc::new(self.own.ground.reader(runs, stream.size, stream.valid))
            }
        })
    }
}

impl Generations {
    /// Lets all tables count in the smallest cluster that any of them has.
    fn count_in_smallest(&mut self) {
        let own = self.own.ground.boot.bytes_per_cluster;
        let sizes = self.earlier.iter().map(|table| table.ground.boot.bytes_per_cluster);
        let unit = sizes.fold(own, u32::min).max(1);
        for table in self.earlier.iter_mut().chain([&mut self.own]) {
            // All sizes are powers of two.
            table.factor = table.ground.boot.bytes_per_cluster.checked_div(unit).unwrap_or(1).into();
        }
        if unit < own {
            self.facts.bytes_per_cluster = unit;
            self.facts.clusters = self.facts.clusters.saturating_mul(self.own.factor);
            self.facts.notes.push(format!(
                "clusters are counted in {unit} bytes, which those of an earlier generation had; the volume's own have {own}"
            ));
        }
    }
}

/// The birth of `$MFT`, which is when the volume was formatted. Linux may have set the first of the two places that
/// tell it to zero.
fn born(mft: &Mft) -> FileTime {
    let record = mft.read(0).ok();
    let attributes = record.as_ref().and_then(|buf| buf.record()).map(|record| record.attributes());
    let times = attributes.into_iter().flatten().filter_map(|attribute| match attribute.kind() {
        kind::STANDARD_INFORMATION => Some(StandardInformation::parse(attribute.resident()?)?.created),
        kind::FILE_NAME => Some(FileName::parse(attribute.resident()?)?.created),
        _ => None,
    });
    times.into_iter().find(|time| *time > FileTime(0)).unwrap_or_default()
}

/// Reads label and version from the `$Volume` file.
fn describe_volume(ground: &Ground, mft: &Mft, facts: &mut Facts) {
    let read = mft.read(VOLUME);
    let Some(record) = read.as_ref().ok().and_then(|buf| buf.record()) else {
        facts.notes.push("FILE record 3 (`$Volume`) is damaged; label and version are unknown".to_owned());
        return;
    };
    let content = |wanted: u32| {
        let attribute: Option<Attribute<'_>> = record.attributes().find(|a| a.kind() == wanted);
        ground.content(&attribute?, 1024)
    };
    if let Some(label) = content(kind::VOLUME_NAME) {
        facts.label = String::from_utf8_lossy(&name::to_wtf8(&label)).into_owned();
    }
    if let Some(info) = content(kind::VOLUME_INFORMATION).as_deref().and_then(VolumeInformation::parse) {
        facts.version = format!("{}.{}", info.version.0, info.version.1);
        if info.dirty {
            facts.notes.push("the volume is marked dirty: Windows had not finished writing to it".to_owned());
        }
    }
}

/// Fails for a file of which only a journal tells: its record is another file's by now.
fn refuse_journal_only(file: &File) -> Result<(), Error> {
    if !file.flags.contains(FileFlags::JOURNAL_ONLY) {
        return Ok(());
    }
    let reason = "only a journal knows this file; no description of its content is left".to_owned();
    Err(Error::Refused { kind: ErrorKind::Damaged, reason })
}

impl FileSystem for Ntfs {
    fn facts(&self) -> &Facts {
        self.earlier.get().map_or(&self.facts, |all| &all.facts)
    }

    fn scan(&self, want: Want, watch: &dyn Watch) -> Result<Scan, Error> {
        if want.deep {
            self.find_earlier(watch)?;
        }
        let tables: Vec<&Table> =
            self.tables().filter(|table| want.deep || table.formatted.is_none()).collect();
        let (mut scan, extensions) = scan::scan(&tables, want, watch)?;
        scan.tables = tables.iter().map(|table| table.describe()).collect();
        // Every scan of the same volume finds the same.
        let _ = self.extensions.set(extensions);
        if want.removed {
            journal::add(self, &mut scan, want.deep, watch)?;
            index::add_names(self, &mut scan, want.deep);
        }
        Ok(scan)
    }

    fn bitmap(&self) -> Option<Arc<dyn ReadAt>> {
        let bitmap = self.own_content(BITMAP)?;
        let factor = self.earlier.get().map_or(1, |all| all.own.factor);
        Some(if factor == 1 { bitmap } else { Arc::new(Spread::new(bitmap, factor)) })
    }

    fn streams(&self, file: &File) -> Result<Vec<Stream>, Error> {
        refuse_journal_only(file)?;
        let table = self.table_of(file.record);
        let streams = FileRecords::read(self, file)?.streams(&table.ground);
        Ok(streams.into_iter().map(|stream| table.to_volume(stream)).collect())
    }

    fn encryption(&self, file: &File) -> Result<Option<Stream>, Error> {
        refuse_journal_only(file)?;
        let table = self.table_of(file.record);
        let attribute = FileRecords::read(self, file)?.encryption(&table.ground);
        Ok(attribute.map(|stream| table.to_volume(stream)))
    }

    fn link_target(&self, file: &File) -> Result<Option<LinkTarget>, Error> {
        refuse_journal_only(file)?;
        let table = self.table_of(file.record);
        Ok(FileRecords::read(self, file)?.link_target(&table.ground))
    }

    fn fold_case(&self, name: &[u8]) -> Vec<u8> {
        let table = self.upcase.get_or_init(|| {
            let read = || {
                let content = self.own_content(UPCASE)?;
                let mut bytes = vec![0; UPCASE_SIZE];
                content.read_exact_at(&mut bytes, 0).ok()?;
                UpCase::parse(&bytes)
            };
            read().unwrap_or_else(UpCase::unicode)
        });
        table.fold(name)
    }
}
