//! Keys of encrypted volumes: from the command line, files, descriptors and the terminal.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, IsTerminal, Read, Write},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::Command,
};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use undelfs_restore::{
    Context,
    bitlocker::{BitLocker, Key, ProtectorKind, RecoveryPassword, Secret, StartupKey},
};

use crate::{
    cli::{Chatter, KeyArgs},
    failure::{Failure, notice},
    progress::Late,
};

/// Most bytes of a key file or of a secret. A key package has some hundred, a metadata block 64 KiB.
const MAX_FILE: u64 = 1 << 20;

/// Most bytes of a secret on the command line.
const MAX_SECRET: usize = 4096;

/// How often is asked before it is given up.
pub(crate) const ATTEMPTS: usize = 3;

/// Options that have a secret as their value, and those that take a descriptor instead.
const SECRETS: [(&str, &str); 3] = [
    ("--password", "--password-fd"),
    ("--recovery-password", "--recovery-password-fd"),
    ("--efs-key-password", "--efs-key-password-fd"),
];

/// Starts the program anew where a secret stands on its command line, with the secret in a pipe: the process list shows
/// the command line as long as a process lives, and a mount lives long. Returns where there is nothing to hide.
pub(crate) fn hide_secrets() -> io::Result<()> {
    let mut args: Vec<OsString> = Vec::new();
    let mut found = false;
    let mut given = std::env::args_os();
    let name = given.next().unwrap_or_else(|| "undelfs".into());
    while let Some(arg) = given.next() {
        if arg == "--" {
            args.push(arg);
            args.extend(given);
            break;
        }
        let hidden = SECRETS.into_iter().find_map(|(option, descriptor)| {
            let rest = arg.as_bytes().strip_prefix(option.as_bytes())?;
            match rest.split_first() {
                None => Some((descriptor, None)),
                Some((b'=', value)) => Some((descriptor, Some(OsStr::from_bytes(value).to_owned()))),
                Some(_) => None,
            }
        });
        let Some((descriptor, value)) = hidden else {
            args.push(arg);
            continue;
        };
        let Some(value) = value.or_else(|| given.next()) else {
            // The command line parser says what is missing.
            args.push(arg);
            continue;
        };
        args.push(descriptor.into());
        args.push(pipe_with(value.as_bytes())?.to_string().into());
        found = true;
    }
    if !found {
        return Ok(());
    }
    Err(Command::new("/proc/self/exe").arg0(name).args(args).exec())
}

/// The number of a descriptor that the next program inherits, from which `secret` can be read.
fn pipe_with(secret: &[u8]) -> io::Result<i32> {
    use std::os::fd::IntoRawFd;
    if secret.len() > MAX_SECRET || secret.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        let reason = format!("a password has one line of at most {MAX_SECRET} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let (read, write) = rustix::pipe::pipe()?;
    // A pipe takes so much at once, also where a user's limit leaves it a single page.
    let mut write = fs::File::from(write);
    write.write_all(secret)?;
    drop(write);
    Ok(read.into_raw_fd())
}

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

pub(crate) fn read_descriptor(number: u32) -> Result<Vec<u8>, Failure> {
    let path = format!("/dev/fd/{number}");
    let content = fs::File::open(&path).and_then(read);
    content.map_err(|error| Failure::usage(format!("cannot read from file descriptor {number}: {error}")))
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    // Growing would leave copies behind.
    let mut content = Vec::with_capacity(MAX_FILE as usize + 64);
    from.take(MAX_FILE).read_to_end(&mut content)?;
    Ok(content)
}

/// Keeps the memory of this process out of core dumps, and from other processes of the user.
pub(crate) fn keep_out_of_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept = setrlimit(Resource::Core, none).and(set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = kept {
        notice(format!("keys may show in a core dump of this process: {error}"));
    }
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
