//! Restore contexts: an open volume, with its scan.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use lru::LruCache;
use undelfs_ntfs::Ntfs;
use undelfs_source::{ErrorKind, ReadAt, Source};
use undelfs_volume::{
    Disk, Extent, FileSystemKind, Volume,
    filesystem::{Facts, FileFlags, FileSystem, LinkTarget, Want, Watch},
    lost_volume,
};

use crate::{
    Catalogue, Content, Error, Options, Selection, View,
    allocation::Allocation,
    cache::{BlockId, CacheStatus, ClusterCache},
    catalogue::{Paths, hierarchy::Node},
    content::{Opening, StreamState},
    names,
};

/// Most volumes of a source that are used. An inode number has room for more.
const MAX_VOLUMES: usize = 1024;
/// How many files' streams are kept at hand: what one program asks of one file comes in a burst.
const FILES_AT_HAND: std::num::NonZeroUsize = std::num::NonZeroUsize::new(64).unwrap();

/// Files with more runs than this are not kept at hand.
const RUNS_AT_HAND: usize = 1 << 15;

type Streams = Arc<[Arc<StreamState>]>;

/// An open volume of a locked source. Dropping the last context of a source closes it and releases the lock.
pub struct Context {
    source_path: PathBuf,
    entry: Volume,
    volume: Arc<dyn ReadAt>,
    file_system: Option<Box<dyn FileSystem>>,
    options: Options,
    cache: Arc<ClusterCache>,
    catalogue: OnceLock<Arc<Catalogue>>,
    at_hand: Mutex<LruCache<u32, Streams>>,
    /// Why nothing but the volume's bytes can be shown, where that is so.
    closed: Option<(ErrorKind, String)>,
    notes: Vec<String>,
}

impl Context {
    /// Opens the volumes of `source` that `selection` names; all of them where it names none.
    ///
    /// A volume whose file system is not known, or that is locked, is opened all the same when it is one of
    /// several: only its bytes can be shown.
    ///
    /// # Errors
    /// When no volume fits, or the only one that does cannot be shown.
    pub fn open_all(
        source: Arc<Source>,
        selection: &Selection,
        options: &Options,
    ) -> Result<Vec<Self>, Error> {
        let path = source.path().to_owned();
        Self::open_bytes(source, &path, selection, options)
    }

    /// As [`open_all`](Self::open_all), on any bytes; `path` is what they are called in messages.
    ///
    /// # Errors
    /// As [`open_all`](Self::open_all).
    pub fn open_bytes(
        source: Arc<dyn ReadAt>,
        path: &Path,
        selection: &Selection,
        options: &Options,
    ) -> Result<Vec<Self>, Error> {
        let (entries, notes) = select(&source, selection, path)?;
        let cache = Arc::new(ClusterCache::new(options.cache_bytes));
        let alone = entries.len() == 1;
        let mut starts = BTreeSet::new();
        entries
            .into_iter()
            .map(|entry| {
                let opened = match starts.insert(entry.start_sector) {
                    true => open_file_system(&entry, &source, selection.boot_sector),
                    false => Err(listed_twice(&entry)),
                };
                let (file_system, closed) = match opened {
                    Ok(Some(file_system)) => (Some(file_system), None),
                    Ok(None) => (None, Some((ErrorKind::Unsupported, unknown(&entry)))),
                    Err(error) if alone => return Err(error),
                    Err(error) => (None, Some((error.kind(), error.to_string()))),
                };
                tracing::info!(
                    volume = entry.number,
                    start_sector = entry.start_sector,
                    sectors = entry.sectors,
                    file_system = %entry.file_system,
                    "opened"
                );
                let volume = Arc::new(entry.extent(source.clone()));
                Ok(Self {
                    source_path: path.to_owned(),
                    entry,
                    volume,
                    file_system,
                    options: *options,
                    cache: cache.clone(),
                    catalogue: OnceLock::new(),
                    at_hand: Mutex::new(LruCache::new(FILES_AT_HAND)),
                    closed,
                    notes: notes.clone(),
                })
            })
            .collect()
    }

    /// Number of the volume, as `undelfs volumes` counts.
    pub fn number(&self) -> u32 {
        self.entry.number
    }

    /// What the volume's folder is called where several are mounted: its number and its name.
    pub fn name(&self) -> String {
        let label = self.facts().map(|facts| facts.label.as_str()).filter(|label| !label.is_empty());
        let name = label.or(self.entry.name.as_deref()).filter(|name| !name.is_empty());
        match name {
            Some(name) => format!("{}-{name}", self.number()),
            None => format!("{}-{}", self.number(), self.entry.file_system),
        }
    }

    /// The name of the volume's folder as the host shows it.
    pub(crate) fn folder(&self) -> Vec<u8> {
        names::escape(self.name().as_bytes()).into_owned()
    }

    /// What the file system says of itself; `None` where it is not known.
    pub fn facts(&self) -> Option<&Facts> {
        self.file_system.as_ref().map(|file_system| file_system.facts())
    }

    /// Why nothing but the volume's bytes can be shown, where that is so.
    pub fn closed(&self) -> Option<(ErrorKind, &str)> {
        self.closed.as_ref().map(|(kind, reason)| (*kind, reason.as_str()))
    }

