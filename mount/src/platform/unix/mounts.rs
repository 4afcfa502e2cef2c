//! What is mounted where, as the kernel lists it in `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// The subtype that every mount of this program carries.
pub(crate) const SUBTYPE: &str = "undelfs";

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// `major:minor` of the mounted file system.
    pub(crate) device: String,
    pub(crate) mount_point: PathBuf,
    /// File system type, with the subtype behind a dot.
    pub(crate) kind: String,
}

impl Mount {
    /// Whether this program serves it.
    pub(crate) fn is_ours(&self) -> bool {
        self.kind.strip_prefix("fuse.") == Some(SUBTYPE)
    }
}

/// All mounts of this mount namespace, in the order in which they were made.
pub(crate) fn list() -> io::Result<Vec<Mount>> {
    Ok(fs::read("/proc/self/mountinfo")?.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// What is mounted on exactly this folder; of several, the one that is seen.
pub(crate) fn at(mount_point: &Path) -> io::Result<Option<Mount>> {
    Ok(list()?.into_iter().rfind(|mount| mount.mount_point == mount_point))
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = fields.nth(2)?;
    let mount_point = fields.nth(1)?;
    // Optional fields come next; a lone hyphen ends them.
    fields.find(|field| *field == b"-")?;
    Some(Mount {
        device: String::from_utf8(device.to_vec()).ok()?,
        mount_point: OsString::from_vec(unescape(mount_point)).into(),
        kind: String::from_utf8_lossy(&unescape(fields.next()?)).into_owned(),
    })
}

/// Undoes the kernel's escapes: space, tab, newline and backslash stand as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.first_chunk::<3>().filter(|_| byte == b'\\').and_then(|digits| {
            digits.iter().try_fold(0_u16, |code, digit| match digit {
                b'0'..=b'7' => Some((code << 3) | u16::from(digit - b'0')),
                _ => None,
            })
        });
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(code) => {
                plain.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_device_mount_point_and_type_whatever_the_optional_fields() {
        let plain = b"36 35 0:45 / /mnt ro,nosuid - fuse.undelfs /x.img ro,user_id=0";
        let tagged = b"36 35 0:45 / /mnt ro,nosuid shared:7 master:2 - fuse.undelfs /x.img ro,user_id=0";
        for line in [&plain[..], &tagged[..]] {
            let mount = parse(line).unwrap();
            assert_eq!(mount.device, "0:45");
            assert_eq!(mount.mount_point, Path::new("/mnt"));
            assert!(mount.is_ours());
        }
    }

    #[test]
    fn another_file_system_is_not_taken_for_ours() {
        for kind in ["ext4", "fuse", "fuse.sshfs", "undelfs", "fuse.undelfs2"] {
            let line = format!("36 35 0:45 / /mnt rw - {kind} x rw");
            assert!(!parse(line.as_bytes()).unwrap().is_ours(), "{kind}");
        }
    }

    #[test]
    fn spaces_and_backslashes_in_a_mount_point_survive() {
        let mount = parse(b"1 2 0:3 / /a\\040b\\134c\\x - fuse.undelfs rw - tmpfs x rw").unwrap();
        assert_eq!(mount.mount_point, Path::new("/a b\\c\\x"));
    }

    #[test]
    fn a_line_that_is_cut_short_is_skipped() {
        for line in ["", "1 2", "1 2 0:3 / /mnt rw", "1 2 0:3 / /mnt rw -"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_running_system_lists_its_root() {
        assert!(at(Path::new("/")).unwrap().is_some());
    }
}
