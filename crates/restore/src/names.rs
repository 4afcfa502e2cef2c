//! Names as the host shows them.
//!
//! A name that a host cannot show is escaped: `/` as `%2F`, NUL as `%00`, the names `.` and `..` as `%2E` and
//! `%2E%2E`. So that this can be undone, a `%` that stands before one of these is itself `%25`.

use std::borrow::Cow;

/// What follows `%` in an escape.
const ESCAPES: [(&[u8; 2], u8); 4] = [(b"2F", b'/'), (b"00", 0), (b"2E", b'.'), (b"25", b'%')];

/// `name` as it is shown.
pub fn escape(name: &[u8]) -> Cow<'_, [u8]> {
    let dots = matches!(name, b"." | b"..");
    if !dots && !name.iter().any(|byte| matches!(byte, b'/' | 0 | b'%')) {
        return Cow::Borrowed(name);
    }
    let mut shown = Vec::with_capacity(name.len() + 8);
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let ambiguous =
            || tail.first_chunk::<2>().is_some_and(|next| ESCAPES.iter().any(|(e, _)| *e == next));
        match ESCAPES.iter().find(|(_, escaped)| *escaped == byte) {
            Some((escape, _)) if (byte != b'.' || dots) && (byte != b'%' || ambiguous()) => {
                shown.push(b'%');
                shown.extend_from_slice(*escape);
            }
            _ => shown.push(byte),
        }
    }
    Cow::Owned(shown)
}

/// The name that [`escape`] shows as `shown`.
pub fn unescape(shown: &[u8]) -> Cow<'_, [u8]> {
    if !shown.contains(&b'%') {
        return Cow::Borrowed(shown);
    }
    let mut name = Vec::with_capacity(shown.len());
    let mut rest = shown;
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = tail.first_chunk::<2>().and_then(|next| ESCAPES.iter().find(|(e, _)| *e == next));
        let (after, original) = match escape {
            Some((_, original)) if byte == b'%' => (tail.get(2..).unwrap_or_default(), *original),
            _ => (tail, byte),
        };
        rest = after;
        name.push(original);
    }
    Cow::Owned(name)
}

/// `text` from a volume without what would move the cursor of a terminal or turn the order of what follows.
pub fn printable(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `name` with ` (record N)` before its extension; ` (record N, K)` where that name is taken too.
pub(crate) fn with_record(name: &[u8], record: u32, number: u32) -> Vec<u8> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0).unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let mark = match number {
        ..=1 => format!(" (record {record})"),
        _ => format!(" (record {record}, {number})"),
    };
    [stem, mark.as_bytes(), extension].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_are_shown_as_they_are() {
        for name in ["a.txt", "100%", "50%20off", ".hidden", "...", "Grüße"] {
            assert_eq!(escape(name.as_bytes()), name.as_bytes());
        }
    }

    #[test]
    fn names_no_host_can_show_are_escaped() {
        assert_eq!(*escape(b"a/b\0"), *b"a%2Fb%00");
        assert_eq!(*escape(b".."), *b"%2E%2E");
        assert_eq!(*escape(b"a%2Fb"), *b"a%252Fb");
    }

    #[test]
    fn names_cannot_move_the_cursor_or_turn_the_text() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202E}gpj.exe é"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}gpj.exe é");
    }

    #[test]
    fn the_record_goes_before_the_extension() {
        assert_eq!(with_record(b"a.tar.gz", 7, 1), b"a.tar (record 7).gz");
        assert_eq!(with_record(b".profile", 7, 1), b".profile (record 7)");
        assert_eq!(with_record(b"plain", 7, 2), b"plain (record 7, 2)");
    }

    proptest! {
        #[test]
        fn every_escaped_name_comes_back(name in proptest::collection::vec(prop_oneof![
            Just(b'%'), Just(b'2'), Just(b'5'), Just(b'F'), Just(b'.'), Just(b'/'), Just(b'E'), Just(b'0'), any::<u8>()
        ], 1..12)) {
            let shown = escape(&name).into_owned();
            prop_assert!(!shown.contains(&b'/') && !shown.contains(&0) && shown != b"." && shown != b"..");
            prop_assert_eq!(unescape(&shown).into_owned(), name);
        }
    }
}
