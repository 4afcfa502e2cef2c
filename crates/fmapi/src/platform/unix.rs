//! Linux: named streams are extended attributes; a program asks this library for its last error.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Gives the file, which was made at a path, a named stream.
pub(crate) fn set_stream(file: &File, _: &Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    let name = [b"user.", name].concat();
    Ok(rustix::fs::fsetxattr(file, &name[..], value, rustix::fs::XattrFlags::empty())?)
}

/// Whether what stands at `path` is still the file that was made there; `None` where that file stands nowhere any more.
pub(crate) fn is_still(file: &File, path: &Path) -> Option<bool> {
    let Ok(made) = file.metadata() else { return Some(false) };
    match fs::symlink_metadata(path) {
        Ok(there) if (there.dev(), there.ino()) == (made.dev(), made.ino()) => Some(true),
        _ => (made.nlink() != 0).then_some(false),
    }
}

/// Does nothing: Linux has no last error of a thread that a library could set.
pub(crate) fn set_last_error(_: u32) {}
