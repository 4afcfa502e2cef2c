//! Kinds whose contents show by their begin, their end and their size that nothing of them is missing.

use undelfs_source::bytes::{u16_at, u32_at, u64_at};

/// Bytes of the end of a content that are looked at. A comment at the end of a ZIP file may be longer.
pub(crate) const END: usize = 4096;

/// Whether a content is whole: how it begins, how it ends, and its size in bytes.
pub(crate) type Whole = fn(begin: &[u8], end: &[u8], size: u64) -> bool;

/// The chunk `IEND` is the last one (PNG specification, section "Chunk layout").
pub(super) fn png(_: &[u8], end: &[u8], _: u64) -> bool {
    end.ends_with(b"\0\0\0\0IEND\xAE\x42\x60\x82")
}

/// The marker EOI is the last one (ITU-T T.81, section B.1.1.3).
pub(super) fn jpeg(_: &[u8], end: &[u8], _: u64) -> bool {
    end.ends_with(b"\xFF\xD9")
}

/// An empty block of data, and the trailer (GIF89a specification, section 27).
pub(super) fn gif(_: &[u8], end: &[u8], _: u64) -> bool {
    end.ends_with(b"\0\x3B")
}

/// The first chunk says how many bytes follow its header of eight; an odd number has one more.
pub(super) fn riff(begin: &[u8], _: &[u8], size: u64) -> bool {
    u32_at(begin, 4)
        .is_some_and(|len| u64::from(len).saturating_add(8).next_multiple_of(2) == size.next_multiple_of(2))
}

/// `bfSize` of the header.
pub(super) fn bmp(begin: &[u8], _: &[u8], size: u64) -> bool {
    u32_at(begin, 2).is_some_and(|len| u64::from(len) == size)
}

/// The last line is `%%EOF`; readers look for it in the last 1024 bytes.
pub(super) fn pdf(_: &[u8], end: &[u8], _: u64) -> bool {
    let last = end.get(end.len().saturating_sub(1024)..).unwrap_or_default();
    last.windows(5).any(|window| window == b"%%EOF")
}

/// The end of central directory record (APPNOTE.TXT, section 4.3.16): its comment ends with the file, and the directory, of the
/// length at 12 and from the place at 16 on, ends where it begins.
pub(super) fn zip(_: &[u8], end: &[u8], size: u64) -> bool {
    const LEN: usize = 22;
    let from = size.saturating_sub(end.len() as u64);
    (0..end.len().saturating_sub(LEN.saturating_sub(1))).rev().any(|at| {
        let record = end.get(at..).unwrap_or_default();
        let ends = |comment: u16| at.saturating_add(LEN).saturating_add(comment.into()) == end.len();
        let directory = u32_at(record, 12).zip(u32_at(record, 16));
        record.starts_with(b"PK\x05\x06")
            && u16_at(record, 20).is_some_and(ends)
            && directory.is_some_and(|(len, place)| {
                u64::from(len).saturating_add(place.into()) == from.saturating_add(at as u64)
            })
    })
}

/// The header of 32 bytes says where behind it the last header begins, 12, and its length, 20.
pub(super) fn seven_zip(begin: &[u8], _: &[u8], size: u64) -> bool {
    let end = u64_at(begin, 12)
        .zip(u64_at(begin, 20))
        .and_then(|(place, len)| place.checked_add(len)?.checked_add(32));
    end == Some(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Whole; 8] = [png, jpeg, gif, riff, bmp, pdf, zip, seven_zip];

    #[test]
    fn a_content_is_whole_only_with_its_last_byte_and_nothing_behind() {
        let mut archive = b"PK\x03\x04 and a file".to_vec();
        let directory = archive.len() as u32;
        archive.extend(b"PK\x01\x02 and a directory");
        let len = archive.len() as u32 - directory;
        archive.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        archive.extend(len.to_le_bytes());
        archive.extend(directory.to_le_bytes());
        archive.extend(b"\x05\0hello");
        let mut bitmap = b"BM\x40\0\0\0".to_vec();
        bitmap.resize(64, 7);
        let mut sound = b"RIFF\x38\0\0\0WEBP".to_vec();
        sound.resize(64, 7);
        let mut seven = b"7z\xBC\xAF\x27\x1C\0\x04\0\0\0\0".to_vec();
        seven.extend([40, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        seven.resize(80, 7);
        let contents: [(Whole, Vec<u8>); 7] = [
            (png, b"\x89PNG\r\n\x1A\n pixels \0\0\0\0IEND\xAE\x42\x60\x82".to_vec()),
            (jpeg, b"\xFF\xD8\xFF\xE0 pixels \xFF\xD9".to_vec()),
            (gif, b"GIF89a pixels \0\x3B".to_vec()),
            (riff, sound),
            (bmp, bitmap),
            (zip, archive),
            (seven_zip, seven),
        ];
        for (number, (whole, content)) in contents.iter().enumerate() {
            let is_whole = |bytes: &[u8]| {
                let end = &bytes[bytes.len().saturating_sub(END)..];
                whole(bytes, end, bytes.len() as u64)
            };
            assert!(is_whole(content), "{number}");
            assert!(!is_whole(&content[..content.len() - 2]), "{number}");
            assert!(!is_whole(&[&content[..], b"12"].concat()), "{number}");
        }
        assert!(pdf(b"%PDF-1.7", b"startxref\n9\n%%EOF\n", 18));
        assert!(!pdf(b"%PDF-1.7", b"startxref\n9\n%%EO", 16));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(begin in prop::collection::vec(any::<u8>(), 0..80),
            end in prop::collection::vec(any::<u8>(), 0..80), size: u64) {
            for whole in ALL {
                let _ = whole(&begin, &end, size);
            }
        }
    }
}