    /// Damage that was met so far, of the disk and of the volume, one sentence each.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let scanned = self.catalogue.get().map(|catalogue| catalogue.notes());
        let known = scanned.or_else(|| self.facts().map(|facts| facts.notes.as_slice()));
        self.notes.iter().chain(known.unwrap_or_default()).map(String::as_str)
    }

    /// What the source is called.
    pub fn source_path(&self) -> &Path {
        &self.source_path
    }

    /// Where the volume is on its source.
    pub fn volume(&self) -> &Volume {
        &self.entry
    }

    /// The volume's bytes, as far as the source has them.
    pub(crate) fn bytes(&self) -> Extent {
        Extent::new(self.volume.clone(), 0, self.volume.present())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// How the cluster cache is doing, which all contexts of a source share.
    pub fn cache(&self) -> CacheStatus {
        self.cache.status()
    }

    /// Scans the volume. A second call gives what the first found.
    ///
    /// # Errors
    /// When nothing can be listed, or `watch` cancelled the scan.
    pub fn scan(&self, watch: &dyn Watch) -> Result<Arc<Catalogue>, Error> {
        if let Some(catalogue) = self.catalogue.get() {
            return Ok(catalogue.clone());
        }
        let Some(file_system) = &self.file_system else {
            let (kind, reason) = self.closed().unwrap_or((ErrorKind::Unsupported, ""));
            return Err(Error::refused(kind, reason));
        };
        let started = Instant::now();
        let view = self.options.view;
        let want = Want { removed: view != View::Regular, regular: view != View::Deleted };
        let scan = file_system.scan(want, watch)?;
        let facts = file_system.facts();
        let bitmap = file_system.bitmap().filter(|_| want.removed);
        let present = self.volume.present().div_ceil(u64::from(facts.bytes_per_cluster.max(1)));
        let allocation = bitmap.map(|bitmap| Allocation::new(bitmap, facts.clusters.min(present)));
        let read = started.elapsed();
        let catalogue = Arc::new(Catalogue::new(scan, facts, allocation, view));
        tracing::info!(
            volume = self.number(),
            records = facts.records,
            shown = catalogue.tree.shown(),
            notes = catalogue.notes().len(),
            ?read,
            all = ?started.elapsed(),
            "scanned"
        );
        Ok(self.catalogue.get_or_init(|| catalogue).clone())
    }

    /// What the scan found; `None` before it.
    pub fn catalogue(&self) -> Option<&Arc<Catalogue>> {
        self.catalogue.get()
    }

    fn need_catalogue(&self) -> Result<&Arc<Catalogue>, Error> {
        let reason = "the volume has not been scanned";
        self.catalogue.get().ok_or_else(|| Error::refused(ErrorKind::InvalidInput, reason))
    }

    fn need_file_system(&self) -> Result<&dyn FileSystem, Error> {
        let reason = "the volume has no known file system";
        self.file_system.as_deref().ok_or_else(|| Error::refused(ErrorKind::Unsupported, reason))
    }

    /// The streams of the file with this index.
    pub(crate) fn streams(&self, index: u32) -> Result<Streams, Error> {
        if let Some(streams) = self.lock_at_hand().get(&index) {
            return Ok(streams.clone());
        }
        let catalogue = self.need_catalogue()?;
        let file_system = self.need_file_system()?;
        let file = catalogue.file(index).ok_or_else(|| Error::not_found(b"file"))?;
        let cluster = file_system.facts().bytes_per_cluster;
        let streams: Streams = file_system
            .streams(file)?
            .into_iter()
            .map(|stream| Arc::new(StreamState::new(catalogue, index, stream, cluster)))
            .collect();
        if streams.iter().map(|state| state.runs().len()).sum::<usize>() <= RUNS_AT_HAND {
            self.lock_at_hand().put(index, streams.clone());
        }
        Ok(streams)
    }

    fn lock_at_hand(&self) -> std::sync::MutexGuard<'_, LruCache<u32, Streams>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream of the file with this index; the first one is the unnamed stream where there is one.
    pub(crate) fn open(&self, index: u32, stream: usize) -> Result<Arc<dyn Content>, Error> {
        let streams = self.streams(index)?;
        let state = streams.get(stream).ok_or_else(|| Error::not_found(b"stream"))?;
        let record = self.need_catalogue()?.file(index).map_or(0, |file| file.record);
        let opening = Opening {
            volume: &self.volume,
            cluster: self.need_file_system()?.facts().bytes_per_cluster,
            overwritten: self.options.overwritten,
            cache: &self.cache,
            block: BlockId { volume: self.number(), record, stream: stream as u32, unit: 0 },
        };
        opening.open(state)
    }

    /// Opens the content of the file with this index.
    ///
    /// # Errors
    /// When it has none that can be given.
    pub(crate) fn open_file(&self, index: u32) -> Result<Arc<dyn Content>, Error> {
        let flags = self.need_catalogue()?.file(index).map_or(FileFlags::empty(), |file| file.flags);
        if flags.contains(FileFlags::NO_CONTENT) {
            let reason = "no description of the content is left; only the name is known";
            return Err(Error::refused(ErrorKind::Damaged, reason));
        }
        let streams = self.streams(index)?;
        match streams.first() {
            Some(first) if first.stream.name.is_empty() => self.open(index, 0),
            _ => Err(Error::refused(ErrorKind::Damaged, "the description of the content is gone")),
        }
    }

    /// The target of a symbolic link as the host follows it from where `node` stands.
    pub(crate) fn link_target(&self, index: u32, node: Node) -> Result<Vec<u8>, Error> {
        let catalogue = self.need_catalogue()?;
        let file = catalogue.file(index).ok_or_else(|| Error::not_found(b"file"))?;
        Ok(match self.need_file_system()?.link_target(file)? {
            Some(LinkTarget::Relative(target) | LinkTarget::Verbatim(target)) => target,
            Some(LinkTarget::Rooted(target)) => {
                let mut path = b"../".repeat(Paths::depth(catalogue, node));
                path.extend_from_slice(&target);
                if path.is_empty() {
                    path.push(b'.');
                }
                path
            }
            None => {
                return Err(Error::refused(ErrorKind::Damaged, "the target of the link is damaged"));
            }
        })
    }

    /// Folds a name so that equal results mean equal names to the file system.
    pub(crate) fn fold_case(&self, name: &[u8]) -> Vec<u8> {
        self.file_system.as_ref().map_or_else(|| name.to_vec(), |file_system| file_system.fold_case(name))
    }
}

