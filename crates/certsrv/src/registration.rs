//! What stands on disk while files are restored: the registration, and files that are not whole yet.
//!
//! A file is written under a name of its own and takes its place only when all are whole, logs before the database. The
//! registration says up to where that has come, so that after a crash the same call goes on.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use undelfs_source::ReadAt;
use undelfs_volume::filesystem::Watch;

use crate::{Error, HResult, authority::CaFile, contents::hex, find};

/// The name of the registration, in the folder of the logs. It is called as the key of the registry is in which Windows
/// keeps the same.
pub(crate) const REGISTRATION: &str = "RestoreInProgress.json";
/// What the name of a file ends in until it is whole.
pub(crate) const PARTIAL: &str = ".undelfs-partial";
/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// A file that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Where it goes.
    pub(crate) path: PathBuf,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its SHA-256, once it was copied.
    pub(crate) sha256: Option<String>,
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Files are being copied, under names of their own.
    Copying,
    /// All are copied; they wait for their names.
    Copied,
    /// They are taking their names.
    Placing,
    /// They stand in their places. Incremental sets may follow.
    Complete,
}

/// The registration of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What it is, for whoever finds the file.
    pub(crate) what: String,
    pub(crate) step: Step,
    /// Whether a full set was restored, or is being.
    pub(crate) full: bool,
    /// Where the set is.
    pub(crate) backup: PathBuf,
    pub(crate) low: u32,
    pub(crate) high: u32,
    /// Ties later sets to the first one: the log signature of its database.
    pub(crate) log_signature: String,
    /// The files of the set that is being restored.
    pub(crate) files: Vec<Target>,
    /// Highest generation that stands in its place.
    pub(crate) restored_high: u32,
    /// The database of the full set, which the logs of others must fit.
    pub(crate) database: Option<PathBuf>,
}

impl Record {
    /// Reads the registration in a folder; `None` where there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(REGISTRATION);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let reason =
                    format!("{} is damaged ({error}); remove it to begin the restore anew", path.display());
                Error::refused(HResult::RESTORE_IN_PROGRESS, reason)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::write("read", &path, error)),
        }
    }

    /// Writes the registration so that it is the old or the new one, never a part.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(REGISTRATION);
        let part = partial(&path);
        let failed = |error| Error::write("write", &path, error);
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        let write = || -> io::Result<()> {
            let mut file = File::create(&part)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            sync_folder(folder)
        };
        write().map_err(failed)
    }

    /// Takes the registration away.
    pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
        let path = folder.join(REGISTRATION);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::write("remove", &path, error))
            }
            _ => sync_folder(folder).map_err(|error| Error::write("write", folder, error)),
        }
    }
}

/// The name that a file has until it is whole.
pub(crate) fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    path.with_file_name(name)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Copies a file to its target under a name of its own, and notes its SHA-256. What stands whole in its place, or under its
/// own name from an earlier try, is left as it is.
///
/// # Errors
/// When something else stands in its place, or it cannot be read or written.
pub(crate) fn copy(file: &CaFile, target: &mut Target, watch: &dyn Watch) -> Result<(), Error> {
    let sum = hash(&*file.bytes, watch)?;
    let part = partial(&target.path);
    if !is_whole(&target.path, target.size, &sum)? {
        if target.path.symlink_metadata().is_ok() {
            let reason =
                format!("{} is there already and is another file; move it away", target.path.display());
            return Err(Error::refused(HResult::RESTORE_MAP_EXISTS, reason));
        }
        if !is_whole(&part, target.size, &sum)? {
            write(file, &part, watch)?;
        }
    }
    target.sha256 = Some(sum);
    Ok(())
}

fn write(file: &CaFile, part: &Path, watch: &dyn Watch) -> Result<(), Error> {
    let failed = |error| Error::write("write", part, error);
    // What stands there is the rest of an earlier try. A link is not followed.
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut to = File::options().write(true).create_new(true).open(part).map_err(failed)?;
    let mut buf = vec![0; PIECE];
    let mut at = 0u64;
    while at < file.size() {
        if watch.cancelled() {
            return Err(Error::cancelled());
        }
        let read = file.bytes.read_at(&mut buf, at)?;
        if read == 0 {
            let reason = format!("{} ends at byte {at} of {}", file.path, file.size());
            return Err(Error::refused(HResult::BACKUP_FILE_DAMAGED, reason));
        }
        to.write_all(buf.get(..read).unwrap_or_default()).map_err(failed)?;
        watch.advance(read as u64);
        at = at.saturating_add(read as u64);
    }
    to.sync_all().map_err(failed)
}

fn hash(bytes: &dyn ReadAt, watch: &dyn Watch) -> Result<String, Error> {
    let mut sum = Sha256::new();
    let mut buf = vec![0; PIECE];
    let mut at = 0u64;
    loop {
        if watch.cancelled() {
            return Err(Error::cancelled());
        }
        match bytes.read_at(&mut buf, at)? {
            0 => return Ok(hex(&sum.finalize())),
            read => {
                sum.update(buf.get(..read).unwrap_or_default());
                at = at.saturating_add(read as u64);
            }
        }
    }
}

/// Whether a file stands at `path` that has this size and SHA-256. What cannot be opened does not.
fn is_whole(path: &Path, size: u64, sum: &str) -> Result<bool, Error> {
    let plain = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size);
    Ok(plain && hash(&*find::open(path)?.bytes, &())? == sum)
}

/// Gives a copied file its name.
///
/// # Errors
/// When neither stands in its place nor waits for it what was copied.
pub(crate) fn place(target: &Target) -> Result<(), Error> {
    let part = partial(&target.path);
    let sum = target.sha256.as_deref().unwrap_or_default();
    if is_whole(&part, target.size, sum)? {
        if target.path.symlink_metadata().is_ok() && !is_whole(&target.path, target.size, sum)? {
            let reason =
                format!("{} is there already and is another file; move it away", target.path.display());
            return Err(Error::refused(HResult::RESTORE_MAP_EXISTS, reason));
        }
        fs::rename(&part, &target.path).map_err(|error| Error::write("rename to", &target.path, error))?;
        let folder = target.path.parent().unwrap_or(Path::new("."));
        return sync_folder(folder).map_err(|error| Error::write("write", folder, error));
    }
    if is_whole(&target.path, target.size, sum)? {
        return Ok(());
    }
    let reason =
        format!("{} is no more what was copied to it; register the restore again", target.path.display());
    Err(Error::refused(HResult::LOG_FILE_NOT_COPIED, reason))
}

/// Takes away what is left of a copy that did not become whole.
pub(crate) fn discard(target: &Target) {
    // What cannot be removed has a name that nobody takes for a database's or a log's.
    let _ = fs::remove_file(partial(&target.path));
}
