//! The callbacks: each asks the tree and answers, and none of them can end the mount.

use std::{
    cell::RefCell,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use undelfs_restore::{Content, Error, Inode, Tree};
use undelfs_source::ErrorKind;

use super::attributes::{ABSENT, Owner, file_type, ttl};
use crate::contents::Contents;

/// Extended attribute of the root that says which process serves it. It can be read and is not listed.
pub(crate) const PROCESS_XATTR: &str = "user.undelfs.process";

/// Linux shows the extended attributes of ordinary files in this name space.
const XATTR_NAMESPACE: &[u8] = b"user.";

/// Longest extended attribute name, with its name space (xattr(7)).
const XATTR_NAME_MAX: usize = 255;

/// A name of 255 UTF-16 code units takes at most this many bytes of UTF-8.
const NAME_MAX: u32 = 765;

/// Smallest unit that a read past the page cache is cut at when the medium fails.
const SECTOR: usize = 512;

const GENERATION: Generation = Generation(0);

thread_local! {
    /// What a request reads goes through here, so that reading allocates nothing. As large as the largest request
    /// that the kernel has made on this thread, which is at most 1 MiB unless the administrator raised it.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A tree as a FUSE file system.
pub(crate) struct TreeFs {
    tree: Tree,
    owner: Owner,
    block_size: u32,
    direct_io: bool,
    /// The kernel can do without opening files.
    skip_open: bool,
    /// The kernel can do without opening directories.
    skip_opendir: bool,
    contents: Contents,
}

impl TreeFs {
    pub(crate) fn new(tree: Tree, owner: Owner, direct_io: bool) -> Self {
        let block_size = tree.space().block_size.max(512);
        Self {
            tree,
            owner,
            block_size,
            direct_io,
            skip_open: false,
            skip_opendir: false,
            contents: Contents::new(),
        }
    }

    /// The content of a file. That of one that changes is made anew for every read.
    fn content(&self, inode: Inode) -> Result<Arc<dyn Content>, Error> {
        if self.tree.attributes(inode)?.volatile {
            return self.tree.open(inode);
        }
        self.contents.get(inode, || self.tree.open(inode))
    }

    fn xattr(&self, inode: Inode, name: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if inode == Inode::ROOT && name == PROCESS_XATTR.as_bytes() {
            return Ok(Some(std::process::id().to_string().into_bytes()));
        }
        match name.strip_prefix(XATTR_NAMESPACE) {
            Some(name) => self.tree.xattr(inode, name),
            None => Ok(None),
        }
    }

    /// The names of a node's extended attributes, each ended by a zero byte as listxattr(2) wants them.
    fn xattr_list(&self, inode: Inode) -> Result<Vec<u8>, Error> {
        let mut list = Vec::new();
        for name in self.tree.xattr_names(inode)? {
            // Linux has no way to say such a name; as a file (`--streams files`) the stream can be had.
            if name.is_empty() || name.contains(&0) || name.len() + XATTR_NAMESPACE.len() > XATTR_NAME_MAX {
                continue;
            }
            list.extend_from_slice(XATTR_NAMESPACE);
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(list)
    }
}

/// Runs a callback. Where it panics its reply is dropped, which answers EIO, and the mount lives on.
fn shielded(what: &str, callback: impl FnOnce()) {
    if panic::catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!("{what} was answered with an input/output error because of an internal error");
    }
}

fn errno(error: &Error) -> Errno {
    tracing::debug!("{error}");
    Errno::from_i32(error.kind().errno())
}

/// Answers a request for an extended attribute or the list of them: its length when `size` is 0.
fn reply_xattr(value: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

/// Fills `buf` from `offset` on: fewer bytes than asked for are the end of the file to the kernel.
fn fill(content: &dyn Content, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match content.read_at(rest, offset.saturating_add(filled as u64))? {
            0 => break,
            read => filled += read.min(rest.len()),
        }
    }
    Ok(filled)
}

/// As [`fill`], for a reader past the page cache, who is told by a short read how far the medium can be read.
fn fill_up_to_damage(content: &dyn Content, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
    let error = match fill(content, buf, offset) {
        Ok(filled) => return Ok(filled),
        Err(error) => error,
    };
    let mut filled = 0;
    for sector in buf.chunks_mut(SECTOR) {
        match fill(content, sector, offset.saturating_add(filled as u64)) {
            Ok(read) if read == sector.len() => filled += read,
            Ok(read) => return Ok(filled + read),
            Err(_) => break,
        }
    }
    if filled == 0 { Err(error) } else { Ok(filled) }
}

/// Every request to change something: the tree is read-only however it is mounted.
macro_rules! refuse_writes {
    ($($name:ident($($arg:ty),*) -> $reply:ty;)*) => {$(
        #[allow(clippy::too_many_arguments, reason = "the trait's signature")]
        fn $name(&self, _: &Request, $(_: $arg,)* reply: $reply) {
            reply.error(Errno::EROFS);
        }
    )*};
}

impl Filesystem for TreeFs {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = InitFlags::FUSE_ASYNC_READ
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT
            | InitFlags::FUSE_AUTO_INVAL_DATA;
        if self.direct_io {
            wanted |= InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP;
        }
        // What an older kernel does not know it does without.
        let known = wanted & config.capabilities();
        self.skip_open =
            !self.direct_io && self.tree.sizes_tell_all() && known.contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.skip_opendir = known.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let _ = config.add_capabilities(known);
        // Enough read-ahead in flight to keep a slow source busy.
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        shielded("lookup", || match self.tree.lookup(Inode(parent.0), name.as_bytes()) {
            Ok(node) => {
                reply.entry(&ttl(&node), &self.owner.attributes(&node, self.block_size), GENERATION);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (attributes, ttl) = ABSENT;
                reply.entry(&ttl, &attributes, GENERATION);
            }
            Err(error) => reply.error(errno(&error)),
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        shielded("getattr", || match self.tree.attributes(Inode(ino.0)) {
            Ok(node) => reply.attr(&ttl(&node), &self.owner.attributes(&node, self.block_size)),
            Err(error) => reply.error(errno(&error)),
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        shielded("readlink", || match self.tree.read_link(Inode(ino.0)) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno(&error)),
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        shielded("open", || {
            if flags.acc_mode() != OpenAccMode::O_RDONLY {
                return reply.error(Errno::EROFS);
            }
            if self.skip_open {
                // Told so once, the kernel no longer asks: it reads, and keeps what it read in its page cache.
                return reply.error(Errno::ENOSYS);
            }
            match self.content(Inode(ino.0)) {
                Ok(_) => {
                    let cache = if self.direct_io {
                        FopenFlags::FOPEN_DIRECT_IO
                    } else {
                        FopenFlags::FOPEN_KEEP_CACHE
                    };
                    reply.opened(FileHandle(0), cache | FopenFlags::FOPEN_NOFLUSH);
                }
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        shielded("read", || {
            let content = match self.content(Inode(ino.0)) {
                Ok(content) => content,
                Err(error) => return reply.error(errno(&error)),
            };
            let direct = self.direct_io || flags.0 & rustix::fs::OFlags::DIRECT.bits().cast_signed() != 0;
            BUFFER.with_borrow_mut(|buffer| {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if buffer.len() < size {
                    buffer.resize(size, 0);
                }
                let buf = buffer.get_mut(..size).unwrap_or_default();
                let read = if direct {
                    fill_up_to_damage(&*content, buf, offset)
                } else {
                    fill(&*content, buf, offset)
                };
                match read {
                    Ok(read) => reply.data(buf.get(..read).unwrap_or_default()),
                    Err(error) => reply.error(errno(&error)),
                }
            });
        });
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.skip_opendir {
            // Told so once, the kernel no longer asks and keeps directory entries in its page cache.
            return reply.error(Errno::ENOSYS);
        }
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        shielded("readdir", || {
            let result = self.tree.read_dir(Inode(ino.0), offset, &mut |entry| {
                let node = &entry.attributes;
                let name = OsStr::from_bytes(entry.name);
                !reply.add(INodeNo(node.inode.0), entry.next, file_type(node.kind), name)
            });
            match result {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        shielded("readdirplus", || {
            let result = self.tree.read_dir(Inode(ino.0), offset, &mut |entry| {
                let node = &entry.attributes;
                let name = OsStr::from_bytes(entry.name);
                let attributes = self.owner.attributes(node, self.block_size);
                !reply.add(attributes.ino, entry.next, name, &ttl(node), &attributes, GENERATION)
            });
            match result {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(errno(&error)),
            }
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        shielded("statfs", || {
            let space = self.tree.space();
            reply.statfs(space.blocks, 0, 0, space.files, 0, self.block_size, NAME_MAX, self.block_size);
        });
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        shielded("getxattr", || match self.xattr(Inode(ino.0), name.as_bytes()) {
            Ok(Some(value)) => reply_xattr(&value, size, reply),
            Ok(None) => reply.error(Errno::NO_XATTR),
            Err(error) => reply.error(errno(&error)),
        });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        shielded("listxattr", || match self.xattr_list(Inode(ino.0)) {
            Ok(list) => reply_xattr(&list, size, reply),
            Err(error) => reply.error(errno(&error)),
        });
    }

    fn access(&self, _: &Request, _: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel has checked the modes (default_permissions).
        if mask.contains(AccessFlags::W_OK) { reply.error(Errno::EROFS) } else { reply.ok() }
    }

    refuse_writes! {
        setattr(
            INodeNo, Option<u32>, Option<u32>, Option<u32>, Option<u64>, Option<TimeOrNow>, Option<TimeOrNow>,
            Option<SystemTime>, Option<FileHandle>, Option<SystemTime>, Option<SystemTime>, Option<SystemTime>,
            Option<BsdFileFlags>
        ) -> ReplyAttr;
        mknod(INodeNo, &OsStr, u32, u32, u32) -> ReplyEntry;
        mkdir(INodeNo, &OsStr, u32, u32) -> ReplyEntry;
        unlink(INodeNo, &OsStr) -> ReplyEmpty;
        rmdir(INodeNo, &OsStr) -> ReplyEmpty;
        symlink(INodeNo, &OsStr, &Path) -> ReplyEntry;
        rename(INodeNo, &OsStr, INodeNo, &OsStr, RenameFlags) -> ReplyEmpty;
        link(INodeNo, INodeNo, &OsStr) -> ReplyEntry;
        write(INodeNo, FileHandle, u64, &[u8], WriteFlags, OpenFlags, Option<LockOwner>) -> ReplyWrite;
        setxattr(INodeNo, &OsStr, &[u8], i32, u32) -> ReplyEmpty;
        removexattr(INodeNo, &OsStr) -> ReplyEmpty;
        create(INodeNo, &OsStr, u32, u32, i32) -> ReplyCreate;
        fallocate(INodeNo, FileHandle, u64, u64, i32) -> ReplyEmpty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that count up, in pieces of at most `piece`, of which those from `bad` on fail.
    struct Counting {
        size: u64,
        piece: usize,
        bad: u64,
    }

    impl Content for Counting {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
            let len = self.size.saturating_sub(offset).min(buf.len().min(self.piece) as u64);
            if offset + len > self.bad {
                return Err(Error::Refused { kind: ErrorKind::Damaged, reason: "planted".to_owned() });
            }
            for (at, byte) in (offset..).zip(buf.iter_mut().take(len as usize)) {
                *byte = at as u8;
            }
            Ok(len as usize)
        }

        fn size(&self) -> u64 {
            self.size
        }
    }

    #[test]
    fn a_read_is_short_only_at_the_end_of_the_file() {
        let content = Counting { size: 10_000, piece: 700, bad: u64::MAX };
        let mut buf = vec![0; 4096];
        assert_eq!(fill(&content, &mut buf, 100).unwrap(), 4096);
        assert!(buf.iter().zip(100_u64..).all(|(byte, at)| *byte == at as u8));
        assert_eq!(fill(&content, &mut buf, 9000).unwrap(), 1000);
        assert_eq!(fill(&content, &mut buf, 10_000).unwrap(), 0);
        assert_eq!(fill(&content, &mut buf, u64::MAX - 1).unwrap(), 0);
    }

    #[test]
    fn a_read_through_the_page_cache_never_ends_short_before_damage() {
        let content = Counting { size: 10_000, piece: 10_000, bad: 2048 };
        assert_eq!(fill(&content, &mut [0; 4096], 0).unwrap_err().kind(), ErrorKind::Damaged);
    }

    #[test]
    fn a_read_past_the_page_cache_gives_every_sector_before_damage_and_then_an_error() {
        let content = Counting { size: 10_000, piece: 10_000, bad: 2048 };
        let mut buf = [0; 4096];
        assert_eq!(fill_up_to_damage(&content, &mut buf, 0).unwrap(), 2048);
        assert!(buf[..2048].iter().zip(0_u64..).all(|(byte, at)| *byte == at as u8));
        assert_eq!(fill_up_to_damage(&content, &mut buf, 2048).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
