//! Files compressed by the Windows Overlay Filter (CompactOS, `compact /exe`), live and deleted, read by us and by
//! libfsntfs.

use std::{
    fs,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use undelfs_tests::{
    content::{Content, Fill},
    guard,
    ntfs3g::{self, Format, Volume},
    program::Tree,
    walk,
    wof::{self, Algorithm},
};

const EIO: i32 = 5;
const EOPNOTSUPP: i32 = 95;

fn empty_volume(dir: &Path, size: u64) -> PathBuf {
    let image = dir.join("wof.img");
    ntfs3g::format(&image, &Format { size, cluster: 4096, sector: 512, label: "WOF".into() });
    image
}

fn write(root: &Path, name: &str, content: &[u8], algorithm: Algorithm) {
    let packed = wof::compress(content, algorithm);
    let point = wof::reparse_point(algorithm.number());
    wof::write(&root.join(name), content.len() as u64, Some(&packed), &point);
}

/// Files of all methods, of sizes around the borders of chunks: name and content.
fn files() -> Vec<(String, Algorithm, Vec<u8>)> {
    let mut files = Vec::new();
    for algorithm in Algorithm::ALL {
        let chunk = algorithm.chunk();
        let sizes = [0, 1, 3000, chunk - 1, chunk, chunk + 1, 3 * chunk - 7, 250_000];
        for (number, size) in sizes.into_iter().enumerate() {
            for fill in [Fill::Text, Fill::Random, Fill::Mixed] {
                let content = Content::new(fill, number as u64 + 1, size).bytes();
                files.push((format!("{algorithm:?} {fill:?} {size}"), algorithm, content));
            }
        }
        files.push((format!("{algorithm:?} zeros"), algorithm, vec![0; 5 * chunk]));
        files.push((format!("{algorithm:?} program"), algorithm, program(9 * chunk + 5)));
    }
    files
}

/// Something with calls, as LZX treats them: our own machine code.
fn program(size: usize) -> Vec<u8> {
    let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    let start = bytes.len() / 2;
    bytes.drain(..start);
    bytes.truncate(size);
    bytes
}

#[test]
fn every_method_gives_the_same_bytes_as_libfsntfs_live_and_deleted() {
    let dir = guard::scratch();
    let image = empty_volume(dir.path(), 96 << 20);
    let volume = Volume::write(&image);
    let files = files();
    for (name, algorithm, content) in &files {
        write(volume.root(), name, content, *algorithm);
    }
    volume.unmount();

    let names: Vec<&str> = files.iter().map(|(name, ..)| name.as_str()).collect();
    // It cannot read what is in the FILE record, and some chunks of LZX with blocks that are stored as they are.
    let mut compared = 0;
    for ((name, _, content), theirs) in files.iter().zip(wof::read_with_libfsntfs(&image, &names)) {
        if let Some(theirs) = theirs {
            assert!(theirs == *content, "libfsntfs reads {name} otherwise");
            compared += 1;
        }
    }
    assert!(compared > files.len() * 3 / 4, "libfsntfs reads only {compared} of {} files", files.len());
    let tree = Tree::mount(&image, &["--view", "all"]);
    check_all(&tree, &files, "regular");
    tree.unmount();

    let volume = Volume::write(&image);
    for name in names {
        fs::remove_file(volume.root().join(name)).unwrap();
    }
    volume.unmount();
    check_all(&Tree::mount(&image, &[]), &files, "deleted");
}

fn check_all(tree: &Tree, files: &[(String, Algorithm, Vec<u8>)], state: &str) {
    for (name, _, content) in files {
        let path = tree.join(name);
        assert_eq!(walk::xattr_text(&path, "user.undelfs.state"), state);
        assert!(["certain", "likely"].contains(&walk::xattr_text(&path, "user.undelfs.confidence").as_str()));
        assert_eq!(walk::overwritten(&path), [], "{name}");
        assert_eq!(fs::metadata(&path).unwrap().len(), content.len() as u64, "{name}");
        assert!(fs::read(&path).unwrap() == *content, "{name}");
        for attribute in ["undelfs.streams", wof::STREAM] {
            assert_eq!(walk::xattr(&path, &format!("user.{attribute}")), None, "{name}");
        }
    }
}

#[test]
fn any_part_is_read_without_what_comes_before_by_many_at_once() {
    let dir = guard::scratch();
    let image = empty_volume(dir.path(), 64 << 20);
    let volume = Volume::write(&image);
    let content = Content::new(Fill::Mixed, 11, 3_000_000).bytes();
    for algorithm in Algorithm::ALL {
        write(volume.root(), &format!("{algorithm:?}"), &content, algorithm);
    }
    volume.unmount();
    let tree = Tree::mount(&image, &["--view", "all", "--direct-io"]);
    std::thread::scope(|scope| {
        for (seed, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            let (file, content) = (fs::File::open(tree.join(format!("{algorithm:?}"))).unwrap(), &content);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed as u64);
                for _ in 0..300 {
                    let (at, len) = (rng.usize(..content.len()), rng.usize(1..70_000));
                    let expected = &content[at..content.len().min(at + len)];
                    let mut found = vec![0; expected.len()];
                    file.read_exact_at(&mut found, at as u64).unwrap();
                    assert!(found == expected, "{algorithm:?}: {len} bytes at {at}");
                }
            });
        }
    });
}

