//! Security events, and what became of alarms.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family::Families;
use crate::config::audit::EventKind;

/// Counters of the process. Relaxed throughout: they are only read to be shown.
#[derive(Default)]
pub(super) struct SecurityMetrics {
    events: [AtomicU64; EventKind::ALL.len()],
    posted: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl SecurityMetrics {
    pub(super) fn event(&self, kind: EventKind) {
        if let Some(counter) = self.events.get(kind as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn posted(&self, ok: bool) {
        let counter = if ok { &self.posted } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for (kind, counter) in EventKind::ALL.into_iter().zip(&self.events) {
            let help = "Security events by kind, written to the audit log or not.";
            let labels = [("event", kind.as_str())];
            out.counter("jairouter_security_events_total", help, &labels, counter.load(Ordering::Relaxed));
        }
        for (result, counter) in [("posted", &self.posted), ("failed", &self.failed), ("dropped", &self.dropped)] {
            let help = "Alarms for the webhook by what became of them.";
            let labels = [("result", result)];
            out.counter("sluicegate_webhook_messages_total", help, &labels, counter.load(Ordering::Relaxed));
        }
    }
}
