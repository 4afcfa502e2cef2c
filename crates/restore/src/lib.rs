//! The heart of undelfs: restore contexts, the catalogue of restorable files and its tree, how far each file can
//! be trusted, lazy content, and the cluster cache.
//!
//! A mount back end, the command line and the C library all work on what is here: a [`Context`] is opened on a
//! volume and scanned; a [`Tree`] shows one or several of them.

mod allocation;
mod cache;
mod catalogue;
mod check;
mod confidence;
mod content;
mod context;
pub mod copy;
mod efs;
mod entries;
mod error;
mod generated;
mod in_place;
mod inode;
mod lost;
pub mod names;
mod neighbours;
mod opened;
mod options;
mod overlap;
mod past;
mod properties;
mod regranted;
mod report;
mod selecting;
mod shown;
mod survey;
mod taken;
mod tree;
mod unencrypted;
pub mod windows;

pub use cache::CacheStatus;
pub use catalogue::{Catalogue, Count, DeletedBetween, RestorableFile};
pub use check::content_kind;
pub use confidence::Confidence;
pub use content::Content;
pub use context::Context;
pub use efs::{Import, Imported, import, without_named_streams};
#[cfg(unix)]
pub use efs::{mounted_raw, ntfs_attributes, takes_encrypted};
pub use entries::{DataStream, Entries, Entry};
pub use error::Error;
pub use inode::Inode;
pub use lost::{Inside, KeptSearch, Lost, LostVolume, lost_volumes};
pub use options::{Options, Overwritten, Selection, View};
pub use report::{Format, time, write};
pub use shown::{Files, Shown};
pub use survey::{Survey, survey};
pub use tree::{Attributes, DirEntry, NamedStream, NodeKind, Space, Tree};
pub use undelfs_bitlocker as bitlocker;
pub use undelfs_efs as efs_format;
pub use undelfs_vss as vss;
