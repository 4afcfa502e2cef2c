//! What is on a volume: its encryption, and the file system in it.

use std::sync::Arc;

use undelfs_bitlocker::{BitLocker, Key, Remnants, Unlocked};
use undelfs_ntfs::Ntfs;
use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{
    FileSystemKind, Volume, boot_sector,
    filesystem::{FileSystem, Watch},
};

use crate::{
    Error,
    past::Past,
    selecting::{AMONG_OTHERS, need_no_metadata, search_limit},
};

/// How a volume is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Its boot sector, where somebody has named it.
    pub(crate) boot_sector: Option<u64>,
    /// The keys are meant for no other volume.
    pub(crate) alone: bool,
    /// What has no sound file table is searched for records.
    pub(crate) deep: bool,
    /// The shadow copy with this number is shown instead of the volume.
    pub(crate) snapshot: Option<u32>,
}

/// A volume as far as it could be opened.
pub(crate) struct Opened {
    /// The volume's bytes, decrypted where it is unlocked.
    pub(crate) volume: Arc<dyn ReadAt>,
    /// What is on it; inside of the encryption, as far as that is open.
    pub(crate) kind: FileSystemKind,
    pub(crate) file_system: Option<Box<dyn FileSystem>>,
    pub(crate) encryption: Option<BitLocker>,
    pub(crate) unlocked: Option<Arc<Unlocked>>,
    /// The shadow copy that is shown instead of the volume itself.
    pub(crate) past: Option<Past>,
    /// Why nothing but the volume's bytes can be shown, where that is so.
    pub(crate) closed: Option<(ErrorKind, String)>,
    pub(crate) notes: Vec<String>,
    deep: bool,
    snapshot: Option<u32>,
}

impl Opened {
    /// Opens the volume at `entry`. That it is locked or holds nothing known is no error.
    pub(crate) fn new(
        entry: &Volume,
        source: &Arc<dyn ReadAt>,
        manner: Manner,
        keys: &[Key],
        watch: &dyn Watch,
    ) -> Result<Self, Error> {
        let Manner { boot_sector, alone, deep, snapshot } = manner;
        let mut opened = Self { deep, snapshot, ..Self::bare(entry, source) };
        let limit = if alone { search_limit(keys) } else { AMONG_OTHERS };
        let encrypted = match entry.file_system {
            FileSystemKind::BitLocker => true,
            FileSystemKind::Unknown => {
                let found = BitLocker::find(&opened.volume, limit, watch)?.contains(&0);
                found || (alone && need_no_metadata(keys))
            }
            // Somebody who gives a key for a volume that seems to hold something else may have formatted it.
            _ if alone && !keys.is_empty() => {
                BitLocker::find(&opened.volume, AMONG_OTHERS, watch)?.contains(&0)
            }
            _ => false,
        };
        if encrypted {
            let encryption = BitLocker::open(opened.volume.clone(), limit, watch)?;
            opened.kind = FileSystemKind::BitLocker;
            opened.notes.extend_from_slice(encryption.notes());
            opened.encryption = Some(encryption);
            if let Err(error) = opened.unlock(entry, keys, watch) {
                opened.closed = Some((error.kind(), error.to_string()));
            }
            return Ok(opened);
        }
        let boot = boot_sector.and_then(|sector| {
            let mut bytes = vec![0; boot_sector::LEN];
            let at = sector.checked_mul(u64::from(entry.sector_size))?;
            source.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
        });
        let boot = boot.or_else(|| entry.boot_bytes.as_deref().map(<[u8]>::to_vec));
        opened.go_back(entry, watch)?;
        let kind = if opened.past.is_some() { recognise(&opened.volume) } else { entry.file_system };
        match file_system(kind, &opened.volume, boot.as_deref(), deep.then_some(watch)) {
            Some(file_system) => {
                opened.file_system = Some(file_system?);
                opened.kind = FileSystemKind::Ntfs;
            }
            None if kind == FileSystemKind::Unknown => {
                opened.closed = Some((ErrorKind::Unsupported, unknown(entry, manner.deep)));
            }
            None => return Err(not_supported(entry, kind, "")),
        }
        Ok(opened)
    }

    /// A volume of which `error` leaves nothing but the bytes.
    pub(crate) fn refused(entry: &Volume, source: &Arc<dyn ReadAt>, error: &Error) -> Self {
        Self { closed: Some((error.kind(), error.to_string())), ..Self::bare(entry, source) }
    }

    fn bare(entry: &Volume, source: &Arc<dyn ReadAt>) -> Self {
        Self {
            volume: Arc::new(entry.extent(source.clone())),
            kind: entry.file_system,
            file_system: None,
            encryption: None,
            unlocked: None,
            past: None,
            closed: None,
            notes: Vec::new(),
            deep: false,
            snapshot: None,
        }
    }

    /// Takes the shadow copy that is asked for instead of the volume.
    fn go_back(&mut self, entry: &Volume, watch: &dyn Watch) -> Result<(), Error> {
        let Some(number) = self.snapshot else { return Ok(()) };
        let past = Past::open(&self.volume, number, entry.number, watch)?;
        self.notes.extend_from_slice(past.notes());
        self.volume = past.kept();
        // Where not even its begin can be told, the reason is worth more than that nothing is recognised.
        self.volume.read_at(&mut [0; boot_sector::LEN], 0)?;
        self.past = Some(past);
        Ok(())
    }

