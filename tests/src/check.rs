//! Comparing a tree with a manifest. Every function returns complaints, so that a test shows all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    manifest::{File, Manifest, Name},
    recipe::stream_path,
    walk::{self, Node, NodeKind},
};

/// Largest value that Linux takes for an extended attribute, `XATTR_SIZE_MAX`.
const XATTR_MAX: usize = 65_536;

/// Fails with all complaints.
///
/// # Panics
/// When there is any.
pub fn assert_none(what: &str, complaints: &[String]) {
    let shown = complaints.iter().take(40).cloned().collect::<Vec<_>>().join("\n  ");
    assert!(complaints.is_empty(), "{what}: {} complaints\n  {shown}", complaints.len());
}

/// Every one of `files` is below `root` with all its streams, byte for byte, named streams as extended attributes
/// where they fit: under its path, or below `$Orphans` where its deletion wiped out the path.
pub fn content<'a>(root: &Path, files: impl Iterator<Item = &'a File>, names: Names) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut orphans = Orphans { root, found: None };
    for file in files {
        let (found, complete) = places(&mut orphans, file, names);
        if !complete {
            complaints.push(format!("{:?} {:?}: missing", file.kind, file.names));
        }
        for path in found {
            file_at(&path, file, &mut complaints);
        }
    }
    complaints
}

/// Under which of its names a file is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Deleted names, at least one of them.
    AnyDeleted,
    /// Names that are still there, all of them.
    EveryLive,
}

/// Where a file is, and whether that is as it should be.
fn places(orphans: &mut Orphans<'_>, file: &File, names: Names) -> (Vec<PathBuf>, bool) {
    let wanted = |name: &&Name| name.removed == (names == Names::AnyDeleted);
    let wanted: Vec<&Name> = file.names.iter().filter(wanted).collect();
    let paths = wanted.iter().map(|name| orphans.root.join(&name.path));
    let found: Vec<PathBuf> = paths.filter(|path| path.symlink_metadata().is_ok()).collect();
    let enough = if names == Names::EveryLive { wanted.len() } else { 1 };
    if found.len() >= enough {
        return (found, true);
    }
    let may_be_orphan = names == Names::AnyDeleted && wanted.iter().any(|name| name.wiped);
    match may_be_orphan.then(|| orphans.find(file)).flatten() {
        Some(path) => (vec![path], true),
        None => (found, false),
    }
}

/// The files below `$Orphans`, looked through when the first is wanted.
struct Orphans<'a> {
    root: &'a Path,
    found: Option<Vec<(PathBuf, Node)>>,
}

impl Orphans<'_> {
    /// The orphan with the content of `file`.
    fn find(&mut self, file: &File) -> Option<PathBuf> {
        let root = self.root;
        let found = self.found.get_or_insert_with(|| {
            walk::walk(root).into_iter().filter(|(path, _)| is_orphan(path)).collect()
        });
        let fits = |path: &Path, node: &Node| match (&file.link, &node.kind) {
            (Some(link), NodeKind::Link(target)) => target == Path::new(&link.target),
            (None, NodeKind::File) if node.size == file.content().len as u64 => {
                walk::hash(&root.join(path)).is_ok_and(|hash| hash == file.content().sha256())
            }
            _ => false,
        };
        found.iter().find(|(path, node)| fits(path, node)).map(|(path, _)| root.join(path))
    }
}

/// True for paths at or below a folder of orphans.
fn is_orphan(path: &Path) -> bool {
    path.iter().any(|part| part == walk::ORPHANS)
}

fn file_at(path: &Path, file: &File, complaints: &mut Vec<String>) {
    let mut complain = |what: String| complaints.push(format!("{:?} {}: {what}", file.kind, path.display()));
    if let Some(link) = &file.link {
        match walk::node(path).map(|node| node.kind) {
            Ok(NodeKind::Link(target)) if target == Path::new(&link.target) => {}
            other => complain(format!("expected a link to {}, found {other:?}", link.target)),
        }
        return;
    }
    for stream in &file.streams {
        let content = stream.content;
        if stream.name.is_empty() {
            compare_file(path, content.len, &content.sha256(), &mut complain);
        } else if content.len <= XATTR_MAX {
            let found = walk::xattr(path, &format!("user.{}", stream.name));
            if found.as_deref() != Some(&content.bytes()[..]) {
                let found = found.map(|bytes| bytes.len());
                complain(format!("stream {:?} of {} bytes: found {found:?} bytes", stream.name, content.len));
            }
        }
    }
}

