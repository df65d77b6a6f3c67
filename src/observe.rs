//! What an operator sees: metrics, access log, process log, trace ids.
//!
//! Values in, bytes out: nothing here knows Pingora or a socket. What a request pays is an access-log line appended to
//! a buffer of its own thread and a handful of relaxed additions; threads of their own write files, and a scrape does
//! the sums.

pub mod access_log;
pub mod ai;
pub mod audit;
pub mod logging;
pub mod metrics;
pub mod trace;
pub mod writer;

mod escape;
mod shard;
mod timestamp;

/// The name under which this program appears in logs and metrics.
pub const SERVICE: &str = "sluicegate";

/// Who writes a line or exports a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// This instance's name: `instanceId` in logs, `instance_id` in metrics (T20).
    pub instance_id: String,
    /// The program's version.
    pub version: String,
}

/// How a request ended. The words are stable: they stand in the access log and in `sluicegate_terminations_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Termination {
    /// The whole answer was sent, whatever its status.
    Completed,
    /// The client went away before the end.
    ClientClosed,
    /// The client was too slow with its request, or in taking the answer.
    ClientTimeout,
    /// The request itself was not valid HTTP.
    ClientInvalid,
    /// No connection to a member could be made.
    UpstreamConnect,
    /// The member did not answer, or go on, in time.
    UpstreamTimeout,
    /// The member broke the connection.
    UpstreamReset,
    /// The member's answer was not valid HTTP.
    UpstreamInvalid,
    /// The pool had no usable member.
    NoMember,
    /// Refused by a rule: no route, address list, a bound, a limit.
    Rejected,
    /// A stream was cut because it ran over its budget.
    OverBudget,
    /// A fault of our own.
    Internal,
    /// Cut off because the process was ending.
    Drain,
}

impl Termination {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Completed,
        Self::ClientClosed,
        Self::ClientTimeout,
        Self::ClientInvalid,
        Self::UpstreamConnect,
        Self::UpstreamTimeout,
        Self::UpstreamReset,
        Self::UpstreamInvalid,
        Self::NoMember,
        Self::Rejected,
        Self::OverBudget,
        Self::Internal,
        Self::Drain,
    ];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientClosed => "client_closed",
            Self::ClientTimeout => "client_timeout",
            Self::ClientInvalid => "client_invalid",
            Self::UpstreamConnect => "upstream_connect",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::NoMember => "no_member",
            Self::Rejected => "rejected",
            Self::OverBudget => "over_budget",
            Self::Internal => "internal",
            Self::Drain => "drain",
        }
    }
}

/// How a request on a route with a cache was answered. The words are stable: they stand in `x-cache-status`, in the
/// access log and in `sluicegate_cache_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// From the cache, without asking a member.
    Hit,
    /// By a member, because nothing stored could be used.
    Miss,
    /// From the cache, past its freshness.
    Stale,
    /// From the cache, after a member said that nothing has changed.
    Revalidated,
    /// By a member, past the cache.
    Bypass,
    /// By a member's answer to another request for the same.
    Coalesced,
}

impl CacheStatus {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Hit, Self::Miss, Self::Stale, Self::Revalidated, Self::Bypass, Self::Coalesced];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Stale => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Bypass => "BYPASS",
            Self::Coalesced => "COALESCED",
        }
    }
}

/// Why an upstream attempt was followed by another one. The words are those of `retry.on` in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// The connection was refused or timed out.
    ConnectFailure,
    /// The connection broke before any byte of the answer.
    Reset,
    /// No first byte in time.
    Timeout,
    /// A status that the configuration names.
    Status,
}

impl RetryReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::ConnectFailure, Self::Reset, Self::Timeout, Self::Status];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
        }
    }
}

/// A set of [`RetryReason`]s: why one request was tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryReasons(u8);

impl RetryReasons {
    /// Adds one.
    pub fn insert(&mut self, reason: RetryReason) {
        self.0 |= 1 << reason as u8;
    }

    /// Whether there was no retry.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The reasons, in the order of [`RetryReason::ALL`].
    pub fn iter(self) -> impl Iterator<Item = RetryReason> {
        RetryReason::ALL.into_iter().filter(move |reason| self.0 & (1 << *reason as u8) != 0)
    }
}
