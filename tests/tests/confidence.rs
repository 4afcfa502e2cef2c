//! Confidence looks at content: what begins as another type, and what the drive has discarded, is not trusted; what
//! proves nothing costs nothing.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
};

use fastrand::Rng;
use serde_json::Value;
use undelfs_tests::{
    bitlocker::{Maker, Method, State},
    check,
    encrypted::{PASSWORD, protectors},
    guard, picture,
    program::{Tree, undelfs},
    recovery::shown::{percent, without_record},
    tools,
    typed::{self, TYPES, Typed},
    walk, wof,
};

const CONFIDENCE: &str = "user.undelfs.confidence";
const REASON: &str = "user.undelfs.reason";

/// Confidence and reason of a file in a tree.
fn said(tree: &Tree, path: &str) -> (String, String) {
    let path = tree.join(path);
    (walk::xattr_text(&path, CONFIDENCE), walk::xattr_text(&path, REASON))
}

fn assert_said(tree: &Tree, path: &str, confidence: &str, words: &[&str]) {
    let (found, reason) = said(tree, path);
    assert_eq!(found, confidence, "{path}: {reason}");
    assert!(words.iter().all(|word| reason.contains(word)), "{path}: {reason}");
}

/// The lines of `undelfs scan --format jsonl`, by path.
fn scan(image: &Path, args: &[&str]) -> HashMap<String, Value> {
    let output = undelfs([&["scan", "--format", "jsonl", image.to_str().unwrap()], args].concat());
    assert!(output.status.success(), "{}", tools::said(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["path"].as_str().unwrap().to_owned(), line)).collect()
}

#[test]
fn a_content_that_begins_as_its_name_says_is_likely_and_one_that_begins_as_another_type_is_not() {
    let dir = guard::scratch();
    let mut volume = Typed::new(dir.path(), 64 << 20, 4096);
    let content = |extension, seed| typed::of(extension).content(seed, 20_000);
    volume.write_and_delete(&[
        ("right.JPG", content("jpg", 1)),
        ("really a png.jpg", content("png", 2)),
        ("really a program.pdf", content("exe", 3)),
        ("really a zip.jpg", content("zip", 4)),
        ("shares a container.docx", content("zip", 5)),
        ("old word.doc", content("docx", 6)),
        ("noise.jpg", content("bin", 7)),
        ("a page.jpg", [b"<!DOCTYPE html><html>".to_vec(), content("txt", 8)].concat()),
        ("no promise.bin", content("png", 9)),
        ("no extension", content("pdf", 10)),
        ("text.txt", content("txt", 11)),
        ("small.jpg", typed::of("png").content(12, 200)),
    ]);
    let tree = Tree::mount(&volume.image, &[]);
    assert_said(&tree, "right.JPG", "likely", &["begins as JPEG does"]);
    assert_said(&tree, "really a png.jpg", "partial", &["PNG", "JPEG"]);
    assert_said(&tree, "really a program.pdf", "partial", &["Windows program", "PDF"]);
    assert_said(&tree, "really a zip.jpg", "partial", &["ZIP", "JPEG"]);
    assert_said(&tree, "shares a container.docx", "likely", &["begins as ZIP does"]);
    assert_said(&tree, "old word.doc", "likely", &["begins as ZIP does"]);
    assert_said(&tree, "noise.jpg", "likely", &["does not begin as JPEG does"]);
    assert_said(&tree, "a page.jpg", "likely", &["HTML", "JPEG"]);
    assert_said(&tree, "no promise.bin", "likely", &["begins as PNG does"]);
    assert_said(&tree, "no extension", "likely", &["begins as PDF does"]);
    assert_said(&tree, "text.txt", "likely", &["no known type"]);
    // What stands in the record is certain, whatever it is.
    assert_said(&tree, "small.jpg", "certain", &["in the FILE record"]);
}

