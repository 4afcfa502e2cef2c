//! The maker of BitLocker volumes makes what other programs take for BitLocker volumes of Windows.
//!
//! `libbde` and `dislocker`, as Debian has them, know neither volumes of Windows Vista nor conversion on writing;
//! those are compared with what they know.

use std::{
    fs,
    ops::Range,
    os::unix::fs::FileExt,
    panic,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use tempfile::TempDir;
use undelfs_tests::{
    bitlocker::{
        Made, Maker, Method, Progress, Protector, Seal, State, Windows,
        oracle::{self, Key},
        recovery_password,
    },
    guard,
    ntfs3g::{self, Format, Volume},
    tools,
};

const SIZE: u64 = 32 << 20;

/// Plain volumes, made once: NTFS with sectors of 512 and of 4096 bytes, and FAT32.
struct Plain {
    _dir: TempDir,
    ntfs: PathBuf,
    ntfs_4096: PathBuf,
    fat: PathBuf,
}

fn plain() -> &'static Plain {
    static PLAIN: OnceLock<Plain> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let dir = guard::scratch();
        let ntfs = ntfs(&dir.path().join("ntfs"), 512);
        let ntfs_4096 = self::ntfs(&dir.path().join("ntfs-4096"), 4096);
        let fat = dir.path().join("fat");
        fs::File::create(&fat).unwrap().set_len(2 * SIZE).unwrap();
        tools::run("mkfs.vfat", ["-F", "32", "-s", "1", fat.to_str().unwrap()]);
        Plain { _dir: dir, ntfs, ntfs_4096, fat }
    })
}

/// An NTFS volume with a file of 8 MiB, and what is left of a deleted one.
fn ntfs(image: &Path, sector: u32) -> PathBuf {
    ntfs3g::format(image, &Format { size: SIZE, cluster: 4096, sector, label: "Plain".into() });
    let volume = Volume::write(image);
    let mut rng = fastrand::Rng::with_seed(u64::from(sector));
    let mut bytes = vec![0; 8 << 20];
    for name in ["deleted", "kept"] {
        rng.fill(&mut bytes);
        fs::write(volume.root().join(name), &bytes).unwrap();
    }
    fs::remove_file(volume.root().join("deleted")).unwrap();
    volume.unmount();
    image.to_owned()
}

fn clear(method: Method) -> Maker {
    Maker::new(method, &[Protector::ClearKey])
}

fn libbde_agrees(made: &Made, key: Key<'_>) {
    let decrypted = oracle::libbde(&made.image, key);
    made.compare(&decrypted.path(), &[]);
}

fn dislocker_agrees(made: &Made, key: Key<'_>) {
    let out = made.image.with_extension("dislocker");
    oracle::dislocker(&made.image, key, &out);
    made.compare(&out, &[]);
}

fn bytes(path: &Path, range: &Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    fs::File::open(path).unwrap().read_exact_at(&mut bytes, range.start).unwrap();
    bytes
}

#[test]
fn every_method_and_sector_size_is_decrypted_by_others_to_the_plain_volume() {
    let dir = guard::scratch();
    for (sector, plain) in [(512, &plain().ntfs), (4096, &plain().ntfs_4096)] {
        for method in Method::ALL {
            let made = Maker { sector, ..clear(method) }.make(plain, &dir.path().join("volume"));
            dislocker_agrees(&made, Key::Clear);
            // This libbde takes no key of 512 bits.
            if method != Method::Xts256 {
                libbde_agrees(&made, Key::Clear);
            }
        }
    }
}

#[test]
fn every_kind_of_key_of_every_windows_opens_the_volume_in_other_programs() {
    let dir = guard::scratch();
    let (password, recovery) = ("a long pass phrase", recovery_password(5));
    let protectors = [
        Protector::Password(password.into()),
        Protector::RecoveryPassword(recovery.clone()),
        Protector::StartupKey,
    ];
    for windows in [Windows::Seven, Windows::Ten, Windows::Eleven] {
        let maker = Maker { windows, ..Maker::new(Method::Cbc256, &protectors) };
        let made = maker.make(&plain().ntfs, &dir.path().join("volume"));
        let bek = made.write_bek(dir.path());
        for key in [Key::Password(password), Key::RecoveryPassword(&recovery), Key::Bek(&bek)] {
            libbde_agrees(&made, key);
            // This dislocker takes no .BEK file that names its volume.
            if !(windows == Windows::Eleven && matches!(key, Key::Bek(_))) {
                dislocker_agrees(&made, key);
            }
        }
    }
}

#[test]
fn a_password_may_have_letters_of_any_script() {
    let dir = guard::scratch();
    let password = "p\u{e4}ss \u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c} \u{1f511}";
    let maker = Maker::new(Method::Xts128, &[Protector::Password(password.into())]);
    let made = maker.make(&plain().ntfs, &dir.path().join("volume"));
    libbde_agrees(&made, Key::Password(password));
}

