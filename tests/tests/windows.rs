//! The program for Windows under Wine, beside the one for Linux. `cargo xtask windows` builds it and runs this.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use undelfs_tests::{
    content::hex,
    demo,
    fmapi::{self, How, Program},
    guard,
    program::{self, Tree},
    recipe::{Made, Recipe},
    tools,
    walk::{self, NodeKind},
};

fn variable(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name}: `cargo xtask windows` sets it")).into()
}

/// The program for Windows.
fn windows() -> Command {
    let mut command = Command::new("wine");
    command.arg(variable("UNDELFS_EXE")).env_remove("UNDELFS_LOG");
    command
}

/// Both programs with the same arguments, in the same folder.
fn both(dir: &Path, args: &[&str]) -> (Output, Output) {
    let run = |mut command: Command| {
        command.args(args).current_dir(dir);
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    };
    (run(program::command()), run(windows()))
}

/// What a command prints is the same on both systems, to the byte, and so is its exit code.
fn same(dir: &Path, args: &[&str]) -> Vec<u8> {
    let (linux, windows) = both(dir, args);
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(linux.status.code(), windows.status.code(), "{args:?}: {} {}", said(&linux), said(&windows));
    if linux.stdout != windows.stdout {
        let (linux, windows) = (linux.stdout, windows.stdout);
        let lines =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
        let pair = lines(&linux).into_iter().zip(lines(&windows)).find(|(one, other)| one != other);
        panic!("{args:?}: {} and {} bytes; first difference {pair:?}", linux.len(), windows.len());
    }
    assert_eq!(said(&linux), said(&windows), "{args:?}");
    linux.stdout
}

/// A device under the name that a drive has under Wine. The letter is free again when dropped.
struct Drive {
    link: PathBuf,
}

impl Drive {
    fn new(letter: char, device: &Path) -> Self {
        let link = variable("WINEPREFIX").join("dosdevices").join(format!("{letter}::"));
        let _ = fs::remove_file(&link);
        symlink(device, &link).unwrap();
        Self { link }
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
    }
}

#[test]
fn every_listing_is_the_same_on_both_systems() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 300, ..Recipe::new(901) }.make(dir.path());
    let image = image.to_str().unwrap();
    demo::make(&dir.path().join("demo.img"));
    for source in [image, "demo.img"] {
        for view in ["deleted", "all", "regular"] {
            let listed = same(dir.path(), &["scan", source, "--format", "jsonl", "--view", view]);
            assert!(listed.iter().filter(|byte| **byte == b'\n').count() > 10);
        }
        for format in ["table", "csv", "bodyfile"] {
            same(dir.path(), &["scan", source, "--format", format]);
        }
        same(dir.path(), &["scan", source, "--check", "--deep", "--format", "jsonl"]);
        same(dir.path(), &["volumes", source]);
        same(dir.path(), &["volumes", source, "--lost", "--format", "jsonl"]);
    }
}

#[test]
fn restored_files_have_the_same_hashes_on_both_systems() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 300, ..Recipe::new(902) }.make(dir.path());
    let image = image.to_str().unwrap();
    let restore = |mut command: Command, dest: &str| {
        command
            .args(["restore", image, "/", dest, "--view", "all", "--streams", "files"])
            .current_dir(dir.path());
        let output = command.output().unwrap();
        let text = fs::read_to_string(dir.path().join(dest).join("undelfs-manifest.jsonl"))
            .unwrap_or_else(|error| panic!("{error}: {}", tools::said(&output)));
        // By the path in the tree: a name that one system cannot have is another one there.
        let sums = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let path =
                ["tree_path_hex", "path_hex", "tree_path", "path"].iter().find_map(|key| line.get(key));
            (
                path.unwrap().to_string(),
                (line["sha256"].clone(), line["size"].clone(), line["restored"].clone()),
            )
        });
        (output.status.code(), sums.collect::<BTreeMap<_, _>>())
    };
    let (code, linux) = restore(program::command(), "linux");
    let (other, windows) = restore(windows(), "windows");
    assert!(linux.len() > 300, "{}", linux.len());
    for (path, sum) in &linux {
        assert_eq!(windows.get(path), Some(sum), "{path}");
    }
    assert_eq!((linux.len(), code), (windows.len(), other));
}

