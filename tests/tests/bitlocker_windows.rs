//! BitLocker volumes that Windows made open with every key that is known of them, and every byte of them is the
//! one that Windows and other programs read there.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Output,
};

use undelfs_tests::{
    guard,
    program::{self, Tree, assert_refused},
    tools, walk,
    windows_made::{
        self, Key, Kind, Protector, Sample,
        oracle::{self, Bde, assert_same, until},
        sample,
    },
};

/// The decrypted volume in a mount.
const VOLUME: &str = ".undelfs/volume.img";

/// Volumes with a boot sector for encryption on write whose bitmaps the set has wiped: no digest is stated.
const WIPED: [&str; 2] = ["bitlk-clearkey-aes-cbc-128", "bitlk-aes-xts-128-eow"];

/// Volumes that Windows had partly encrypted, or not at all any more, and one of Vista.
const SPECIAL: [&str; 4] = ["decrypted", "vista", "win7_partial", "eow_partial"];

fn mount(sample: &Sample, key: &Key) -> Tree {
    let dir = guard::scratch();
    let arguments = key.arguments(dir.path());
    let arguments: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
    let tree = Tree::mount(&sample.image, &arguments);
    let length = oracle::length(&tree.join(VOLUME));
    assert!(length >= oracle::length(&sample.image), "{}: {VOLUME} ends at byte {length}", sample.name);
    tree
}

/// Runs `undelfs COMMAND IMAGE [DIR]` with further `arguments`.
fn run(command: &str, image: &Path, dir: Option<&Path>, arguments: &[OsString]) -> Output {
    program::command().arg(command).arg(image).args(dir).args(arguments).output().unwrap()
}

fn refused(sample: &Sample, arguments: &[&str], words: &[&str]) {
    let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
    assert_refused(&run("scan", &sample.image, None, &arguments), 3, words);
    let dir = guard::scratch();
    assert_refused(&run("mount", &sample.image, Some(dir.path()), &arguments), 3, words);
    assert!(!guard::is_mounted(dir.path()));
}

fn is_named(text: &str, protector: &Protector) -> bool {
    text.contains(&protector.identifier) && protector.kind.words().iter().any(|words| text.contains(words))
}

fn assert_reads_as_stated(cipher: &str) {
    let mut volumes = windows_made::cryptsetup();
    volumes.retain(|sample| sample.cipher == cipher && sample.sha256.is_some());
    assert!(volumes.len() >= 2, "{cipher}");
    for sample in volumes {
        assert!(!sample.keys.is_empty(), "{}", sample.name);
        for key in &sample.keys {
            let tree = mount(&sample, key);
            let found = walk::hash(&tree.join(VOLUME)).unwrap();
            assert_eq!(Some(found), sample.sha256, "{} with {key:?}", sample.name);
            tree.unmount();
        }
    }
}

/// The whole volume as another program reads it: with the first key that it takes.
fn other_program(sample: &Sample, dir: &Path) -> PathBuf {
    oracle::dislocker(sample, &sample.keys[0], dir)
}

#[test]
fn the_sets_hold_every_cipher_and_every_kind_of_key() {
    let (one, two) = (windows_made::cryptsetup(), windows_made::dissect());
    assert_eq!((one.len(), two.len()), (16, 14));
    for sample in one.iter().chain(&two) {
        assert!(sample.image.is_file() && !sample.keys.is_empty(), "{}", sample.name);
    }
    let ciphers = ["aes-cbc-eboiv", "aes-cbc-elephant", "aes-xts-plain64"];
    assert!(one.iter().all(|sample| ciphers.contains(&sample.cipher.as_str())));
    let without: Vec<_> = one.iter().filter(|s| s.sha256.is_none()).map(|s| s.name.as_str()).collect();
    assert_eq!(without.len(), WIPED.len());
    assert!(WIPED.iter().all(|name| without.contains(name)), "{without:?}");
    let has = |wanted: fn(&Key) -> bool| one.iter().chain(&two).flat_map(|s| &s.keys).any(wanted);
    assert!(has(|key| matches!(key, Key::Password(_))) && has(|key| matches!(key, Key::RecoveryPassword(_))));
    assert!(has(|key| matches!(key, Key::StartupKey(_))) && has(|key| matches!(key, Key::Fvek(_))));
    assert!(has(|key| *key == Key::Nothing));
}

