//! Lists of strings as the functions give them and `certbkxp.dat` has them: UTF-16, a tag in front of each string, a NUL
//! behind each, and one more at the end.

use undelfs_source::bytes::u16_at;

use crate::Error;

/// `CSBFT_LOG`: a log.
pub const TAG_LOG: u16 = 0x21;
/// `CSBFT_PATCH_FILE`: a patch file of systems before Server 2003.
pub const TAG_PATCH_FILE: u16 = 0x25;
/// `CSBFT_CERTSERVER_DATABASE`: a database.
pub const TAG_DATABASE: u16 = 0x44;
/// `CSBFT_LOG_DIR`: the folder of the logs.
pub const TAG_LOG_DIRECTORY: u16 = 0x82;
/// `CSBFT_CHECKPOINT_DIR`: the folder of the checkpoint.
pub const TAG_CHECKPOINT_DIRECTORY: u16 = 0x83;

/// Largest list that is read, in bytes.
const MAX_LIST: usize = 1 << 20;

/// A list in UTF-16 with its closing NUL. Without a tag the strings stand alone.
pub fn encode<'a>(entries: impl IntoIterator<Item = (Option<u16>, &'a str)>) -> Vec<u16> {
    let mut list = Vec::new();
    for (tag, text) in entries {
        list.extend(tag);
        list.extend(text.encode_utf16().filter(|unit| *unit != 0));
        list.push(0);
    }
    list.push(0);
    list
}

/// Takes a tagged list apart. `what` is what it is called in messages.
///
/// # Errors
/// When a string or the list has no end, something stands behind the end, or a string is only a tag.
pub fn decode(bytes: &[u8], what: &'static str) -> Result<Vec<(u16, String)>, Error> {
    let broken = |at: usize, expected: &str, found: &str| {
        Err(Error::structure(what, at as u64, expected.to_owned(), found.to_owned()))
    };
    if bytes.len() > MAX_LIST {
        return broken(0, "a list of at most 1 MiB", "a longer one");
    }
    if !bytes.len().is_multiple_of(2) {
        return broken(bytes.len(), "units of 2 bytes", "half a unit");
    }
    let units: Vec<u16> = (0..bytes.len()).step_by(2).filter_map(|at| u16_at(bytes, at)).collect();
    let mut entries = Vec::new();
    let mut at = 0usize;
    loop {
        let rest = units.get(at..).unwrap_or_default();
        let place = at.saturating_mul(2);
        let Some(length) = rest.iter().position(|unit| *unit == 0) else {
            return broken(
                place,
                "a NUL behind each string and one more behind the last",
                "the end of the list",
            );
        };
        let (string, next) =
            (rest.get(..length).unwrap_or_default(), at.saturating_add(length).saturating_add(1));
        match string.split_first() {
            None if next == units.len() => return Ok(entries),
            None => return broken(place, "nothing behind the last string", "more bytes"),
            Some((_, [])) => return broken(place, "a path behind the tag", "the end of the string"),
            Some((tag, path)) => entries.push((*tag, String::from_utf16_lossy(path))),
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(list: &[u16]) -> Vec<u8> {
        list.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }

    #[test]
    fn a_list_counts_its_tags_and_both_ends() {
        let list = encode([(Some(TAG_DATABASE), "ab"), (Some(TAG_LOG), "c")]);
        assert_eq!(list, [0x44, 0x61, 0x62, 0, 0x21, 0x63, 0, 0]);
        assert_eq!(decode(&bytes(&list), "list").unwrap(), [(0x44, "ab".to_owned()), (0x21, "c".to_owned())]);
        assert_eq!(encode([(None, "x")]), [0x78, 0, 0]);
    }

    #[test]
    fn a_list_without_an_end_is_refused_with_the_place() {
        let whole = bytes(&encode([(Some(TAG_LOG), "edb")]));
        for cut in 1..whole.len() {
            let error = decode(&whole[..cut], "the list").unwrap_err().to_string();
            assert!(error.starts_with("the list at byte "), "{error}");
        }
        let behind = [whole.as_slice(), &[0x21, 0]].concat();
        assert!(decode(&behind, "the list").is_err());
        assert!(decode(&[], "the list").is_err());
        assert!(decode(&bytes(&[0x21, 0, 0]), "the list").is_err(), "a tag alone");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(paths in prop::collection::vec("[^\u{0}]{1,40}", 0..6)) {
            let list = encode(paths.iter().map(|path| (Some(TAG_LOG), path.as_str())));
            let read = decode(&bytes(&list), "list").unwrap();
            prop_assert!(read.iter().map(|(_, path)| path).eq(&paths));
        }

        #[test]
        fn any_bytes_are_a_list_or_refused(junk in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&junk, "list");
        }
    }
}
