//! What a caller calls a file: one that is mounted, or one on a volume in an image or device, whose path goes on behind
//! that of the image.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use undelfs_restore::{
    Attributes, Content, Context, Error, Import, Inode, NodeKind, Options, Selection, Tree, View,
    mounted_raw, ntfs_attributes, takes_encrypted, without_named_streams,
};
use undelfs_source::{ErrorKind, Source};

use super::{
    CREATE_FOR_DIR, CREATE_FOR_IMPORT, EFS_DROP_ALTERNATE_STREAMS, OVERWRITE_HIDDEN, context::Opened, keys,
};
use crate::{Code, source_name, threads::with_workers};

/// Opens the file of this name as the flags say. Flags that are not known are ignored, as MS-EFSR demands of servers.
pub(super) fn open(name: &[u8], flags: u32) -> Result<Opened, Code> {
    if name.is_empty() || name.contains(&0) {
        return Err(Code::INVALID_PARAMETER);
    }
    if flags & CREATE_FOR_IMPORT != 0 {
        return target(name, flags);
    }
    let path = on_host(name)?;
    let (content, is_directory) = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => in_image(&path)?,
        found => (mounted_raw(&path)?, found.is_ok_and(|metadata| metadata.is_dir())),
    };
    if flags & CREATE_FOR_DIR != 0 && !is_directory {
        return Err(Code::DIRECTORY);
    }
    Ok(Opened::Export(match flags & EFS_DROP_ALTERNATE_STREAMS {
        0 => content,
        _ => without_named_streams(content)?,
    }))
}

/// A name as a path of the host: those of Windows lead to devices, and on to files on them.
fn on_host(name: &[u8]) -> Result<PathBuf, Code> {
    let device = [&br"\\.\"[..], br"\\?\"].iter().find_map(|prefix| name.strip_prefix(*prefix));
    let (device, file) = match (device, name) {
        (Some(rest @ [letter, b':', after @ ..]), _) | (None, rest @ [letter, b':', after @ ..])
            if letter.is_ascii_alphabetic()
                && after.first().is_none_or(|byte| matches!(byte, b'\\' | b'/')) =>
        {
            (source_name::drive(*letter)?, rest.get(2..).unwrap_or_default())
        }
        (Some(rest), _) => (PathBuf::from("/dev"), rest),
        (None, name) => {
            let path = source_name::host_path(name.to_vec());
            let there = |path: &Path| {
                !fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            };
            let turned = source_name::host_path(slashes(name));
            return Ok(if !there(&path) && there(&turned) { turned } else { path });
        }
    };
    let file = slashes(file);
    let mut path = device;
    for part in file.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        if matches!(part, b"." | b"..") {
            return Err(Code::PATH_NOT_FOUND);
        }
        path.push(OsStr::from_bytes(part));
    }
    Ok(path)
}

