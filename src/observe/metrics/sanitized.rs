//! What masking found, and what it had to let pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::family::Families;
use super::{Named, get_or_make, lock};

/// Which way a body went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To a member.
    Request,
    /// To a client.
    Response,
}

impl Direction {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// Why a body, or the rest of one, passed as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsanitized {
    /// It was larger than is masked.
    TooLarge,
    /// It was compressed, or a part of a whole.
    Unreadable,
}

/// The numbers of one set of rules.
pub struct SanitizeMetrics {
    set: Arc<str>,
    rules: Named<Found>,
    too_large: [AtomicU64; 2],
    unreadable: [AtomicU64; 2],
}

/// What one rule found. Few requests count here, and none more than once: no shards.
pub struct Found {
    rule: Arc<str>,
    found: [AtomicU64; 2],
}

const DIRECTIONS: [(&str, Direction); 2] = [("request", Direction::Request), ("response", Direction::Response)];

impl SanitizeMetrics {
    pub(super) fn new(set: Arc<str>) -> Self {
        Self { set, rules: Named::default(), too_large: Default::default(), unreadable: Default::default() }
    }

    /// The numbers of one of its rules, made at the first call. Taken when a snapshot is built.
    pub fn rule(&self, name: &str) -> Arc<Found> {
        get_or_make(&self.rules, name, |rule| Found { rule, found: Default::default() })
    }

    /// Records a body that was not masked, or not to its end.
    pub fn passed(&self, why: Unsanitized, direction: Direction) {
        let counters = match why {
            Unsanitized::TooLarge => &self.too_large,
            Unsanitized::Unreadable => &self.unreadable,
        };
        of(counters, direction).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for (name, direction) in DIRECTIONS {
            for rule in lock(&self.rules).values() {
                let labels = [("set", &*self.set), ("rule", &*rule.rule), ("direction", name)];
                let found = of(&rule.found, direction).load(Ordering::Relaxed);
                out.counter("sluicegate_sanitized_total", "What rules found in bodies, and masked.", &labels, found);
            }
            for (reason, counters) in [("too_large", &self.too_large), ("unreadable", &self.unreadable)] {
                let labels = [("set", &*self.set), ("reason", reason), ("direction", name)];
                let help = "Bodies that passed without being masked, or not to their end.";
                let passed = of(counters, direction).load(Ordering::Relaxed);
                out.counter("sluicegate_unsanitized_total", help, &labels, passed);
            }
        }
    }
}

impl Found {
    /// Records what was found in one body.
    pub fn add(&self, direction: Direction, count: u64) {
        of(&self.found, direction).fetch_add(count, Ordering::Relaxed);
    }
}

fn of(counters: &[AtomicU64; 2], direction: Direction) -> &AtomicU64 {
    let [request, response] = counters;
    match direction {
        Direction::Request => request,
        Direction::Response => response,
    }
}
