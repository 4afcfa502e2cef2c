//! The walk through a tree that puts every file into its place.

use std::{
    collections::{HashMap, HashSet},
    io,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use undelfs_restore::{Attributes, NodeKind, Tree};
use undelfs_volume::filesystem::Watch;

use super::{
    Wanted,
    files::FirstCopy,
    listing::{self, Node},
    manifest::Manifest,
    names,
};
use crate::{
    failure::Failure,
    platform::place::{self, Dir, Identity, Owner},
    progress::Progress,
};

/// Names that are tried for one file before it is given up.
const TRIES: u32 = 1000;

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
    pub(super) tree: &'a Tree,
    pub(super) destination: &'a Path,
    owner: Owner,
    force: bool,
    streams_as_xattrs: bool,
    pub(super) progress: &'a Progress,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) manifest: Manifest,
    pub(super) tally: Tally,
    /// First copies of files with several names, by inode.
    pub(super) linked: HashMap<u64, FirstCopy>,
    /// Every file and link that this restore has put into DEST: it replaces none of them. By identity, because DEST
    /// may take two names for the same.
    pub(super) written: HashSet<Identity>,
    pub(super) buffer: Vec<u8>,
}

/// A directory that is being restored.
struct Level {
    dir: Dir,
    nodes: std::vec::IntoIter<Node>,
    /// Path below DEST, with `/` at the end unless it is empty.
    path: Vec<u8>,
    /// The same in the tree; another path where DEST cannot have a name.
    tree_path: Vec<u8>,
    /// The directory's own node, unless it is DEST.
    node: Option<Attributes>,
    /// What became of the entries that have named streams here.
    hosts: HashMap<Vec<u8>, Host>,
}

impl Level {
    fn new(dir: Dir, nodes: Vec<Node>, path: Vec<u8>, tree_path: Vec<u8>, node: Option<Attributes>) -> Self {
        let hosts = nodes.iter().filter_map(|node| Some((node.stream_of.clone()?, Host::Absent))).collect();
        Self { dir, nodes: nodes.into_iter(), path, tree_path, node, hosts }
    }
}

/// What became of something that has named streams.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// This restore did not put it there.
    Absent,
    /// A file stood in its place and was left as it is.
    Skipped,
    /// It stands under this name.
    Written(Vec<u8>),
}

/// Where something goes.
pub(super) struct Spot<'a> {
    pub(super) dir: &'a Dir,
    pub(super) name: Vec<u8>,
    /// Path below DEST.
    pub(super) path: Vec<u8>,
    /// Path in the tree.
    pub(super) tree_path: Vec<u8>,
    /// Whether a file of that name stands there and is to be replaced.
    pub(super) replace: bool,
}

