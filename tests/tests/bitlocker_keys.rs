//! Keys of BitLocker volumes: each kind opens, without one that fits is said which is wanted, and none of them shows.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use undelfs_restore::{
    Context, Options, Selection,
    bitlocker::{Key, Secret},
};
use undelfs_source::{ErrorKind, Source};
use undelfs_tests::{
    bitlocker::{Maker, Method, Protector, recovery_password},
    check::{self, Names},
    disk,
    encrypted::{Encrypted, PASSWORD, protectors, recovery},
    guard,
    program::{self, Tree, undelfs},
    recipe::Recipe,
    tools, walk,
};

#[test]
fn every_kind_of_key_opens_the_volume() {
    let volume = Encrypted::new(310, &Maker::new(Method::Xts128, &protectors()));
    let recovery = recovery();
    let bek = volume.made.write_bek(volume.dir.path());
    let vmk = volume.file("vmk", &volume.made.vmk);
    let fvek = volume.file("fvek", &volume.made.fvek);
    let hex: String = volume.made.fvek.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = volume.file("fvek.txt", format!("{hex}\n").as_bytes());
    let password = volume.file("password", format!("{PASSWORD}\r\n").as_bytes());
    let digits = volume.file("digits", recovery.replace('-', " ").as_bytes());
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    for (option, value) in [
        ("--password", PASSWORD.to_owned()),
        ("--password-file", path(&password)),
        ("--recovery-password", recovery),
        ("--recovery-password-file", path(&digits)),
        ("--bek", path(&bek)),
        ("--vmk", path(&vmk)),
        ("--fvek", path(&fvek)),
        ("--fvek", path(&hex)),
    ] {
        let tree = Tree::mount(volume.image(), &[option, &value]);
        volume.assert_files(&tree);
        tree.unmount();
    }
    // Several keys at once, of which only one fits.
    let tree = Tree::mount(volume.image(), &["--password", "other", "--bek", bek.to_str().unwrap()]);
    volume.assert_files(&tree);
}

#[test]
fn without_a_fitting_key_it_is_said_which_is_wanted_and_what_is_wrong_with_the_given_one() {
    let volume = Encrypted::new(313, &Maker::new(Method::Xts128, &protectors()));
    let of_password = volume.identifier(|one| matches!(one, Protector::Password(_)));
    let of_recovery = volume.identifier(|one| matches!(one, Protector::RecoveryPassword(_)));
    let of_tpm = volume.identifier(|one| matches!(one, Protector::Tpm));
    let all = ["BitLocker", &of_password, &of_recovery, &of_tpm, "Numerical Password", "TPM", "--password"];
    volume.refused(&[], &all);
    volume.refused(&["--password", "wrong"], &[&all[..], &["password does not fit"]].concat());
    let other = recovery_password(8);
    volume.refused(&["--recovery-password", &other], &["recovery password does not fit", &of_recovery]);
    let mut mistyped = recovery();
    let digit = mistyped.remove(15);
    mistyped.insert(15, char::from(b'0' + (digit as u8 - b'0' + 1) % 10));
    volume.refused(&["--recovery-password", &mistyped], &["group 3 "]);
    volume.refused(&["--recovery-password", &mistyped[7..]], &["7 groups"]);

    let stranger = Encrypted::new(314, &Maker { seed: 9, ..Maker::new(Method::Xts128, &protectors()) });
    let bek = stranger.made.write_bek(volume.dir.path());
    volume.refused(&["--bek", bek.to_str().unwrap()], &["startup key", "does not fit"]);
    let text = volume.file("text.BEK", b"this is no startup key");
    volume.refused(&["--bek", text.to_str().unwrap()], &["text.BEK", "no BitLocker key"]);
    let fvek = volume.file("wrong", &[1; 20]);
    volume.refused(&["--fvek", fvek.to_str().unwrap()], &["16, 32 or 64 bytes"]);

    // Where files cannot be shown, volumes can still be listed.
    let listed = undelfs(["volumes", volume.image().to_str().unwrap()]);
    assert_eq!(listed.status.code(), Some(0));
    for word in all.iter().take(6).chain(&["XTS-AES 128"]) {
        assert!(tools::said(&listed).contains(word), "no {word} in {}", tools::said(&listed));
    }
}

