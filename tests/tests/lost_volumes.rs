//! Volumes that no partition table names: found, told from each other and from images in files, and opened by the
//! number that the list gives them.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    fs::{SeekFrom, seek},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use undelfs_tests::{
    bitlocker::{Maker, Method, Protector},
    check::{self, Names},
    disk,
    guard::{self, Loop},
    manifest::Manifest,
    ntfs3g::{self, Format, Volume},
    overwrite,
    program::{self, Tree, assert_refused, undelfs},
    recipe::{Made, Recipe},
    tools, walk,
};

const MIB: u64 = 1 << 20;

fn volume(dir: &Path, seed: u64, sector: u32, size: u64) -> Made {
    // `mkntfs` writes the time of formatting in seconds, and volumes of one second cannot be put in order.
    thread::sleep(Duration::from_millis(1100));
    Recipe { size, files: 60, sector, fragments: false, ..Recipe::new(seed) }.make(dir)
}

/// Copies a volume onto a disk as formatting and writing would have made it there: where it was never written, what
/// was on the disk before stays.
fn place(volume: &Path, disk: &File, at: u64) {
    let from = File::open(volume).unwrap();
    let size = from.metadata().unwrap().len();
    let mut position = 0;
    while let Ok(data) = seek(&from, SeekFrom::Data(position)) {
        let hole = seek(&from, SeekFrom::Hole(data)).unwrap_or(size);
        let mut bytes = vec![0; (hole - data) as usize];
        from.read_exact_at(&mut bytes, data).unwrap();
        disk.write_all_at(&bytes, at + data).unwrap();
        position = hole;
    }
}

fn empty_disk(path: &Path, size: u64) -> File {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    file
}

/// The lines of `undelfs volumes --lost --format jsonl`.
fn list(source: &Path, more: &[&str]) -> Vec<Value> {
    let mut command = program::command();
    command.arg("volumes").arg(source).args(["--lost", "--format", "jsonl"]).args(more);
    let output = tools::succeed(&mut command);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Number, first byte and file system of each volume, and which volume it is inside of.
fn places(list: &[Value]) -> Vec<(u64, u64, String, Option<u64>)> {
    list.iter()
        .map(|line| {
            let number = |name: &str| line[name].as_u64().unwrap();
            let inside = line["lost"]["inside"]["volume"].as_u64();
            let start = number("start_sector") * number("sector_size");
            (number("volume"), start, line["file_system"].as_str().unwrap().to_owned(), inside)
        })
        .collect()
}

fn found_by(line: &Value) -> &str {
    line["lost"]["found_by"].as_str().unwrap()
}

fn ntfs(number: u64, start: u64) -> (u64, u64, String, Option<u64>) {
    (number, start, "NTFS".to_owned(), None)
}

/// Every deleted file of `manifest` is in the volume that has this number.
fn assert_holds(source: &Path, number: u64, more: &[&str], manifest: &Manifest) {
    let number = number.to_string();
    let tree = Tree::mount(source, &[&["--lost", "--volume", &number], more].concat());
    let missing = check::content(tree.root(), manifest.deleted(), Names::AnyDeleted);
    check::assert_none(&format!("volume {number}"), &missing);
}

#[test]
fn three_generations_that_overlap_are_kept_apart_and_each_opens_by_its_number() {
    let dir = guard::scratch();
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 1200 * MIB);
    let starts = [1, 700, 950];
    let made =
        [(920, 1024), (921, 128), (922, 128)].map(|(seed, mib)| volume(dir.path(), seed, 512, mib * MIB));
    for (made, start) in made.iter().zip(starts) {
        place(&made.image, &file, start * MIB);
    }
    let kept = dir.path().join("kept.jsonl");
    let keep = ["--catalogue", kept.to_str().unwrap()];
    let found = list(&image, &keep);
    assert_eq!(places(&found), [ntfs(1, MIB), ntfs(2, 700 * MIB), ntfs(3, 950 * MIB)]);
    for (number, made) in (1..).zip(&made).skip(1) {
        assert_holds(&image, number, &keep, &made.manifest);
    }
    // The later volumes have overwritten a few files of the first.
    let tree = Tree::mount(&image, &[&["--lost", "--volume", "1"], &keep[..]].concat());
    let manifest = &made[0].manifest;
    let lost = check::content(tree.root(), manifest.deleted(), Names::AnyDeleted).len();
    assert!(lost * 5 < manifest.deleted().count(), "{lost} of {} files", manifest.deleted().count());
    tree.unmount();
    // All at once: a folder for each.
    let tree = Tree::mount(&image, &["--lost"]);
    let folders = fs::read_dir(tree.root()).unwrap().flatten();
    let volumes = folders.filter(|entry| entry.file_name().to_string_lossy().contains("-Seed"));
    assert_eq!(volumes.count(), 3);
}

