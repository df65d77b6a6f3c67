//! What `ctl` prints for people.

use std::fmt::Write;

use crate::admin::providers::ProviderStatus;
use crate::admin::stats::span;
use crate::admin::status::{Changed, MemberStatus, ReloadDone, Status, UpgradeDone};

const HEAD: [&str; 10] =
    ["POOL", "MEMBER", "STATE", "HEALTH", "WEIGHT", "IN FLIGHT", "REQUESTS", "FAILURES", "EJECTIONS", "LAST CHECK"];
/// Columns of numbers are aligned to the right.
const NUMBERS: std::ops::Range<usize> = 4..9;

/// The whole state, a member on a line.
pub(super) fn show(status: &Status) -> String {
    let mut text = format!(
        "sluicegate {} on {}, up {}, generation {}, {} of {} connections{}",
        status.version,
        status.instance_id,
        span(status.uptime_seconds),
        status.generation,
        status.connections,
        status.max_connections,
        if status.draining { ", draining" } else { "" },
    );
    if let Some(reason) = &status.last_reload_refusal {
        text.push_str("\nlast reload refused:");
        let lines = reason.lines().filter(|line| !line.is_empty());
        lines.for_each(|line| text.extend(["\n  ", line]));
    }
    if let Some(reason) = &status.last_upgrade_failure {
        text.push_str("\nlast upgrade refused:");
        let lines = reason.lines().filter(|line| !line.is_empty());
        lines.for_each(|line| text.extend(["\n  ", line]));
    }
    if !status.restart_needed.is_empty() {
        text.extend(["\nwaiting for a restart: ", &status.restart_needed.join(", ")]);
    }
    for jwks in &status.jwks {
        text.extend(["\n", &jwks.text()]);
    }
    for trouble in &status.limit_state {
        text.extend(["\nused tokens and money are not kept as they should be: ", trouble]);
    }
    for trouble in status.providers.iter().flat_map(ProviderStatus::troubles) {
        text.extend(["\n", &trouble]);
    }
    for pool in status.pools.iter().filter(|pool| !pool.usable) {
        text.extend(["\npool ", &pool.name, " has no usable member"]);
    }
    let members = status.pools.iter().flat_map(|pool| pool.members.iter().map(move |member| row(&pool.name, member)));
    let rows: Vec<[String; HEAD.len()]> = std::iter::once(HEAD.map(str::to_owned)).chain(members).collect();
    text.push('\n');
    text.push_str(&aligned(&rows));
    text
}

/// What a reload did.
pub(super) fn reloaded(done: &ReloadDone) -> String {
    let mut text = format!("reloaded: generation {}", done.generation);
    for warning in &done.warnings {
        text.extend(["\n", warning]);
    }
    if !done.restart_needed.is_empty() {
        text.extend(["\nonly a restart changes: ", &done.restart_needed.join(", ")]);
    }
    text
}

/// What an upgrade did.
pub(super) fn upgraded(done: &UpgradeDone) -> String {
    match (done.pid, &done.version) {
        (Some(pid), Some(version)) => format!("process {pid} serves, version {version}; the one before drains"),
        _ => "begun; `ctl status` and the log tell what comes of it".to_owned(),
    }
}

