//! AI gateways side by side: the same chat requests, whole and streamed, through each in turn to the same mock, in interleaved rounds.
//!
//! Two things are measured of each load. CPU for a request, while 64 connections keep the peer busy. And the delay that the peer
//! adds: of whole answers with one request at a time, where nothing waits for anything else; of streams for every event, from the
//! mock's stamp to the client. What is added is what is over `direct` in the same round.

pub mod load;
pub mod peers;
pub mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::compare::load::{Sample, execute, parse_ab, parse_wrk};
use crate::compare::machine::which;
use crate::compare::process::{Running, Usage};
use crate::compare::{TempDir, cpu_per_request, start};
use crate::pin::Pin;
use crate::streams::backend::Backend;
use crate::streams::client::{Ask, Seen, again_and_again};
use crate::streams::delays::Delays;
use load::{CONNECTIONS, Load, PATH, PIECES, Shot};
use peers::{KNOWN, Peer, Places};

/// How long a peer may take to answer its first request; LiteLLM imports for a long time.
const READY: Duration = Duration::from_secs(240);

/// Where the installed peers are, unless something else is said.
pub const PEERS: &str = "target/ai-peers";

/// What to run.
pub struct Plan {
    /// The gateway's binary.
    pub gateway: PathBuf,
    /// Where `sluicegate-mock` is.
    pub tools: PathBuf,
    /// Where the installed peers are.
    pub peers: PathBuf,
    /// Rounds over all peers.
    pub rounds: u32,
    /// Seconds of each run.
    pub seconds: u32,
    /// Names of the peers to run; all when empty.
    pub only: Vec<String>,
    /// Which cores run what.
    pub pin: Pin,
}

/// One measured run of one load through one peer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    /// The peer's name.
    pub peer: String,
    /// The load's name.
    pub load: &'static str,
    /// The round, from 0.
    pub round: u32,
    /// Requests, or streams, completed while the peer was busy.
    pub requests: u64,
    /// Of these a second.
    pub per_second: f64,
    /// CPU time of the peer's processes per request, microseconds; none where no peer ran.
    pub cpu_us: Option<f64>,
    /// Median delay: of whole answers with one request at a time, of streams of each event; milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile of it.
    pub p99_ms: f64,
    /// Failed requests, broken streams, and events that are lost or out of order.
    pub errors: u64,
    /// Memory before any load.
    pub rest: Option<Memory>,
    /// Memory in the middle of it.
    pub busy: Option<Memory>,
}

/// Memory of a peer's processes, KiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Resident, summed.
    pub rss_kib: u64,
    /// The same with shared pages split among those who share them.
    pub pss_kib: u64,
}

/// All that was measured.
pub struct Outcome {
    /// Peers that ran.
    pub peers: Vec<Peer>,
    /// Peers that did not, or not in every round, and why.
    pub failed: Vec<(String, String)>,
    /// Every run in the order they were made.
    pub runs: Vec<Run>,
}

/// Runs the plan, saying on stderr what it does. Errors when the mock does not start or wrk is missing.
pub async fn run(plan: &Plan) -> io::Result<Outcome> {
    if which("wrk").is_none() {
        return Err(io::Error::other("wrk is not installed, and there is no benchmark without it"));
    }
    let dir = TempDir::new()?;
    let backend = Backend::start(&plan.tools, dir.path()).await?;
    let places = Places {
        gateway: &plan.gateway,
        peers: &plan.peers,
        dir: dir.path(),
        backend: backend.address,
        sink: None,
        threads: plan.pin.proxy_cores(),
    };
    let mut outcome = Outcome { peers: Vec::new(), failed: Vec::new(), runs: Vec::new() };
    for name in KNOWN.into_iter().filter(|name| wanted(&plan.only, name)) {
        match places.peer(name)? {
            Ok(peer) => outcome.peers.push(peer),
            Err(why) => outcome.failed.push((name.to_owned(), report::in_a_cell(&why))),
        }
    }
    for (name, why) in &outcome.failed {
        eprintln!("{name} is not measured: {why}");
    }
    for round in 0..plan.rounds {
        let (head, tail) = outcome.peers.split_at(round as usize % outcome.peers.len().max(1));
        for peer in tail.iter().chain(head) {
            eprintln!("AI gateways, round {} of {}: {}", round + 1, plan.rounds, peer.name);
            let bench = Bench { plan, dir: dir.path(), backend: &backend, peer, round };
            if let Err(error) = bench.measure(&mut outcome.runs).await {
                eprintln!("  {error}");
                outcome
                    .failed
                    .push((peer.name.to_owned(), report::in_a_cell(&format!("round {}: {error}", round + 1))));
            }
        }
    }
    Ok(outcome)
}

