//! Connections from clients, per listener.

use std::sync::Arc;

use super::counters::Counters;
use super::family::Families;

const ACCEPTED: usize = 0;
const CLOSED: usize = 1;
const HANDSHAKE_FAILURES: usize = 2;
const REJECTIONS: usize = 3;

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionRejection {
    /// Too many connections in all.
    Limit,
    /// Too many connections of one client.
    ClientLimit,
    /// The client's address is not let in.
    Address,
    /// No valid PROXY protocol header where one is expected.
    ProxyProtocol,
    /// The process is ending.
    Drain,
}

impl ConnectionRejection {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 5] = [Self::Limit, Self::ClientLimit, Self::Address, Self::ProxyProtocol, Self::Drain];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::ClientLimit => "client_limit",
            Self::Address => "address",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Drain => "drain",
        }
    }
}

/// The connections of one listener.
pub struct ListenerMetrics {
    address: Arc<str>,
    counters: Counters<{ REJECTIONS + ConnectionRejection::ALL.len() }>,
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

    /// Counts a connection that was refused. It is not counted as accepted.
    pub fn rejected(&self, reason: ConnectionRejection) {
        self.counters.add(REJECTIONS + reason as usize, 1);
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
        for reason in ConnectionRejection::ALL {
            let labels = [("listener", &*self.address), ("reason", reason.as_str())];
            let rejected = self.counters.sum(REJECTIONS + reason as usize);
            out.counter("sluicegate_connections_rejected_total", "Client connections refused.", &labels, rejected);
        }
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
