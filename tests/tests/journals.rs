//! What the change journal and the log of a volume give back: names, folders, times of deletion, and files of which nothing
//! else is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde_json::Value;
use undelfs_tests::{
    guard,
    journal::{
        self, Log, Reference, Usn,
        log::Name,
        record, reference, shown_time, time,
        usn::{Change, reason},
    },
    ntfs3g::{self, Format, Volume},
    program::{Tree, undelfs},
    recovery::layout::Layout,
    tools, walk, windows_made,
};

/// The restorable files by path, as `undelfs scan` lists them.
fn scan(image: &Path, args: &[&str]) -> BTreeMap<String, Value> {
    let all = [&["scan", "--format", "jsonl"], args, &[image.to_str().unwrap()]].concat();
    let output = undelfs(&all);
    assert!(output.status.success(), "{}", tools::said(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["path"].as_str().unwrap().to_owned(), line)).collect()
}

fn paths(found: &BTreeMap<String, Value>) -> Vec<&str> {
    found.keys().map(String::as_str).collect()
}

/// A volume on which folders and files were deleted and some of their records used again.
struct Reused {
    image: PathBuf,
    /// What was deleted, by its path.
    was: BTreeMap<&'static str, Reference>,
}

/// In the order in which they are made, so that records of the first ones are the first to be used again.
const FOLDERS: [&str; 2] = ["Gamma", "Gamma/Delta"];
const GHOST: &str = "ghost.dat";
const KEPT: [&str; 3] = ["Gamma/Delta/one.txt", "Gamma/Delta/two.txt", "Gamma/three.txt"];

impl Reused {
    fn make(dir: &Path, cluster: u32) -> Self {
        let image = dir.join("reused.img");
        let format = Format { size: 64 << 20, cluster, sector: 512, label: "Reused".to_owned() };
        ntfs3g::format(&image, &format);
        let volume = Volume::write(&image);
        for folder in FOLDERS {
            fs::create_dir(volume.root().join(folder)).unwrap();
        }
        fs::write(volume.root().join(GHOST), [1; 300]).unwrap();
        for file in KEPT {
            fs::write(volume.root().join(file), content(file)).unwrap();
        }
        let records: Vec<(&str, u64)> = FOLDERS
            .into_iter()
            .chain([GHOST])
            .chain(KEPT)
            .map(|path| (path, record(&volume.root().join(path))))
            .collect();
        volume.unmount();
        let was = records.iter().map(|(path, record)| (*path, reference(&image, *record))).collect();
        let volume = Volume::write(&image);
        for file in KEPT.iter().chain(&[GHOST]) {
            fs::remove_file(volume.root().join(file)).unwrap();
        }
        for folder in FOLDERS.iter().rev() {
            fs::remove_dir(volume.root().join(folder)).unwrap();
        }
        // The folders and the ghost lose their records.
        for number in 0..3 {
            fs::write(volume.root().join(format!("new {number}")), b"new").unwrap();
        }
        volume.unmount();
        let layout = Layout::read(&image);
        let reused =
            |path: &&str| layout.records[&records.iter().find(|(known, _)| known == path).unwrap().1].in_use;
        assert!(FOLDERS.iter().chain(&[GHOST]).all(reused) && !KEPT.iter().any(reused));
        Self { image, was }
    }

    fn parent(&self, path: &str) -> Reference {
        match path.rsplit_once('/') {
            Some((folder, _)) => self.was[folder],
            None => Reference::ROOT,
        }
    }

    /// All that happened, in a change journal: one event each ten seconds.
    fn journal(&self, version: u16) -> Usn {
        let mut journal = Usn::new(32 << 20, version);
        for (number, (path, change)) in (0..).zip(self.changes()) {
            let made = Change { time: time(number * 10), ..change };
            if path == GHOST {
                journal.create(Change { name: "draft.dat", ..made });
                journal.rename("draft.dat", Change { time: time(number * 10 + 5), ..change });
            } else {
                journal.create(made);
            }
        }
        for (number, (_, change)) in (0..).zip(self.changes().into_iter().rev()) {
            journal.delete(Change { time: time(1000 + number * 10), ..change });
        }
        journal
    }