#[test]
fn a_file_of_more_than_four_gibibytes_has_long_entries_in_its_table() {
    const SIZE: u64 = (4 << 30) + 100_000;
    let algorithm = Algorithm::Lzx;
    let chunk = algorithm.chunk() as u64;
    let count = SIZE.div_ceil(chunk);
    let last = Content::new(Fill::Text, 3, usize::try_from(SIZE % chunk).unwrap()).bytes();
    // Of two chunks the table is one entry of four bytes.
    let pair = wof::compress(&vec![b'x'; 2 * algorithm.chunk()], algorithm);
    let one = &pair[4..4 + u32::from_le_bytes(pair[..4].try_into().unwrap()) as usize];
    let ends = (1..count).flat_map(|end| (end * one.len() as u64).to_le_bytes());
    let mut packed: Vec<u8> = ends.collect();
    (1..count).for_each(|_| packed.extend(one));
    packed.extend(wof::compress(&last, algorithm));

    let dir = guard::scratch();
    let image = empty_volume(dir.path(), 64 << 20);
    let volume = Volume::write(&image);
    wof::write(&volume.root().join("large"), SIZE, Some(&packed), &wof::reparse_point(algorithm.number()));
    volume.unmount();
    let tree = Tree::mount(&image, &["--view", "all"]);
    let file = fs::File::open(tree.join("large")).unwrap();
    let mut found = vec![0; last.len()];
    file.read_exact_at(&mut found, SIZE - last.len() as u64).unwrap();
    assert!(found == last);
    for at in [0, chunk - 10, (4 << 30) - 10, (4 << 30) + 5] {
        let mut found = [0; 20];
        file.read_exact_at(&mut found, at).unwrap();
        assert_eq!(found, [b'x'; 20], "at {at}");
    }
}

