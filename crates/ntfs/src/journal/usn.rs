//! The change journal, `$UsnJrnl:$J`: what happened to which file, and when.
//!
//! Records begin at multiples of eight bytes and do not cross pages of 4096 bytes; what is left of a page is zeros. Layouts
//! follow the `USN_RECORD_V2`, `_V3` and `_V4` structures of Microsoft's `winioctl.h` documentation, and were compared with
//! journals that Windows 10 wrote.

use undelfs_source::bytes::{array, u16_at, u32_at, u64_at};
use undelfs_volume::filesystem::FileTime;

use crate::record::Reference;

/// Size in bytes of the pages that no record crosses.
pub const PAGE: usize = 4096;

/// Records begin at multiples of this.
const STEP: usize = 8;

/// Longest name in bytes.
const MAX_NAME: usize = 510;

/// Length of the shortest record in bytes, which has a name of one or two letters.
const SHORTEST: usize = 64;

/// What happened to a file, one bit each, named as in Microsoft's documentation without `USN_REASON_`.
pub mod reason {
    #![expect(missing_docs, reason = "the names are the documentation")]
    pub const DATA_OVERWRITE: u32 = 0x1;
    pub const DATA_EXTEND: u32 = 0x2;
    pub const DATA_TRUNCATION: u32 = 0x4;
    pub const FILE_CREATE: u32 = 0x100;
    pub const FILE_DELETE: u32 = 0x200;
    pub const RENAME_OLD_NAME: u32 = 0x1000;
    pub const RENAME_NEW_NAME: u32 = 0x2000;
    pub const HARD_LINK_CHANGE: u32 = 0x1_0000;
    pub const CLOSE: u32 = 0x8000_0000;
    /// All bits that are documented.
    pub const KNOWN: u32 = 0x81FF_FF77;
}

/// One change of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsnRecord<'a> {
    /// The file.
    pub file: Reference,
    /// The directory that the name stood in.
    pub parent: Reference,
    /// Update sequence number: where the record begins in the journal, in bytes.
    pub usn: u64,
    /// When it was written.
    pub time: FileTime,
    /// Bits of [`reason`]: what happened since the file was opened.
    pub reasons: u32,
    /// `FILE_ATTRIBUTE_*` bits.
    pub attributes: u32,
    /// The name in UTF-16LE, never empty.
    pub name: &'a [u8],
}

/// The record that begins `bytes`, and its length in bytes. It is `None` where the record names no file: that of version
/// 4, which tells of ranges of bytes only.
pub fn parse(bytes: &[u8]) -> Option<(usize, Option<UsnRecord<'_>>)> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    if !(SHORTEST..=PAGE).contains(&length) || !length.is_multiple_of(STEP) || u16_at(bytes, 6)? != 0 {
        return None;
    }
    let bytes = bytes.get(..length)?;
    // Where the numbers of the files end.
    let (file, parent, at) = match u16_at(bytes, 4)? {
        2 => (u64_at(bytes, 8)?, u64_at(bytes, 16)?, 24_usize),
        3 => (wide(bytes, 8)?, wide(bytes, 24)?, 40),
        4 => return has_extents(bytes).then_some((length, None)),
        _ => return None,
    };
    let field = |offset: usize| at.saturating_add(offset);
    let name_length = usize::from(u16_at(bytes, field(32))?);
    let name_at = usize::from(u16_at(bytes, field(34))?);
    let record = UsnRecord {
        file: Reference::new(file),
        parent: Reference::new(parent),
        usn: u64_at(bytes, field(0))?,
        time: FileTime(u64_at(bytes, field(8))?),
        reasons: u32_at(bytes, field(16))?,
        attributes: u32_at(bytes, field(28))?,
        name: bytes.get(name_at..name_at.checked_add(name_length)?)?,
    };
    let sound = name_at >= field(36)
        && (2..=MAX_NAME).contains(&name_length)
        && name_length.is_multiple_of(2)
        && record.usn.is_multiple_of(STEP as u64)
        && record.reasons != 0
        && record.reasons & !reason::KNOWN == 0
        && record.file.sequence != 0
        && record.parent.sequence != 0
        && is_plausible(record.time);
    sound.then_some((length, Some(record)))
}

