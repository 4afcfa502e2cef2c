//! `$UpCase`: which names the volume takes for the same.

use crate::name;

/// The volume's table of upper-case units, or Unicode's where the volume's own is damaged.
pub struct UpCase(Box<[u16]>);

/// Entries of a full table: one for each UTF-16 unit.
const ENTRIES: usize = 0x10000;

impl UpCase {
    /// The table from the content of the `$UpCase` file; `None` where it is not the 128 KiB that it must be.
    pub fn parse(content: &[u8]) -> Option<Self> {
        let (units, rest) = content.as_chunks::<2>();
        (units.len() == ENTRIES && rest.is_empty())
            .then(|| Self(units.iter().map(|unit| u16::from_le_bytes(*unit)).collect()))
    }

    /// The table that Unicode's own simple mappings make.
    pub fn unicode() -> Self {
        let upper = |unit: u16| {
            let mut upper = char::from_u32(u32::from(unit))?.to_uppercase();
            let first = upper.next().filter(|_| upper.next().is_none())?;
            u16::try_from(u32::from(first)).ok()
        };
        Self((0..=u16::MAX).map(|unit| upper(unit).unwrap_or(unit)).collect())
    }

    /// Folds a WTF-8 name: equal results mean equal names to NTFS.
    pub fn fold(&self, wtf8: &[u8]) -> Vec<u8> {
        name::to_utf16(wtf8)
            .into_iter()
            .flat_map(|unit| self.0.get(usize::from(unit)).copied().unwrap_or(unit).to_le_bytes())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_fold_to_the_same() {
        let table = UpCase::unicode();
        assert_eq!(table.fold("Straße.TXT".as_bytes()), table.fold("straße.txt".as_bytes()));
        assert_eq!(table.fold("ПРИВЕТ".as_bytes()), table.fold("привет".as_bytes()));
        assert_ne!(table.fold(b"a"), table.fold(b"b"));
    }

    #[test]
    fn a_table_of_the_wrong_size_is_refused() {
        assert!(UpCase::parse(&[0; 131_070]).is_none());
        assert!(UpCase::parse(&[0; 131_073]).is_none());
        let table = UpCase::parse(&[0x41, 0].repeat(ENTRIES)).unwrap();
        assert_eq!(table.fold(b"zz"), table.fold(b"AA"));
    }
}
