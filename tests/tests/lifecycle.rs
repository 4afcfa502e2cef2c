//! Mounting, unmounting and what is left afterwards: nothing.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use undelfs_tests::{
    guard,
    program::{self, Tree, assert_lock_is_released, is_unlocked, undelfs},
    recipe::{Made, Recipe},
    tools, walk,
};

fn image(dir: &Path, seed: u64) -> PathBuf {
    let Made { image, .. } = Recipe { files: 60, ..Recipe::new(seed) }.make(dir);
    image
}

fn signal(process: u32, signal: Signal) {
    let id = Pid::from_raw(process.try_into().unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

fn gone(process: u32) -> bool {
    // A process that ended stays a zombie while its parent, this test, has not asked for it.
    guard::wait_until(Duration::from_secs(10), || {
        fs::read_to_string(format!("/proc/{process}/stat")).map_or(true, |stat| stat.contains(") Z "))
    })
}

fn only(servers: &[u32]) -> u32 {
    let [one] = servers else { panic!("one process should serve the mount, found {servers:?}") };
    *one
}

#[test]
fn mount_returns_with_the_tree_there_and_one_line_that_says_how_to_unmount() {
    let dir = guard::scratch();
    let tree = Tree::mount(&image(dir.path(), 701), &[]);
    assert!(!walk::walk(tree.root()).is_empty());
    assert_eq!(tree.said.lines().count(), 1, "{}", tree.said);
    assert!(
        tree.said.contains("umount") && tree.said.contains(tree.root().to_str().unwrap()),
        "{}",
        tree.said
    );
}

#[test]
fn a_mount_holds_a_shared_lock_that_umount_releases() {
    let dir = guard::scratch();
    let image = image(dir.path(), 702);
    let tree = Tree::mount(&image, &[]);
    assert!(!is_unlocked(&image));
    let second = Tree::mount(&image, &[]);
    second.unmount();
    assert!(!is_unlocked(&image));
    let server = only(&tree.servers());
    tree.unmount();
    assert_lock_is_released(&image);
    assert!(gone(server));
}

#[test]
fn an_image_that_somebody_locked_for_himself_is_refused() {
    let dir = guard::scratch();
    let image = image(dir.path(), 703);
    let holder = fs::File::open(&image).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    program::assert_refused(&undelfs(["scan".as_ref(), image.as_os_str()]), 1, &[image.to_str().unwrap()]);
    drop(holder);
    assert!(undelfs(["scan".as_ref(), image.as_os_str()]).status.success());
}

#[test]
fn undelfs_umount_returns_when_the_lock_is_released() {
    let dir = guard::scratch();
    let image = image(dir.path(), 704);
    let tree = Tree::mount(&image, &[]);
    let output = undelfs(["umount".as_ref(), tree.root().as_os_str()]);
    assert!(output.status.success(), "{}", tools::said(&output));
    assert!(!guard::is_mounted(tree.root()));
    assert!(is_unlocked(&image), "umount returned too early");
    let again = undelfs(["umount".as_ref(), tree.root().as_os_str()]);
    program::assert_refused(&again, 1, &[tree.root().to_str().unwrap()]);
}

#[test]
fn fusermount3_unmounts_and_releases_the_lock() {
    let dir = guard::scratch();
    let image = image(dir.path(), 705);
    let tree = Tree::mount(&image, &[]);
    tools::run("fusermount3", ["-u".as_ref(), tree.root().as_os_str()]);
    assert_lock_is_released(&image);
}

#[test]
fn sigint_and_sigterm_unmount_a_mount_in_the_foreground_and_in_the_background() {
    let dir = guard::scratch();
    let image = image(dir.path(), 706);
    for by in [Signal::INT, Signal::TERM] {
        for mount in [Tree::foreground, Tree::mount] {
            let tree = mount(&image, &[]);
            let server = only(&tree.servers());
            signal(server, by);
            assert!(gone(server), "{by:?}");
            assert!(!guard::is_mounted(tree.root()), "{by:?}");
            assert_lock_is_released(&image);
        }
    }
}

#[test]
fn a_lazy_unmount_with_an_open_file_keeps_reading_and_releases_the_lock_once_it_closes() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe { files: 60, ..Recipe::new(707) }.make(dir.path());
    let tree = Tree::mount(&image, &[]);
    let server = only(&tree.servers());
    let file = manifest.known().find(|file| file.content().len > 100_000).unwrap();
    let mut open = fs::File::open(tree.join(file.path())).unwrap();
    tools::run("umount", ["-l".as_ref(), tree.root().as_os_str()]);
    assert!(!guard::is_mounted(tree.root()));
    assert!(!is_unlocked(&image));
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).unwrap();
    assert!(bytes == file.content().bytes());
    drop(open);
    assert_lock_is_released(&image);
    assert!(gone(server));
}

#[test]
fn after_sigkill_the_lock_is_gone_and_the_next_mount_works_after_umount() {
    let dir = guard::scratch();
    let image = image(dir.path(), 708);
    let tree = Tree::mount(&image, &[]);
    let before = walk::walk(tree.root());
    let server = only(&tree.servers());
    signal(server, Signal::KILL);
    assert!(gone(server));
    assert_lock_is_released(&image);
    // A name that nobody asked for before, so that no cache answers.
    let asked = fs::metadata(tree.join("never asked for"));
    assert_eq!(asked.unwrap_err().raw_os_error(), Some(107));
    let status = Command::new("umount").arg(tree.root()).status().unwrap();
    assert!(status.success());
    let output = undelfs(["mount".as_ref(), image.as_os_str(), tree.root().as_os_str()]);
    assert!(output.status.success(), "{}", tools::said(&output));
    assert_eq!(walk::walk(tree.root()), before);
}

#[test]
fn the_background_process_holds_no_terminal_pipe_or_working_directory() {
    let dir = guard::scratch();
    let tree = Tree::mount(&image(dir.path(), 709), &[]);
    // `Command::output` came back although the server lives on: it does not hold our pipes.
    let server = only(&tree.servers());
    for number in 0..3 {
        let target = fs::read_link(format!("/proc/{server}/fd/{number}")).unwrap();
        assert_eq!(target, Path::new("/dev/null"), "descriptor {number}");
    }
    assert_eq!(fs::read_link(format!("/proc/{server}/cwd")).unwrap(), Path::new("/"));
}

#[test]
fn a_loop_device_is_free_again_after_the_unmount() {
    let dir = guard::scratch();
    let image = image(dir.path(), 710);
    let device = guard::Loop::attach(&image, 512);
    let tree = Tree::mount(device.device(), &[]);
    // Somebody who opens it exclusively, as mkfs does, must not get it now.
    let exclusive = || {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap();
        fs::File::options().read(true).custom_flags(flags).open(device.device()).is_ok()
    };
    assert!(!exclusive());
    tree.unmount();
    assert!(guard::wait_until(Duration::from_secs(10), exclusive));
}
