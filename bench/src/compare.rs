//! The side-by-side benchmark: the same load, through each proxy in turn, to the same backend, in interleaved rounds.
//!
//! Every round starts each peer afresh, warms it up, and puts each workload through it; the order turns by one each round, so that a
//! slow minute of the machine does not fall on one peer. Nothing is pinned to a core. A run with errors is kept and shown as such.

pub mod load;
pub mod machine;
pub mod peers;
pub mod process;
pub mod report;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use load::{Sample, Workload};
use peers::{Bench, Peer};
use process::{Running, Usage};

/// What to run.
pub struct Plan {
    /// The gateway's binary.
    pub gateway: PathBuf,
    /// Where `bare-pingora` and `sluicegate-mock` are.
    pub tools: PathBuf,
    /// Rounds over all peers.
    pub rounds: u32,
    /// Seconds of each wrk run.
    pub seconds: u32,
    /// Names of the peers to run; all when empty.
    pub only: Vec<String>,
    /// The path asked for.
    pub path: String,
    /// The program behind the proxies.
    pub backend: Backend,
}

/// The program that answers behind the proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// `sluicegate-mock` with one thread.
    Mock,
    /// nginx with one worker returning a fixed body.
    Nginx,
}

impl Backend {
    /// nginx where it is installed: 2.9 microseconds of CPU for a small answer where the mock takes 3.5.
    pub fn cheapest_installed() -> Self {
        machine::which("nginx").map_or(Self::Mock, |_| Self::Nginx)
    }
}

/// One measured run of one workload through one peer.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The peer's name.
    pub peer: String,
    /// The workload's name.
    pub workload: &'static str,
    /// The round, from 0.
    pub round: u32,
    /// What the load program measured.
    pub sample: Sample,
    /// CPU time of the proxy's processes per request, microseconds; none where no proxy ran.
    pub cpu_us: Option<f64>,
    /// Resident memory after the run, KiB, summed over the proxy's processes (pages they share are counted in each).
    pub rss_kib: Option<u64>,
    /// The highest resident memory so far, KiB, summed alike.
    pub peak_kib: Option<u64>,
}

/// All that was measured.
pub struct Outcome {
    /// Peers that ran.
    pub peers: Vec<Peer>,
    /// Lines about peers and workloads that did not.
    pub skipped: Vec<String>,
    /// The backend's description.
    pub backend: String,
    /// Every run in the order they were made.
    pub runs: Vec<Run>,
}

/// Runs the plan, saying on stderr what it does. Errors when the backend does not start or wrk is missing.
pub async fn run(plan: &Plan) -> io::Result<Outcome> {
    let dir = TempDir::new()?;
    let backend = Bench::backend(plan, dir.path())?;
    let log = dir.path().join("backend.log");
    let _backend = start(&backend.argv, &log, backend.address, LISTENS).await?;
    let bench = Bench { plan, dir: dir.path(), backend: backend.address };
    let (peers, mut skipped) = bench.peers()?;
    let workloads = load::installed(&mut skipped)?;
    load::write_script(dir.path())?;
    for line in &skipped {
        eprintln!("skipped: {line}");
    }
    let mut runs = Vec::new();
    for round in 0..plan.rounds {
        let first = round as usize % peers.len().max(1);
        let (head, tail) = peers.split_at(first);
        for peer in tail.iter().chain(head) {
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, peer.name);
            match measure(plan, dir.path(), peer, &workloads, round).await {
                Ok(more) => runs.extend(more),
                Err(error) => {
                    eprintln!("  {error}");
                    skipped.push(format!("{} in round {}: {error}", peer.name, round + 1));
                }
            }
        }
    }
    Ok(Outcome { peers, skipped, backend: backend.about, runs })
}

/// One peer in one round: start, warm up, each workload, stop.
async fn measure(plan: &Plan, dir: &Path, peer: &Peer, workloads: &[Workload], round: u32) -> io::Result<Vec<Run>> {
    let log = dir.join(format!("{}.log", peer.name));
    let running = match peer.argv.is_empty() {
        true => None,
        false => Some(start(&peer.argv, &log, peer.address, LISTENS).await?),
    };
    let mut runs = Vec::new();
    for (number, workload) in workloads.iter().filter(|workload| peer.serves.contains(workload)).enumerate() {
        let url = format!("http://{}{}", peer.address, workload.path(&plan.path));
        if number == 0 {
            let warm_up = Workload::Get.argv(&url, 1, dir);
            load::execute(&warm_up, Duration::from_secs(15)).await?;
        }
        let before = usage(running.as_ref())?;
        let argv = workload.argv(&url, plan.seconds, dir);
        let text = load::execute(&argv, Duration::from_secs(u64::from(plan.seconds) * 4 + 30)).await?;
        let after = usage(running.as_ref())?;
        let Some(sample) = workload.parse(&text) else {
            return Err(io::Error::other(format!("{} printed no result:\n{text}", argv.join(" "))));
        };
        let cpu_us = before.zip(after).and_then(|(before, after)| cpu_per_request(&before, &after, sample.requests));
        eprintln!(
            "  {:<8} {:>8.0} req/s  {:>6.1} us CPU  {} errors",
            workload.name(),
            sample.per_second,
            cpu_us.unwrap_or(0.0),
            sample.errors
        );
        runs.push(Run {
            peer: peer.name.to_owned(),
            workload: workload.name(),
            round,
            sample,
            cpu_us,
            rss_kib: after.map(|usage| usage.rss_kib),
            peak_kib: after.map(|usage| usage.peak_kib),
        });
    }
    Ok(runs)
}

fn usage(running: Option<&Running>) -> io::Result<Option<Usage>> {
    running.map(Running::usage).transpose()
}

pub(crate) fn cpu_per_request(before: &Usage, after: &Usage, requests: u64) -> Option<f64> {
    let spent = after.cpu.saturating_sub(before.cpu);
    (requests > 0).then(|| spent.as_secs_f64() * 1e6 / requests as f64)
}

/// How long a proxy or a backend may take until it listens.
const LISTENS: Duration = Duration::from_secs(5);

/// Starts a program and waits until its address takes connections. Errors carry the end of its log.
pub(crate) async fn start(argv: &[String], log: &Path, address: SocketAddr, limit: Duration) -> io::Result<Running> {
    let mut running = Running::spawn(argv, log)?;
    for _ in 0..limit.as_millis() / 25 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(running);
        }
        if running.has_ended() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let from = text.lines().count().saturating_sub(5);
    let last: Vec<&str> = text.lines().skip(from).collect();
    Err(io::Error::other(format!("{} does not listen on {address}: {}", argv.join(" "), last.join(" / "))))
}

/// A directory for configurations and logs, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sluicegate-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
