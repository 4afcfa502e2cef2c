//! Certification authorities: found on volumes, live and deleted, listed, checked, backed up through the program, the mount and
//! the C functions, and restored; compared with libesedb and with what the maker put in.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use undelfs_certsrv::{RestoreMap, find};
use undelfs_tests::{
    bitlocker::{Maker as BitLocker, Method},
    certsrv::{Made, Maker, certsrv, contents, expected_set, text},
    encrypted::{protectors, recovery},
    fmapi::{How, Program, example},
    guard,
    ntfs3g::{self, Format, Volume},
    program::{Tree, assert_refused, undelfs},
    tools, windows_made,
};

const PAGE: usize = 4096;
/// Where a CA keeps its files, on the volume.
const FOLDER: &str = "Windows/System32/CertLog";

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/certsrv/contract.c")
}

fn programs(kind: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certsrv").join(kind);
    fs::create_dir_all(&dir).unwrap();
    dir
}

static CONTRACT: LazyLock<Program> =
    LazyLock::new(|| Program::compile(&contract(), &programs("contract"), How::Sanitized));

/// Runs one case on a folder with the files of a CA.
fn row(name: &str) {
    let dir = guard::scratch();
    let (ca, out) = (dir.path().join("ca"), dir.path().join("out"));
    Maker::new(7).make().write_folder(&ca);
    fs::create_dir(&out).unwrap();
    let before = contents(&ca);
    CONTRACT.run([name.as_ref(), ca.as_os_str(), out.as_os_str()]);
    assert!(contents(&ca) == before, "the source was written to");
}

macro_rules! rows {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            row(stringify!($name));
        }
    )* };
}

rows! {
    idle_prepare_of_either_type_is_prepared
    prepare_again_is_unexpected_and_works_after_the_end
    open_of_a_listed_name_reads_and_closes
    open_while_a_file_is_open_is_unexpected
    read_and_close_without_an_open_file_are_unexpected
    open_before_any_list_is_unexpected_and_of_another_name_file_not_found
    database_names_without_a_full_prepare_are_an_invalid_sequence
    a_database_after_the_logs_is_an_invalid_sequence
    truncate_with_all_read_works_once_and_removes_nothing
    truncate_with_something_unread_is_unexpected
    end_works_in_every_state_and_its_handle_is_gone
    wrong_arguments_are_invalid_and_no_server_is_unavailable
    a_name_behind_the_server_says_which_authority
    locations_come_with_either_handle
    no_dynamic_files_are_success_with_a_count_of_0
    control_takes_three_commands
    restore_copies_and_names_files_when_it_is_complete
    restore_registers_one_set_at_a_time
    restore_that_failed_leaves_nothing
    restore_checks_the_range_of_logs
    restore_of_logs_needs_a_full_one_first
    restore_never_writes_to_the_source_or_over_files
    restore_works_without_a_handle_and_through_a_file
}

/// A volume with a CA and other files; the CA's folder is deleted where `deleted` says so.
fn volume(dir: &Path, made: &Made, deleted: bool, hive: Option<&[u8]>) -> PathBuf {
    let image = dir.join("volume.img");
    ntfs3g::format(&image, &Format { size: 96 << 20, cluster: 4096, sector: 512, label: "System".into() });
    let volume = Volume::write(&image);
    let folder = volume.root().join(FOLDER);
    made.write_folder(&folder);
    let enroll = volume.root().join("Windows/System32/CertSrv/CertEnroll");
    fs::create_dir_all(&enroll).unwrap();
    fs::write(enroll.join("Example Issuing CA 1.crl"), b"a list").unwrap();
    // Databases and logs of other programs are none of a CA's.
    fs::write(volume.root().join("other.edb"), vec![1; 3 * PAGE]).unwrap();
    fs::write(volume.root().join("edb00009.log"), vec![2; 1 << 16]).unwrap();
    if let Some(hive) = hive {
        let config = volume.root().join("Windows/System32/config");
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("SYSTEM"), hive).unwrap();
    }
    volume.unmount();
    if deleted {
        let volume = Volume::write(&image);
        fs::remove_dir_all(volume.root().join(FOLDER)).unwrap();
        volume.unmount();
    }
    image
}