#[test]
fn the_metadata_names_every_protector_and_every_place() {
    let dir = guard::scratch();
    let protectors = [
        (Protector::Password("secret".into()), "passphrase"),
        (Protector::RecoveryPassword(recovery_password(1)), "recovery passphrase"),
        (Protector::StartupKey, "startup key"),
        (Protector::Tpm, "TPM"),
        (Protector::TpmPin, "TPM and PIN"),
        (Protector::SmartCard, "smart card"),
    ];
    let asked: Vec<Protector> = protectors.iter().map(|(protector, _)| protector.clone()).collect();
    let maker = Maker::new(Method::Xts256, &asked);
    let made = maker.make(&plain().ntfs, &dir.path().join("volume"));
    let said = oracle::cryptsetup(&made.image).replace('\t', " ");
    for (made, (_, name)) in made.protectors.iter().zip(&protectors) {
        let (_, after) = said.split_once(&oracle::lower(made.id)).unwrap_or_else(|| panic!("{said}"));
        let kind = after.lines().nth(1).unwrap_or_default();
        assert!(kind.ends_with(name), "{name}: {kind}\n{said}");
    }
    for offset in made.metadata.iter().chain([&made.relocated.start]) {
        assert!(said.contains(&format!("{offset} [bytes]")), "{offset}\n{said}");
    }
    assert!(said.contains(&oracle::lower(made.volume)), "{said}");
    assert!(said.contains("512 bits") && said.contains("xts-plain64"), "{said}");
}

#[test]
fn a_removable_disk_has_a_discovery_volume_in_front_and_its_own_head_elsewhere() {
    let dir = guard::scratch();
    let maker = Maker { to_go: true, ..clear(Method::Cbc128) };
    let made = maker.make(&plain().fat, &dir.path().join("volume"));
    libbde_agrees(&made, Key::Clear);
    dislocker_agrees(&made, Key::Clear);
    let listed = tools::run("fls", ["-f", "fat32", made.image.to_str().unwrap()]);
    assert!(listed.contains("$FAT1"), "{listed}");
    assert!(oracle::cryptsetup(&made.image).contains(&oracle::lower(made.volume)));
}

#[test]
fn clusters_that_were_never_encrypted_stand_on_the_disk_as_they_were() {
    let dir = guard::scratch();
    let maker = Maker { state: State::UsedSpaceOnly, ..clear(Method::Xts128) };
    let made = maker.make(&plain().ntfs, &dir.path().join("volume"));
    let mut remains = 0;
    for range in made.never_encrypted() {
        let there = bytes(&made.image, range);
        assert_eq!(there, bytes(&made.plain, range), "{range:x?}");
        remains += there.iter().filter(|byte| **byte != 0).count();
    }
    assert!(remains > 7 << 20, "only {remains} bytes of the deleted file");
    libbde_agrees(&made, Key::Clear);
    dislocker_agrees(&made, Key::Clear);
}

#[test]
fn a_volume_that_is_half_encrypted_is_read_right_on_both_sides_of_the_border() {
    let dir = guard::scratch();
    let border = 0x142_3600;
    let ways = [
        (Progress::Encrypting, border),
        (Progress::Decrypting, border + 512),
        (Progress::EncryptingPaused, 0x9F_FE00),
        (Progress::DecryptingPaused, 8 * 512),
    ];
    for (conversion, up_to) in ways {
        let state = State::Watermark { up_to, conversion };
        let maker = Maker { windows: Windows::Seven, state, ..clear(Method::Cbc256Elephant) };
        let made = maker.make(&plain().ntfs, &dir.path().join("volume"));
        // Of such a volume libbde presents the file system without the last sector.
        let decrypted = oracle::libbde(&made.image, Key::Clear);
        made.compare_within(&decrypted.path(), 0..SIZE - 512, &[]);
    }
}

#[test]
fn a_volume_of_windows_vista_differs_from_one_of_windows_7_in_its_head_alone() {
    let dir = guard::scratch();
    let make = |windows, name: &str| {
        let maker = Maker { windows, ..clear(Method::Cbc128Elephant) };
        maker.make(&plain().ntfs, &dir.path().join(name))
    };
    let (vista, seven) = (make(Windows::Vista, "vista"), make(Windows::Seven, "seven"));
    assert_eq!((&vista.fvek, vista.volume), (&seven.fvek, seven.volume));
    let own: Vec<_> = vista.zeroed.iter().chain(&seven.zeroed).cloned().collect();
    let mut compared = 0;
    for sector in (0x2000..SIZE).step_by(512).map(|start| start..start + 512) {
        if own.iter().all(|own| sector.end <= own.start || own.end <= sector.start) {
            assert_eq!(bytes(&vista.image, &sector), bytes(&seven.image, &sector), "{sector:x?}");
            compared += 512;
        }
    }
    assert!(compared > SIZE - (1 << 20), "{compared}");
    let (head, plain) = (bytes(&vista.image, &(0..0x2000)), bytes(&vista.plain, &(0..0x2000)));
    let different: Vec<usize> = (0..0x2000).filter(|at| head[*at] != plain[*at]).collect();
    assert!(different.iter().all(|at| (3..11).contains(at) || (0x38..0x40).contains(at)), "{different:x?}");
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    assert_eq!(number(&head[0x38..0x40]) * 4096, vista.metadata[0]);
    let block = bytes(&vista.image, &(vista.metadata[2]..vista.metadata[2] + 64));
    assert_eq!(block[56..], plain[0x38..0x40], "the cluster of the mirror of $MFT");
}

