//! The C library, as programs in C use it.
//!
//! Tests that are named after a row of the documented tables run the case of that name in `src/fmapi/contract_*.c`, with
//! the sanitizers.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use flate2::read::GzDecoder;
use rustix::fs::{Mode, OFlags};
use undelfs_tests::{
    bitlocker::{Maker, Method, Protector, recovery_password},
    check::{self, Names},
    disk,
    encrypted::{Encrypted, protectors, recovery},
    fmapi::{self, How, Program, contract, example, library, restore_all},
    guard::{self, Loop, Mounted},
    manifest::{File, Manifest},
    program,
    recipe::Recipe,
    tools, walk,
};

/// Where programs in C are put.
fn programs(kind: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fmapi").join(kind);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The parts of the contract, each with its program.
static SCAN: LazyLock<Program> = LazyLock::new(|| sanitized("scan"));
static RESTORE: LazyLock<Program> = LazyLock::new(|| sanitized("restore"));
static KEYS: LazyLock<Program> = LazyLock::new(|| sanitized("keys"));

fn sanitized(part: &str) -> Program {
    Program::compile(&contract(part), &programs("contract"), How::Sanitized)
}

/// The bundled image in `dir`.
fn demo(dir: &Path) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/demo.img.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(packed).unwrap()).read_to_end(&mut bytes).unwrap();
    let image = dir.join("demo.img");
    fs::write(&image, bytes).unwrap();
    image
}

/// Runs one case on the bundled image.
fn row(program: &Program, name: &str) {
    let dir = guard::scratch();
    let image = demo(dir.path());
    let before = fs::read(&image).unwrap();
    program.run([name.as_ref(), image.as_os_str(), dir.path().as_os_str()]);
    assert!(fs::read(&image).unwrap() == before, "the image was written to");
}

macro_rules! rows {
    ($program:ident: $($name:ident)*) => { $(
        #[test]
        fn $name() {
            row(&$program, stringify!($name));
        }
    )* };
}

rows! { SCAN:
    create_with_another_version_is_invalid_parameter
    create_on_a_system_of_one_version_refuses_the_other
    create_takes_exactly_one_of_volume_and_disk_and_no_unknown_flag
    create_of_a_volume_that_is_not_there_is_file_not_found
    create_with_a_volume_ignores_the_sectors
    close_of_a_closed_foreign_or_null_context_is_invalid_handle
    every_call_with_a_closed_context_is_invalid_handle
    scan_delivers_an_entry
    scan_with_too_small_a_buffer_is_insufficient_buffer_and_loses_nothing
    scan_with_nothing_left_is_no_more_files_again_and_again
    scan_with_size_0_succeeds_with_the_needed_size_and_does_not_advance
    scan_without_room_for_its_answer_is_invalid_parameter
    scan_takes_any_buffer_whatever_its_alignment
    scan_reads_its_path_on_the_first_call_only
    scan_of_a_missing_folder_is_path_not_found_and_can_begin_elsewhere
    scan_flags_say_what_is_listed
    detect_boot_sector_needs_no_context_and_leaves_the_last_error
}

rows! { RESTORE:
    restore_copies_a_file_and_tells_of_it
    restore_of_an_overwritten_file_succeeds_as_a_partial_copy
    restore_of_a_directory_is_invalid_parameter
    restore_of_an_entry_of_another_context_is_invalid_parameter
    restore_to_a_place_that_cannot_be_written_says_why
    restore_is_cancelled_by_its_callback_and_leaves_nothing
    restore_that_leaves_an_incomplete_file_says_so
    restore_is_cancelled_by_a_close_from_another_thread
    restore_is_cancelled_by_a_close_in_its_own_callback
    restore_works_while_scanning_and_when_exhausted
    restore_before_any_scan_knows_no_entry
    close_works_in_every_state
    threads_share_a_scan_without_losing_or_doubling_an_entry
    a_close_ends_the_calls_of_all_threads
    each_thread_has_its_own_last_error
}

rows! { KEYS:
    detect_encrypted_volume_of_a_plain_one_tells_so
    in_version_2_what_is_obsolete_is_not_supported
}

#[test]
fn restore_to_a_full_disk_is_disk_full_and_leaves_nothing() {
    let dir = guard::scratch();
    let image = demo(dir.path());
    let small = guard::scratch();
    tools::run("mount", ["-t", "tmpfs", "-o", "size=64k", "none", small.path().to_str().unwrap()]);
    let mounted = Mounted::new(small.path(), None);
    RESTORE.run([
        "restore_to_a_full_disk_is_disk_full_and_leaves_nothing".as_ref(),
        image.as_os_str(),
        mounted.dir().as_os_str(),
    ]);
    mounted.unmount();
}