/// A 128-bit file number, of which NTFS uses the lower half.
fn wide(bytes: &[u8], at: usize) -> Option<u64> {
    let number = u128::from_le_bytes(array(bytes, at)?);
    u64::try_from(number).ok()
}

/// Whether a record of version 4 holds as many ranges as it says.
fn has_extents(bytes: &[u8]) -> bool {
    let Some((count, size)) = u16_at(bytes, 60).zip(u16_at(bytes, 62)) else { return false };
    let end = usize::from(count).saturating_mul(size.into()).saturating_add(64);
    size >= 16 && end <= bytes.len()
}

/// Whether a clock can have shown this: 1980 to 2199.
pub(crate) fn is_plausible(time: FileTime) -> bool {
    const YEAR: u64 = 365 * 24 * 3600 * 10_000_000;
    (379 * YEAR..599 * YEAR).contains(&time.0)
}

/// The records of a part of the journal that begins at a multiple of [`PAGE`] bytes. What is no record is passed over.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = UsnRecord<'_>> {
    bytes.chunks(PAGE).flat_map(|page| {
        let mut at = 0_usize;
        std::iter::from_fn(move || {
            loop {
                let rest = page.get(at..).filter(|rest| rest.len() >= SHORTEST)?;
                let Some((length, record)) = parse(rest) else {
                    at = at.saturating_add(STEP);
                    continue;
                };
                at = at.saturating_add(length);
                if record.is_some() {
                    return record;
                }
            }
        })
    })
}

/// The records of a change journal that stand in `bytes`, which begin at byte `place` of the volume, wherever they are.
/// A record counts only where everything in it fits: it lies in its page as its number says, and no byte of it is left over.
///
/// `unit` is the largest power of two that divides both the size of a cluster and [`PAGE`]: within it a record keeps its
/// place, on the volume as in the journal.
pub fn remains(bytes: &[u8], place: u64, unit: u64) -> impl Iterator<Item = UsnRecord<'_>> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let rest = bytes.get(at..).filter(|rest| rest.len() >= SHORTEST)?;
            // Nearly all places fail here: length below 64 KiB, version 2 or 3.
            let header = u64_at(rest, 0)?;
            let candidate = header & 0xFFFF_FFFE_FFFF_0007 == 0x0000_0002_0000_0000;
            let found = candidate.then(|| parse(rest)).flatten();
            let here = place.saturating_add(at as u64);
            let sound = found.filter(|(length, record)| {
                record.is_some_and(|record| is_in_place(&record, *length, here, unit))
            });
            let Some((length, record)) = sound else {
                at = at.saturating_add(STEP);
                continue;
            };
            at = at.saturating_add(length);
            return record;
        }
    })
}

