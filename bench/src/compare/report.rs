//! The result as a table: medians over the rounds, and ratios against HAProxy and bare Pingora.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::load::Workload;
use super::machine::Machine;
use super::{Outcome, Plan, Run};

/// The rounds of one peer under one workload, folded.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    peer: String,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: Option<f64>,
    /// Lowest and highest over the rounds.
    cpu_range: Option<(f64, f64)>,
    rss_kib: Option<f64>,
    peak_kib: Option<f64>,
    /// Over all rounds.
    errors: u64,
}

/// The whole report in Markdown.
pub fn markdown(plan: &Plan, machine: &Machine, outcome: &Outcome, command: &str) -> String {
    let mut out = head("Benchmark", machine, &outcome.backend, plan.rounds, command);
    out.push_str(&tables(&outcome.runs));
    out.push_str("## What ran\n\n");
    for peer in &outcome.peers {
        let _ = writeln!(out, "- {}: {} `{}`", peer.name, peer.version, peer.argv.join(" "));
    }
    for line in &outcome.skipped {
        let _ = writeln!(out, "- skipped: {line}");
    }
    out.push_str("\nLoad:\n\n");
    for workload in Workload::ALL {
        let url = format!("http://127.0.0.1:PORT{}", workload.path(&plan.path));
        let _ =
            writeln!(out, "- {}: `{}`", workload.name(), workload.argv(&url, plan.seconds, Path::new("DIR")).join(" "));
    }
    for peer in outcome.peers.iter().filter(|peer| !peer.config.is_empty()) {
        let _ = writeln!(out, "\n{}:\n\n```\n{}```", peer.name, peer.config);
    }
    out
}

/// The beginning of every report: when, where, behind what, and how quiet it was.
pub fn head(title: &str, machine: &Machine, backend: &str, rounds: u32, command: &str) -> String {
    let Machine { cpu, cores, memory_mib, kernel, .. } = machine;
    let mut out = format!(
        "# {title} of {} at {}\n\nMachine: {cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}. Load, proxy and backend share it.\n\
         Backend: {backend}. Rounds: {rounds}, interleaved. `{command}`\n\n",
        machine.date, machine.commit
    );
    if machine.load > 0.5 {
        let _ = writeln!(
            out,
            "**The machine was not idle: load average {:.1} before the run.** Compare within this table only, and with care.\n",
            machine.load
        );
    }
    if cfg!(debug_assertions) {
        out.push_str("**The load, bare-pingora and the mock are debug builds here: their numbers mean nothing.**\n\n");
    }
    out
}

/// One table for each workload that ran.
pub fn tables(runs: &[Run]) -> String {
    let mut out = String::new();
    for workload in Workload::ALL {
        let rows = rows(runs, workload.name());
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "## {}\n", workload.name());
        out.push_str(
            "| peer | req/s | p50 ms | p99 ms | CPU us/req | (min-max) | CPU x haproxy | CPU x bare-pingora | RSS MiB | peak MiB | errors |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        let [haproxy, bare] = ["haproxy", "bare-pingora"]
            .map(|name| rows.iter().find(|row| row.peer.trim_end_matches("-cache") == name).and_then(|row| row.cpu_us));
        for row in &rows {
            out.push_str(&line(row, haproxy, bare));
        }
        out.push('\n');
    }
    out
}

/// Writes `<date>-<commit>.md` and `.json` into `dir` and returns the first's path. Errors when they cannot be written.
pub fn write(dir: &Path, plan: &Plan, machine: &Machine, outcome: &Outcome, command: &str) -> io::Result<PathBuf> {
    let peers: Vec<_> = outcome
        .peers
        .iter()
        .map(|peer| json!({"name": peer.name, "version": peer.version, "command": peer.argv, "config": peer.config}))
        .collect();
    let data = json!({
        "backend": outcome.backend, "rounds": plan.rounds, "seconds": plan.seconds, "path": plan.path, "peers": peers,
        "skipped": outcome.skipped, "runs": outcome.runs,
    });
    save(dir, machine, "", &markdown(plan, machine, outcome, command), command, data)
}

