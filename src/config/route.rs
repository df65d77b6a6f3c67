//! Routes: what they take, and what becomes of it.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use super::ai::AiTarget;
use super::auth::RouteAuth;
use super::cache::RouteCache;
use super::cors::Cors;
use super::{Balance, Retry, UpstreamTimeouts};

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
    /// Indices into [`Config::limits`](super::Config::limits), in the order of the file.
    pub limits: Vec<usize>,
    /// Its cache.
    pub cache: Option<RouteCache>,
    /// Index into [`Config::sanitize`](super::Config::sanitize).
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
    /// Index into [`Config::pools`](super::Config::pools).
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
