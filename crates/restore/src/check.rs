//! A look at the content of deleted files: whether it begins as the name promises, and whether the drive has
//! discarded it.
//!
//! A scan looks at no content. This is done when somebody asks how far a file can be trusted, and is kept.

mod finding;
mod kinds;

use std::{
    cell::OnceCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rayon::prelude::*;
use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::filesystem::{FileFlags, Layout, Place, Watch};

use crate::{Catalogue, Confidence, Context, Error, content::StreamState};
use finding::Blank;

pub(crate) use finding::{Finding, Findings, Remark, promise, remark};
pub(crate) use kinds::Kind;
pub use kinds::content_kind;

/// Content of more bytes than this is looked at in its middle too where it must not be one byte all over: a drive
/// discards whole blocks of its own, so that the begin and the end of a file can be left.
const LARGE: u64 = 1 << 20;

/// Bytes of a cluster beyond which it is not read to see that it is one byte all over.
const MOST_OF_CLUSTER: u64 = 64 << 10;

/// Bytes of a cluster below which being one byte all over says nothing.
const LEAST_OF_CLUSTER: usize = 64;

/// Files whose content is looked at by one thread at a time.
const CHUNK: usize = 64;

/// Looks at the content of the file with this index. What cannot be read is no finding against the file.
pub(crate) fn look(context: &Context, catalogue: &Catalogue, index: u32) -> Finding {
    if !is_in_question(catalogue, index) {
        return Finding::NOTHING;
    }
    examine(context, catalogue, index).unwrap_or_else(|error| {
        tracing::debug!(index, %error, "a content cannot be looked at");
        Finding::UNREADABLE
    })
}

/// True for a deleted file whose content lies in clusters, some of which can still be its own.
fn is_in_question(catalogue: &Catalogue, index: u32) -> bool {
    let never = FileFlags::DIRECTORY | FileFlags::LINK | FileFlags::NO_CONTENT | FileFlags::ENCRYPTED;
    let file = catalogue.file(index).filter(|file| file.flags.contains(FileFlags::REMOVED));
    let has_clusters = file.is_some_and(|file| file.clusters > 0 && !file.flags.intersects(never));
    has_clusters && matches!(catalogue.structure(index).0, Confidence::Likely | Confidence::Partial)
}

fn examine(context: &Context, catalogue: &Catalogue, index: u32) -> Result<Finding, Error> {
    let streams = context.streams(index)?;
    let Some(state) = streams.first().filter(|state| state.stream.name.is_empty()) else {
        return Ok(Finding::NOTHING);
    };
    let stream = &state.stream;
    if stream.refusal.is_some() || stream.size == 0 || matches!(stream.layout, Layout::Resident(_)) {
        return Ok(Finding::NOTHING);
    }
    let mut begin = [0; kinds::BEGIN];
    let gone = state.overwritten.first().map_or(u64::MAX, |gone| gone.start);
    let begin =
        begin.get_mut(..usize::try_from(gone).unwrap_or(usize::MAX).min(kinds::BEGIN)).unwrap_or_default();
    // What is decoded cannot be where the drive has discarded it, which the stored bytes show.
    let read = match begin.is_empty() {
        true => Ok(0),
        false => context.open(index, 0)?.read_at(begin, 0),
    };
    let begin = begin.get(..*read.as_ref().unwrap_or(&0)).unwrap_or_default();

    let stored = Stored::of(context, index, state);
    // A first cluster that shows a byte of its own needs no second look.
    let shown = usize::try_from(stored.cluster).unwrap_or(usize::MAX);
    let head = begin.get(..shown).filter(|_| stream.codec.is_none()).unwrap_or(begin);
    let first = match begin.is_empty() || blank(head).is_some() {
        true => stored.sample(0)?,
        false => Sample::Content,
    };
    if first == Sample::Content {
        read?;
        let dense = stored.len() > LARGE && catalogue.promised(index).is_some_and(|kind| kind.dense);
        if dense && let Sample::Blank(byte) = stored.sample(stored.clusters / 2)? {
            return Ok(Finding::partly(byte));
        }
        return Ok(match kinds::recognise(begin) {
            Some(kind) if is_whole_other(context, catalogue, index, state, begin, kind)? => {
                Finding::whole(kind)
            }
            Some(kind) => Finding::kind(kind),
            None if begin.is_empty() => Finding::NOTHING,
            None => Finding::UNKNOWN,
        });
    }
    let middle = stored.sample(stored.clusters / 2)?;
    let samples = [first, middle, stored.last()?];
    let found = samples.iter().find_map(|sample| sample.byte());
    Ok(match found {
        Some(byte) if samples.contains(&Sample::Content) => Finding::partly(byte),
        Some(byte) => Finding::all(byte),
        None if begin.is_empty() => Finding::NOTHING,
        // It begins with a hole, and was written so.
        None => Finding::UNKNOWN,
    })
}

/// Whether a content whose kind contradicts the file's names is whole: then it was saved so. Where other files' bytes stand
/// at the begin of one, it does not end as theirs do.
fn is_whole_other(
    context: &Context,
    catalogue: &Catalogue,
    index: u32,
    state: &StreamState,
    begin: &[u8],
    kind: u8,
) -> Result<bool, Error> {
    let Some(Remark::Other { found, .. }) = remark(Finding::kind(kind), catalogue.names_of(index)) else {
        return Ok(false);
    };
    let size = state.stream.size;
    let Some(whole) = found.whole.filter(|_| state.overwritten.is_empty()) else { return Ok(false) };
    let mut end = [0; kinds::END];
    let len = usize::try_from(size).unwrap_or(usize::MAX).min(kinds::END);
    let end = end.get_mut(..len).unwrap_or_default();
    let read = context.open(index, 0)?.read_at(end, size.saturating_sub(len as u64))?;
    Ok(read == len && whole(begin, end, size))
}

/// What a cluster shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sample {
    /// One byte all over.
    Blank(Blank),
    /// Something else.
    Content,
    /// There is no such cluster, or too little of it belongs to the content.
    None,
}

