//! What cannot be shown is refused with one clear sentence and the right exit code, never with a backtrace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use undelfs_tests::{
    check::{self, Names},
    content::{Content, Fill},
    guard,
    program::{self, Tree, assert_refused, undelfs},
    recipe::{Made, Recipe},
    tools, walk,
};

fn mount(source: &Path) -> (Output, tempfile::TempDir) {
    let dir = guard::scratch();
    (undelfs(["mount".as_ref(), source.as_os_str(), dir.path().as_os_str()]), dir)
}

fn written(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_source_that_is_missing_empty_or_a_directory_is_refused() {
    let dir = guard::scratch();
    let missing = dir.path().join("missing.img");
    let empty = written(dir.path(), "empty.img", b"");
    for (source, words) in
        [(&missing, ["missing.img", ""]), (&empty, ["empty", ""]), (&dir.path().into(), ["directory", ""])]
    {
        assert_refused(&mount(source).0, 1, &words);
        assert_refused(&undelfs(["scan".as_ref(), source.as_os_str()]), 1, &words);
        assert_refused(&undelfs(["volumes".as_ref(), source.as_os_str()]), 1, &words);
    }
}

#[test]
fn a_text_file_is_no_volume_and_that_is_said() {
    let dir = guard::scratch();
    let text = written(dir.path(), "letter.txt", &b"Dear Anna,\nthis is no disk.\n".repeat(1000));
    assert_refused(&undelfs(["scan".as_ref(), text.as_os_str()]), 1, &["letter.txt"]);
}

#[test]
fn a_fat_volume_is_named_as_such() {
    let dir = guard::scratch();
    let image = dir.path().join("fat.img");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    tools::run("mkfs.vfat", ["-F", "32", image.to_str().unwrap()]);
    assert_refused(&undelfs(["scan".as_ref(), image.as_os_str()]), 1, &["FAT32"]);
}

#[test]
fn a_bitlocker_volume_needs_a_key() {
    let dir = guard::scratch();
    let mut bytes = vec![0; 1 << 20];
    bytes[..3].copy_from_slice(&[0xEB, 0x58, 0x90]);
    bytes[3..11].copy_from_slice(b"-FVE-FS-");
    bytes[11..13].copy_from_slice(&512_u16.to_le_bytes());
    bytes[13] = 8;
    bytes[160..176].copy_from_slice(&[
        0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01,
    ]);
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    let image = written(dir.path(), "bitlocker.img", &bytes);
    assert_refused(&undelfs(["scan".as_ref(), image.as_os_str()]), 3, &["BitLocker"]);
    let (output, dir) = mount(&image);
    assert!(output.status.code() == Some(3) || guard::is_mounted(dir.path()), "{}", tools::said(&output));
    let _ = guard::Mounted::new(dir.path(), None);
}

#[test]
fn a_volume_of_an_unknown_file_system_still_mounts_with_its_bytes_as_one_file() {
    let dir = guard::scratch();
    let bytes = Content::new(Fill::Random, 5, 4 << 20).bytes();
    let volume = written(dir.path(), "unknown.img", &bytes);
    let disk = undelfs_tests::disk::gpt(&dir.path().join("disk.img"), &[&volume], 512);
    let tree = Tree::mount(&disk.image, &["--volume", "1"]);
    assert!(walk::walk(tree.root()).is_empty());
    assert!(fs::read(tree.join(".undelfs/volume.img")).unwrap() == bytes);
}

#[test]
fn a_file_without_permission_is_refused_for_an_ordinary_user() {
    let dir = guard::scratch();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let image = written(dir.path(), "secret.img", &[0; 4096]);
    fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let binary = dir.path().join("undelfs");
    fs::copy(program::path(), &binary).unwrap();
    let output = tools::tool("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(&binary)
        .arg("scan")
        .arg(&image)
        .output()
        .unwrap();
    assert_refused(&output, 1, &["secret.img", "permission"]);
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &["mount"][..],
        &["no-such-command"],
        &["scan", "x", "--format", "papyrus"],
        &["mount", "a", "b", "--view", "x"],
    ] {
        assert_eq!(undelfs(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_mount_point_that_is_missing_a_file_or_over_the_source_is_refused() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 30, ..Recipe::new(601) }.make(dir.path());
    let file = written(dir.path(), "file", b"");
    let missing = dir.path().join("missing");
    let to = |at: &Path| undelfs(["mount".as_ref(), image.as_os_str(), at.as_os_str()]);
    let refused = |at: &Path, words: &[&str]| {
        let output = to(at);
        let code = output.status.code().unwrap_or_default();
        assert!([1, 2].contains(&code), "{}", tools::said(&output));
        assert_refused(&output, code, words);
    };
    refused(&missing, &["missing", "mkdir"]);
    refused(&file, &["file", "not a"]);
    refused(&image, &["source"]);
    // The folder that the image stands in: mounting there would hide the source.
    refused(dir.path(), &["source"]);
    // Mounted already.
    let tree = Tree::mount(&image, &[]);
    refused(tree.root(), &["mounted"]);
}

#[test]
fn an_image_cut_in_the_middle_shows_all_that_is_left() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe {
        size: 128 << 20,
        files: 200,
        fragments: false, // so that all of `$MFT` is in the part that stays
        ..Recipe::new(602)
    }
    .make(dir.path());
    let whole = fs::metadata(&image).unwrap().len();
    fs::File::options().write(true).open(&image).unwrap().set_len(whole * 6 / 10).unwrap();
    let tree = Tree::mount(&image, &[]);
    let mut read = 0;
    for file in manifest.known() {
        let path = tree.join(file.path());
        match fs::read(&path) {
            Ok(bytes) => {
                assert_eq!(
                    undelfs_tests::content::sha256(&bytes),
                    file.content().sha256(),
                    "{}",
                    path.display()
                );
                read += 1;
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(5), "{}: {error}", path.display()),
        }
    }
    assert!(read > 20, "{read}");
    let complaints = check::content(
        tree.root(),
        manifest.deleted().filter(|file| file.kind == undelfs_tests::manifest::Kind::Empty),
        Names::AnyDeleted,
    );
    check::assert_none("empty files", &complaints);
}