#[test]
fn aes_cbc_volumes_read_as_stated_with_every_key() {
    assert_reads_as_stated("aes-cbc-eboiv");
}

#[test]
fn aes_cbc_volumes_with_diffuser_read_as_stated_with_every_key() {
    assert_reads_as_stated("aes-cbc-elephant");
}

#[test]
fn aes_xts_volumes_read_as_stated_with_every_key() {
    assert_reads_as_stated("aes-xts-plain64");
}

#[test]
fn volumes_that_are_cut_short_read_as_dislocker_reads_them_with_every_key() {
    let volumes: Vec<_> =
        windows_made::dissect().into_iter().filter(|s| !SPECIAL.contains(&s.name.as_str())).collect();
    assert_eq!(volumes.len(), 10);
    for sample in volumes {
        let dir = guard::scratch();
        let theirs = other_program(&sample, dir.path());
        // Theirs goes on behind the image's end, with zeros.
        let end = oracle::length(&sample.image);
        for key in &sample.keys {
            let tree = mount(&sample, key);
            let what = format!("{} with {key:?}", sample.name);
            assert_same(&what, &tree.join(VOLUME), &theirs, &until(end));
            tree.unmount();
        }
    }
}

#[test]
fn volumes_that_are_cut_short_read_as_libbde_reads_them() {
    for name in ["aes_128", "aes_256", "aes_128_diffuser", "aes_256_diffuser", "aes-xts_128", "startup_key"] {
        let sample = sample(name);
        let key = sample.keys.iter().rfind(|key| !matches!(key, Key::Fvek(_))).unwrap();
        let theirs = Bde::mount(&sample, key);
        let tree = mount(&sample, key);
        assert_same(name, &tree.join(VOLUME), &theirs.path(), &until(oracle::length(&sample.image)));
    }
}

#[test]
fn a_volume_whose_conversion_has_ended_reads_as_dissect_reads_it_with_every_key() {
    // Its boot sector still names bitmaps of encryption on write, which are no longer there.
    let sample = sample("bitlk-clearkey-aes-cbc-128");
    let dir = guard::scratch();
    let places = oracle::places(&sample.image, &[]);
    let theirs = oracle::dissect(&sample, &sample.keys[0], &places, dir.path());
    for key in &sample.keys {
        let tree = mount(&sample, key);
        assert_same(&format!("with {key:?}"), &tree.join(VOLUME), &theirs, &places);
        tree.unmount();
    }
}

#[test]
fn a_volume_whose_conversion_goes_on_and_whose_bitmaps_are_gone_is_judged_by_its_content() {
    // The makers of the sample wiped the bitmaps. Its boot sector stands there unencrypted; others decrypt it all the
    // same, and find no file system.
    let sample = sample("bitlk-aes-xts-128-eow");
    for key in &sample.keys {
        let tree = mount(&sample, key);
        let mut sector = [0; 512];
        fs::File::open(tree.join(VOLUME)).unwrap().read_exact(&mut sector).unwrap();
        assert_eq!(&sector[3..11], b"NTFS    ", "with {key:?}");
        let report = fs::read_to_string(tree.join(".undelfs/report.txt")).unwrap();
        assert!(report.contains("each cluster is judged by its content"), "{report}");
        tree.unmount();
    }
}

#[test]
fn a_decrypted_volume_with_metadata_opens_without_a_key_and_reads_as_dissect_reads_it() {
    let sample = sample("decrypted");
    let dir = guard::scratch();
    let theirs = oracle::dissect(&sample, &Key::Nothing, &[], dir.path());
    let tree = mount(&sample, &Key::Nothing);
    assert_same(&sample.name, &tree.join(VOLUME), &theirs, &until(oracle::length(&sample.image)));
}

#[test]
fn a_volume_of_vista_reads_as_dissect_reads_it() {
    let sample = sample("vista");
    let dir = guard::scratch();
    let places = oracle::places(&sample.image, &[0x2000]);
    let theirs = oracle::dissect(&sample, &sample.keys[0], &places, dir.path());
    let tree = mount(&sample, &sample.keys[0]);
    assert_same(&sample.name, &tree.join(VOLUME), &theirs, &places);
}

