//! Security events, and what became of alarms.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::Counters;
use super::family::Families;
use crate::config::audit::EventKind;

/// Counters of the process. Relaxed throughout: they are only read to be shown.
pub(super) struct SecurityMetrics {
    /// Every request of a caller is one.
    events: Counters<{ EventKind::ALL.len() }>,
    posted: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl SecurityMetrics {
    pub(super) fn new() -> Self {
        let (posted, failed, dropped) = Default::default();
        Self { events: Counters::new(), posted, failed, dropped }
    }

    pub(super) fn event(&self, kind: EventKind) {
        self.events.add(kind as usize, 1);
    }

    pub(super) fn posted(&self, ok: bool) {
        let counter = if ok { &self.posted } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for kind in EventKind::ALL {
            let help = "Security events by kind, written to the audit log or not.";
            let labels = [("event", kind.as_str())];
            out.counter("jairouter_security_events_total", help, &labels, self.events.sum(kind as usize));
        }
        for (result, counter) in [("posted", &self.posted), ("failed", &self.failed), ("dropped", &self.dropped)] {
            let help = "Alarms for the webhook by what became of them.";
            let labels = [("result", result)];
            out.counter("sluicegate_webhook_messages_total", help, &labels, counter.load(Ordering::Relaxed));
        }
    }
}
