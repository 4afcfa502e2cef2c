//! The tree that a mount shows: one or several scanned contexts, and the generated files.
//!
//! It is the same for every back end: nodes are named by [`Inode`], directories are read from any position.

mod listing;
mod named_streams;
mod stat;

use std::sync::Arc;

use undelfs_source::ErrorKind;
use undelfs_volume::filesystem::{File, FileFlags, FileTime};

use crate::{
    Catalogue, Content, Context, Error, Inode,
    catalogue::hierarchy::{CONTROL, Meaning, Node, Slot},
    generated::Generated,
    inode::Id,
    properties,
    shown::{Entry as ShownEntry, Shown},
};
pub use named_streams::NamedStream;
use stat::directory_attributes;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symbolic link or junction.
    Link,
}

/// What `stat` tells of a node.
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    /// Its number.
    pub inode: Inode,
    /// What it is.
    pub kind: NodeKind,
    /// Size in bytes; of a link the length of its target.
    pub size: u64,
    /// Bytes that it occupies on the volume.
    pub allocated: u64,
    /// Names that it is shown under.
    pub links: u32,
    /// Birth.
    pub created: FileTime,
    /// Last change of content.
    pub modified: FileTime,
    /// Last change of the file's description.
    pub changed: FileTime,
    /// Last access.
    pub accessed: FileTime,
    /// True for a generated file whose content changes: it must not be cached.
    pub volatile: bool,
}

/// One entry of a directory.
pub struct DirEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Where to go on reading behind it.
    pub next: u64,
    /// What it is.
    pub attributes: Attributes,
}

/// How large the mounted volumes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size of a block in bytes: the cluster size.
    pub block_size: u32,
    /// Blocks of all volumes.
    pub blocks: u64,
    /// Files that are listed.
    pub files: u64,
}

/// The tree that a mount shows.
pub struct Tree {
    volumes: Vec<Mounted>,
    /// What is shown instead of the volumes.
    shown: Option<Shown>,
}

/// A context in the tree.
struct Mounted {
    context: Arc<Context>,
    folder: Vec<u8>,
    generated: Generated,
}