    /// The same, in a log, and with sizes.
    fn log(&self, version: u16, cluster: u64) -> Log {
        let mut log = Log::new(journal::log_size(&self.image), version, 1, cluster);
        let name = |change: &Change<'static>, seconds: u64| Name {
            file: change.file,
            parent: change.parent,
            name: change.name,
            time: time(seconds),
            size: 300,
            is_folder: change.is_folder,
        };
        for (number, (path, change)) in (0..).zip(self.changes()) {
            let name = name(&change, number * 10);
            if path == GHOST {
                log.create(Name { name: "draft.dat", ..name });
                log.rename("draft.dat", name);
            } else {
                log.create(name);
            }
        }
        for (number, (_, change)) in (0..).zip(self.changes().into_iter().rev()) {
            log.delete(name(&change, 50));
            // Somebody else's birth, by which the time of the deletion is known.
            let file = Reference { record: 2000 + number, sequence: 1 };
            let other = Change { file, name: "x", is_folder: false, parent: Reference::ROOT, ..change };
            log.create(name(&other, 1005 + number * 10));
        }
        log
    }

    fn changes(&self) -> Vec<(&'static str, Change<'static>)> {
        let paths = FOLDERS.into_iter().chain([GHOST]).chain(KEPT);
        paths
            .map(|path| {
                let change = Change {
                    file: self.was[path],
                    parent: self.parent(path),
                    name: path.rsplit('/').next().unwrap(),
                    reasons: 0,
                    time: 0,
                    is_folder: FOLDERS.contains(&path),
                };
                (path, change)
            })
            .collect()
    }
}

/// What a file holds: so little that it stands in its record, which a journal that is written later does not touch.
fn content(path: &str) -> Vec<u8> {
    path.bytes().cycle().take(300).collect()
}

/// When `path` was deleted, in seconds.
fn deleted_at(path: &str) -> u64 {
    let order: Vec<&str> = FOLDERS.into_iter().chain([GHOST]).chain(KEPT).rev().collect();
    1000 + 10 * order.iter().position(|known| *known == path).unwrap() as u64
}

#[test]
fn folders_that_only_the_change_journal_knows_lead_to_their_files() {
    for version in [2, 3] {
        let dir = guard::scratch();
        let reused = Reused::make(dir.path(), 4096);
        let orphans = scan(&reused.image, &[]);
        assert!(paths(&orphans).iter().all(|path| path.starts_with("$Orphans/")), "{orphans:?}");
        journal::install_usn(&reused.image, &reused.journal(version));

        let found = scan(&reused.image, &[]);
        let mut expected: Vec<&str> = FOLDERS.into_iter().chain(KEPT).collect();
        expected.sort_unstable();
        assert_eq!(paths(&found), expected);
        for path in KEPT {
            assert_eq!(found[path]["provenance"], "$MFT");
            assert_eq!(found[path]["deleted_after"], shown_time(deleted_at(path)));
            assert_eq!(found[path]["deleted_before"], shown_time(deleted_at(path)));
        }
        for path in FOLDERS {
            assert_eq!(found[path]["provenance"], "$UsnJrnl");
            assert_eq!(found[path]["record"], reused.was[path].record);
        }
        let tree = Tree::mount(&reused.image, &[]);
        for path in KEPT {
            assert_eq!(fs::read(tree.join(path)).unwrap(), content(path));
            let at = shown_time(deleted_at(path));
            assert_eq!(
                walk::xattr_text(&tree.join(path), "user.undelfs.deleted_between"),
                format!("{at}/{at}")
            );
        }
    }
}

#[test]
fn a_file_that_only_a_journal_knows_is_listed_with_deep_and_has_no_content() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    journal::install_usn(&reused.image, &reused.journal(2));
    assert!(!scan(&reused.image, &[]).contains_key(GHOST));
    let found = scan(&reused.image, &["--deep"]);
    assert!(!found.contains_key("draft.dat"), "the last name counts");
    assert_eq!(found[GHOST]["confidence"], "lost");
    assert_eq!(
        found[GHOST]["reason"],
        "only a journal knows the name; no description of the content is left"
    );
    assert_eq!(found[GHOST]["deleted_after"], shown_time(deleted_at(GHOST)));

    let tree = Tree::mount(&reused.image, &["--deep"]);
    let path = tree.join(GHOST);
    assert_eq!(walk::xattr_text(&path, "user.undelfs.provenance"), "$UsnJrnl");
    assert_eq!(walk::xattr_text(&path, "user.undelfs.record"), reused.was[GHOST].shown());
    assert!(fs::read(&path).is_err(), "it must not read as another file, nor as an empty one");
    let inode = record(&path);
    tree.unmount();
    let all = Tree::mount(&reused.image, &["--deep", "--view", "all"]);
    assert_eq!(record(&all.join(GHOST)), inode);
}

