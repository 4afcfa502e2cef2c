use std::fmt;

use undelfs_source::bytes::u32_at;

/// A security identifier: who a user is to Windows. Layout: MS-DTYP 2.4.2.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sid {
    revision: u8,
    authority: u64,
    subs: Vec<u32>,
}

impl Sid {
    /// Reads the one that `bytes` begin with; `None` where they are too short for it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[revision, count, a, b, c, d, e, f], rest) = bytes.split_first_chunk::<8>()?;
        let subs: Option<Vec<u32>> =
            (0..usize::from(count)).map(|index| u32_at(rest, index.saturating_mul(4))).collect();
        Some(Self { revision, authority: u64::from_be_bytes([0, 0, a, b, c, d, e, f]), subs: subs? })
    }
}

/// As Windows writes it: `S-1-5-21-…`.
impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-{}-", self.revision)?;
        match self.authority >> 32 {
            0 => write!(f, "{}", self.authority)?,
            _ => write!(f, "{:#014x}", self.authority)?,
        }
        self.subs.iter().try_for_each(|sub| write!(f, "-{sub}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_is_shown_as_windows_shows_it() {
        let bytes = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0, 0xFF];
        assert_eq!(Sid::parse(&bytes).unwrap().to_string(), "S-1-5-32-544");
        let bytes = [1, 1, 0, 1, 0, 0, 0, 0, 7, 0, 0, 0];
        assert_eq!(Sid::parse(&bytes).unwrap().to_string(), "S-1-0x000100000000-7");
    }

    #[test]
    fn a_sid_that_is_cut_is_none() {
        let bytes = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
        for cut in 0..bytes.len() {
            assert_eq!(Sid::parse(&bytes[..cut]), None, "{cut} bytes");
        }
    }
}