impl Sample {
    fn byte(self) -> Option<Blank> {
        match self {
            Self::Blank(byte) => Some(byte),
            _ => None,
        }
    }
}

/// Which of the bytes that drives give for what they have discarded all of `bytes` are.
fn blank(bytes: &[u8]) -> Option<Blank> {
    let first = bytes.first()?;
    let byte = match first {
        0 => Blank::Zeros,
        0xFF => Blank::Ones,
        _ => return None,
    };
    bytes.iter().all(|each| each == first).then_some(byte)
}

/// The clusters of a stream that are still its own, in their order.
struct Stored<'a> {
    context: &'a Context,
    index: u32,
    /// The bytes that they are read from, once they are.
    volume: OnceCell<Arc<dyn ReadAt>>,
    state: &'a StreamState,
    cluster: u64,
    clusters: u64,
}

impl<'a> Stored<'a> {
    fn of(context: &'a Context, index: u32, state: &'a StreamState) -> Self {
        let cluster = u64::from(context.facts().map_or(1, |facts| facts.bytes_per_cluster).max(1));
        let mut stored = Self { context, index, volume: OnceCell::new(), state, cluster, clusters: 0 };
        stored.clusters = stored.runs().map(|(_, _, count)| count).sum();
        stored
    }

    /// Bytes of them.
    fn len(&self) -> u64 {
        self.clusters.saturating_mul(self.cluster)
    }

    /// Bytes of the content that stored bytes can be of.
    fn end(&self) -> u64 {
        let stream = &self.state.stream;
        // The stored bytes of a stream that is decoded have no place in its content.
        if stream.codec.is_some() { u64::MAX } else { stream.valid.min(stream.size) }
    }

