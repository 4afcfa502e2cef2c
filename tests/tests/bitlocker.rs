//! BitLocker volumes in every state: with a key the deleted files in them are there as on a plain volume.

use std::{fs, ops::Range, os::unix::fs::FileExt};

use undelfs_tests::{
    bitlocker::{Made, Maker, Method, Progress, Protector, Seal, State, Windows, recovery_password},
    check::{self, Names},
    encrypted::{Encrypted, PASSWORD, protectors, recovery},
    guard,
    program::{Tree, assert_refused, undelfs},
    tools, walk,
};

#[test]
fn every_cipher_and_sector_size_gives_the_deleted_files_byte_for_byte() {
    for (seed, method) in (300..).zip([
        Method::Cbc128Elephant,
        Method::Cbc256Elephant,
        Method::Cbc128,
        Method::Cbc256,
        Method::Xts128,
        Method::Xts256,
    ]) {
        for sector in [512, 4096] {
            let maker = Maker { sector, ..Maker::new(method, &protectors()) };
            Encrypted::new(seed, &maker).assert_opens(&["--password", PASSWORD]);
        }
    }
}

#[test]
fn a_suspended_and_a_decrypted_volume_open_without_any_key() {
    let suspended = [&protectors()[..], &[Protector::ClearKey]].concat();
    Encrypted::new(311, &Maker::new(Method::Cbc256, &suspended)).assert_opens(&[]);
    let maker = Maker { state: State::Decrypted, ..Maker::new(Method::Xts256, &protectors()) };
    Encrypted::new(312, &maker).assert_opens(&[]);
}

#[test]
fn on_both_sides_of_the_border_of_a_conversion_bytes_are_read_right() {
    for (seed, conversion) in (320..).zip([
        Progress::Encrypting,
        Progress::Decrypting,
        Progress::EncryptingPaused,
        Progress::DecryptingPaused,
    ]) {
        for windows in [Windows::Seven, Windows::Vista] {
            let state = State::Watermark { up_to: (40 << 20) + seed * 512, conversion };
            let maker = Maker { state, windows, ..Maker::new(Method::Cbc128Elephant, &protectors()) };
            Encrypted::new(seed, &maker).assert_opens(&["--recovery-password", &recovery()]);
        }
    }
}

#[test]
fn chunks_that_are_encrypted_on_write_and_those_that_are_not_yet_are_told_apart() {
    for (chunk, encrypted) in [
        (8 << 20, (|region, chunk| (region as u64 + chunk).is_multiple_of(2)) as fn(usize, u64) -> bool),
        (1 << 20, |_, chunk| chunk % 3 == 1),
        (64 << 10, |region, _| region == 1),
    ] {
        let state = State::OnWrite { regions: 4, chunk, encrypted };
        let maker = Maker { state, ..Maker::new(Method::Xts128, &protectors()) };
        Encrypted::new(330, &maker).assert_opens(&["--password", PASSWORD]);
    }
}

#[test]
fn what_was_deleted_before_only_used_space_was_encrypted_is_read_as_it_stands_and_declared() {
    let maker = Maker { state: State::UsedSpaceOnly, ..Maker::new(Method::Xts128, &protectors()) };
    let volume = Encrypted::new(331, &maker);
    let tree = Tree::mount(volume.image(), &["--password", PASSWORD]);
    volume.assert_files(&tree);
    let mut declared = 0;
    for file in volume.manifest.known().filter(|file| file.link.is_none() && file.content().len >= 8192) {
        let path = file.names.iter().map(|name| tree.join(&name.path)).find(|path| path.exists()).unwrap();
        let Some(value) = walk::xattr(&path, "user.undelfs.unencrypted") else { continue };
        let ranges = ranges(&String::from_utf8(value).unwrap());
        let len = fs::metadata(&path).unwrap().len();
        assert!(ranges.iter().all(|range| range.start < range.end && range.end <= len), "{ranges:?}");
        declared += 1;
    }
    assert!(declared > 5, "{declared} files declare what was never encrypted");
    // The volume itself is what Windows presents.
    volume.made.compare(&tree.join(".undelfs/volume.img"), &[]);
    drop(tree);
    // Where everything was encrypted, nothing else is declared.
    let volume = Encrypted::new(331, &Maker::new(Method::Xts128, &protectors()));
    let tree = Tree::mount(volume.image(), &["--password", PASSWORD]);
    for file in volume.manifest.known().filter(|file| file.link.is_none()) {
        let path = file.names.iter().map(|name| tree.join(&name.path)).find(|path| path.exists()).unwrap();
        let value = walk::xattr(&path, "user.undelfs.unencrypted").unwrap_or_default();
        assert!(value.is_empty() || value == b"unclear ", "{}: {value:?}", path.display());
    }
}

