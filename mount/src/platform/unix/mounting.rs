//! `undelfs mount`: the process that serves a tree, and the one that waits until the tree is there.
//!
//! The waiting process starts the program again with a pipe as its standard output. The serving process scans and
//! mounts, writes the line for the user into the pipe and leaves the terminal. When it fails instead, it has said
//! so itself on standard error, and the waiting process ends with the same exit code.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use fuser::Session;
use rustix::process::Signal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};
use undelfs_restore::Tree;

use super::{
    interrupt::leave_signals,
    mountpoint, mounts, sudo,
    unmounting::{Refused, unmount},
};
use crate::{
    cli::{Chatter, MountArgs, exit_code, options},
    failure::{Failure, notice},
    fuse::{self, Settings, TreeFs},
    opening,
};

/// Set in the environment of the serving process: standard output is a pipe to the process that waits.
const STARTED_BY_MOUNT: &str = "UNDELFS_STARTED_BY_MOUNT";

pub(crate) fn run(args: &MountArgs, chatter: Chatter) -> Result<u8, Failure> {
    let started_by_mount = std::env::var_os(STARTED_BY_MOUNT).is_some();
    if args.foreground || started_by_mount {
        serve(args, chatter, !args.foreground)
    } else {
        start_in_background(chatter)
    }
}

/// Starts the serving process with this process's own arguments, and the descriptors that they may name, and waits
/// until the tree is there.
fn start_in_background(chatter: Chatter) -> Result<u8, Failure> {
    let failed =
        |error: io::Error| Failure::new(format!("cannot start the process that serves the mount: {error}"));
    let mut child = Command::new("/proc/self/exe")
        .arg0("undelfs")
        .env(STARTED_BY_MOUNT, "1")
        .args(std::env::args_os().skip(1))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut said = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        // The pipe ends when the child leaves the terminal, or ends.
        pipe.take(64 << 10).read_to_end(&mut said).map_err(failed)?;
    }
    if said.is_empty() {
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
    if in_background {
        // Until the tree is there, who ends the waiting process means this one too.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    }
    // This process leaves the working folder. Links stay: split images are looked for beside the name that was given.
    let source = std::path::absolute(&args.source).unwrap_or_else(|_| args.source.clone());
    let real = fs::canonicalize(&source).unwrap_or_else(|_| source.clone());
    let folder = mountpoint::check(&args.mountpoint, &real)?;
    let options = options(args.view, args.content, args.streams);
    let tree = opening::mounted(args, &source, &options, chatter)?;
    let found = tree.summary();
    opening::advise(tree.contexts(), options.deep, chatter);
    let settings = Settings {
        source: source.to_string_lossy().into_owned(),
        allow_other: args.allow_other,
        direct_io: args.direct_io,
    };
    let mounted = Mounted::new(tree, &folder, &settings)?;
    let line = format!(
        "{found}; unmount with: {}undelfs umount {}\n",
        if sudo::caller().is_some() { "sudo " } else { "" },
        mountpoint::quoted(&folder)
    );
    if in_background {
        if leave_terminal(&line).is_err() {
            // Nobody waits any more: the mount is not wanted.
            return Ok(exit_code::DONE);
        }
    } else if !chatter.quiet {
        let _ = io::stdout().write_all(line.as_bytes());
    }
    mounted.run()?;
    Ok(exit_code::DONE)
}

/// Tells the waiting process that the mount stands and cuts every tie to the terminal.
fn leave_terminal(line: &str) -> io::Result<()> {
    let nowhere = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // It fails where this process leads a group already, and is then nothing that the terminal could end.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    rustix::process::set_parent_process_death_signal(None)?;
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()?;
    rustix::stdio::dup2_stdin(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    // Last, because the waiting process ends with it.
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(())
}

/// A mounted tree. SIGINT, SIGTERM and SIGHUP unmount it; dropping it does too.
pub(crate) struct Mounted {
    session: Session<TreeFs>,
    signals: Handle,
}

impl Mounted {
    /// Mounts `tree` on `folder`.
    pub(crate) fn new(tree: Tree, folder: &Path, settings: &Settings) -> Result<Self, Failure> {
        let no_signals = |error: io::Error| Failure::new(format!("cannot wait for signals: {error}"));
        // Before the mount, so that a signal never leaves one behind.
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(no_signals)?;
        leave_signals();
        let session = fuse::mount(tree, folder, settings)?;
        let handle = signals.handle();
        let this = Place { folder: folder.to_owned(), device: device(folder) };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for (count, _) in signals.forever().enumerate() {
                    this.leave(count > 0);
                }
            })
            .map_err(no_signals)?;
        Ok(Self { session, signals: handle })
    }

    /// Serves the tree until it is unmounted, by whomever; with files open after a lazy unmount, until they are
    /// closed. Then the source is closed.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let result = self.session.run();
        self.signals.close();
        result.map_err(|error| Failure::new(format!("the mount ended: {error}")))
    }
}

/// Where a tree is mounted, and which of the mounts there it is.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    device: Option<String>,
}

impl Place {
    /// Unmounts on a signal. `again`: it is not the first one, and the user does not want to wait.
    fn leave(&self, again: bool) {
        let shown = self.folder.display();
        match self.state() {
            State::Seen => self.unmount(),
            _ if again => std::process::exit(exit_code::FAILED.into()),
            State::Covered => notice(format!("{shown} is covered by another mount; unmount that one first")),
            State::Gone => notice(format!(
                "{shown} is detached already, and this process ends when the files are closed; \
                 a second Ctrl-C ends it at once"
            )),
        }
    }

    fn unmount(&self) {
        let shown = self.folder.display();
        match unmount(&self.folder, false) {
            Ok(()) => {}
            Err(Refused::Busy) => {
                notice(format!(
                    "{shown} is in use: it is detached now, and this process ends when the files are closed; \
                     a second Ctrl-C ends it at once"
                ));
                if let Err(Refused::Other(reason)) = unmount(&self.folder, true) {
                    notice(format!("cannot detach {shown}: {reason}"));
                }
            }
            Err(Refused::Other(reason)) => notice(format!("cannot unmount {shown}: {reason}")),
        }
    }

    fn state(&self) -> State {
        let ours = |mount: &mounts::Mount| Some(&mount.device) == self.device.as_ref();
        if mounts::at(&self.folder).ok().flatten().is_some_and(|mount| ours(&mount)) {
            State::Seen
        } else if mounts::list().is_ok_and(|mounts| mounts.iter().any(ours)) {
            State::Covered
        } else {
            State::Gone
        }
    }
}

/// What has become of a mount.
enum State {
    /// It is what is seen at its folder.
    Seen,
    /// Something else is mounted over it.
    Covered,
    /// It is no longer mounted anywhere.
    Gone,
}

fn device(folder: &Path) -> Option<String> {
    mounts::at(folder).ok().flatten().filter(mounts::Mount::is_ours).map(|mount| mount.device)
}