    /// Unlocks the encryption, and opens what is in it. What is inside and cannot be shown is no error: the decrypted
    /// bytes can.
    pub(crate) fn unlock(&mut self, entry: &Volume, keys: &[Key], watch: &dyn Watch) -> Result<(), Error> {
        let Some(encryption) = &self.encryption else {
            let reason = format!("volume {} is not encrypted", entry.number);
            return Err(Error::refused(ErrorKind::InvalidInput, reason));
        };
        if self.unlocked.is_some() {
            return Ok(());
        }
        let unlocked = encryption.unlock(keys, watch).map_err(|error| {
            let reason = format!("volume {}: {error}", entry.number);
            Error::refused(error.kind(), reason)
        })?;
        self.notes.extend_from_slice(unlocked.notes());
        let unlocked = Arc::new(unlocked);
        self.volume = match unlocked.is_judged() {
            true => {
                let mut sector = [0; boot_sector::LEN];
                unlocked.read_salvage(&mut sector, 0);
                let boot = boot_sector::recognise(&sector);
                let cluster = boot.map(|boot| boot.bytes_per_sector.saturating_mul(boot.sectors_per_cluster));
                Arc::new(Remnants::new(unlocked.clone(), cluster.unwrap_or(0)))
            }
            false => unlocked.clone(),
        };
        self.unlocked = Some(unlocked);
        self.closed = None;
        if let Err(error) = self.go_back(entry, watch) {
            self.closed = Some((error.kind(), error.to_string()));
            return Ok(());
        }
        self.kind = recognise(&self.volume);
        match file_system(self.kind, &self.volume, None, self.deep.then_some(watch)) {
            Some(Ok(file_system)) => {
                self.file_system = Some(file_system);
                self.kind = FileSystemKind::Ntfs;
            }
            Some(Err(error)) => self.closed = Some((error.kind(), error.to_string())),
            None => {
                let only = "; only its decrypted bytes are shown, in .undelfs/volume.img";
                let error = not_supported(entry, self.kind, only);
                self.closed = Some((error.kind(), error.to_string()));
            }
        }
        Ok(())
    }
}

/// The file system of a volume, which is sound.
pub(crate) fn sound_file_system(volume: &Arc<dyn ReadAt>) -> Result<Box<dyn FileSystem>, Error> {
    let unknown = || Error::refused(ErrorKind::Unsupported, "the volume has no known file system");
    file_system(recognise(volume), volume, None, None).ok_or_else(unknown)?
}

/// What is on a volume: by its first sector, for NTFS also by the last.
fn recognise(volume: &dyn ReadAt) -> FileSystemKind {
    let mut sector = [0; boot_sector::LEN];
    volume.read_salvage(&mut sector, 0);
    if let Some(boot) = boot_sector::recognise(&sector) {
        return boot.kind;
    }
    let last = volume.size().saturating_sub(u64::from(volume.sector_size()));
    volume.read_salvage(&mut sector, last);
    match boot_sector::recognise(&sector) {
        Some(boot) if boot.kind == FileSystemKind::Ntfs => FileSystemKind::Ntfs,
        _ => FileSystemKind::Unknown,
    }
}

/// Opens the file system of a volume; `None` where it is not known or not supported. With `search` a volume whose own
/// description is lost is searched for it. Adding a file system adds a line here.
fn file_system(
    kind: FileSystemKind,
    volume: &Arc<dyn ReadAt>,
    boot: Option<&[u8]>,
    search: Option<&dyn Watch>,
) -> Option<Result<Box<dyn FileSystem>, Error>> {
    let boxed = |ntfs| Box::new(ntfs) as Box<dyn FileSystem>;
    match (kind, search) {
        (FileSystemKind::Ntfs, _) => {
            let ntfs = Ntfs::open(volume.clone(), boot).or_else(|error| match search {
                Some(watch) => Ntfs::rebuild(volume.clone(), boot, watch),
                None => Err(error),
            });
            Some(ntfs.map(boxed).map_err(Error::from))
        }
        (FileSystemKind::Unknown, Some(watch)) => match Ntfs::rebuild(volume.clone(), boot, watch) {
            Ok(ntfs) => Some(Ok(boxed(ntfs))),
            Err(error) if error.kind() == ErrorKind::Cancelled => Some(Err(error.into())),
            Err(_) => None,
        },
        _ => None,
    }
}

fn not_supported(entry: &Volume, kind: FileSystemKind, only: &str) -> Error {
    let number = entry.number;
    let reason = match kind {
        FileSystemKind::Unknown => format!("no known file system is on volume {number}{only}"),
        kind => format!(
            "volume {number} is {kind}; this version recovers files from NTFS only (`undelfs volumes --lost` finds an NTFS volume that was there before){only}"
        ),
    };
    Error::refused(ErrorKind::Unsupported, reason)
}

fn unknown(entry: &Volume, deep: bool) -> String {
    let advice = if deep { "no records of one were found either" } else { "--deep searches it for files" };
    format!(
        "no known file system is on volume {} ({}), {advice}; only its bytes are shown, in .undelfs/volume.img",
        entry.number, entry.role
    )
}