/// A SYSTEM hive that names a CA.
fn hive(active: &str, folder: &str, computer: &str) -> Vec<u8> {
    let mut hive = regf::HiveBuilder::new().unwrap();
    hive.create_key("Select").unwrap();
    hive.add_value_dword("Select", Some("Current"), 1).unwrap();
    let configuration = r"ControlSet001\Services\CertSvc\Configuration";
    let name = r"ControlSet001\Control\ComputerName\ComputerName";
    for key in [configuration, name] {
        hive.create_key(key).unwrap();
    }
    for (value, text) in [
        ("Active", active),
        ("DBDirectory", folder),
        ("DBLogDirectory", folder),
        ("DBSystemDirectory", folder),
    ] {
        hive.add_value_string(configuration, Some(value), text).unwrap();
    }
    hive.add_value_string(name, Some("ComputerName"), computer).unwrap();
    hive.to_bytes().unwrap()
}

#[test]
fn a_deleted_ca_on_an_encrypted_volume_is_backed_up_by_the_c_functions_with_the_same_bytes() {
    let dir = guard::scratch();
    let made = Maker::new(11).make();
    let folder = r"C:\Windows\System32\CertLog";
    let plain = volume(dir.path(), &made, true, Some(&hive("Example Issuing CA 1", folder, "PKI-SRV1")));
    let encrypted =
        BitLocker::new(Method::Xts128, &protectors()).make(&plain, &dir.path().join("encrypted.img"));
    let program = Program::compile(&example("certsrv_backup"), &programs("backup"), How::Sanitized);
    let set = dir.path().join("set/DataBase");
    fs::create_dir_all(&set).unwrap();
    let before = fs::read(&encrypted.image).unwrap();

    // Locked, it says so.
    let locked =
        program.command([encrypted.image.as_os_str(), set.as_os_str(), "full".as_ref()]).output().unwrap();
    assert!(!locked.status.success() && text(&locked.stderr).contains("0x80070005"), "{locked:?}");

    let said =
        program.run([encrypted.image.as_os_str(), set.as_os_str(), "full".as_ref(), recovery().as_ref()]);
    let mut files = contents(&set);
    let map = files.remove("certbkxp.dat").expect("a restore map");
    assert_eq!(files.keys().collect::<Vec<_>>(), expected_set(&made).keys().collect::<Vec<_>>());
    assert!(files == expected_set(&made), "bytes differ");
    assert!(fs::read(&encrypted.image).unwrap() == before, "the source was written to");
    let said = text(&said);
    assert!(said.contains(r"D \\PKI-SRV1\C$\Windows\System32\CertLog\Example Issuing CA 1.edb"), "{said}");
    assert!(
        said.contains(r"keep \\PKI-SRV1\C$\Windows\System32\CertSrv\CertEnroll\Example Issuing CA 1.crl"),
        "{said}"
    );

    // The map is the three entries with their tags, each ended by a NUL, and one more.
    let path = r"\\PKI-SRV1\C$\Windows\System32\CertLog";
    let expected: Vec<u8> =
        [(0x44u16, format!("{path}\\Example Issuing CA 1.edb")), (0x82, path.into()), (0x83, path.into())]
            .iter()
            .flat_map(|(tag, path)| {
                [*tag].into_iter().chain(path.encode_utf16()).chain([0]).collect::<Vec<_>>()
            })
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect();
    assert_eq!(map, expected);

    // The program makes the same set, and restores it to the same bytes.
    let other = dir.path().join("other");
    let password = dir.path().join("password");
    fs::write(&password, recovery()).unwrap();
    let key = ["--recovery-password-file".as_ref(), password.as_os_str()];
    let args = ["backup".as_ref(), encrypted.image.as_os_str(), other.as_os_str()];
    let (code, _, said) = certsrv(args.into_iter().chain(key));
    assert_eq!(code, 0, "{said}");
    assert!(contents(&other.join("DataBase")) == contents(&set));
    let restored = dir.path().join("restored");
    let (code, _, said) =
        certsrv(["restore".as_ref(), dir.path().join("set").as_os_str(), restored.as_os_str()]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("new full backup") && said.contains("must not be mixed"), "{said}");
    assert!(contents(&restored) == expected_set(&made));

    // The folder that is mounted is a source as the image is.
    let tree = Tree::mount(&encrypted.image, &["--recovery-password-file", password.to_str().unwrap()]);
    let (code, listed, said) = certsrv(["list".as_ref(), tree.root().as_os_str()]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(listed.lines().count(), 1 + 8 + 3);
    tree.unmount();
}

#[test]
fn the_example_runs_clean_under_valgrind() {
    let dir = guard::scratch();
    let made = Maker::new(3).make();
    made.write_folder(&dir.path().join("ca"));
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let program = Program::compile(&example("certsrv_backup"), &programs("valgrind"), How::Valgrind);
    program.run([dir.path().join("ca").as_os_str(), out.as_os_str(), "full".as_ref()]);
    let mut files = contents(&out);
    files.remove("certbkxp.dat");
    assert!(files == expected_set(&made));
}

#[test]
fn a_mount_shows_each_ca_as_a_backup_set_with_its_certificates() {
    let dir = guard::scratch();
    for deleted in [false, true] {
        let made = Maker::new(21).make();
        let image = volume(dir.path(), &made, deleted, None);
        let tree = Tree::mount(&image, &["--certsrv"]);
        let ca = tree.join("Example Issuing CA 1");
        let mut files = contents(&ca.join("DataBase"));
        let map = RestoreMap::parse(&files.remove("certbkxp.dat").unwrap()).unwrap();
        assert!(files == expected_set(&made), "deleted: {deleted}");
        assert_eq!(map.logs, r"\\CA01\C$\Windows\System32\CertLog");
        let certificates = contents(&ca.join("Certificates"));
        assert_eq!(certificates.len(), made.certificates.len());
        for (request, der) in &made.certificates {
            let (_, bytes) =
                certificates.iter().find(|(name, _)| name.starts_with(&format!("{request}-"))).unwrap();
            assert!(bytes == der, "request {request}");
        }
        // What is mounted is a set like any other.
        let (code, said, _) = certsrv(["verify".as_ref(), ca.as_os_str()]);
        assert_eq!(code, 0, "{said}");
        let before = certificates;
        assert!(contents(&ca.join("Certificates")) == before, "a second look differs");
        tree.unmount();
        guard::wait_until(std::time::Duration::from_secs(5), || undelfs_tests::program::is_unlocked(&image));
    }
    let empty = dir.path().join("empty.img");
    ntfs3g::format(&empty, &Format { size: 16 << 20, cluster: 4096, sector: 512, label: String::new() });
    let mountpoint = dir.path().join("mountpoint");
    fs::create_dir(&mountpoint).unwrap();
    let output = undelfs(["mount".as_ref(), "--certsrv".as_ref(), empty.as_os_str(), mountpoint.as_os_str()]);
    assert_refused(&output, 1, &["no certification authority"]);
}

#[test]
fn a_ca_is_found_wherever_its_files_stand_and_whatever_they_are_called() {
    let dir = guard::scratch();
    let made = Maker::new(31).make();
    let image = dir.path().join("moved.img");
    ntfs3g::format(&image, &Format { size: 64 << 20, cluster: 4096, sector: 512, label: "Data".into() });
    let volume = Volume::write(&image);
    for (index, bytes) in made.logs.iter().map(|(_, bytes)| bytes).enumerate() {
        let folder = volume.root().join(format!("somewhere/{index}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a picture.jpg"), bytes).unwrap();
    }
    fs::write(volume.root().join("notes.bin"), &made.database).unwrap();
    fs::write(volume.root().join("other.txt"), &made.checkpoint).unwrap();
    volume.unmount();
    let (code, said, errors) = certsrv(["verify".as_ref(), image.as_os_str()]);
    assert_eq!(code, 0, "{said}{errors}");
    for words in
        ["known by its content: /notes.bin", "checkpoint     /other.txt", "yes, with the logs 00001 to 00003"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn lists_say_what_the_maker_put_in_and_what_libesedb_reads() {
    let dir = guard::scratch();
    let made = Maker { dispositions: vec![20; 120], crls: 9, ..Maker::new(41) }.make();
    made.write_folder(dir.path());
    let database = dir.path().join(made.database_name());
    let export = dir.path().join("out");
    tools::run("esedbexport", ["-t".as_ref(), export.as_os_str(), database.as_os_str()]);
    for (name, count) in &made.counts {
        let (code, ours, said) =
            certsrv(["list".as_ref(), "--table".as_ref(), (*name).as_ref(), database.as_os_str()]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(ours.lines().count(), 1 + count, "{name}");
        let theirs = fs::read_dir(dir.path().join("out.export")).unwrap().flatten().map(|entry| entry.path());
        let theirs = theirs.into_iter().find(|path| path.file_stem().unwrap() == *name).unwrap();
        let theirs = fs::read_to_string(theirs).unwrap();
        assert_eq!(theirs.lines().count(), 1 + count, "{name}");
        // Texts and numbers are the same, record by record; long values and the form of times are our own.
        let columns: Vec<&str> = theirs.lines().next().unwrap().split('\t').collect();
        let mut reader = ours.lines().skip(1);
        for line in theirs.lines().skip(1) {
            let own = reader.next().unwrap();
            for (column, value) in columns.iter().zip(line.replace(r"\\", r"\").split('\t')) {
                if column.starts_with('$') || matches!(*column, "RequestID" | "Number" | "RowId") {
                    assert!(own.contains(value), "{name}.{column}: {value} is not in {own}");
                }
            }
        }
    }
    let (code, listed, _) = certsrv([
        "list".as_ref(),
        "--only".as_ref(),
        "issued".as_ref(),
        "--format".as_ref(),
        "jsonl".as_ref(),
        database.as_os_str(),
    ]);
    assert_eq!((code, listed.lines().count()), (0, 120));
    for (line, (request, der)) in listed.lines().zip(&made.certificates) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["request_id"], *request);
        assert_eq!(line["size"], der.len());
        assert_eq!(line["sha1"].as_str().unwrap().len(), 40);
    }
}

#[test]
fn every_kind_of_request_is_listed_for_what_it_is() {
    let dir = guard::scratch();
    Maker::new(51).make().write_folder(dir.path());
    let count = |only: &str| {
        let (code, listed, said) =
            certsrv(["list".as_ref(), "--only".as_ref(), only.as_ref(), dir.path().as_os_str()]);
        assert_eq!(code, 0, "{said}");
        listed.lines().count() - 1
    };
    assert_eq!(["issued", "revoked", "pending", "failed", "crls", "all"].map(count), [3, 1, 1, 2, 3, 11]);
}

#[test]
fn databases_that_windows_wrote_are_read_as_libesedb_reads_them() {
    let dir = guard::scratch();
    for name in ["basic.edb", "text.edb", "binary.edb", "SRUDB.dat", "Current.mdb", "Windows.edb"] {
        let database = windows_made::set("esedb").join(name);
        let authority = find::in_file(&database).unwrap();
        let check = authority.database.check_pages(&()).unwrap();
        assert_eq!(check.damaged_count, 0, "{name}: {check:?}");
        assert!(authority.database.headers_agree, "{name}");
        let export = dir.path().join(name);
        tools::run("esedbexport", ["-t".as_ref(), export.as_os_str(), database.as_os_str()]);
        let (tables, notes) = authority.database.tables().unwrap();
        assert!(notes.is_empty(), "{name}: {notes:?}");
        let exported = fs::read_dir(dir.path().join(format!("{name}.export"))).unwrap().flatten();
        let mut compared = 0;
        for path in exported.map(|entry| entry.path()) {
            let table = path.file_stem().unwrap().to_str().unwrap();
            let Some(table) = tables.iter().find(|own| own.name == table) else {
                panic!("{name} has no {table}")
            };
            let mut count = 0;
            let notes = authority.database.records(table, &mut |_| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            });
            assert!(notes.is_empty(), "{name}: {notes:?}");
            let lines =
                fs::read(&path).unwrap().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            // Texts with line ends make more lines than records.
            let exact = table.name.starts_with("MSys") || name != "Windows.edb";
            assert!(
                count == lines - 1 || !exact,
                "{name}: {} has {count} records, libesedb {}",
                table.name,
                lines - 1
            );
            compared += 1;
        }
        assert!(compared >= 4, "{name}: {compared} tables");
    }
}
