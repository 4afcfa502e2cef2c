//! The maker of BitLocker volumes makes what other programs know as BitLocker volumes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use undelfs_tests::{
    bitlocker::{
        Maker, Method, Protector,
        oracle::{self, Key},
        recovery_password,
    },
    guard,
    ntfs3g::{self, Format, Volume},
};

const PASSWORD: &str = "password 12!@";

/// An NTFS volume of 32 MiB with a file of 8 MiB in it, and remains of another one.
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
fn every_method_and_sector_size_is_decrypted_by_others_to_the_plain_volume() {
    let dir = guard::scratch();
    for sector in [512, 4096] {
        let plain = plain(dir.path(), sector);
        for method in Method::ALL {
            let maker = Maker { sector, ..Maker::new(method, &[Protector::Password(PASSWORD.into())]) };
            let t = std::time::Instant::now();
            let made = maker.make(&plain, &dir.path().join("volume"));
            println!("{method:?} {sector} made {:?}", t.elapsed());
            let t = std::time::Instant::now();
            let r = std::panic::catch_unwind(|| {
                let mounted = oracle::libbde(&made.image, Key::Password(PASSWORD));
                made.compare(&mounted.path(), &[]);
            });
            println!(" libbde {} {:?}", r.is_ok(), t.elapsed());
            let t = std::time::Instant::now();
            let r = std::panic::catch_unwind(|| {
                let out = dir.path().join("out");
                oracle::dislocker(&made.image, Key::Password(PASSWORD), &out);
                made.compare(&out, &[]);
            });
            println!(" dislocker {} {:?}", r.is_ok(), t.elapsed());
            let _ = fs::create_dir("/work/h2out");
            fs::copy(&made.image, format!("/work/h2out/{method:?}-{sector}.img")).unwrap();
            made.write_expected(Path::new(&format!("/work/h2out/{method:?}-{sector}.exp")));
        }
    }
    let _ = recovery_password(1);
}
