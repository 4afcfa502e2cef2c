//! Which files make up a split raw image: `name.001`, `name.002` and on, or from `name.000`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use crate::OpenError;

/// Fewest digits of a part's number.
const MIN_WIDTH: usize = 3;
/// Most digits of a part's number.
const MAX_WIDTH: usize = 6;

/// A file name taken apart as that of a part.
struct PartName {
    folder: PathBuf,
    stem: OsString,
    number: u32,
    digits: usize,
    leading_zero: bool,
}

impl PartName {
    fn parse(path: &Path) -> Option<Self> {
        let stem = path.file_stem()?.to_owned();
        let digits = path.extension()?.to_str()?;
        let number = parse_number(digits)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Some(Self { folder, stem, number, digits: digits.len(), leading_zero: digits.starts_with('0') })
    }

    /// The number widths that the name can belong to: `1000` follows `999` as well as `0999`.
    fn widths(&self) -> std::ops::RangeInclusive<usize> {
        if self.leading_zero { self.digits..=self.digits } else { MIN_WIDTH..=self.digits }
    }
}

fn parse_number(digits: &str) -> Option<u32> {
    let fits = (MIN_WIDTH..=MAX_WIDTH).contains(&digits.len());
    (fits && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn part_file(stem: &OsStr, number: u32, width: usize) -> OsString {
    let mut name = stem.to_owned();
    name.push(format!(".{number:0width$}"));
    name
}

/// The files that `path` stands for, in order: the parts of the split image that it is one of, or itself alone.
///
/// # Errors
/// [`OpenError::MissingPart`] when a part is not there although a later one, or the one named, is.
pub(crate) fn parts(path: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let alone = || Ok(vec![path.to_owned()]);
    let Some(name) = PartName::parse(path) else {
        return alone();
    };
    if !path.is_file() {
        return alone();
    }
    // The user's own path stays in error messages, so that the folder is not prefixed where none was given.
    let shown = |file: &OsStr| path.with_file_name(file);
    for width in name.widths() {
        let present = siblings(&name, width);
        let Some(first) = [0, 1].into_iter().find(|n| present.contains_key(n)) else {
            continue;
        };
        if name.number < first || !present.contains_key(&name.number) {
            continue;
        }
        let mut parts = Vec::with_capacity(present.len());
        for (wanted, (&number, file)) in (first..).zip(&present) {
            if number != wanted {
                let missing = shown(&part_file(&name.stem, wanted, width));
                return Err(OpenError::MissingPart { missing, present: shown(file) });
            }
            parts.push(shown(file));
        }
        return if parts.len() > 1 { Ok(parts) } else { alone() };
    }
    // No first part. A neighbour tells that the file is one of a set and not an image of its own; more digits
    // than three without a leading zero are as likely a year.
    if name.digits == MIN_WIDTH || name.leading_zero {
        let present = siblings(&name, name.digits);
        let neighbour = [name.number.checked_sub(1), name.number.checked_add(1)]
            .into_iter()
            .flatten()
            .any(|n| present.contains_key(&n));
        if neighbour {
            let missing = shown(&part_file(&name.stem, 1, name.digits));
            return Err(OpenError::MissingPart { missing, present: path.to_owned() });
        }
    }
    alone()
}

/// All files of the set that `name` belongs to when its numbers have `width` digits, by number.
///
/// A folder that cannot be listed has no siblings to offer: the file is then read alone.
fn siblings(name: &PartName, width: usize) -> BTreeMap<u32, OsString> {
    let Ok(entries) = fs::read_dir(&name.folder) else {
        tracing::warn!(
            "cannot list {}; other parts of a split image are not looked for",
            name.folder.display()
        );
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let file = entry.ok()?.file_name();
            let path = Path::new(&file);
            if path.file_stem()? != name.stem {
                return None;
            }
            let number = parse_number(path.extension()?.to_str()?)?;
            let same_set = part_file(&name.stem, number, width) == file && name.folder.join(&file).is_file();
            same_set.then_some((number, file))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(files: &[&str], named: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(dir.path().join(file), b"x").unwrap();
        }
        let base = |p: &Path| p.file_name().unwrap().to_str().unwrap().to_owned();
        match parts(&dir.path().join(named)) {
            Ok(found) => Ok(found.iter().map(|p| base(p)).collect()),
            Err(OpenError::MissingPart { missing, .. }) => Err(base(&missing)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_set_starts_at_000_or_001_whichever_part_is_named() {
        assert_eq!(parts_of(&["a.000", "a.001"], "a.001").unwrap(), ["a.000", "a.001"]);
        assert_eq!(parts_of(&["a.001", "a.002", "b.003"], "a.002").unwrap(), ["a.001", "a.002"]);
        assert_eq!(parts_of(&["a.dd.0001", "a.dd.0002"], "a.dd.0002").unwrap(), ["a.dd.0001", "a.dd.0002"]);
    }

    #[test]
    fn a_part_without_siblings_is_a_plain_image() {
        assert_eq!(parts_of(&["a.001", "a.img", "b.002"], "a.001").unwrap(), ["a.001"]);
        assert_eq!(parts_of(&["a.005", "a.009"], "a.005").unwrap(), ["a.005"]);
        assert_eq!(parts_of(&["backup.2024", "backup.2025"], "backup.2024").unwrap(), ["backup.2024"]);
        assert_eq!(parts_of(&["a.01", "a.02"], "a.01").unwrap(), ["a.01"]);
    }

    #[test]
    fn a_missing_part_with_later_siblings_is_named() {
        assert_eq!(parts_of(&["a.001", "a.002", "a.004"], "a.001").unwrap_err(), "a.003");
        assert_eq!(parts_of(&["a.001", "a.003"], "a.003").unwrap_err(), "a.002");
        assert_eq!(parts_of(&["a.002", "a.003"], "a.003").unwrap_err(), "a.001");
    }

    #[test]
    fn numbers_of_three_digits_go_on_past_999() {
        let files: Vec<String> = (1..=1001).map(|n| format!("a.{n:03}")).collect();
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        assert_eq!(parts_of(&names, "a.1001").unwrap(), files);
        assert_eq!(parts_of(&names, "a.001").unwrap(), files);
    }

    #[test]
    fn a_name_relative_to_the_current_folder_is_understood() {
        let name = PartName::parse(Path::new("a.001")).unwrap();
        assert_eq!(name.folder, Path::new("."));
        assert_eq!(parts(Path::new("no-such-file.001")).unwrap(), [Path::new("no-such-file.001")]);
    }
}
