//! Names as Windows shows them, in UTF-16.
//!
//! What a name cannot have on Windows is escaped as `%` and two hexadecimal digits, as the tree escapes what no system
//! can show (see [`crate::names`]): the characters `" * / : < > ? \ |` and those below U+0020, a dot or blank at the end,
//! and the first letter of a name that stands for a device (`CON`, `NUL`, `COM1`…; Win32 "Naming Files, Paths, and
//! Namespaces"). A `%` before two such digits is `%25`, so that it can be undone. A name that gets longer than Windows
//! takes is cut and ends in `%~` and a checksum; such a one is found by looking through the directory.

use crate::names;

/// Longest name in UTF-16 units, without a path (MS-FSCC 2.1.5.2).
pub const NAME_MAX: usize = 255;

/// Characters that no name has, besides those below U+0020.
const FORBIDDEN: &[u8] = b"\"*/:<>?\\|";

/// Names of devices, whatever extension follows. Those with a digit end in 1 to 9 or a superscript 1 to 3.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];

/// A name of the tree as Windows shows it.
pub fn shown(tree_name: &[u8]) -> Vec<u16> {
    let name = to_utf16(&names::unescape(tree_name));
    if name.iter().all(|unit| *unit == u16::from(b'.')) && name.len() <= 2 {
        // `.` and `..` of the directory itself have no other meaning here; all that is left is a file of that name.
        return name.iter().flat_map(|_| "%2E".encode_utf16()).collect();
    }
    let device = is_device(&name);
    let last = name.len().saturating_sub(1);
    let mut out = Vec::with_capacity(name.len());
    for (at, unit) in name.iter().copied().enumerate() {
        let ascii = u8::try_from(unit).unwrap_or(0xFF);
        let escaped = match ascii {
            0..0x20 => true,
            b'.' | b' ' => at == last,
            b'%' => escape_at(&name, at).is_some(),
            _ => FORBIDDEN.contains(&ascii) || (at == 0 && device),
        };
        if escaped {
            out.extend(format!("%{ascii:02X}").encode_utf16());
        } else {
            out.push(unit);
        }
    }
    if out.len() > NAME_MAX { cut(&out) } else { out }
}

/// The name of the tree that is [`shown`] so. For one that was cut it is none that exists.
pub fn tree_name(shown: &[u16]) -> Vec<u8> {
    let mut name = Vec::with_capacity(shown.len());
    let mut at = 0;
    while let Some(unit) = shown.get(at).copied() {
        match escape_at(shown, at) {
            Some(byte) => {
                name.push(byte.into());
                at += 3;
            }
            None => {
                name.push(unit);
                at += 1;
            }
        }
    }
    names::escape(&to_wtf8(&name)).into_owned()
}

/// The character that `%` and two digits at `at` stand for.
fn escape_at(name: &[u16], at: usize) -> Option<u8> {
    let [percent, high, low] = *name.get(at..)?.first_chunk::<3>()?;
    if percent != u16::from(b'%') {
        return None;
    }
    let digit = |unit: u16| match u8::try_from(unit).ok()? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    // Only what an escape can stand for, so that `50%20off`, `100%C3` and most other names stay as they are.
    let byte = (digit(high)? << 4) | digit(low)?;
    let first_of_device = || at == 0 && matches!(byte.to_ascii_uppercase(), b'A' | b'C' | b'L' | b'N' | b'P');
    let ends_name =
        || matches!(byte, b'.' | b' ') && (at + 3 == name.len() || name.len() == 6 && byte == b'.');
    let stands = byte < 0x20 || byte == b'%' || FORBIDDEN.contains(&byte) || first_of_device() || ends_name();
    stands.then_some(byte)
}

fn is_device(name: &[u16]) -> bool {
    let dot = u16::from(b'.');
    let stem = name.split(|unit| *unit == dot).next().unwrap_or_default();
    // No device has more.
    let Some(stem) = stem.get(..stem.len().min(16)) else { return false };
    let stem = String::from_utf16_lossy(stem).to_uppercase();
    let stem = stem.trim_end_matches(' ');
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|digit| {
            let mut digits = digit.chars();
            matches!(digits.next(), Some('1'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
        })
    };
    DEVICES.contains(&stem) || NUMBERED_DEVICES.iter().any(|device| numbered(device))
}

