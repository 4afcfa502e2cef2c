//! The header of a database, and the page that a backup appends to it.

use std::fmt;

use undelfs_source::bytes::u32_at;

use super::{
    checksum,
    signature::{BackupInfo, FILE_TYPE, LogTime, Signature},
};
use crate::Error;

/// What stands at byte 4 of a database.
pub const MAGIC: u32 = 0x89AB_CDEF;
/// Bytes of the header in which a field is known.
pub const HEADER: usize = 700;
/// Page size where the header says 0, in bytes.
const DEFAULT_PAGE: u32 = 4096;
/// The only version; the update number behind it counts changes of the format.
const VERSION: u32 = 0x620;

/// In which state a database was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// 1: nothing was written into it yet.
    JustCreated,
    /// 2: logs are needed to make it whole.
    Dirty,
    /// 3: whole without any log.
    Clean,
    /// Any other: it was being converted, detached by force, repaired or reverted.
    Other(u32),
}

impl State {
    fn new(number: u32) -> Self {
        match number {
            1 => Self::JustCreated,
            2 => Self::Dirty,
            3 => Self::Clean,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JustCreated => f.write_str("just created"),
            Self::Dirty => f.write_str("dirty"),
            Self::Clean => f.write_str("clean"),
            Self::Other(number) => write!(f, "state {number}"),
        }
    }
}

/// Which log generations are needed to make a database whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Required {
    /// Lowest; 0 where none is needed.
    pub min: u32,
    /// Highest.
    pub max: u32,
    /// The last generation that has anything for the database.
    pub committed: u32,
}

/// The header of a database (`DBFILEHDR`), which stands in its first page and again in its second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whether its checksum is right.
    pub sound: bool,
    /// Number of the format's changes.
    pub update: u32,
    /// Page size in bytes.
    pub page_size: u32,
    /// In which state it was left.
    pub state: State,
    /// Identifies the database.
    pub signature: Signature,
    /// Identifies its logs.
    pub log_signature: Signature,
    /// The last full backup.
    pub previous_full: BackupInfo,
    /// The last incremental backup.
    pub previous_incremental: BackupInfo,
    /// In a copy that a backup made, that backup.
    pub current_full: BackupInfo,
    /// The logs that it needs.
    pub required: Required,
}

impl Header {
    /// True for bytes that begin as a database does.
    pub fn is_one(bytes: &[u8]) -> bool {
        let is = |at, value| u32_at(bytes, at) == Some(value);
        is(4, MAGIC) && is(8, VERSION) && is(12, 0)
    }

    /// Reads a header. `page` is the whole first page, or as much of it as there is; `at` is where it stands in the file.
    ///
    /// # Errors
    /// When it is none, or its page size is none. A wrong checksum is no error: [`sound`](Self::sound) tells it.
    pub fn parse(page: &[u8], at: u64) -> Result<Self, Error> {
        let broken = |expected: &str, found: String| {
            Error::structure("the header of the database", at, expected.to_owned(), found)
        };
        if !Self::is_one(page) {
            let found =
                u32_at(page, 4).map_or("the end of the file".to_owned(), |magic| format!("{magic:#010X}"));
            return Err(broken("0x89ABCDEF at byte 4 and version 0x620 at byte 8 of a database", found));
        }
        let field = |at| u32_at(page, at).ok_or(at);
        let read = || -> Result<Self, usize> {
            let page_size = match field(236)? {
                0 => DEFAULT_PAGE,
                size => size,
            };
            let file_type = page.get(FILE_TYPE).copied().ok_or(FILE_TYPE)?;
            let whole = usize::try_from(page_size).ok().and_then(|size| page.get(..size));
            Ok(Self {
                sound: file_type == 1
                    && whole.is_some_and(|page| u32_at(page, 0) == Some(checksum::header(page))),
                update: field(232)?,
                page_size,
                state: State::new(field(52)?),
                signature: Signature::at(page, 24).ok_or(24usize)?,
                log_signature: Signature::at(page, 108).ok_or(108usize)?,
                previous_full: BackupInfo::at(page, 136).ok_or(136usize)?,
                previous_incremental: BackupInfo::at(page, 160).ok_or(160usize)?,
                current_full: BackupInfo::at(page, 184).ok_or(184usize)?,
                required: Required { min: field(296)?, max: field(300)?, committed: field(416)? },
            })
        };
        let header = read().map_err(|at| broken("700 bytes", format!("the end before byte {at}")))?;
        match header.page_size {
            2048 | 4096 | 8192 | 16384 | 32768 => Ok(header),
            other => Err(broken("a page size of 2048 to 32768 bytes", other.to_string())),
        }
    }

    /// True for a copy that a streaming backup made: it must be restored, not just opened.
    pub fn is_backup_copy(&self) -> bool {
        self.current_full.low != 0 && self.current_full.high == 0
    }

    /// True where any backup was made of the database before that an incremental one can stand on.
    pub fn had_full_backup(&self) -> bool {
        self.previous_full.low != 0 || self.current_full.low != 0
    }
}

/// The page that a backup appends to its copy of a database (`PATCHHDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Whether its checksum is right.
    pub sound: bool,
    /// The backup, with its real highest generation.
    pub backup: BackupInfo,
    /// Identifies the database.
    pub signature: Signature,
    /// Identifies its logs.
    pub log_signature: Signature,
    /// The logs that the copy needs.
    pub required: Required,
    /// When the highest of them was made.
    pub made: LogTime,
}

impl Trailer {
    /// Reads the last page of a database; `None` where it is no trailer.
    pub fn parse(page: &[u8], header: &Header) -> Option<Self> {
        let trailer = Self {
            sound: u32_at(page, 0) == Some(checksum::header(page)),
            backup: BackupInfo::at(page, 40)?,
            signature: Signature::at(page, 64)?,
            log_signature: Signature::at(page, 92)?,
            required: Required {
                min: u32_at(page, 120)?,
                max: u32_at(page, 124)?,
                committed: u32_at(page, 128)?,
            },
            made: LogTime::at(page, 132)?,
        };
        // What stands there in any other page is its number of free bytes and flags, so one sign alone is too little.
        let reserved = page.get(4..40)?.iter().all(|byte| *byte == 0);
        (reserved
            && (trailer.sound && !trailer.signature.is_empty() || trailer.signature == header.signature))
            .then_some(trailer)
    }
}
