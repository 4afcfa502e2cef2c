//! Linux: read-only descriptors, `flock` for files, exclusive opens for block devices.

mod direct;
mod mounts;

use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, SeekFrom as Seeking, flock, ioctl_blksszget},
    io::Errno,
};

use crate::OpenError;
use direct::Direct;

/// Unit of the page cache in bytes: one bad sector makes a page of it unreadable.
const PAGE: u64 = 4096;
/// Sector size of an image file in bytes.
const IMAGE_SECTOR: u32 = 512;

/// What a user without the right to read a device can do.
pub(crate) const DEVICE_ADVICE: &str = "run as root, or join the group that owns the device (usually `disk`)";
/// What a user without the right to read an image can do.
pub(crate) const FILE_ADVICE: &str = "ask its owner for read permission, or run as the owner or as root";
/// What is to be named instead of a directory.
pub(crate) const DIRECTORY_ADVICE: &str =
    "name a disk image or a block device, for a mounted volume its device";
/// How a device is released that another program holds.
pub(crate) const RELEASE_ADVICE: &str =
    "release it (`cryptsetup close`, `vgchange -an`, `mdadm --stop`, `swapoff`, or end the program)";

/// Whether the medium, not the system or the caller, could not deliver: what block devices and the file systems
/// above them return for unreadable sectors.
pub(crate) fn is_medium_error(error: &io::Error) -> bool {
    const MEDIUM: [Errno; 7] = [
        Errno::IO,
        Errno::NODATA,
        Errno::ILSEQ,
        Errno::REMOTEIO,
        Errno::TIMEDOUT,
        Errno::BADMSG,
        Errno::UCLEAN,
    ];
    Errno::from_io_error(error).is_some_and(|errno| MEDIUM.contains(&errno))
}

/// Whether the process, or the system, has too many files open.
pub(crate) fn is_descriptor_limit(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// A file or block device, open for reading alone and locked until dropped.
#[derive(Debug)]
pub(crate) struct Handle {
    file: File,
    device: bool,
    size: u64,
    sector_size: u32,
    direct: Direct,
    /// Number of the page that the page cache could not read last; `u64::MAX` while all is well. A salvage that
    /// goes through it sector by sector need not wait for the medium's error each time.
    bad_page: AtomicU64,
}

impl Handle {
    /// Opens and locks `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        // Before the open, because opening a FIFO waits for a writer, and a terminal or a tape takes notice.
        let metadata = fs::metadata(path).map_err(|error| refusal(path, false, error))?;
        let kind = metadata.file_type();
        let device = kind.is_block_device();
        if kind.is_dir() {
            return Err(OpenError::Directory { path: path.to_owned() });
        }
        if !kind.is_file() && !device {
            let what = match () {
                () if kind.is_char_device() => "character device",
                () if kind.is_fifo() => "FIFO",
                () if kind.is_socket() => "socket",
                () => "special file",
            };
            return Err(OpenError::NotSeekable { path: path.to_owned(), what });
        }
        let file = if device { open_device(path, metadata.rdev())? } else { open_image(path)? };
        let size = (&file).seek(SeekFrom::End(0)).map_err(|error| refusal(path, device, error))?;
        let sector_size = if device { device_sector_size(&file) } else { IMAGE_SECTOR };
        Ok(Self {
            file,
            device,
            size,
            sector_size,
            direct: Direct::default(),
            bad_page: AtomicU64::new(u64::MAX),
        })
    }

    /// Whether it is a block device.
    pub(crate) fn is_device(&self) -> bool {
        self.device
    }

    /// Size in bytes, as it was when opened.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Logical sector size in bytes.
    pub(crate) fn sector_size(&self) -> u32 {
        self.sector_size
    }

    /// The first byte from `offset` on that is not in a hole of the file. Reads go by offsets of their own, so that the
    /// file's position, which this moves, means nothing.
    pub(crate) fn next_data(&self, offset: u64) -> u64 {
        if self.device {
            return offset;
        }
        match rustix::fs::seek(&self.file, Seeking::Data(offset)) {
            Ok(data) => data.clamp(offset, self.size.max(offset)),
            // Nothing but a hole follows.
            Err(Errno::NXIO) => self.size.max(offset),
            Err(_) => offset,
        }
    }

    /// Fills `buf` from `offset` on; fewer bytes only where the file ends. Fails only where a sector that the
    /// request touches is itself unreadable, as far as the system allows to tell.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_some(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_some(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let page = at / PAGE;
        let in_page = usize::try_from(PAGE - at % PAGE).unwrap_or(usize::MAX).min(buf.len());
        if self.bad_page.load(Ordering::Relaxed) == page
            && let Some(rescued) = self.rescue(buf, in_page, at)
        {
            return rescued;
        }
        match self.file.read_at(buf, at) {
            Err(error) if is_medium_error(&error) => {
                self.bad_page.store(page, Ordering::Relaxed);
                self.rescue(buf, in_page, at).unwrap_or(Err(error))
            }
            other => other,
        }
    }

    /// Reads the first `len` bytes of `buf` past the page cache, sector by sector.
    fn rescue(&self, buf: &mut [u8], len: usize, at: u64) -> Option<io::Result<usize>> {
        self.direct.read_at(&self.file, self.sector_size, buf.get_mut(..len)?, at)
    }
}

