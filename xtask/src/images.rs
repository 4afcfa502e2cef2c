//! `cargo xtask images`: makes the bundled image again.

use crate::{packages, run};

pub(crate) fn run() -> Result<(), String> {
    packages::need_root()?;
    packages::install()?;
    make(&["demo", "images/demo.img.gz"]).map(|said| print!("images/demo.img.gz: {said}"))
}

/// Runs the tests' maker of images and returns what it says.
pub(crate) fn make(args: &[&str]) -> Result<String, String> {
    let mut maker =
        run::cargo(["run", "--quiet", "--release", "--package", "undelfs-tests", "--bin", "images", "--"]);
    run::output(maker.args(args))
}
