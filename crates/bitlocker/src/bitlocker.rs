//! A BitLocker volume: what it says of itself, and how it is unlocked.

use std::{fmt, sync::Arc};

use undelfs_source::{ErrorKind, ReadAt};
use undelfs_volume::{
    Error, boot_sector,
    filesystem::{FileTime, Watch},
};

use crate::{
    Guid, Key, Protector, Unlocked,
    cipher::{Method, SectorCipher},
    datum::Dataset,
    eow::Chunks,
    guess,
    information::{Information, State},
    key::package,
    layout::{Encrypted, Head, Layout},
    locate::{self, Boot, Located},
    protector::protectors,
    unlock::{Opened, Ring},
};

/// Size of a cluster in bytes where the boot sector does not tell.
const USUAL_CLUSTER: u32 = 4096;

/// Windows may leave so many bytes at the end of an encrypted volume plain: what is less than a cluster or a track.
pub(crate) const TAIL: u64 = 1 << 20;

/// What a volume says of itself without a key.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of the metadata: 1 for Windows Vista, 2 since Windows 7.
    pub version: u16,
    /// Sector cipher; `None` where nothing is encrypted.
    pub method: Option<Method>,
    /// How far the conversion is.
    pub conversion: Conversion,
    /// Identifier of the volume.
    pub identifier: Guid,
    /// What Windows made of the computer, the label and the day.
    pub description: Option<String>,
    /// When the volume was encrypted.
    pub created: FileTime,
    /// What unlocks it.
    pub protectors: Vec<Protector>,
}

/// How far the conversion of a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// Nothing is encrypted any more.
    Decrypted,
    /// All of it is encrypted, or all that was in use.
    Encrypted,
    /// It is being encrypted.
    Encrypting,
    /// It is being decrypted.
    Decrypting,
    /// Encryption was paused.
    EncryptionPaused,
    /// Decryption was paused.
    DecryptionPaused,
    /// A part of it is encrypted.
    PartlyEncrypted,
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decrypted => "fully decrypted",
            Self::Encrypted => "encrypted",
            Self::Encrypting => "encryption in progress",
            Self::Decrypting => "decryption in progress",
            Self::EncryptionPaused => "encryption paused",
            Self::DecryptionPaused => "decryption paused",
            Self::PartlyEncrypted => "partly encrypted",
        })
    }
}

/// A BitLocker volume.
pub struct BitLocker {
    volume: Arc<dyn ReadAt>,
    boot: Boot,
    /// The sound metadata blocks, the newest first.
    blocks: Vec<Information>,
    /// Why there is none, where that is so.
    damage: Option<Error>,
    /// The records of a conversion, of which each copy takes its own room.
    records: Vec<Arc<Chunks>>,
    facts: Option<Facts>,
    notes: Vec<String>,
}

