//! Nothing is ever written to the source.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use undelfs_tests::{
    guard::{self, Loop, Mounted},
    program::{self, Tree},
    recipe::{Made, Recipe},
    tools, walk,
};

fn read_everything(root: &Path) {
    for (path, node) in walk::walk(root) {
        if node.kind == walk::NodeKind::File {
            walk::hash(&root.join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        walk::xattr_names(&root.join(&path));
    }
}

#[test]
fn the_image_has_the_same_hash_and_times_after_everything() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 200, ..Recipe::new(501) }.make(dir.path());
    let state = || {
        let meta = fs::metadata(&image).unwrap();
        (
            walk::hash(&image).unwrap(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.len(),
        )
    };
    let before = state();
    let path = image.to_str().unwrap();
    for view in ["deleted", "all", "regular"] {
        let tree = Tree::mount(&image, &["--view", view]);
        read_everything(tree.root());
        tree.unmount();
    }
    for args in [vec!["volumes", path], vec!["scan", path], vec!["scan", path, "--format", "csv"]] {
        assert!(program::undelfs(&args).status.success(), "{args:?}");
    }
    let copy = dir.path().join("restored");
    fs::create_dir(&copy).unwrap();
    let output = program::undelfs(["restore".as_ref(), image.as_os_str(), "/".as_ref(), copy.as_os_str()]);
    assert!(output.status.success(), "{}", tools::said(&output));
    assert_eq!(state(), before);
}

/// Runs a foreground mount under `strace`, reads everything, and returns what was opened under the source's name.
fn opens_of(source: &Path, dir: &Path) -> Vec<String> {
    let trace = dir.join("trace");
    let mount = guard::scratch();
    let mut command = tools::tool("strace");
    command
        .args(["-f", "-qq", "-s", "4096", "-e", "trace=open,openat,openat2,creat,truncate,unlink,rename"])
        .arg("-o");
    command.arg(&trace).arg(program::path()).args(["mount", "-f"]).arg(source).arg(mount.path());
    let mounted = Mounted::serve(&mut command, mount.path());
    read_everything(mount.path());
    mounted.unmount();
    let name = source.to_str().unwrap();
    let lines = fs::read_to_string(&trace).unwrap();
    lines.lines().filter(|line| line.contains(&format!("\"{name}\""))).map(str::to_owned).collect()
}

#[test]
fn strace_shows_no_open_for_writing_of_an_image_or_a_device() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 60, ..Recipe::new(502) }.make(dir.path());
    let device = Loop::attach(&image, 512);
    for source in [&image, device.device()] {
        let opens = opens_of(source, dir.path());
        assert!(!opens.is_empty(), "{} was never opened", source.display());
        for line in opens {
            assert!(line.contains("O_RDONLY"), "{line}");
            for flag in ["O_RDWR", "O_WRONLY", "O_CREAT", "O_TRUNC", "truncate(", "unlink(", "rename("] {
                assert!(!line.contains(flag), "{line}");
            }
        }
    }
}

#[test]
fn an_image_that_nobody_may_write_mounts_as_well() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 60, ..Recipe::new(503) }.make(dir.path());
    fs::set_permissions(&image, fs::Permissions::from_mode(0o444)).unwrap();
    read_everything(Tree::mount(&image, &[]).root());
}

#[test]
fn a_device_that_is_mounted_for_writing_is_refused_and_a_read_only_mount_is_not() {
    let dir = guard::scratch();
    let image = dir.path().join("ext4.img");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    tools::run("mkfs.ext4", ["-q", image.to_str().unwrap()]);
    let device = Loop::attach_writable(&image, 512);
    let path = device.device().to_str().unwrap();
    let other = guard::scratch();
    let at = other.path().to_str().unwrap();
    tools::run("mount", [path, at]);
    let mounted = Mounted::new(other.path(), None);
    program::assert_refused(&program::undelfs(["scan", path]), 1, &[at, "umount"]);
    mounted.unmount();
    tools::run("mount", ["-o", "ro,noload", path, at]);
    let _mounted = Mounted::new(other.path(), None);
    assert!(program::undelfs(["volumes", path]).status.success());
}
