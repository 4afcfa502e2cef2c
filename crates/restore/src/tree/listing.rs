//! Reading directories from any position.

use std::borrow::Cow;

use undelfs_volume::filesystem::FileFlags;

use super::{Attributes, DirEntry, Directory, Mounted, Tree, directory_attributes, made_id};
use crate::{
    Error, Inode,
    catalogue::hierarchy::{CONTROL, Meaning, Slot},
    inode::Id,
};

/// Positions in a directory: the entry in the high bits; the low ones are the streams of a file that follow it.
const POSITION_SHIFT: u32 = 16;
/// Longest name that the kernel takes from a directory, in bytes.
const MAX_NAME: usize = 1024;
/// Positions of `.` and `..` come first.
const DOTS: u64 = 2;

impl Tree {
    /// Reads a directory from position `from` on: 0, or the [`next`](DirEntry::next) of an entry. `each` returns
    /// false to stop. An entry that cannot be described is still listed.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn read_dir(
        &self,
        inode: Inode,
        from: u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Error> {
        let directory = self.directory(inode)?;
        let (mut at, mut stream) = (from >> POSITION_SHIFT, from & ((1 << POSITION_SHIFT) - 1));
        while at < DOTS {
            let (name, shown): (&[u8], Inode) =
                if at == 0 { (b".", inode) } else { (b"..", self.parent(inode)?) };
            at += 1;
            let next = at << POSITION_SHIFT;
            if !each(DirEntry { name, next, attributes: directory_attributes(shown) }) {
                return Ok(());
            }
        }
        while let Some((name, attributes, streams)) = self.entry(directory, at - DOTS)? {
            if stream == 0 {
                let next =
                    if streams.is_some() { at << POSITION_SHIFT | 1 } else { (at + 1) << POSITION_SHIFT };
                if !each(DirEntry { name: &name, next, attributes }) {
                    return Ok(());
                }
                stream = 1;
            }
            if let Some((mounted, index)) = streams {
                let position = |number: u64| at << POSITION_SHIFT | number;
                if !self.read_streams(mounted, index, &name, stream, &position, each)? {
                    return Ok(());
                }
            }
            (at, stream) = (at + 1, 0);
        }
        Ok(())
    }

    /// Lists the named streams of a file behind it, from `from` on, counted from 1.
    fn read_streams(
        &self,
        mounted: &Mounted,
        index: u32,
        name: &[u8],
        from: u64,
        position: &dyn Fn(u64) -> u64,
        each: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<bool, Error> {
        let catalogue = mounted.context.catalogue();
        let Some(file) = catalogue.and_then(|catalogue| catalogue.file(index)) else {
            return Ok(true);
        };
        let Ok(streams) = mounted.context.streams(index) else {
            return Ok(true);
        };
        for (number, state) in streams.iter().enumerate() {
            let here = number as u64 + 1;
            if here < from || state.stream.name.is_empty() || here >= u64::from(u16::MAX) {
                continue;
            }
            let attributes = self.attributes_of_stream(mounted, file, number, state);
            let name = [name, b":", &crate::names::escape(&state.stream.name)].concat();
            if name.len() > MAX_NAME {
                continue;
            }
            if !each(DirEntry { name: &name, next: position(here + 1), attributes }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entry at an index of a directory, and the file whose streams follow it.
    #[expect(clippy::type_complexity, reason = "used by one caller, which takes it apart at once")]
    fn entry<'a>(
        &'a self,
        directory: Directory<'a>,
        index: u64,
    ) -> Result<Option<(Cow<'a, [u8]>, Attributes, Option<(&'a Mounted, u32)>)>, Error> {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        match directory {
            Directory::Top => Ok(self
                .volumes
                .get(at)
                .map(|mounted| (Cow::from(&mounted.folder), self.root_attributes(mounted), None))),
            Directory::Control(mounted) => {
                let number = u16::try_from(at + 1).unwrap_or(u16::MAX);
                let Some(name) = mounted.generated.name(number) else {
                    return Ok(None);
                };
                let attributes = self.control_attributes(mounted, number)?;
                Ok(Some((Cow::Borrowed(name.as_bytes()), attributes, None)))
            }
            Directory::Closed(mounted) if at == 0 => {
                Ok(Some((Cow::Borrowed(CONTROL), self.control_attributes(mounted, 0)?, None)))
            }
            Directory::Closed(_) => Ok(None),
            Directory::Shown(shown, folder) => {
                let Some((name, entry)) = shown.entry(folder, at)? else {
                    return Ok(None);
                };
                Ok(Some((Cow::from(name), self.shown_attributes(shown, folder, entry)?, None)))
            }
            Directory::Names(mounted, catalogue, slot) => {
                let Some(node) = catalogue.tree.children(slot).get(at) else {
                    return Ok(None);
                };
                let attributes = self.node_attributes(mounted, catalogue, *node)?;
                let streams = match catalogue.meaning(*node) {
                    Meaning::File(index) if mounted.context.options().streams_as_files => catalogue
                        .file(index)
                        .filter(|file| file.flags.contains(FileFlags::NAMED_STREAMS))
                        .map(|_| (mounted, index)),
                    _ => None,
                };
                Ok(Some((catalogue.name(*node), attributes, streams)))
            }
        }
    }

    /// The directory above a directory; the root of the mount is above itself.
    fn parent(&self, inode: Inode) -> Result<Inode, Error> {
        let volume = match self.directory(inode)? {
            Directory::Top => return Ok(Inode::ROOT),
            Directory::Shown(shown, folder) => {
                return Ok(self.inode(Id::Shown { folder: shown.above(folder)?, file: 0 }));
            }
            Directory::Control(mounted) => mounted.context.number(),
            Directory::Closed(_) | Directory::Names(_, _, Slot::ROOT) => return Ok(Inode::ROOT),
            Directory::Names(mounted, catalogue, slot) => {
                let above = catalogue.tree.node_of(slot).map(|node| catalogue.tree.slot_of(node));
                let volume = mounted.context.number();
                let node = above.and_then(|slot| catalogue.tree.node_of(slot));
                match node.map(|node| catalogue.meaning(node)) {
                    None => volume,
                    Some(Meaning::Made(slot)) => return Ok(self.inode(made_id(volume, catalogue, slot))),
                    Some(Meaning::File(index)) => {
                        let record = catalogue.file(index).map_or(0, |file| file.record);
                        return Ok(self.inode(Id::File { volume, record }));
                    }
                }
            }
        };
        Ok(self.inode(Id::Root { volume }))
    }
}
