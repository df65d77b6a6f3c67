//! `ai`: providers, models, and how a request finds its way among them; and the `ai` of a route.
//!
//! A provider whose keys are all empty, or whose address is, is switched off with a warning and not an error (row B03):
//! one file then serves machines that have keys of one provider and machines that have keys of another.

use std::sync::Arc;
use std::time::Duration;

use super::Resolver;
use super::values::quote;
use crate::config::ai::{Ai, AiTimeouts, Breaker, Hold, MAX_ATTEMPTS};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{Or, RawAi, RawAiTimeouts, RawBreaker, RawConfig, RawHold, Text};
use crate::config::{Pool, Route, Target};

mod flow;
mod idle;
mod keys;
mod models;
mod prices;
mod provider;
mod route;
mod site;
mod unpriced;

pub(super) use idle::warn_idle_prices;
pub(super) use route::{cuts_for_one, has_budget, keeps, target, usable_cache};
pub(super) use site::unread_of_pools;
pub(super) use unpriced::warn_unpriced;

const SECOND: Duration = Duration::from_secs(1);
const MAX_HOLD: u64 = 16 << 20;
/// What is set aside for an answer whose request names no bound, in tokens.
const ASSUMED_OUTPUT: u32 = 4096;
const MAX_BUFFERED: u64 = 512 << 20;
const MAX_ASSUMED_OUTPUT: u32 = 10_000_000;

/// Warns where routes let bodies in that are larger than all may be that are held.
pub(super) fn warn_unbuffered(ai: &Ai, routes: &[Arc<Route>], resolver: &mut Resolver<'_>) {
    let lets_in = |route: &&Arc<Route>| matches!(route.target, Target::Ai(_)) && route.max_body > ai.max_buffered;
    if let Some(route) = routes.iter().find(lets_in) {
        let message =
            format!("bodies on the route {} may be larger than this, and are refused then (413)", quote(&route.name));
        let path = KeyPath::default().key("ai").key("max_buffered");
        resolver.warn(Finding::value(&path, message).hint("give the route a smaller `max_body`, or more memory here"));
    }
}

/// What holds for a model that says nothing else.
#[derive(Clone, Copy)]
struct Base {
    timeouts: AiTimeouts,
    assumed_output: u32,
}

/// The section. Pools that its providers bring stand behind those of the file afterwards.
pub(super) fn ai(raw: &RawConfig, pools: &mut Vec<Arc<Pool>>, resolver: &mut Resolver<'_>) -> Option<Arc<Ai>> {
    let raw = raw.ai.as_ref()?;
    let path = KeyPath::default().key("ai");
    let timeouts = timeouts(&path.key("timeouts"), raw.timeouts.as_ref(), AiTimeouts::default(), resolver);
    let providers = provider::providers(&path, raw, &timeouts, pools, resolver);
    let assumed_output = assumed_output(&path, &raw.assumed_output, ASSUMED_OUTPUT, resolver);
    let models = models::models(&path, raw, &providers, Base { timeouts, assumed_output }, resolver);
    Some(Arc::new(Ai {
        providers,
        models,
        attempts: resolver.number(&path.key("attempts"), &raw.attempts, 3, 1..=MAX_ATTEMPTS),
        assumed_output,
        max_buffered: resolver
            .size(&path.key("max_buffered"), &raw.max_buffered, 1 << 20..=1 << 40)
            .unwrap_or(MAX_BUFFERED),
        timeouts,
        breaker: breaker(&path.key("breaker"), raw.breaker.as_ref(), resolver),
        key_cooldown: resolver.duration(&path.key("key_cooldown"), &raw.key_cooldown, 60 * SECOND),
        hold: hold(&path.key("hold"), raw.hold.as_ref(), &timeouts, resolver),
        keepalive: keepalive(&path, raw, resolver),
        headers: resolver.boolean(&path.key("headers"), &raw.headers, true),
        prices: prices::prices(&path.key("prices"), raw.prices.as_ref(), resolver),
    }))
}