fn slashes(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// The place of a file to be made.
fn target(name: &[u8], flags: u32) -> Result<Opened, Code> {
    /// `FILE_ATTRIBUTE_READONLY` and `FILE_ATTRIBUTE_HIDDEN`.
    const READ_ONLY: u32 = 1;
    const HIDDEN: u32 = 2;
    let path = source_name::host_path(name.to_vec());
    let directory = flags & CREATE_FOR_DIR != 0;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.file_name().is_none() || !folder.is_dir() {
        return Err(Code::PATH_NOT_FOUND);
    }
    if let Ok(there) = fs::symlink_metadata(&path) {
        let attributes = ntfs_attributes(&path).unwrap_or(0);
        match directory {
            true if !there.is_dir() => return Err(Code::DIRECTORY),
            false if there.is_dir() => return Err(Code::ACCESS_DENIED),
            false if attributes & READ_ONLY != 0 => return Err(Code::FILE_READ_ONLY),
            false if attributes & HIDDEN != 0 && flags & OVERWRITE_HIDDEN == 0 => {
                return Err(Code::ACCESS_DENIED);
            }
            _ => {}
        }
    }
    let keep_encrypted = takes_encrypted(folder);
    let keys = keys::all();
    if !keep_encrypted && keys.is_none() {
        return Err(Code::VOLUME_NOT_SUPPORT_EFS);
    }
    let drop_streams = flags & EFS_DROP_ALTERNATE_STREAMS != 0;
    Ok(Opened::Import(path, Import { keys, keep_encrypted, replace: true, drop_streams, directory }))
}

/// A content, and the volume that it is read from.
struct Held {
    content: Arc<dyn Content>,
    _tree: Tree,
}

impl Content for Held {
    fn size(&self) -> u64 {
        self.content.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        self.content.read_at(buf, offset)
    }
}

/// The raw backup stream of a file on a volume in an image or on a device, live or deleted; and whether it is a
/// directory.
fn in_image(path: &Path) -> Result<(Arc<dyn Content>, bool), Code> {
    // The first part of the path that is no directory is the image.
    let image = path.ancestors().skip(1).find(|path| path.exists()).ok_or(Code::PATH_NOT_FOUND)?;
    let inner = path.strip_prefix(image).map_err(|_| Code::PATH_NOT_FOUND)?;
    let source = Arc::new(Source::open(image).map_err(|error| Code(error.kind().win32()))?);
    let options = Options { view: View::All, ..Options::default() };
    let contexts = Context::open_all(source, &Selection::default(), &options, &[], &())?;
    for context in contexts.iter().filter(|context| context.closed().is_none()) {
        with_workers(|| context.scan(&()).map(|_| ()))??;
    }
    if contexts.iter().all(Context::is_locked) {
        return Err(Code::ACCESS_DENIED);
    }
    let tree = Tree::new(contexts)?;
    let found = find(&tree, inner)?;
    let content = tree.open_efs_raw(found.inode)?;
    Ok((Arc::new(Held { content, _tree: tree }), found.kind == NodeKind::Directory))
}

fn find(tree: &Tree, path: &Path) -> Result<Attributes, Code> {
    let mut found = tree.attributes(Inode::ROOT)?;
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else { return Err(Code::PATH_NOT_FOUND) };
        if found.kind != NodeKind::Directory {
            return Err(Code::PATH_NOT_FOUND);
        }
        let missing = if names.peek().is_none() { Code::FILE_NOT_FOUND } else { Code::PATH_NOT_FOUND };
        let entry = tree.lookup_any_case(found.inode, name.as_bytes());
        (_, found) = entry.map_err(|error| match error.kind() {
            ErrorKind::NotFound => missing,
            _ => error.into(),
        })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_windows_lead_to_devices_and_files_on_them() {
        let path = |name: &str| on_host(name.as_bytes());
        assert_eq!(path(r"\\.\sdb1\Users\me\a.txt"), Ok(PathBuf::from("/dev/sdb1/Users/me/a.txt")));
        assert_eq!(path(r"\\?\mapper\vg\a"), Ok(PathBuf::from("/dev/mapper/vg/a")));
        assert_eq!(path(r"\\.\..\etc\passwd"), Err(Code::PATH_NOT_FOUND));
        assert_eq!(path("/no/such/a\\b"), Ok(PathBuf::from("/no/such/a\\b")));
        assert_eq!(path("a:b"), Ok(PathBuf::from("a:b")));
    }

    #[test]
    fn an_empty_name_is_refused() {
        for flags in [0, CREATE_FOR_IMPORT] {
            assert_eq!(open(b"", flags).err(), Some(Code::INVALID_PARAMETER));
            assert_eq!(open(b"a\0b", flags).err(), Some(Code::INVALID_PARAMETER));
        }
    }

    #[test]
    fn a_place_that_cannot_hold_encrypted_files_is_refused_without_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| dir.path().join(name).into_os_string().into_encoded_bytes();
        assert_eq!(open(&name("a"), CREATE_FOR_IMPORT).err(), Some(Code::VOLUME_NOT_SUPPORT_EFS));
        assert_eq!(open(&name("no/a"), CREATE_FOR_IMPORT).err(), Some(Code::PATH_NOT_FOUND));
        assert_eq!(open(&name(""), CREATE_FOR_IMPORT).err(), Some(Code::ACCESS_DENIED));
        assert_eq!(open(&name("a"), 0).err(), Some(Code::FILE_NOT_FOUND));
        std::fs::write(dir.path().join("a"), b"plain").unwrap();
        assert_eq!(open(&name("a"), 0).err(), Some(Code(6007)));
        assert_eq!(open(&name("a"), CREATE_FOR_IMPORT | CREATE_FOR_DIR).err(), Some(Code::DIRECTORY));
        assert!(matches!(open(&name("a/b"), 0), Err(Code(code)) if code != 0 && code != 6007));
    }
}
