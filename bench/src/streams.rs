//! Many event streams at once: direct to the mock, through the gateway, and through others, in turn. Then large prompts beside
//! them, direct and through the gateway.
//!
//! The mock stamps every event when it makes it, and the client compares the stamp with its clock when it has read it. What the
//! gateway adds is the difference between the two ways, since the mock, the kernel and the client cost the same on both. The CPU
//! shares of all three are told, so that it can be seen whether one of them was at its end.

pub mod backend;
pub mod client;
pub mod delays;
pub mod prompts;
pub mod report;
pub mod stamps;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::compare::machine::stolen;
use crate::compare::process::{Running, Usage, own_cpu};
use crate::compare::{TempDir, start};
use crate::gateways::load::{Load, PATH};
use crate::gateways::peers::{OF_STREAMS, Peer, Places};
use crate::gateways::wanted;
use crate::pin::Pin;
use backend::{Backend, Noticed};
use client::{Ask, Seen, once};
use delays::Delays;
use prompts::{Pressure, Sink};

/// How long the streams take to be opened, evenly.
const RAMP: Duration = Duration::from_secs(3);
/// How long the last stream may take to end, or to be left.
const PATIENCE: Duration = Duration::from_secs(60);
/// Streams beside which large prompts are sent.
const BESIDE: usize = 200;
/// A stream without an end.
const ENDLESS: u64 = 1_000_000;

/// What to run.
pub struct Plan {
    /// The gateway's binary.
    pub gateway: PathBuf,
    /// Where `sluicegate-mock` is.
    pub tools: PathBuf,
    /// Where the installed peers are.
    pub peers: PathBuf,
    /// Names of the ways to measure; all when empty.
    pub only: Vec<String>,
    /// Rounds over all ways.
    pub rounds: u32,
    /// Seconds in which delays are measured.
    pub seconds: u32,
    /// Streams at once.
    pub streams: usize,
    /// Events of each stream in a second.
    pub rate: u32,
    /// Which cores run what.
    pub pin: Pin,
}

/// One way in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// `direct`, or the peer's name.
    pub via: &'static str,
    /// The round, from 0.
    pub round: u32,
    /// All streams at their pace.
    pub steady: Steady,
    /// All clients gone at once.
    pub left: Left,
    /// Streams beside large prompts.
    pub beside: Vec<Beside>,
}

/// What many streams at once saw, and cost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Steady {
    /// Streams that ended as they should.
    pub whole: u64,
    /// Streams that did not.
    pub failed: u64,
    /// Events of all streams.
    pub events: u64,
    /// Events that never came.
    pub lost: u64,
    /// Events out of order, or twice.
    pub disordered: u64,
    /// From the stamp to the client, while all streams were open.
    pub delays: Delays,
    /// Time of the gateway, the mock and the client as parts of one core, while all streams were open.
    pub cores: [f64; 3],
    /// What the host took of all cores in this time, as a part of one core.
    pub stolen: f64,
    /// The gateway's memory before the first stream, KiB; PSS, then RSS.
    pub rest_kib: [u64; 2],
    /// The same while all were open.
    pub busy_kib: [u64; 2],
}

/// How fast providers are left when clients leave.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Left {
    /// Microseconds from the moment before the first client closed to the mock's notice, for each stream.
    pub after: Delays,
    /// The same from the moment that its own client closed.
    pub own: Delays,
    /// How long it took to close all clients' connections, microseconds.
    pub closing_us: u64,
}

/// Streams beside prompts of some size.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// What was sent beside them.
    pub pressure: Pressure,
    /// Prompts that were answered.
    pub prompts: u64,
    /// From the stamp to the client.
    pub delays: Delays,
    /// The gateway's most memory in this time over what it had before, KiB.
    pub grown_kib: u64,
    /// Errors of streams and prompts.
    pub errors: u64,
}

/// All that was measured.
pub struct Outcome {
    /// The ways that were measured.
    pub peers: Vec<Peer>,
    /// Every run in the order they were made.
    pub runs: Vec<Run>,
}

