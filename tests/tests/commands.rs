//! `scan`, `restore`, `demo`, and the generated files of a mount.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use undelfs_tests::{
    check::{self, Names},
    guard,
    manifest::Kind,
    names,
    ntfs3g::{self, Volume},
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

/// An image of a volume from which everything that `make` put there was deleted.
fn deleted(dir: &Path, make: impl Fn(&Path)) -> PathBuf {
    let image = dir.join("deleted.img");
    let (size, cluster, sector) = (32 << 20, 4096, 512);
    ntfs3g::format(&image, &ntfs3g::Format { size, cluster, sector, label: "Deleted".into() });
    let volume = Volume::write(&image);
    make(volume.root());
    volume.unmount();
    let volume = Volume::write(&image);
    for entry in fs::read_dir(volume.root()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    volume.unmount();
    image
}

/// Runs `undelfs restore IMAGE` with these further arguments.
fn restore(image: &Path, args: &[&OsStr]) -> Output {
    program::command().arg("restore").arg(image).args(args).output().unwrap()
}

fn restored(output: &Output) {
    assert!(output.status.success(), "{}", tools::said(output));
}

fn details(copy: &Path) -> Vec<serde_json::Value> {
    json(&fs::read_to_string(copy.join("undelfs-manifest.jsonl")).unwrap()).collect()
}

#[test]
fn restore_refuses_two_paths_that_would_get_one_name_and_takes_one_path_twice() {
    let dir = guard::scratch();
    let image = deleted(dir.path(), |root| {
        for folder in ["A", "B"] {
            fs::create_dir(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("x"), folder).unwrap();
        }
    });
    let copy = dir.path().join("copy");
    let into = copy.as_os_str();
    for force in [&[][..], &["--force".as_ref()]] {
        let output = restore(&image, &[force, &["A/x".as_ref(), "B/x".as_ref(), into]].concat());
        program::assert_refused(&output, 2, &["A/x", "B/x"]);
        assert!(!copy.exists());
    }
    restored(&restore(&image, &["A/x".as_ref(), "./A/x".as_ref(), "/".as_ref(), "B".as_ref(), into]));
    assert_eq!(fs::read(copy.join("A/x")).unwrap(), b"A");
    assert_eq!(fs::read(copy.join("B/x")).unwrap(), b"B");
}

#[test]
fn restore_refuses_the_generated_folder_and_what_is_in_it() {
    let dir = guard::scratch();
    let image = deleted(dir.path(), |root| fs::write(root.join("x"), "x").unwrap());
    let copy = dir.path().join("copy");
    for path in [".undelfs", "/.undelfs/report.txt"] {
        program::assert_refused(
            &restore(&image, &[path.as_ref(), copy.as_os_str()]),
            2,
            &[".undelfs", "mount"],
        );
    }
    assert!(!copy.exists());
}

#[test]
fn without_force_the_attributes_of_a_file_that_exists_are_left_as_they_are() {
    let dir = guard::scratch();
    let image = deleted(dir.path(), |root| {
        fs::write(root.join("x"), "theirs").unwrap();
        fs::write(root.join("x:note"), "their note").unwrap();
    });
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let mine = copy.join("x");
    fs::write(&mine, "mine").unwrap();
    let note = || {
        let mut value = [0; 100];
        let read = rustix::fs::lgetxattr(&mine, "user.note", &mut value[..]).ok()?;
        Some(value[..read].to_vec())
    };
    for streams in ["xattr", "files"] {
        let output =
            restore(&image, &["--streams".as_ref(), streams.as_ref(), "/".as_ref(), copy.as_os_str()]);
        assert_eq!(output.status.code(), Some(4), "{}", tools::said(&output));
        assert_eq!(note(), None);
        assert!(!copy.join("x:note").exists());
    }
    restored(&restore(&image, &["--force".as_ref(), "/".as_ref(), copy.as_os_str()]));
    assert_eq!(fs::read(&mine).unwrap(), b"theirs");
    assert_eq!(note().unwrap(), b"their note");
}

#[test]
fn a_stream_that_is_named_like_a_verdict_of_the_program_becomes_a_file() {
    let dir = guard::scratch();
    let image = deleted(dir.path(), |root| {
        fs::write(root.join("x"), "x").unwrap();
        fs::write(root.join("x:undelfs.confidence"), "certain").unwrap();
    });
    let copy = dir.path().join("copy");
    restored(&restore(&image, &["/".as_ref(), copy.as_os_str()]));
    assert!(rustix::fs::lgetxattr(copy.join("x"), "user.undelfs.confidence", &mut [0; 100][..]).is_err());
    assert_eq!(fs::read(copy.join("x:undelfs.confidence")).unwrap(), b"certain");
}

#[test]
fn deleted_files_that_are_called_like_the_manifest_are_restored_beside_it() {
    let dir = guard::scratch();
    let own = ["undelfs-manifest.sha256", "undelfs-manifest.jsonl"];
    let image = deleted(dir.path(), |root| {
        for name in own {
            fs::write(root.join(name), "an earlier rescue").unwrap();
        }
    });
    let copy = dir.path().join("copy");
    for _ in 0..2 {
        restored(&restore(&image, &["--force".as_ref(), "/".as_ref(), copy.as_os_str()]));
        let rows = details(&copy);
        for name in own {
            let row = rows.iter().find(|row| row["tree_path"] == name).unwrap();
            let file = row["path"].as_str().unwrap();
            assert!(file.contains(" (record "), "{row}");
            assert_eq!(fs::read(copy.join(file)).unwrap(), b"an earlier rescue");
        }
        let mut check = tools::tool("sha256sum");
        tools::succeed(check.current_dir(&copy).args(["--check", "--strict", own[0]]));
        assert_eq!(fs::read_dir(&copy).unwrap().count(), 4);
    }
}

#[test]
fn even_with_force_no_restored_file_takes_the_place_of_another_one() {
    let dir = guard::scratch();
    let own = "undelfs-manifest.sha256";
    let image = deleted(dir.path(), |root| {
        fs::write(root.join(own), "reserved").unwrap();
        let record = fs::metadata(root.join(own)).unwrap().ino();
        fs::write(root.join(format!("undelfs-manifest (record {record}).sha256")), "marked").unwrap();
    });
    let copy = dir.path().join("copy");
    restored(&restore(&image, &["--force".as_ref(), "/".as_ref(), copy.as_os_str()]));
    let rows = details(&copy);
    let contents: BTreeSet<_> = rows
        .iter()
        .map(|row| fs::read_to_string(copy.join(row["path"].as_str().unwrap())).unwrap())
        .collect();
    assert_eq!(contents, BTreeSet::from(["reserved".to_owned(), "marked".to_owned()]), "{rows:#?}");
}

#[test]
fn names_that_are_too_long_are_cut_and_stand_in_full_in_the_manifest() {
    let dir = guard::scratch();
    let folder = "я".repeat(255);
    let inside = format!("{folder}/x");
    let image = deleted(dir.path(), |root| {
        fs::create_dir(root.join(&folder)).unwrap();
        for name in names::longest().into_iter().skip(1).chain([inside.clone()]) {
            fs::write(root.join(&name), &name).unwrap();
        }
    });
    let copy = dir.path().join("copy");
    restored(&restore(&image, &["/".as_ref(), copy.as_os_str()]));
    let rows = details(&copy);
    for path in names::longest().into_iter().skip(1).chain([inside.clone()]) {
        let row = rows.iter().find(|row| row["tree_path"] == *path);
        let Some(row) = row else { panic!("{path} is missing in {rows:#?}") };
        let file = row["path"].as_str().unwrap();
        let first = file.split('/').next().unwrap();
        assert!(first.len() <= 255 && first.contains(" (record "), "{file}");
        assert_eq!(fs::read_to_string(copy.join(file)).unwrap(), path);
    }
}

#[test]
fn under_sudo_what_is_restored_belongs_to_the_caller() {
    let dir = guard::scratch();
    let image = deleted(dir.path(), |root| {
        fs::create_dir(root.join("folder")).unwrap();
        fs::write(root.join("folder/x"), "x").unwrap();
        fs::hard_link(root.join("folder/x"), root.join("folder/y")).unwrap();
        std::os::unix::fs::symlink("x", root.join("folder/link")).unwrap();
    });
    let copy = dir.path().join("new/copy");
    let mut command = program::command();
    command.env("SUDO_UID", "65534").env("SUDO_GID", "65533");
    tools::succeed(command.arg("restore").arg(&image).arg("/").arg(&copy));
    let mut paths: Vec<PathBuf> = walk::walk(&copy).into_keys().map(|path| copy.join(path)).collect();
    assert!(paths.len() >= 5, "{paths:?}");
    paths.extend([copy.clone(), dir.path().join("new")]);
    for path in paths {
        let there = fs::symlink_metadata(&path).unwrap();
        assert_eq!((there.uid(), there.gid()), (65_534, 65_533), "{}", path.display());
    }
    assert_eq!(fs::symlink_metadata(dir.path()).unwrap().uid(), 0);
}

#[test]
fn restore_finds_a_path_in_any_case_and_keeps_the_case_that_the_volume_has() {
    let dir = guard::scratch();
    let Made { image, manifest } = made(dir.path(), 1120);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let upper =
        |path: &std::path::Path| path.to_str().map(str::to_uppercase).filter(|upper| path != upper.as_str());
    let file =
        manifest.known().find(|file| file.kind == Kind::Contiguous && upper(file.path()).is_some()).unwrap();
    let mut command = program::command();
    command.arg("restore").arg(&image).arg("--").arg(upper(file.path()).unwrap()).arg(&copy);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    assert_eq!(fs::read(copy.join(file.path().file_name().unwrap())).unwrap(), file.content().bytes());
}
