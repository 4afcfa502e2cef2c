//! The Windows back end: the tree of a restore as a WinFsp file system.
//!
//! What Windows is shown (names, attributes, patterns, links, the security descriptor) is made in
//! `undelfs_restore::windows`, which is tested everywhere. Here is what calls WinFsp and is called by it.

mod directory;
mod filesystem;
mod library;
mod lookup;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use session::{Session, Settings};
