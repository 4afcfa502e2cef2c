//! Attributes: the parts of a FILE record.

use std::iter::FusedIterator;

use undelfs_source::bytes::{u16_at, u32_at};
use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// Type codes, named as in the volume's `$AttrDef`.
pub mod kind {
    #![expect(missing_docs, reason = "the names are the documentation")]
    pub const STANDARD_INFORMATION: u32 = 0x10;
    pub const ATTRIBUTE_LIST: u32 = 0x20;
    pub const FILE_NAME: u32 = 0x30;
    pub const VOLUME_NAME: u32 = 0x60;
    pub const VOLUME_INFORMATION: u32 = 0x70;
    pub const DATA: u32 = 0x80;
    pub const INDEX_ROOT: u32 = 0x90;
    /// `$INDEX_ALLOCATION`.
    pub const INDEX_ALLOCATION: u32 = 0xA0;
    pub const BITMAP: u32 = 0xB0;
    pub const REPARSE_POINT: u32 = 0xC0;
    pub const LOGGED_UTILITY_STREAM: u32 = 0x100;
}

/// The low byte of the flags names a compression method; 1 is LZNT1.
pub const COMPRESSION_MASK: u16 = 0x00FF;
/// The content is encrypted by EFS.
pub const ENCRYPTED: u16 = 0x4000;

const END: u32 = 0xFFFF_FFFF;

/// The header that every attribute begins with.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    kind: U32,
    length: U32,
    non_resident: u8,
    name_length: u8,
    name_offset: U16,
    flags: U16,
    instance: U16,
}

/// What follows the header of a non-resident attribute.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct NonResidentLayout {
    lowest_vcn: U64,
    highest_vcn: U64,
    runs_offset: U16,
    compression_unit: u8,
    reserved: [u8; 5],
    allocated: U64,
    size: U64,
    valid: U64,
}

/// One attribute of a FILE record.
#[derive(Clone, Copy)]
pub struct Attribute<'a> {
    bytes: &'a [u8],
    header: &'a Header,
}

/// Where the content of an attribute is.
#[derive(Clone, Copy)]
pub enum Form<'a> {
    /// In the record.
    Resident(&'a [u8]),
    /// In clusters.
    NonResident(NonResident<'a>),
}

/// The description of a content, or a part of it, that is in clusters.
#[derive(Debug, Clone, Copy)]
pub struct NonResident<'a> {
    /// First cluster of the stream that this attribute describes (VCN).
    pub lowest_vcn: u64,
    /// Last cluster of the stream that this attribute describes.
    pub highest_vcn: u64,
    /// Exponent of two of the clusters in a compression unit; zero without compression.
    pub compression_unit: u8,
    /// Room that the content takes in bytes. Only the attribute with `lowest_vcn` 0 has it.
    pub allocated: u64,
    /// Size of the content in bytes. Only the attribute with `lowest_vcn` 0 has it.
    pub size: u64,
    /// Bytes that were ever written. Only the attribute with `lowest_vcn` 0 has it.
    pub valid: u64,
    /// The encoded runs ("mapping pairs").
    pub mapping_pairs: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The type code.
    pub fn kind(&self) -> u32 {
        self.header.kind.get()
    }

    /// The flags.
    pub fn flags(&self) -> u16 {
        self.header.flags.get()
    }

    /// True when the content is in clusters.
    pub fn is_non_resident(&self) -> bool {
        self.header.non_resident != 0
    }

    /// The name in UTF-16LE, empty for an attribute without one; `None` where it does not fit into the attribute.
    pub fn name(&self) -> Option<&'a [u8]> {
        let start = usize::from(self.header.name_offset.get());
        match usize::from(self.header.name_length).saturating_mul(2) {
            0 => Some(&[]),
            len => self.bytes.get(start..start.saturating_add(len)),
        }
    }

    /// True for an attribute without a name.
    pub fn is_unnamed(&self) -> bool {
        self.header.name_length == 0
    }

    /// The content, or where it is. `None` where the attribute's fields contradict each other.
    pub fn form(&self) -> Option<Form<'a>> {
        let body = self.bytes.get(size_of::<Header>()..)?;
        if !self.is_non_resident() {
            let len = usize::try_from(u32_at(body, 0)?).ok()?;
            let start = usize::from(u16_at(body, 4)?);
            return self.bytes.get(start..start.checked_add(len)?).map(Form::Resident);
        }
        let (layout, _) = NonResidentLayout::ref_from_prefix(body).ok()?;
        Some(Form::NonResident(NonResident {
            lowest_vcn: layout.lowest_vcn.get(),
            highest_vcn: layout.highest_vcn.get(),
            compression_unit: layout.compression_unit,
            allocated: layout.allocated.get(),
            size: layout.size.get(),
            valid: layout.valid.get(),
            mapping_pairs: self.bytes.get(usize::from(layout.runs_offset.get())..)?,
        }))
    }

    /// The content of a resident attribute.
    pub fn resident(&self) -> Option<&'a [u8]> {
        match self.form()? {
            Form::Resident(content) => Some(content),
            Form::NonResident(_) => None,
        }
    }
}

