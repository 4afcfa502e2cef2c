//! Kinds of content that are told by how they begin, and the extensions of the files that begin so.
//!
//! The signatures are those of the `file-format` crate. What it cannot say stands here: which kinds share a
//! container, which extensions promise a signature, and which signatures are too short to prove anything.

mod table;
mod whole;

use std::sync::LazyLock;

use file_format::FileFormat::{self, Bzip2, Gzip, MsDosExecutable, PortableExecutable};
use hashbrown::HashMap;

pub(crate) use table::KINDS;
pub(crate) use whole::{END, Whole};

/// Bytes of the begin of a content that are looked at.
pub(crate) const BEGIN: usize = 4096;

/// Longest extension that any kind has, in bytes.
const LONGEST: usize = 12;

/// Offset of the field `e_lfanew` of an MS-DOS header, which says where the PE signature stands (PE format,
/// section "MS-DOS Stub").
const E_LFANEW: usize = 0x3C;

/// What a signature proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Strength {
    /// It is so short that noise begins so now and then: it counts only where the name says the same.
    Hint,
    /// Nothing begins so by chance, but files of any name do: a page that says why there is no picture.
    Name,
    /// Nothing begins so by chance, and no file under another kind's name does.
    Proof,
}

/// Kinds of content that no reader of the begin can tell apart, or that are mistaken for each other all the time.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What it is called in a sentence.
    pub(crate) name: &'static str,
    formats: &'static [FileFormat],
    /// A file with one of these extensions begins with a signature of this kind.
    promised: &'static [&'static str],
    /// A file with one of these extensions may begin so.
    fitting: &'static [&'static str],
    pub(crate) strength: Strength,
    /// The content is compressed throughout: no cluster of it is one byte all over.
    pub(crate) dense: bool,
    /// How a content shows that it is whole, where that can be told.
    pub(crate) whole: Option<Whole>,
}

impl Kind {
    const fn new(
        name: &'static str,
        formats: &'static [FileFormat],
        promised: &'static [&'static str],
        fitting: &'static [&'static str],
    ) -> Self {
        Self { name, formats, promised, fitting, strength: Strength::Proof, dense: false, whole: None }
    }

    const fn dense(self) -> Self {
        Self { dense: true, ..self }
    }

    const fn whole(self, whole: Whole) -> Self {
        Self { whole: Some(whole), ..self }
    }

    const fn hint(self) -> Self {
        Self { strength: Strength::Hint, ..self }
    }

    const fn name(self) -> Self {
        Self { strength: Strength::Name, ..self }
    }

    /// True where a file with this extension may begin so.
    pub(crate) fn fits(&self, extension: &[u8]) -> bool {
        has(self.promised, extension) || has(self.fitting, extension)
    }
}

fn has(list: &[&str], extension: &[u8]) -> bool {
    list.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(extension))
}

/// How a content begins: the place of its kind in [`KINDS`].
pub(crate) fn recognise(begin: &[u8]) -> Option<u8> {
    let begin = begin.get(..BEGIN).unwrap_or(begin);
    let format = match FileFormat::from_bytes(begin) {
        MsDosExecutable if is_portable_executable(begin) => PortableExecutable,
        // Two bytes of signature and the only method there is (RFC 1952, section 2.3.1).
        Gzip if begin.get(2) != Some(&8) => return None,
        // The level, then the signature of a block or of the end of the stream.
        Bzip2 if !is_bzip2(begin) => return None,
        format => format,
    };
    let place = KINDS.iter().position(|kind| kind.formats.contains(&format))?;
    u8::try_from(place).ok()
}

fn is_portable_executable(begin: &[u8]) -> bool {
    let field = begin.get(E_LFANEW..).and_then(|rest| rest.first_chunk::<4>());
    let at = field.and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok());
    let signature = at.and_then(|at| begin.get(at..)).and_then(|rest| rest.first_chunk::<4>());
    signature == Some(b"PE\0\0")
}

fn is_bzip2(begin: &[u8]) -> bool {
    const BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: &[u8] = &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    let level = begin.get(3).is_some_and(|level| (b'1'..=b'9').contains(level));
    level && begin.get(4..).is_some_and(|rest| rest.starts_with(BLOCK) || rest.starts_with(END))
}

