//! Reparse points: files that stand for something else.

use undelfs_source::{ErrorKind, bytes::u16_at, bytes::u32_at};
use undelfs_volume::filesystem::{LinkTarget, Refusal};

use crate::{name::to_wtf8, wof};

// Tags from MS-FSCC 2.1.2.1.
const MOUNT_POINT: u32 = 0xA000_0003;
const SYMLINK: u32 = 0xA000_000C;
const LX_SYMLINK: u32 = 0xA000_001D;
const WOF: u32 = 0x8000_0017;
const DEDUP: u32 = 0x8000_0013;
const HSM: u32 = 0xC000_0004;
const HSM2: u32 = 0x8000_0006;
const SIS: u32 = 0x8000_0007;
const WIM: u32 = 0x8000_0008;
const FILE_PLACEHOLDER: u32 = 0x8000_0015;
const WCI: u32 = 0x8000_0018;
const WCI_1: u32 = 0x9000_1018;
const PROJFS: u32 = 0x9000_001C;
const STORAGE_SYNC: u32 = 0x8000_001E;
const ONEDRIVE: u32 = 0x8000_0021;
/// All sixteen cloud tags have these bits; the others number the provider.
const CLOUD: u32 = 0x9000_001A;
const CLOUD_MASK: u32 = 0xFFFF_0FFF;

/// `FILE_ATTRIBUTE_OFFLINE` and `FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS`: the content is not on the volume.
const NOT_LOCAL: u32 = 0x1000 | 0x40_0000;

/// The symbolic link that ntfs-3g makes by default: a system file whose content begins so, then the target.
pub const INTERIX_LINK: &[u8] = b"IntxLNK\x01";

/// True for a tag of a symbolic link or junction.
pub fn is_link(tag: u32) -> bool {
    matches!(tag, MOUNT_POINT | SYMLINK | LX_SYMLINK)
}

/// The tag that the content of a `$REPARSE_POINT` begins with.
pub fn tag(content: &[u8]) -> Option<u32> {
    u32_at(content, 0)
}

/// Where a link points; `None` where the reparse point is no link or is damaged.
pub fn link_target(content: &[u8]) -> Option<LinkTarget> {
    let data = content.get(8..)?;
    match tag(content)? {
        LX_SYMLINK => Some(posix_target(data.get(4..)?)),
        SYMLINK => {
            let relative = u32_at(data, 8)? & 1 != 0;
            windows_target(substitute_name(data, 12)?, relative)
        }
        MOUNT_POINT => windows_target(substitute_name(data, 8)?, false),
        _ => None,
    }
}

/// The target of a link that ntfs-3g made, from the whole content of the file.
pub fn interix_target(content: &[u8]) -> Option<LinkTarget> {
    content.strip_prefix(INTERIX_LINK).map(|target| posix_target(&to_wtf8(target)))
}

fn posix_target(target: &[u8]) -> LinkTarget {
    match target.strip_prefix(b"/") {
        Some(_) => LinkTarget::Verbatim(target.to_vec()),
        None => LinkTarget::Relative(target.to_vec()),
    }
}

/// The name that Windows follows, in UTF-16LE; the names begin at `base` of the data.
fn substitute_name(data: &[u8], base: usize) -> Option<&[u8]> {
    let offset = usize::from(u16_at(data, 0)?);
    let length = usize::from(u16_at(data, 2)?);
    data.get(base..)?.get(offset..offset.checked_add(length)?)
}

