//! The benchmarks behind `make bench`; see `bench/README.md`.
//!
//! Their children end with them, also on Ctrl-C and SIGTERM.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use sluicegate_bench::compare::machine::Machine;
use sluicegate_bench::compare::{self, Backend, report};
use sluicegate_bench::pin::Pin;
use sluicegate_bench::{gateways, streams};
use tokio::signal::unix::{SignalKind, signal};

/// Measures the gateway beside other proxies and other AI gateways, and with many streams at once.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// What to measure; all when none is named.
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// The gateway's binary.
    #[arg(long, default_value = "target/release/sluicegate")]
    gateway: PathBuf,
    /// Rounds over all peers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// Only these peers. Of web: sluicegate, haproxy, haproxy-log, nginx, nginx-log, bare-pingora, direct, and, for the
    /// cache, sluicegate-cache, haproxy-cache, nginx-cache, varnish-cache. Of ai: direct, sluicegate, litellm, portkey,
    /// sglang-router, vllm-router. Of streams: direct, sluicegate, haproxy, vllm-router.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Of web: the path to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Of web: the program behind the proxies; nginx where it is installed, as it takes the least of the machine.
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Of ai and streams: where packaging/scripts/ai-peers has put the peers.
    #[arg(long, default_value = gateways::PEERS)]
    peers: PathBuf,
    /// Of streams: how many at once.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=8192))]
    streams: u32,
    /// Of streams: events a second of each.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Of ai and streams: the proxy gets the upper half of the cores for itself, load and backend the lower.
    #[arg(long)]
    pin: bool,
    /// Where the results go.
    #[arg(long, default_value = "bench/results")]
    out: PathBuf,
}

/// A set of measurements with a report of its own.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Beside HAProxy, nginx, Varnish and bare Pingora.
    Web,
    /// Beside other AI gateways.
    Ai,
    /// Many event streams at once, and large prompts beside them.
    Streams,
}

impl Suite {
    /// Whether one of the peers that were asked for is measured in it.
    fn concerns(self, only: &[String]) -> bool {
        let wanted = |known: &[&str]| known.iter().any(|name| gateways::wanted(only, name));
        match self {
            Self::Web => wanted(&compare::peers::KNOWN),
            Self::Ai => wanted(&gateways::peers::KNOWN),
            Self::Streams => wanted(&gateways::peers::OF_STREAMS),
        }
    }
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

async fn run(mut args: Args) -> io::Result<()> {
    if args.suites.is_empty() {
        args.suites = vec![Suite::Web, Suite::Ai, Suite::Streams];
    }
    let mut terminate = signal(SignalKind::terminate())?;
    // Whichever ends first, the other is dropped, and its children with it.
    tokio::select! {
        done = suites(&args) => done,
        _ = tokio::signal::ctrl_c() => Err(io::Error::other("interrupted")),
        _ = terminate.recv() => Err(io::Error::other("terminated")),
    }
}

async fn suites(args: &Args) -> io::Result<()> {
    let exe = std::env::current_exe()?;
    let tools = exe.parent().map(PathBuf::from).unwrap_or_default();
    // Below the current folder by a relative path: commands stand in reports, which are for other machines too.
    let here = std::env::current_dir()?;
    let tools = tools.strip_prefix(&here).map_or_else(|_| tools.clone(), PathBuf::from);
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    known(&args.only)?;
    for suite in args.suites.iter().filter(|suite| suite.concerns(&args.only)) {
        let machine = Machine::here();
        if machine.load > 0.5 {
            eprintln!("the machine is not idle: load average {:.1}", machine.load);
        }
        match suite {
            Suite::Web => web(args, &tools, &machine, &command).await?,
            Suite::Ai => ai(args, &tools, &machine, &command).await?,
            Suite::Streams => many_streams(args, &tools, &machine, &command).await?,
        }
    }
    Ok(())
}

/// Errors when a peer is asked for that no suite has.
fn known(only: &[String]) -> io::Result<()> {
    let mut all: Vec<&str> = compare::peers::KNOWN.into_iter().chain(gateways::peers::KNOWN).collect();
    all.extend(gateways::peers::OF_STREAMS.into_iter().filter(|name| !all.contains(name)).collect::<Vec<_>>());
    match only.iter().find(|name| !all.contains(&name.as_str())) {
        Some(name) => Err(io::Error::other(format!("there is no peer {name:?}; there are {}", all.join(", ")))),
        None => Ok(()),
    }
}

async fn web(args: &Args, tools: &Path, machine: &Machine, command: &str) -> io::Result<()> {
    let backend = args.backend.unwrap_or_else(Backend::cheapest_installed);
    let plan = compare::Plan {
        gateway: args.gateway.clone(),
        tools: tools.to_path_buf(),
        rounds: args.rounds,
        seconds: args.seconds,
        only: args.only.clone(),
        path: args.path.clone(),
        backend,
    };
    let outcome = compare::run(&plan).await?;
    if outcome.runs.is_empty() {
        return Err(io::Error::other(format!("nothing ran: {}", outcome.skipped.join("; "))));
    }
    let written = report::write(&args.out, &plan, machine, &outcome, command)?;
    println!("{}written to {}", report::tables(&outcome.runs), written.display());
    Ok(())
}

async fn ai(args: &Args, tools: &Path, machine: &Machine, command: &str) -> io::Result<()> {
    let plan = gateways::Plan {
        gateway: args.gateway.clone(),
        tools: tools.to_path_buf(),
        peers: args.peers.clone(),
        rounds: args.rounds,
        seconds: args.seconds,
        only: args.only.clone(),
        pin: pin(args)?,
    };
    let outcome = gateways::run(&plan).await?;
    if outcome.runs.is_empty() {
        return Err(io::Error::other(format!("nothing ran: {:?}", outcome.failed)));
    }
    let tables = gateways::report::tables(&outcome.runs, &outcome.failed);
    let about = format!("sluicegate-mock, 1 thread; {}", plan.pin.about());
    let head = report::head("AI gateways", machine, &about, plan.rounds, command);
    let text = format!("{head}{tables}{}", gateways::report::what_ran(&plan, &outcome));
    let written = report::save(&args.out, machine, "ai", &text, command, gateways::report::data(&outcome))?;
    println!("{tables}written to {}", written.display());
    Ok(())
}

async fn many_streams(args: &Args, tools: &Path, machine: &Machine, command: &str) -> io::Result<()> {
    let plan = streams::Plan {
        gateway: args.gateway.clone(),
        tools: tools.to_path_buf(),
        peers: args.peers.clone(),
        only: args.only.clone(),
        rounds: args.rounds,
        seconds: args.seconds,
        streams: usize::try_from(args.streams).unwrap_or(usize::MAX),
        rate: args.rate,
        pin: pin(args)?,
    };
    let outcome = streams::run(&plan).await?;
    let tables = streams::report::tables(&plan, &outcome.runs);
    let about = format!("sluicegate-mock, 1 thread; the client has one too; {}", plan.pin.about());
    let head = report::head("Streams", machine, &about, plan.rounds, command);
    let ran = gateways::report::programs(&outcome.peers) + &gateways::report::configs(&outcome.peers);
    let peers = gateways::report::described(&outcome.peers);
    let data = serde_json::json!({"peers": peers, "runs": outcome.runs});
    let written = report::save(&args.out, machine, "streams", &format!("{head}{tables}{ran}"), command, data)?;
    println!("{tables}written to {}", written.display());
    Ok(())
}

fn pin(args: &Args) -> io::Result<Pin> {
    if args.pin { Pin::halves().map_err(io::Error::other) } else { Ok(Pin::default()) }
}
