//! What devices are asked with `DeviceIoControl` (winioctl.h), and the list of volumes. The only module of this crate
//! with unsafe code.

#![allow(unsafe_code, reason = "system calls")]

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Seek, SeekFrom},
    os::windows::{ffi::OsStringExt, io::AsRawHandle},
    path::PathBuf,
    ptr,
};

use windows_sys::Win32::{
    Foundation::INVALID_HANDLE_VALUE,
    Storage::FileSystem::{
        FindFirstVolumeW, FindNextVolumeW, FindVolumeClose, IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS,
    },
    System::{
        IO::DeviceIoControl,
        Ioctl::{
            FSCTL_ALLOW_EXTENDED_DASD_IO, FSCTL_LOCK_VOLUME, FSCTL_QUERY_ALLOCATED_RANGES,
            IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, IOCTL_DISK_GET_LENGTH_INFO,
        },
    },
};

/// Longest name of a volume in UTF-16 units: `\\?\Volume{GUID}\` and the zero have 50.
const VOLUME_NAME: usize = 64;

/// Most volumes that are looked at.
const MAX_VOLUMES: usize = 4096;

/// Size and sector size of a drive, in bytes.
pub(super) struct Geometry {
    pub(super) bytes: u64,
    pub(super) sector_size: u32,
}

/// Sends `code` with `input`, and gives how many bytes of `output` were filled.
fn control(file: &File, code: u32, input: &[u8], output: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0u32;
    let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    // SAFETY: the handle is open as long as `file` is borrowed; both buffers are valid for the lengths given, and
    // the call is synchronous, because no file here is opened for overlapped use.
    let done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            code,
            if input.is_empty() { ptr::null() } else { input.as_ptr().cast() },
            len(input.len()),
            if output.is_empty() { ptr::null_mut() } else { output.as_mut_ptr().cast() },
            len(output.len()),
            &mut filled,
            ptr::null_mut(),
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(filled).unwrap_or(usize::MAX).min(output.len()))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn short() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// Locks the volume until the handle is closed.
pub(super) fn lock_volume(file: &File) -> io::Result<()> {
    control(file, FSCTL_LOCK_VOLUME, &[], &mut []).map(drop)
}

/// Allows reading up to the end of the partition, not only to that of the file system.
pub(super) fn allow_extended_reads(file: &File) -> io::Result<()> {
    control(file, FSCTL_ALLOW_EXTENDED_DASD_IO, &[], &mut []).map(drop)
}

/// Size in bytes: GET_LENGTH_INFORMATION.
pub(super) fn length(file: &File) -> io::Result<u64> {
    let mut output = [0; 8];
    let filled = control(file, IOCTL_DISK_GET_LENGTH_INFO, &[], &mut output)?;
    output.get(..filled).and_then(|output| u64_at(output, 0)).ok_or_else(short)
}

/// DISK_GEOMETRY_EX: the geometry has 24 bytes and ends with the sector size; the size of the drive follows.
pub(super) fn geometry(file: &File) -> io::Result<Geometry> {
    let mut output = [0; 256];
    let filled = control(file, IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, &[], &mut output)?;
    let output = output.get(..filled).unwrap_or_default();
    let found = u32_at(output, 20).zip(u64_at(output, 24));
    found.map(|(sector_size, bytes)| Geometry { bytes, sector_size }).ok_or_else(short)
}

/// Where the system says that the device ends.
pub(super) fn end(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// The drives on which a volume lies: VOLUME_DISK_EXTENTS, a number of extents, and from byte 8 on each with the
/// number of its drive in the first 4 of its 24 bytes.
pub(super) fn drives_of(volume: &File) -> io::Result<Vec<u32>> {
    let mut output = [0; 8 + 24 * 64];
    let filled = control(volume, IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS, &[], &mut output)?;
    let output = output.get(..filled).unwrap_or_default();
    let count = usize::try_from(u32_at(output, 0).ok_or_else(short)?).unwrap_or(0);
    let extents = output.get(8..).unwrap_or_default().chunks_exact(24);
    Ok(extents.take(count).filter_map(|extent| u32_at(extent, 0)).collect())
}

/// The first byte from `offset` on that is stored, `size` where there is none: FILE_ALLOCATED_RANGE_BUFFER is an offset
/// and a length.
pub(super) fn next_allocated(file: &File, offset: u64, size: u64) -> Option<u64> {
    let asked = [offset.to_le_bytes(), size.checked_sub(offset)?.to_le_bytes()].concat();
    let mut output = [0; 16];
    let filled = match control(file, FSCTL_QUERY_ALLOCATED_RANGES, &asked, &mut output) {
        Ok(filled) => filled,
        // ERROR_MORE_DATA: the first range is there, and more could be had.
        Err(error) if error.raw_os_error() == Some(234) => output.len(),
        Err(_) => return None,
    };
    match filled {
        0 => Some(size),
        _ => Some(u64_at(output.get(..filled)?, 0)?.clamp(offset, size)),
    }
}

/// The names of all volumes, without the backslash at the end, as they can be opened.
pub(super) fn volumes() -> Vec<PathBuf> {
    let mut buffer = [0u16; VOLUME_NAME];
    let len = u32::try_from(buffer.len()).unwrap_or(0);
    let mut found = Vec::new();
    // SAFETY: the buffer is valid for the length given.
    let search = unsafe { FindFirstVolumeW(buffer.as_mut_ptr(), len) };
    if search == INVALID_HANDLE_VALUE {
        return found;
    }
    for _ in 0..MAX_VOLUMES {
        let name = buffer.split(|unit| *unit == 0).next().unwrap_or_default();
        let name = name.strip_suffix(&[u16::from(b'\\')]).unwrap_or(name);
        found.push(OsString::from_wide(name).into());
        // SAFETY: the search is open until it is closed below, and the buffer is valid for the length given.
        if unsafe { FindNextVolumeW(search, buffer.as_mut_ptr(), len) } == 0 {
            break;
        }
    }
    // SAFETY: the search was opened above and is closed once.
    unsafe { FindVolumeClose(search) };
    found
}
