//! The walk through a tree that puts every file into its place.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    ops::Range,
    os::unix::ffi::OsStrExt,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use undelfs_restore::{Attributes, Inode, NodeKind, Tree};
use undelfs_volume::filesystem::Watch;

use super::{
    Wanted,
    copy::{self, Copied, NotCopied},
    listing::{self, Node},
    manifest::{Entry, Manifest, Restored},
    place::{self, Dir},
};
use crate::{failure::Failure, progress::Progress};

/// Longest value of an extended attribute on Linux (xattr(7)).
const XATTR_VALUE_MAX: usize = 64 << 10;

/// What the scan says of a file, by the names of its `undelfs.*` extended attributes.
const FACTS: [&str; 10] = [
    "state",
    "confidence",
    "reason",
    "overwritten",
    "clusters_used",
    "clusters_in_use",
    "record",
    "provenance",
    "created",
    "deleted_between",
];

/// What became of the files.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Files, links and streams that stand in DEST now, those not in full too.
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Of these, not in full.
    pub(crate) partial: u64,
    /// Not restored.
    pub(crate) failed: u64,
    /// Not touched, because a file of that name exists.
    pub(crate) skipped: u64,
}

/// A restore in progress.
pub(crate) struct Job<'a> {
    tree: &'a Tree,
    destination: &'a Path,
    force: bool,
    streams_as_xattrs: bool,
    progress: &'a Progress,
    stop: Arc<AtomicBool>,
    manifest: Manifest,
    tally: Tally,
    /// First copies of files with several names, by inode.
    linked: HashMap<u64, FirstCopy>,
    buffer: Vec<u8>,
}

/// Where the first name of a hard-linked file went.
struct FirstCopy {
    path: Vec<u8>,
    size: u64,
    sha256: [u8; 32],
    restored: Restored,
    unreadable: Vec<Range<u64>>,
    problem: Option<String>,
}

/// A directory that is being restored.
struct Level {
    dir: Dir,
    nodes: std::vec::IntoIter<Node>,
    /// Path below DEST, with `/` at the end unless it is empty.
    path: Vec<u8>,
    /// The directory's own node, unless it is DEST.
    node: Option<Attributes>,
}

/// Why a file is not there.
enum Trouble {
    /// It alone is not; the sentence says why.
    Here(String),
    /// DEST did not allow what the text says.
    Place(&'static str, io::Error),
    /// Nothing more can be restored.
    Everywhere(Failure),
}

impl<'a> Job<'a> {
    pub(crate) fn new(
        tree: &'a Tree,
        destination: &'a Path,
        force: bool,
        streams_as_xattrs: bool,
        progress: &'a Progress,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        fs::create_dir_all(destination)
            .map_err(|error| Failure::io("make the folder", destination, &error))?;
        Ok(Self {
            tree,
            destination,
            force,
            streams_as_xattrs,
            progress,
            stop,
            manifest: Manifest::new(destination)?,
            tally: Tally::default(),
            linked: HashMap::new(),
            buffer: Vec::new(),
        })
    }

    /// Restores what the user named.
    pub(crate) fn restore(&mut self, wanted: &[Wanted]) -> Result<(), Failure> {
        let mut bytes = 0_u64;
        for wanted in wanted {
            bytes = bytes.saturating_add(listing::measure(self.tree, wanted)?);
        }
        self.progress.total(bytes);
        for wanted in wanted {
            self.restore_one(wanted)?;
        }
        Ok(())
    }

    /// Writes the manifest and says what became of the files.
    pub(crate) fn finish(self) -> Result<Tally, Failure> {
        let failed = |error| Failure::io("write the manifest in", self.destination, &error);
        self.manifest.finish().map_err(failed)?;
        Ok(self.tally)
    }

    fn restore_one(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let nodes = listing::first_level(self.tree, wanted)?;
        let dir = Dir::create(self.destination)
            .map_err(|error| Failure::io("open the folder", self.destination, &error))?;
        let mut levels = vec![Level { dir, nodes: nodes.into_iter(), path: Vec::new(), node: None }];
        while let Some(level) = levels.last_mut() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            let Some(node) = level.nodes.next() else {
                if let Some(Level { dir, node: Some(node), .. }) = levels.pop() {
                    // A folder with today's times is still a folder.
                    let _ = dir.set_times(&node);
                }
                continue;
            };
            let path = [level.path.as_slice(), &node.name].concat();
            // One file whose reading panics does not take the others with it; its temporary file is removed.
            let restored =
                panic::catch_unwind(AssertUnwindSafe(|| self.restore_node(&level.dir, &node, &path)));
            let problem = match restored
                .unwrap_or_else(|_| Err(Trouble::Here("reading it met an internal error".to_owned())))
            {
                Ok(below) => {
                    levels.extend(below);
                    continue;
                }
                Err(Trouble::Everywhere(failure)) => return Err(failure),
                Err(Trouble::Place(what, error)) if meets_all(&error) => {
                    return Err(Failure::io(what, &self.destination.join(OsStr::from_bytes(&path)), &error));
                }
                Err(Trouble::Place(what, error)) => format!("cannot {what} in DEST: {error}"),
                Err(Trouble::Here(problem)) => problem,
            };
            self.failed(&node, &path, &problem)?;
        }
        Ok(())
    }

