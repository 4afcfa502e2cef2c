//! FILE records: the entries of `$MFT`.

use undelfs_source::bytes::u16_at;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use crate::attribute::Attributes;

/// The header of a FILE record.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    signature: [u8; 4],
    fixup_offset: U16,
    fixup_count: U16,
    journal: U64,
    sequence: U16,
    links: U16,
    attributes: U16,
    flags: U16,
    used: U32,
    allocated: U32,
    base: U64,
}

const IN_USE: u16 = 1;
const DIRECTORY: u16 = 2;
/// An index of something else than file names, such as `$Secure` has.
const VIEW_INDEX: u16 = 8;

/// A reference to a FILE record: its number and the sequence number that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Number of the record. NTFS keeps 48 bits, of which Windows uses 32.
    pub record: u64,
    /// Sequence number of the record at that time.
    pub sequence: u16,
}

impl Reference {
    /// From the 64-bit number that stands on the volume.
    pub fn new(raw: u64) -> Self {
        let [.., low, high] = raw.to_le_bytes();
        Self { record: raw & 0xFFFF_FFFF_FFFF, sequence: u16::from_le_bytes([low, high]) }
    }
}

/// A FILE record whose fixups have been applied.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
    header: &'a Layout,
    damaged: bool,
}

impl<'a> Record<'a> {
    /// Applies the fixups to `buf`, one whole record, and reads its header.
    ///
    /// `None` where there is no FILE record, or its first block does not hold together. Where only a later
    /// block was torn the record ends before it and is [damaged](Record::damaged).
    pub fn parse(buf: &'a mut [u8]) -> Option<Self> {
        if !buf.starts_with(b"FILE") {
            return None;
        }
        let sound = apply_fixups(buf)?;
        Self::view(buf, sound)
    }

    /// Reads the header of a record of which the first `sound` bytes have had their fixups applied.
    fn view(buf: &'a [u8], sound: usize) -> Option<Self> {
        let (header, _) = Layout::ref_from_prefix(buf.get(..sound)?).ok()?;
        let used = usize::try_from(header.used.get()).ok()?;
        if used < usize::from(header.attributes.get()) {
            return None;
        }
        let damaged = sound < buf.len() || used > buf.len();
        Some(Self { bytes: buf.get(..used.min(sound))?, header, damaged })
    }

    /// True while a file lives in the record.
    pub fn in_use(&self) -> bool {
        self.header.flags.get() & IN_USE != 0
    }

    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        self.header.flags.get() & (DIRECTORY | VIEW_INDEX) == DIRECTORY
    }

    /// The sequence number. Freeing a record adds one to it, by Windows and ntfs-3g.
    pub fn sequence(&self) -> u16 {
        self.header.sequence.get()
    }

    /// Number of the `$LogFile` entry that last changed the record.
    pub fn journal(&self) -> u64 {
        self.header.journal.get()
    }

    /// The base record, where this one only extends it.
    pub fn base(&self) -> Option<Reference> {
        Some(self.header.base.get()).filter(|raw| *raw != 0).map(Reference::new)
    }

    /// True where a part of the record is missing.
    pub fn damaged(&self) -> bool {
        self.damaged
    }

    /// The attributes, in the order of the record.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.bytes, usize::from(self.header.attributes.get()))
    }
}

/// A FILE record with its bytes.
pub struct RecordBuf {
    bytes: Vec<u8>,
    sound: usize,
}

impl RecordBuf {
    /// Takes the bytes of a whole record; `None` as for [`Record::parse`].
    pub fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        if !bytes.starts_with(b"FILE") {
            return None;
        }
        let sound = apply_fixups(&mut bytes)?;
        Record::view(&bytes, sound)?;
        Some(Self { bytes, sound })
    }

    /// All bytes of the record, also those behind its attributes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What stands behind the attributes, from a multiple of eight bytes on.
    pub fn slack(&self) -> &[u8] {
        let used = self.record().map_or(0, |record| record.bytes.len());
        let from = used.saturating_sub(used % 8);
        self.bytes.get(from..).unwrap_or_default()
    }

    /// The record as [`free`] makes it look.
    #[must_use]
    pub fn freed(mut self) -> Self {
        free(&mut self.bytes);
        self
    }

    /// The record.
    pub fn record(&self) -> Option<Record<'_>> {
        Record::view(&self.bytes, self.sound)
    }
}

/// Makes the FILE record in `bytes` look freed, as formatting the volume does to all records without touching them.
/// Says whether it was in use.
pub fn free(bytes: &mut [u8]) -> bool {
    let Ok((header, _)) = Layout::mut_from_prefix(bytes) else { return false };
    let flags = header.flags.get();
    if header.signature != *b"FILE" || flags & IN_USE == 0 {
        return false;
    }
    header.flags.set(flags & !IN_USE);
    header.sequence.set(freed(header.sequence.get()));
    true
}

