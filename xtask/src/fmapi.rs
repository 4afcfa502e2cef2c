//! The C library, beside the program that lists the same files.

use std::{path::Path, process::Command};

use crate::{
    bench::warm,
    figures::{Figure, Goal, Value, median},
    run,
};

/// Scans `image` with the example in C and with the program, deleted files alone and all of them.
pub(crate) fn figures(
    undelfs: &Path,
    image: &Path,
    build: &Path,
    passes: usize,
) -> Result<Vec<Figure>, String> {
    let library = undelfs.with_file_name("libfmapi.so");
    let scan = build.join("fmapi-scan");
    let mut compile = run::command("gcc", ["-std=c11", "-O2", "-I", "crates/fmapi/include", "-o"]);
    run::run(compile.arg(&scan).args(["crates/fmapi/examples/scan.c", "-ldl"]))?;
    warm(image)?;
    let mut figures = Vec::new();
    for (what, view, kind) in [
        ("scan of 150,000 files in C, the deleted ones", "deleted", "count"),
        ("scan of 150,000 files in C, all of them", "all", "quiet"),
    ] {
        let ours = || {
            let mut command = Command::new(&scan);
            command.arg(image).arg(kind).env("FMAPI_LIBRARY", &library);
            command
        };
        let theirs = || {
            let mut command = Command::new(undelfs);
            command.args(["scan", "--view", view, "--format", "jsonl"]).arg(image);
            command
        };
        // A scan that lists less is no measure.
        let found: usize =
            run::output(&mut ours())?.trim().parse().map_err(|_| "the scan in C gave no number")?;
        let listed = run::output(&mut theirs())?.lines().count();
        if found != listed {
            return Err(format!("the scan in C gave {found} files, the program {listed}"));
        }
        let (mut in_c, mut program) = (Vec::new(), Vec::new());
        for _ in 0..passes {
            in_c.push(run::timed(&mut ours())?);
            program.push(run::timed(&mut theirs())?);
        }
        figures.push(Figure {
            what,
            ours: Value::Time(median(in_c)),
            peer: "undelfs scan --format jsonl",
            theirs: Value::Time(median(program)),
            goal: Goal::AtMost(2.0),
        });
    }
    Ok(figures)
}