/// A directory of the tree.
#[derive(Clone, Copy)]
enum Directory<'a> {
    Top,
    Control(&'a Mounted),
    Names(&'a Mounted, &'a Catalogue, Slot),
    /// The root of a volume of which only the bytes can be shown.
    Closed(&'a Mounted),
    /// A folder that stands on no volume.
    Shown(&'a Shown, u16),
}

impl Tree {
    /// The tree of these contexts, each of which has been scanned where it can be.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(contexts: Vec<Context>) -> Result<Self, Error> {
        if contexts.is_empty() {
            return Err(Error::refused(ErrorKind::InvalidInput, "there is no volume to show"));
        }
        let mount = |context: Context| {
            let context = Arc::new(context);
            Mounted { folder: context.folder(), generated: Generated::new(context.clone()), context }
        };
        Ok(Self { volumes: contexts.into_iter().map(mount).collect(), shown: None })
    }

    /// The same, in which `shown` stands instead of what is on the volumes.
    ///
    /// # Errors
    /// As [`new`](Tree::new).
    pub fn of_shown(contexts: Vec<Context>, shown: Shown) -> Result<Self, Error> {
        Ok(Self { shown: Some(shown), ..Self::new(contexts)? })
    }

    /// The contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &Context> + Clone {
        self.volumes.iter().map(|mounted| &*mounted.context)
    }

    fn shown(&self) -> Result<&Shown, Error> {
        self.shown.as_ref().ok_or_else(|| Error::not_found(b"folder"))
    }

    fn mounted(&self, number: u32) -> Result<&Mounted, Error> {
        let found = self.volumes.iter().find(|mounted| mounted.context.number() == number);
        found.ok_or_else(|| Error::not_found(b"volume"))
    }

    /// The only volume, whose root is the root of the mount.
    fn only(&self) -> Option<&Mounted> {
        self.volumes.first().filter(|_| self.volumes.len() == 1)
    }

    /// What a number stands for, the root of the mount seen as that of its only volume.
    fn id(&self, inode: Inode) -> Result<Id, Error> {
        let id = inode.id().ok_or_else(|| Error::not_found(b"inode"))?;
        Ok(match (id, self.only()) {
            (Id::Top, _) if self.shown.is_some() => Id::Shown { folder: Shown::ROOT, file: 0 },
            (Id::Top, Some(only)) => Id::Root { volume: only.context.number() },
            (id, _) => id,
        })
    }

    /// The number of what `id` stands for, the root of the only volume being that of the mount.
    fn inode(&self, id: Id) -> Inode {
        match id {
            Id::Root { .. } if self.only().is_some() => Inode::ROOT,
            Id::Shown { folder: Shown::ROOT, file: 0 } => Inode::ROOT,
            id => Inode::of(id),
        }
    }

    fn directory(&self, inode: Inode) -> Result<Directory<'_>, Error> {
        let not = || Error::refused(ErrorKind::NotDirectory, "this is no directory");
        let id = self.id(inode)?;
        let volume = match id {
            Id::Top => return Ok(Directory::Top),
            Id::Control { volume, number: 0 } => return Ok(Directory::Control(self.mounted(volume)?)),
            Id::Shown { folder, file: 0 } => return Ok(Directory::Shown(self.shown()?, folder)),
            Id::Control { .. } | Id::Stream { .. } | Id::Raw { .. } | Id::Shown { .. } => return Err(not()),
            Id::Root { volume } | Id::File { volume, .. } => volume,
            Id::Made { volume, .. } | Id::Lost { volume, .. } => volume,
        };
        let mounted = self.mounted(volume)?;
        let Some(catalogue) = mounted.context.catalogue() else {
            return Ok(Directory::Closed(mounted));
        };
        let slot = match id {
            Id::File { record, .. } => {
                catalogue.find_record(record).and_then(|index| catalogue.tree.slot_of_file(index))
            }
            Id::Made { number, .. } => catalogue.tree.made(number),
            Id::Lost { record, generation, .. } => catalogue.tree.lost_group(record, generation),
            _ => Some(Slot::ROOT),
        };
        Ok(Directory::Names(mounted, catalogue, slot.ok_or_else(not)?))
    }

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// When there is none.
    pub fn lookup(&self, directory: Inode, name: &[u8]) -> Result<Attributes, Error> {
        let missing = || Error::not_found(name);
        match self.directory(directory)? {
            Directory::Top => {
                let found = self.volumes.iter().find(|mounted| mounted.folder == name);
                Ok(self.root_attributes(found.ok_or_else(missing)?))
            }
            Directory::Control(mounted) => {
                let number = mounted.generated.find(name).ok_or_else(missing)?;
                self.control_attributes(mounted, number)
            }
            Directory::Closed(mounted) if name == CONTROL => self.control_attributes(mounted, 0),
            Directory::Closed(_) => Err(missing()),
            Directory::Shown(shown, folder) => {
                let file = || shown.files(folder).ok()?.find(name).map(ShownEntry::File);
                let found = shown.inside(folder, name).map(ShownEntry::Folder).or_else(file);
                self.shown_attributes(shown, folder, found.ok_or_else(missing)?)
            }
            Directory::Names(mounted, _, Slot::ROOT) if name == CONTROL => {
                self.control_attributes(mounted, 0)
            }
            Directory::Names(mounted, catalogue, slot) => match catalogue.lookup(slot, name) {
                Some(node) => self.node_attributes(mounted, catalogue, node),
                None => match self.lookup_stream(mounted, catalogue, slot, name)? {
                    Some(stream) => Ok(stream),
                    None => self.lookup_raw(mounted, catalogue, slot, name)?.ok_or_else(missing),
                },
            },
        }
    }

    /// Finds a name as the file system itself would, upper and lower case taken for the same; an exact match wins. The
    /// result has the name as it is. Looks at every entry of the directory.
    ///
    /// # Errors
    /// As [`lookup`](Tree::lookup).
    pub fn lookup_any_case(&self, directory: Inode, name: &[u8]) -> Result<(Vec<u8>, Attributes), Error> {
        let exact = match self.lookup(directory, name) {
            Err(error) if error.kind() == ErrorKind::NotFound => error,
            found => return found.map(|attributes| (name.to_vec(), attributes)),
        };
        let Directory::Names(mounted, catalogue, slot) = self.directory(directory)? else {
            return Err(exact);
        };
        let folded = mounted.context.fold_case(name);
        let same = |node: &&Node| mounted.context.fold_case(&catalogue.name(**node)) == folded;
        match catalogue.tree.children(slot).iter().find(same) {
            Some(node) => {
                let attributes = self.node_attributes(mounted, catalogue, *node)?;
                Ok((catalogue.name(*node).into_owned(), attributes))
            }
            None => Err(exact),
        }
    }

    /// Finds `file:stream` where streams are shown as files.
    fn lookup_stream(
        &self,
        mounted: &Mounted,
        catalogue: &Catalogue,
        slot: Slot,
        name: &[u8],
    ) -> Result<Option<Attributes>, Error> {
        if !mounted.context.options().streams_as_files {
            return Ok(None);
        }
        for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b':') {
            let (file, stream) = (name.get(..at), name.get(at + 1..).unwrap_or_default());
            let node = file.and_then(|file| catalogue.lookup(slot, file));
            let Some((index, file)) = node.and_then(|node| self.file_of(catalogue, node)) else {
                continue;
            };
            let streams = mounted.context.streams(index)?;
            let shown = |s: &crate::content::StreamState| crate::names::escape(&s.stream.name) == stream;
            let found = streams.iter().position(|state| !state.stream.name.is_empty() && shown(state));
            if let Some(number) = found {
                return self.stream_attributes(mounted, index, file, number).map(Some);
            }
        }
        Ok(None)
    }

    /// Finds `file.efsraw` where encrypted files are shown as they are. It can be entered and is not listed.
    fn lookup_raw(
        &self,
        mounted: &Mounted,
        catalogue: &Catalogue,
        slot: Slot,
        name: &[u8],
    ) -> Result<Option<Attributes>, Error> {
        let node = name.strip_suffix(crate::efs::SUFFIX.as_bytes()).and_then(|of| catalogue.lookup(slot, of));
        match node.and_then(|node| self.file_of(catalogue, node)) {
            Some((index, file)) if crate::efs::has_hidden_raw(file) => {
                self.raw_attributes(mounted, index, file).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn file_of<'a>(&self, catalogue: &'a Catalogue, node: Node) -> Option<(u32, &'a File)> {
        match catalogue.meaning(node) {
            Meaning::File(index) => catalogue.file(index).map(|file| (index, file)),
            Meaning::Made(_) => None,
        }
    }

    /// The file that a number stands for, or whose stream it stands for.
    fn file(&self, inode: Inode) -> Result<(&Mounted, &Catalogue, u32), Error> {
        let (Id::File { volume, record } | Id::Stream { volume, record, .. } | Id::Raw { volume, record }) =
            self.id(inode)?
        else {
            return Err(Error::not_found(b"file"));
        };
        let mounted = self.mounted(volume)?;
        let catalogue = mounted.context.catalogue().ok_or_else(|| Error::not_found(b"file"))?;
        let index = catalogue.find_record(record).ok_or_else(|| Error::not_found(b"file"))?;
        Ok((mounted, catalogue, index))
    }

    /// The number of the stream that a number stands for; 0 for a file.
    fn stream_of(&self, inode: Inode) -> usize {
        match inode.id() {
            Some(Id::Stream { stream, .. }) => usize::from(stream),
            _ => 0,
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// When it is no file, or its content cannot be given.
    pub fn open(&self, inode: Inode) -> Result<Arc<dyn Content>, Error> {
        match self.id(inode)? {
            Id::Shown { folder, file: file @ 1.. } => {
                self.shown()?.files(folder)?.open(usize::try_from(file - 1).unwrap_or(usize::MAX))
            }
            Id::Control { volume, number: number @ 1.. } => self.mounted(volume)?.generated.open(number),
            Id::Stream { stream, .. } => {
                let (mounted, _, index) = self.file(inode)?;
                mounted.context.open(index, usize::from(stream))
            }
            Id::Raw { .. } => self.open_efs_raw(inode),
            Id::File { .. } => {
                let (mounted, catalogue, index) = self.file(inode)?;
                let flags = catalogue.file(index).map_or(FileFlags::empty(), |file| file.flags);
                if flags.contains(FileFlags::DIRECTORY) {
                    return Err(Error::refused(ErrorKind::IsDirectory, "this is a directory"));
                }
                mounted.context.open_file(index)
            }
            _ => Err(Error::refused(ErrorKind::IsDirectory, "this is a directory")),
        }
    }

    /// Opens the raw backup stream of an encrypted file, whatever the tree shows of it. No key is needed for it.
    ///
    /// # Errors
    /// When the file is not encrypted, or its `$EFS` attribute or a stream is lost.
    pub fn open_efs_raw(&self, inode: Inode) -> Result<Arc<dyn Content>, Error> {
        let (mounted, _, index) = self.file(inode)?;
        mounted.context.open_raw(index)
    }

    /// True for the raw backup stream of an encrypted file that is shown as it is: it is found beside the file, and not
    /// listed.
    pub fn is_hidden_raw(&self, inode: Inode) -> bool {
        matches!(inode.id(), Some(Id::Raw { .. }))
    }

    /// Who can decrypt a file.
    ///
    /// # Errors
    /// When the file is not encrypted, or its `$EFS` attribute is lost or of a version that is not known.
    pub fn efs_metadata(&self, inode: Inode) -> Result<undelfs_efs::Metadata, Error> {
        let (mounted, catalogue, index) = self.file(inode)?;
        let known = mounted.context.efs_of(catalogue, index)?;
        let known =
            known.ok_or_else(|| Error::refused(ErrorKind::NotEncrypted, "the file is not encrypted"))?;
        Ok(known.metadata?)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// When it is none, or its target is damaged.
    pub fn read_link(&self, inode: Inode) -> Result<Vec<u8>, Error> {
        let (mounted, catalogue, index) = self.file(inode)?;
        let link = catalogue.file(index).is_some_and(|file| file.flags.contains(FileFlags::LINK));
        match catalogue.first_node(index).filter(|_| link) {
            Some(node) => mounted.context.link_target(index, node),
            None => Err(Error::refused(ErrorKind::InvalidInput, "this is no symbolic link")),
        }
    }

    /// Names of the extended attributes of a node, without a name space in front.
    ///
    /// # Errors
    /// When there is no such node, or its description cannot be read.
    pub fn xattr_names(&self, inode: Inode) -> Result<Vec<Vec<u8>>, Error> {
        match self.id(inode)? {
            Id::File { .. } | Id::Stream { .. } => {
                let (mounted, catalogue, index) = self.file(inode)?;
                properties::names(&mounted.context, catalogue, index, self.stream_of(inode))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The value of an extended attribute; `None` where the node has none of that name.
    ///
    /// # Errors
    /// As [`xattr_names`](Tree::xattr_names).
    pub fn xattr(&self, inode: Inode, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.id(inode)? {
            Id::File { .. } | Id::Stream { .. } => {
                let (mounted, catalogue, index) = self.file(inode)?;
                properties::value(&mounted.context, catalogue, index, self.stream_of(inode), name)
            }
            _ => Ok(None),
        }
    }

    /// True when every file that cannot be read has a size. Where not, a reader who goes by the size would take a file
    /// whose content is lost for an empty one, unless opening it tells.
    pub fn sizes_tell_all(&self) -> bool {
        self.volumes.iter().all(|mounted| {
            let context = &mounted.context;
            !context.options().streams_as_files
                && context.catalogue().is_none_or(|catalogue| !catalogue.lists_lost_content())
        })
    }

    /// How large the mounted volumes are.
    pub fn space(&self) -> Space {
        let facts = || self.contexts().filter_map(Context::facts);
        let block_size = facts().map(|facts| facts.bytes_per_cluster).max().unwrap_or(4096);
        let bytes = facts().map(|facts| facts.clusters.saturating_mul(u64::from(facts.bytes_per_cluster)));
        let catalogues = self.contexts().filter_map(Context::catalogue);
        Space {
            block_size,
            blocks: bytes.fold(0, u64::saturating_add) / u64::from(block_size.max(1)),
            files: catalogues.map(|catalogue| catalogue.tree.shown()).sum(),
        }
    }

    /// What was found, in one line.
    pub fn summary(&self) -> String {
        let volumes: Vec<String> = self.contexts().map(crate::report::summary).collect();
        volumes.join("; ")
    }
}

fn made_id(volume: u32, catalogue: &Catalogue, slot: Slot) -> Id {
    match catalogue.tree.lost_parent(slot) {
        Some(lost) => Id::Lost { volume, record: lost.record, generation: lost.generation },
        None if slot == Slot::ROOT => Id::Root { volume },
        None => Id::Made { volume, number: slot.number() },
    }
}