/// A full volume with compressed files, all deleted, of which other files took some clusters later.
fn worn(dir: &Path, algorithm: Algorithm) -> (PathBuf, Vec<(String, Vec<u8>)>) {
    let image = empty_volume(dir, 24 << 20);
    let volume = Volume::write(&image);
    // So that no FILE record is used again, the later files are there before.
    let later = |number: u64| volume.root().join(format!("later {number}"));
    (0..40).for_each(|number| fs::write(later(number), "").unwrap());
    let files: Vec<(String, Vec<u8>)> = (0..12)
        .map(|seed| (format!("file {seed}"), Content::new(Fill::Mixed, seed + 50, 900_000).bytes()))
        .collect();
    // Free clusters are taken from the begin of the volume on. Two files lose their tables, others only chunks, because
    // their ends are written first.
    let (heads, tails) = files.split_at(2);
    for (name, content) in heads {
        write(volume.root(), name, content, algorithm);
    }
    let packed: Vec<Vec<u8>> = tails.iter().map(|(_, content)| wof::compress(content, algorithm)).collect();
    for part in [60_000..usize::MAX, 0..60_000] {
        for ((name, content), packed) in tails.iter().zip(&packed) {
            let path = volume.root().join(name);
            let part = part.start..part.end.min(packed.len());
            let make = |path: &Path| {
                fs::File::options().create(true).truncate(false).write(true).open(path).unwrap()
            };
            make(&path).set_len(content.len() as u64).unwrap();
            make(&wof::stream(&path)).write_all_at(&packed[part.clone()], part.start as u64).unwrap();
        }
    }
    for (name, _) in tails {
        wof::set_reparse_point(&volume.root().join(name), &wof::reparse_point(algorithm.number()));
    }
    let mut ballast = fs::File::create(volume.root().join("ballast")).unwrap();
    while ballast.write_all(&[0xBB; 4096]).is_ok() {}
    drop(ballast);
    volume.unmount();

    let volume = Volume::write(&image);
    for (name, _) in &files {
        fs::remove_file(volume.root().join(name)).unwrap();
    }
    volume.unmount();

    let volume = Volume::write(&image);
    let later = |number: u64| volume.root().join(format!("later {number}"));
    for number in 0..40 {
        let size = 4096 * (1 + number as usize % 11);
        fs::write(later(number), Content::new(Fill::Random, number + 900, size).bytes()).unwrap();
    }
    volume.unmount();
    // Clusters of which only a file that is deleted too says that it took them.
    let volume = Volume::write(&image);
    let later = |number: u64| volume.root().join(format!("later {number}"));
    (0..40).step_by(2).for_each(|number| fs::remove_file(later(number)).unwrap());
    volume.unmount();
    (image, files)
}

#[test]
fn overwritten_clusters_spoil_the_chunks_that_need_them_and_these_are_declared() {
    for algorithm in Algorithm::ALL {
        let dir = guard::scratch();
        let (image, files) = worn(dir.path(), algorithm);
        let tree = Tree::mount(&image, &[]);
        let (mut partial, mut whole, mut lost) = (0, 0, 0);
        for (name, content) in &files {
            let path = tree.join(name);
            let ranges = walk::overwritten(&path);
            let found = fs::read(&path).unwrap();
            let chunk = algorithm.chunk() as u64;
            for range in &ranges {
                assert!(range.start % chunk == 0, "{range:?}");
                assert!(range.end % chunk == 0 || range.end == content.len() as u64, "{range:?}");
            }
            let mut expected = content.clone();
            for range in &ranges {
                expected[range.start as usize..range.end as usize].fill(0);
            }
            assert!(found == expected, "{algorithm:?} {name}, declared {ranges:?}");
            let all = ranges.first().is_some_and(|range| *range == (0..content.len() as u64));
            partial += usize::from(!ranges.is_empty() && !all);
            whole += usize::from(ranges.is_empty());
            lost += usize::from(all);
        }
        let seen = [partial, whole, lost];
        assert!(seen.iter().all(|count| *count > 0), "{algorithm:?}: partial, whole, lost: {seen:?}");
        tree.unmount();

        let tree = Tree::mount(&image, &["--overwritten", "error", "--direct-io"]);
        for (name, content) in &files {
            let path = tree.join(name);
            let file = fs::File::open(&path).unwrap();
            let ranges = walk::overwritten(&path);
            for (number, expected) in content.chunks(algorithm.chunk()).enumerate() {
                let at = (number * algorithm.chunk()) as u64;
                let mut found = vec![0; expected.len()];
                let declared = ranges.iter().any(|range| range.contains(&at));
                match file.read_exact_at(&mut found, at) {
                    Ok(()) => assert!(!declared && found == expected, "{algorithm:?} {name} at {at}"),
                    Err(error) => {
                        assert!(declared && error.raw_os_error() == Some(EIO), "{name} at {at}: {error}")
                    }
                }
            }
        }
    }
}

