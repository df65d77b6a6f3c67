//! Timeouts and retries: a pool's, and what a route puts over them.

use std::time::Duration;

use super::Resolver;
use crate::config::problem::KeyPath;
use crate::config::raw::{OneOrMany, Or, RawRetry, RawUpstreamTimeouts, Text};
use crate::config::values::{self, Wrong};
use crate::config::{Retry, RetryOn, UpstreamTimeouts};

/// The most requests that one request may become.
const MAX_ATTEMPTS: u32 = 20;

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(5),
            first_byte: seconds(60),
            idle: seconds(300),
            write: seconds(60),
            keepalive: seconds(50),
        }
    }
}

/// The timeouts at `path` over those of `base`.
pub(super) fn timeouts(
    path: &KeyPath,
    raw: Option<&RawUpstreamTimeouts>,
    base: UpstreamTimeouts,
    resolver: &mut Resolver<'_>,
) -> UpstreamTimeouts {
    let Some(raw) = raw else { return base };
    UpstreamTimeouts {
        connect: resolver.duration(&path.key("connect"), &raw.connect, base.connect),
        first_byte: resolver.duration(&path.key("first_byte"), &raw.first_byte, base.first_byte),
        idle: resolver.duration(&path.key("idle"), &raw.idle, base.idle),
        write: resolver.duration(&path.key("write"), &raw.write, base.write),
        keepalive: resolver.duration(&path.key("keepalive"), &raw.keepalive, base.keepalive),
    }
}

impl Default for Retry {
    fn default() -> Self {
        let on = RetryOn { connect_failure: true, reset: true, timeout: false, statuses: Vec::new() };
        Self { attempts: 3, on, budget_percent: 20, non_idempotent: false }
    }
}

/// The rules at `path` over those of `base`.
pub(super) fn retry(path: &KeyPath, raw: Option<&Or<RawRetry>>, base: Retry, resolver: &mut Resolver<'_>) -> Retry {
    let attempts = |path: &KeyPath, text: &Text, base: u32, resolver: &mut Resolver<'_>| {
        resolver.number(path, text, base, 1..=MAX_ATTEMPTS)
    };
    match raw {
        None => base,
        Some(Or::Text(text)) if text == "off" => Retry { attempts: 1, ..base },
        Some(Or::Text(text)) => Retry { attempts: attempts(path, &Some(text.clone()), 1, resolver), ..base },
        Some(Or::Map(raw)) => Retry {
            attempts: attempts(&path.key("attempts"), &raw.attempts, base.attempts, resolver),
            on: if raw.on.is_some() { retry_on(&path.key("on"), raw.on.as_ref(), resolver) } else { base.on },
            budget_percent: resolver.percent(&path.key("budget"), &raw.budget, base.budget_percent, 0..=1000),
            non_idempotent: base.non_idempotent,
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum RetryWord {
    ConnectFailure,
    Reset,
    Timeout,
    Status(u16),
}

fn retry_on(path: &KeyPath, raw: Option<&OneOrMany<String>>, resolver: &mut Resolver<'_>) -> RetryOn {
    use RetryWord::{ConnectFailure, Reset, Status, Timeout};
    let names = [("connect_failure", ConnectFailure), ("reset", Reset), ("timeout", Timeout)];
    let expected = "connect_failure, reset, timeout, or a status from 400 to 599";
    let parse = |text: &str| match values::number::<u16>(text) {
        Ok(status @ 400..=599) => Ok(Status(status)),
        Ok(_) => Err(Wrong::not(text, "a status to retry on").expected(expected)),
        Err(_) => values::one_of(text, "a reason to retry", &names).map_err(|wrong| wrong.expected(expected)),
    };
    let words = resolver.list(path, raw, parse);
    RetryOn {
        connect_failure: words.contains(&ConnectFailure),
        reset: words.contains(&Reset),
        timeout: words.contains(&Timeout),
        statuses: words
            .iter()
            .filter_map(|word| if let Status(status) = word { Some(*status) } else { None })
            .collect(),
    }
}
