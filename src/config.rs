//! The configuration: text -> raw -> [`Config`], which is only ever valid.
//!
//! [`load`] reads one YAML file in four passes: parse the text with positions (`document`), replace `${...}` (`interpolate`),
//! read the shape (`raw`, a serde mirror of the file without meaning), give it meaning (`resolve`: names found,
//! defaults filled, contradictions refused). Every pass collects errors, and all are reported together, each with
//! file:line:column, the key, what was expected and the nearest valid name.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use ai::{Ai, AiTarget};
use audit::Audit;
use auth::{Auth, RouteAuth};
use cache::{Cache, RouteCache};
use cors::Cors;
use limit::Limit;
use sanitize::Sanitize;
use secret::Digested;

pub mod ai;
pub mod audit;
pub mod auth;
pub mod cache;
pub mod cors;
mod document;
mod environment;
mod interpolate;
pub mod jwt;
pub mod language;
pub mod limit;
mod load;
pub mod overlap;
mod peek;
mod problem;
mod raw;
mod resolve;
pub mod sanitize;
pub mod secret;
mod source;
mod values;

#[cfg(test)]
mod tests;

pub use document::Position;
pub use environment::{Environment, Overrides};
pub use load::{Loaded, load, parse};
pub use peek::{AdminPeek, peek_admin};
pub use problem::{ConfigErrors, Excerpt, KeyPath, MAX_PROBLEMS, Problem, Severity};
pub use source::Source;
pub use values::time::parse_expiry;

/// A whole, valid configuration. Everything a default exists for is filled in.
#[derive(Debug)]
pub struct Config {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// The admin listener, when there is one.
    pub admin: Option<Admin>,
    /// Process-wide settings.
    pub server: Server,
    /// Process and access logs.
    pub log: Log,
    /// Who may come in. `None`: everyone.
    pub auth: Option<Arc<Auth>>,
    /// Named limits, in the order of their names.
    pub limits: Vec<Arc<Limit>>,
    /// Named caches, in the order of their names.
    pub caches: Vec<Arc<Cache>>,
    /// Named sets of masking rules, in the order of their names.
    pub sanitize: Vec<Arc<Sanitize>>,
    /// Pools of members, in the order of their names; behind them those that stand for the URLs of providers, `ai:NAME`.
    pub pools: Vec<Arc<Pool>>,
    /// Providers of models. `None`: no section `ai`.
    pub ai: Option<Arc<Ai>>,
    /// Routes, in the order of the file. Order has no meaning: the most specific match wins.
    pub routes: Vec<Arc<Route>>,
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where to bind.
    pub address: ListenAddress,
    /// Answer every request with a redirect to https, but for health and ACME paths. `None`: no redirect.
    pub redirect_https: Option<RedirectHttps>,
    /// HTTP/2: by ALPN on a TLS listener (default on), by prior knowledge on a plain one (default off).
    pub http2: bool,
    /// TLS, when the listener speaks it.
    pub tls: Option<Tls>,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `host:port` or `[::]:port`. An IPv6 wildcard also takes IPv4, as the system has it.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A redirect of plain HTTP to https: status 308, path and query kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectHttps {
    /// The port in the Location; 443 is left out of it.
    pub port: u16,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The lowest protocol version accepted.
    pub min_version: TlsVersion,
    /// Chosen by SNI; the first is the default. Never empty.
    pub certificates: Vec<CertificateFiles>,
}

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A certificate chain with its key, and where they were read from. Equal when the files and the chain are: the key
/// belongs to the chain.
#[derive(Clone)]
pub struct CertificateFiles {
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file with the private key; the same as `cert` for a bundle.
    pub key: PathBuf,
    /// What the files hold, ready to serve.
    pub certified: Arc<CertifiedKey>,
    /// When the first certificate of the chain that ends does, in seconds since the epoch.
    pub expires: u64,
}

impl PartialEq for CertificateFiles {
    fn eq(&self, other: &Self) -> bool {
        (&self.cert, &self.key, &self.certified.cert) == (&other.cert, &other.key, &other.certified.cert)
    }
}

impl Eq for CertificateFiles {}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

/// The admin listener: health, metrics, stats page, control API.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where to bind.
    pub address: ListenAddress,
    /// The bearer token that control calls must carry. `None`: none is asked for, which is only accepted on a
    /// loopback address or a unix socket.
    pub token: Option<Digested>,
}

/// Process-wide settings.
#[derive(Debug, Clone)]
pub struct Server {
    /// This instance's name in logs and metrics. Default: the host's name.
    pub instance_id: String,
    /// Where it runs, for metrics: `production`. `None`: nobody said.
    pub environment: Option<String>,
    /// Worker threads, at least 1. Default: the cores this process may use.
    pub threads: usize,
    /// Client connections open at once over all listeners; more wait in the kernel's queue. Default 4096.
    pub max_connections: usize,
    /// Peers whose X-Forwarded-For and other forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes of a request body; `u64::MAX` is no limit. Default 100 MiB.
    pub max_body: u64,
    /// Bytes of a request's header block. Default 64 KiB.
    pub max_header: usize,
    /// Requests on one keep-alive connection before it is closed. Default: no limit.
    pub keepalive_requests: Option<u32>,
    /// Idle upstream connections kept for reuse, per worker thread. Default 512.
    pub upstream_keepalive: usize,
    /// Timeouts of the client side.
    pub timeouts: ServerTimeouts,
    /// Whether a crash may leave a core, with every secret in it. Default false.
    pub core_dumps: bool,
    /// Where what is used of budgets outlives the process. `None`: where the system says, or nowhere.
    pub state_dir: Option<PathBuf>,
    /// Security headers set on every answer that does not have them. Default on.
    pub security_headers: bool,
}