fn windows_target(name: &[u8], relative: bool) -> Option<LinkTarget> {
    let name = to_wtf8(name);
    let slashes = |name: &[u8]| -> Vec<u8> {
        name.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect()
    };
    if name.is_empty() {
        return None;
    }
    if relative {
        return Some(match name.strip_prefix(b"\\") {
            Some(rooted) => LinkTarget::Rooted(slashes(rooted)),
            None => LinkTarget::Relative(slashes(&name)),
        });
    }
    let path = name.strip_prefix(br"\??\").unwrap_or(&name);
    match path {
        [drive, b':', b'\\', rest @ ..] if drive.is_ascii_alphabetic() => {
            Some(LinkTarget::Rooted(slashes(rest)))
        }
        _ => Some(LinkTarget::Verbatim(name)),
    }
}

/// What is the content of a file whose unnamed stream is not.
#[derive(Debug)]
pub enum Substitute {
    /// The stream that the Windows Overlay Filter compressed.
    Compressed(wof::Algorithm),
    /// Something that is not on the volume, or in a form that is not known.
    Elsewhere(Refusal),
}

/// What is the content of a file with this reparse point and these `FILE_ATTRIBUTE_*` bits; `None` where it is the
/// unnamed stream.
pub fn substitute(content: &[u8], attributes: u32) -> Option<Substitute> {
    let tag = tag(content)?;
    let absent = attributes & NOT_LOCAL != 0;
    let what = match tag {
        WOF => match wof::Algorithm::of_reparse_point(content) {
            Ok(algorithm) => return Some(Substitute::Compressed(algorithm)),
            Err(what) => what,
        },
        _ => elsewhere(tag, absent)?.to_owned(),
    };
    Some(Substitute::Elsewhere(Refusal {
        kind: ErrorKind::Unsupported,
        reason: format!("the content cannot be read: {what} (reparse tag {tag:#010x})"),
    }))
}

/// Whether the content of a file with this tag and these `FILE_ATTRIBUTE_*` bits is not on the volume, or only in the
/// chunk store of deduplication.
pub fn is_elsewhere(tag: u32, attributes: u32) -> bool {
    elsewhere(tag, attributes & NOT_LOCAL != 0).is_some()
}

/// Where the content of a file with this tag is, if it is not on the volume. `absent` is true where the attributes say
/// so: these files may be whole too.
fn elsewhere(tag: u32, absent: bool) -> Option<&'static str> {
    Some(match tag {
        DEDUP => "its content is in the chunk store of Data Deduplication, not in the file",
        SIS => "its content is in the common store of Single Instance Storage, not in the file",
        WIM => "its content is in a WIM image that was mounted, not in the file",
        HSM | HSM2 => "its content was moved to other storage (HSM); only a stub is on this volume",
        STORAGE_SYNC if absent => "its content was moved to Azure File Sync; only a stub is on this volume",
        FILE_PLACEHOLDER | ONEDRIVE if absent => {
            "it is a placeholder of OneDrive; its content is not on this volume"
        }
        WCI | WCI_1 if absent => {
            "it is a placeholder in a Windows container; its content is in the container's base image"
        }
        PROJFS if absent => {
            "it is a placeholder of the Windows Projected File System (such as VFS for Git); its content was never on \
             this volume"
        }
        _ if tag & CLOUD_MASK == CLOUD && absent => {
            "it is a placeholder of a cloud service; its content is not on this volume"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reparse(tag: u32, flags: Option<u32>, target: &str) -> Vec<u8> {
        let name: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut c = tag.to_le_bytes().to_vec();
        c.extend([0; 4]);
        c.extend([0, 0]);
        c.extend((name.len() as u16).to_le_bytes());
        c.extend([0; 4]);
        c.extend(flags.into_iter().flat_map(u32::to_le_bytes));
        c.extend(name);
        c
    }

    #[test]
    fn links_point_where_windows_would_follow_them() {
        let target = |c: &[u8]| link_target(c).unwrap();
        assert_eq!(target(&reparse(SYMLINK, Some(1), r"..\a\b")), LinkTarget::Relative(b"../a/b".to_vec()));
        assert_eq!(target(&reparse(SYMLINK, Some(1), r"\a")), LinkTarget::Rooted(b"a".to_vec()));
        assert_eq!(
            target(&reparse(SYMLINK, Some(0), r"\??\C:\Users\me")),
            LinkTarget::Rooted(b"Users/me".to_vec())
        );
        assert_eq!(target(&reparse(MOUNT_POINT, None, r"\??\D:\x\")), LinkTarget::Rooted(b"x/".to_vec()));
        let volume = r"\??\Volume{01234567-0000-0000-0000-100000000000}\";
        assert_eq!(
            target(&reparse(MOUNT_POINT, None, volume)),
            LinkTarget::Verbatim(volume.as_bytes().to_vec())
        );
    }

    #[test]
    fn links_of_linux_are_read() {
        let mut wsl = LX_SYMLINK.to_le_bytes().to_vec();
        wsl.extend([0, 0, 0, 0, 2, 0, 0, 0]);
        wsl.extend(b"dir/file");
        assert_eq!(link_target(&wsl), Some(LinkTarget::Relative(b"dir/file".to_vec())));
        let mut interix = INTERIX_LINK.to_vec();
        interix.extend("/etc/x".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(interix_target(&interix), Some(LinkTarget::Verbatim(b"/etc/x".to_vec())));
    }

    fn named(tag: u32, attributes: u32) -> Option<String> {
        match substitute(&tag.to_le_bytes(), attributes)? {
            Substitute::Elsewhere(refusal) => Some(refusal.reason),
            Substitute::Compressed(algorithm) => Some(algorithm.to_string()),
        }
    }

    #[test]
    fn content_that_is_elsewhere_is_refused_with_what_it_is() {
        const RECALL: u32 = 0x40_0000;
        for (tag, attributes, word) in [
            (DEDUP, 0, "Deduplication"),
            (SIS, 0, "Single Instance"),
            (WIM, 0, "WIM"),
            (HSM, 0, "HSM"),
            (HSM2, 0, "HSM"),
            (STORAGE_SYNC, RECALL, "Azure"),
            (ONEDRIVE, 0x1000, "OneDrive"),
            (FILE_PLACEHOLDER, 0x1000, "OneDrive"),
            (WCI_1, RECALL, "container"),
            (PROJFS, RECALL, "Projected"),
            (0x9000_601A, RECALL, "cloud"),
            (WOF, 0, "Overlay"),
        ] {
            let reason = named(tag, attributes).unwrap();
            assert!(reason.contains(word) && reason.contains(&format!("{tag:#010x}")), "{reason}");
        }
    }

    #[test]
    fn content_that_is_here_is_given() {
        for tag in [0x9000_601A, STORAGE_SYNC, ONEDRIVE, WCI, PROJFS, SYMLINK, 0x8000_001B] {
            assert_eq!(named(tag, 0x420), None, "{tag:#010x}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes: Vec<u8>, which in 0_usize..4) {
            let _ = link_target(&bytes);
            let tag = [MOUNT_POINT, SYMLINK, LX_SYMLINK, WOF][which];
            bytes.splice(..0, tag.to_le_bytes());
            let _ = link_target(&bytes);
            let _ = substitute(&bytes, 0);
        }
    }
}
