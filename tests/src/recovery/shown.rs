//! What a mounted tree shows, and how much of what is wanted is there.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fmt, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use super::Wanted;
use crate::{
    content::Content,
    manifest::{File, Manifest, Stream},
    recipe::stream_path,
    walk::{self, NodeKind},
};

/// Everything but the folders of a tree that was mounted with named streams as `file:stream`.
#[derive(Debug)]
pub struct Shown {
    /// By the path without the record that several files of one path have in their names.
    items: BTreeMap<PathBuf, Vec<Item>>,
    /// Where there are items with such a stream name and content.
    contents: HashMap<(String, u64, String), Vec<PathBuf>>,
}

/// A file or a link.
#[derive(Debug)]
pub struct Item {
    /// Its path in the tree.
    pub path: PathBuf,
    /// Its inode number.
    pub inode: u64,
    /// What is read there.
    pub read: Read,
}

/// What is read from an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Size and SHA-256 of a file.
    Bytes(u64, String),
    /// A link's target.
    Target(PathBuf),
    /// The kind of error that reading a file gave.
    Failed(io::ErrorKind),
}

impl Shown {
    /// Reads all files of the tree at `root`.
    pub fn read(root: &Path) -> Self {
        let mut shown = Self { items: BTreeMap::new(), contents: HashMap::new() };
        for (path, node) in walk::walk(root) {
            let read = match node.kind {
                NodeKind::Directory => continue,
                NodeKind::Link(target) => Read::Target(target),
                NodeKind::File => match walk::hash(&root.join(&path)) {
                    Ok(hash) => Read::Bytes(node.size, hash),
                    Err(error) => Read::Failed(error.kind()),
                },
            };
            if let Read::Bytes(len, hash) = &read {
                let key = (stream_of(&path), *len, hash.clone());
                shown.contents.entry(key).or_default().push(without_record(&path));
            }
            let item = Item { path: path.clone(), inode: node.inode, read };
            shown.items.entry(without_record(&path)).or_default().push(item);
        }
        shown
    }

    /// What stands at `path`: several items where several files had it.
    pub fn at(&self, path: &Path) -> &[Item] {
        self.items.get(path).map_or(&[], Vec::as_slice)
    }

    /// The item at `path` with the bytes of `content`.
    pub fn exact(&self, path: &Path, content: &Content) -> Option<&Item> {
        let wanted = Read::Bytes(content.len as u64, content.sha256());
        self.at(path).iter().find(|item| item.read == wanted)
    }

    /// Where the bytes of a stream are in the tree, none for an empty one.
    fn holding(&self, stream: &Stream) -> &[PathBuf] {
        let key = (stream.name.clone(), stream.content.len as u64, stream.content.sha256());
        self.contents.get(&key).filter(|_| stream.content.len > 0).map_or(&[], Vec::as_slice)
    }

    /// Where `file` may be in the tree: at its paths, and where anything with the bytes of one of its streams is; an
    /// empty one, where anything is called so.
    fn homes(&self, file: &File) -> Vec<PathBuf> {
        let mut homes: Vec<PathBuf> = file.names.iter().map(|name| name.path.clone()).collect();
        homes.extend(file.streams.iter().flat_map(|stream| self.holding(stream)).map(|path| file_of(path)));
        if file.streams.iter().all(|stream| stream.content.len == 0) {
            let called =
                |path: &&PathBuf| file.names.iter().any(|name| name.path.file_name() == path.file_name());
            homes.extend(self.items.keys().filter(called).cloned());
        }
        homes
    }

