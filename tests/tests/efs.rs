//! Files encrypted by EFS, live and deleted: read with a key by us and by `ntfsdecrypt`, refused without one, shown and
//! exported as raw backup streams, and imported again.

use std::{
    fs,
    io::Write,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use undelfs_tests::{
    content::{Content, Fill},
    efs::{self, Algorithm, Fek, Purpose, User},
    guard,
    ntfs3g::{self, Format, Volume},
    program::{Tree, assert_refused, undelfs},
    tools, walk,
};

const EIO: i32 = 5;
const EACCES: i32 = 13;

/// A volume of encrypted files, with the keys of those who can decrypt them.
struct Encrypted {
    dir: TempDir,
    image: PathBuf,
    me: User,
    other: User,
    agent: User,
    password: PathBuf,
    /// Name, cipher, content of the unnamed stream.
    files: Vec<(String, Algorithm, Vec<u8>)>,
    /// Their records, in the same order.
    records: Vec<u64>,
}

/// Content of the named stream of every file.
const NAMED: &[u8] = b"a named stream that is encrypted too";

impl Encrypted {
    fn new(cluster: u32) -> Self {
        let dir = guard::scratch();
        let image = dir.path().join("efs.img");
        let format = |image: &Path| {
            ntfs3g::format(image, &Format { size: 48 << 20, cluster, sector: 512, label: "EFS".into() });
        };
        format(&image);
        let me = User::new(dir.path(), "me", Purpose::User);
        let other = User::new(dir.path(), "other", Purpose::User);
        let agent = User::new(dir.path(), "agent", Purpose::Recovery);
        let password = dir.path().join("password");
        fs::write(&password, format!("{}\n", User::PASSWORD)).unwrap();
        let mut files = Vec::new();
        for (number, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            for size in [1, 511, 512, 569, 4096, 65_536, 65_537, 300_001] {
                let content = Content::new(Fill::Tagged, (number * 9 + size) as u64, size).bytes();
                files.push((format!("{algorithm:?} {size}"), algorithm, content));
            }
        }
        let volume = Volume::efs_raw(&image);
        let mut records = Vec::new();
        for (number, (name, algorithm, content)) in files.iter().enumerate() {
            let fek = Fek::new(*algorithm, number as u64);
            let metadata = efs::metadata(&fek, &[&other, &me], &[&agent]);
            let path = volume.root().join(name);
            efs::write(&path, content, &[("note", NAMED)], &fek, &metadata);
            records.push(fs::metadata(&path).unwrap().ino());
        }
        volume.unmount();
        Self { dir, image, me, other, agent, password, files, records }
    }

    fn delete_all(&self) {
        let volume = Volume::write(&self.image);
        for (name, ..) in &self.files {
            fs::remove_file(volume.root().join(name)).unwrap();
        }
        volume.unmount();
    }

    /// Where a deleted file stands: under its name, or where ntfs-3g has wiped that from the record when it took it away, by
    /// its record.
    fn deleted(&self, tree: &Tree, index: usize) -> PathBuf {
        tree.join(self.deleted_path(tree, index, ""))
    }

    fn deleted_path(&self, tree: &Tree, index: usize, suffix: &str) -> PathBuf {
        let named = PathBuf::from(format!("{}{suffix}", self.files[index].0));
        match tree.join(&named).exists() {
            true => named,
            false => format!("$Orphans/unnamed/record {}{suffix}", self.records[index]).into(),
        }
    }

    fn key<'a>(&'a self, file: &'a Path) -> [&'a str; 4] {
        let password = self.password.to_str().unwrap();
        ["--efs-key", file.to_str().unwrap(), "--efs-key-password-file", password]
    }

    fn check(&self, tree: &Tree) {
        for (index, (name, _, content)) in self.files.iter().enumerate() {
            let path = self.deleted(tree, index);
            assert!(fs::read(&path).unwrap() == *content, "{name}");
            assert_eq!(walk::xattr(&path, "user.note").as_deref(), Some(NAMED), "{name}");
        }
    }
}