impl BitLocker {
    /// Reads the metadata of `volume`. Where the boot sector does not lead to a sound block, the first `limit` bytes of
    /// the volume are searched for one, which `watch` follows in bytes. That none is found is no error: a key package or the volume's
    /// own key can still open it.
    ///
    /// # Errors
    /// When `watch` cancelled the search.
    pub fn open(volume: Arc<dyn ReadAt>, limit: u64, watch: &dyn Watch) -> Result<Self, Error> {
        let mut sector = [0; boot_sector::LEN];
        volume.read_salvage(&mut sector, 0);
        let boot = Boot::parse(&sector);
        let (mut sound, mut errors) = locate::read_blocks(&volume, &boot.blocks);
        let mut notes: Vec<String> = Vec::new();
        if sound.is_empty() {
            sound = locate::search(&volume, limit, watch).ok_or_else(cancelled)?;
            // Blocks of another volume, in an image in this volume or of an earlier partition, name other places.
            sound.retain(|(at, block)| block.blocks.contains(at));
            if !sound.is_empty() {
                notes.push(
                    "the boot sector does not lead to sound BitLocker metadata; it was found by searching"
                        .into(),
                );
            }
        } else if let Some((_, first)) = sound.first() {
            // A damaged boot sector may name some blocks wrong; they name each other.
            let named = first.blocks;
            let (more, wrong) = locate::read_blocks(&volume, &named);
            let new: Vec<_> =
                more.into_iter().filter(|(at, _)| sound.iter().all(|(known, _)| known != at)).collect();
            errors.extend(wrong.into_iter().filter(|_| boot.blocks.len() < named.len()));
            sound.extend(new);
        }
        let usable = !sound.is_empty();
        notes.extend(errors.iter().filter(|_| usable).map(Error::to_string));
        sound.sort_by_key(|(at, block)| (std::cmp::Reverse(block.dataset.counter), *at));
        let blocks: Vec<Information> = sound.into_iter().map(|(_, block)| block).collect();
        let damage = errors.into_iter().next().filter(|_| blocks.is_empty());
        let records = records(&volume, &boot.records, &mut notes);
        if let Some(block) = blocks.first().filter(|block| block.state == State::SwitchingDirty) {
            notes.push(format!(
                "the conversion of the volume was interrupted in a piece of {} bytes at byte {}; that piece reads as zeros",
                block.log_len, block.border
            ));
        }
        let facts =
            blocks.first().map(|block| facts(block, records.first().map(|record| &**record), volume.size()));
        Ok(Self { volume, boot, blocks, damage, records, facts, notes })
    }

    /// Where `source` may have BitLocker volumes whose boot sector is destroyed, found by searching its first `limit`
    /// bytes for metadata; in bytes, the place that most metadata blocks speak for first.
    ///
    /// # Errors
    /// When `watch` cancelled the search.
    pub fn find(source: &dyn ReadAt, limit: u64, watch: &dyn Watch) -> Result<Vec<u64>, Error> {
        let found = locate::search(source, limit, watch).ok_or_else(cancelled)?;
        Ok(locate::starts(&found).into_iter().map(|(start, _)| start).collect())
    }

    /// The volumes that the sound ones of the metadata blocks at `places` of `source`, in bytes, belong to: by their
    /// start.
    pub fn by_blocks(source: &dyn ReadAt, places: &[u64]) -> Vec<Located> {
        locate::volumes(source, places)
    }

