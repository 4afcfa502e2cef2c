//! The keys of encrypted files: key files as Windows and OpenSSL write them, their passwords, several keys at once, and
//! recovery agents.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use undelfs_tests::{
    efs::{self, Algorithm, Fek, Purpose, User},
    guard,
    ntfs3g::{self, Format, Volume},
    program::{self, Tree, assert_refused, undelfs},
    terminal, tools, walk,
};

const EACCES: i32 = 13;

/// A volume with files that different people can decrypt.
struct Shared {
    dir: TempDir,
    image: PathBuf,
    me: User,
    other: User,
    agent: User,
    stranger: User,
    /// The raw backup stream of `mine`.
    raw: PathBuf,
}

/// The files, and what stands in each.
const FILES: [&str; 4] = ["mine", "others", "ours", "recovered"];

impl Shared {
    fn new() -> Self {
        let dir = guard::scratch();
        let image = dir.path().join("efs.img");
        ntfs3g::format(&image, &Format { size: 16 << 20, cluster: 4096, sector: 512, label: "EFS".into() });
        let user = |name, purpose| User::new(dir.path(), name, purpose);
        let (me, other) = (user("me", Purpose::User), user("other", Purpose::User));
        let (agent, stranger) = (user("agent", Purpose::Recovery), user("stranger", Purpose::User));
        let volume = Volume::efs_raw(&image);
        let both = [&other, &me];
        let lists: [(&[&User], &[&User]); 4] =
            [(&both[1..], &[]), (&both[..1], &[]), (&both, &[]), (&[&stranger], &[&agent])];
        for (number, (name, (users, agents))) in FILES.into_iter().zip(lists).enumerate() {
            let fek = Fek::new(Algorithm::Aes256, number as u64);
            let metadata = efs::metadata(&fek, users, agents);
            efs::write(&volume.root().join(name), name.as_bytes(), &[], &fek, &metadata);
        }
        volume.unmount();
        let raw = dir.path().join("raw");
        let export = ["efs", "export", image.to_str().unwrap(), "mine", raw.to_str().unwrap()];
        assert!(undelfs(export).status.success());
        Self { dir, image, me, other, agent, stranger, raw }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Imports `mine` with a key file and options for its password.
    fn import(&self, key: &Path, password: &[&str]) -> Output {
        let target = self.file("target");
        let [raw, target, key] = [&self.raw, &target, key].map(|path| path.to_str().unwrap());
        undelfs([&["efs", "import", "--force", raw, target, "--efs-key", key], password].concat())
    }

    fn assert_opens(&self, key: &Path, password: &[&str]) {
        let output = self.import(key, password);
        assert!(output.status.success(), "{}: {}", key.display(), tools::said(&output));
        assert_eq!(fs::read(self.file("target")).unwrap(), b"mine", "{}", key.display());
        fs::remove_file(self.file("target")).unwrap();
    }
}

#[test]
fn pkcs12_is_read_as_every_windows_and_openssl_protects_it() {
    let shared = Shared::new();
    let key = shared.file("key.pfx");
    let chain = shared.other.certificate.to_str().unwrap();
    let provider = ["-CSP", "Microsoft Enhanced Cryptographic Provider v1.0", "-LMK"];
    let forms: [&[&str]; 8] = [
        // Windows 2000 to 8.1, and 10 where it is asked for: 3DES for the key, RC2 for the certificates.
        &[
            "-legacy",
            "-keypbe",
            "PBE-SHA1-3DES",
            "-certpbe",
            "PBE-SHA1-RC2-40",
            "-macalg",
            "sha1",
            "-iter",
            "2000",
        ],
        // TripleDES-SHA1 of Windows 10 and Export-PfxCertificate.
        &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1", "-iter", "2000"],
        // AES256-SHA256 of Windows 10 from 1709 on.
        &["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256", "-iter", "2000"],
        &["-keypbe", "AES-128-CBC", "-certpbe", "NONE", "-macalg", "sha384"],
        &["-keypbe", "NONE", "-certpbe", "NONE", "-macalg", "sha512"],
        &["-nomac"],
        &["-noiter", "-nomaciter", "-legacy"],
        // With the certificates above it.
        &["-certfile", chain, "-name", "Encrypting File System"],
    ];
    for form in forms {
        shared.me.pkcs12(&key, &[form, &provider].concat());
        shared.assert_opens(&key, &["--efs-key-password", User::PASSWORD]);
    }
}

#[test]
fn a_password_is_empty_missing_or_any_text() {
    let shared = Shared::new();
    let key = shared.file("key.pfx");
    let forms: [&[&str]; 2] = [&["-legacy"], &["-macalg", "sha256"]];
    for form in forms {
        shared.me.pkcs12_with(&key, "", form);
        shared.assert_opens(&key, &[]);
        shared.assert_opens(&key, &["--efs-key-password", ""]);
        // One that is not needed, because another key file needs it.
        shared.assert_opens(&key, &["--efs-key-password", "for another"]);
        for password in ["pässwörd € 密码", " spaces around ", "x"] {
            shared.me.pkcs12_with(&key, password, form);
            shared.assert_opens(&key, &["--efs-key-password", password]);
            let file = shared.file("password");
            fs::write(&file, format!("{password}\r\n")).unwrap();
            shared.assert_opens(&key, &["--efs-key-password-file", file.to_str().unwrap()]);
            for wrong in ["", "Wrong"] {
                let output = shared.import(&key, &["--efs-key-password", wrong]);
                assert_refused(&output, 3, &["none of the passwords"]);
            }
            assert_refused(&shared.import(&key, &[]), 3, &["--efs-key-password-file"]);
        }
    }
    assert!(!shared.file("target").exists());
    shared.me.pkcs12_with(&key, "😀", &[]);
    assert_refused(&shared.import(&key, &["--efs-key-password", "😀"]), 2, &["password", "character"]);
}

#[test]
fn what_is_no_key_file_says_so_in_a_sentence() {
    let shared = Shared::new();
    let key = shared.file("key.pfx");
    shared.me.pkcs12(&key, &["-nocerts"]);
    shared.assert_opens(&key, &["--efs-key-password", User::PASSWORD]);
    shared.me.pkcs12(&key, &[]);
    let sound = fs::read(&key).unwrap();
    let mut rng = fastrand::Rng::with_seed(9);
    for len in [0, 1, 4, 30, sound.len() / 2, sound.len() - 1] {
        fs::write(&key, &sound[..len]).unwrap();
        let output = shared.import(&key, &["--efs-key-password", User::PASSWORD]);
        assert!([Some(2), Some(3)].contains(&output.status.code()), "{len} bytes: {}", tools::said(&output));
    }
    for _ in 0..40 {
        let mut changed = sound.clone();
        changed[rng.usize(..sound.len())] ^= 1 << rng.u8(..8);
        fs::write(&key, &changed).unwrap();
        let output = shared.import(&key, &["--efs-key-password", User::PASSWORD]);
        // A change that is in no place of importance is none.
        let code = output.status.code();
        assert!([Some(0), Some(2), Some(3)].contains(&code), "{}", tools::said(&output));
    }
    shared.me.pkcs12(&key, &["-legacy", "-keypbe", "PBE-SHA1-RC2-128"]);
    let output = shared.import(&key, &["--efs-key-password", User::PASSWORD]);
    assert_refused(&output, 2, &["protected in a way that is not known"]);
    // A key that is no RSA key.
    let elliptic = shared.file("elliptic.pem");
    let make = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"];
    tools::succeed(tools::tool("openssl").args(make).arg(&elliptic));
    assert_refused(&shared.import(&elliptic, &[]), 2, &["no RSA private key"]);
    assert_refused(&shared.import(&shared.file("missing"), &[]), 1, &["missing"]);
}

#[test]
fn each_file_takes_the_key_that_fits_of_several() {
    let shared = Shared::new();
    let password = shared.file("password");
    let second = shared.file("second");
    // Two key files, two passwords, in the other order.
    let theirs = shared.file("theirs.pfx");
    shared.other.pkcs12_with(&theirs, "another secret", &["-macalg", "sha256"]);
    fs::write(&password, "another secret\n").unwrap();
    fs::write(&second, format!("{}\n", User::PASSWORD)).unwrap();
    let path = |path: &'_ Path| path.to_str().unwrap().to_owned();
    let keys = |files: &[&Path]| -> Vec<String> {
        let keys = files.iter().flat_map(|file| ["--efs-key".to_owned(), path(file)]);
        let passwords = [&password, &second].into_iter();
        keys.chain(passwords.flat_map(|file| ["--efs-key-password-file".to_owned(), path(file)])).collect()
    };
    let readable = |files: &[&Path], expected: &[&str]| {
        let keys = keys(files);
        let args: Vec<&str> = keys.iter().map(String::as_str).chain(["--view", "regular"]).collect();
        let tree = Tree::mount(&shared.image, &args);
        for name in FILES {
            match fs::read(tree.join(name)) {
                Ok(content) => assert!(content == name.as_bytes() && expected.contains(&name), "{name}"),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(EACCES), "{name}");
                    assert!(!expected.contains(&name), "{name} is not readable");
                    let who = walk::xattr_text(&tree.join(name), "user.undelfs.efs");
                    assert!(who.contains("certificate"), "{who}");
                }
            }
        }
        tree.unmount();
    };
    readable(&[&shared.me.pfx], &["mine", "ours"]);
    readable(&[&theirs], &["others", "ours"]);
    readable(&[&shared.me.pfx, &theirs], &["mine", "others", "ours"]);
    readable(&[&shared.agent.pfx], &["recovered"]);
    readable(&[&shared.agent.key, &theirs, &shared.me.pfx], &FILES);
    // All keys in one file.
    let together: Vec<u8> = [&shared.me.key, &shared.other.key, &shared.stranger.key]
        .into_iter()
        .flat_map(|file| fs::read(file).unwrap())
        .collect();
    fs::write(shared.file("together.pem"), together).unwrap();
    readable(&[&shared.file("together.pem")], &FILES);
}