/// Every byte of every file of `made` that `tree` shows under its path is the file's own, or zero and declared
/// overwritten. Returns how many files declare something, of how many.
fn assert_nothing_foreign(tree: &Tree, made: &Made) -> (usize, usize) {
    let (mut declared, mut shown) = (0, 0);
    for file in made.manifest.known().filter(|file| file.link.is_none()) {
        let (path, expected) = (tree.join(file.path()), file.content().bytes());
        let Ok(found) = fs::read(&path) else { continue };
        let ranges = walk::overwritten(&path);
        assert_eq!(found.len(), expected.len(), "{}", path.display());
        for (at, (found, expected)) in (0..).zip(found.iter().zip(&expected)) {
            let gone = ranges.iter().any(|range| range.contains(&at));
            let right = if gone { 0 } else { *expected };
            assert_eq!(*found, right, "byte {at} of {}, declared {ranges:?}", path.display());
        }
        let confidence = walk::xattr_text(&path, "user.undelfs.confidence");
        assert!(
            ranges.is_empty() || ["partial", "lost"].contains(&&confidence[..]),
            "{confidence} {ranges:?}"
        );
        declared += usize::from(!ranges.is_empty());
        shown += 1;
    }
    (declared, shown)
}

#[test]
fn what_a_later_volume_wrote_over_an_earlier_one_is_declared_also_of_files_that_existed() {
    let dir = guard::scratch();
    let mut old =
        Recipe { size: 160 * MIB, files: 150, fragments: false, ..Recipe::new(940) }.make(dir.path());
    overwrite::write_over(&mut old, 940, 20, 4 * MIB as usize, false);
    let new = volume(dir.path(), 941, 512, 64 * MIB);
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 200 * MIB);
    place(&old.image, &file, MIB);
    place(&new.image, &file, 71 * MIB);
    let tree = Tree::mount(&image, &["--lost", "--volume", "1", "--view", "all"]);
    let (declared, shown) = assert_nothing_foreign(&tree, &old);
    assert!(declared > 10 && shown > declared, "{declared} of {shown}: the image proves nothing");
    tree.unmount();
    let tree = Tree::mount(&image, &["--lost", "--volume", "2", "--view", "all"]);
    assert_eq!(assert_nothing_foreign(&tree, &new).0, 0, "the later volume has all that it wrote");
    tree.unmount();

    // The same where the table lists the later volume and the earlier one is given by its sector.
    let listed = disk::mbr(&dir.path().join("listed.img"), &[&new.image]);
    let start = listed.partitions[0].0 * 512;
    let file = File::options().write(true).open(&listed.image).unwrap();
    file.set_len(400 * MIB).unwrap();
    place(&old.image, &file, 0);
    place(&new.image, &file, start);
    let mut table = vec![0; 512];
    let disk = disk::mbr(&dir.path().join("table.img"), &[&new.image]);
    File::open(&disk.image).unwrap().read_exact_at(&mut table, 0).unwrap();
    let mut boot = vec![0; 512];
    File::open(&old.image).unwrap().read_exact_at(&mut boot, 0).unwrap();
    file.write_all_at(&table, 0).unwrap();
    let last = (160 * MIB / 512 - 1).to_string();
    let tree = Tree::mount(&listed.image, &["--boot-sector", &last, "--view", "all"]);
    let (declared, shown) = assert_nothing_foreign(&tree, &old);
    assert!(declared > 10 && shown > declared, "{declared} of {shown}: the image proves nothing");
}

