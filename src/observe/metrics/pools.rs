//! Pools and their members.
//!
//! Retries and attempts are counted here; all else is kept by `balance` and brought to a scrape as plain values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::Counters;
use super::family::Families;
use crate::observe::RetryReason;

const BUDGET_EXHAUSTED: usize = 0;
const RETRIES: usize = 1;
const ATTEMPTS: usize = RETRIES + RetryReason::ALL.len();

/// How one attempt at a member ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// An answer came, whatever its status.
    Answered,
    /// No connection.
    ConnectFailure,
    /// The connection broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// The answer was not valid HTTP.
    Invalid,
    /// The client left first.
    Cancelled,
}

impl AttemptOutcome {
    const ALL: [Self; 6] =
        [Self::Answered, Self::ConnectFailure, Self::Reset, Self::Timeout, Self::Invalid, Self::Cancelled];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ConnectFailure => "connect_failure",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Attempts and retries of one pool.
pub struct PoolMetrics {
    name: Arc<str>,
    counters: Counters<{ ATTEMPTS + AttemptOutcome::ALL.len() }>,
}

impl PoolMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, counters: Counters::new() }
    }

    /// Counts an attempt at one of the pool's members.
    pub fn attempt(&self, outcome: AttemptOutcome) {
        self.counters.add(ATTEMPTS + outcome as usize, 1);
    }

    /// Counts another try.
    pub fn retry(&self, reason: RetryReason) {
        self.counters.add(RETRIES + reason as usize, 1);
    }

    /// Counts a retry that the budget did not allow.
    pub fn retry_budget_exhausted(&self) {
        self.counters.add(BUDGET_EXHAUSTED, 1);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for outcome in AttemptOutcome::ALL {
            let labels = [("pool", &*self.name), ("outcome", outcome.as_str())];
            let attempts = self.counters.sum(ATTEMPTS + outcome as usize);
            out.counter(
                "sluicegate_upstream_attempts_total",
                "Attempts at members by how they ended.",
                &labels,
                attempts,
            );
        }
        for reason in RetryReason::ALL {
            let labels = [("pool", &*self.name), ("reason", reason.as_str())];
            let retries = self.counters.sum(RETRIES + reason as usize);
            out.counter("sluicegate_retries_total", "Requests tried again.", &labels, retries);
        }
        let exhausted = self.counters.sum(BUDGET_EXHAUSTED);
        let help = "Retries that the retry budget did not allow.";
        out.counter("sluicegate_retry_budget_exhausted_total", help, &[("pool", &*self.name)], exhausted);
    }
}

/// A pool as it is at a scrape.
#[derive(Debug, Clone)]
pub struct PoolSample {
    /// Its name; unique among the samples.
    pub pool: Arc<str>,
    /// The balancing policy, as in the configuration: `round_robin`, ...
    pub strategy: &'static str,
    /// Whether so few members are usable that ejections are ignored.
    pub panic: bool,
    /// Its members. Those of the same name are shown as one.
    pub members: Vec<MemberSample>,
}

/// A member as it is at a scrape. Counts are since the start of the process.
#[derive(Debug, Clone, Default)]
pub struct MemberSample {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Whether it may be chosen now.
    pub up: bool,
    /// Its state in one word, such as `up`, `down`, `ejected`, `draining`, `unresolved`.
    pub state: &'static str,
    /// Its share beside the others, as configured.
    pub weight: u32,
    /// Requests in flight.
    pub in_flight: u64,
    /// Their outstanding tokens. `None`: nobody counts them.
    pub outstanding_tokens: Option<u64>,
    /// Times it was chosen.
    pub requests: u64,
    /// Of these, how many ended well. Not the rest of the others: those in flight are neither, and a counter that was
    /// computed from three others could go back.
    pub successes: u64,
    /// Of these, how many failed: no answer, or one that counts as a failure.
    pub failures: u64,
    /// Of the failures, how many had no connection.
    pub connect_failures: u64,
    /// Times it was ejected.
    pub ejections: u64,
    /// Whether it is ejected now.
    pub ejected: bool,
    /// Active checks that passed.
    pub checks_ok: u64,
    /// Active checks that failed.
    pub checks_failed: u64,
    /// Times that active checks changed its health.
    pub health_changes: u64,
    /// When the last active check ended, seconds since the epoch. `None`: there was none.
    pub last_check_seconds: Option<f64>,
    /// How long active checks took.
    pub check_time: TimeSample,
    /// How long calls that ended well took, to the first byte of the answer.
    pub call_time: TimeSample,
}

/// How often and how long in all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimeSample {
    /// How often.
    pub count: u64,
    /// Seconds in all.
    pub seconds: f64,
}

impl PoolSample {
    pub(super) fn collect(&self, out: &mut Families) {
        let members = distinct(&self.members);
        let up = members.iter().filter(|member| member.up).count();
        let labels = [("pool", &*self.pool)];
        out.gauge("sluicegate_pool_members", "Members of the pool.", &labels, members.len() as f64);
        out.gauge("sluicegate_pool_members_up", "Members that may be chosen now.", &labels, up as f64);
        let help = "1 while so few members are usable that ejections are ignored.";
        out.gauge("sluicegate_pool_panic", help, &labels, flag(self.panic));
        for member in &members {
            self.collect_state(out, member);
            self.collect_calls(out, member);
            self.collect_backend(out, member);
        }
    }

