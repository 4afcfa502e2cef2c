//! What was restored, for `sha256sum -c` and, with every detail, for programs.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::{
    failure::Failure,
    platform::place::{self, Owner},
};

/// Checksums, in the format of sha256sum(1).
pub(crate) const SUMS_NAME: &str = "undelfs-manifest.sha256";

/// One JSON object a file.
pub(crate) const DETAIL_NAME: &str = "undelfs-manifest.jsonl";

/// How much of a file was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// Every byte that the file had.
    Full,
    /// A file of the right size with zeros where bytes were overwritten or could not be read.
    Partial,
    /// Nothing.
    No,
}

/// What is said of one restored file.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// Path below DEST.
    pub(crate) path: &'a [u8],
    /// Path in the tree; what DEST cannot have under its own name stands under another one.
    pub(crate) tree_path: &'a [u8],
    pub(crate) size: u64,
    pub(crate) restored: Restored,
    /// Hash of what was written; `None` where nothing was.
    pub(crate) sha256: Option<[u8; 32]>,
    /// Byte ranges that are zeros because they could not be read.
    pub(crate) unreadable: &'a [Range<u64>],
    /// The file whose extended attribute this stream became, when it did.
    pub(crate) attribute_of: Option<&'a [u8]>,
    /// Why it is not there, or not in full.
    pub(crate) problem: Option<&'a str>,
    /// What the scan says of the file: names and values of the `undelfs.*` extended attributes.
    pub(crate) facts: &'a [(&'static str, String)],
}

/// The two manifests of a restore. They take their places when it ends; entries of an earlier restore into the same
/// folder are kept, unless the file was restored again.
#[derive(Debug)]
pub(crate) struct Manifest {
    sums: Part,
    detail: Part,
}

/// One file of the manifest.
#[derive(Debug)]
struct Part {
    place: PathBuf,
    out: BufWriter<NamedTempFile>,
    /// What an earlier restore left, and the keys of the lines in it that this one replaces; `None` where there is no earlier one.
    replaced: Option<(File, HashSet<Vec<u8>>)>,
}

impl Manifest {
    /// The manifest of `folder`, given to `owner`.
    ///
    /// # Errors
    /// When something that is no manifest has its name, or nothing can be written there.
    pub(crate) fn new(folder: &Path, owner: Owner) -> Result<Self, Failure> {
        let part =
            |name| Part::new(folder, name, owner).map_err(|error| Failure::io("write into", folder, &error));
        Ok(Self { sums: part(SUMS_NAME)?, detail: part(DETAIL_NAME)? })
    }

    pub(crate) fn add(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        // A stream that became an extended attribute is no file that sha256sum could read.
        if let (Some(sum), None) = (&entry.sha256, entry.attribute_of) {
            let line = sum_line(sum, entry.path);
            self.sums.line(&line, sum_key(&line))?;
        }
        let line = detail_line(entry).into_bytes();
        self.detail.line(&line, detail_key(&line).unwrap_or_default())
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        self.sums.finish(|line| Some(sum_key(line).to_vec()))?;
        self.detail.finish(detail_key)
    }
}

impl Part {
    fn new(folder: &Path, name: &str, owner: Owner) -> io::Result<Self> {
        let file = folder.join(name);
        let earlier = place::open_earlier(&file)?;
        let out = place::temporary(folder, owner)?;
        let replaced = earlier.map(|file| (file, HashSet::new()));
        Ok(Self { place: file, out: BufWriter::new(out), replaced })
    }

    fn line(&mut self, line: &[u8], key: impl Into<Vec<u8>>) -> io::Result<()> {
        if let Some((_, replaced)) = &mut self.replaced {
            replaced.insert(key.into());
        }
        self.out.write_all(line)?;
        self.out.write_all(b"\n")
    }

