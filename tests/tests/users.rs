//! Mounting as an ordinary user, under sudo, and for others.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use undelfs_tests::{
    guard::{self, Mounted},
    program,
    recipe::{Made, Recipe},
    tools, walk,
};

/// User and group number of nobody, who owns nothing.
const NOBODY: u32 = 65_534;
/// Another user, without a name.
const STRANGER: u32 = 65_533;

/// A folder that everybody can reach, with the program and an image in it, and an empty folder of NOBODY's.
struct Stage {
    dir: TempDir,
    image: PathBuf,
    at: PathBuf,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let dir = guard::scratch();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let Made { image, .. } = Recipe { files: 60, ..Recipe::new(seed) }.make(dir.path());
        fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).unwrap();
        fs::copy(program::path(), dir.path().join("undelfs")).unwrap();
        let at = dir.path().join("mount");
        fs::create_dir(&at).unwrap();
        chown(&at, Some(NOBODY), Some(NOBODY)).unwrap();
        // As udev leaves it on every ordinary system.
        fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
        Self { dir, image, at }
    }

    fn binary(&self) -> PathBuf {
        self.dir.path().join("undelfs")
    }
}

fn as_user(user: u32, program: &Path, args: &[&Path]) -> Output {
    let id = user.to_string();
    tools::tool("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .arg(program)
        .args(args)
        .env("HOME", "/nonexistent")
        .env_remove("SUDO_UID")
        .env_remove("SUDO_GID")
        .output()
        .unwrap()
}

fn can_list(user: u32, dir: &Path) -> bool {
    as_user(user, Path::new("ls"), &[dir]).status.success()
}

#[test]
fn an_ordinary_user_mounts_reads_and_unmounts() {
    let stage = Stage::new(801);
    let output = as_user(NOBODY, &stage.binary(), &[Path::new("mount"), &stage.image, &stage.at]);
    assert!(output.status.success(), "{}", tools::said(&output));
    let mounted = Mounted::new(&stage.at, None);
    let listing = as_user(NOBODY, Path::new("find"), &[&stage.at]);
    assert!(listing.status.success(), "{}", tools::said(&listing));
    assert!(listing.stdout.split(|byte| *byte == b'\n').count() > 20);
    assert!(!can_list(STRANGER, &stage.at));
    let owner = as_user(NOBODY, Path::new("stat"), &[Path::new("--format=%u"), &stage.at]);
    assert_eq!(String::from_utf8_lossy(&owner.stdout).trim(), NOBODY.to_string());

    let output = as_user(NOBODY, &stage.binary(), &[Path::new("umount"), &stage.at]);
    assert!(output.status.success(), "{}", tools::said(&output));
    assert!(!guard::is_mounted(&stage.at));
    program::assert_lock_is_released(&stage.image);
    drop(mounted);
}

#[test]
fn under_sudo_the_tree_belongs_to_the_user_who_called_it_and_to_nobody_else() {
    let stage = Stage::new(802);
    let output = Command::new(stage.binary())
        .arg("mount")
        .args([&stage.image, &stage.at])
        .env("SUDO_UID", NOBODY.to_string())
        .env("SUDO_GID", NOBODY.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    let _mounted = Mounted::new(&stage.at, None);
    for (path, _) in walk::walk(&stage.at) {
        let meta = fs::symlink_metadata(stage.at.join(&path)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (NOBODY, NOBODY), "{}", path.display());
    }
    assert!(can_list(NOBODY, &stage.at));
    assert!(!can_list(STRANGER, &stage.at));
}

#[test]
fn allow_other_lets_every_user_read() {
    let stage = Stage::new(803);
    let output =
        program::command().args(["mount", "--allow-other"]).args([&stage.image, &stage.at]).output().unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    let _mounted = Mounted::new(&stage.at, None);
    assert!(can_list(NOBODY, &stage.at) && can_list(STRANGER, &stage.at));
    let file =
        walk::walk(&stage.at).into_iter().find(|(_, node)| node.kind == walk::NodeKind::File).unwrap().0;
    let sum = as_user(STRANGER, Path::new("sha256sum"), &[&stage.at.join(file)]);
    assert!(sum.status.success(), "{}", tools::said(&sum));
}

#[test]
fn without_allow_other_root_s_mount_is_root_s_alone() {
    let stage = Stage::new(804);
    let output = program::command().arg("mount").args([&stage.image, &stage.at]).output().unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    let _mounted = Mounted::new(&stage.at, None);
    assert!(!can_list(NOBODY, &stage.at));
}

#[test]
fn modes_are_read_only_for_files_and_directories() {
    let stage = Stage::new(805);
    let output =
        program::command().args(["mount", "--allow-other"]).args([&stage.image, &stage.at]).output().unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    let _mounted = Mounted::new(&stage.at, None);
    for (path, node) in walk::walk(&stage.at) {
        let mode = fs::symlink_metadata(stage.at.join(&path)).unwrap().mode() & 0o7777;
        match node.kind {
            walk::NodeKind::Directory => assert_eq!(mode, 0o555, "{}", path.display()),
            walk::NodeKind::File => assert_eq!(mode, 0o444, "{}", path.display()),
            walk::NodeKind::Link(_) => {}
        }
    }
}
