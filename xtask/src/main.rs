//! The workspace's chores, run as `cargo xtask CHORE`.

mod bench;
mod bitlocker;
mod ci;
mod ciphers;
mod efs;
mod figures;
mod fmapi;
mod images;
mod lost;
mod packages;
mod peers;
mod run;
mod samples;
mod sweep;
mod test;
mod windows;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask CHORE

  test [ARGS]    installs what the tests need, builds the program, runs every test; ARGS go to `cargo test`
  ci             format, lints, documentation, licences, then the tests: what a commit must pass
  images         makes the bundled image again, images/demo.img.gz
  bench [PARTS]  measures against the peers and writes docs/benchmarks.md; with PARTS only those, and writes nothing
  samples        fetches the volumes made by Windows that the tests read, and prints their folder
  windows        builds everything for Windows and tests it under Wine
  sweep          unmounts and detaches what interrupted tests left behind
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (chore, rest) = match args.split_first() {
        Some((chore, rest)) => (chore.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = run::enter_root().and_then(|()| match chore {
        "test" => test::run(rest),
        "ci" => ci::run(),
        "images" => images::run(),
        "bench" => bench::run(rest),
        "samples" => samples::run(),
        "sweep" => sweep::run(),
        "windows" => windows::run(),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no chore {other:?}; `cargo xtask help` lists them")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