/// Byte ranges `first-last`, both counted.
fn ranges(text: &str) -> Vec<Range<u64>> {
    let parts = text.trim_start_matches("unclear ").split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap();
            first.parse().unwrap()..last.parse::<u64>().unwrap() + 1
        })
        .collect()
}

#[test]
fn one_sound_metadata_block_is_enough_and_the_newest_counts() {
    let maker = Maker::new(Method::Xts256, &protectors());
    let damages: [fn(&Made); 6] = [
        |made| made.spoil_crc(0),
        |made| (0..2).for_each(|block| made.destroy_block(block)),
        |made| (1..3).for_each(|block| made.destroy_block(block)),
        |made| {
            made.make_stale(0);
        },
        |made| {
            made.make_stale(0);
            made.make_stale(1);
        },
        // The dataset of the first block lies about its size, with all checks right.
        |made| made.edit_block(0, Seal::Whole, |bytes| bytes[64..68].copy_from_slice(&[0xFF; 4])),
    ];
    for damage in damages {
        let volume = Encrypted::new(340, &maker);
        damage(&volume.made);
        let tree = Tree::mount(volume.image(), &["--password", PASSWORD]);
        volume.assert_files(&tree);
    }
}

#[test]
fn a_destroyed_boot_sector_does_not_matter() {
    for maker in [
        Maker::new(Method::Xts128, &protectors()),
        Maker { sector: 4096, ..Maker::new(Method::Cbc256, &protectors()) },
    ] {
        let volume = Encrypted::new(341, &maker);
        volume.made.destroy_boot_sector();
        volume.refused(&[], &["BitLocker", "Numerical Password"]);
        let tree = Tree::mount(volume.image(), &["--password", PASSWORD]);
        volume.assert_files(&tree);
        volume.made.compare(&tree.join(".undelfs/volume.img"), &[]);
        drop(tree);
        let tree = Tree::mount(volume.image(), &["--start-sector", "0", "--password", PASSWORD]);
        volume.assert_files(&tree);
    }
}

#[test]
fn without_any_metadata_a_key_package_with_its_recovery_password_or_the_raw_key_opens_the_volume() {
    let volume = Encrypted::new(342, &Maker::new(Method::Xts128, &protectors()));
    let package =
        volume.made.key_package(volume.made.protector(|one| matches!(one, Protector::RecoveryPassword(_))));
    let package = volume.file("key.package", &package);
    let package = package.to_str().unwrap();
    let fvek = volume.file("fvek", &volume.made.fvek);
    (0..3).for_each(|block| volume.made.destroy_block(block));
    volume.refused(&[], &["none of its metadata blocks is sound", "key package"]);
    volume.refused(&["--password", PASSWORD], &["none of its metadata blocks is sound"]);
    volume.refused(&["--key-package", package], &["needs its recovery password"]);
    volume.refused(
        &["--key-package", package, "--recovery-password", &recovery_password(9)],
        &["does not fit"],
    );
    let wrong = volume.file("wrong", &[7; 32]);
    volume.refused(&["--fvek", wrong.to_str().unwrap()], &["encryption key does not fit"]);
    for keys in [
        &["--key-package", package, "--recovery-password", &recovery()][..],
        &["--fvek", fvek.to_str().unwrap()],
    ] {
        let tree = Tree::mount(volume.image(), keys);
        volume.assert_files(&tree);
    }
    // Not even the boot sector is left.
    volume.made.destroy_boot_sector();
    let tree = Tree::mount(volume.image(), &["--start-sector", "0", "--fvek", fvek.to_str().unwrap()]);
    volume.assert_files(&tree);
}

