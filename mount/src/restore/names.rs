//! Names under which files stand in DEST where their own cannot be had there.

use super::manifest;

/// Longest name in bytes that Linux file systems commonly take (`NAME_MAX`).
pub(crate) const NAME_MAX: usize = 255;

/// Longest ending, with its dot, that is kept as the extension of a name that is cut.
const EXTENSION_MAX: usize = 32;

/// Whether `name` at the top of DEST is one of the manifest, also where DEST takes upper and lower case for the same.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    [manifest::SUMS_NAME, manifest::DETAIL_NAME].iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// `name` with ` (record N)` before its extension, ` (record N, K)` from the second try on, and its stem cut at a
/// character so that the whole has at most `limit` bytes.
pub(crate) fn marked(name: &[u8], record: &str, number: u32, limit: usize) -> Vec<u8> {
    let mark = match number {
        ..=1 => format!(" (record {record})"),
        _ => format!(" (record {record}, {number})"),
    };
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0).unwrap_or(name.len());
    let dot = if name.len() - dot > EXTENSION_MAX { name.len() } else { dot };
    let (stem, extension) = name.split_at(dot);
    let room = limit.saturating_sub(mark.len().saturating_add(extension.len()));
    [cut(stem, room), mark.as_bytes(), extension].concat()
}

/// The longest start of `name` that has at most `room` bytes and does not end inside a character of UTF-8.
fn cut(name: &[u8], room: usize) -> &[u8] {
    if name.len() <= room {
        return name;
    }
    let continues = |at: &usize| name.get(*at).is_some_and(|byte| byte & 0xC0 == 0x80);
    // A character has at most three bytes after its first; what goes on longer is no UTF-8.
    let at = (room.saturating_sub(3)..=room).rev().find(|at| !continues(at)).unwrap_or(room);
    name.get(..at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_long_is_cut_at_a_character_and_keeps_its_extension() {
        for (character, tail) in [("я", ".docx"), ("写", ".txt"), ("📦", ""), ("a", ".tar.gz")] {
            let name = format!("{}{tail}", character.repeat(255));
            let short = String::from_utf8(marked(name.as_bytes(), "1234", 1, NAME_MAX)).unwrap();
            assert!(short.len() <= NAME_MAX && short.len() > NAME_MAX - 4, "{short}");
            assert!(short.starts_with(character), "{short}");
            let extension = tail.rsplit_once('.').map_or(String::new(), |(_, e)| format!(".{e}"));
            assert!(short.ends_with(&format!(" (record 1234){extension}")), "{short}");
        }
    }

    #[test]
    fn a_name_that_fits_only_gets_its_mark() {
        assert_eq!(marked(b"a.tar.gz", "7", 1, NAME_MAX), b"a.tar (record 7).gz");
        assert_eq!(marked(b"a.txt", "7", 2, NAME_MAX), b"a (record 7, 2).txt");
        assert_eq!(marked(b".profile", "7", 1, NAME_MAX), b".profile (record 7)");
    }

    #[test]
    fn bytes_that_are_no_characters_are_cut_all_the_same() {
        let short = marked(&[0x80; 300], "7", 1, NAME_MAX);
        assert_eq!(short.len(), NAME_MAX);
    }

    #[test]
    fn the_names_of_the_manifest_are_reserved_in_upper_and_lower_case() {
        assert!(is_reserved(b"undelfs-manifest.sha256") && is_reserved(b"Undelfs-Manifest.JSONL"));
        assert!(!is_reserved(b"undelfs-manifest.txt"));
    }
}
