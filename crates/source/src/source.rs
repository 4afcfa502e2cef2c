use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    ErrorKind, OpenError, ReadAt, ReadError,
    platform::{Handle, is_descriptor_limit, is_medium_error},
    split,
};

/// What a source is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A raw image in one file.
    Image,
    /// A raw image in several files.
    Split {
        /// Number of files, at least two.
        parts: usize,
    },
    /// A block device.
    Device,
}

/// An open image, set of split files or block device: read-only, and locked until it is dropped.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    kind: SourceKind,
    parts: Vec<Part>,
    size: u64,
    sector_size: u32,
}

/// One file of a source.
#[derive(Debug)]
struct Part {
    /// Offset of its first byte in the source.
    start: u64,
    /// Size in bytes.
    len: u64,
    handle: Handle,
}

impl Source {
    /// Opens and locks what `path` names: a raw image, any part of a split image (`.000` or `.001` and on), or a
    /// block device.
    ///
    /// An image gets a shared lock on each file. A block device is opened exclusively; where it is mounted read-only,
    /// without exclusion. On Windows a volume is locked (`FSCTL_LOCK_VOLUME`), of a drive all its volumes.
    ///
    /// # Errors
    /// [`OpenError`], with the reason and what the user can do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let paths = split::parts(path)?;
        let count = paths.len();
        let mut parts: Vec<Part> = Vec::with_capacity(count);
        let mut start = 0u64;
        for part in &paths {
            let handle = Handle::open(part).map_err(|error| match error {
                OpenError::Io { path, error } if count > 1 && is_descriptor_limit(&error) => {
                    OpenError::TooManyParts { path, parts: count }
                }
                other => other,
            })?;
            let len = handle.size();
            parts.push(Part { start, len, handle });
            start = start.saturating_add(len);
        }
        // An empty file is refused wherever it stands: in the middle of a set it would shift what follows.
        if let Some((part, path)) = parts.iter().zip(&paths).find(|(part, _)| part.len == 0) {
            return Err(OpenError::Empty { path: path.clone(), device: part.handle.is_device() });
        }
        warn_of_unequal_parts(&parts, &paths);
        let kind = match parts.first() {
            Some(only) if count == 1 && only.handle.is_device() => SourceKind::Device,
            _ if count == 1 => SourceKind::Image,
            _ => SourceKind::Split { parts: count },
        };
        let sector_size = parts.first().map_or(512, |part| part.handle.sector_size());
        Ok(Self { path: path.to_owned(), kind, parts, size: start, sector_size })
    }

    /// The path as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the source is made of.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// The error for a request of `len` bytes at `offset`.
    fn read_error(&self, error: io::Error, offset: u64, len: usize) -> ReadError {
        let what = self.path.display().to_string();
        let len = len as u64;
        if is_medium_error(&error) {
            return ReadError::Medium { what, offset, len, error };
        }
        ReadError::Refused {
            kind: ErrorKind::from(error.kind()),
            reason: format!(
                "cannot read {len} bytes at byte {offset} of {what}: {error}; check that the device, or the disk \
                 that holds the image, is still connected"
            ),
        }
    }
}

/// Splitting programs make all parts but the last equal; other sizes hint at a part that was cut short.
fn warn_of_unequal_parts(parts: &[Part], paths: &[PathBuf]) {
    let Some((_, full)) = parts.split_last() else {
        return;
    };
    let Some(first) = full.first() else { return };
    for (part, path) in full.iter().zip(paths) {
        if part.len != first.len {
            tracing::warn!(
                "{} has {} bytes, the first part {}; if it was cut short, all that follows is displaced: copy it again",
                path.display(),
                part.len,
                first.len
            );
        }
    }
}

