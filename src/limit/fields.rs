//! What answers tell of limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), and the
//! `x-ratelimit-*` fields that clients of OpenAI read (B24).
//!
//! `RateLimit-Policy` never changes and is made once. The others are written into one buffer that they share. Budgets are
//! known later than rates: what they say is added to what those said.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Unit;
use super::account::Standing;
use super::bucket::Level;
use crate::config::limit::{Budget, Limit, Period, Window};

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const RESET_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-reset-tokens");

const SECOND: u64 = 1_000_000_000;

/// What is told of one budget.
pub(super) struct Item<'a> {
    pub(super) limit: &'a Limit,
    pub(super) unit: Unit,
    pub(super) standing: Standing,
}

/// What a limit may count. The first that it does goes by its name, the others by it and a suffix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Counted {
    Rate,
    Concurrency,
    Budget(Unit),
}

impl Counted {
    fn suffix(self, limit: &Limit) -> &'static str {
        let rate = limit.rate.is_some();
        match self {
            Self::Concurrency if rate => "-concurrency",
            Self::Budget(Unit::Tokens) if limit.counts_requests() => "-tokens",
            Self::Budget(Unit::Cost) if limit.counts_requests() || limit.tokens.is_some() => "-cost",
            _ => "",
        }
    }
}

/// The policies of those `limits` that are told of; `None` when none is.
pub(super) fn policy<'a>(limits: impl Iterator<Item = &'a Limit>) -> Option<HeaderValue> {
    let mut items = Vec::new();
    for limit in limits.filter(|limit| is_told(limit)) {
        let named = |counted: Counted| format!("\"{}{}\"", limit.name, counted.suffix(limit));
        if let Some(rate) = &limit.rate {
            let window = whole_seconds(rate.increment().saturating_mul(rate.burst));
            items.push(format!("{};q={};w={window}", named(Counted::Rate), rate.burst));
        }
        if let Some(most) = limit.concurrency {
            items.push(format!("{};q={most};qu=\"concurrent-requests\"", named(Counted::Concurrency)));
        }
        for unit in Unit::ALL {
            if let Some(Budget { units, window }) = unit.budget(limit) {
                let window = seconds_of(window).map_or(String::new(), |seconds| format!(";w={seconds}"));
                let word = unit.word();
                items.push(format!("{};q={units}{window};qu=\"{word}\"", named(Counted::Budget(unit))));
            }
        }
    }
    if items.is_empty() { None } else { HeaderValue::from_str(&items.join(", ")).ok() }
}

/// How long a window is. Months have no one length.
fn seconds_of(window: &Window) -> Option<u64> {
    match window {
        Window::Rolling(time) => Some(time.as_secs() + u64::from(time.subsec_nanos() > 0)),
        Window::Calendar(calendar) => match calendar.period {
            Period::Day => Some(86_400),
            Period::Week => Some(7 * 86_400),
            Period::Month => None,
        },
    }
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Cost => "microdollars",
        }
    }
}

/// Whether clients are told of `limit`. One that does not refuse is none of their business.
pub(super) fn is_told(limit: &Limit) -> bool {
    limit.headers && limit.enforced
}

/// Adds the fields for limits whose buckets are at these levels, by name, to those there are. The tightest of them, the
/// one that allows the fewest more, speaks in the `x-` fields, which know only one.
pub(super) fn tell<'a>(levels: impl Iterator<Item = (&'a str, Level)>, fields: &mut Vec<(HeaderName, HeaderValue)>) {
    let mut line = Line::after(STATE, fields);
    let mut tightest: Option<Level> = None;
    for (name, level) in levels {
        line.item(name, "", level.remaining, level.next_in);
        if tightest.is_none_or(|other| level.remaining < other.remaining) {
            tightest = Some(level);
        }
    }
    let Some(level) = tightest else { return };
    let reset = whole_seconds(level.full_in);
    let state = line.bytes.len();
    let limit = line.number(level.burst).bytes.len();
    let remaining = line.number(level.remaining).bytes.len();
    let seconds = line.number(reset).bytes.len();
    let for_people = line.duration(reset).bytes.len();
    let bytes = Bytes::from(line.bytes);
    set(STATE, &bytes, 0..state, fields);
    let tighter = number_of(&REMAINING, fields).is_some_and(|before| before <= level.remaining);
    if !tighter {
        set(LIMIT, &bytes, state..limit, fields);
        set(REMAINING, &bytes, limit..remaining, fields);
        set(RESET, &bytes, remaining..seconds, fields);
        set(RESET_REQUESTS, &bytes, seconds..for_people, fields);
    }
}