/// Gives the first `$DATA` attribute of a FILE record another type, so that nothing describes the content any more.
fn hide_content(image: &mut [u8], record: usize) {
    const RECORD: usize = 1024;
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    let start = u32_at(0x30) * u16_at(11) * usize::from(image[13]) + record * RECORD;
    assert_eq!(&image[start..start + 4], b"FILE");
    let mut at = start + u16_at(start + 20);
    while u32_at(at) != 0x80 {
        at += u32_at(at + 4);
    }
    image[at] = 0x70;
}

#[test]
fn restore_of_a_lost_content_is_file_corrupt_and_makes_no_file() {
    let dir = guard::scratch();
    let image = demo(dir.path());
    let said = tools::succeed(program::command().args(["scan", "--format", "jsonl"]).arg(&image));
    let said = String::from_utf8(said.stdout).unwrap();
    let entries = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let entry =
        entries.into_iter().find(|entry| entry["path"].as_str().unwrap().ends_with("All interviews.txt"));
    let record = entry.unwrap()["record"].as_u64().unwrap();
    let mut bytes = fs::read(&image).unwrap();
    hide_content(&mut bytes, record as usize);
    fs::write(&image, bytes).unwrap();
    RESTORE.run([
        "restore_of_a_lost_content_is_file_corrupt_and_makes_no_file".as_ref(),
        image.as_os_str(),
        dir.path().as_os_str(),
    ]);
}

/// Runs a case on an encrypted volume, with its startup key, its recovery password, that of another and its size.
fn encrypted_row(name: &str, seed: u64) {
    let volume = Encrypted::new(seed, &Maker::new(Method::Xts128, &protectors()));
    let bek = volume.made.write_bek(volume.dir.path());
    let [own, other, size] = [recovery(), recovery_password(8), volume.made.size.to_string()];
    KEYS.run([
        name.as_ref(),
        volume.image().as_os_str(),
        bek.as_os_str(),
        own.as_ref(),
        other.as_ref(),
        size.as_ref(),
    ]);
}

#[test]
fn in_version_2_the_extension_is_a_flag_or_the_environment() {
    encrypted_row("in_version_2_the_extension_is_a_flag_or_the_environment", 801);
}

#[test]
fn a_locked_volume_is_created_and_scanned_only_with_a_key() {
    encrypted_row("a_locked_volume_is_created_and_scanned_only_with_a_key", 802);
}

#[test]
fn keys_after_the_first_scan_are_too_late() {
    encrypted_row("keys_after_the_first_scan_are_too_late", 803);
}

#[test]
fn a_key_package_stands_for_lost_metadata() {
    let volume = Encrypted::new(804, &Maker::new(Method::Xts128, &protectors()));
    let protector = volume.made.protector(|one| matches!(one, Protector::RecoveryPassword(_)));
    let package = volume.file("package", &volume.made.key_package(protector));
    let image = fs::File::options().write(true).open(volume.image()).unwrap();
    for block in volume.made.metadata {
        image.write_all_at(&vec![0; volume.made.metadata_size as usize], block).unwrap();
    }
    KEYS.run([
        "a_key_package_stands_for_lost_metadata".as_ref(),
        volume.image().as_os_str(),
        recovery().as_ref(),
        package.as_os_str(),
    ]);
}

#[test]
fn create_with_a_disk_takes_the_boot_sector_at_either_end() {
    let dir = guard::scratch();
    let volume = demo(dir.path());
    let one = disk::mbr(&dir.path().join("one.img"), &[&volume]);
    let (start, sectors) = one.partitions[0];
    SCAN.run([
        "create_with_a_disk_takes_the_boot_sector_at_either_end".as_ref(),
        one.image.as_os_str(),
        start.to_string().as_ref(),
        (start + sectors - 1).to_string().as_ref(),
    ]);
}

#[test]
fn create_with_a_volume_refuses_a_disk_with_several() {
    let dir = guard::scratch();
    let volume = demo(dir.path());
    let two = disk::mbr(&dir.path().join("two.img"), &[&volume, &volume]);
    SCAN.run(["create_with_a_volume_refuses_a_disk_with_several".as_ref(), two.image.as_os_str()]);
}

