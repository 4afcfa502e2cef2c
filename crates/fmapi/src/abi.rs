//! Structures and constants as C has them: W32-FMAPI (`fmapi.h` of Microsoft was never published, its pages were), with
//! the natural alignment of C.

use std::{ffi::c_void, mem::offset_of};

/// `FILE_RESTORE_VERSION_1`: Windows Vista, 7, Server 2008 and 2008 R2.
pub const FILE_RESTORE_VERSION_1: u32 = 0x0001_0001;
/// `FILE_RESTORE_VERSION_2`: Windows 8, Server 2012 and later.
pub const FILE_RESTORE_VERSION_2: u32 = 0x0002_0000;

/// `VOLUME_INFO_ENCRYPTED`.
pub const VOLUME_INFO_ENCRYPTED: u32 = 0x0001;
/// `VOLUME_INFO_LOCKED`.
pub const VOLUME_INFO_LOCKED: u32 = 0x0002;

/// `ContextFlagVolume` of `RESTORE_CONTEXT_FLAGS`: a volume.
pub const CONTEXT_FLAG_VOLUME: u32 = 0x01;
/// `ContextFlagDisk`: a lost volume on a disk.
pub const CONTEXT_FLAG_DISK: u32 = 0x02;
/// `FlagScanRemovedFiles`.
pub const FLAG_SCAN_REMOVED_FILES: u32 = 0x04;
/// `FlagScanRegularFiles`.
pub const FLAG_SCAN_REGULAR_FILES: u32 = 0x08;
/// `FlagScanIncludeRemovedDirectories`.
pub const FLAG_SCAN_INCLUDE_REMOVED_DIRECTORIES: u32 = 0x10;
/// `ContextFlagExtended`, of this library: what version 2 made obsolete works in every version.
pub const CONTEXT_FLAG_EXTENDED: u32 = 0x8000_0000;

/// `FileRestoreProgressInfo` of `FILE_RESTORE_PACKET_TYPE`.
pub const FILE_RESTORE_PROGRESS_INFO: u32 = 100;
/// `FileRestoreFinished`.
pub const FILE_RESTORE_FINISHED: u32 = 101;

/// `FILE_RESTORE_CALLBACK`. A `BOOLEAN` has one byte; 0 cancels.
pub type FileRestoreCallback = Option<unsafe extern "C" fn(u32, u32, *mut c_void) -> u8>;

/// `RESTORABLE_FILE_INFO`: its fixed part, and the first unit of the name.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct RestorableFileInfo {
    /// Size of the whole in bytes, name and private data included.
    pub size: u32,
    /// The version of the context that made it.
    pub version: u32,
    /// Size of the unnamed stream in bytes.
    pub file_size: u64,
    /// Birth, as FILETIME: low half first.
    pub creation_time: [u32; 2],
    /// Last access.
    pub last_access_time: [u32; 2],
    /// Last change of content.
    pub last_write_time: [u32; 2],
    /// `FILE_ATTRIBUTE_*`.
    pub attributes: u32,
    /// 1 when deleted.
    pub is_removed: i32,
    /// Clusters that the file has on the volume.
    pub clusters_used_by_file: i64,
    /// How many of them the allocation bitmap has in use now.
    pub clusters_currently_in_use: i64,
    /// Where the private data begin that `RestoreFile` needs, in bytes from the begin of the structure.
    pub restore_data_offset: u32,
    /// The full path in UTF-16, ended by 0.
    pub file_name: [u16; 1],
}

/// `BOOT_SECTOR_INFO`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct BootSectorInfo {
    /// Sectors of the volume.
    pub total_sectors: i64,
    /// `BOOT_SECTOR_FILE_SYSTEM_TYPE`: 1 to 3 for FAT12, FAT16 and FAT32, 4 for NTFS, 0 for unknown.
    pub file_system: u32,
    /// Sector size in bytes.
    pub byte_per_sector: u32,
    /// Cluster size in sectors.
    pub sector_per_cluster: u32,
    /// 1 for a volume of BitLocker.
    pub is_encrypted: i32,
}

/// `FILE_RESTORE_PROGRESS_INFORMATION`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ProgressInformation {
    /// Bytes of all streams that are copied.
    pub total_file_size: i64,
    /// Bytes of them that are done.
    pub total_bytes_completed: i64,
    /// Bytes of the stream that is being copied.
    pub stream_size: i64,
    /// Bytes of it that are done.
    pub stream_bytes_completed: i64,
    /// The caller's own.
    pub clbk_arg: *mut c_void,
}

/// `FILE_RESTORE_FINISHED_INFORMATION`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct FinishedInformation {
    /// 1 when the file stands at its place.
    pub success: i32,
    /// The last error that `RestoreFile` leaves.
    pub final_result: u32,
    /// The caller's own.
    pub clbk_arg: *mut c_void,
}

const _: () = {
    assert!(size_of::<RestorableFileInfo>() == 72);
    assert!(offset_of!(RestorableFileInfo, file_size) == 8);
    assert!(offset_of!(RestorableFileInfo, creation_time) == 16);
    assert!(offset_of!(RestorableFileInfo, last_access_time) == 24);
    assert!(offset_of!(RestorableFileInfo, last_write_time) == 32);
    assert!(offset_of!(RestorableFileInfo, attributes) == 40);
    assert!(offset_of!(RestorableFileInfo, is_removed) == 44);
    assert!(offset_of!(RestorableFileInfo, clusters_used_by_file) == 48);
    assert!(offset_of!(RestorableFileInfo, clusters_currently_in_use) == 56);
    assert!(offset_of!(RestorableFileInfo, restore_data_offset) == 64);
    assert!(offset_of!(RestorableFileInfo, file_name) == 68);
    assert!(size_of::<BootSectorInfo>() == 24);
    assert!(offset_of!(BootSectorInfo, file_system) == 8);
    assert!(offset_of!(BootSectorInfo, byte_per_sector) == 12);
    assert!(offset_of!(BootSectorInfo, sector_per_cluster) == 16);
    assert!(offset_of!(BootSectorInfo, is_encrypted) == 20);
    assert!(offset_of!(ProgressInformation, stream_bytes_completed) == 24);
    assert!(offset_of!(ProgressInformation, clbk_arg) == 32);
    assert!(offset_of!(FinishedInformation, final_result) == 4);
    assert!(offset_of!(FinishedInformation, clbk_arg) == 8);
    #[cfg(target_pointer_width = "64")]
    assert!(size_of::<ProgressInformation>() == 40 && size_of::<FinishedInformation>() == 16);
};
