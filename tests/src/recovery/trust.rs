//! Whether the program's confidence is deserved.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    fmt, fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Known,
    shown::{percent, without_record},
    wear::LiveSectors,
};
use crate::{manifest::File, program::Tree, recipe::stream_path, walk};

/// The words, the best first.
pub const WORDS: [&str; 4] = ["certain", "likely", "partial", "lost"];

/// Deleted files by confidence, over any number of volumes.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many files are marked so.
    pub marked: [usize; 4],
    /// How many of them are byte-exact as they are read by default.
    pub exact: [usize; 4],
    /// How many of them are byte-exact on the medium, whatever is declared.
    pub intact: [usize; 4],
    /// Files that nobody knows: what is left of them is not told by name or content.
    pub unknown: usize,
    /// Files marked `certain` that are not byte-exact.
    pub wrong: Vec<String>,
    /// Files that are byte-exact on the medium and lost by a look at their content.
    pub wronged: Vec<String>,
    /// Files that show bytes of something that exists.
    pub leaks: Vec<String>,
}

/// One deleted file of a catalogue.
#[derive(Debug)]
struct Entry {
    record: u64,
    paths: Vec<PathBuf>,
    /// As the scan alone tells.
    scanned: usize,
    /// As the file itself says, whose content was looked at.
    confidence: usize,
}

impl Tally {
    /// The deleted files that the program shows of a volume when it is given `args`.
    pub fn of(known: &Known, live: &LiveSectors, args: &[&str]) -> Self {
        let args = [args, &["--streams", "files"]].concat();
        let plain = Tree::mount(&known.image, &args);
        let raw = Tree::mount(&known.image, &[&args[..], &["--overwritten", "raw"]].concat());
        let identify = Identify::new(known);
        let mut tally = Self::default();
        for entry in entries(plain.root()) {
            let file = identify.file(&entry, raw.root());
            tally.leaks_of(&plain, &entry, file, live);
            let Some(file) = file else {
                tally.unknown += 1;
                continue;
            };
            let (exact, intact) = (is_exact(&plain, &entry, file), is_exact(&raw, &entry, file));
            tally.marked[entry.confidence] += 1;
            tally.exact[entry.confidence] += usize::from(exact);
            tally.intact[entry.confidence] += usize::from(intact);
            if intact && entry.confidence > entry.scanned {
                let word = WORDS[entry.confidence];
                tally.wronged.push(format!("{}: {:?} is {word}", known.image.display(), entry.paths));
            }
            if entry.confidence == 0 && !exact {
                tally.wrong.push(format!("{}: {:?} {:?}", known.image.display(), file.kind, entry.paths));
            }
        }
        tally
    }

    /// Counts another volume too.
    pub fn add(&mut self, other: Self) {
        for n in 0..WORDS.len() {
            self.marked[n] += other.marked[n];
            self.exact[n] += other.exact[n];
            self.intact[n] += other.intact[n];
        }
        self.unknown += other.unknown;
        self.wrong.extend(other.wrong);
        self.wronged.extend(other.wronged);
        self.leaks.extend(other.leaks);
    }

    fn leaks_of(&mut self, tree: &Tree, entry: &Entry, file: Option<&File>, live: &LiveSectors) {
        let none: &[crate::manifest::Stream] = &[];
        let streams = file.map_or(none, |file| &file.streams);
        let named = streams.iter().map(|stream| (stream.name.as_str(), stream.content.bytes()));
        let streams = if file.is_some() { named.collect() } else { vec![("", Vec::new())] };
        for (name, own) in streams {
            let path = stream_path(&entry.paths[0], name);
            let Ok(bytes) = fs::read(tree.join(&path)) else { continue };
            if let Some(at) = live.leaks(&bytes, &own) {
                self.leaks.push(format!("byte {at} of {}", path.display()));
            }
        }
    }

    /// Files marked `certain`, and those of them that are byte-exact.
    pub fn certain(&self) -> (usize, usize) {
        (self.marked[0], self.exact[0])
    }

