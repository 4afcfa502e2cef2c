//! Datums: the entries of an FVE dataset, in which protectors and keys stand.
//!
//! A datum is a header of eight bytes (size with the header, role, type, flags) and what its type says; some types
//! hold further datums. Sources: the public symbol names of fveapi.dll, and the documentation of libbde.

use undelfs_source::bytes::{array, u16_at, u32_at, u64_at};
use undelfs_volume::filesystem::FileTime;

use crate::{Guid, secret::Secret};

/// Size in bytes of the header of a datum.
const HEADER: usize = 8;
/// How deep datums stand in datums: a protector, its key, and the key's own copy.
const MAX_DEPTH: usize = 4;
/// Most datums of a dataset, nested ones included. Windows writes some ten for each protector.
const MAX_DATUMS: usize = 4096;

/// What a datum is for.
pub(crate) mod role {
    pub(crate) const VMK: u16 = 2;
    pub(crate) const FVEK: u16 = 3;
    pub(crate) const STARTUP_KEY: u16 = 6;
    pub(crate) const DESCRIPTION: u16 = 7;
}

mod kind {
    pub(super) const KEY: u16 = 1;
    pub(super) const UNICODE: u16 = 2;
    pub(super) const STRETCH_KEY: u16 = 3;
    pub(super) const USE_KEY: u16 = 4;
    pub(super) const AES_CCM: u16 = 5;
    pub(super) const VMK: u16 = 8;
    pub(super) const EXTERNAL_KEY: u16 = 9;
    pub(super) const RELOCATION: u16 = 15;
}

/// A datum, with what stands in it.
#[derive(Debug)]
pub(crate) struct Datum {
    pub(crate) role: u16,
    pub(crate) value: Value,
    pub(crate) nested: Vec<Datum>,
}

/// What a datum holds.
#[derive(Debug)]
pub(crate) enum Value {
    /// A key in the clear.
    Key { kind: u16, key: Secret },
    /// Text.
    Text(String),
    /// How a password is made into a key.
    Stretch { salt: [u8; 16] },
    /// A key sealed with AES-CCM.
    Sealed(Sealed),
    /// A key protector: the volume master key, sealed.
    Protector { identifier: Guid, protection: u16 },
    /// The key of a startup key file.
    External { identifier: Guid },
    /// Where the first bytes of the volume stand, and how many there are.
    Relocation { at: u64, len: u64 },
    /// Holds further datums only.
    Use,
    /// Anything else.
    Other,
}

/// What was sealed with AES-CCM: a datum whose authenticity shows when it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) nonce: [u8; 12],
    pub(crate) mac: [u8; 16],
    pub(crate) data: Vec<u8>,
}

impl Datum {
    /// The datums that `bytes` holds. What is cut or has an impossible size ends the list.
    pub(crate) fn all(bytes: &[u8]) -> Vec<Self> {
        let mut left = MAX_DATUMS;
        Self::list(bytes, 0, &mut left)
    }

    /// The one datum that begins `bytes`.
    pub(crate) fn first(bytes: &[u8]) -> Option<Self> {
        let mut left = MAX_DATUMS;
        Self::parse(bytes, 0, &mut left).map(|(datum, _)| datum)
    }

    fn list(mut bytes: &[u8], depth: usize, left: &mut usize) -> Vec<Self> {
        let mut all = Vec::new();
        while let Some((datum, size)) = Self::parse(bytes, depth, left) {
            all.push(datum);
            bytes = bytes.get(size..).unwrap_or_default();
        }
        all
    }

    fn parse(bytes: &[u8], depth: usize, left: &mut usize) -> Option<(Self, usize)> {
        let size = usize::from(u16_at(bytes, 0)?);
        let (role, kind) = (u16_at(bytes, 2)?, u16_at(bytes, 4)?);
        let body = bytes.get(HEADER..size)?;
        *left = left.checked_sub(1)?;
        let (value, own) = Value::parse(kind, body);
        let nested = match own.and_then(|own| body.get(own..)) {
            Some(rest) if depth < MAX_DEPTH => Self::list(rest, depth.saturating_add(1), left),
            _ => Vec::new(),
        };
        Some((Self { role, value, nested }, size))
    }

    /// The first sealed key among the nested datums.
    pub(crate) fn sealed(&self) -> Option<&Sealed> {
        self.nested.iter().find_map(|datum| match &datum.value {
            Value::Sealed(sealed) => Some(sealed),
            _ => None,
        })
    }

