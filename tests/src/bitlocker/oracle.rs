//! Other programs that read BitLocker volumes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::Guid;
use crate::{
    guard::{self, Mounted},
    tools,
};

/// With what a volume is unlocked.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// The clear key in the metadata.
    Clear,
    /// A password.
    Password(&'a str),
    /// A recovery password.
    RecoveryPassword(&'a str),
    /// A `.BEK` file.
    Bek(&'a Path),
}

/// A decrypted volume in a mount of `libbde`.
#[derive(Debug)]
pub struct Decrypted {
    _mounted: Mounted,
    dir: TempDir,
}

impl Decrypted {
    /// The decrypted volume.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("bde1")
    }
}

/// Mounts `image` by `libbde`.
pub fn libbde(image: &Path, key: Key<'_>) -> Decrypted {
    let dir = guard::scratch();
    let mut bdemount = tools::tool("bdemount");
    match key {
        Key::Clear => &mut bdemount,
        Key::Password(password) => bdemount.args(["-p", password]),
        Key::RecoveryPassword(password) => bdemount.args(["-r", password]),
        Key::Bek(path) => bdemount.arg("-s").arg(path),
    };
    tools::succeed(bdemount.arg(image).arg(dir.path()));
    let mounted = Mounted::new(dir.path(), None);
    assert!(guard::is_mounted(dir.path()), "bdemount of {} ended without a mount", image.display());
    Decrypted { _mounted: mounted, dir }
}

/// Decrypts `image` into `out` by `dislocker`.
///
/// # Panics
/// When it cannot.
pub fn dislocker(image: &Path, key: Key<'_>, out: &Path) {
    tools::succeed(&mut dislocker_command(image, key, out));
}

/// The command for that, which says by its end whether it can.
pub fn dislocker_command(image: &Path, key: Key<'_>, out: &Path) -> Command {
    // It does not replace a file.
    let _ = std::fs::remove_file(out);
    let mut dislocker = tools::tool("dislocker-file");
    dislocker.arg("-V").arg(image);
    match key {
        Key::Clear => dislocker.arg("-c"),
        Key::Password(password) => dislocker.arg(format!("-u{password}")),
        Key::RecoveryPassword(password) => dislocker.arg(format!("-p{password}")),
        Key::Bek(path) => dislocker.arg("-f").arg(path),
    };
    dislocker.arg("--").arg(out);
    dislocker
}

/// What `cryptsetup` says of `image`.
pub fn cryptsetup(image: &Path) -> String {
    tools::run("cryptsetup", [Path::new("bitlkDump"), image])
}

/// An identifier as `cryptsetup` shows it.
pub fn lower(id: Guid) -> String {
    id.to_string().to_lowercase()
}