    /// What the volume says of itself; `None` where no metadata block is sound.
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Damage that was met, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Unlocks the volume with whichever of `keys` fits. No key is needed where nothing is encrypted any more, or
    /// protection is suspended. `watch` follows the stretching of passwords, in rounds.
    ///
    /// # Errors
    /// [`ErrorKind::KeyNeeded`] when no key fits, with the protectors and what is wrong with each key.
    pub fn unlock(&self, keys: &[Key], watch: &dyn Watch) -> Result<Unlocked, Error> {
        let Some(block) = self.blocks.first() else {
            return self.unlock_without_metadata(keys, watch);
        };
        if block.state == State::Decrypted {
            return Ok(self.unlocked(block, None));
        }
        let mut ring = Ring::new(keys, watch);
        let mut damaged = None;
        match ring.open(self.blocks.iter().map(|block| &block.dataset)) {
            Ok(Some(opened)) => return self.unlock_with(block, opened),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) => damaged = Some(error),
        }
        // What does not come from the volume itself has to show that it fits.
        let mut packages = packages(keys);
        packages.retain(|package| package.identifier == block.dataset.identifier);
        let foreign = ring.open(&packages)?.into_iter().chain(ring.raw());
        for opened in foreign {
            if let Ok(unlocked) = self.unlock_with(block, opened)
                && guess::fits(&unlocked, &self.boot)
            {
                return Ok(unlocked);
            }
        }
        if let Some(error) = damaged {
            return Err(error);
        }
        ring.explain(self.facts().map(|facts| facts.protectors.as_slice()).unwrap_or_default());
        Err(self.locked(&ring.failures))
    }

    /// The volume, decrypted with what a key has opened.
    fn unlock_with(&self, block: &Information, opened: Opened) -> Result<Unlocked, Error> {
        let method = opened.method.or(Method::from_code(block.dataset.method));
        let cipher = method.and_then(|method| SectorCipher::new(method, opened.fvek.expose()));
        let Some(cipher) = cipher else {
            let reason = format!(
                "the volume's encryption key has {} bytes, which does not fit {}",
                opened.fvek.expose().len(),
                method.map_or_else(|| "any known cipher".to_owned(), |method| method.to_string())
            );
            return Err(Error::Refused { kind: ErrorKind::KeyNeeded, reason });
        };
        let mut unlocked = self.unlocked(block, Some(cipher));
        if opened.vmk.and_then(|vmk| block.is_genuine(vmk.expose())) == Some(false) {
            unlocked.notes.push(
                "the BitLocker metadata differ from what Windows sealed; somebody or something changed them"
                    .into(),
            );
        }
        Ok(unlocked)
    }

    fn unlock_without_metadata(&self, keys: &[Key], watch: &dyn Watch) -> Result<Unlocked, Error> {
        let packages = packages(keys);
        let mut ring = Ring::new(keys, watch);
        let candidates = ring.open(&packages)?.into_iter().chain(ring.raw());
        for Opened { method, fvek, .. } in candidates {
            let head = packages.iter().find_map(Dataset::relocation);
            if let Some(unlocked) = guess::unlock(&self.volume, &self.boot, method, &fvek, head, watch)? {
                return Ok(unlocked);
            }
        }
        ring.explain(&[]);
        let why = match &self.damage {
            Some(error) => error.to_string(),
            None => "none was found anywhere on it".to_owned(),
        };
        let advice = match ring.failures.as_slice() {
            [] => String::new(),
            failures => format!("{}; ", failures.join("; ")),
        };
        let reason = format!(
            "the volume is encrypted by BitLocker, and none of its metadata blocks is sound ({why}); {advice}\
             it opens with a key package and its recovery password, or with the full volume encryption key"
        );
        Err(Error::Refused { kind: ErrorKind::KeyNeeded, reason })
    }

    fn unlocked(&self, block: &Information, cipher: Option<SectorCipher>) -> Unlocked {
        let sector = self.boot.sector_size.or(block.sector_size()).unwrap_or(512);
        let cluster = self.boot.cluster.unwrap_or(USUAL_CLUSTER);
        let block_len = locate::block_len(block.version, sector, cluster);
        let span = |at: u64, len: u64| at..at.saturating_add(len);
        let mut metadata: Vec<_> = block.blocks.iter().map(|at| span(*at, block_len)).collect();
        if block.state == State::SwitchingDirty && block.log_len > 0 {
            metadata.push(span(block.border, block.log_len.into()));
        }
        metadata.extend(self.records.iter().flat_map(|record| record.taken.iter().cloned()));
        let head = match block.version {
            1 => Head::Vista,
            _ => {
                let sectors = u64::from(block.relocated_sectors);
                Head::Relocated { at: block.place, len: sectors.saturating_mul(sector.into()) }
            }
        };
        let encrypted = match cipher {
            None => Encrypted::Nothing,
            Some(_) => self.encrypted(block, head),
        };
        // A conversion whose record is lost: what is encrypted already shows in the bytes.
        let is_judged = cipher.is_some()
            && self.records.is_empty()
            && !self.boot.records.is_empty()
            && self.has_plain_head(head);
        let layout = Layout::new(sector, head, metadata, encrypted);
        let mut unlocked = Unlocked::new(self.volume.clone(), layout, cipher, block.place);
        if is_judged {
            unlocked.is_judged = true;
            unlocked.notes.push(
                "the record of which parts of the volume are encrypted is lost; each cluster is judged by its content"
                    .into(),
            );
        }
        unlocked
    }

    fn encrypted(&self, block: &Information, head: Head) -> Encrypted {
        if let Some(chunks) = self.records.first() {
            return Encrypted::Chunks(chunks.clone());
        }
        match block.border {
            // A conversion that has just begun, or nearly ended: the relocated boot sector shows which.
            0 if block.state != State::Encrypted && self.has_plain_head(head) => Encrypted::Nothing,
            0 => Encrypted::All,
            border => Encrypted::Below(border),
        }
    }

    /// Whether the relocated boot sector stands unencrypted.
    fn has_plain_head(&self, head: Head) -> bool {
        let Head::Relocated { at, .. } = head else { return false };
        let mut sector = [0; boot_sector::LEN];
        self.volume.read_salvage(&mut sector, at);
        boot_sector::recognise(&sector).is_some()
    }

    /// The error of a volume that no key opens.
    fn locked(&self, failures: &[String]) -> Error {
        let mut reason = String::from("the volume is encrypted by BitLocker");
        if let Some(method) = self.facts().and_then(|facts| facts.method) {
            reason.push_str(&format!(" ({method})"));
        }
        match failures {
            [] => reason.push_str(" and needs a key"),
            _ => reason.push_str(&format!("; {}", failures.join("; "))),
        }
        let protectors = self.facts().map(|facts| facts.protectors.as_slice()).unwrap_or_default();
        let list = |wanted: bool| -> Vec<String> {
            let chosen = protectors.iter().filter(|protector| protector.kind.can_be_opened() == wanted);
            chosen.map(Protector::to_string).collect()
        };
        let (usable, others) = (list(true), list(false));
        if !usable.is_empty() {
            reason.push_str(&format!("; it opens with: {}", usable.join(", ")));
        }
        if !others.is_empty() {
            reason.push_str(&format!("; only its own computer or card opens: {}", others.join(", ")));
        }
        if usable.is_empty() {
            reason.push_str("; without another protector only the full volume encryption key opens it");
        }
        Error::Refused { kind: ErrorKind::KeyNeeded, reason }
    }
}

