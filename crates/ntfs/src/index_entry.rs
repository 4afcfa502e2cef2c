//! Index entries wherever they stand, and what a `$FILE_NAME` tells beside the name.
//!
//! An index entry is: reference to the file 0, size of the entry 8, size of the name's attribute 10, flags 12, and from byte 16
//! on the `$FILE_NAME`. Source: MS-FSA and the Linux-NTFS documentation.

use undelfs_source::bytes::{u16_at, u64_at};
use undelfs_volume::filesystem::FileTime;

use crate::{journal::usn::is_plausible, record::Reference, structures::FileName};

/// Entries begin at multiples of this.
pub(crate) const STEP: usize = 8;
/// Size of the header of an index entry in bytes.
pub(crate) const HEADER: usize = 16;
/// Size of a `$FILE_NAME` without its name in bytes.
const NAME: usize = 66;
/// Bytes behind the name that an entry may have: padding, and the number of a block below it.
const MAX_TAIL: usize = 16;

/// What a `$FILE_NAME` tells of its file, as it was when the name was last brought up to date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Size of the unnamed stream in bytes.
    pub size: u64,
    /// Last change of content.
    pub modified: FileTime,
    /// Last access.
    pub accessed: FileTime,
}

impl Facts {
    /// From the content of a `$FILE_NAME`.
    pub fn parse(content: &[u8]) -> Self {
        let field = |at| u64_at(content, at).unwrap_or(0);
        Self { size: field(48), modified: FileTime(field(16)), accessed: FileTime(field(32)) }
    }
}

/// The index entry with a name that begins `bytes`, where anything may stand: its times must be possible too.
pub fn parse_anywhere(bytes: &[u8]) -> Option<(Reference, FileName<'_>, Facts)> {
    parse(bytes).filter(|(_, name, _)| is_plausible(name.changed))
}

/// The index entry with a name that begins `bytes`. All of it must fit together.
pub fn parse(bytes: &[u8]) -> Option<(Reference, FileName<'_>, Facts)> {
    let (size, length) = (usize::from(u16_at(bytes, 8)?), usize::from(u16_at(bytes, 10)?));
    // Most places fail here.
    let end = HEADER.checked_add(length)?;
    let fits =
        length > NAME && size.is_multiple_of(STEP) && (end..=end.saturating_add(MAX_TAIL)).contains(&size);
    if !fits || u16_at(bytes, 12)? & !3 != 0 {
        return None;
    }
    let content = bytes.get(HEADER..end)?;
    let name = FileName::parse(content)?;
    let file = Reference::new(u64_at(bytes, 0)?);
    let facts = Facts::parse(content);
    let sound = length == name.name.len().saturating_add(NAME)
        && name.is_possible()
        && file.sequence != 0
        && name.parent.sequence != 0
        && facts.size <= crate::batch::MAX_SIZE;
    sound.then_some((file, name, facts))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{journal::usn::tests::TIME, structures::tests::file_name};

    /// An entry of a file of 1000 bytes.
    pub(crate) fn index_entry(file: (u64, u16), parent: (u64, u16), name: &str) -> Vec<u8> {
        let mut content = file_name(parent.0, parent.1, 1, name);
        for at in (8..40).step_by(8) {
            content[at..at + 8].copy_from_slice(&(TIME + at as u64).to_le_bytes());
        }
        content[48..56].copy_from_slice(&1000_u64.to_le_bytes());
        let size = (HEADER + content.len()).next_multiple_of(8);
        let mut bytes = (file.0 | u64::from(file.1) << 48).to_le_bytes().to_vec();
        bytes.extend((size as u16).to_le_bytes());
        bytes.extend((content.len() as u16).to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(content);
        bytes.resize(size, 0);
        bytes
    }

    #[test]
    fn an_entry_tells_file_name_size_and_times() {
        let bytes = index_entry((100, 3), (40, 2), "a name");
        let (file, name, facts) = parse(&bytes).unwrap();
        assert_eq!(file, Reference { record: 100, sequence: 3 });
        assert_eq!(name.parent, Reference { record: 40, sequence: 2 });
        assert_eq!(crate::name::to_wtf8(name.name), b"a name");
        assert_eq!((name.created, name.changed), (FileTime(TIME + 8), FileTime(TIME + 24)));
        let expected = Facts { size: 1000, modified: FileTime(TIME + 16), accessed: FileTime(TIME + 32) };
        assert_eq!(facts, expected);
    }

    #[test]
    fn an_entry_that_does_not_fit_together_is_refused() {
        let sound = index_entry((100, 3), (40, 2), "a name");
        for (at, byte) in
            [(6, 0), (8, sound[8] + 24), (10, sound[10] + 2), (12, 8), (47, 0x70), (16 + 55, 0x80)]
        {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            assert!(parse_anywhere(&bytes).is_none(), "byte {at}");
        }
        assert!(parse(&sound[..sound.len() - 9]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((_, name, _)) = parse(&bytes) {
                prop_assert!(!name.name.is_empty());
            }
        }
    }
}