    fn finish(mut self, key: impl Fn(&[u8]) -> Option<Vec<u8>>) -> io::Result<()> {
        let replace = self.replaced.is_some();
        if let Some((earlier, replaced)) = self.replaced {
            for line in BufReader::new(earlier).split(b'\n') {
                let line = line?;
                if !line.is_empty() && key(&line).is_none_or(|key| !replaced.contains(&key)) {
                    self.out.write_all(&line)?;
                    self.out.write_all(b"\n")?;
                }
            }
        }
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if file.as_file().metadata()?.len() == 0 {
            return Ok(());
        }
        let named = if replace { file.persist(&self.place) } else { file.persist_noclobber(&self.place) };
        named.map(drop).map_err(|error| error.error)
    }
}

/// A line of sha256sum(1): a leading backslash says that the name is escaped.
fn sum_line(sum: &[u8; 32], path: &[u8]) -> Vec<u8> {
    let escaped = path.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    let mut line = Vec::with_capacity(path.len() + 68);
    if escaped {
        line.push(b'\\');
    }
    line.extend_from_slice(hex(sum).as_bytes());
    line.extend_from_slice(b"  ");
    for &byte in path {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            _ => line.push(byte),
        }
    }
    line
}

/// The name in a line of checksums.
fn sum_key(line: &[u8]) -> &[u8] {
    let hash = if line.first() == Some(&b'\\') { 65 } else { 64 };
    line.get(hash + 2..).unwrap_or_default()
}

fn detail_line(entry: &Entry<'_>) -> String {
    let mut object = Map::new();
    put_path(&mut object, "path", entry.path);
    object.insert("size".to_owned(), entry.size.into());
    let restored = match entry.restored {
        Restored::Full => "full",
        Restored::Partial => "partial",
        Restored::No => "no",
    };
    object.insert("restored".to_owned(), restored.into());
    object.insert("sha256".to_owned(), entry.sha256.as_ref().map(|sum| hex(sum)).into());
    let ranges = entry.unreadable.iter().map(|range| json!([range.start, range.end])).collect();
    object.insert("unreadable".to_owned(), Value::Array(ranges));
    if entry.tree_path != entry.path {
        put_path(&mut object, "tree_path", entry.tree_path);
    }
    if let Some(file) = entry.attribute_of {
        put_path(&mut object, "attribute_of", file);
    }
    if let Some(problem) = entry.problem {
        object.insert("problem".to_owned(), problem.into());
    }
    for (name, value) in entry.facts {
        object.insert((*name).to_owned(), value.as_str().into());
    }
    Value::Object(object).to_string()
}

/// JSON has no bytes: a path that is no UTF-8 stands a second time, in hexadecimal.
fn put_path(object: &mut Map<String, Value>, key: &str, path: &[u8]) {
    object.insert(key.to_owned(), String::from_utf8_lossy(path).into());
    if std::str::from_utf8(path).is_err() {
        object.insert(format!("{key}_hex"), hex(path).into());
    }
}

