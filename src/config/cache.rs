//! The values of `caches`, and how a route uses one.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

/// One named cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    /// The key under `caches`.
    pub name: Arc<str>,
    /// Answers it holds, at most. Default 10000.
    pub max_entries: u64,
    /// Bytes it holds, at most, header blocks and keys included. Default 256 MiB.
    pub max_bytes: u64,
    /// Bytes of a body that is stored, at most. Default 8 MiB, or `max_bytes` where that is less.
    pub max_object: u64,
    /// How long identical requests wait for the header block of the one that was sent; zero: they do not wait, and
    /// each is sent. Default 5 s.
    pub coalesce_timeout: Duration,
    /// Fields of answers that hold tags to purge by. Default Cache-Tag, Surrogate-Key and xkey.
    pub tag_headers: Vec<HeaderName>,
    /// What routes may change.
    pub rules: CacheRules,
}

/// How a route uses a cache.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteCache {
    /// Index into [`Config::caches`](super::Config::caches).
    pub cache: usize,
    /// The cache's rules, with what the route changes.
    pub rules: CacheRules,
}

/// What is stored, and for how long it serves.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheRules {
    /// How long answers are fresh that say nothing of it themselves (no max-age, s-maxage or Expires), for the statuses
    /// 200, 203, 204, 300, 301 and 308. It takes the place of the guess by Last-Modified. `None`: RFC 9111 alone.
    pub ttl: Option<Duration>,
    /// The same, whatever they say themselves: it replaces max-age, s-maxage, Expires, no-cache and must-revalidate.
    /// What may not be stored stays unstored.
    pub override_ttl: Option<Duration>,
    /// How long past its freshness an answer may be served while a new one is fetched behind it, where it does not say
    /// itself (RFC 5861, section 3). Default zero.
    pub stale_while_revalidate: Duration,
    /// How long past its freshness an answer may be served when the pool fails, where it does not say itself (RFC 5861,
    /// section 4). `None`: one minute, and only when no member answers at all (RFC 9111, section 4.2.4).
    pub stale_if_error: Option<Duration>,
    /// Guess a freshness of a tenth of the time since Last-Modified, a day at most (RFC 9111, section 4.2.2).
    /// Default true.
    pub heuristic: bool,
    /// Do as Cache-Control and Pragma of a request ask. Default true. `false`: a client cannot make the pool work.
    pub request_directives: bool,
    /// Fields of a request that tell entries apart, beside the URL.
    pub key_headers: Vec<HeaderName>,
    /// Serve what was fetched for one caller to others, on routes that know their callers. Default false.
    pub share_between_callers: bool,
    /// Store answers with Set-Cookie, cookie and all. Default false.
    pub store_set_cookie: bool,
    /// Store JSON bodies whose top level has `success: false` or an `error` (row F08). Default false.
    pub store_error_bodies: bool,
}

impl Default for CacheRules {
    fn default() -> Self {
        Self {
            ttl: None,
            override_ttl: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: None,
            heuristic: true,
            request_directives: true,
            key_headers: Vec::new(),
            share_between_callers: false,
            store_set_cookie: false,
            store_error_bodies: false,
        }
    }
}
