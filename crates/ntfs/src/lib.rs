//! NTFS: its structures, each in its own file, and the scan of FILE records, live and deleted.
//!
//! The names are those of Microsoft's documentation and of the field. Layouts follow the open documentation of
//! the Linux-NTFS project and MS-FSCC, and were compared with volumes that Windows and ntfs-3g wrote.

#![deny(clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod attribute;
mod batch;
pub mod boot_sector;
mod index;
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
use boot_sector::BootSector;
use mft::{Ground, Mft};
use scan::Extensions;
use streams::FileRecords;
use structures::{StandardInformation, VolumeInformation};
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

/// An open NTFS volume.
pub struct Ntfs {
    /// The volume's own file table.
    own: Table,
    /// Those of earlier generations of the volume, once they were searched for, in the order of their numbers; and a
    /// sentence about each that cannot be shown.
    earlier: OnceLock<(Vec<Table>, Vec<String>)>,
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
        let _ = ntfs.earlier.set(ntfs.earlier_tables(others));
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
            let _ = self.earlier.set(self.earlier_tables(&search::tables(found)));
        }
        Ok(())
    }

    /// The tables of earlier generations among those that were found, and a sentence about each that cannot be shown.
    fn earlier_tables(&self, found: &[search::Found]) -> (Vec<Table>, Vec<String>) {
        let own = &self.own.ground;
        let mut first = self.own.mft.records();
        let (mut tables, mut notes) = (Vec::new(), Vec::new());
        for found in found {
            let cluster = found.cluster_size(&own.volume).unwrap_or(own.boot.bytes_per_cluster);
            let boot =
                BootSector { bytes_per_cluster: cluster, record_size: found.record_size(), ..own.boot };
            let ground = Ground { volume: own.volume.clone(), boot };
            let factor = cluster.checked_div(own.boot.bytes_per_cluster).unwrap_or(0);
            let fits = factor > 0 && cluster.is_multiple_of(own.boot.bytes_per_cluster);
            let Some(found) = found.of_volume(&ground) else { continue };
            if !fits {
                notes.push(format!(
                    "{} FILE records of an earlier generation of the volume, from byte {} on, are not shown: its clusters had {cluster} bytes, less than today's",
                    found.records(),
                    found.at()
                ));
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
            let formatted = Some(self.formatted());
            tables.push(Table { mft, ground, first, factor: factor.into(), formatted, is_found: true });
            first = next;
        }
        (tables, notes)
    }

    /// When the volume was formatted: the birth of `$MFT`.
    fn formatted(&self) -> FileTime {
        let record = self.own.mft.read(0).ok();
        let record = record.as_ref().and_then(|buf| buf.record());
        let info = record.and_then(|record| {
            let mut attributes = record.attributes();
            let info = attributes.find(|attribute| attribute.kind() == kind::STANDARD_INFORMATION)?;
            StandardInformation::parse(info.resident()?)
        });
        info.map_or(FileTime(0), |info| info.created)
    }

    fn tables(&self) -> impl DoubleEndedIterator<Item = &Table> {
        std::iter::once(&self.own).chain(self.earlier.get().into_iter().flat_map(|(tables, _)| tables))
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

    /// The streams of one of the volume's own files.
    fn own_streams(&self, record: u32) -> Result<Vec<Stream>, Error> {
        self.streams_of_record(record, FileFlags::METADATA)
    }

    /// The streams of the file that is in a record of the own table, or was last where `flags` say that it is deleted.
    fn streams_of_record(&self, record: u32, flags: FileFlags) -> Result<Vec<Stream>, Error> {
        let base = self.own.read(record)?;
        let generation = base.record().map_or(0, |record| record.sequence());
        let time = FileTime(0);
        self.streams(&File {
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
        })
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
        &self.facts
    }

    fn scan(&self, want: Want, watch: &dyn Watch) -> Result<Scan, Error> {
        if want.deep {
            self.find_earlier(watch)?;
        }
        let tables: Vec<&Table> =
            self.tables().filter(|table| want.deep || table.formatted.is_none()).collect();
        let (mut scan, extensions) = scan::scan(&tables, want, watch)?;
        if let Some((_, notes)) = self.earlier.get().filter(|_| want.deep) {
            scan.notes.extend_from_slice(notes);
        }
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
        Some(bitmap)
    }

    fn streams(&self, file: &File) -> Result<Vec<Stream>, Error> {
        refuse_journal_only(file)?;
        let table = self.table_of(file.record);
        let streams = FileRecords::read(self, file)?.streams(&table.ground);
        Ok(streams.into_iter().map(|stream| table.to_volume(stream)).collect())
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
