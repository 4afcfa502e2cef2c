//! What is to be restored: the entries of a directory of the tree, and which of them are named streams.

use std::collections::HashMap;

use undelfs_restore::{Attributes, Error, Inode, NodeKind, Tree};

use super::Wanted;

/// Folder of generated files in the root of a tree; no part of what was lost.
const GENERATED: &[u8] = b".undelfs";

/// An entry of a directory of the tree.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: Vec<u8>,
    pub(crate) attributes: Attributes,
    /// Name of the file, in the same directory, of which this is the named stream that follows the colon.
    pub(crate) stream_of: Option<Vec<u8>>,
}

/// The entries that the user named.
pub(crate) fn first_level(tree: &Tree, wanted: &Wanted) -> Result<Vec<Node>, Error> {
    list(tree, wanted.parent, wanted.name.as_deref())
}

/// Whether `node`, called `name`, is the folder of generated files of a volume: unlike a folder of that name that was
/// on the volume it has no record.
pub(crate) fn is_generated(tree: &Tree, name: &[u8], node: &Attributes) -> bool {
    let record = || tree.xattr(node.inode, b"undelfs.record").ok().flatten();
    node.volatile || (name == GENERATED && node.kind == NodeKind::Directory && record().is_none())
}

/// Bytes of content in what the user named, as far as the directories can be listed.
pub(crate) fn measure(tree: &Tree, wanted: &Wanted) -> u64 {
    measure_with(first_level(tree, wanted), |directory| list(tree, directory, None))
}

fn measure_with(first: Result<Vec<Node>, Error>, list: impl Fn(Inode) -> Result<Vec<Node>, Error>) -> u64 {
    let mut bytes = 0_u64;
    let mut directories = Vec::new();
    let mut nodes = first.unwrap_or_default();
    loop {
        for node in nodes {
            match node.attributes.kind {
                NodeKind::Directory => directories.push(node.attributes.inode),
                NodeKind::File => bytes = bytes.saturating_add(node.attributes.size),
                NodeKind::Link => {}
            }
        }
        let Some(directory) = directories.pop() else {
            return bytes;
        };
        nodes = list(directory).unwrap_or_default();
    }
}

/// The entries of a directory, or of them only `only` and its streams. Streams come last, so that their files are
/// there.
pub(crate) fn list(tree: &Tree, directory: Inode, only: Option<&[u8]>) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    tree.read_dir(directory, 0, &mut |entry| {
        let asked_for = match only {
            Some(only) => entry.name.strip_prefix(only).is_some_and(|rest| matches!(rest, [] | [b':', ..])),
            None => !is_generated(tree, entry.name, &entry.attributes),
        };
        if asked_for && !matches!(entry.name, b"." | b"..") {
            nodes.push(Node { name: entry.name.to_vec(), attributes: entry.attributes, stream_of: None });
        }
        true
    })?;
    find_streams(tree, &mut nodes);
    nodes.retain(|node| only.is_none_or(|only| node.name == only || node.stream_of.as_deref() == Some(only)));
    nodes.sort_by_key(|node| node.stream_of.is_some());
    Ok(nodes)
}

/// Tells the streams `file:stream` from files whose own name has a colon: a stream has its file's record.
fn find_streams(tree: &Tree, nodes: &mut [Node]) {
    if !nodes.iter().any(|node| node.name.contains(&b':')) {
        return;
    }
    let record_of = |inode| tree.xattr(inode, b"undelfs.record").ok().flatten();
    let inodes: HashMap<Vec<u8>, Inode> =
        nodes.iter().map(|node| (node.name.clone(), node.attributes.inode)).collect();
    for node in nodes.iter_mut().filter(|node| node.attributes.kind == NodeKind::File) {
        let colons = node.name.iter().enumerate().filter(|(_, byte)| **byte == b':');
        for (colon, _) in colons {
            let file = node.name.get(..colon).unwrap_or_default();
            let Some(&inode) = inodes.get(file) else { continue };
            let record = record_of(node.attributes.inode);
            if record.is_some() && record == record_of(inode) {
                node.stream_of = Some(file.to_vec());
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use undelfs_source::ErrorKind;
    use undelfs_volume::filesystem::FileTime;

    use super::*;

    fn node(inode: u64, kind: NodeKind, size: u64) -> Node {
        let time = FileTime::default();
        let attributes = Attributes {
            inode: Inode(inode),
            kind,
            size,
            allocated: 0,
            links: 1,
            created: time,
            modified: time,
            changed: time,
            accessed: time,
            volatile: false,
        };
        Node { name: b"name".to_vec(), attributes, stream_of: None }
    }

    #[test]
    fn a_directory_that_cannot_be_listed_leaves_the_others_counted() {
        let first = vec![
            node(2, NodeKind::Directory, 0),
            node(3, NodeKind::Directory, 0),
            node(4, NodeKind::File, 10),
        ];
        let bytes = measure_with(Ok(first), |directory| match directory {
            Inode(3) => Err(Error::Refused { kind: ErrorKind::Damaged, reason: "planted".to_owned() }),
            _ => Ok(vec![node(5, NodeKind::File, 7)]),
        });
        assert_eq!(bytes, 17);
    }
}