    /// How much of what is `wanted` is shown.
    pub fn measure<'a>(&self, wanted: &[Wanted<'a>], manifest: &Manifest) -> Figures<'a> {
        let shown = self.items.values().map(Vec::len).sum();
        let (unknown, misplaced) = (self.unknown(manifest), self.misplaced(manifest));
        let mut figures = Figures { shown, unknown, misplaced, ..Figures::default() };
        for Wanted { file, streams } in wanted {
            let homes = self.homes(file);
            let (paths, others) = homes.split_at(file.names.len());
            let mut at_path = false;
            for Stream { name, content } in streams {
                let has = |path: &PathBuf| self.exact(&stream_path(path, name), content).is_some();
                let here = paths.iter().any(has);
                at_path |= here;
                figures.stream(here || others.iter().any(has), || {
                    let there = homes.iter().flat_map(|path| self.at(&stream_path(path, name)));
                    let reads: Vec<&Read> = there.map(|item| &item.read).collect();
                    format!("{:?} {:?}:{name} of {} bytes: {reads:?}", file.kind, paths[0], content.len)
                });
            }
            if let Some(link) = &file.link {
                let is_it = |item: &Item| item.read == Read::Target(PathBuf::from(&link.target));
                at_path |= paths.iter().any(|path| self.at(path).iter().any(is_it));
                let found = self.items.values().flatten().any(is_it);
                figures.stream(found, || format!("link {:?} to {}", paths[0], link.target));
            }
            figures.files += 1;
            figures.at_path += usize::from(at_path);
            if !at_path {
                figures.pathless.push(file);
            }
        }
        figures
    }

    /// How many files stand where nothing of `manifest` ever stood, and hold nothing that was in it.
    fn unknown(&self, manifest: &Manifest) -> usize {
        let of = |file: &File| {
            let homes = self.homes(file);
            let streams = file.streams.iter().map(|stream| stream.name.as_str()).chain([""]);
            streams
                .flat_map(|name| homes.iter().map(|path| stream_path(path, name)).collect::<Vec<_>>())
                .collect()
        };
        let explained: HashSet<PathBuf> =
            manifest.files.iter().flat_map(|file| -> Vec<_> { of(file) }).collect();
        let others =
            self.items.iter().filter(|(path, _)| !explained.contains(*path)).flat_map(|(_, items)| items);
        others.filter(|item| matches!(item.read, Read::Bytes(..))).count()
    }

    /// Items with the bytes of a file that never had their path, but for orphans.
    fn misplaced(&self, manifest: &Manifest) -> Vec<PathBuf> {
        let streams =
            manifest.files.iter().flat_map(|file| file.streams.iter().map(move |each| (file, each)));
        let wrong = streams.flat_map(|(file, stream)| {
            // A content that is short, or one byte all over as what is overwritten, may be another file's too.
            let bytes = stream.content.bytes();
            let is_telling = bytes.len() > 16 && bytes.iter().any(|byte| *byte != bytes[0]);
            let telling = self.holding(stream).iter().filter(|_| is_telling);
            let known = telling.filter(|path| !path.starts_with(walk::ORPHANS));
            let had =
                |path: &Path| file.names.iter().any(|name| stream_path(&name.path, &stream.name) == path);
            known.filter(|path| !had(path)).cloned().collect::<Vec<_>>()
        });
        wrong.collect()
    }
}

/// What came back of what was wanted.
#[derive(Debug, Default)]
pub struct Figures<'a> {
    /// Streams that were wanted, links among them.
    pub streams: usize,
    /// Those that are byte-exact, wherever they are.
    pub exact: usize,
    /// Files that were wanted.
    pub files: usize,
    /// Those of which at least one stream is at its full path.
    pub at_path: usize,
    /// Files and links of the tree.
    pub shown: usize,
    /// Readable files of the tree that nobody knows.
    pub unknown: usize,
    misplaced: Vec<PathBuf>,
    /// Streams that are not there.
    pub missing: Vec<String>,
    /// Files that are not at their full path.
    pub pathless: Vec<&'a File>,
}

impl Figures<'_> {
    /// Items with the bytes of a file that never had their path, but for orphans.
    pub fn misplaced(&self) -> Vec<String> {
        self.misplaced.iter().map(|path| path.display().to_string()).collect()
    }

    fn stream(&mut self, found: bool, describe: impl FnOnce() -> String) {
        self.streams += 1;
        self.exact += usize::from(found);
        if !found {
            self.missing.push(describe());
        }
    }
}

impl fmt::Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, exact, files, at_path, shown, unknown, misplaced, .. } = self;
        let misplaced = misplaced.len();
        write!(
            f,
            "streams {exact} of {streams} ({}), full paths {at_path} of {files} files ({}), \
             {shown} shown, {unknown} of them unknown, {misplaced} where they never were",
            percent(*exact, *streams),
            percent(*at_path, *files)
        )
    }
}

/// A share for people.
pub fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "none".to_owned();
    }
    format!("{:.2} %", 100.0 * part as f64 / whole as f64)
}

/// A path without the ` (record N)` in its name.
pub fn without_record(path: &Path) -> PathBuf {
    const BEGIN: &[u8] = b" (record ";
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return path.to_owned() };
    let found = (0..name.len()).rev().find_map(|at| {
        let rest = name[at..].strip_prefix(BEGIN)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let after = rest.get(digits..)?.strip_prefix(b")")?;
        (digits > 0).then(|| [&name[..at], after].concat())
    });
    found.map_or(path.to_owned(), |name| path.with_file_name(OsString::from_vec(name)))
}

/// The path of the file to which an item belongs.
fn file_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = name.split(|byte| *byte == b':').next().unwrap_or_default();
    path.with_file_name(OsStr::from_bytes(name))
}

/// The stream in the name of an item.
fn stream_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split_once(':').map(|(_, stream)| stream.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_in_a_name_is_left_out_wherever_it_stands() {
        let plain = |path: &str| without_record(Path::new(path)).to_str().unwrap().to_owned();
        assert_eq!(plain("a/b (record 12).txt"), "a/b.txt");
        assert_eq!(plain("a/b (record 12)"), "a/b");
        assert_eq!(plain("a/b (record 12).txt:stream"), "a/b.txt:stream");
        assert_eq!(plain("a (record 1)/b (record x).txt"), "a (record 1)/b (record x).txt");
    }
}
