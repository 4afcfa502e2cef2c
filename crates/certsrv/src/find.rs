//! Finding CAs: on the volumes of a source, and in a folder of this machine.

use std::{
    collections::HashSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use undelfs_restore::Context;
use undelfs_source::{ReadAt, ReadError};
use undelfs_volume::filesystem::{FileFlags, Watch};

use crate::{
    Authority, Error, Found, HResult, Log, RestoreMap,
    authority::{CaFile, ContentBytes},
    candidate::{Candidate, Discovery, assemble},
    ese::{Database, log_generation},
    hive::Configuration,
    restore_map::MAP_NAME,
    windows_path::file_name,
};

/// A folder of the machine is searched so deep, and so many files of it are looked at.
const MAX_DEPTH: usize = 24;
const MAX_FILES: usize = 1 << 20;
/// Databases, logs and checkpoints are made of pages and sectors that make whole blocks of so many bytes.
const BLOCK: u64 = 4096;
/// Largest restore map that is read, in bytes.
const MAX_MAP: usize = 1 << 20;

/// Looks for CAs on a scanned volume: by the registry, in the default folder, and by the content of every file, live or
/// deleted. `watch` counts the files that are looked at.
///
/// # Errors
/// When the volume was not scanned, or `watch` cancelled it. A file that cannot be read is none.
pub fn on_volume(context: &Context, watch: &dyn Watch) -> Result<Discovery, Error> {
    let has = |flags: FileFlags, flag| flags.contains(flag);
    let mut entries = context.entries(&[], |file| {
        let flags = file.flags;
        let none = FileFlags::DIRECTORY | FileFlags::LINK | FileFlags::NO_CONTENT | FileFlags::METADATA;
        !flags.intersects(none) && !has(flags, FileFlags::JOURNAL_ONLY) && file.size > 0
    })?;
    watch.total(entries.len() as u64);
    let (mut candidates, mut hives, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for position in 0..entries.len() {
        if watch.cancelled() {
            return Err(Error::cancelled());
        }
        watch.advance(1);
        let Some(entry) = entries.get(position) else { continue };
        let (path, size) = (String::from_utf8_lossy(entry.path).into_owned(), entry.file.size);
        let deleted = has(entry.file.flags, FileFlags::REMOVED);
        let record = entry.file.record;
        let is_hive = is_system_hive(&path);
        if !is_hive && !is_possible(&path, size) {
            continue;
        }
        // A file with several names is one file.
        if !seen.insert(record) {
            continue;
        }
        let Ok(streams) = context.data_streams(&entries, position) else { continue };
        let Some(stream) = streams.into_iter().find(|stream| stream.name.is_empty()) else { continue };
        let Ok(content) = stream.content else { continue };
        let file = CaFile {
            path: format!("/{path}"),
            bytes: Arc::new(ContentBytes(content)),
            deleted,
            incomplete: stream.overwritten,
        };
        if is_hive {
            hives.push(file);
            continue;
        }
        let Ok(begin) = file.begin(Candidate::BEGIN) else { continue };
        let names = path.split('/').map(str::to_owned).collect();
        candidates.extend(Candidate::new(names, file, &begin));
    }
    hives.sort_by_key(|file| (file.deleted, file.incomplete));
    let configuration = hives.iter().find_map(|file| match Configuration::read(file) {
        Ok(configuration) => Some(configuration),
        Err(error) => {
            notes.push(error);
            None
        }
    });
    let mut discovery = assemble(candidates, configuration.as_ref());
    if discovery.authorities.is_empty() && configuration.is_none() {
        // That a machine without a CA names none is no news.
        notes.clear();
    }
    if let Some(own) = configuration.filter(|_| discovery.authorities.is_empty()) {
        let folder = &own.places.database;
        discovery
            .notes
            .push(format!("the registry names {}, whose database in {folder} was not found", own.active));
    }
    discovery.notes.append(&mut notes);
    Ok(discovery)
}

/// Whether a file can be one of a CA's by its size or its name.
fn is_possible(path: &str, size: u64) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let by_name = [".edb", ".log", ".crl"].iter().any(|end| name.ends_with(end));
    size >= BLOCK && size.is_multiple_of(BLOCK) || by_name
}

fn is_system_hive(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.ends_with("/system32/config/system")
}

/// Looks for CAs in a folder of this machine: a mounted volume, or any folder with the files of one.
///
/// # Errors
/// When the folder cannot be listed, or `watch` cancelled it.
pub fn in_folder(root: &Path, watch: &dyn Watch) -> Result<Discovery, Error> {
    let failed = |path: &Path, error| Error::Restore(undelfs_restore::Error::Write(annotated(path, &error)));
    fs::read_dir(root).map_err(|error| failed(root, error))?;
    let (mut candidates, mut hives) = (Vec::new(), Vec::new());
    let mut waiting = vec![(root.to_owned(), Vec::<String>::new())];
    let mut looked_at = 0usize;
    while let Some((folder, names)) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if watch.cancelled() {
                return Err(Error::cancelled());
            }
            let mut names = names.clone();
            names.push(entry.file_name().to_string_lossy().into_owned());
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.is_dir() && names.len() < MAX_DEPTH {
                waiting.push((entry.path(), names));
                continue;
            }
            let path = names.join("/");
            let is_hive = is_system_hive(&format!("/{path}"));
            if !metadata.is_file()
                || looked_at >= MAX_FILES
                || !(is_hive || is_possible(&path, metadata.len()))
            {
                continue;
            }
            looked_at = looked_at.saturating_add(1);
            let Ok(file) = open(&entry.path()) else { continue };
            if is_hive {
                hives.push(file);
            } else if let Ok(begin) = file.begin(Candidate::BEGIN) {
                candidates.extend(Candidate::new(names, file, &begin));
            }
        }
    }
    candidates.sort_by(|one, other| one.names.cmp(&other.names));
    let configuration = hives.iter().find_map(|file| Configuration::read(file).ok());
    Ok(assemble(candidates, configuration.as_ref()))
}

