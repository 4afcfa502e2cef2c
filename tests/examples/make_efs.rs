//! Makes the benchmarks' volume with a file of 1 GiB that EFS has encrypted with AES-256.
//!
//! Usage: `make_efs IMAGE KEY` writes the volume and the private key that decrypts the file. `cargo xtask bench` runs it.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use undelfs_tests::{
    content::{Content, Fill},
    efs::{self, Algorithm, Fek, Purpose, User},
    guard,
    ntfs3g::{self, Format, Volume},
};

/// Bytes of the file.
const SIZE: u64 = 1 << 30;
/// Bytes that are encrypted at once.
const STEP: usize = 16 << 20;

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [image, key] = &args[..] else {
        return Err("usage: make_efs IMAGE KEY".into());
    };
    let image = Path::new(image);
    let format = Format { size: SIZE + (128 << 20), cluster: 4096, sector: 512, label: "EFS".into() };
    ntfs3g::format(image, &format);
    let dir = guard::scratch();
    let me = User::new(dir.path(), "me", Purpose::User);
    fs::copy(&me.key, key).map_err(|error| format!("{key}: {error}"))?;
    let fek = Fek::new(Algorithm::Aes256, 1);
    let volume = Volume::efs_raw(image);
    let path = volume.root().join("large.bin");
    let write = || {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        for at in (0..SIZE).step_by(STEP) {
            let mut part = Content::new(Fill::Tagged, at, STEP).bytes();
            efs::encrypt_at(&fek, &mut part, at);
            file.write_all(&part)?;
        }
        // None of the last 512 bytes is too many.
        file.write_all(&[0, 0])?;
        file.flush()
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
    efs::seal(&path, &efs::metadata(&fek, &[&me], &[]));
    volume.unmount();
    Ok(())
}
