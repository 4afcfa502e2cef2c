//! The system border: how files and devices are opened, locked, measured and read.
//!
//! Each system has one module with the same items: `Handle`, an open and locked file or device with
//! `open(&Path) -> Result<Handle, OpenError>`, `is_device`, `size`, `sector_size`, `next_data(u64) -> u64` and
//! `read_at(&mut [u8], u64) -> io::Result<usize>`; `is_medium_error(&io::Error) -> bool`, whether the medium
//! could not deliver; `is_descriptor_limit(&io::Error) -> bool`, whether too many files are open; and what the
//! messages advise where a source cannot be opened.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{
    DEVICE_ADVICE, DIRECTORY_ADVICE, FILE_ADVICE, Handle, RELEASE_ADVICE, is_descriptor_limit,
    is_medium_error,
};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::{
    DEVICE_ADVICE, DIRECTORY_ADVICE, FILE_ADVICE, Handle, RELEASE_ADVICE, is_descriptor_limit,
    is_medium_error,
};
