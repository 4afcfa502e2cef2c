use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use undelfs_tests::{
    bitlocker::oracle::Key,
    bitlocker::*,
    guard,
    ntfs3g::{self, Format, Volume},
    tools,
};

fn plain(dir: &Path, sector: u32) -> PathBuf {
    let image = dir.join(format!("plain{sector}"));
    ntfs3g::format(&image, &Format { size: 32 << 20, cluster: 4096, sector, label: "Plain".into() });
    let volume = Volume::write(&image);
    let mut rng = fastrand::Rng::with_seed(u64::from(sector));
    let mut bytes = vec![0; 8 << 20];
    for name in ["deleted", "kept"] {
        rng.fill(&mut bytes);
        fs::File::create(volume.root().join(name)).unwrap().write_all(&bytes).unwrap();
    }
    fs::remove_file(volume.root().join("deleted")).unwrap();
    volume.unmount();
    image
}

#[test]
fn states() {
    let dir = guard::scratch();
    let rp = recovery_password(7);
    let all = [
        Protector::Password("password".into()),
        Protector::RecoveryPassword(rp.clone()),
        Protector::StartupKey,
        Protector::ClearKey,
    ];
    let others = [
        Protector::Tpm,
        Protector::TpmPin,
        Protector::TpmStartupKey,
        Protector::SmartCard,
        Protector::Password("password".into()),
    ];
    let n = plain(dir.path(), 512);
    let fat = dir.path().join("fat");
    fs::File::create(&fat).unwrap().set_len(64 << 20).unwrap();
    tools::run("mkfs.vfat", ["-F", "32", "-s", "1", fat.to_str().unwrap()]);
    let base = Maker::new(Method::Cbc128, &all);
    let w = |up_to, conversion| State::Watermark { up_to, conversion };
    let cases: Vec<(&str, &Path, Maker)> = vec![
        ("all", &n, base.clone()),
        ("seven", &n, Maker { windows: Windows::Seven, ..Maker::new(Method::Cbc256Elephant, &all) }),
        ("vista", &n, Maker { windows: Windows::Vista, ..Maker::new(Method::Cbc128Elephant, &all) }),
        ("others", &n, Maker::new(Method::Cbc128, &others)),
        ("used", &n, Maker { state: State::UsedSpaceOnly, ..base.clone() }),
        (
            "enc",
            &n,
            Maker { state: w(0x1400000, Progress::Encrypting), windows: Windows::Seven, ..base.clone() },
        ),
        (
            "dec",
            &n,
            Maker { state: w(0x400000, Progress::Decrypting), windows: Windows::Seven, ..base.clone() },
        ),
        (
            "pause",
            &n,
            Maker {
                state: w(0x1400000, Progress::DecryptingPaused),
                windows: Windows::Seven,
                ..base.clone()
            },
        ),
        (
            "pausevista",
            &n,
            Maker {
                state: w(0x1400000, Progress::EncryptingPaused),
                windows: Windows::Vista,
                ..base.clone()
            },
        ),
        ("decrypted", &n, Maker { state: State::Decrypted, ..base.clone() }),
        (
            "eowfull",
            &n,
            Maker {
                state: State::OnWrite { regions: 4, chunk: 0x10000, encrypted: |_, _| true },
                ..base.clone()
            },
        ),
        (
            "eow",
            &n,
            Maker {
                state: State::OnWrite {
                    regions: 5,
                    chunk: 0x10000,
                    encrypted: |r, c| (c / 8 + r as u64) % 3 != 0,
                },
                ..base.clone()
            },
        ),
        ("eleven", &n, Maker { windows: Windows::Eleven, ..Maker::new(Method::Xts256, &all) }),
        ("togo", &fat, Maker { to_go: true, ..base.clone() }),
        ("fat", &fat, base.clone()),
    ];
    let _ = fs::create_dir("/work/h2out");
    for (name, plain, maker) in cases {
        let made = maker.make(plain, &dir.path().join("volume"));
        let bek = if maker.protectors.len() == 4 && !made.protectors.is_empty() {
            Some(made.write_bek(dir.path()))
        } else {
            None
        };
        if let Some(bek) = &bek {
            fs::copy(bek, format!("/work/h2out/{name}.bek")).unwrap();
        }
        fs::copy(&made.image, format!("/work/h2out/{name}.img")).unwrap();
        made.write_expected(Path::new(&format!("/work/h2out/{name}.exp")));
        let mut keys = vec![Key::Password("password"), Key::RecoveryPassword(&rp), Key::Clear];
        if let Some(bek) = &bek {
            keys.push(Key::Bek(bek));
        }
        for key in keys {
            let a = std::panic::catch_unwind(|| {
                let mounted = oracle::libbde(&made.image, key);
                made.compare(&mounted.path(), &[]);
            });
            let out = dir.path().join("out");
            let b = std::panic::catch_unwind(|| {
                oracle::dislocker(&made.image, key, &out);
                made.compare(&out, &[]);
            });
            let _ = fs::remove_file(out);
            println!("XX {name} {key:?} libbde {} dislocker {}", a.is_ok(), b.is_ok());
        }
        let a = std::panic::catch_unwind(|| oracle::cryptsetup(&made.image));
        println!("{}", a.unwrap_or_default());
    }
}