/// The volumes that are asked for, and what the partition table has to say.
fn select(
    source: &Arc<dyn ReadAt>,
    selection: &Selection,
    path: &Path,
) -> Result<(Vec<Volume>, Vec<String>), Error> {
    let Selection { volume, start_sector, boot_sector } = *selection;
    if start_sector.is_some() || boot_sector.is_some() {
        // Sectors are counted as the partition table counts them, where there is one.
        let sector_size = Disk::read(source.clone()).map_or(source.sector_size(), |disk| disk.sector_size);
        let lost = lost_volume(source, start_sector, boot_sector, sector_size)?;
        return Ok((vec![lost], Vec::new()));
    }
    let Disk { mut volumes, mut notes, .. } = Disk::read(source.clone())?;
    if volumes.len() > MAX_VOLUMES {
        notes.push(format!(
            "the partition table lists {} volumes; only the first {MAX_VOLUMES} are used",
            volumes.len()
        ));
        volumes.truncate(MAX_VOLUMES);
    }
    let path = path.display();
    if volumes.is_empty() {
        let notes = notes.join("; ");
        let reason = format!(
            "{path} holds no partition table and no known file system ({notes}); is it a disk image?"
        );
        return Err(Error::refused(ErrorKind::Unsupported, reason));
    }
    let Some(number) = volume else {
        return Ok((volumes, notes));
    };
    let known: Vec<String> = volumes.iter().map(|volume| volume.number.to_string()).collect();
    let chosen: Vec<Volume> = volumes.into_iter().filter(|volume| volume.number == number).collect();
    if chosen.is_empty() {
        let reason = format!("{path} has no volume {number}; it has {}", known.join(", "));
        return Err(Error::refused(ErrorKind::InvalidInput, reason));
    }
    Ok((chosen, notes))
}

/// Opens the file system of a volume; `None` where nothing is known to be on it. Adding a file system adds a
/// line here.
fn open_file_system(
    entry: &Volume,
    source: &Arc<dyn ReadAt>,
    boot_sector: Option<u64>,
) -> Result<Option<Box<dyn FileSystem>>, Error> {
    let volume: Arc<dyn ReadAt> = Arc::new(entry.extent(source.clone()));
    let number = entry.number;
    match entry.file_system {
        FileSystemKind::Ntfs => {
            let boot = boot_sector.and_then(|sector| {
                let mut bytes = vec![0; undelfs_volume::boot_sector::LEN];
                let at = sector.checked_mul(u64::from(entry.sector_size))?;
                source.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
            });
            Ok(Some(Box::new(Ntfs::open(volume, boot.as_deref())?)))
        }
        FileSystemKind::Unknown => Ok(None),
        FileSystemKind::BitLocker => Err(Error::refused(
            ErrorKind::KeyNeeded,
            format!(
                "volume {number} is encrypted by BitLocker and needs a key; this version cannot unlock it: unlock it with `dislocker` or `cryptsetup bitlkOpen`, and mount the decrypted volume"
            ),
        )),
        other => Err(Error::refused(
            ErrorKind::Unsupported,
            format!("volume {number} is {other}; this version recovers files from NTFS only"),
        )),
    }
}

fn listed_twice(entry: &Volume) -> Error {
    let reason = format!(
        "volume {} begins where another one does, at sector {}; --volume {} opens it",
        entry.number, entry.start_sector, entry.number
    );
    Error::refused(ErrorKind::InvalidInput, reason)
}

fn unknown(entry: &Volume) -> String {
    format!(
        "no known file system is on volume {} ({}); only its bytes are shown, in .undelfs/volume.img",
        entry.number, entry.role
    )
}
