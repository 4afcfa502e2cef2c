//! Deleted files on an encrypted volume that were deleted before it was encrypted.

use std::{ops::Range, sync::Arc};

use undelfs_bitlocker::{Origin, Remnants};
use undelfs_source::{ReadAt, ReadError};
use undelfs_volume::filesystem::{FileFlags, Place, Run};

use crate::{
    Catalogue, Context,
    content::{StreamState, push_range},
};

/// How many clusters are looked at until one shows what a stream is.
const LOOKS: u64 = 4;

/// What the deleted files of a volume are of which it shows: the cluster that a stream begins with, and whether it
/// was encrypted; by cluster.
pub(crate) type Samples = Vec<(u64, Origin)>;

/// Looks at the begin of some deleted files, spread over the volume's records.
pub(crate) fn samples(
    context: &Context,
    catalogue: &Catalogue,
    remnants: &Remnants,
    cluster: u32,
) -> Samples {
    /// How many files are looked at. On a disk that turns each costs a movement of its arm.
    const FILES: usize = 64;
    let has_clusters = |index: &u32| {
        let file = catalogue.file(*index);
        file.is_some_and(|file| file.flags.contains(FileFlags::REMOVED) && file.clusters > 0)
    };
    let total = (0..catalogue.files()).filter(has_clusters).count();
    let step = total.div_ceil(FILES).max(1);
    let mut samples = Samples::new();
    for index in (0..catalogue.files()).filter(has_clusters).step_by(step) {
        let Ok(streams) = context.streams(index) else { continue };
        let first = streams.iter().find_map(|state| placed(state.runs()).next());
        if let Some((vcn, lcn, _)) = first
            && let Ok(origin @ (Origin::Plain | Origin::Encrypted)) =
                remnants.judge(lcn.saturating_mul(cluster.into()), vcn == 0)
        {
            samples.push((lcn, origin));
        }
    }
    samples.sort_by_key(|(lcn, _)| *lcn);
    samples
}

/// What the deleted file is that lies nearest to a stream; without any, encrypted.
pub(crate) fn nearest(samples: &Samples, runs: &[Run]) -> Origin {
    let Some((_, lcn, _)) = placed(runs).next() else { return Origin::Encrypted };
    let nearest = samples.iter().min_by_key(|(at, _)| at.abs_diff(lcn));
    nearest.map_or(Origin::Encrypted, |(_, origin)| *origin)
}

/// What those clusters of a stream are taken for that look like noise, encrypted or not: what the first one is that
/// shows it; unclear where none does.
pub(crate) fn presumed(remnants: &Remnants, runs: &[Run], cluster: u32) -> Origin {
    let total: u64 = placed(runs).map(|(_, _, count)| count).sum();
    for look in 0..LOOKS.min(total) {
        let wanted = total.saturating_mul(look) / LOOKS;
        let mut before = 0;
        let found = placed(runs).find_map(|(first, lcn, count)| {
            let within = wanted.checked_sub(before).filter(|within| *within < count);
            before = before.saturating_add(count);
            within.map(|within| (first.saturating_add(within), lcn.saturating_add(within)))
        });
        let Some((vcn, lcn)) = found else { break };
        let origin = remnants.judge(lcn.saturating_mul(cluster.into()), vcn == 0);
        if let Ok(origin @ (Origin::Plain | Origin::Encrypted)) = origin {
            return origin;
        }
    }
    Origin::Unclear
}

/// The runs that are on the volume: first cluster of the stream, first of the volume, number.
fn placed(runs: &[Run]) -> impl Iterator<Item = (u64, u64, u64)> {
    runs.iter().filter_map(|run| match run.place {
        Place::At(lcn) => Some((run.first, lcn, run.count)),
        _ => None,
    })
}

/// The bytes of a stream that never were encrypted. Those of a compressed stream are the bytes of its units.
pub(crate) fn ranges(
    remnants: &Remnants,
    state: &StreamState,
    cluster: u32,
) -> Result<Vec<Range<u64>>, ReadError> {
    let bytes = u64::from(cluster);
    // The stored bytes of a stream that is decoded may end before its content or behind it.
    let size = match &state.stream.codec {
        Some(_) => u64::MAX,
        None => state.stream.valid.min(state.stream.size),
    };
    /// An extended attribute holds no more.
    const MOST: usize = 4096;
    let mut stored: Vec<Range<u64>> = Vec::new();
    for (first, lcn, count) in placed(state.runs()) {
        if stored.len() > MOST {
            break;
        }
        let (from, at) = (first.saturating_mul(bytes), lcn.saturating_mul(bytes));
        let left = size.saturating_sub(from);
        for plain in remnants.plain(at, count.saturating_mul(bytes).min(left), MOST)? {
            let place = |byte: u64| byte.saturating_sub(at).saturating_add(from);
            push_range(&mut stored, place(plain.start)..place(plain.end));
        }
    }
    let volume: Arc<dyn ReadAt> = Arc::new(remnants.clone());
    Ok(state.content_of(stored, &volume, cluster))
}
