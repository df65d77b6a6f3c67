//! `limits`, and the limits of a route.

use std::sync::Arc;
use std::time::Duration;

use super::{MAX_DURATION, MILLISECOND, Resolver, within};
use crate::config::auth::RouteAuth;
use crate::config::limit::{Limit, LimitKey, LimitRate, MOST_PER_ROUTE};
use crate::config::problem::{Finding, KeyPath, nearest};
use crate::config::raw::{RawConfig, RawLimit, RawRoute, Text};
use crate::config::values::{self, Wrong};

mod budget;
mod overrides;

pub(super) use overrides::warn_strangers;

/// Keys that a limit remembers when it says nothing else.
const MAX_ENTRIES: usize = 1_000_000;

/// The shortest time in which one more is allowed: faster limits would be coarse.
const LEAST_INCREMENT: u64 = 1_000;

/// The longest time in which an empty bucket fills.
const LONGEST_FILLING: u128 = 366 * 86_400 * 1_000_000_000;

/// The section, in the order of its names.
pub(super) fn limits(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Vec<Arc<Limit>> {
    let Some(raw) = &raw.limits else { return Vec::new() };
    let path = KeyPath::default().key("limits");
    let mut limits = Vec::new();
    for (name, raw) in &raw.0 {
        let path = path.key(name);
        resolver.section_name(&path, name, "a limit");
        // One that was refused still is a limit that routes may name.
        let absent = RawLimit::default();
        limits.push(Arc::new(limit(&path, name, raw.as_ref().unwrap_or(&absent), resolver)));
    }
    limits.sort_by(|one, other| one.name.cmp(&other.name));
    limits
}

fn limit(path: &KeyPath, name: &str, raw: &RawLimit, resolver: &mut Resolver<'_>) -> Limit {
    let key = key(path, raw, resolver);
    let rate = rate(path, raw, resolver);
    let concurrency = concurrency(path, &raw.concurrent, &raw.concurrency, resolver);
    let zone = budget::timezone(path, raw, resolver);
    let (tokens, cost) = budget::budgets(path, (&raw.tokens, &raw.cost), &zone, resolver);
    let nothing =
        [&raw.rate, &raw.concurrency, &raw.concurrent, &raw.tokens, &raw.cost].iter().all(|text| text.is_none());
    if nothing && resolver.source.is_map(path) && !resolver.doubtful(path) {
        let finding = Finding::key(path, "the limit limits nothing");
        let expected = "`rate: 100/s`, `concurrent: 10`, `tokens: 10000/15m`, `cost: 20.00/day`, or several of these";
        resolver.report(finding.expected(expected));
    }
    let modes = [("enforce", true), ("shadow", false)];
    let mode = |text: &str| values::one_of(text, "a mode of a limit", &modes);
    let mut limit = Limit {
        name: name.into(),
        rate,
        concurrency,
        tokens,
        cost,
        enforced: resolver.get(&path.key("mode"), &raw.mode, mode).unwrap_or(true),
        headers: resolver.boolean(&path.key("headers"), &raw.headers, true),
        max_entries: max_entries(path, &raw.max_entries, &key, resolver),
        key,
        overrides: Vec::new(),
    };
    limit.overrides = overrides::overrides(path, raw, &limit, &zone, resolver);
    let others = limit.overrides.iter().flat_map(|(_, other)| [&other.tokens, &other.cost]);
    let budgets: Vec<_> = [&limit.tokens, &limit.cost].into_iter().chain(others).collect();
    budget::check_timezone(path, raw, &budgets, resolver);
    limit
}

/// `concurrent`, which is also called `concurrency`.
fn concurrency(path: &KeyPath, first: &Text, second: &Text, resolver: &mut Resolver<'_>) -> Option<u32> {
    let (key, other) = (path.key("concurrent"), path.key("concurrency"));
    if first.is_some() && second.is_some() {
        let finding = Finding::key(&other, "this is another name of `concurrent`, which stands here too");
        resolver.report(finding.expected("one of them"));
    }
    let (path, text) = if first.is_some() { (key, first) } else { (other, second) };
    let most = resolver.number(&path, text, 0, 1..=1_000_000);
    (most > 0).then_some(most)
}

fn key(path: &KeyPath, raw: &RawLimit, resolver: &mut Resolver<'_>) -> LimitKey {
    if raw.key.is_none() {
        resolver.missing(path, "key", KEYS);
    }
    let prefix_path = path.key("ipv6_prefix");
    let ipv6_prefix = resolver.number(&prefix_path, &raw.ipv6_prefix, 64, 32..=128);
    let key = resolver.get(&path.key("key"), &raw.key, |text| limit_key(text, ipv6_prefix));
    match &key {
        Some(LimitKey::ClientIp { .. }) | None => {}
        Some(_) if raw.ipv6_prefix.is_some() => {
            let finding = Finding::key(&prefix_path, "only `key: client_ip` looks at addresses");
            resolver.report(finding.hint("remove it, or limit by client_ip"));
        }
        Some(LimitKey::Header(name)) => {
            let finding = Finding::value(&path.key("key"), format!("a client may send any `{name}` it likes"));
            resolver.warn(finding.hint(
                "such a limit only shares fairly among clients that are honest; name a limit by client_ip or api_key beside it",
            ));
        }
        Some(_) => {}
    }
    key.unwrap_or(LimitKey::Global)
}

const KEYS: &str = "client_ip, api_key, metadata(name), route, global, model or header(x-name)";

/// `client_ip`, `api_key`, `metadata(name)`, `route`, `global`, `model` or `header(x-name)`.
fn limit_key(text: &str, ipv6_prefix: u8) -> Result<LimitKey, Wrong> {
    if let Some(name) = text.strip_prefix("metadata(").and_then(|rest| rest.strip_suffix(')'))
        && !name.trim().is_empty()
    {
        return Ok(LimitKey::Metadata(name.trim().into()));
    }
    if let Some(name) = text.strip_prefix("header(").and_then(|rest| rest.strip_suffix(')')) {
        return values::header_name(name.trim()).map(LimitKey::Header);
    }
    let names = ["client_ip", "api_key", "metadata", "route", "global", "model", "header"];
    match text {
        "client_ip" => Ok(LimitKey::ClientIp { ipv6_prefix }),
        "api_key" => Ok(LimitKey::ApiKey),
        "route" => Ok(LimitKey::Route),
        "global" => Ok(LimitKey::Global),
        "model" => Ok(LimitKey::Model),
        _ => {
            let wrong = Wrong::not(text, "what a limit counts by").expected(KEYS);
            Err(match nearest(text, names) {
                Some("header") => wrong.hint("name the header: header(x-tenant)"),
                Some("metadata") => wrong.hint("say which of a key's metadata: metadata(team)"),
                Some(near) => wrong.hint(format!("did you mean `{near}`?")),
                None => wrong,
            })
        }
    }
}

fn rate(path: &KeyPath, raw: &RawLimit, resolver: &mut Resolver<'_>) -> Option<LimitRate> {
    let burst_path = path.key("burst");
    if raw.rate.is_none() {
        if raw.burst.is_some() && !resolver.meant.contains(&path.key("rate")) {
            let finding = Finding::key(&burst_path, "without a `rate` there is no burst");
            let finding = finding.expected("`rate: 100/s` beside it");
            let budget = raw.tokens.is_some() || raw.cost.is_some();
            let hint = "what may be used at once of `tokens` and `cost` is all that they say";
            resolver.report(if budget { finding.hint(hint) } else { finding });
        }
        return None;
    }
    let rate = resolver.get(&path.key("rate"), &raw.rate, parse_rate);
    let burst = resolver.number(&burst_path, &raw.burst, 0, 1..=1_000_000_000);
    let mut rate = rate?;
    if burst > 0 {
        rate.burst = burst;
    }
    if u128::from(rate.increment()) * u128::from(rate.burst) > LONGEST_FILLING {
        let finding = Finding::value(&burst_path, "at this rate the burst takes more than a year to fill");
        resolver.report(finding.hint("lower the burst, or raise the rate"));
    }
    Some(rate)
}

/// `100/s`, `10000/15m`: a count, and the time it is for.
fn parse_rate(text: &str) -> Result<LimitRate, Wrong> {
    let expected = "requests in a time: 100/s, 60/m or 10000/15m";
    let wrong = || Wrong::not(text, "a rate").expected(expected);
    let Some((count, period)) = text.split_once('/') else {
        let number = values::number::<u64>(text).is_ok();
        return Err(if number { wrong().hint(format!("did you mean {text}/s?")) } else { wrong() });
    };
    let count: u64 = values::number(count.trim()).map_err(|_| wrong())?;
    let period = period.trim();
    let period =
        if period.starts_with(|c: char| c.is_ascii_digit()) { period.to_owned() } else { format!("1{period}") };
    let period = values::duration(&period).map_err(|_| wrong())?;
    let show = |span: &Duration| values::show_duration(*span);
    let period = within(text, period, &(MILLISECOND..=MAX_DURATION), show)?;
    if count == 0 {
        return Err(wrong().hint("a route that nobody may use is one with `respond: 403`"));
    }
    let rate = LimitRate { count, period, burst: count };
    if rate.increment() < LEAST_INCREMENT {
        return Err(Wrong::new(format!("{} is out of range", values::quote(text))).expected("at most 1000000/s"));
    }
    Ok(rate)
}

fn max_entries(path: &KeyPath, text: &Text, key: &LimitKey, resolver: &mut Resolver<'_>) -> usize {
    if text.is_some() && matches!(key, LimitKey::Global | LimitKey::Route) {
        if !resolver.doubtful(&path.key("key")) {
            let finding = Finding::key(&path.key("max_entries"), "this limit has no more keys than the file names");
            resolver.report(finding.hint("remove it"));
        }
        return MAX_ENTRIES;
    }
    resolver.number(&path.key("max_entries"), text, MAX_ENTRIES, 1_000..=64_000_000)
}

/// The limits of a route that asks `auth` of its callers, as indices into `limits`.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    auth: &RouteAuth,
    limits: &[Arc<Limit>],
    resolver: &mut Resolver<'_>,
) -> Vec<usize> {
    let path = path.key("limits");
    let found = resolver.list(&path, raw.limits.as_ref(), |name| {
        if let Some(index) = limits.iter().position(|limit| *limit.name == *name) {
            return Ok(index);
        }
        let wrong = Wrong::new(format!("there is no limit {}", values::quote(name)));
        Err(match nearest(name, limits.iter().map(|limit| &*limit.name)) {
            Some(near) => wrong.hint(format!("did you mean `{near}`?")),
            None if limits.is_empty() => wrong.hint("limits are defined in the section `limits`"),
            None => wrong.expected("a name from the section `limits`"),
        })
    });
    if found.len() > MOST_PER_ROUTE {
        let finding = Finding::value(&path, format!("a route has {MOST_PER_ROUTE} limits at most"));
        resolver.report(finding);
    }
    if raw.ai.is_none() {
        let of_ai = found.iter().filter_map(|index| limits.get(*index)).find(|limit| limit.is_for_ai());
        if let Some(limit) = of_ai {
            let what = if limit.has_budget() { "tokens or money" } else { "models" };
            let message = format!("`{}` counts {what}, which only a route with `ai` knows of", limit.name);
            resolver.report(Finding::value(&path, message).hint("limit requests here: `rate` or `concurrent`"));
        }
    }
    let of_callers = |limit: &&Arc<Limit>| matches!(limit.key, LimitKey::ApiKey | LimitKey::Metadata(_));
    let by_caller = found.iter().filter_map(|index| limits.get(*index)).find(of_callers);
    if let Some(limit) = by_caller
        && *auth == RouteAuth::None
    {
        let message = format!("`{}` counts by caller, and this route knows none", limit.name);
        resolver.report(Finding::value(&path, message).hint("ask for a caller with `auth`, or limit by client_ip"));
    }
    found
}
