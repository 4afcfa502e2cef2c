//! Volumes without metadata: where the relocated sectors stand shows by decrypting.

use std::sync::Arc;

use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{Error, FileSystemKind, boot_sector, filesystem::Watch};

use crate::{
    Origin, Remnants, Unlocked,
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
/// finds the relocated boot sector. `head` is where it stands and how much of the volume does, where a key package says
/// it. `None` where the key does not fit.
pub(crate) fn unlock(
    volume: &Arc<dyn ReadAt>,
    boot: &Boot,
    method: Option<Method>,
    fvek: &Secret,
    head: Option<(u64, u64)>,
    watch: &dyn Watch,
) -> Result<Option<Unlocked>, Error> {
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
        return Ok(Some(noted(Unlocked::new(volume.clone(), layout, Some(cipher), mirror))));
    }
    let found = trials
        .iter()
        .enumerate()
        .find_map(|(index, trial)| Some((index, trial.beside_metadata(volume, boot, head)?)));
    let found = match found {
        Some(found) => Some(found),
        None => search(volume, &trials, watch)?,
    };
    let Some((index, at)) = found else {
        return Ok(None);
    };
    let Trial { cipher, sector } = trials.swap_remove(index);
    let metadata = boot.blocks.iter().map(|at| *at..at.saturating_add(BLOCK as u64)).collect();
    let len = head.filter(|(stated, _)| *stated == at).map_or(RELOCATED, |(_, len)| len);
    let layout = Layout::new(sector, Head::Relocated { at, len }, metadata, Encrypted::All);
    let mut unlocked = noted(Unlocked::new(volume.clone(), layout, Some(cipher), 0));
    if head.is_none() {
        unlocked.notes.push(format!(
            "that {RELOCATED} bytes from the volume's start stand elsewhere is assumed; on a BitLocker To Go volume there are more"
        ));
    }
    Ok(Some(unlocked))
}

fn noted(mut unlocked: Unlocked) -> Unlocked {
    unlocked.notes.push(
        "no BitLocker metadata is left: that all of the volume is encrypted, and where its begin stands, is worked out from what decrypts to a file system"
            .into(),
    );
    unlocked
}

/// Whether what is encrypted on a volume becomes content with the key that it was unlocked with.
pub(crate) fn fits(unlocked: &Unlocked, boot: &Boot) -> bool {
    /// How many places are looked at, beside the begin of the volume.
    const LOOKS: u64 = 256;
    const UNIT: u64 = 4096;
    let remnants = Remnants::new(Arc::new(unlocked.clone()), UNIT as u32);
    let step = (unlocked.present() / LOOKS / UNIT).max(1).saturating_mul(UNIT);
    let spread = (0..LOOKS).map(|look| look.saturating_mul(step));
    let places = [0, UNIT].into_iter().chain(boot.vista.map(|(mft, _)| mft)).chain(spread);
    let mut unclear = false;
    for at in places.take_while(|at| *at < unlocked.present()) {
        match remnants.judge(at, false) {
            Ok(Origin::Encrypted) => return true,
            Ok(Origin::Unclear) => unclear = true,
            Ok(Origin::Plain) | Err(_) => {}
        }
    }
    // Where nothing is encrypted every key fits.
    !unclear
}

/// A cipher and a sector size that may be the volume's.
struct Trial {
    cipher: SectorCipher,
    sector: u32,
}

impl Trial {
    /// Where the relocated boot sector stands, if it is where Windows puts it: behind the first metadata block.
    fn beside_metadata(&self, volume: &dyn ReadAt, boot: &Boot, head: Option<(u64, u64)>) -> Option<u64> {
        let behind = boot.blocks.iter().filter_map(|at| at.checked_add(BLOCK as u64));
        let mut places = head.map(|(at, _)| at).into_iter().chain(behind);
        places.find(|at| {
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
