//! One restorable file as callers get it: `RESTORABLE_FILE_INFO`, its name, and behind it the private data by which
//! `RestoreFile` knows it again.
//!
//! The private data have 32 bytes: a magic number, the handle of the context, the position of the file in its listing,
//! the file's record, and a CRC-32 over all of that. Callers keep it, so nothing in it is believed before it was checked.

use std::mem::offset_of;

use undelfs_restore::{Entry, names};
use undelfs_source::bytes::{array, u32_at, u64_at};
use undelfs_volume::filesystem::{FileFlags, FileTime};

use crate::{abi::RestorableFileInfo, wide};

/// What the private data begin with; the last byte is their version.
const MAGIC: [u8; 8] = *b"undelfs\x01";

/// Size of the private data in bytes.
pub const TOKEN: usize = 32;

/// Size in bytes of what stands before the name's second unit.
pub const FIXED: usize = size_of::<RestorableFileInfo>();

/// Longest structure that is taken from a caller, in bytes. The longest path of a catalogue needs 1024 names of 255
/// units.
pub const MAX_SIZE: usize = 1 << 20;

/// Structures and their private data begin at multiples of this many bytes.
const ALIGNMENT: usize = 8;

/// `FILE_ATTRIBUTE_DIRECTORY` and `FILE_ATTRIBUTE_NORMAL`.
const DIRECTORY: u32 = 0x10;
const NORMAL: u32 = 0x80;

/// The bits that are attributes; NTFS has bits of its own above them.
const ATTRIBUTES: u32 = 0x0FFF_FFFF;

/// Which file of which context is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Handle of the context that gave it.
    pub handle: u64,
    /// Position in the context's listing.
    pub position: u64,
    /// Number of the file's record.
    pub record: u32,
}

impl Token {
    fn bytes(self) -> [u8; TOKEN] {
        let mut bytes = [0; TOKEN];
        let record = self.record.to_le_bytes();
        let parts = MAGIC
            .into_iter()
            .chain(self.handle.to_le_bytes())
            .chain(self.position.to_le_bytes())
            .chain(record);
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        let sum = checksum(&bytes).to_le_bytes();
        for (to, from) in bytes.iter_mut().skip(CHECKED).zip(sum) {
            *to = from;
        }
        bytes
    }

    /// Reads private data; `None` where they are not ours, or not as we gave them.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let sound = bytes.starts_with(&MAGIC) && u32_at(bytes, CHECKED)? == checksum(bytes);
        let token =
            Self { handle: u64_at(bytes, 8)?, position: u64_at(bytes, 16)?, record: u32_at(bytes, 24)? };
        sound.then_some(token)
    }
}

/// Bytes of the private data that the checksum covers; it follows them.
const CHECKED: usize = 28;

fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes.get(..CHECKED).unwrap_or_default())
}

/// Where the private data of a structure begin, by its first [`FIXED`] bytes; `None` where they cannot be inside of it.
pub fn token_offset(fixed: &[u8]) -> Option<usize> {
    let field = |at| usize::try_from(u32::from_ne_bytes(array(fixed, at)?)).ok();
    let size = field(offset_of!(RestorableFileInfo, size))?;
    let at = field(offset_of!(RestorableFileInfo, restore_data_offset))?;
    let inside = size <= MAX_SIZE && at >= FIXED && at.checked_add(TOKEN)? <= size;
    (inside && at.is_multiple_of(ALIGNMENT)).then_some(at)
}

/// Which file a structure stands for.
pub fn token_of(structure: &[u8]) -> Option<Token> {
    let at = token_offset(structure)?;
    Token::parse(structure.get(at..at.checked_add(TOKEN)?)?)
}

/// Replaces `path` by the path of an entry from the volume's root, in UTF-16, with `\` between names as the file system
/// has them, and ended by 0.
pub(crate) fn write_path(entry: &Entry<'_>, path: &mut Vec<u16>) {
    path.clear();
    for name in entry.path.split(|byte| *byte == b'/') {
        path.push(u16::from(b'\\'));
        wide::push_utf16(&names::unescape(name), path);
    }
    path.push(0);
}

/// Where the private data begin behind a path of `units` units, its end counted; and the size of the whole.
pub(crate) fn sizes(units: usize) -> (usize, usize) {
    let name = offset_of!(RestorableFileInfo, file_name);
    let end = units.saturating_mul(2).saturating_add(name).max(FIXED);
    let token = end.next_multiple_of(ALIGNMENT);
    (token, token.saturating_add(TOKEN))
}

