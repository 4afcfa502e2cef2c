//! What a caller gives to unlock a volume with.

use std::{fs::File, io::Read};

use undelfs_restore::bitlocker::{Key, RecoveryPassword, Secret, StartupKey};
use undelfs_source::ErrorKind;
use zeroize::Zeroizing;

use crate::{Code, source_name, wide};

/// Longest startup key file that is read, in bytes. Windows writes some 150.
const MAX_KEY_FILE: u64 = 1 << 20;

/// The keys in what `SupplyDecryptionInfo` was given. What was not given is `None`.
pub(crate) fn keys(
    startup_key_file: Option<&[u16]>,
    recovery_password: Option<Zeroizing<Vec<u16>>>,
    package: Option<Vec<u8>>,
) -> Result<Vec<Key>, Code> {
    let mut keys = Vec::new();
    if let Some(path) = startup_key_file {
        let content = read(path)?;
        keys.push(Key::StartupKey(StartupKey::parse(content.expose()).map_err(|_| Code::INVALID_PARAMETER)?));
    }
    if let Some(password) = recovery_password {
        let text = Secret::new(wide::to_wtf8(&password));
        let text = std::str::from_utf8(text.expose()).map_err(|_| Code::INVALID_PARAMETER)?;
        let password = RecoveryPassword::parse(text.trim()).map_err(|_| Code::INVALID_PARAMETER)?;
        keys.push(Key::RecoveryPassword(password));
    }
    // A package alone opens nothing: it stands for metadata, not for a secret.
    if keys.is_empty() {
        return Err(Code::INVALID_PARAMETER);
    }
    if let Some(package) = package {
        keys.push(Key::package(package).map_err(|_| Code::INVALID_PARAMETER)?);
    }
    Ok(keys)
}

/// The first line of a file as a caller's string.
pub(crate) fn first_line(path: &std::path::Path) -> Result<Zeroizing<Vec<u16>>, Code> {
    let code = |error: std::io::Error| Code(ErrorKind::from(error.kind()).win32());
    let mut content = Zeroizing::new(Vec::new());
    File::open(path).and_then(|file| file.take(MAX_KEY_FILE).read_to_end(&mut content)).map_err(code)?;
    let line = content.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let mut units = Zeroizing::new(Vec::with_capacity(line.len()));
    wide::push_utf16(line, &mut units);
    Ok(units)
}

fn read(path: &[u16]) -> Result<Secret, Code> {
    let code = |error: std::io::Error| Code(ErrorKind::from(error.kind()).win32());
    let file = File::open(source_name::destination(path)?).map_err(code)?;
    let mut content = Vec::new();
    let read = file.take(MAX_KEY_FILE).read_to_end(&mut content).map_err(code);
    let content = Secret::new(content);
    read.map(|_| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Zeroizing<Vec<u16>> {
        text.encode_utf16().collect::<Vec<u16>>().into()
    }

    #[test]
    fn a_recovery_password_has_eight_groups_of_multiples_of_eleven() {
        let good = ["000011"; 8].join("-");
        assert!(keys(None, Some(units(&good)), None).is_ok());
        for bad in ["", "000011", "000012-000011-000011-000011-000011-000011-000011-000011"] {
            assert_eq!(keys(None, Some(units(bad)), None).unwrap_err(), Code::INVALID_PARAMETER, "{bad}");
        }
    }

    #[test]
    fn without_a_startup_key_or_a_recovery_password_nothing_is_taken() {
        assert_eq!(keys(None, None, None).unwrap_err(), Code::INVALID_PARAMETER);
        assert_eq!(keys(None, None, Some(vec![0; 100])).unwrap_err(), Code::INVALID_PARAMETER);
    }

    #[test]
    fn a_startup_key_file_must_be_there_and_be_one() {
        let missing = keys(Some(&units("/no/such/file.bek")), None, None);
        assert_eq!(missing.unwrap_err(), Code::FILE_NOT_FOUND);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.bek");
        std::fs::write(&path, b"no key").unwrap();
        let other = keys(Some(&units(path.to_str().unwrap())), None, None);
        assert_eq!(other.unwrap_err(), Code::INVALID_PARAMETER);
    }
}
