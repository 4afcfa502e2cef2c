//! What `stat` tells of a node.

use undelfs_volume::filesystem::{File, FileFlags, FileTime};

use super::{Attributes, Mounted, NodeKind, Shown, ShownEntry, Tree, made_id};
use crate::{
    Catalogue, Error, Inode,
    catalogue::hierarchy::{Meaning, Node},
    content::StreamState,
    inode::Id,
};

impl Tree {
    /// What `stat` tells of a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn attributes(&self, inode: Inode) -> Result<Attributes, Error> {
        match self.id(inode)? {
            Id::Top => Ok(directory_attributes(Inode::ROOT)),
            Id::Root { volume } => Ok(self.root_attributes(self.mounted(volume)?)),
            Id::Control { volume, number } => self.control_attributes(self.mounted(volume)?, number),
            Id::Shown { folder, file: file @ 1.. } => {
                let file = usize::try_from(file - 1).unwrap_or(usize::MAX);
                self.shown_attributes(self.shown()?, folder, ShownEntry::File(file))
            }
            Id::Made { .. } | Id::Lost { .. } | Id::Shown { .. } => {
                self.directory(inode)?;
                Ok(directory_attributes(inode))
            }
            Id::File { .. } => {
                let (mounted, catalogue, index) = self.file(inode)?;
                self.file_attributes(mounted, catalogue, index, None)
            }
            Id::Stream { stream, .. } => {
                let (mounted, catalogue, index) = self.file(inode)?;
                let file = catalogue.file(index).ok_or_else(|| Error::not_found(b"file"))?;
                self.stream_attributes(mounted, index, file, usize::from(stream))
            }
            Id::Raw { .. } => {
                let (mounted, catalogue, index) = self.file(inode)?;
                let file = catalogue.file(index).filter(|file| crate::efs::has_hidden_raw(file));
                self.raw_attributes(mounted, index, file.ok_or_else(|| Error::not_found(b"file"))?)
            }
        }
    }

    pub(super) fn root_attributes(&self, mounted: &Mounted) -> Attributes {
        let inode = self.inode(Id::Root { volume: mounted.context.number() });
        let catalogue = mounted.context.catalogue();
        let root = catalogue.and_then(|c| c.file(c.find_record(c.facts().root)?));
        let mut attributes = directory_attributes(inode);
        if let Some(root) = root {
            attributes.set_times(root);
        }
        attributes
    }

    pub(super) fn control_attributes(&self, mounted: &Mounted, number: u16) -> Result<Attributes, Error> {
        let inode = Inode::of(Id::Control { volume: mounted.context.number(), number });
        let mut attributes = directory_attributes(inode);
        if number > 0 {
            attributes.kind = NodeKind::File;
            attributes.size = mounted.generated.size(number)?;
            attributes.volatile = mounted.generated.is_volatile(number);
        }
        Ok(attributes)
    }

    /// What `stat` tells of what stands in a folder that is on no volume.
    pub(super) fn shown_attributes(
        &self,
        shown: &Shown,
        folder: u16,
        entry: ShownEntry,
    ) -> Result<Attributes, Error> {
        let file = match entry {
            ShownEntry::Folder(folder) => {
                return Ok(directory_attributes(self.inode(Id::Shown { folder, file: 0 })));
            }
            ShownEntry::File(file) => file,
        };
        let number = u32::try_from(file).ok().and_then(|file| file.checked_add(1));
        let number = number.ok_or_else(|| Error::not_found(b"file"))?;
        let mut attributes = directory_attributes(Inode::of(Id::Shown { folder, file: number }));
        attributes.kind = NodeKind::File;
        attributes.size = shown.files(folder)?.size(file)?;
        attributes.allocated = attributes.size;
        Ok(attributes)
    }

    pub(super) fn node_attributes(
        &self,
        mounted: &Mounted,
        catalogue: &Catalogue,
        node: Node,
    ) -> Result<Attributes, Error> {
        let volume = mounted.context.number();
        match catalogue.meaning(node) {
            Meaning::File(index) => self.file_attributes(mounted, catalogue, index, Some(node)),
            Meaning::Made(slot) => Ok(directory_attributes(self.inode(made_id(volume, catalogue, slot)))),
        }
    }

    pub(super) fn file_attributes(
        &self,
        mounted: &Mounted,
        catalogue: &Catalogue,
        index: u32,
        node: Option<Node>,
    ) -> Result<Attributes, Error> {
        let file = catalogue.file(index).ok_or_else(|| Error::not_found(b"file"))?;
        let inode = self.inode(Id::File { volume: mounted.context.number(), record: file.record });
        let mut attributes = directory_attributes(inode);
        attributes.set_times(file);
        if file.flags.contains(FileFlags::DIRECTORY) {
            return Ok(attributes);
        }
        attributes.kind = NodeKind::File;
        attributes.size = file.size;
        attributes.allocated = file.clusters.saturating_mul(u64::from(catalogue.facts().bytes_per_cluster));
        attributes.links = catalogue.shown_links(index);
        if file.flags.contains(FileFlags::LINK) {
            attributes.kind = NodeKind::Link;
            let node = node.or_else(|| catalogue.first_node(index));
            let target = node.map(|node| mounted.context.link_target(index, node));
            // A target that cannot be read is told when it is asked for.
            attributes.size = target.and_then(Result::ok).map_or(0, |target| target.len() as u64);
        }
        Ok(attributes)
    }

    pub(super) fn stream_attributes(
        &self,
        mounted: &Mounted,
        index: u32,
        file: &File,
        number: usize,
    ) -> Result<Attributes, Error> {
        let streams = mounted.context.streams(index)?;
        let state = streams.get(number).ok_or_else(|| Error::not_found(b"stream"))?;
        Ok(self.attributes_of_stream(mounted, file, number, state))
    }

    /// What `stat` tells of the raw backup stream of an encrypted file that is shown as it is.
    pub(super) fn raw_attributes(
        &self,
        mounted: &Mounted,
        index: u32,
        file: &File,
    ) -> Result<Attributes, Error> {
        let id = Id::Raw { volume: mounted.context.number(), record: file.record };
        let mut attributes = directory_attributes(self.inode(id));
        attributes.set_times(file);
        attributes.kind = NodeKind::File;
        attributes.size = mounted.context.raw_size(index)?;
        Ok(attributes)
    }

    /// What `stat` tells of a named stream that is shown as a file.
    pub(super) fn attributes_of_stream(
        &self,
        mounted: &Mounted,
        file: &File,
        number: usize,
        state: &StreamState,
    ) -> Attributes {
        let stream = u16::try_from(number).unwrap_or(u16::MAX);
        let id = Id::Stream { volume: mounted.context.number(), record: file.record, stream };
        let mut attributes = directory_attributes(self.inode(id));
        attributes.set_times(file);
        attributes.kind = NodeKind::File;
        attributes.size = state.stream.size;
        attributes
    }
}

pub(super) fn directory_attributes(inode: Inode) -> Attributes {
    let time = FileTime::UNIX_EPOCH;
    Attributes {
        inode,
        kind: NodeKind::Directory,
        size: 0,
        allocated: 0,
        links: 1,
        created: time,
        modified: time,
        changed: time,
        accessed: time,
        volatile: false,
    }
}

impl Attributes {
    fn set_times(&mut self, file: &File) {
        self.created = file.created;
        self.modified = file.modified;
        self.changed = file.changed;
        self.accessed = file.accessed;
    }
}
