//! Taking a mounted tree away, and `undelfs umount`.

use std::{
    ffi::OsStr,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    mount::UnmountFlags,
    process::{Pid, PidfdFlags},
};

use super::{mountpoint, mounts};
use crate::{
    cli::{UmountArgs, exit_code},
    failure::{Failure, notice},
    fuse::PROCESS_XATTR,
};

/// How long an unmounted tree's program may take to close its source.
const PATIENCE: Duration = Duration::from_secs(10);

/// After a lazy unmount files may stay open as long as they like; only an idle tree is waited for.
const LAZY_PATIENCE: Duration = Duration::from_secs(1);

/// Why a tree could not be unmounted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Somebody uses it.
    Busy,
    /// Anything else, as a sentence.
    Other(String),
}

pub(crate) fn run(args: &UmountArgs) -> Result<u8, Failure> {
    let shown = args.mountpoint.display();
    let folder = mountpoint::full_path(&args.mountpoint)
        .map_err(|error| Failure::io("find", &args.mountpoint, &error))?;
    let mount =
        mounts::at(&folder).map_err(|error| Failure::new(format!("cannot list the mounts: {error}")))?;
    match mount {
        None if !folder.exists() => return Err(Failure::new(format!("there is no folder {shown}"))),
        None => return Err(Failure::new(format!("nothing is mounted on {shown}"))),
        Some(mount) if !mount.is_ours() => {
            return Err(Failure::new(format!(
                "what is mounted on {shown} is {}, not a tree of undelfs; use `umount` for it",
                mount.kind
            )));
        }
        Some(_) => {}
    }
    // The handle is taken before the unmount: afterwards the process number could be another process's.
    let server = server(&folder);
    match unmount(&folder, args.lazy) {
        Ok(()) => {}
        Err(Refused::Busy) => return Err(Failure::new(busy_sentence(&folder))),
        Err(Refused::Other(reason)) => return Err(Failure::new(format!("cannot unmount {shown}: {reason}"))),
    }
    let patience = if args.lazy { LAZY_PATIENCE } else { PATIENCE };
    if server.is_some_and(|server| !ended_within(&server, patience)) {
        notice(if args.lazy {
            "detached; files are still open, and the source is free once they are closed"
        } else {
            "unmounted, but the tree is still in use in another mount namespace; the source is not free yet"
        });
    }
    Ok(exit_code::DONE)
}

/// Unmounts `folder`; `lazy` detaches it even while it is used.
pub(crate) fn unmount(folder: &Path, lazy: bool) -> Result<(), Refused> {
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(folder, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(Refused::Busy),
        Err(Errno::PERM) => unmount_as_user(folder, lazy),
        Err(error) => Err(Refused::Other(io::Error::from(error).to_string())),
    }
}

/// An ordinary user's unmount goes through the set-user-ID helper of the fuse3 package.
fn unmount_as_user(folder: &Path, lazy: bool) -> Result<(), Refused> {
    let Some(helper) = fusermount() else {
        return Err(Refused::Other("fusermount3 is missing; install the package fuse3".to_owned()));
    };
    let output = Command::new(helper)
        .arg("-u")
        .args(lazy.then_some("-z"))
        .arg("--")
        .arg(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Refused::Other(format!("fusermount3 does not start: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("busy") {
        return Err(Refused::Busy);
    }
    Err(Refused::Other(said.trim().to_owned()))
}

/// Where the set-user-ID helper is.
pub(crate) fn fusermount() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join("fusermount3"))
        .find(|file| file.is_file())
}

/// The process that serves the tree on `folder`, if it lives and can be told.
fn server(folder: &Path) -> Option<OwnedFd> {
    let mut value = [0_u8; 16];
    let len = rustix::fs::getxattr(folder, PROCESS_XATTR, &mut value).ok()?;
    let text = std::str::from_utf8(value.get(..len)?).ok()?;
    let pid = Pid::from_raw(text.parse().ok()?)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Whether the process ends before `patience` does.
fn ended_within(process: &OwnedFd, patience: Duration) -> bool {
    // A process handle becomes readable when the process ends (pidfd_open(2)).
    let mut handles = [PollFd::new(process, PollFlags::IN)];
    let timeout = Timespec::try_from(patience).ok();
    matches!(rustix::event::poll(&mut handles, timeout.as_ref()), Ok(ready) if ready > 0)
}

fn busy_sentence(folder: &Path) -> String {
    let shown = mountpoint::quoted(folder);
    let users = users_of(folder);
    let who = if users.is_empty() { String::new() } else { format!(" by {}", users.join(", ")) };
    format!(
        "{shown} is in use{who}; close what is open there, or detach it with `undelfs umount --lazy {shown}`"
    )
}

/// The first few processes that have their working folder or an open file below `folder`.
fn users_of(folder: &Path) -> Vec<String> {
    const ENOUGH: usize = 5;
    let mut users = Vec::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        return users;
    };
    for process in processes.flatten() {
        if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        if uses(&process.path(), folder) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            users.push(format!("{} (process {})", name.trim(), process.file_name().to_string_lossy()));
            if users.len() == ENOUGH {
                break;
            }
        }
    }
    users
}

fn uses(process: &Path, folder: &Path) -> bool {
    let below = |link: &Path| fs::read_link(link).is_ok_and(|target| target.starts_with(folder));
    ["cwd", "root", "exe"].map(OsStr::new).iter().any(|link| below(&process.join(link)))
        || fs::read_dir(process.join("fd"))
            .is_ok_and(|mut fds| fds.any(|fd| fd.is_ok_and(|fd| below(&fd.path()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn umount(folder: &Path) -> Failure {
        run(&UmountArgs { mountpoint: folder.to_owned(), lazy: false }).unwrap_err()
    }

    #[test]
    fn a_folder_that_is_no_mount_or_another_file_systems_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(umount(dir.path()).to_string().starts_with("nothing is mounted on"));
        assert!(umount(&dir.path().join("missing")).to_string().starts_with("there is no folder"));
        assert!(umount(Path::new("/proc")).to_string().contains("not a tree of undelfs"));
    }

    #[test]
    fn who_uses_a_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let open = fs::File::create(folder.join("file")).unwrap();
        let own = format!("(process {})", std::process::id());
        assert!(users_of(&folder).iter().any(|user| user.ends_with(&own)));
        drop(open);
        assert!(!users_of(&folder).iter().any(|user| user.ends_with(&own)));
    }

    #[test]
    fn the_end_of_a_process_is_noticed_and_a_living_one_is_waited_for_only_so_long() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(!ended_within(&handle, Duration::from_millis(20)));
        child.kill().unwrap();
        assert!(ended_within(&handle, Duration::from_secs(10)));
        child.wait().unwrap();
    }
}
