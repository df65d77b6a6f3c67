//! What `/control/status` says: the process, its pools and their members, as plain data.
//!
//! `ctl` reads the same types back. They take unknown fields, so that an older `ctl` understands a newer gateway.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Admin;
use super::providers::ProviderStatus;
use super::scrape::strategy;
use super::tokens::JwksStatus;
use crate::balance::Pool;
use crate::balance::sample::{MemberSample, PoolSample};
use crate::clock;
use crate::config;
use crate::snapshot::Snapshot;

/// Everything about the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of the binary.
    pub version: String,
    /// The id of the process.
    #[serde(default)]
    pub pid: u32,
    /// `server.instance_id`.
    pub instance_id: String,
    /// Which configuration is in force; counts up from 1.
    pub generation: u64,
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Client connections that are open.
    pub connections: usize,
    /// The most that may be open.
    #[serde(default)]
    pub max_connections: usize,
    /// Why the last reload was refused; `None`: it was not.
    pub last_reload_refusal: Option<String>,
    /// Why the last try to hand over to a new process failed; `None`: it did not.
    #[serde(default)]
    pub last_upgrade_failure: Option<String>,
    /// Keys that a reload changed, and that only a restart brings about.
    #[serde(default)]
    pub restart_needed: Vec<String>,
    /// Keys of issuers of tokens that are fetched.
    #[serde(default)]
    pub jwks: Vec<JwksStatus>,
    /// What is wrong with how budgets outlive the process; empty: nothing.
    #[serde(default)]
    pub limit_state: Vec<String>,
    /// The providers of models, in the order of their names.
    #[serde(default)]
    pub providers: Vec<ProviderStatus>,
    /// The pools, in the order of their names.
    pub pools: Vec<PoolStatus>,
}

/// A pool.
#[derive(Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The key under `pools`.
    pub name: String,
    /// The balancing policy, as in the configuration.
    pub balance: String,
    /// Whether any member could be picked.
    pub usable: bool,
    /// Whether so few members are usable that ejections are ignored.
    pub panicking: bool,
    /// The members, in the order of the configuration; those without an address last.
    pub members: Vec<MemberStatus>,
}

/// A member. Counters are since it was configured.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its full name.
    pub name: String,
    /// Its name in the configuration.
    pub configured: String,
    /// Where it is; empty for a host name that has no address.
    pub address: String,
    /// Its share beside the others.
    pub weight: u32,
    /// Only used when no other member is.
    pub backup: bool,
    /// What the operator wants: `ready`, `drain` or `maint`.
    pub state: String,
    /// `unchecked`, `checking`, `up`, `down`, or `unresolved` for a host name that has no address.
    pub health: String,
    /// For how many more seconds it is ejected.
    pub ejected_seconds: Option<f64>,
    /// Whether it takes requests by itself.
    pub usable: bool,
    /// Whether it is out by the operator's wish and nothing is in flight: safe to stop.
    pub drained: bool,
    /// Requests in flight.
    pub in_flight: u32,
    /// Their outstanding tokens; only in pools that count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outstanding_tokens: Option<u64>,
    /// Requests given to it, retries included.
    pub requests: u64,
    /// Requests it answered.
    pub successes: u64,
    /// Requests it failed.
    pub failures: u64,
    /// Times it was ejected.
    pub ejections: u32,
    /// Good active checks.
    pub checks_ok: u64,
    /// Failed active checks.
    pub checks_failed: u64,
    /// The last active check.
    pub last_check: Option<Check>,
}

/// An active check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Check {
    /// How long ago it ended, in seconds.
    pub seconds_ago: f64,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Why it failed; `None`: it was good.
    pub error: Option<String>,
}

/// What a change of a member answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Changed {
    /// The pool.
    pub pool: String,
    /// The members that have this name, as they are now.
    pub members: Vec<MemberStatus>,
}

/// What a purge answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Purged {
    /// The cache's name.
    pub cache: String,
    /// How many stored answers went.
    pub purged: u64,
}

/// What a reload answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReloadDone {
    /// The generation in force now.
    pub generation: u64,
    /// Keys whose change only a restart brings about.
    pub restart_needed: Vec<String>,
    /// What is worth a look.
    pub warnings: Vec<String>,
}

/// What an upgrade answers. Nothing is known of one that has only begun.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct UpgradeDone {
    /// The process that serves now.
    pub pid: Option<u32>,
    /// Its version.
    pub version: Option<String>,
}