    /// The salt of the first stretched key among the nested datums.
    pub(crate) fn salt(&self) -> Option<[u8; 16]> {
        self.nested.iter().find_map(|datum| match datum.value {
            Value::Stretch { salt } => Some(salt),
            _ => None,
        })
    }

    /// Length in bytes of the relocated sectors, where the datum says it.
    pub(crate) fn relocated_len(&self) -> Option<u64> {
        match self.value {
            Value::Relocation { len, .. } => Some(len),
            _ => None,
        }
    }

    /// The first key in the clear among the nested datums.
    pub(crate) fn key(&self) -> Option<&Secret> {
        self.nested.iter().find_map(|datum| match &datum.value {
            Value::Key { key, .. } => Some(key),
            _ => None,
        })
    }
}

impl Value {
    /// What the body of a datum says, and where nested datums begin in it, if its type can have any.
    fn parse(kind: u16, body: &[u8]) -> (Self, Option<usize>) {
        let parsed = match kind {
            kind::KEY => Self::key(body).map(|value| (value, None)),
            kind::UNICODE => Some((Self::Text(text(body)), None)),
            kind::STRETCH_KEY => array(body, 4).map(|salt| (Self::Stretch { salt }, Some(20))),
            kind::USE_KEY => Some((Self::Use, Some(4))),
            kind::AES_CCM => Sealed::parse(body).map(|sealed| (Self::Sealed(sealed), None)),
            kind::VMK => Self::protector(body).map(|value| (value, Some(28))),
            kind::RELOCATION => Self::relocation(body).map(|value| (value, None)),
            kind::EXTERNAL_KEY => Self::external(body).map(|value| (value, Some(24))),
            _ => None,
        };
        parsed.unwrap_or((Self::Other, None))
    }

    fn relocation(body: &[u8]) -> Option<Self> {
        Some(Self::Relocation { at: u64_at(body, 0)?, len: u64_at(body, 8)? })
    }

    fn key(body: &[u8]) -> Option<Self> {
        Some(Self::Key { kind: u16_at(body, 0)?, key: Secret::copy(body.get(4..)?) })
    }

    fn protector(body: &[u8]) -> Option<Self> {
        Some(Self::Protector { identifier: Guid::at(body, 0)?, protection: u16_at(body, 26)? })
    }

    fn external(body: &[u8]) -> Option<Self> {
        Some(Self::External { identifier: Guid::at(body, 0)? })
    }
}

impl Sealed {
    fn parse(body: &[u8]) -> Option<Self> {
        Some(Self { nonce: array(body, 0)?, mac: array(body, 12)?, data: body.get(28..)?.to_vec() })
    }
}

