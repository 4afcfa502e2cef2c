//! `cargo xtask ci`: what every commit must pass.

use crate::{run, test, windows};

/// The version that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn run() -> Result<(), String> {
    run::run(&mut run::cargo(["fmt", "--all", "--check"]))?;
    run::run(&mut run::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut doc = run::cargo(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
    run::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    deny()?;
    no_windows_on_linux()?;
    windows::run()?;
    test::run(&["--locked".to_owned()])
}

/// On Linux nothing of the back end of Windows, and of its licence, is compiled, not even for a build script.
fn no_windows_on_linux() -> Result<(), String> {
    let tree =
        ["tree", "--workspace", "--locked", "--target", "x86_64-unknown-linux-gnu", "--prefix", "none"];
    let said = run::output(&mut run::cargo(tree))?;
    match said.lines().find(|line| line.starts_with("winfsp")) {
        Some(line) => Err(format!("on Linux {line} would be compiled")),
        None => Ok(()),
    }
}

fn deny() -> Result<(), String> {
    let installed = run::output(&mut run::cargo(["deny", "--version"]));
    if !installed.is_ok_and(|version| version.contains(CARGO_DENY)) {
        run::run(&mut run::cargo(["install", "--locked", "cargo-deny", "--version", CARGO_DENY]))?;
    }
    run::run(&mut run::cargo(["deny", "--workspace", "check", "licenses", "bans", "sources"]))
}
