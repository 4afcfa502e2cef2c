//! Clusters that the log says were given to files.

use std::sync::Arc;

use undelfs_volume::filesystem::{Grant, Layout, Place, Run, Scan};

use super::log::Bits;
use crate::{BITMAP, Ntfs};

/// Most grants that are kept. A log of 64 MiB has room for some 600,000.
const MAX_GRANTS: usize = 4 << 20;

/// What the log tells of `$Bitmap`.
pub(super) struct Grants {
    /// Where `$Bitmap` stands.
    runs: Arc<[Run]>,
    /// Clusters of the volume.
    clusters: u64,
    /// How many of the clusters that are counted one of the volume's has.
    factor: u64,
    found: Vec<Grant>,
    is_full: bool,
}

impl Grants {
    /// For the log of a volume.
    pub(super) fn new(ntfs: &Ntfs) -> Self {
        let streams = ntfs.own_streams(BITMAP).unwrap_or_default();
        let layout = streams.into_iter().find(|stream| stream.name.is_empty()).map(|stream| stream.layout);
        let runs = match layout {
            Some(Layout::Runs(runs)) => runs,
            _ => Arc::new([]),
        };
        let clusters = ntfs.own.ground.boot.clusters();
        Self {
            runs,
            clusters,
            factor: ntfs.tables().next().map_or(1, |own| own.factor),
            found: Vec::new(),
            is_full: false,
        }
    }

    /// Takes note that bits were set, if it was in `$Bitmap`: other bitmaps stand elsewhere on the volume.
    pub(super) fn tell(&mut self, lsn: u64, bits: Bits) {
        let (vcn, lcn) = bits.at;
        let stands_there = |run: &Run| match run.place {
            Place::At(first) => vcn
                .checked_sub(run.first)
                .is_some_and(|within| within < run.count && first.checked_add(within) == Some(lcn)),
            _ => false,
        };
        let is_within = bits.first.checked_add(bits.count.into()).is_some_and(|end| end <= self.clusters);
        if !is_within || bits.count == 0 || !self.runs.iter().any(stands_there) {
            return;
        }
        self.is_full |= self.found.len() >= MAX_GRANTS;
        if !self.is_full {
            let count = u64::from(bits.count).saturating_mul(self.factor);
            self.found.push(Grant {
                first: bits.first.saturating_mul(self.factor),
                count: u32::try_from(count).unwrap_or(u32::MAX),
                journal: lsn,
            });
        }
    }

    /// Adds all of it to a scan.
    pub(super) fn give(self, scan: &mut Scan) {
        if self.is_full {
            scan.notes
                .push("`$LogFile` tells of more clusters that were given to files than are kept".to_owned());
        }
        scan.grants = self.found;
    }
}