fn annotated(path: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Opens a file of this machine for reading.
///
/// # Errors
/// When it cannot be opened.
pub fn open(path: &Path) -> Result<CaFile, Error> {
    let failed = |error| Error::Restore(undelfs_restore::Error::Write(annotated(path, &error)));
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let bytes = HostFile { path: path.to_owned(), file, size };
    Ok(CaFile { path: path.display().to_string(), bytes: Arc::new(bytes), deleted: false, incomplete: false })
}

/// Opens a database of this machine, with what belongs to it in its folder. Whether it is a CA's is not asked.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn in_file(path: &Path) -> Result<Authority, Error> {
    let file = open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    alone(file, folder, Found::Content)
}

/// A database with the numbered logs that stand beside it, whatever they are signed with.
fn alone(file: CaFile, folder: &Path, found: Found) -> Result<Authority, Error> {
    let database = Database::open(file.bytes.clone())?;
    let logs = logs_in(folder)?;
    let name =
        Path::new(file_name(&file.path)).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let computer = database.header.signature.computer().unwrap_or_else(|| "localhost".to_owned());
    Ok(Authority {
        name,
        computer,
        places: crate::Places::default(),
        found,
        file,
        database,
        logs,
        checkpoint: None,
        dynamic: Vec::new(),
        map: None,
        notes: Vec::new(),
    })
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::Restore(undelfs_restore::Error::Write(annotated(folder, &error)));
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// The folder of a backup set in which its files stand: `DataBase` in it, in whichever case, or itself.
pub fn set_folder(set: &Path) -> Option<PathBuf> {
    let named = |folder: &Path, name: &str| {
        let paths = sorted(folder).ok()?;
        paths
            .into_iter()
            .find(|path| path.file_name().is_some_and(|own| own.to_string_lossy().eq_ignore_ascii_case(name)))
    };
    let inside = named(set, "DataBase").filter(|folder| folder.is_dir());
    let itself = || named(set, MAP_NAME).map(|_| set.to_owned());
    inside.or_else(itself)
}

/// Opens a backup set: `DataBase` with `certbkxp.dat`, a database and logs.
///
/// # Errors
/// When the folder is not laid out as one, or its database cannot be read. A restore map that is damaged is no error here.
pub fn backup_set(set: &Path) -> Result<Authority, Error> {
    let refused = |reason: String| Error::refused(HResult::DIRECTORY, reason);
    let shown = set.display();
    let folder = set_folder(set)
        .ok_or_else(|| refused(format!("{shown} has no folder DataBase: it is no backup set")))?;
    let paths = sorted(&folder)?;
    let name_of =
        |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let map_path = paths.iter().find(|path| name_of(path).eq_ignore_ascii_case(MAP_NAME));
    let map = match map_path {
        Some(path) => open(path).and_then(|file| RestoreMap::parse(&file.begin(MAX_MAP)?)),
        None => Err(refused(format!("{} has no {MAP_NAME}", folder.display()))),
    };
    let databases: Vec<&PathBuf> =
        paths.iter().filter(|path| name_of(path).to_ascii_lowercase().ends_with(".edb")).collect();
    let wanted = map.as_ref().ok().map(|map| file_name(&map.database).to_owned());
    let named = wanted
        .as_deref()
        .and_then(|wanted| databases.iter().find(|path| name_of(path).eq_ignore_ascii_case(wanted)));
    let database = match (named, databases.as_slice(), wanted) {
        (Some(path), _, _) => (*path).clone(),
        (None, [only], None) => (*only).clone(),
        (None, _, Some(wanted)) => {
            let reason = format!("{} has no {wanted}, which its restore map names", folder.display());
            return Err(refused(reason));
        }
        (None, _, None) => {
            let reason = format!(
                "{} has {} databases and no restore map that tells which",
                folder.display(),
                databases.len()
            );
            return Err(refused(reason));
        }
    };
    let mut authority = alone(open(&database)?, &folder, Found::BackupSet)?;
    authority.map = Some(map);
    Ok(authority)
}

/// The numbered logs in a folder, ascending: all that an incremental set has.
///
/// # Errors
/// When the folder cannot be listed.
pub fn logs_in(folder: &Path) -> Result<Vec<Log>, Error> {
    let mut logs = Vec::new();
    for path in sorted(folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // The log that is being written has no number in its name yet.
        let current = name.eq_ignore_ascii_case("edb.log");
        let numbered = log_generation(&name);
        if !current && numbered.is_none() {
            continue;
        }
        let file = open(&path)?;
        let begin = file.begin(Candidate::BEGIN)?;
        let header = crate::ese::LogHeader::parse(&begin, 0).ok().filter(|header| header.sound);
        if let Some(generation) = numbered.or_else(|| header.as_ref().map(|header| header.generation)) {
            logs.push(Log { generation, header, file });
        }
    }
    logs.sort_by_key(|log| (log.generation, log_generation(file_name(&log.file.path)).is_none()));
    logs.dedup_by_key(|log| log.generation);
    Ok(logs)
}

/// A file of this machine.
struct HostFile {
    path: PathBuf,
    file: File,
    size: u64,
}

impl HostFile {
    #[cfg(unix)]
    fn read(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buf, offset)
    }

    #[cfg(windows)]
    fn read(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buf, offset)
    }
}

impl ReadAt for HostFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let mut done = 0usize;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let len = rest.len() as u64;
            let at = offset.saturating_add(done as u64);
            match self.read(rest, at) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let what = self.path.display().to_string();
                    return Err(ReadError::Medium { what, offset: at, len, error });
                }
            }
        }
        Ok(done)
    }
}

/// True for a file that begins as a database does.
pub fn is_database(path: &Path) -> bool {
    let begin = open(path).and_then(|file| file.begin(crate::ese::HEADER));
    begin.is_ok_and(|begin| crate::ese::Header::is_one(&begin))
}
