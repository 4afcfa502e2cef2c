//! `cargo xtask test`: every test, with all that it needs.

use std::{fs, path::PathBuf};

use crate::{packages, run, samples, sweep};

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    packages::need_root()?;
    packages::install()?;
    sweep::run()?;
    let (variable, samples) = samples::fetch()?;
    let program = build()?;
    let mut tests = run::cargo(["test", "--workspace"]);
    tests.args(args).env("UNDELFS_BIN", program).env(variable, samples);
    // The tests hash and compare gigabytes; overflow checks and debug assertions stay.
    tests.env("CARGO_PROFILE_TEST_OPT_LEVEL", "1").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    let done = run::run(&mut tests);
    sweep::run()?;
    done
}

/// Builds the program that the tests run and the C library that stands beside it, in release mode, and returns the path
/// of the program.
pub(crate) fn build() -> Result<PathBuf, String> {
    run::run(&mut run::cargo(["build", "--release", "--package", "undelfs", "--package", "undelfs-fmapi"]))?;
    let program = run::built("release")?.join("undelfs");
    fs::metadata(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
}
