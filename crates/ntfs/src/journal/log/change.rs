//! What a change in the log tells of files.

use undelfs_source::bytes::{u16_at, u32_at, u64_at};
use undelfs_volume::filesystem::FileTime;

use super::record::{Change, operation};
use crate::{
    attribute::{Attributes, kind},
    index_entry::{self, Facts},
    journal::usn::{self, UsnRecord},
    record::Reference,
    structures::{FileName, StandardInformation},
};

/// Bytes of a FILE record up to its flags: as much of it as is logged when it is freed.
const FREED_HEADER: usize = 24;
/// Where the fixups of a FILE record begin that says its own number, in bytes.
const NUMBERED: u16 = 0x30;

/// What one change tells.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// A file got its record.
    Born {
        /// The file.
        file: Reference,
        /// The time that the file system set then.
        changed: FileTime,
    },
    /// The file has, or had until this change, a name. The sequence number is zero where the change does not tell it.
    Name {
        /// The file.
        file: Reference,
        /// The name.
        name: FileName<'a>,
        /// What stands beside it.
        facts: Facts,
        /// Why the log has it.
        how: How,
    },
    /// The file's record was freed.
    Freed {
        /// The file.
        file: Reference,
    },
    /// A record of the change journal was written.
    Usn(UsnRecord<'a>),
    /// Bits of a bitmap were set that is too large for its FILE record.
    BitsSet(Bits),
}

/// Bits of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// Number of the first one in the stream.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// A cluster of the stream, and where that stood on the volume.
    pub at: (u64, u64),
}

/// What happens to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It is given or taken away.
    Changed,
    /// It stands in an index that is changed.
    Seen,
}

/// Sizes that say where a FILE record is in `$MFT`, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Of a cluster.
    pub cluster: u32,
    /// Of a FILE record.
    pub record: u32,
}

/// Calls `each` with all that `change` tells.
pub fn tell<'a>(change: &Change<'a>, sizes: Sizes, each: &mut dyn FnMut(Told<'a>)) {
    use operation::*;
    match (change.redo, change.undo) {
        (INITIALIZE_FILE_RECORD_SEGMENT, _) => born(change, sizes, each),
        (DEALLOCATE_FILE_RECORD_SEGMENT, INITIALIZE_FILE_RECORD_SEGMENT) => freed(change, sizes, each),
        (CREATE_ATTRIBUTE, _) => attribute(change, change.redo_data, sizes, each),
        (DELETE_ATTRIBUTE, CREATE_ATTRIBUTE) => attribute(change, change.undo_data, sizes, each),
        (ADD_INDEX_ENTRY_ROOT | ADD_INDEX_ENTRY_ALLOCATION, _) => {
            index_entry(change.redo_data, How::Changed, each);
        }
        (DELETE_INDEX_ENTRY_ROOT | DELETE_INDEX_ENTRY_ALLOCATION, _) => {
            index_entry(change.undo_data, How::Changed, each);
        }
        (SET_BITS_IN_NONRESIDENT_BIT_MAP, _) => {
            if let Some(bits) = bits(change, sizes) {
                each(Told::BitsSet(bits));
            }
        }
        (UPDATE_NONRESIDENT_VALUE | WRITE_END_OF_INDEX_BUFFER, _) => {
            usn::remains(change.redo_data, 0, 1).for_each(|record| each(Told::Usn(record)));
            for data in [change.redo_data, change.undo_data] {
                for at in (0..data.len()).step_by(index_entry::STEP) {
                    index_entry(data.get(at..).unwrap_or_default(), How::Seen, each);
                }
            }
        }
        _ => {}
    }
}

/// Where the block that a change is about begins in its stream, in bytes.
fn place(change: &Change<'_>, sizes: Sizes) -> Option<u64> {
    let block = u64::from(change.block).checked_mul(512)?;
    change.vcn.checked_mul(sizes.cluster.into())?.checked_add(block)
}

