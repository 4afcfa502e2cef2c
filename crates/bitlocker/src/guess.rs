//! Volumes without metadata: where the relocated sectors stand shows by decrypting.

use std::sync::Arc;

use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{Error, FileSystemKind, boot_sector, filesystem::Watch};

use crate::{
    Unlocked,
    cipher::{Method, SectorCipher},
    information::BLOCK,
    layout::{Encrypted, Head, Layout},
    locate::Boot,
    secret::Secret,
};

/// Bytes from the volume's start that Windows relocates on NTFS.
const RELOCATED: u64 = 0x2000;
/// How much is decrypted at once in a search.
const PIECE: usize = 1 << 20;

/// Unlocks `volume` with its encryption key alone: tries the ciphers and sector sizes that the key's length allows, and
/// finds the relocated boot sector.
pub(crate) fn unlock(
    volume: &Arc<dyn ReadAt>,
    boot: &Boot,
    method: Option<Method>,
    fvek: &Secret,
    watch: &dyn Watch,
) -> Result<Unlocked, Error> {
    let methods = Method::ALL.into_iter().filter(|known| match method {
        Some(method) => method == *known,
        None => known.key_len() == fvek.expose().len(),
    });
    let sectors: &[u32] = match boot.sector_size {
        Some(512) => &[512],
        Some(4096) => &[4096],
        _ => &[512, 4096],
    };
    let mut trials = Vec::new();
    for method in methods {
        for sector in sectors {
            if let Some(cipher) = SectorCipher::new(method, fvek.expose()) {
                trials.push(Trial { cipher, sector: *sector });
            }
        }
    }
    if let Some((mft, mirror)) = boot.vista
        && let Some(index) = trials.iter().position(|trial| trial.has_record(volume, mft))
    {
        let Trial { cipher, sector } = trials.swap_remove(index);
        let metadata = Vec::new();
        let layout = Layout::new(sector, Head::Vista, metadata, Encrypted::All);
        return Ok(Unlocked::new(volume.clone(), layout, Some(cipher), mirror));
    }
    let found = trials
        .iter()
        .enumerate()
        .find_map(|(index, trial)| Some((index, trial.beside_metadata(volume, boot)?)));
    let found = match found {
        Some(found) => Some(found),
        None => search(volume, &trials, watch)?,
    };
    let Some((index, at)) = found else {
        let reason = "with this key no file system shows on the volume; is it the key of another volume?";
        return Err(Error::Refused { kind: ErrorKind::KeyNeeded, reason: reason.to_owned() });
    };
    let Trial { cipher, sector } = trials.swap_remove(index);
    let metadata = boot.blocks.iter().map(|at| *at..at.saturating_add(BLOCK as u64)).collect();
    let layout = Layout::new(sector, Head::Relocated { at, len: RELOCATED }, metadata, Encrypted::All);
    Ok(Unlocked::new(volume.clone(), layout, Some(cipher), 0))
}

/// A cipher and a sector size that may be the volume's.
struct Trial {
    cipher: SectorCipher,
    sector: u32,
}

impl Trial {
    /// Where the relocated boot sector stands, if it is where Windows puts it: behind the first metadata block.
    fn beside_metadata(&self, volume: &dyn ReadAt, boot: &Boot) -> Option<u64> {
        let places = boot.blocks.iter().filter_map(|at| at.checked_add(BLOCK as u64));
        places.into_iter().find(|at| {
            let mut sector = vec![0; self.sector as usize];
            volume.read_exact_at(&mut sector, *at).is_ok() && self.has_boot_sector(&mut sector, *at)
        })
    }

    /// Whether a FILE record stands at `at`.
    fn has_record(&self, volume: &dyn ReadAt, at: u64) -> bool {
        let mut sector = vec![0; self.sector as usize];
        let read = volume.read_exact_at(&mut sector, at);
        self.cipher.decrypt(&mut sector, self.sector as usize, at);
        read.is_ok() && sector.starts_with(b"FILE")
    }

    /// Decrypts `sector`, which stands at `at`, and says whether it is a boot sector of this volume.
    fn has_boot_sector(&self, sector: &mut [u8], at: u64) -> bool {
        self.cipher.decrypt(sector, self.sector as usize, at);
        is_boot_sector(sector)
    }
}

/// FAT is told by many fields; what is told by a signature is the rest.
fn is_boot_sector(sector: &[u8]) -> bool {
    let boot = boot_sector::recognise(sector);
    boot.is_some_and(|boot| !matches!(boot.kind, FileSystemKind::BitLocker | FileSystemKind::Unknown))
}

/// The first sector of the volume that is a boot sector when it is decrypted, other than the last ones, which are
/// backups.
fn search(volume: &dyn ReadAt, trials: &[Trial], watch: &dyn Watch) -> Result<Option<(usize, u64)>, Error> {
    let end = volume.present();
    let backup = volume.size().saturating_sub(RELOCATED);
    let mut raw = vec![0; PIECE];
    let mut piece = vec![0; PIECE];
    let mut at = 0u64;
    watch.total(end);
    while at < end.min(backup) {
        if watch.cancelled() {
            let reason = "unlocking was cancelled".to_owned();
            return Err(Error::Refused { kind: ErrorKind::Cancelled, reason });
        }
        volume.read_salvage(&mut raw, at);
        for (index, trial) in trials.iter().enumerate() {
            piece.copy_from_slice(&raw);
            trial.cipher.decrypt(&mut piece, trial.sector as usize, at);
            let sectors = (at..backup).step_by(trial.sector as usize);
            let mut hits = sectors.zip(piece.chunks(trial.sector as usize));
            if let Some((place, _)) = hits.find(|(_, sector)| is_boot_sector(sector)) {
                return Ok(Some((index, place)));
            }
        }
        at = at.saturating_add(PIECE as u64);
        watch.advance(PIECE as u64);
    }
    Ok(None)
}
