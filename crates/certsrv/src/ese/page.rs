//! A page of a database: its header, its tags, and the nodes that they name.

use undelfs_source::bytes::{u16_at, u32_at};

use super::checksum::SMALL_PAGE;

/// Size of the header of a page in bytes; larger pages have one of 80.
const HEADER: usize = 40;
const LARGE_HEADER: usize = 80;
/// `fPageRoot`, `fPageLeaf`, `fPageEmpty`, `fPageSpaceTree`.
const ROOT: u32 = 0x1;
const LEAF: u32 = 0x2;
const EMPTY: u32 = 0x8;
const SPACE: u32 = 0x20;
/// Flags of a node, the three highest bits of its tag or, in large pages, of its first word.
const DELETED: u16 = 0x2;
const PREFIXED: u16 = 0x4;
/// Bits of a key's length.
const KEY_LENGTH: u16 = 0x1FFF;

/// A page whose checksum was looked at by whoever read it.
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    flags: u32,
    tags: usize,
    reserved: usize,
}

/// A node of a leaf, or of a page that leads to others.
pub(super) struct Node<'a> {
    /// The page's common prefix that the key begins with, and the rest of the key.
    pub(super) key: (&'a [u8], &'a [u8]),
    pub(super) data: &'a [u8],
    pub(super) deleted: bool,
}

impl Node<'_> {
    pub(super) fn key(&self) -> Vec<u8> {
        [self.key.0, self.key.1].concat()
    }

    /// The page below, of a node in a page that is no leaf.
    pub(super) fn child(&self) -> Option<u32> {
        u32_at(self.data, 0)
    }
}

impl<'a> Page<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let state = u16_at(bytes, 34)?;
        let tags = usize::from(state & 0x0FFF);
        // The upper bits count tags that name no node; formats before them have one.
        let reserved = usize::from(state >> 12).max(1);
        let room = bytes.len().checked_sub(header_size(bytes))?;
        (tags.checked_mul(4)? <= room).then_some(())?;
        Some(Self { bytes, flags: u32_at(bytes, 36)?, tags, reserved })
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.flags & LEAF != 0
    }

    /// True for a page that belongs to no tree of records.
    pub(super) fn is_free(&self) -> bool {
        self.flags & (EMPTY | SPACE) != 0
    }

    pub(super) fn next(&self) -> Option<u32> {
        u32_at(self.bytes, 20).filter(|next| *next != 0)
    }

    pub(super) fn nodes(&self) -> usize {
        self.tags.saturating_sub(self.reserved)
    }

    pub(super) fn node(&self, index: usize) -> Option<Node<'a>> {
        let (data, flags) = self.tag(index.checked_add(self.reserved).filter(|tag| *tag < self.tags)?)?;
        let mut at = 0usize;
        let mut prefix: &[u8] = &[];
        if flags & PREFIXED != 0 {
            let length = usize::from(u16_at(data, 0)? & KEY_LENGTH);
            let common = if self.flags & ROOT == 0 { self.tag(0)?.0 } else { &[] };
            prefix = common.get(..length).unwrap_or(common);
            at = 2;
        }
        let length = usize::from(u16_at(data, at)? & KEY_LENGTH);
        let from = at.checked_add(2)?;
        let to = from.checked_add(length)?;
        Some(Node {
            key: (prefix, data.get(from..to)?),
            data: data.get(to..)?,
            deleted: flags & DELETED != 0,
        })
    }

    /// The bytes of a tag, and its flags.
    fn tag(&self, number: usize) -> Option<(&'a [u8], u16)> {
        let small = self.bytes.len() <= SMALL_PAGE;
        let mask: u16 = if small { 0x1FFF } else { 0x7FFF };
        let at = self.bytes.len().checked_sub(number.checked_add(1)?.checked_mul(4)?)?;
        let (size, offset) = (u16_at(self.bytes, at)?, u16_at(self.bytes, at.checked_add(2)?)?);
        let from = header_size(self.bytes).checked_add(usize::from(offset & mask))?;
        let data = self.bytes.get(from..from.checked_add(usize::from(size & mask))?)?;
        let flags = if small { offset >> 13 } else { u16_at(data, 0).map_or(0, |word| word >> 13) };
        Some((data, flags))
    }
}

fn header_size(page: &[u8]) -> usize {
    if page.len() <= SMALL_PAGE { HEADER } else { LARGE_HEADER }
}
