//! Metrics from live state: what pools and members bring to a scrape.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::answer::Answer;
use super::status::unresolved;
use crate::balance::sample::MemberSample as Member;
use crate::balance::{self, Failure};
use crate::clock;
use crate::config::{self, Balance};
use crate::observe::metrics::{MemberSample, Metrics, PoolSample, TimeSample};
use crate::snapshot::Snapshot;

/// The text format, and the charset of names.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A scrape (A4.01).
pub(super) fn answer(metrics: &Metrics, snapshot: &Snapshot) -> Answer {
    let pools: Vec<PoolSample> = snapshot.pools.iter().map(|pool| sample(pool)).collect();
    Answer::new(StatusCode::OK, CONTENT_TYPE, metrics.render(&pools, &super::limits::samples(snapshot)))
}

/// The name of a policy, as in the configuration.
pub(super) fn strategy(balance: &Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round_robin",
        Balance::Random => "random",
        Balance::LeastRequests => "least_requests",
        Balance::LeastTokens => "least_tokens",
        Balance::PeakEwma => "peak_ewma",
        Balance::IpHash => "ip_hash",
        Balance::HeaderHash(_) => "header_hash",
        Balance::ConsistentHash { .. } => "consistent_hash",
    }
}

fn sample(pool: &balance::Pool) -> PoolSample {
    let (sample, config) = (pool.sample(), pool.config());
    let resolved = sample.members.iter().map(member);
    PoolSample {
        pool: Arc::clone(&sample.name),
        strategy: strategy(&config.balance),
        panic: sample.panicking,
        members: resolved.chain(unresolved(config, &sample).map(without_address)).collect(),
    }
}

fn member(member: &Member) -> MemberSample {
    let connect = member.failures.get(Failure::Connect.kind()).copied().unwrap_or_default();
    MemberSample {
        name: Arc::clone(&member.configured),
        up: member.usable,
        state: state(member),
        weight: member.weight,
        in_flight: u64::from(member.in_flight),
        outstanding_tokens: member.outstanding_tokens,
        requests: member.requests,
        successes: member.successes,
        failures: member.failed(),
        connect_failures: connect,
        ejections: u64::from(member.ejections),
        ejected: member.ejected_for.is_some(),
        checks_ok: member.checks_ok,
        checks_failed: member.checks_failed,
        health_changes: member.health_changes,
        last_check_seconds: member.last_check.as_ref().map(|check| {
            let ago = clock::now().saturating_duration_since(check.at);
            clock::wall_millis() as f64 / 1000.0 - ago.as_secs_f64()
        }),
        check_time: time(member.checks_ok + member.checks_failed, member.check_time),
        call_time: time(member.successes, member.answer_time),
    }
}

fn time(count: u64, sum: Duration) -> TimeSample {
    TimeSample { count, seconds: sum.as_secs_f64() }
}

fn without_address(member: &config::Member) -> MemberSample {
    MemberSample {
        name: Arc::clone(&member.name),
        state: "unresolved",
        weight: member.weight,
        ..MemberSample::default()
    }
}

/// The state in one word: the operator's wish before the checks, these before what requests saw.
fn state(member: &Member) -> &'static str {
    match (member.admin, member.health) {
        ("drain", _) => "draining",
        ("maint", _) => "maint",
        (_, word @ ("down" | "checking")) => word,
        _ if member.ejected_for.is_some() => "ejected",
        _ => "up",
    }
}
