//! `overrides` of a limit: some whom it counts, and the numbers that hold for them.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::super::Resolver;
use super::{budget, concurrency, rate};
use crate::clock;
use crate::config::Route;
use crate::config::auth::{ApiKey, Auth, RouteAuth};
use crate::config::limit::{Limit, LimitKey};
use crate::config::problem::{Finding, KeyPath, nearest};
use crate::config::raw::{RawLimit, RawNumbers};
use crate::config::values;

/// The most keys that a warning names.
const SHOWN: usize = 3;
/// The most overrides of one limit.
const MOST: usize = 10_000;

/// The section, as the limit is for each of those that it names.
pub(super) fn overrides(
    path: &KeyPath,
    raw: &RawLimit,
    limit: &Limit,
    zone: &TimeZone,
    resolver: &mut Resolver<'_>,
) -> Vec<(Box<str>, Arc<Limit>)> {
    let Some(named) = &raw.overrides else { return Vec::new() };
    let (of_limit, path) = (path, path.key("overrides"));
    if limit.key == LimitKey::Global {
        if !resolver.doubtful(&of_limit.key("key")) {
            let finding = Finding::key(&path, "this limit counts all requests together, and knows nobody by name");
            resolver.report(finding.hint("remove it, or limit by another `key`"));
        }
        return Vec::new();
    }
    if named.0.is_empty() || named.0.len() > MOST {
        let finding = Finding::key(&path, "these are none, or too many");
        resolver.report(finding.expected(format!("1 to {MOST} of those whom the limit counts, each with its numbers")));
    }
    let mut found: Vec<(Box<str>, Arc<Limit>)> = Vec::new();
    for (who, numbers) in named.items() {
        let path = path.key(who);
        check_name(&path, who, &limit.key, resolver);
        // A caller's id may be written with its kind.
        let who = if limit.key == LimitKey::ApiKey { who.strip_prefix("key:").unwrap_or(who) } else { who };
        if found.iter().any(|(known, _)| **known == *who) {
            resolver.report(Finding::key(&path, format!("{} stands here twice", values::quote(who))));
        }
        found.push((who.into(), Arc::new(changed(&path, raw, numbers, limit, zone, resolver))));
    }
    found
}

fn check_name(path: &KeyPath, who: &str, key: &LimitKey, resolver: &mut Resolver<'_>) {
    if matches!(key, LimitKey::ClientIp { .. }) && who.parse::<IpAddr>().is_err() {
        resolver.report(Finding::key(path, "this is no address").expected("one such as 10.0.0.7 or 2001:db8::1"));
    } else if who.is_empty() {
        resolver.report(Finding::key(path, "this names nobody"));
    }
}

/// `limit` with the `numbers` in place of its own.
fn changed(
    path: &KeyPath,
    raw: &RawLimit,
    numbers: &RawNumbers,
    limit: &Limit,
    zone: &TimeZone,
    resolver: &mut Resolver<'_>,
) -> Limit {
    let RawNumbers { rate: rate_text, burst, concurrent, concurrency: other, tokens, cost } = numbers;
    let both = [
        ("rate", rate_text.is_some(), raw.rate.is_some()),
        ("burst", burst.is_some(), raw.rate.is_some()),
        ("concurrent", concurrent.is_some() || other.is_some(), raw.concurrent.is_some() || raw.concurrency.is_some()),
        ("tokens", tokens.is_some(), raw.tokens.is_some()),
        ("cost", cost.is_some(), raw.cost.is_some()),
    ];
    if both.iter().all(|(_, own, _)| !own) && !resolver.doubtful(path) {
        let finding = Finding::key(path, "this changes no number of the limit");
        resolver.report(finding.expected("one that the limit has: `rate`, `burst`, `concurrent`, `tokens` or `cost`"));
    }
    for (key, _, _) in both.iter().filter(|(_, own, of_limit)| *own && !of_limit) {
        let known = if *key == "burst" { "rate" } else { key };
        let finding = Finding::key(&path.key(key), format!("the limit itself has no `{known}` that this could change"));
        resolver.report(finding.hint(format!("give the limit a `{known}`: it holds for everybody else")));
    }
    let changes_rate = limit.rate.is_some() && (rate_text.is_some() || burst.is_some());
    let rate = changes_rate.then(|| {
        let rate_text = if rate_text.is_some() { rate_text } else { &raw.rate };
        let raw = RawLimit { rate: rate_text.clone(), burst: burst.clone(), ..RawLimit::default() };
        rate(path, &raw, resolver)
    });
    let concurrency = concurrency(path, concurrent, other, resolver);
    let (tokens, cost) = budget::budgets(path, (tokens, cost), zone, resolver);
    Limit {
        rate: rate.flatten().or(limit.rate),
        concurrency: concurrency.or(limit.concurrency),
        tokens: tokens.or_else(|| limit.tokens.clone()),
        cost: cost.or_else(|| limit.cost.clone()),
        ..limit.clone()
    }
}