    /// The runs that are on the volume, as far as they were written: first cluster of the stream, first of the volume,
    /// number.
    fn runs(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let written = self.end().div_ceil(self.cluster);
        self.state.runs().iter().filter_map(move |run| match run.place {
            Place::At(lcn) => {
                let count = run.count.min(written.saturating_sub(run.first));
                (count > 0).then_some((run.first, lcn, count))
            }
            _ => None,
        })
    }

    /// What the cluster at this place among them shows.
    fn sample(&self, place: u64) -> Result<Sample, Error> {
        let mut before = 0_u64;
        let found = self.runs().find_map(|(vcn, lcn, count)| {
            let within = place.checked_sub(before).filter(|within| *within < count);
            before = before.saturating_add(count);
            within.map(|within| (vcn.saturating_add(within), lcn.saturating_add(within)))
        });
        let Some((vcn, lcn)) = found else { return Ok(Sample::None) };
        let own = self.end().saturating_sub(vcn.saturating_mul(self.cluster)).min(self.cluster);
        let len = usize::try_from(own.min(MOST_OF_CLUSTER)).unwrap_or(0);
        if len < LEAST_OF_CLUSTER {
            return Ok(Sample::None);
        }
        let at = lcn.saturating_mul(self.cluster);
        // Most show it in the first bytes.
        let mut bytes = vec![0; len];
        let (head, rest) = bytes.split_at_mut(len.min(kinds::BEGIN));
        let volume = self.volume.get_or_init(|| self.context.stored_bytes(self.index, self.state));
        volume.read_exact_at(head, at)?;
        let Some(byte) = blank(head) else { return Ok(Sample::Content) };
        volume.read_exact_at(rest, at.saturating_add(head.len() as u64))?;
        Ok(if rest.is_empty() || blank(rest) == Some(byte) { Sample::Blank(byte) } else { Sample::Content })
    }

    /// What the last cluster shows; where too little of it belongs to the content, the one before.
    fn last(&self) -> Result<Sample, Error> {
        let last = self.clusters.saturating_sub(1);
        match self.sample(last)? {
            Sample::None => self.sample(last.saturating_sub(1)),
            shown => Ok(shown),
        }
    }
}

/// Looks at the content of all deleted files, in the order in which it lies on the volume.
pub(crate) fn look_at_all(context: &Context, catalogue: &Catalogue, watch: &dyn Watch) -> Result<(), Error> {
    let wanted: Vec<u32> = (0..catalogue.files())
        .filter(|index| catalogue.finding(*index).is_none() && is_in_question(catalogue, *index))
        .collect();
    watch.total(wanted.len() as u64 * 2);
    let mut places = vec![(0_u64, 0_u32); wanted.len()];
    places.par_chunks_mut(CHUNK).zip(wanted.par_chunks(CHUNK)).for_each(|(places, wanted)| {
        if watch.cancelled() {
            return;
        }
        for (place, index) in places.iter_mut().zip(wanted) {
            *place = (first_cluster(context, *index), *index);
        }
        watch.advance(wanted.len() as u64);
    });
    places.par_sort_unstable();
    // All threads take from one place, so that together they go over the volume once.
    let next = AtomicUsize::new(0);
    rayon::broadcast(|_| {
        loop {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            let chunk = places.get(from..).map(|rest| rest.get(..CHUNK).unwrap_or(rest));
            let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty() && !watch.cancelled()) else { return };
            for (_, index) in chunk {
                context.look(*index);
            }
            watch.advance(chunk.len() as u64);
        }
    });
    match watch.cancelled() {
        true => Err(Error::refused(ErrorKind::Cancelled, "the look at the content was cancelled")),
        false => Ok(()),
    }
}

/// Where the content of a file begins on the volume.
fn first_cluster(context: &Context, index: u32) -> u64 {
    let streams = context.streams(index);
    let runs = streams.iter().flat_map(|streams| streams.iter()).flat_map(|state| state.runs());
    let first = runs.filter_map(|run| match run.place {
        Place::At(lcn) => Some(lcn),
        _ => None,
    });
    first.take(1).next().unwrap_or(u64::MAX)
}
