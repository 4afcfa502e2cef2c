//! Public images: what their documentation says was deleted comes back, with its name and its bytes, and what is no file's
//! content is named as what it is.

use std::{collections::BTreeMap, fs, path::Path};

use undelfs_tests::{guard, program::Tree, tools, walk, windows_made};

/// SHA-256 of the files below `folder`, by path.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let nodes = walk::walk(folder);
    let files = nodes.into_iter().filter(|(_, node)| node.kind == walk::NodeKind::File);
    files
        .map(|(path, _)| {
            let hash = walk::hash(&folder.join(&path)).expect("a readable file");
            (path.to_string_lossy().into_owned(), hash)
        })
        .collect()
}

/// The exercise of Debian's forensics-samples: the folders whose names end in 2 were deleted.
#[test]
fn everything_that_the_exercise_of_debian_deleted_comes_back_and_nothing_else() {
    let set = windows_made::set("forensics");
    let image = set.join("fs.ntfs");
    let originals = hashes(&set.join("original-files"));
    let deleted: BTreeMap<String, String> = originals
        .into_iter()
        .filter(|(path, _)| path.split('/').next().is_some_and(|folder| folder.ends_with('2')))
        .collect();
    assert!(deleted.len() > 15, "{deleted:?}");
    let tree = Tree::mount(&image, &[]);
    assert_eq!(hashes(tree.root()), deleted);
    for path in deleted.keys() {
        let confidence = walk::xattr_text(&tree.join(path), "user.undelfs.confidence");
        assert!(["certain", "likely"].contains(&&confidence[..]), "{path}: {confidence}");
    }
    tree.unmount();

    let dir = guard::scratch();
    let to = dir.path().join("restored");
    let mut restore = undelfs_tests::program::command();
    tools::succeed(restore.arg("restore").arg(&image).arg(".").arg(&to));
    let mut restored = hashes(&to);
    restored.retain(|path, _| deleted.contains_key(path));
    assert_eq!(restored, deleted);
    assert!(fs::read_dir(&to).unwrap().flatten().all(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with('2') || name.contains("undelfs")
    }));
}

#[test]
fn a_placeholder_of_a_cloud_service_is_named_as_one_and_a_file_that_is_there_is_read() {
    let tree = Tree::mount(&windows_made::set("ntfs").join("ntfs-cloud.bin"), &["--view", "all"]);
    let kept = tree.join("OneDrive/always-keep-on-device.txt");
    assert!(fs::read_to_string(kept).unwrap().starts_with("This is a docume"));
    let placeholder = tree.join("OneDrive/created-online.txt");
    let error = fs::read(&placeholder).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
    let reason = walk::xattr_text(&placeholder, "user.undelfs.reason");
    assert!(reason.contains("placeholder"), "{reason}");
    assert_eq!(walk::xattr_text(&placeholder, "user.undelfs.confidence"), "lost");
}
