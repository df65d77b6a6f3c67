//! The values of `limits`.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use jiff::tz::TimeZone;

/// The most limits of one route.
pub const MOST_PER_ROUTE: usize = 8;

/// Millionths of a dollar in a dollar. Money is counted in the former.
pub const MICROS: u64 = 1_000_000;

/// One named limit. Routes that name it share its buckets. It has a rate, a bound on requests in flight, budgets of tokens
/// and money, or several of these.
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
    /// How many tokens. `None`: any number.
    pub tokens: Option<Budget>,
    /// How much money, in millionths of a dollar. `None`: any sum.
    pub cost: Option<Budget>,
    /// Whether it refuses, or only counts. Default: it refuses.
    pub enforced: bool,
    /// Whether answers tell how much is left. Default true.
    pub headers: bool,
    /// Keys remembered at once. Default 1,000,000.
    pub max_entries: usize,
    /// For whom other numbers hold: by name, the limit as it is for them. Those have no overrides of their own.
    pub overrides: Vec<(Box<str>, Arc<Self>)>,
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
    /// The model that the client asked for; on `ai` routes only.
    Model,
    /// What `metadata` of the caller's API key says under this name; callers of whom it says nothing count together.
    Metadata(Box<str>),
    /// The value of a request header; requests without it count together. A client chooses what it sends (T32).
    Header(HeaderName),
}

impl Limit {
    /// Whether it counts what only an `ai` route knows: tokens, money, or by model.
    pub fn is_for_ai(&self) -> bool {
        self.has_budget() || self.key == LimitKey::Model
    }

    /// Whether it counts requests: how often, or how many at once.
    pub fn counts_requests(&self) -> bool {
        self.rate.is_some() || self.concurrency.is_some()
    }

    /// Whether it counts tokens or money.
    pub fn has_budget(&self) -> bool {
        self.tokens.is_some() || self.cost.is_some()
    }
}

/// So many units in a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Tokens, or millionths of a dollar; 1 to 10^15.
    pub units: u64,
    /// In which time.
    pub window: Window,
}

/// The time that a budget is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// What was used comes back evenly, all of a budget within this; 1 s to 366 days.
    Rolling(Duration),
    /// All of it begins anew at the borders of a calendar.
    Calendar(Calendar),
}

/// Periods of the calendar somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// How long one is.
    pub period: Period,
    /// Where it is midnight. Default UTC.
    pub zone: TimeZone,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
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
