//! The streams of one file, put together from all records that describe it.

use std::sync::Arc;

use undelfs_source::ErrorKind;
use undelfs_volume::{
    Error,
    filesystem::{Codec, File, FileFlags, Layout, LinkTarget, Place, Refusal, Run, Stream},
};

use crate::{
    Ntfs,
    attribute::{Attribute, COMPRESSION_MASK, ENCRYPTED, Form, kind},
    batch::MAX_SIZE,
    lznt1::Lznt1,
    mft::Ground,
    name::to_wtf8,
    record::{Record, RecordBuf, same_generation},
    reparse_point::{self, Substitute},
    structures::StandardInformation,
    table::Table,
    wof,
};

/// Longest content of a reparse point that is read, in bytes; NTFS allows 16 KiB.
const MAX_REPARSE: u64 = 64 << 10;
/// Most records of one file that are read: enough for 16384 times the runs of one record.
const MAX_RECORDS: usize = 16384;

/// All records that describe one file, as far as they are still there.
pub(crate) struct FileRecords {
    records: Vec<RecordBuf>,
}

impl FileRecords {
    /// Reads the records of `file`.
    pub(crate) fn read(ntfs: &Ntfs, file: &File) -> Result<Self, Error> {
        let table = ntfs.table_of(file.record);
        let base = table.read(file.record)?;
        let removed = file.flags.contains(FileFlags::REMOVED);
        let changed = || Error::Structure {
            structure: "FILE record",
            at: table.mft.offset(file.record.saturating_sub(table.first)),
            expected: format!("sequence number {}, as when it was scanned", file.generation),
            found: "another".to_owned(),
            advice: "somebody writes to the source; mount a copy, or mount again",
        };
        let record = base.record().ok_or_else(changed)?;
        if record.in_use() == removed || !same_generation(record.sequence(), !removed, file.generation) {
            return Err(changed());
        }
        // Records that the list names come first: where two describe the same clusters, theirs is the description
        // that was in force. The scan knows of those that a list which was cut or overwritten leaves out.
        let mut numbers = listed_records(table, &record);
        let listed = numbers.len();
        numbers.extend(ntfs.extensions_of(file.record).take(MAX_RECORDS));
        let (listed, others) = numbers.split_at(listed);
        let others = others.iter().filter(|number| listed.binary_search(number).is_err());
        let mut records = vec![base];
        for number in listed.iter().chain(others) {
            records.extend(table.read(*number).ok().filter(|part| belongs(table, part, file, removed)));
        }
        Ok(Self { records })
    }

    /// Reads the record of `file` and those that the scan found to extend it. Its attribute list is not followed, so that
    /// reading all files so takes no longer than there are records.
    pub(crate) fn scanned(ntfs: &Ntfs, file: &File) -> Result<Self, Error> {
        let table = ntfs.table_of(file.record);
        let removed = file.flags.contains(FileFlags::REMOVED);
        let mut records = vec![table.read(file.record)?];
        let extensions = ntfs.extensions_of(file.record).filter_map(|number| table.read(number).ok());
        records.extend(extensions.filter(|part| belongs(table, part, file, removed)));
        Ok(Self { records })
    }

    /// The bytes of the records, with what stands behind their attributes.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(RecordBuf::bytes)
    }

    /// What stands behind the attributes of each record.
    pub(crate) fn slack(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(RecordBuf::slack)
    }

    /// The attributes of all records.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.records.iter().filter_map(RecordBuf::record).flat_map(|record: Record<'_>| record.attributes())
    }

    fn reparse_point(&self, ground: &Ground) -> Option<Vec<u8>> {
        let attribute = self.attributes().find(|a| a.kind() == kind::REPARSE_POINT)?;
        ground.content(&attribute, MAX_REPARSE)
    }

    /// Where the file points, where it is a symbolic link.
    pub(crate) fn link_target(&self, ground: &Ground) -> Option<LinkTarget> {
        if let Some(content) = self.reparse_point(ground) {
            return reparse_point::link_target(&content);
        }
        let data = self.attributes().find(|a| a.kind() == kind::DATA && a.is_unnamed())?;
        reparse_point::interix_target(&ground.content(&data, MAX_REPARSE)?)
    }

    /// The file's streams: the unnamed one first, then by name.
    pub(crate) fn streams(&self, ground: &Ground) -> Vec<Stream> {
        let parts = self.parts(ground, kind::DATA);
        let substitute = self.substitute(ground);
        let refusal = match &substitute {
            Some(Substitute::Elsewhere(refusal)) => Some(refusal),
            _ => None,
        };
        let mut streams: Vec<Stream> =
            parts.chunk_by(|a, b| a.name == b.name).map(|parts| stream(ground, parts, refusal)).collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(Substitute::Compressed(algorithm)) = substitute {
            wof::unfold(&mut streams, algorithm);
        }
        streams
    }

    /// The attribute with which EFS encrypts the file's streams.
    pub(crate) fn encryption(&self, ground: &Ground) -> Option<Stream> {
        let parts = self.parts(ground, kind::LOGGED_UTILITY_STREAM);
        let mut all = parts.chunk_by(|a, b| a.name == b.name).map(|parts| stream(ground, parts, None));
        all.find(|stream| stream.name == EFS_NAME)
    }

    /// The attributes of a kind, by name and first cluster.
    fn parts<'a>(&'a self, ground: &Ground, kind: u32) -> Vec<Part<'a>> {
        let mut parts: Vec<Part<'_>> = self.attributes().filter_map(|a| Part::new(ground, a, kind)).collect();
        parts.sort_by(|a, b| (a.name, a.first).cmp(&(b.name, b.first)));
        parts
    }

    /// What is the file's content, where the unnamed stream is not.
    fn substitute(&self, ground: &Ground) -> Option<Substitute> {
        let content = self.reparse_point(ground)?;
        let info = self.attributes().find(|a| a.kind() == kind::STANDARD_INFORMATION);
        let attributes = info
            .and_then(|info| StandardInformation::parse(info.resident()?))
            .map_or(0, |info| info.attributes);
        reparse_point::substitute(&content, attributes)
    }
}

