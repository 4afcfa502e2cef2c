//! `undelfs mount`: the process that serves a tree, and the one that waits until the tree is there.
//!
//! As on Linux the waiting process starts the program again with a pipe as its standard output. The serving process
//! scans and mounts, writes the line for the user into the pipe and closes it. When it fails instead, it has said so
//! itself on standard error, and the waiting process ends with the same exit code.

use std::{
    fs,
    io::{self, Read, Write},
    os::windows::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use undelfs_restore::Tree;
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW};

use super::{
    mountpoint, stop_event,
    system::{self, Event},
};
use crate::{
    cli::{Chatter, MountArgs, exit_code, options},
    failure::Failure,
    opening,
    winfsp::{Session, Settings},
};

/// Set in the environment of the serving process: standard output is a pipe to the process that waits.
const STARTED_BY_MOUNT: &str = "UNDELFS_STARTED_BY_MOUNT";

/// What the serving process writes behind the line for the user. A pipe that somebody else has inherited as well does
/// not end with it.
const READY: u8 = 0;

pub(crate) fn run(args: &MountArgs, chatter: Chatter) -> Result<u8, Failure> {
    let started_by_mount = std::env::var_os(STARTED_BY_MOUNT).is_some();
    if args.foreground || started_by_mount {
        serve(args, chatter, !args.foreground)
    } else {
        start_in_background(chatter)
    }
}

/// Starts the serving process with this process's own arguments and waits until the tree is there.
fn start_in_background(chatter: Chatter) -> Result<u8, Failure> {
    let failed =
        |error: io::Error| Failure::new(format!("cannot start the process that serves the mount: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .env(STARTED_BY_MOUNT, "1")
        .args(std::env::args_os().skip(1))
        .stdout(Stdio::piped())
        // A group and a console of its own: Ctrl-C and the end of this terminal are not meant for it.
        .creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW)
        .spawn()
        .map_err(failed)?;
    let mut said = Vec::new();
    let mut ready = false;
    if let Some(mut pipe) = child.stdout.take() {
        let mut byte = [0];
        while said.len() < 64 << 10 && pipe.read(&mut byte).map_err(failed)? == 1 {
            ready = byte == [READY];
            if ready {
                break;
            }
            said.extend(byte);
        }
    }
    if !ready {
        let status = child.wait().map_err(failed)?;
        return match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(exit_code::DONE) => Err(Failure::new("the mount was ended before it was there")),
            Some(code) => Ok(code),
            None => Err(Failure::new(format!("the process that serves the mount was ended: {status}"))),
        };
    }
    if !chatter.quiet {
        // Whoever closed standard output does not want to know, and the mount stands.
        let _ = io::stdout().write_all(&said);
    }
    Ok(exit_code::DONE)
}

fn serve(args: &MountArgs, chatter: Chatter, in_background: bool) -> Result<u8, Failure> {
    let source = opening_path(&args.source);
    let place = mountpoint::check(&args.mountpoint, &source)?;
    let options = options(args.view, args.content, args.streams);
    let tree = opening::mounted(args, &source, &options, chatter)?;
    let found = tree.summary();
    opening::advise(tree.contexts(), options.deep, chatter);
    let settings = Settings {
        source: source.to_string_lossy().into_owned(),
        allow_other: args.allow_other,
        direct_io: args.direct_io,
    };
    let mounted = Mounted::new(tree, &place, &settings)?;
    let line = format!("{found}; unmount with: undelfs umount {}\n", mountpoint::quoted(&place));
    if in_background || !chatter.quiet {
        let mut out = io::stdout().lock();
        let mut written = out.write_all(line.as_bytes());
        if in_background {
            written = written.and_then(|()| out.write_all(&[READY])).and_then(|()| out.flush());
            if written.is_err() {
                // Nobody waits any more: the mount is not wanted.
                return Ok(exit_code::DONE);
            }
        }
    }
    mounted.run()?;
    Ok(exit_code::DONE)
}

/// The source's full path; the name of a device has no other.
fn opening_path(source: &Path) -> PathBuf {
    let is_device =
        [br"\\.\", br"\\?\"].iter().any(|prefix| source.as_os_str().as_encoded_bytes().starts_with(*prefix));
    if is_device {
        source.to_owned()
    } else {
        std::path::absolute(source).unwrap_or_else(|_| source.to_owned())
    }
}

/// A mounted tree. Ctrl-C, `undelfs umount`, the end of the session and the end of a service unmount it; dropping it does
/// too.
pub(crate) struct Mounted {
    session: Session,
    ended: Arc<Event>,
    /// A folder that was there before, to be made again.
    folder: Option<PathBuf>,
}

impl Mounted {
    /// Mounts `tree` on a drive letter or folder that [`mountpoint::check`] gave.
    pub(crate) fn new(tree: Tree, place: &Path, settings: &Settings) -> Result<Self, Failure> {
        let no_events = |error: io::Error| {
            Failure::new(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!("a tree of undelfs is mounted on {} already", place.display())
                }
                _ => format!("cannot wait for the unmount: {error}"),
            })
        };
        let ended = Arc::new(Event::create(&stop_event::name(place)).map_err(no_events)?);
        // The event must not live longer than the mount.
        let seen = Arc::downgrade(&ended);
        let on_end = move || seen.upgrade().is_some_and(|event| event.set().is_ok());
        system::on_console_end(Box::new(on_end)).map_err(no_events)?;
        // WinFsp makes the folder itself and refuses one that exists.
        let folder = place.is_dir().then(|| place.to_owned()).filter(|folder| folder.parent().is_some());
        if let Some(folder) = &folder {
            fs::remove_dir(folder).map_err(|error| Failure::io("mount on", place, &error))?;
        }
        match Session::mount(tree, place, settings) {
            Ok(session) => Ok(Self { session, ended, folder }),
            Err(failure) => {
                folder.map(fs::create_dir);
                Err(failure)
            }
        }
    }

    /// Serves the tree until it is to be unmounted. Then the source is closed.
    pub(crate) fn run(self) -> Result<(), Failure> {
        self.ended.wait(None).map_err(|error| Failure::new(format!("the mount ended: {error}")))?;
        let Self { session, ended, folder } = self;
        drop(session);
        if let Some(folder) = folder {
            // The mount stands no longer, whatever has become of its folder.
            let _ = fs::create_dir(folder);
        }
        // Last: whoever waits for the unmount waits for the end of this event.
        let _ = ended.reset();
        drop(ended);
        Ok(())
    }
}