/// The structure of an entry with this path.
pub(crate) fn encode(entry: &Entry<'_>, path: &[u16], version: u32, token: Token) -> Vec<u8> {
    let file = entry.file;
    let directory = file.flags.contains(FileFlags::DIRECTORY);
    let mut attributes = file.attributes & ATTRIBUTES & !NORMAL;
    if directory {
        attributes |= DIRECTORY;
    }
    if attributes == 0 {
        attributes = NORMAL;
    }
    let (token_at, size) = sizes(path.len());
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes();
    let clusters = |value: u64| i64::try_from(value).unwrap_or(i64::MAX).to_ne_bytes();
    let size_of_content = if directory { 0 } else { file.size };

    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&number(size));
    bytes.extend_from_slice(&version.to_ne_bytes());
    bytes.extend_from_slice(&size_of_content.to_ne_bytes());
    for FileTime(time) in [file.created, file.accessed, file.modified] {
        let halves = [time & u64::from(u32::MAX), time >> 32];
        for half in halves {
            bytes.extend_from_slice(&u32::try_from(half).unwrap_or(0).to_ne_bytes());
        }
    }
    bytes.extend_from_slice(&attributes.to_ne_bytes());
    bytes.extend_from_slice(&i32::from(file.flags.contains(FileFlags::REMOVED)).to_ne_bytes());
    bytes.extend_from_slice(&clusters(file.clusters));
    bytes.extend_from_slice(&clusters(entry.clusters_in_use));
    bytes.extend_from_slice(&number(token_at));
    for unit in path {
        bytes.extend_from_slice(&unit.to_ne_bytes());
    }
    bytes.resize(token_at, 0);
    bytes.extend_from_slice(&token.bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use undelfs_volume::filesystem::File;

    use super::*;

    fn file() -> File {
        File {
            record: 77,
            generation: 3,
            flags: FileFlags::REMOVED,
            attributes: 0x20,
            first_link: 0,
            size: 0x1_2345_6789,
            clusters: 5,
            created: FileTime(0x0102_0304_0506_0708),
            modified: FileTime(3),
            changed: FileTime(4),
            accessed: FileTime(2),
        }
    }

    fn structure(path: &[u8], file: &File) -> Vec<u8> {
        let entry = Entry { path, file, clusters_in_use: 2 };
        let mut units = Vec::new();
        write_path(&entry, &mut units);
        encode(&entry, &units, 0x0002_0000, Token { handle: 8, position: 9, record: 77 })
    }

    fn u32s(bytes: &[u8], at: usize) -> u32 {
        u32_at(bytes, at).unwrap()
    }

    #[test]
    fn every_field_stands_where_the_documentation_has_it() {
        let bytes = structure(b"a/b.txt", &file());
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(u32s(&bytes, 0), bytes.len() as u32);
        assert_eq!(u32s(&bytes, 4), 0x0002_0000);
        assert_eq!(u64_at(&bytes, 8), Some(0x1_2345_6789));
        assert_eq!((u32s(&bytes, 16), u32s(&bytes, 20)), (0x0506_0708, 0x0102_0304));
        assert_eq!((u64_at(&bytes, 24), u64_at(&bytes, 32)), (Some(2), Some(3)));
        assert_eq!((u32s(&bytes, 40), u32s(&bytes, 44)), (0x20, 1));
        assert_eq!((u64_at(&bytes, 48), u64_at(&bytes, 56)), (Some(5), Some(2)));
        let name: Vec<u16> =
            bytes[68..].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        let end = name.iter().position(|unit| *unit == 0).unwrap();
        assert_eq!(String::from_utf16(&name[..end]).unwrap(), r"\a\b.txt");
        let token = u32s(&bytes, 64) as usize;
        assert!(token >= 68 + 2 * (end + 1) && token.is_multiple_of(8));
        assert_eq!(token_of(&bytes), Some(Token { handle: 8, position: 9, record: 77 }));
    }

    #[test]
    fn names_are_the_file_systems_own() {
        let mut path = Vec::new();
        let file = file();
        write_path(&Entry { path: b"%252F/a%2Fb/\xED\xA0\x80", file: &file, clusters_in_use: 0 }, &mut path);
        assert_eq!(String::from_utf16_lossy(&path), "\\%2F\\a/b\\\u{FFFD}\0");
        assert_eq!(path.iter().filter(|unit| **unit == 0xD800).count(), 1);
    }

    #[test]
    fn a_file_without_attributes_is_normal_and_a_directory_says_so() {
        let plain = File { attributes: 0, ..file() };
        assert_eq!(u32s(&structure(b"a", &plain), 40), 0x80);
        let directory = File { flags: FileFlags::DIRECTORY, attributes: 0x1000_0002, ..file() };
        let bytes = structure(b"a", &directory);
        assert_eq!((u32s(&bytes, 40), u32s(&bytes, 44), u64_at(&bytes, 8)), (0x12, 0, Some(0)));
    }

    #[test]
    fn the_shortest_name_leaves_the_private_data_behind_the_fixed_part() {
        let bytes = structure(b"", &file());
        assert!(token_offset(&bytes).unwrap() >= FIXED);
        assert!(token_of(&bytes).is_some());
    }

    proptest! {
        #[test]
        fn a_change_of_any_bit_of_the_private_data_is_seen(bit in 0..TOKEN * 8) {
            let mut bytes = structure(b"a/b.txt", &file());
            let at = token_offset(&bytes).unwrap();
            bytes[at + bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(token_of(&bytes), None);
        }

        #[test]
        fn any_bytes_are_a_structure_or_not(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200), size in 0..300_u32, at in 0..300_u32
        ) {
            if bytes.len() >= FIXED {
                bytes[..4].copy_from_slice(&size.to_ne_bytes());
                bytes[64..68].copy_from_slice(&at.to_ne_bytes());
            }
            if let Some(at) = token_offset(&bytes) {
                prop_assert!(at + TOKEN <= size as usize);
            }
            prop_assert_eq!(token_of(&bytes), None);
        }
    }
}
