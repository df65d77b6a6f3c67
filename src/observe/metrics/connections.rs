//! Connections from clients, per listener.

use std::sync::Arc;

use super::counters::Counters;
use super::family::Families;

const ACCEPTED: usize = 0;
const CLOSED: usize = 1;
const HANDSHAKE_FAILURES: usize = 2;
const WAITED: usize = 3;

/// The connections of one listener.
pub struct ListenerMetrics {
    address: Arc<str>,
    counters: Counters<{ WAITED + 1 }>,
}

impl ListenerMetrics {
    pub(super) fn new(address: Arc<str>) -> Self {
        Self { address, counters: Counters::new() }
    }

    /// Counts a connection as accepted, and as open until the guard is dropped.
    pub fn accepted(self: &Arc<Self>) -> Connection {
        self.counters.add(ACCEPTED, 1);
        Connection { listener: self.clone() }
    }

    /// Counts a connection that had to wait for a place, because all were taken.
    pub fn waited(&self) {
        self.counters.add(WAITED, 1);
    }

    /// Counts a TLS handshake that failed.
    pub fn handshake_failed(&self) {
        self.counters.add(HANDSHAKE_FAILURES, 1);
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.counters.open(ACCEPTED, CLOSED)
    }

    pub(super) fn collect(&self, out: &mut Families) {
        let labels = [("listener", &*self.address)];
        out.gauge("sluicegate_connections", "Client connections open.", &labels, self.open() as f64);
        let accepted = self.counters.sum(ACCEPTED);
        out.counter("sluicegate_connections_accepted_total", "Client connections accepted.", &labels, accepted);
        let failures = self.counters.sum(HANDSHAKE_FAILURES);
        out.counter(
            "sluicegate_tls_handshake_failures_total",
            "TLS handshakes with clients that failed.",
            &labels,
            failures,
        );
        let waited = self.counters.sum(WAITED);
        let help = "Client connections that waited for a place, because max_connections were open.";
        out.counter("sluicegate_connections_waited_total", help, &labels, waited);
    }
}

/// An open client connection.
#[must_use = "the connection counts as open until this is dropped"]
pub struct Connection {
    listener: Arc<ListenerMetrics>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.listener.counters.add(CLOSED, 1);
    }
}
