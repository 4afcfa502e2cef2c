//! Remains of a change journal in free clusters: the part that Windows has made a hole of, and journals that were deleted or
//! belonged to an earlier generation of the volume; and blocks of indexes that were deleted with their directories.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use undelfs_source::ReadAt;
use undelfs_volume::filesystem::{FileTime, Scan, Watch};

use super::{
    blocks::{self, Blocks},
    history::{History, Setting},
    usn::{self, PAGE},
};
use crate::{index::BLOCK, table::Table};

/// How much is read at once.
const PIECE: usize = 4 << 20;

/// Searches all free clusters.
pub(super) fn search(setting: &Setting<'_>, scan: &Scan, history: &mut History, watch: &dyn Watch) {
    let ground = &setting.ntfs.own.ground;
    let volume = &ground.volume;
    let end = volume.present();
    let cluster = ground.boot.bytes_per_cluster as usize;
    let unit = (PAGE as u64).min(cluster as u64);
    let bitmap = setting.ntfs.own_content(crate::BITMAP);
    let owner = Owner::new(setting);
    let blocks = Blocks::new(setting, scan);
    let history = Mutex::new(history);
    let next = AtomicU64::new(0);
    watch.total(end);
    rayon::broadcast(|_| {
        let mut buf = vec![0; PIECE + BLOCK];
        loop {
            let at = next.fetch_add(PIECE as u64, Ordering::Relaxed);
            if at >= end || watch.cancelled() {
                break;
            }
            let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let length = left.min(PIECE);
            // A block may end in the next piece.
            let with_tail = left.min(PIECE + BLOCK);
            let free = Free::read(bitmap.as_deref(), at, with_tail, cluster);
            // What a sparse image has no bytes for is passed over.
            let is_hole = volume.next_data(at) >= at.saturating_add(length as u64);
            if free.any() && !is_hole {
                let bytes = buf.get_mut(..with_tail).unwrap_or_default();
                volume.read_salvage(bytes, at);
                free.clear_used(bytes);
                let found = blocks::look(bytes, length);
                if !found.is_empty() {
                    let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
                    for block in &found {
                        blocks.tell(block, &owner, &mut history);
                    }
                }
                let piece = bytes.get(..length).unwrap_or_default();
                let mut found = usn::remains(piece, at, unit).peekable();
                if found.peek().is_some() {
                    let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
                    for record in found {
                        if let Some(table) = owner.table(record.time) {
                            history.tell_usn(setting, table, &record);
                        }
                    }
                }
            }
            watch.advance(PIECE as u64);
        }
    });
}

/// Whose files a journal told of at which time.
pub(super) struct Owner<'a> {
    own: &'a Table,
    formatted: FileTime,
    /// The only earlier generation of the volume. Of several nobody can tell which one it was.
    earlier: Option<&'a Table>,
}

impl<'a> Owner<'a> {
    fn new(setting: &Setting<'a>) -> Self {
        let earlier: Vec<&Table> = setting.ntfs.tables().skip(1).collect();
        let only = match earlier.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        Self { own: &setting.ntfs.own, formatted: setting.ntfs.facts.formatted, earlier: only }
    }

    pub(super) fn table(&self, time: FileTime) -> Option<&'a Table> {
        if time >= self.formatted { Some(self.own) } else { self.earlier }
    }
}

/// Which clusters of a piece are free.
struct Free {
    /// Bits of the allocation bitmap from the piece's first cluster on; none where it cannot be read.
    bits: Option<Vec<u8>>,
    clusters: usize,
    cluster: usize,
}

impl Free {
    /// Of the piece of `length` bytes at `at`. A piece begins at a cluster whose number is a multiple of eight, but for
    /// clusters of more than 512 KiB, which are searched whether they are free or not.
    fn read(bitmap: Option<&dyn ReadAt>, at: u64, length: usize, cluster: usize) -> Self {
        let clusters = length.div_ceil(cluster.max(1));
        let first = at.checked_div(cluster as u64).unwrap_or(0);
        let bits = bitmap
            .filter(|_| first.is_multiple_of(8) && PIECE.is_multiple_of(cluster.saturating_mul(8)))
            .and_then(|bitmap| {
                let mut bits = vec![0; clusters.div_ceil(8)];
                bitmap.read_exact_at(&mut bits, first.checked_div(8)?).ok()?;
                Some(bits)
            });
        Self { bits, clusters, cluster }
    }

    fn is_used(&self, cluster: usize) -> bool {
        let bits = self.bits.as_deref().unwrap_or_default();
        let byte = bits.get(cluster >> 3).copied().unwrap_or(0);
        byte >> (cluster & 7) & 1 != 0
    }

    /// True where any cluster is free.
    fn any(&self) -> bool {
        (0..self.clusters).any(|cluster| !self.is_used(cluster))
    }

    /// Makes zeros of what is in use.
    fn clear_used(&self, piece: &mut [u8]) {
        for (number, bytes) in piece.chunks_mut(self.cluster.max(1)).enumerate() {
            if self.is_used(number) {
                bytes.fill(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_free_clusters_are_searched() {
        let bitmap = vec![0b1111_1101, 0xFF, 0xFF, 0xFF];
        let free = Free::read(Some(&bitmap), 0, 16 * 4096, 4096);
        let mut piece = vec![7; 16 * 4096];
        free.clear_used(&mut piece);
        assert!(free.any() && !Free::read(Some(&bitmap), 8 * 4096, 8 * 4096, 4096).any());
        let left: Vec<usize> = (0..16).filter(|cluster| piece[cluster * 4096] == 7).collect();
        assert_eq!(left, [1]);
    }

    #[test]
    fn without_a_bitmap_everything_is_searched() {
        assert!(Free::read(None, 0, 4096, 4096).any());
        let short = vec![0xFF];
        assert!(Free::read(Some(&short), 0, 16 * 4096, 4096).any());
    }
}
