//! The tree of names: which directory shows which nodes, under which names.

use std::{borrow::Cow, hash::BuildHasher};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use undelfs_volume::filesystem::{File, FileFlags, Link, RecordTable};

use super::placement::{LostParent, NONE, Placement, ROOTLESS, links_of, lost_parent};
use crate::{efs, names};

/// A name in the tree: the link with this index, or a node that no name on the volume stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node(u32);

/// A directory that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    /// The root of the volume.
    pub(crate) const ROOT: Self = Self(0);
    /// `$Orphans`.
    pub(crate) const ORPHANS: Self = Self(1);
    /// `$Orphans/unnamed`, for files whose name is lost too.
    pub(crate) const UNNAMED: Self = Self(2);

    /// Its number, the same in every mount for the root, `$Orphans` and `$Orphans/unnamed`.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// Slots before those of the lost directories.
const FIXED_SLOTS: u32 = 3;

/// Name of the directory of generated files. It is not listed; the name is taken.
pub(crate) const CONTROL: &[u8] = b".undelfs";

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The file with this index.
    File(u32),
    /// A directory of our own making.
    Made(Slot),
}

/// The tree of names.
pub(crate) struct Hierarchy {
    links: u32,
    lost: Vec<LostParent>,
    unnamed: Vec<u32>,
    /// By slot: the node that stands for it.
    slot_node: Vec<Node>,
    /// By file: its slot, or [`NONE`].
    slot_of_file: Vec<u32>,
    /// By link: the slot that shows it, or [`NONE`].
    slot_of_link: Vec<u32>,
    /// By slot: where its children begin.
    first_child: Vec<u32>,
    children: Vec<Node>,
    /// Nodes that had to be marked with their record, and the number of the mark.
    renamed: HashMap<Node, u32>,
    by_name: HashTable<Node>,
    hasher: DefaultHashBuilder,
}

/// The names' bytes and what they belong to.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'a> {
    pub(crate) files: &'a [File],
    pub(crate) links: &'a [Link],
    pub(crate) names: &'a [u8],
    pub(crate) tables: &'a [RecordTable],
}

impl Lists<'_> {
    /// The number by which a file is told from others of its name: that of its record in the table that it stands in.
    fn number(&self, file: u32) -> u32 {
        let record = self.files.get(file as usize).map_or(0, |file| file.record);
        let table = self.tables.iter().rev().find(|table| table.first <= record);
        table.map_or(record, |table| table.number(record))
    }
}

