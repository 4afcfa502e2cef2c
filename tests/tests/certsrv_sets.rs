//! Backup sets of certification authorities: what damage is named, what is refused, and how a restore goes on after a crash.

use std::{collections::BTreeMap, fs, path::Path};

use undelfs_certsrv::{HResult, MapEntry, RESTORE_FULL, Registration, RestoreSession, find, verify};
use undelfs_tests::{
    certsrv::{Maker, State, certsrv, contents, expected_set, seal, sum, text},
    guard,
};

const PAGE: usize = 4096;

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
