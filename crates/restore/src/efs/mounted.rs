//! Raw backup streams of encrypted files on volumes that are mounted: by this program, or by ntfs-3g with `efs_raw`.

use std::{
    fs::{self, File},
    io, iter,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use rustix::{fs as sys, io::Errno};
use undelfs_efs::raw::{Export, MAGIC, Source};
use undelfs_source::{ErrorKind, ReadAt, ReadError};

use super::{
    SUFFIX,
    host::{self, METADATA},
};
use crate::{
    Content, Error,
    content::{Plain, push_range},
};

/// Bytes that are encrypted as one run.
const UNIT: u64 = undelfs_efs::UNIT as u64;
/// An attribute that each file has which this program shows, and one of those that are encrypted.
const SHOWN: &str = "user.undelfs.state";
const SHOWN_ENCRYPTED: &str = "user.undelfs.efs";
/// The names of a file's streams, on a volume of ntfs-3g that shows them as `file:stream`.
const STREAMS: &str = "ntfs.streams.list";
/// Bytes that are searched at once for what is not stored.
const STEP: usize = 1 << 20;

/// Opens the raw backup stream of an encrypted file that the host has mounted: one that `undelfs mount` shows, as it is
/// or as `NAME.efsraw`, or one on a volume that ntfs-3g has mounted with `efs_raw`.
///
/// # Errors
/// When there is no such file, it is not encrypted, or cannot be read.
pub fn mounted_raw(path: &Path) -> Result<Arc<dyn Content>, Error> {
    let beside = host::with_suffix(path, SUFFIX.as_bytes());
    let is_shown_raw = |path: &Path| has(path, SHOWN_ENCRYPTED) && begins_as_raw(path);
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // With `--efs raw` it has another name.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_shown_raw(&beside) => {
            return whole(&beside);
        }
        Err(error) => return Err(failed("open", path, &error)),
    };
    if has(path, SHOWN) {
        return match () {
            () if path.as_os_str().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) && is_shown_raw(path) => {
                whole(path)
            }
            () if beside.exists() && begins_as_raw(&beside) => whole(&beside),
            () => Err(not_encrypted(path)),
        };
    }
    let attribute = match value(path, METADATA) {
        Ok(attribute) => attribute,
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Err(not_encrypted(path)),
        Err(Errno::PERM | Errno::ACCESS) => {
            let reason = format!("{}: mount the volume with `ntfs-3g -o efs_raw`", path.display());
            return Err(Error::refused(ErrorKind::PermissionDenied, reason));
        }
        Err(errno) => return Err(failed("read the `$EFS` attribute of", path, &errno.into())),
    };
    let mut sources = Vec::new();
    if !metadata.is_dir() {
        sources.push(of_file(Vec::new(), path)?);
        for name in value(path, STREAMS).unwrap_or_default().split(|byte| *byte == 0) {
            if !name.is_empty() {
                sources.push(of_file(name.to_vec(), &host::with_suffix(path, &[b":", name].concat()))?);
            }
        }
        if sources.len() == 1 {
            sources.extend(of_attributes(path)?);
        }
    }
    let cluster = sys::statvfs(path).map_or(4096, |volume| u32::try_from(volume.f_bsize).unwrap_or(4096));
    let export = Export::new(&attribute, sources, cluster);
    Ok(Arc::new(Plain(export.map_err(|error| Error::refused(ErrorKind::Damaged, error.to_string()))?)))
}

/// Whether encrypted files can be made in a folder: it is on a volume that ntfs-3g has mounted with `efs_raw`.
pub fn takes_encrypted(folder: &Path) -> bool {
    matches!(value(folder, METADATA), Ok(_) | Err(Errno::NODATA))
}

/// `FILE_ATTRIBUTE_*` of a file on a volume of ntfs-3g.
pub fn ntfs_attributes(path: &Path) -> Option<u32> {
    value(path, "system.ntfs_attrib").ok()?.try_into().ok().map(u32::from_le_bytes)
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::refused(error.kind().into(), format!("cannot {what} {}: {error}", path.display()))
}

fn not_encrypted(path: &Path) -> Error {
    let reason = format!("{} is not encrypted by EFS; copy it as it is", path.display());
    Error::refused(ErrorKind::NotEncrypted, reason)
}

fn has(path: &Path, attribute: &str) -> bool {
    let mut none: [u8; 0] = [];
    sys::getxattr(path, attribute, &mut none).is_ok()
}

/// The value of an extended attribute.
fn value(path: &Path, attribute: &str) -> Result<Vec<u8>, Errno> {
    /// Longest value on Linux, in bytes. ntfs-3g gives no longer one either.
    const MAX: usize = 64 << 10;
    let mut value = vec![0; MAX];
    let len = sys::getxattr(path, attribute, &mut value)?;
    value.truncate(len);
    Ok(value)
}

fn begins_as_raw(path: &Path) -> bool {
    let mut begin = [0; MAGIC.len()];
    File::open(path).and_then(|file| file.read_exact_at(&mut begin, 0)).is_ok() && begin == MAGIC
}

fn whole(path: &Path) -> Result<Arc<dyn Content>, Error> {
    Ok(Arc::new(Plain(Opened::new(path)?)))
}

