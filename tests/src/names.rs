//! Names for files: scripts, normal forms, lengths and characters that file systems disagree about.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
};

use fastrand::Rng;

/// Folders in the root. Two of them differ only by the normal form of their letters: NTFS keeps both.
pub const TOPS: [&str; 8] = [
    "Documents",
    "Pictures",
    "Projects 2024 (final)",
    "Музыка",
    "写真",
    "Old stuff 📦",
    "r\u{e9}sum\u{e9}s",
    "re\u{301}sume\u{301}s",
];

const STEMS: [&str; 20] = [
    "report",
    "IMG",
    "notes on the mill",
    "Отчёт за квартал",
    "議事録",
    "여행 사진",
    "Ελληνικά",
    "ملف",
    "\u{e9}t\u{e9}",
    "e\u{301}te\u{301}",
    "🏖️ beach 👩‍👩‍👧",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "UPPER lower",
    "a",
    " leading space",
    "dots...in.the.middle",
    "-rf",
    "what? \"quoted\" <angles> | pipe * star",
    "back\\slash",
    "line\nbreak",
];

const ENDINGS: [&str; 8] = [".txt", ".jpg", ".tar.gz", ".DOCX", "", ".pdf", ".db", "."];

/// A name that no other `number` gets, of at most 255 bytes: what `cp` can make on any file system.
pub fn file(rng: &mut Rng, number: usize) -> OsString {
    let stem = rng.choice(STEMS).unwrap_or("x");
    let ending = rng.choice(ENDINGS).unwrap_or("");
    let tag = format!(" {number:05}");
    match rng.u8(..60) {
        0 => format!("{}{tag}{ending}", "n".repeat(255 - tag.len() - ending.len())).into(),
        1..4 => {
            let mut name = stem.as_bytes().to_vec();
            name.extend_from_slice(b"\xed\xa0\xbd lone surrogate");
            name.extend_from_slice(tag.as_bytes());
            OsString::from_vec(name)
        }
        _ => format!("{stem}{tag}{ending}").into(),
    }
}

/// A folder's name that no other `number` gets.
pub fn folder(rng: &mut Rng, number: usize) -> String {
    format!("{} {number}", rng.choice(STEMS).unwrap_or("x"))
}

/// Whether Windows itself could have made the name; only such a name gets a DOS name beside it.
pub fn is_win32(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let forbidden = |byte: &u8| *byte < 0x20 || b"\"*/:<>?\\|".contains(byte);
    name.to_str().is_some()
        && !bytes.iter().any(forbidden)
        && !bytes.ends_with(b".")
        && !bytes.ends_with(b" ")
}

/// Names of the greatest length that NTFS allows, 255 UTF-16 units; in UTF-8 too long for most file systems.
pub fn longest() -> [String; 3] {
    ["я".repeat(255), "写".repeat(255), format!("{}x", "📦".repeat(127))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_fit_any_linux_file_system() {
        let mut rng = Rng::with_seed(1);
        let names: std::collections::HashSet<_> = (0..5000).map(|n| file(&mut rng, n)).collect();
        assert_eq!(names.len(), 5000);
        assert!(names.iter().all(|name| name.len() <= 255 && !name.as_encoded_bytes().contains(&b'/')));
    }

    #[test]
    fn the_longest_names_have_255_utf16_units() {
        assert!(longest().iter().all(|name| name.encode_utf16().count() == 255));
    }
}