#[test]
fn files_under_a_volume_that_cannot_be_read_are_not_called_likely() {
    let dir = guard::scratch();
    let old = volume(dir.path(), 942, 512, 128 * MIB);
    let fat = dir.path().join("fat");
    empty_disk(&fat, 64 * MIB);
    tools::run("mkfs.vfat", ["-F", "32", "-s", "1", fat.to_str().unwrap()]);
    let before = dir.path().join("before");
    empty_disk(&before, 8 * MIB);
    let disk = disk::mbr(&dir.path().join("disk.img"), &[&before, &fat]);
    let file = File::options().write(true).open(&disk.image).unwrap();
    file.set_len(200 * MIB).unwrap();
    let start = disk.partitions[0].0 + 8;
    place(&old.image, &file, start * 512);
    place(&fat, &file, disk.partitions[1].0 * 512);
    let start = start.to_string();
    let mut scan = program::command();
    scan.arg("scan").arg(&disk.image).args(["--start-sector", &start, "--format", "jsonl"]);
    let text = String::from_utf8(tools::succeed(&mut scan).stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let in_clusters: Vec<Value> =
        lines.filter(|line| line["type"] == "file" && line["clusters_used"].as_u64() > Some(0)).collect();
    let doubtful =
        in_clusters.iter().filter(|line| line["reason"].as_str().unwrap().contains("another volume"));
    assert!(doubtful.clone().count() > 5, "{} files", in_clusters.len());
    assert!(doubtful.clone().all(|line| line["confidence"] == "partial"));
}

#[test]
fn an_older_volume_that_began_at_the_same_sector_is_listed_with_what_is_left_of_it() {
    let dir = guard::scratch();
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 700 * MIB);
    for (name, size) in [("old", 600 * MIB), ("new", 200 * MIB)] {
        let volume = dir.path().join(name);
        ntfs3g::format(&volume, &Format { size, cluster: 4096, sector: 512, label: name.into() });
        place(&volume, &file, MIB);
    }
    let found = list(&image, &[]);
    assert_eq!(places(&found), [ntfs(1, MIB), ntfs(2, MIB)]);
    assert_eq!(found[0]["sectors"], 200 * MIB / 512);
    assert_eq!(found[1]["sectors"], 600 * MIB / 512);
    assert_eq!(found_by(&found[0]), "both boot sectors, $MFT, $MFTMirr");
    assert_eq!(found_by(&found[1]), "backup boot sector, $MFTMirr");
    assert_eq!(found[0]["lost"]["certainty"], "certain");
    assert_eq!(found[1]["lost"]["certainty"], "likely");
}