/// As [`content`], for a tree in which named streams are `file:stream`.
pub fn streams_as_files<'a>(root: &Path, files: impl Iterator<Item = &'a File>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut orphans = Orphans { root, found: None };
    for file in files.filter(|file| file.streams.len() > 1) {
        let names = if file.is_deleted() { Names::AnyDeleted } else { Names::EveryLive };
        let (found, _) = places(&mut orphans, file, names);
        let Some(place) = found.first() else {
            complaints.push(format!("{:?} {:?}: missing", file.kind, file.names));
            continue;
        };
        for stream in &file.streams {
            let path = stream_path(place, &stream.name);
            let mut complain = |what| complaints.push(format!("{:?} {}: {what}", file.kind, path.display()));
            compare_file(&path, stream.content.len, &stream.content.sha256(), &mut complain);
        }
    }
    complaints
}

fn compare_file(path: &Path, len: usize, sha256: &str, complain: &mut dyn FnMut(String)) {
    match walk::node(path) {
        Ok(node) if node.kind != NodeKind::File => {
            complain(format!("expected a file, found {:?}", node.kind))
        }
        Ok(node) if node.size != len as u64 => complain(format!("expected {len} bytes, found {}", node.size)),
        Ok(_) => match walk::hash(path) {
            Ok(hash) if hash == sha256 => {}
            Ok(_) => {
                let reason = walk::xattr(path, "user.undelfs.reason").unwrap_or_default();
                let reason = String::from_utf8_lossy(&reason);
                complain(format!(
                    "{len} bytes, other content, {:?} declared: {reason}",
                    walk::overwritten(path)
                ));
            }
            Err(error) => complain(format!("unreadable: {error}")),
        },
        Err(error) => complain(error.to_string()),
    }
}

/// `nodes` holds deleted files, the folders that were deleted, all of them, or lead to deleted files, and nothing
/// else; no more orphans than files whose path was wiped out.
pub fn only_deleted(nodes: &BTreeMap<PathBuf, Node>, manifest: &Manifest) -> Vec<String> {
    let files: BTreeSet<&Path> =
        manifest.deleted().flat_map(|file| &file.names).map(|name| name.path.as_path()).collect();
    let folders = manifest.directories.iter().filter(|name| name.removed && !name.wiped);
    let known: BTreeMap<PathBuf, Node> = nodes
        .iter()
        .filter(|(path, _)| !is_orphan(path))
        .map(|(path, node)| (path.clone(), node.clone()))
        .collect();
    // A folder whose name is wiped out may still be known from elsewhere.
    let maybe = manifest.directories.iter().filter(|name| name.wiped).map(|name| name.path.as_path());
    let files = files.into_iter().chain(maybe).collect();
    let mut complaints = compare_paths(&known, files, folders.map(|name| name.path.as_path()).collect(), &[]);
    let wiped = manifest.deleted().filter(|file| file.names.iter().any(|name| name.wiped)).count();
    let is_file = |(path, node): &(&PathBuf, &Node)| is_orphan(path) && node.kind != NodeKind::Directory;
    let orphans = nodes.iter().filter(is_file).count();
    if orphans > wiped {
        complaints.push(format!("{orphans} orphans, but only {wiped} files whose path was wiped out"));
    }
    complaints
}

/// `nodes` holds the live files and folders, all of them, and nothing else.
pub fn only_live(nodes: &BTreeMap<PathBuf, Node>, manifest: &Manifest) -> Vec<String> {
    let names = manifest.live().flat_map(|file| &file.names).filter(|name| !name.removed);
    let files: BTreeSet<&Path> = names.map(|name| name.path.as_path()).collect();
    let folders = manifest.directories.iter().filter(|name| !name.removed).map(|name| name.path.as_path());
    let needed: Vec<&Path> = files.iter().copied().collect();
    compare_paths(nodes, files, folders.collect(), &needed)
}

/// Complains of nodes that are neither `files` nor `folders` nor lead there, and of `folders` and `needed` that
/// are missing.
fn compare_paths(
    nodes: &BTreeMap<PathBuf, Node>,
    files: BTreeSet<&Path>,
    folders: BTreeSet<&Path>,
    needed: &[&Path],
) -> Vec<String> {
    let allowed: BTreeSet<&Path> = files.iter().chain(&folders).flat_map(|path| path.ancestors()).collect();
    let mut complaints = Vec::new();
    for (path, node) in nodes {
        if !allowed.contains(path.as_path()) {
            complaints.push(format!("{}: nothing like it was expected", path.display()));
        } else if node.kind == NodeKind::File && !files.contains(path.as_path()) {
            complaints.push(format!("{}: a file in place of a folder", path.display()));
        }
    }
    for path in folders.iter().chain(needed).filter(|path| !nodes.contains_key(**path)) {
        complaints.push(format!("{}: missing", path.display()));
    }
    complaints
}
