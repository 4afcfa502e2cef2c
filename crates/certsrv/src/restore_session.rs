//! A restore session: what a set must be to be restored, the order of calls, and where its files go.

use std::{
    fs,
    path::{Path, PathBuf},
};

use undelfs_volume::filesystem::Watch;

use crate::{
    Authority, Error, HResult, Log,
    authority::CaFile,
    ese::log_name,
    find,
    registration::{Record, Step, Target, copy, discard, place},
    verify::{check_log, verify},
    windows_path::file_name,
};

/// `CSRESTORE_TYPE_FULL`: a database and its logs; without it a set of logs is added to a full one.
pub const RESTORE_FULL: u32 = 1;

/// What must be done after a restore.
pub const ADVICE: &str = "start the certification authority, let it recover, and make a new full backup at once: backups \
                          from before this restore, incremental ones too, must not be mixed with later ones";

/// `CSEDB_RSTMAPW`: a database of the set, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapEntry {
    /// Its name in the backup: a path, of which the last name counts, or where the file itself stands.
    pub database: String,
    /// Where it goes, with its name.
    pub target: PathBuf,
}

/// What `CertSrvRestoreRegister` is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registration {
    /// Folder of the checkpoint. Nothing is put there.
    pub checkpoint: Option<PathBuf>,
    /// Where the logs go; without it beside the database.
    pub logs: Option<PathBuf>,
    /// The databases; none for an incremental set.
    pub map: Vec<MapEntry>,
    /// Where the set is; without it its files stand where the logs go.
    pub backup: Option<PathBuf>,
    /// Lowest generation of the set; 0, and 0 for the highest, where a full set has no logs.
    pub low: u32,
    /// Highest one.
    pub high: u32,
}

/// A restore session.
#[derive(Debug)]
pub struct RestoreSession {
    full: bool,
    /// Folders of the source, into which nothing is restored.
    sources: Vec<PathBuf>,
    state: State,
}

#[derive(Debug)]
enum State {
    Prepared,
    /// Between `Register` and `RegisterComplete`: the folder of the registration.
    Registered(PathBuf),
    /// At least one set stands in its place.
    Complete(PathBuf),
}

impl RestoreSession {
    /// `CertSrvRestorePrepare`. Nothing is restored into `sources` or below them.
    ///
    /// # Errors
    /// When `flags` are neither 0 nor a full restore.
    pub fn prepare(flags: u32, sources: Vec<PathBuf>) -> Result<Self, Error> {
        if flags & !RESTORE_FULL != 0 {
            let reason = format!("the type of a restore is 1 (full) or 0 (incremental), not {flags}");
            return Err(Error::refused(HResult::INVALID_PARAMETER, reason));
        }
        let sources = sources.iter().map(|path| absolute(path)).collect();
        Ok(Self { full: flags & RESTORE_FULL != 0, sources, state: State::Prepared })
    }

    /// `CertSrvRestoreRegister`: checks the set, and copies it to where it goes, under names that nobody takes for a
    /// database's. `watch` counts the bytes. After a crash, in a new session, the same call goes on.
    ///
    /// # Errors
    /// When a set is registered already, the set cannot be restored, something else stands where its files go, or they would go to the
    /// source.
    pub fn register(&mut self, wanted: &Registration, watch: &dyn Watch) -> Result<(), Error> {
        if let State::Registered(folder) = &self.state {
            let reason = format!("a restore to {} is registered: complete it first", folder.display());
            return Err(Error::refused(HResult::RESTORE_IN_PROGRESS, reason));
        }
        let plan = Plan::new(wanted, self.full)?;
        for target in plan.targets() {
            refuse_on_source(self.sources.iter().map(PathBuf::as_path), target)?;
        }
        let known = Record::read(&plan.logs)?;
        let mut record = plan.record(known, matches!(self.state, State::Complete(_)))?;
        fs::create_dir_all(&plan.logs).map_err(|error| Error::write("make", &plan.logs, error))?;
        if record.step == Step::Copying {
            plan.check(&record, watch)?;
            record.write(&plan.logs)?;
            watch.total(plan.files.iter().map(|(_, target)| target.size).sum());
            let mut copied = Vec::with_capacity(plan.files.len());
            for (file, target) in &plan.files {
                let mut target = target.clone();
                let folder = target.path.parent().unwrap_or(Path::new("."));
                fs::create_dir_all(folder).map_err(|error| Error::write("make", folder, error))?;
                copy(file, &mut target, watch)?;
                copied.push(target);
            }
            record.files = copied;
            record.step = Step::Copied;
            record.write(&plan.logs)?;
        }
        self.state = State::Registered(plan.logs);
        Ok(())
    }