#[test]
fn the_library_exports_what_its_headers_declare_and_nothing_else() {
    let said = tools::run("nm", ["-D".as_ref(), "--defined-only".as_ref(), library().as_os_str()]);
    let names: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let mut expected = Vec::new();
    for header in fs::read_dir(fmapi::home().join("include")).unwrap() {
        let text = fs::read_to_string(header.unwrap().path()).unwrap();
        // The types of callbacks have no name behind the word.
        let declared = text.split(" WINAPI ").skip(1).filter_map(|rest| rest.split_once('('));
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        expected.extend(declared.map(|(name, _)| name).filter(is_name).map(str::to_owned));
        // Those of Certificate Services are declared by the types that they have.
        let typed =
            text.lines().filter_map(|line| line.strip_suffix(';')?.strip_prefix("FN")?.split_once(' '));
        expected.extend(typed.map(|(_, name)| name).filter(is_name).map(str::to_owned));
    }
    expected.sort();
    assert!(expected.len() > 30 && expected.iter().any(|name| name == "CreateFileRestoreContext"));
    assert_eq!(names, expected);
}

#[test]
fn the_header_is_c_and_cpp() {
    let dir = guard::scratch();
    let source = dir.path().join("user.c");
    let code = "#include \"fmapi.h\"\n#include \"efsraw.h\"\n#include \"certsrv.h\"\nint main(void) { return FILE_RESTORE_VERSION_CURRENT != 0x20000; }\n";
    fs::write(&source, code).unwrap();
    let languages: [(&str, &[&str]); 4] = [
        ("gcc", &["-std=c11"]),
        ("gcc", &["-std=gnu17"]),
        ("g++", &["-x", "c++", "-std=c++11"]),
        ("g++", &["-x", "c++", "-std=c++20"]),
    ];
    for (compiler, language) in languages {
        let mut compile = tools::tool(compiler);
        compile.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]).args(language);
        tools::succeed(compile.arg("-I").arg(fmapi::home().join("include")).arg(&source));
    }
}

#[test]
fn the_samples_version_check_and_boot_sector_detection_tell_what_they_should() {
    let dir = guard::scratch();
    let image = demo(dir.path());
    for (how, kind) in [(How::Plain, "plain"), (How::Sanitized, "sanitized"), (How::Valgrind, "valgrind")] {
        let check = Program::compile(&example("version_check"), &programs(kind), how);
        assert_eq!(check.run([&image]), b"version 2\n", "{how:?}");
        let output = check.command([&image]).env("FMAPI_VERSION", "1").output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"another version\n"[..]), "{how:?}");
        let detect = Program::compile(&example("detect_boot_sector"), &programs(kind), how);
        let expected = b"file system NTFS, sector 512, cluster 8, sectors 32767, encrypted 0\n";
        assert_eq!(detect.run([&image]), expected, "{how:?}");
    }
}

#[test]
fn the_sample_scan_lists_the_same_paths_as_the_program() {
    let dir = guard::scratch();
    let image = demo(dir.path());
    let said =
        tools::succeed(program::command().args(["scan", "--view", "all", "--format", "jsonl"]).arg(&image));
    let mut expected: Vec<String> = String::from_utf8(said.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            let size = if entry["type"] == "directory" { 0 } else { entry["size"].as_u64().unwrap() };
            let path = entry["path"].as_str().unwrap().replace('/', "\\");
            format!("{}\t{size}\t\\{path}", entry["state"].as_str().unwrap())
        })
        .collect();
    expected.sort();
    for (how, kind) in [(How::Plain, "plain"), (How::Sanitized, "sanitized"), (How::Valgrind, "valgrind")] {
        let scan = Program::compile(&example("scan"), &programs(&format!("scan-{kind}")), how);
        let said = String::from_utf8(scan.run([image.as_os_str(), "all".as_ref()])).unwrap();
        let mut found: Vec<String> = said.lines().map(str::to_owned).collect();
        found.sort();
        assert_eq!(found, expected, "{how:?}");
    }
}

/// Restores all deleted files of `image` and compares them with the manifest, to the byte. Returns how many named
/// streams were there to compare.
fn assert_restores(program: &Program, image: &Path, manifest: &Manifest, args: &[&str]) -> usize {
    let dir = guard::scratch();
    let tree = dir.path().join("tree");
    let names = manifest.files.iter().flat_map(|file| &file.names);
    let known: Vec<&Path> = names.map(|name| name.path.as_path()).collect();
    let restored = restore_all(program, image, &tree, &known, args);
    // Not every file system has room for all streams of a file as attributes; then the result says so.
    let partial: Vec<&Path> =
        restored.iter().filter(|one| one.error == 299).map(|one| one.path.as_path()).collect();
    let mut files: Vec<File> = manifest.deleted().filter(|file| file.link.is_none()).cloned().collect();
    for file in &mut files {
        if file.names.iter().any(|name| name.wiped || partial.contains(&name.path.as_path())) {
            file.streams.truncate(1);
        }
    }
    check::assert_none("restored", &check::content(&tree, files.iter(), Names::AnyDeleted));
    let has_streams = |path: &Path| {
        let of = |file: &&File| file.names.iter().any(|name| name.path == path || name.wiped);
        manifest.deleted().any(|file| of(&file) && file.streams.len() > 1)
    };
    for one in &restored {
        assert!(one.error == 0 || (one.error == 299 && has_streams(&one.path)), "{one:?}");
        assert!(one.progress > 0 || one.error == 299, "{one:?}");
    }
    let mut compared = 0;
    for file in manifest.deleted().filter(|file| file.link.is_none()) {
        for path in file.names.iter().map(|name| tree.join(&name.path)).filter(|path| path.exists()) {
            for stream in file.streams.iter().skip(1) {
                if let Some(value) = walk::xattr(&path, &format!("user.{}", stream.name)) {
                    assert!(value == stream.content.bytes(), "{} of {}", stream.name, path.display());
                    compared += 1;
                }
            }
        }
    }
    compared
}