#[test]
fn a_whole_content_under_another_types_name_is_trusted_and_one_whose_end_is_anothers_is_not() {
    let dir = guard::scratch();
    let mut volume = Typed::new(dir.path(), 64 << 20, 4096);
    let pixels: Vec<u8> = typed::of("bin").content(1, 120 * 100 * 3);
    let (png, jpeg) = (picture::png(&pixels, 120, 100), picture::jpeg(&pixels, 120, 100));
    assert!(png.len() > 8192 && jpeg.len() > 8192);
    let (member, archive) = (dir.path().join("pixels.bin"), dir.path().join("pixels.zip"));
    fs::write(&member, &pixels).unwrap();
    tools::succeed(tools::tool("python3").args(["-m", "zipfile", "-c"]).args([&archive, &member]));
    let zip = fs::read(&archive).unwrap();
    // The begin of one file, the end of another.
    let head = 4096;
    let mixed = [&png[..head], &jpeg[jpeg.len() - head..]].concat();
    volume.write_and_delete(&[
        ("png.jpg", png.clone()),
        ("jpeg.png", jpeg),
        ("archive.pdf", zip.clone()),
        ("mixed.jpg", mixed),
        ("cut.jpg", png[..png.len() - 1].to_vec()),
        ("cut.pdf", zip[..zip.len() - 1].to_vec()),
    ]);
    let tree = Tree::mount(&volume.image, &[]);
    assert_said(&tree, "png.jpg", "likely", &["PNG from its first byte to its last", "JPEG"]);
    assert_said(&tree, "jpeg.png", "likely", &["JPEG from its first byte to its last", "PNG"]);
    assert_said(&tree, "archive.pdf", "likely", &["ZIP from its first byte to its last", "PDF"]);
    assert_said(&tree, "mixed.jpg", "partial", &["begins as PNG does", "JPEG"]);
    assert_said(&tree, "cut.jpg", "partial", &["begins as PNG does", "JPEG"]);
    assert_said(&tree, "cut.pdf", "partial", &["begins as ZIP does", "PDF"]);
    let listed = scan(&volume.image, &["--check"]);
    assert_eq!(listed["png.jpg"]["content"], "PNG");
}

#[test]
fn what_the_drive_has_discarded_is_not_trusted_where_the_type_does_not_have_it() {
    for (cluster, len) in [(4096, 60_000), (512, 5_000), (65_536, 400_000)] {
        let dir = guard::scratch();
        let mut volume = Typed::new(dir.path(), 256 << 20, cluster);
        let large = 3 << 20;
        let files: Vec<(&str, Vec<u8>)> = [
            ("whole.jpg", len),
            ("erased.pdf", len),
            ("begin.doc", len),
            ("middle.mp4", large),
            ("middle.sqlite", large),
            ("untouched.zip", large),
            ("whole.bin", len),
            ("whole.txt", len),
        ]
        .into_iter()
        .zip(40..)
        .map(|((name, len), seed)| (name, typed::of(name.split_once('.').unwrap().1).content(seed, len)))
        .collect();
        volume.write_and_delete(&files);
        for name in ["whole.jpg", "whole.bin", "whole.txt"] {
            volume.discard(name, 0, |_| true);
        }
        volume.discard("erased.pdf", 0xFF, |_| true);
        volume.discard("begin.doc", 0, |n| n == 0);
        let clusters = large as u64 / u64::from(cluster);
        for name in ["middle.mp4", "middle.sqlite"] {
            volume.discard(name, 0, |n| n > clusters / 4 && n < clusters * 3 / 4);
        }
        let tree = Tree::mount(&volume.image, &[]);
        assert_said(&tree, "whole.jpg", "lost", &["zeros", "JPEG"]);
        assert_said(&tree, "erased.pdf", "lost", &["0xFF", "PDF"]);
        assert_said(&tree, "begin.doc", "partial", &["zeros"]);
        assert_said(&tree, "middle.mp4", "partial", &["zeros"]);
        // A database has such pages.
        assert_said(&tree, "middle.sqlite", "likely", &["SQLite"]);
        assert_said(&tree, "untouched.zip", "likely", &["ZIP"]);
        assert_said(&tree, "whole.bin", "likely", &["is zeros"]);
        assert_said(&tree, "whole.txt", "likely", &["is zeros"]);
    }
}

#[test]
fn holes_and_what_was_never_written_are_no_evidence() {
    let dir = guard::scratch();
    let mut volume = Typed::new(dir.path(), 64 << 20, 4096);
    let jpg = typed::of("jpg").content(1, 300_000);
    volume.session(|volume, root| {
        // The first half is a hole.
        let path = root.join("hole.jpg");
        let file = fs::File::create(&path).unwrap();
        file.set_len(300_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &jpg[150_000..], 150_000).unwrap();
        drop(file);
        fs::File::create(root.join("only a hole.png")).unwrap().set_len(200_000).unwrap();
        volume.write(
            root,
            "zeros at the end.pdf",
            [typed::of("pdf").content(2, 8192), vec![0; 40_000]].concat(),
        );
    });
    volume.session(|_, root| {
        for name in ["hole.jpg", "only a hole.png", "zeros at the end.pdf"] {
            fs::remove_file(root.join(name)).unwrap();
        }
    });
    let tree = Tree::mount(&volume.image, &[]);
    for name in ["hole.jpg", "only a hole.png", "zeros at the end.pdf"] {
        let (confidence, reason) = said(&tree, name);
        assert!(matches!(&*confidence, "likely" | "certain"), "{name} is {confidence}: {reason}");
        assert!(!reason.contains("discarded"), "{name}: {reason}");
    }
}