/// What tells two lines of details apart.
fn detail_key(line: &[u8]) -> Option<Vec<u8>> {
    let object: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let name = object.get("path_hex").or_else(|| object.get("path"))?.as_str()?;
    Some(name.as_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sha2::{Digest, Sha256};

    use super::*;

    fn entry<'a>(path: &'a [u8], content: &[u8]) -> Entry<'a> {
        Entry {
            path,
            tree_path: path,
            size: content.len() as u64,
            restored: Restored::Full,
            sha256: Some(Sha256::digest(content).into()),
            unreadable: &[],
            attribute_of: None,
            problem: None,
            facts: &[],
        }
    }

    fn write(folder: &Path, entries: &[Entry<'_>]) {
        let mut manifest = Manifest::new(folder, Owner::of_this_process()).unwrap();
        for entry in entries {
            manifest.add(entry).unwrap();
        }
        manifest.finish().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn sha256sum_accepts_the_manifest_whatever_the_names() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let names: [&[u8]; 6] =
            [b"plain", b"with space", b"back\\slash", b"new\nline", b"\xff\xfe", "ärger".as_bytes()];
        let mut entries = Vec::new();
        for name in names {
            fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
            entries.push(entry(name, name));
        }
        write(dir.path(), &entries);
        let check = || {
            let mut command = std::process::Command::new("sha256sum");
            command.args(["-c", "--strict", SUMS_NAME]).current_dir(dir.path()).output().unwrap()
        };
        let output = check();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), names.len());
        fs::write(dir.path().join("plain"), b"other").unwrap();
        assert!(!check().status.success());
    }

    #[test]
    fn details_say_what_could_not_be_read_and_what_the_scan_knows() {
        let mut entry = entry(b"a/b\xff", b"content");
        entry.restored = Restored::Partial;
        entry.unreadable = &[512..1024, 4096..4608];
        entry.problem = Some("the medium is damaged");
        let facts = [("confidence", "likely".to_owned())];
        entry.facts = &facts;
        let line: Value = serde_json::from_str(&detail_line(&entry)).unwrap();
        assert_eq!(line["path"], "a/b\u{fffd}");
        assert_eq!(line["path_hex"], "612f62ff");
        assert_eq!(line["restored"], "partial");
        assert_eq!(line["unreadable"], json!([[512, 1024], [4096, 4608]]));
        assert_eq!(line["confidence"], "likely");
        assert_eq!(line["size"], 7);
    }

    #[test]
    fn a_second_restore_keeps_earlier_entries_and_replaces_those_of_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[entry(b"kept", b"1"), entry(b"again", b"2")]);
        write(dir.path(), &[entry(b"again", b"3")]);
        let sums = fs::read_to_string(dir.path().join(SUMS_NAME)).unwrap();
        assert_eq!(sums.lines().count(), 2);
        let digest: [u8; 32] = Sha256::digest(b"3").into();
        assert!(sums.contains(&hex(&digest)));
        let detail = fs::read_to_string(dir.path().join(DETAIL_NAME)).unwrap();
        assert_eq!(detail.lines().count(), 2);
    }

    #[test]
    fn what_was_not_restored_is_in_the_details_and_not_in_the_checksums() {
        let dir = tempfile::tempdir().unwrap();
        let mut lost = entry(b"lost", b"");
        lost.sha256 = None;
        lost.restored = Restored::No;
        write(dir.path(), &[lost]);
        assert!(!dir.path().join(SUMS_NAME).exists());
        assert!(fs::read_to_string(dir.path().join(DETAIL_NAME)).unwrap().contains("\"restored\":\"no\""));
    }

    #[test]
    fn a_file_under_another_name_stands_with_its_path_in_the_tree() {
        let mut entry = entry(b"short", b"1");
        entry.tree_path = b"a/long";
        let line: Value = serde_json::from_str(&detail_line(&entry)).unwrap();
        assert_eq!((&line["path"], &line["tree_path"]), (&json!("short"), &json!("a/long")));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_or_folder_in_the_place_of_a_manifest_is_neither_read_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, b"mine\n").unwrap();
        let place = dir.path().join(DETAIL_NAME);
        std::os::unix::fs::symlink(&outside, &place).unwrap();
        let failure = Manifest::new(dir.path(), Owner::of_this_process()).unwrap_err();
        assert!(failure.to_string().contains(DETAIL_NAME), "{failure}");
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        assert!(Manifest::new(dir.path(), Owner::of_this_process()).is_err());
        assert_eq!(fs::read(&outside).unwrap(), b"mine\n");
    }

    #[test]
    fn a_file_that_took_the_name_of_the_manifest_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::new(dir.path(), Owner::of_this_process()).unwrap();
        manifest.add(&entry(b"a", b"1")).unwrap();
        fs::write(dir.path().join(SUMS_NAME), b"mine").unwrap();
        assert!(manifest.finish().is_err());
        assert_eq!(fs::read(dir.path().join(SUMS_NAME)).unwrap(), b"mine");
    }
}
