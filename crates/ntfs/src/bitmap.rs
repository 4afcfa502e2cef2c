//! `$Bitmap` in other clusters than its own.

use std::sync::Arc;

use undelfs_source::{ReadAt, ReadError};

/// Bytes of the bitmap that are read at once.
const PIECE: usize = 4096;

/// A bitmap each of whose bits stands for several smaller clusters, as one that has a bit for each of those.
pub(crate) struct Spread {
    bitmap: Arc<dyn ReadAt>,
    /// How many of the smaller clusters a bit stands for.
    factor: u64,
}

impl Spread {
    pub(crate) fn new(bitmap: Arc<dyn ReadAt>, factor: u64) -> Self {
        Self { bitmap, factor: factor.max(1) }
    }
}

impl ReadAt for Spread {
    fn size(&self) -> u64 {
        self.bitmap.size().saturating_mul(self.factor)
    }

    fn present(&self) -> u64 {
        self.bitmap.present().saturating_mul(self.factor)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let left = self.size().saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let mut narrow = [0; PIECE];
        let mut at = offset;
        for part in buf.get_mut(..len).unwrap_or_default().chunks_mut(PIECE) {
            let first = at.checked_div(self.factor).unwrap_or(0);
            let last = at.saturating_add(part.len() as u64).saturating_sub(1).checked_div(self.factor);
            let count = last.unwrap_or(first).saturating_sub(first).saturating_add(1);
            let bytes = narrow.get_mut(..usize::try_from(count).unwrap_or(PIECE).min(PIECE));
            let bytes = bytes.unwrap_or_default();
            self.bitmap.read_exact_at(bytes, first)?;
            for byte in part {
                *byte = (0..8).fold(0, |all, bit| {
                    let cluster = at.saturating_mul(8).saturating_add(bit);
                    let own = cluster.checked_div(self.factor).unwrap_or(0);
                    let within = (own / 8).saturating_sub(first);
                    let own_byte = bytes.get(usize::try_from(within).unwrap_or(PIECE)).copied().unwrap_or(0);
                    let set = own_byte >> (own % 8) & 1;
                    all | set << bit
                });
                at = at.saturating_add(1);
            }
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_small_cluster_is_as_the_large_one_that_it_is_in(
            bytes in prop::collection::vec(any::<u8>(), 1..40),
            shift in 0u32..8, from in 0u64..600, len in 0usize..9000,
        ) {
            let factor = 1 << shift;
            let spread = Spread::new(Arc::new(bytes.clone()), factor);
            let size = bytes.len() as u64 * factor;
            let mut buf = vec![0; len];
            let read = spread.read_at(&mut buf, from).unwrap();
            prop_assert_eq!(read as u64, size.saturating_sub(from).min(len as u64));
            for (at, byte) in (from..).zip(&buf[..read]) {
                for bit in 0..8 {
                    let own = (at * 8 + bit) / factor;
                    let expected = bytes[(own / 8) as usize] >> (own % 8) & 1;
                    prop_assert_eq!(byte >> bit & 1, expected);
                }
            }
        }
    }
}
