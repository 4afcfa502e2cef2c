//! Raw backup streams of encrypted files, made as they are read.

use std::{ops::Range, sync::Arc};

use undelfs_efs::raw::{Export, Source};
use undelfs_source::{ErrorKind, ReadAt, ReadError};
use undelfs_volume::filesystem::{Layout, Lost, Place, Run};

use crate::{
    Catalogue, Content, Context, Error, Overwritten,
    content::{StreamState, push_range, stored_bytes},
};

/// Bytes that are encrypted as one run.
const UNIT: u64 = undelfs_efs::UNIT as u64;

/// The raw backup stream of a file.
pub(crate) struct Raw {
    export: Export,
    runs: usize,
}

/// The size of the raw backup stream of the file with this index, in bytes.
pub(super) fn size(context: &Context, catalogue: &Catalogue, index: u32) -> Result<u64, Error> {
    // Nothing is read of a stream for that.
    Ok(Raw::new(context, catalogue, index, &|_, _| Ok(Arc::new(Vec::new())))?.size())
}

/// What gives the content of a stream that is not encrypted.
type Plain<'a> = dyn Fn(usize, &StreamState) -> Result<Arc<dyn ReadAt>, Error> + 'a;

impl Raw {
    /// The raw backup stream of the file with this index.
    ///
    /// # Errors
    /// When the file is not encrypted, or a part of it is lost without which there is none.
    pub(crate) fn open(context: &Context, catalogue: &Catalogue, index: u32) -> Result<Self, Error> {
        Self::new(context, catalogue, index, &|number, _| Ok(Arc::new(Opened(context.open(index, number)?))))
    }

    fn new(context: &Context, catalogue: &Catalogue, index: u32, plain: &Plain<'_>) -> Result<Self, Error> {
        let Some(encryption) = context.efs_of(catalogue, index)? else {
            let reason = "the file is not encrypted by EFS; copy it as it is";
            return Err(Error::refused(ErrorKind::NotEncrypted, reason));
        };
        let streams = context.streams_of(catalogue, index)?;
        let mut sources = Vec::with_capacity(streams.len());
        let mut runs = 0;
        for (number, state) in streams.iter().enumerate() {
            runs += state.runs().len();
            sources.push(source(context, catalogue, index, state, number, plain)?);
        }
        let cluster = catalogue.facts().bytes_per_cluster;
        let export = Export::new(&encryption.attribute, sources, cluster)
            .map_err(|error| Error::refused(ErrorKind::Damaged, error.to_string()))?;
        Ok(Self { export, runs })
    }
}

fn source(
    context: &Context,
    catalogue: &Catalogue,
    index: u32,
    state: &Arc<StreamState>,
    number: usize,
    plain: &Plain<'_>,
) -> Result<Source, Error> {
    let stream = &state.stream;
    if let Some(refusal) = stream.refusal.as_ref().filter(|refusal| refusal.kind == ErrorKind::Damaged) {
        return Err(Error::refused(refusal.kind, refusal.reason.clone()));
    }
    let mut source = Source {
        name: stream.name.clone(),
        size: stream.size,
        valid: stream.valid.min(stream.size),
        stored: None,
        sparse: false,
        bytes: Arc::new(Vec::new()),
    };
    match (&stream.layout, stream.encrypted) {
        (Layout::Runs(runs), true) => {
            let cluster = catalogue.facts().bytes_per_cluster;
            let way = context.options().overwritten;
            let runs = if way == Overwritten::Raw { runs.clone() } else { state.runs().into() };
            let end = source.valid.next_multiple_of(UNIT);
            source.stored = Some(stored(&runs, cluster, end, way == Overwritten::Error));
            source.sparse = runs.iter().any(|run| run.place == Place::Hole);
            let volume = context.volume_of_stream(catalogue, index, state);
            source.bytes = Arc::new(stored_bytes(stream, &volume, runs, cluster, Lost::Error));
        }
        (Layout::Resident(content), true) if content.is_empty() => source.stored = Some(Vec::new()),
        (Layout::Resident(_), true) => {
            let reason = "the encrypted content stands in the file's record, where it cannot stand";
            return Err(Error::refused(ErrorKind::Damaged, reason));
        }
        (_, false) => source.bytes = plain(number, state)?,
    }
    Ok(source)
}

/// The bytes of runs that are stored: all that have a place, with those that are lost where these are to be an error.
fn stored(runs: &[Run], cluster: u32, end: u64, with_lost: bool) -> Vec<Range<u64>> {
    let mut stored = Vec::new();
    for run in runs {
        let bytes = |clusters: u64| clusters.saturating_mul(u64::from(cluster)).min(end);
        match run.place {
            Place::Hole => {}
            Place::Lost if !with_lost => {}
            _ => push_range(&mut stored, bytes(run.first)..bytes(run.first.saturating_add(run.count))),
        }
    }
    stored
}

impl Content for Raw {
    fn size(&self) -> u64 {
        self.export.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        Ok(self.export.read_at(buf, offset)?)
    }

    fn runs(&self) -> usize {
        self.runs
    }
}

/// An opened content as bytes of the layers below.
pub(super) struct Opened(pub(super) Arc<dyn Content>);

impl ReadAt for Opened {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let refused = |error: Error| ReadError::Refused { kind: error.kind(), reason: error.to_string() };
        self.0.read_at(buf, offset).map_err(refused)
    }
}
