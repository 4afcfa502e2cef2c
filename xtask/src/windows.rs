//! `cargo xtask windows`: the program and the libraries for Windows, built and tested on Linux.
//!
//! The compiler is Debian's, because it brings the source of a standard library for any target; rustup's has none here.
//! Programs run under Wine. What is tested so and what is not stands in `docs/windows.md`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{packages, run, test};

/// What is built and run.
const GNU: &str = "x86_64-pc-windows-gnu";
/// What is only checked: linking it takes libraries that only Microsoft gives.
const MSVC: &str = "x86_64-pc-windows-msvc";

/// Everything but the tests across crates, which make their images on Linux, and this program.
const NOT_FOR_WINDOWS: [&str; 4] = ["--exclude", "undelfs-tests", "--exclude", "xtask"];

/// The published package that carries WinFsp's own DLL, and the DLL in it.
const WINFSP: (&str, &str) = ("winfsp-sys", "winfsp/bin/winfsp-x64.dll");

pub(crate) fn run() -> Result<(), String> {
    packages::need_root()?;
    packages::install()?;
    packages::install_for_windows()?;
    let start = Instant::now();
    let prefix = prepare_wine()?;
    let program = build(&prefix)?;
    eprintln!("built for Windows after {} s", start.elapsed().as_secs());
    let tests = test_units(&prefix)?;
    eprintln!("unit tests under Wine after {} s", start.elapsed().as_secs());
    test_program(&prefix, &program, &tests)?;
    eprintln!("tests of the program under Wine after {} s", start.elapsed().as_secs());
    check_msvc(&prefix)?;
    eprintln!("all for Windows after {} s", start.elapsed().as_secs());
    Ok(())
}

/// Where all of this is kept.
fn folder() -> Result<PathBuf, String> {
    run::built("windows")
}

/// Debian's cargo with Debian's compiler, which builds the standard library too.
fn cargo(command: &str, target: &str, prefix: &Path) -> Command {
    let mut cargo = run::system_cargo(command);
    cargo.args(["--target", target, "-Z", "build-std=std,panic_unwind", "--locked"]);
    cargo
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTDOC", "/usr/bin/rustdoc")
        // Debian's compiler is a stable one; building the standard library needs what stable ones do not offer.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER", "x86_64-w64-mingw32-gcc")
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine")
        // As in `cargo xtask test`; the lines are for backtraces that nobody reads under Wine.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_PROFILE_TEST_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_TEST_DEBUG", "false");
    wine(&mut cargo, prefix);
    cargo
}

/// The environment in which programs run under Wine.
fn wine(command: &mut Command, prefix: &Path) {
    command.env("WINEPREFIX", prefix).env("WINEARCH", "win64").env("WINEDEBUG", "-all");
    // Wine has only those names that the host's character set has.
    command.env("LC_ALL", "C.UTF-8");
    // No window says that Wine could install something.
    command.env("WINEDLLOVERRIDES", "mscoree,mshtml=");
    // Tests that plant panics would print one for each.
    command.env("RUST_BACKTRACE", "0");
}

/// Makes a home for Wine's drives and registry, with the DLL that Debian's Wine lacks.
fn prepare_wine() -> Result<PathBuf, String> {
    let folder = folder()?;
    let prefix = folder.join("wine");
    let system = prefix.join("drive_c/windows/system32");
    if !system.join("ntdll.dll").exists() {
        make_folder(&folder)?;
        let mut boot = run::command("wine", ["wineboot", "--init"]);
        wine(&mut boot, &prefix);
        run::run(&mut boot)?;
        let mut wait = run::command("wineserver", ["--wait"]);
        wine(&mut wait, &prefix);
        // Debian keeps it elsewhere; Wine then ends by itself a little later.
        let _ = wait.status();
    }
    let dll = system.join("bcryptprimitives.dll");
    if !dll.exists() {
        let mut compile = run::command("x86_64-w64-mingw32-gcc", ["-shared", "-O2", "-o"]);
        run::run(compile.arg(&dll).args(["xtask/windows/bcryptprimitives.c", "-ladvapi32"]))?;
    }
    Ok(prefix)
}

