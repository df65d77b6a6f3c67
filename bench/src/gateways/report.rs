//! The AI gateways as tables: medians over the rounds, CPU beside the gateway's own, delays beside those without a gateway.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::load::{CONNECTIONS, Load, PATH, PIECES};
use super::peers::Peer;
use super::{Outcome, Plan, Run};
use crate::compare::report::median;

/// One table for each load that ran, and a line for every peer that did not.
pub fn tables(runs: &[Run], failed: &[(String, String)]) -> String {
    let mut out = String::new();
    for load in Load::ALL {
        let of_load: Vec<&Run> = runs.iter().filter(|run| run.load == load.name()).collect();
        if of_load.is_empty() {
            continue;
        }
        let (unit, delay) = if load.is_stream() { ("streams/s", "event") } else { ("req/s", "alone") };
        let per = if load.is_stream() { "stream" } else { "req" };
        let _ = writeln!(
            out,
            "## {}\n\n| peer | {unit} | CPU us/{per} | (min-max) | CPU x sluicegate | {delay} p50 ms | {delay} p99 ms | added p50 ms | \
             added p99 ms | rest PSS MiB | busy PSS MiB | busy RSS MiB | errors |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
            load.name()
        );
        let own = median_of(&of_load, "sluicegate", |run| run.cpu_us);
        for peer in names(&of_load) {
            out.push_str(&line(&of_load, peer, own, load != Load::Ab));
        }
        for (peer, why) in failed.iter().filter(|(peer, _)| !of_load.iter().any(|run| run.peer == *peer)) {
            let _ = writeln!(out, "| {peer} | not measured: {why} | | | | | | | | | | | |");
        }
        out.push('\n');
    }
    out
}

/// What ran, for the end of the report.
pub fn what_ran(plan: &Plan, outcome: &Outcome) -> String {
    let mut out = programs(&outcome.peers);
    for (peer, why) in &outcome.failed {
        let _ = writeln!(out, "- not measured: {peer}: {why}");
    }
    let seconds = plan.seconds;
    let _ = writeln!(
        out,
        "\nLoad, on `{PATH}`:\n\n\
         - chat, chat-translated: `wrk -t1 -c{CONNECTIONS} -d{seconds}s --timeout 60s --latency`, then `-c1` for the delay; \
         {PIECES} pieces of text in an answer\n\
         - stream, stream-translated: {CONNECTIONS} connections, one stream after the other on each; {PIECES} stamped events in a \
         stream, one each 10 ms; the client is this program\n\
         - ab-chat: `ab -q -l -k -c {CONNECTIONS} -p BODY -T application/json`, as many requests as take about {seconds} s\n\n\
         The body of all:\n\n```\n{}\n```",
        Load::Chat.body("m")
    );
    out.push_str(&configs(&outcome.peers));
    out
}

/// The same as data.
pub fn data(outcome: &Outcome) -> Value {
    json!({"peers": described(&outcome.peers), "failed": outcome.failed, "runs": outcome.runs})
}

/// A heading, and a line for each program that ran.
pub fn programs(peers: &[Peer]) -> String {
    let mut out = String::from("## What ran\n\n");
    for peer in peers {
        let _ = writeln!(out, "- {}: {} `{}`", peer.name, peer.version, peer.argv.join(" "));
    }
    out
}

/// Every configuration there is.
pub fn configs(peers: &[Peer]) -> String {
    let mut out = String::new();
    for peer in peers.iter().filter(|peer| !peer.config.is_empty()) {
        let _ = writeln!(out, "\n{}:\n\n```\n{}```", peer.name, peer.config);
    }
    out
}

/// The peers as data.
pub fn described(peers: &[Peer]) -> Vec<Value> {
    let describe =
        |peer: &Peer| json!({"name": peer.name, "version": peer.version, "command": peer.argv, "config": peer.config});
    peers.iter().map(describe).collect()
}

/// A text as a cell of a table takes it: one line, and no more of it than a reader needs.
pub fn in_a_cell(text: &str) -> String {
    const LONGEST: usize = 300;
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "/").chars().take(LONGEST).collect()
}

/// The peers, in the order in which they first ran.
fn names<'a>(runs: &[&'a Run]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.peer.as_str()) {
            names.push(&run.peer);
        }
    }
    names
}

