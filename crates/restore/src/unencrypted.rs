//! Deleted files on an encrypted volume that were deleted before it was encrypted.

use std::ops::Range;

use undelfs_bitlocker::{Origin, Remnants};
use undelfs_source::ReadError;
use undelfs_volume::filesystem::{Place, Run};

use crate::content::StreamState;

/// How many clusters are looked at until one shows what a stream is.
const LOOKS: u64 = 4;

/// What those clusters of a stream are taken for that look like noise, encrypted or not: what the first one is that
/// shows it. Where none does, encrypted.
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
    Origin::Encrypted
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
    let cluster = u64::from(cluster);
    let unit = state.stream.codec.as_ref().map_or(1, |codec| codec.unit().max(1));
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (first, lcn, count) in placed(state.runs()) {
        let (from, at) = (first.saturating_mul(cluster), lcn.saturating_mul(cluster));
        let left = state.stream.valid.min(state.stream.size).saturating_sub(from);
        for plain in remnants.plain(at, count.saturating_mul(cluster).min(left))? {
            let place = |byte: u64| byte.saturating_sub(at).saturating_add(from);
            let start = place(plain.start) / unit * unit;
            let end = place(plain.end).div_ceil(unit).saturating_mul(unit).min(state.stream.size);
            match ranges.last_mut() {
                Some(last) if last.end >= start => last.end = last.end.max(end),
                _ => ranges.push(start..end),
            }
        }
    }
    Ok(ranges)
}