#[test]
fn a_volume_stopped_while_decrypting_is_read_right_on_both_sides_of_the_border() {
    /// Where Windows 7 had stopped.
    const BORDER: u64 = 1_143_820_288;
    let sample = sample("win7_partial");
    let (recovery, dir) = (&sample.keys[0], guard::scratch());
    let end = oracle::length(&sample.image);
    let tree = mount(&sample, recovery);
    let ours = tree.join(VOLUME);
    // Below the border dislocker decrypts all of it. From there the volume is as it stands, besides the metadata.
    let theirs = oracle::dislocker(&sample, recovery, dir.path());
    assert_same("below the border", &ours, &theirs, &until(BORDER));
    let mut plain = Vec::new();
    let mut from = BORDER;
    for region in oracle::reserved(&sample.image).into_iter().filter(|region| region.start >= BORDER) {
        plain.push(from..region.start);
        from = region.end;
    }
    plain.push(from..end);
    assert_same("above the border", &ours, &sample.image, &plain);
    // Both sides, and the metadata, as one program reads them.
    let places = oracle::places(&sample.image, &[BORDER]);
    let theirs = oracle::dissect(&sample, recovery, &places, dir.path());
    assert_same("around borders", &ours, &theirs, &places);
    tree.unmount();
    // Protection was suspended too: no key is needed.
    let tree = mount(&sample, &Key::Nothing);
    assert_same("with the clear key", &tree.join(VOLUME), &theirs, &places);
}

#[test]
fn a_volume_with_encryption_on_write_in_progress_reads_as_its_bitmaps_say() {
    let sample = sample("eow_partial");
    let dir = guard::scratch();
    let theirs = oracle::dissect(&sample, &sample.keys[0], &[], dir.path());
    let tree = mount(&sample, &sample.keys[0]);
    assert_same(&sample.name, &tree.join(VOLUME), &theirs, &until(oracle::length(&sample.image)));
}

