//! Pools: members, and how they are chosen, checked, tried again and left alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::CertificateDer;

/// A pool of members that serve the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The key under `pools`.
    pub name: Arc<str>,
    /// Never empty.
    pub members: Vec<Member>,
    /// How a member is chosen.
    pub balance: Balance,
    /// Active checks. `None`: every member counts as healthy.
    pub health_check: Option<HealthCheck>,
    /// Ejection of members that fail real requests. `None`: never.
    pub outlier: Option<Outlier>,
    /// Requests in flight per member. `None`: no limit.
    pub max_requests_per_member: Option<u32>,
    /// For how long a member that comes back gets a growing share. Zero: at once.
    pub slow_start: Duration,
    /// Timeouts of the upstream side.
    pub timeouts: UpstreamTimeouts,
    /// When a request is tried again.
    pub retry: Retry,
    /// TLS towards the members.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 towards the members: by ALPN with `tls`, else by prior knowledge.
    pub http2: bool,
    /// How often host names are looked up again. Default 10 s.
    pub resolve_interval: Duration,
}

/// One configured member of a pool. A host name may stand for several addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name in logs, metrics and `ctl`: the address as it was written, without a scheme.
    pub name: Arc<str>,
    /// Where it is.
    pub address: MemberAddress,
    /// Its share beside the others, 0 to 1000; 0 takes no traffic. Default 1.
    pub weight: u32,
    /// Only used when no other member is usable.
    pub backup: bool,
}

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MemberAddress {
    /// A fixed address.
    Socket(SocketAddr),
    /// A name, looked up in the background.
    Host {
        /// The name.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// How a member is chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Weighted random.
    Random,
    /// The fewest requests in flight, by weight.
    LeastRequests,
    /// The fewest outstanding tokens, by weight; with requests that say nothing of tokens, the fewest of these.
    LeastTokens,
    /// The better of two by peak latency (EWMA) times requests in flight.
    PeakEwma,
    /// By a hash of the client address; a member's leaving moves only its own clients.
    IpHash,
    /// By a hash of a request header; requests without it go by round robin.
    HeaderHash(HeaderName),
    /// Ring hash.
    ConsistentHash {
        /// What is hashed.
        key: HashKey,
        /// The most a member may carry over the mean, in percent above 100 (bounded loads); `None`: unbounded.
        bound_percent: Option<u32>,
    },
}

/// What a consistent hash is taken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// Path and query.
    Uri,
    /// The client address.
    ClientIp,
    /// A request header; without it the client address.
    Header(HeaderName),
}

/// An active check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// HTTP, or a bare TCP (or TLS) connect.
    pub kind: CheckKind,
    /// Between two checks of one member. Default 5 s.
    pub interval: Duration,
    /// For one check. Default 2 s.
    pub timeout: Duration,
    /// Failures in a row that take a member out. Default 3.
    pub fall: u32,
    /// Good checks in a row that bring it back. Default 2.
    pub rise: u32,
    /// Random lengthening of the interval, percent. Default 10.
    pub jitter_percent: u32,
    /// Another port than the member's.
    pub port: Option<u16>,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection is enough.
    Tcp,
    /// A GET.
    Http {
        /// Path and query.
        path: String,
        /// The Host header. `None`: the member's address.
        host: Option<String>,
        /// Statuses that count as good. Default 200. Never empty.
        expect_status: Vec<StatusRange>,
        /// Text the body must hold, within its first 64 KiB.
        expect_body: Option<String>,
    },
}

/// An inclusive range of statuses: `200` or `200-299`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` lies in the range.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

/// Ejection of members that fail real requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlier {
    /// Failures within `fail_timeout` that eject. Default 3.
    pub max_fails: u32,
    /// The window of counting, and the first ejection's length; each further ejection is longer by it. Default 30 s.
    pub fail_timeout: Duration,
    /// The longest ejection. Default 300 s.
    pub max_ejection: Duration,
    /// The share of members that may be ejected at once, percent. Default 50.
    pub max_ejected_percent: u32,
    /// When fewer members than this share (percent) are usable, ejections are ignored. Default 50.
    pub panic_percent: u32,
}

/// Timeouts of the upstream side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// For the connection, TLS included. Default 5 s.
    pub connect: Duration,
    /// From the request's end, or the last informational answer, to the whole header block of the answer. Default 60 s.
    pub first_byte: Duration,
    /// Between two reads of the answer. Default 300 s.
    pub idle: Duration,
    /// Between two successful writes of the request. Default 60 s.
    pub write: Duration,
    /// How long an idle connection is kept for reuse. Default 50 s.
    pub keepalive: Duration,
}

/// When a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included; 1 means never again. Default 3.
    pub attempts: u32,
    /// What is worth another try.
    pub on: RetryOn,
    /// Retries as a share of requests over the last 10 s, percent. Default 20. A few are always free.
    pub budget_percent: u32,
    /// Retry POST and PATCH too, as if they were idempotent. Default false.
    pub non_idempotent: bool,
}

/// What is worth another try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// The connection was refused or timed out: nothing was sent.
    pub connect_failure: bool,
    /// The connection broke before any byte of the answer.
    pub reset: bool,
    /// No first byte in time.
    pub timeout: bool,
    /// Statuses of the answer.
    pub statuses: Vec<u16>,
}

/// TLS towards members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name asked for and verified. `None`: the member's host.
    pub sni: Option<String>,
    /// PEM file of the authorities trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// What `ca` holds; empty without it.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Verify the certificate and its name. Default true.
    pub verify: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { sni: None, ca: None, authorities: Vec::new(), verify: true }
    }
}
