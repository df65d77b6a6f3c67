//! What many streams saw and cost, as tables.

use std::fmt::Write as _;

use super::{BESIDE, Beside, Delays, Plan, Run, prompts};

/// The tables, one line for each way in each round.
pub fn tables(plan: &Plan, runs: &[Run]) -> String {
    let mut out = format!("## {} streams at {} events a second\n\n", plan.streams, plan.rate);
    out.push_str(
        "| via | round | whole | broken | events | lost | disordered | p50 ms | p99 ms | max ms | added p50 ms | added p99 ms | \
         us/event | cores: proxy, mock, client | stolen | rest PSS MiB | a stream KiB (PSS, RSS) | left | left p50 ms | left last ms | closed within ms | own p50 ms | own last ms |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for run in runs {
        out.push_str(&line(plan, run, direct(runs, run)));
    }
    let mib = prompts::SIZE as f64 / f64::from(1 << 20);
    let _ = writeln!(
        out,
        "\n## {BESIDE} streams beside prompts of {mib} MiB\n\n\
         | via | round | prompts | answered | p50 ms | p99 ms | max ms | added p99 ms | added max ms | memory grown MiB | errors |\n\
         |---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for run in runs {
        for beside in &run.beside {
            out.push_str(&beside_line(run, beside));
        }
    }
    out.push('\n');
    out
}

/// The run without a gateway in the same round; none for itself.
fn direct<'a>(runs: &'a [Run], run: &Run) -> Option<&'a Run> {
    runs.iter().find(|other| other.via == "direct" && run.via != "direct" && other.round == run.round)
}

fn line(plan: &Plan, run: &Run, direct: Option<&Run>) -> String {
    let (steady, left) = (&run.steady, &run.left);
    let added = direct.map(|direct| steady.delays.added_to(&direct.steady.delays));
    let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let events = f64::from(plan.rate) * plan.streams as f64;
    let [gateway, mock, client] = steady.cores;
    let of_gateway = |text: String| if direct.is_some() { text } else { "-".to_owned() };
    let grown = |at: usize| {
        let [rest, busy] = [&steady.rest_kib, &steady.busy_kib].map(|kib| kib.get(at).copied().unwrap_or(0));
        busy.saturating_sub(rest) as f64 / plan.streams as f64
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {gateway:.2}, {mock:.2}, {client:.2} | {:.3} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        run.via,
        run.round + 1,
        steady.whole,
        steady.failed,
        steady.events,
        steady.lost,
        steady.disordered,
        ms(steady.delays.p50),
        ms(steady.delays.p99),
        ms(steady.delays.max),
        show(added.map(|(p50, _)| p50)),
        show(added.map(|(_, p99)| p99)),
        of_gateway(format!("{:.1}", gateway * 1e6 / events)),
        steady.stolen,
        of_gateway(format!("{:.1}", steady.rest_kib.first().copied().unwrap_or(0) as f64 / 1024.0)),
        of_gateway(format!("{:.1}, {:.1}", grown(0), grown(1))),
        left.after.count,
        ms(left.after.p50),
        ms(left.after.max),
        ms(u32::try_from(left.closing_us).unwrap_or(u32::MAX)),
        ms(left.own.p50),
        ms(left.own.max),
    )
}

/// What prompts add is over the same streams on the same way without them.
fn beside_line(run: &Run, beside: &Beside) -> String {
    let quiet = run.beside.first().map_or_else(Delays::default, |quiet| quiet.delays);
    let added = |own: u32, base: u32| match beside.pressure.senders {
        0 => "-".to_owned(),
        _ => format!("{:.2}", (f64::from(own) - f64::from(base)) / 1e3),
    };
    let grown = match run.via {
        "direct" => "-".to_owned(),
        _ => format!("{:.1}", beside.grown_kib as f64 / 1024.0),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {grown} | {} |\n",
        run.via,
        run.round + 1,
        beside.pressure.name,
        beside.prompts,
        ms(beside.delays.p50),
        ms(beside.delays.p99),
        ms(beside.delays.max),
        added(beside.delays.p99, quiet.p99),
        added(beside.delays.max, quiet.max),
        beside.errors,
    )
}

fn ms(micros: u32) -> String {
    format!("{:.2}", f64::from(micros) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::super::{Left, Steady};
    use super::*;
    use crate::pin::Pin;
    use crate::streams::prompts::Pressure;

    fn run(via: &'static str, p99: u32) -> Run {
        let delays = Delays { count: 9, p50: 400, p99, max: 9000 };
        let steady = Steady {
            delays,
            cores: [0.4, 0.2, 0.1],
            stolen: 0.015,
            rest_kib: [1024, 2048],
            busy_kib: [5024, 8048],
            ..Steady::default()
        };
        let left = Left {
            after: Delays { count: 9, p50: 10_000, p99: 20_000, max: 25_000 },
            own: Delays { count: 9, p50: 9_000, p99: 17_000, max: 19_000 },
            closing_us: 7000,
        };
        let beside = |pressure: Pressure, max| Beside {
            pressure,
            prompts: 3,
            delays: Delays { max, ..delays },
            grown_kib: 10_240,
            errors: 0,
        };
        let beside = vec![beside(Pressure::ALL[0], 2000), beside(Pressure::ALL[1], 4500)];
        Run { via, round: 0, steady, left, beside }
    }

    #[test]
    fn what_the_gateway_adds_is_over_the_direct_way_and_what_prompts_add_over_the_quiet_one() {
        let path = std::path::PathBuf::new;
        let (rounds, seconds, streams, rate, pin) = (1, 9, 2000, 20, Pin::default());
        let (gateway, tools, peers, only) = (path(), path(), path(), Vec::new());
        let plan = Plan { gateway, tools, peers, only, rounds, seconds, streams, rate, pin };
        let text = tables(&plan, &[run("direct", 1000), run("sluicegate", 1600)]);
        let own = "| sluicegate | 1 | 0 | 0 | 0 | 0 | 0 | 0.40 | 1.60 | 9.00 | 0.00 | 0.60 | 10.0 | 0.40, 0.20, 0.10 | 0.015 | 1.0 | 2.0, 3.0 | 9 | 10.00 | 25.00 | 7.00 | 9.00 | 19.00 |";
        assert!(text.contains(own), "{text}");
        let prompts = "| sluicegate | 1 | one, then 200 ms of rest | 3 | 0.40 | 1.60 | 4.50 | 0.00 | 2.50 | 10.0 | 0 |";
        assert!(text.contains(prompts), "{text}");
        assert!(text.contains("| direct | 1 | none | 3 | 0.40 | 1.00 | 2.00 | - | - | - | 0 |"), "{text}");
    }
}