#[test]
fn a_volume_in_an_image_file_is_told_from_the_volumes_of_the_disk() {
    let dir = guard::scratch();
    let make = |name: &str, size: u64, content: Option<&Path>| {
        let image = dir.path().join(name);
        ntfs3g::format(&image, &Format { size, cluster: 4096, sector: 512, label: name.into() });
        let volume = Volume::write(&image);
        fs::create_dir(volume.root().join("images")).unwrap();
        match content {
            // Written in one go, so that it lies in one piece.
            Some(content) => fs::write(
                volume.root().join("images").join(content.file_name().unwrap()),
                fs::read(content).unwrap(),
            ),
            None => fs::write(volume.root().join("images/note.txt"), b"note"),
        }
        .unwrap();
        volume.unmount();
        image
    };
    let innermost = make("innermost.img", 20 * MIB, None);
    let middle = make("middle.img", 60 * MIB, Some(&innermost));
    let outer = make("outer.img", 200 * MIB, Some(&middle));
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 300 * MIB);
    place(&outer, &file, 10 * MIB);

    let found = list(&image, &[]);
    let inside: Vec<(u64, Option<u64>)> =
        places(&found).into_iter().map(|(number, _, _, inside)| (number, inside)).collect();
    assert_eq!(inside, [(1, None), (2, Some(1)), (3, Some(2))], "{found:?}");
    assert_eq!(found[1]["lost"]["inside"]["file"], "middle.img");
    assert_eq!(found[2]["lost"]["inside"]["file"], "innermost.img");
    let tree = Tree::mount(&image, &["--lost", "--view", "regular"]);
    assert!(tree.join("images/middle.img").is_file(), "only the disk's own volume is mounted");
    tree.unmount();
    let tree = Tree::mount(&image, &["--lost", "--volume", "3", "--view", "regular"]);
    assert_eq!(fs::read(tree.join("images/note.txt")).unwrap(), b"note");

    // The same when the image is the volume that a table lists.
    let listed = disk::gpt(&dir.path().join("listed.img"), &[&outer], 512);
    let found = list(&listed.image, &[]);
    let inside: Vec<Option<u64>> = places(&found).into_iter().map(|(.., inside)| inside).collect();
    assert_eq!(inside, [None, Some(1), Some(2)], "{found:?}");
    assert!(found[0]["lost"].is_null());
}

#[test]
fn a_volume_of_which_only_the_backup_boot_sector_is_left_is_found_and_opened() {
    let dir = guard::scratch();
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 200 * MIB);
    let made = volume(dir.path(), 923, 512, 128 * MIB);
    place(&made.image, &file, 5 * MIB);
    file.write_all_at(&[0; 512], 5 * MIB).unwrap();
    let found = list(&image, &[]);
    assert_eq!(places(&found), [ntfs(1, 5 * MIB)]);
    assert_eq!(found_by(&found[0]), "backup boot sector, $MFT, $MFTMirr");
    assert_holds(&image, 1, &[], &made.manifest);
    // And without any boot sector, by its records.
    file.write_all_at(&[0; 512], 133 * MIB - 512).unwrap();
    let found = list(&image, &[]);
    assert_eq!(places(&found), [ntfs(1, 5 * MIB)]);
    assert_eq!(found_by(&found[0]), "$MFT, $MFTMirr");
    assert_holds(&image, 1, &[], &made.manifest);
}

#[test]
fn a_destroyed_gpt_or_mbr_leaves_its_volumes_to_be_found() {
    let dir = guard::scratch();
    let made: Vec<Made> = (930..932).map(|seed| volume(dir.path(), seed, 512, 128 * MIB)).collect();
    let volumes: Vec<&Path> = made.iter().map(|made| made.image.as_path()).collect();
    let disks = [
        disk::gpt(&dir.path().join("gpt.img"), &volumes, 512),
        disk::mbr(&dir.path().join("mbr.img"), &volumes),
    ];
    for disk in disks {
        let expected: Vec<_> =
            (1..).zip(&disk.partitions).map(|(number, (start, _))| ntfs(number, start * 512)).collect();
        assert_eq!(places(&list(&disk.image, &[])), expected, "listed volumes are not found again");
        let file = File::options().write(true).open(&disk.image).unwrap();
        let size = file.metadata().unwrap().len();
        file.write_all_at(&[0; 34 * 512], 0).unwrap();
        file.write_all_at(&[0; 33 * 512], size - 33 * 512).unwrap();
        let found = list(&disk.image, &[]);
        assert_eq!(places(&found), expected);
        assert!(found.iter().all(|line| line["lost"]["certainty"] == "certain"), "{found:?}");
        for (number, made) in (1..).zip(&made) {
            assert_holds(&disk.image, number, &[], &made.manifest);
        }
    }
}