impl ReadAt for Source {
    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn next_data(&self, offset: u64) -> u64 {
        let first = self.parts.partition_point(|part| part.start.saturating_add(part.len) <= offset);
        for part in self.parts.iter().skip(first) {
            let inside = offset.saturating_sub(part.start);
            let data = part.handle.next_data(inside);
            if data < part.len {
                return part.start.saturating_add(data);
            }
        }
        self.size.max(offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let asked = buf.len();
        let mut index = self.parts.partition_point(|part| part.start.saturating_add(part.len) <= offset);
        let mut done = 0usize;
        while let Some(part) = self.parts.get(index) {
            let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let inside = offset.saturating_add(done as u64).saturating_sub(part.start);
            let left = usize::try_from(part.len.saturating_sub(inside)).unwrap_or(usize::MAX);
            let want = left.min(rest.len());
            let piece = rest.get_mut(..want).unwrap_or_default();
            let read =
                part.handle.read_at(piece, inside).map_err(|error| self.read_error(error, offset, asked))?;
            done = done.saturating_add(read);
            // A file that shrank since it was opened ends the source here: the next part's bytes belong elsewhere.
            if read < want {
                break;
            }
            index = index.saturating_add(1);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        fs::File,
        io::{Seek, SeekFrom, Write},
    };

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn bytes(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    fn folder_with(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    #[test]
    fn an_image_reads_back_and_comes_short_only_at_its_end() {
        let data = bytes(10_000);
        let dir = folder_with(&[("a.img", &data)]);
        let source = Source::open(&dir.path().join("a.img")).unwrap();
        assert_eq!(source.kind(), SourceKind::Image);
        assert_eq!((source.size(), source.sector_size()), (10_000, 512));
        let mut buf = vec![0; 600];
        assert_eq!(source.read_at(&mut buf, 9_700).unwrap(), 300);
        assert_eq!(buf[..300], data[9_700..]);
        assert_eq!(source.read_at(&mut buf, 10_000).unwrap(), 0);
        assert_eq!(source.read_at(&mut buf, u64::MAX).unwrap(), 0);
    }

    #[test]
    fn a_read_crosses_the_boundaries_of_split_parts() {
        let data = bytes(2_500);
        let dir = folder_with(&[
            ("a.001", &data[..1000]),
            ("a.002", &data[1000..2000]),
            ("a.003", &data[2000..]),
            ("a.txt", b"no part"),
        ]);
        for named in ["a.001", "a.003"] {
            let source = Source::open(&dir.path().join(named)).unwrap();
            assert_eq!(source.kind(), SourceKind::Split { parts: 3 });
            assert_eq!(source.size(), 2_500);
            let mut buf = vec![0; 2_000];
            assert_eq!(source.read_at(&mut buf, 300).unwrap(), 2_000);
            assert_eq!(buf, data[300..2_300]);
            assert_eq!(source.read_at(&mut buf, 1_999).unwrap(), 501);
            assert_eq!(buf[..501], data[1_999..]);
        }
    }

    #[test]
    fn a_part_that_shrinks_never_lets_the_next_parts_bytes_slide_into_its_place() {
        let data = bytes(3_000);
        let dir = folder_with(&[("a.001", &data[..2000]), ("a.002", &data[2000..])]);
        let source = Source::open(&dir.path().join("a.001")).unwrap();
        let first = File::options().write(true).open(dir.path().join("a.001")).unwrap();
        first.set_len(1_500).unwrap();
        let mut buf = vec![0; 2_000];
        assert_eq!(source.read_at(&mut buf, 1_000).unwrap(), 500);
        assert_eq!(buf[..500], data[1_000..1_500]);
    }

    #[test]
    fn what_is_passed_over_as_a_hole_is_zeros_also_across_parts() {
        let dir = folder_with(&[]);
        let piece = 1u64 << 20;
        for (name, data_at) in [("a.001", Some(3)), ("a.002", None), ("a.003", Some(0))] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_len(5 * piece).unwrap();
            if let Some(at) = data_at {
                (&file).seek(SeekFrom::Start(at * piece + 100)).unwrap();
                (&file).write_all(b"data").unwrap();
            }
        }
        let source = Source::open(&dir.path().join("a.001")).unwrap();
        let mut at = 0;
        let mut passed = 0;
        let mut buf = vec![0; 4096];
        while at < source.size() {
            let data = source.next_data(at);
            assert!(data >= at && data <= source.size(), "{at} {data}");
            for hole in (at..data).step_by(buf.len()) {
                let read = source.read_at(&mut buf, hole).unwrap().min((data - hole) as usize);
                assert!(buf[..read].iter().all(|byte| *byte == 0), "not zero from {hole} on");
            }
            passed += data - at;
            at = data.saturating_add(4096).min(source.size());
        }
        // Whether the file system of this folder has holes at all is its own matter.
        assert!(passed == 0 || passed >= 5 * piece, "{passed}");
        assert_eq!(source.next_data(source.size()), source.size());
    }

    #[test]
    fn an_empty_file_is_refused_with_a_sentence() {
        let dir = folder_with(&[("a.img", b"")]);
        let error = Source::open(&dir.path().join("a.img")).unwrap_err();
        assert!(matches!(error, OpenError::Empty { device: false, .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }

    #[test]
    fn an_image_that_another_program_holds_exclusively_is_busy_until_released() {
        let dir = folder_with(&[("a.001", b"x"), ("a.002", b"y")]);
        let holder = File::open(dir.path().join("a.002")).unwrap();
        holder.try_lock().unwrap();
        let error = Source::open(&dir.path().join("a.001")).unwrap_err();
        assert!(matches!(&error, OpenError::Locked { path } if path.ends_with("a.002")), "{error}");
        assert_eq!(error.kind(), ErrorKind::Busy);
        drop(holder);
        Source::open(&dir.path().join("a.001")).unwrap();
    }

    #[test]
    fn an_open_source_lets_readers_in_and_keeps_exclusive_lockers_out_until_dropped() {
        let dir = folder_with(&[("a.img", b"content")]);
        let path = dir.path().join("a.img");
        let source = Source::open(&path).unwrap();
        let second = Source::open(&path).unwrap();
        let other = File::open(&path).unwrap();
        assert!(other.try_lock().is_err());
        drop((source, second));
        other.try_lock().unwrap();
    }

    proptest! {
        #[test]
        fn a_split_image_reads_as_its_joined_parts(
            lens in prop::collection::vec(1usize..700, 2..6),
            offset in 0usize..4_000,
            want in 0usize..4_000,
        ) {
            let data = bytes(lens.iter().sum());
            let dir = tempfile::tempdir().unwrap();
            let mut at = 0;
            for (i, len) in lens.iter().enumerate() {
                fs::write(dir.path().join(format!("p.{i:03}")), &data[at..at + len]).unwrap();
                at += len;
            }
            let source = Source::open(&dir.path().join("p.000")).unwrap();
            let mut split = vec![0; want];
            let mut joined = vec![0; want];
            let read = source.read_at(&mut split, offset as u64).unwrap();
            prop_assert_eq!(read, data.read_at(&mut joined, offset as u64).unwrap());
            prop_assert_eq!(split, joined);
        }
    }
}
