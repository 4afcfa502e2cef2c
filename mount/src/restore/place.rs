//! The folders that files are restored into.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};
use tempfile::NamedTempFile;
use undelfs_restore::Attributes;

/// An open folder. Paths below it go through its descriptor: they are never longer than the system allows, however
/// deep the tree is, and a symbolic link that replaces a folder meanwhile leads nowhere.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// Opens the folder `path`, and makes it when it is missing.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Opens the folder `name` in this one, and makes it when it is missing. A symbolic link is no folder here.
    pub(crate) fn child(&self, name: &[u8]) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The folder itself.
    fn own_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// The path of `name` in the folder.
    pub(crate) fn path(&self, name: &[u8]) -> PathBuf {
        self.own_path().join(OsStr::from_bytes(name))
    }

    /// Whether there is something called `name`, be it a dangling link.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// A file that is removed unless it gets its name with [`name_file`](Dir::name_file).
    pub(crate) fn temporary(&self) -> io::Result<NamedTempFile> {
        temporary(&self.own_path())
    }

    /// Gives a finished file its name; `replace` lets it take the place of another file.
    pub(crate) fn name_file(&self, file: NamedTempFile, name: &[u8], replace: bool) -> io::Result<()> {
        let path = self.path(name);
        let named = if replace { file.persist(path) } else { file.persist_noclobber(path) };
        named.map(drop).map_err(|error| error.error)
    }

    /// Makes a symbolic link; `replace` removes another file of that name.
    pub(crate) fn link(&self, name: &[u8], target: &[u8], replace: bool) -> io::Result<()> {
        if replace {
            match fs::remove_file(self.path(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::os::unix::fs::symlink(OsStr::from_bytes(target), self.path(name))
    }

    /// Gives `name`, which may be a symbolic link, the times of a node.
    pub(crate) fn set_times_of(&self, name: &[u8], node: &Attributes) -> io::Result<()> {
        Ok(rustix::fs::utimensat(&self.0, name, &timestamps(node), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives the folder the times of a node.
    pub(crate) fn set_times(&self, node: &Attributes) -> io::Result<()> {
        Ok(rustix::fs::utimensat(CWD, self.own_path(), &timestamps(node), AtFlags::empty())?)
    }
}

/// A new file in `folder`, removed when it is dropped, with the permissions that any new file gets.
pub(crate) fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".undelfs-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
}

/// Gives an open file the times of a node.
pub(crate) fn set_file_times(file: &File, node: &Attributes) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &timestamps(node))?)
}

fn timestamps(node: &Attributes) -> Timestamps {
    let timespec = |time: undelfs_volume::filesystem::FileTime| {
        let (seconds, nanos) = time.unix();
        Timespec { tv_sec: seconds, tv_nsec: nanos.into() }
    };
    Timestamps { last_access: timespec(node.accessed), last_modification: timespec(node.modified) }
}

/// Whether `name` can be a file's name. The tree escapes what cannot; this stands between a mistake there and a
/// file outside of DEST.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_exists_is_replaced_only_on_request_and_an_unfinished_one_disappears() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::create(folder.path()).unwrap();
        fs::write(folder.path().join("a"), b"old").unwrap();
        assert!(dir.name_file(dir.temporary().unwrap(), b"a", false).is_err());
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"old");
        dir.name_file(dir.temporary().unwrap(), b"a", true).unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"");
        drop(dir.temporary().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_symbolic_link_in_the_place_of_a_folder_is_not_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("sub")).unwrap();
        let dir = Dir::create(folder.path()).unwrap();
        assert!(dir.child(b"sub").is_err());
    }

    #[test]
    fn a_tree_deeper_than_the_longest_path_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let name = [b'd'; 255];
        let mut dir = Dir::create(folder.path()).unwrap();
        for _ in 0..40 {
            dir = dir.child(&name).unwrap();
        }
        dir.name_file(dir.temporary().unwrap(), b"file", false).unwrap();
        assert!(dir.has(b"file"));
        drop(dir);
        // The standard library removes a tree through descriptors, too.
        folder.close().unwrap();
    }

    #[test]
    fn names_that_lead_out_of_a_folder_are_no_names() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
            assert!(!is_name(name), "{name:?}");
        }
        for name in [&b"..."[..], b"a:b", b"\xff", b" "] {
            assert!(is_name(name), "{name:?}");
        }
    }
}
