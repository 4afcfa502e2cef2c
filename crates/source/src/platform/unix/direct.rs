use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    sync::OnceLock,
};

use rustix::fs::{Mode, OFlags};

/// Alignment of the buffer in memory, in bytes: what the strictest device asks for.
const ALIGN: usize = 4096;

/// A second descriptor on a file that reads past the page cache, opened when first needed.
///
/// The page cache loses a whole page for one bad sector; reading past it tells which of its sectors are good.
#[derive(Debug, Default)]
pub(super) struct Direct(OnceLock<Option<File>>);

impl Direct {
    /// Fills `buf` from `offset` on, sector by sector, until the first that the medium cannot read; fewer bytes
    /// only where the file ends. `None` where the system does not allow to read past the page cache.
    pub(super) fn read_at(
        &self,
        file: &File,
        sector_size: u32,
        buf: &mut [u8],
        offset: u64,
    ) -> Option<io::Result<usize>> {
        let direct = self.0.get_or_init(|| reopen(file)).as_ref()?;
        let sector = usize::try_from(sector_size).ok()?;
        let mut memory = vec![0u8; sector.checked_add(ALIGN)?];
        let pad = memory.as_ptr().align_offset(ALIGN);
        let aligned = memory.get_mut(pad..pad.checked_add(sector)?)?;

        let mut done = 0usize;
        while done < buf.len() {
            let at = offset.checked_add(done as u64)?;
            let skip = usize::try_from(at % u64::from(sector_size)).ok()?;
            let read = match direct.read_at(aligned, at.checked_sub(skip as u64)?) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The file system wants larger units than the sector: it cannot tell more than its page cache.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return None,
                Err(error) => return Some(Err(error)),
            };
            let content = aligned.get(skip..read).unwrap_or_default();
            let target = buf.get_mut(done..)?;
            let n = content.len().min(target.len());
            target.get_mut(..n)?.copy_from_slice(content.get(..n)?);
            done = done.checked_add(n)?;
            if n == 0 || read < sector {
                break;
            }
        }
        Some(Ok(done))
    }
}

/// Opens what `file` is open on once more, for reading past the page cache.
fn reopen(file: &File) -> Option<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECT, Mode::empty()) {
        Ok(fd) => Some(File::from(fd)),
        Err(error) => {
            tracing::debug!("no reading past the page cache ({error}); a bad sector costs its whole page");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_page_cache_gives_the_same_bytes_at_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let data: Vec<u8> = (0..5_000u32).map(|i| (i * 31 / 7) as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let file = File::open(&path).unwrap();
        let direct = Direct::default();
        for (offset, len) in [(0, 512), (100, 4_000), (511, 2), (4_096, 2_000), (4_990, 50), (6_000, 10)] {
            let mut buf = vec![0xAA; len];
            let Some(read) = direct.read_at(&file, 512, &mut buf, offset) else {
                return; // The file system of this folder has no O_DIRECT.
            };
            let from = (offset as usize).min(data.len());
            let to = (from + len).min(data.len());
            assert_eq!(read.unwrap(), to - from, "at {offset}");
            assert_eq!(buf[..to - from], data[from..to], "at {offset}");
        }
    }
}
