//! From the tree's attributes to the kernel's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use undelfs_restore::{Attributes, Inode, NodeKind};

use crate::times::system_time;

/// How long the kernel may keep what cannot change: until the unmount, in practice.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the kernel may keep what it was told of a node.
pub(crate) fn ttl(attributes: &Attributes) -> Duration {
    if attributes.volatile { Duration::ZERO } else { FOREVER }
}

/// The answer to a look-up of a name that does not exist: inode 0 lets the kernel keep the absence.
pub(crate) const ABSENT: (FileAttr, Duration) = (
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    },
    FOREVER,
);

/// Whose the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The root directory is closed to everybody else.
    pub(crate) private: bool,
}

impl Owner {
    /// The kernel's attributes of a node.
    pub(crate) fn attributes(&self, node: &Attributes, block_size: u32) -> FileAttr {
        let perm = match node.kind {
            NodeKind::Directory if self.private && node.inode == Inode::ROOT => 0o500,
            NodeKind::Directory => 0o555,
            NodeKind::File => 0o444,
            NodeKind::Link => 0o777,
        };
        // A changed time tells the kernel that what it keeps of the content is old.
        let time = |time| if node.volatile { SystemTime::now() } else { system_time(time) };
        FileAttr {
            ino: INodeNo(node.inode.0),
            size: node.size,
            blocks: node.allocated.div_ceil(512),
            atime: time(node.accessed),
            mtime: time(node.modified),
            ctime: time(node.changed),
            crtime: system_time(node.created),
            kind: file_type(node.kind),
            perm,
            nlink: node.links,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: block_size,
            flags: 0,
        }
    }
}

pub(crate) fn file_type(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::Directory => FileType::Directory,
        NodeKind::File => FileType::RegularFile,
        NodeKind::Link => FileType::Symlink,
    }
}

#[cfg(test)]
mod tests {
    use undelfs_volume::filesystem::FileTime;

    use super::*;

    fn node(inode: Inode, kind: NodeKind) -> Attributes {
        Attributes {
            inode,
            kind,
            size: 513,
            allocated: 4097,
            links: 2,
            created: FileTime::default(),
            modified: FileTime::default(),
            changed: FileTime::default(),
            accessed: FileTime::default(),
            volatile: false,
        }
    }

    #[test]
    fn nothing_is_writable_and_only_a_private_root_is_closed_to_others() {
        let open = Owner { uid: 1000, gid: 1001, private: false };
        let closed = Owner { private: true, ..open };
        let root = node(Inode::ROOT, NodeKind::Directory);
        let inner = node(Inode(7), NodeKind::Directory);
        let file = node(Inode(8), NodeKind::File);
        assert_eq!(open.attributes(&root, 4096).perm, 0o555);
        assert_eq!(closed.attributes(&root, 4096).perm, 0o500);
        assert_eq!(closed.attributes(&inner, 4096).perm, 0o555);
        assert_eq!(closed.attributes(&file, 4096).perm, 0o444);
        assert_eq!((closed.attributes(&file, 4096).uid, closed.attributes(&file, 4096).gid), (1000, 1001));
    }

    #[test]
    fn allocated_bytes_are_counted_in_blocks_of_512_rounded_up() {
        let owner = Owner { uid: 0, gid: 0, private: false };
        let attributes = owner.attributes(&node(Inode(8), NodeKind::File), 4096);
        assert_eq!((attributes.size, attributes.blocks), (513, 9));
    }

    #[test]
    fn only_what_is_generated_is_asked_for_again() {
        let mut file = node(Inode(8), NodeKind::File);
        assert!(ttl(&file) >= Duration::from_secs(3600));
        file.volatile = true;
        assert_eq!(ttl(&file), Duration::ZERO);
    }
}