#[test]
fn the_log_alone_gives_names_sizes_and_between_which_times_a_file_was_deleted() {
    for (version, cluster) in [(1, 4096), (2, 4096), (2, 512)] {
        let dir = guard::scratch();
        let reused = Reused::make(dir.path(), cluster);
        journal::install_log(&reused.image, &reused.log(version, cluster.into()));
        let found = scan(&reused.image, &[]);
        let mut expected: Vec<&str> = FOLDERS.into_iter().chain(KEPT).collect();
        expected.sort_unstable();
        assert_eq!(paths(&found), expected, "version {version}, clusters of {cluster} bytes");
        for path in KEPT.iter().filter(|path| deleted_at(path) > 1000) {
            let at = deleted_at(path);
            assert_eq!(found[*path]["deleted_after"], shown_time(at - 5), "{path}");
            assert_eq!(found[*path]["deleted_before"], shown_time(at + 5), "{path}");
        }
        let deep = scan(&reused.image, &["--deep"]);
        assert_eq!(deep[GHOST]["provenance"], "$LogFile");
        assert_eq!((&deep[GHOST]["size"], &deep[GHOST]["confidence"]), (&300.into(), &"lost".into()));
        assert!(!deep.contains_key("draft.dat"));
    }
}

#[test]
fn a_damaged_log_gives_what_its_sound_pages_hold() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    let mut log = Log::new(journal::log_size(&reused.image), 2, 3, 4096);
    let file = |number: u64| Reference { record: reused.was[GHOST].record, sequence: 100 + number as u16 };
    for number in 0..12 {
        let name = format!("{number:02} {}", "long ".repeat(40));
        let name = Name {
            file: file(number),
            parent: Reference::ROOT,
            name: &name,
            time: time(number),
            size: 1,
            is_folder: false,
        };
        log.create(name);
        log.delete(name);
        if number == 4 {
            log.tear();
        }
    }
    journal::install_log(&reused.image, &log);
    let found = scan(&reused.image, &["--deep"]);
    let names: BTreeSet<&str> =
        paths(&found).into_iter().filter(|path| path.contains("long")).map(|path| &path[..2]).collect();
    assert!((8..12).contains(&names.len()) && names.contains("05") && names.contains("11"), "{names:?}");
}

#[test]
fn a_file_that_was_made_and_deleted_again_and_again_is_listed_once_for_each_time() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    let mut journal = Usn::new(0, 2);
    const TIMES: u16 = 400;
    for number in 0..TIMES {
        let change = Change {
            file: Reference { record: reused.was[GHOST].record, sequence: 1000 + number },
            parent: Reference::ROOT,
            name: "temporary.tmp",
            reasons: 0,
            time: time(number.into()),
            is_folder: false,
        };
        journal.create(change);
        journal.rename("before.tmp", change);
        journal.delete(change);
    }
    journal::install_usn(&reused.image, &journal);
    let found = scan(&reused.image, &["--deep"]);
    let temporary = found.iter().filter(|(path, _)| path.starts_with("temporary"));
    let sequences: BTreeSet<u64> =
        temporary.clone().map(|(_, line)| line["sequence"].as_u64().unwrap()).collect();
    assert_eq!((temporary.count(), sequences.len()), (TIMES.into(), TIMES.into()));
}

#[test]
fn a_file_that_was_deleted_while_somebody_had_it_open_gets_its_own_name_back() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    // Windows moves such a file to `$Extend\$Deleted` and names it by its number. Here this one has such a name.
    let file = reused.was[KEPT[2]];
    let folder = reference(&reused.image, journal::HOST_RECORD);
    let place = Layout::read(&reused.image).records[&file.record].place[0].clone();
    let image = OpenOptions::new().read(true).write(true).open(&reused.image).unwrap();
    let mut bytes = vec![0; 1024];
    image.read_exact_at(&mut bytes, place.start).unwrap();
    let parent = reused.was[FOLDERS[0]].raw().to_le_bytes();
    let at = bytes.windows(8).position(|window| window == parent).unwrap();
    image.write_all_at(&folder.raw().to_le_bytes(), place.start + at as u64).unwrap();
    journal::name_host(&reused.image, "$Deleted");
    let name = Name {
        file,
        parent: Reference::ROOT,
        name: "its own.txt",
        time: time(1),
        size: 300,
        is_folder: false,
    };
    let mut log = Log::new(journal::log_size(&reused.image), 2, 1, 4096);
    log.create(name);
    log.delete(Name { parent: folder, name: "0001000000000045deadbeef", ..name });
    journal::install_log(&reused.image, &log);
    let found = scan(&reused.image, &[]);
    assert_eq!(found["its own.txt"]["provenance"], "$MFT, a name from $LogFile", "{:?}", paths(&found));
    assert!(
        !found.keys().any(|path| path.contains("Deleted") || path.contains("three")),
        "{:?}",
        paths(&found)
    );
}

