//! What interrupted tests and benchmarks left behind: mounts, loop devices, folders.

use std::{env, fs, path::Path, process::Command};

/// Begin of the name of every scratch folder, as the tests name them.
const PREFIX: &str = "undelfs-test-";

/// Unmounts, detaches and removes it.
pub(crate) fn run() -> Result<(), String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let mounts = read("/proc/self/mountinfo")?;
    // Last mounted, first unmounted.
    for point in mounts.lines().rev().filter_map(|line| line.split(' ').nth(4)).filter(|point| is_ours(point))
    {
        eprintln!("sweeping {point}");
        quietly(Command::new("umount").arg("-l").arg(point.replace("\\040", " ")));
    }
    let loops =
        Command::new("losetup").args(["--list", "--noheadings", "--output", "NAME,BACK-FILE"]).output();
    let loops = loops.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for line in loops.lines().filter(|line| is_ours(line)) {
        if let Some(device) = line.split_whitespace().next() {
            eprintln!("sweeping {device}");
            quietly(Command::new("losetup").arg("-d").arg(device));
        }
    }
    let scratch = env::var_os("UNDELFS_SCRATCH").map_or_else(env::temp_dir, Into::into);
    for entry in fs::read_dir(&scratch).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && !has_mount(&path)? {
            eprintln!("sweeping {}", path.display());
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

fn is_ours(text: &str) -> bool {
    text.contains(&format!("/{PREFIX}"))
}

/// Whether anything is still mounted at or below `path`: then nothing may be removed there.
fn has_mount(path: &Path) -> Result<bool, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    Ok(mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| Path::new(point).starts_with(path)))
}

fn quietly(command: &mut Command) {
    if let Err(error) = command.status() {
        eprintln!("{command:?}: {error}");
    }
}
