//! Shadow copies: each is the volume as it was, and its deleted files are never somebody else's bytes.

use std::{
    collections::BTreeSet,
    fs,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use undelfs_restore::vss::Vss;
use undelfs_source::ReadAt;

use undelfs_tests::{
    bitlocker::{self, Method},
    encrypted::{PASSWORD, protectors},
    guard,
    program::{Tree, assert_refused, undelfs},
    tools,
    vss::{BLOCK, Libvshadow, Made, Maker, Tricks},
    walk, windows_made,
};

/// Fails at the first byte in which two files differ.
fn assert_same(ours: &Path, theirs: &Path) {
    let (mut a, mut b) = (File::open(ours).unwrap(), File::open(theirs).unwrap());
    let (mut x, mut y) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0_u64;
    loop {
        let n = fill(&mut a, &mut x);
        let m = fill(&mut b, &mut y);
        if let Some(n) = x[..n].iter().zip(&y[..m]).position(|(a, b)| a != b) {
            panic!("{} and {} differ at byte {}", ours.display(), theirs.display(), at + n as u64);
        }
        assert_eq!(n, m, "sizes of {} and {}", ours.display(), theirs.display());
        if n == 0 {
            return;
        }
        at += n as u64;
    }
}

fn fill(file: &mut File, buf: &mut [u8]) -> usize {
    let mut done = 0;
    while done < buf.len() {
        match file.read(&mut buf[done..]).unwrap() {
            0 => break,
            n => done += n,
        }
    }
    done
}

fn snapshot_of(image: &Path, number: usize, more: &[&str]) -> Tree {
    Tree::mount(image, &[&["--snapshot", &number.to_string()], more].concat())
}

/// The paths that a scan lists.
fn scanned(image: &Path, more: &[&str]) -> BTreeSet<String> {
    let args = [&["scan", "--view", "all", "--format", "csv", image.to_str().unwrap()], more].concat();
    let output = undelfs(args);
    assert!(output.status.success(), "{}", tools::said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let column = lines.next().unwrap().split(',').position(|name| name == "path").expect("a column");
    lines.map(|line| line.split(',').nth(column).unwrap().to_owned()).collect()
}

/// Whether a path is that of the stores, which no shadow copy keeps.
fn is_store(path: &Path) -> bool {
    path.starts_with("System Volume Information")
}

/// The files of a tree.
fn files(tree: &Tree) -> Vec<PathBuf> {
    let nodes = walk::walk(tree.root());
    let files = nodes.into_iter().filter(|(_, node)| node.kind == walk::NodeKind::File);
    files.map(|(path, _)| path).filter(|path| !is_store(path)).collect()
}

#[test]
fn every_snapshot_has_the_bytes_that_libvshadow_reads() {
    let dir = guard::scratch();
    for (seed, tricks) in [
        (1, Tricks::all()),
        (2, Tricks { forwarders: false, overlays: false, noise: false }),
        (3, Tricks { overlays: false, ..Tricks::all() }),
    ] {
        let maker = Maker { tricks, ..Maker::new(seed) };
        let made = maker.make(dir.path());
        let theirs = Libvshadow::mount(&made.image);
        for number in 1..=maker.copies {
            let tree = snapshot_of(&made.image, number, &[]);
            assert_same(&tree.join(".undelfs/volume.img"), &theirs.snapshot(number));
        }
    }
}

#[test]
fn a_snapshot_is_the_volume_as_it_was_in_every_block_that_was_in_use() {
    let dir = guard::scratch();
    let maker = Maker::new(10);
    let made = maker.make(dir.path());
    for (number, then) in (1..).zip(&made.then) {
        let tree = snapshot_of(&made.image, number, &["--view", "regular"]);
        let shown = fs::read(tree.join(".undelfs/volume.img")).unwrap();
        let expected = fs::read(then).unwrap();
        let bitmap = tools::succeed(tools::tool("ntfscat").args(["-f", "-i", "6"]).arg(then)).stdout;
        let now = fs::read(&made.image).unwrap();
        let mut compared = 0;
        for (n, cluster) in expected.chunks(4096).enumerate() {
            let is_used = bitmap[n / 8] >> (n % 8) & 1 == 1;
            // The stores, and the header in the boot area, are of today.
            if !is_used || cluster.starts_with(b"room for a block") || n * 4096 < BLOCK {
                continue;
            }
            let at = n * 4096;
            assert!(shown[at..at + cluster.len()] == *cluster, "snapshot {number}, cluster {n}");
            compared += usize::from(now[at..at + cluster.len()] != *cluster);
        }
        assert!(compared > 10, "only {compared} clusters have changed since snapshot {number}");

        let live: BTreeSet<PathBuf> = made.live[number - 1].iter().map(PathBuf::from).collect();
        assert_eq!(files(&tree).into_iter().collect::<BTreeSet<_>>(), live);
        for path in &live {
            let content = made.content[path.to_str().unwrap()].bytes();
            assert!(fs::read(tree.join(path)).unwrap() == content, "{} in snapshot {number}", path.display());
        }
    }
}

/// Reads all deleted files of a snapshot; how many are whole, and how many are declared not to be.
fn check_deleted(made: &Made, tree: &Tree) -> (usize, usize) {
    let (mut whole, mut declared) = (0, 0);
    for path in files(tree) {
        let Some(content) = made.content.get(path.to_str().unwrap()) else { continue };
        let (content, read) = (content.bytes(), fs::read(tree.join(&path)).unwrap());
        assert_eq!(read.len(), content.len(), "{}", path.display());
        let gone = walk::overwritten(&tree.join(&path));
        let is_gone = |n: usize| gone.iter().any(|range| range.contains(&(n as u64)));
        let wrong = (0..read.len()).find(|n| read[*n] != content[*n] && !is_gone(*n));
        assert_eq!(wrong, None, "{} has another file's byte; gone are {gone:?}", path.display());
        if gone.is_empty() { whole += 1 } else { declared += 1 }
    }
    (whole, declared)
}

#[test]
fn deleted_files_of_a_snapshot_are_their_own_bytes_or_declared_gone() {
    let dir = guard::scratch();
    let (mut whole, mut declared) = (0, 0);
    for seed in 20..24 {
        let made = Maker::new(seed).make(dir.path());
        for number in 1..=made.then.len() {
            let found = check_deleted(&made, &snapshot_of(&made.image, number, &[]));
            (whole, declared) = (whole + found.0, declared + found.1);
        }
    }
    assert!(whole > 50, "{whole} deleted files are whole");
    assert!(declared > 20, "{declared} deleted files are declared not to be");
}

#[test]
fn a_snapshot_lists_what_a_scan_of_its_bytes_lists() {
    let dir = guard::scratch();
    let made = Maker::new(30).make(dir.path());
    let theirs = Libvshadow::mount(&made.image);
    for number in 1..=made.then.len() {
        let ours = scanned(&made.image, &["--snapshot", &number.to_string()]);
        assert!(ours.len() > 60, "{ours:?}");
        assert_eq!(ours, scanned(&theirs.snapshot(number), &[]), "snapshot {number}");
    }
}

#[test]
fn volumes_lists_each_snapshot_and_a_number_that_there_is_none_of_is_refused() {
    let dir = guard::scratch();
    let made = Maker { copies: 2, ..Maker::new(40) }.make(dir.path());
    let image = made.image.to_str().unwrap();
    let output = undelfs(["volumes", image, "--format", "jsonl"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let copies = line["snapshots"].as_array().unwrap();
    assert_eq!(copies.len(), 2, "{line}");
    assert_eq!(copies[0]["snapshot"], 1);
    assert_eq!(copies[0]["created"], "2012-12-14T23:06:40Z");
    assert_eq!(copies[1]["volume_size"], 64 << 20);
    assert_eq!(copies[1]["originating_machine"], "maker");
    let table = String::from_utf8(undelfs(["volumes", image]).stdout).unwrap();
    assert!(table.contains("shadow copies") && table.contains("2012-12-15T23:06:40Z"), "{table}");

    assert_refused(&undelfs(["scan", image, "--snapshot", "3"]), 2, &["no shadow copy 3", "1, 2"]);
    let plain = made.then[0].to_str().unwrap();
    assert_refused(&undelfs(["scan", plain, "--snapshot", "1"]), 2, &["no shadow copies"]);
}

#[test]
fn a_damaged_block_list_is_an_error_and_never_another_time() {
    let dir = guard::scratch();
    let made = Maker::new(50).make(dir.path());
    let mut image = fs::read(&made.image).unwrap();
    let kind = |block: &[u8]| u32::from_le_bytes(block[20..24].try_into().unwrap());
    let lists: Vec<usize> = (0..image.len() / BLOCK)
        .filter(|n| image[n * BLOCK..].starts_with(b"\x6B\x87\x08\x38") && kind(&image[n * BLOCK..]) == 3)
        .collect();
    assert!(lists.len() >= 3, "{lists:?}");
    // The last store is the newest, which all of them need.
    image[lists[lists.len() - 1] * BLOCK] ^= 1;
    fs::write(&made.image, image).unwrap();
    for number in ["1", "2", "3"] {
        let output = undelfs(["scan", made.image.to_str().unwrap(), "--snapshot", number]);
        assert_refused(&output, 1, &["shadow copy"]);
    }
}

#[test]
fn snapshots_that_windows_made_have_the_bytes_and_files_that_libvshadow_and_the_sleuth_kit_read() {
    let dir = guard::scratch();
    let image = windows_made::shadow_copies(dir.path());
    let theirs = Libvshadow::mount(&image);
    for (number, expected) in [(1, vec!["syslog"]), (2, vec!["another_file", "syslog.gz"])] {
        let tree = snapshot_of(&image, number, &["--view", "regular"]);
        assert_same(&tree.join(".undelfs/volume.img"), &theirs.snapshot(number));
        let found = files(&tree);
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        for path in found {
            let inode = walk::xattr_text(&tree.join(&path), "user.undelfs.record");
            let record = inode.split('-').next().unwrap();
            let output = tools::succeed(tools::tool("icat").arg(theirs.snapshot(number)).arg(record));
            assert_eq!(fs::read(tree.join(&path)).unwrap(), output.stdout, "{}", path.display());
        }
    }
}

#[test]
fn stores_are_found_by_searching_where_the_header_or_the_catalogue_is_gone() {
    let dir = guard::scratch();
    let made = Maker::new(60).make(dir.path());
    let sound = fs::read(&made.image).unwrap();
    let read = |snapshot: &dyn ReadAt| {
        let mut bytes = vec![0; usize::try_from(snapshot.size()).unwrap()];
        snapshot.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let whole: Arc<dyn ReadAt> = Arc::new(sound.clone());
    let listed = Vss::open(whole).unwrap().unwrap();
    assert_eq!(listed.copies().len(), 3);

    // Without the header in the boot area the catalogue still tells the order.
    let mut headless = sound.clone();
    headless[0x1E00..0x1E80].fill(0);
    let volume: Arc<dyn ReadAt> = Arc::new(headless.clone());
    assert!(Vss::open(volume.clone()).unwrap().is_none());
    let found = Vss::search(volume, &()).unwrap();
    let times = |vss: &Vss| vss.copies().iter().map(|copy| copy.created).collect::<Vec<_>>();
    assert_eq!(times(&found), times(&listed));
    for number in 1..=3 {
        let (mut ours, mut expected) =
            (read(&found.snapshot(number).unwrap()), read(&listed.snapshot(number).unwrap()));
        for bytes in [&mut ours, &mut expected] {
            bytes[0x1E00..0x1E80].fill(0);
        }
        assert!(ours == expected, "snapshot {number}");
    }

    // Without the catalogue the stores are listed, and no order is invented.
    let mut lost = headless;
    for block in lost.chunks_mut(BLOCK).filter(|block| block[..4] == *b"\x6B\x87\x08\x38" && block[20] == 2) {
        block.fill(0);
    }
    let found = Vss::search(Arc::new(lost), &()).unwrap();
    let machines = found.copies().iter().filter_map(|copy| copy.information.as_ref());
    assert_eq!(machines.filter(|known| known.originating_machine == "maker").count(), 3);
    assert!(found.copies().iter().all(|copy| copy.is_lost && copy.created.is_none()));
    assert!(found.snapshot(1).is_err());
}

/// Takes the oldest shadow copy out of the catalogue, as Windows does when it deletes it.
fn delete_oldest(image: &Path) {
    let mut bytes = fs::read(image).unwrap();
    let is_catalogue = |block: &&mut [u8]| block[..4] == *b"\x6B\x87\x08\x38" && block[20] == 2;
    let kind = |entry: &[u8]| entry[0];
    let created = |entry: &[u8]| u64::from_le_bytes(entry[48..56].try_into().unwrap());
    let mut blocks: Vec<&mut [u8]> = bytes.chunks_mut(BLOCK).filter(is_catalogue).collect();
    let entries = || blocks.iter().flat_map(|block| block[128..].chunks(128));
    let oldest = entries().filter(|entry| kind(entry) == 2).min_by_key(|entry| created(entry)).unwrap();
    let store: [u8; 16] = oldest[16..32].try_into().unwrap();
    let mut deleted = 0;
    for entry in blocks.iter_mut().flat_map(|block| block[128..].chunks_mut(128)) {
        if matches!(kind(entry), 2 | 3) && entry[16..32] == store {
            entry.fill(0);
            entry[0] = 1;
            deleted += 1;
        }
    }
    assert_eq!(deleted, 2);
    fs::write(image, bytes).unwrap();
}

#[test]
fn a_deleted_shadow_copy_is_found_by_a_deep_search_and_shown_by_its_number() {
    let dir = guard::scratch();
    let made = Maker::new(65).make(dir.path());
    delete_oldest(&made.image);
    let image = made.image.to_str().unwrap();
    let listed = |more: &[&str]| {
        let output = undelfs([&["volumes", image, "--format", "jsonl"], more].concat());
        assert!(output.status.success(), "{}", tools::said(&output));
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let copies = line["snapshots"].as_array().unwrap();
        copies.iter().map(|copy| copy["deleted"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), [false, false]);
    assert_eq!(listed(&["--deep"]), [false, false, true]);
    let table = String::from_utf8(undelfs(["volumes", "--deep", image]).stdout).unwrap();
    assert!(table.contains("(deleted)"), "{table}");
    // The others have kept their contents, under new numbers.
    for (number, live) in [(1, &made.live[1]), (2, &made.live[2]), (3, &made.live[0])] {
        let tree = snapshot_of(&made.image, number, &["--view", "regular"]);
        assert_eq!(files(&tree).len(), live.len(), "shadow copy {number}");
        for path in live {
            let found = fs::read(tree.join(path)).unwrap();
            assert!(found == made.content[path].bytes(), "{path} of shadow copy {number}");
        }
    }
    assert_refused(&undelfs(["scan", image, "--snapshot", "4"]), 2, &["no shadow copy 4", "1, 2, 3"]);
}

#[test]
fn the_snapshots_of_an_encrypted_volume_are_those_of_what_is_in_it() {
    let dir = guard::scratch();
    let made = Maker { size: 160 << 20, copies: 2, ..Maker::new(70) }.make(dir.path());
    let image = dir.path().join("encrypted.img");
    bitlocker::Maker::new(Method::Xts128, &protectors()).make(&made.image, &image);
    let key = ["--password", PASSWORD];
    let listed = |key: &[&str]| {
        let output = undelfs([&["volumes", image.to_str().unwrap(), "--format", "jsonl"], key].concat());
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        line["snapshots"].as_array().unwrap().len()
    };
    assert_eq!((listed(&[]), listed(&key)), (0, 2));
    for number in 1..=2 {
        let tree = snapshot_of(&image, number, &[&["--view", "regular"], &key[..]].concat());
        let live = &made.live[number - 1];
        assert_eq!(files(&tree).len(), live.len());
        for path in live {
            assert!(fs::read(tree.join(path)).unwrap() == made.content[path].bytes(), "{path}");
        }
        check_deleted(&made, &snapshot_of(&image, number, &key));
    }
}

#[test]
fn on_a_disk_with_several_volumes_the_volume_has_to_be_named() {
    let dir = guard::scratch();
    let made = Maker { copies: 1, ..Maker::new(80) }.make(dir.path());
    let volume = fs::read(&made.image).unwrap();
    let disk = dir.path().join("disk.img");
    let sectors = volume.len() / 512;
    let mut bytes = vec![0; (1 << 20) + 2 * volume.len()];
    for (n, start) in [2048, 2048 + sectors].into_iter().enumerate() {
        let entry = 446 + n * 16;
        bytes[entry + 4] = 7;
        bytes[entry + 8..entry + 12].copy_from_slice(&(start as u32).to_le_bytes());
        bytes[entry + 12..entry + 16].copy_from_slice(&(sectors as u32).to_le_bytes());
        bytes[start * 512..][..volume.len()].copy_from_slice(&volume);
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    fs::write(&disk, bytes).unwrap();
    let image = disk.to_str().unwrap();
    assert_refused(&undelfs(["scan", image, "--snapshot", "1"]), 2, &["--volume", "shadow copy 1"]);
    let ours = scanned(&disk, &["--snapshot", "1", "--volume", "2"]);
    assert_eq!(ours, scanned(&made.image, &["--snapshot", "1"]));
}
