//! From keys to the volume's encryption key.

use std::collections::HashMap;

use undelfs_source::ErrorKind;
use undelfs_volume::{Error, filesystem::Watch};

use crate::{
    Key, Protector, ProtectorKind,
    cipher::Method,
    datum::{Dataset, Datum, Value},
    protector::protectors,
    secret::Secret,
    unseal::{ROUNDS, stretch, unseal},
};

/// What opens the sectors of a volume.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The cipher that is stored with the key.
    pub(crate) method: Option<Method>,
    pub(crate) fvek: Secret,
    /// `None` where the encryption key itself was given.
    pub(crate) vmk: Option<Secret>,
}

/// The keys that were given, what was made of them, and why they did not fit.
pub(crate) struct Ring<'a> {
    keys: &'a [Key],
    watch: &'a dyn Watch,
    /// By key and salt. Stretching takes as long as all the rest together.
    stretched: HashMap<(usize, [u8; 16]), Secret>,
    pub(crate) failures: Vec<String>,
}

impl<'a> Ring<'a> {
    pub(crate) fn new(keys: &'a [Key], watch: &'a dyn Watch) -> Self {
        Self { keys, watch, stretched: HashMap::new(), failures: Vec::new() }
    }

    /// Opens the first of `sets` for which a key fits.
    ///
    /// # Errors
    /// When the work was cancelled, or a master key fits and the encryption key does not open with it.
    pub(crate) fn open<'d>(
        &mut self,
        sets: impl IntoIterator<Item = &'d Dataset>,
    ) -> Result<Option<Opened>, Error> {
        let mut damaged = false;
        for (index, set) in sets.into_iter().enumerate() {
            let Some(vmk) = self.master_key(set)? else {
                continue;
            };
            match fvek(set, &vmk) {
                Some((method, fvek)) => {
                    tracing::debug!(dataset = index, "unlocked");
                    return Ok(Some(Opened { method, fvek, vmk: Some(vmk) }));
                }
                None => damaged = true,
            }
        }
        if damaged {
            let reason = "the key fits, but the volume's encryption key in the metadata is damaged; \
                          give the full volume encryption key or a key package";
            return Err(Error::Refused { kind: ErrorKind::Damaged, reason: reason.to_owned() });
        }
        Ok(None)
    }

    /// The encryption keys that were given as they are, which nothing has checked.
    pub(crate) fn raw(&self) -> impl Iterator<Item = Opened> + use<'a> {
        self.keys.iter().filter_map(|key| match key {
            Key::VolumeEncryptionKey(method, fvek) => {
                Some(Opened { method: *method, fvek: fvek.clone(), vmk: None })
            }
            _ => None,
        })
    }

    /// The volume master key of `set`, by the first protector that opens.
    fn master_key(&mut self, set: &Dataset) -> Result<Option<Secret>, Error> {
        for (protector, datum) in protectors(set) {
            if protector.kind == ProtectorKind::ClearKey
                && let Some(vmk) = datum.key().and_then(|key| open_with(datum, key))
            {
                return Ok(Some(vmk));
            }
        }
        for (index, key) in self.keys.iter().enumerate() {
            if let Key::VolumeMasterKey(vmk) = key {
                if fvek(set, vmk).is_some() {
                    return Ok(Some(vmk.clone()));
                }
                continue;
            }
            for (protector, datum) in protectors(set) {
                let opened = match (key, protector.kind) {
                    (Key::StartupKey(file), _) if file.identifier == protector.identifier => {
                        open_with(datum, &file.key)
                    }
                    (Key::Password(_), ProtectorKind::Password)
                    | (Key::RecoveryPassword(_), ProtectorKind::RecoveryPassword) => {
                        self.stretched(index, datum)?.and_then(|key| open_with(datum, key))
                    }
                    _ => None,
                };
                if opened.is_some() {
                    return Ok(opened);
                }
            }
        }
        Ok(None)
    }

    /// Key `index`, stretched with the salt of a protector.
    fn stretched(&mut self, index: usize, datum: &Datum) -> Result<Option<&Secret>, Error> {
        /// Most salts that a password is stretched with. Windows allows one password protector and some recovery
        /// passwords; each costs a good part of a second.
        const MAX_SALTS: usize = 32;
        let Some(salt) = datum.salt().filter(|_| datum.sealed().is_some()) else { return Ok(None) };
        let place = (index, salt);
        if !self.stretched.contains_key(&place) {
            if self.stretched.keys().filter(|(key, _)| *key == index).count() >= MAX_SALTS {
                return Ok(None);
            }
            let Some(hash) = self.keys.get(index).and_then(Key::hash) else { return Ok(None) };
            self.watch.total(ROUNDS);
            let key = stretch(&hash, &salt, self.watch).ok_or_else(|| Error::Refused {
                kind: ErrorKind::Cancelled,
                reason: "unlocking was cancelled".to_owned(),
            })?;
            self.stretched.insert(place, key);
        }
        Ok(self.stretched.get(&place))
    }

    /// Says of each key why it did not fit a volume with these protectors.
    pub(crate) fn explain(&mut self, protectors: &[Protector]) {
        let has = |kind| protectors.is_empty() || protectors.iter().any(|protector| protector.kind == kind);
        let mut package = false;
        let mut recovery = false;
        for key in self.keys {
            recovery |= matches!(key, Key::RecoveryPassword(_));
            match key {
                Key::Package(_) => package = true,
                Key::StartupKey(file) => {
                    self.failures.push(format!("the startup key {} does not fit", file.identifier))
                }
                Key::Password(_) if !has(ProtectorKind::Password) => {
                    self.failures.push("the volume has no password".to_owned());
                }
                Key::RecoveryPassword(_) if !has(ProtectorKind::RecoveryPassword) => {
                    self.failures.push("the volume has no recovery password".to_owned());
                }
                _ => self.failures.push(format!("{} does not fit", key.name())),
            }
        }
        if package {
            self.failures.push(match recovery {
                true => "the key package does not help".to_owned(),
                false => "a key package needs its recovery password too".to_owned(),
            });
        }
    }
}

/// The volume master key of a protector.
fn open_with(protector: &Datum, key: &Secret) -> Option<Secret> {
    match unseal(protector.sealed()?, key.expose())?.value {
        Value::Key { key, .. } => Some(key),
        _ => None,
    }
}

/// The volume's encryption key, with its cipher where that is known.
fn fvek(set: &Dataset, vmk: &Secret) -> Option<(Option<Method>, Secret)> {
    match unseal(set.fvek()?, vmk.expose())?.value {
        Value::Key { kind, key } => {
            let method = Method::from_code(kind);
            // The key of a cipher without diffuser may stand in the room of one with.
            let len = method.map_or(key.expose().len(), Method::key_len);
            let key = if key.expose().len() > len { Secret::copy(key.expose().get(..len)?) } else { key };
            Some((method, key))
        }
        _ => None,
    }
}
