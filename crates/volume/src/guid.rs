use std::fmt;

use undelfs_source::bytes::array;

/// A GUID in its byte order on disk; printed as Windows prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The GUID at byte `at` of `bytes`; `None` where they end before.
    pub fn at(bytes: &[u8], at: usize) -> Option<Self> {
        array(bytes, at).map(Self)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d @ ..] = self.0;
        let (a, b, c) = (
            u32::from_le_bytes([a0, a1, a2, a3]),
            u16::from_le_bytes([b0, b1]),
            u16::from_le_bytes([c0, c1]),
        );
        write!(f, "{{{a:08X}-{b:04X}-{c:04X}-")?;
        for (index, byte) in d.iter().enumerate() {
            if index == 2 {
                f.write_str("-")?;
            }
            write!(f, "{byte:02X}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_printed_as_windows_prints_it() {
        let bytes = *b"\x3B\xD6\x67\x49\x29\x2E\xD8\x4A\x83\x99\xF6\xA3\x39\xE3\xD0\x01";
        assert_eq!(Guid(bytes).to_string(), "{4967D63B-2E29-4AD8-8399-F6A339E3D001}");
        assert_eq!(Guid::at(&bytes, 1), None);
    }
}
