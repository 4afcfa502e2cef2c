//! Strings of callers, which are UTF-16, and names and paths, which are WTF-8. Unpaired surrogates survive both ways.

/// UTF-16 as WTF-8.
pub(crate) fn to_wtf8(units: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(units.len());
    let mut utf8 = [0; 4];
    for decoded in char::decode_utf16(units.iter().copied()) {
        match decoded {
            Ok(character) => bytes.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes()),
            Err(error) => {
                let unit = error.unpaired_surrogate();
                let low = |value: u16| 0x80 | (value & 0x3F) as u8;
                bytes.extend_from_slice(&[0xE0 | (unit >> 12) as u8, low(unit >> 6), low(unit)]);
            }
        }
    }
    bytes
}

/// Appends WTF-8 as UTF-16. Bytes that are none become U+FFFD.
pub(crate) fn push_utf16(bytes: &[u8], units: &mut Vec<u16>) {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => return units.extend(text.encode_utf16()),
            Err(error) => {
                let (sound, after) = rest.split_at_checked(error.valid_up_to()).unwrap_or((rest, &[]));
                units.extend(std::str::from_utf8(sound).unwrap_or_default().encode_utf16());
                let (unit, taken) = surrogate(after)
                    .map_or((0xFFFD, error.error_len().unwrap_or(after.len())), |unit| (unit, 3));
                units.push(unit);
                rest = after.get(taken.max(1)..).unwrap_or_default();
            }
        }
    }
}

/// The unpaired surrogate that the bytes begin with.
fn surrogate(bytes: &[u8]) -> Option<u16> {
    let [0xED, middle @ 0xA0..=0xBF, last @ 0x80..=0xBF] = *bytes.first_chunk::<3>()? else {
        return None;
    };
    Some(0xD000 | u16::from(middle & 0x3F) << 6 | u16::from(last & 0x3F))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utf16(bytes: &[u8]) -> Vec<u16> {
        let mut units = Vec::new();
        push_utf16(bytes, &mut units);
        units
    }

    #[test]
    fn text_outside_of_the_first_plane_becomes_pairs() {
        assert_eq!(utf16("a😀é".as_bytes()), [0x61, 0xD83D, 0xDE00, 0xE9]);
        assert_eq!(to_wtf8(&[0x61, 0xD83D, 0xDE00, 0xE9]), "a😀é".as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(utf16(b"a\xFFb\xE2\x82"), [0x61, 0xFFFD, 0x62, 0xFFFD]);
    }

    proptest! {
        #[test]
        fn every_string_of_utf16_comes_back(units in prop::collection::vec(
            prop_oneof![any::<u16>(), 0xD800..0xE000_u16, 0x20..0x7F_u16], 0..40
        )) {
            prop_assert_eq!(utf16(&to_wtf8(&units)), units);
        }

        #[test]
        fn any_bytes_become_utf16(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(utf16(&bytes).len() <= bytes.len());
        }
    }
}
