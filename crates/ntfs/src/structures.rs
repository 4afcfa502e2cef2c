//! The contents of resident attributes that reading needs.

use undelfs_source::bytes::{array, u16_at, u32_at, u64_at};
use undelfs_volume::filesystem::FileTime;

use crate::{attribute::kind, record::Reference};

/// `$STANDARD_INFORMATION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandardInformation {
    /// Birth of the file.
    pub created: FileTime,
    /// Last change of content.
    pub modified: FileTime,
    /// Last change of the FILE record.
    pub changed: FileTime,
    /// Last access.
    pub accessed: FileTime,
    /// `FILE_ATTRIBUTE_*` bits.
    pub attributes: u32,
}

impl StandardInformation {
    /// From the content of the attribute.
    pub fn parse(content: &[u8]) -> Option<Self> {
        Some(Self {
            created: FileTime(u64_at(content, 0)?),
            modified: FileTime(u64_at(content, 8)?),
            changed: FileTime(u64_at(content, 16)?),
            accessed: FileTime(u64_at(content, 24)?),
            attributes: u32_at(content, 32)?,
        })
    }
}

/// `$FILE_NAME`: a name and the directory it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileName<'a> {
    /// The directory.
    pub parent: Reference,
    /// When the name was given, mostly: Windows sets the times of a name then and rarely after.
    pub created: FileTime,
    /// Last change of the FILE record, at that time.
    pub changed: FileTime,
    /// `FILE_ATTRIBUTE_*` bits, at that time.
    pub attributes: u32,
    /// Reparse tag, where the attributes have the bit for it.
    pub reparse_tag: u32,
    /// Which rules the name follows.
    pub namespace: Namespace,
    /// The name in UTF-16LE, never empty.
    pub name: &'a [u8],
}

/// Which rules a name follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Any name but `/` and NUL.
    Posix,
    /// A long name.
    Win32,
    /// The short name that stands beside a long one.
    Dos,
    /// A name that is long and short at once.
    Win32AndDos,
}

impl<'a> FileName<'a> {
    /// Whether a file can be called so: no name space allows NUL and `/`.
    pub(crate) fn is_possible(&self) -> bool {
        !self.name.as_chunks::<2>().0.iter().any(|unit| matches!(unit, [0 | b'/', 0]))
    }

    /// From the content of the attribute.
    pub fn parse(content: &'a [u8]) -> Option<Self> {
        let [length, namespace] = array::<2>(content, 64)?;
        let name = content.get(66..)?.get(..usize::from(length).checked_mul(2)?)?;
        if name.is_empty() {
            return None;
        }
        Some(Self {
            parent: Reference::new(u64_at(content, 0)?),
            created: FileTime(u64_at(content, 8)?),
            changed: FileTime(u64_at(content, 24)?),
            attributes: u32_at(content, 56)?,
            reparse_tag: u32_at(content, 60)?,
            namespace: match namespace {
                0 => Namespace::Posix,
                1 => Namespace::Win32,
                2 => Namespace::Dos,
                3 => Namespace::Win32AndDos,
                _ => return None,
            },
            name,
        })
    }
}

/// `$VOLUME_INFORMATION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeInformation {
    /// Major and minor version of NTFS.
    pub version: (u8, u8),
    /// True where the volume was not shut down in order.
    pub dirty: bool,
}

impl VolumeInformation {
    /// From the content of the attribute.
    pub fn parse(content: &[u8]) -> Option<Self> {
        let [major, minor, flags] = array::<3>(content, 8)?;
        Some(Self { version: (major, minor), dirty: flags & 1 != 0 })
    }
}

/// One entry of `$ATTRIBUTE_LIST`: which record holds an attribute of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry {
    /// Type code of the attribute.
    pub kind: u32,
    /// First cluster of the stream that it describes (VCN).
    pub lowest_vcn: u64,
    /// The record that holds it.
    pub holder: Reference,
    /// True where the attribute has a name.
    pub named: bool,
}

/// The entries of an attribute list. Entries after damage are left out.
pub fn attribute_list(content: &[u8]) -> Vec<ListEntry> {
    let mut entries = Vec::new();
    let mut rest = content;
    while let Some((entry, length)) = list_entry(rest) {
        entries.push(entry);
        rest = rest.get(length..).unwrap_or_default();
    }
    entries
}

fn list_entry(bytes: &[u8]) -> Option<(ListEntry, usize)> {
    let length = usize::from(u16_at(bytes, 4)?);
    let kind = u32_at(bytes, 0)?;
    let sound = kind >= kind::STANDARD_INFORMATION && kind & 0xF == 0 && length >= 26;
    if !sound || length > bytes.len() {
        return None;
    }
    let entry = ListEntry {
        kind,
        lowest_vcn: u64_at(bytes, 8)?,
        holder: Reference::new(u64_at(bytes, 16)?),
        named: *bytes.get(6)? != 0,
    };
    Some((entry, length))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The content of a `$FILE_NAME`.
    pub(crate) fn file_name(parent: u64, sequence: u16, namespace: u8, name: &str) -> Vec<u8> {
        let units: Vec<u16> = name.encode_utf16().collect();
        let mut c = vec![0; 66];
        c[..8].copy_from_slice(&(parent | u64::from(sequence) << 48).to_le_bytes());
        c[64] = units.len() as u8;
        c[65] = namespace;
        c.extend(units.iter().flat_map(|u| u.to_le_bytes()));
        c
    }

    #[test]
    fn a_name_carries_its_directory_and_namespace() {
        let content = file_name(5, 9, 2, "SHORT~1.TXT");
        let name = FileName::parse(&content).unwrap();
        assert_eq!(name.parent, Reference { record: 5, sequence: 9 });
        assert_eq!(name.namespace, Namespace::Dos);
        assert_eq!(crate::name::to_wtf8(name.name), b"SHORT~1.TXT");
    }

    #[test]
    fn what_no_file_can_be_called_is_told_from_a_name() {
        for (name, possible) in
            [("a name", true), ("a\\b:*?", true), ("a\0b", false), ("a/b", false), ("ͯ\u{2f00}", true)]
        {
            let content = file_name(5, 5, 1, name);
            assert_eq!(FileName::parse(&content).unwrap().is_possible(), possible, "{name:?}");
        }
    }

    #[test]
    fn a_name_that_is_empty_or_cut_or_of_no_namespace_is_refused() {
        assert!(FileName::parse(&file_name(5, 9, 1, "")).is_none());
        assert!(FileName::parse(&file_name(5, 9, 4, "x")).is_none());
        let content = file_name(5, 9, 1, "name");
        assert!(FileName::parse(&content[..content.len() - 1]).is_none());
    }

    #[test]
    fn a_damaged_list_keeps_what_stands_before_the_damage() {
        let mut entry = [0; 32];
        entry[0] = 0x80;
        entry[4] = 32;
        entry[8] = 3;
        entry[16] = 40;
        entry[22] = 2;
        let list = entry.repeat(3);
        let entries = attribute_list(&list);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].holder, Reference { record: 40, sequence: 2 });
        let mut cut = list.clone();
        cut[36] = 0;
        assert_eq!(attribute_list(&cut).len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = StandardInformation::parse(&bytes);
            let _ = VolumeInformation::parse(&bytes);
            if let Some(name) = FileName::parse(&bytes) {
                prop_assert!(!name.name.is_empty());
            }
            prop_assert!(attribute_list(&bytes).len() <= bytes.len() / 26);
        }
    }
}
