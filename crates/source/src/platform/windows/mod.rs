//! Windows: shared locks on image files; volumes locked by `FSCTL_LOCK_VOLUME`, a drive by all volumes on it.
//!
//! Every handle may only read. The system takes a handle's locks back when it is closed, also when the process is
//! ended, so that none stays behind.

mod aligned;
mod control;
mod name;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::windows::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use windows_sys::Win32::{
    Foundation::{
        ERROR_ACCESS_DENIED, ERROR_CRC, ERROR_DEVICE_HARDWARE_ERROR, ERROR_DISK_CORRUPT, ERROR_FILE_CORRUPT,
        ERROR_INVALID_NAME, ERROR_IO_DEVICE, ERROR_LOCK_VIOLATION, ERROR_NOT_READY, ERROR_PATH_NOT_FOUND,
        ERROR_READ_FAULT, ERROR_SECTOR_NOT_FOUND, ERROR_SEEK, ERROR_SEM_TIMEOUT, ERROR_SHARING_VIOLATION,
        ERROR_TOO_MANY_OPEN_FILES, GENERIC_READ,
    },
    Storage::FileSystem::{FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE},
};

use crate::OpenError;
use name::{Device, Named};

/// Sector size of an image file in bytes.
const IMAGE_SECTOR: u32 = 512;

/// What a user without the right to read a device can do.
pub(crate) const DEVICE_ADVICE: &str = "start the terminal with \"Run as administrator\" and try again";
/// What a user without the right to read an image can do.
pub(crate) const FILE_ADVICE: &str = "ask its owner for read permission, or run as administrator";
/// What is to be named instead of a directory.
pub(crate) const DIRECTORY_ADVICE: &str =
    r"name a disk image or a device, for a mounted volume its device such as \\.\D:";
/// How a device is released that another program holds.
pub(crate) const RELEASE_ADVICE: &str = "close the files and programs that use it; the volume that Windows runs from can only be read from outside";

/// Whether the medium, not the system or the caller, could not deliver (MS-ERREF 2.2).
pub(crate) fn is_medium_error(error: &io::Error) -> bool {
    const MEDIUM: [u32; 9] = [
        ERROR_CRC,
        ERROR_SEEK,
        ERROR_SECTOR_NOT_FOUND,
        ERROR_READ_FAULT,
        ERROR_SEM_TIMEOUT,
        ERROR_DEVICE_HARDWARE_ERROR,
        ERROR_IO_DEVICE,
        ERROR_FILE_CORRUPT,
        ERROR_DISK_CORRUPT,
    ];
    is_one_of(error, &MEDIUM)
}

/// Whether the process, or the system, has too many files open.
pub(crate) fn is_descriptor_limit(error: &io::Error) -> bool {
    is_one_of(error, &[ERROR_TOO_MANY_OPEN_FILES])
}

fn is_one_of(error: &io::Error, codes: &[u32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code.cast_unsigned()))
}

/// A file or device, open for reading alone and locked until dropped.
#[derive(Debug)]
pub(crate) struct Handle {
    file: File,
    device: bool,
    size: u64,
    sector_size: u32,
    /// The volumes of a drive, locked as long as it is open.
    _volumes: Vec<File>,
}

