//! Running the programs that make images, and the oracles.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Debian packages of the programs that the tests run, beside those that every system has.
const PACKAGES: &[(&str, &[&str])] = &[
    ("attr", &["getfattr", "setfattr"]),
    ("binutils", &["nm"]),
    ("cryptsetup-bin", &["cryptsetup"]),
    ("dislocker", &["dislocker-file", "dislocker-fuse"]),
    ("dosfstools", &["mkfs.vfat"]),
    ("e2fsprogs", &["mkfs.ext4"]),
    ("fdisk", &["sfdisk"]),
    ("fuse3", &["fusermount3"]),
    ("g++", &["g++"]),
    ("gcc", &["gcc"]),
    ("gdisk", &["sgdisk"]),
    ("libbde-utils", &["bdemount"]),
    ("libesedb-utils", &["esedbexport"]),
    ("libvshadow-utils", &["vshadowmount"]),
    ("mount", &["losetup", "mount", "umount"]),
    ("ntfs-3g", &["mkntfs", "ntfs-3g", "ntfscat", "ntfscp", "ntfsdecrypt", "ntfsinfo"]),
    ("openssl", &["openssl"]),
    ("python3-libfsntfs", &["/usr/bin/python3"]),
    ("python3-pip", &["python3"]),
    ("qemu-utils", &["qemu-img"]),
    ("rsync", &["rsync"]),
    ("sleuthkit", &["fls", "icat", "istat", "mactime", "tsk_recover"]),
    ("strace", &["strace"]),
    ("util-linux", &["flock", "setpriv", "setsid"]),
    ("valgrind", &["valgrind"]),
    ("wimtools", &["wimlib-imagex"]),
];

/// A command that is known to exist.
///
/// # Panics
/// When it does not, with the package that holds it: a test without its oracle proves nothing.
pub fn tool(name: &str) -> Command {
    assert!(
        is_installed(name),
        "{name} is missing: apt-get install {}, or run `cargo xtask test`, which does",
        package_of(name).unwrap_or("the package that holds it"),
    );
    let mut command = Command::new(name);
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Runs `name` with `args` and returns its standard output.
///
/// # Panics
/// When it fails, with all that it said.
pub fn run<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> String {
    let output = succeed(tool(name).args(args));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `command` and returns its output.
///
/// # Panics
/// When it fails, with all that it said.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} ended with {}\n{}", output.status, said(&output));
    output
}

/// What a program said, both streams.
pub fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

fn package_of(name: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(_, tools)| tools.contains(&name)).map(|(package, _)| *package)
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(system).any(|dir| Path::new(&dir).join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_fails_the_test_and_names_its_package() {
        assert_eq!(package_of("fls"), Some("sleuthkit"));
        let panic = std::panic::catch_unwind(|| tool("no-such-tool-anywhere")).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("no-such-tool-anywhere is missing: apt-get install"), "{text}");
    }

    #[test]
    fn a_tool_that_fails_fails_the_test_with_what_it_said() {
        let panic = std::panic::catch_unwind(|| run("ls", ["/no/such/folder"])).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("/no/such/folder"), "{text}");
    }
}
