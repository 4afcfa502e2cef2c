//! Where volumes are found: bare, in partitions, in parts of a split image, on devices, and without any table.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use undelfs_tests::{
    check::{self, Names},
    disk::{self, DiskImage},
    guard::{self, Loop},
    manifest::Manifest,
    program::{Tree, undelfs},
    recipe::{Made, Recipe},
    tools, walk,
};

fn volume(dir: &Path, seed: u64, sector: u32) -> Made {
    Recipe { size: 128 << 20, files: 60, sector, ..Recipe::new(seed) }.make(dir)
}

fn content(tree: &Tree, manifest: &Manifest) {
    check::assert_none("deleted", &check::content(tree.root(), manifest.deleted(), Names::AnyDeleted));
    check::assert_none("deleted", &check::only_deleted(&walk::walk(tree.root()), manifest));
}

/// A disk of three volumes, made by `make` from their images.
fn disk_of_three(
    dir: &Path,
    sector: u32,
    make: impl Fn(&Path, &[&Path]) -> DiskImage,
) -> (DiskImage, Vec<Manifest>) {
    let made: Vec<Made> = (0..3).map(|n| volume(dir, 900 + n, sector)).collect();
    let images: Vec<&Path> = made.iter().map(|made| made.image.as_path()).collect();
    let disk = make(&dir.join("disk.img"), &images);
    (disk, made.into_iter().map(|made| made.manifest).collect())
}

/// Every volume shows in a folder `N-Name` of its own, and alone with `--volume N`.
fn check_disk(source: &Path, manifests: &[Manifest]) {
    let tree = Tree::mount(source, &[]);
    let mut folders: Vec<String> = fs::read_dir(tree.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != walk::GENERATED)
        .collect();
    folders.sort();
    assert_eq!(folders.len(), manifests.len(), "{folders:?}");
    for (number, (folder, manifest)) in (1..).zip(folders.iter().zip(manifests)) {
        assert!(folder.starts_with(&format!("{number}-")), "{folders:?}");
        let manifest = manifest.clone().under(folder);
        check::assert_none(folder, &check::content(tree.root(), manifest.deleted(), Names::AnyDeleted));
    }
    tree.unmount();
    for (number, manifest) in (1..).zip(manifests) {
        content(&Tree::mount(source, &["--volume", &number.to_string()]), manifest);
    }
}

#[test]
fn every_volume_of_a_gpt_disk_has_a_folder_and_can_be_mounted_alone() {
    let dir = guard::scratch();
    let (disk, manifests) = disk_of_three(dir.path(), 512, |image, volumes| disk::gpt(image, volumes, 512));
    check_disk(&disk.image, &manifests);
}

#[test]
fn a_gpt_whose_first_header_is_destroyed_is_read_from_its_backup() {
    let dir = guard::scratch();
    let (disk, manifests) = disk_of_three(dir.path(), 512, |image, volumes| disk::gpt(image, volumes, 512));
    let file = fs::File::options().write(true).open(&disk.image).unwrap();
    file.write_all_at(&[0; 33 * 512], 512).unwrap();
    check_disk(&disk.image, &manifests);
    let output = undelfs(["volumes".as_ref(), disk.image.as_os_str()]);
    assert!(output.status.success());
    assert!(tools::said(&output).to_lowercase().contains("backup"), "{}", tools::said(&output));
}

#[test]
fn primary_and_logical_volumes_of_an_mbr_disk_are_found() {
    let dir = guard::scratch();
    let (disk, manifests) = disk_of_three(dir.path(), 512, disk::mbr);
    check_disk(&disk.image, &manifests);
}

#[test]
fn a_gpt_disk_of_4096_byte_sectors_is_read_as_an_image_and_as_a_device() {
    let dir = guard::scratch();
    let (disk, manifests) = disk_of_three(dir.path(), 4096, |image, volumes| disk::gpt(image, volumes, 4096));
    check_disk(&disk.image, &manifests);
    let device = Loop::attach(&disk.image, 4096);
    check_disk(device.device(), &manifests);
}

