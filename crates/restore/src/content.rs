//! Lazy content: a stream's bytes, put together when somebody reads them.

use std::{ops::Range, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt, ReadError};
use undelfs_volume::filesystem::{Codec, Layout, Lost, Place, Refusal, Run, RunReader, Stream};

use crate::{
    Error, Overwritten,
    cache::{BlockId, ClusterCache},
    catalogue::{Catalogue, clusters_of},
    in_place::InPlaceContent,
};

/// Bytes of something in the mount.
pub trait Content: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` from `offset` on, and says how many bytes there were: fewer than `buf.len()` only at the end.
    ///
    /// # Errors
    /// When any of the bytes cannot be given.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error>;

    /// How many runs are held to read it: what keeping it costs in memory.
    fn runs(&self) -> usize {
        0
    }
}

/// The bytes of a stream that is stored as it is.
struct Stored(RunReader);

impl Content for Stored {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        Ok(self.0.read_at(buf, offset)?)
    }

    fn runs(&self) -> usize {
        self.0.runs().len()
    }
}

/// Any bytes of the layers below are content.
pub(crate) struct Plain<R>(pub(crate) R);

impl<R: ReadAt> Content for Plain<R> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        Ok(self.0.read_at(buf, offset)?)
    }
}

/// A stream, and what of it is gone.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(crate) stream: Stream,
    /// The runs with what was overwritten as lost.
    runs: Arc<[Run]>,
    /// Byte ranges of the content that are gone; ascending, not touching.
    pub(crate) overwritten: Vec<Range<u64>>,
}

impl StreamState {
    /// The runs with what was overwritten as lost.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Finds what of a stream of the file with this index was overwritten.
    pub(crate) fn new(
        catalogue: &Catalogue,
        index: u32,
        stream: Stream,
        volume: &Arc<dyn ReadAt>,
        cluster: u32,
    ) -> Self {
        let Layout::Runs(runs) = &stream.layout else {
            return Self { stream, runs: Arc::new([]), overwritten: Vec::new() };
        };
        let runs = if catalogue.untouched(index) { runs.clone() } else { mask(catalogue, index, runs) };
        let mut lost: Vec<Range<u64>> = Vec::new();
        for run in runs.iter().filter(|run| run.place == Place::Lost) {
            let start = run.first.saturating_mul(u64::from(cluster));
            push_range(
                &mut lost,
                start..run.first.saturating_add(run.count).saturating_mul(u64::from(cluster)),
            );
        }
        let mut state = Self { stream, runs, overwritten: Vec::new() };
        state.overwritten = state.content_of(lost, volume, cluster);
        state
    }

    /// The ranges of content that are made of any of these ranges of the stored bytes. Both ascend without touching
    /// each other.
    pub(crate) fn content_of(
        &self,
        stored: Vec<Range<u64>>,
        volume: &Arc<dyn ReadAt>,
        cluster: u32,
    ) -> Vec<Range<u64>> {
        let ranges = match &self.stream.codec {
            Some(codec) if !stored.is_empty() => {
                let raw = stored_bytes(&self.stream, volume, self.runs.clone(), cluster, Lost::Error);
                codec.depends_on(&stored, &raw)
            }
            _ => stored,
        };
        let written = self.stream.size.min(self.stream.valid);
        let clipped = ranges.into_iter().map(|range| range.start..range.end.min(written));
        clipped.filter(|range| !range.is_empty()).collect()
    }
}

/// Adds a range to those before it, which do not begin later.
pub(crate) fn push_range(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ => ranges.push(range),
    }
}

/// The bytes of a stream that is to be decoded, to the end of its last cluster.
pub(crate) fn stored_bytes(
    stream: &Stream,
    volume: &Arc<dyn ReadAt>,
    runs: Arc<[Run]>,
    cluster: u32,
    lost: Lost,
) -> RunReader {
    let clusters = runs.last().map_or(0, |run| run.first.saturating_add(run.count));
    let stored = clusters.saturating_mul(u64::from(cluster)).max(stream.size);
    RunReader::new(volume.clone(), runs, cluster, stored, stored, lost)
}

/// Most parts that the runs of a stream are cut into. Beyond that the rest of the stream counts as overwritten.
const MAX_PARTS: usize = 1 << 20;
/// Clusters whose overwritten ranges are looked up at once.
const WINDOW: u64 = 1 << 20;

/// The runs, with every cluster that was overwritten as lost.
fn mask(catalogue: &Catalogue, index: u32, runs: &[Run]) -> Arc<[Run]> {
    let mut masked: Vec<Run> = Vec::with_capacity(runs.len());
    let push = |all: &mut Vec<Run>, run: Run| match all.last_mut() {
        Some(last) if run.place == Place::Lost && last.place == Place::Lost => last.count += run.count,
        _ => all.push(run),
    };
    for run in runs {
        let Some(clusters) = clusters_of(run) else {
            push(&mut masked, *run);
            continue;
        };
        let mut at = clusters.start;
        let part = |from: u64, to: u64, place| Run {
            first: run.first + (from - clusters.start),
            count: to - from,
            place,
        };
        let mut window = clusters.start;
        while window < clusters.end && masked.len() < MAX_PARTS {
            let end = clusters.end.min(window.saturating_add(WINDOW));
            for gone in catalogue.overwritten(index, window..end) {
                if gone.start > at {
                    push(&mut masked, part(at, gone.start, Place::At(at)));
                }
                push(&mut masked, part(gone.start, gone.end, Place::Lost));
                at = gone.end;
            }
            window = end;
        }
        if window < clusters.end {
            push(&mut masked, part(at, clusters.end, Place::Lost));
        } else if at < clusters.end {
            push(&mut masked, part(at, clusters.end, Place::At(at)));
        }
    }
    masked.into()
}

/// What is needed to open a stream.
pub(crate) struct Opening<'a> {
    pub(crate) volume: &'a Arc<dyn ReadAt>,
    pub(crate) cluster: u32,
    pub(crate) overwritten: Overwritten,
    pub(crate) cache: &'a Arc<ClusterCache>,
    /// The block of the stream's first unit.
    pub(crate) block: BlockId,
}

impl Opening<'_> {
    /// Opens a stream for reading.
    ///
    /// # Errors
    /// When its content cannot be given at all.
    pub(crate) fn open(&self, state: &Arc<StreamState>) -> Result<Arc<dyn Content>, Error> {
        let stream = &state.stream;
        if let Some(Refusal { kind, reason }) = &stream.refusal {
            return Err(Error::refused(*kind, reason.clone()));
        }
        let (raw, runs): (Box<dyn ReadAt>, usize) = match (&stream.layout, &stream.codec) {
            (Layout::Resident(content), None) => return Ok(Arc::new(Resident(content.clone()))),
            (Layout::Resident(content), Some(_)) => (Box::new(content.clone()), 0),
            (Layout::Runs(runs), codec) => {
                let as_it_is = self.overwritten == Overwritten::Raw;
                let runs = if as_it_is { runs.clone() } else { state.runs.clone() };
                let lost = if self.overwritten == Overwritten::Error { Lost::Error } else { Lost::Zeros };
                if let Some(codec) = codec.as_ref().filter(|codec| codec.in_place().is_some()) {
                    let raw = stored_bytes(stream, self.volume, runs, self.cluster, lost);
                    let (size, valid, gone) = (stream.size, stream.valid, &state.overwritten);
                    let content = InPlaceContent::new(
                        codec.clone(),
                        raw,
                        self.cluster,
                        size,
                        valid,
                        gone,
                        self.overwritten,
                    );
                    return Ok(Arc::new(content));
                }
                if codec.is_none() {
                    let (size, valid) = (stream.size, stream.valid);
                    let reader = RunReader::new(self.volume.clone(), runs, self.cluster, size, valid, lost);
                    return Ok(Arc::new(Stored(reader)));
                }
                // No unit is decoded of which a part is known to be gone.
                let lost = if as_it_is { lost } else { Lost::Error };
                let raw = stored_bytes(stream, self.volume, runs, self.cluster, lost);
                let runs = raw.runs().len();
                (Box::new(raw), runs)
            }
        };
        let Some(codec) = &stream.codec else {
            return Err(Error::refused(ErrorKind::Other, "a stream without a codec has no units"));
        };
        let gone = if self.overwritten == Overwritten::Raw { Vec::new() } else { state.overwritten.clone() };
        Ok(Arc::new(Coded {
            codec: codec.clone(),
            raw,
            runs,
            size: stream.size,
            valid: stream.valid.min(stream.size),
            gone,
            gone_is_error: self.overwritten == Overwritten::Error,
            cache: self.cache.clone(),
            block: self.block,
        }))
    }
}

struct Resident(Arc<[u8]>);

impl Content for Resident {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        Ok(self.0.as_ref().read_at(buf, offset)?)
    }
}

/// A stream whose units are decoded, and held in the cluster cache.
struct Coded {
    codec: Arc<dyn Codec>,
    raw: Box<dyn ReadAt>,
    /// How many runs `raw` has.
    runs: usize,
    size: u64,
    valid: u64,
    gone: Vec<Range<u64>>,
    gone_is_error: bool,
    cache: Arc<ClusterCache>,
    block: BlockId,
}

impl Coded {
    /// True where the unit that begins at this byte cannot be decoded because a cluster of it is gone.
    fn is_gone(&self, offset: u64) -> bool {
        let index = self.gone.partition_point(|range| range.end <= offset);
        self.gone.get(index).is_some_and(|range| range.start <= offset)
    }

    fn decode(&self, unit: u64) -> Result<Arc<[u8]>, ReadError> {
        let start = unit.saturating_mul(self.codec.unit());
        let len = self.codec.unit().min(self.valid.saturating_sub(start));
        let mut content = vec![0; usize::try_from(len).unwrap_or(0)];
        self.codec.decode(unit, &self.raw, &mut content)?;
        Ok(content.into())
    }

    /// Copies what `unit` has from `within` on to the start of `buf`, and says how much that was.
    fn copy_unit(&self, unit: u64, within: u64, buf: &mut [u8]) -> Result<(), Error> {
        let start = unit.saturating_mul(self.codec.unit());
        if self.is_gone(start) {
            if self.gone_is_error {
                let reason = format!("the bytes at byte {start} of the file are overwritten");
                return Err(Error::refused(ErrorKind::Damaged, reason));
            }
            buf.fill(0);
            return Ok(());
        }
        let block = self.cache.get(BlockId { unit, ..self.block }, || self.decode(unit))?;
        block.as_ref().read_at(buf, within)?;
        Ok(())
    }
}

impl Content for Coded {
    fn size(&self) -> u64 {
        self.size
    }

    fn runs(&self) -> usize {
        self.runs + self.gone.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        let left =
            |end: u64| usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let (total, stored) = (left(self.size), left(self.valid));
        let unit_size = self.codec.unit();
        let mut done = 0;
        while done < stored {
            let at = offset + done as u64;
            let within = at % unit_size;
            let step = usize::try_from(unit_size - within).unwrap_or(usize::MAX).min(stored - done);
            let Some(piece) = buf.get_mut(done..done + step) else {
                break;
            };
            self.copy_unit(at / unit_size, within, piece)?;
            done += step;
        }
        buf.get_mut(stored..total).unwrap_or_default().fill(0);
        Ok(total)
    }
}