/// Why a file is not there.
pub(super) enum Trouble {
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
        let owner = Owner::of_this_process();
        Dir::create(destination, owner)
            .map_err(|error| Failure::io("make the folder", destination, &error))?;
        Ok(Self {
            tree,
            destination,
            owner,
            force,
            streams_as_xattrs,
            progress,
            stop,
            manifest: Manifest::new(destination, owner)?,
            tally: Tally::default(),
            linked: HashMap::new(),
            written: HashSet::new(),
            buffer: Vec::new(),
        })
    }

    /// Restores what the user named.
    pub(crate) fn restore(&mut self, wanted: &[Wanted]) -> Result<(), Failure> {
        let bytes = wanted.iter().map(|wanted| listing::measure(self.tree, wanted));
        self.progress.total(bytes.fold(0, u64::saturating_add));
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
        let dir = Dir::create(self.destination, self.owner)
            .map_err(|error| Failure::io("open the folder", self.destination, &error))?;
        let mut levels = vec![Level::new(dir, nodes, Vec::new(), wanted.folder.clone(), None)];
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
            // One file whose reading panics does not take the others with it; its temporary file is removed.
            let restored = panic::catch_unwind(AssertUnwindSafe(|| self.restore_node(level, &node)));
            let path = [level.path.as_slice(), &node.name].concat();
            let problem = match restored
                .unwrap_or_else(|_| Err(Trouble::Here("reading it met an internal error".to_owned())))
            {
                Ok(below) => {
                    levels.extend(below);
                    continue;
                }
                Err(Trouble::Everywhere(failure)) => return Err(failure),
                Err(Trouble::Place(what, error)) if meets_all(&error) => {
                    return Err(Failure::io(what, &self.destination.join(place::host_path(&path)), &error));
                }
                Err(Trouble::Place(what, error)) => format!("cannot {what} in DEST: {error}"),
                Err(Trouble::Here(problem)) => problem,
            };
            let tree_path = [level.tree_path.as_slice(), &node.name].concat();
            self.failed(&node, &path, &tree_path, &problem)?;
        }
        Ok(())
    }

    /// Restores one entry; of a directory, makes it and gives the level below.
    fn restore_node(&mut self, level: &mut Level, node: &Node) -> Result<Option<Level>, Trouble> {
        if !place::is_name(&node.name) {
            return Err(Trouble::Here("its name cannot be a file's name here".to_owned()));
        }
        let tree_path = [level.tree_path.as_slice(), &node.name].concat();
        if let Some(file) = &node.stream_of {
            match level.hosts.get(file) {
                Some(Host::Skipped) => {
                    self.skip(node, &tree_path, "is left out with its file, which exists");
                    return Ok(None);
                }
                Some(Host::Written(host)) if self.streams_as_xattrs => {
                    let stream = node.name.get(file.len()..).unwrap_or_default();
                    let path = [level.path.as_slice(), host, stream].concat();
                    let spot = Spot { dir: &level.dir, name: host.clone(), path, tree_path, replace: false };
                    if self.stream(&spot, node, stream)? {
                        return Ok(None);
                    }
                }
                _ => {}
            }
        }
        let tree_path = [level.tree_path.as_slice(), &node.name].concat();
        let Some((name, replace)) = self.choose(level, node)? else {
            let path = [level.path.as_slice(), &node.name].concat();
            self.skip(node, &path, "exists and is left as it is; --force replaces it");
            if let Some(host) = level.hosts.get_mut(&node.name) {
                *host = Host::Skipped;
            }
            return Ok(None);
        };
        let path = [level.path.as_slice(), &name].concat();
        if name != node.name {
            self.progress.notice(format!("{} stands in DEST as {}", shown(&tree_path), shown(&path)));
        }
        let spot = Spot { dir: &level.dir, name, path, tree_path, replace };
        if node.attributes.kind == NodeKind::Directory {
            let (below, made) = self.directory(&spot, node)?;
            if let Some(host) = level.hosts.get_mut(&node.name).filter(|_| made || self.force) {
                *host = Host::Written(spot.name);
            }
            return Ok(Some(below));
        }
        match node.attributes.kind {
            NodeKind::Link => self.link(&spot, node)?,
            _ if node.attributes.links > 1 && self.hard_link(&spot, node)? => {}
            _ => self.file(&spot, node)?,
        }
        if let Some(host) = level.hosts.get_mut(&node.name) {
            *host = Host::Written(spot.name);
        }
        Ok(None)
    }

    /// Makes a directory; true where it was not there before.
    fn directory(&self, spot: &Spot<'_>, node: &Node) -> Result<(Level, bool), Trouble> {
        let nodes = listing::list(self.tree, node.attributes.inode, None)
            .map_err(|error| Trouble::Here(error.to_string()))?;
        let (dir, made) =
            spot.dir.child(&spot.name).map_err(|error| Trouble::Place("make the folder", error))?;
        let path = [spot.path.as_slice(), b"/"].concat();
        let tree_path = [spot.tree_path.as_slice(), b"/"].concat();
        Ok((Level::new(dir, nodes, path, tree_path, Some(node.attributes)), made))
    }

    /// The name that an entry gets in DEST, and whether it replaces a file there. `None` where one is in the way that
    /// may not be replaced.
    fn choose(&self, level: &Level, node: &Node) -> Result<Option<(Vec<u8>, bool)>, Trouble> {
        let inode = node.attributes.inode;
        let directory = node.attributes.kind == NodeKind::Directory;
        for number in 0..TRIES {
            let name = match number {
                0 => node.name.clone(),
                _ => names::marked(&node.name, &self.record(inode), number, level.dir.name_max()),
            };
            if level.path.is_empty() && names::is_reserved(&name) {
                continue;
            }
            let there = match level.dir.identity(&name) {
                Err(error) if number == 0 && error.kind() == io::ErrorKind::InvalidFilename => continue,
                there => there.map_err(|error| Trouble::Place("look for the name", error))?,
            };
            match there {
                None => return Ok(Some((name, false))),
                Some(identity) if self.written.contains(&identity) => {}
                // What is there is checked when it is opened: a folder takes more files.
                Some(_) if directory => return Ok(Some((name, false))),
                Some(_) => return Ok(self.force.then_some((name, true))),
            }
        }
        Err(Trouble::Here("every name for it in DEST is taken".to_owned()))
    }

    fn skip(&mut self, node: &Node, path: &[u8], why: &str) {
        self.tally.skipped = self.tally.skipped.saturating_add(1);
        self.progress.notice(format!("{} {why}", shown(path)));
        self.progress.advance(node.attributes.size);
    }
}

/// Whether an error of DEST would meet every other file as well.
fn meets_all(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

pub(super) fn stopped() -> Failure {
    Failure::new("stopped; what was restored so far stands in the manifest")
}

pub(super) fn shown(path: &[u8]) -> String {
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
}
