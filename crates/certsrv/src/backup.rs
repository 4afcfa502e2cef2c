//! A backup session: the order of calls, and the files that they give.

use std::sync::Arc;

use undelfs_source::ReadAt;

use crate::{
    Authority, Error, HResult,
    list::{TAG_DATABASE, TAG_LOG, encode},
};

/// `CSBACKUP_TYPE_FULL`: the database and its logs.
pub const BACKUP_FULL: u32 = 1;
/// `CSBACKUP_TYPE_LOGS_ONLY`: the logs, after a full backup.
pub const BACKUP_LOGS_ONLY: u32 = 2;

/// A file of a session: its name as the lists have it without the tag, and its bytes.
struct Listed {
    path: String,
    bytes: Arc<dyn ReadAt>,
    is_log: bool,
    /// True once its end was reached.
    is_read: bool,
}

/// The file that is open.
struct Open {
    index: usize,
    at: u64,
}

/// A backup session.
pub struct BackupSession {
    authority: Arc<Authority>,
    full: bool,
    /// Empty until a list is asked for; the database comes first.
    files: Vec<Listed>,
    listed_databases: bool,
    listed_logs: bool,
    open: Option<Open>,
    truncated: bool,
}

impl BackupSession {
    /// `CertSrvBackupPrepare`.
    ///
    /// # Errors
    /// When `jet_flags` is not 0 or `flags` no type of backup, or a backup of the logs has no full one to stand on.
    pub fn prepare(authority: Arc<Authority>, jet_flags: u32, flags: u32) -> Result<Self, Error> {
        let full = match flags {
            BACKUP_FULL => true,
            BACKUP_LOGS_ONLY => false,
            other => {
                let reason = format!("the type of a backup is 1 (full) or 2 (logs only), not {other}");
                return Err(Error::refused(HResult::INVALID_PARAMETER, reason));
            }
        };
        if jet_flags != 0 {
            let reason = format!("the flags of the engine must be 0, not {jet_flags:#X}");
            return Err(Error::refused(HResult::INVALID_PARAMETER, reason));
        }
        if !full && !authority.database.header.had_full_backup() {
            let reason = format!(
                "{} was never backed up in full, so its logs alone restore nothing; make a full backup",
                authority.name
            );
            return Err(Error::refused(HResult::MISSING_FULL_BACKUP, reason));
        }
        let (files, listed) = (Vec::new(), false);
        Ok(Self {
            authority,
            full,
            files,
            listed_databases: listed,
            listed_logs: listed,
            open: None,
            truncated: false,
        })
    }

