//! The folders that files are restored into.

use std::{
    fs::{self, File, FileTimes, OpenOptions},
    io,
    os::windows::fs::{FileTimesExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use undelfs_restore::{
    Attributes,
    windows::names::{shown, to_wtf8},
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES,
};

use super::system;
use crate::{restore::NAME_MAX, times::system_time};

/// Longest stream that can be set, in bytes.
pub(crate) const STREAM_MAX: usize = 16 << 20;

/// A file that stands in DEST, by the numbers of its volume and on it.
pub(crate) type Identity = (u64, u64);

/// Whom everything that is written shall belong to: always whoever runs this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner;

impl Owner {
    pub(crate) fn of_this_process() -> Self {
        Self
    }
}

/// A folder, by a full path that may be as long as the system allows.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
}

impl Dir {
    /// Opens the folder `path`, and makes it when it is missing.
    pub(crate) fn create(path: &Path, _: Owner) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        // The full form of a path, which begins with `\\?\`, has no limit of 260 characters.
        Ok(Self { path: fs::canonicalize(path)? })
    }

    /// Opens the folder `name` in this one, and makes it when it is missing; true where it was. A link is no folder here.
    pub(crate) fn child(&self, name: &[u8]) -> io::Result<(Self, bool)> {
        let path = self.path(name);
        let made = match fs::create_dir(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        match fs::symlink_metadata(&path)?.is_dir() {
            true => Ok((Self { path }, made)),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The path of `name` in the folder.
    fn path(&self, name: &[u8]) -> PathBuf {
        self.path.join(host_name(name))
    }

    /// What stands under `name`, be it a dangling link.
    pub(crate) fn identity(&self, name: &[u8]) -> io::Result<Option<Identity>> {
        match open_itself(&self.path(name), FILE_READ_ATTRIBUTES) {
            Ok(file) => system::identity(&file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of the longest name that is sure to fit.
    pub(crate) fn name_max(&self) -> usize {
        NAME_MAX
    }

    /// A file that is removed unless it gets its name with [`name_file`](Dir::name_file).
    pub(crate) fn temporary(&self) -> io::Result<NamedTempFile> {
        temporary(&self.path, Owner)
    }

    /// Gives a finished file, or a link, its name; `replace` lets it take the place of another file, which stands
    /// until then.
    pub(crate) fn name_file<F>(&self, file: NamedTempFile<F>, name: &[u8], replace: bool) -> io::Result<()> {
        let path = self.path(name);
        let named = if replace { file.persist(path) } else { file.persist_noclobber(path) };
        named.map(drop).map_err(|error| error.error)
    }

    /// Makes a symbolic link; `replace` lets it take the place of another file.
    pub(crate) fn link(&self, name: &[u8], target: &[u8], replace: bool) -> io::Result<()> {
        let target = host_path(target);
        let link = builder().make_in(&self.path, |path| std::os::windows::fs::symlink_file(&target, path))?;
        self.name_file(link, name, replace)
    }

    /// Makes `name` another name of the file at `first`. False, and nothing is done, where that is no longer the file
    /// with this identity.
    pub(crate) fn hard_link(
        &self,
        name: &[u8],
        first: &Path,
        identity: Identity,
        replace: bool,
    ) -> io::Result<bool> {
        let link = builder().make_in(&self.path, |path| fs::hard_link(first, path))?;
        let there = open_itself(link.path(), FILE_READ_ATTRIBUTES)?;
        if system::identity(&there)? != identity {
            return Ok(false);
        }
        self.name_file(link, name, replace)?;
        Ok(true)
    }

    /// Gives the file `name` a named stream.
    pub(crate) fn set_stream(&self, name: &[u8], stream: &[u8], value: &[u8]) -> io::Result<()> {
        let mut path = self.path(name).into_os_string();
        path.push(":");
        path.push(host_name(stream));
        fs::write(path, value)
    }

    /// Gives `name`, which may be a symbolic link, the times of a node.
    pub(crate) fn set_times_of(&self, name: &[u8], node: &Attributes) -> io::Result<()> {
        open_itself(&self.path(name), FILE_WRITE_ATTRIBUTES)?.set_times(times(node))
    }

    /// Gives the folder the times of a node.
    pub(crate) fn set_times(&self, node: &Attributes) -> io::Result<()> {
        open_itself(&self.path, FILE_WRITE_ATTRIBUTES)?.set_times(times(node))
    }
}

/// Opens a file, a folder or a link, itself and not what it leads to.
fn open_itself(path: &Path, access: u32) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(access)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
}

/// A new file in `folder`, removed when it is dropped.
pub(crate) fn temporary(folder: &Path, _: Owner) -> io::Result<NamedTempFile> {
    builder().tempfile_in(folder)
}

/// A new file in `folder`, removed when it is dropped, that everybody may read who may read the folder.
pub(crate) fn public_temporary(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(prefix).tempfile_in(folder)
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".undelfs-");
    builder
}

pub(crate) fn identity_of(file: &File) -> io::Result<Identity> {
    system::identity(file)
}

/// Gives an open file the times of a node.
pub(crate) fn set_file_times(file: &File, node: &Attributes) -> io::Result<()> {
    file.set_times(times(node))
}

fn times(node: &Attributes) -> FileTimes {
    FileTimes::new()
        .set_created(system_time(node.created))
        .set_modified(system_time(node.modified))
        .set_accessed(system_time(node.accessed))
}

/// Opens the manifest that an earlier restore left, if there is one. Anything but a regular file cannot be replaced by
/// one, and a link would lead to somebody else's.
pub(crate) fn open_earlier(place: &Path) -> io::Result<Option<File>> {
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_file() => File::open(place).map(Some),
        Ok(_) => Err(io::Error::other(format!("{} is in the way and is no manifest", place.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name of the tree as this system can have it.
fn host_name(name: &[u8]) -> std::ffi::OsString {
    std::os::windows::ffi::OsStringExt::from_wide(&shown(name))
}

/// A path of the tree as one of this system.
pub(crate) fn host_path(path: &[u8]) -> PathBuf {
    let parts = path.split(|byte| *byte == b'/');
    parts.map(|part| if matches!(part, b"." | b"..") { lossless(part) } else { host_name(part) }).collect()
}

fn lossless(part: &[u8]) -> std::ffi::OsString {
    String::from_utf8_lossy(part).into_owned().into()
}

/// Whether `name` can be a file's name. What Windows cannot have is escaped; this stands between a mistake there and a
/// file outside of DEST.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let shown = to_wtf8(&shown(name));
    !matches!(&shown[..], b"" | b"." | b"..")
        && !shown.iter().any(|&byte| matches!(byte, b'/' | b'\\' | b':' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_its_times_and_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::create(folder.path(), Owner).unwrap();
        let file = dir.temporary().unwrap();
        let identity = identity_of(file.as_file()).unwrap();
        dir.name_file(file, b"a:b", false).unwrap();
        assert_eq!(dir.identity(b"a:b").unwrap(), Some(identity));
        assert!(folder.path().join("a%3Ab").is_file());
        assert_eq!(dir.identity(b"none").unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_exists_is_replaced_only_on_request_and_an_unfinished_one_disappears() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::create(folder.path(), Owner).unwrap();
        fs::write(folder.path().join("a"), b"old").unwrap();
        assert!(dir.name_file(dir.temporary().unwrap(), b"a", false).is_err());
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
        dir.name_file(dir.temporary().unwrap(), b"a", true).unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"");
        drop(dir.temporary().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_tree_deeper_than_260_characters_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let name = [b'd'; 100];
        let mut dir = Dir::create(folder.path(), Owner).unwrap();
        for _ in 0..8 {
            dir = dir.child(&name).unwrap().0;
        }
        dir.name_file(dir.temporary().unwrap(), b"file", false).unwrap();
        assert!(dir.identity(b"file").unwrap().is_some());
    }

    #[test]
    fn no_name_leads_out_of_a_folder() {
        for name in [&b".."[..], b"a/b", b"a\\b", b"C:", b"a\0b", b"NUL"] {
            let parts = host_name(name);
            assert_eq!(Path::new(&parts).components().count(), 1, "{name:?}");
            assert!(is_name(name), "{name:?}");
        }
        assert!(!is_name(b""));
    }
}
