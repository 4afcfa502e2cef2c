use std::{ops::Range, sync::Arc};

use crate::ReadError;

/// Bytes that can be read at any offset, from many threads at once.
///
/// There is no seeking state and an implementation holds no lock while it reads what is below it.
pub trait ReadAt: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on, and says how many there were: fewer than `buf.len()` only
    /// where the data end. On an error the content of `buf` is unspecified.
    ///
    /// # Errors
    /// [`ReadError`] when any byte of the range cannot be given. [`read_salvage`](ReadAt::read_salvage) gives
    /// the others.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError>;

    /// How many of the bytes can be there at all: less than [`size`](ReadAt::size) where the source was cut short.
    /// Whoever sizes work or memory by a volume goes by this, not by what the volume says of itself.
    fn present(&self) -> u64 {
        self.size()
    }

    /// Size in bytes of the smallest unit that the medium reads or loses, a power of two.
    fn sector_size(&self) -> u32 {
        512
    }

    /// The first byte from `offset` on that may be other than zero, [`size`](ReadAt::size) where there is none: what
    /// lies before it, such as a hole of a sparse image, is known to be zeros without being read. It costs no more
    /// than a system call.
    fn next_data(&self, offset: u64) -> u64 {
        offset
    }

    /// Fills the whole of `buf`.
    ///
    /// # Errors
    /// As [`read_at`](ReadAt::read_at), and [`ReadError::PastEnd`] where the data end too early.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
        let read = self.read_at(buf, offset)?;
        if read == buf.len() {
            return Ok(());
        }
        Err(ReadError::PastEnd { offset, len: buf.len() as u64, size: self.size() })
    }

    /// Fills `buf` as far as the medium allows. What cannot be read, because of an error or because the data
    /// end, is zero in `buf` and listed: ascending, not touching each other, in bytes from `offset`.
    fn read_salvage(&self, buf: &mut [u8], offset: u64) -> Vec<BadRange> {
        match self.read_at(buf, offset) {
            Ok(read) if read == buf.len() => Vec::new(),
            Ok(read) => {
                let missing = read.min(buf.len())..buf.len();
                buf.get_mut(missing.clone()).unwrap_or_default().fill(0);
                vec![BadRange { range: missing, error: None }]
            }
            Err(first) => salvage_sectors(self, buf, offset, first),
        }
    }
}

/// Bytes that could not be read.
#[derive(Debug)]
pub struct BadRange {
    /// Where, in the buffer that was asked for.
    pub range: Range<usize>,
    /// Why; `None` where the data end.
    pub error: Option<ReadError>,
}

/// Reads sector by sector what a large read could not.
fn salvage_sectors<R: ReadAt + ?Sized>(
    source: &R,
    buf: &mut [u8],
    offset: u64,
    first: ReadError,
) -> Vec<BadRange> {
    let sector = u64::from(source.sector_size().max(1));
    let mut bad: Vec<BadRange> = Vec::new();
    let mut first = Some(first);
    let mut at = 0;
    while at < buf.len() {
        let here = offset.saturating_add(at as u64);
        let step = usize::try_from(sector - here % sector).unwrap_or(usize::MAX).min(buf.len() - at);
        let Some(piece) = buf.get_mut(at..at + step) else {
            break;
        };
        let error = match source.read_at(piece, here) {
            Ok(read) if read == step => {
                at += step;
                continue;
            }
            Ok(read) => {
                piece.get_mut(read..).unwrap_or_default().fill(0);
                None
            }
            Err(error) => {
                piece.fill(0);
                Some(first.take().unwrap_or(error))
            }
        };
        match bad.last_mut() {
            Some(last) if last.range.end == at && last.error.is_some() == error.is_some() => {
                last.range.end = at + step;
            }
            _ => bad.push(BadRange { range: at..at + step, error }),
        }
        at += step;
    }
    bad
}

macro_rules! forward {
    ($($t:ty),*) => {$(
        impl<R: ReadAt + ?Sized> ReadAt for $t {
            fn size(&self) -> u64 {
                (**self).size()
            }
            fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
                (**self).read_at(buf, offset)
            }
            fn present(&self) -> u64 {
                (**self).present()
            }
            fn sector_size(&self) -> u32 {
                (**self).sector_size()
            }
            fn next_data(&self, offset: u64) -> u64 {
                (**self).next_data(offset)
            }
            fn read_salvage(&self, buf: &mut [u8], offset: u64) -> Vec<BadRange> {
                (**self).read_salvage(buf, offset)
            }
        }
    )*};
}
forward!(Arc<R>, &R, Box<R>);

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let rest = self.get(from..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        self.as_slice().read_at(buf, offset)
    }
}