#[test]
fn every_deleted_file_of_a_volume_is_restored_to_the_byte() {
    let dir = guard::scratch();
    let made = Recipe { files: 300, ..Recipe::new(810) }.make(dir.path());
    for (how, kind) in [(How::Plain, "plain"), (How::Sanitized, "sanitized")] {
        let program = Program::compile(&example("restore_all"), &programs(&format!("restore-{kind}")), how);
        let streams = assert_restores(&program, &made.image, &made.manifest, &[]);
        assert!(streams > 0, "no named stream was restored");
    }
}

#[test]
fn every_deleted_file_is_restored_under_valgrind_without_an_error_or_a_leak() {
    let dir = guard::scratch();
    let made = Recipe { files: 60, fragments: false, ..Recipe::new(811) }.make(dir.path());
    let program = Program::compile(&example("restore_all"), &programs("restore-valgrind"), How::Valgrind);
    assert_restores(&program, &made.image, &made.manifest, &[]);
}

#[test]
fn every_deleted_file_of_an_encrypted_volume_is_restored_with_its_recovery_password() {
    let volume = Encrypted::new(812, &Maker::new(Method::Cbc128Elephant, &protectors()));
    let program = Program::compile(&example("restore_all"), &programs("restore-encrypted"), How::Sanitized);
    assert_restores(&program, volume.image(), &volume.manifest, &[&recovery()]);
}

/// A process that has `volume` open.
struct Holder {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Holder {
    fn new(volume: &Path) -> Self {
        let mut command = SCAN.command(["hold".as_ref(), volume.as_os_str()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut holder = Self { process, said };
        holder.wait_for("open\n");
        holder
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line, word);
    }

    fn close_context(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.wait_for("closed\n");
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.kill();
    }
}

fn exclusive(device: &Path) -> Result<(), rustix::io::Errno> {
    rustix::fs::open(device, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

#[test]
fn an_open_context_locks_a_device_until_it_is_closed_or_the_process_is_killed() {
    let dir = guard::scratch();
    let device = Loop::attach(&demo(dir.path()), 512);
    exclusive(device.device()).unwrap();
    let mut holder = Holder::new(device.device());
    assert_eq!(exclusive(device.device()), Err(rustix::io::Errno::BUSY));
    holder.close_context();
    exclusive(device.device()).unwrap();
    drop(holder);
    let mut killed = Holder::new(device.device());
    assert_eq!(exclusive(device.device()), Err(rustix::io::Errno::BUSY));
    killed.kill();
    exclusive(device.device()).unwrap();
}

#[test]
fn an_open_context_locks_an_image_and_two_contexts_share_it() {
    let dir = guard::scratch();
    let image = demo(dir.path());
    let mut one = Holder::new(&image);
    let mut two = Holder::new(&image);
    one.close_context();
    assert!(!program::is_unlocked(&image));
    two.close_context();
    assert!(program::is_unlocked(&image));
}

#[test]
fn a_device_name_of_windows_stands_for_the_device() {
    let dir = guard::scratch();
    let device = Loop::attach(&demo(dir.path()), 512);
    let drives = dir.path().join("dosdevices");
    fs::create_dir(&drives).unwrap();
    std::os::unix::fs::symlink(device.device(), drives.join("d::")).unwrap();
    let name = device.device().file_name().unwrap().to_str().unwrap();
    let scan = Program::compile(&example("scan"), &programs("names"), How::Plain);
    for volume in [format!(r"\\.\{name}"), r"\\.\D:".to_owned(), r"\\.\d:".to_owned()] {
        let mut command: Command = scan.command([&volume]);
        let said = tools::succeed(command.env("WINEPREFIX", dir.path()));
        assert_eq!(said.stdout.iter().filter(|byte| **byte == b'\n').count(), 21, "{volume}");
    }
}
