//! The tree is ordinary: `cp`, `rsync`, `tar`, `find`, `grep`, `sha256sum` and `getfattr` work on it.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use undelfs_tests::{
    check::{self, Names},
    guard,
    manifest::Manifest,
    program::Tree,
    recipe::{Made, Recipe},
    tools,
    walk::{self, NodeKind},
};

fn mounted(dir: &Path, seed: u64) -> (Tree, Manifest) {
    let Made { image, manifest } = Recipe { files: 300, ..Recipe::new(seed) }.make(dir);
    (Tree::mount(&image, &[]), manifest)
}

/// The copy in `copy` has all that the tree has, and the right bytes, of files with at most `streams` streams.
fn compare(tree: &Tree, copy: &Path, manifest: &Manifest, streams: usize) {
    let shape = |root: &Path| -> BTreeMap<_, _> {
        walk::walk(root).into_iter().map(|(path, node)| (path, (node.size_of_file(), node.kind))).collect()
    };
    assert_eq!(shape(copy), shape(tree.root()));
    check::assert_none(
        "copy",
        &check::content(
            copy,
            manifest.deleted().filter(|file| file.streams.len() <= streams),
            Names::AnyDeleted,
        ),
    );
}

/// The unnamed stream and three more: what fits into the extended attributes of a usual file system, 4 KiB.
const FEW: usize = 4;

trait SizeOfFile {
    fn size_of_file(&self) -> Option<u64>;
}

impl SizeOfFile for walk::Node {
    /// Directories have sizes of their own on each file system.
    fn size_of_file(&self) -> Option<u64> {
        (self.kind != NodeKind::Directory).then_some(self.size)
    }
}

#[test]
fn cp_archives_the_whole_tree_with_times_and_attributes() {
    let dir = guard::scratch();
    let (tree, manifest) = mounted(dir.path(), 301);
    let copy = dir.path().join("copy");
    tools::succeed(tools::tool("cp").arg("-a").arg(tree.root()).arg(&copy));
    let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&copy).status();
    compare(&tree, &copy, &manifest, FEW);
    for (path, _) in walk::walk(tree.root()).iter().filter(|(_, node)| node.kind == NodeKind::File) {
        let time = |root: &Path| fs::metadata(root.join(path)).unwrap().modified().unwrap();
        assert_eq!(time(tree.root()), time(&copy), "{}", path.display());
    }
}

#[test]
fn rsync_copies_the_whole_tree_and_finds_nothing_to_do_the_second_time() {
    let dir = guard::scratch();
    let (tree, manifest) = mounted(dir.path(), 302);
    let copy = dir.path().join("copy");
    let source = format!("{}/", tree.root().display());
    let rsync = || {
        let mut rsync = tools::tool("rsync");
        rsync.args(["-a", "--itemize-changes", "--exclude=/.undelfs", &source]).arg(&copy);
        String::from_utf8_lossy(&tools::succeed(&mut rsync).stdout).into_owned()
    };
    assert!(!rsync().is_empty());
    assert_eq!(rsync(), "");
    compare(&tree, &copy, &manifest, 1);
}

