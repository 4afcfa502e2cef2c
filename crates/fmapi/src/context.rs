//! What a handle stands for: a restore context, and how far its caller has come with it.
//!
//! A context is created, given keys where it is locked, and scanned; from then on the state of the scan is a position in
//! a list. It stays usable when a call fails.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use undelfs_restore::{
    Context, DataStream, Entries, Options, Selection, View,
    bitlocker::{Conversion, Key},
};
use undelfs_source::{ErrorKind, Source};
use undelfs_volume::filesystem::{File, FileFlags, Watch};

use crate::{
    Code,
    abi::{
        CONTEXT_FLAG_DISK, CONTEXT_FLAG_EXTENDED, CONTEXT_FLAG_VOLUME, FLAG_SCAN_INCLUDE_REMOVED_DIRECTORIES,
        FLAG_SCAN_REGULAR_FILES, FLAG_SCAN_REMOVED_FILES, VOLUME_INFO_ENCRYPTED, VOLUME_INFO_LOCKED,
    },
    info::{self, Token},
    source_name,
    threads::with_workers,
    version::Version,
    wide,
};

/// All bits that a caller may set.
const KNOWN_FLAGS: u32 = CONTEXT_FLAG_VOLUME
    | CONTEXT_FLAG_DISK
    | FLAG_SCAN_REMOVED_FILES
    | FLAG_SCAN_REGULAR_FILES
    | FLAG_SCAN_INCLUDE_REMOVED_DIRECTORIES
    | CONTEXT_FLAG_EXTENDED;

/// What a context is created from.
pub(crate) struct Request<'a> {
    pub(crate) volume: &'a [u16],
    pub(crate) flags: u32,
    pub(crate) start_sector: i64,
    pub(crate) boot_sector: i64,
    pub(crate) version: u32,
}

/// A context of a caller.
pub(crate) struct RestoreContext {
    version: Version,
    /// What version 2 made obsolete works.
    extended: bool,
    flags: u32,
    state: Mutex<State>,
}

enum State {
    Created(Box<Created>),
    Scanning(Scanning),
    Closed,
}

/// A context that was not scanned.
struct Created {
    context: Context,
    /// To open the volume once more, where its keys are needed to find out what it is.
    source: Arc<Source>,
    selection: Selection,
    options: Options,
}

/// A context whose scan was begun. At the end of the list it is exhausted.
struct Scanning {
    context: Arc<Context>,
    entries: Entries,
    position: usize,
    path: Vec<u16>,
}

/// What a scan has next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// An entry; the scan is behind it.
    Entry(Vec<u8>),
    /// The room was too small; the size in bytes that is needed. The scan stays where it is.
    Needs(u32),
}

impl RestoreContext {
    /// Opens a volume. Locked ones open too.
    pub(crate) fn create(
        request: &Request<'_>,
        only_version: Option<&str>,
        extended: bool,
    ) -> Result<Self, Code> {
        let version = Version::accept(request.version, only_version)?;
        let flags = request.flags;
        let has = |flag| flags & flag != 0;
        if flags & !KNOWN_FLAGS != 0 || has(CONTEXT_FLAG_VOLUME) == has(CONTEXT_FLAG_DISK) {
            return Err(Code::INVALID_PARAMETER);
        }
        let sector = |number: i64| u64::try_from(number).map_err(|_| Code::INVALID_PARAMETER);
        let mut selection = Selection::default();
        if has(CONTEXT_FLAG_DISK) {
            selection.start_sector = Some(sector(request.start_sector)?);
            selection.boot_sector = Some(sector(request.boot_sector)?);
        }
        let view = match (has(FLAG_SCAN_REMOVED_FILES), has(FLAG_SCAN_REGULAR_FILES)) {
            (true, true) => View::All,
            (false, true) => View::Regular,
            _ => View::Deleted,
        };
        let options = Options { view, ..Options::default() };
        let path = source_name::resolve(request.volume)?;
        let source = Arc::new(Source::open(&path).map_err(|error| Code(error.kind().win32()))?);
        let context = open(&source, &selection, &options, &[], &())?;
        let created = Created { context, source, selection, options };
        let extended = extended || has(CONTEXT_FLAG_EXTENDED);
        Ok(Self { version, extended, flags, state: Mutex::new(State::Created(Box::new(created))) })
    }