fn assumed_output(path: &KeyPath, raw: &Text, base: u32, resolver: &mut Resolver<'_>) -> u32 {
    resolver.number(&path.key("assumed_output"), raw, base, 1..=MAX_ASSUMED_OUTPUT)
}

/// The timeouts at `path` over those of `base`.
fn timeouts(path: &KeyPath, raw: Option<&RawAiTimeouts>, base: AiTimeouts, resolver: &mut Resolver<'_>) -> AiTimeouts {
    let Some(raw) = raw else { return base };
    let first_token = resolver.duration(&path.key("first_token"), &raw.first_token, base.first_token);
    // One that was written stays.
    let follows = raw.first_token.is_some() && base.idle == base.first_token * AiTimeouts::IDLE;
    let idle = if follows { first_token * AiTimeouts::IDLE } else { base.idle };
    let found = AiTimeouts {
        connect: resolver.duration(&path.key("connect"), &raw.connect, base.connect),
        first_token,
        first_token_always: base.first_token_always || raw.first_token.is_some(),
        idle: resolver.duration(&path.key("idle"), &raw.idle, idle),
        total: resolver.duration(&path.key("total"), &raw.total, base.total),
        bounds_streams: base.bounds_streams || raw.total.is_some(),
    };
    for (key, text, part) in
        [("connect", &raw.connect, found.connect), ("first_token", &raw.first_token, found.first_token)]
    {
        if text.is_some() && raw.total.is_some() && part > found.total && !resolver.doubtful(path) {
            let finding = Finding::value(&path.key(key), "this is longer than the time for the whole answer");
            resolver.report(finding.also(path.key("total"), "the whole").expected("at most `total`"));
        }
    }
    found
}

fn breaker(path: &KeyPath, raw: Option<&Or<RawBreaker>>, resolver: &mut Resolver<'_>) -> Option<Breaker> {
    let absent = RawBreaker::default();
    let raw = match raw {
        None => &absent,
        Some(Or::Map(raw)) => raw,
        Some(Or::Text(text)) if text == "off" => return None,
        Some(Or::Text(text)) => {
            let message = format!("{} is not a way to leave failing targets alone", quote(text));
            resolver.report(Finding::value(path, message).expected("off, or a map with `error_threshold` and others"));
            return None;
        }
    };
    Some(Breaker {
        error_percent: resolver.percent(&path.key("error_threshold"), &raw.error_threshold, 50, 1..=100),
        window: resolver.duration_within(&path.key("window"), &raw.window, 10 * SECOND, SECOND..=3600 * SECOND),
        min_requests: resolver.number(&path.key("min_requests"), &raw.min_requests, 10, 1..=1_000_000),
        reset: resolver.duration(&path.key("reset"), &raw.reset, 30 * SECOND),
    })
}

fn hold(path: &KeyPath, raw: Option<&RawHold>, timeouts: &AiTimeouts, resolver: &mut Resolver<'_>) -> Hold {
    let default = Hold { time: timeouts.first_token, ..Hold::default() };
    let Some(raw) = raw else { return default };
    let bytes = resolver.size(&path.key("bytes"), &raw.bytes, 0..=MAX_HOLD);
    Hold {
        bytes: bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default.bytes),
        time: resolver.duration_from(&path.key("time"), &raw.time, default.time, Duration::ZERO),
    }
}

/// Comments in a stream every few milliseconds would be more than the stream: zero, which is never, or a second at least.
fn keepalive(path: &KeyPath, raw: &RawAi, resolver: &mut Resolver<'_>) -> Duration {
    let path = path.key("keepalive");
    let found = resolver.duration_from(&path, &raw.keepalive, 10 * SECOND, Duration::ZERO);
    if !found.is_zero() && found < SECOND {
        let finding = Finding::value(&path, "this is too often").expected("1s at least, or 0s for never");
        resolver.report(finding);
    }
    found
}
