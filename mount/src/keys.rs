//! Keys of encrypted volumes: from the command line, files, descriptors and the terminal.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
};

use undelfs_restore::{
    Context,
    bitlocker::{BitLocker, Key, ProtectorKind, RecoveryPassword, Secret, StartupKey},
};

use crate::{
    cli::{Chatter, KeyArgs},
    failure::{Failure, notice},
    platform::secrets::{keep_out_of_dumps, read_descriptor},
    progress::Late,
};

/// Most bytes of a key file or of a secret. A key package has some hundred, a metadata block 64 KiB.
const MAX_FILE: u64 = 1 << 20;

/// How often is asked before it is given up.
pub(crate) const ATTEMPTS: usize = 3;

/// The keys that were given.
///
/// # Errors
/// When one cannot be read, or is none.
pub(crate) fn collect(args: &KeyArgs) -> Result<Vec<Key>, Failure> {
    if !args.is_empty() {
        keep_out_of_dumps();
    }
    let mut keys = Vec::new();
    let password = |text: Vec<u8>| Key::Password(Secret::new(text));
    let recovery = |text: Vec<u8>| {
        let text = Secret::new(text);
        Ok::<_, Failure>(Key::RecoveryPassword(RecoveryPassword::parse(&String::from_utf8_lossy(
            text.expose(),
        ))?))
    };
    keys.extend(args.password.iter().map(|text| password(text.clone().into_bytes())));
    for path in &args.password_file {
        keys.push(password(line(read_file(path)?)));
    }
    for descriptor in &args.password_fd {
        keys.push(password(line(read_descriptor(*descriptor)?)));
    }
    for text in &args.recovery_password {
        keys.push(recovery(text.clone().into_bytes())?);
    }
    for path in &args.recovery_password_file {
        keys.push(recovery(line(read_file(path)?))?);
    }
    for descriptor in &args.recovery_password_fd {
        keys.push(recovery(line(read_descriptor(*descriptor)?))?);
    }
    for path in &args.bek {
        let key = StartupKey::parse(Secret::new(read_file(path)?).expose());
        keys.push(Key::StartupKey(key.map_err(|error| of_file(path, &error))?));
    }
    for (paths, parse) in [
        (&args.key_package, Key::package as fn(Vec<u8>) -> _),
        (&args.vmk, Key::volume_master_key),
        (&args.fvek, Key::volume_encryption_key),
    ] {
        for path in paths {
            keys.push(parse(read_file(path)?).map_err(|error| of_file(path, &error))?);
        }
    }
    Ok(keys)
}

fn of_file(path: &Path, error: &undelfs_volume::Error) -> Failure {
    Failure::of_kind(error.kind(), format!("{}: {error}", path.display()))
}

/// The first line, which is a secret that somebody has put into a file.
pub(crate) fn line(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(text.len());
    let rest = text.split_off(end);
    drop(Secret::new(rest));
    // Editors on Windows begin a text with it.
    if text.starts_with(b"\xEF\xBB\xBF") {
        text.drain(..3);
    }
    text
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        return read(io::stdin().lock()).map_err(|error| Failure::io("read", path, &error));
    }
    fs::File::open(path).and_then(read).map_err(|error| Failure::io("read", path, &error))
}

/// Reads a key or secret to its end.
pub(crate) fn read(from: impl Read) -> io::Result<Vec<u8>> {
    // Growing would leave copies behind.
    let mut content = Vec::with_capacity(MAX_FILE as usize + 64);
    from.take(MAX_FILE).read_to_end(&mut content)?;
    Ok(content)
}

/// Asks on the terminal for what unlocks the volumes that are locked. Without a terminal nothing is asked.
pub(crate) fn ask_for(contexts: &mut [Context], chatter: Chatter) -> Result<(), Failure> {
    if !io::stderr().is_terminal() {
        return Ok(());
    }
    for context in contexts {
        let asked = |kind| matches!(kind, ProtectorKind::Password | ProtectorKind::RecoveryPassword);
        let facts = context.encryption().and_then(BitLocker::facts);
        let wanted = facts.is_some_and(|facts| facts.protectors.iter().any(|one| asked(one.kind)));
        if !(wanted && context.is_locked()) {
            continue;
        }
        keep_out_of_dumps();
        for _ in 0..ATTEMPTS {
            let prompt =
                format!("Password or recovery password of volume {} (empty: none): ", context.number());
            let Ok(text) = rpassword::prompt_password(prompt) else {
                return Ok(());
            };
            let text = Secret::new(text.into_bytes());
            if text.expose().is_empty() {
                break;
            }
            let key = match RecoveryPassword::parse(&String::from_utf8_lossy(text.expose())) {
                Ok(password) => Key::RecoveryPassword(password),
                Err(error) if looks_like_digits(text.expose()) => {
                    notice(error);
                    continue;
                }
                Err(_) => Key::Password(text),
            };
            match context.unlock(&[key], &Late::new("Unlocking", chatter)) {
                Ok(()) => break,
                Err(error) => notice(error),
            }
        }
    }
    Ok(())
}

/// Whether somebody meant to type a recovery password.
fn looks_like_digits(text: &[u8]) -> bool {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits >= 40 && text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b' '))
}

/// `reason`, and with which options a key for the locked volume is given.
pub(crate) fn with_hint(context: &Context, reason: &str) -> String {
    let Some(facts) = context.encryption().and_then(BitLocker::facts).filter(|_| context.is_locked()) else {
        return reason.to_owned();
    };
    let has = |kind| facts.protectors.iter().any(|protector| protector.kind == kind);
    let options = [
        (ProtectorKind::Password, "--password"),
        (ProtectorKind::RecoveryPassword, "--recovery-password"),
        (ProtectorKind::StartupKey, "--bek"),
    ];
    let mut options: Vec<&str> =
        options.into_iter().filter(|(kind, _)| has(*kind)).map(|(_, option)| option).collect();
    if options.is_empty() {
        options.push("--fvek");
    }
    format!("{reason}; give a key with {}", options.join(" or "))
}