/// What a member is now.
pub(super) fn changed(changed: &Changed) -> String {
    let line = |member: &MemberStatus| {
        let (name, pool, state) = (&member.name, &changed.pool, member.state_text());
        format!("{name} in {pool}: {state}, {}, {} in flight", member.health_text(), member.in_flight_text())
    };
    changed.members.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(pool: &str, member: &MemberStatus) -> [String; HEAD.len()] {
    [
        pool.to_owned(),
        member.name.clone(),
        member.state_text().to_owned(),
        member.health_text(),
        member.weight.to_string(),
        member.in_flight_text(),
        member.requests.to_string(),
        member.failures.to_string(),
        member.ejections.to_string(),
        member.check_text(),
    ]
}

/// Columns as wide as their widest cell, two spaces apart; no spaces at the end of a line.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = rows.iter().map(|row| {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Writing to a String cannot fail.
            let _ = if NUMBERS.contains(&column) {
                write!(line, "{gap}{cell:>width$}")
            } else {
                write!(line, "{gap}{cell:<width$}")
            };
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::{Check, PoolStatus};

    fn member(name: &str) -> MemberStatus {
        MemberStatus {
            name: name.to_owned(),
            state: "ready".to_owned(),
            health: "up".to_owned(),
            weight: 1,
            ..MemberStatus::default()
        }
    }

    fn status(members: Vec<MemberStatus>) -> Status {
        Status {
            pid: 4711,
            last_upgrade_failure: None,
            version: "1.2.3".to_owned(),
            instance_id: "gate-7".to_owned(),
            generation: 4,
            uptime_seconds: 3 * 3600 + 62,
            draining: false,
            connections: 12,
            last_reload_refusal: None,
            restart_needed: Vec::new(),
            max_connections: 4096,
            jwks: Vec::new(),
            limit_state: Vec::new(),
            providers: Vec::new(),
            pools: vec![PoolStatus {
                name: "app".to_owned(),
                balance: "round_robin".to_owned(),
                usable: true,
                panicking: false,
                members,
            }],
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let check = Check { seconds_ago: 2.2, duration_ms: 3.1, error: None };
        let busy = MemberStatus { in_flight: 7, requests: 12345, last_check: Some(check), ..member("10.0.0.1:8080") };
        let out = MemberStatus { state: "drain".to_owned(), drained: true, ..member("10.0.0.22:8080") };
        assert_eq!(
            show(&status(vec![busy, out])),
            "sluicegate 1.2.3 on gate-7, up 3h 1m, generation 4, 12 of 4096 connections\n\
             POOL  MEMBER          STATE    HEALTH  WEIGHT  IN FLIGHT  REQUESTS  FAILURES  EJECTIONS  LAST CHECK\n\
             app   10.0.0.1:8080   ready    up           1          7     12345         0          0  2s ago, 3 ms\n\
             app   10.0.0.22:8080  drained  up           1          0         0         0          0  -",
        );
    }

    #[test]
    fn tokens_stand_beside_the_requests_that_they_belong_to() {
        let counting = MemberStatus { in_flight: 7, outstanding_tokens: Some(12000), ..member("10.0.0.1:8080") };
        let text = show(&status(vec![counting, MemberStatus { in_flight: 3, ..member("10.0.0.2:8080") }]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("  7 (12000 tokens)  "), "{text}");
        assert!(lines[3].contains("                 3  "), "{text}");
    }

    #[test]
    fn what_is_wrong_stands_before_the_table() {
        let mut status = status(vec![MemberStatus { ejected_seconds: Some(12.3), ..member("a:1") }]);
        status.draining = true;
        status.last_reload_refusal = Some("a.yaml:1:1: no\n  | x".to_owned());
        status.providers.push(ProviderStatus {
            name: "openai".to_owned(),
            pool: String::new(),
            kind: "openai".to_owned(),
            enabled: false,
            off: Some("there is no key".to_owned()),
            keys: Vec::new(),
            breakers: Vec::new(),
        });
        status.pools[0].usable = false;
        let text = show(&status);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with(", draining"), "{text}");
        let off = "provider openai is off: there is no key";
        assert_eq!(
            lines[1..6],
            ["last reload refused:", "  a.yaml:1:1: no", "    | x", off, "pool app has no usable member"]
        );
        assert!(text.contains("ejected 12s"), "{text}");
    }

    #[test]
    fn a_reload_says_what_only_a_restart_changes() {
        let done = ReloadDone {
            generation: 3,
            restart_needed: vec!["listen".to_owned(), "server.threads".to_owned()],
            warnings: vec!["f.yaml:1:2: warning: w".to_owned()],
        };
        assert_eq!(
            reloaded(&done),
            "reloaded: generation 3\nf.yaml:1:2: warning: w\nonly a restart changes: listen, server.threads",
        );
    }
}