impl Handle {
    /// Opens and locks `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        match name::parse(path) {
            Named::Device(device) => Self::open_device(path, &device),
            Named::File => Self::open_image(path),
        }
    }

    fn open_image(path: &Path) -> Result<Self, OpenError> {
        // A directory cannot be opened this way, and the system's error for it is that of a missing permission.
        if path.is_dir() {
            return Err(OpenError::Directory { path: path.to_owned() });
        }
        let file = open(path).map_err(|error| refusal(path, false, error))?;
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_owned() }),
            // Some network file systems have no locks; the image there is as readable as any other.
            Err(TryLockError::Error(error)) => tracing::warn!(
                "{} cannot be locked ({error}); make sure that nothing writes to it",
                path.display()
            ),
        }
        let size = file.metadata().map_err(|error| refusal(path, false, error))?.len();
        Ok(Self { file, device: false, size, sector_size: IMAGE_SECTOR, _volumes: Vec::new() })
    }

    fn open_device(path: &Path, device: &Device) -> Result<Self, OpenError> {
        let file = open(&device.path).map_err(|error| refusal(path, true, error))?;
        let volumes = match device.drive {
            // A shadow copy, or a volume by whatever name.
            None => {
                lock(&file, path, path)?;
                // Else the last sectors, behind the file system, could not be read.
                if let Err(error) = control::allow_extended_reads(&file) {
                    tracing::debug!("no reading behind the file system of {}: {error}", path.display());
                }
                Vec::new()
            }
            Some(number) => lock_volumes_of(number, path)?,
        };
        let geometry = control::geometry(&file);
        // Not every driver answers every question, and some answer with nothing.
        let told = [
            control::length(&file),
            geometry.as_ref().map_or(Ok(0), |geometry| Ok(geometry.bytes)),
            control::end(&file),
        ];
        let told = told.into_iter().filter_map(Result::ok).find(|size| *size > 0);
        let size = match told {
            Some(size) => size,
            None => aligned::probe(|piece, at| file.seek_read(piece, at))
                .map_err(|error| refusal(path, true, error))?,
        };
        let sector_size = geometry.ok().map(|geometry| geometry.sector_size);
        let possible = sector_size.filter(|size| size.is_power_of_two() && (512..=65536).contains(size));
        let sector_size = possible.unwrap_or(IMAGE_SECTOR);
        Ok(Self { file, device: true, size, sector_size, _volumes: volumes })
    }

    /// Whether it is a device.
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

    /// The first byte from `offset` on that is not in a hole of the file.
    pub(crate) fn next_data(&self, offset: u64) -> u64 {
        if self.device || offset >= self.size {
            return offset;
        }
        control::next_allocated(&self.file, offset, self.size).unwrap_or(offset)
    }

    /// Fills `buf` from `offset` on; fewer bytes only where the file ends.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if !self.device {
            return aligned::fill(buf, offset, |piece, at| self.file.seek_read(piece, at));
        }
        aligned::read(buf, offset, self.sector_size, self.size, |piece, at| self.file.seek_read(piece, at))
    }
}

/// The one way by which a source is opened: for reading.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(GENERIC_READ)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
        .open(path)
}

/// Locks a volume: from then on nobody else opens a file on it.
fn lock(file: &File, path: &Path, volume: &Path) -> Result<(), OpenError> {
    match control::lock_volume(file) {
        Ok(()) => Ok(()),
        // Files on it are open, or a program has locked it.
        Err(error)
            if is_one_of(&error, &[ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION]) =>
        {
            let holders = vec![format!("programs with open files on {}", volume.display())];
            Err(OpenError::InUse { path: path.to_owned(), holders })
        }
        // What has no file system has nothing to lock.
        Err(error) => {
            tracing::debug!("{} is not locked: {error}", volume.display());
            Ok(())
        }
    }
}

/// Locks every volume that has a part on drive `number`.
fn lock_volumes_of(number: u32, path: &Path) -> Result<Vec<File>, OpenError> {
    let mut locked = Vec::new();
    for name in control::volumes() {
        let Ok(volume) = open(&name) else { continue };
        if control::drives_of(&volume).is_ok_and(|drives| drives.contains(&number)) {
            lock(&volume, path, &name)?;
            locked.push(volume);
        }
    }
    Ok(locked)
}

fn refusal(path: &Path, device: bool, error: io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        _ if is_one_of(&error, &[ERROR_PATH_NOT_FOUND, ERROR_INVALID_NAME]) => OpenError::NotFound { path },
        _ if is_one_of(&error, &[ERROR_NOT_READY]) => OpenError::Empty { path, device: true },
        _ if is_one_of(&error, &[ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION]) => {
            OpenError::Locked { path }
        }
        io::ErrorKind::NotFound => OpenError::NotFound { path },
        io::ErrorKind::PermissionDenied => OpenError::PermissionDenied { path, device },
        _ => OpenError::Io { path, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_a_missing_file_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Handle::open(dir.path()), Err(OpenError::Directory { .. })));
        assert!(matches!(Handle::open(&dir.path().join("none")), Err(OpenError::NotFound { .. })));
        let device = Path::new(r"\\.\PhysicalDrive99");
        assert!(matches!(Handle::open(device), Err(OpenError::NotFound { .. })));
    }

    #[test]
    fn a_handle_can_only_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"content").unwrap();
        let handle = Handle::open(file.path()).unwrap();
        assert!(handle.file.seek_write(b"x", 0).is_err());
    }

    #[test]
    fn errors_of_the_medium_are_told_from_errors_of_the_system() {
        assert!(is_medium_error(&io::Error::from_raw_os_error(23)));
        assert!(!is_medium_error(&io::Error::from_raw_os_error(5)));
        assert!(!is_medium_error(&io::Error::other("made up")));
    }
}
