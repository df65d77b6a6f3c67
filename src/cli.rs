//! The command line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, ConfigErrors, Environment, Overrides, Severity};
use crate::server::handover::Start;
use crate::server::{self, Options, StartError, secrecy};

pub mod check;
pub mod ctl;
mod generate;
pub mod key;

/// The configuration file of the package.
const CONFIG_FILE: &str = "/etc/sluicegate/sluicegate.yaml";
/// Exit code for a command line that makes no sense (sysexits EX_USAGE).
const USAGE: u8 = 64;
/// Exit code for a refused configuration (sysexits EX_CONFIG); the unit file does not restart on it.
const CONFIG: u8 = 78;

#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, about = "Reverse proxy and AI gateway", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground. Logs go to stderr and to the files the configuration names.
    Run(Source),
    /// Check the configuration: exit 0, or 78 with every error. Also finds ports that cannot be bound.
    Check(Source),
    /// Ask the running gateway for its state, or steer it, over the admin address.
    Ctl(ctl::Ctl),
    /// Make API keys.
    Key(key::Key),
    /// Write the man pages, the completions of shells and the JSON Schemas of the configuration into a directory.
    Generate(generate::Generate),
    /// Print the version.
    Version,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct Source {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
    /// Listen here instead of what the file says. May be given more than once.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// The log level instead of what the file says, such as `debug` or `info,balance=debug`.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Accept well-known placeholder secrets. For development only.
    #[arg(long)]
    insecure_dev: bool,
}

impl Source {
    fn overrides(&self) -> Overrides {
        Overrides { listen: self.listen.clone(), log_level: self.log_level.clone(), insecure_dev: self.insecure_dev }
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Run(source) => run(source),
        Command::Check(source) => check(&source),
        Command::Ctl(ctl) => ctl.run(),
        Command::Key(key) => key.run(),
        Command::Generate(generate) => generate.run(),
        Command::Version => {
            say(&format!("sluicegate {}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

fn run(source: Source) -> ExitCode {
    let overrides = source.overrides();
    let mut environment = secrecy::environment();
    let mut predecessor = match Start::find() {
        Ok(Start::Alone) => None,
        Ok(Start::After(predecessor)) => Some(predecessor),
        Ok(Start::Detached) => return ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("cannot take over from the process before: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Some(predecessor) = &mut predecessor {
        environment = environment.with_variables(predecessor.take_variables());
    }
    let options = Options { file: source.config.clone(), overrides, environment: environment.clone() };
    match server::run(options, &mut predecessor) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = told(&error, &source, &environment);
            complain(&text);
            if let Some(mut predecessor) = predecessor {
                predecessor.failed(text);
            }
            if matches!(
                error,
                StartError::Config(_)
                    | StartError::Log { .. }
                    | StartError::Tls { .. }
                    | StartError::UnknownSocket { .. }
            ) {
                ExitCode::from(CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Why there is no gateway, as `check` tells it where it can: with the place in the file and who is in the way.
fn told(error: &StartError, source: &Source, environment: &Environment) -> String {
    let system = matches!(error, StartError::System { .. } | StartError::Log { .. } | StartError::State { .. });
    let loaded = system.then(|| config::load(&source.config, &source.overrides(), environment));
    match loaded.map(|loaded| loaded.map(|loaded| check::obstacles(&loaded))) {
        Some(Ok(problems)) if !problems.is_empty() => ConfigErrors::from(problems).to_string(),
        _ => error.to_string(),
    }
}

fn check(source: &Source) -> ExitCode {
    let loaded = match config::load(&source.config, &source.overrides(), &Environment::of_process()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(&errors.to_string());
            return ExitCode::from(CONFIG);
        }
    };
    for warning in &loaded.warnings {
        complain(&warning.to_string());
    }
    let (errors, notes): (Vec<_>, Vec<_>) =
        check::probe(&loaded).into_iter().partition(|problem| problem.severity == Severity::Error);
    for note in &notes {
        complain(&note.to_string());
    }
    if errors.is_empty() {
        say(&format!("{}: ok", source.config.display()));
        ExitCode::SUCCESS
    } else {
        complain(&ConfigErrors::from(errors).to_string());
        ExitCode::from(CONFIG)
    }
}

/// Prints the answer of a command. A reader that has gone (`| head`) is no failure.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints the complaint of a command, before or without a log.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