fn median_of(runs: &[&Run], peer: &str, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    median(runs.iter().filter(|run| run.peer == peer).filter_map(|run| value(run)).collect())
}

/// What a peer adds to a delay: in each round what is over `direct` in the same one, and the median of these.
fn added(runs: &[&Run], peer: &str, delay: impl Fn(&Run) -> f64) -> Option<f64> {
    if peer == "direct" {
        return None;
    }
    let own = runs.iter().filter(|run| run.peer == peer);
    let over = own.filter_map(|run| {
        let direct = runs.iter().find(|other| other.peer == "direct" && other.round == run.round)?;
        Some(delay(run) - delay(direct))
    });
    median(over.collect())
}

fn line(runs: &[&Run], peer: &str, own: Option<f64>, is_delay: bool) -> String {
    let show =
        |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    let mid = |value: &dyn Fn(&Run) -> Option<f64>| median_of(runs, peer, value);
    let mib = |value: &dyn Fn(&Run) -> Option<u64>| show(mid(&|run| value(run).map(|kib| kib as f64 / 1024.0)), 1);
    let cpu: Vec<f64> = runs.iter().filter(|run| run.peer == peer).filter_map(|run| run.cpu_us).collect();
    let range = cpu.iter().copied().reduce(f64::min).zip(cpu.iter().copied().reduce(f64::max));
    let errors: u64 = runs.iter().filter(|run| run.peer == peer).map(|run| run.errors).sum();
    let cpu = median(cpu);
    let over = |delay: fn(&Run) -> f64| show(if is_delay { added(runs, peer, delay) } else { None }, 2);
    format!(
        "| {peer} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        show(mid(&|run| Some(run.per_second)), 0),
        show(cpu, 1),
        range.map_or_else(|| "-".to_owned(), |(least, most)| format!("{least:.1}-{most:.1}")),
        show(cpu.zip(own).map(|(cpu, own)| cpu / own), 2),
        show(mid(&|run| Some(run.p50_ms)), 2),
        show(mid(&|run| Some(run.p99_ms)), 2),
        over(|run| run.p50_ms),
        over(|run| run.p99_ms),
        mib(&|run| run.rest.map(|memory| memory.pss_kib)),
        mib(&|run| run.busy.map(|memory| memory.pss_kib)),
        mib(&|run| run.busy.map(|memory| memory.rss_kib)),
        if errors == 0 { "0".to_owned() } else { format!("**{errors}**") },
    )
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    fn run(peer: &str, round: u32, cpu_us: Option<f64>, p50_ms: f64) -> Run {
        let busy = cpu_us.map(|_| Memory { rss_kib: 4096, pss_kib: 2048 });
        let (peer, rest) = (peer.to_owned(), busy);
        Run { peer, load: "chat", round, per_second: 1000.0, cpu_us, p50_ms, p99_ms: 2.0, busy, rest, ..Run::default() }
    }

    #[test]
    fn cpu_is_beside_the_gateways_and_delays_are_over_those_of_the_same_round() {
        let runs = [
            run("direct", 0, None, 1.0),
            run("sluicegate", 0, Some(40.0), 1.5),
            run("litellm", 0, Some(4000.0), 9.0),
            run("direct", 1, None, 3.0),
            run("sluicegate", 1, Some(60.0), 3.25),
        ];
        let text = tables(&runs, &[]);
        assert!(text.contains("| direct | 1000 | - | - | - | 2.00 | 2.00 | - | - | - | - | - | 0 |"), "{text}");
        let own = "| sluicegate | 1000 | 50.0 | 40.0-60.0 | 1.00 | 2.38 | 2.00 | 0.38 | 0.00 | 2.0 | 2.0 | 4.0 | 0 |";
        assert!(text.contains(own), "{text}");
        assert!(text.contains("| litellm | 1000 | 4000.0 | 4000.0-4000.0 | 80.00 | 9.00 | 2.00 | 8.00 |"), "{text}");
        assert!(!text.contains("## stream"), "{text}");
    }

    #[test]
    fn a_peer_that_did_not_run_is_a_row_that_says_why() {
        let why = in_a_cell("npm\n is | not here");
        let text = tables(&[run("direct", 0, None, 1.0)], &[("portkey".to_owned(), why)]);
        assert!(text.contains("| portkey | not measured: npm is / not here | |"), "{text}");
    }
}