/// The records that a file's attribute list names, ascending.
fn listed_records(table: &Table, record: &Record<'_>) -> Vec<u32> {
    let entries = table.ground.attribute_list(record).unwrap_or_default();
    let mut numbers: Vec<u32> =
        entries.iter().filter_map(|entry| table.number(entry.holder.record)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.truncate(MAX_RECORDS);
    numbers
}

/// True when `part` extends `file`.
fn belongs(table: &Table, part: &RecordBuf, file: &File, removed: bool) -> bool {
    let Some(record) = part.record() else { return false };
    record.base().is_some_and(|base| {
        table.number(base.record) == Some(file.record)
            && record.in_use() != removed
            && base.sequence == file.generation
    })
}

/// Name of the attribute with which EFS encrypts a file.
const EFS_NAME: &[u8] = b"$EFS";

/// A `$DATA` attribute, or another that is put together so: a stream, or the part of one that begins at cluster `first`.
struct Part<'a> {
    name: &'a [u8],
    first: u64,
    flags: u16,
    form: Form<'a>,
    runs: Vec<Run>,
}

impl<'a> Part<'a> {
    fn new(ground: &Ground, attribute: Attribute<'a>, kind: u32) -> Option<Self> {
        if attribute.kind() != kind {
            return None;
        }
        let (name, form) = (attribute.name()?, attribute.form()?);
        let (first, runs) = match form {
            Form::Resident(_) => (0, Vec::new()),
            Form::NonResident(form) => (form.lowest_vcn, ground.runs(form.mapping_pairs, form.lowest_vcn).0),
        };
        Some(Self { name, first, flags: attribute.flags(), form, runs })
    }
}

/// Appends a part's runs, with the clusters between as lost. A part whose clusters are there already is an older
/// description of them.
fn append(all: &mut Vec<Run>, part: &Part<'_>) {
    let have = all.last().map_or(0, |run| run.first.saturating_add(run.count));
    if part.first >= have {
        push_lost(all, part.first);
        all.extend(&part.runs);
    }
}

fn push_lost(all: &mut Vec<Run>, end: u64) {
    let have = all.last().map_or(0, |run| run.first.saturating_add(run.count));
    if let Some(count @ 1..) = end.checked_sub(have) {
        all.push(Run { first: have, count, place: Place::Lost });
    }
}

/// Puts the parts of one stream together.
fn stream(ground: &Ground, parts: &[Part<'_>], reparse: Option<&Refusal>) -> Stream {
    let cluster = u64::from(ground.boot.bytes_per_cluster);
    let name = parts.first().map_or_else(Vec::new, |part| to_wtf8(part.name));
    let flags = parts.first().map_or(0, |part| part.flags);
    let encrypted = flags & ENCRYPTED != 0;
    let mut refusal = refusal(flags, &name, reparse);
    let (size, valid, unit) = match parts.first().map(|part| (part.first, part.form)) {
        Some((_, Form::Resident(content))) => {
            let size = content.len() as u64;
            let layout = Layout::Resident(content.into());
            if encrypted {
                // Where it stands in the record it cannot be encrypted; an empty one has nothing that could be.
                refusal = (size > 0).then(|| Refusal {
                    kind: ErrorKind::Damaged,
                    reason: "the stream is marked as encrypted, and stands in the file's record, where it cannot be"
                        .to_owned(),
                });
            }
            return Stream { name, size, valid: size, layout, encrypted, codec: None, refusal };
        }
        Some((0, Form::NonResident(form))) if form.size <= MAX_SIZE => {
            (form.size, form.valid.min(form.size), form.compression_unit)
        }
        _ => {
            refusal = Some(Refusal {
                kind: ErrorKind::Damaged,
                reason: "the attribute that says how large the stream is, and how it is stored, is lost"
                    .to_owned(),
            });
            (0, 0, 0)
        }
    };
    let mut runs: Vec<Run> = Vec::new();
    for part in parts {
        append(&mut runs, part);
    }
    push_lost(&mut runs, size.div_ceil(cluster.max(1)));
    let runs: Arc<[Run]> = runs.into();
    let codec = match flags & COMPRESSION_MASK {
        0 => None,
        // A unit of one cluster is stored as it is, or not at all.
        _ if unit == 0 => None,
        method => {
            let codec = Lznt1::new(runs.clone(), ground.boot.bytes_per_cluster, unit).filter(|_| method == 1);
            if codec.is_none() {
                refusal.get_or_insert_with(|| Refusal {
                    kind: ErrorKind::Unsupported,
                    reason: format!(
                        "the content cannot be read: compression method {method} in units of 2^{unit} clusters is unknown"
                    ),
                });
            }
            codec.map(|codec| Arc::new(codec) as Arc<dyn Codec>)
        }
    };
    Stream { name, size, valid, layout: Layout::Runs(runs), encrypted, codec, refusal }
}

fn refusal(flags: u16, name: &[u8], reparse: Option<&Refusal>) -> Option<Refusal> {
    if flags & ENCRYPTED != 0 {
        return Some(Refusal {
            kind: ErrorKind::KeyNeeded,
            reason: "the content is encrypted by EFS; it can be read only with the key of a user who may decrypt it"
                .to_owned(),
        });
    }
    reparse.filter(|_| name.is_empty()).cloned()
}
