//! Certificate Services: the files of a certification authority (CA), live or deleted, as a backup set; a backup session; a
//! restore session.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod authority;
mod backup;
mod candidate;
mod contents;
mod error;
pub mod ese;
pub mod find;
mod hive;
mod hresult;
pub mod list;
mod listing;
mod registration;
mod restore_map;
mod restore_session;
mod set;
mod text;
mod verify;
mod view;
mod windows_path;

pub use authority::{Authority, CaFile, DEFAULT_FOLDER, Found, Log, Places};
pub use backup::{BACKUP_FULL, BACKUP_LOGS_ONLY, BackupSession};
pub use candidate::Discovery;
pub use contents::{Certificate, Contents, Crl, Disposition, Row, TABLES, file_time, hex};
pub use error::Error;
pub use hresult::HResult;
pub use listing::{ListForm, Listed, write_list, write_table};
pub use restore_map::{MAP_NAME, RestoreMap};
pub use restore_session::{ADVICE, MapEntry, RESTORE_FULL, Registration, RestoreSession, refuse_on_source};
pub use set::{SET_FOLDER, write_set};
pub use verify::{Finding, Verdict, verify};
pub use view::view;