impl Status {
    pub(super) fn of(admin: &Admin, snapshot: &Snapshot) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            instance_id: snapshot.config.server.instance_id.clone(),
            generation: snapshot.generation,
            uptime_seconds: admin.uptime().as_secs(),
            draining: admin.drain.is_draining(),
            connections: admin.drain.connections(),
            max_connections: snapshot.config.server.max_connections,
            last_reload_refusal: admin.reloader.last_refusal(),
            last_upgrade_failure: admin.handover.last_failure(),
            restart_needed: admin.reloader.restart_needed(),
            jwks: JwksStatus::all(admin, snapshot),
            limit_state: admin.reloader.shared().metrics.ledger().troubles(),
            providers: ProviderStatus::all(snapshot),
            pools: snapshot.pools.iter().map(|pool| PoolStatus::of(pool)).collect(),
        }
    }
}

impl Admin {
    pub(super) fn uptime(&self) -> Duration {
        clock::now().saturating_duration_since(self.started)
    }
}

impl PoolStatus {
    pub(super) fn of(pool: &Pool) -> Self {
        let sample = pool.sample();
        Self {
            name: sample.name.to_string(),
            balance: strategy(&pool.config().balance).to_owned(),
            usable: sample.usable,
            panicking: sample.panicking,
            members: members(pool.config(), &sample),
        }
    }
}

/// The members, and those of which only the name is known.
fn members(config: &config::Pool, sample: &PoolSample) -> Vec<MemberStatus> {
    let resolved = sample.members.iter().map(MemberStatus::of);
    resolved.chain(unresolved(config, sample).map(MemberStatus::unresolved)).collect()
}

/// Members that were configured by a host name that has no address.
pub(super) fn unresolved<'a>(
    config: &'a config::Pool,
    sample: &'a PoolSample,
) -> impl Iterator<Item = &'a config::Member> {
    let known = |name: &str| sample.members.iter().any(|member| &*member.configured == name);
    config.members.iter().filter(move |member| !known(&member.name))
}

impl MemberStatus {
    fn of(member: &MemberSample) -> Self {
        let check = member.last_check.as_ref().map(|check| Check {
            seconds_ago: clock::now().saturating_duration_since(check.at).as_secs_f64(),
            duration_ms: check.duration.as_secs_f64() * 1000.0,
            error: check.error.clone(),
        });
        Self {
            name: member.name.to_string(),
            configured: member.configured.to_string(),
            address: member.address.clone(),
            weight: member.weight,
            backup: member.backup,
            state: member.admin.to_owned(),
            health: member.health.to_owned(),
            ejected_seconds: member.ejected_for.map(|left| left.as_secs_f64()),
            usable: member.usable,
            drained: member.drained,
            in_flight: member.in_flight,
            outstanding_tokens: member.outstanding_tokens,
            requests: member.requests,
            successes: member.successes,
            failures: member.failed(),
            ejections: member.ejections,
            checks_ok: member.checks_ok,
            checks_failed: member.checks_failed,
            last_check: check,
        }
    }

    fn unresolved(member: &config::Member) -> Self {
        Self {
            name: member.name.to_string(),
            configured: member.name.to_string(),
            weight: member.weight,
            backup: member.backup,
            state: "ready".to_owned(),
            health: "unresolved".to_owned(),
            ..Self::default()
        }
    }

    /// The health for people: an ejection says more than the check.
    pub fn health_text(&self) -> String {
        match self.ejected_seconds {
            Some(left) => format!("ejected {left:.0}s"),
            None => self.health.clone(),
        }
    }

    /// What the operator wants, for people: `drained` once it is safe to stop.
    pub fn state_text(&self) -> &str {
        if self.drained && self.state == "drain" { "drained" } else { &self.state }
    }

    /// Requests in flight for people, with their tokens where these count, such as `7` or `7 (12000 tokens)`.
    pub fn in_flight_text(&self) -> String {
        match self.outstanding_tokens {
            Some(tokens) => format!("{} ({tokens} tokens)", self.in_flight),
            None => self.in_flight.to_string(),
        }
    }

    /// The last check for people, such as `2s ago, 3 ms` or `2s ago: connection refused`.
    pub fn check_text(&self) -> String {
        match &self.last_check {
            None => "-".to_owned(),
            Some(Check { seconds_ago, error: Some(error), .. }) => format!("{seconds_ago:.0}s ago: {error}"),
            Some(Check { seconds_ago, duration_ms, error: None }) => {
                format!("{seconds_ago:.0}s ago, {duration_ms:.0} ms")
            }
        }
    }
}
