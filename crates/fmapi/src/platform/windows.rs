//! Windows: named streams are what they are; `GetLastError` of the system gives what a call has set.

#![allow(unsafe_code, reason = "system calls")]

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::windows::{ffi::OsStringExt, fs::OpenOptionsExt, io::AsRawHandle},
    path::{Path, PathBuf},
};

use windows_sys::Win32::{
    Foundation::SetLastError,
    Storage::FileSystem::{
        BY_HANDLE_FILE_INFORMATION, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
        FILE_READ_ATTRIBUTES, GetFileInformationByHandle,
    },
};

use crate::{Code, wide};

/// Where the source is that a caller calls so: the system knows its own devices.
pub(crate) fn resolve(name: &[u16]) -> Result<PathBuf, Code> {
    destination(name)
}

/// The path of a file.
pub(crate) fn destination(name: &[u16]) -> Result<PathBuf, Code> {
    if name.is_empty() || name.contains(&0) {
        return Err(Code::INVALID_PARAMETER);
    }
    Ok(OsString::from_wide(name).into())
}

/// Gives the file that was made at `path` a named stream.
pub(crate) fn set_stream(_: &File, path: &Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    let mut units = vec![u16::from(b':')];
    wide::push_utf16(name, &mut units);
    let mut stream = path.as_os_str().to_owned();
    stream.push(OsString::from_wide(&units));
    fs::write(stream, value)
}

/// Whether what stands at `path` is still the file that was made there; `None` where that file stands nowhere any more.
pub(crate) fn is_still(file: &File, path: &Path) -> Option<bool> {
    let Ok((made, links)) = identity(file) else { return Some(false) };
    let there = OpenOptions::new()
        .access_mode(FILE_READ_ATTRIBUTES)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path);
    match there.and_then(|there| identity(&there)) {
        Ok((there, _)) if there == made => Some(true),
        _ => (links != 0).then_some(false),
    }
}

/// The numbers of a file's volume and of it on the volume, and how many names it has.
fn identity(file: &File) -> io::Result<((u32, u32, u32), u32)> {
    let mut facts = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open as long as `file` is borrowed, and `facts` is valid for writing.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &mut facts) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let number = (facts.dwVolumeSerialNumber, facts.nFileIndexHigh, facts.nFileIndexLow);
    Ok((number, facts.nNumberOfLinks))
}

/// Sets what `GetLastError` gives to the caller.
pub(crate) fn set_last_error(code: u32) {
    // SAFETY: no pointers.
    unsafe { SetLastError(code) };
}
