//! What was overwritten is declared; another file's bytes are never shown as the deleted file's.

use std::{collections::BTreeSet, fs, ops::Range, os::unix::fs::FileExt, path::PathBuf};

use undelfs_tests::{
    content::Fill,
    guard,
    journal::{self, Log},
    manifest::File,
    ntfs3g::{self, Format, Volume},
    overwrite,
    program::Tree,
    recipe::{Made, Recipe},
    recovery::layout::Layout,
    walk,
};

const CLUSTER: u64 = 4096;

/// A small volume, most of which is written again after the deletion. With `deleted` those later files are gone too.
fn worn(dir: &std::path::Path, seed: u64, deleted: bool) -> Made {
    let mut made = Recipe { size: 128 << 20, files: 200, fragments: false, ..Recipe::new(seed) }.make(dir);
    overwrite::write_over(&mut made, seed, 24, 4 << 20, deleted);
    made
}

/// Deleted files of the recipe itself that can be told apart and are shown under their own path.
fn shown<'a>(tree: &Tree, made: &'a Made) -> Vec<(PathBuf, &'a File)> {
    made.manifest
        .known()
        .filter(|file| file.content().fill == Fill::Tagged && !file.path().starts_with(overwrite::AFTER))
        .map(|file| (tree.join(file.path()), file))
        .filter(|(path, file)| fs::metadata(path).is_ok_and(|meta| meta.len() == file.content().len as u64))
        .collect()
}

fn inside(at: u64, ranges: &[Range<u64>]) -> bool {
    ranges.iter().any(|range| range.contains(&at))
}

/// Every byte is the file's own, or zero in a declared range. Returns how many files declare something.
fn check_zeros(tree: &Tree, made: &Made) -> usize {
    let mut declared = 0;
    for (path, file) in shown(tree, made) {
        let (found, expected) = (fs::read(&path).unwrap(), file.content().bytes());
        let ranges = walk::overwritten(&path);
        declared += usize::from(!ranges.is_empty());
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let right = if inside(at as u64, &ranges) { 0 } else { *expected };
            assert_eq!(*found, right, "byte {at} of {}, declared {ranges:?}", path.display());
        }
        for range in &ranges {
            let end = file.content().len as u64;
            assert!(
                range.start % CLUSTER == 0 && (range.end % CLUSTER == 0 || range.end == end),
                "{ranges:?}"
            );
            assert!(range.end <= end, "{ranges:?} in {end} bytes");
        }
        let confidence = walk::xattr_text(&path, "user.undelfs.confidence");
        let all =
            ranges.iter().map(|range| range.end - range.start).sum::<u64>() == file.content().len as u64;
        if !ranges.is_empty() {
            assert!(confidence == "lost" || (confidence == "partial" && !all), "{confidence} {ranges:?}");
        }
    }
    declared
}

#[test]
fn clusters_that_live_files_took_are_declared_and_read_as_zeros() {
    let dir = guard::scratch();
    let made = worn(dir.path(), 401, false);
    let tree = Tree::mount(&made.image, &[]);
    let declared = check_zeros(&tree, &made);
    assert!(declared > 10, "only {declared} files were overwritten: the image proves nothing");
    let counted: u64 = shown(&tree, &made)
        .iter()
        .map(|(path, _)| walk::xattr_text(path, "user.undelfs.clusters_in_use").parse::<u64>().unwrap())
        .sum();
    assert!(counted > 10, "{counted}");
}

#[test]
fn clusters_that_a_file_deleted_later_had_taken_are_declared_and_read_as_zeros() {
    let dir = guard::scratch();
    let made = worn(dir.path(), 402, true);
    let tree = Tree::mount(&made.image, &[]);
    let declared = check_zeros(&tree, &made);
    assert!(declared > 10, "only {declared} files were overwritten: the image proves nothing");
    // The later files are deleted too, and whole.
    for file in made.manifest.known().filter(|file| file.path().starts_with(overwrite::AFTER)) {
        let path = tree.join(file.path());
        assert_eq!(walk::hash(&path).unwrap(), file.content().sha256(), "{}", path.display());
        assert_eq!(walk::overwritten(&path), [], "{}", path.display());
    }
}