/// Builds the program and the C library, and returns the path of the program.
fn build(prefix: &Path) -> Result<PathBuf, String> {
    let mut build = cargo("build", GNU, prefix);
    // All packages, as the tests name them: for some of them alone cargo would choose other features, and build all anew.
    run::run(build.arg("--workspace").args(NOT_FOR_WINDOWS))?;
    let program = built()?.join("undelfs.exe");
    fs::metadata(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
}

fn built() -> Result<PathBuf, String> {
    run::built(&format!("{GNU}/debug"))
}

/// Runs the unit tests of every crate under Wine, and returns the path of the program's.
fn test_units(prefix: &Path) -> Result<PathBuf, String> {
    let deps = built()?.join("deps");
    make_folder(&deps)?;
    let dll = winfsp_dll()?;
    let beside = deps.join(dll.file_name().unwrap_or_default());
    fs::copy(&dll, &beside).map_err(|error| format!("{}: {error}", beside.display()))?;
    let mut test = cargo("test", GNU, prefix);
    test.args(["--workspace", "--lib", "--bins"]).args(NOT_FOR_WINDOWS);
    // They read what the test of the program makes.
    run::run(test.args(["--", "--skip", "winfsp::tests::walk::"]))?;

    let mut list = cargo("test", GNU, prefix);
    list.args(["--workspace", "--lib", "--bins", "--no-run", "--message-format", "json"])
        .args(NOT_FOR_WINDOWS);
    let said = run::output(&mut list)?;
    let mut executables =
        said.lines().filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"'));
    let tests = executables.find(|(path, _)| {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("undelfs-").is_some_and(|hash| !hash.contains('-'))
    });
    let (path, _) = tests.ok_or("cargo does not say where the tests of the program are")?;
    Ok(path.into())
}

/// WinFsp's own DLL, which the published package of its bindings carries.
fn winfsp_dll() -> Result<PathBuf, String> {
    let (package, dll) = WINFSP;
    let mut metadata = run::system_cargo("metadata");
    metadata.args(["--format-version", "1", "--locked", "--filter-platform", GNU]);
    let said = run::output(&mut metadata)?;
    let paths =
        said.split("\"manifest_path\":\"").filter_map(|rest| rest.split_once('"').map(|(path, _)| path));
    let manifest = paths
        .map(Path::new)
        .find(|path| {
            let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
            folder.to_string_lossy().starts_with(&format!("{package}-"))
        })
        .ok_or_else(|| format!("cargo does not know where {package} is"))?;
    let dll = manifest.with_file_name(dll);
    fs::metadata(&dll).map_err(|error| format!("{}: {error}", dll.display()))?;
    Ok(dll)
}

/// Runs the program for Windows beside the one for Linux.
fn test_program(prefix: &Path, program: &Path, tests: &Path) -> Result<(), String> {
    let linux = test::build()?;
    let mut test = run::cargo(["test", "--package", "undelfs-tests", "--test", "windows", "--locked"]);
    wine(&mut test, prefix);
    test.env("UNDELFS_BIN", linux).env("UNDELFS_EXE", program).env("UNDELFS_EXE_TESTS", tests);
    test.env("CARGO_PROFILE_TEST_OPT_LEVEL", "1").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    run::run(&mut test)
}

/// Checks and lints everything, tests too, as Microsoft's tool chain would compile it. A warning is an error.
fn check_msvc(prefix: &Path) -> Result<(), String> {
    let mut check = cargo("clippy", MSVC, prefix);
    check.args(["--workspace", "--all-targets"]).args(NOT_FOR_WINDOWS);
    run::run(check.args(["--", "-D", "warnings"]))
}

fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}
