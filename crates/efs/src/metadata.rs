//! The content of the `$EFS` attribute: MS-EFSR 2.2.2.

use undelfs_source::{
    ErrorKind,
    bytes::{array, u32_at},
};
use undelfs_volume::{Error, Guid};

use crate::{
    datum,
    entry::{self, Entry, List},
};

/// Largest attribute that Windows takes, in bytes.
pub const MAX_METADATA: usize = 256 << 10;

/// Where the key lists begin at the earliest.
const HEADER_1: usize = 84;
const HEADER_2: usize = 40;

/// Versions whose key lists are those of metadata version 1.
const LISTS_1: std::ops::RangeInclusive<u32> = 1..=3;
/// Versions whose key lists are made of datums.
const LISTS_2: std::ops::RangeInclusive<u32> = 4..=5;
/// The metadata version 3 of a file that Rights Management protects.
const RIGHTS_MANAGEMENT: u32 = 6;

/// The `$EFS` attribute of a file: who can decrypt it.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// `EFS_Version`: 1 to 3 for RSA certificates, 4 and 5 where elliptic curves or groups take part.
    pub version: u32,
    /// Identifies the file to EFS.
    pub id: Guid,
    /// Everybody who can decrypt, users first.
    pub entries: Vec<Entry>,
    /// Damage, one sentence each.
    pub notes: Vec<String>,
}

impl Metadata {
    /// Reads the content of an `$EFS` attribute. An entry that is damaged is noted and left out.
    ///
    /// # Errors
    /// When it has no version that is known, or contradicts itself so that no entry can be found.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.starts_with(b".pfile") {
            return Err(unsupported(RIGHTS_MANAGEMENT));
        }
        let version = u32_at(bytes, 8).ok_or_else(|| cut(bytes.len()))?;
        if version == RIGHTS_MANAGEMENT || !(LISTS_1.contains(&version) || LISTS_2.contains(&version)) {
            return Err(unsupported(version));
        }
        let newer = LISTS_2.contains(&version);
        let header = if newer { HEADER_2 } else { HEADER_1 };
        let length = u32_at(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|_| bytes.len() >= header).ok_or_else(|| cut(bytes.len()))?;
        if !(header..=MAX_METADATA).contains(&length) {
            let found = length.to_string();
            return Err(wrong(0, format!("a length from {header} to {MAX_METADATA}"), found));
        }
        let mut notes = Vec::new();
        if length > bytes.len() {
            notes.push(format!("`$EFS` says that it has {length} bytes, {} are there", bytes.len()));
        }
        let bytes = bytes.get(..length).unwrap_or(bytes);
        let id = Guid(array(bytes, 16).ok_or_else(|| cut(bytes.len()))?);
        let offsets = if newer { [32, 36] } else { [64, 68] };
        let mut entries = Vec::new();
        for (offset, list) in offsets.into_iter().zip([List::Users, List::Recovery]) {
            let at = u32_at(bytes, offset).and_then(|at| usize::try_from(at).ok());
            let at = at.ok_or_else(|| cut(bytes.len()))?;
            if at == 0 {
                continue;
            }
            let place = bytes.get(at..).filter(|_| at >= header);
            let sound = place.is_some_and(|place| match newer {
                true => datum::protectors(place, list, &mut entries),
                false => key_list(place, list, &mut entries),
            });
            if !sound {
                notes.push(format!("the {} of `$EFS` at byte {at} is damaged", list.as_str()));
            }
        }
        if entries.is_empty() && !notes.is_empty() {
            return Err(wrong(offset_of_lists(newer), "lists with a key".to_owned(), notes.join("; ")));
        }
        Ok(Self { version, id, entries, notes })
    }

    /// The entries, one after the other, for people.
    pub fn who(&self) -> String {
        let entries: Vec<String> = self.entries.iter().map(Entry::to_string).collect();
        entries.join("; ")
    }
}

fn offset_of_lists(newer: bool) -> u64 {
    if newer { 32 } else { 64 }
}

/// Adds the entries of a key list, and says whether all of them could be read.
fn key_list(bytes: &[u8], list: List, entries: &mut Vec<Entry>) -> bool {
    /// Size of an entry that holds nothing, in bytes.
    const EMPTY: usize = 20;
    let Some((count, mut rest)) = u32_at(bytes, 0).zip(bytes.get(4..)) else { return false };
    let mut sound = true;
    for _ in 0..count {
        let length = u32_at(rest, 0).and_then(|length| usize::try_from(length).ok());
        let split = length.filter(|length| *length >= EMPTY).and_then(|length| rest.split_at_checked(length));
        let Some((one, others)) = split else { return false };
        rest = others;
        match entry::parse(one, list) {
            Some(entry) => entries.push(entry),
            None => sound = false,
        }
    }
    sound
}

fn wrong(at: u64, expected: String, found: String) -> Error {
    Error::Structure {
        structure: "$EFS attribute",
        at,
        expected,
        found,
        advice: "nobody can be found who could decrypt the file",
    }
}

fn cut(len: usize) -> Error {
    wrong(len as u64, format!("at least {HEADER_1} bytes"), format!("{len}"))
}