    /// `CertSrvRestoreRegisterComplete`: with success the files take their names, logs before the database; with a failure what was
    /// copied is taken away again.
    ///
    /// # Errors
    /// When nothing is registered, or a file cannot take its name.
    pub fn register_complete(&mut self, result: HResult) -> Result<(), Error> {
        let State::Registered(folder) = &self.state else {
            let reason = "nothing is registered that could be completed";
            return Err(Error::refused(HResult::UNEXPECTED, reason));
        };
        let folder = folder.clone();
        let Some(mut record) = Record::read(&folder)? else {
            let reason =
                format!("the registration in {} is gone; register the restore again", folder.display());
            return Err(Error::refused(HResult::UNEXPECTED, reason));
        };
        if !result.is_ok() && record.step == Step::Copied {
            record.files.iter().for_each(discard);
            self.state = match record.restored_high {
                0 => {
                    Record::remove(&folder)?;
                    State::Prepared
                }
                _ => {
                    record.files.clear();
                    record.step = Step::Complete;
                    record.write(&folder)?;
                    State::Complete(folder)
                }
            };
            return Ok(());
        }
        if record.step != Step::Complete {
            record.step = Step::Placing;
            record.write(&folder)?;
            record.files.iter().try_for_each(place)?;
            record.step = Step::Complete;
            record.restored_high = record.restored_high.max(record.high);
            record.files.clear();
            record.write(&folder)?;
        }
        self.state = State::Complete(folder);
        Ok(())
    }

    /// `CertSrvRestoreEnd`: ends the session. A restore that is registered and not complete stays as it is, to go on later;
    /// one that is complete leaves nothing but its files.
    ///
    /// # Errors
    /// When the registration cannot be taken away.
    pub fn end(self) -> Result<(), Error> {
        match self.state {
            State::Complete(folder) => Record::remove(&folder),
            State::Prepared | State::Registered(_) => Ok(()),
        }
    }
}

/// Refuses a place to write to that is a folder of the source, or in one.
///
/// # Errors
/// [`HResult::ACCESS_DENIED`] where it is.
pub fn refuse_on_source<'a>(sources: impl IntoIterator<Item = &'a Path>, target: &Path) -> Result<(), Error> {
    let target = absolute(target);
    if sources.into_iter().any(|source| target.starts_with(absolute(source))) {
        let reason = format!("{} is on the source, which is never written to", target.display());
        return Err(Error::refused(HResult::ACCESS_DENIED, reason));
    }
    Ok(())
}

/// A path without links, as far as it is there.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest = Vec::new();
    let mut at = path.as_path();
    loop {
        if let Ok(found) = at.canonicalize() {
            return rest.iter().rev().fold(found, |path, name| path.join(name));
        }
        match (at.file_name(), at.parent()) {
            (Some(name), Some(parent)) => {
                rest.push(name.to_owned());
                at = parent;
            }
            _ => return path,
        }
    }
}

/// A set, and where its files go.
struct Plan {
    full: bool,
    backup: PathBuf,
    /// Where its logs go.
    logs: PathBuf,
    /// The database of a full set.
    authority: Option<Authority>,
    set: Vec<Log>,
    low: u32,
    high: u32,
    database: Option<PathBuf>,
    /// Logs first, so that a database never stands without them.
    files: Vec<(CaFile, Target)>,
}