#[test]
fn volumes_names_the_file_system_inside_once_a_key_is_there() {
    let mut seen = BTreeSet::new();
    for sample in windows_made::cryptsetup().into_iter().filter(|sample| sample.sha256.is_some()) {
        let (key, dir) = (&sample.keys[0], guard::scratch());
        let tree = mount(&sample, key);
        let inside =
            tools::run("blkid", ["-p", "-o", "value", "-s", "TYPE", tree.join(VOLUME).to_str().unwrap()]);
        tree.unmount();
        let name = match inside.trim() {
            "ntfs" => "ntfs",
            "vfat" => "fat",
            other => panic!("{}: blkid sees {other:?}", sample.name),
        };
        let output = run("volumes", &sample.image, None, &key.arguments(dir.path()));
        let said = tools::said(&output).to_lowercase();
        assert!(output.status.success() && said.contains(name), "{}: no {name} in: {said}", sample.name);
        seen.insert(name);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

/// The sets' makers wiped all files, so that no list has a row: this proves that the volume is scanned as its plain
/// bytes are, not that a file is found. The volumes of our own maker prove that.
#[test]
fn a_scan_through_bitlocker_says_what_a_scan_of_the_decrypted_volume_says() {
    for name in ["bitlk-aes-cbc-256", "bitlk-aes-cbc-elephant-128", "bitlk-aes-xts-128-4k", "aes-xts_256"] {
        let sample = sample(name);
        let dir = guard::scratch();
        let plain = other_program(&sample, dir.path());
        let arguments = |key: &Key| {
            let mut arguments = key.arguments(dir.path());
            arguments.extend(["--view", "all", "--format", "jsonl"].map(OsString::from));
            arguments
        };
        let ours = run("scan", &sample.image, None, &arguments(&sample.keys[0]));
        let theirs = run("scan", &plain, None, &arguments(&Key::Nothing));
        assert!(ours.status.success(), "{name}: {}", tools::said(&ours));
        assert!(theirs.status.success(), "{name}: {}", tools::said(&theirs));
        assert_eq!(String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&theirs.stdout), "{name}");
    }
}

#[test]
fn without_a_key_every_protector_is_named_by_kind_and_identifier_and_the_exit_code_is_3() {
    for sample in windows_made::cryptsetup().into_iter().chain(windows_made::dissect()) {
        if sample.keys.contains(&Key::Nothing) {
            continue;
        }
        let protectors = oracle::protectors(&sample.image);
        for stated in &sample.protectors {
            assert!(protectors.contains(stated), "{}: {stated:?} among {protectors:?}", sample.name);
        }
        let identifiers: Vec<&str> = protectors.iter().map(|one| one.identifier.as_str()).collect();
        refused(&sample, &[], &identifiers);
        let output = run("scan", &sample.image, None, &[]);
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        for protector in &protectors {
            assert!(is_named(&said, protector), "{}: no {protector:?} in: {said}", sample.name);
        }
    }
}

#[test]
fn volumes_prints_the_protectors_without_a_key() {
    for sample in windows_made::cryptsetup().into_iter().chain(windows_made::dissect()) {
        let output = run("volumes", &sample.image, None, &[]);
        assert!(output.status.success(), "{}: {}", sample.name, tools::said(&output));
        let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
        assert!(said.contains("bitlocker"), "{}: {said}", sample.name);
        for protector in oracle::protectors(&sample.image) {
            let line = said.lines().find(|line| line.contains(&protector.identifier));
            assert!(line.is_some_and(|l| is_named(l, &protector)), "{}: {protector:?}: {said}", sample.name);
        }
    }
}

#[test]
fn a_volume_with_a_smart_card_says_so_and_opens_with_its_recovery_password() {
    let sample = sample("bitlk-aes-xts-128-smart-card");
    let card = sample.protectors.iter().find(|one| one.kind == Kind::SmartCard).unwrap();
    refused(&sample, &[], &["smart card", &card.identifier, "recovery password"]);
    assert!(matches!(sample.keys[..], [Key::RecoveryPassword(_)]));
    mount(&sample, &sample.keys[0]).unmount();
}

#[test]
fn a_wrong_key_of_each_kind_is_refused_with_exit_code_3_and_one_sentence() {
    let (one, other) = (sample("bitlk-aes-xts-128"), sample("bitlk-aes-xts-256"));
    refused(&one, &["--password", "Anaconda"], &["password"]);
    let Key::RecoveryPassword(digits) = &other.keys[1] else { panic!("{:?}", other.keys) };
    refused(&one, &["--recovery-password", digits], &["recovery password"]);
    let (one, other) = (sample("startup_key"), sample("recovery_key"));
    let Key::StartupKey(key) = &other.keys[1] else { panic!("{:?}", other.keys) };
    refused(&one, &["--bek", key.to_str().unwrap()], &["startup key"]);
}

#[test]
fn a_kind_of_key_that_the_volume_does_not_take_is_refused_with_what_it_takes() {
    let sample = sample("bitlk-aes-xts-128-smart-card");
    refused(&sample, &["--password", "anaconda"], &["recovery password"]);
}

#[test]
fn the_mistyped_group_of_a_recovery_password_is_named() {
    let sample = sample("bitlk-aes-cbc-128");
    let Key::RecoveryPassword(digits) = &sample.keys[1] else { panic!("{:?}", sample.keys) };
    let mistyped = digits.replace("071500", "071501");
    assert_ne!(&mistyped, digits);
    let output = run("scan", &sample.image, None, &["--recovery-password".into(), mistyped.into()]);
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(matches!(output.status.code(), Some(1 | 3)), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(said.contains("group 4") || said.contains("fourth") || said.contains("4th"), "{said}");
    assert!(!said.contains("071501") && !said.contains("116567"), "a secret in a message: {said}");
}

#[test]
fn a_key_in_a_file_opens_the_volume_as_one_on_the_command_line() {
    let sample = sample("bitlk-aes-cbc-128");
    let dir = guard::scratch();
    for (option, key) in [("--password-file", &sample.keys[0]), ("--recovery-password-file", &sample.keys[1])]
    {
        let (Key::Password(secret) | Key::RecoveryPassword(secret)) = key else { panic!("{key:?}") };
        let path = dir.path().join("secret");
        // With and without the line end that an editor leaves.
        for text in [secret.clone(), format!("{secret}\n"), format!("{secret}\r\n")] {
            fs::write(&path, text).unwrap();
            let output = run("scan", &sample.image, None, &[option.into(), path.clone().into()]);
            assert!(output.status.success(), "{option}: {}", tools::said(&output));
        }
    }
}