#[test]
fn lost_volumes_are_numbered_behind_the_listed_ones() {
    let dir = guard::scratch();
    let made: Vec<Made> = (933..935).map(|seed| volume(dir.path(), seed, 512, 128 * MIB)).collect();
    let disk = disk::gpt(&dir.path().join("disk.img"), &[&made[0].image], 512);
    let file = File::options().write(true).open(&disk.image).unwrap();
    // Behind the only partition lies one that was deleted, as far as this table knows.
    place(&made[1].image, &file, 200 * MIB);
    let start = disk.partitions[0].0 * 512;
    assert_eq!(places(&list(&disk.image, &[])), [ntfs(1, start), ntfs(2, 200 * MIB)]);
    assert_holds(&disk.image, 2, &[], &made[1].manifest);
    assert_holds(&disk.image, 1, &[], &made[0].manifest);
    let missing =
        undelfs(["scan".as_ref(), disk.image.as_os_str(), "--lost".as_ref(), "--volume=3".as_ref()]);
    assert_refused(&missing, 2, &["no volume 3"]);
}

#[test]
fn a_lost_volume_of_4096_byte_sectors_is_found_in_an_image_and_on_a_device() {
    let dir = guard::scratch();
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 200 * MIB);
    let made = volume(dir.path(), 936, 4096, 128 * MIB);
    place(&made.image, &file, 5 * MIB);
    drop(file);
    assert_eq!(places(&list(&image, &[])), [ntfs(1, 5 * MIB)]);
    assert_holds(&image, 1, &[], &made.manifest);
    let device = Loop::attach(&image, 4096);
    let found = list(device.device(), &[]);
    assert_eq!(places(&found), [ntfs(1, 5 * MIB)]);
    assert_eq!(found[0]["sector_size"], 4096);
    assert_holds(device.device(), 1, &[], &made.manifest);
}

#[test]
fn a_lost_fat_volume_is_listed_by_its_boot_sectors_and_fats() {
    let dir = guard::scratch();
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 200 * MIB);
    for (name, bits, size, at) in [("fat16", "16", 20 * MIB, 3 * MIB), ("fat32", "32", 100 * MIB, 60 * MIB)] {
        let volume = dir.path().join(name);
        empty_disk(&volume, size);
        tools::run("mkfs.vfat", ["-F", bits, "-s", "1", volume.to_str().unwrap()]);
        place(&volume, &file, at);
    }
    let found = list(&image, &[]);
    let expected = [(1, 3 * MIB, "FAT16".to_owned(), None), (2, 60 * MIB, "FAT32".to_owned(), None)];
    assert_eq!(places(&found), expected);
    assert_eq!(found_by(&found[0]), "boot sector, both FATs");
    assert_eq!(found_by(&found[1]), "both boot sectors, both FATs");
}

#[test]
fn a_lost_bitlocker_volume_is_found_by_its_metadata_and_opens_with_its_password() {
    let dir = guard::scratch();
    let plain = Recipe { files: 40, size: 160 << 20, fragments: false, ..Recipe::new(937) }.make(dir.path());
    let protectors = [Protector::Password("lost and found".into())];
    let made = Maker::new(Method::Xts128, &protectors).make(&plain.image, &dir.path().join("encrypted.img"));
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 300 * MIB);
    place(&made.image, &file, 100 * MIB);
    let expected = [(1, 100 * MIB, "BitLocker".to_owned(), None)];
    let key = ["--password", "lost and found"];
    for wiped in [false, true] {
        if wiped {
            file.write_all_at(&[0; 512], 100 * MIB).unwrap();
        }
        let found = list(&image, &[]);
        assert_eq!(places(&found), expected);
        assert_eq!(
            found_by(&found[0]),
            if wiped { "metadata blocks" } else { "boot sector, metadata blocks" }
        );
        assert_eq!(found[0]["lost"]["certainty"], "certain");
        assert_eq!(found[0]["encryption"]["kind"], "BitLocker");
        assert_holds(&image, 1, &key, &plain.manifest);
    }
}

