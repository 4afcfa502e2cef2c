//! Names: UTF-16 on the volume, WTF-8 above it.

/// Appends the UTF-16LE `units` as WTF-8: UTF-8 in which an unpaired surrogate is kept as three bytes.
/// An odd last byte is ignored.
pub fn push_wtf8(units: &[u8], out: &mut Vec<u8>) {
    let (units, _) = units.as_chunks::<2>();
    let mut units = units.iter().map(|unit| u16::from_le_bytes(*unit)).peekable();
    while let Some(unit) = units.next() {
        let mut code = u32::from(unit);
        if code < 0x80 {
            out.push(unit.to_le_bytes()[0]);
            continue;
        }
        if let (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) = (unit, units.peek().copied()) {
            units.next();
            code = 0x10000_u32.wrapping_add((code & 0x3FF) << 10).wrapping_add(u32::from(low) & 0x3FF);
        }
        push_code(code, out);
    }
}

/// Appends a code point of at least 0x80, a surrogate included, in the shape of UTF-8.
fn push_code(code: u32, out: &mut Vec<u8>) {
    let byte = |shift: u32, mask: u32, mark: u32| ((code >> shift) & mask | mark).to_le_bytes()[0];
    match code {
        ..0x800 => out.extend([byte(6, 0x1F, 0xC0), byte(0, 0x3F, 0x80)]),
        0x800..0x10000 => out.extend([byte(12, 0x0F, 0xE0), byte(6, 0x3F, 0x80), byte(0, 0x3F, 0x80)]),
        _ => {
            out.extend([byte(18, 0x07, 0xF0), byte(12, 0x3F, 0x80), byte(6, 0x3F, 0x80), byte(0, 0x3F, 0x80)])
        }
    }
}

/// The UTF-16LE `units` as WTF-8.
pub fn to_wtf8(units: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(units.len());
    push_wtf8(units, &mut out);
    out
}

/// The UTF-16 units of a WTF-8 name. Bytes that are no WTF-8 become U+FFFD.
pub fn to_utf16(name: &[u8]) -> Vec<u16> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let (len, start) = match first {
            ..0x80 => (0, u32::from(first)),
            0xC2..=0xDF => (1, u32::from(first & 0x1F)),
            0xE0..=0xEF => (2, u32::from(first & 0x0F)),
            0xF0..=0xF4 => (3, u32::from(first & 0x07)),
            _ => (0, 0xFFFD),
        };
        let more = tail.get(..len).filter(|more| more.iter().all(|b| b & 0xC0 == 0x80));
        let (code, used) = match more {
            Some(more) => (more.iter().fold(start, |code, b| code << 6 | u32::from(b & 0x3F)), len),
            None => (0xFFFD, 0),
        };
        rest = tail.get(used..).unwrap_or_default();
        match (u16::try_from(code), char::from_u32(code)) {
            (Ok(unit), _) => out.push(unit),
            (_, Some(c)) => out.extend(c.encode_utf16(&mut [0; 2]).iter()),
            _ => out.push(0xFFFD),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(units: &[u16]) -> Vec<u8> {
        units.iter().flat_map(|u| u.to_le_bytes()).collect()
    }

    #[test]
    fn valid_names_become_utf8() {
        for name in ["plain.txt", "grüße", "Привет", "日本語", "🦀🦀", "é\u{301}"] {
            let units: Vec<u16> = name.encode_utf16().collect();
            assert_eq!(to_wtf8(&bytes(&units)), name.as_bytes());
        }
    }

    #[test]
    fn unpaired_surrogates_survive_as_three_bytes() {
        assert_eq!(to_wtf8(&bytes(&[0x61, 0xD800, 0x62])), b"a\xED\xA0\x80b");
        assert_eq!(to_wtf8(&bytes(&[0xDC00, 0xD800])), b"\xED\xB0\x80\xED\xA0\x80");
    }

    proptest! {
        #[test]
        fn every_name_comes_back_from_wtf8(units: Vec<u16>) {
            prop_assert_eq!(to_utf16(&to_wtf8(&bytes(&units))), units);
        }

        #[test]
        fn any_bytes_are_folded_without_a_panic(name: Vec<u8>) {
            let _ = to_utf16(&name);
        }
    }
}