    /// Files that are byte-exact on the medium, and those of them that are marked `certain` or `likely`.
    pub fn trusted(&self) -> (usize, usize) {
        (self.intact.iter().sum(), self.intact[..2].iter().sum())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in WORDS.iter().enumerate() {
            let (marked, exact, intact) = (self.marked[n], self.exact[n], self.intact[n]);
            write!(f, "{word} {marked} (exact {exact}, {}; intact {intact}), ", percent(exact, marked))?;
        }
        let (intact, trusted) = self.trusted();
        write!(f, "trusted of intact {trusted} of {intact} ({}), ", percent(trusted, intact))?;
        write!(f, "unknown {}, leaks {}", self.unknown, self.leaks.len())
    }
}

/// The deleted files of the catalogue of a mounted tree, links among them, each with all its names.
fn entries(root: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(root.join(".undelfs/catalogue.jsonl")).expect("the catalogue");
    let mut files: BTreeMap<(u64, u64), Entry> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let word = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"));
        if word("state") != "deleted" || word("type") == "directory" {
            continue;
        }
        let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("no {key} in {line}"));
        let scanned = place(word("confidence"));
        let entry = files.entry((number("record"), number("sequence")));
        let entry = entry.or_insert(Entry {
            record: number("record"),
            paths: Vec::new(),
            scanned,
            confidence: scanned,
        });
        entry.paths.push(path(&line));
    }
    for entry in files.values_mut() {
        let path = root.join(&entry.paths[0]);
        // Linux lets nobody read such an attribute of a symbolic link.
        if !path.is_symlink() {
            entry.confidence = place(&walk::xattr_text(&path, "user.undelfs.confidence"));
        }
    }
    files.into_values().collect()
}

/// The place of a word among [`WORDS`].
fn place(word: &str) -> usize {
    WORDS.iter().position(|each| *each == word).expect("a confidence")
}

/// The exact path of a line of the catalogue.
fn path(line: &Value) -> PathBuf {
    let Some(digits) = line["path_hex"].as_str() else {
        return line["path"].as_str().expect("a path").into();
    };
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
    });
    OsString::from_vec(bytes.collect()).into()
}

/// Finds out which file an entry of the catalogue is.
struct Identify<'a> {
    /// By the path.
    paths: HashMap<&'a Path, &'a File>,
    /// By FILE record and name, for those that lost their folder.
    names: HashMap<(u64, &'a OsStr), &'a File>,
    /// By the SHA-256 of the unnamed stream, for those that lost their name.
    contents: HashMap<String, &'a File>,
}

impl<'a> Identify<'a> {
    fn new(known: &'a Known) -> Self {
        let files = &known.manifest.files;
        let all =
            || files.iter().flat_map(|file| file.names.iter().map(move |name| (name.path.as_path(), file)));
        let named =
            |(path, file): (&'a Path, &'a File)| Some(((*known.records.get(path)?, path.file_name()?), file));
        let telling = files.iter().filter(|file| file.is_deleted() && file.link.is_none());
        let telling = telling.filter(|file| file.content().len > 0);
        Self {
            paths: all().collect(),
            names: all().filter_map(named).collect(),
            contents: telling.map(|file| (file.content().sha256(), file)).collect(),
        }
    }

    fn file(&self, entry: &Entry, raw: &Path) -> Option<&'a File> {
        let plain: Vec<PathBuf> = entry.paths.iter().map(|path| without_record(path)).collect();
        let by_path = plain.iter().find_map(|path| self.paths.get(path.as_path()));
        let by_name = || plain.iter().find_map(|path| self.names.get(&(entry.record, path.file_name()?)));
        let by_content = || self.contents.get(&walk::hash(&raw.join(&entry.paths[0])).ok()?);
        by_path.or_else(by_name).or_else(by_content).copied()
    }
}

/// Whether all of `file` is read from `tree` as it was.
fn is_exact(tree: &Tree, entry: &Entry, file: &File) -> bool {
    let path = tree.join(&entry.paths[0]);
    if let Some(link) = &file.link {
        return fs::read_link(path).is_ok_and(|target| target == Path::new(&link.target));
    }
    file.streams.iter().all(|stream| {
        fs::read(stream_path(&path, &stream.name)).is_ok_and(|bytes| bytes == stream.content.bytes())
    })
}