#[test]
fn files_that_exist_are_no_ghosts_whatever_the_journal_tells_of_them() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    let volume = Volume::write(&reused.image);
    let records: Vec<u64> =
        (0..3).map(|number| record(&volume.root().join(format!("new {number}")))).collect();
    volume.unmount();
    let mut journal = Usn::new(4096, 2);
    for record in records {
        let file = reference(&reused.image, record);
        let change = Change {
            file,
            parent: Reference::ROOT,
            name: "as it was",
            reasons: 0,
            time: time(1),
            is_folder: false,
        };
        journal.create(change);
        journal.rename("as it was", Change { name: "as it is", ..change });
        // One that the volume was not yet told of when it stopped.
        let ahead = Reference { sequence: file.sequence + 5, ..file };
        journal.create(Change { file: ahead, name: "ahead", ..change });
    }
    journal::install_usn(&reused.image, &journal);
    let found = scan(&reused.image, &["--deep"]);
    assert!(
        !found.keys().any(|path| path.contains("as it") || path.contains("ahead")),
        "{:?}",
        paths(&found)
    );
}

#[test]
fn a_hard_link_that_the_change_journal_saw_go_before_its_file_comes_back() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    let mut journal = reused.journal(2);
    let path = KEPT[2];
    let link = |name: &'static str, reasons: u32, at: u64| Change {
        file: reused.was[path],
        parent: Reference::ROOT,
        name,
        reasons,
        time: time(at),
        is_folder: false,
    };
    for change in [
        link("second name.txt", reason::HARD_LINK_CHANGE, 200),
        link("second name.txt", reason::HARD_LINK_CHANGE | reason::CLOSE, 210),
        link("moved name.txt", reason::HARD_LINK_CHANGE, 300),
        link("moved name.txt", reason::RENAME_OLD_NAME, 310),
    ] {
        journal.write(&change);
    }
    journal::install_usn(&reused.image, &journal);
    assert!(!scan(&reused.image, &[]).contains_key("second name.txt"));
    let tree = Tree::mount(&reused.image, &["--deep"]);
    let second = tree.join("second name.txt");
    assert_eq!(fs::read(&second).unwrap(), content(path));
    assert_eq!(record(&second), record(&tree.join(path)));
    assert_eq!(walk::xattr_text(&second, "user.undelfs.provenance"), "$MFT, a name from $UsnJrnl");
    assert!(!tree.join("moved name.txt").exists());
}

#[test]
fn remains_of_a_change_journal_are_found_in_free_clusters_only() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    let mut journal = reused.journal(3);
    journal.bytes.resize(8192, 0);
    let mut other = Usn::new(0, 2);
    let file = Reference { record: reused.was[GHOST].record, sequence: 999 };
    let change =
        Change { file, parent: Reference::ROOT, name: "a copy", reasons: 0, time: time(1), is_folder: false };
    other.delete(change);
    other.bytes.resize(8192, 0);
    let volume = Volume::write(&reused.image);
    fs::write(volume.root().join("journal.bin"), &journal.bytes).unwrap();
    fs::write(volume.root().join("copy of a journal.bin"), &other.bytes).unwrap();
    fs::remove_file(volume.root().join("journal.bin")).unwrap();
    volume.unmount();
    let found = scan(&reused.image, &["--deep"]);
    assert_eq!(found[GHOST]["provenance"], "$UsnJrnl", "{:?}", paths(&found));
    assert!(FOLDERS.iter().all(|path| found.contains_key(*path)));
    assert!(!found.contains_key("a copy"), "that is the content of a file");
    assert!(!scan(&reused.image, &[]).contains_key(GHOST));
}

