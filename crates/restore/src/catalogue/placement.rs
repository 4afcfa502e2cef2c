//! Where each name stands: under its directory, or under the group of its lost directory.

use undelfs_volume::filesystem::{File, FileFlags, Link};

use crate::View;

/// Deepest path that is shown, in directories. Deeper ones begin anew under `$Orphans`.
const MAX_DEPTH: u16 = 1024;

/// Longest path of a directory that is shown, in bytes. NTFS allows 32767 UTF-16 units.
const MAX_PATH: u32 = 32 << 10;

/// "None" where an index stands.
pub(super) const NONE: u32 = u32::MAX;

/// A directory whose record is not there any more, or is another file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LostParent {
    pub(crate) record: u32,
    pub(crate) generation: u16,
}

/// The parent of what stands in the root, where the root itself has no record.
pub(super) const ROOTLESS: u32 = u32::MAX - 1;

/// The group of a lost directory: `$Orphans/record N (sequence S)`.
const GROUP: Standing = Standing { depth: 2, path: 48, own: false };

/// What the placement of one directory has found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    InProgress,
    Placed(Standing),
}

/// Where a directory stands.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Standing {
    /// Number of directories above it.
    depth: u16,
    /// Length of its path in bytes.
    path: u32,
    /// True for what belongs to the file system itself.
    own: bool,
}

/// Where every link stands and which files are shown.
pub(super) struct Placement<'a> {
    pub(super) files: &'a [File],
    pub(super) links: &'a [Link],
    pub(super) root: u32,
    view: View,
    /// By link: index of the file that is its directory, or [`NONE`].
    pub(super) parent: Vec<u32>,
    state: Vec<State>,
}

/// The links of file `index`.
pub(super) fn links_of(files: &[File], links: &[Link], index: u32) -> std::ops::Range<u32> {
    let at = index as usize;
    let first = files.get(at).map_or(0, |file| file.first_link);
    let end = files.get(at + 1).map_or(links.len() as u32, |next| next.first_link);
    first..end.max(first)
}

impl<'a> Placement<'a> {
    /// Places all links. Takes time in proportion to their number.
    pub(super) fn new(files: &'a [File], links: &'a [Link], root_record: u32, view: View) -> Self {
        let root = files.binary_search_by_key(&root_record, |f| f.record).map_or(NONE, |index| index as u32);
        let parent = parents(files, links, root, root_record);
        let state = vec![State::Unknown; files.len()];
        let mut placement = Self { files, links, root, view, parent, state };
        if let Some(state) = placement.state.get_mut(root as usize) {
            *state = State::Placed(Standing::default());
        }
        let mut way = Vec::new();
        for index in 0..files.len() as u32 {
            if placement.flags(index).contains(FileFlags::DIRECTORY) {
                placement.place_directory(index, &mut way);
            }
        }
        placement
    }

    pub(super) fn flags(&self, file: u32) -> FileFlags {
        self.files.get(file as usize).map_or(FileFlags::empty(), |file| file.flags)
    }

    pub(super) fn parent_of(&self, link: u32) -> u32 {
        self.parent.get(link as usize).copied().unwrap_or(NONE)
    }

    /// The link under which a directory stands; directories have one.
    pub(super) fn own_link(&self, file: u32) -> Option<u32> {
        links_of(self.files, self.links, file).next()
    }

    /// Walks up from a directory until a placed one, then places all on the way. A cycle, and a path that is too
    /// deep, is cut: the link there has no parent then.
    fn place_directory(&mut self, index: u32, way: &mut Vec<u32>) {
        way.clear();
        let mut at = index;
        let mut above = loop {
            match self.state.get(at as usize) {
                Some(State::Placed(standing)) => break *standing,
                Some(State::InProgress) => {
                    self.cut(way.last().copied());
                    break GROUP;
                }
                Some(State::Unknown) => {}
                None if at == ROOTLESS => break Standing::default(),
                None => break GROUP,
            }
            self.set(at, State::InProgress);
            way.push(at);
            at = self.own_link(at).map_or(NONE, |link| self.parent_of(link));
        };
        while let Some(directory) = way.pop() {
            let name = self.own_link(directory).and_then(|link| self.links.get(link as usize));
            let length = name.map_or(0, |link| u32::from(link.name_len) + 1);
            if above.depth >= MAX_DEPTH || above.path + length > MAX_PATH {
                self.cut(Some(directory));
                above = GROUP;
            }
            let flags = self.flags(directory);
            let own = flags.contains(FileFlags::METADATA) && !flags.contains(FileFlags::REMOVED);
            above = Standing { depth: above.depth + 1, path: above.path + length, own: above.own || own };
            self.set(directory, State::Placed(above));
        }
    }

    fn set(&mut self, file: u32, state: State) {
        if let Some(slot) = self.state.get_mut(file as usize) {
            *slot = state;
        }
    }

    fn cut(&mut self, directory: Option<u32>) {
        let link = directory.and_then(|directory| self.own_link(directory));
        if let Some(parent) = link.and_then(|link| self.parent.get_mut(link as usize)) {
            *parent = NONE;
        }
    }

    /// True where the view lists the file for its own sake.
    pub(super) fn listed(&self, file: u32) -> bool {
        let flags = self.flags(file);
        if file == self.root {
            return false;
        }
        if flags.contains(FileFlags::REMOVED) {
            return self.view != View::Regular;
        }
        self.view != View::Deleted && !flags.contains(FileFlags::METADATA) && !self.below_metadata(file)
    }

    /// True for what lives in a directory of the file system itself, such as `$Extend`.
    fn below_metadata(&self, file: u32) -> bool {
        let parent = self.own_link(file).map_or(NONE, |link| self.parent_of(link));
        matches!(self.state.get(parent as usize), Some(State::Placed(Standing { own: true, .. })))
    }

    /// The lost directories that links without a parent name, ascending, each once.
    pub(super) fn lost_parents(&self) -> Vec<LostParent> {
        let without = self.links.iter().zip(&self.parent).filter(|(_, parent)| **parent == NONE);
        let mut lost: Vec<LostParent> = without.map(|(link, _)| lost_parent(link)).collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }
}

pub(super) fn lost_parent(link: &Link) -> LostParent {
    LostParent { record: link.parent, generation: link.parent_generation }
}

/// By link: the file that is its directory, or [`NONE`] where the record is another file's by now, or where
/// nothing says how that directory was called.
fn parents(files: &[File], links: &[Link], root: u32, root_record: u32) -> Vec<u32> {
    let find = |record: u32| {
        let index = files.binary_search_by_key(&record, |file| file.record).ok()? as u32;
        let named = index == root || !links_of(files, links, index).is_empty();
        files
            .get(index as usize)
            .map(|file| (index, file))
            .filter(|(_, file)| named && file.flags.contains(FileFlags::DIRECTORY))
    };
    // Neighbours mostly stand in one directory.
    let mut last = (NONE, None);
    let parent = |link: &Link| {
        if link.parent != last.0 {
            last = (link.parent, find(link.parent));
        }
        match last.1 {
            Some((index, file)) if file.generation == link.parent_generation => index,
            None if link.parent == root_record && root == NONE => ROOTLESS,
            _ => NONE,
        }
    };
    links.iter().map(parent).collect()
}
