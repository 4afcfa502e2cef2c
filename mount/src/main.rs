//! The `undelfs` program: command line and mount back ends.

mod certsrv;
mod cli;
mod contents;
mod demo;
mod efs;
mod efs_keys;
mod failure;
#[cfg(unix)]
mod fuse;
mod generate;
mod keys;
mod lost;
mod opening;
mod output;
mod platform;
mod progress;
mod restore;
mod scan;
mod times;
mod volumes;
#[cfg(windows)]
mod winfsp;

use std::{
    io::{self, IsTerminal},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Chatter, Cli, Command, exit_code},
    failure::{Failure, notice},
    platform::{mounting, secrets, unmounting},
};

fn main() -> ExitCode {
    if let Err(error) = secrets::hide() {
        notice(format!("the secrets on the command line cannot be hidden from the process list: {error}"));
        if error.kind() == io::ErrorKind::InvalidInput {
            return ExitCode::from(exit_code::USAGE);
        }
    }
    let cli = Cli::parse();
    install_panic_hook();
    install_tracing(cli.chatter);
    let code = match panic::catch_unwind(AssertUnwindSafe(|| run(&cli))) {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => {
            failure.print();
            failure.code()
        }
        // The hook has said what happened.
        Err(_) => exit_code::FAILED,
    };
    ExitCode::from(code)
}

fn run(cli: &Cli) -> Result<u8, Failure> {
    let chatter = cli.chatter;
    match &cli.command {
        Command::Mount(args) => mounting::run(args, chatter),
        Command::Umount(args) => unmounting::run(args),
        Command::Volumes(args) => volumes::run(args, chatter),
        Command::Scan(args) => scan::run(args, chatter),
        Command::Restore(args) => restore::run(args, chatter),
        Command::Efs(args) => efs::run(args, chatter),
        Command::Certsrv(args) => certsrv::run(args, chatter),
        Command::Demo(args) => demo::run(args, chatter),
        Command::Generate(args) => generate::run(args),
    }
}

/// A panic is one sentence on standard error; what panicked is caught by `main` or by the mount back end.
fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no reason given");
        notice(format!("internal error{place}: {what}; please report it with the command that was run"));
    }));
}

fn install_tracing(chatter: Chatter) {
    let level = match (chatter.quiet, chatter.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_env("UNDELFS_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_target(chatter.verbose > 0)
        .without_time()
        .init();
}