/// A disk whose search takes some seconds, because a device does not tell its holes.
fn slow_disk(dir: &Path) -> Loop {
    let image = dir.join("disk.img");
    let file = empty_disk(&image, 12 << 30);
    let volume = dir.join("volume");
    ntfs3g::format(&volume, &Format { size: 64 * MIB, cluster: 4096, sector: 512, label: "V".into() });
    for gib in [0, 2, 5, 7, 11] {
        place(&volume, &file, (gib << 30) + MIB);
    }
    Loop::attach(&image, 512)
}

fn search(source: &Path, kept: &Path) -> Command {
    let mut command = program::command();
    command.arg("volumes").arg(source).args(["--lost", "--format", "jsonl", "--catalogue"]).arg(kept);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The first line of a catalogue.
fn head(kept: &Path) -> Value {
    serde_json::from_str(fs::read_to_string(kept).unwrap().lines().next().unwrap()).unwrap()
}

#[test]
fn a_search_that_is_interrupted_and_killed_goes_on_and_gives_the_same_as_one_that_is_not() {
    let dir = guard::scratch();
    let device = slow_disk(dir.path());
    let (whole, parts) = (dir.path().join("whole.jsonl"), dir.path().join("parts.jsonl"));
    let uninterrupted = tools::succeed(&mut search(device.device(), &whole));

    let mut interrupted = 0;
    let mut reached = 0;
    for round in 0.. {
        assert!(round < 200, "the search does not get on");
        let child = search(device.device(), &parts).spawn().unwrap();
        thread::sleep(Duration::from_millis(700));
        // Every fourth time without a warning.
        let how = if round % 4 == 1 { Signal::KILL } else { Signal::INT };
        signal(&child, how);
        let output = child.wait_with_output().unwrap();
        let position = head(&parts)["position"].as_u64().unwrap();
        assert!(position >= reached, "the search went back from {reached} to {position}");
        reached = position;
        match output.status.code() {
            Some(0) => break,
            Some(1) => {
                let said = tools::said(&output);
                assert!(said.contains("interrupted") && said.contains("parts.jsonl"), "{said}");
                interrupted += 1;
            }
            code => assert!(code.is_none(), "{}", tools::said(&output)),
        }
    }
    assert!(interrupted > 0, "the search was too fast to be interrupted");
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&parts).unwrap());
    let resumed = tools::succeed(&mut search(device.device(), &parts));
    assert_eq!(uninterrupted.stdout, resumed.stdout);
    assert_eq!(resumed.stdout.iter().filter(|byte| **byte == b'\n').count(), 5);
}

#[test]
fn a_catalogue_of_another_source_or_another_file_is_refused_and_left_as_it_is() {
    let dir = guard::scratch();
    let image = dir.path().join("disk.img");
    let file = empty_disk(&image, 64 * MIB);
    let volume = dir.path().join("volume");
    ntfs3g::format(&volume, &Format { size: 20 * MIB, cluster: 4096, sector: 512, label: "V".into() });
    place(&volume, &file, MIB);
    let kept = dir.path().join("kept.jsonl");
    list(&image, &["--catalogue", kept.to_str().unwrap()]);
    let refuse = |source: &Path, catalogue: &Path, words: &[&str]| {
        let before = fs::read(catalogue).unwrap();
        let output = search(source, catalogue).output().unwrap();
        assert_refused(&output, 2, words);
        assert_eq!(before, fs::read(catalogue).unwrap());
    };
    refuse(&volume, &kept, &["another source"]);
    let note = dir.path().join("note.txt");
    fs::write(&note, "a note\n").unwrap();
    refuse(&image, &note, &["note.txt", "no catalogue"]);
    refuse(&image, &image, &["no catalogue"]);
    let missing: PathBuf = dir.path().join("no folder/kept.jsonl");
    let output = search(&image, &missing).output().unwrap();
    assert_refused(&output, 1, &["cannot write", "no folder"]);
    let unasked = undelfs(["volumes".as_ref(), image.as_os_str(), "--catalogue=x".as_ref()]);
    assert_eq!(unasked.status.code(), Some(2));
}