#[test]
fn a_drive_is_read_as_the_device_behind_it() {
    let dir = guard::scratch();
    let image = dir.path().join("demo.img");
    demo::make(&image);
    let device = guard::Loop::attach(&image, 512);
    let expected = program::undelfs([Path::new("scan"), &image, Path::new("--format"), Path::new("jsonl")]);
    let _drive = Drive::new('d', device.device());
    let output = windows().args(["scan", r"\\.\D:", "--format", "jsonl"]).output().unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    assert!(output.stdout == expected.stdout);
    let output = windows().args(["scan", r"\\.\Y:"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not exist"), "{}", tools::said(&output));
}

#[test]
fn without_winfsp_the_program_runs_and_says_what_mounting_needs() {
    let dir = guard::scratch();
    demo::make(&dir.path().join("demo.img"));
    let output = windows().args(["mount", "demo.img", "X:"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("winget install"), "{}", tools::said(&output));
    let output = windows().args(["umount", "X:"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no tree of undelfs"),
        "{}",
        tools::said(&output)
    );
}

/// Compiles an example of the C library for Windows.
fn example(name: &str, dir: &Path) -> PathBuf {
    let program = dir.join(name).with_extension("exe");
    tools::succeed(
        Command::new("x86_64-w64-mingw32-gcc")
            .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
            // A DWORD is a `long` there, of the same 32 bits as the `int` that the format says.
            .args(["-Wno-format", "-Wno-cast-function-type", "-D__USE_MINGW_ANSI_STDIO=1", "-I"])
            .arg(fmapi::home().join("include"))
            .arg(fmapi::example(name))
            .arg("-o")
            .arg(&program),
    );
    program
}

#[test]
fn programs_in_c_get_the_same_from_the_dll_as_from_the_library_of_linux() {
    let dir = guard::scratch();
    let Made { image, .. } = Recipe { files: 200, ..Recipe::new(904) }.make(dir.path());
    let dll = variable("UNDELFS_EXE").with_file_name("fmapi.dll");
    assert!(dll.is_file(), "{} is missing", dll.display());
    let run = |name: &str, args: &[&str]| {
        let mut command = Command::new("wine");
        command.arg(example(name, dir.path())).arg(&image).args(args).env("FMAPI_LIBRARY", &dll);
        tools::succeed(command.current_dir(dir.path())).stdout
    };
    for (name, args) in
        [("scan", &["all"][..]), ("scan", &[]), ("version_check", &[]), ("detect_boot_sector", &[])]
    {
        let linux = Program::compile(&fmapi::example(name), dir.path(), How::Plain);
        let args_with_image = [image.to_str().unwrap()].into_iter().chain(args.iter().copied());
        assert!(run(name, args) == linux.run(args_with_image), "{name} {args:?}");
    }

    let hashes = |folder: &str| {
        let walked = walk::walk(&dir.path().join(folder));
        let hash = |path: &PathBuf| walk::hash(&dir.path().join(folder).join(path)).unwrap();
        walked.keys().map(|path| (path.clone(), hash(path))).collect::<BTreeMap<_, _>>()
    };
    fs::create_dir(dir.path().join("windows")).unwrap();
    fs::create_dir(dir.path().join("linux")).unwrap();
    run("restore_all", &["windows"]);
    let linux = Program::compile(&fmapi::example("restore_all"), dir.path(), How::Plain);
    linux.run([image.as_path(), &dir.path().join("linux")]);
    let linux = hashes("linux");
    assert!(linux.len() > 50, "{}", linux.len());
    assert_eq!(hashes("windows"), linux);
}

/// The nodes of the Linux mount, their contents one behind the other, and the image, for the test of the back end.
fn prepare(dir: &Path) -> usize {
    let recipe = Recipe { files: 600, ..Recipe::new(903) };
    let Made { image, .. } = recipe.make(dir);
    fs::rename(&image, dir.join("image.img")).unwrap();
    let tree = Tree::mount(&dir.join("image.img"), &["--view", "all", "--streams", "files"]);
    let mut nodes = fs::File::create(dir.join("nodes.jsonl")).unwrap();
    let mut contents = fs::File::create(dir.join("contents.bin")).unwrap();
    let mut at = 0u64;
    let all = walk::walk(tree.root());
    for (path, node) in &all {
        let mut line = json!({ "path": hex(path.as_os_str().as_bytes()), "size": node.size });
        match &node.kind {
            NodeKind::Directory => line["kind"] = "directory".into(),
            NodeKind::Link(_) => line["kind"] = "link".into(),
            NodeKind::File => {
                let content = fs::read(tree.join(path)).unwrap();
                line["kind"] = "file".into();
                line["sha256"] = walk::hash(&tree.join(path)).unwrap().into();
                line["at"] = at.into();
                contents.write_all(&content).unwrap();
                at += content.len() as u64;
            }
        }
        writeln!(nodes, "{line}").unwrap();
    }
    tree.unmount();
    all.len()
}

#[test]
fn the_back_end_gives_what_the_linux_mount_gives() {
    let dir = guard::scratch();
    assert!(prepare(dir.path()) > 600);
    let output = Command::new("wine")
        .arg(variable("UNDELFS_EXE_TESTS"))
        .args(["winfsp::tests::walk::", "--nocapture"])
        .env("UNDELFS_WALK", dir.path())
        .output()
        .unwrap();
    let said = tools::said(&output);
    assert!(output.status.success() && said.contains("3 passed"), "{said}");
    eprintln!("{}", said.lines().filter(|line| line.contains("nodes")).collect::<String>());
}
