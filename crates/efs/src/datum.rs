//! EFSX datums, of which metadata version 2 is made: MS-EFSR 2.2.2.2. Only who can decrypt is read.

use undelfs_source::bytes::{array, u16_at, u32_at};

use crate::{
    entry::{Entry, List, Thumbprint, Wrapped},
    sid::Sid,
    text::utf16,
};

/// Size of the header that every datum begins with, in bytes.
const HEADER: usize = 8;
/// How deep datums may stand in each other; the format has four levels.
const MAX_DEPTH: u32 = 8;

mod kind {
    pub(super) const BLOB: u16 = 1;
    pub(super) const DESCRIPTOR: u16 = 2;
    pub(super) const KEY_PROTECTOR: u16 = 3;
    pub(super) const PROTECTOR_INFO: u16 = 4;
    pub(super) const KEY_AGREEMENT: u16 = 5;
    pub(super) const FEK_INFO: u16 = 6;
    pub(super) const DPAPI_NG: u16 = 7;
}

mod role {
    pub(super) const CERTIFICATE: u16 = 1;
    pub(super) const DISPLAY: u16 = 3;
    pub(super) const CONTAINER: u16 = 4;
    pub(super) const PROVIDER: u16 = 5;
    pub(super) const SID: u16 = 6;
    pub(super) const DESCRIPTOR: u16 = 0xC;
}

/// `BlobType` of a SHA-1 of a certificate.
const BLOB_THUMBPRINT: u16 = 2;

struct Datum<'a> {
    role: u16,
    kind: u16,
    bytes: &'a [u8],
}

/// Takes the datum that `bytes` begin with.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<Datum<'a>> {
    let size = usize::from(u16_at(bytes, 0)?);
    if size < HEADER {
        return None;
    }
    let (datum, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(Datum { role: u16_at(datum, 2)?, kind: u16_at(datum, 4)?, bytes: datum })
}

impl<'a> Datum<'a> {
    /// The datums in it; none where it is no container.
    fn nested(&self) -> &'a [u8] {
        let start = match self.kind {
            kind::KEY_PROTECTOR | kind::FEK_INFO => 12,
            kind::PROTECTOR_INFO => 8,
            kind::KEY_AGREEMENT | kind::DPAPI_NG => 10,
            _ => return &[],
        };
        self.bytes.get(start..).unwrap_or_default()
    }

    fn tell(&self, entry: &mut Entry, depth: u32) {
        let text = || Some(utf16(self.bytes.get(HEADER..)?)).filter(|text| !text.is_empty());
        match (self.kind, self.role) {
            (kind::BLOB, role::CERTIFICATE) if u16_at(self.bytes, 8) == Some(BLOB_THUMBPRINT) => {
                entry.thumbprint = entry.thumbprint.or_else(|| array(self.bytes, 12).map(Thumbprint));
            }
            (kind::BLOB, role::SID) => {
                entry.owner = entry.owner.take().or_else(|| Sid::parse(self.bytes.get(12..)?));
            }
            (kind::DESCRIPTOR, role::DISPLAY | role::DESCRIPTOR) => {
                entry.name = entry.name.take().or_else(text)
            }
            (kind::DESCRIPTOR, role::CONTAINER) => entry.container = entry.container.take().or_else(text),
            (kind::DESCRIPTOR, role::PROVIDER) => entry.provider = entry.provider.take().or_else(text),
            _ => {}
        }
        let mut nested = self.nested();
        if depth > 0 {
            while let Some(datum) = take(&mut nested) {
                datum.tell(entry, depth.saturating_sub(1));
            }
        }
    }
}

/// The entries of a protector list, and whether all of them could be read.
pub(crate) fn protectors(bytes: &[u8], list: List, entries: &mut Vec<Entry>) -> bool {
    let sound = || {
        let size = usize::try_from(u32_at(bytes, 0)?).ok()?;
        Some((bytes.get(6..size.min(bytes.len()))?, u16_at(bytes, 4)?))
    };
    let Some((mut rest, count)) = sound() else { return false };
    for _ in 0..count {
        let Some(datum) = take(&mut rest) else { return false };
        let mut entry = Entry {
            list,
            owner: None,
            thumbprint: None,
            container: None,
            provider: None,
            name: None,
            wrapped: Wrapped::Newer,
        };
        datum.tell(&mut entry, MAX_DEPTH);
        entries.push(entry);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datum(role: u16, kind: u16, extra: &[u8], body: &[u8]) -> Vec<u8> {
        let size = (HEADER + extra.len() + body.len()) as u16;
        let mut all: Vec<u8> = [size, role, kind, 0].into_iter().flat_map(u16::to_le_bytes).collect();
        all.extend_from_slice(extra);
        all.extend_from_slice(body);
        all
    }

    fn text(role: u16, text: &str) -> Vec<u8> {
        let units: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        datum(role, kind::DESCRIPTOR, &[], &units)
    }

    #[test]
    fn a_protector_says_who_can_decrypt() {
        let sid = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
        let info = [
            datum(role::CERTIFICATE, kind::BLOB, &[2, 0, 0, 0], &[7; 20]),
            text(role::DISPLAY, "me(me@HOST)"),
            text(role::CONTAINER, "container"),
            datum(role::SID, kind::BLOB, &[0; 4], &sid),
        ]
        .concat();
        let info = datum(2, kind::PROTECTOR_INFO, &[], &info);
        let protector = datum(2, kind::KEY_PROTECTOR, &[2, 0, 0, 0], &info);
        let mut list = vec![0; 6];
        list.extend(protector);
        let size = (list.len() as u32).to_le_bytes();
        list[..4].copy_from_slice(&size);
        list[4] = 1;
        let mut entries = Vec::new();
        assert!(protectors(&list, List::Users, &mut entries));
        assert_eq!(entries[0].thumbprint, Some(Thumbprint([7; 20])));
        assert_eq!(entries[0].name.as_deref(), Some("me(me@HOST)"));
        assert_eq!(entries[0].owner.as_ref().unwrap().to_string(), "S-1-5-18");
        for cut in 0..list.len() {
            assert!(!protectors(&list[..cut], List::Users, &mut Vec::new()), "{cut} bytes");
        }
    }

    #[test]
    fn datums_that_hold_themselves_end() {
        // Each datum of 8 bytes is a container of nothing; sizes below 8 would never end.
        let mut list = vec![0xFF; 4000];
        for chunk in list.chunks_mut(8) {
            chunk.copy_from_slice(&[0, 0, 0, 0, 4, 0, 0, 0]);
        }
        list[..6].copy_from_slice(&[0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
        assert!(!protectors(&list, List::Users, &mut Vec::new()));
    }
}
