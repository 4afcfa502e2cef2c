//! Making the mount: who may enter, what the kernel is asked for, and what stands in the way.

use std::{fs, io, path::Path, thread};

use fuser::{Config, MountOption, Session, SessionACL};
use rustix::process::{getegid, geteuid};
use undelfs_restore::Tree;

use super::{attributes::Owner, filesystem::TreeFs};
use crate::{
    failure::Failure,
    platform::{mounts, sudo, unmounting},
};

/// Read-ahead of a mount that root made, in KiB: the size of the largest request. The kernel's own 128 KiB cost a
/// sequential reader more than a third of its rate.
const READ_AHEAD_KIB: &str = "1024";

/// Fewer threads than this would let a slow source keep everybody waiting.
const MIN_THREADS: usize = 4;

/// How a tree is mounted.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What the mount is listed as.
    pub(crate) source: String,
    /// Every user may enter.
    pub(crate) allow_other: bool,
    /// Reads bypass the page cache.
    pub(crate) direct_io: bool,
}

/// Whose the mounted files are, and who gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    owner: Owner,
    acl: SessionACL,
}

impl Access {
    /// For a process of this user and group. `sudo` is the user and group that called sudo, when root was entered
    /// that way: the tree is theirs then, and nobody else but root gets in unless `allow_other`.
    fn new(uid: u32, gid: u32, sudo: Option<(u32, u32)>, allow_other: bool) -> Self {
        let (acl, private) = match (allow_other, sudo) {
            (true, _) => (SessionACL::All, false),
            // The kernel would keep out everybody but root; the mode of the root directory keeps out the others.
            (false, Some(_)) => (SessionACL::All, true),
            (false, None) => (SessionACL::Owner, false),
        };
        let (uid, gid) = sudo.unwrap_or((uid, gid));
        Self { owner: Owner { uid, gid, private }, acl }
    }

    fn of_this_process(allow_other: bool) -> Self {
        Self::new(geteuid().as_raw(), getegid().as_raw(), sudo::caller(), allow_other)
    }
}

/// Mounts `tree` on `folder`. The mount answers once the session runs; dropping the session unmounts.
pub(crate) fn mount(tree: Tree, folder: &Path, settings: &Settings) -> Result<Session<TreeFs>, Failure> {
    let root = geteuid().is_root();
    check_device(folder, root)?;
    let access = Access::of_this_process(settings.allow_other);
    let mut config = Config::default();
    config.mount_options = options(&settings.source, root);
    config.acl = access.acl;
    config.n_threads =
        Some(thread::available_parallelism().map_or(MIN_THREADS, |n| n.get().max(MIN_THREADS)));
    config.clone_fd = true;
    let session = Session::new(TreeFs::new(tree, access.owner, settings.direct_io), folder, &config)
        .map_err(|error| explain(folder, &error))?;
    if root {
        widen_read_ahead(folder);
    }
    Ok(session)
}

fn options(source: &str, root: bool) -> Vec<MountOption> {
    // fusermount3 takes its options as one comma-separated list, in which a backslash protects the next character.
    let source = if root { source.to_owned() } else { source.replace('\\', r"\\").replace(',', r"\,") };
    vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        MountOption::DefaultPermissions,
        MountOption::FSName(source),
        // As a plain option, because `MountOption::Subtype` is lost when root mounts without fusermount3.
        MountOption::CUSTOM(format!("subtype={}", mounts::SUBTYPE)),
    ]
}

/// Finds out before the mount what would stop it, because the system's own words for it help nobody.
fn check_device(folder: &Path, root: bool) -> Result<(), Failure> {
    let shown = folder.display();
    let opened = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    match opened.map_err(|error| error.kind()) {
        Ok(_) => {}
        Err(io::ErrorKind::PermissionDenied) => {
            return Err(Failure::new(format!(
                "cannot mount on {shown}: this user may not open /dev/fuse; allow it with `sudo chmod 666 /dev/fuse`, \
                 or run the command with sudo"
            )));
        }
        Err(_) => {
            return Err(Failure::new(format!(
                "cannot mount on {shown}: there is no usable /dev/fuse; load the kernel's FUSE module with \
                 `sudo modprobe fuse` (in a container, pass /dev/fuse into it)"
            )));
        }
    }
    if !root && unmounting::fusermount().is_none() {
        return Err(Failure::new(format!(
            "cannot mount on {shown}: fusermount3 is missing; install the package fuse3 \
             (`sudo apt install fuse3`), or run the command with sudo"
        )));
    }
    Ok(())
}

fn explain(folder: &Path, error: &io::Error) -> Failure {
    let shown = folder.display();
    let said = error.to_string();
    let said = said.trim().trim_start_matches("fusermount3: ").trim_start_matches("fusermount: ");
    let advice = if said.contains("user_allow_other") {
        "--allow-other needs the line `user_allow_other` in /etc/fuse.conf"
    } else if said.contains("no write access") {
        "an ordinary user can only mount on a folder of their own"
    } else if error.kind() == io::ErrorKind::NotFound {
        "fusermount3 is missing; install the package fuse3"
    } else {
        return Failure::new(format!("cannot mount on {shown}: {said}"));
    };
    Failure::new(format!("cannot mount on {shown}: {advice} ({said})"))
}

/// A mount works with the kernel's own read-ahead too, so a failure is no error.
fn widen_read_ahead(folder: &Path) {
    let widened = mounts::at(folder).and_then(|mount| match mount {
        Some(mount) => fs::write(format!("/sys/class/bdi/{}/read_ahead_kb", mount.device), READ_AHEAD_KIB),
        None => Err(io::ErrorKind::NotFound.into()),
    });
    if let Err(error) = widened {
        tracing::info!("the read-ahead of the mount stays at the kernel's default: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_belongs_to_who_made_it_and_lets_nobody_else_in() {
        let access = Access::new(1000, 1001, None, false);
        assert_eq!(access.owner, Owner { uid: 1000, gid: 1001, private: false });
        assert_eq!(access.acl, SessionACL::Owner);
        assert_eq!(Access::new(1000, 1001, None, true).acl, SessionACL::All);
    }

    #[test]
    fn under_sudo_the_tree_belongs_to_the_caller_and_is_closed_to_third_users() {
        let access = Access::new(0, 0, Some((1000, 1001)), false);
        assert_eq!(access.owner, Owner { uid: 1000, gid: 1001, private: true });
        assert_eq!(access.acl, SessionACL::All);
        assert!(!Access::new(0, 0, Some((1000, 1001)), true).owner.private);
    }

    #[test]
    fn a_source_with_commas_cannot_smuggle_mount_options_past_fusermount() {
        let name = MountOption::FSName(r"/a\,allow_other\\b".to_owned());
        assert!(options(r"/a,allow_other\b", false).contains(&name));
    }

    #[test]
    fn the_helpers_words_are_turned_into_advice() {
        let said = io::Error::other("fusermount3: user has no write access to mountpoint /x\n");
        let failure = explain(Path::new("/x"), &said).to_string();
        assert!(failure.contains("folder of their own") && !failure.contains("fusermount3"), "{failure}");
    }
}