/// A name that is too long, cut at a character and with a checksum (FNV-1a) at its end.
fn cut(name: &[u16]) -> Vec<u16> {
    let hash = name
        .iter()
        .flat_map(|unit| unit.to_le_bytes())
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mark = format!("%~{hash:08X}");
    let mut room = NAME_MAX.saturating_sub(mark.len());
    if name.get(room).is_some_and(|unit| matches!(unit, 0xDC00..=0xDFFF)) {
        room = room.saturating_sub(1);
    }
    let mut out = name.get(..room).unwrap_or_default().to_vec();
    out.extend(mark.encode_utf16());
    out
}

/// WTF-8 as UTF-16; bytes that are none become U+FFFD.
pub fn to_utf16(wtf8: &[u8]) -> Vec<u16> {
    undelfs_ntfs::name::to_utf16(wtf8)
}

/// UTF-16 as WTF-8; an unpaired surrogate is kept.
pub fn to_wtf8(units: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    undelfs_ntfs::name::to_wtf8(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(name: &str) -> String {
        String::from_utf16(&shown(name.as_bytes())).unwrap()
    }

    #[test]
    fn ordinary_names_are_shown_as_they_are() {
        for name in [
            "a.txt",
            "100%",
            "50%20off",
            "%C3%A4.txt",
            ".hidden",
            "a b",
            "Grüße",
            "CONTROL",
            "COM10",
            "com.txt",
        ] {
            assert_eq!(text(name), name);
        }
    }

    #[test]
    fn what_windows_cannot_show_is_escaped() {
        assert_eq!(text("a:b?.txt"), "a%3Ab%3F.txt");
        assert_eq!(text("a\\b\u{1}"), "a%5Cb%01");
        assert_eq!(text("ends."), "ends%2E");
        assert_eq!(text("ends "), "ends%20");
        assert_eq!(text("a%3Ab"), "a%253Ab");
        assert_eq!(text("NUL"), "%4EUL");
        assert_eq!(text("com1.txt"), "%63om1.txt");
        assert_eq!(text("Aux .c"), "%41ux .c");
    }

    #[test]
    fn what_the_tree_has_escaped_is_not_escaped_twice() {
        assert_eq!(text("a%2Fb"), "a%2Fb");
        assert_eq!(text("%2E%2E"), "%2E%2E");
        assert_eq!(tree_name(&shown(b"a%2Fb")), b"a%2Fb");
    }

    #[test]
    fn a_name_that_gets_too_long_is_cut_and_two_of_them_stay_apart() {
        let one = shown(format!("{}1", ":".repeat(254)).as_bytes());
        let other = shown(format!("{}2", ":".repeat(254)).as_bytes());
        assert!(one.len() <= NAME_MAX && other.len() <= NAME_MAX && one != other);
    }

    proptest! {
        #[test]
        fn every_name_can_be_told_from_how_it_is_shown(units in prop::collection::vec(prop_oneof![
            Just(0x25u16), Just(0x32), Just(0x35), Just(0x46), Just(0x2E), Just(0x20), Just(0x43), Just(0x4F), Just(0x4E),
            Just(0x33), Just(0x41), Just(0x3A), Just(0xD800), 1u16..0x80, any::<u16>()
        ], 1..24)) {
            let tree = crate::names::escape(&to_wtf8(&units)).into_owned();
            let name = shown(&tree);
            prop_assert!(name.iter().all(|unit| *unit >= 0x20 && u8::try_from(*unit).map_or(true, |b| !FORBIDDEN.contains(&b))));
            prop_assert!(!matches!(name.last(), Some(0x2E | 0x20)));
            prop_assert!(!is_device(&name));
            prop_assert_eq!(tree_name(&name), tree);
        }
    }
}