    /// The CA that is backed up.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    fn closed(&self, call: &str) -> Result<(), Error> {
        match &self.open {
            Some(open) => {
                let path = self.files.get(open.index).map_or("a file", |file| file.path.as_str());
                Err(unexpected(format!("{call} while {path} is open: close it first")))
            }
            None => Ok(()),
        }
    }

    /// `CertSrvBackupGetDatabaseNames`: a list with the database.
    ///
    /// # Errors
    /// In a session of logs only, and while a file is open.
    pub fn database_names(&mut self) -> Result<Vec<u16>, Error> {
        if !self.full {
            let reason = "a backup of the logs only has no databases; prepare a full one";
            return Err(Error::refused(HResult::INVALID_BACKUP_SEQUENCE, reason));
        }
        self.closed("the databases were asked for")?;
        let path = self.authority.database_path();
        if !self.listed_databases {
            self.listed_databases = true;
            let bytes = self.authority.file.bytes.clone();
            self.files.insert(0, Listed { path: path.clone(), bytes, is_log: false, is_read: false });
        }
        Ok(encode([(Some(TAG_DATABASE), path.as_str())]))
    }

    /// `CertSrvBackupGetBackupLogs`: a list with the logs.
    ///
    /// # Errors
    /// While a file is open, and when a log is missing that the database needs.
    pub fn backup_logs(&mut self) -> Result<Vec<u16>, Error> {
        self.closed("the logs were asked for")?;
        let authority = self.authority.clone();
        let logs = authority.logs_of_set()?;
        if !self.listed_logs {
            self.listed_logs = true;
            self.files.extend(logs.iter().map(|log| Listed {
                path: authority.log_path(log),
                bytes: log.file.bytes.clone(),
                is_log: true,
                is_read: false,
            }));
        }
        let paths: Vec<String> = logs.iter().map(|log| authority.log_path(log)).collect();
        Ok(encode(paths.iter().map(|path| (Some(TAG_LOG), path.as_str()))))
    }

    /// `CertSrvRestoreGetDatabaseLocations`: the restore map.
    pub fn database_locations(&self) -> Vec<u16> {
        self.authority.restore_map().encode()
    }

    /// `CertSrvBackupGetDynamicFileList`: what else must be kept; `None` where there is nothing.
    ///
    /// # Errors
    /// While a file is open.
    pub fn dynamic_files(&self) -> Result<Option<Vec<u16>>, Error> {
        self.closed("the dynamic files were asked for")?;
        let dynamic = &self.authority.dynamic;
        Ok((!dynamic.is_empty()).then(|| encode(dynamic.iter().map(|path| (None, path.as_str())))))
    }

    /// `CertSrvBackupOpenFile`: opens a listed file by its name without the tag, and says its size in bytes.
    ///
    /// # Errors
    /// While another one is open, before any list was asked for, for a name that no list has, for a database after the logs
    /// were asked for, and after the logs were truncated.
    pub fn open_file(&mut self, name: &str) -> Result<u64, Error> {
        self.closed("a file was to be opened")?;
        if self.truncated {
            return Err(unexpected("the logs were truncated: nothing can be opened any more"));
        }
        if !self.listed_databases && !self.listed_logs {
            return Err(unexpected("a file was to be opened before a list of them was asked for"));
        }
        let found = self.files.iter().position(|file| file.path.eq_ignore_ascii_case(name));
        let Some((index, file)) = found.and_then(|index| Some((index, self.files.get_mut(index)?))) else {
            let reason = format!("no list has {name}; its tag is no part of a name");
            return Err(Error::refused(HResult::FILE_NOT_FOUND, reason));
        };
        if !file.is_log && self.listed_logs {
            let reason = "a database was to be opened after the logs were asked for; databases come first";
            return Err(Error::refused(HResult::INVALID_BACKUP_SEQUENCE, reason));
        }
        self.open = Some(Open { index, at: 0 });
        Ok(file.bytes.size())
    }

    /// `CertSrvBackupRead`: the next bytes of the open file; none at its end.
    ///
    /// # Errors
    /// When no file is open, or it cannot be read.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let open = self.open.as_mut().ok_or_else(|| unexpected("no file is open to be read"))?;
        let file = self.files.get_mut(open.index).ok_or_else(|| unexpected("no file is open to be read"))?;
        let read = file.bytes.read_at(buf, open.at)?;
        open.at = open.at.saturating_add(read as u64);
        if open.at >= file.bytes.size() {
            file.is_read = true;
        }
        Ok(read)
    }

    /// `CertSrvBackupClose`.
    ///
    /// # Errors
    /// When no file is open.
    pub fn close_file(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some(_) => Ok(()),
            None => Err(unexpected("no file is open to be closed")),
        }
    }

    /// `CertSrvBackupTruncateLogs`: says whether logs may go that are in the backup now. The source is never touched.
    ///
    /// # Errors
    /// While a file is open, a second time, and when a list was not asked for or a file in it not read to its end.
    pub fn truncate_logs(&mut self) -> Result<(), Error> {
        self.closed("the logs were to be truncated")?;
        if self.truncated {
            return Err(unexpected("the logs were truncated already"));
        }
        if !self.listed_logs || self.full && !self.listed_databases {
            return Err(unexpected("the logs were to be truncated before all lists were asked for"));
        }
        if let Some(unread) = self.files.iter().find(|file| !file.is_read) {
            let reason =
                format!("the logs were to be truncated, and {} was not read to its end", unread.path);
            return Err(unexpected(reason));
        }
        self.truncated = true;
        Ok(())
    }
}

fn unexpected(reason: impl Into<String>) -> Error {
    Error::refused(HResult::UNEXPECTED, reason)
}
