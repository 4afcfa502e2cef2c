//! Whether something can be mounted on a drive letter or a folder.

use std::{
    fs, io,
    path::{Component, Path, PathBuf, Prefix},
};

use super::system;
use crate::failure::Failure;

/// A drive such as `X:`, in upper case, where `path` is one.
fn drive(path: &Path) -> Option<char> {
    let mut components = path.components();
    let Some(Component::Prefix(prefix)) = components.next() else { return None };
    let only = matches!(components.as_path().as_os_str().as_encoded_bytes(), b"" | b"\\" | b"/");
    match prefix.kind() {
        Prefix::Disk(letter) if only => Some(char::from(letter).to_ascii_uppercase()),
        _ => None,
    }
}

/// Checks that `wanted` can be mounted on without hiding `source`, and gives it as WinFsp takes it: a drive letter with
/// a colon, or the full path of a folder.
///
/// `source` is the full path of the source.
pub(crate) fn check(wanted: &Path, source: &Path) -> Result<PathBuf, Failure> {
    let shown = wanted.display();
    if let Some(letter) = drive(wanted) {
        let bit = u32::from(letter).wrapping_sub(u32::from('A'));
        if system::drives().checked_shr(bit).unwrap_or(0) & 1 != 0 {
            return Err(Failure::new(format!("the drive {letter}: is in use; name another letter")));
        }
        return Ok(PathBuf::from(format!("{letter}:")));
    }
    let full = std::path::absolute(wanted).map_err(|error| Failure::io("mount on", wanted, &error))?;
    if full == source {
        return Err(Failure::usage(format!("{shown} is the source itself; name a drive letter such as X:")));
    }
    let parent = full.parent().ok_or_else(|| Failure::usage(format!("{shown} cannot be mounted on")))?;
    if !parent.is_dir() {
        return Err(Failure::new(format!("there is no folder {} to mount in", parent.display())));
    }
    match fs::symlink_metadata(&full) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(full),
        Err(error) => Err(Failure::io("mount on", wanted, &error)),
        Ok(there) if !there.is_dir() => {
            Err(Failure::new(format!("{shown} is not a folder; name a folder, or a drive letter such as X:")))
        }
        Ok(_) if fs::read_dir(&full).is_ok_and(|mut entries| entries.next().is_none()) => Ok(full),
        Ok(_) => Err(Failure::new(format!(
            "{shown} is not empty, or something is mounted on it; name an empty folder, or a drive letter such as X:"
        ))),
    }
}

/// The mount point that the user means, as [`check`] gave it when it was mounted on.
pub(crate) fn full_path(wanted: &Path) -> io::Result<PathBuf> {
    match drive(wanted) {
        Some(letter) => Ok(PathBuf::from(format!("{letter}:"))),
        None => std::path::absolute(wanted),
    }
}

/// `path` as it can be typed into a command prompt.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || r"\/._-+:@~".contains(c);
    if text.chars().all(plain) && !text.is_empty() { text.into_owned() } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_is_a_letter_and_a_colon_and_nothing_else() {
        for (path, letter) in
            [("x:", Some('X')), (r"X:\", Some('X')), (r"X:\a", None), ("x", None), (r"\\.\X:", None)]
        {
            assert_eq!(drive(Path::new(path)), letter, "{path}");
        }
    }

    #[test]
    fn a_drive_in_use_and_a_folder_with_something_in_it_are_refused() {
        let source = Path::new(r"C:\image");
        assert!(check(Path::new("c:"), source).unwrap_err().to_string().contains("in use"));
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("mnt");
        assert_eq!(check(&folder, source).unwrap(), folder);
        fs::create_dir(&folder).unwrap();
        assert_eq!(check(&folder, source).unwrap(), folder);
        fs::write(folder.join("a"), b"").unwrap();
        assert!(check(&folder, source).unwrap_err().to_string().contains("not empty"));
        assert!(check(&folder.join("a"), source).unwrap_err().to_string().contains("not a folder"));
        assert!(check(&dir.path().join("x/y"), source).unwrap_err().to_string().contains("no folder"));
    }

    #[test]
    fn a_path_is_quoted_only_where_a_command_prompt_would_break_it() {
        assert_eq!(quoted(Path::new(r"C:\mnt\a-b_1")), r"C:\mnt\a-b_1");
        assert_eq!(quoted(Path::new(r"C:\mnt\a b")), "\"C:\\mnt\\a b\"");
    }
}
