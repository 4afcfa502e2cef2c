//! Certification authorities: found on volumes, live and deleted, listed, checked, backed up through the program, the mount and
//! the C functions, and restored; compared with libesedb and with what the maker put in.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use undelfs_certsrv::{
    HResult, MapEntry, RESTORE_FULL, Registration, RestoreMap, RestoreSession, find, verify,
};
use undelfs_tests::{
    bitlocker::{Maker as BitLocker, Method},
    certsrv::{Made, Maker, State, seal, sum},
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

/// Names and bytes of the files in a folder.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    entries.map(|entry| read(entry.unwrap())).collect()
}

/// What a backup set of a CA must hold.
fn expected_set(made: &Made) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = made.logs.iter().cloned().collect();
    files.insert(made.database_name(), made.database.clone());
    files
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `undelfs certsrv` and returns its exit code and what it said.
fn certsrv<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> (i32, String, String) {
    let args = std::iter::once("certsrv".into()).chain(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    let output = undelfs(args);
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
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

/// The code and sentence of the first fatal finding of a set that `spoil` has changed.
fn spoiled(maker: &Maker, spoil: impl Fn(&Path)) -> (HResult, String) {
    let dir = guard::scratch();
    let set = dir.path().join("set");
    let made = maker.make();
    let database = format!(r"\\CA01\C$\CertLog\{}", made.database_name());
    made.write_set(&set, [&database, r"\\CA01\C$\CertLog", r"\\CA01\C$\CertLog"]);
    let whole = find::backup_set(&set).unwrap();
    assert!(verify(&whole, true, &()).unwrap().is_restorable(), "{:?}", verify(&whole, true, &()).unwrap());
    spoil(&set.join("DataBase"));
    let target = dir.path().join("target");
    let (code, _, said) = certsrv(["restore".as_ref(), set.as_os_str(), target.as_os_str()]);
    assert_eq!(code, 1, "{said}");
    // Nothing that is left could pass for a restored file.
    let left = if target.exists() { contents(&target) } else { BTreeMap::new() };
    let looks_whole = |name: &String| name.ends_with(".edb") || name.ends_with(".log");
    assert!(!left.keys().any(looks_whole), "{:?}", left.keys());
    let found = find::backup_set(&set).and_then(|set| verify(&set, true, &())?.into_result());
    let error = found.expect_err("nothing was found");
    let (code, sentence) = (error.code(), error.to_string());
    let (exit, printed, said) = certsrv(["verify".as_ref(), set.as_os_str()]);
    assert_eq!(exit, 1, "{printed}{said}");
    assert!(format!("{printed}{said}").contains(&sentence), "{sentence}: {printed}{said}");
    (code, sentence)
}

fn change(path: &Path, spoil: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    spoil(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_is_named_with_its_code_and_place() {
    let maker = Maker::new(61);
    let database = "Example Issuing CA 1.edb";
    let says = |(code, sentence): (HResult, String), expected: HResult, words: &[&str]| {
        assert_eq!(code, expected, "{sentence}");
        words.iter().for_each(|word| assert!(sentence.contains(word), "{word}: {sentence}"));
    };
    says(
        spoiled(&maker, |set| fs::remove_file(set.join("edb00002.log")).unwrap()),
        HResult::LOG_NOT_CONTIGUOUS,
        &["between edb00001.log and edb00003.log"],
    );
    says(
        spoiled(&maker, |set| fs::remove_file(set.join("edb00003.log")).unwrap()),
        HResult::MISSING_RESTORE_LOGS,
        &["needs the logs edb00001.log to edb00003.log", "edb00003.log is missing"],
    );
    says(
        spoiled(&maker, |set| {
            (1..4).for_each(|log| fs::remove_file(set.join(format!("edb0000{log}.log"))).unwrap())
        }),
        HResult::DATABASE_INCONSISTENT,
        &["are missing"],
    );
    says(
        spoiled(&maker, |set| {
            change(&set.join("edb00002.log"), |log| {
                log[44] ^= 1;
                sum(&mut log[..PAGE]);
            });
        }),
        HResult::BAD_RESTORE_SIGNATURE,
        &["edb00002.log belongs to another database", "byte 44"],
    );
    says(
        spoiled(&maker, |set| change(&set.join("edb00002.log"), |log| log[100] ^= 1)),
        HResult::LOG_FILE_CORRUPT,
        &["edb00002.log is damaged"],
    );
    says(
        spoiled(&maker, |set| change(&set.join("edb00001.log"), |log| log.truncate(500_000))),
        HResult::LOG_FILE_CORRUPT,
        &["edb00001.log has 500000 bytes and must have 1048576"],
    );
    says(
        spoiled(&maker, |set| {
            change(&set.join("edb00001.log"), |log| {
                log[4] = 2;
                sum(&mut log[..PAGE]);
            });
        }),
        HResult::LOG_FILE_CORRUPT,
        &["edb00001.log says", "edb00002.log"],
    );
    says(
        spoiled(&maker, |set| change(&set.join(database), |bytes| bytes.truncate(bytes.len() - 100))),
        HResult::BAD_DATABASE_SIZE,
        &["whole pages of 4096 bytes"],
    );
    // Page 4 is the root of the catalogue, at byte 5 * 4096.
    says(
        spoiled(&maker, |set| change(&set.join(database), |bytes| bytes[5 * PAGE + 60] ^= 8)),
        HResult::DATABASE_CORRUPTED,
        &["pages of", "page 4 at byte 20480"],
    );
    says(
        spoiled(&maker, |set| {
            change(&set.join(database), |bytes| {
                bytes[60] ^= 1;
                bytes[PAGE + 60] ^= 1;
            });
        }),
        HResult::DATABASE_CORRUPTED,
        &["header", "byte 0"],
    );
    says(
        spoiled(&maker, |set| {
            change(&set.join(database), |bytes| {
                for at in [0, PAGE] {
                    bytes[at + 52] = 5;
                    sum(&mut bytes[at..at + PAGE]);
                }
            });
        }),
        HResult::DATABASE_INCONSISTENT,
        &["state 5"],
    );
    says(
        spoiled(&maker, |set| change(&set.join("certbkxp.dat"), |map| map.truncate(map.len() - 2))),
        HResult::DATABASE_CORRUPTED,
        &["certbkxp.dat at byte", "NUL"],
    );
    says(
        spoiled(&maker, |set| fs::remove_file(set.join("certbkxp.dat")).unwrap()),
        HResult::DIRECTORY,
        &["has no certbkxp.dat"],
    );
    says(
        spoiled(&maker, |set| fs::rename(set.join(database), set.join("x.edb")).unwrap()),
        HResult::DIRECTORY,
        &["which its restore map names"],
    );
    let copied = Maker { state: State::Copied, ..maker };
    says(
        spoiled(&copied, |set| change(&set.join(database), |bytes| bytes.truncate(bytes.len() - PAGE))),
        HResult::BAD_DATABASE_SIZE,
        &["has no trailer", "cut"],
    );
    says(
        spoiled(&copied, |set| {
            change(&set.join(database), |bytes| {
                let at = bytes.len() - PAGE;
                bytes[at + 92] ^= 1;
                sum(&mut bytes[at..]);
            });
        }),
        HResult::BAD_RESTORE_SIGNATURE,
        &["trailer", "signatures of the header"],
    );
}

#[test]
fn a_page_that_stands_at_another_place_is_damaged_though_its_bytes_are_sound() {
    let (code, sentence) = spoiled(&Maker::new(62), |set| {
        change(&set.join("Example Issuing CA 1.edb"), |bytes| {
            // The root of the catalogue, sealed for another page.
            seal(&mut bytes[5 * PAGE..6 * PAGE], 5);
        });
    });
    assert_eq!(code, HResult::DATABASE_CORRUPTED, "{sentence}");
}

#[test]
fn a_whole_database_needs_no_logs_and_a_copied_one_is_known_by_its_trailer() {
    let dir = guard::scratch();
    let clean = Maker { state: State::Clean, ..Maker::new(71) }.make();
    let database = dir.path().join("clean.edb");
    fs::write(&database, &clean.database).unwrap();
    let (code, said, _) = certsrv(["verify".as_ref(), database.as_os_str()]);
    assert!(code == 0 && said.contains("yes, without logs"), "{said}");
    let copied = Maker { state: State::Copied, ..Maker::new(72) }.make();
    copied.write_folder(&dir.path().join("copied"));
    let (code, said, _) = certsrv(["verify".as_ref(), dir.path().join("copied").as_os_str()]);
    assert!(code == 0 && said.contains("copied by a backup"), "{said}");
    let pages = copied.database.len() / PAGE - 3;
    assert!(said.contains(&format!("{pages} pages of")), "the trailer is counted: {said}");
}

#[test]
fn a_backup_of_the_logs_needs_a_full_one_before_and_a_set_is_never_written_over() {
    let dir = guard::scratch();
    let never = dir.path().join("never");
    Maker { backed_up: false, ..Maker::new(81) }.make().write_folder(&never);
    let out = |name: &str| dir.path().join(name);
    let (code, _, said) =
        certsrv(["backup".as_ref(), "--incremental".as_ref(), never.as_os_str(), out("a").as_os_str()]);
    assert!(code == 1 && said.contains("0xC8000230"), "{said}");
    let ca = dir.path().join("ca");
    let made = Maker::new(82).make();
    made.write_folder(&ca);
    let backup = |kind: &[&str], to: &Path| {
        let args = ["backup".into()].into_iter().chain(kind.iter().map(Into::into));
        certsrv(args.chain([ca.clone().into_os_string(), to.as_os_str().to_owned()]))
    };
    assert_eq!(backup(&[], &out("full")).0, 0);
    assert_eq!(backup(&["--incremental"], &out("logs")).0, 0);
    assert!(!out("logs/DataBase").join(made.database_name()).exists());
    let (code, _, said) = backup(&[], &out("full"));
    assert!(code == 1 && said.contains("is there already"), "{said}");
    // A full set and one of logs after it.
    let (code, _, said) = certsrv([
        "restore".as_ref(),
        out("full").as_os_str(),
        out("new").as_os_str(),
        "--incremental".as_ref(),
        out("logs").as_os_str(),
    ]);
    assert_eq!(code, 0, "{said}");
    assert!(contents(&out("new")) == expected_set(&made));
}

#[test]
fn a_restore_that_was_ended_between_any_two_steps_goes_on() {
    let dir = guard::scratch();
    let made = Maker::new(91).make();
    let set = dir.path().join("set");
    let database = format!(r"\\CA01\C$\CertLog\{}", made.database_name());
    made.write_set(&set, [&database, r"\\CA01\C$\CertLog", r"\\CA01\C$\CertLog"]);
    let registration = |target: &Path| Registration {
        logs: Some(target.to_owned()),
        map: vec![MapEntry { database: database.clone(), target: target.join(made.database_name()) }],
        backup: Some(set.clone()),
        low: 1,
        high: 3,
        ..Registration::default()
    };
    let prepare = || RestoreSession::prepare(RESTORE_FULL, vec![set.clone()]).unwrap();
    let finish = |target: &Path| {
        let mut session = prepare();
        session.register(&registration(target), &()).unwrap();
        session.register_complete(HResult::OK).unwrap();
        session.end().unwrap();
        assert!(contents(target) == expected_set(&made), "{}", target.display());
    };
    let partial = |target: &Path, name: &str| target.join(format!("{name}.undelfs-partial"));
    let journal = |target: &Path| target.join("RestoreInProgress.json");

    // The state that a crash leaves after each step: all steps are made, then taken back from the end.
    let target = dir.path().join("copied");
    let mut session = prepare();
    session.register(&registration(&target), &()).unwrap();
    drop(session);
    let copied = contents(&target);
    finish(&target);

    // While the second log was being copied.
    let target = dir.path().join("copying");
    fs::create_dir(&target).unwrap();
    let record = text(&copied["RestoreInProgress.json"])
        .replace("\"Copied\"", "\"Copying\"")
        .replace("copied", "copying");
    fs::write(journal(&target), &record).unwrap();
    fs::write(partial(&target, "edb00001.log"), &made.logs[0].1).unwrap();
    fs::write(partial(&target, "edb00002.log"), &made.logs[1].1[..300_000]).unwrap();
    let other = prepare().register(&Registration { low: 2, ..registration(&target) }, &());
    assert_eq!(other.unwrap_err().code(), HResult::RESTORE_IN_PROGRESS);
    finish(&target);

    // While the files took their names.
    for named in 0..=4 {
        let target = dir.path().join(format!("placing {named}"));
        fs::create_dir(&target).unwrap();
        let moved = text(&copied["RestoreInProgress.json"]).replace("\"Copied\"", "\"Placing\"");
        let moved = moved.replace("/copied", &format!("/placing {named}"));
        fs::write(journal(&target), moved).unwrap();
        let mut files: Vec<(String, Vec<u8>)> = made.logs.clone();
        files.push((made.database_name(), made.database.clone()));
        for (index, (name, bytes)) in files.iter().enumerate() {
            let path = if index < named { target.join(name) } else { partial(&target, name) };
            fs::write(path, bytes).unwrap();
        }
        finish(&target);
    }

    // After all, before the end.
    let target = dir.path().join("complete");
    let mut session = prepare();
    session.register(&registration(&target), &()).unwrap();
    session.register_complete(HResult::OK).unwrap();
    drop(session);
    finish(&target);

    // A registration that is cut is not believed.
    let target = dir.path().join("cut");
    fs::create_dir(&target).unwrap();
    fs::write(journal(&target), "{\"what\"").unwrap();
    let error = prepare().register(&registration(&target), &()).unwrap_err();
    assert_eq!(error.code(), HResult::RESTORE_IN_PROGRESS, "{error}");
}
