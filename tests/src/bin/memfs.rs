//! The fastest that a `fuser` file system can be: files whose bytes are in memory already. The benchmark measures
//! reading through undelfs against it.
//!
//! Usage: `memfs MOUNTPOINT BYTES`. Serves `f0` to `f3`, each of that size, until it is unmounted.

use std::{
    ffi::OsStr,
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};

const TTL: Duration = Duration::from_secs(3600);
const FILES: u64 = 4;
/// Bytes in memory, larger than any request; every file repeats them.
const BLOCK: u64 = 64 << 20;

struct Memory {
    block: Vec<u8>,
    size: u64,
}

impl Memory {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let root = inode == INodeNo::ROOT;
        FileAttr {
            ino: inode,
            size: if root { 0 } else { self.size },
            blocks: self.size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o555 } else { 0o444 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Memory {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number = name.to_str().and_then(|name| name.strip_prefix('f')?.parse::<u64>().ok());
        match number.filter(|number| *number < FILES) {
            Some(number) => reply.entry(&TTL, &self.attributes(INodeNo(number + 2)), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = u64::from(size).min(self.size.saturating_sub(offset));
        let start = (offset % BLOCK).min(BLOCK - len.min(BLOCK));
        reply.data(&self.block[start as usize..(start + len) as usize]);
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for number in offset..FILES {
            if reply.add(INodeNo(number + 2), number + 1, FileType::RegularFile, format!("f{number}")) {
                break;
            }
        }
        reply.ok();
    }
}

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, size] = &args[..] else {
        return Err("usage: memfs MOUNTPOINT BYTES".into());
    };
    let size = size.parse().map_err(|error| format!("{size}: {error}"))?;
    let mut config = Config::default();
    config.mount_options = vec![MountOption::RO, MountOption::FSName("memfs".into())];
    config.n_threads = Some(std::thread::available_parallelism().map_or(4, |n| n.get().max(4)));
    config.clone_fd = true;
    let block = (0..BLOCK).map(|n| (n >> 9) as u8).collect();
    fuser::mount(Memory { block, size }, dir, &config).map_err(|error| error.to_string())
}
