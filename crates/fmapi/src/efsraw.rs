//! The raw backup of encrypted files: `OpenEncryptedFileRaw`, `ReadEncryptedFileRaw`, `WriteEncryptedFileRaw` and
//! `CloseEncryptedFileRaw` of Windows, over mounted volumes and images. `include/efsraw.h` declares them, `docs/efsraw.md`
//! describes them.

mod context;
pub mod exports;
mod keys;
mod place;

/// `CREATE_FOR_IMPORT` of `winbase.h`: a file is to be made.
pub const CREATE_FOR_IMPORT: u32 = 0x01;
/// `CREATE_FOR_DIR`: it is a directory.
pub const CREATE_FOR_DIR: u32 = 0x02;
/// `OVERWRITE_HIDDEN`: a hidden file may be replaced.
pub const OVERWRITE_HIDDEN: u32 = 0x04;
/// `EFS_DROP_ALTERNATE_STREAMS`: named streams are left out.
pub const EFS_DROP_ALTERNATE_STREAMS: u32 = 0x10;