#[test]
fn a_raw_key_or_a_package_of_another_volume_is_refused_and_does_not_stand_in_the_way_of_one_that_fits() {
    let volume = Encrypted::new(344, &Maker::new(Method::Xts128, &protectors()));
    let other = Maker { seed: 77, ..Maker::new(Method::Xts128, &protectors()) };
    let other = Encrypted::new(345, &other);
    let wrong = volume.file("wrong", &[7; 32]);
    let wrong = wrong.to_str().unwrap();
    volume.refused(&["--fvek", wrong], &["full volume encryption key does not fit"]);
    volume.refused(&["--vmk", wrong], &["volume master key does not fit"]);
    let package =
        other.made.key_package(other.made.protector(|one| matches!(one, Protector::RecoveryPassword(_))));
    let package = volume.file("package", &package);
    let package = package.to_str().unwrap();
    (0..3).for_each(|block| volume.made.destroy_block(block));
    let fvek = volume.file("fvek", &volume.made.fvek);
    let recovery = recovery();
    volume.refused(&["--key-package", package, "--recovery-password", &recovery], &["does not help"]);
    let tree = Tree::mount(volume.image(), &["--fvek", wrong, "--fvek", fvek.to_str().unwrap()]);
    volume.assert_files(&tree);
}

#[test]
fn where_every_volume_stays_locked_no_command_succeeds() {
    let dir = guard::scratch();
    let mut images = Vec::new();
    for seed in [353, 354] {
        let plain = Recipe { files: 5, size: 64 << 20, ..Recipe::new(seed) }.make(dir.path());
        let out = dir.path().join(format!("{seed}.img"));
        Maker { seed, ..Maker::new(Method::Xts128, &protectors()) }.make(&plain.image, &out);
        images.push(out);
    }
    let parts: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
    let disk = disk::gpt(&dir.path().join("disk.img"), &parts, 512).image;
    let disk = disk.to_str().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    for command in [&["mount", disk, folder][..], &["restore", disk, "/", folder], &["scan", disk]] {
        let output = undelfs([command, &["--password", "wrong"]].concat());
        assert_eq!(output.status.code(), Some(3), "{command:?}: {}", tools::said(&output));
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn each_volume_of_a_disk_takes_the_key_that_fits_it() {
    let dir = guard::scratch();
    let mut images = Vec::new();
    let mut manifests = Vec::new();
    for (seed, password) in [(350, "first"), (351, "second"), (352, "third")] {
        let plain = Recipe { files: 20, size: 64 << 20, ..Recipe::new(seed) }.make(dir.path());
        let out = dir.path().join(format!("{seed}.img"));
        Maker { seed, ..Maker::new(Method::Xts128, &[Protector::Password(password.into())]) }
            .make(&plain.image, &out);
        images.push(out);
        manifests.push(plain.manifest);
    }
    let parts: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
    let disk = disk::gpt(&dir.path().join("disk.img"), &parts, 512);
    let tree = Tree::mount(&disk.image, &["--password", "second", "--password", "first"]);
    let folders: Vec<String> = fs::read_dir(tree.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    for (number, manifest) in (1..).zip(manifests).take(2) {
        let folder = folders.iter().find(|name| name.starts_with(&format!("{number}-"))).unwrap();
        let manifest = manifest.under(folder);
        let complaints = check::content(tree.root(), manifest.deleted(), Names::AnyDeleted);
        check::assert_none("deleted files", &complaints);
    }
    let locked = folders.iter().find(|name| name.starts_with("3-")).unwrap();
    assert_eq!(walk::walk(&tree.join(locked)).len(), 0, "nothing is shown of the volume that stays locked");
}

/// Everything that another user or a crash could see of the processes that serve a mount.
fn traces(tree: &Tree) -> Vec<u8> {
    let mut all = Vec::new();
    for server in tree.servers() {
        for name in ["cmdline", "environ"] {
            all.extend(fs::read(format!("/proc/{server}/{name}")).unwrap());
        }
    }
    all
}

fn contains(all: &[u8], secret: &[u8]) -> bool {
    all.windows(secret.len()).any(|part| part == secret)
}

#[test]
fn no_secret_stands_in_the_process_list_the_log_or_the_generated_files() {
    let volume = Encrypted::new(360, &Maker::new(Method::Xts128, &protectors()));
    let recovery = recovery();
    let dir = guard::scratch();
    let image = volume.image().to_str().unwrap();
    let arguments = ["-vvv", "mount", image, dir.path().to_str().unwrap(), "--password", PASSWORD];
    let output = undelfs(arguments.iter().copied().chain([&*format!("--recovery-password={recovery}")]));
    assert!(output.status.success(), "{}", tools::said(&output));
    let mounted = guard::Mounted::new(dir.path(), None);
    let secrets: Vec<Vec<u8>> = [PASSWORD.as_bytes(), recovery.as_bytes(), &recovery.as_bytes()[..6]]
        .map(<[u8]>::to_vec)
        .into_iter()
        .chain([volume.made.vmk.to_vec(), volume.made.fvek.clone()])
        .flat_map(|secret| {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            [secret, hex.into_bytes()]
        })
        .collect();
    let mut seen = tools::said(&output).into_bytes();
    assert!(!seen.is_empty(), "-vvv says something");
    for name in ["status.json", "report.txt", "catalogue.jsonl", "bodyfile.txt"] {
        seen.extend(fs::read(dir.path().join(".undelfs").join(name)).unwrap());
    }
    drop(mounted);
    let tree = Tree::mount(volume.image(), &["--password", PASSWORD]);
    seen.extend(traces(&tree));
    for secret in secrets {
        assert!(!contains(&seen, &secret), "a secret shows: {}", String::from_utf8_lossy(&secret));
    }
}

#[test]
fn a_process_that_has_keys_leaves_no_core_dump() {
    let volume = Encrypted::new(361, &Maker::new(Method::Xts128, &protectors()));
    let tree = Tree::mount(volume.image(), &["--password", PASSWORD]);
    let [server] = tree.servers()[..] else { panic!() };
    let limits = fs::read_to_string(format!("/proc/{server}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn a_secret_can_come_from_a_file_descriptor_or_standard_input() {
    let volume = Encrypted::new(362, &Maker::new(Method::Xts128, &protectors()));
    let image = volume.image().to_str().unwrap();
    let script = format!("exec \"$0\" scan {image} --password-fd 7 7<<'END'\n{PASSWORD}\nEND\n");
    let program = program::path();
    let output = Command::new("sh").arg("-c").arg(script).arg(&program).output().unwrap();
    assert_lists(&output, &volume);
    let mut child = program::command()
        .args(["scan", image, "--password-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert_lists(&child.wait_with_output().unwrap(), &volume);
    // A mount reads it in the process that stays.
    let dir = guard::scratch();
    let mountpoint = dir.path().to_str().unwrap();
    let script = format!(
        "exec \"$0\" mount {image} {mountpoint} --recovery-password-fd 5 5<<'END'\n{}\nEND\n",
        recovery()
    );
    let output = Command::new("sh").arg("-c").arg(script).arg(&program).output().unwrap();
    assert!(output.status.success(), "{}", tools::said(&output));
    drop(guard::Mounted::new(dir.path(), None));
}

fn assert_lists(output: &Output, volume: &Encrypted) {
    assert!(output.status.success(), "{}", tools::said(output));
    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines > volume.manifest.deleted().count() / 2, "{}", tools::said(output));
}

#[test]
fn on_a_terminal_the_password_is_asked_for_and_not_shown() {
    let volume = Encrypted::new(363, &Maker::new(Method::Xts128, &protectors()));
    let dir = guard::scratch();
    let command =
        format!("{} mount {} {}", program::path().display(), volume.image().display(), dir.path().display());
    let mut child = tools::tool("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut said = String::new();
    let mut answers = ["not this one", PASSWORD].into_iter();
    let mut piece = [0; 4096];
    while let Ok(len @ 1..) = output.read(&mut piece) {
        said.push_str(&String::from_utf8_lossy(&piece[..len]));
        if said.trim_end().ends_with("(empty: none):")
            && let Some(answer) = answers.next()
        {
            // The terminal drops what is typed before it stops to show it.
            std::thread::sleep(std::time::Duration::from_millis(300));
            input.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    }
    drop(input);
    child.wait().unwrap();
    assert!(guard::is_mounted(dir.path()), "{said}");
    let _mounted = guard::Mounted::new(dir.path(), None);
    assert!(said.contains("Password or recovery password of volume 1"), "{said}");
    assert!(said.contains("does not fit") && !said.contains("not this one"), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
}

#[test]
fn a_context_can_be_given_its_key_after_it_was_opened_and_until_it_is_scanned() {
    let volume = Encrypted::new(365, &Maker::new(Method::Xts128, &protectors()));
    let key = |text: &str| [Key::Password(Secret::new(text.into()))];
    let source = Arc::new(Source::open(volume.image()).unwrap());
    let options = Options::default();
    let mut contexts = Context::open_all(source, &Selection::default(), &options, &[], &()).unwrap();
    let context = &mut contexts[0];
    assert!(context.is_locked());
    assert_eq!(context.scan(&()).err().unwrap().kind(), ErrorKind::KeyNeeded);
    assert_eq!(context.unlock(&key("wrong"), &()).unwrap_err().kind(), ErrorKind::KeyNeeded);
    context.unlock(&key(PASSWORD), &()).unwrap();
    assert!(!context.is_locked() && context.closed().is_none());
    assert!(!context.scan(&()).unwrap().is_empty());
    assert_eq!(context.unlock(&key(PASSWORD), &()).unwrap_err().kind(), ErrorKind::InvalidInput);
}
