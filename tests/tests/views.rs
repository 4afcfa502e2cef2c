//! `--view` chooses between deleted files, live files and both; live files are what ntfs-3g shows.

use std::collections::BTreeMap;

use undelfs_tests::{
    check::{self, Names},
    guard,
    ntfs3g::{Streams, Volume},
    program::Tree,
    recipe::{Made, Recipe},
    walk::{self, NodeKind},
};

#[test]
fn the_regular_view_is_the_tree_that_ntfs_3g_shows() {
    let dir = guard::scratch();
    for recipe in [Recipe::new(201), Recipe::new(202).clusters_of(65_536)] {
        let Made { image, manifest } = recipe.make(dir.path());
        let tree = Tree::mount(&image, &["--view", "regular"]);
        check::assert_none("content", &check::content(tree.root(), manifest.live(), Names::EveryLive));
        let ours = walk::walk(tree.root());
        check::assert_none("paths", &check::only_live(&ours, &manifest));

        let volume = Volume::read(&image, Streams::Xattr);
        let theirs = walk::walk(volume.root());
        // ntfs-3g shows a link of Windows with a dangling target as "unsupported".
        let sizes = |nodes: &BTreeMap<_, walk::Node>| -> Vec<(std::path::PathBuf, Option<u64>)> {
            let size = |node: &walk::Node| (node.kind == NodeKind::File).then_some(node.size);
            nodes.iter().map(|(path, node): (&std::path::PathBuf, _)| (path.clone(), size(node))).collect()
        };
        assert_eq!(sizes(&ours), sizes(&theirs));
        volume.unmount();
    }
}

#[test]
fn the_view_of_all_shows_both_and_says_which_is_which() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe::new(203).make(dir.path());
    let tree = Tree::mount(&image, &["--view", "all"]);
    check::assert_none("live", &check::content(tree.root(), manifest.live(), Names::EveryLive));
    check::assert_none("deleted", &check::content(tree.root(), manifest.deleted(), Names::AnyDeleted));
    for file in manifest.files.iter().filter(|file| file.link.is_none()).take(100) {
        let deleted = file.is_deleted();
        for name in file.names.iter().filter(|name| name.removed == deleted) {
            let path = tree.join(&name.path);
            if path.symlink_metadata().is_err() && deleted {
                continue; // Another name of the same deleted file is the one that is left.
            }
            let expected = if deleted { "deleted" } else { "regular" };
            assert_eq!(walk::xattr_text(&path, "user.undelfs.state"), expected, "{}", path.display());
        }
    }
}

#[test]
fn every_deleted_file_says_where_it_came_from_and_how_sure_that_is() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe { files: 200, ..Recipe::new(204) }.make(dir.path());
    let tree = Tree::mount(&image, &[]);
    for file in manifest.known() {
        let Some(path) = file.names.iter().map(|name| tree.join(&name.path)).find(|path| path.exists())
        else {
            panic!("{} is missing", file.path().display());
        };
        let text = |name: &str| walk::xattr_text(&path, &format!("user.undelfs.{name}"));
        let confidence = text("confidence");
        assert!(["certain", "likely", "partial", "lost"].contains(&&*confidence), "{confidence}");
        assert!(["certain", "likely"].contains(&&*confidence), "{}: {confidence}", path.display());
        assert!(!text("reason").is_empty());
        let record = text("record");
        let (number, sequence) = record.split_once('-').unwrap();
        assert!(number.parse::<u64>().unwrap() >= 24 && sequence.parse::<u16>().unwrap() >= 1, "{record}");
        assert!(text("provenance").contains("$MFT"), "{}", text("provenance"));
        let used: u64 = text("clusters_used").parse().unwrap();
        let in_use: u64 = text("clusters_in_use").parse().unwrap();
        assert_eq!(in_use, 0, "nothing was written since: {} of {used}", path.display());
        assert_eq!(walk::overwritten(&path), [], "{}", path.display());
    }
}

#[test]
fn named_streams_are_extended_attributes_beside_those_of_undelfs() {
    let dir = guard::scratch();
    let Made { image, manifest } = Recipe { files: 200, ..Recipe::new(205) }.make(dir.path());
    let tree = Tree::mount(&image, &["--view", "regular"]);
    let file = manifest.live().find(|file| file.streams.len() == 4).expect("a file with named streams");
    let name = file.names.iter().find(|name| !name.removed).unwrap();
    let names = walk::xattr_names(&tree.join(&name.path));
    for expected in ["user.Zone.Identifier", "user.автор 📝", "user.undelfs.confidence"] {
        assert!(names.iter().any(|name| name == expected), "no {expected} in {names:?}");
    }
}

#[test]
fn a_symbolic_link_lists_no_attributes_because_linux_lets_none_of_them_be_read() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 200, ..Recipe::new(206) }.make(dir.path());
    let tree = Tree::mount(&image, &["--view", "all"]);
    let nodes = walk::walk(tree.root());
    let links: Vec<_> = nodes.iter().filter(|(_, node)| matches!(node.kind, NodeKind::Link(_))).collect();
    assert!(!links.is_empty());
    for (path, _) in links {
        assert_eq!(walk::xattr_names(&tree.join(path)), Vec::<String>::new(), "{}", path.display());
    }
}