#[test]
fn without_a_journal_a_deletion_lies_between_the_last_changes_of_file_and_folder() {
    let dir = guard::scratch();
    let image = dir.path().join("plain.img");
    ntfs3g::format(&image, &Format { size: 64 << 20, cluster: 4096, sector: 512, label: "Plain".to_owned() });
    let volume = Volume::write(&image);
    fs::create_dir(volume.root().join("folder")).unwrap();
    for number in 0..20 {
        fs::write(volume.root().join(format!("folder/{number}")), [0; 5000]).unwrap();
    }
    let now = || humantime(SystemTime::now());
    let mut deleted = BTreeMap::new();
    for number in 0..20 {
        let before = now();
        fs::remove_file(volume.root().join(format!("folder/{number}"))).unwrap();
        deleted.insert(format!("folder/{number}"), (before, now()));
    }
    volume.unmount();
    let found = scan(&image, &[]);
    for (path, (before, after)) in deleted {
        let bound = |name: &str| found[&path][name].as_str().unwrap().to_owned();
        assert!(
            bound("deleted_after")[..19] <= *after,
            "{path}: {} is after {after}",
            bound("deleted_after")
        );
        assert!(bound("deleted_before") >= before, "{path}: {} is before {before}", bound("deleted_before"));
    }
}

/// A time as the program shows it, cut to whole seconds so that texts compare.
fn humantime(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let text = tools::run("date", ["--utc", "--date", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%S"]);
    text.trim().to_owned()
}

/// Record and sequence number, name and time in seconds of every deletion that The Sleuth Kit reads in the change journal.
fn deletions_by_sleuthkit(image: &Path) -> Vec<(String, String, f64)> {
    let text = tools::run("usnjls", [image]);
    let lines = text.lines().filter(|line| line.contains("FILE_DELETE"));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.splitn(5, '\t').collect();
            (fields[0].to_owned(), fields[4].to_owned(), fields[2].parse().unwrap())
        })
        .collect()
}

/// Every deletion in the change journal of a volume is that of a file which is listed, or of a record whose file exists.
fn check_deletions(image: &Path, fewest: usize) {
    let expected = deletions_by_sleuthkit(image);
    assert!(expected.len() >= fewest, "only {} deletions: nothing is measured", expected.len());
    let found = scan(image, &["--deep"]);
    for (file, name, seconds) in expected {
        let of_file = |line: &&Value| {
            format!("{}-{}", line["record"], line["sequence"]) == file
                && line["provenance"].as_str().is_some_and(|from| !from.contains("earlier"))
        };
        let line = found.values().find(of_file).unwrap_or_else(|| panic!("{file} {name} is not listed"));
        let path = line["path"].as_str().unwrap();
        let (stem, _) = name.rsplit_once('.').unwrap_or((&name, ""));
        assert!(path.rsplit('/').next().unwrap().starts_with(stem), "{path} is not {name}");
        let text = humantime(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs_f64(seconds));
        assert!(line["deleted_after"].as_str().unwrap().starts_with(&text), "{line} at {text}");
        assert_eq!(line["deleted_after"], line["deleted_before"]);
    }
}

#[test]
fn every_deletion_that_the_sleuth_kit_reads_in_a_change_journal_is_listed() {
    let dir = guard::scratch();
    let reused = Reused::make(dir.path(), 4096);
    journal::install_usn(&reused.image, &reused.journal(2));
    check_deletions(&reused.image, 6);
}

#[test]
fn a_change_journal_of_windows_gives_all_its_deletions() {
    check_deletions(&windows_made::set("ntfs").join("ntfs-cloud.bin"), 5);
}

#[test]
fn a_log_of_windows_gives_the_files_that_were_in_a_record_before() {
    let found = scan(&windows_made::set("ntfs").join("ntfs-cloud.bin"), &["--deep"]);
    // Windows used record 38 for one temporary file and folder after the other before it stayed with OneDrive.
    let expected =
        [(1, "MSI54d95.tmp"), (2, "MSI54da0.tmp"), (3, "fsHelper"), (4, "fsHelper"), (5, "fsHelper.tmp")];
    for (sequence, name) in expected {
        let line = found.values().find(|line| line["record"] == 38 && line["sequence"] == sequence);
        let line = line.unwrap_or_else(|| panic!("38-{sequence} is not listed"));
        assert!(line["path"].as_str().unwrap().starts_with(name), "{line}");
        assert_eq!(line["provenance"], "$LogFile");
        assert!(line["deleted_after"].as_str() <= line["deleted_before"].as_str());
    }
}