/// Writes a report and its data beside it, with `-suite` in their names where it has one, and returns the report's path. Errors
/// when they cannot be written.
pub fn save(
    dir: &Path,
    machine: &Machine,
    suite: &str,
    text: &str,
    command: &str,
    mut data: Value,
) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let day = machine.date.split(' ').next().unwrap_or("undated");
    let suite = if suite.is_empty() { String::new() } else { format!("-{suite}") };
    let path = dir.join(format!("{day}-{}{suite}.md", machine.commit));
    fs::write(&path, text)?;
    data["machine"] = serde_json::to_value(machine)?;
    data["command"] = command.into();
    data["debug_build"] = cfg!(debug_assertions).into();
    fs::write(path.with_extension("json"), serde_json::to_string_pretty(&data)? + "\n")?;
    Ok(path)
}

/// One row per peer, in the order in which they first ran.
fn rows(runs: &[Run], workload: &str) -> Vec<Row> {
    let of_workload: Vec<&Run> = runs.iter().filter(|run| run.workload == workload).collect();
    let mut names: Vec<&str> = Vec::new();
    for run in &of_workload {
        if !names.contains(&run.peer.as_str()) {
            names.push(&run.peer);
        }
    }
    let row = |name: &str| {
        let runs: Vec<&Run> = of_workload.iter().copied().filter(|run| run.peer == name).collect();
        let median_of =
            |value: &dyn Fn(&Run) -> Option<f64>| median(runs.iter().filter_map(|run| value(run)).collect());
        let cpu: Vec<f64> = runs.iter().filter_map(|run| run.cpu_us).collect();
        let least = cpu.iter().copied().reduce(f64::min);
        let most = cpu.iter().copied().reduce(f64::max);
        Row {
            peer: name.to_owned(),
            per_second: median_of(&|run| Some(run.sample.per_second)).unwrap_or(0.0),
            p50_ms: median_of(&|run| Some(run.sample.p50_ms)).unwrap_or(0.0),
            p99_ms: median_of(&|run| Some(run.sample.p99_ms)).unwrap_or(0.0),
            cpu_us: median_of(&|run| run.cpu_us),
            cpu_range: least.zip(most),
            rss_kib: median_of(&|run| run.rss_kib.map(|kib| kib as f64)),
            peak_kib: median_of(&|run| run.peak_kib.map(|kib| kib as f64)),
            errors: runs.iter().map(|run| run.sample.errors).sum(),
        }
    };
    names.into_iter().map(row).collect()
}

fn line(row: &Row, haproxy: Option<f64>, bare: Option<f64>) -> String {
    let show =
        |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    let ratio = |to: Option<f64>| show(row.cpu_us.zip(to).map(|(own, to)| own / to), 2);
    let mib = |kib: Option<f64>| show(kib.map(|kib| kib / 1024.0), 1);
    let range = row.cpu_range.map_or_else(|| "-".to_owned(), |(least, most)| format!("{least:.1}-{most:.1}"));
    let errors = if row.errors == 0 { "0".to_owned() } else { format!("**{}**", row.errors) };
    format!(
        "| {} | {:.0} | {:.2} | {:.2} | {} | {range} | {} | {} | {} | {} | {errors} |\n",
        row.peer,
        row.per_second,
        row.p50_ms,
        row.p99_ms,
        show(row.cpu_us, 1),
        ratio(haproxy),
        ratio(bare),
        mib(row.rss_kib),
        mib(row.peak_kib),
    )
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::super::load::Sample;
    use super::*;

    fn run(peer: &str, round: u32, cpu_us: Option<f64>, errors: u64) -> Run {
        let sample = Sample { requests: 10, per_second: 1000.0 + f64::from(round), p50_ms: 1.0, p99_ms: 2.0, errors };
        Run { peer: peer.to_owned(), workload: "get", round, sample, cpu_us, rss_kib: Some(2048), peak_kib: Some(4096) }
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn table_shows_medians_ratios_and_errors() {
        let runs = [
            run("haproxy", 0, Some(20.0), 0),
            run("sluicegate", 0, Some(30.0), 0),
            run("sluicegate", 1, Some(10.0), 4),
            run("sluicegate", 2, Some(40.0), 0),
            run("direct", 0, None, 0),
        ];
        let text = tables(&runs);
        assert!(
            text.contains("| haproxy | 1000 | 1.00 | 2.00 | 20.0 | 20.0-20.0 | 1.00 | - | 2.0 | 4.0 | 0 |"),
            "{text}"
        );
        assert!(
            text.contains("| sluicegate | 1001 | 1.00 | 2.00 | 30.0 | 10.0-40.0 | 1.50 | - | 2.0 | 4.0 | **4** |"),
            "{text}"
        );
        assert!(text.contains("| direct | 1000 | 1.00 | 2.00 | - | - | - | - |"), "{text}");
        assert!(!text.contains("## post"));
    }
}
