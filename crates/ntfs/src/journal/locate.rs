use undelfs_source::bytes::array;
use undelfs_volume::filesystem::{FileFlags, Stream};

use super::PIECE;
use crate::{
    Ntfs,
    attribute::{Form, kind},
    index::BLOCK,
    index_entry,
    name::to_utf16,
    record::{Record, RecordBuf, Reference, apply_fixups},
};

/// FILE record of the directory `$Extend`.
const EXTEND: u32 = 11;
/// Records that are searched for a journal that `$Extend` does not tell: Windows makes it when the volume is young.
const NEAR: u32 = 4096;

/// Where the change journal is, and what else is to be known of `$Extend`.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// FILE records that have a stream `$J`.
    pub(super) journals: Vec<Journal>,
    /// Record of `$Extend\$Deleted`, where files wait that somebody still has open when they are deleted.
    pub(super) deleted: Option<u64>,
}

/// A file with a change journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Journal {
    record: u32,
    is_live: bool,
}

/// Finds the change journal by its name in `$Extend`; where that is not to be found, and in a deep search also where the
/// journal itself was deleted, by its streams.
pub(super) fn locate(ntfs: &Ntfs, deep: bool) -> Places {
    let mut places = Places::default();
    let extend = ntfs.own.read(EXTEND).ok();
    let record = extend.as_ref().and_then(RecordBuf::record).filter(Record::is_directory);
    if let Some(record) = &record {
        in_extend(ntfs, record, extend.as_ref().map_or(&[], RecordBuf::bytes), &mut places);
    }
    if deep || record.is_none() {
        let end = NEAR.min(ntfs.own.mft.records());
        let found =
            (EXTEND..end).filter_map(|number| by_streams(ntfs, number).filter(|found| deep || found.is_live));
        let known = places.journals.clone();
        places.journals.extend(found.filter(|found| known.iter().all(|known| known.record != found.record)));
    }
    places
}

/// What the index of `$Extend` names.
fn in_extend(ntfs: &Ntfs, record: &Record<'_>, bytes: &[u8], places: &mut Places) {
    let own = Reference { record: EXTEND.into(), sequence: record.sequence() };
    let mut look = |bytes: &[u8]| {
        for at in (0..bytes.len()).step_by(index_entry::STEP) {
            let Some((file, name, _)) = bytes.get(at..).and_then(index_entry::parse_anywhere) else {
                continue;
            };
            let units: Vec<u16> =
                name.name.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            if name.parent != own {
                continue;
            }
            if units == to_utf16(b"$Deleted") {
                places.deleted = Some(file.record);
            }
            let number = u32::try_from(file.record).ok().filter(|_| units == to_utf16(b"$UsnJrnl"));
            let found = number.and_then(|number| by_streams(ntfs, number)).filter(|found| found.is_live);
            places.journals.extend(found.filter(|found| !places.journals.contains(found)));
        }
    };
    look(bytes);
    for attribute in record.attributes().filter(|attribute| attribute.kind() == kind::INDEX_ALLOCATION) {
        let Some(mut content) = ntfs.own.ground.content(&attribute, PIECE as u64) else { continue };
        for block in content.chunks_mut(BLOCK) {
            if array::<4>(block, 0) == Some(*b"INDX") && apply_fixups(block).is_some() {
                look(block);
            }
        }
    }
}

/// The record with this number, where it has a stream `$J` or names others that may.
fn by_streams(ntfs: &Ntfs, number: u32) -> Option<Journal> {
    let buf = ntfs.own.read(number).ok()?;
    let record = buf.record()?;
    let own = record.attributes().any(|attribute| {
        let is_journal = attribute.kind() == kind::DATA && attribute.name() == Some(b"$\0J\0");
        is_journal && matches!(attribute.form(), Some(Form::NonResident(_) | Form::Resident(_)))
    });
    let listed = ntfs.own.ground.attribute_list(&record).unwrap_or_default();
    let named = listed.iter().any(|entry| entry.kind == kind::DATA && entry.named);
    let is_base = record.base().is_none();
    (is_base && (own || named)).then_some(Journal { record: number, is_live: record.in_use() })
}

/// The stream `$J`.
pub(super) fn stream(ntfs: &Ntfs, journal: &Journal) -> Option<Stream> {
    let flags = if journal.is_live { FileFlags::METADATA } else { FileFlags::REMOVED };
    let streams = ntfs.streams_of_record(journal.record, flags).ok()?;
    streams.into_iter().find(|stream| stream.name == b"$J")
}