/// Runs the plan, saying on stderr what it does. Errors when the mock or a peer does not start.
pub async fn run(plan: &Plan) -> io::Result<Outcome> {
    let dir = TempDir::new()?;
    let backend = Backend::start(&plan.tools, dir.path()).await?;
    let sink = Sink::start()?;
    let places = Places {
        gateway: &plan.gateway,
        peers: &plan.peers,
        dir: dir.path(),
        backend: backend.address,
        sink: Some(sink.address),
        threads: plan.pin.proxy_cores(),
    };
    let mut outcome = Outcome { peers: Vec::new(), runs: Vec::new() };
    for name in OF_STREAMS.into_iter().filter(|name| wanted(&plan.only, name)) {
        match places.peer(name)? {
            Ok(peer) => outcome.peers.push(peer),
            Err(why) => eprintln!("{name} is not measured: {why}"),
        }
    }
    for round in 0..plan.rounds {
        for peer in &outcome.peers {
            eprintln!("streams, round {} of {}: {}", round + 1, plan.rounds, peer.name);
            let log = dir.path().join(format!("{}.log", peer.name));
            let running = match peer.argv.is_empty() {
                true => None,
                false => {
                    Some(start(&plan.pin.of_proxy(&peer.argv), &log, peer.address, Duration::from_secs(20)).await?)
                }
            };
            let way = Way { plan, backend: &backend, sink: &sink, peer, running };
            let steady = way.steady().await?;
            eprintln!("  {:?}", steady.delays);
            let left = way.leave().await?;
            eprintln!("  left after {:?}", left.after);
            // The others know one provider only, and would send it the prompts.
            let large = matches!(peer.name, "direct" | "sluicegate" | "sluicegate-busy");
            let beside = if large { way.beside_prompts().await? } else { Vec::new() };
            outcome.runs.push(Run { via: peer.name, round, steady, left, beside });
        }
    }
    Ok(outcome)
}

/// One way to the mock.
struct Way<'a> {
    plan: &'a Plan,
    backend: &'a Backend,
    sink: &'a Sink,
    peer: &'a Peer,
    running: Option<Running>,
}

