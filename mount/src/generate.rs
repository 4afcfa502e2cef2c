//! `undelfs generate`: manual pages and completions, made from the one definition of the command line.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    cli::{Cli, GenerateArgs, Generated},
    failure::Failure,
    output::{Output, write_failure},
};

pub(crate) fn run(args: &GenerateArgs) -> Result<u8, Failure> {
    let mut command = Cli::command();
    if let Some(folder) = &args.folder {
        fs::create_dir_all(folder).map_err(|error| Failure::io("make the folder", folder, &error))?;
        write_into(command, args.what, folder).map_err(|error| Failure::io("write into", folder, &error))?;
        return Ok(crate::cli::exit_code::DONE);
    }
    let mut text = Vec::new();
    match shell(args.what) {
        Some(shell) => clap_complete::generate(shell, &mut command, "undelfs", &mut text),
        None => clap_mangen::Man::new(command).render(&mut text).map_err(|error| write_failure(&error))?,
    }
    let mut out = Output::new();
    let result = out.write_all(&text).map_err(|error| write_failure(&error));
    out.finish(result)
}

fn write_into(command: clap::Command, what: Generated, folder: &Path) -> io::Result<()> {
    match shell(what) {
        Some(shell) => clap_complete::generate_to(shell, &mut { command }, "undelfs", folder).map(drop),
        None => clap_mangen::generate_to(command, folder),
    }
}

fn shell(what: Generated) -> Option<Shell> {
    match what {
        Generated::Man => None,
        Generated::Bash => Some(Shell::Bash),
        Generated::Zsh => Some(Shell::Zsh),
        Generated::Fish => Some(Shell::Fish),
        Generated::Powershell => Some(Shell::PowerShell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_completions_are_made_for_every_command_and_shell() {
        let folder = tempfile::tempdir().unwrap();
        for what in [Generated::Man, Generated::Bash, Generated::Zsh, Generated::Fish, Generated::Powershell]
        {
            write_into(Cli::command(), what, folder.path()).unwrap();
        }
        for name in [
            "undelfs.1",
            "undelfs-mount.1",
            "undelfs-restore.1",
            "undelfs.bash",
            "_undelfs",
            "undelfs.fish",
            "_undelfs.ps1",
        ] {
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.contains("undelfs"), "{name}");
            assert!(!text.contains("started-by-mount"), "{name} shows the internal flag");
        }
    }
}
