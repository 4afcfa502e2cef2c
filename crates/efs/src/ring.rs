use undelfs_source::ErrorKind;

use crate::{
    entry::{Entry, Wrapped},
    fek::{Fek, NoFek},
    key::PrivateKey,
    metadata::Metadata,
};

/// All private keys that were given.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(Vec<PrivateKey>);

/// Why a file stays encrypted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct Locked {
    /// What it means to the outside: a key is needed, or the file cannot be decrypted by this program at all.
    pub kind: ErrorKind,
    /// The reason, who can decrypt the file, and what the user can do.
    pub reason: String,
}

impl KeyRing {
    /// The ring of these keys.
    pub fn new(keys: Vec<PrivateKey>) -> Self {
        Self(keys)
    }

    /// True where no key was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file encryption key of the file with these metadata, and the entry that held it. Tried first are the keys
    /// whose certificate an entry names; then all others, because a certificate can be renewed and a key can come
    /// without one.
    ///
    /// # Errors
    /// When no key fits, or none can.
    pub fn unlock<'a>(&self, metadata: &'a Metadata) -> Result<(Fek, &'a Entry), Locked> {
        let mut pairs: Vec<(bool, &PrivateKey, &Entry, &[u8])> = Vec::new();
        for key in &self.0 {
            for entry in &metadata.entries {
                if let Wrapped::Rsa(wrapped) = &entry.wrapped {
                    let named = entry.thumbprint.is_some_and(|it| key.certificates().contains(&it));
                    pairs.push((!named, key, entry, wrapped));
                }
            }
        }
        pairs.sort_by_key(|(is_other, ..)| *is_other);
        let mut unknown = None;
        for (_, key, entry, wrapped) in pairs {
            match key.unwrap(wrapped) {
                Ok(fek) => return Ok((fek, entry)),
                Err(NoFek::Algorithm(id)) => unknown = Some(id),
                Err(NoFek::Form) => {}
            }
        }
        if let Some(id) = unknown {
            let reason = format!(
                "the content is encrypted with algorithm {id:#x}, known are DESX, 3DES and AES; it can be exported, and \
                 decrypted by Windows"
            );
            return Err(Locked { kind: ErrorKind::Unsupported, reason });
        }
        Err(self.no_key(metadata))
    }

    fn no_key(&self, metadata: &Metadata) -> Locked {
        let who = metadata.who();
        if metadata.entries.is_empty() {
            let reason =
                "the content is encrypted by EFS, and its `$EFS` attribute names nobody who could decrypt it";
            return Locked { kind: ErrorKind::KeyNeeded, reason: reason.to_owned() };
        }
        if !metadata.entries.iter().any(|entry| matches!(entry.wrapped, Wrapped::Rsa(_))) {
            let reason = format!(
                "the content is encrypted by EFS in a way that is not published (version {}; {who}); it can be exported, \
                 and decrypted by Windows",
                metadata.version
            );
            return Locked { kind: ErrorKind::KeyNeeded, reason };
        }
        let what = match self.is_empty() {
            true => "the content is encrypted by EFS",
            false => "the content is encrypted by EFS, and none of the keys that were given fits",
        };
        let reason = format!("{what}; give the private key of one who can decrypt it with --efs-key: {who}");
        Locked { kind: ErrorKind::KeyNeeded, reason }
    }
}
