//! The main promise: every deleted file is in the tree, at its old path, byte for byte.

use undelfs_tests::{
    check::{self, Names},
    guard,
    manifest::Name,
    names,
    ntfs3g::{self, Volume},
    overwrite,
    plan::CROWD,
    program::Tree,
    recipe::{Made, Recipe},
    walk::{self, NodeKind},
};

/// Mounts what `recipe` makes and compares the whole tree with the manifest.
fn check_deleted(recipe: &Recipe) {
    let dir = guard::scratch();
    let Made { image, manifest } = recipe.make(dir.path());
    let what = format!("seed {} clusters {} sectors {}", recipe.seed, recipe.cluster, recipe.sector);

    let tree = Tree::mount(&image, &[]);
    check::assert_none(&what, &check::content(tree.root(), manifest.deleted(), Names::AnyDeleted));
    check::assert_none(&what, &check::only_deleted(&walk::walk(tree.root()), &manifest));
    tree.unmount();

    let tree = Tree::mount(&image, &["--streams", "files"]);
    check::assert_none(&what, &check::streams_as_files(tree.root(), manifest.deleted()));
    tree.unmount();
}

#[test]
fn every_stream_is_byte_exact_at_its_full_path_on_4_kib_clusters() {
    check_deleted(&Recipe::new(101));
    check_deleted(&Recipe::new(102));
}

#[test]
fn every_stream_is_byte_exact_on_clusters_of_one_sector() {
    check_deleted(&Recipe::new(103).clusters_of(512));
}

#[test]
fn every_stream_is_byte_exact_on_clusters_of_1_and_2_kib() {
    check_deleted(&Recipe { files: 300, ..Recipe::new(104) }.clusters_of(1024));
    check_deleted(&Recipe { files: 300, ..Recipe::new(105) }.clusters_of(2048));
}

#[test]
fn every_stream_is_byte_exact_on_clusters_of_64_kib() {
    check_deleted(&Recipe::new(106).clusters_of(65_536));
}

#[test]
fn every_stream_is_byte_exact_on_clusters_of_2_mib_the_largest() {
    check_deleted(&Recipe { files: 200, ..Recipe::new(107) }.clusters_of(2 << 20));
}

#[test]
fn every_stream_is_byte_exact_on_4096_byte_sectors_with_4_kib_records() {
    check_deleted(&Recipe { sector: 4096, ..Recipe::new(108) });
}

#[test]
fn a_large_directory_shows_every_deleted_file_once() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe { files: 60, crowd: 5000, ..Recipe::new(109) }.make(dir.path());
    let tree = Tree::mount(&image, &[]);
    let shown = std::fs::read_dir(tree.join(CROWD)).unwrap().count();
    let deleted = manifest.deleted().filter(|file| file.path().starts_with(CROWD)).count();
    assert_eq!(shown, deleted);
    check::assert_none("crowd", &check::content(tree.root(), manifest.deleted(), Names::AnyDeleted));
}

#[test]
fn names_of_255_utf16_units_survive() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 30, ..Recipe::new(110) }.make(dir.path());
    let volume = Volume::write(&image);
    for name in names::longest() {
        std::fs::write(volume.root().join(&name), &name).unwrap();
    }
    volume.unmount();
    let volume = Volume::write(&image);
    for name in names::longest() {
        std::fs::remove_file(volume.root().join(&name)).unwrap();
    }
    volume.unmount();
    let tree = Tree::mount(&image, &[]);
    for name in names::longest() {
        assert_eq!(std::fs::read_to_string(tree.join(&name)).unwrap(), name);
    }
}