#[test]
fn every_cipher_is_plain_text_with_a_key_live_and_deleted_and_ntfsdecrypt_reads_the_same() {
    let all = Encrypted::new(4096);
    for (name, algorithm, content) in &all.files {
        if Algorithm::OF_WINDOWS.contains(algorithm) {
            assert!(
                efs::ntfsdecrypt(&all.image, name, &all.me) == *content,
                "ntfsdecrypt reads {name} otherwise"
            );
        }
    }
    let tree = Tree::mount(&all.image, &[&all.key(&all.me.pfx)[..], &["--view", "regular"]].concat());
    all.check(&tree);
    tree.unmount();
    all.delete_all();
    let tree = Tree::mount(&all.image, &[&all.key(&all.me.pfx)[..], &["--direct-io"]].concat());
    all.check(&tree);
    // Any part of a file, from any byte on.
    let mut rng = fastrand::Rng::with_seed(5);
    for (index, (name, _, content)) in all.files.iter().enumerate() {
        let file = fs::File::open(all.deleted(&tree, index)).unwrap();
        for _ in 0..40 {
            let (at, len) = (rng.usize(..content.len()), rng.usize(1..3000));
            let mut found = vec![0; len.min(content.len() - at)];
            file.read_exact_at(&mut found, at as u64).unwrap();
            assert!(found == content[at..at + found.len()], "{len} bytes at {at} of {name}");
        }
    }
}

#[test]
fn without_a_key_reading_is_refused_and_the_attributes_say_whose_key_is_needed() {
    let all = Encrypted::new(4096);
    all.delete_all();
    for key in [&[][..], &all.key(&User::new(all.dir.path(), "stranger", Purpose::User).pfx)] {
        let tree = Tree::mount(&all.image, key);
        for (index, (name, _, content)) in all.files.iter().enumerate() {
            let path = all.deleted(&tree, index);
            assert_eq!(fs::read(&path).unwrap_err().raw_os_error(), Some(EACCES), "{name}");
            assert_eq!(fs::metadata(&path).unwrap().len(), content.len() as u64);
            let who = walk::xattr_text(&path, "user.undelfs.efs");
            let lines: Vec<&str> = who.lines().collect();
            for (line, list, user) in [(0, "DDF", &all.other), (1, "DDF", &all.me), (2, "DRF", &all.agent)] {
                let line = lines[line];
                assert!(line.starts_with(list) && line.contains("S-1-5-21-1-2-3-1001"), "{line}");
                assert!(line.contains(&user.display()) && line.contains(&user.thumbprint()), "{line}");
            }
        }
        tree.unmount();
    }
    let scanned = undelfs(["scan", "--format", "jsonl", all.image.to_str().unwrap()]);
    let lines = String::from_utf8(scanned.stdout).unwrap();
    for line in lines.lines() {
        let file: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(file["efs"][1]["certificate"], all.me.thumbprint(), "{line}");
        assert_eq!(file["efs"][2]["list"], "DRF");
    }
    assert_eq!(lines.lines().count(), all.files.len());
    for format in ["table", "csv"] {
        let said = undelfs(["scan", "--format", format, all.image.to_str().unwrap()]);
        let text = String::from_utf8(said.stdout).unwrap();
        for user in [&all.me, &all.other, &all.agent] {
            let who = format!("{}, S-1-5-21-1-2-3-1001, certificate {}", user.display(), user.thumbprint());
            assert_eq!(text.matches(&who).count(), all.files.len(), "{format}: {text}");
        }
    }
}

