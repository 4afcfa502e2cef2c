//! The restorable files of a scanned context one by one, for who asks for the next one again and again.

use std::{collections::HashMap, sync::Arc};

use undelfs_source::ErrorKind;
use undelfs_volume::filesystem::{File, FileFlags};

use crate::{
    Catalogue, Content, Context, Error,
    catalogue::{
        Paths,
        hierarchy::{Meaning, Node, Slot},
    },
    names,
};

/// Some of the restorable files of a context, in the order in which [`write`](crate::write) lists them.
pub struct Entries {
    catalogue: Arc<Catalogue>,
    list: Vec<(u32, Node)>,
    paths: Paths,
    path: Vec<u8>,
}

/// One of them: a file or directory under one of its names.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Where it stands in the mount, from the volume's root, with `/` between names; WTF-8.
    pub path: &'a [u8],
    /// The file.
    pub file: &'a File,
    /// Clusters that the allocation bitmap has in use now; all of them for a file that still exists.
    pub clusters_in_use: u64,
}

/// One stream of a file, as far as it can be read.
pub struct DataStream {
    /// Its name in WTF-8; empty for the unnamed stream.
    pub name: Vec<u8>,
    /// True where some of its bytes are gone, which read as the options of the context say.
    pub overwritten: bool,
    /// Its bytes, or why they cannot be given.
    pub content: Result<Arc<dyn Content>, Error>,
}

impl Entries {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The one at `position`. Neighbours cost less than others, because they mostly share a directory.
    pub fn get(&mut self, position: usize) -> Option<Entry<'_>> {
        let (index, node) = *self.list.get(position)?;
        let file = self.catalogue.file(index)?;
        self.paths.write(&self.catalogue, node, &mut self.path);
        Some(Entry { path: &self.path, file, clusters_in_use: self.catalogue.clusters_in_use(index) })
    }

    /// The file at `position`, without its path.
    pub fn file(&self, position: usize) -> Option<&File> {
        self.list.get(position).and_then(|(index, _)| self.catalogue.file(*index))
    }
}

impl Context {
    /// The restorable files that stand below `folder`, as far as `wanted` wants them. `folder` is a path from the
    /// volume's root, each name as the file system has it and in any case; without a name it is the root.
    ///
    /// # Errors
    /// When the volume was not scanned, or there is no such folder in the mount: [`ErrorKind::NotFound`].
    pub fn entries(&self, folder: &[Vec<u8>], wanted: impl Fn(&File) -> bool) -> Result<Entries, Error> {
        let catalogue = self.need_catalogue()?.clone();
        let root = folder.iter().try_fold(Slot::ROOT, |slot, name| self.enter(&catalogue, slot, name))?;
        let mut below = Below { catalogue: &catalogue, root, known: HashMap::new() };
        let mut list: Vec<(u32, Node)> = Vec::new();
        for (index, node) in catalogue.entries() {
            if catalogue.file(index).is_some_and(&wanted) && (root == Slot::ROOT || below.contains(node)) {
                list.push((index, node));
            }
        }
        Ok(Entries { catalogue, list, paths: Paths::default(), path: Vec::new() })
    }

    /// The directory `name` in another one. An exact match wins over one in another case.
    fn enter(&self, catalogue: &Catalogue, slot: Slot, name: &[u8]) -> Result<Slot, Error> {
        let folded = self.fold_case(name);
        let mut found = None;
        for node in catalogue.tree.children(slot) {
            let shown = catalogue.name(*node);
            let own = names::unescape(&shown);
            let exact = *own == *name;
            if (exact || (found.is_none() && self.fold_case(&own) == folded))
                && let Some(inside) = directory(catalogue, *node)
            {
                found = Some(inside);
                if exact {
                    break;
                }
            }
        }
        found.ok_or_else(|| Error::not_found(name))
    }

    /// The streams of the file at `position` of `entries`, the unnamed one first; of a symbolic link only those that it
    /// has. `entries` must be of this context.
    ///
    /// # Errors
    /// When it is a directory, or nothing is known of its content any more.
    pub fn data_streams(&self, entries: &Entries, position: usize) -> Result<Vec<DataStream>, Error> {
        let own = Arc::ptr_eq(&entries.catalogue, self.need_catalogue()?);
        let entry = entries.list.get(position).filter(|_| own);
        let (index, file) = entry
            .and_then(|(index, _)| Some((*index, entries.catalogue.file(*index)?)))
            .ok_or_else(|| Error::not_found(b"entry"))?;
        if file.flags.contains(FileFlags::DIRECTORY) {
            return Err(Error::refused(ErrorKind::IsDirectory, "this is a directory"));
        }
        if !file.flags.contains(FileFlags::LINK) {
            // An error where there is no unnamed stream, or it cannot be given.
            self.open_file(index)?;
        }
        let streams = self.streams(index)?;
        let opened = streams.iter().enumerate().map(|(number, state)| DataStream {
            name: state.stream.name.clone(),
            overwritten: !state.overwritten.is_empty(),
            content: self.open(index, number),
        });
        Ok(opened.collect())
    }
}

/// The directory that a node stands for.
fn directory(catalogue: &Catalogue, node: Node) -> Option<Slot> {
    match catalogue.meaning(node) {
        Meaning::Made(slot) => Some(slot),
        Meaning::File(index) => catalogue.tree.slot_of_file(index),
    }
}

/// Which directories stand below one.
struct Below<'a> {
    catalogue: &'a Catalogue,
    root: Slot,
    known: HashMap<Slot, bool>,
}

impl Below<'_> {
    /// True for what stands below the directory, at whatever depth.
    fn contains(&mut self, node: Node) -> bool {
        let mut way = Vec::new();
        let mut at = self.catalogue.tree.slot_of(node);
        let inside = loop {
            if at == self.root {
                break true;
            }
            if let Some(known) = self.known.get(&at) {
                break *known;
            }
            way.push(at);
            match self.catalogue.tree.node_of(at) {
                Some(directory) => at = self.catalogue.tree.slot_of(directory),
                None => break false,
            }
        };
        self.known.extend(way.into_iter().map(|slot| (slot, inside)));
        inside
    }
}