#[test]
fn the_end_of_an_image_that_is_cut_inside_a_sector_is_missing_and_not_ciphertext() {
    let volume = Encrypted::new(346, &Maker::new(Method::Xts128, &protectors()));
    let cut = (100 << 20) + 300;
    fs::OpenOptions::new().write(true).open(volume.image()).unwrap().set_len(cut).unwrap();
    let tree = Tree::mount(volume.image(), &["--password", PASSWORD, "--view", "all"]);
    let image = tree.join(".undelfs/volume.img");
    assert_eq!(fs::metadata(&image).unwrap().len(), cut - 300);
    assert_eq!(fs::read(&image).unwrap().len() as u64, cut - 300);
    volume.made.compare_within(&image, 0..cut - 300, &[]);
}

#[test]
fn metadata_that_lie_are_refused_with_one_sentence_and_never_crash() {
    let maker = Maker::new(Method::Xts128, &protectors());
    let volume = Encrypted::new(343, &maker);
    let original = fs::read(volume.image()).unwrap();
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..40 {
        let file = fs::OpenOptions::new().write(true).open(volume.image()).unwrap();
        for at in volume.made.metadata {
            let at = at as usize;
            file.write_all_at(&original[at..at + 4096], at as u64).unwrap();
        }
        for block in 0..3 {
            volume.made.edit_block(block, Seal::Whole, |bytes| {
                for _ in 0..rng.usize(1..6) {
                    let at = rng.usize(10..bytes.len().min(900));
                    bytes[at] = [0, 0xFF, rng.u8(..), 0x80][rng.usize(..4)];
                }
            });
        }
        let output = undelfs(["scan", volume.image().to_str().unwrap(), "--password", PASSWORD]);
        let code = output.status.code().unwrap();
        let said = tools::said(&output);
        assert!(!said.contains("panicked") && !said.contains("internal error"), "{said}");
        assert!([0, 1, 3].contains(&code), "{code}: {said}");
        if code != 0 {
            assert_refused(&output, code, &[]);
        }
    }
}

#[test]
fn a_volume_that_holds_another_file_system_is_decrypted_for_other_tools() {
    let dir = guard::scratch();
    let fat = dir.path().join("fat.img");
    fs::File::create(&fat).unwrap().set_len(64 << 20).unwrap();
    tools::run("mkfs.vfat", ["-F", "32", "-s", "1", fat.to_str().unwrap()]);
    let nothing = dir.path().join("nothing.img");
    let file = fs::File::create(&nothing).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"neither FAT nor NTFS", 12345).unwrap();
    for (plain, to_go) in [(&fat, true), (&fat, false), (&nothing, false)] {
        let maker = Maker { to_go, ..Maker::new(Method::Xts128, &protectors()) };
        let made = maker.make(plain, &dir.path().join("encrypted.img"));
        let tree = Tree::mount(&made.image, &["--password", PASSWORD]);
        made.compare(&tree.join(".undelfs/volume.img"), &[]);
        assert_eq!(walk::walk(tree.root()).len(), 0, "only .undelfs is there");
    }
}

#[test]
fn restoring_without_a_mount_takes_the_same_keys() {
    let volume = Encrypted::new(364, &Maker::new(Method::Cbc256Elephant, &protectors()));
    let out = guard::scratch();
    let output = undelfs([
        "restore",
        volume.image().to_str().unwrap(),
        "/",
        out.path().to_str().unwrap(),
        "--password",
        PASSWORD,
    ]);
    assert!(output.status.success(), "{}", tools::said(&output));
    let complaints = check::content(out.path(), volume.manifest.deleted(), Names::AnyDeleted);
    check::assert_none("restored", &complaints);
}