    /// Restores one entry; of a directory, makes it and gives the level below.
    fn restore_node(&mut self, dir: &Dir, node: &Node, path: &[u8]) -> Result<Option<Level>, Trouble> {
        if !place::is_name(&node.name) {
            return Err(Trouble::Here("its name cannot be a file's name here".to_owned()));
        }
        let directory = node.attributes.kind == NodeKind::Directory;
        if directory {
            let nodes = listing::list(self.tree, node.attributes.inode, None)
                .map_err(|error| Trouble::Here(error.to_string()))?;
            let below = dir.child(&node.name).map_err(|error| Trouble::Place("make the folder", error))?;
            let path = [path, b"/"].concat();
            return Ok(Some(Level {
                dir: below,
                nodes: nodes.into_iter(),
                path,
                node: Some(node.attributes),
            }));
        }
        if !self.force && dir.has(&node.name) {
            self.tally.skipped = self.tally.skipped.saturating_add(1);
            self.progress.notice(format!("{} exists and is left as it is; --force replaces it", shown(path)));
            self.progress.advance(node.attributes.size);
            return Ok(None);
        }
        match node.attributes.kind {
            NodeKind::Link => self.link(dir, node, path)?,
            _ if node.stream_of.is_some() && self.streams_as_xattrs && self.stream(dir, node, path)? => {}
            _ if node.attributes.links > 1 && self.hard_link(dir, node, path)? => {}
            _ => self.file(dir, node, path)?,
        }
        Ok(None)
    }

    fn link(&mut self, dir: &Dir, node: &Node, path: &[u8]) -> Result<(), Trouble> {
        let target =
            self.tree.read_link(node.attributes.inode).map_err(|error| Trouble::Here(error.to_string()))?;
        dir.link(&node.name, &target, self.force).map_err(|error| Trouble::Place("make the link", error))?;
        let _ = dir.set_times_of(&node.name, &node.attributes);
        tracing::debug!("{} -> {}", shown(path), shown(&target));
        self.tally.files = self.tally.files.saturating_add(1);
        Ok(())
    }

    fn file(&mut self, dir: &Dir, node: &Node, path: &[u8]) -> Result<(), Trouble> {
        let inode = node.attributes.inode;
        let content = self.tree.open(inode).map_err(|error| Trouble::Here(error.to_string()))?;
        let file = dir.temporary().map_err(|error| Trouble::Place("make the file", error))?;
        let (progress, stop) = (self.progress, &self.stop);
        let mut advance = |bytes| {
            progress.advance(bytes);
            !stop.load(Ordering::Relaxed)
        };
        let copied = copy::copy(&*content, file.as_file(), &mut self.buffer, &mut advance).map_err(
            |error| match error {
                NotCopied::Content(error) => Trouble::Here(error.to_string()),
                NotCopied::Write(error) => Trouble::Place("write the file", error),
                NotCopied::Stopped => Trouble::Everywhere(stopped()),
            },
        )?;
        // A file with today's times is still the file.
        let _ = place::set_file_times(file.as_file(), &node.attributes);
        dir.name_file(file, &node.name, self.force)
            .map_err(|error| Trouble::Place("name the file", error))?;

        let facts = self.facts(inode);
        let Copied { size, sha256, unreadable, problem } = copied;
        let restored =
            if problem.is_some() || tells_of_loss(&facts) { Restored::Partial } else { Restored::Full };
        if let Some(problem) = &problem {
            self.progress.notice(format!("{} is not complete: {problem}", shown(path)));
        }
        let copy = FirstCopy { path: path.to_vec(), size, sha256, restored, unreadable, problem };
        self.done(path, &copy, &facts, None)?;
        if node.attributes.links > 1 {
            self.linked.insert(inode.0, copy);
        }
        Ok(())
    }

    /// Gives a file that stands in DEST already another name. False where that is not so, or not possible.
    fn hard_link(&mut self, dir: &Dir, node: &Node, path: &[u8]) -> Result<bool, Trouble> {
        let Some(copy) = self.linked.remove(&node.attributes.inode.0) else {
            return Ok(false);
        };
        let target = dir.path(&node.name);
        if self.force {
            let _ = fs::remove_file(&target);
        }
        let first = self.destination.join(OsStr::from_bytes(&copy.path));
        let made = fs::hard_link(first, target).is_ok();
        if made {
            self.progress.advance(node.attributes.size);
            let facts = self.facts(node.attributes.inode);
            self.done(path, &copy, &facts, None)?;
        }
        self.linked.insert(node.attributes.inode.0, copy);
        Ok(made)
    }