impl Hierarchy {
    /// Builds the tree of what the view lists.
    pub(super) fn new(lists: Lists<'_>, placement: &Placement<'_>) -> Self {
        let lost = placement.lost_parents();
        let made = FIXED_SLOTS + lost.len() as u32;
        let links = lists.links.len() as u32;
        let mut tree = Self {
            links,
            lost,
            unnamed: Vec::new(),
            slot_node: (0..made).map(|slot| Node(links + slot)).collect(),
            slot_of_file: vec![NONE; lists.files.len()],
            slot_of_link: vec![NONE; lists.links.len()],
            first_child: Vec::new(),
            children: Vec::new(),
            renamed: HashMap::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        if let Some(root) = tree.slot_of_file.get_mut(placement.root as usize) {
            *root = Slot::ROOT.0;
        }
        let mut used = vec![false; made as usize];
        for file in 0..lists.files.len() as u32 {
            if placement.listed(file) {
                tree.show(placement, file, &mut used);
            }
        }
        tree.name_all(lists, &used);
        tree.list_children(&used);
        tree
    }

    /// Shows a file under all its links, and the directories that lead to it.
    fn show(&mut self, placement: &Placement<'_>, file: u32, used: &mut [bool]) {
        let directory = placement.flags(file).contains(FileFlags::DIRECTORY);
        let links = links_of(placement.files, placement.links, file);
        if links.is_empty() {
            if directory {
                // Nothing leads to it and nothing names it; what is in it shows it.
                return;
            }
            self.unnamed.push(file);
            self.use_made(Slot::UNNAMED, used);
        }
        if directory {
            self.open_slot(placement, file, used);
            return;
        }
        for link in links {
            let slot = self.slot_for(placement, link, used);
            self.put(link, slot);
        }
    }

    fn put(&mut self, link: u32, slot: u32) {
        if let Some(place) = self.slot_of_link.get_mut(link as usize) {
            *place = slot;
        }
    }

    fn use_made(&self, slot: Slot, used: &mut [bool]) {
        for slot in [Slot::ORPHANS, slot] {
            if let Some(used) = used.get_mut(slot.0 as usize) {
                *used = true;
            }
        }
    }

    /// The slot that shows a link: its directory's, or that of the group of its lost directory.
    fn slot_for(&mut self, placement: &Placement<'_>, link: u32, used: &mut [bool]) -> u32 {
        let parent = placement.parent_of(link);
        if parent == ROOTLESS {
            return Slot::ROOT.0;
        }
        if parent != NONE {
            return self.open_slot(placement, parent, used);
        }
        let Some(lost) = placement.links.get(link as usize).map(lost_parent) else {
            return NONE;
        };
        let slot = self.group(lost).unwrap_or(Slot::UNNAMED);
        self.use_made(slot, used);
        slot.0
    }

    /// The slot of the group of a lost directory.
    fn group(&self, lost: LostParent) -> Option<Slot> {
        self.lost.binary_search(&lost).ok().map(|index| Slot(FIXED_SLOTS + index as u32))
    }

    /// The slot of a directory; makes it, and those of the directories above it, where there is none yet.
    fn open_slot(&mut self, placement: &Placement<'_>, directory: u32, used: &mut [bool]) -> u32 {
        let slot_of = |tree: &Self, file: u32| tree.slot_of_file.get(file as usize).copied().unwrap_or(NONE);
        let mut at = directory;
        while slot_of(self, at) == NONE {
            let Some(link) = placement.own_link(at) else { break };
            let slot = self.slot_node.len() as u32;
            self.slot_node.push(Node(link));
            if let Some(place) = self.slot_of_file.get_mut(at as usize) {
                *place = slot;
            }
            let parent = placement.parent_of(link);
            if parent < ROOTLESS && slot_of(self, parent) == NONE {
                // The parent's slot is the next that is made.
                self.put(link, slot + 1);
                at = parent;
                continue;
            }
            let above = self.slot_for(placement, link, used);
            self.put(link, above);
            break;
        }
        slot_of(self, directory)
    }

    /// Gives every shown node a name that nothing else in its directory has. Of several nodes with one name the
    /// newest keeps it.
    fn name_all(&mut self, lists: Lists<'_>, used: &[bool]) {
        let mut table = std::mem::take(&mut self.by_name);
        let hasher = self.hasher.clone();
        let shown = self.slot_of_link.iter().filter(|slot| **slot != NONE).count();
        table.reserve(shown + self.lost.len() + 2, |_| 0);
        let mut losers = Vec::new();
        let made = (1..used.len() as u32).filter(|slot| used.get(*slot as usize) == Some(&true));
        let nodes: Vec<Node> = made
            .map(|slot| Node(self.links + slot))
            .chain(
                (0..self.links).filter(|link| self.slot_of_link.get(*link as usize) != Some(&NONE)).map(Node),
            )
            .chain((0..self.unnamed.len() as u32).map(|index| Node(self.links + used.len() as u32 + index)))
            .collect();
        for node in nodes {
            let slot = self.slot_of(node);
            let name = self.name(lists, node);
            let hash = hasher.hash_one((slot.0, &*name));
            let taken = slot == Slot::ROOT && *name == *CONTROL;
            let same = |other: &Node| self.slot_of(*other) == slot && self.name(lists, *other) == name;
            let rehash = |node: &Node| hasher.hash_one((self.slot_of(*node).0, &*self.name(lists, *node)));
            if taken {
                losers.push(node);
                continue;
            }
            match table.find_mut(hash, same) {
                None => {
                    table.insert_unique(hash, node, rehash);
                }
                Some(holder) if self.newer(lists, node, *holder) => {
                    losers.push(std::mem::replace(holder, node))
                }
                Some(_) => losers.push(node),
            }
        }
        self.by_name = table;
        for node in losers {
            self.rename(lists, node);
        }
    }

    /// Marks a node with its record, until nothing has its name. A second link of the same file to the same name
    /// is not shown.
    fn rename(&mut self, lists: Lists<'_>, node: Node) {
        let slot = self.slot_of(node);
        let file = self.meaning(lists, node);
        for number in 0..=u32::MAX {
            if number > 0 {
                self.renamed.insert(node, number);
            }
            let name = self.name(lists, node).into_owned();
            match self.lookup(lists, slot, &name) {
                Some(holder) if self.meaning(lists, holder) == file => break,
                Some(_) => continue,
                None if slot == Slot::ROOT && name == CONTROL => continue,
                None => {}
            }
            let hash = self.hasher.hash_one((slot.0, &*name));
            let mut table = std::mem::take(&mut self.by_name);
            table.insert_unique(hash, node, |node| {
                self.hasher.hash_one((self.slot_of(*node).0, &*self.name(lists, *node)))
            });
            self.by_name = table;
            return;
        }
        if let Some(slot) = self.slot_of_link.get_mut(node.0 as usize) {
            *slot = NONE;
        }
    }

    fn newer(&self, lists: Lists<'_>, node: Node, than: Node) -> bool {
        let age = |node: Node| match self.meaning(lists, node) {
            Meaning::Made(_) => None,
            Meaning::File(file) => lists.files.get(file as usize).map(|file| {
                (!file.flags.contains(FileFlags::REMOVED), file.changed.max(file.created), file.record)
            }),
        };
        match (age(node), age(than)) {
            (Some(node), Some(than)) => node > than,
            (node, _) => node.is_none(),
        }
    }

    /// Lists the children of each slot, in the order of their records.
    fn list_children(&mut self, used: &[bool]) {
        let mut nodes: Vec<Node> = (0..self.links).map(Node).collect();
        nodes.extend((1..used.len() as u32).map(|slot| Node(self.links + slot)));
        nodes
            .extend((0..self.unnamed.len() as u32).map(|index| Node(self.links + used.len() as u32 + index)));
        nodes.retain(|node| match node.0.checked_sub(self.links) {
            Some(slot) => used.get(slot as usize).copied().unwrap_or(true),
            None => self.slot_of(*node).0 != NONE,
        });
        let mut first = vec![0_u32; self.slot_node.len() + 1];
        for node in &nodes {
            if let Some(count) = first.get_mut(self.slot_of(*node).0 as usize + 1) {
                *count += 1;
            }
        }
        let mut total = 0;
        for count in &mut first {
            total += *count;
            *count = total;
        }
        let mut next = first.clone();
        let mut children = vec![Node(0); nodes.len()];
        for node in nodes {
            let Some(at) = next.get_mut(self.slot_of(node).0 as usize) else {
                continue;
            };
            if let Some(child) = children.get_mut(*at as usize) {
                *child = node;
            }
            *at += 1;
        }
        self.first_child = first;
        self.children = children;
    }

    /// The slot that shows a node.
    pub(crate) fn slot_of(&self, node: Node) -> Slot {
        match node.0.checked_sub(self.links) {
            None => Slot(self.slot_of_link.get(node.0 as usize).copied().unwrap_or(NONE)),
            Some(slot) if slot <= Slot::ORPHANS.0 => Slot::ROOT,
            Some(slot) if slot < self.made_slots() => Slot::ORPHANS,
            Some(_) => Slot::UNNAMED,
        }
    }

    fn made_slots(&self) -> u32 {
        FIXED_SLOTS + self.lost.len() as u32
    }

    /// What a node stands for.
    pub(crate) fn meaning(&self, lists: Lists<'_>, node: Node) -> Meaning {
        match node.0.checked_sub(self.links) {
            None => Meaning::File(lists.links.get(node.0 as usize).map_or(NONE, |link| link.file)),
            Some(slot) if slot < self.made_slots() => Meaning::Made(Slot(slot)),
            Some(index) => {
                let unnamed = self.unnamed.get((index - self.made_slots()) as usize);
                Meaning::File(unnamed.copied().unwrap_or(NONE))
            }
        }
    }

    /// The name of a node as it is shown.
    pub(crate) fn name<'a>(&self, lists: Lists<'a>, node: Node) -> Cow<'a, [u8]> {
        let Some(made) = node.0.checked_sub(self.links) else {
            let link = lists.links.get(node.0 as usize);
            let name = link.and_then(|link| {
                let start = link.name_at as usize;
                lists.names.get(start..start + usize::from(link.name_len))
            });
            let name = names::escape(name.unwrap_or_default());
            if self.renamed.is_empty() {
                return name;
            }
            return match (self.renamed.get(&node), link) {
                (Some(number), Some(link)) => {
                    Cow::Owned(names::with_record(&name, lists.number(link.file), *number))
                }
                _ => name,
            };
        };
        let text = match Slot(made) {
            Slot::ROOT => String::new(),
            Slot::ORPHANS => "$Orphans".to_owned(),
            Slot::UNNAMED => "unnamed".to_owned(),
            Slot(slot) => match self.lost.get((slot - FIXED_SLOTS) as usize) {
                Some(lost) => format!("record {} (sequence {})", lost.record, lost.generation),
                None => {
                    let file = self.unnamed.get((slot - self.made_slots()) as usize);
                    let record = file.and_then(|file| lists.files.get(*file as usize));
                    let raw = record.is_some_and(|file| file.flags.contains(FileFlags::RAW));
                    let suffix = if raw { efs::SUFFIX } else { "" };
                    format!("record {}{suffix}", record.map_or(0, |file| file.record))
                }
            },
        };
        Cow::Owned(text.into_bytes())
    }

    /// The children of a directory.
    pub(crate) fn children(&self, slot: Slot) -> &[Node] {
        let at = slot.0 as usize;
        let bounds = self.first_child.get(at).zip(self.first_child.get(at + 1));
        let (Some((first, end)), true) = (bounds, slot.0 != NONE) else {
            return &[];
        };
        self.children.get(*first as usize..*end as usize).unwrap_or_default()
    }

    /// The child of a directory that has this name.
    pub(crate) fn lookup(&self, lists: Lists<'_>, slot: Slot, name: &[u8]) -> Option<Node> {
        let hash = self.hasher.hash_one((slot.0, name));
        let same = |node: &Node| self.slot_of(*node) == slot && *self.name(lists, *node) == *name;
        self.by_name.find(hash, same).copied()
    }

    /// `$Orphans` or `$Orphans/unnamed` by its number, where it has anything in it.
    pub(crate) fn made(&self, number: u32) -> Option<Slot> {
        let slot = [Slot::ORPHANS, Slot::UNNAMED].into_iter().find(|slot| slot.0 == number)?;
        (!self.children(slot).is_empty()).then_some(slot)
    }

    /// The group of a lost directory, where it has anything in it.
    pub(crate) fn lost_group(&self, record: u32, generation: u16) -> Option<Slot> {
        self.group(LostParent { record, generation }).filter(|slot| !self.children(*slot).is_empty())
    }

    /// How many nodes are shown.
    pub(crate) fn shown(&self) -> u64 {
        self.children.len() as u64
    }

    /// The slot of the directory with this index.
    pub(crate) fn slot_of_file(&self, file: u32) -> Option<Slot> {
        self.slot_of_file.get(file as usize).filter(|slot| **slot != NONE).map(|slot| Slot(*slot))
    }

    /// The node that stands for a directory; `None` for the root.
    pub(crate) fn node_of(&self, slot: Slot) -> Option<Node> {
        self.slot_node.get(slot.0 as usize).copied().filter(|_| slot != Slot::ROOT)
    }

    /// The lost directory whose group a slot is.
    pub(crate) fn lost_parent(&self, slot: Slot) -> Option<LostParent> {
        self.lost.get(slot.0.checked_sub(FIXED_SLOTS)? as usize).copied()
    }

    /// True where the link is shown.
    pub(crate) fn shows(&self, link: u32) -> bool {
        self.slot_of_link.get(link as usize).is_some_and(|slot| *slot != NONE)
    }

    /// The node of a link.
    pub(crate) fn link_node(&self, link: u32) -> Node {
        Node(link)
    }

    /// The node of a file whose name is lost.
    pub(crate) fn unnamed_node(&self, file: u32) -> Option<Node> {
        let index = self.unnamed.binary_search(&file).ok()?;
        Some(Node(self.links + self.made_slots() + index as u32))
    }

    /// Files whose name is lost, with their nodes, ascending.
    pub(crate) fn unnamed(&self) -> impl Iterator<Item = (u32, Node)> {
        let first = self.links + self.made_slots();
        self.unnamed.iter().enumerate().map(move |(index, file)| (*file, Node(first + index as u32)))
    }
}
