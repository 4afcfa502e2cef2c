//! The system border of the program: mounting, the terminal, the process list, and the folders that are restored into.
//!
//! Each system has one module with the same items:
//!
//! * `mounting`: `run` for `undelfs mount`, and `Mounted`, a mounted tree that `Settings` describe
//! * `mountpoint`: `check`, whether something can be mounted on a path, and `quoted`, a path as it is typed
//! * `unmounting`: `run` for `undelfs umount`, and `unmount`
//! * `interrupt`: what ends long work early
//! * `secrets`: what keeps keys out of the process list and out of dumps
//! * `place`: folders, files and links of DEST
//! * `NOTICE`: what the help ends with, because what mounts here asks for it
//! * `DEMO_ADVICE`: what to try on the mounted demo, with `{}` for its path

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
