//! Certificate Services backup and restore (certadm.dll): the same eighteen functions over images, devices and folders.
//! `include/certsrv.h` declares them, `docs/certsrv.md` describes them.
//!
//! [`exports`] is what C sees, and reads and writes the memory of callers. Everything else is safe.

pub mod exports;
mod lists;
mod server;
mod sessions;
