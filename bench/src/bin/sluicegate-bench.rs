//! The side-by-side benchmark behind `make bench`; see `bench/README.md`.
//!
//! Its children end with it, also on Ctrl-C and SIGTERM.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sluicegate_bench::compare::machine::Machine;
use sluicegate_bench::compare::{self, Backend, Plan, report};
use tokio::signal::unix::{SignalKind, signal};

/// Measures the gateway beside nginx, HAProxy and bare Pingora.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The gateway's binary.
    #[arg(long, default_value = "target/release/sluicegate")]
    gateway: PathBuf,
    /// Rounds over all peers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// Only these peers: sluicegate, haproxy, haproxy-log, nginx, nginx-log, bare-pingora, direct, and, for the cache,
    /// sluicegate-cache, haproxy-cache, nginx-cache, varnish-cache.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The path to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// The program behind the proxies; nginx where it is installed, as it takes the least of the machine.
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Where the result goes.
    #[arg(long, default_value = "bench/results")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(Args::parse()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluicegate-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> io::Result<()> {
    let exe = std::env::current_exe()?;
    let tools = exe.parent().map(PathBuf::from).unwrap_or_default();
    // Below the current folder by a relative path: commands stand in reports, which are for other machines too.
    let here = std::env::current_dir()?;
    let tools = tools.strip_prefix(&here).map_or_else(|_| tools.clone(), PathBuf::from);
    let Args { gateway, rounds, seconds, only, path, backend, out } = args;
    let backend = backend.unwrap_or_else(Backend::cheapest_installed);
    let plan = Plan { gateway, tools, rounds, seconds, only, path, backend };
    let machine = Machine::here();
    if machine.load > 0.5 {
        eprintln!("the machine is not idle: load average {:.1}", machine.load);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    // Whichever ends first, the other is dropped, and its children with it.
    let outcome = tokio::select! {
        outcome = compare::run(&plan) => outcome?,
        _ = tokio::signal::ctrl_c() => return Err(io::Error::other("interrupted")),
        _ = terminate.recv() => return Err(io::Error::other("terminated")),
    };
    if outcome.runs.is_empty() {
        return Err(io::Error::other(format!("nothing ran: {}", outcome.skipped.join("; "))));
    }
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let written = report::write(&out, &plan, &machine, &outcome, &command)?;
    println!("{}", report::tables(&outcome.runs));
    println!("written to {}", written.display());
    Ok(())
}
