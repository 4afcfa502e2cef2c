//! Private keys of encrypted files: from files, with passwords from the command line, files, descriptors and the terminal.

use std::{
    io::{self, IsTerminal},
    path::Path,
    sync::Arc,
};

use undelfs_restore::{
    bitlocker::Secret,
    efs_format::{BadKeyFile, KeyRing, PrivateKey, load},
};
use undelfs_source::ErrorKind;

use crate::{
    cli::EfsKeyArgs,
    failure::{Failure, notice},
    keys::{ATTEMPTS, line, read_file},
    platform::secrets::{keep_out_of_dumps, read_descriptor},
};

/// The keys that were given.
///
/// # Errors
/// When one cannot be read, is none, or none of the passwords opens it.
pub(crate) fn collect(args: &EfsKeyArgs) -> Result<Arc<KeyRing>, Failure> {
    if args.efs_key.is_empty() {
        let passwords =
            [args.efs_key_password.len(), args.efs_key_password_file.len(), args.efs_key_password_fd.len()];
        if passwords.iter().any(|count| *count > 0) {
            return Err(Failure::usage("a password of a key file needs --efs-key FILE"));
        }
        return Ok(Arc::default());
    }
    keep_out_of_dumps();
    let mut passwords: Vec<Secret> =
        args.efs_key_password.iter().map(|text| Secret::new(text.clone().into_bytes())).collect();
    for path in &args.efs_key_password_file {
        passwords.push(Secret::new(line(read_file(path)?)));
    }
    for descriptor in &args.efs_key_password_fd {
        passwords.push(Secret::new(line(read_descriptor(*descriptor)?)));
    }
    let mut keys = Vec::new();
    for path in &args.efs_key {
        keys.extend(open(path, &passwords)?);
    }
    Ok(Arc::new(KeyRing::new(keys)))
}

/// Opens a key file: without a password, with one of those that were given, or with one that the terminal gives.
fn open(path: &Path, passwords: &[Secret]) -> Result<Vec<PrivateKey>, Failure> {
    let bytes = Secret::new(read_file(path)?);
    let of_file = |error: &BadKeyFile| {
        let kind = match error {
            BadKeyFile::Password => ErrorKind::KeyNeeded,
            BadKeyFile::NoKey(_) => ErrorKind::InvalidInput,
        };
        Failure::of_kind(kind, format!("{}: {error}", path.display()))
    };
    let given = passwords.iter().map(|password| std::str::from_utf8(password.expose()).ok());
    for password in std::iter::once(None).chain(given) {
        match load(bytes.expose(), password) {
            Ok(keys) => return Ok(keys),
            Err(BadKeyFile::Password) => {}
            Err(error) => return Err(of_file(&error)),
        }
    }
    if passwords.is_empty() && io::stderr().is_terminal() {
        for _ in 0..ATTEMPTS {
            let prompt = format!("Password of {} (empty: none): ", path.display());
            let Ok(text) = rpassword::prompt_password(prompt) else { break };
            let text = Secret::new(text.into_bytes());
            if text.expose().is_empty() {
                break;
            }
            match load(bytes.expose(), std::str::from_utf8(text.expose()).ok()) {
                Ok(keys) => return Ok(keys),
                Err(error) => notice(of_file(&error)),
            }
        }
    }
    let sentence = match passwords.len() {
        0 => format!("{} is protected by a password; give it with --efs-key-password-file", path.display()),
        _ => format!("{}: none of the passwords that were given opens it", path.display()),
    };
    Err(Failure::of_kind(ErrorKind::KeyNeeded, sentence))
}
