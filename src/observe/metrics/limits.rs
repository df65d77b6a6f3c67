//! Limits: how often each was asked on a route and what it said, and what it remembers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::counters::Counters;
use super::family::Families;
use super::lock;
use crate::config::limit::MICROS;

/// What a limit said of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitOutcome {
    /// It had no objection.
    Passed,
    /// Its rate was used up: the request was refused.
    Rate,
    /// Too many were in flight: the request was refused.
    Concurrency,
    /// Its tokens were used up or set aside: the request was refused.
    Tokens,
    /// Its money was used up or set aside: the request was refused.
    Cost,
    /// Its rate was used up, but it only counts.
    ShadowRate,
    /// Too many were in flight, but it only counts.
    ShadowConcurrency,
    /// Its tokens were used up or set aside, but it only counts.
    ShadowTokens,
    /// Its money was used up or set aside, but it only counts.
    ShadowCost,
}

impl LimitOutcome {
    const ALL: [Self; 9] = [
        Self::Passed,
        Self::Rate,
        Self::Concurrency,
        Self::Tokens,
        Self::Cost,
        Self::ShadowRate,
        Self::ShadowConcurrency,
        Self::ShadowTokens,
        Self::ShadowCost,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
            Self::ShadowRate => "shadow_rate",
            Self::ShadowConcurrency => "shadow_concurrency",
            Self::ShadowTokens => "shadow_tokens",
            Self::ShadowCost => "shadow_cost",
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
        let [_, rate, concurrency, tokens, cost, ..] = counts;
        let rejected = rate + concurrency + tokens + cost;
        let help = "Requests that a limit refused.";
        out.counter("jairouter_ratelimit_rejected_total", help, &labels, rejected);
        // The name that its code has (F17).
        let asked: u64 = counts.iter().sum();
        let help = "Requests that limits were asked about, by what they said.";
        for (result, count) in [("allowed", asked - rejected), ("rejected", rejected)] {
            let labels = [("service", &*self.route), ("algorithm", "token-bucket"), ("result", result)];
            out.counter("jairouter_rate_limit_events_total", help, &labels, count);
        }
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
    /// What becomes of its tokens.
    pub tokens: BudgetGauges,
    /// What becomes of its money, in millionths of a dollar.
    pub cost: BudgetGauges,
}

/// What becomes of the units of a budget. At rest, `pending` and `open` are 0, and what was reserved was released or is
/// within what was settled.
#[derive(Debug, Default)]
pub struct BudgetGauges {
    /// Whether the limit has such a budget, or had one.
    pub is_counted: AtomicBool,
    /// Units that were set aside so far.
    pub reserved: AtomicU64,
    /// Units that were used so far.
    pub settled: AtomicU64,
    /// Units that were set aside and given back so far.
    pub released: AtomicU64,
    /// Units that are set aside now.
    pub pending: AtomicU64,
    /// Reservations that are open now.
    pub open: AtomicU64,
}

impl BudgetGauges {
    /// `unit` is what a number of 1 is, and `divisor` how many of the counted units that takes.
    fn collect(&self, limit: &str, unit: &str, divisor: f64, out: &mut Families) {
        if !self.is_counted.load(Ordering::Relaxed) {
            return;
        }
        let labels = [("limit", limit), ("unit", unit)];
        let now = |value: &AtomicU64| value.load(Ordering::Relaxed) as f64 / divisor;
        let help = "Tokens or dollars that were set aside for requests.";
        out.amount("sluicegate_limit_reserved_total", help, &labels, now(&self.reserved));
        let help = "Tokens or dollars that requests used.";
        out.amount("sluicegate_limit_settled_total", help, &labels, now(&self.settled));
        let help = "Tokens or dollars that were set aside and not used.";
        out.amount("sluicegate_limit_released_total", help, &labels, now(&self.released));
        let help = "Tokens or dollars that are set aside for requests under way.";
        out.gauge("sluicegate_limit_pending", help, &labels, now(&self.pending));
        let open = self.open.load(Ordering::Relaxed) as f64;
        let help = "Reservations that are not settled yet.";
        out.gauge("sluicegate_limit_reservations", help, &labels, open);
    }
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
        self.tokens.collect(limit, "tokens", 1.0, out);
        self.cost.collect(limit, "usd", MICROS as f64, out);
    }
}

/// How an account of a budget stands when metrics are read.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountSample {
    /// The limit.
    pub limit: Arc<str>,
    /// Whose it is; empty where all count together.
    pub key: String,
    /// `tokens` or `usd`.
    pub unit: &'static str,
    /// The whole budget, in that unit.
    pub budget: f64,
    /// What was used and has not come back, or is set aside.
    pub used: f64,
}

impl AccountSample {
    pub(super) fn collect(&self, out: &mut Families) {
        let labels = [("limit", &*self.limit), ("unit", self.unit), ("key", &self.key)];
        out.gauge("sluicegate_limit_budget", "The whole budget of an account.", &labels, self.budget);
        let help = "What of a budget is used and has not come back, or is set aside.";
        out.gauge("sluicegate_limit_used", help, &labels, self.used);
    }
}

/// How the keeping of budgets over restarts goes.
#[derive(Debug, Default)]
pub struct LedgerGauges {
    saved: AtomicU64,
    failed: AtomicU64,
    trouble: Mutex<Option<String>>,
    refused: Mutex<Option<String>>,
}

impl LedgerGauges {
    /// Counts a state that was written, or could not be.
    pub fn saved(&self, ok: bool) {
        let counter = if ok { &self.saved } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes why budgets are not kept; `None`: they are.
    pub fn trouble(&self, why: Option<String>) {
        *lock(&self.trouble) = why;
    }

    /// Notes what was not taken over at the start. It holds until the process ends.
    pub fn refused(&self, what: String) {
        lock(&self.refused).get_or_insert(what);
    }

    /// What is not as it should be, for people.
    pub fn troubles(&self) -> Vec<String> {
        [&self.trouble, &self.refused].into_iter().filter_map(|trouble| lock(trouble).clone()).collect()
    }

    /// Nothing where nothing is kept.
    pub(super) fn collect(&self, out: &mut Families) {
        let counts =
            [("ok", &self.saved), ("failed", &self.failed)].map(|(result, n)| (result, n.load(Ordering::Relaxed)));
        if counts.iter().any(|(_, count)| *count > 0) {
            let help = "States of limits that were written for the next start, by result.";
            counts.iter().for_each(|(result, count)| {
                out.counter("sluicegate_limit_state_saves_total", help, &[("result", result)], *count);
            });
        }
    }
}

/// Models without a price, where money is limited.
#[derive(Debug, Default)]
pub struct Unpriced {
    blocked: AtomicU64,
    free: AtomicU64,
    by_default: AtomicU64,
}

impl Unpriced {
    /// Counts one that was refused.
    pub fn blocked(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that counted as free.
    pub fn free(&self) {
        self.free.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that cost the default.
    pub fn by_default(&self) {
        self.by_default.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        let help = "Tries at models without a price where money is limited, by what became of them.";
        for (outcome, count) in [("blocked", &self.blocked), ("free", &self.free), ("default", &self.by_default)] {
            let labels = [("outcome", outcome)];
            out.counter("sluicegate_ai_unpriced_total", help, &labels, count.load(Ordering::Relaxed));
        }
    }
}