#[test]
fn volumes_lists_number_start_size_file_system_and_name() {
    let dir = guard::scratch();
    let (disk, _) = disk_of_three(dir.path(), 512, |image, volumes| disk::gpt(image, volumes, 512));
    let output = undelfs(["volumes".as_ref(), disk.image.as_os_str()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for (number, (start, sectors)) in (1..).zip(&disk.partitions) {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(&format!("{number}")))
            .unwrap_or_else(|| panic!("no volume {number} in\n{text}"));
        for part in [start.to_string(), sectors.to_string(), "NTFS".into(), format!("Part {number}")] {
            assert!(line.contains(&part), "no {part} in {line}");
        }
    }
}

#[test]
fn a_bare_volume_on_a_loop_device_of_512_or_4096_byte_sectors_is_mounted() {
    let dir = guard::scratch();
    for sector in [512, 4096] {
        let Made { image, manifest } = volume(dir.path(), 910, sector);
        let device = Loop::attach(&image, sector);
        content(&Tree::mount(device.device(), &[]), &manifest);
    }
}

#[test]
fn a_split_image_is_read_as_one_whichever_number_it_begins_with() {
    let dir = guard::scratch();
    let Made { image, manifest } = volume(dir.path(), 911, 512);
    // Parts that end inside a cluster.
    let part = (20 << 20) + 512 * 3;
    for first in [0, 1] {
        let stem = dir.path().join(format!("split from {first}"));
        let path = disk::split(&image, &stem, part, first);
        content(&Tree::mount(&path, &[]), &manifest);
        let later = PathBuf::from(format!("{}.{:03}", stem.display(), first + 2));
        content(&Tree::mount(&later, &[]), &manifest);
    }
}

#[test]
fn a_split_image_with_a_part_missing_is_refused_by_the_part_s_name() {
    let dir = guard::scratch();
    let Made { image, .. } = volume(dir.path(), 912, 512);
    let path = disk::split(&image, &dir.path().join("split"), 20 << 20, 1);
    fs::remove_file(dir.path().join("split.003")).unwrap();
    let output = undelfs(["scan".as_ref(), path.as_os_str()]);
    undelfs_tests::program::assert_refused(&output, 1, &["split.003"]);
}

#[test]
fn a_volume_that_no_table_names_is_found_by_its_first_or_its_last_sector() {
    let dir = guard::scratch();
    let (disk, manifests) = disk_of_three(dir.path(), 512, |image, volumes| disk::gpt(image, volumes, 512));
    let (start, sectors) = disk.partitions[1];
    let size = fs::metadata(&disk.image).unwrap().len();
    let file = fs::File::options().write(true).open(&disk.image).unwrap();
    file.write_all_at(&[0; 34 * 512], 0).unwrap();
    file.write_all_at(&[0; 33 * 512], size - 33 * 512).unwrap();

    content(&Tree::mount(&disk.image, &["--start-sector", &start.to_string()]), &manifests[1]);
    let first = start.to_string();
    content(&Tree::mount(&disk.image, &["--boot-sector", &first]), &manifests[1]);
    let last = (start + sectors - 1).to_string();
    content(&Tree::mount(&disk.image, &["--boot-sector", &last]), &manifests[1]);

    // With the first boot sector gone too, the backup at the volume's end serves.
    file.write_all_at(&[0; 512], start * 512).unwrap();
    content(&Tree::mount(&disk.image, &["--start-sector", &first, "--boot-sector", &last]), &manifests[1]);
}

#[test]
fn a_bare_volume_whose_boot_sector_is_destroyed_is_read_by_its_backup() {
    let dir = guard::scratch();
    let Made { image, manifest } = volume(dir.path(), 913, 512);
    fs::File::options().write(true).open(&image).unwrap().write_all_at(&[0; 512], 0).unwrap();
    content(&Tree::mount(&image, &[]), &manifest);
}