fn text(body: &[u8]) -> String {
    let units: Vec<u16> = body
        .as_chunks()
        .0
        .iter()
        .map(|unit| u16::from_le_bytes(*unit))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

/// An FVE dataset: what metadata blocks, startup key files and key packages have in common.
#[derive(Debug)]
pub(crate) struct Dataset {
    /// Identifier of the volume, or of the key file.
    pub(crate) identifier: Guid,
    /// Counts up with every key that is sealed: of several copies the highest is the newest.
    pub(crate) counter: u32,
    /// Sector cipher; zero where nothing is encrypted.
    pub(crate) method: u16,
    pub(crate) created: FileTime,
    pub(crate) datums: Vec<Datum>,
}

impl Dataset {
    /// Size in bytes of the header: size, version, size of the header, end of the datums, identifier, counter, cipher, time.
    const HEADER: usize = 48;

    /// The dataset that begins `bytes`; `None` where its sizes make no sense.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let size = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let start = usize::try_from(u32_at(bytes, 8)?).ok()?;
        let end = usize::try_from(u32_at(bytes, 12)?).ok()?;
        if start < Self::HEADER || end < start || end > size {
            return None;
        }
        Some(Self {
            identifier: Guid::at(bytes, 16)?,
            counter: u32_at(bytes, 32)?,
            method: u16_at(bytes, 36)?,
            created: FileTime(u64_at(bytes, 40)?),
            datums: Datum::all(bytes.get(start..end)?),
        })
    }

    /// The datums of a role.
    pub(crate) fn of(&self, role: u16) -> impl Iterator<Item = &Datum> {
        self.datums.iter().filter(move |datum| datum.role == role)
    }

    /// The volume's description, which Windows makes of the computer, the label and the day.
    pub(crate) fn description(&self) -> Option<&str> {
        self.of(role::DESCRIPTION).find_map(|datum| match &datum.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Where the first bytes of the volume stand and how many there are, where that is said.
    pub(crate) fn relocation(&self) -> Option<(u64, u64)> {
        self.datums.iter().find_map(|datum| match datum.value {
            Value::Relocation { at, len } => Some((at, len)),
            _ => None,
        })
    }

    /// The volume's encryption key, sealed with the volume master key.
    pub(crate) fn fvek(&self) -> Option<&Sealed> {
        self.of(role::FVEK).find_map(|datum| match &datum.value {
            Value::Sealed(sealed) => Some(sealed),
            _ => None,
        })
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Datums made field by field.

    pub(crate) fn datum(role: u16, kind: u16, body: &[u8]) -> Vec<u8> {
        let size = u16::try_from(8 + body.len()).unwrap();
        let fields = [size, role, kind, 1].map(u16::to_le_bytes).concat();
        [&fields, body].concat()
    }

    pub(crate) fn dataset(identifier: [u8; 16], counter: u32, method: u16, datums: &[u8]) -> Vec<u8> {
        let size = u32::try_from(48 + datums.len()).unwrap();
        let mut bytes = [size, 1, 48, size].map(u32::to_le_bytes).concat();
        bytes.extend(identifier);
        bytes.extend(counter.to_le_bytes());
        bytes.extend([method, 0].map(u16::to_le_bytes).concat());
        bytes.extend(7u64.to_le_bytes());
        bytes.extend(datums);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{samples::*, *};

    #[test]
    fn a_protector_is_read_with_the_salt_and_the_sealed_key_in_it() {
        let stretch = datum(0, 3, &[&[0x00, 0x10, 0, 0][..], &[7; 16]].concat());
        let sealed = datum(0, 5, &[&[1; 12][..], &[2; 16], &[3; 44]].concat());
        let mut body = vec![9; 16];
        body.extend([0; 10]);
        body.extend(0x0800u16.to_le_bytes());
        body.extend([stretch, sealed].concat());
        let bytes = dataset([5; 16], 11, 0x8004, &datum(2, 8, &body));
        let set = Dataset::parse(&bytes).unwrap();
        assert_eq!((set.identifier, set.counter, set.method), (Guid([5; 16]), 11, 0x8004));
        let protector = set.of(role::VMK).next().unwrap();
        let Value::Protector { identifier, protection } = &protector.value else { panic!() };
        assert_eq!((*identifier, *protection), (Guid([9; 16]), 0x0800));
        assert_eq!(protector.salt(), Some([7; 16]));
        assert_eq!(protector.sealed().unwrap().data, [3; 44]);
        assert_eq!(protector.sealed().unwrap().mac, [2; 16]);
    }

    #[test]
    fn a_datum_that_is_cut_or_shorter_than_its_header_ends_the_list() {
        let good = datum(7, 2, &[b'a', 0, b'b', 0, 0, 0]);
        assert_eq!(Datum::all(&good).len(), 1);
        for bad in [&good[..good.len() - 1], &[7, 0, 0, 0, 0, 0, 0, 0], &[0; 8], &[1]] {
            let both = [&good, bad].concat();
            assert_eq!(Datum::all(&both).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn datums_in_datums_end_at_a_depth() {
        let mut bytes = datum(0, 4, &[0; 4]);
        for _ in 0..100 {
            bytes = datum(0, 4, &[&[0; 4][..], &bytes].concat());
        }
        let mut depth = 0;
        let mut all = &Datum::all(&bytes);
        while let Some(first) = all.first() {
            depth += 1;
            all = &first.nested;
        }
        assert_eq!(depth, MAX_DEPTH + 1);
    }

    #[test]
    fn keys_do_not_show_in_debug_output() {
        let bytes = datum(0, 1, &[0, 0x20, 0, 0, 0xAB, 0xAB, 0xAB]);
        let shown = format!("{:?}", Datum::all(&bytes));
        assert!(!shown.contains("171") && !shown.to_lowercase().contains("ab, "), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_bounded_number_of_datums(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            fn count(datums: &[Datum]) -> usize {
                datums.iter().map(|datum| 1 + count(&datum.nested)).sum()
            }
            prop_assert!(count(&Datum::all(&bytes)) <= MAX_DATUMS);
            let _ = Dataset::parse(&bytes);
        }
    }
}
