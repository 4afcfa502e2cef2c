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
    let shown = complaints
        .iter()
        .take(40)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n  ");
    assert!(
        complaints.is_empty(),
        "{what}: {} complaints\n  {shown}",
        complaints.len()
    );
}

/// Every one of `files` is below `root` under one of its names with all its streams, byte for byte; named streams
/// as extended attributes where they fit. With `every_name` under each name that satisfies `names`.
pub fn content<'a>(root: &Path, files: impl Iterator<Item = &'a File>, names: Names) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let wanted: Vec<&Name> = file.names.iter().filter(|name| names.wants(name)).collect();
        let found: Vec<&Name> = wanted
            .iter()
            .copied()
            .filter(|name| exists(&root.join(&name.path)))
            .collect();
        if found.is_empty() || (names == Names::EveryLive && found.len() < wanted.len()) {
            let first = wanted.first().map(|name| name.path.display().to_string());
            complaints.push(format!("{:?} {}: missing", file.kind, first.unwrap_or_default()));
        }
        for name in found {
            file_at(&root.join(&name.path), file, &mut complaints);
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

impl Names {
    fn wants(self, name: &Name) -> bool {
        name.removed == (self == Self::AnyDeleted)
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
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
                complain(format!(
                    "stream {:?} of {} bytes: found {found:?} bytes",
                    stream.name, content.len
                ));
            }
        }
    }
}

/// As [`content`], for a tree in which named streams are `file:stream`.
pub fn streams_as_files<'a>(root: &Path, files: impl Iterator<Item = &'a File>) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.filter(|file| file.streams.len() > 1) {
        let Some(name) = file.names.iter().find(|name| exists(&root.join(&name.path))) else {
            complaints.push(format!("{:?} {}: missing", file.kind, file.path().display()));
            continue;
        };
        for stream in &file.streams {
            let path = stream_path(&root.join(&name.path), &stream.name);
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
            Ok(_) => complain(format!("{len} bytes, other content")),
            Err(error) => complain(format!("unreadable: {error}")),
        },
        Err(error) => complain(error.to_string()),
    }
}

/// `nodes` holds deleted files, the folders that were deleted, all of them, or lead to deleted files, and nothing else.
pub fn only_deleted(nodes: &BTreeMap<PathBuf, Node>, manifest: &Manifest) -> Vec<String> {
    let files = manifest
        .deleted()
        .flat_map(|file| &file.names)
        .map(|name| name.path.as_path())
        .collect();
    let folders = manifest
        .directories
        .iter()
        .filter(|name| name.removed)
        .map(|name| name.path.as_path());
    compare_paths(nodes, files, folders.collect(), &[])
}

/// `nodes` holds the live files and folders, all of them, and nothing else.
pub fn only_live(nodes: &BTreeMap<PathBuf, Node>, manifest: &Manifest) -> Vec<String> {
    let names = manifest
        .live()
        .flat_map(|file| &file.names)
        .filter(|name| !name.removed);
    let files: BTreeSet<&Path> = names.map(|name| name.path.as_path()).collect();
    let folders = manifest
        .directories
        .iter()
        .filter(|name| !name.removed)
        .map(|name| name.path.as_path());
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
    let allowed: BTreeSet<&Path> = files
        .iter()
        .chain(&folders)
        .flat_map(|path| path.ancestors())
        .collect();
    let mut complaints = Vec::new();
    for (path, node) in nodes {
        if !allowed.contains(path.as_path()) {
            complaints.push(format!("{}: nothing like it was expected", path.display()));
        } else if node.kind == NodeKind::File && !files.contains(path.as_path()) {
            complaints.push(format!("{}: a file in place of a folder", path.display()));
        }
    }
    for path in folders
        .iter()
        .chain(needed)
        .filter(|path| !nodes.contains_key(**path))
    {
        complaints.push(format!("{}: missing", path.display()));
    }
    complaints
}