/// Whether a peer is to be run; without a choice all are.
pub fn wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|one| one == name)
}

/// One peer in one round.
struct Bench<'a> {
    plan: &'a Plan,
    dir: &'a Path,
    backend: &'a Backend,
    peer: &'a Peer,
    round: u32,
}

impl Bench<'_> {
    /// Start, wait until it answers, each load, stop.
    async fn measure(&self, runs: &mut Vec<Run>) -> io::Result<()> {
        let log = self.dir.join(format!("{}.log", self.peer.name));
        let running = match self.peer.argv.is_empty() {
            true => None,
            false => Some(start(&self.plan.pin.of_proxy(&self.peer.argv), &log, self.peer.address, READY).await?),
        };
        self.backend.order(Load::Chat.order()).await?;
        let (shot, _) = self.requests(Load::Chat)?;
        self.ready(&shot).await?;
        let rest = memory(running.as_ref())?;
        // Pools, caches and compilers of code at run time are warm after this.
        execute(&shot.wrk(CONNECTIONS, 2), Duration::from_secs(130)).await?;
        let mut chats = 0.0;
        for load in Load::ALL.into_iter().filter(|load| self.peer.serves(*load)) {
            if load == Load::Ab && which("ab").is_none() {
                continue;
            }
            self.backend.order(load.order()).await?;
            let mut run = match load.is_stream() {
                true => self.streams(load, running.as_ref()).await?,
                false => self.whole(load, chats, running.as_ref()).await?,
            };
            if load == Load::Chat {
                chats = run.per_second;
            }
            run.rest = rest;
            eprintln!(
                "  {:<18} {:>8.0} /s {:>8.1} us CPU {:>8.2} ms {:>8.2} ms {} errors",
                run.load,
                run.per_second,
                run.cpu_us.unwrap_or(0.0),
                run.p50_ms,
                run.p99_ms,
                run.errors
            );
            runs.push(run);
        }
        Ok(())
    }

    /// The request of a load, for wrk and ab, and for the client of streams.
    fn requests(&self, load: Load) -> io::Result<(Shot, Ask)> {
        let (peer, body) = (self.peer, load.body(self.peer.model(load)));
        let fields = peer.fields(load);
        let ask = Ask::post(peer.address, PATH, &fields, &body);
        let name = format!("{}-{}", peer.name, load.name());
        let shot = Shot::write(self.dir, &name, format!("http://{}{PATH}", peer.address), fields, &body)?;
        Ok((shot, ask))
    }

    /// Waits until the peer answers: a port that is open is not yet a gateway that serves. Errors with what wrk says of it.
    async fn ready(&self, shot: &Shot) -> io::Result<()> {
        let mut tries = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..READY.as_secs() {
            tries.tick().await;
            let text = execute(&shot.wrk(1, 1), Duration::from_secs(90)).await.unwrap_or_default();
            if parse_wrk(&text).is_some_and(|sample| sample.requests > 0 && sample.errors == 0) {
                return Ok(());
            }
        }
        let said = crate::streams::client::first_answer(&self.requests(Load::Chat)?.1).await;
        Err(io::Error::other(format!("it does not answer: {}", said.unwrap_or_else(|error| error.to_string()))))
    }

    /// Whole answers: busy for the time, then one at a time for its delay.
    async fn whole(&self, load: Load, chats: f64, running: Option<&Running>) -> io::Result<Run> {
        let (shot, _) = self.requests(load)?;
        let seconds = self.plan.seconds;
        let argv = match load {
            // So many as take about the same time.
            Load::Ab => shot.ab(((chats * f64::from(seconds)) as u64).max(2 * CONNECTIONS as u64)),
            _ => shot.wrk(CONNECTIONS, seconds),
        };
        let before = running.map(Running::usage).transpose()?;
        let limit = Duration::from_secs(u64::from(seconds) * 4 + 70);
        let (text, busy) = tokio::join!(execute(&argv, limit), halfway(seconds, running));
        let (text, busy) = (text?, busy?);
        let after = running.map(Running::usage).transpose()?;
        let parse: fn(&str) -> Option<Sample> = if load == Load::Ab { parse_ab } else { parse_wrk };
        let sample = parse(&text)
            .ok_or_else(|| io::Error::other(format!("no request of {} was answered in time", load.name())))?;
        let alone = match load {
            Load::Ab => sample.clone(),
            _ => {
                let text = execute(&shot.wrk(1, seconds.div_ceil(2)), limit).await?;
                parse_wrk(&text)
                    .ok_or_else(|| io::Error::other(format!("no single request of {} was answered", load.name())))?
            }
        };
        Ok(Run {
            peer: self.peer.name.to_owned(),
            load: load.name(),
            round: self.round,
            requests: sample.requests,
            per_second: sample.per_second,
            cpu_us: before.zip(after).and_then(|(before, after)| cpu_per_request(&before, &after, sample.requests)),
            p50_ms: alone.p50_ms,
            p99_ms: alone.p99_ms,
            errors: sample.errors + if load == Load::Ab { 0 } else { alone.errors },
            rest: None,
            busy,
        })
    }

    /// Streams, one after the other on each connection; those in the middle of theirs at the end are read to it.
    async fn streams(&self, load: Load, running: Option<&Running>) -> io::Result<Run> {
        let (_, ask) = self.requests(load)?;
        let (ask, seen, enough) = (Arc::new(ask), Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        seen.measuring.store(true, Relaxed);
        let before = running.map(Running::usage).transpose()?;
        let began = tokio::time::Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            clients.spawn(again_and_again(ask.clone(), PIECES, seen.clone(), enough.clone()));
        }
        let seconds = self.plan.seconds;
        let (busy, ()) =
            tokio::join!(halfway(seconds, running), tokio::time::sleep(Duration::from_secs(u64::from(seconds))));
        enough.store(true, Relaxed);
        let limit = Duration::from_secs(120);
        if tokio::time::timeout(limit, async { while clients.join_next().await.is_some() {} }).await.is_err() {
            return Err(io::Error::other(format!("streams have not ended {limit:?} after the last was begun")));
        }
        let took = began.elapsed().as_secs_f64();
        let after = running.map(Running::usage).transpose()?;
        for told in seen.told() {
            eprintln!("  {}: {told}", load.name());
        }
        let (requests, delays) = (seen.whole.load(Relaxed), Delays::of(seen.take_delays()));
        Ok(Run {
            peer: self.peer.name.to_owned(),
            load: load.name(),
            round: self.round,
            requests,
            per_second: requests as f64 / took,
            cpu_us: before.zip(after).and_then(|(before, after)| cpu_per_request(&before, &after, requests)),
            p50_ms: f64::from(delays.p50) / 1e3,
            p99_ms: f64::from(delays.p99) / 1e3,
            errors: seen.errors(),
            rest: None,
            busy: busy?,
        })
    }
}

/// Memory in the middle of a run.
async fn halfway(seconds: u32, running: Option<&Running>) -> io::Result<Option<Memory>> {
    tokio::time::sleep(Duration::from_millis(u64::from(seconds) * 500)).await;
    memory(running)
}

fn memory(running: Option<&Running>) -> io::Result<Option<Memory>> {
    let usage: Option<Usage> = running.map(Running::usage).transpose()?;
    Ok(usage.map(|usage| Memory { rss_kib: usage.rss_kib, pss_kib: usage.pss_kib }))
}
