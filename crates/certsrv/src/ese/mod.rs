//! The files of the Extensible Storage Engine (ESE): databases, logs, checkpoints. Formats are those of the engine's own
//! source (microsoft/Extensible-Storage-Engine) and of libesedb's description, compared with files that Windows wrote.

mod checksum;
mod compression;
mod database;
mod header;
mod log;
mod page;
mod pages;
mod record;
mod signature;
mod table;

pub use checksum::{block, header as header_checksum, page_is_sound};
pub use database::{Database, PageCheck};
pub use header::{HEADER, Header, MAGIC, Required, State, Trailer};
pub use log::{Checkpoint, LOG_HEADER, LogHeader, log_generation, log_name};
pub use signature::{BackupInfo, LogPosition, LogTime, Signature};
pub use table::{Column, ColumnType, EachRecord, Table, Value};