#[test]
fn compressed_content_is_looked_at_decoded_and_its_discarded_clusters_as_they_are_stored() {
    let dir = guard::scratch();
    let mut volume = Typed::new(dir.path(), 64 << 20, 4096);
    let text = |extension: &str, seed| {
        let begin = typed::of(extension).begin;
        [begin.to_vec(), typed::of("txt").content(seed, 100_000), vec![0; 100_000]].concat()
    };
    let files = [
        ("C/right.doc", text("doc", 1)),
        ("C/wrong.png", text("pdf", 2)),
        ("C/gone.pdf", text("pdf", 3)),
        ("C/zeros.pdf", [vec![0; 65_536], text("pdf", 4)].concat()),
    ];
    volume.session(|_, root| Typed::compressed_folder(root, "C"));
    volume.write_and_delete(&files);
    volume.discard("C/gone.pdf", 0, |_| true);
    let tree = Tree::mount(&volume.image, &[]);
    assert_said(&tree, "C/right.doc", "likely", &["compound file"]);
    assert_said(&tree, "C/wrong.png", "partial", &["PDF", "PNG"]);
    assert_said(&tree, "C/gone.pdf", "lost", &["zeros"]);
    // They were written so.
    assert_said(&tree, "C/zeros.pdf", "likely", &["does not begin as PDF does"]);
}

#[test]
fn content_that_the_overlay_filter_compressed_is_looked_at_decoded() {
    let dir = guard::scratch();
    let mut volume = Typed::new(dir.path(), 64 << 20, 4096);
    let names = ["right.dll", "wrong.dll", "gone.dll"];
    let content =
        |kind, seed| [typed::of(kind).begin.to_vec(), typed::of("txt").content(seed, 200_000)].concat();
    volume.session(|volume, root| {
        for (name, kind) in names.into_iter().zip(["exe", "png", "exe"]) {
            let (bytes, algorithm) = (content(kind, 1), wof::Algorithm::Xpress8k);
            let packed = wof::compress(&bytes, algorithm);
            let path = root.join(name);
            wof::write(&path, bytes.len() as u64, Some(&packed), &wof::reparse_point(algorithm.number()));
        }
        // ntfs-3g says nothing of such a file but in the list of its folder.
        for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
            volume.records.insert(entry.file_name().into(), entry.ino());
        }
    });
    volume.session(|_, root| names.iter().for_each(|name| fs::remove_file(root.join(name)).unwrap()));
    volume.discard_on(&volume.image, "gone.dll", wof::STREAM, 0, |_| true);
    let tree = Tree::mount(&volume.image, &[]);
    assert_said(&tree, "right.dll", "likely", &["begins as Windows program does"]);
    assert_said(&tree, "wrong.dll", "partial", &["PNG"]);
    assert_said(&tree, "gone.dll", "lost", &["zeros"]);
}

#[test]
fn encrypted_content_is_looked_at_decrypted_and_what_was_discarded_as_it_stands() {
    for state in [State::Encrypted, State::UsedSpaceOnly] {
        let dir = guard::scratch();
        let mut volume = Typed::new(dir.path(), 160 << 20, 4096);
        volume.write_and_delete(&[
            ("right.zip", typed::of("zip").content(1, 50_000)),
            ("wrong.zip", typed::of("pdf").content(2, 50_000)),
            ("gone.zip", typed::of("zip").content(3, 50_000)),
            ("noise.zip", typed::of("bin").content(4, 50_000)),
        ]);
        let maker = Maker { state, ..Maker::new(Method::Xts128, &protectors()) };
        let encrypted = dir.path().join("encrypted.img");
        maker.make(&volume.image, &encrypted);
        volume.discard_on(&encrypted, "gone.zip", "", 0, |_| true);
        let tree = Tree::mount(&encrypted, &["--password", PASSWORD]);
        assert_said(&tree, "right.zip", "likely", &["begins as ZIP does"]);
        assert_said(&tree, "wrong.zip", "partial", &["PDF", "ZIP"]);
        assert_said(&tree, "gone.zip", "lost", &["zeros"]);
        assert_said(&tree, "noise.zip", "likely", &["does not begin as ZIP does"]);
    }
}

