//! The folders that files are restored into.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
    process::{Gid, Uid},
};
use tempfile::NamedTempFile;
use undelfs_restore::Attributes;

use crate::restore::NAME_MAX;

/// Longest stream that can be set, in bytes: a value of an extended attribute (xattr(7)).
pub(crate) const STREAM_MAX: usize = 64 << 10;

/// A file that stands in DEST, by the numbers of its device and inode.
pub(crate) type Identity = (u64, u64);

/// Whom everything that is written shall belong to, where that is not this process: the caller of sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(Option<(Uid, Gid)>);

impl Owner {
    pub(crate) fn of_this_process() -> Self {
        Self(super::sudo::caller().map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid))))
    }

    /// Gives away what stands at `path` below `dir`, itself and not what it may link to. File systems without owners
    /// refuse; what they hold is everybody's, or root's, anyway.
    fn give(self, dir: impl AsFd, path: impl rustix::path::Arg) {
        if let Some((uid, gid)) = self.0 {
            let given = rustix::fs::chownat(dir, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            if let Err(error) = given {
                tracing::info!("cannot give a restored file to the caller of sudo: {error}");
            }
        }
    }

    fn give_open(self, file: impl AsFd) {
        if let Some((uid, gid)) = self.0
            && let Err(error) = rustix::fs::fchown(file, Some(uid), Some(gid))
        {
            tracing::info!("cannot give a restored file to the caller of sudo: {error}");
        }
    }
}

/// An open folder. Paths below it go through its descriptor: they are never longer than the system allows, however
/// deep the tree is, and a symbolic link that replaces a folder meanwhile leads nowhere.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    owner: Owner,
}

