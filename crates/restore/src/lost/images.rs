//! Which of the volumes that were found lie in a file of another volume: in an image, and not on the disk itself.

use std::sync::Arc;

use undelfs_source::ReadAt;
use undelfs_volume::{
    FileSystemKind, Volume,
    filesystem::{File, FileSystem, Layout, Place as RunPlace, Scan, Want, Watch},
    search::{Certainty, Found},
};

use crate::{
    Error,
    opened::{Manner, Opened},
};

/// How many files that are as large as an image are asked for their clusters.
const MAX_FILES: usize = 4096;

/// A volume that may have others in its files, or lie in those of others.
pub(super) struct Outer<'a> {
    volume: &'a Volume,
    /// First byte.
    start: u64,
    /// First byte behind it.
    end: u64,
    certainty: Certainty,
    listed: bool,
}

impl<'a> Outer<'a> {
    /// One that the partition table lists.
    pub(super) fn listed(volume: &'a Volume, source: &dyn ReadAt) -> Self {
        let bytes = |sectors: u64| sectors.saturating_mul(u64::from(volume.sector_size));
        let start = bytes(volume.start_sector);
        let end = start.saturating_add(bytes(volume.sectors)).min(source.size().max(start));
        let certainty = if volume.boot.is_some() { Certainty::Certain } else { Certainty::Possible };
        Self { volume, start, end, certainty, listed: true }
    }

    /// One that a search has found.
    pub(super) fn lost(found: &Found, volume: &'a Volume, source: &dyn ReadAt) -> Self {
        let (start, end) = (found.start, found.end(source));
        Self { volume, start, end, certainty: found.certainty(), listed: false }
    }

    fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    fn holds(&self, inner: &Self) -> bool {
        self.certainty > Certainty::Possible && self.start < inner.start && inner.end <= self.end
    }
}

/// Where a volume lies in another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the other volume.
    pub(super) outer: usize,
    /// Name of the file, where it is known.
    pub(super) file: Option<String>,
    /// Record of the file, where it is known.
    pub(crate) record: Option<u32>,
}

/// Of each of `volumes` from index `first` on the volume in a file of which it lies.
///
/// Being in the range of another volume is not enough, because partitions are made anew over old ones: a file of the
/// other volume must have the place. Where its files cannot be listed, the range has to do.
pub(super) fn inside(
    source: &Arc<dyn ReadAt>,
    volumes: &[Outer<'_>],
    first: usize,
    watch: &dyn Watch,
) -> Result<Vec<Option<Place>>, Error> {
    let mut places: Vec<Option<Place>> = vec![None; volumes.len().saturating_sub(first)];
    let mut outers: Vec<(usize, &Outer<'_>)> = volumes.iter().enumerate().collect();
    // The smallest first: an image in an image belongs to the inner one.
    outers.sort_by_key(|(index, outer)| (outer.len(), *index));
    for (index, outer) in outers {
        let inner: Vec<(usize, &Outer<'_>)> = (0..)
            .zip(volumes.iter().skip(first))
            .filter(|(inner, volume)| places.get(*inner).is_some_and(Option::is_none) && outer.holds(volume))
            .collect();
        if inner.is_empty() {
            continue;
        }
        let files = Files::of(outer, source, watch)?;
        for (position, volume) in inner {
            let nothing_known = Place { outer: index, file: None, record: None };
            let found = match &files {
                Some(files) => files.with(outer, volume).map(|file| match file {
                    Some(file) => {
                        Place { file: files.name(file), record: Some(file.record), ..nothing_known }
                    }
                    None => nothing_known,
                }),
                None => Some(nothing_known),
            };
            if let (Some(found), Some(place)) = (found, places.get_mut(position)) {
                *place = Some(found);
            }
        }
    }
    Ok(places)
}

/// Where `inner`, a volume that nobody has searched for, lies in a file of `outer`.
///
/// # Errors
/// When `watch` cancelled.
pub(crate) fn holder(
    source: &Arc<dyn ReadAt>,
    outer: &Volume,
    inner: &Volume,
    watch: &dyn Watch,
) -> Result<Option<Place>, Error> {
    let volumes = [Outer::listed(outer, source), Outer::listed(inner, source)];
    Ok(inside(source, &volumes, 1, watch)?.into_iter().flatten().next())
}

/// The files of a volume.
struct Files {
    file_system: Box<dyn FileSystem>,
    scan: Scan,
    /// Size of a cluster in bytes.
    cluster: u64,
}

impl Files {
    /// `None` where they cannot be listed.
    fn of(outer: &Outer<'_>, source: &Arc<dyn ReadAt>, watch: &dyn Watch) -> Result<Option<Self>, Error> {
        if outer.volume.file_system == FileSystemKind::BitLocker {
            return Ok(None);
        }
        let Ok(opened) = Opened::new(outer.volume, source, Manner::default(), &[], watch) else {
            return Ok(None);
        };
        let Some(file_system) = opened.file_system else {
            return Ok(None);
        };
        let cluster = u64::from(file_system.facts().bytes_per_cluster);
        match file_system.scan(Want { removed: true, regular: true, deep: false }, watch) {
            Ok(scan) => Ok(Some(Self { file_system, scan, cluster })),
            Err(error) if watch.cancelled() => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, start = outer.start, "the files around a lost volume are not known");
                Ok(None)
            }
        }
    }

    /// The file in which `inner` lies: `Some(None)` where it is not known which, `None` where there is no such file.
    fn with(&self, outer: &Outer<'_>, inner: &Outer<'_>) -> Option<Option<&File>> {
        let cluster = inner.start.checked_sub(outer.start)?.checked_div(self.cluster)?;
        // The last sector is left out of some images.
        let needed = inner.len().saturating_sub(4096).max(1);
        let large = self.scan.files.iter().filter(|file| file.size >= needed).take(MAX_FILES);
        if let Some(file) = large.into_iter().find(|file| self.has(file, cluster)) {
            return Some(Some(file));
        }
        // A smaller file can have the begin of an image that is compressed or in pieces. What is in use on a volume of
        // today is a file's, whatever it was before; of a volume of the past it was, and says nothing of one that
        // stands on structures of its own.
        let claimed = self.scan.claims.iter().any(|claim| {
            let owner = self.scan.owners.get(usize::try_from(claim.owner).unwrap_or(usize::MAX));
            let live = owner.is_some_and(|owner| owner.live);
            let there = cluster.checked_sub(claim.first).is_some_and(|n| n < u64::from(claim.count));
            there && ((live && outer.listed) || inner.certainty == Certainty::Possible)
        });
        claimed.then_some(None)
    }

    /// Whether the unnamed stream of `file` has the cluster.
    fn has(&self, file: &File, cluster: u64) -> bool {
        let Ok(streams) = self.file_system.streams(file) else {
            return false;
        };
        let Some(Layout::Runs(runs)) = streams.first().map(|stream| &stream.layout) else {
            return false;
        };
        runs.iter().any(|run| match run.place {
            RunPlace::At(first) => cluster.checked_sub(first).is_some_and(|n| n < run.count),
            _ => false,
        })
    }

    fn name(&self, file: &File) -> Option<String> {
        let links = &self.scan.links;
        let index = usize::try_from(file.first_link).ok()?;
        let link = links.get(index)?;
        let own = self.scan.files.get(usize::try_from(link.file).ok()?)?;
        let at = usize::try_from(link.name_at).ok()?;
        let name = self.scan.names.get(at..at.checked_add(usize::from(link.name_len))?)?;
        (own.record == file.record).then(|| String::from_utf8_lossy(name).into_owned())
    }
}
