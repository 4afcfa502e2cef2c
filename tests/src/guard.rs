//! What a test borrows from the system and gives back when it ends, also by a panic: scratch folders, mounts,
//! loop devices and processes.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::tools;

/// Begin of the name of every scratch folder, by which leftovers are found.
pub const SCRATCH_PREFIX: &str = "undelfs-test-";

/// Longest time that a mount or an unmount may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An empty folder that vanishes with its value. On `UNDELFS_SCRATCH` or the system's folder for temporary files.
pub fn scratch() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCRATCH_PREFIX);
    match std::env::var_os("UNDELFS_SCRATCH") {
        Some(dir) => builder.tempdir_in(dir),
        None => builder.tempdir(),
    }
    .expect("a scratch folder")
}

/// Something mounted on a folder; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    dir: PathBuf,
    server: Option<Child>,
}

impl Mounted {
    /// Takes charge of what is mounted on `dir`, and of the process that serves it where that is our child.
    pub fn new(dir: &Path, server: Option<Child>) -> Self {
        Self { dir: dir.to_owned(), server }
    }

    /// Starts `command`, which serves in the foreground, and waits until something is mounted on `dir`.
    ///
    /// # Panics
    /// When the server ends before, or takes too long.
    pub fn serve(command: &mut Command, dir: &Path) -> Self {
        let mut server = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let start = Instant::now();
        while !is_mounted(dir) {
            if let Some(status) = server.try_wait().expect("the server's state") {
                panic!("{command:?} ended with {status} instead of mounting {}", dir.display());
            }
            if start.elapsed() > PATIENCE {
                let _ = server.kill();
                panic!("{command:?} did not mount {} in {PATIENCE:?}", dir.display());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Self::new(dir, Some(server))
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Process number of the server, where it is our child.
    pub fn server(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Unmounts and waits until the server has written everything and is gone.
    ///
    /// # Panics
    /// When the mount is busy or the server fails.
    pub fn unmount(mut self) {
        let start = Instant::now();
        loop {
            let output = tools::tool("umount").arg(&self.dir).output().expect("umount");
            if output.status.success() {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{}", tools::said(&output));
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(mut server) = self.server.take() {
            let status = server.wait().expect("the server's end");
            assert!(status.success(), "the server of {} ended with {status}", self.dir.display());
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        while is_mounted(&self.dir) {
            let done = Command::new("umount").arg("-l").arg(&self.dir).status();
            if !done.is_ok_and(|status| status.success()) {
                break;
            }
        }
        let Some(mut server) = self.server.take() else {
            return;
        };
        if !wait_until(Duration::from_secs(10), || matches!(server.try_wait(), Ok(Some(_)))) {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A loop device; detached when dropped.
#[derive(Debug)]
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    /// Attaches `image` read-only with sectors of `sector_size` bytes.
    pub fn attach(image: &Path, sector_size: u32) -> Self {
        Self::with(image, sector_size, &["--read-only"])
    }

    /// Attaches `image` for writing with sectors of `sector_size` bytes.
    pub fn attach_writable(image: &Path, sector_size: u32) -> Self {
        Self::with(image, sector_size, &[])
    }

    fn with(image: &Path, sector_size: u32, more: &[&str]) -> Self {
        let output = tools::succeed(
            tools::tool("losetup")
                .args(["--find", "--show", "--sector-size"])
                .arg(sector_size.to_string())
                .args(more)
                .arg(image),
        );
        Self { device: String::from_utf8_lossy(&output.stdout).trim().into() }
    }

    /// The device's path.
    pub fn device(&self) -> &Path {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
        // The kernel detaches once the last one who looks into the device has closed it.
        let name = self.device.file_name().unwrap_or_default();
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        wait_until(Duration::from_secs(10), || !backing.exists());
    }
}

/// True while something is mounted on `dir`.
pub fn is_mounted(dir: &Path) -> bool {
    let Some(dir) = dir.to_str() else { return false };
    let escaped =
        dir.replace('\\', "\\134").replace(' ', "\\040").replace('\n', "\\012").replace('\t', "\\011");
    std::fs::read_to_string("/proc/self/mountinfo")
        .expect("the list of mounts")
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&escaped))
}

/// Waits until `done` says so, at most for `patience`; false when it never did.
pub fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_undone_when_its_test_panics() {
        let dir = scratch();
        let path = dir.path().to_owned();
        let end = std::panic::catch_unwind(|| {
            tools::run("mount", ["-t", "tmpfs", "none", path.to_str().unwrap()]);
            let _mounted = Mounted::new(&path, None);
            assert!(is_mounted(&path));
            panic!("the test failed");
        });
        assert!(end.is_err());
        assert!(!is_mounted(dir.path()));
    }

    #[test]
    fn a_loop_device_is_detached_when_its_value_goes() {
        let dir = scratch();
        let image = dir.path().join("image");
        std::fs::write(&image, vec![0; 1 << 20]).unwrap();
        let device = Loop::attach(&image, 4096);
        let path = device.device().to_owned();
        assert_eq!(tools::run("blockdev", ["--getss", path.to_str().unwrap()]).trim(), "4096");
        drop(device);
        let list = tools::run("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"]);
        assert!(!list.contains(image.to_str().unwrap()), "{list}");
    }
}