    /// Closes what is open. Nobody may be in a call.
    pub(crate) fn close(&self) {
        *self.lock() = State::Closed;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error where the context's version does not have what it had in version 1.
    fn need_version_1(&self) -> Result<(), Code> {
        match self.version {
            Version::Two if !self.extended => Err(Code::NOT_SUPPORTED),
            _ => Ok(()),
        }
    }

    /// The `VOLUME_INFO_*` bits, and the size of the volume in bytes: 0 where only a part of it is encrypted.
    pub(crate) fn encryption(&self) -> Result<(u32, u64), Code> {
        self.need_version_1()?;
        let state = self.lock();
        let context = match &*state {
            State::Created(created) => &created.context,
            State::Scanning(scanning) => &*scanning.context,
            State::Closed => return Err(Code::INVALID_HANDLE),
        };
        let volume = context.volume();
        let size = volume.sectors.saturating_mul(volume.sector_size.into());
        let Some(encryption) = context.encryption() else {
            return Ok((0, size));
        };
        let locked = if context.is_locked() { VOLUME_INFO_LOCKED } else { 0 };
        Ok(match encryption.facts().map(|facts| facts.conversion) {
            Some(Conversion::Decrypted) => (locked, size),
            Some(Conversion::Encrypted) | None => (VOLUME_INFO_ENCRYPTED | locked, size),
            Some(_) => (VOLUME_INFO_ENCRYPTED | locked, 0),
        })
    }

    /// Unlocks the volume. Where no key fits, it can be tried again. `keys` are asked for only where they can be used.
    pub(crate) fn unlock(
        &self,
        keys: impl FnOnce() -> Result<Vec<Key>, Code>,
        watch: &dyn Watch,
    ) -> Result<(), Code> {
        self.need_version_1()?;
        let mut state = self.lock();
        let State::Created(created) = &mut *state else {
            return Err(Code::INVALID_PARAMETER);
        };
        if created.context.encryption().is_none() || created.context.catalogue().is_some() {
            return Err(Code::INVALID_PARAMETER);
        }
        let keys = keys()?;
        let error = match created.context.unlock(&keys, watch) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let described = created.context.encryption().is_some_and(|encryption| encryption.facts().is_some());
        if described || error.kind() == ErrorKind::Cancelled {
            return Err(error.into());
        }
        // No metadata was found at the begin of the volume. Who has keys knows that it is encrypted: all of it is
        // searched.
        let again = open(&created.source, &created.selection, &created.options, &keys, watch)?;
        if again.is_locked() {
            return Err(error.into());
        }
        created.context = again;
        Ok(())
    }

    /// The next entry of the scan, where it has room in `room` bytes. `folder` is asked for on the first call only.
    pub(crate) fn next(
        &self,
        handle: usize,
        folder: impl FnOnce() -> Result<Vec<u16>, Code>,
        room: usize,
        watch: &dyn Watch,
    ) -> Result<Next, Code> {
        let mut state = self.lock();
        if matches!(*state, State::Created(_)) {
            self.begin(&mut state, folder, watch)?;
        }
        let State::Scanning(scanning) = &mut *state else {
            return Err(Code::INVALID_HANDLE);
        };
        let Scanning { entries, position, path, .. } = scanning;
        let entry = entries.get(*position).ok_or(Code::NO_MORE_FILES)?;
        info::write_path(&entry, path);
        let (_, size) = info::sizes(path.len());
        if size > info::MAX_SIZE {
            return Err(Code::FILENAME_TOO_LONG);
        }
        if room < size {
            return Ok(Next::Needs(u32::try_from(size).unwrap_or(u32::MAX)));
        }
        let token = Token { handle: handle as u64, position: *position as u64, record: entry.file.record };
        let structure = info::encode(&entry, path, self.version.number(), token);
        *position = position.saturating_add(1);
        Ok(Next::Entry(structure))
    }

    /// Scans the volume and makes the list. Where that fails the context stays as it was.
    fn begin(
        &self,
        state: &mut State,
        folder: impl FnOnce() -> Result<Vec<u16>, Code>,
        watch: &dyn Watch,
    ) -> Result<(), Code> {
        let State::Created(created) = &*state else {
            return Ok(());
        };
        let context = &created.context;
        if context.is_locked() {
            return Err(Code::ACCESS_DENIED);
        }
        let (removed, regular) =
            (self.flags & FLAG_SCAN_REMOVED_FILES != 0, self.flags & FLAG_SCAN_REGULAR_FILES != 0);
        if !removed && !regular {
            return Err(Code::NO_MORE_FILES);
        }
        let folder = names(&folder()?);
        with_workers(|| context.scan(watch))??;
        let directories = self.flags & FLAG_SCAN_INCLUDE_REMOVED_DIRECTORIES != 0;
        let wanted = |file: &File| {
            let has = |flag| file.flags.contains(flag);
            let kind = match has(FileFlags::REMOVED) {
                true => removed && (directories || !has(FileFlags::DIRECTORY)),
                false => regular,
            };
            kind && !has(FileFlags::JOURNAL_ONLY)
        };
        let entries = context.entries(&folder, wanted).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Code::PATH_NOT_FOUND,
            _ => error.into(),
        })?;
        if let State::Created(created) = mem::replace(state, State::Closed) {
            let Created { context, .. } = *created;
            *state = State::Scanning(Scanning {
                context: Arc::new(context),
                entries,
                position: 0,
                path: Vec::new(),
            });
        }
        Ok(())
    }

    /// An error unless `token` stands for a file of this context that has streams.
    pub(crate) fn check(&self, token: Token) -> Result<(), Code> {
        let state = self.lock();
        let State::Scanning(Scanning { entries, .. }) = &*state else {
            return Err(Code::INVALID_PARAMETER);
        };
        let file = usize::try_from(token.position).ok().and_then(|position| entries.file(position));
        match file {
            Some(file) if file.record == token.record && !file.flags.contains(FileFlags::DIRECTORY) => Ok(()),
            _ => Err(Code::INVALID_PARAMETER),
        }
    }

    /// The streams of a file.
    pub(crate) fn streams(&self, token: Token) -> Result<Vec<DataStream>, Code> {
        let state = self.lock();
        let State::Scanning(Scanning { context, entries, .. }) = &*state else {
            return Err(Code::INVALID_HANDLE);
        };
        let position = usize::try_from(token.position).unwrap_or(usize::MAX);
        Ok(context.data_streams(entries, position)?)
    }
}

