//! Whether a folder can be mounted on.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::mounts;
use crate::failure::Failure;

/// Checks that `folder` can be mounted on without hiding `source`, and gives its full path.
///
/// `source` is the full path of the source, without symbolic links.
pub(crate) fn check(folder: &Path, source: &Path) -> Result<PathBuf, Failure> {
    let shown = folder.display();
    let metadata = fs::metadata(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(format!("there is no folder {shown} to mount on; make it with `mkdir -p {shown}`"))
        }
        io::ErrorKind::NotConnected => Failure::new(format!(
            "on {shown} stands a mount whose program has ended; remove it with `undelfs umount {shown}`"
        )),
        _ => Failure::io("mount on", folder, &error),
    })?;
    let full = fs::canonicalize(folder).map_err(|error| Failure::io("mount on", folder, &error))?;
    if full == source {
        return Err(Failure::usage(format!(
            "{shown} is the source itself; name an empty folder to mount on"
        )));
    }
    if !metadata.is_dir() {
        return Err(Failure::new(format!("{shown} is not a folder; name an empty folder to mount on")));
    }
    if source.starts_with(&full) {
        return Err(Failure::new(format!(
            "the source {} lies inside {shown}, and a mount there would hide it; name another folder",
            source.display()
        )));
    }
    let mounted =
        mounts::at(&full).map_err(|error| Failure::new(format!("cannot list the mounts: {error}")))?;
    if mounted.is_some_and(|mount| mount.is_ours()) {
        return Err(Failure::new(format!(
            "a source is mounted on {shown} already; unmount it first with `undelfs umount {shown}`"
        )));
    }
    let holds_something = fs::read_dir(&full).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something {
        tracing::warn!("{shown} is not empty; what is in it is hidden until the unmount");
    }
    Ok(full)
}

/// The full path of a mount point, also of one whose program has ended, which cannot be looked into.
pub(crate) fn full_path(folder: &Path) -> io::Result<PathBuf> {
    if let Ok(full) = fs::canonicalize(folder) {
        return Ok(full);
    }
    let absolute = std::path::absolute(folder)?;
    match (absolute.parent().map(fs::canonicalize), absolute.file_name()) {
        (Some(Ok(parent)), Some(name)) => Ok(parent.join(name)),
        _ => Ok(absolute),
    }
}

/// `path` as it can be typed into a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if text.chars().all(plain) && !text.is_empty() {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("images")).unwrap();
        fs::create_dir(root.join("mnt")).unwrap();
        fs::write(root.join("images/disk.img"), b"x").unwrap();
        (dir, root)
    }

    #[test]
    fn an_empty_folder_elsewhere_is_accepted_and_its_full_path_given() {
        let (_dir, root) = world();
        let full = check(&root.join("images/../mnt"), &root.join("images/disk.img")).unwrap();
        assert_eq!(full, root.join("mnt"));
    }

    #[test]
    fn a_missing_folder_is_refused_with_the_command_that_makes_it() {
        let (_dir, root) = world();
        let failure = check(&root.join("nowhere"), &root.join("images/disk.img")).unwrap_err();
        assert!(failure.to_string().contains("mkdir -p"), "{failure}");
    }

    #[test]
    fn a_file_and_the_source_itself_are_refused() {
        let (_dir, root) = world();
        fs::write(root.join("file"), b"").unwrap();
        let source = root.join("images/disk.img");
        assert!(check(&root.join("file"), &source).unwrap_err().to_string().contains("not a folder"));
        assert!(check(&source, &source).unwrap_err().to_string().contains("the source itself"));
    }

    #[test]
    fn a_folder_that_contains_the_source_is_refused_also_through_a_link() {
        let (_dir, root) = world();
        std::os::unix::fs::symlink(root.join("images"), root.join("link")).unwrap();
        for folder in ["images", "link", ""] {
            let failure = check(&root.join(folder), &root.join("images/disk.img")).unwrap_err();
            assert!(failure.to_string().contains("would hide it"), "{folder}: {failure}");
        }
    }

    #[test]
    fn a_folder_whose_name_begins_like_the_sources_folder_is_accepted() {
        let (_dir, root) = world();
        fs::create_dir(root.join("image")).unwrap();
        assert!(check(&root.join("image"), &root.join("images/disk.img")).is_ok());
    }

    #[test]
    fn a_path_is_quoted_only_where_a_shell_would_break_it() {
        assert_eq!(quoted(Path::new("/mnt/a-b_1")), "/mnt/a-b_1");
        assert_eq!(quoted(Path::new("/mnt/a b")), "'/mnt/a b'");
        assert_eq!(quoted(Path::new("/mnt/it's")), r"'/mnt/it'\''s'");
    }
}
