//! A medium with bad sectors loses exactly these; everything else stays readable.

use std::{fs, os::unix::fs::FileExt, path::Path};

use undelfs_tests::{
    faulty::{FaultyMedium, SECTOR},
    guard,
    manifest::{File, Kind, Manifest},
    program::Tree,
    recipe::{Made, Recipe},
    tools, walk,
};

/// Where the sectors of `file`, which must be tagged, stand in the image: by looking for their tags.
fn sectors_of(image: &Path, file: &File) -> Vec<(u64, u64)> {
    let begin = format!("<{:016x}:", file.content().seed).into_bytes();
    let bytes = fs::read(image).unwrap();
    let mut found = Vec::new();
    for (sector, data) in (0..).zip(bytes.chunks_exact(512)) {
        if data.starts_with(&begin) {
            let number = std::str::from_utf8(&data[18..26]).unwrap();
            found.push((u64::from_str_radix(number, 16).unwrap(), sector));
        }
    }
    found.sort_unstable();
    found
}

/// The largest deleted file in pieces.
fn largest(manifest: &Manifest) -> &File {
    let pieces = manifest.known().filter(|file| file.kind == Kind::Fragmented);
    pieces.max_by_key(|file| file.content().len).expect("a deleted file in pieces")
}

#[test]
fn reading_a_bad_sector_is_an_error_for_exactly_that_sector_of_the_file() {
    let dir = guard::scratch();
    let Made { image, manifest } =
        Recipe { size: 128 << 20, files: 200, ..Recipe::new(1001) }.make(dir.path());
    let file = largest(&manifest);
    let sectors = sectors_of(&image, file);
    let middle = sectors.len() / 2;
    let bad = [sectors[3], sectors[middle], sectors[middle + 1], sectors[sectors.len() - 2]];
    let medium = FaultyMedium::new(&image, bad.map(|(_, on_image)| on_image));

    // Past the page cache, so that each read asks for one sector only.
    let tree = Tree::mount(&medium.path(), &["--direct-io"]);
    let open = fs::File::open(tree.join(file.path())).unwrap();
    let expected = file.content().bytes();
    for (number, right) in (0..).zip(expected.chunks(512)) {
        let mut buffer = vec![0; right.len()];
        match open.read_exact_at(&mut buffer, number * SECTOR) {
            Ok(()) => assert!(buffer == right, "sector {number}"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(5), "sector {number}");
                assert!(bad.iter().any(|(of_file, _)| *of_file == number), "sector {number} is good");
            }
        }
    }
    for (of_file, _) in bad {
        assert!(open.read_exact_at(&mut [0; 512], of_file * SECTOR).is_err(), "sector {of_file} is bad");
    }
}

#[test]
fn a_bad_sector_in_the_file_table_costs_the_files_in_it_and_no_others() {
    let dir = guard::scratch();
    let Made { image, manifest } =
        Recipe { size: 128 << 20, files: 200, ..Recipe::new(1002) }.make(dir.path());
    let file = manifest.known().find(|file| file.kind == Kind::Resident && file.content().len > 64).unwrap();
    // The record of a resident file holds its content.
    let content = file.content().bytes();
    let bytes = fs::read(&image).unwrap();
    let at =
        bytes.windows(content.len().min(64)).position(|window| content.starts_with(window)).unwrap() as u64;
    let medium = FaultyMedium::new(&image, [at / SECTOR]);
    let tree = Tree::mount(&medium.path(), &[]);
    let expected: Vec<_> = manifest.known().collect();
    let missing: Vec<_> =
        expected.iter().filter(|other| tree.join(other.path()).symlink_metadata().is_err()).collect();
    assert!(missing.len() <= 1, "{} files are missing", missing.len());
}

#[test]
fn restore_gives_the_rest_of_a_damaged_file_and_ends_with_4() {
    let dir = guard::scratch();
    let Made { image, manifest } =
        Recipe { size: 128 << 20, files: 200, ..Recipe::new(1003) }.make(dir.path());
    let file = largest(&manifest);
    let (bad, on_image) = sectors_of(&image, file)[50];
    let medium = FaultyMedium::new(&image, [on_image]);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let mut command = undelfs_tests::program::command();
    let output = command.arg("restore").arg(medium.path()).arg(file.path()).arg(&copy).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", tools::said(&output));
    let mut expected = file.content().bytes();
    expected[(bad * SECTOR) as usize..((bad + 1) * SECTOR) as usize].fill(0);
    let restored = walk::walk(&copy)
        .into_iter()
        .find(|(path, _)| path.file_name() == file.path().file_name())
        .expect("the restored file")
        .0;
    assert!(fs::read(copy.join(restored)).unwrap() == expected);
}