#[test]
fn tar_packs_and_unpacks_the_whole_tree() {
    let dir = guard::scratch();
    let (tree, manifest) = mounted(dir.path(), 303);
    let (archive, copy) = (dir.path().join("tree.tar"), dir.path().join("copy"));
    fs::create_dir(&copy).unwrap();
    let mut pack = tools::tool("tar");
    tools::succeed(
        pack.args(["--xattrs", "--xattrs-include=user.*", "--exclude=./.undelfs", "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(tree.root())
            .arg("."),
    );
    let mut unpack = tools::tool("tar");
    tools::succeed(
        unpack
            .args(["--xattrs", "--xattrs-include=user.*", "--delay-directory-restore", "-xf"])
            .arg(&archive)
            .arg("-C")
            .arg(&copy),
    );
    compare(&tree, &copy, &manifest, FEW);
}

#[test]
fn find_lists_every_file_once_and_grep_finds_text_in_deleted_files() {
    let dir = guard::scratch();
    let (tree, manifest) = mounted(dir.path(), 304);
    let root = tree.root().to_str().unwrap();
    let found = tools::run(
        "find",
        [root, "-path", &format!("{root}/.undelfs"), "-prune", "-o", "-type", "f", "-printf", "x\n"],
    );
    let files = walk::walk(tree.root()).values().filter(|node| node.kind == NodeKind::File).count();
    assert_eq!(found.lines().count(), files);
    assert!(!tools::run("find", [root, "-size", "+100k"]).is_empty());

    let tagged = manifest
        .known()
        .find(|file| file.kind == undelfs_tests::manifest::Kind::Fragmented && file.content().len > 10_000)
        .unwrap();
    let tag = format!("<{:016x}:{:08x}>", tagged.content().seed, 17);
    let hits = tools::run("grep", ["-r", "-l", "-a", "-F", "--exclude-dir=.undelfs", &tag, root]);
    assert_eq!(hits.trim_end(), tree.join(tagged.path()).to_str().unwrap());
}

#[test]
fn sha256sum_and_getfattr_read_what_the_manifest_says() {
    let dir = guard::scratch();
    let (tree, manifest) = mounted(dir.path(), 305);
    let file = manifest.known().find(|file| file.streams.len() == 4).unwrap();
    let path = tree.join(file.path());
    let sum = tools::run("sha256sum", ["--zero".as_ref(), path.as_os_str()]);
    assert!(sum.starts_with(&file.content().sha256()), "{sum}");
    let mut getfattr = tools::tool("getfattr");
    let value =
        tools::succeed(getfattr.args(["--only-values", "-n", "user.Zone.Identifier"]).arg(&path)).stdout;
    assert_eq!(value, file.streams[1].content.bytes());
    let mut getfattr = tools::tool("getfattr");
    let state = tools::succeed(getfattr.args(["-n", "user.undelfs.state"]).arg(&path)).stdout;
    assert!(String::from_utf8_lossy(&state).contains("user.undelfs.state=\"deleted\""));
}

#[test]
fn nothing_can_be_written_deleted_or_changed_in_the_tree() {
    let dir = guard::scratch();
    let (tree, manifest) = mounted(dir.path(), 306);
    let file = tree.join(manifest.known().next().unwrap().path());
    let read_only = |result: std::io::Result<()>| assert_eq!(result.unwrap_err().raw_os_error(), Some(30));
    read_only(fs::write(tree.join("new"), b"x"));
    read_only(fs::create_dir(tree.join("new")));
    read_only(fs::remove_file(&file));
    read_only(fs::rename(&file, tree.join("other")));
    read_only(fs::File::options().write(true).open(&file).map(drop));
    read_only(fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)));
}

#[test]
fn reads_at_any_offset_and_from_many_threads_give_the_same_bytes() {
    use std::os::unix::fs::FileExt;
    let dir = guard::scratch();
    let (tree, manifest) = mounted(dir.path(), 307);
    let files: Vec<_> = manifest.known().collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (tree, files) = (&tree, &files);
            scope.spawn(move || {
                for file in files.iter().skip(thread % 2).step_by(2) {
                    let bytes = file.content().bytes();
                    let open = fs::File::open(tree.join(file.path())).unwrap();
                    for step in 0..20 {
                        let at = step * 7919 * (thread + 1) % (bytes.len() + 10);
                        let mut buffer = vec![0; 5000];
                        let n = open.read_at(&mut buffer, at as u64).unwrap();
                        let expected = bytes.get(at..).unwrap_or_default();
                        assert_eq!(n, expected.len().min(5000), "{} at {at}", file.path().display());
                        assert!(buffer[..n] == expected[..n], "{} at {at}", file.path().display());
                    }
                }
            });
        }
    });
}