    fn collect_state(&self, out: &mut Families, member: &MemberSample) {
        let labels = [("pool", &*self.pool), ("upstream", &*member.name)];
        out.gauge("sluicegate_member_up", "1 when the member may be chosen.", &labels, flag(member.up));
        out.gauge("sluicegate_member_ejected", "1 while the member is ejected.", &labels, flag(member.ejected));
        out.gauge("sluicegate_member_weight", "The member's share.", &labels, f64::from(member.weight));
        if let Some(seconds) = member.last_check_seconds {
            let help = "When the last active check ended, seconds since the epoch.";
            out.gauge("sluicegate_member_last_check_timestamp_seconds", help, &labels, seconds);
        }
        let labels = [("pool", &*self.pool), ("upstream", &*member.name), ("state", member.state)];
        out.gauge("sluicegate_member_state", "1 for the state that the member is in.", &labels, 1.0);
        for (result, checks) in [("ok", member.checks_ok), ("failed", member.checks_failed)] {
            let labels = [("pool", &*self.pool), ("upstream", &*member.name), ("result", result)];
            out.counter("sluicegate_member_checks_total", "Active checks by result.", &labels, checks);
        }
        let labels = [("pool", &*self.pool), ("upstream", &*member.name)];
        let help = "Times that active checks took the member out or brought it in.";
        out.counter("sluicegate_member_health_changes_total", help, &labels, member.health_changes);
    }

    fn collect_calls(&self, out: &mut Families, member: &MemberSample) {
        let labels = [("pool", &*self.pool), ("upstream", &*member.name)];
        out.gauge("sluicegate_member_in_flight", "Requests in flight.", &labels, member.in_flight as f64);
        if let Some(tokens) = member.outstanding_tokens {
            let help = "Tokens that requests in flight may still cost.";
            out.gauge("sluicegate_member_outstanding_tokens", help, &labels, tokens as f64);
        }
        out.counter("sluicegate_member_requests_total", "Times the member was chosen.", &labels, member.requests);
        out.counter("sluicegate_member_failures_total", "Requests that failed.", &labels, member.failures);
        let help = "Requests for which no connection was made.";
        out.counter("sluicegate_member_connect_failures_total", help, &labels, member.connect_failures);
        out.counter("sluicegate_member_ejections_total", "Times the member was ejected.", &labels, member.ejections);
    }

    /// The same under JAiRouter's names (F17).
    fn collect_backend(&self, out: &mut Families, member: &MemberSample) {
        let labels = [("adapter", &*self.pool), ("instance", &*member.name)];
        out.gauge("jairouter_backend_health", "1 when the backend is usable.", &labels, flag(member.up));
        let (calls, checks) = (member.call_time, member.check_time);
        let help = "Time of successful calls, to the first byte of the answer.";
        out.summary("jairouter_backend_call_duration_seconds", help, &labels, calls.count, calls.seconds);
        let help = "Time of active checks.";
        out.summary("jairouter_health_check_duration_seconds", help, &labels, checks.count, checks.seconds);
        for (status, calls) in [("success", member.successes), ("failure", member.failures)] {
            let labels = [("adapter", &*self.pool), ("instance", &*member.name), ("status", status)];
            out.counter("jairouter_backend_calls_total", "Calls by result.", &labels, calls);
        }
        let labels = [("service", &*self.pool), ("strategy", self.strategy), ("instance", &*member.name)];
        let help = "Times the backend was chosen.";
        out.counter("jairouter_loadbalancer_selections_total", help, &labels, member.requests);
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

/// Members by name. A host name with several addresses is one series: two with the same labels would make the whole
/// scrape invalid.
fn distinct(members: &[MemberSample]) -> Vec<Cow<'_, MemberSample>> {
    let mut by_name: BTreeMap<&str, Cow<'_, MemberSample>> = BTreeMap::new();
    for member in members {
        by_name.entry(&member.name).and_modify(|known| known.to_mut().join(member)).or_insert(Cow::Borrowed(member));
    }
    by_name.into_values().collect()
}

impl MemberSample {
    fn join(&mut self, other: &Self) {
        if other.up && !self.up {
            self.state = other.state;
        }
        self.up |= other.up;
        self.ejected &= other.ejected;
        self.in_flight += other.in_flight;
        self.outstanding_tokens = match (self.outstanding_tokens, other.outstanding_tokens) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.requests += other.requests;
        self.successes += other.successes;
        self.failures += other.failures;
        self.connect_failures += other.connect_failures;
        self.ejections += other.ejections;
        self.checks_ok += other.checks_ok;
        self.checks_failed += other.checks_failed;
        self.health_changes += other.health_changes;
        self.last_check_seconds = match (self.last_check_seconds, other.last_check_seconds) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        for (time, more) in [(&mut self.check_time, other.check_time), (&mut self.call_time, other.call_time)] {
            time.count += more.count;
            time.seconds += more.seconds;
        }
    }
}