/// The kind whose signature every file with this extension begins with, where there is one.
pub(crate) fn promised(extension: &[u8]) -> Option<&'static Kind> {
    static KINDS_BY_EXTENSION: LazyLock<HashMap<&[u8], &Kind>> = LazyLock::new(|| {
        let all = KINDS.iter().flat_map(|kind| kind.promised.iter().map(move |one| (one.as_bytes(), kind)));
        // The first kind that promises it.
        all.rev().collect()
    });
    let mut small = [0; LONGEST];
    let small = small.get_mut(..extension.len())?;
    small.copy_from_slice(extension);
    small.make_ascii_lowercase();
    KINDS_BY_EXTENSION.get(&*small).copied()
}

/// What follows the last dot of a name, where it can be an extension of a kind.
pub(crate) fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    // A name that begins with its only dot has no extension.
    name.get(dot + 1..).filter(|rest| dot > 0 && (1..=LONGEST).contains(&rest.len()))
}

/// What kind of content begins so, where that is known: `JPEG`, `ZIP`. Takes any bytes; looks at the first 4 KiB.
pub fn content_kind(begin: &[u8]) -> Option<&'static str> {
    Some(KINDS.get(usize::from(recognise(begin)?))?.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_has_a_place_in_a_byte_and_no_format_is_of_two_kinds() {
        assert!(KINDS.len() <= 112, "{}", KINDS.len());
        let mut formats: Vec<_> = KINDS.iter().flat_map(|kind| kind.formats).collect();
        let all = formats.len();
        formats.sort();
        formats.dedup();
        assert_eq!(formats.len(), all);
    }

    #[test]
    fn every_extension_can_be_found_in_a_name_and_is_written_in_small_letters() {
        for list in KINDS.iter().flat_map(|kind| [kind.promised, kind.fitting]) {
            for one in list {
                assert!(one.len() <= LONGEST && **one == one.to_ascii_lowercase(), "{one}");
            }
        }
    }

    #[test]
    fn a_kind_is_told_by_its_begin() {
        let mut pe = vec![0; 256];
        pe[..2].copy_from_slice(b"MZ");
        pe[E_LFANEW] = 0x80;
        assert_eq!(content_kind(&pe), Some("MS-DOS program"));
        pe[0x80..0x84].copy_from_slice(b"PE\0\0");
        assert_eq!(content_kind(&pe), Some("Windows program"));
        for (begin, kind) in [
            (&b"\xFF\xD8\xFF\xE0\0\x10JFIF"[..], Some("JPEG")),
            (b"\x89PNG\r\n\x1A\n", Some("PNG")),
            (b"PK\x03\x04", Some("ZIP")),
            (b"\x1F\x8B\x08", Some("gzip")),
            (b"\x1F\x8B\x07", None),
            (b"BZh91AY&SY", Some("bzip2")),
            (b"BZhello", None),
            (b"\0\0\0\x18ftypmp42", Some("MP4")),
            (b"%PDF-1.7", Some("PDF")),
            (b"", None),
            (&[0; 4096], None),
            (&[0xFF; 4096], None),
        ] {
            assert_eq!(content_kind(begin), kind, "{begin:x?}");
        }
    }

    #[test]
    fn an_extension_promises_one_kind_and_kinds_that_share_a_container_fit_each_other() {
        assert_eq!(promised(b"JPG").map(|kind| kind.name), Some("JPEG"));
        assert_eq!(promised(b"txt").map(|kind| kind.name), None);
        let zip = usize::from(recognise(b"PK\x03\x04").unwrap());
        assert!(KINDS[zip].fits(b"docx") && KINDS[zip].fits(b"jar") && KINDS[zip].fits(b"odt"));
        assert!(!KINDS[zip].fits(b"jpg"));
        assert_eq!(extension(b"a.tar.GZ"), Some(&b"GZ"[..]));
        for none in [&b"none"[..], b".hidden", b"dot.", b"a.much too long"] {
            assert_eq!(extension(none), None);
        }
    }

    proptest! {
        #[test]
        fn noise_is_of_no_telling_kind(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            // A signature of three bytes would be met once in sixteen million times.
            if let Some(place) = recognise(&bytes) {
                prop_assert_eq!(KINDS[usize::from(place)].strength, Strength::Hint);
            }
        }
    }
}