impl Plan {
    fn new(wanted: &Registration, full: bool) -> Result<Self, Error> {
        let invalid = |reason: String| Error::refused(HResult::INVALID_PARAMETER, reason);
        let Registration { low, high, .. } = *wanted;
        // A whole database needs no logs, and its set has none.
        let without_logs = low == 0 && high == 0 && !wanted.map.is_empty();
        if !without_logs && (low == 0 || high < low) {
            return Err(invalid(format!(
                "the logs of a set count from 1 on, lowest first, not {low} to {high}"
            )));
        }
        // A full restore is one of a database and its logs; the same session takes sets of logs after it.
        let entry = match wanted.map.as_slice() {
            [] => None,
            [entry] if full => Some(entry),
            [_] => return Err(invalid("an incremental restore has no databases".to_owned())),
            _ => return Err(invalid("a certification authority has one database, not several".to_owned())),
        };
        let beside = entry.and_then(|entry| entry.target.parent()).map(Path::to_owned);
        let logs = wanted.logs.clone().or(beside);
        let logs =
            logs.ok_or_else(|| invalid("an incremental restore needs the folder of the logs".to_owned()))?;
        let backup = match &wanted.backup {
            Some(backup) => find::set_folder(backup).unwrap_or_else(|| backup.clone()),
            None => logs.clone(),
        };
        if !backup.is_dir() {
            return Err(Error::refused(HResult::DIRECTORY, format!("{} is no folder", backup.display())));
        }
        let mut plan = Self {
            full: entry.is_some(),
            logs,
            authority: None,
            set: find::logs_in(&backup)?,
            backup,
            low,
            high,
            database: None,
            files: Vec::new(),
        };
        plan.set.retain(|log| (low..=high).contains(&log.generation));
        plan.set.dedup_by_key(|log| log.generation);
        for log in &plan.set {
            let path = plan.logs.join(log.name());
            plan.files.push((log.file.clone(), Target { path, size: log.file.size(), sha256: None }));
        }
        if let Some(entry) = entry {
            let own = PathBuf::from(&entry.database);
            let path = if own.is_absolute() && own.is_file() {
                own
            } else {
                plan.backup.join(file_name(&entry.database))
            };
            if !path.is_file() {
                let reason = format!("{} is not in the set: {} is missing", entry.database, path.display());
                return Err(Error::refused(HResult::FILE_NOT_FOUND, reason));
            }
            let authority = find::in_file(&path)?;
            let target = Target { path: entry.target.clone(), size: authority.file.size(), sha256: None };
            plan.files.push((authority.file.clone(), target));
            plan.database = Some(entry.target.clone());
            plan.authority = Some(authority);
        }
        Ok(plan)
    }