/// A stream that has a path, as ntfs-3g gives it: encrypted units, and behind them how many bytes of the last one are too
/// many.
fn of_file(name: Vec<u8>, path: &Path) -> Result<Source, Error> {
    let opened = Opened::new(path)?;
    let stored = opened.size.saturating_sub(2);
    let mut trailer = [0; 2];
    if opened.size > 0 {
        opened.read_exact_at(&mut trailer, stored)?;
    }
    let size = sized(opened.size, trailer, path)?;
    let ranges = stored_ranges(&opened, stored)?;
    let sparse = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum::<u64>() < stored;
    Ok(Source { name, size, valid: size, stored: Some(ranges), sparse, bytes: Arc::new(opened) })
}

/// The named streams, where ntfs-3g shows them as extended attributes.
fn of_attributes(path: &Path) -> Result<Vec<Source>, Error> {
    /// What attributes of the user begin with, and those that ntfs-3g has made of something else.
    const PREFIX: &[u8] = b"user.";
    const OTHERS: &[u8] = b"ntfs.";
    let mut list = vec![0; 64 << 10];
    let len = sys::listxattr(path, &mut list)
        .map_err(|errno| failed("list the streams of", path, &errno.into()))?;
    list.truncate(len);
    let names = list.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(PREFIX));
    let names = names.filter(|name| !name.is_empty() && !name.starts_with(OTHERS));
    let stream = |name: &[u8]| {
        let attribute = String::from_utf8_lossy(name).into_owned();
        let mut bytes = value(path, &format!("user.{attribute}"))
            .map_err(|errno| failed("read a named stream of", path, &errno.into()))?;
        let trailer = bytes.last_chunk().copied().unwrap_or_default();
        let size = sized(bytes.len() as u64, trailer, path)?;
        bytes.truncate(bytes.len().saturating_sub(2));
        let stored = iter::once(0..bytes.len() as u64).collect();
        Ok(Source {
            name: name.to_vec(),
            size,
            valid: size,
            stored: Some(stored),
            sparse: false,
            bytes: Arc::new(bytes),
        })
    };
    names.map(stream).collect()
}

/// The size of a stream whose units and trailer have `len` bytes.
fn sized(len: u64, trailer: [u8; 2], path: &Path) -> Result<u64, Error> {
    if len == 0 {
        return Ok(0);
    }
    let padding = u64::from(u16::from_le_bytes(trailer));
    let units =
        len.checked_sub(2).filter(|units| units.is_multiple_of(UNIT) && *units > padding && padding < UNIT);
    units.and_then(|units| units.checked_sub(padding)).ok_or_else(|| {
        let reason =
            format!("{} is not what ntfs-3g gives of an encrypted stream: {len} bytes", path.display());
        Error::refused(ErrorKind::Damaged, reason)
    })
}

/// The ranges of a stream that are stored: no encrypted unit is all zeros.
fn stored_ranges(bytes: &dyn ReadAt, len: u64) -> Result<Vec<Range<u64>>, Error> {
    let mut ranges = Vec::new();
    let mut buf = vec![0; STEP];
    let mut at = 0;
    while at < len {
        let step = usize::try_from(len.saturating_sub(at)).unwrap_or(STEP).min(STEP);
        let part = buf.get_mut(..step).unwrap_or_default();
        bytes.read_exact_at(part, at)?;
        for unit in part.chunks(undelfs_efs::UNIT) {
            let end = at.saturating_add(unit.len() as u64);
            if unit.iter().any(|byte| *byte != 0) {
                push_range(&mut ranges, at..end);
            }
            at = end;
        }
    }
    Ok(ranges)
}

/// A file of the host.
struct Opened {
    file: File,
    size: u64,
}

impl Opened {
    fn new(path: &Path) -> Result<Self, Error> {
        let opened = || {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            Ok(Self { file, size })
        };
        opened().map_err(|error: io::Error| failed("open", path, &error))
    }
}

impl ReadAt for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let mut done = 0_usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let reason = format!("cannot read at byte {offset}: {error}");
                    return Err(ReadError::Refused { kind: error.kind().into(), reason });
                }
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailer_says_how_many_bytes_of_the_last_unit_are_too_many() {
        let size = |len, padding: u16| sized(len, padding.to_le_bytes(), Path::new("file")).ok();
        assert_eq!(size(0, 7), Some(0));
        assert_eq!((size(514, 0), size(514, 511), size(1026, 455)), (Some(512), Some(1), Some(569)));
        for (len, padding) in [(1, 0), (2, 0), (512, 0), (513, 0), (514, 512), (1026, 512), (515, 0)] {
            assert_eq!(size(len, padding), None, "{len} bytes, {padding} too many");
        }
    }

    #[test]
    fn units_of_zeros_are_not_stored() {
        let mut bytes = vec![0; STEP + 4096];
        assert!(stored_ranges(&bytes, bytes.len() as u64).unwrap().is_empty());
        for at in [600, STEP - 1, STEP, STEP + 4095] {
            bytes[at] = 1;
        }
        let (step, end) = (STEP as u64, bytes.len() as u64);
        let expected = [512..1024, step - 512..step + 512, end - 512..end];
        assert_eq!(stored_ranges(&bytes, end).unwrap(), expected);
    }

    #[test]
    fn a_file_that_nobody_has_encrypted_is_named_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plain");
        fs::write(&path, [&MAGIC[..], b"it only begins so"].concat()).unwrap();
        assert_eq!(mounted_raw(&path).err().unwrap().kind(), ErrorKind::NotEncrypted);
        assert_eq!(mounted_raw(dir.path()).err().unwrap().kind(), ErrorKind::NotEncrypted);
        assert_eq!(mounted_raw(&dir.path().join("none")).err().unwrap().kind(), ErrorKind::NotFound);
        assert!(!takes_encrypted(dir.path()) && ntfs_attributes(&path).is_none());
    }
}
