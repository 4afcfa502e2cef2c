//! Making the mount: what the driver is told of the volume, and what stands in the way.

use std::{path::Path, thread};

use undelfs_restore::{Tree, windows::security};
use winfsp::host::{FileSystemHost, VolumeParams};

use super::{filesystem::TreeFs, library};
use crate::{failure::Failure, platform::user_sid};

/// Fewer threads than this would let a slow source keep everybody waiting.
const MIN_THREADS: usize = 4;

/// Sector size that the mounted volume has, in bytes.
const SECTOR: u32 = 512;

/// No driver: WinFsp's is not installed, or was stopped.
const STATUS_NO_SUCH_DEVICE: u32 = 0xC000_000E;
/// There is something at the mount point already.
const STATUS_OBJECT_NAME_COLLISION: u32 = 0xC000_0035;

/// How long the driver keeps what it was told where its cache is not wanted, in milliseconds.
const BRIEFLY: u32 = 1000;

/// How a tree is mounted.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What is mounted.
    pub(crate) source: String,
    /// Every user may enter.
    pub(crate) allow_other: bool,
    /// Reads bypass the system's cache.
    pub(crate) direct_io: bool,
}

/// A running file system. Dropping it unmounts it, ends its threads and closes the source.
pub(crate) struct Session {
    _host: FileSystemHost<TreeFs>,
}

impl Session {
    /// Mounts `tree` on a drive letter, or a folder that does not exist.
    pub(crate) fn mount(tree: Tree, place: &Path, settings: &Settings) -> Result<Self, Failure> {
        library::load()?;
        let mut host = start(tree, settings)?;
        host.mount(place).map_err(|error| explain(place, &error))?;
        tracing::info!("{} is mounted on {}", settings.source, place.display());
        Ok(Self { _host: host })
    }
}

/// Starts the threads that answer the driver. The file system has no mount point yet.
pub(super) fn start(tree: Tree, settings: &Settings) -> Result<FileSystemHost<TreeFs>, Failure> {
    let owner = user_sid().map_err(|error| Failure::new(format!("cannot tell who mounts: {error}")))?;
    let security = security::read_only(&owner, settings.allow_other)
        .ok_or_else(|| Failure::new("cannot tell who mounts: the system gave no SID"))?;
    let params = parameters(&tree, settings);
    let failed = |error: &windows::core::Error| match status_of(error) {
        Some(STATUS_NO_SUCH_DEVICE) => Failure::new(
            "the driver of WinFsp does not run; install WinFsp again with `winget install WinFsp.WinFsp`, and restart Windows \
             if the installer asks for it",
        ),
        _ => Failure::new(format!("WinFsp cannot make a volume: {error}")),
    };
    let mut host: FileSystemHost<TreeFs> =
        FileSystemHost::new(params, TreeFs::new(tree, security)).map_err(|error| failed(&error))?;
    let threads = thread::available_parallelism().map_or(MIN_THREADS, |n| n.get().max(MIN_THREADS));
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    host.start_with_threads(threads).map_err(|error| failed(&error))?;
    Ok(host)
}

fn parameters(tree: &Tree, settings: &Settings) -> VolumeParams {
    let space = tree.space();
    let (_, serial) = tree.label();
    let mut params = VolumeParams::new();
    let unit = space.block_size.div_ceil(SECTOR).max(1);
    params
        .filesystem_name("undelfs")
        .sector_size(SECTOR as u16)
        .sectors_per_allocation_unit(u16::try_from(unit).unwrap_or(1))
        .max_component_length(255)
        // Windows itself shows only the lower half of NTFS's serial number.
        .volume_serial_number((serial & 0xFFFF_FFFF) as u32)
        .case_sensitive_search(false)
        .case_preserved_names(true)
        .unicode_on_disk(true)
        .persistent_acls(true)
        .named_streams(true)
        .reparse_points(true)
        .read_only_volume(true)
        .pass_query_directory_pattern(true)
        .post_cleanup_when_modified_only(true)
        // The tree never changes while it is mounted: the cache of the system may keep what it was told.
        .file_info_timeout(if settings.direct_io { BRIEFLY } else { u32::MAX });
    params
}

fn explain(place: &Path, error: &windows::core::Error) -> Failure {
    let shown = place.display();
    match status_of(error) {
        Some(STATUS_OBJECT_NAME_COLLISION) => {
            Failure::new(format!("{shown} is in use already; name another drive letter or folder"))
        }
        _ => Failure::new(format!("cannot mount on {shown}: {error}")),
    }
}

/// The NTSTATUS that an error was made of: as an HRESULT it has bit 28 set (MS-ERREF 2.1).
fn status_of(error: &windows::core::Error) -> Option<u32> {
    const NT: u32 = 0x1000_0000;
    let code = error.code().0.cast_unsigned();
    (code & NT != 0).then_some(code & !NT)
}
