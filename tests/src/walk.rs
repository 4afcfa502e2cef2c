//! Looking at a mounted tree as any program does.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::content::hex;

/// Folder of generated files in the root of a mount.
pub const GENERATED: &str = ".undelfs";

/// Folder of the files whose folder is unknown.
pub const ORPHANS: &str = "$Orphans";

/// A file, directory or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Size in bytes.
    pub size: u64,
    /// Inode number.
    pub inode: u64,
    /// Number of links.
    pub links: u64,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link and its target.
    Link(PathBuf),
}

/// All nodes below `root` by their path from there, without `.undelfs`.
///
/// # Panics
/// When any directory cannot be read: an error is never taken for an empty folder.
pub fn walk(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        let path = root.join(&dir);
        let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for entry in entries {
            let entry = entry.unwrap_or_else(|error| panic!("an entry of {}: {error}", path.display()));
            let at = dir.join(entry.file_name());
            if at == Path::new(GENERATED) {
                continue;
            }
            let node = node(&root.join(&at)).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
            if node.kind == NodeKind::Directory {
                waiting.push(at.clone());
            }
            nodes.insert(at, node);
        }
    }
    nodes
}

/// The node at `path`.
///
/// # Errors
/// When there is none, or it cannot be looked at.
pub fn node(path: &Path) -> io::Result<Node> {
    let meta = fs::symlink_metadata(path)?;
    let kind = if meta.is_dir() {
        NodeKind::Directory
    } else if meta.is_symlink() {
        NodeKind::Link(fs::read_link(path)?)
    } else {
        NodeKind::File
    };
    Ok(Node { kind, size: meta.len(), inode: meta.ino(), links: meta.nlink() })
}

/// SHA-256 of a file, in hexadecimal, read in pieces of 64 KiB.
///
/// # Errors
/// When it cannot be read.
pub fn hash(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 65_536];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

/// The extended attribute `name` of `path`, `None` where it has none.
///
/// # Panics
/// On any other error.
pub fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 65_536];
    match rustix::fs::lgetxattr(path, name, &mut value) {
        Ok(len) => {
            value.truncate(len);
            Some(value)
        }
        Err(rustix::io::Errno::NODATA) => None,
        Err(error) => panic!("{name} of {}: {error}", path.display()),
    }
}

/// The extended attribute `name` of `path` as text.
///
/// # Panics
/// When it has none.
pub fn xattr_text(path: &Path, name: &str) -> String {
    let value = xattr(path, name).unwrap_or_else(|| panic!("{} has no {name}", path.display()));
    String::from_utf8_lossy(&value).into_owned()
}

/// Names of the extended attributes of `path`.
///
/// # Panics
/// When they cannot be listed.
pub fn xattr_names(path: &Path) -> Vec<String> {
    let mut list = vec![0; 65_536];
    let len = rustix::fs::llistxattr(path, &mut list)
        .unwrap_or_else(|error| panic!("attributes of {}: {error}", path.display()));
    list[..len]
        .split(|byte| *byte == 0)
        .filter(|n| !n.is_empty())
        .map(|n| String::from_utf8_lossy(n).into())
        .collect()
}

/// The ranges of bytes, half open, that `user.undelfs.overwritten` of `path` declares; none where it is absent.
///
/// The attribute holds `FIRST-LAST` pairs with commas between: decimal, in bytes, `LAST` included.
///
/// # Panics
/// When it holds anything else.
pub fn overwritten(path: &Path) -> Vec<std::ops::Range<u64>> {
    let value = xattr(path, "user.undelfs.overwritten").unwrap_or_default();
    ranges(std::str::from_utf8(&value).expect("text in user.undelfs.overwritten"))
}

fn ranges(text: &str) -> Vec<std::ops::Range<u64>> {
    let number =
        |digits: &str| digits.trim().parse::<u64>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (start, end) = pair.split_once('-').unwrap_or_else(|| panic!("no range in {text:?}"));
            let range = number(start)..number(end) + 1;
            assert!(range.start < range.end, "an empty range in {text:?}");
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_pairs_of_first_and_last_byte_with_commas_between() {
        assert_eq!(ranges(""), []);
        assert_eq!(ranges("0-4095,8192-12287"), [0..4096, 8192..12288]);
        assert!(std::panic::catch_unwind(|| ranges("5-4")).is_err());
    }

    #[test]
    fn a_walk_finds_files_directories_and_links_and_leaves_the_generated_folder_out() {
        let dir = crate::guard::scratch();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::create_dir(dir.path().join(GENERATED)).unwrap();
        fs::write(dir.path().join("a/b/c"), b"xyz").unwrap();
        std::os::unix::fs::symlink("b/c", dir.path().join("a/l")).unwrap();
        let nodes = walk(dir.path());
        let paths: Vec<_> = nodes.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/l"]);
        assert_eq!(nodes[Path::new("a/b/c")].size, 3);
        assert_eq!(nodes[Path::new("a/l")].kind, NodeKind::Link("b/c".into()));
    }
}