fn is_in_place(record: &UsnRecord<'_>, length: usize, here: u64, unit: u64) -> bool {
    let page = PAGE as u64;
    let within = record.usn.checked_rem(page).unwrap_or(0);
    let header = length.saturating_sub(record.name.len());
    record.usn.checked_rem(unit) == here.checked_rem(unit)
        && within.saturating_add(length as u64) <= page
        && (60..76 + STEP).contains(&header)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A time of 2024.
    pub(crate) const TIME: u64 = 133_617_504_001_234_567;

    /// A record of version 2 or 3.
    pub(crate) fn usn(
        version: u16,
        file: (u64, u16),
        parent: (u64, u16),
        usn: u64,
        reasons: u32,
        name: &str,
    ) -> Vec<u8> {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut r = vec![0; 8];
        for (record, sequence) in [file, parent] {
            r.extend((record | u64::from(sequence) << 48).to_le_bytes());
            r.extend(vec![0; if version == 3 { 8 } else { 0 }]);
        }
        r.extend(usn.to_le_bytes());
        r.extend((TIME + usn).to_le_bytes());
        r.extend(reasons.to_le_bytes());
        r.extend([0; 8]);
        r.extend(0x20_u32.to_le_bytes());
        r.extend((units.len() as u16).to_le_bytes());
        r.extend((r.len() as u16 + 2).to_le_bytes());
        r.extend(units);
        r.resize(r.len().next_multiple_of(8), 0);
        let length = r.len() as u32;
        r[..4].copy_from_slice(&length.to_le_bytes());
        r[4..6].copy_from_slice(&version.to_le_bytes());
        r
    }

    /// A record of version 4 with two ranges.
    fn ranges() -> Vec<u8> {
        let mut r = vec![0; 96];
        r[0] = 96;
        r[4] = 4;
        r[60] = 2;
        r[62] = 16;
        r
    }

    fn names<'a>(found: impl Iterator<Item = UsnRecord<'a>>) -> Vec<String> {
        found.map(|record| String::from_utf8(crate::name::to_wtf8(record.name)).unwrap()).collect()
    }

    #[test]
    fn records_of_both_versions_are_read_and_those_of_version_four_passed_over() {
        for version in [2, 3] {
            let bytes =
                usn(version, (40, 3), (5, 5), 0x1000, reason::FILE_DELETE | reason::CLOSE, "grüße.txt");
            let (length, record) = parse(&bytes).unwrap();
            let record = record.unwrap();
            assert_eq!(length, bytes.len());
            assert_eq!(record.file, Reference { record: 40, sequence: 3 });
            assert_eq!(record.parent, Reference { record: 5, sequence: 5 });
            assert_eq!((record.usn, record.time), (0x1000, FileTime(TIME + 0x1000)));
            assert_eq!((record.reasons, record.attributes), (0x8000_0200, 0x20));
            assert_eq!(names([record].into_iter()), ["grüße.txt"]);
        }
        assert_eq!(parse(&ranges()), Some((96, None)));
    }

    #[test]
    fn a_page_is_read_past_damage_and_to_its_end_only() {
        let mut page = usn(2, (40, 3), (5, 5), 0, 0x100, "first");
        page.extend([0xAB; 32]);
        page.extend(ranges());
        page.extend(usn(3, (41, 3), (5, 5), 400, 0x100, "second"));
        page.resize(PAGE - 40, 0);
        // A record cannot go on in the next page.
        page.extend(usn(2, (42, 3), (5, 5), 0, 0x100, "crossing"));
        page.resize(PAGE + 64, 0);
        page.resize(PAGE * 2, 0);
        page.extend(usn(2, (43, 3), (5, 5), 0, 0x100, "third"));
        assert_eq!(names(records(&page)), ["first", "second", "third"]);
    }

    #[test]
    fn remains_are_found_where_their_number_says_and_nowhere_else() {
        let mut bytes = vec![0x11; 0x2000];
        let mut put = |at: usize, usn_: u64, name: &str| {
            let record = usn(2, (40, 3), (5, 5), usn_, 0x100, name);
            bytes[at..at + record.len()].copy_from_slice(&record);
        };
        put(0x100, 0x7100, "in its place");
        put(0x400, 0x7408, "moved by eight bytes");
        put(0xFF8, 0x8FF8, "over the border of a page");
        put(0x1800, 0x5800, "another");
        assert_eq!(names(remains(&bytes, 0x10_0000, 4096)), ["in its place", "another"]);
        assert_eq!(names(remains(&bytes, 0x10_0200, 4096)), [""; 0]);
    }

    #[test]
    fn what_no_journal_says_is_refused() {
        let sound = usn(2, (40, 3), (5, 5), 0, 0x100, "name");
        let change = |at: usize, byte: u8| {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            parse(&bytes).is_none()
        };
        assert!(change(0, sound[0] + 1), "a length that is no multiple of eight");
        assert!(change(1, 0x40), "a length beyond the page");
        assert!(change(4, 5), "an unknown version");
        assert!(change(14, 0), "a reference without a sequence number");
        assert!(change(39, 0x70), "a time in the far future");
        assert!(change(40, 0x88), "an unknown reason");
        assert!(change(56, 9), "a name of half a unit");
        assert!(change(58, 200), "a name beyond the record");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), header: bool) {
            let mut bytes = bytes;
            if header && bytes.len() > 8 {
                bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 2, 0, 0, 0]);
            }
            for record in records(&bytes).chain(remains(&bytes, 0, 512)) {
                prop_assert!(!record.name.is_empty() && record.name.len() <= MAX_NAME);
            }
        }
    }
}