#[test]
fn the_raw_mode_returns_what_is_there_now_and_the_error_mode_refuses_it() {
    let dir = guard::scratch();
    let made = worn(dir.path(), 403, false);
    let tree = Tree::mount(&made.image, &["--overwritten", "raw"]);
    let mut foreign = 0;
    for (path, file) in shown(&tree, &made) {
        let ranges = walk::overwritten(&path);
        let (found, expected) = (fs::read(&path).unwrap(), file.content().bytes());
        let differs = |at: &usize| found[*at] != expected[*at];
        assert!((0..found.len()).filter(differs).all(|at| inside(at as u64, &ranges)), "{}", path.display());
        foreign += usize::from((0..found.len()).any(|at| differs(&at)));
    }
    assert!(foreign > 10, "{foreign}");
    tree.unmount();

    let tree = Tree::mount(&made.image, &["--overwritten", "error", "--direct-io"]);
    for (path, file) in shown(&tree, &made) {
        let (ranges, expected) = (walk::overwritten(&path), file.content().bytes());
        let open = fs::File::open(&path).unwrap();
        for (number, cluster) in expected.chunks(CLUSTER as usize).enumerate() {
            let at = number as u64 * CLUSTER;
            let mut buffer = vec![0; cluster.len()];
            match open.read_exact_at(&mut buffer, at) {
                Ok(()) => assert!(!inside(at, &ranges) && buffer == cluster, "{} at {at}", path.display()),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(5));
                    assert!(inside(at, &ranges), "{} at {at}", path.display());
                }
            }
        }
    }
}

#[test]
fn no_tag_of_a_later_file_shows_in_any_deleted_file() {
    let dir = guard::scratch();
    let made = worn(dir.path(), 404, false);
    let later: BTreeSet<String> = made
        .manifest
        .files
        .iter()
        .filter(|file| file.path().starts_with(overwrite::AFTER))
        .map(|file| format!("<{:016x}:", file.content().seed))
        .collect();
    let tree = Tree::mount(&made.image, &[]);
    for (path, node) in walk::walk(tree.root()) {
        if node.kind != walk::NodeKind::File {
            continue;
        }
        let bytes = fs::read(tree.join(&path)).unwrap();
        for sector in bytes.chunks(512).filter(|sector| sector.first() == Some(&b'<') && sector.len() > 18) {
            let tag = String::from_utf8_lossy(&sector[..18]).into_owned();
            assert!(!later.contains(&tag), "{} shows {tag}", path.display());
        }
    }
}

#[test]
fn clusters_that_a_file_got_and_gave_back_of_which_only_the_log_is_left_are_declared() {
    for (version, cluster, size) in [(1, 4096, 128 << 20), (2, 512, 128 << 20), (2, 65536, 512 << 20)] {
        let dir = guard::scratch();
        let image = dir.path().join("regranted.img");
        ntfs3g::format(&image, &Format { size, cluster, sector: 512, label: "Regranted".to_owned() });
        let volume = Volume::write(&image);
        let names = ["older.bin", "newer.bin", "unnumbered.bin"];
        let records = names.map(|name| {
            let path = volume.root().join(name);
            fs::write(&path, vec![name.as_bytes()[0]; 10 * cluster as usize]).unwrap();
            journal::record(&path)
        });
        for name in names {
            fs::remove_file(volume.root().join(name)).unwrap();
        }
        volume.unmount();
        let cluster = u64::from(cluster);
        let layout = Layout::read(&image);
        let clusters = records.map(|record| {
            let runs = layout.stream(record, "").unwrap();
            assert_eq!(runs.len(), 1, "the file is fragmented");
            runs[0].start / cluster..runs[0].end / cluster
        });
        let bitmap = layout.stream(6, "").unwrap()[0].start / cluster;
        let other_bitmap = layout.stream(2, "").unwrap()[0].start / cluster;

        // Each file gets its clusters; one goes, somebody gets four of its clusters, and two of them again; then the other goes.
        let mut log = Log::new(journal::log_size(&image), version, 1, cluster);
        clusters.iter().for_each(|own| log.allocate(bitmap, own.clone()));
        let older = log.last();
        log.allocate(bitmap, clusters[0].start + 3..clusters[0].start + 7);
        log.allocate(bitmap, clusters[0].start + 4..clusters[0].start + 6);
        log.allocate(other_bitmap, clusters[0].clone());
        log.allocate(bitmap, clusters[2].clone());
        let newer = log.last();
        journal::install_log(&image, &log);
        journal::set_last_change(&image, records[0], older);
        journal::set_last_change(&image, records[1], newer);

        let tree = Tree::mount(&image, &[]);
        let lost = 3 * cluster..7 * cluster;
        assert_eq!(walk::overwritten(&tree.join(names[0])), std::slice::from_ref(&lost));
        assert_eq!(walk::xattr_text(&tree.join(names[0]), "user.undelfs.confidence"), "partial");
        let reason = walk::xattr_text(&tree.join(names[0]), "user.undelfs.reason");
        assert!(reason.contains("4 of 10 clusters"), "{reason}");
        for (at, byte) in (0..).zip(fs::read(tree.join(names[0])).unwrap()) {
            assert_eq!(byte, if lost.contains(&at) { 0 } else { b'o' }, "byte {at}");
        }
        // Nothing is known of when a file was changed that Linux deleted.
        for name in &names[1..] {
            assert!(walk::overwritten(&tree.join(name)).is_empty(), "{name}");
            assert_eq!(walk::xattr_text(&tree.join(name), "user.undelfs.confidence"), "likely");
        }
    }
}