#[test]
fn keys_are_taken_from_every_form_and_a_recovery_agent_has_one_too() {
    let all = Encrypted::new(4096);
    let file = |name: &str| all.dir.path().join(name);
    let openssl = |args: &[&str], from: &Path, to: &Path| {
        let pass = ["-passout", &format!("pass:{}", User::PASSWORD)];
        let pass = if args.contains(&"-topk8") && !args.contains(&"-nocrypt") { &pass[..] } else { &[] };
        tools::succeed(tools::tool("openssl").args(args).args(pass).arg("-in").arg(from).arg("-out").arg(to));
    };
    all.me.pkcs12(&file("new.pfx"), &[]);
    all.me.pkcs12(&file("named.pfx"), &["-name", "a name", "-macalg", "sha256", "-keypbe", "AES-128-CBC"]);
    openssl(&["rsa", "-traditional"], &all.me.key, &file("pkcs1.pem"));
    openssl(&["rsa", "-traditional", "-outform", "DER"], &all.me.key, &file("pkcs1.der"));
    openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &all.me.key, &file("pkcs8.der"));
    openssl(&["pkcs8", "-topk8"], &all.me.key, &file("locked.pem"));
    openssl(&["pkcs8", "-topk8", "-outform", "DER", "-scrypt"], &all.me.key, &file("locked.der"));
    let together =
        [fs::read(&all.me.certificate).unwrap(), b"text between\n".to_vec(), fs::read(&all.me.key).unwrap()];
    fs::write(file("together.pem"), together.concat()).unwrap();
    let names = [
        "new.pfx",
        "named.pfx",
        "pkcs1.pem",
        "pkcs1.der",
        "pkcs8.der",
        "locked.pem",
        "locked.der",
        "together.pem",
    ];
    let mut keys: Vec<PathBuf> = names.into_iter().map(file).collect();
    keys.extend([all.me.key.clone(), all.other.pfx.clone(), all.agent.pfx.clone()]);
    for key in &keys {
        let tree = Tree::mount(&all.image, &[&all.key(key)[..], &["--view", "regular"]].concat());
        let (name, _, content) = &all.files[20];
        let found = fs::read(tree.join(name)).unwrap_or_else(|error| panic!("{}: {error}", key.display()));
        assert!(found == *content, "{}", key.display());
        tree.unmount();
    }
    let image = all.image.to_str().unwrap();
    let scan = |args: &[&str]| undelfs([&["scan", image], args].concat());
    let pfx = all.me.pfx.to_str().unwrap();
    assert_refused(&scan(&["--efs-key", pfx]), 3, &["password", "--efs-key-password-file"]);
    assert_refused(&scan(&["--efs-key", pfx, "--efs-key-password", "wrong"]), 3, &["none of the passwords"]);
    assert_refused(&scan(&["--efs-key", all.me.certificate.to_str().unwrap()]), 2, &["no RSA private key"]);
    assert_refused(&scan(&["--efs-key", image]), 2, &["no RSA private key"]);
    assert_refused(&scan(&["--efs-key-password", "x"]), 2, &["--efs-key"]);
    assert!(scan(&["--efs-key", pfx, "--efs-key-password", User::PASSWORD]).status.success());
}

