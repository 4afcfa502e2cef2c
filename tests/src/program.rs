//! The program `undelfs`, run as a user runs it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    guard::{self, Mounted},
    tools,
};

/// Where the program is: `UNDELFS_BIN`, or beside the test that runs, or the release build.
///
/// # Panics
/// When it has not been built.
pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("UNDELFS_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.ancestors().find(|dir| dir.join("deps").is_dir()).expect("cargo's target folder");
    let beside = target.join("undelfs");
    let release = target.with_file_name("release").join("undelfs");
    [beside, release]
        .into_iter()
        .find(|path| path.is_file())
        .expect("the program: run `cargo build -p undelfs`, or `cargo xtask test`, which does")
}

/// A command that runs the program.
pub fn command() -> Command {
    let mut command = Command::new(path());
    command.stdin(Stdio::null()).env_remove("SUDO_UID").env_remove("SUDO_GID").env_remove("UNDELFS_LOG");
    command
}

/// Runs the program with `args`.
pub fn undelfs<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    let mut command = command();
    command.args(args);
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A tree that the program mounted; unmounted when dropped.
#[derive(Debug)]
pub struct Tree {
    mounted: Option<Mounted>,
    dir: TempDir,
    /// What the program said when it mounted, on standard output.
    pub said: String,
}

impl Tree {
    /// Runs `undelfs mount SOURCE DIR` with further `args`.
    ///
    /// # Panics
    /// When it fails, or returns before the tree is there.
    pub fn mount(source: &Path, args: &[&str]) -> Self {
        let dir = guard::scratch();
        let output = tools::succeed(command().arg("mount").arg(source).arg(dir.path()).args(args));
        assert!(guard::is_mounted(dir.path()), "mount returned without a mount: {}", tools::said(&output));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Self { mounted: Some(Mounted::new(dir.path(), None)), dir, said }
    }

    /// Runs `undelfs mount -f SOURCE DIR` as a child process.
    pub fn foreground(source: &Path, args: &[&str]) -> Self {
        let dir = guard::scratch();
        let mounted = Mounted::serve(
            command()
                .args(["mount", "-f"])
                .arg(source)
                .arg(dir.path())
                .args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
            dir.path(),
        );
        Self { mounted: Some(mounted), dir, said: String::new() }
    }

    /// The mount point.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the tree.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    /// Process numbers of the programs that serve the tree.
    pub fn servers(&self) -> Vec<u32> {
        match self.mounted.as_ref().and_then(Mounted::server) {
            Some(child) => vec![child],
            None => processes_with(self.root()),
        }
    }

    /// Unmounts with `umount`.
    pub fn unmount(mut self) {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount();
        }
    }
}

/// Processes of the program that have `path` in their command line.
fn processes_with(path: &Path) -> Vec<u32> {
    let needle = path.as_os_str().as_encoded_bytes();
    let is_program = |dir: &Path| {
        fs::read_link(dir.join("exe")).is_ok_and(|exe| exe.to_string_lossy().contains("undelfs"))
            && fs::read(dir.join("cmdline"))
                .is_ok_and(|line| line.windows(needle.len()).any(|part| part == needle))
    };
    fs::read_dir("/proc")
        .expect("the processes")
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(_, dir)| is_program(dir))
        .map(|(id, _)| id)
        .collect()
}

/// Whether somebody could lock `image` for himself alone.
pub fn is_unlocked(image: &Path) -> bool {
    tools::tool("flock")
        .args(["--nonblock", "--exclusive"])
        .arg(image)
        .arg("true")
        .status()
        .expect("flock")
        .success()
}

/// Waits a little until nobody holds `image`.
///
/// # Panics
/// When somebody still does after ten seconds.
pub fn assert_lock_is_released(image: &Path) {
    let released = guard::wait_until(Duration::from_secs(10), || is_unlocked(image));
    assert!(released, "{} is still locked ten seconds after the unmount", image.display());
}

/// Asserts that `output` is one clear sentence on standard error with `code` as exit code.
///
/// # Panics
/// When it is anything else: several lines, a backtrace, a panic.
pub fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "on standard output: {}", String::from_utf8_lossy(&output.stdout));
    assert!(said.starts_with("undelfs: "), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
    let lower = said.to_lowercase();
    for word in words {
        assert!(lower.contains(&word.to_lowercase()), "no {word:?} in: {said}");
    }
}
