//! A record of which a part is gone is shown for what it is: declared or an error, never an empty file.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use undelfs_tests::{
    guard,
    manifest::Kind,
    program::{Tree, undelfs},
    recipe::{Made, Recipe},
    walk,
};

const RECORD: u64 = 1024;
const DATA: u32 = 0x80;

/// A volume whose `$MFT` is in one piece.
fn made(dir: &Path, seed: u64) -> Made {
    Recipe { files: 60, fragments: false, ..Recipe::new(seed) }.make(dir)
}

/// Where FILE record `number` is in the image, as the boot sector says.
fn record_at(image: &File, number: u64) -> u64 {
    let mut boot = [0; 512];
    image.read_exact_at(&mut boot, 0).unwrap();
    let cluster = u64::from(u16::from_le_bytes([boot[11], boot[12]])) * u64::from(boot[13]);
    let mft = u64::from_le_bytes(boot[48..56].try_into().unwrap());
    mft * cluster + number * RECORD
}

/// Gives the unnamed `$DATA` attribute of a record another type, so that nothing describes the content any more.
fn hide_content(image: &Path, number: u64) {
    let image = OpenOptions::new().read(true).write(true).open(image).unwrap();
    let start = record_at(&image, number);
    let mut record = [0; RECORD as usize];
    image.read_exact_at(&mut record, start).unwrap();
    assert_eq!(&record[..4], b"FILE");
    let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
    let mut at = usize::from(u16::from_le_bytes([record[20], record[21]]));
    while word(at) != DATA {
        at += word(at + 4) as usize;
    }
    image.write_all_at(&0x70_u32.to_le_bytes(), start + at as u64).unwrap();
}

/// Record and path of a deleted file of this kind.
fn deleted(made: &Made, kind: Kind) -> (u64, PathBuf) {
    let file = made.manifest.known().find(|file| file.kind == kind).expect("such a file");
    let tree = Tree::mount(&made.image, &[]);
    let record = walk::xattr_text(&tree.join(file.path()), "user.undelfs.record");
    (record.split('-').next().unwrap().parse().unwrap(), file.path().to_owned())
}

#[test]
fn a_file_whose_content_is_not_described_any_more_is_an_error_and_not_empty() {
    let dir = guard::scratch();
    let made = made(dir.path(), 1301);
    let (record, path) = deleted(&made, Kind::Contiguous);
    let (other, other_path) = deleted(&made, Kind::Resident);
    assert_ne!(record, other);
    hide_content(&made.image, record);
    for args in [&[][..], &["--direct-io"], &["--streams", "files"]] {
        let tree = Tree::mount(&made.image, args);
        let error = fs::read(tree.join(&path)).expect_err("nothing is left to read");
        assert_eq!(error.raw_os_error(), Some(5), "{args:?}: {error}");
        assert_eq!(walk::xattr_text(&tree.join(&path), "user.undelfs.confidence"), "lost");
        assert!(!fs::read(tree.join(&other_path)).unwrap().is_empty(), "the rest of the volume is there");
    }
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let output = undelfs(["restore".as_ref(), made.image.as_os_str(), "/".as_ref(), copy.as_os_str()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!copy.join(&path).exists());
}

#[test]
fn a_torn_record_costs_its_own_file_only() {
    let dir = guard::scratch();
    let made = made(dir.path(), 1302);
    let (record, path) = deleted(&made, Kind::Contiguous);
    let (_, other) = deleted(&made, Kind::Resident);
    let image = OpenOptions::new().read(true).write(true).open(&made.image).unwrap();
    image.write_all_at(&[0xEE; 8], record_at(&image, record) + 506).unwrap();
    let tree = Tree::mount(&made.image, &[]);
    assert!(!tree.join(&path).exists());
    assert!(!fs::read(tree.join(&other)).unwrap().is_empty());
    let report = fs::read_to_string(tree.join(".undelfs/report.txt")).unwrap();
    assert!(report.contains(&format!("FILE record {record} ")), "{report}");
}
