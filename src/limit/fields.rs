//! What answers tell of limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), and the
//! `x-ratelimit-*` fields that clients of OpenAI read (B24).
//!
//! `RateLimit-Policy` never changes and is made once. The others are written into one buffer that they share.

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::bucket::Level;
use crate::config::limit::Limit;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

const SECOND: u64 = 1_000_000_000;

/// The policies of those `limits` that are told of; `None` when none is.
pub(super) fn policy<'a>(limits: impl Iterator<Item = &'a Limit>) -> Option<HeaderValue> {
    let mut text = String::new();
    for limit in limits.filter(|limit| is_told(limit)) {
        let name = &limit.name;
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        if let Some(rate) = &limit.rate {
            let window = whole_seconds(rate.increment().saturating_mul(rate.burst));
            let _ = write!(text, "{comma}\"{name}\";q={};w={window}", rate.burst);
        }
        if let Some(most) = limit.concurrency {
            let (comma, suffix) = if limit.rate.is_some() { (", ", "-concurrency") } else { (comma, "") };
            let _ = write!(text, "{comma}\"{name}{suffix}\";q={most};qu=\"concurrent-requests\"");
        }
    }
    if text.is_empty() { None } else { HeaderValue::from_str(&text).ok() }
}

/// Whether clients are told of `limit`. One that does not refuse is none of their business.
pub(super) fn is_told(limit: &Limit) -> bool {
    limit.headers && limit.enforced
}

/// Adds the fields for limits whose buckets are at these levels, by name. The tightest of them, the one that allows the
/// fewest more, speaks in the `x-` fields, which know only one.
pub(super) fn tell<'a>(
    policy: &HeaderValue,
    levels: impl Iterator<Item = (&'a str, Level)>,
    fields: &mut Vec<(HeaderName, HeaderValue)>,
) {
    fields.reserve(6);
    fields.push((POLICY, policy.clone()));
    let mut line = Line { bytes: Vec::with_capacity(160) };
    let mut tightest: Option<Level> = None;
    for (name, level) in levels {
        if tightest.is_some() {
            line.text(", ");
        }
        line.text("\"").text(name).text("\";r=").number(level.remaining);
        line.text(";t=").number(whole_seconds(level.next_in));
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
    let reset_requests = line.text("s").bytes.len();
    let bytes = Bytes::from(line.bytes);
    let mut add = |name, from, to| {
        // Digits, quotes and the characters of names: always a field's value.
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes.slice(from..to)) {
            fields.push((name, value));
        }
    };
    add(STATE, 0, state);
    add(LIMIT, state, limit);
    add(REMAINING, limit, remaining);
    add(RESET, remaining, seconds);
    add(RESET_REQUESTS, remaining, reset_requests);
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
    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }
}