/// Opens an image file and takes a shared lock.
fn open_image(path: &Path) -> Result<File, OpenError> {
    // O_NONBLOCK has no effect on a regular file; should the name lead to a FIFO by now, the open returns.
    let file = open(path, OFlags::NONBLOCK).map_err(|error| refusal(path, false, error.into()))?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(OpenError::Locked { path: path.to_owned() }),
        // Some network and FUSE file systems have no locks; the image there is as readable as any other.
        Err(error @ (Errno::NOLCK | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL)) => {
            tracing::warn!(
                "{} cannot be locked ({error}); make sure that nothing writes to it",
                path.display()
            );
            Ok(file)
        }
        Err(error) => Err(refusal(path, false, error.into())),
    }
}

/// Opens a block device exclusively, so that nothing can mount it; where it is mounted read-only, without.
fn open_device(path: &Path, number: u64) -> Result<File, OpenError> {
    match open(path, OFlags::EXCL) {
        Ok(file) => return Ok(file),
        Err(Errno::BUSY) => {}
        Err(error) => return Err(refusal(path, true, error.into())),
    }
    let mounts = mounts::of_device(number).map_err(|error| refusal(path, true, error))?;
    if let Some(mount) = mounts.iter().find(|mount| mount.writable) {
        let (device, mount_point) = (mount.device.clone(), mount.mount_point.clone());
        return Err(OpenError::Mounted { path: path.to_owned(), device, mount_point });
    }
    let Some(mount) = mounts.first() else {
        return Err(OpenError::InUse { path: path.to_owned(), holders: mounts::holders(number) });
    };
    tracing::warn!(
        "{} is mounted read-only on {}; do not remount it read-write while it is open here",
        mount.device.display(),
        mount.mount_point.display()
    );
    open(path, OFlags::empty()).map_err(|error| refusal(path, true, error.into()))
}

/// The one way by which a source is opened: for reading.
fn open(path: &Path, more: OFlags) -> Result<File, Errno> {
    loop {
        match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | more, Mode::empty())
        {
            Ok(fd) => return Ok(File::from(fd)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Logical sector size of a block device in bytes; 512 where the device does not tell a possible one.
fn device_sector_size(file: &File) -> u32 {
    match ioctl_blksszget(file) {
        Ok(size) if size.is_power_of_two() && (512..=65536).contains(&size) => size,
        _ => IMAGE_SECTOR,
    }
}

fn refusal(path: &Path, device: bool, error: io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => OpenError::NotFound { path },
        io::ErrorKind::PermissionDenied => OpenError::PermissionDenied { path, device },
        _ => OpenError::Io { path, error },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, fcntl_getfl, mknodat};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    #[test]
    fn what_is_no_image_and_no_block_device_is_refused_by_name_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let refused = |path: &Path| match Handle::open(path).unwrap_err() {
            OpenError::NotSeekable { what, .. } => what,
            other => panic!("{other}"),
        };
        assert_eq!(refused(&fifo), "FIFO");
        assert_eq!(refused(&socket), "socket");
        assert_eq!(refused(Path::new("/dev/null")), "character device");
        assert!(matches!(Handle::open(dir.path()), Err(OpenError::Directory { .. })));
        assert!(matches!(Handle::open(&dir.path().join("none")), Err(OpenError::NotFound { .. })));
    }

    #[test]
    fn a_descriptor_can_only_read_and_is_not_inherited() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let handle = Handle::open(file.path()).unwrap();
        assert_eq!(fcntl_getfl(&handle.file).unwrap() & OFlags::RWMODE, OFlags::RDONLY);
        assert!(fcntl_getfd(&handle.file).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn errors_of_the_medium_are_told_from_errors_of_the_system() {
        assert!(is_medium_error(&Errno::IO.into()));
        assert!(is_medium_error(&Errno::NODATA.into()));
        assert!(!is_medium_error(&Errno::NOMEM.into()));
        assert!(!is_medium_error(&io::Error::other("made up")));
    }
}
