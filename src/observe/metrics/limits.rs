//! Limits: how often each was asked on a route and what it said, and what it remembers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::Counters;
use super::family::Families;

/// What a limit said of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitOutcome {
    /// It had no objection.
    Passed,
    /// Its rate was used up: the request was refused.
    Rate,
    /// Too many were in flight: the request was refused.
    Concurrency,
    /// Its rate was used up, but it only counts.
    ShadowRate,
    /// Too many were in flight, but it only counts.
    ShadowConcurrency,
}

impl LimitOutcome {
    const ALL: [Self; 5] = [Self::Passed, Self::Rate, Self::Concurrency, Self::ShadowRate, Self::ShadowConcurrency];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::ShadowRate => "shadow_rate",
            Self::ShadowConcurrency => "shadow_concurrency",
        }
    }
}

/// One limit on one route.
pub struct LimitMetrics {
    limit: Arc<str>,
    route: Arc<str>,
    counters: Counters<{ LimitOutcome::ALL.len() }>,
}

impl LimitMetrics {
    pub(super) fn new(limit: Arc<str>, route: Arc<str>) -> Self {
        Self { limit, route, counters: Counters::new() }
    }

    /// Counts what the limit said of one request.
    pub fn record(&self, outcome: LimitOutcome) {
        self.counters.add(outcome as usize, 1);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        let counts = LimitOutcome::ALL.map(|outcome| self.counters.sum(outcome as usize));
        for (outcome, count) in LimitOutcome::ALL.iter().zip(counts) {
            let labels = [("limit", &*self.limit), ("route", &*self.route), ("outcome", outcome.as_str())];
            let help = "Requests that a limit was asked about, by what it said.";
            out.counter("sluicegate_limit_requests_total", help, &labels, count);
        }
        // The same under JAiRouter's names (A4.06). What a limit in shadow mode would have refused is no rejection.
        let labels = [("service", &*self.route), ("scope", &*self.limit)];
        let help = "Requests that a limit was asked about.";
        out.counter("jairouter_ratelimit_requests_total", help, &labels, counts.iter().sum());
        let [_, rate, concurrency, ..] = counts;
        let help = "Requests that a limit refused.";
        out.counter("jairouter_ratelimit_rejected_total", help, &labels, rate + concurrency);
    }
}

/// What a limit remembers, as it is now. The limit keeps it up to date.
#[derive(Debug, Default)]
pub struct LimitGauges {
    /// Keys that have an entry.
    pub entries: AtomicU64,
    /// Bytes of its tables.
    pub bytes: AtomicU64,
    /// Entries that went although they were not idle, since the limit was made.
    pub evictions: AtomicU64,
    /// Requests in flight that it counts.
    pub in_flight: AtomicU64,
}

impl LimitGauges {
    pub(super) fn collect(&self, limit: &str, out: &mut Families) {
        let labels = [("limit", limit)];
        let now = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let help = "Keys that the limit has an entry for.";
        out.gauge("sluicegate_limit_entries", help, &labels, now(&self.entries) as f64);
        out.gauge("sluicegate_limit_bytes", "Bytes of the limit's tables.", &labels, now(&self.bytes) as f64);
        let help = "Requests in flight that the limit counts.";
        out.gauge("sluicegate_limit_in_flight", help, &labels, now(&self.in_flight) as f64);
        let help = "Entries that were forgotten before they were idle, because there was no more room.";
        out.counter("sluicegate_limit_evictions_total", help, &labels, now(&self.evictions));
    }
}
