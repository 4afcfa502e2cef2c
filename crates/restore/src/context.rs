//! Restore contexts: an open volume, with its scan.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use lru::LruCache;
use undelfs_bitlocker::{BitLocker, Key, Origin, Remnants};
use undelfs_source::{ErrorKind, ReadAt, Source};
use undelfs_volume::{
    Disk, Extent, FileSystemKind, Volume,
    filesystem::{Facts, FileFlags, FileSystem, Layout, LinkTarget, Want, Watch},
};

use crate::{
    Catalogue, Content, Error, Options, Overwritten, Selection, View,
    allocation::Allocation,
    cache::{BlockId, CacheStatus, ClusterCache},
    catalogue::{Paths, clusters_of, hierarchy::Node},
    check,
    content::{Opening, StreamState},
    efs, names,
    neighbours::Neighbours,
    opened::{Manner, Opened},
    past::Past,
    selecting::{is_same, listed_twice, select},
    unencrypted,
};

/// How many files' streams are kept at hand: what one program asks of one file comes in a burst.
const FILES_AT_HAND: std::num::NonZeroUsize = std::num::NonZeroUsize::new(64).unwrap();

/// Files with more runs than this are not kept at hand.
const RUNS_AT_HAND: usize = 1 << 15;

type Streams = Arc<[Arc<StreamState>]>;

/// A stream, and its content.
type Readable = (Arc<StreamState>, Arc<dyn Content>);

/// An open volume of a locked source. Dropping the last context of a source closes it and releases the lock.
pub struct Context {
    source_path: PathBuf,
    entry: Volume,
    opened: Opened,
    options: Options,
    cache: Arc<ClusterCache>,
    catalogue: OnceLock<Arc<Catalogue>>,
    at_hand: Mutex<LruCache<u32, Streams>>,
    /// Which deleted files on an encrypted volume were encrypted, of some of them.
    samples: OnceLock<unencrypted::Samples>,
    /// The volumes of the source, some of which may lie over this one.
    neighbours: Arc<Neighbours>,
    notes: Vec<String>,
    efs_keys: efs::Keys,
}

impl Context {
    /// Opens the volumes of `source` that `selection` names; all of them where it names none. Encrypted ones are
    /// unlocked where one of `keys` fits or none is needed; the others stay [`closed`](Self::closed) until
    /// [`unlock`](Self::unlock) is called with a key that fits. `watch` follows the search for encryption metadata
    /// and the stretching of passwords.
    ///
    /// A volume whose file system is not known is opened all the same: only its bytes can be shown. So is one whose
    /// file system cannot be read, when it is one of several.
    ///
    /// # Errors
    /// When no volume fits, or the only one that does cannot be shown.
    pub fn open_all(
        source: Arc<Source>,
        selection: &Selection,
        options: &Options,
        keys: &[Key],
        watch: &dyn Watch,
    ) -> Result<Vec<Self>, Error> {
        let path = source.path().to_owned();
        Self::open_bytes(source, &path, selection, options, keys, watch)
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
        keys: &[Key],
        watch: &dyn Watch,
    ) -> Result<Vec<Self>, Error> {
        let (entries, notes) = select(&source, selection, path, options.deep, keys, watch)?;
        let listed = Disk::read(source.clone()).map_or(Vec::new(), |disk| disk.volumes);
        let found = selection.lost.iter().map(|lost| (lost.volume.clone(), lost.inside.clone()));
        let neighbours = Arc::new(Neighbours::new(source.clone(), &listed, found));
        let cache = Arc::new(ClusterCache::new(options.cache_bytes));
        let alone = entries.len() == 1;
        let Selection { boot_sector, snapshot, .. } = *selection;
        let manner = Manner { boot_sector, alone, deep: options.deep, snapshot };
        let mut before: Vec<Volume> = Vec::new();
        entries
            .into_iter()
            .map(|entry| {
                let opened = match before.iter().any(|other| is_same(other, &entry)) {
                    true => Err(listed_twice(&entry)),
                    false => Opened::new(&entry, &source, manner, keys, watch),
                };
                before.push(entry.clone());
                let opened = match opened {
                    Err(error) if alone => return Err(error),
                    Err(error) => Opened::refused(&entry, &source, &error),
                    Ok(opened) => opened,
                };
                tracing::info!(
                    volume = entry.number,
                    start_sector = entry.start_sector,
                    sectors = entry.sectors,
                    file_system = %entry.file_system,
                    content = %opened.kind,
                    "opened"
                );
                Ok(Self {
                    source_path: path.to_owned(),
                    entry,
                    opened,
                    options: *options,
                    cache: cache.clone(),
                    catalogue: OnceLock::new(),
                    at_hand: Mutex::new(LruCache::new(FILES_AT_HAND)),
                    samples: OnceLock::new(),
                    neighbours: neighbours.clone(),
                    notes: notes.clone(),
                    efs_keys: efs::Keys::default(),
                })
            })
            .collect()
    }