/// Number of the FILE record that a change of `$MFT` is about.
fn number(change: &Change<'_>, sizes: Sizes) -> Option<u64> {
    place(change, sizes)?.checked_div(sizes.record.into())
}

/// The bits that a change sets: the number of the first one, counted from the place of the change, 0, and how many 4.
fn bits(change: &Change<'_>, sizes: Sizes) -> Option<Bits> {
    let within = u32_at(change.redo_data, 0)?;
    let byte = place(change, sizes)?.checked_add(change.offset.into())?;
    let first = byte.checked_mul(8)?.checked_add(within.into())?;
    Some(Bits { first, count: u32_at(change.redo_data, 4)?, at: (change.vcn, change.lcn?) })
}

/// The file that the image of a FILE record is of, where that is a base record.
fn file_of(image: &[u8], change: &Change<'_>, sizes: Sizes) -> Option<Reference> {
    let number = number(change, sizes)?;
    let own = u32_at(image, 0x2C).filter(|_| u16_at(image, 4) >= Some(NUMBERED));
    let fits = own.is_none_or(|own| u64::from(own) == number);
    let is_base = u64_at(image, 0x20).is_none_or(|base| base == 0);
    let sequence = u16_at(image, 0x10).filter(|sequence| *sequence != 0)?;
    (image.starts_with(b"FILE") && fits && is_base).then_some(Reference { record: number, sequence })
}

fn names<'a>(image: &'a [u8], file: Reference, each: &mut dyn FnMut(Told<'a>)) {
    let first = u16_at(image, 0x14).map_or(usize::MAX, usize::from);
    for attribute in Attributes::new(image, first).filter(|attribute| attribute.kind() == kind::FILE_NAME) {
        let Some(content) = attribute.resident() else { continue };
        if let Some(name) = FileName::parse(content) {
            each(Told::Name { file, name, facts: Facts::parse(content), how: How::Changed });
        }
    }
}

fn born<'a>(change: &Change<'a>, sizes: Sizes, each: &mut dyn FnMut(Told<'a>)) {
    let image = change.redo_data;
    let Some(file) = file_of(image, change, sizes) else { return };
    let first = u16_at(image, 0x14).map_or(usize::MAX, usize::from);
    let mut attributes = Attributes::new(image, first);
    let info = attributes
        .find(|attribute| attribute.kind() == kind::STANDARD_INFORMATION)
        .and_then(|attribute| StandardInformation::parse(attribute.resident()?));
    let changed = info.map_or(FileTime(0), |info| info.changed);
    each(Told::Born { file, changed });
    names(image, file, each);
}

fn freed<'a>(change: &Change<'a>, sizes: Sizes, each: &mut dyn FnMut(Told<'a>)) {
    let image = change.undo_data;
    let Some(file) = file_of(image, change, sizes).filter(|_| image.len() >= FREED_HEADER) else { return };
    names(image, file, each);
    each(Told::Freed { file });
}

/// An attribute that is created or deleted; a name tells of the file.
fn attribute<'a>(change: &Change<'a>, bytes: &'a [u8], sizes: Sizes, each: &mut dyn FnMut(Told<'a>)) {
    let attribute = Attributes::new(bytes, 0).next().filter(|attribute| attribute.kind() == kind::FILE_NAME);
    let content = attribute.and_then(|attribute| attribute.resident());
    let Some((record, content)) = number(change, sizes).zip(content) else { return };
    if let Some(name) = FileName::parse(content) {
        let file = Reference { record, sequence: 0 };
        each(Told::Name { file, name, facts: Facts::parse(content), how: How::Changed });
    }
}

fn index_entry<'a>(bytes: &'a [u8], how: How, each: &mut dyn FnMut(Told<'a>)) {
    if let Some((file, name, facts)) = index_entry::parse_anywhere(bytes) {
        each(Told::Name { file, name, facts, how });
    }
}
