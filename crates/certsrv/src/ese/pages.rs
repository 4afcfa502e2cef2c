//! The pages of a database by their numbers, and the walk through the trees that they make.

use std::{cmp::Ordering, collections::HashSet, ops::ControlFlow, sync::Arc};

use undelfs_source::ReadAt;

use super::{
    checksum,
    page::{Node, Page},
};
use crate::Error;

/// Deepest tree that is followed. With the fewest nodes a page has, the largest database is not as deep.
const MAX_DEPTH: usize = 32;

/// The pages of a database.
#[derive(Clone)]
pub(super) struct Pages {
    bytes: Arc<dyn ReadAt>,
    size: u32,
}

/// What a walk leads through: all of a tree, or the keys from one to another.
pub(super) enum Keys<'a> {
    All,
    /// From the first key to the last one that begins with these bytes.
    With(&'a [u8]),
}

/// What a walk met that it could not use.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// One sentence for each page.
    pub(super) notes: Vec<String>,
}

impl Pages {
    pub(super) fn new(bytes: Arc<dyn ReadAt>, size: u32) -> Self {
        Self { bytes, size: size.max(1) }
    }

    pub(super) fn page_size(&self) -> u32 {
        self.size
    }

    /// How many whole pages the file has behind the two headers.
    pub(super) fn count(&self) -> u32 {
        let all = self.bytes.size().checked_div(self.size.into()).unwrap_or(0).saturating_sub(2);
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// Where a page stands, in bytes; pages count from 1 behind the two headers.
    pub(super) fn offset(&self, number: u32) -> u64 {
        u64::from(number).saturating_add(1).saturating_mul(self.size.into())
    }

    /// Reads a page.
    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, Error> {
        let mut page = vec![0; self.size as usize];
        self.bytes.read_exact_at(&mut page, self.offset(number))?;
        Ok(page)
    }

    /// Reads a page, whose checksum must be right.
    fn sound(&self, number: u32) -> Result<Vec<u8>, Error> {
        let broken = |expected: &str, found: &str| {
            let what = format!("page {number} of the database");
            Error::structure(what, self.offset(number), expected.to_owned(), found.to_owned())
        };
        if number == 0 || number > self.count() {
            return Err(broken(&format!("a page from 1 to {}", self.count()), "another number"));
        }
        let page = self.read(number)?;
        if page.iter().all(|byte| *byte == 0) {
            return Err(broken("a page", "zeros"));
        }
        if !checksum::page_is_sound(&page, number) {
            return Err(broken("its checksum", "another one"));
        }
        Ok(page)
    }

    /// Visits the nodes in the leaves of the tree whose root is page `root`, in the order of their keys. `each` gets the
    /// nodes that are not deleted. Pages that cannot be used are left out and noted. `reached` gets every page once.
    pub(super) fn walk(
        &self,
        root: u32,
        keys: &Keys<'_>,
        unread: &mut Unread,
        reached: &mut HashSet<u32>,
        each: &mut dyn FnMut(&Node<'_>) -> ControlFlow<()>,
    ) {
        // A page is visited once, so the walk ends however the pages point at each other.
        let mut waiting = vec![(root, 0usize)];
        let mut last_leaf = None;
        while let Some((number, depth)) = waiting.pop() {
            if !reached.insert(number) {
                continue;
            }
            let page = match self.sound(number) {
                Ok(page) => page,
                Err(error) => {
                    unread.notes.push(error.to_string());
                    continue;
                }
            };
            let Some(page) = Page::new(&page).filter(|page| !page.is_free()) else {
                unread.notes.push(format!("page {number} of the database is no page of a tree"));
                continue;
            };
            let nodes = (0..page.nodes()).filter_map(|index| page.node(index));
            if page.is_leaf() {
                last_leaf = page.next();
                for node in nodes.filter(|node| !node.deleted && keys.has(&node.key())) {
                    if each(&node).is_break() {
                        return;
                    }
                }
            } else if depth < MAX_DEPTH {
                let children = keys.children(nodes);
                waiting.extend(children.into_iter().rev().map(|child| (child, depth.saturating_add(1))));
            }
            // The page that was split off last may not be in the page above yet.
            if waiting.is_empty()
                && let (Keys::All, Some(next)) = (keys, last_leaf.take())
            {
                waiting.push((next, MAX_DEPTH));
            }
        }
    }
}

impl Keys<'_> {
    fn has(&self, key: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::With(prefix) => key.starts_with(prefix),
        }
    }

    /// The pages below one that can hold what is looked for. The key of a node there is above all keys below it; the last
    /// one has none.
    fn children<'a>(&self, nodes: impl Iterator<Item = Node<'a>>) -> Vec<u32> {
        let Self::With(prefix) = self else {
            return nodes.filter_map(|node| node.child()).collect();
        };
        let mut below: Option<Vec<u8>> = None;
        let mut children = Vec::new();
        for node in nodes {
            let above = node.key();
            let ends_before = !above.is_empty() && above.as_slice() < *prefix;
            let begins_behind = below.as_deref().is_some_and(|low| {
                let head = low.get(..prefix.len()).unwrap_or(low);
                head.cmp(prefix) == Ordering::Greater
            });
            if !ends_before && !begins_behind {
                children.extend(node.child());
            }
            below = Some(above);
        }
        children
    }
}