/// Timeouts of the client side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// For a whole request header block, from its first byte. Default 10 s.
    pub header: Duration,
    /// An idle keep-alive connection, between requests. Default 60 s.
    pub keepalive: Duration,
    /// Between two reads of a request body, or two successful writes of an answer. Default 50 s.
    pub client_idle: Duration,
    /// For the TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// How long TERM waits for requests in flight. Default 30 s.
    pub drain: Duration,
    /// How long a process that was replaced waits for requests in flight. Default 10 min.
    pub handover: Duration,
}

/// Process and access logs.
#[derive(Debug, Clone)]
pub struct Log {
    /// The level for all targets without one of their own.
    pub level: log::LevelFilter,
    /// Levels per target, such as `balance` or `pingora_core`.
    pub targets: Vec<(String, log::LevelFilter)>,
    /// The shape of a line.
    pub format: LogFormat,
    /// A file beside stderr.
    pub file: Option<PathBuf>,
    /// The access log. `None`: none is written.
    pub access: Option<AccessLog>,
    /// The audit log. `None`: none is written.
    pub audit: Option<Audit>,
}

/// The shape of the process log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Columns for people.
    Text,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it goes.
    pub file: PathBuf,
    /// The shape of a line.
    pub format: AccessFormat,
}

/// The shape of an access-log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

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

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name in logs and metrics; unique. Default: `route-N`, N its place in the file from 1.
    pub name: Arc<str>,
    /// What it takes.
    pub matching: Match,
    /// What it does.
    pub target: Target,
    /// Peers let in; empty: all. Checked after `deny`.
    pub allow: Vec<IpNet>,
    /// Peers kept out.
    pub deny: Vec<IpNet>,
    /// Change of the path towards the upstream.
    pub rewrite: Option<Rewrite>,
    /// Changes of the request's headers towards the upstream.
    pub request_headers: HeaderRules,
    /// Changes of the answer's headers towards the client.
    pub response_headers: HeaderRules,
    /// Bytes of a request body; the server's when the route says nothing.
    pub max_body: u64,
    /// Whether a WebSocket upgrade is let through. Default true.
    pub websocket: bool,
    /// Whether a caller must be known, and by what.
    pub auth: RouteAuth,
    /// Whether its members get the credentials that brought the caller in. Default: as the section `auth` says, false.
    pub forward_credentials: bool,
    /// Which pages of other origins may call; `None`: CORS is the member's matter.
    pub cors: Option<Arc<Cors>>,
    /// Indices into [`Config::limits`], in the order of the file.
    pub limits: Vec<usize>,
    /// Its cache.
    pub cache: Option<RouteCache>,
    /// Index into [`Config::sanitize`].
    pub sanitize: Option<usize>,
}

/// What a route takes. All parts must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Any of these; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Any of these; empty: every method. HEAD is taken where GET is.
    pub methods: Vec<Method>,
    /// Headers that must be there.
    pub headers: Vec<HeaderMatch>,
}

/// A host to match, lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one.
    Exact(String),
    /// `*.example.com`: any name below; holds `example.com`. The name itself is not taken.
    Wildcard(String),
}

/// A path to match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// This one.
    Exact(String),
    /// Ends in `/`: everything below, by segments. `/api/` takes `/api/x` and `/api`, never `/apix`.
    Prefix(String),
}

/// A header to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Its name.
    pub name: HeaderName,
    /// Its exact value; `None`: it only has to be there.
    pub value: Option<HeaderValue>,
}

/// What a route does.
#[derive(Debug, Clone)]
pub enum Target {
    /// Ask a pool.
    Pool(PoolTarget),
    /// Ask providers of models.
    Ai(AiTarget),
    /// Send the client elsewhere.
    Redirect(Redirect),
    /// Answer at once.
    Respond(Respond),
}

/// A pool, with what the route overrides already applied.
#[derive(Debug, Clone)]
pub struct PoolTarget {
    /// Index into [`Config::pools`].
    pub pool: usize,
    /// How a member is chosen on this route.
    pub balance: Balance,
    /// Timeouts on this route.
    pub timeouts: UpstreamTimeouts,
    /// Retries on this route.
    pub retry: Retry,
}

/// A redirect. `{host}`, `{path}` and `{query}` stand in `location`; `{query}` brings its own `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The Location.
    pub location: String,
    /// 301, 302, 303, 307 or 308. Default 308.
    pub status: StatusCode,
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// Default 200.
    pub status: StatusCode,
    /// Default empty.
    pub body: bytes::Bytes,
    /// Default `text/plain; charset=utf-8`.
    pub content_type: HeaderValue,
}

/// A change of the path. The query is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// The whole path becomes this.
    Path(String),
    /// The matched prefix becomes this; both end in `/`.
    Prefix {
        /// The route's own prefix.
        from: String,
        /// What takes its place.
        to: String,
    },
}

/// Changes of headers: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Replace, or make.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Append.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Take away.
    pub remove: Vec<HeaderName>,
}

impl HeaderRules {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// Whether `ip` lies in one of `nets`; an IPv4-mapped IPv6 address counts as IPv4.
pub fn contains(nets: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    nets.iter().any(|net| net.contains(&ip))
}