/// The same for budgets. Of those of tokens, the tightest speaks in the `x-` fields; there are none for money.
pub(super) fn tell_budgets<'a>(items: impl Iterator<Item = Item<'a>>, fields: &mut Vec<(HeaderName, HeaderValue)>) {
    let mut line = Line::after(STATE, fields);
    let before = line.bytes.len();
    let mut tightest: Option<Standing> = None;
    for Item { limit, unit, standing } in items {
        let suffix = Counted::Budget(unit).suffix(limit);
        line.item(&limit.name, suffix, standing.remaining, standing.full_in);
        if unit == Unit::Tokens && tightest.is_none_or(|other| standing.remaining < other.remaining) {
            tightest = Some(standing);
        }
    }
    let state = line.bytes.len();
    if state == before {
        return;
    }
    let ends = tightest.map(|tokens| {
        let limit = line.number(tokens.units).bytes.len();
        let remaining = line.number(tokens.remaining).bytes.len();
        (limit, remaining, line.duration(whole_seconds(tokens.full_in)).bytes.len())
    });
    let bytes = Bytes::from(line.bytes);
    set(STATE, &bytes, 0..state, fields);
    if let Some((limit, remaining, reset)) = ends {
        set(LIMIT_TOKENS, &bytes, state..limit, fields);
        set(REMAINING_TOKENS, &bytes, limit..remaining, fields);
        set(RESET_TOKENS, &bytes, remaining..reset, fields);
    }
}

/// Sets a field to a part of `bytes`: digits, letters, quotes and the characters of names, always a field's value.
fn set(name: HeaderName, bytes: &Bytes, part: Range<usize>, fields: &mut Vec<(HeaderName, HeaderValue)>) {
    let Ok(value) = HeaderValue::from_maybe_shared(bytes.slice(part)) else { return };
    match fields.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => fields.push((name, value)),
    }
}

fn number_of(name: &HeaderName, fields: &[(HeaderName, HeaderValue)]) -> Option<u64> {
    let (_, value) = fields.iter().find(|(known, _)| known == name)?;
    value.to_str().ok()?.parse().ok()
}

/// Seconds for Retry-After, rounded up; at least 1.
pub(super) fn seconds_to_wait(nanos: u64) -> u32 {
    u32::try_from(whole_seconds(nanos).max(1)).unwrap_or(u32::MAX)
}

/// Seconds, rounded up.
pub(super) fn whole_seconds(nanos: u64) -> u64 {
    nanos.div_ceil(SECOND)
}

/// Text under way.
struct Line {
    bytes: Vec<u8>,
}

impl Line {
    /// After what the field `name` says already.
    fn after(name: HeaderName, fields: &[(HeaderName, HeaderValue)]) -> Self {
        let mut bytes = Vec::with_capacity(200);
        if let Some((_, value)) = fields.iter().find(|(known, _)| *known == name) {
            bytes.extend_from_slice(value.as_bytes());
        }
        Self { bytes }
    }

    fn item(&mut self, name: &str, suffix: &str, remaining: u64, nanos: u64) {
        if !self.bytes.is_empty() {
            self.text(", ");
        }
        self.text("\"").text(name).text(suffix).text("\";r=").number(remaining);
        self.text(";t=").number(whole_seconds(nanos));
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }

    /// As clients of OpenAI read it: `6m0s`.
    fn duration(&mut self, seconds: u64) -> &mut Self {
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            self.number(hours).text("h");
        }
        if hours > 0 || minutes > 0 {
            self.number(minutes).text("m");
        }
        self.number(seconds % 60).text("s")
    }
}