fn unsupported(version: u32) -> Error {
    let what = match version {
        RIGHTS_MANAGEMENT => "version 6 of EFS metadata, which Rights Management protects".to_owned(),
        other => format!("version {other} of EFS metadata, known are 1 to 5"),
    };
    Error::Refused {
        kind: ErrorKind::EfsVersion,
        reason: format!("the file is encrypted with {what}; it can be exported, and decrypted by Windows"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::{Thumbprint, Wrapped};

    const SID: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];

    fn le(numbers: &[usize]) -> Vec<u8> {
        numbers.iter().flat_map(|n| (*n as u32).to_le_bytes()).collect()
    }

    /// A key list entry, laid out as Windows does.
    pub(crate) fn entry(thumbprint: [u8; 20], name: &str, wrapped: &[u8], flags: usize) -> Vec<u8> {
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let certificate = [&le(&[20, 20, 0, 0, 40])[..], &thumbprint, &name].concat();
        let start = 28 + SID.len();
        let head = le(&[start + certificate.len(), 28, 3, certificate.len(), start, 0, 0]);
        let key = [&head[..], &SID, &certificate].concat();
        let at = 20 + key.len();
        let head = le(&[at + wrapped.len(), 20, wrapped.len(), at, flags]);
        [&head[..], &key, wrapped].concat()
    }

    /// An `$EFS` attribute with these entries in its DDF and DRF.
    pub(crate) fn attribute(version: u32, users: &[Vec<u8>], recovery: &[Vec<u8>]) -> Vec<u8> {
        let list = |entries: &[Vec<u8>]| [le(&[entries.len()]), entries.concat()].concat();
        let (ddf, drf) = (list(users), list(recovery));
        let drf_at = if recovery.is_empty() { 0 } else { HEADER_1 + ddf.len() };
        let mut all = le(&[0, 0, version as usize, 0]);
        all.extend([9; 16]);
        all.extend([0; 32]);
        all.extend(le(&[HEADER_1, drf_at, 0, 0, 0]));
        all.extend(ddf);
        if !recovery.is_empty() {
            all.extend(drf);
        }
        let length = le(&[all.len()]);
        all[..4].copy_from_slice(&length);
        all
    }

    fn sample() -> Vec<u8> {
        let user = entry([1; 20], "me(me@HOST)", &[7; 256], 0);
        let card = entry([2; 20], "card", &[8; 48], 1);
        let agent = entry([3; 20], "agent", &[9; 256], 0);
        attribute(2, &[user, card], &[agent])
    }

    #[test]
    fn users_and_recovery_agents_are_told_with_name_sid_and_thumbprint() {
        let metadata = Metadata::parse(&sample()).unwrap();
        assert_eq!((metadata.version, metadata.id, metadata.notes.len()), (2, Guid([9; 16]), 0));
        let [user, card, agent] = &metadata.entries[..] else { panic!() };
        assert_eq!(user.name.as_deref(), Some("me(me@HOST)"));
        assert_eq!(user.owner.as_ref().unwrap().to_string(), "S-1-5-18");
        assert_eq!(user.thumbprint, Some(Thumbprint([1; 20])));
        assert_eq!((user.list, &user.wrapped), (List::Users, &Wrapped::Rsa(vec![7; 256])));
        assert_eq!(card.wrapped, Wrapped::Signature);
        assert_eq!((agent.list, &agent.wrapped), (List::Recovery, &Wrapped::Rsa(vec![9; 256])));
        assert!(
            metadata.who().contains("recovery agent agent, S-1-5-18, certificate 0303"),
            "{}",
            metadata.who()
        );
    }

    #[test]
    fn an_unknown_version_is_named_and_refused() {
        for (version, word) in [(0, "version 0"), (6, "Rights Management"), (7, "version 7")] {
            let error = Metadata::parse(&attribute(version, &[], &[])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EfsVersion);
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!(Metadata::parse(b".pfile, and more").unwrap_err().kind(), ErrorKind::EfsVersion);
    }

    #[test]
    fn a_damaged_entry_does_not_hide_the_others() {
        let mut bad = entry([1; 20], "bad", &[7; 256], 0);
        bad[12..16].copy_from_slice(&[0xFF; 4]);
        let good = entry([2; 20], "good", &[7; 256], 0);
        let metadata = Metadata::parse(&attribute(2, &[bad, good], &[])).unwrap();
        assert_eq!((metadata.entries.len(), metadata.notes.len()), (1, 1));
    }

    #[test]
    fn metadata_that_are_cut_are_noted_or_refused() {
        let bytes = sample();
        for cut in 0..bytes.len() {
            if let Ok(metadata) = Metadata::parse(&bytes[..cut]) {
                assert!(!metadata.notes.is_empty(), "{cut} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_metadata_or_not(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Metadata::parse(&bytes);
        }

        #[test]
        fn any_change_is_metadata_or_not(at in 0_usize..900, value: [u8; 4], version in 0_u32..7) {
            let mut bytes = sample();
            bytes[8..12].copy_from_slice(&version.to_le_bytes());
            let at = at.min(bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&value);
            let _ = Metadata::parse(&bytes);
        }
    }
}