/// Warns of overrides for nobody, and of limits by metadata that no key has, or some have not.
pub(in crate::config) fn warn_strangers(
    limits: &[Arc<Limit>],
    auth: Option<&Auth>,
    routes: &[Arc<Route>],
    resolver: &mut Resolver<'_>,
) {
    let keys = || auth.iter().flat_map(|auth| auth.keys());
    for (index, limit) in limits.iter().enumerate() {
        let path = KeyPath::default().key("limits").key(&limit.name);
        let (what, known): (_, Vec<&str>) = match &limit.key {
            LimitKey::ApiKey => ("an API key", keys().map(|key| &*key.id).collect()),
            LimitKey::Metadata(name) => {
                ("what the metadata of an API key says", keys().filter_map(|key| key.said_of(name)).collect())
            }
            LimitKey::Route => ("a route", routes.iter().map(|route| &*route.name).collect()),
            _ => continue,
        };
        if let LimitKey::Metadata(name) = &limit.key {
            let counted = |route: &&Arc<Route>| route.limits.contains(&index);
            let comes_in = |key: &&ApiKey| routes.iter().filter(counted).any(|route| lets_in(route, key));
            let lacking: Vec<&str> =
                keys().filter(comes_in).filter(|key| key.said_of(name).is_none()).map(|key| &*key.id).collect();
            warn_lacking(&path.key("key"), name, known.is_empty(), &lacking, resolver);
        }
        let of_token = |who: &str| limit.key == LimitKey::ApiKey && who.starts_with("token:");
        for (who, _) in limit.overrides.iter().filter(|(who, _)| !known.contains(&&**who) && !of_token(who)) {
            let finding = Finding::key(&path.key("overrides").key(who), format!("this is not {what}"));
            resolver.warn(match nearest(who, known.iter().copied()) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding,
            });
        }
    }
}

/// Warns of keys that lack `name`, by which a limit counts: they count together, where each was perhaps to have its own.
fn warn_lacking(path: &KeyPath, name: &str, all: bool, lacking: &[&str], resolver: &mut Resolver<'_>) {
    if all {
        let message = format!("no API key has `{name}` in its metadata: all callers count together");
        resolver.warn(Finding::value(path, message));
        return;
    }
    let (shown, rest) = lacking.split_at(lacking.len().min(SHOWN));
    let shown: Vec<String> = shown.iter().map(|id| values::quote(id)).collect();
    let message = match (shown.as_slice(), rest.len()) {
        ([], _) => return,
        ([one], _) => format!(
            "1 API key has no `{name}` in its metadata, and counts together with all callers without one: {one}"
        ),
        ([first @ .., last], 0) => {
            let (count, first) = (lacking.len(), first.join(", "));
            format!("{count} API keys have no `{name}` in their metadata, and count together: {first} and {last}")
        }
        (shown, more) => {
            let (count, shown) = (lacking.len(), shown.join(", "));
            format!("{count} API keys have no `{name}` in their metadata, and count together: {shown} and {more} more")
        }
    };
    let hint = format!("give each key its own: metadata: {{ {name}: ... }}");
    resolver.warn(Finding::value(path, message).hint(hint));
}

/// Whether a caller may come in at `route` by `key`.
fn lets_in(route: &Route, key: &ApiKey) -> bool {
    let RouteAuth::Required(required) = &route.auth else { return false };
    let permitted = required.permission.as_ref().is_none_or(|permission| key.permissions.allows(permission));
    let in_force = key.enabled && !key.secrets.is_empty() && key.expires_at.is_none_or(|at| at > clock::wall());
    required.accepts.api_keys && permitted && in_force
}