#[test]
fn of_several_files_with_one_path_the_newest_keeps_the_name_and_the_others_get_their_record() {
    let dir = guard::scratch();
    let Made { image, .. } = overwrite::reused_folder(&dir.path().join("again.img"), 5);
    let volume = Volume::write(&image);
    let path = |name: &str| volume.root().join("Found").join(name);
    // All three exist at once, so that each has a record of its own; then they take the name in turns.
    for round in 1..=3 {
        std::fs::write(path(&format!("round {round}")), format!("round {round}")).unwrap();
    }
    for round in 1..=3 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::rename(path(&format!("round {round}")), path("again.txt")).unwrap();
        std::fs::write(path("again.txt"), format!("round {round}")).unwrap();
        std::fs::remove_file(path("again.txt")).unwrap();
    }
    volume.unmount();
    let tree = Tree::mount(&image, &[]);
    let nodes = walk::walk(&tree.join("Found"));
    let texts: Vec<(String, String)> = nodes
        .keys()
        .map(|name| {
            (
                name.to_string_lossy().into_owned(),
                std::fs::read_to_string(tree.join("Found").join(name)).unwrap(),
            )
        })
        .filter(|(name, _)| name.starts_with("again"))
        .collect();
    for (name, _) in &texts {
        let older = name.strip_prefix("again (record ").and_then(|rest| rest.strip_suffix(").txt"));
        assert!(
            name == "again.txt" || older.is_some_and(|number| number.parse::<u32>().is_ok()),
            "{texts:?}"
        );
    }
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts.contains(&("again.txt".to_owned(), "round 3".to_owned())), "{texts:?}");
}

#[test]
fn a_deleted_file_whose_folder_record_was_used_again_is_an_orphan_and_not_in_the_new_folder() {
    let dir = guard::scratch();
    let Made { image, manifest } = overwrite::reused_folder(&dir.path().join("orphans.img"), 7);
    let tree = Tree::mount(&image, &["--view", "all"]);
    let found: Vec<String> =
        walk::walk(&tree.join("Found")).keys().map(|path| path.to_string_lossy().into_owned()).collect();
    assert_eq!(found, ["alive.txt"]);

    let orphans = walk::walk(&tree.join(walk::ORPHANS));
    for file in manifest.deleted() {
        let name = file.path().file_name().unwrap();
        let places: Vec<_> = orphans.keys().filter(|path| path.file_name() == Some(name)).collect();
        let [place] = places[..] else { panic!("{name:?}: {places:?} in {orphans:?}") };
        assert_eq!(walk::hash(&tree.join(walk::ORPHANS).join(place)).unwrap(), file.content().sha256());
    }
    // All of them stood in one folder, so they still do.
    let parents: std::collections::BTreeSet<_> = orphans
        .iter()
        .filter(|(path, node)| node.kind == NodeKind::File && path.to_string_lossy().contains("orphan "))
        .map(|(path, _)| path.parent().unwrap().to_owned())
        .collect();
    assert_eq!(parents.len(), 1, "{parents:?}");
}

#[test]
fn the_names_of_one_hard_linked_file_share_an_inode() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe { files: 200, ..Recipe::new(111) }.make(dir.path());
    let tree = Tree::mount(&image, &["--view", "all"]);
    let live = |name: &&Name| !name.removed;
    let mut seen = 0;
    for file in manifest.live().filter(|file| file.names.iter().filter(live).count() > 1) {
        let nodes: Vec<_> =
            file.names.iter().filter(live).map(|name| walk::node(&tree.join(&name.path)).unwrap()).collect();
        assert!(nodes.iter().all(|node| node.inode == nodes[0].inode), "{nodes:?}");
        assert_eq!(nodes[0].links, nodes.len() as u64, "{:?}", file.names);
        seen += 1;
    }
    assert!(seen > 2, "{seen}");
}

#[test]
fn inode_numbers_are_the_same_in_every_mount_of_an_image() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 200, ..Recipe::new(112) }.make(dir.path());
    let inodes = || {
        let tree = Tree::mount(&image, &[]);
        let nodes = walk::walk(tree.root());
        tree.unmount();
        nodes
    };
    assert_eq!(inodes(), inodes());
}

#[test]
fn without_orphans_there_is_no_folder_for_them() {
    let dir = guard::scratch();
    let image = dir.path().join("one.img");
    let (size, cluster, sector) = (16 << 20, 4096, 512);
    ntfs3g::format(&image, &ntfs3g::Format { size, cluster, sector, label: "One".into() });
    for delete in [false, true] {
        let volume = Volume::write(&image);
        match delete {
            false => std::fs::write(volume.root().join("one.txt"), "one").unwrap(),
            true => std::fs::remove_file(volume.root().join("one.txt")).unwrap(),
        }
        volume.unmount();
    }
    let tree = Tree::mount(&image, &[]);
    let shown: Vec<_> = walk::walk(tree.root()).into_keys().collect();
    assert_eq!(shown, [std::path::PathBuf::from("one.txt")]);
}
