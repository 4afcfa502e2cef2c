//! `scan`, `restore`, `demo`, and the generated files of a mount.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::Path,
    process::Stdio,
};

use undelfs_tests::{
    check::{self, Names},
    guard,
    manifest::Kind,
    program::{self, Tree, undelfs},
    recipe::{Made, Recipe},
    tools, walk,
};

fn made(dir: &Path, seed: u64) -> Made {
    Recipe { files: 200, ..Recipe::new(seed) }.make(dir)
}

fn scan(image: &Path, format: &str) -> Vec<u8> {
    let output = undelfs(["scan".as_ref(), image.as_os_str(), "--format".as_ref(), format.as_ref()]);
    assert!(output.status.success(), "{}", tools::said(&output));
    output.stdout
}

/// The rows of JSON lines. A name with half a surrogate pair stands escaped, which this parser does not take.
fn json(text: &str) -> impl Iterator<Item = serde_json::Value> {
    let readable = text.lines().filter(|line| !line.contains("\\ud"));
    readable.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
}

#[test]
fn scan_lists_every_deleted_file_as_jsonl_with_path_size_state_and_confidence() {
    let dir = guard::scratch();
    let Made { image, manifest } = made(dir.path(), 1101);
    let text = String::from_utf8(scan(&image, "jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = json(&text).collect();
    for file in manifest.known() {
        let paths: BTreeSet<_> = file.names.iter().filter_map(|name| name.path.to_str()).collect();
        if paths.is_empty() {
            continue; // Names that are no Unicode stand escaped.
        }
        let path = |row: &serde_json::Value| row["path"].as_str().unwrap().trim_start_matches('/').to_owned();
        let row = rows.iter().find(|row| paths.contains(path(row).as_str()));
        let Some(row) = row else { panic!("{paths:?} is missing") };
        assert_eq!(row["size"].as_u64(), Some(file.content().len as u64), "{row}");
        assert_eq!(row["state"], "deleted", "{row}");
        assert!(row["confidence"].is_string() && row["record"].is_u64(), "{row}");
    }
}

#[test]
fn scan_as_csv_has_one_header_and_one_row_for_each_entry() {
    let dir = guard::scratch();
    let Made { image, manifest } = made(dir.path(), 1102);
    let text = String::from_utf8_lossy(&scan(&image, "csv")).into_owned();
    let header = text.lines().next().unwrap();
    for column in ["path", "size", "state", "confidence", "record"] {
        assert!(header.split(',').any(|name| name == column), "no {column} in {header}");
    }
    assert!(text.lines().count() > manifest.deleted().count());
}

#[test]
fn scan_as_a_body_file_has_eleven_fields_that_mactime_reads() {
    let dir = guard::scratch();
    let Made { image, .. } = made(dir.path(), 1103);
    let body = scan(&image, "bodyfile");
    let rows: Vec<_> = body.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()).collect();
    assert!(rows.len() > 50);
    let odd = rows.iter().filter(|row| row.iter().filter(|byte| **byte == b'|').count() != 10).count();
    assert_eq!(odd, 0, "a name with `|` must be escaped");
    let file = dir.path().join("body");
    fs::write(&file, &body).unwrap();
    let table = tools::run("mactime", ["-b", file.to_str().unwrap(), "-d"]);
    assert!(table.lines().count() > rows.len() / 2);
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_scan_quietly() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 60, crowd: 4000, ..Recipe::new(1104) }.make(dir.path());
    let mut command = program::command();
    command.args(["scan", "--format", "jsonl"]).arg(&image).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn restore_copies_whole_folders_with_a_manifest_that_sha256sum_checks() {
    let dir = guard::scratch();
    let Made { image, manifest } = made(dir.path(), 1105);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let output = undelfs(["restore".as_ref(), image.as_os_str(), "/".as_ref(), copy.as_os_str()]);
    assert!(output.status.success(), "{}", tools::said(&output));
    // What an extended attribute of the target cannot hold stands beside the file as `file:stream`.
    let plain = manifest.deleted().filter(|file| file.streams.len() <= 4);
    check::assert_none("restored", &check::content(&copy, plain, Names::AnyDeleted));
    let mut check = tools::tool("sha256sum");
    let checked =
        tools::succeed(check.current_dir(&copy).args(["--check", "--strict", "undelfs-manifest.sha256"]));
    let rows = String::from_utf8_lossy(&checked.stdout).lines().count();
    assert!(rows >= manifest.deleted().filter(|file| file.link.is_none()).count(), "{rows}");
    let detail = fs::read_to_string(copy.join("undelfs-manifest.jsonl")).unwrap();
    assert!(json(&detail).count() > 0);
}

#[test]
fn restore_replaces_nothing_without_force_and_refuses_a_path_that_is_not_there() {
    let dir = guard::scratch();
    let Made { image, manifest } = made(dir.path(), 1106);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let file = manifest.known().find(|f| f.kind == Kind::Contiguous).unwrap();
    let restore = |more: &[&str]| {
        let mut command = program::command();
        command.arg("restore").args(more).arg(&image).arg("--").arg(file.path()).arg(&copy).output().unwrap()
    };
    assert!(restore(&[]).status.success());
    let place = walk::walk(&copy)
        .into_keys()
        .find(|path| path.file_name() == file.path().file_name())
        .map(|path| copy.join(path))
        .expect("the restored file");
    assert_eq!(walk::hash(&place).unwrap(), file.content().sha256());
    fs::write(&place, b"mine").unwrap();
    let again = restore(&[]);
    assert_ne!(again.status.code(), Some(0));
    assert_eq!(fs::read(&place).unwrap(), b"mine");
    assert!(restore(&["--force"]).status.success());
    assert_eq!(walk::hash(&place).unwrap(), file.content().sha256());

    let output = undelfs(["restore".as_ref(), image.as_os_str(), "no/such/path".as_ref(), copy.as_os_str()]);
    program::assert_refused(&output, 1, &["no/such/path"]);
}

#[test]
fn the_generated_folder_holds_catalogue_body_file_report_status_and_the_volume() {
    let dir = guard::scratch();
    let Made { image, .. } = made(dir.path(), 1107);
    let tree = Tree::mount(&image, &[]);
    let generated = tree.join(walk::GENERATED);
    let names: BTreeSet<_> = fs::read_dir(&generated)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["catalogue.jsonl", "bodyfile.txt", "report.txt", "status.json", "volume.img"] {
        assert!(names.contains(name), "{names:?}");
    }
    assert_eq!(fs::read(generated.join("catalogue.jsonl")).unwrap(), scan(&image, "jsonl"));
    assert_eq!(fs::read(generated.join("bodyfile.txt")).unwrap(), scan(&image, "bodyfile"));
    let status: serde_json::Value =
        serde_json::from_slice(&fs::read(generated.join("status.json")).unwrap()).unwrap();
    assert!(status.to_string().contains("hits") && status.to_string().contains("misses"), "{status}");
    assert_eq!(walk::hash(&generated.join("volume.img")).unwrap(), walk::hash(&image).unwrap());
    assert!(!fs::read_to_string(generated.join("report.txt")).unwrap().is_empty());
}

#[test]
fn the_sleuth_kit_reads_the_volume_through_the_mount() {
    let dir = guard::scratch();
    let Made { image, .. } = made(dir.path(), 1108);
    let tree = Tree::mount(&image, &[]);
    let list = |image: &Path| tools::run("fls", ["-r", "-p", image.to_str().unwrap()]);
    assert_eq!(list(&tree.join(".undelfs/volume.img")), list(&image));
}

#[test]
fn compressed_files_go_through_a_cache_whose_size_is_kept() {
    let dir = guard::scratch();
    let Made { image, manifest } = made(dir.path(), 1109);
    let tree = Tree::mount(&image, &["--cache-size", "1M", "--direct-io"]);
    for _ in 0..2 {
        for file in manifest.known().filter(|f| f.kind == Kind::Compressed) {
            let open = fs::File::open(tree.join(file.path())).unwrap();
            let expected = file.content().bytes();
            for (number, piece) in (0..).zip(expected.chunks(4096)) {
                let mut buffer = vec![0; piece.len()];
                open.read_exact_at(&mut buffer, number * 4096).unwrap();
                assert!(buffer == piece, "{} at {}", file.path().display(), number * 4096);
            }
        }
    }
    let status = fs::read_to_string(tree.join(".undelfs/status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let cache = &status["cache"];
    assert!(cache["hits"].as_u64().unwrap() > 0, "{status}");
    assert!(cache["bytes"].as_u64().unwrap() <= 1 << 20, "{status}");
}

#[test]
fn the_demo_mounts_the_bundled_image_lists_it_and_ends() {
    let dir = guard::scratch();
    let mut command = program::command();
    let output = command.args(["demo", "--once"]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    let said = tools::said(&output);
    for name in ["Thesis", "Measurements.csv", "桜の木.png"] {
        assert!(said.contains(name), "no {name} in\n{said}");
    }
}

#[test]
fn help_manual_page_and_completions_know_every_command() {
    let help = String::from_utf8_lossy(&undelfs(["--help"]).stdout).into_owned();
    for command in ["mount", "umount", "volumes", "scan", "restore", "demo"] {
        assert!(help.contains(command), "{help}");
        assert!(undelfs([command, "--help"]).status.success());
    }
    for what in ["man", "bash", "zsh", "fish", "powershell"] {
        let output = undelfs(["generate", what]);
        assert!(output.status.success() && output.stdout.len() > 500, "{what}: {}", tools::said(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("restore"), "{what}");
    }
}

#[test]
fn the_catalogue_names_every_path_that_the_tree_shows() {
    let dir = guard::scratch();
    let Made { image, .. } = made(dir.path(), 1110);
    let tree = Tree::mount(&image, &[]);
    let mut listed = BTreeSet::new();
    let text = fs::read_to_string(tree.join(".undelfs/catalogue.jsonl")).unwrap();
    for row in json(&text) {
        listed.insert(row["path"].as_str().unwrap().trim_start_matches('/').to_owned());
    }
    let shown = walk::walk(tree.root());
    let files = shown.iter().filter(|(_, node)| node.kind == walk::NodeKind::File);
    let missing: Vec<_> = files
        .filter_map(|(path, _)| std::str::from_utf8(path.as_os_str().as_bytes()).ok())
        .filter(|path| !listed.contains(*path))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