impl Way<'_> {
    /// All streams at their pace, from the first to the end of the last.
    async fn steady(&self) -> io::Result<Steady> {
        let seconds = RAMP.as_secs() + u64::from(self.plan.seconds) + 2;
        let events = seconds * u64::from(self.plan.rate);
        let rest = self.usage()?;
        let (seen, mut clients) = self.open(self.plan.streams, events, Some(events)).await?;
        let ([gateway, mock, client], stolen_before, began) = (self.spent()?, stolen(), Instant::now());
        seen.measuring.store(true, Relaxed);
        sleep(Duration::from_secs(u64::from(self.plan.seconds)) / 2).await;
        let busy = self.usage()?;
        sleep(Duration::from_secs(u64::from(self.plan.seconds)) / 2).await;
        seen.measuring.store(false, Relaxed);
        let ([gateway_after, mock_after, client_after], stolen_after, took) =
            (self.spent()?, stolen(), began.elapsed());
        let share = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / took.as_secs_f64();
        let ended = timeout(PATIENCE, async { while clients.join_next().await.is_some() {} }).await;
        ended.map_err(|_| io::Error::other(format!("streams go on {PATIENCE:?} after they should have ended")))?;
        for told in seen.told() {
            eprintln!("  {told}");
        }
        Ok(Steady {
            whole: seen.whole.load(Relaxed),
            failed: seen.failed.load(Relaxed),
            events: seen.events.load(Relaxed),
            lost: seen.lost.load(Relaxed),
            disordered: seen.disordered.load(Relaxed),
            delays: Delays::of(seen.take_delays()),
            cores: [share(gateway, gateway_after), share(mock, mock_after), share(client, client_after)],
            stolen: share(stolen_before, stolen_after),
            rest_kib: [rest.pss_kib, rest.rss_kib],
            busy_kib: [busy.pss_kib, busy.rss_kib],
        })
    }

    /// Opens all streams, and closes all clients at once.
    async fn leave(&self) -> io::Result<Left> {
        self.backend.forget().await?;
        let streams = self.plan.streams;
        let (seen, mut clients) = self.open(streams, ENDLESS, None).await?;
        let all_begun = async {
            while seen.begun.load(Relaxed) < streams as u64 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let begun = timeout(PATIENCE, all_begun).await;
        begun.map_err(|_| io::Error::other(format!("not all streams begin within {PATIENCE:?}: {:?}", seen.told())))?;
        self.backend.mark_leaving().await?;
        let closing = Instant::now();
        clients.abort_all();
        while clients.join_next().await.is_some() {}
        let closing_us = u64::try_from(closing.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut noticed = Noticed::default();
        for _ in 0..PATIENCE.as_secs() {
            // Asking for the books costs the mock time; it is not asked while it notices.
            sleep(Duration::from_secs(1)).await;
            noticed = self.backend.noticed().await?;
            if noticed.after.len() >= streams {
                break;
            }
        }
        let own = Delays::of(seen.own_delays(&noticed.at));
        let after = noticed.after.iter().map(|after| u32::try_from(after.as_micros()).unwrap_or(u32::MAX));
        Ok(Left { after: Delays::of(after.collect()), own, closing_us })
    }

    /// Streams without prompts beside them, and with some.
    async fn beside_prompts(&self) -> io::Result<Vec<Beside>> {
        self.backend.forget().await?;
        let (seen, mut clients) = self.open(BESIDE, ENDLESS, None).await?;
        let to = if self.running.is_some() { self.peer.address } else { self.sink.address };
        let mut all = Vec::new();
        for pressure in Pressure::ALL {
            let before = self.usage()?;
            if let Some(running) = &self.running {
                running.forget_peak()?;
            }
            let errors = seen.errors();
            let sending = pressure.begin(to, &self.peer.fields(Load::Chat));
            seen.measuring.store(true, Relaxed);
            sleep(Duration::from_secs(u64::from(self.plan.seconds))).await;
            seen.measuring.store(false, Relaxed);
            let delays = Delays::of(seen.take_delays());
            let sent = sending.end().await;
            let grown_kib = self.usage()?.peak_kib.saturating_sub(before.rss_kib);
            let errors = seen.errors() - errors + sent.failed;
            eprintln!(
                "  {}: {} prompts, {delays:?}, {grown_kib} KiB more, {errors} errors",
                pressure.name, sent.answered
            );
            all.push(Beside { pressure, prompts: sent.answered, delays, grown_kib, errors });
        }
        clients.abort_all();
        while clients.join_next().await.is_some() {}
        Ok(all)
    }

    /// Opens streams evenly over the ramp.
    async fn open(&self, streams: usize, events: u64, expected: Option<u64>) -> io::Result<(Arc<Seen>, JoinSet<()>)> {
        self.backend.order(&format!("rate={},events={events},stamp", self.plan.rate)).await?;
        let mut body: serde_json::Value = serde_json::from_str(&Load::Stream.body("m")).map_err(io::Error::other)?;
        // These say more than a client would pay for.
        body.as_object_mut().and_then(|body| body.remove("max_tokens"));
        let (body, seen) = (body.to_string(), Arc::new(Seen::default()));
        let (mut clients, began) = (JoinSet::new(), Instant::now());
        for number in 0..streams {
            tokio::time::sleep_until(began + RAMP.mul_f64(number as f64 / streams as f64)).await;
            let id = format!("stream-{number}");
            let mut fields = self.peer.fields(Load::Stream);
            fields.push(("x-request-id".to_owned(), id.clone()));
            let ask = Ask::post(self.peer.address, PATH, &fields, &body);
            clients.spawn(once(ask, id, expected, seen.clone()));
        }
        sleep(Duration::from_millis(500)).await;
        Ok((seen, clients))
    }

    fn usage(&self) -> io::Result<Usage> {
        self.running.as_ref().map_or_else(|| Ok(Usage::default()), Running::usage)
    }

    /// CPU time so far of the gateway, the mock and this process.
    fn spent(&self) -> io::Result<[Duration; 3]> {
        Ok([self.usage()?.cpu, self.backend.usage()?.cpu, own_cpu()])
    }
}
