//! `sluicegate generate`: the files of the packages that are made from what the program knows of itself, so that none of
//! them can tell another story than the program: man pages, completions of shells, JSON Schemas.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use serde_json::Value;

use super::{Cli, complain};
use crate::config::language;

mod manual;
mod roff;

/// The arguments of `generate`.
#[derive(Debug, Args)]
pub(super) struct Generate {
    /// Where the files go. It has to be there.
    directory: PathBuf,
}

impl Generate {
    pub(super) fn run(&self) -> ExitCode {
        match write_all(&self.directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{}: {error}", self.directory.display()));
                ExitCode::FAILURE
            }
        }
    }
}

fn write_all(directory: &Path) -> io::Result<()> {
    let mut program = Cli::command();
    program.build();
    let write = |name: &str, text: &[u8]| fs::write(directory.join(name), text);
    write("sluicegate.8", manual::program(&program).as_bytes())?;
    write("sluicegate.yaml.5", manual::configuration().as_bytes())?;
    write("sluicegate.schema.json", pretty(&language::schema())?.as_bytes())?;
    write("api-keys.schema.json", pretty(&language::key_file_schema())?.as_bytes())?;
    for (shell, name) in
        [(Shell::Bash, "sluicegate.bash"), (Shell::Zsh, "_sluicegate"), (Shell::Fish, "sluicegate.fish")]
    {
        write(name, &completion(shell, &mut Cli::command()))?;
    }
    Ok(())
}

fn completion(shell: Shell, program: &mut Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, program, "sluicegate", &mut script);
    script
}

fn pretty(value: &Value) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