#[test]
fn attributes_manifest_and_scan_say_the_same_and_a_plain_scan_looks_at_no_content() {
    let dir = guard::scratch();
    let mut volume = Typed::new(dir.path(), 64 << 20, 4096);
    volume.write_and_delete(&[
        ("a/right.jpg", typed::of("jpg").content(1, 50_000)),
        ("a/wrong.jpg", typed::of("png").content(2, 50_000)),
        ("b/gone.jpg", typed::of("jpg").content(3, 50_000)),
        ("b/text.txt", typed::of("txt").content(4, 50_000)),
    ]);
    volume.discard("b/gone.jpg", 0, |_| true);
    let expected = [
        ("a/right.jpg", "likely", Some("JPEG")),
        ("a/wrong.jpg", "partial", Some("PNG")),
        ("b/gone.jpg", "lost", Some("zeros")),
        ("b/text.txt", "likely", Some("unknown")),
    ];
    let (plain, checked) = (scan(&volume.image, &[]), scan(&volume.image, &["--check"]));
    let tree = Tree::mount(&volume.image, &[]);
    let into = dir.path().join("restored");
    let output = undelfs(["restore", volume.image.to_str().unwrap(), "/", into.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4), "{}", tools::said(&output));
    let manifest = fs::read_to_string(into.join("undelfs-manifest.jsonl")).unwrap();
    let manifest: HashMap<String, Value> = manifest
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["path"].as_str().unwrap().to_owned(), line))
        .collect();
    for (path, confidence, content) in expected {
        assert_eq!(plain[path]["confidence"], "likely", "{path}");
        assert!(plain[path].get("content").is_none(), "{}", plain[path]);
        let (found, reason) = said(&tree, path);
        assert_eq!(found, confidence, "{path}");
        let line = &checked[path];
        assert_eq!(line["confidence"], confidence, "{line}");
        assert_eq!(line["reason"], reason.as_str(), "{line}");
        assert_eq!(line["content"].as_str(), content, "{line}");
        assert_eq!(manifest[path]["confidence"], confidence, "{}", manifest[path]);
        assert_eq!(manifest[path]["reason"], reason.as_str(), "{}", manifest[path]);
        let restored = if confidence == "likely" { "full" } else { "partial" };
        assert_eq!(manifest[path]["restored"], restored, "{}", manifest[path]);
        let listed = walk::xattr_names(&tree.join(path)).contains(&REASON.to_owned());
        assert_eq!(listed, confidence != "likely", "{path}");
    }
}

#[test]
fn the_catalogue_of_a_mount_keeps_its_length_when_content_is_looked_at() {
    let dir = guard::scratch();
    let mut volume = Typed::new(dir.path(), 64 << 20, 4096);
    volume.write_and_delete(&[("wrong.jpg", typed::of("png").content(2, 50_000))]);
    let tree = Tree::mount(&volume.image, &[]);
    let catalogue = tree.join(".undelfs/catalogue.jsonl");
    let before = fs::metadata(&catalogue).unwrap().len();
    assert_said(&tree, "wrong.jpg", "partial", &[]);
    let text = fs::read_to_string(&catalogue).unwrap();
    assert_eq!(text.len() as u64, before);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["confidence"], "likely");
}

/// Files by confidence, and how many of them are byte-exact.
#[derive(Debug, Default, Clone, Copy)]
struct Classes([[usize; 2]; 4]);

const WORDS: [&str; 4] = ["certain", "likely", "partial", "lost"];

impl Classes {
    fn add(&mut self, word: &str, exact: bool) {
        let class = &mut self.0[WORDS.iter().position(|each| *each == word).expect("a confidence")];
        class[0] += 1;
        class[1] += usize::from(exact);
    }

    fn sum(&mut self, other: &Self) {
        for (class, more) in self.0.iter_mut().zip(other.0) {
            class[0] += more[0];
            class[1] += more[1];
        }
    }
}

impl std::fmt::Display for Classes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (word, [all, exact]) in WORDS.iter().zip(self.0) {
            write!(f, "{word} {all} (exact {exact}, {}) ", percent(exact, all))?;
        }
        Ok(())
    }
}