/// Puts back the last two bytes of each block, which NTFS replaces by a check number on the volume. The result
/// is how many bytes from the start hold together; `None` where not even the first block does.
pub(crate) fn apply_fixups(buf: &mut [u8]) -> Option<usize> {
    let offset = usize::from(u16_at(buf, 4)?);
    let blocks = usize::from(u16_at(buf, 6)?).checked_sub(1)?;
    let stride = buf.len().checked_div(blocks)?;
    if stride < 256 || stride.checked_mul(blocks)? != buf.len() {
        return None;
    }
    let check = u16_at(buf, offset)?;
    let mut end = 0_usize;
    for block in 1..=blocks {
        let next = end.checked_add(stride)?;
        let original = u16_at(buf, offset.checked_add(block.checked_mul(2)?)?)?;
        let tail = buf.get_mut(next.checked_sub(2)?..next)?;
        if tail != check.to_le_bytes() {
            break;
        }
        tail.copy_from_slice(&original.to_le_bytes());
        end = next;
    }
    (end > 0).then_some(end)
}

/// Whether a record with the sequence number `sequence` is, or was last, the one that a reference with the
/// number `wanted` means.
///
/// While the record is in use the numbers are equal. Freeing it adds one (Windows, ntfs-3g) or leaves the
/// number (the `ntfs3` driver of Linux, which adds one when the record is used again), skipping zero.
pub fn same_generation(sequence: u16, in_use: bool, wanted: u16) -> bool {
    sequence == wanted || (!in_use && freed(wanted) == sequence)
}

/// The sequence number of a record after it was freed.
pub fn freed(sequence: u16) -> u16 {
    sequence.wrapping_add(1).max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record of two 512-byte blocks that holds `attributes`.
    pub(crate) fn record(flags: u16, sequence: u16, attributes: &[u8]) -> Vec<u8> {
        let mut r = vec![0; 1024];
        r[..4].copy_from_slice(b"FILE");
        r[4..6].copy_from_slice(&48_u16.to_le_bytes());
        r[6..8].copy_from_slice(&3_u16.to_le_bytes());
        r[8..16].copy_from_slice(&77_u64.to_le_bytes());
        r[16..18].copy_from_slice(&sequence.to_le_bytes());
        r[20..22].copy_from_slice(&56_u16.to_le_bytes());
        r[22..24].copy_from_slice(&flags.to_le_bytes());
        let used = 56 + attributes.len() as u32 + 8;
        r[24..28].copy_from_slice(&used.to_le_bytes());
        r[28..32].copy_from_slice(&1024_u32.to_le_bytes());
        r[56..56 + attributes.len()].copy_from_slice(attributes);
        r[56 + attributes.len()..60 + attributes.len()].fill(0xFF);
        r[48..50].copy_from_slice(&[0xAA, 0xBB]);
        for (slot, end) in [(50, 512), (52, 1024)] {
            let original = [r[end - 2], r[end - 1]];
            r[slot..slot + 2].copy_from_slice(&original);
            r[end - 2..end].copy_from_slice(&[0xAA, 0xBB]);
        }
        r
    }

    #[test]
    fn header_fields_and_fixups_are_read() {
        let mut bytes = record(3, 7, &[0x10; 700]);
        let r = Record::parse(&mut bytes).unwrap();
        assert!(r.in_use() && r.is_directory() && !r.damaged());
        assert_eq!((r.sequence(), r.journal(), r.base()), (7, 77, None));
        assert_eq!(r.bytes[510..512], [0x10, 0x10]);
    }

    #[test]
    fn a_torn_later_block_cuts_the_record_and_a_torn_first_block_refuses_it() {
        let mut bytes = record(1, 7, &[0x10; 700]);
        bytes[1023] ^= 1;
        let r = Record::parse(&mut bytes).unwrap();
        assert!(r.damaged());
        assert_eq!(r.bytes.len(), 512);
        let mut bytes = record(1, 7, &[0x10; 700]);
        bytes[511] ^= 1;
        assert!(Record::parse(&mut bytes).is_none());
    }

    #[test]
    fn references_split_into_record_and_sequence() {
        let reference = Reference::new(0x0007_0000_0001_2345);
        assert_eq!((reference.record, reference.sequence), (0x12345, 7));
    }

    #[test]
    fn a_freed_record_is_one_ahead_and_a_reused_one_is_not_taken_for_the_old() {
        assert!(same_generation(7, true, 7) && !same_generation(8, true, 7));
        assert!(same_generation(8, false, 7) && same_generation(7, false, 7));
        assert!(!same_generation(9, false, 7));
        assert!(same_generation(1, false, 0xFFFF));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..2100), header in any::<bool>()) {
            if header && bytes.len() >= 8 {
                bytes[..4].copy_from_slice(b"FILE");
                let blocks = (bytes.len() / 512 + 1) as u16;
                bytes[6..8].copy_from_slice(&blocks.to_le_bytes());
            }
            if let Some(r) = Record::parse(&mut bytes) {
                prop_assert!(r.attributes().count() < 200);
            }
        }
    }
}
