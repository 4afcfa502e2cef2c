//! Who holds a block device: mounts, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)), and the devices built on
//! it, by `/sys/dev/block` (sysfs).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::{major, makedev, minor};

/// Where a device, one of its partitions, or the disk that it is a part of is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The device, as the mount names it.
    pub(super) device: PathBuf,
    /// Where.
    pub(super) mount_point: PathBuf,
    /// Whether the super block may be written to, whatever this one mount allows.
    pub(super) writable: bool,
}

/// The mounts of every device that shares sectors with device `number`.
pub(super) fn of_device(number: u64) -> io::Result<Vec<Mount>> {
    let numbers = sharing(number);
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&b| b == b'\n')
        .filter_map(Entry::parse)
        .filter(|entry| numbers.contains(&entry.device_number()))
        .map(|entry| Mount { device: entry.source, mount_point: entry.mount_point, writable: entry.writable })
        .collect())
}

/// Names of the devices built on device `number` or on one of its partitions, such as `dm-0`, with the names
/// that their makers gave them.
pub(super) fn holders(number: u64) -> Vec<String> {
    let mut names: Vec<String> = sharing(number)
        .into_iter()
        .flat_map(|number| names_in(&sys_folder(number).join("holders")))
        .map(|holder| {
            let mapper = fs::read_to_string(Path::new("/sys/class/block").join(&holder).join("dm/name"));
            mapper.map_or_else(|_| holder.clone(), |name| format!("{holder} ({})", name.trim()))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn sys_folder(number: u64) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", major(number), minor(number)))
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// The device itself, its partitions, and the disk that it is a partition of.
fn sharing(number: u64) -> Vec<u64> {
    let folder = sys_folder(number);
    let mut numbers = vec![number];
    let number_in = |folder: &Path| parse_number(fs::read_to_string(folder.join("dev")).ok()?.trim());
    for name in names_in(&folder) {
        let partition = folder.join(name);
        if partition.join("partition").exists() {
            numbers.extend(number_in(&partition));
        }
    }
    if folder.join("partition").exists()
        && let Ok(real) = fs::canonicalize(&folder)
    {
        numbers.extend(real.parent().and_then(number_in));
    }
    numbers
}

fn parse_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

/// One line of mountinfo.
struct Entry {
    number: u64,
    mount_point: PathBuf,
    source: PathBuf,
    writable: bool,
}

impl Entry {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b' ');
        let number = parse_number(std::str::from_utf8(fields.nth(2)?).ok()?)?;
        let mount_point = unescape(fields.nth(1)?);
        // Optional fields end at a lone hyphen; file system type, source and super block options follow.
        let mut rest = fields.skip_while(|field| *field != b"-");
        let source = unescape(rest.nth(2)?);
        let mut options = rest.next()?.split(|&b| b == b',');
        Some(Self { number, mount_point, source, writable: options.any(|option| option == b"rw") })
    }

    /// The device's number. A file system that spans devices (Btrfs) has a number of its own with major 0, and
    /// only its source says where it is.
    fn device_number(&self) -> u64 {
        if major(self.number) == 0
            && self.source.is_absolute()
            && let Ok(metadata) = fs::metadata(&self.source)
        {
            return metadata.rdev();
        }
        self.number
    }
}

/// Undoes the octal escapes of blank, tab, newline and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail
            .get(..3)
            .filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_mount_of_a_writable_super_block_counts_as_writable() {
        let line =
            b"36 35 7:1 / /mnt/a\\040b ro,noatime shared:1 master:2 - ext4 /dev/loop1 rw,errors=continue";
        let entry = Entry::parse(line).unwrap();
        assert!(entry.writable);
        assert_eq!(entry.mount_point, Path::new("/mnt/a b"));
        assert_eq!(entry.source, Path::new("/dev/loop1"));
        assert_eq!(entry.device_number(), makedev(7, 1));
    }

    #[test]
    fn a_line_without_optional_fields_and_a_read_only_super_block_are_understood() {
        let entry = Entry::parse(b"36 35 8:17 / /mnt ro - ntfs3 /dev/sdb1 ro,uid=0").unwrap();
        assert!(!entry.writable);
    }

    #[test]
    fn lines_that_are_cut_short_are_passed_over() {
        let line = b"36 35 8:17 / /mnt rw - ext4 /dev/sdb1";
        for end in 0..=line.len() {
            assert!(Entry::parse(&line[..end]).is_none());
        }
    }

    #[test]
    fn escapes_that_are_none_stay_as_they_are() {
        assert_eq!(unescape(b"a\\134b\\09\\"), Path::new("a\\b\\09\\"));
    }
}