/// A volume of 600 files of all types, half of them deleted; then, in rounds, `new` files in all, a third of which are
/// deleted again, some of them made anew under their old names, and small ones that take the records of what is
/// gone.
fn worn(dir: &Path, seed: u64, new: usize) -> Typed {
    const ROUNDS: usize = 4;
    let mut rng = Rng::with_seed(seed);
    let mut volume = Typed::new(dir, 192 << 20, 4096);
    let file = |rng: &mut Rng, folder: &str, number: usize, most: usize| {
        let kind = TYPES[rng.usize(..TYPES.len())];
        let len = match rng.u8(..5) {
            0 => rng.usize(1..600),
            _ => rng.usize(1000..most),
        };
        let path = format!("{folder} {}/file {number:04}.{}", number % 7, kind.extension);
        (PathBuf::from(path), kind.content(rng.u64(..), len))
    };
    volume.session(|volume, root| {
        for number in 0..600 {
            let (path, content) = file(&mut rng, "Old", number, 300_000);
            volume.write(root, path, content);
        }
    });
    let remove = |rng: &mut Rng, volume: &Typed, root: &Path, share: u8| -> Vec<PathBuf> {
        let mut paths: Vec<&PathBuf> =
            volume.contents.keys().filter(|path| root.join(path).exists()).collect();
        paths.sort();
        let chosen: Vec<PathBuf> = paths.into_iter().filter(|_| rng.u8(..share) == 0).cloned().collect();
        chosen.iter().for_each(|path| fs::remove_file(root.join(path)).expect("a deletion"));
        chosen
    };
    volume.session(|volume, root| drop(remove(&mut rng, volume, root, 2)));
    for round in 0..ROUNDS {
        let most = (100 << 20) / new;
        volume.session(|volume, root| {
            for number in 0..new / ROUNDS {
                let (path, content) = file(&mut rng, &format!("New {round}"), number, most.max(2000));
                volume.write(root, path, content);
            }
        });
        let mut gone = Vec::new();
        volume.session(|volume, root| gone = remove(&mut rng, volume, root, 4));
        volume.session(|volume, root| {
            for path in gone.iter().filter(|_| rng.u8(..4) == 0).collect::<Vec<_>>() {
                let kind = typed::of(path.extension().unwrap().to_str().unwrap());
                let content = kind.content(rng.u64(..), rng.usize(1..50_000));
                volume.write(root, path.clone(), content);
            }
            for number in 0..new / 10 / ROUNDS {
                let content = typed::of("txt").content(rng.u64(..), rng.usize(1..500));
                volume.write(root, format!("Small {round}/{number:04}.txt"), content);
            }
        });
    }
    volume
}

/// What is said of the deleted files of a worn volume by the scan alone, and with a look at content. A file that is
/// byte-exact loses nothing by the look.
fn measure(volume: &Typed) -> [Classes; 2] {
    let tree = Tree::mount(&volume.image, &[]);
    let lines = fs::read_to_string(tree.join(".undelfs/catalogue.jsonl")).unwrap();
    let mut classes = [Classes::default(); 2];
    let mut wronged = Vec::new();
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let path = line["path"].as_str().unwrap();
        let Some(known) = volume.contents.get(&without_record(Path::new(path))) else { continue };
        let full = tree.join(path);
        let exact = fs::read(&full).is_ok_and(|bytes| known.contains(&bytes));
        let (scanned, looked) = (line["confidence"].as_str().unwrap(), walk::xattr_text(&full, CONFIDENCE));
        classes[0].add(scanned, exact);
        classes[1].add(&looked, exact);
        if exact && scanned != looked {
            wronged.push(format!("{path}: {}", walk::xattr_text(&full, REASON)));
        }
    }
    check::assert_none("byte-exact files that lost by a look at their content", &wronged);
    classes
}

fn check_worn(first_seed: u64, seeds: u64, new: usize) {
    let mut all = [Classes::default(); 2];
    for seed in first_seed..first_seed + seeds {
        let dir = guard::scratch();
        let classes = measure(&worn(dir.path(), seed, new));
        println!("{new} files later, seed {seed}, scan: {}", classes[0]);
        println!("{new} files later, seed {seed}, look: {}", classes[1]);
        all[0].sum(&classes[0]);
        all[1].sum(&classes[1]);
    }
    println!("{new} files later, all: scan {}; look {}", all[0], all[1]);
    let [certain, likely, ..] = all[1].0;
    assert!(certain[0] > 50, "{}: nothing is measured", all[1]);
    assert!(certain[1] * 1000 >= certain[0] * 999, "{}", all[1]);
    let exact: usize = all[1].0.iter().map(|class| class[1]).sum();
    assert!((certain[1] + likely[1]) * 10 >= exact * 9, "{}", all[1]);
    // The look finds some of what the structures do not show.
    let wrong = |classes: &Classes| classes.0[1][0] - classes.0[1][1];
    assert!(wrong(&all[1]) <= wrong(&all[0]), "{} {}", all[0], all[1]);
}

#[test]
fn confidence_is_deserved_after_100_typed_files_were_written_deleted_and_made_anew() {
    check_worn(7100, 4, 100);
}

#[test]
fn confidence_is_deserved_after_1000_typed_files_were_written_deleted_and_made_anew() {
    check_worn(7200, 4, 1000);
}
