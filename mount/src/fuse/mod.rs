//! The Linux back end: the tree of a restore as a FUSE file system.
//!
//! The tree never changes while it is mounted, so the kernel may keep what it was told. Only nodes that are
//! generated ([`Attributes::volatile`](undelfs_restore::Attributes)) are asked for again each time.

mod attributes;
mod filesystem;
mod session;

pub(crate) use filesystem::{PROCESS_XATTR, TreeFs};
pub(crate) use session::{Settings, mount};
