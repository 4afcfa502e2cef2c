//! The cluster cache: blocks that were expensive to get.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use moka::{policy::EvictionPolicy, sync::Cache};
use undelfs_source::ReadError;

use crate::Error;

/// Which block of which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BlockId {
    /// Number of the volume.
    pub(crate) volume: u32,
    /// Record of the file.
    pub(crate) record: u32,
    /// Index of the stream in the file.
    pub(crate) stream: u32,
    /// Number of the unit in the stream.
    pub(crate) unit: u64,
}

/// Decoded blocks, shared by all contexts of a mount, bounded in bytes.
///
/// Several readers that miss the same block at once get it decoded once.
pub(crate) struct ClusterCache {
    blocks: Cache<BlockId, Arc<[u8]>>,
    capacity: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Cost of an entry beside its bytes: its key and the cache's own bookkeeping.
const ENTRY_OVERHEAD: u64 = 128;

/// How a cluster cache is doing.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct CacheStatus {
    /// Bound in bytes.
    pub capacity: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Blocks held.
    pub blocks: u64,
    /// Blocks that were asked for and held.
    pub hits: u64,
    /// Blocks that were asked for and had to be made.
    pub misses: u64,
}

impl ClusterCache {
    pub(crate) fn new(capacity: u64) -> Self {
        let weigh = |_: &BlockId, block: &Arc<[u8]>| {
            u32::try_from(block.len() as u64 + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
        };
        Self {
            blocks: Cache::builder()
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::lru())
                .weigher(weigh)
                .build(),
            capacity,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The block `id`, made by `make` where it is not held.
    pub(crate) fn get(
        &self,
        id: BlockId,
        make: impl FnOnce() -> Result<Arc<[u8]>, ReadError>,
    ) -> Result<Arc<[u8]>, Error> {
        let mut made = false;
        let block = self.blocks.try_get_with(id, || {
            made = true;
            make()
        });
        if made { &self.misses } else { &self.hits }.fetch_add(1, Ordering::Relaxed);
        block.map_err(|error| Error::refused(error.kind(), error.to_string()))
    }

    pub(crate) fn status(&self) -> CacheStatus {
        self.blocks.run_pending_tasks();
        CacheStatus {
            capacity: self.capacity,
            bytes: self.blocks.weighted_size(),
            blocks: self.blocks.entry_count(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for ClusterCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(unit: u64) -> BlockId {
        BlockId { volume: 1, record: 30, stream: 0, unit }
    }

    fn block(fill: u8) -> Result<Arc<[u8]>, ReadError> {
        Ok(vec![fill; 64 << 10].into())
    }

    #[test]
    fn a_block_is_made_once_and_then_held() {
        let cache = ClusterCache::new(1 << 20);
        assert_eq!(cache.get(id(1), || block(7)).unwrap()[0], 7);
        assert_eq!(cache.get(id(1), || unreachable!()).unwrap()[0], 7);
        let status = cache.status();
        assert_eq!((status.hits, status.misses, status.blocks), (1, 1, 1));
    }

    #[test]
    fn the_cache_stays_within_its_bound() {
        let cache = ClusterCache::new(1 << 20);
        for unit in 0..1000 {
            cache.get(id(unit), || block(1)).unwrap();
        }
        assert!(cache.status().bytes <= 1 << 20);
    }

    #[test]
    fn an_error_is_not_held() {
        let cache = ClusterCache::new(1 << 20);
        let bad = || Err(ReadError::PastEnd { offset: 0, len: 1, size: 0 });
        assert!(cache.get(id(1), bad).is_err());
        assert!(cache.get(id(1), || block(1)).is_ok());
    }
}
