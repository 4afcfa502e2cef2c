//! A certification authority (CA) as far as its files were found: what sessions, checks and lists work on.

use std::{fmt, sync::Arc};

use undelfs_restore::Content;
use undelfs_source::{ReadAt, ReadError};

use crate::{
    Error, HResult, RestoreMap,
    ese::{Database, LogHeader, Required, log_name},
    windows_path::unc,
};

/// Where a CA keeps its files unless it was told otherwise.
pub const DEFAULT_FOLDER: &str = r"C:\Windows\system32\CertLog";

/// A file of a CA, or of a backup set.
#[derive(Clone)]
pub struct CaFile {
    /// Where it stands, as the user is told.
    pub path: String,
    /// Its bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// True for a deleted one.
    pub deleted: bool,
    /// True where some of its bytes are gone.
    pub incomplete: bool,
}

impl CaFile {
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.size()
    }

    /// Its first `length` bytes, or as many as there are.
    pub(crate) fn begin(&self, length: usize) -> Result<Vec<u8>, Error> {
        let mut begin = vec![0; length];
        let read = self.bytes.read_at(&mut begin, 0)?;
        begin.truncate(read);
        Ok(begin)
    }
}

impl fmt::Debug for CaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, deleted, incomplete, .. } = self;
        f.debug_struct("CaFile")
            .field("path", path)
            .field("size", &self.size())
            .field("deleted", deleted)
            .field("incomplete", incomplete)
            .finish()
    }
}

/// A content of a restore context as bytes of the layers below.
pub(crate) struct ContentBytes(pub(crate) Arc<dyn Content>);

impl ReadAt for ContentBytes {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        let refused = |error: undelfs_restore::Error| ReadError::Refused {
            kind: error.kind(),
            reason: error.to_string(),
        };
        self.0.read_at(buf, offset).map_err(refused)
    }
}

/// A log.
#[derive(Debug, Clone)]
pub struct Log {
    /// Its generation: what its header says, or its name where the header is damaged.
    pub generation: u32,
    /// Its header; `None` where it is damaged.
    pub header: Option<LogHeader>,
    /// The file.
    pub file: CaFile,
}

impl Log {
    /// What it is called in a backup set.
    pub fn name(&self) -> String {
        log_name(self.generation)
    }
}

/// How a CA was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The registry names it.
    Registry,
    /// Its database stands in the default folder.
    DefaultFolder,
    /// Its database was known by its content.
    Content,
    /// It is a backup set.
    BackupSet,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "the registry names it",
            Self::DefaultFolder => "its database stands in the default folder",
            Self::Content => "its database was known by its content",
            Self::BackupSet => "a backup set",
        })
    }
}

/// Folders on the machine of the CA, as its registry has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Folder of the database.
    pub database: String,
    /// Folder of the logs.
    pub logs: String,
    /// Folder of the checkpoint.
    pub system: String,
}

impl Default for Places {
    fn default() -> Self {
        let folder = || DEFAULT_FOLDER.to_owned();
        Self { database: folder(), logs: folder(), system: folder() }
    }
}

/// A CA.
pub struct Authority {
    /// Its name, as its database is called without `.edb`.
    pub name: String,
    /// The machine that it ran on.
    pub computer: String,
    /// Where its files stood on that machine.
    pub places: Places,
    /// How it was found.
    pub found: Found,
    /// Its database.
    pub file: CaFile,
    /// The same, opened.
    pub database: Database,
    /// Its logs, ascending by generation, each once.
    pub logs: Vec<Log>,
    /// Its checkpoint.
    pub checkpoint: Option<CaFile>,
    /// What must be kept by other means: lists of revoked certificates.
    pub dynamic: Vec<String>,
    /// Of a backup set its restore map, or why there is none.
    pub map: Option<Result<RestoreMap, Error>>,
    /// What was met on the way, one sentence each.
    pub notes: Vec<String>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("name", &self.name)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// What its database is called.
    pub fn database_name(&self) -> String {
        format!("{}.edb", self.name)
    }

    /// The name of its database as every machine can reach it.
    pub fn database_path(&self) -> String {
        unc(&self.computer, &format!(r"{}\{}", self.places.database, self.database_name()))
    }

    /// The same of a log.
    pub fn log_path(&self, log: &Log) -> String {
        unc(&self.computer, &format!(r"{}\{}", self.places.logs, log.name()))
    }

    /// Where everything stood.
    pub fn restore_map(&self) -> RestoreMap {
        match &self.map {
            Some(Ok(map)) => map.clone(),
            _ => RestoreMap {
                database: self.database_path(),
                logs: unc(&self.computer, &self.places.logs),
                system: unc(&self.computer, &self.places.system),
            },
        }
    }

    /// The logs that its database needs; all zero where it needs none.
    pub fn required(&self) -> Required {
        self.database.trailer.as_ref().map_or(self.database.header.required, |trailer| trailer.required)
    }

    /// The logs that belong into a backup set: those that follow each other without a gap up to the highest, and for a dirty
    /// database down to the lowest that it needs at least.
    ///
    /// # Errors
    /// When one that the database needs is missing.
    pub fn logs_of_set(&self) -> Result<&[Log], Error> {
        let mut first = self.logs.len();
        let mut below: Option<u32> = None;
        for (index, log) in self.logs.iter().enumerate().rev() {
            if below.is_some_and(|next| log.generation.checked_add(1) != Some(next)) {
                break;
            }
            (below, first) = (Some(log.generation), index);
        }
        let set = self.logs.get(first..).unwrap_or_default();
        let Required { min, max, .. } = self.required();
        let (low, high) =
            (set.first().map_or(u32::MAX, |log| log.generation), set.last().map_or(0, |log| log.generation));
        if min != 0 && (low > min || high < max) {
            let missing = if high < max { high.saturating_add(1).max(min) } else { low.saturating_sub(1) };
            let reason = format!(
                "the database of {} needs the logs {} to {}, and {} is missing",
                self.name,
                log_name(min),
                log_name(max),
                log_name(missing)
            );
            return Err(Error::refused(HResult::MISSING_LOG_FILE, reason));
        }
        Ok(set)
    }
}