    /// Makes a named stream an extended attribute of its file. False where it must become a file instead.
    fn stream(&mut self, dir: &Dir, node: &Node, path: &[u8]) -> Result<bool, Trouble> {
        use sha2::{Digest, Sha256};
        let Some(file) = &node.stream_of else {
            return Ok(false);
        };
        let Some(stream) = node.name.get(file.len().saturating_add(1)..) else {
            return Ok(false);
        };
        let Ok(content) = self.tree.open(node.attributes.inode) else {
            return Ok(false);
        };
        let Some(value) = copy::read_small(&*content, XATTR_VALUE_MAX) else {
            return Ok(false);
        };
        let name = [b"user.", stream].concat();
        let set = rustix::fs::lsetxattr(dir.path(file), name, &value, rustix::fs::XattrFlags::empty());
        if let Err(error) = set {
            tracing::info!("{} becomes a file, because DEST takes it as no attribute: {error}", shown(path));
            return Ok(false);
        }
        let facts = self.facts(node.attributes.inode);
        let copy = FirstCopy {
            path: path.to_vec(),
            size: value.len() as u64,
            sha256: Sha256::digest(&value).into(),
            restored: if tells_of_loss(&facts) { Restored::Partial } else { Restored::Full },
            unreadable: Vec::new(),
            problem: None,
        };
        let folder = path.get(..path.len().saturating_sub(node.name.len())).unwrap_or_default();
        self.done(path, &copy, &facts, Some(&[folder, file].concat()))?;
        self.progress.advance(node.attributes.size);
        Ok(true)
    }

    fn facts(&self, inode: Inode) -> Vec<(&'static str, String)> {
        let value = |name: &str| self.tree.xattr(inode, format!("undelfs.{name}").as_bytes()).ok().flatten();
        FACTS
            .into_iter()
            .filter_map(|name| Some((name, String::from_utf8_lossy(&value(name)?).into_owned())))
            .collect()
    }

    /// Counts a restored file and puts it into the manifest.
    fn done(
        &mut self,
        path: &[u8],
        copy: &FirstCopy,
        facts: &[(&'static str, String)],
        attribute_of: Option<&[u8]>,
    ) -> Result<(), Trouble> {
        self.tally.files = self.tally.files.saturating_add(1);
        self.tally.bytes = self.tally.bytes.saturating_add(copy.size);
        if copy.restored != Restored::Full {
            self.tally.partial = self.tally.partial.saturating_add(1);
        }
        let entry = Entry {
            path,
            size: copy.size,
            restored: copy.restored,
            sha256: Some(copy.sha256),
            unreadable: &copy.unreadable,
            attribute_of,
            problem: copy.problem.as_deref(),
            facts,
        };
        self.manifest.add(&entry).map_err(|error| Trouble::Everywhere(self.manifest_failure(&error)))
    }

    fn failed(&mut self, node: &Node, path: &[u8], problem: &str) -> Result<(), Failure> {
        self.tally.failed = self.tally.failed.saturating_add(1);
        self.progress.notice(format!("{} is not restored: {problem}", shown(path)));
        let entry = Entry {
            path,
            size: node.attributes.size,
            restored: Restored::No,
            sha256: None,
            unreadable: &[],
            attribute_of: None,
            problem: Some(problem),
            facts: &self.facts(node.attributes.inode),
        };
        self.manifest.add(&entry).map_err(|error| self.manifest_failure(&error))
    }

    fn manifest_failure(&self, error: &io::Error) -> Failure {
        Failure::io("write the manifest in", self.destination, error)
    }
}

/// Whether the scan says that a part of the content is gone.
fn tells_of_loss(facts: &[(&'static str, String)]) -> bool {
    facts.iter().any(|(name, value)| match *name {
        "overwritten" => !value.is_empty(),
        "confidence" => matches!(value.as_str(), "partial" | "lost"),
        _ => false,
    })
}

/// Whether an error of DEST would meet every other file as well.
fn meets_all(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

fn stopped() -> Failure {
    Failure::new("stopped; what was restored so far stands in the manifest")
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_destination_ends_the_restore_and_a_bad_name_only_the_file() {
        assert!(meets_all(&io::ErrorKind::StorageFull.into()));
        assert!(!meets_all(&io::ErrorKind::InvalidFilename.into()));
    }

    #[test]
    fn a_file_counts_as_not_in_full_when_the_scan_says_that_bytes_are_gone() {
        let fact = |name, value: &str| vec![(name, value.to_owned())];
        assert!(tells_of_loss(&fact("overwritten", "0-4095")));
        assert!(tells_of_loss(&fact("confidence", "partial")));
        assert!(!tells_of_loss(&fact("overwritten", "")));
        assert!(!tells_of_loss(&fact("confidence", "certain")));
        assert!(!tells_of_loss(&[]));
    }
}
