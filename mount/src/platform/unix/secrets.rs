//! Keeping secrets out of the process list and out of core dumps.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    process::Command,
};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::{
    failure::{Failure, notice},
    keys::read,
};

/// Most bytes of a secret on the command line.
const MAX_SECRET: usize = 4096;

/// Options that have a secret as their value, and those that take a descriptor instead.
const SECRETS: [(&str, &str); 3] = [
    ("--password", "--password-fd"),
    ("--recovery-password", "--recovery-password-fd"),
    ("--efs-key-password", "--efs-key-password-fd"),
];

/// Starts the program anew where a secret stands on its command line, with the secret in a pipe: the process list shows
/// the command line as long as a process lives, and a mount lives long. Returns where there is nothing to hide.
pub(crate) fn hide() -> io::Result<()> {
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

/// Reads a secret from an open descriptor.
pub(crate) fn read_descriptor(number: u32) -> Result<Vec<u8>, Failure> {
    let path = format!("/dev/fd/{number}");
    let content = fs::File::open(&path).and_then(read);
    content.map_err(|error| Failure::usage(format!("cannot read from file descriptor {number}: {error}")))
}

/// Keeps the memory of this process out of core dumps, and from other processes of the user.
pub(crate) fn keep_out_of_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept = setrlimit(Resource::Core, none).and(set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = kept {
        notice(format!("keys may show in a core dump of this process: {error}"));
    }
}