#[test]
fn a_damaged_table_spoils_only_the_chunks_beside_the_damage() {
    let dir = guard::scratch();
    let image = empty_volume(dir.path(), 32 << 20);
    let volume = Volume::write(&image);
    let (algorithm, chunk) = (Algorithm::Xpress8k, Algorithm::Xpress8k.chunk());
    let content = Content::new(Fill::Text, 8, 10 * chunk).bytes();
    let packed = wof::compress(&content, algorithm);
    let point = wof::reparse_point(algorithm.number());
    let damage = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut packed = packed.clone();
        change(&mut packed);
        wof::write(&volume.root().join(name), content.len() as u64, Some(&packed), &point);
    };
    damage("back", &|packed| packed[4 * 4..5 * 4].fill(0));
    damage("outside", &|packed| packed[4 * 4..5 * 4].fill(0xFF));
    damage("code", &|packed| {
        let start = u32::from_le_bytes(packed[3 * 4..4 * 4].try_into().unwrap()) as usize;
        packed[36 + start..][..256].fill(0x11);
    });
    damage("cut", &|packed| packed.truncate(30));
    damage("short", &|packed| packed.truncate(packed.len() - 400));
    volume.unmount();

    let tree = Tree::mount(&image, &["--view", "all", "--direct-io"]);
    let sound = |name: &str| -> Vec<usize> {
        let file = fs::File::open(tree.join(name)).unwrap();
        let mut sound = Vec::new();
        for (number, expected) in content.chunks(chunk).enumerate() {
            let mut found = vec![0; chunk];
            match file.read_exact_at(&mut found, (number * chunk) as u64) {
                Ok(()) => {
                    assert!(found == expected, "{name}, chunk {number}");
                    sound.push(number);
                }
                Err(error) => assert_eq!(error.raw_os_error(), Some(EIO), "{name}, chunk {number}"),
            }
        }
        sound
    };
    // Of the chunk behind the wrong end the begin is wrong too.
    assert_eq!(sound("back"), [0, 1, 2, 3, 6, 7, 8, 9]);
    assert_eq!(sound("outside"), [0, 1, 2, 3, 6, 7, 8, 9]);
    assert_eq!(sound("code"), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(sound("cut"), [0; 0]);
    assert_eq!(sound("short"), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn what_is_in_another_place_or_unknown_is_refused_and_never_reads_as_zeros() {
    let dir = guard::scratch();
    let image = empty_volume(dir.path(), 32 << 20);
    let volume = Volume::write(&image);
    let at = |name: &str| volume.root().join(name);
    let deduplicated = [0x13, 0, 0, 0x80, 4, 0, 0, 0, 1, 2, 3, 4];
    wof::write(&at("wim"), 9000, None, &wof::external(1, 1, &[2, 0, 1, 0, 5, 5, 5, 5, 5]));
    wof::write(&at("provider"), 9000, None, &wof::external(1, 7, &[1, 0]));
    wof::write(&at("algorithm"), 9000, Some(b"something"), &wof::reparse_point(9));
    wof::write(&at("version"), 9000, Some(b"something"), &wof::external(3, 2, &[1, 0]));
    wof::write(&at("dedup"), 9000, None, &deduplicated);
    wof::write(&at("no stream"), 9000, None, &wof::reparse_point(1));
    fs::write(at("ordinary"), b"no reparse point").unwrap();
    fs::write(wof::stream(&at("ordinary")), b"a stream like any other").unwrap();
    volume.unmount();

    let tree = Tree::mount(&image, &["--view", "all"]);
    for (name, errno, words) in [
        ("wim", EOPNOTSUPP, "WIM image"),
        ("provider", EOPNOTSUPP, "provider 7"),
        ("algorithm", EOPNOTSUPP, "algorithm 9"),
        ("version", EOPNOTSUPP, "version 3"),
        ("dedup", EOPNOTSUPP, "Data Deduplication"),
        ("no stream", EIO, "WofCompressedData"),
    ] {
        let error = fs::read(tree.join(name)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno), "{name}: {error}");
        let to = dir.path().join(format!("to {name}"));
        let args = [
            "restore".as_ref(),
            image.as_os_str(),
            "--view".as_ref(),
            "all".as_ref(),
            name.as_ref(),
            to.as_os_str(),
        ];
        let said = undelfs_tests::tools::said(&undelfs_tests::program::undelfs(args));
        assert!(said.contains(words), "{name}: {said}");
    }
    assert_eq!(fs::read(tree.join("ordinary")).unwrap(), b"no reparse point");
    let stream = walk::xattr(&tree.join("ordinary"), &format!("user.{}", wof::STREAM));
    assert_eq!(stream.as_deref(), Some(b"a stream like any other".as_slice()));
}