#[test]
fn a_raw_backup_stream_is_shown_and_exported_alike_and_imported_to_the_same_bytes() {
    let all = Encrypted::new(4096);
    let image = all.image.to_str().unwrap();
    let raw = all.dir.path().join("one.efsraw");
    let name = |index: usize| all.files[index].0.as_str();
    // By ntfs-3g to another volume, from where ntfsdecrypt reads it.
    let second = all.dir.path().join("second.img");
    ntfs3g::format(&second, &Format { size: 32 << 20, cluster: 1024, sector: 512, label: "2".into() });
    let run = |args: &[&str]| {
        let output = undelfs(args);
        assert!(output.status.success(), "{args:?}: {}", tools::said(&output));
    };
    let live = all.dir.path().join("live");
    fs::create_dir(&live).unwrap();
    let exported = |folder: &Path, name: &str| folder.join(name);
    for index in 0..all.files.len() {
        run(&["efs", "export", image, name(index), exported(&live, name(index)).to_str().unwrap()]);
    }
    let volume = Volume::efs_raw(&second);
    for index in 0..all.files.len() {
        let target = volume.root().join(name(index));
        run(&["efs", "import", exported(&live, name(index)).to_str().unwrap(), target.to_str().unwrap()]);
    }
    volume.unmount();
    for (name, algorithm, content) in &all.files {
        if Algorithm::OF_WINDOWS.contains(algorithm) {
            assert!(efs::ntfsdecrypt(&second, name, &all.other) == *content, "{name} on the second volume");
        }
    }
    let tree = Tree::mount(&second, &[&all.key(&all.agent.pfx)[..], &["--view", "regular"]].concat());
    all.check(&tree);
    tree.unmount();

    // Deleted, and shown in the mount.
    all.delete_all();
    let tree = Tree::mount(&all.image, &["--efs", "raw"]);
    for (index, (name, _, content)) in all.files.iter().enumerate() {
        let path = all.deleted_path(&tree, index, ".efsraw");
        let shown = tree.join(&path);
        let before = fs::read(exported(&live, name)).unwrap();
        assert_eq!(fs::metadata(&shown).unwrap().len(), before.len() as u64, "{name}");
        assert!(fs::read(&shown).unwrap() == before, "{name}");
        assert!(!tree.join(name).exists());
        let path = path.to_str().unwrap().strip_suffix(".efsraw").unwrap();
        run(&["efs", "export", "--force", image, path, raw.to_str().unwrap()]);
        assert!(fs::read(&raw).unwrap() == before, "{name}");
        let plain = all.dir.path().join(format!("plain {index}"));
        let import = ["efs", "import", raw.to_str().unwrap(), plain.to_str().unwrap()];
        run(&[&import[..], &all.key(&all.me.pfx)].concat());
        assert!(fs::read(&plain).unwrap() == *content, "{name}");
        assert_eq!(fs::read(format!("{}:note", plain.display())).unwrap(), NAMED);
    }
    let file = fs::File::open(tree.join(all.deleted_path(&tree, 7, ".efsraw"))).unwrap();
    let whole = fs::read(exported(&live, name(7))).unwrap();
    for at in [0, 700, 60_000, 70_000, whole.len() - 1000] {
        let mut part = vec![0; 1000];
        file.read_exact_at(&mut part, at as u64).unwrap();
        assert!(part == whole[at..at + 1000], "at {at}");
    }
}

#[test]
fn what_is_no_raw_backup_stream_leaves_nothing_behind() {
    let all = Encrypted::new(4096);
    let raw = all.dir.path().join("raw");
    let out = all.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let (raw_text, target) = (raw.to_str().unwrap().to_owned(), out.join("file"));
    let export = ["efs", "export", all.image.to_str().unwrap(), &all.files[3].0, &raw_text];
    assert!(undelfs(export).status.success());
    let sound = fs::read(&raw).unwrap();
    let import = |bytes: &[u8], keys: &[&str]| {
        fs::write(&raw, bytes).unwrap();
        undelfs([&["efs", "import", &raw_text, target.to_str().unwrap()], keys].concat())
    };
    let key = all.key(&all.me.pfx);
    for cut in [0, 11, 19, 40, 700, 1700, sound.len() - 513, sound.len() - 1] {
        assert_refused(&import(&sound[..cut], &key), 1, &["no raw backup stream", "at byte"]);
    }
    let mut lies = sound.clone();
    lies[0x32..0x36].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_refused(&import(&lies, &key), 1, &["no raw backup stream"]);
    assert_refused(&import(&sound, &[]), 1, &["efs_raw"]);
    let stranger = User::new(all.dir.path(), "stranger", Purpose::User);
    assert_refused(&import(&sound, &all.key(&stranger.pfx)), 3, &["none of the keys"]);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "something was left");
    assert!(import(&sound, &key).status.success());
    assert_refused(&import(&sound, &key), 2, &["exists"]);
}

