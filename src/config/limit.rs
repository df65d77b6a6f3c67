//! The values of `limits`.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

/// The most limits of one route.
pub const MOST_PER_ROUTE: usize = 8;

/// One named limit. Routes that name it share its buckets. It has a rate, a bound on requests in flight, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The key under `limits`.
    pub name: Arc<str>,
    /// Whose requests are counted together.
    pub key: LimitKey,
    /// How often. `None`: as often as they like.
    pub rate: Option<LimitRate>,
    /// Requests in flight at once. `None`: any number.
    pub concurrency: Option<u32>,
    /// Whether it refuses, or only counts. Default: it refuses.
    pub enforced: bool,
    /// Whether answers tell how much is left. Default true.
    pub headers: bool,
    /// Keys remembered at once. Default 1,000,000.
    pub max_entries: usize,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// A client's address: an IPv4 address, or an IPv6 network, as one client has a whole one.
    ClientIp {
        /// Bits of an IPv6 address that tell clients apart, 32 to 128. Default 64.
        ipv6_prefix: u8,
    },
    /// The caller's id, whatever it was known by.
    ApiKey,
    /// A route.
    Route,
    /// All requests of all routes that name the limit.
    Global,
    /// The value of a request header; requests without it count together. A client chooses what it sends (T32).
    Header(HeaderName),
}

/// How often: `count` in every `period`, and at most `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitRate {
    /// At least 1.
    pub count: u64,
    /// 1 ms to 7 days.
    pub period: Duration,
    /// What may come at once after a pause. Default `count`.
    pub burst: u64,
}

impl LimitRate {
    /// Nanoseconds in which one more is allowed, rounded up: a limit may let through less than it says by one part in
    /// a thousand at most, and never more. At least 1.
    pub fn increment(&self) -> u64 {
        u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX).div_ceil(self.count.max(1)).max(1)
    }
}