#[test]
fn the_bitmaps_of_a_conversion_say_what_is_encrypted() {
    let dir = guard::scratch();
    let (regions, chunk) = (5, 0x1_0000);
    let encrypted = |region: usize, chunk: u64| (chunk * 7 + region as u64) % 5 < 2;
    let state = State::OnWrite { regions, chunk, encrypted };
    let made = Maker { state, ..clear(Method::Xts128) }.make(&plain().ntfs, &dir.path().join("volume"));
    let boot = bytes(&made.image, &(0..512));
    let number = |bytes: &[u8], at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let at_disk = |at: u64, len: u64| bytes(&made.image, &(at..at + len));
    let copies = [number(&boot, 200, 8), number(&boot, 208, 8)];
    let information = at_disk(copies[0], 512);
    assert_eq!(information, at_disk(copies[1], 512));
    assert!(information.starts_with(b"FVE-EOW\0"));
    let mut covered = 0x2000;
    for region in 0..regions {
        let bitmap = number(&information, 56 + 8 * region, 8);
        let header = at_disk(bitmap, 512);
        assert!(header.starts_with(b"FVE-EOWBM\0"));
        let (start, len) = (number(&header, 20, 8), number(&header, 28, 8));
        assert_eq!(start, covered);
        covered += len;
        let records = [at_disk(bitmap + 512, 512), at_disk(bitmap + 1024, 512)];
        let newest = records.iter().max_by_key(|record| number(record, 20, 8)).unwrap();
        for chunk_number in 0..number(newest, 16, 4) {
            let is_encrypted = newest[36 + chunk_number as usize / 8] >> (chunk_number % 8) & 1 == 1;
            assert_eq!(is_encrypted, encrypted(region, chunk_number));
            let start = start + chunk_number * chunk;
            for sector in (start..(start + chunk).min(covered)).step_by(512).map(|start| start..start + 512) {
                let is_own = made.zeroed.iter().any(|own| own.start < sector.end && sector.start < own.end);
                let is_same = bytes(&made.image, &sector) == bytes(&made.plain, &sector);
                assert!(is_own || is_same != is_encrypted, "{sector:x?} in region {region}");
            }
        }
    }
    assert_eq!(covered, SIZE);
}

#[test]
fn a_decrypted_volume_is_plain_but_for_its_metadata() {
    let dir = guard::scratch();
    let maker = Maker { state: State::Decrypted, ..clear(Method::Xts128) };
    let made = maker.make(&plain().ntfs, &dir.path().join("volume"));
    let head = bytes(&made.image, &made.relocated);
    assert_eq!(head, bytes(&made.plain, &(0..0x2000)));
    let except: Vec<_> = made.zeroed.iter().cloned().chain(std::iter::once(0..0x2000)).collect();
    made.compare(&made.image, &except);
    let zeros = made.metadata.map(|offset| bytes(&made.image, &(offset + 0x1000..offset + 0x1_0000)));
    assert!(zeros.iter().flatten().all(|byte| *byte == 0));
}

#[test]
fn a_spoiled_block_makes_others_take_the_next_and_three_end_it() {
    let dir = guard::scratch();
    let made = clear(Method::Xts128).make(&plain().ntfs, &dir.path().join("volume"));
    let out = dir.path().join("out");
    made.spoil_crc(0);
    made.edit_block(1, Seal::Broken, |block| block[200] ^= 0x10);
    dislocker_agrees(&made, Key::Clear);
    made.destroy_block(2);
    let end = oracle::dislocker_command(&made.image, Key::Clear, &out).output().unwrap();
    assert!(!end.status.success(), "{}", tools::said(&end));
    made.edit_block(1, Seal::Crc, |block| block[200] ^= 0x10);
    dislocker_agrees(&made, Key::Clear);
}

#[test]
fn an_outdated_block_is_sound_but_its_key_is_of_no_use() {
    let dir = guard::scratch();
    let made = clear(Method::Xts128).make(&plain().ntfs, &dir.path().join("volume"));
    let stale = made.make_stale(0);
    assert_ne!(stale.fvek, made.fvek);
    // dislocker takes the first sound block, however old.
    let out = dir.path().join("out");
    oracle::dislocker(&made.image, Key::Clear, &out);
    assert!(panic::catch_unwind(|| made.compare(&out, &[])).is_err());
    made.spoil_crc(0);
    dislocker_agrees(&made, Key::Clear);
}
