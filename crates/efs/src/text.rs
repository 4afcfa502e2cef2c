//! Strings in EFS structures.

use undelfs_source::bytes::u16_at;

/// Longest string that is read, in UTF-16 units; a container name has 36 or so.
const MAX_UNITS: usize = 1024;

/// The string in UTF-16LE at the begin of `bytes`, up to a NUL or the end. What is no Unicode, and every control
/// character, is U+FFFD: it is shown to people and to programs that read lines.
pub(crate) fn utf16(bytes: &[u8]) -> String {
    let units = (0..MAX_UNITS).map_while(|index| u16_at(bytes, index.saturating_mul(2)));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.ok().filter(|c| !c.is_control()).unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// WTF-8 as UTF-16 units. Bytes that are no WTF-8 become U+FFFD.
pub(crate) fn wtf8_to_utf16(mut bytes: &[u8]) -> Vec<u16> {
    let mut units = Vec::with_capacity(bytes.len());
    while let Some(chunk) = bytes.utf8_chunks().next() {
        units.extend(chunk.valid().encode_utf16());
        let rest = bytes.get(chunk.valid().len()..).unwrap_or_default();
        bytes = match rest {
            // An unpaired surrogate in three bytes.
            [0xED, high @ 0xA0..=0xBF, low @ 0x80..=0xBF, after @ ..] => {
                units.push(0xD000 | (u16::from(*high) & 0x3F) << 6 | (u16::from(*low) & 0x3F));
                after
            }
            [_, after @ ..] => {
                units.push(0xFFFD);
                after
            }
            [] => rest,
        };
    }
    units
}

/// UTF-16 units as WTF-8.
pub(crate) fn utf16_to_wtf8(units: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(units.len());
    for c in char::decode_utf16(units.iter().copied()) {
        match c {
            Ok(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(error) => {
                let unit = error.unpaired_surrogate();
                let [low, high] = unit.to_le_bytes();
                bytes.extend([0xED, 0x80 | (high & 0x0F) << 2 | low >> 6, 0x80 | (low & 0x3F)]);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_string_ends_at_its_nul_and_has_no_control_characters() {
        let bytes: Vec<u8> = "u2\n(u2@H)\0rest".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(utf16(&bytes), "u2\u{FFFD}(u2@H)");
        assert_eq!(utf16(&bytes[..3]), "u");
        assert_eq!(utf16(&[0x00, 0xD8]), "\u{FFFD}");
    }

    proptest! {
        #[test]
        fn names_come_back_from_wtf8(units in prop::collection::vec(any::<u16>(), 0..40)) {
            prop_assert_eq!(wtf8_to_utf16(&utf16_to_wtf8(&units)), units);
        }

        #[test]
        fn any_bytes_become_units(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(wtf8_to_utf16(&bytes).len() <= bytes.len());
        }
    }
}
