//! Files that EFS has encrypted, beside BitLocker, and the ciphers beside OpenSSL.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    bench::{self, GIB},
    bitlocker, ciphers,
    figures::{Figure, Goal, median, rate},
    peers::Place,
    run,
};

/// A cipher: its `ALG_ID`, what OpenSSL calls it, and what is measured.
const CIPHERS: [(&str, &str, &str); 3] = [
    ("0x6610", "aes-256-cbc", "EFS, AES-256"),
    ("0x6603", "des-ede3-cbc", "EFS, 3DES"),
    ("0x6604", "desx-cbc", "EFS, DESX"),
];

/// Measures a file of 1 GiB, and the ciphers, `passes` times.
pub(crate) fn figures(
    undelfs: &Path,
    plain: &Path,
    folder: &Path,
    passes: usize,
) -> Result<Vec<Figure>, String> {
    run::run(&mut run::cargo(["build", "--release", "--package", "undelfs-tests", "--example", "make_efs"]))?;
    run::run(&mut run::cargo(["build", "--release", "--package", "undelfs-efs", "--example", "efs_speed"]))?;
    let examples = run::built("release")?.join("examples");
    let (image, key) = volume(&examples.join("make_efs"), folder)?;
    let bitlocker = bitlocker::Large::new(undelfs, plain)?;
    bench::warm(&image)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..passes {
        let place = Place::new()?;
        let mut mount = Command::new(undelfs);
        mount.args(["mount", "--view", "regular", "--efs-key"]).arg(&key).arg(&image).arg(place.dir());
        run::output(&mut mount)?;
        ours.push(bench::read(&[place.dir().join("large.bin")])?);
        theirs.push(bitlocker.read()?);
    }
    let mut figures = vec![Figure {
        what: "large file in EFS",
        ours: rate(GIB, median(ours)),
        peer: "in BitLocker",
        theirs: rate(GIB, median(theirs)),
        goal: Goal::AtLeast(0.5),
    }];
    let mut rates: Vec<[Vec<Duration>; 2]> = CIPHERS.iter().map(|_| Default::default()).collect();
    for _ in 0..passes {
        let said = run::output(ciphers::on_one_core()?.arg(examples.join("efs_speed")))?;
        for ((id, name, _), [ours, theirs]) in CIPHERS.iter().zip(&mut rates) {
            ours.push(ciphers::duration(ours_of(&said, id)?));
            theirs.push(ciphers::duration(ciphers::openssl(name, "512")?));
        }
    }
    for ((id, _, what), [ours, theirs]) in CIPHERS.iter().zip(rates) {
        let goal = if *id == "0x6610" { Goal::AtLeast(0.95) } else { Goal::None };
        let (ours, theirs) = (rate(GIB, median(ours)), rate(GIB, median(theirs)));
        figures.push(Figure { what, ours, peer: "OpenSSL", theirs, goal });
    }
    Ok(figures)
}

/// The volume with the encrypted file, and the key of it, made where they are missing.
fn volume(maker: &Path, folder: &Path) -> Result<(PathBuf, PathBuf), String> {
    let (image, key) = (folder.join("efs.img"), folder.join("efs.key.pem"));
    if !image.exists() || !key.exists() {
        let unfinished = image.with_extension("unfinished");
        run::run(Command::new(maker).args([&unfinished, &key]))?;
        fs::rename(&unfinished, &image).map_err(|error| format!("{}: {error}", image.display()))?;
    }
    Ok((image, key))
}

/// The rate in a line of `efs_speed`: `ALG_ID`, bytes per second.
fn ours_of(said: &str, id: &str) -> Result<f64, String> {
    said.lines()
        .find_map(|line| line.split_once(' ').filter(|(at, _)| *at == id)?.1.parse().ok())
        .ok_or_else(|| format!("efs_speed gave no rate of {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_from_its_line() {
        assert_eq!(ours_of("0x6610 8000\n0x6604 70\n", "0x6604"), Ok(70.0));
        assert!(ours_of("0x6610 8000\n", "0x6603").is_err());
    }
}
