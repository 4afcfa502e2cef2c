//! Writing a backup set, laid out as `certutil -backupdb` does.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use undelfs_volume::filesystem::Watch;

use crate::{
    BackupSession, Error, HResult, MAP_NAME, list::decode, registration::partial, windows_path::file_name,
};

/// The folder of a set in which its files stand.
pub const SET_FOLDER: &str = "DataBase";
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Writes the set of a session into `DataBase` below `destination`, a session of logs only without a database. Each file
/// takes its name when it is whole, the restore map last, so that what is cut short is no set. Returns what was written.
/// `watch` counts the bytes.
///
/// # Errors
/// When a file is there already, or cannot be read or written, or a log is missing that the database needs.
pub fn write_set(
    session: &mut BackupSession,
    destination: &Path,
    full: bool,
    watch: &dyn Watch,
) -> Result<Vec<PathBuf>, Error> {
    let folder = destination.join(SET_FOLDER);
    fs::create_dir_all(&folder).map_err(|error| Error::write("make", &folder, error))?;
    let authority = session.authority();
    let logs = authority.logs_of_set()?;
    let database = if full { authority.file.size() } else { 0 };
    watch.total(logs.iter().map(|log| log.file.size()).fold(database, u64::saturating_add));
    let mut written = Vec::new();
    let databases = if full { paths(&session.database_names()?)? } else { Vec::new() };
    for path in databases {
        written.push(copy(session, &path, &folder, watch)?);
    }
    for path in paths(&session.backup_logs()?)? {
        written.push(copy(session, &path, &folder, watch)?);
    }
    let map: Vec<u8> = session.database_locations().into_iter().flat_map(u16::to_le_bytes).collect();
    let path = folder.join(MAP_NAME);
    let part = partial(&path);
    new_file(&path)?;
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(&map)?;
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    write().map_err(|error| Error::write("write", &path, error))?;
    written.push(path);
    Ok(written)
}

fn paths(list: &[u16]) -> Result<Vec<String>, Error> {
    let bytes: Vec<u8> = list.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    Ok(decode(&bytes, "the list of files")?.into_iter().map(|(_, path)| path).collect())
}

/// An error where anything stands at `path`.
fn new_file(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Ok(_) => {
            let reason = format!("{} is there already; a set is written into a new folder", path.display());
            Err(Error::refused(HResult::RESTORE_MAP_EXISTS, reason))
        }
        Err(_) => Ok(()),
    }
}

fn copy(session: &mut BackupSession, name: &str, folder: &Path, watch: &dyn Watch) -> Result<PathBuf, Error> {
    let path = folder.join(file_name(name));
    new_file(&path)?;
    let part = partial(&path);
    let failed = |error| Error::write("write", &part, error);
    let size = session.open_file(name)?;
    let mut file = File::create(&part).map_err(failed)?;
    let mut buf = vec![0; PIECE];
    let mut done = 0u64;
    loop {
        if watch.cancelled() {
            return Err(Error::cancelled());
        }
        let read = session.read(&mut buf)?;
        if read == 0 {
            break;
        }
        file.write_all(buf.get(..read).unwrap_or_default()).map_err(failed)?;
        watch.advance(read as u64);
        done = done.saturating_add(read as u64);
    }
    session.close_file()?;
    if done != size {
        let reason = format!("{name} ended at byte {done} of {size}");
        return Err(Error::refused(HResult::BACKUP_FILE_DAMAGED, reason));
    }
    file.sync_all().map_err(failed)?;
    fs::rename(&part, &path).map_err(failed)?;
    Ok(path)
}