    fn targets(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, target)| target.path.as_path()).chain([self.logs.as_path()])
    }

    /// The registration of this set, given the one that is there. `same_session`: the one before was completed in this
    /// session.
    fn record(&self, known: Option<Record>, same_session: bool) -> Result<Record, Error> {
        let in_progress = |known: &Record| {
            let reason = format!(
                "a restore of {} with the logs {} to {} was begun in {}: go on with that one, or remove its registration",
                known.backup.display(),
                log_name(known.low),
                log_name(known.high),
                self.logs.display()
            );
            Error::refused(HResult::RESTORE_IN_PROGRESS, reason)
        };
        let fresh = || Record {
            what: "a restore of a certification authority that undelfs has begun and not ended".to_owned(),
            step: Step::Copying,
            full: self.full,
            backup: self.backup.clone(),
            low: self.low,
            high: self.high,
            log_signature: self
                .authority
                .as_ref()
                .map(|authority| authority.database.header.log_signature.hex())
                .unwrap_or_default(),
            files: Vec::new(),
            restored_high: 0,
            database: self.database.clone(),
        };
        let Some(known) = known else {
            if !self.full {
                let reason =
                    "no full set was restored here that these logs could be added to; restore that first";
                return Err(Error::refused(HResult::NO_FULL_RESTORE, reason));
            }
            return Ok(fresh());
        };
        let again = known.full == self.full
            && known.backup == self.backup
            && (known.low, known.high) == (self.low, self.high)
            && (known.database == self.database || !self.full);
        match known.step {
            // The same set again: its copies are looked at one by one.
            Step::Copying if again => Ok(Record { files: Vec::new(), ..known }),
            Step::Copied | Step::Placing if again => Ok(known),
            Step::Copying | Step::Copied | Step::Placing => Err(in_progress(&known)),
            Step::Complete if self.full && again => Ok(known),
            Step::Complete if self.full && same_session => Err(in_progress(&known)),
            Step::Complete if self.full => Ok(fresh()),
            Step::Complete => Ok(Record {
                restored_high: known.restored_high,
                log_signature: known.log_signature,
                database: known.database,
                ..fresh()
            }),
        }
    }

    /// An error where the set cannot be restored.
    fn check(&self, record: &Record, watch: &dyn Watch) -> Result<(), Error> {
        self.check_range()?;
        match &self.authority {
            Some(authority) => {
                for log in &self.set {
                    check_log(log, authority).map_err(|(code, reason)| Error::refused(code, reason))?;
                }
                let mut whole = find::in_file(Path::new(&authority.file.path))?;
                whole.logs = self.set.clone();
                verify(&whole, true, watch)?.into_result().map(drop)
            }
            None => self.check_signature(record),
        }
    }

    fn check_range(&self) -> Result<(), Error> {
        if self.high == 0 {
            return Ok(());
        }
        let generations: Vec<u32> = self.set.iter().map(|log| log.generation).collect();
        let shown = self.backup.display();
        let (Some(low), Some(high)) = (generations.first().copied(), generations.last().copied()) else {
            let reason =
                format!("{shown} has none of the logs {} to {}", log_name(self.low), log_name(self.high));
            return Err(Error::refused(HResult::LOG_FILE_NOT_FOUND, reason));
        };
        if low > self.low {
            let reason = format!(
                "{} is asked for, and the lowest log in {shown} is {}",
                log_name(self.low),
                log_name(low)
            );
            return Err(Error::refused(HResult::RESTORE_LOG_TOO_LOW, reason));
        }
        if high < self.high {
            let reason = format!(
                "{} is asked for, and the highest log in {shown} is {}",
                log_name(self.high),
                log_name(high)
            );
            return Err(Error::refused(HResult::RESTORE_LOG_TOO_HIGH, reason));
        }
        let gap = generations.iter().zip(low..).find(|(own, wanted)| **own != *wanted);
        if let Some((_, missing)) = gap {
            let reason = format!("{} is missing in {shown}", log_name(missing));
            return Err(Error::refused(HResult::LOG_NOT_CONTIGUOUS, reason));
        }
        Ok(())
    }

    /// The logs of an incremental set must be those of the database that was restored, and follow what is there.
    fn check_signature(&self, record: &Record) -> Result<(), Error> {
        for log in &self.set {
            let path = &log.file.path;
            let Some(header) = &log.header else {
                return Err(Error::refused(HResult::LOG_FILE_CORRUPT, format!("{path} is damaged")));
            };
            if header.signature.hex() != record.log_signature {
                let reason = format!(
                    "{path} belongs to another database: expected the signature {} at byte 44, found {}",
                    record.log_signature, header.signature
                );
                return Err(Error::refused(HResult::BAD_RESTORE_SIGNATURE, reason));
            }
            if header.generation != log.generation || header.file_size != log.file.size() {
                let reason = format!("{path} is not as long as its header says, or not the log of its name");
                return Err(Error::refused(HResult::LOG_FILE_CORRUPT, reason));
            }
        }
        Ok(())
    }
}
