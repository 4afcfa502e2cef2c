//! Encrypted files on volumes that the host has mounted: what ntfs-3g calls their metadata and streams.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use undelfs_source::ErrorKind;

use crate::Error;

/// The `$EFS` attribute of a file, on a volume that ntfs-3g has mounted with `efs_raw`. Its other name,
/// `user.ntfs.efsinfo`, every file system would take.
pub(super) const METADATA: &str = "system.ntfs_efsinfo";

/// A path with something behind its last name.
pub(super) fn with_suffix(path: &Path, suffix: &[u8]) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(bytes_as_os(suffix));
    name.into()
}

#[cfg(unix)]
pub(super) fn bytes_as_os(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).to_owned()
}

#[cfg(not(unix))]
pub(super) fn bytes_as_os(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// Lets a file whose streams hold encrypted bytes be an encrypted file.
pub(super) fn set_metadata(path: &Path, metadata: &[u8]) -> Result<(), Error> {
    set_attribute(path, METADATA.as_bytes(), metadata).map_err(|error| {
        let reason = format!(
            "an encrypted file can be made only on NTFS that ntfs-3g has mounted with the option efs_raw ({error}); give a \
             key, so that it is decrypted"
        );
        Error::refused(ErrorKind::Unsupported, reason)
    })
}

#[cfg(unix)]
pub(super) fn set_attribute(path: &Path, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())?)
}

#[cfg(not(unix))]
pub(super) fn set_attribute(_: &Path, _: &[u8], _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Cluster size of the volume that a file stands on, in bytes.
#[cfg(unix)]
pub(super) fn cluster_size(file: &File) -> u64 {
    rustix::fs::fstatvfs(file).map_or(u64::MAX, |volume| volume.f_bsize.max(1))
}

#[cfg(not(unix))]
pub(super) fn cluster_size(_: &File) -> u64 {
    u64::MAX
}

/// Bytes that are free on the volume that a file stands on.
#[cfg(unix)]
pub(super) fn free_space(file: &File) -> u64 {
    rustix::fs::fstatvfs(file).map_or(0, |volume| volume.f_bavail.saturating_mul(volume.f_frsize.max(1)))
}

#[cfg(not(unix))]
pub(super) fn free_space(_: &File) -> u64 {
    u64::MAX
}

#[cfg(unix)]
pub(super) fn same_file(file: &File, path: &Path) -> bool {
    use std::{fs, os::unix::fs::MetadataExt};
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => place(one) == place(other),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(super) fn same_file(_: &File, _: &Path) -> bool {
    false
}
