//! Text in UTF-16 and in single bytes.

/// UTF-16, little-endian, up to the first NUL; what is no Unicode becomes U+FFFD.
pub(crate) fn utf16(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Windows-1252 as far as it is Latin-1, up to the first NUL.
pub(crate) fn single_bytes(bytes: &[u8]) -> String {
    bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}
