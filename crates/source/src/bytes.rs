//! Checked reads of little-endian numbers from untrusted bytes.

/// The `N` bytes at `at`, or `None` where `buf` ends before.
pub fn array<const N: usize>(buf: &[u8], at: usize) -> Option<[u8; N]> {
    buf.get(at..)?.first_chunk::<N>().copied()
}

/// A little-endian 16-bit number.
pub fn u16_at(buf: &[u8], at: usize) -> Option<u16> {
    array(buf, at).map(u16::from_le_bytes)
}

/// A little-endian 32-bit number.
pub fn u32_at(buf: &[u8], at: usize) -> Option<u32> {
    array(buf, at).map(u32::from_le_bytes)
}

/// A little-endian 64-bit number.
pub fn u64_at(buf: &[u8], at: usize) -> Option<u64> {
    array(buf, at).map(u64::from_le_bytes)
}
