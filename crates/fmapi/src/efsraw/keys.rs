//! The private keys of the process.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use undelfs_restore::efs_format::{BadKeyFile, KeyRing, PrivateKey, load};
use zeroize::Zeroizing;

use crate::{Code, source_name::host_path};

static KEYS: Mutex<Vec<PrivateKey>> = Mutex::new(Vec::new());

/// Adds the keys in a file.
pub(super) fn add(path: &[u8], password: Option<&[u8]>) -> Result<(), Code> {
    let password = password.map(std::str::from_utf8).transpose().map_err(|_| Code::INVALID_PASSWORD)?;
    let path = host_path(path.to_vec());
    let bytes = Zeroizing::new(read(&path)?);
    // A password that was not needed does no harm.
    let keys = match load(&bytes, None) {
        Err(BadKeyFile::Password) if password.is_some() => load(&bytes, password),
        result => result,
    };
    let keys = keys.map_err(|error| match error {
        BadKeyFile::Password => Code::INVALID_PASSWORD,
        BadKeyFile::NoKey(_) => Code::BAD_FORMAT,
    })?;
    KEYS.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Code> {
    /// Largest file that is read, in bytes.
    const MAX: u64 = 16 << 20;
    let of = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Code::FILE_NOT_FOUND,
        _ => Code::of_write(&error),
    };
    match fs::metadata(path).map_err(of)?.len() {
        0..=MAX => fs::read(path).map_err(of),
        _ => Err(Code::BAD_FORMAT),
    }
}

/// Forgets them.
pub(super) fn clear() {
    *KEYS.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
}

/// All of them, where there are any.
pub(super) fn all() -> Option<Arc<KeyRing>> {
    let keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    (!keys.is_empty()).then(|| Arc::new(KeyRing::new(keys.clone())))
}
