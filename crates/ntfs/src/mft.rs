//! `$MFT`: finding it, and reading its records.

use std::{ops::Range, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{
    Error,
    filesystem::{Lost, Place, Run, RunReader},
};

use crate::{
    attribute::{Attribute, Form, kind},
    boot_sector::BootSector,
    record::{Record, RecordBuf},
    runs::{BadRuns, Runs},
    structures::{ListEntry, attribute_list},
};

/// Longest attribute list that is read, in bytes: what NTFS allows.
pub(crate) const MAX_LIST: u64 = 256 << 10;
/// Most records that are searched for runs of `$MFT`.
const MAX_PARTS: usize = 1024;
/// Most runs of `$MFT` that are kept.
const MAX_RUNS: usize = 1 << 18;

/// What reading any part of a volume needs.
#[derive(Clone)]
pub(crate) struct Ground {
    /// The volume's bytes.
    pub(crate) volume: Arc<dyn ReadAt>,
    /// Its geometry.
    pub(crate) boot: BootSector,
}

impl Ground {
    /// The runs that one attribute describes, and whether they end in damage.
    pub(crate) fn runs(&self, mapping_pairs: &[u8], lowest_vcn: u64) -> (Vec<Run>, bool) {
        let mut sound = true;
        let runs = Runs::new(mapping_pairs, lowest_vcn, self.boot.clusters());
        let runs = runs.map_while(|run| run.map_err(|BadRuns| sound = false).ok()).collect();
        (runs, sound)
    }

    /// A reader of a stream of `size` bytes, of which `valid` were written.
    pub(crate) fn reader(&self, runs: Vec<Run>, size: u64, valid: u64) -> RunReader {
        let cluster = self.boot.bytes_per_cluster;
        RunReader::new(self.volume.clone(), runs.into(), cluster, size, valid, Lost::Error)
    }

    /// The whole content of an attribute that is described in one record, at most `limit` bytes of it. What
    /// cannot be read is missing at the end.
    pub(crate) fn content(&self, attribute: &Attribute<'_>, limit: u64) -> Option<Vec<u8>> {
        match attribute.form()? {
            Form::Resident(content) => Some(content.to_vec()),
            Form::NonResident(form) => {
                let (runs, _) = self.runs(form.mapping_pairs, form.lowest_vcn);
                let covered = runs.last().map_or(0, |run| run.first.saturating_add(run.count));
                let covered = covered.saturating_mul(u64::from(self.boot.bytes_per_cluster));
                let size = form.size.min(limit).min(covered).min(self.volume.present());
                let mut content = vec![0; usize::try_from(size).ok()?];
                let bad = self.reader(runs, size, form.valid).read_salvage(&mut content, 0);
                if let Some(first) = bad.first() {
                    content.truncate(first.range.start);
                }
                Some(content)
            }
        }
    }

    /// The entries of a file's `$ATTRIBUTE_LIST`, as far as they are sound; `None` where the file has no such list.
    pub(crate) fn attribute_list(&self, record: &Record<'_>) -> Option<Vec<ListEntry>> {
        let list = record.attributes().find(|a| a.kind() == kind::ATTRIBUTE_LIST)?;
        Some(attribute_list(&self.content(&list, MAX_LIST).unwrap_or_default()))
    }
}

/// The master file table, or one that was put together of records that were found.
#[derive(Clone)]
pub(crate) struct Mft {
    reader: RunReader,
    record_size: u32,
    /// Bytes of the units that the reader's runs count.
    cluster: u32,
    records: u32,
}

/// The error of work that `watch` cancelled.
pub(crate) fn cancelled() -> Error {
    Error::Refused { kind: ErrorKind::Cancelled, reason: "the scan was cancelled".to_owned() }
}

impl Mft {
    /// Finds the table: from its own first record, or where that is damaged from its copy in `$MFTMirr`. Damage
    /// is told in `notes`.
    ///
    /// # Errors
    /// When neither record is sound.
    pub(crate) fn open(ground: &Ground, notes: &mut Vec<String>) -> Result<Self, Error> {
        let first = first_record(ground, ground.boot.mft);
        let base = match first {
            Ok(base) => base,
            Err(error) => {
                let base = first_record(ground, ground.boot.mft_mirror).map_err(|_| error.to_string());
                notes.push(format!("{error}; its copy in `$MFTMirr` is used instead"));
                base.map_err(|_| error)?
            }
        };
        Self::from_record(ground, &base, notes)
    }

    fn from_record(ground: &Ground, base: &RecordBuf, notes: &mut Vec<String>) -> Result<Self, Error> {
        let no_runs = || Error::Structure {
            structure: "$DATA of $MFT",
            at: ground.boot.mft.saturating_mul(u64::from(ground.boot.bytes_per_cluster)),
            expected: "a list of runs".to_owned(),
            found: "none".to_owned(),
            advice: "the file table is lost; --deep searches the whole volume for its records",
        };
        let record = base.record().ok_or_else(no_runs)?;
        let data = unnamed_data(&record, 0).ok_or_else(no_runs)?;
        let Some(Form::NonResident(form)) = data.form() else {
            return Err(no_runs());
        };
        let (mut runs, sound) = ground.runs(form.mapping_pairs, 0);
        if !sound {
            notes.push("the runs of `$MFT` are damaged; its end is missing".to_owned());
        }
        let size = form.size.min(form.valid);
        let record_size = ground.boot.record_size;
        let mut lowest: Vec<_> = ground.attribute_list(&record).unwrap_or_default();
        lowest.retain(|entry| entry.kind == kind::DATA && !entry.named && entry.lowest_vcn > 0);
        lowest.sort_by_key(|entry| entry.lowest_vcn);
        lowest.dedup_by_key(|entry| entry.lowest_vcn);
        let mut so_far = Self::new(ground, runs.clone(), size, record_size);
        let mut missing = 0_u32;
        for entry in lowest.iter().take(MAX_PARTS) {
            let Ok(number) = u32::try_from(entry.holder.record) else { continue };
            // The record may itself stand in a part of the table that was found since the reader was made.
            let grown = so_far.reader.runs().len() < runs.len();
            let part = so_far.read(number).or_else(|error| {
                if !grown {
                    return Err(error);
                }
                so_far = Self::new(ground, runs.clone(), size, record_size);
                so_far.read(number)
            });
            if append_part(ground, &mut runs, part.as_ref().ok(), entry.lowest_vcn).is_none() {
                missing = missing.saturating_add(1);
            }
        }
        let so_far = Self::new(ground, runs, size, record_size);
        if missing > 0 {
            notes.push(format!(
                "{missing} of the FILE records that hold the runs of `$MFT` are damaged; files described there are missing"
            ));
        }
        let covered = so_far.covered();
        if covered < size {
            notes.push(format!("`$MFT` has {size} bytes, only the first {covered} have a known place"));
        }
        Ok(Self::new(ground, so_far.reader.runs().to_vec(), size.min(covered), record_size))
    }

    fn new(ground: &Ground, runs: Vec<Run>, size: u64, record_size: u32) -> Self {
        Self::of_reader(ground.reader(runs, size, size), record_size, ground.boot.bytes_per_cluster)
    }

    /// The table of `reader`, whose runs count units of `unit` bytes.
    pub(crate) fn of_reader(reader: RunReader, record_size: u32, unit: u32) -> Self {
        let records = reader.size().checked_div(u64::from(record_size)).unwrap_or(0);
        Self { reader, record_size, cluster: unit, records: u32::try_from(records).unwrap_or(u32::MAX) }
    }

    /// Where the table's bytes are on the volume, in order.
    pub(crate) fn places(&self) -> Vec<Range<u64>> {
        let unit = u64::from(self.cluster);
        let mut places: Vec<Range<u64>> = Vec::new();
        for run in self.reader.runs().iter() {
            let Place::At(first) = run.place else { continue };
            let left = self.reader.size().saturating_sub(run.first.saturating_mul(unit));
            let start = first.saturating_mul(unit);
            places.push(start..start.saturating_add(run.count.saturating_mul(unit).min(left)));
        }
        places.sort_by_key(|range| range.start);
        places
    }

    /// Bytes of the table whose place is described.
    fn covered(&self) -> u64 {
        let end = self.reader.runs().last().map_or(0, |run| run.first.saturating_add(run.count));
        end.saturating_mul(u64::from(self.cluster))
    }

    /// The records that can be there: those whose runs lie in the part of the volume that the source has,
    /// ascending, not touching. Together they are no larger than that part, whatever the runs say.
    pub(crate) fn present_records(&self, ground: &Ground) -> Vec<Range<u32>> {
        let (cluster, size) = (u64::from(self.cluster), u64::from(self.record_size));
        let present = ground.volume.present();
        let mut left = present;
        let mut bytes: Vec<Range<u64>> = Vec::new();
        for run in self.reader.runs().iter() {
            let Place::At(lcn) = run.place else { continue };
            let here = present.saturating_sub(lcn.saturating_mul(cluster)).min(left);
            let start = run.first.saturating_mul(cluster);
            let end =
                start.saturating_add(run.count.saturating_mul(cluster).min(here)).min(self.reader.size());
            left = left.saturating_sub(end.saturating_sub(start));
            match bytes.last_mut() {
                _ if start >= end => {}
                Some(last) if last.end == start => last.end = end,
                _ => bytes.push(start..end),
            }
        }
        let record = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).min(self.records);
        let mut records: Vec<Range<u32>> = Vec::new();
        for range in bytes {
            let first = record(range.start.checked_div(size).unwrap_or(0));
            let first = records.last().map_or(first, |last| last.end.max(first));
            let end = record(range.end.div_ceil(size.max(1)));
            if first < end {
                records.push(first..end);
            }
        }
        records
    }

    /// Number of records.
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// Size of a record in bytes.
    pub(crate) fn record_size(&self) -> u32 {
        self.record_size
    }

    /// The table's bytes.
    pub(crate) fn reader(&self) -> &RunReader {
        &self.reader
    }

    /// Where a record is in the table, in bytes.
    pub(crate) fn offset(&self, record: u32) -> u64 {
        u64::from(record).saturating_mul(u64::from(self.record_size))
    }

    /// Reads one record.
    ///
    /// # Errors
    /// When it cannot be read, or is no FILE record.
    pub(crate) fn read(&self, number: u32) -> Result<RecordBuf, Error> {
        let at = self.offset(number);
        let mut bytes = vec![0; self.record_size as usize];
        self.reader.read_exact_at(&mut bytes, at)?;
        let found = format!("{:02x?}", bytes.first_chunk::<4>().unwrap_or(&[0; 4]));
        RecordBuf::parse(bytes).ok_or_else(|| Error::Structure {
            structure: "FILE record",
            at,
            expected: "the signature `FILE` and matching fixups".to_owned(),
            found,
            advice: "the record is damaged (the position is counted in `$MFT`); what it described cannot be read",
        })
    }
}

