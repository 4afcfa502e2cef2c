//! The search of a whole disk for lost volumes, beside reading it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::GIB,
    figures::{Figure, Goal, Value, rate},
    run,
};

/// Size of the disk in bytes.
const DISK: u64 = 64 * GIB;

/// Begin and size of the three generations of volumes, in GiB.
const GENERATIONS: [(u64, u64); 3] = [(1, 60), (20, 30), (45, 15)];

/// Most memory that the search may take, in MiB.
const MEMORY: f64 = 256.0;

/// How often the memory of a search is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Measures the search of a disk of 64 GiB that `folder` keeps.
pub(crate) fn figures(undelfs: &Path, folder: &Path) -> Result<Vec<Figure>, String> {
    let disk = disk(folder)?;
    // A device does not tell its holes: all of it is read.
    let device = Device::attach(&disk, 0, DISK)?;
    let search = |source: &Path, kept: Option<&Path>| {
        let mut command = Command::new(undelfs);
        command.arg("volumes").arg(source).args(["--lost", "--format", "jsonl"]);
        if let Some(kept) = kept {
            command.arg("--catalogue").arg(kept);
        }
        command
    };
    let found = run::output(&mut search(&disk, None))?;
    if found.lines().count() != GENERATIONS.len() {
        return Err(format!("the search of {} found other volumes than are there:\n{found}", disk.display()));
    }
    let cat = run::timed(Command::new("cat").arg(&device.path))?;
    let (time, peak) = watched(&mut search(&device.path, None))?;

    // The same in parts, each of which is interrupted.
    let kept = folder.join("disk.search");
    if kept.exists() {
        fs::remove_file(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    }
    for _ in 0..3 {
        let mut child = search(&device.path, Some(&kept)).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.as_mut().map_err(|error| format!("undelfs: {error}"))?;
        thread::sleep(time / 4);
        run::run(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
        child.wait().map_err(|error| format!("undelfs: {error}"))?;
    }
    if run::output(&mut search(&device.path, Some(&kept)))? != run::output(&mut search(&device.path, None))? {
        return Err("a search in parts does not give what one in a single run gives".into());
    }
    let theirs = rate(DISK, cat);
    Ok(vec![
        Figure {
            what: "search of a disk of 64 GiB",
            ours: rate(DISK, time),
            peer: "cat",
            theirs,
            goal: Goal::AtLeast(0.5),
        },
        Figure {
            what: "peak memory of that search",
            ours: Value::Memory(peak),
            peer: "bound",
            theirs: Value::Memory(MEMORY),
            goal: Goal::AtMost(1.0),
        },
    ])
}

/// The disk, a sparse file, made where it is missing.
fn disk(folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join("disk.img");
    if path.exists() {
        return Ok(path);
    }
    let unfinished = folder.join("disk.unfinished");
    let make = || -> std::io::Result<()> { File::create(&unfinished)?.set_len(DISK) };
    make().map_err(|error| format!("{}: {error}", unfinished.display()))?;
    for (start, size) in GENERATIONS {
        let device = Device::attach(&unfinished, start * GIB, size * GIB)?;
        let label = format!("{size} GiB");
        let place = ["--partition-start", "0", "--heads", "16", "--sectors-per-track", "63"];
        run::run(
            Command::new("mkntfs")
                .args(["--quick", "--force", "--quiet", "--label", &label])
                .args(place)
                .arg(&device.path),
        )?;
    }
    fs::rename(&unfinished, &path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// A loop device over a part of a file.
struct Device {
    path: PathBuf,
}

impl Device {
    fn attach(file: &Path, start: u64, len: u64) -> Result<Self, String> {
        let (start, len) = (start.to_string(), len.to_string());
        let args = ["--find", "--show", "--offset", &start, "--sizelimit", &len];
        let said = run::output(Command::new("losetup").args(args).arg(file))?;
        Ok(Self { path: said.trim().into() })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = run::run(Command::new("losetup").arg("--detach").arg(&self.path));
    }
}

/// Runs a command; how long it took, and its peak memory in MiB.
fn watched(command: &mut Command) -> Result<(Duration, f64), String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", run::shown(command)))?;
    let mut peak = 0.0_f64;
    loop {
        peak = peak.max(memory(&child).unwrap_or(0.0));
        let ended = child.try_wait().map_err(|error| format!("{}: {error}", run::shown(command)))?;
        match ended {
            Some(status) if status.success() => return Ok((start.elapsed(), peak)),
            Some(status) => return Err(format!("{} ended with {status}", run::shown(command))),
            None => thread::sleep(LOOK),
        }
    }
}

/// The peak memory of a running program so far, in MiB.
fn memory(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}