/// Opens the one volume that is meant.
fn open(
    source: &Arc<Source>,
    selection: &Selection,
    options: &Options,
    keys: &[Key],
    watch: &dyn Watch,
) -> Result<Context, Code> {
    let mut contexts = Context::open_all(source.clone(), selection, options, keys, watch)?.into_iter();
    match (contexts.next(), contexts.next()) {
        (Some(only), None) => Ok(only),
        // Which of several volumes is meant, only a sector can say.
        _ => Err(Code::INVALID_PARAMETER),
    }
}

/// The names of a path with either slash.
fn names(path: &[u16]) -> Vec<Vec<u8>> {
    let slash = |unit: &u16| *unit == u16::from(b'\\') || *unit == u16::from(b'/');
    path.split(slash).filter(|name| !name.is_empty()).map(wide::to_wtf8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(flags: u32, start_sector: i64, boot_sector: i64) -> Option<Code> {
        let volume: Vec<u16> = "/no/such/image".encode_utf16().collect();
        let request = Request { volume: &volume, flags, start_sector, boot_sector, version: 0x0002_0000 };
        RestoreContext::create(&request, None, false).err()
    }

    #[test]
    fn exactly_one_of_volume_and_disk_is_asked_for_and_no_unknown_flag() {
        for flags in [0, 3, 4, 7, 0x21, 0x41, 0x4000_0001] {
            assert_eq!(create(flags, 0, 0), Some(Code::INVALID_PARAMETER), "{flags:#x}");
        }
        for flags in [1, 2, 0x1D, 0x8000_001E] {
            assert_eq!(create(flags, 0, 0), Some(Code::FILE_NOT_FOUND), "{flags:#x}");
        }
    }

    #[test]
    fn negative_sectors_count_only_for_a_disk() {
        assert_eq!(create(1, -1, -1), Some(Code::FILE_NOT_FOUND));
        assert_eq!(create(2, -1, 0), Some(Code::INVALID_PARAMETER));
        assert_eq!(create(2, 0, i64::MIN), Some(Code::INVALID_PARAMETER));
    }

    #[test]
    fn a_path_has_either_slash_and_any_number_of_them() {
        for path in [r"\a\b", "a/b", r"\\a//b\", r"a\/b"] {
            let units: Vec<u16> = path.encode_utf16().collect();
            assert_eq!(names(&units), [b"a".to_vec(), b"b".to_vec()], "{path}");
        }
        assert!(names(&[0x5C]).is_empty() && names(&[]).is_empty());
    }
}