#[test]
fn a_password_comes_from_a_descriptor_standard_input_or_the_terminal_and_is_not_shown() {
    let shared = Shared::new();
    let program = program::path();
    let [raw, key, target] =
        [&shared.raw, &shared.me.pfx, &shared.file("target")].map(|path| path.to_str().unwrap().to_owned());
    for (option, redirection) in [("--efs-key-password-fd 6", "6"), ("--efs-key-password-file -", "")] {
        let script = format!(
            "exec \"$0\" efs import {raw} {target} --efs-key {key} {option} {redirection}<<'END'\n{}\nEND\n",
            User::PASSWORD
        );
        let output = Command::new("sh").arg("-c").arg(script).arg(&program).output().unwrap();
        assert!(output.status.success(), "{}", tools::said(&output));
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        fs::remove_file(&target).unwrap();
    }
    let command = format!("{} efs import {raw} {target} --efs-key {key}", program.display());
    let seen = terminal::answer(&command, "(empty: none):", &["not this one", User::PASSWORD]);
    assert_eq!(fs::read(&target).unwrap_or_default(), b"mine", "{seen}");
    assert!(seen.contains("Password of") && seen.contains("is not it"), "{seen}");
    assert!(!seen.contains("not this one") && !seen.contains(User::PASSWORD), "{seen}");
    // None of it stands in the process list while it runs: --efs-key-password is taken out of it.
    let mount = Tree::foreground(
        &shared.image,
        &["--view", "regular", "--efs-key", &key, "--efs-key-password", User::PASSWORD],
    );
    for process in mount.servers() {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap();
        assert!(
            !String::from_utf8_lossy(&line).contains(User::PASSWORD),
            "the password is in the process list"
        );
    }
    assert_eq!(fs::read(mount.join("mine")).unwrap(), b"mine");
}
