//! The File Management API (FMAPI) of Windows as a C library: the same entry points, structures, constants, error codes
//! and order of calls, over disk images, partitions and devices. `include/fmapi.h` declares it, `docs/fmapi.md`
//! describes it.
//!
//! [`exports`] and `efsraw::exports` are what C sees, and the only modules in which code is unsafe: they read and write
//! the memory of callers. Everything else is safe, and stands on the restore contexts that a mount uses.

#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod abi;
pub mod certsrv;
mod code;
mod context;
mod detect;
// Windows has these functions itself, in advapi32.dll.
#[cfg(unix)]
pub mod efsraw;
pub mod exports;
mod handles;
pub mod info;
mod keys;
mod last_error;
mod platform;
mod restore;
#[cfg(unix)]
mod source_name;
mod threads;
mod version;
mod wide;

pub use code::Code;
/// Where nothing needs to be translated.
#[cfg(not(unix))]
use platform as source_name;