#[test]
fn info_says_who_can_decrypt_a_file_of_a_volume_and_a_raw_backup_stream() {
    let all = Encrypted::new(4096);
    let raw = all.dir.path().join("raw");
    let name = all.files[17].0.as_str();
    let image = all.image.to_str().unwrap();
    assert!(undelfs(["efs", "export", image, name, raw.to_str().unwrap()]).status.success());
    let key = all.key(&all.agent.pfx);
    for of in [vec![image, name], vec![raw.to_str().unwrap()]] {
        let said = tools::said(&undelfs([&["efs", "info"], &of[..], &key].concat()));
        for word in [&all.me.thumbprint(), "me-container", "DRF recovery agent agent(agent@HOST)", "AES-256"]
        {
            assert!(said.contains(word), "no {word} in {said}");
        }
    }
    // What stands beside a file and is not listed is no part of the volume.
    let out = all.dir.path().join("out");
    let hidden = format!("{name}.efsraw");
    let args = ["restore", "--view", "regular", image, &hidden, out.to_str().unwrap()];
    assert_refused(&undelfs(args), 2, &["efs export"]);
    let volume = Volume::write(&all.image);
    fs::write(volume.root().join("plain"), "x").unwrap();
    volume.unmount();
    assert_refused(&undelfs(["efs", "info", image, "plain"]), 1, &["not encrypted"]);
    assert_refused(
        &undelfs(["efs", "export", image, "plain", raw.to_str().unwrap(), "--force"]),
        1,
        &["not encrypted"],
    );
}

#[test]
fn overwritten_clusters_are_declared_and_zeros_in_the_file_and_in_what_is_imported() {
    let all = Encrypted::new(512);
    all.delete_all();
    let volume = Volume::write(&all.image);
    // Free clusters are taken from the begin of the volume on, FILE records too: these are made first.
    let mut later = fs::File::create(volume.root().join("later")).unwrap();
    later.write_all(&Content::new(Fill::Random, 1, 150_000).bytes()).unwrap();
    drop(later);
    volume.unmount();
    let key = all.key(&all.me.pfx);
    let tree = Tree::mount(&all.image, &key);
    let as_error = Tree::mount(&all.image, &[&key[..], &["--overwritten", "error", "--direct-io"]].concat());
    let raw = Tree::mount(&all.image, &["--efs", "raw"]);
    let (mut partial, mut whole) = (0, 0);
    for (index, (name, _, content)) in all.files.iter().enumerate() {
        let path = all.deleted(&tree, index);
        if !path.exists() {
            continue;
        }
        let ranges = walk::overwritten(&path);
        let mut expected = content.clone();
        for range in &ranges {
            expected[range.start as usize..range.end as usize].fill(0);
        }
        let found = match fs::read(&path) {
            Ok(found) => found,
            // The `$EFS` attribute can be overwritten as well.
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EIO), "{name}");
                continue;
            }
        };
        assert!(found == expected, "{name}, declared {ranges:?}");
        partial += usize::from(!ranges.is_empty());
        whole += usize::from(ranges.is_empty());
        let error = fs::File::open(all.deleted(&as_error, index)).unwrap();
        for (number, part) in content.chunks(512).enumerate() {
            let at = number as u64 * 512;
            let mut unit = vec![0; part.len()];
            match error.read_exact_at(&mut unit, at) {
                Ok(()) => {
                    assert!(unit == part && !ranges.iter().any(|range| range.contains(&at)), "{name} at {at}")
                }
                Err(_) => assert!(ranges.iter().any(|range| range.contains(&at)), "{name} at {at}"),
            }
        }
        let imported = all.dir.path().join("imported");
        let shown = raw.join(all.deleted_path(&raw, index, ".efsraw"));
        let import = ["efs", "import", "--force", shown.to_str().unwrap(), imported.to_str().unwrap()];
        let output = undelfs([&import[..], &key].concat());
        assert!(output.status.success(), "{name}: {}", tools::said(&output));
        assert!(fs::read(&imported).unwrap() == expected, "{name} imported");
    }
    assert!(partial > 0 && whole > 0, "{partial} files lost a part, {whole} did not");
}