impl Dir {
    /// Opens the folder `path`, and makes it when it is missing.
    pub(crate) fn create(path: &Path, owner: Owner) -> io::Result<Self> {
        let missing: Vec<&Path> =
            path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
        fs::create_dir_all(path)?;
        for made in missing {
            owner.give(CWD, made);
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::open(path, flags, Mode::empty())?, owner })
    }

    /// Opens the folder `name` in this one, and makes it when it is missing; true where it was. A symbolic link is no
    /// folder here.
    pub(crate) fn child(&self, name: &[u8]) -> io::Result<(Self, bool)> {
        let made = match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        if made {
            self.owner.give_open(&fd);
        }
        Ok((Self { fd, owner: self.owner }, made))
    }

    /// The folder itself.
    fn own_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd()).into()
    }

    /// The path of `name` in the folder.
    pub(crate) fn path(&self, name: &[u8]) -> PathBuf {
        self.own_path().join(OsStr::from_bytes(name))
    }

    /// What stands under `name`, be it a dangling link.
    ///
    /// # Errors
    /// `InvalidFilename` where the folder takes no name of that length or kind.
    pub(crate) fn identity(&self, name: &[u8]) -> io::Result<Option<Identity>> {
        match fs::symlink_metadata(self.path(name)) {
            Ok(there) => Ok(Some((there.dev(), there.ino()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of the longest name that is sure to fit.
    pub(crate) fn name_max(&self) -> usize {
        let said = rustix::fs::fstatvfs(&self.fd).map_or(0, |facts| facts.f_namemax);
        usize::try_from(said).unwrap_or(0).clamp(64, NAME_MAX)
    }

    /// A file that is removed unless it gets its name with [`name_file`](Dir::name_file).
    pub(crate) fn temporary(&self) -> io::Result<NamedTempFile> {
        temporary(&self.own_path(), self.owner)
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
        let target = OsStr::from_bytes(target);
        let link = builder().make_in(self.own_path(), |path| std::os::unix::fs::symlink(target, path))?;
        self.owner.give(CWD, link.path());
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
        let link = builder().make_in(self.own_path(), |path| fs::hard_link(first, path))?;
        let there = fs::symlink_metadata(link.path())?;
        if (there.dev(), there.ino()) != identity {
            return Ok(false);
        }
        self.name_file(link, name, replace)?;
        Ok(true)
    }

    /// Gives the file `name` a named stream: an extended attribute in the name space of users.
    pub(crate) fn set_stream(&self, name: &[u8], stream: &[u8], value: &[u8]) -> io::Result<()> {
        let attribute = [b"user.", stream].concat();
        Ok(rustix::fs::lsetxattr(self.path(name), attribute, value, rustix::fs::XattrFlags::empty())?)
    }

    /// Gives `name`, which may be a symbolic link, the times of a node.
    pub(crate) fn set_times_of(&self, name: &[u8], node: &Attributes) -> io::Result<()> {
        Ok(rustix::fs::utimensat(&self.fd, name, &timestamps(node), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives the folder the times of a node.
    pub(crate) fn set_times(&self, node: &Attributes) -> io::Result<()> {
        Ok(rustix::fs::utimensat(CWD, self.own_path(), &timestamps(node), AtFlags::empty())?)
    }
}

/// A new file in `folder`, removed when it is dropped, with the permissions that any new file gets.
pub(crate) fn temporary(folder: &Path, owner: Owner) -> io::Result<NamedTempFile> {
    let file = builder().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    owner.give_open(file.as_file());
    Ok(file)
}

/// A new file in `folder`, removed when it is dropped, that everybody may read.
pub(crate) fn public_temporary(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let file = builder.prefix(prefix).permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    if let Some((uid, gid)) = super::sudo::caller() {
        std::os::unix::fs::chown(file.path(), Some(uid), Some(gid))?;
    }
    Ok(file)
}

/// A path of the tree as one of this system.
pub(crate) fn host_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Opens the manifest that an earlier restore left, if there is one. A link would lead to somebody else's file, and
/// anything but a regular file cannot be replaced by one.
pub(crate) fn open_earlier(place: &Path) -> io::Result<Option<File>> {
    let in_the_way = || io::Error::other(format!("{} is in the way and is no manifest", place.display()));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(place, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(in_the_way()),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(in_the_way()) }
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".undelfs-");
    builder
}

pub(crate) fn identity_of(file: &File) -> io::Result<Identity> {
    let there = file.metadata()?;
    Ok((there.dev(), there.ino()))
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

    const NOBODY_ELSE: Owner = Owner(None);

    #[test]
    fn a_failed_link_leaves_the_file_that_it_was_to_replace() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::create(folder.path(), NOBODY_ELSE).unwrap();
        fs::write(folder.path().join("old"), b"old").unwrap();
        let old = dir.identity(b"old").unwrap().unwrap();
        let gone = folder.path().join("gone");
        assert!(dir.hard_link(b"old", &gone, old, true).is_err());
        assert!(dir.link(b"old", b"", true).is_err());
        assert_eq!(fs::read(folder.path().join("old")).unwrap(), b"old");
    }

    #[test]
    fn a_hard_link_is_made_only_to_the_very_file_that_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::create(folder.path(), NOBODY_ELSE).unwrap();
        let first = folder.path().join("first");
        fs::write(&first, b"first").unwrap();
        fs::write(folder.path().join("old"), b"old").unwrap();
        let identity = dir.identity(b"first").unwrap().unwrap();
        let other = (identity.0, identity.1 + 1);
        assert!(!dir.hard_link(b"old", &first, other, true).unwrap());
        assert_eq!(fs::read(folder.path().join("old")).unwrap(), b"old");
        assert!(dir.hard_link(b"old", &first, identity, false).is_err());
        assert!(dir.hard_link(b"old", &first, identity, true).unwrap());
        assert_eq!(dir.identity(b"old").unwrap(), Some(identity));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_exists_is_replaced_only_on_request_and_an_unfinished_one_disappears() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::create(folder.path(), NOBODY_ELSE).unwrap();
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
        let dir = Dir::create(folder.path(), NOBODY_ELSE).unwrap();
        assert!(dir.child(b"sub").is_err());
    }

    #[test]
    fn a_tree_deeper_than_the_longest_path_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let name = [b'd'; 255];
        let mut dir = Dir::create(folder.path(), NOBODY_ELSE).unwrap();
        for _ in 0..40 {
            dir = dir.child(&name).unwrap().0;
        }
        dir.name_file(dir.temporary().unwrap(), b"file", false).unwrap();
        assert!(dir.identity(b"file").unwrap().is_some());
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