fn cancelled() -> Error {
    Error::Refused {
        kind: ErrorKind::Cancelled,
        reason: "the search for BitLocker metadata was cancelled".to_owned(),
    }
}

fn packages(keys: &[Key]) -> Vec<Dataset> {
    let packages = keys.iter().filter_map(|key| match key {
        Key::Package(bytes) => package(bytes.expose()),
        _ => None,
    });
    packages.collect()
}

/// The sound copies of the record of a conversion.
fn records(volume: &dyn ReadAt, places: &[u64], notes: &mut Vec<String>) -> Vec<Arc<Chunks>> {
    let mut sound = Vec::new();
    for at in places {
        match Chunks::read(volume, *at) {
            Ok(Some(chunks)) => sound.push(Arc::new(chunks)),
            Ok(None) => {}
            Err(error) => notes.push(error.to_string()),
        }
    }
    sound
}

fn facts(block: &Information, chunks: Option<&Chunks>, size: u64) -> Facts {
    let dataset = &block.dataset;
    let target = block.next;
    let conversion = match (block.state, chunks.map(Chunks::extent)) {
        (State::Decrypted, _) => Conversion::Decrypted,
        (State::Encrypted, Some((encrypted, all))) if encrypted < all => Conversion::PartlyEncrypted,
        (State::Encrypted, None)
            if (1..size).contains(&block.border) && size.saturating_sub(block.border) > TAIL =>
        {
            Conversion::PartlyEncrypted
        }
        (State::Encrypted, _) => Conversion::Encrypted,
        (State::Paused, _) if target == Some(State::Decrypted) => Conversion::DecryptionPaused,
        (State::Paused, _) => Conversion::EncryptionPaused,
        (State::Switching | State::SwitchingDirty, _) if target == Some(State::Decrypted) => {
            Conversion::Decrypting
        }
        (State::Switching | State::SwitchingDirty, _) => Conversion::Encrypting,
    };
    Facts {
        version: block.version,
        method: Method::from_code(dataset.method),
        conversion,
        identifier: dataset.identifier,
        description: dataset.description().map(str::to_owned),
        created: dataset.created,
        protectors: protectors(dataset).map(|(protector, _)| protector).collect(),
    }
}

impl fmt::Debug for BitLocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BitLocker").field("facts", &self.facts).finish_non_exhaustive()
    }
}