/// The attributes of a FILE record. Ends at the end mark or at the first attribute that does not fit.
pub struct Attributes<'a> {
    record: &'a [u8],
    at: usize,
    complete: bool,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(record: &'a [u8], at: usize) -> Self {
        Self { record, at, complete: false }
    }

    /// True once the end mark was reached: what follows is no attribute of the file.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let rest = self.record.get(self.at..)?;
        if u32_at(rest, 0)? == END {
            self.complete = true;
            self.at = usize::MAX;
            return None;
        }
        let (header, _) = Header::ref_from_prefix(rest).ok()?;
        let length = usize::try_from(header.length.get()).ok()?;
        if length < size_of::<Header>() {
            self.at = usize::MAX;
            return None;
        }
        let bytes = rest.get(..length);
        self.at = if bytes.is_some() { self.at.saturating_add(length) } else { usize::MAX };
        Some(Attribute { bytes: bytes?, header })
    }
}

impl FusedIterator for Attributes<'_> {}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A resident attribute as it stands in a record.
    pub(crate) fn resident(kind: u32, name: &str, content: &[u8]) -> Vec<u8> {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let start = (24 + name.len()).next_multiple_of(8);
        let mut a = vec![0; (start + content.len()).next_multiple_of(8)];
        let length = a.len() as u32;
        a[..4].copy_from_slice(&kind.to_le_bytes());
        a[4..8].copy_from_slice(&length.to_le_bytes());
        a[9] = (name.len() / 2) as u8;
        a[10] = 24;
        a[16..20].copy_from_slice(&(content.len() as u32).to_le_bytes());
        a[20] = start as u8;
        a[24..24 + name.len()].copy_from_slice(&name);
        a[start..start + content.len()].copy_from_slice(content);
        a
    }

    #[test]
    fn attributes_are_walked_to_the_end_mark() {
        let mut bytes = resident(kind::FILE_NAME, "", b"first");
        bytes.extend(resident(kind::DATA, "stream", b"second"));
        bytes.extend(END.to_le_bytes());
        bytes.extend([0; 60]);
        let mut attributes = Attributes::new(&bytes, 0);
        let all: Vec<_> = attributes.by_ref().collect();
        assert!(attributes.is_complete());
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].resident().unwrap(), b"first");
        assert_eq!(crate::name::to_wtf8(all[1].name().unwrap()), b"stream");
        assert_eq!(all[1].resident().unwrap(), b"second");
    }

    #[test]
    fn a_length_that_leaves_the_record_ends_the_walk() {
        for length in [0_u32, 8, 15, 4096, u32::MAX] {
            let mut bytes = resident(kind::DATA, "", b"x");
            let mut bad = resident(kind::DATA, "", b"y");
            bad[4..8].copy_from_slice(&length.to_le_bytes());
            bytes.extend(bad);
            let mut attributes = Attributes::new(&bytes, 0);
            assert_eq!(attributes.by_ref().count(), 1, "length {length}");
            assert!(!attributes.is_complete(), "length {length}");
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_not_taken_for_no_name() {
        let mut bytes = resident(kind::DATA, "stream", b"x");
        bytes[10] = 200;
        let attribute = Attributes::new(&bytes, 0).next().unwrap();
        assert!(attribute.name().is_none() && !attribute.is_unnamed());
    }

    #[test]
    fn content_outside_the_attribute_is_refused() {
        let mut bytes = resident(kind::DATA, "", b"content");
        bytes[16..20].copy_from_slice(&100_u32.to_le_bytes());
        assert!(Attributes::new(&bytes, 0).next().unwrap().form().is_none());
    }
}
