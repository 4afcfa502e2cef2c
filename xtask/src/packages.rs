//! The system packages that the tests and benchmarks run.

use crate::run;

/// A program and the Debian package that holds it.
const PROGRAMS: &[(&str, &str)] = &[
    // A library without a program.
    ("/usr/share/doc/python3-libfsntfs/copyright", "python3-libfsntfs"),
    ("bdemount", "libbde-utils"),
    ("cryptsetup", "cryptsetup-bin"),
    ("dislocker-file", "dislocker"),
    ("esedbexport", "libesedb-utils"),
    ("fusermount3", "fuse3"),
    ("g++", "g++"),
    ("gcc", "gcc"),
    ("getfattr", "attr"),
    ("losetup", "mount"),
    ("mactime", "sleuthkit"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.vfat", "dosfstools"),
    ("mkntfs", "ntfs-3g"),
    ("nm", "binutils"),
    ("pip3", "python3-pip"),
    ("ntfsdecrypt", "ntfs-3g"),
    ("openssl", "openssl"),
    ("qemu-img", "qemu-utils"),
    ("rsync", "rsync"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("sfdisk", "fdisk"),
    ("sgdisk", "gdisk"),
    ("strace", "strace"),
    ("taskset", "util-linux"),
    ("tsk_recover", "sleuthkit"),
    ("valgrind", "valgrind"),
    ("vshadowmount", "libvshadow-utils"),
    ("wimlib-imagex", "wimtools"),
    ("xz", "xz-utils"),
];

/// What building for Windows and running it takes. The compiler and the source of its standard library are of one version.
const FOR_WINDOWS: &[(&str, &str)] = &[
    ("/usr/bin/cargo", "cargo-web"),
    ("/usr/bin/cargo-clippy", "rust-web-clippy"),
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/share/doc/rust-web-src/copyright", "rust-web-src"),
    ("wine", "wine"),
    ("/usr/share/doc/wine64/copyright", "wine64"),
    ("x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64"),
];

/// Installs what is missing with apt-get, as root.
pub(crate) fn install() -> Result<(), String> {
    install_missing(PROGRAMS)
}

/// As [`install`], what building for Windows takes.
///
/// # Errors
/// Also when Debian's compiler is older than what this workspace is written for.
pub(crate) fn install_for_windows() -> Result<(), String> {
    install_missing(FOR_WINDOWS)?;
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    let installed = run::output(&mut run::command("/usr/bin/rustc", ["--version"]))?;
    let minor = |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if minor(&installed) >= minor(wanted) {
        return Ok(());
    }
    Err(format!(
        "{} is too old, Rust {wanted} is needed: Debian 12 has it among its security updates; upgrade the packages cargo-web, \
         rustc-web, rust-web-src and rust-web-clippy",
        installed.trim()
    ))
}

fn install_missing(wanted: &[(&str, &'static str)]) -> Result<(), String> {
    let mut missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !run::is_installed(program))
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("install {} with your system's package manager", missing.join(" "));
    if !run::is_installed("apt-get") {
        return Err(format!("this system has no apt-get: {by_hand}"));
    }
    let mut install: Vec<&str> = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    let apt_get =
        |args: &[&str]| run::run(run::command("apt-get", args).env("DEBIAN_FRONTEND", "noninteractive"));
    apt_get(&["update", "--quiet"])
        .and_then(|()| apt_get(&install))
        .map_err(|error| format!("{error}: {by_hand}"))
}

/// An error unless we are root: the tests attach loop devices and mount as several users.
pub(crate) fn need_root() -> Result<(), String> {
    if is_root()? {
        return Ok(());
    }
    Err("the tests mount images, attach loop devices and change users: run them as root".into())
}

fn is_root() -> Result<bool, String> {
    Ok(run::output(&mut run::command("id", ["-u"]))?.trim() == "0")
}
