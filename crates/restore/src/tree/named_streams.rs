//! What a back end needs that shows named streams as such, and the bits of a file's attributes.

use undelfs_volume::filesystem::FileFlags;

use super::{Attributes, Tree};
use crate::{Error, Inode, inode::Id, properties};

/// A named stream of a file or directory.
#[derive(Debug, Clone)]
pub struct NamedStream {
    /// Its name, in WTF-8, as it is on the volume.
    pub name: Vec<u8>,
    /// What it is shown with; its inode opens it.
    pub attributes: Attributes,
}

impl Tree {
    /// The named streams of a node.
    ///
    /// # Errors
    /// When there is no such node, or its description cannot be read.
    pub fn named_streams(&self, inode: Inode) -> Result<Vec<NamedStream>, Error> {
        if !matches!(self.id(inode)?, Id::File { .. }) {
            return Ok(Vec::new());
        }
        let (mounted, catalogue, index) = self.file(inode)?;
        let Some(file) = catalogue.file(index).filter(|file| file.flags.contains(FileFlags::NAMED_STREAMS))
        else {
            return Ok(Vec::new());
        };
        let streams = mounted.context.streams(index)?;
        let named = streams.iter().enumerate().filter(|(_, state)| !state.stream.name.is_empty());
        Ok(named
            .map(|(number, state)| NamedStream {
                name: state.stream.name.to_vec(),
                attributes: self.attributes_of_stream(mounted, file, number, state),
            })
            .collect())
    }

    /// What undelfs says of a file: the `undelfs.*` attributes that it has, without that beginning.
    ///
    /// # Errors
    /// When there is no such node, or its description cannot be read.
    pub fn properties(&self, inode: Inode) -> Result<Vec<(&'static str, String)>, Error> {
        let (mounted, catalogue, index) = self.file(inode)?;
        properties::own(&mounted.context, catalogue, index, self.stream_of(inode))
    }

    /// The `FILE_ATTRIBUTE_*` bits of a node as they are on its volume; 0 for what is made by undelfs.
    pub fn attribute_bits(&self, inode: Inode) -> u32 {
        match self.file(inode) {
            Ok((_, catalogue, index)) => catalogue.file(index).map_or(0, |file| file.attributes),
            Err(_) => 0,
        }
    }

    /// Label and serial number of the only volume; of several, a label that says so.
    pub fn label(&self) -> (String, u64) {
        match self.only().map(|only| only.context.facts()) {
            Some(Some(facts)) => (facts.label.clone(), facts.serial),
            Some(None) => (String::new(), 0),
            None => ("undelfs".to_owned(), 0),
        }
    }
}
