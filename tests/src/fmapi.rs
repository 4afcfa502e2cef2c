//! The C library, used by programs in C.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{program, tools};

/// How a program in C is made and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// As it is.
    Plain,
    /// With AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer.
    Sanitized,
    /// Under valgrind, which looks for leaks too.
    Valgrind,
}

/// The library: it stands beside the program.
///
/// # Panics
/// When it has not been built.
pub fn library() -> PathBuf {
    let library = program::path().with_file_name("libfmapi.so");
    assert!(
        library.is_file(),
        "{} is missing: run `cargo build --release -p undelfs-fmapi`, or `cargo xtask test`, which does",
        library.display()
    );
    library
}

/// The folder of the library's crate.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/fmapi")
}

/// An example of the library, by its name.
pub fn example(name: &str) -> PathBuf {
    home().join("examples").join(name).with_extension("c")
}

/// The program that checks a part of the library's contract case by case: `scan`, `restore` or `keys`.
pub fn contract(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/fmapi/contract_{part}.c"))
}

/// A program in C.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    how: How,
}

impl Program {
    /// Compiles `source` into the folder `dir`, every warning an error.
    ///
    /// # Panics
    /// When it does not compile.
    pub fn compile(source: &Path, dir: &Path, how: How) -> Self {
        let path = dir.join(source.file_stem().expect("a name"));
        let mut gcc = tools::tool("gcc");
        gcc.args(["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]);
        if how == How::Sanitized {
            gcc.args([
                "-fsanitize=address,undefined",
                "-fno-sanitize-recover=all",
                "-fno-omit-frame-pointer",
            ]);
        }
        gcc.arg("-I").arg(home().join("include")).arg("-I").arg(home().join("examples"));
        tools::succeed(gcc.arg(source).arg("-o").arg(&path).args(["-ldl", "-lpthread"]));
        Self { path, how }
    }

    /// A command that runs it with `args`.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = match self.how {
            How::Valgrind => {
                let mut valgrind = tools::tool("valgrind");
                valgrind.args(["--quiet", "--leak-check=full", "--error-exitcode=99"]).arg(&self.path);
                valgrind
            }
            _ => Command::new(&self.path),
        };
        command.args(args).env("FMAPI_LIBRARY", library());
        // What a user has set must not change what is tested.
        command.env_remove("FMAPI_VERSION").env_remove("FMAPI_EXTENDED");
        command
    }

    /// Runs it with `args` and returns its standard output.
    ///
    /// # Panics
    /// When it fails, or a tool that watches it complains.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<u8> {
        let output = tools::succeed(&mut self.command(args));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

/// What the example `restore_all` tells of one file.
#[derive(Debug)]
pub struct Restored {
    /// The last error.
    pub error: u32,
    /// Packets of progress that the callback got.
    pub progress: u32,
    /// Where the file was, `/` between names.
    pub path: PathBuf,
}

/// Runs the example `restore_all` with `args` after the folder, and puts what it restored into `tree`, under its paths.
/// A `\` in a path stands between two names, or in one; `known` are paths of which that is known.
///
/// # Panics
/// When it fails, or writes what nobody can read.
pub fn restore_all(
    program: &Program,
    image: &Path,
    tree: &Path,
    known: &[&Path],
    args: &[&str],
) -> Vec<Restored> {
    let flat = tree.with_extension("flat");
    fs::create_dir_all(&flat).expect("a folder");
    let paths = [image.as_os_str(), flat.as_os_str()];
    let said = program.run(paths.into_iter().chain(args.iter().map(OsStr::new)));
    let windows = |path: &[u8]| -> Vec<u8> {
        path.iter().map(|byte| if *byte == b'/' { b'\\' } else { *byte }).collect()
    };
    let known: HashMap<Vec<u8>, &Path> =
        known.iter().map(|path| (windows(path.as_os_str().as_bytes()), *path)).collect();
    let lines = said.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    let restored: Vec<Restored> = lines
        .map(|line| {
            let fields: Vec<&[u8]> = line.splitn(6, |byte| *byte == b'\t').collect();
            let number = |at: usize| {
                let text = fields.get(at).and_then(|field| std::str::from_utf8(field).ok());
                let line = String::from_utf8_lossy(line);
                text.and_then(|text| text.parse::<u32>().ok()).unwrap_or_else(|| panic!("{line}"))
            };
            assert_eq!(number(3), 1, "finished packets: {}", String::from_utf8_lossy(line));
            let path = fields[5].strip_prefix(b"\\").expect("a path from the root");
            let path = known.get(path).map_or_else(
                || {
                    let unix = path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte });
                    PathBuf::from(OsString::from_vec(unix.collect()))
                },
                |known| known.to_path_buf(),
            );
            let from = flat.join(number(0).to_string());
            if from.exists() {
                let to = tree.join(&path);
                fs::create_dir_all(to.parent().expect("a folder")).expect("a folder of the tree");
                assert!(!to.exists(), "{} twice", to.display());
                fs::rename(&from, &to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
            }
            Restored { error: number(1), progress: number(2), path }
        })
        .collect();
    let left: Vec<_> = fs::read_dir(&flat).expect("the folder").flatten().collect();
    assert!(left.is_empty(), "files that no line names: {left:?}");
    restored
}