    /// Unlocks an encrypted volume with whichever of `keys` fits. It must not have been scanned; what is unlocked
    /// already stays as it is.
    ///
    /// # Errors
    /// When no key fits, or the volume is not encrypted or was scanned.
    pub fn unlock(&mut self, keys: &[Key], watch: &dyn Watch) -> Result<(), Error> {
        if self.catalogue.get().is_some() {
            let reason = "keys must be given before the volume is scanned";
            return Err(Error::refused(ErrorKind::InvalidInput, reason));
        }
        self.opened.unlock(&self.entry, keys, watch)
    }

    /// What protects the volume, where it is encrypted.
    pub fn encryption(&self) -> Option<&BitLocker> {
        self.opened.encryption.as_ref()
    }

    /// True where the volume is encrypted and no key was given that fits.
    pub fn is_locked(&self) -> bool {
        self.opened.encryption.is_some() && self.opened.unlocked.is_none()
    }

    /// Number of the shadow copy that is shown instead of the volume, where one is.
    pub fn snapshot(&self) -> Option<u32> {
        self.opened.past.as_ref().map(Past::number)
    }

    /// What is on the volume; inside of the encryption, as far as that is open.
    pub fn content(&self) -> FileSystemKind {
        self.opened.kind
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
            None => format!("{}-{}", self.number(), self.opened.kind),
        }
    }

    /// The name of the volume's folder as the host shows it.
    pub(crate) fn folder(&self) -> Vec<u8> {
        names::escape(self.name().as_bytes()).into_owned()
    }

    /// What the file system says of itself; `None` where it is not known.
    pub fn facts(&self) -> Option<&Facts> {
        self.opened.file_system.as_ref().map(|file_system| file_system.facts())
    }

    /// Why nothing but the volume's bytes can be shown, where that is so.
    pub fn closed(&self) -> Option<(ErrorKind, &str)> {
        self.opened.closed.as_ref().map(|(kind, reason)| (*kind, reason.as_str()))
    }

    /// Damage that was met so far, of the disk and of the volume, one sentence each.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let scanned = self.catalogue.get().map(|catalogue| catalogue.notes());
        let known = scanned.or_else(|| self.facts().map(|facts| facts.notes.as_slice()));
        self.notes.iter().chain(&self.opened.notes).chain(known.unwrap_or_default()).map(String::as_str)
    }

    /// What the source is called.
    pub fn source_path(&self) -> &Path {
        &self.source_path
    }

    /// Where the volume is on its source.
    pub fn volume(&self) -> &Volume {
        &self.entry
    }

    /// The volume's bytes, decrypted where it is unlocked, as far as the source has them.
    pub(crate) fn bytes(&self) -> Extent {
        let volume = match &self.opened.past {
            Some(past) => past.presented(),
            None => self.opened.volume.clone(),
        };
        let present = volume.present();
        Extent::new(volume, 0, present)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn efs_keys(&self) -> &efs::Keys {
        &self.efs_keys
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
        let Some(file_system) = &self.opened.file_system else {
            let (kind, reason) = self.closed().unwrap_or((ErrorKind::Unsupported, ""));
            return Err(Error::refused(kind, reason));
        };
        let started = Instant::now();
        let view = self.options.view;
        let want =
            Want { removed: view != View::Regular, regular: view != View::Deleted, deep: self.options.deep };
        let mut scan = file_system.scan(want, watch)?;
        let facts = file_system.facts();
        let mut bitmap = file_system.bitmap().filter(|_| want.removed);
        if let (Some(past), Some(then)) = (&self.opened.past, bitmap.take_if(|_| self.opened.past.is_some()))
        {
            bitmap = Some(past.judge(&mut scan, facts, then, watch)?);
        }
        let present = self.opened.volume.present().div_ceil(u64::from(facts.bytes_per_cluster.max(1)));
        let allocation = bitmap.map(|bitmap| Allocation::new(bitmap, facts.clusters.min(present)));
        if self.options.efs_raw {
            efs::show_raw(&mut scan);
        }
        let read = started.elapsed();
        let taken = self.neighbours.taken(&self.entry, facts, watch)?;
        let mut catalogue = Catalogue::new(scan, facts, allocation, taken, view);
        catalogue.count_taken_of_existing(|file| {
            let streams = file_system.streams(file).unwrap_or_default();
            streams.iter().flat_map(|stream| clusters_of_layout(&stream.layout)).collect()
        });
        if self.options.efs_raw {
            efs::set_sizes(self, &mut catalogue);
        }
        let catalogue = Arc::new(catalogue);
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

    pub(crate) fn need_catalogue(&self) -> Result<&Arc<Catalogue>, Error> {
        let reason = "the volume has not been scanned";
        self.catalogue.get().ok_or_else(|| Error::refused(ErrorKind::InvalidInput, reason))
    }

    fn need_file_system(&self) -> Result<&dyn FileSystem, Error> {
        let reason = "the volume has no known file system";
        self.opened.file_system.as_deref().ok_or_else(|| Error::refused(ErrorKind::Unsupported, reason))
    }

    /// Looks at the content of all deleted files, as far as that was not done yet, so that what is said of their
    /// confidence takes it in. Reads the begin of each, in the order in which they lie on the volume.
    ///
    /// # Errors
    /// When the volume was not scanned, or `watch` cancelled it; what was looked at until then is kept. A file that
    /// cannot be read is none.
    pub fn check(&self, watch: &dyn Watch) -> Result<(), Error> {
        check::look_at_all(self, self.need_catalogue()?, watch)
    }

    /// Looks at the content of the file with this index, where that was not done yet.
    pub(crate) fn look(&self, index: u32) {
        if let Some(catalogue) = self.catalogue.get()
            && catalogue.finding(index).is_none()
        {
            catalogue.keep_finding(index, check::look(self, catalogue, index));
        }
    }

    /// The volume's bytes as those of a stream's clusters are read.
    pub(crate) fn stored_bytes(&self, index: u32, state: &StreamState) -> Arc<dyn ReadAt> {
        self.remnants(index, state).unwrap_or_else(|| self.opened.volume.clone())
    }

    /// The streams of the file with this index.
    pub(crate) fn streams(&self, index: u32) -> Result<Streams, Error> {
        if let Some(streams) = self.lock_at_hand().get(&index) {
            return Ok(streams.clone());
        }
        let streams = self.streams_of(self.need_catalogue()?, index)?;
        if streams.iter().map(|state| state.runs().len()).sum::<usize>() <= RUNS_AT_HAND {
            self.lock_at_hand().put(index, streams.clone());
        }
        Ok(streams)
    }

    /// The streams of the file with this index in a catalogue that the context may not have yet.
    pub(crate) fn streams_of(&self, catalogue: &Catalogue, index: u32) -> Result<Streams, Error> {
        let file_system = self.need_file_system()?;
        let file = catalogue.file(index).ok_or_else(|| Error::not_found(b"file"))?;
        let cluster = file_system.facts().bytes_per_cluster;
        let volume = self.volume_of(file.flags);
        let mut streams = file_system.streams(file)?;
        self.decrypt(catalogue, index, &mut streams);
        let state = |stream| Arc::new(StreamState::new(catalogue, index, stream, &volume, cluster));
        Ok(streams.into_iter().map(state).collect())
    }

    /// The attribute with which the file with this index is encrypted, and its content.
    pub(crate) fn open_encryption(
        &self,
        catalogue: &Catalogue,
        index: u32,
    ) -> Result<Option<Readable>, Error> {
        let file_system = self.need_file_system()?;
        let file = catalogue.file(index).ok_or_else(|| Error::not_found(b"file"))?;
        let cluster = file_system.facts().bytes_per_cluster;
        let volume = self.volume_of(file.flags);
        let Some(stream) = file_system.encryption(file)? else { return Ok(None) };
        let state = Arc::new(StreamState::new(catalogue, index, stream, &volume, cluster));
        let volume = self.volume_of_stream(catalogue, index, &state);
        let block = BlockId { volume: self.number(), record: file.record, stream: u32::MAX, unit: 0 };
        let opening =
            Opening { volume: &volume, cluster, overwritten: Overwritten::Error, cache: &self.cache, block };
        let content = opening.open(&state)?;
        Ok(Some((state, content)))
    }

    /// The volume as a stream of the file with this index is read.
    pub(crate) fn volume_of_stream(
        &self,
        catalogue: &Catalogue,
        index: u32,
        state: &StreamState,
    ) -> Arc<dyn ReadAt> {
        let flags = catalogue.file(index).map_or(FileFlags::empty(), |file| file.flags);
        self.remnants(index, state).unwrap_or_else(|| self.volume_of(flags))
    }

    fn lock_at_hand(&self) -> std::sync::MutexGuard<'_, LruCache<u32, Streams>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a stream of the file with this index; the first one is the unnamed stream where there is one.
    pub(crate) fn open(&self, index: u32, stream: usize) -> Result<Arc<dyn Content>, Error> {
        let streams = self.streams(index)?;
        let state = streams.get(stream).ok_or_else(|| Error::not_found(b"stream"))?;
        let file = self.need_catalogue()?.file(index);
        let record = file.map_or(0, |file| file.record);
        let flags = file.map_or(FileFlags::empty(), |file| file.flags);
        let volume = self.remnants(index, state).unwrap_or_else(|| self.volume_of(flags));
        let opening = Opening {
            volume: &volume,
            cluster: self.need_file_system()?.facts().bytes_per_cluster,
            overwritten: self.options.overwritten,
            cache: &self.cache,
            block: BlockId { volume: self.number(), record, stream: stream as u32, unit: 0 },
        };
        opening.open(state)
    }

    /// The volume as the content of a file with these flags is read.
    fn volume_of(&self, flags: FileFlags) -> Arc<dyn ReadAt> {
        match &self.opened.past {
            Some(past) if flags.contains(FileFlags::REMOVED) => past.leftovers(),
            Some(past) => past.presented(),
            None => self.opened.volume.clone(),
        }
    }

    /// The volume as a deleted file on an encrypted one is read: what was never encrypted is given as it stands. `None`
    /// where the difference does not matter.
    fn remnants(&self, index: u32, state: &StreamState) -> Option<Arc<dyn ReadAt>> {
        let (remnants, _) = self.judged(index, state)?;
        Some(Arc::new(remnants))
    }

    /// The same, with what the stream's own clusters show.
    fn judged(&self, index: u32, state: &StreamState) -> Option<(Remnants, Origin)> {
        // A shadow copy keeps what was in use, and all of that was encrypted.
        let unlocked = self.opened.unlocked.as_ref().filter(|_| self.opened.past.is_none())?;
        let catalogue = self.catalogue.get()?;
        let file = catalogue.file(index)?;
        let in_question = file.flags.contains(FileFlags::REMOVED) || unlocked.is_judged();
        if !in_question || state.runs().is_empty() {
            return None;
        }
        let cluster = self.facts()?.bytes_per_cluster;
        let remnants = Remnants::new(unlocked.clone(), cluster);
        let own = unencrypted::presumed(&remnants, state.runs(), cluster);
        let presumed = match own {
            Origin::Unclear => {
                let sample = || unencrypted::samples(self, catalogue, &remnants, cluster);
                unencrypted::nearest(self.samples.get_or_init(sample), state.runs())
            }
            shown => shown,
        };
        Some((remnants.unclear_as(presumed), own))
    }

    /// The bytes of a stream that are read as they stand on an encrypted volume because they never were encrypted;
    /// ascending, not touching. All of the stream is read for it. True where the stream's own content does not show
    /// whether it was encrypted, and what lies near decided.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn unencrypted(
        &self,
        index: u32,
        state: &StreamState,
    ) -> Result<(Vec<Range<u64>>, bool), Error> {
        let Some((remnants, own)) = self.judged(index, state) else {
            return Ok((Vec::new(), false));
        };
        let cluster = self.facts().map_or(0, |facts| facts.bytes_per_cluster);
        Ok((unencrypted::ranges(&remnants, state, cluster)?, own == Origin::Unclear))
    }

    /// Whether the begin of a stream on an encrypted volume never was encrypted, or does not show it.
    pub(crate) fn begins_unencrypted(&self, index: u32, state: &StreamState) -> bool {
        self.judged(index, state).is_some_and(|(_, origin)| origin != Origin::Encrypted)
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
        if flags.contains(FileFlags::RAW) {
            return self.open_raw(index);
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
        let file_system = &self.opened.file_system;
        file_system.as_ref().map_or_else(|| name.to_vec(), |file_system| file_system.fold_case(name))
    }
}

/// The clusters on the volume that a stream has.
fn clusters_of_layout(layout: &Layout) -> Vec<Range<u64>> {
    match layout {
        Layout::Resident(_) => Vec::new(),
        Layout::Runs(runs) => runs.iter().filter_map(clusters_of).collect(),
    }
}
