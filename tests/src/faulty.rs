//! A medium with bad sectors: one file, served by FUSE without any cache, of which chosen sectors fail with EIO.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen,
    Request,
};
use tempfile::TempDir;

use crate::guard;

/// Sector size in bytes.
pub const SECTOR: u64 = 512;

const NAME: &str = "medium.img";
const FILE: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(3600);

/// A mounted faulty medium.
#[derive(Debug)]
pub struct FaultyMedium {
    dir: TempDir,
    session: Option<BackgroundSession>,
}

impl FaultyMedium {
    /// Serves `image` with the sectors in `bad` failing.
    pub fn new(image: &Path, bad: impl IntoIterator<Item = u64>) -> Self {
        let file = File::open(image).expect("the image");
        let size = file.metadata().expect("the image's size").len();
        let dir = guard::scratch();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("faulty".into())];
        config.n_threads = Some(2);
        let medium = Medium { file, size, bad: bad.into_iter().collect() };
        let session = fuser::spawn_mount(medium, dir.path(), &config).expect("a mounted medium");
        Self { dir, session: Some(session) }
    }

    /// The file that stands for the medium.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }
}

impl Drop for FaultyMedium {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.dir.path()).status();
        drop(self.session.take());
    }
}

struct Medium {
    file: File,
    size: u64,
    bad: BTreeSet<u64>,
}

impl Medium {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let root = inode == INodeNo::ROOT;
        FileAttr {
            ino: inode,
            size: if root { 0 } else { self.size },
            blocks: if root { 0 } else { self.size.div_ceil(SECTOR) },
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

impl Filesystem for Medium {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&TTL, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
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
        let end = (offset + u64::from(size)).min(self.size);
        let sectors = offset / SECTOR..end.div_ceil(SECTOR);
        if end > offset && self.bad.range(sectors).next().is_some() {
            return reply.error(Errno::EIO);
        }
        let mut buffer = vec![0; end.saturating_sub(offset) as usize];
        match self.file.read_exact_at(&mut buffer, offset) {
            Ok(()) => reply.data(&buffer),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if offset == 0 {
            let _full = reply.add(FILE, 1, FileType::RegularFile, NAME);
        }
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn exactly_the_bad_sectors_fail() {
        let dir = guard::scratch();
        let image = dir.path().join("image");
        let bytes: Vec<u8> = (0..64 * 512).map(|n| (n / 512) as u8).collect();
        std::fs::write(&image, &bytes).unwrap();
        let medium = FaultyMedium::new(&image, [7, 9]);
        let file = File::open(medium.path()).unwrap();
        for sector in 0..64 {
            let mut buffer = [0; 512];
            match file.read_exact_at(&mut buffer, sector * 512) {
                Ok(()) => assert_eq!(buffer, [sector as u8; 512]),
                Err(error) => assert!([7, 9].contains(&sector) && error.raw_os_error() == Some(5), "{error}"),
            }
        }
        assert!(file.read_exact_at(&mut [0; 4096], 4096).is_err());
    }
}
