//! Running other programs.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Makes the workspace's root the working directory.
pub(crate) fn enter_root() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask stands in no workspace")?;
    env::set_current_dir(root).map_err(|error| format!("{}: {error}", root.display()))
}

/// A command with its arguments.
pub(crate) fn command<S: AsRef<OsStr>>(
    name: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(name);
    command.args(args);
    command
}

/// Cargo, the one that runs us.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let name = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = command(&name, args);
    // What cargo told us of our own package is not true of what it builds next.
    for (name, _) in env::vars_os() {
        let cargo_s_own = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_BIN_NAME"
        });
        if cargo_s_own {
            command.env_remove(name);
        }
    }
    command
}

/// A command of the system's own cargo, without what rustup and cargo have told us of theirs.
pub(crate) fn system_cargo(name: &str) -> Command {
    // Cargo looks for its further commands among rustup's stand-ins first.
    let mut command = Command::new(if name == "clippy" { "/usr/bin/cargo-clippy" } else { "/usr/bin/cargo" });
    command.arg(name);
    for (name, _) in env::vars_os() {
        let told = name.to_str().is_some_and(|name| {
            (name.starts_with("CARGO") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&name))
                || name.starts_with("RUSTUP_TOOLCHAIN")
        });
        if told {
            command.env_remove(name);
        }
    }
    // Rustup's stand-ins for cargo's further commands would use its compiler.
    let path = env::var_os("PATH").unwrap_or_default();
    let rest = env::split_paths(&path).filter(|folder| !folder.ends_with(".cargo/bin"));
    let path = env::join_paths(std::iter::once(PathBuf::from("/usr/bin")).chain(rest));
    command.env("PATH", path.unwrap_or_else(|_| "/usr/bin:/bin".into())).env("CARGO", "/usr/bin/cargo");
    command
}

/// Runs `command` with our output, shown before; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    eprintln!("$ {}", shown(command));
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// Runs `command` and returns its standard output; an error with what it said when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{}: {error}", shown(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} ended with {}\n{said}", shown(command), output.status))
}

/// Runs `command` without its output, and returns how long it took.
pub(crate) fn timed(command: &mut Command) -> Result<Duration, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    let taken = start.elapsed();
    if status.success() { Ok(taken) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// True where a program called `name` can be started.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).any(|dir| dir.join(name).is_file())
}

/// Cargo's folder of built programs, for `profile`.
pub(crate) fn built(profile: &str) -> Result<PathBuf, String> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let dir = env::current_dir().map_err(|error| error.to_string())?;
    Ok(dir.join(target).join(profile))
}
