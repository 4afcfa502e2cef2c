//! The programs that undelfs is measured against, and what they mount.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::run;

/// Where the peers' programs are installed.
const TOOLS: &str = "images/build/tools";

/// `mft_dump` of the crate `mft`, installed where it is missing.
pub(crate) fn mft_dump() -> Result<PathBuf, String> {
    let program = Path::new(TOOLS).join("bin/mft_dump");
    if !program.is_file() {
        run::run(&mut run::cargo(["install", "mft", "--version", "0.9.1", "--locked", "--root", TOOLS]))?;
    }
    Ok(program)
}

/// The file system in memory that comes with the tests.
pub(crate) fn memfs() -> Result<PathBuf, String> {
    run::run(&mut run::cargo(["build", "--release", "--package", "undelfs-tests", "--bin", "memfs"]))?;
    Ok(run::built("release")?.join("memfs"))
}

/// An empty folder, with something mounted on it or not; unmounted and removed when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    server: Option<Child>,
}

impl Place {
    pub(crate) fn new() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("undelfs-test-bench-{}-{number}", process::id()));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self { dir, server: None })
    }

    /// A tmpfs.
    pub(crate) fn in_memory() -> Result<Self, String> {
        let place = Self::new()?;
        run::output(run::command("mount", ["-t", "tmpfs", "-o", "size=4g", "tmpfs"]).arg(&place.dir))?;
        Ok(place)
    }

    /// Starts `program` with the mount point and `args`, and waits until it has mounted.
    pub(crate) fn served(program: &Path, args: &[String]) -> Result<Self, String> {
        let mut place = Self::new()?;
        let mut server = Command::new(program);
        server.arg(&place.dir).args(args).stdin(Stdio::null());
        let shown = run::shown(&server);
        place.server = Some(server.spawn().map_err(|error| format!("{shown}: {error}"))?);
        let start = Instant::now();
        while place.device()?.is_none() {
            if start.elapsed() > Duration::from_secs(30) {
                return Err(format!("{shown} did not mount"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(place)
    }

    /// A mount of the BitLocker volume `image` by dislocker.
    pub(crate) fn dislocker(image: &Path, password: &str) -> Result<Self, String> {
        let place = Self::new()?;
        let mut dislocker = Command::new("dislocker-fuse");
        dislocker.arg("-r").arg("-V").arg(image).arg(format!("-u{password}")).arg("--").arg(&place.dir);
        run::timed(&mut dislocker)?;
        Ok(place)
    }

    /// The volume in a mount by dislocker.
    pub(crate) fn decrypted(&self) -> PathBuf {
        self.dir.join("dislocker-file")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// `MAJOR:MINOR` of what is mounted here.
    pub(crate) fn device(&self) -> Result<Option<String>, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let here = |line: &&str| line.split(' ').nth(4).map(Path::new) == Some(&self.dir);
        Ok(mounts.lines().rev().find(here).and_then(|line| line.split(' ').nth(2)).map(str::to_owned))
    }

    /// The read-ahead of what is mounted here, in KiB as the system writes it.
    pub(crate) fn read_ahead(&self) -> Result<String, String> {
        let path = self.read_ahead_path()?;
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        Ok(text.trim().to_owned())
    }

    /// Sets it.
    pub(crate) fn set_read_ahead(&self, kib: &str) -> Result<(), String> {
        let path = self.read_ahead_path()?;
        fs::write(&path, kib).map_err(|error| format!("{path}: {error}"))
    }

    fn read_ahead_path(&self) -> Result<String, String> {
        let device = self.device()?.ok_or("nothing is mounted")?;
        Ok(format!("/sys/class/bdi/{device}/read_ahead_kb"))
    }

    /// `VmHWM`, the peak resident memory in MiB, of the process that serves what is mounted here.
    pub(crate) fn peak_memory(&self) -> Result<f64, String> {
        let needle = self.dir.to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let is_server =
                words.first().is_some_and(|program| program.contains("undelfs") || program.contains("exe"));
            if !is_server || !words.iter().any(|word| *word == needle) {
                continue;
            }
            let status =
                fs::read_to_string(entry.path().join("status")).map_err(|error| error.to_string())?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|text| text.trim().split(' ').next()?.parse::<f64>().ok());
            return kib.map(|kib| kib / 1024.0).ok_or_else(|| "no VmHWM in the server's status".to_owned());
        }
        Err(format!("no process serves {needle}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        while matches!(self.device(), Ok(Some(_))) {
            let done = Command::new("umount").arg("-l").arg(&self.dir).status();
            if !done.is_ok_and(|status| status.success()) {
                break;
            }
        }
        if let Some(mut server) = self.server.take() {
            if !matches!(self.device(), Ok(None)) || server.try_wait().is_ok_and(|ended| ended.is_none()) {
                // One that never mounted, or cannot be unmounted, would not end by itself.
                let _ = server.kill();
            }
            let _ = server.wait();
        }
        // What is not mounted any more was an empty folder, or one that a peer filled.
        if matches!(self.device(), Ok(None)) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