fn first_record(ground: &Ground, cluster: u64) -> Result<RecordBuf, Error> {
    let at = cluster.saturating_mul(u64::from(ground.boot.bytes_per_cluster));
    let mut bytes = vec![0; ground.boot.record_size as usize];
    ground.volume.read_exact_at(&mut bytes, at)?;
    let found = format!("{:02x?}", bytes.first_chunk::<4>().unwrap_or(&[0; 4]));
    let sound = RecordBuf::parse(bytes).filter(|buf| {
        buf.record().is_some_and(|record| record.in_use() && unnamed_data(&record, 0).is_some())
    });
    sound.ok_or_else(|| Error::Structure {
        structure: "first FILE record of $MFT",
        at,
        expected: "a FILE record in use that has a $DATA attribute".to_owned(),
        found,
        advice: "the start of the file table is damaged; --deep searches the whole volume for the rest of it",
    })
}

fn unnamed_data<'a>(record: &Record<'a>, lowest_vcn: u64) -> Option<Attribute<'a>> {
    record.attributes().find(|attribute| {
        let at = match attribute.form() {
            Some(Form::NonResident(form)) => form.lowest_vcn,
            _ => 0,
        };
        attribute.kind() == kind::DATA && attribute.is_unnamed() && at == lowest_vcn
    })
}

/// Appends the runs that `part` has from `lowest_vcn` on; `None` where it has none. A gap before them is kept
/// as lost.
fn append_part(
    ground: &Ground,
    runs: &mut Vec<Run>,
    part: Option<&RecordBuf>,
    lowest_vcn: u64,
) -> Option<()> {
    let end = runs.last().map_or(0, |run| run.first.saturating_add(run.count));
    let gap = lowest_vcn.checked_sub(end)?;
    let record = part?
        .record()
        .filter(|record| record.in_use() && record.base().is_some_and(|base| base.record == 0))?;
    let data = unnamed_data(&record, lowest_vcn)?;
    let Form::NonResident(form) = data.form()? else {
        return None;
    };
    if gap > 0 {
        runs.push(Run { first: end, count: gap, place: Place::Lost });
    }
    let (more, sound) = ground.runs(form.mapping_pairs, lowest_vcn);
    runs.extend(more.into_iter().take(MAX_RUNS.saturating_sub(runs.len())));
    sound.then_some(())
}
