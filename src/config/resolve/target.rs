//! What a route does: ask a pool or providers of models, redirect, or answer.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::{Resolver, ai, retry};
use crate::config::ai::Ai;
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{Or, RawRedirect, RawRespond, RawRoute};
use crate::config::values::{self, Wrong, balance::balance};
use crate::config::{PathPattern, Pool, PoolTarget, Redirect, Respond, Retry, Target};

/// The longest body of a fixed answer, in bytes.
const MAX_RESPOND_BODY: usize = 64 << 10;
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const TARGETS: &str = "exactly one of pool, ai, redirect or respond";

pub(super) fn target(
    path: &KeyPath,
    raw: &RawRoute,
    pattern: &PathPattern,
    (pools, ai): (&[Arc<Pool>], Option<&Arc<Ai>>),
    resolver: &mut Resolver<'_>,
) -> Option<Target> {
    let given = [
        ("pool", raw.pool.is_some()),
        ("ai", raw.ai.is_some()),
        ("redirect", raw.redirect.is_some()),
        ("respond", raw.respond.is_some()),
    ];
    let mut keys = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key);
    let (first, second) = (keys.next(), keys.next());
    if let (Some(first), Some(second)) = (first, second) {
        let finding = Finding::key(&path.key(second), format!("the route has `{first}` already"));
        resolver.report(finding.expected(TARGETS).also(path.key(first), "the other one"));
        return None;
    }
    if matches!(first, Some("redirect" | "respond")) {
        pool_only(path, raw, resolver);
    }
    match first {
        Some("pool") => pool_target(path, raw, pools, resolver).map(Target::Pool),
        Some("ai") => ai::target(path, raw, pattern, ai, resolver).map(Target::Ai),
        Some("redirect") => redirect(&path.key("redirect"), raw.redirect.as_ref()?, resolver).map(Target::Redirect),
        Some(_) => respond(&path.key("respond"), raw.respond.as_ref()?, resolver).map(Target::Respond),
        None => {
            let known = |key: KeyPath| resolver.source.has(&key) || resolver.meant.contains(&key);
            let refused = ["pool", "ai", "redirect", "respond"].iter().any(|key| known(path.key(key)));
            if !refused {
                resolver.report(Finding::value(path, "the route does nothing").expected(TARGETS));
            }
            None
        }
    }
}

/// Refuses what has a meaning only where a pool is asked.
fn pool_only(path: &KeyPath, raw: &RawRoute, resolver: &mut Resolver<'_>) {
    let given = [
        ("rewrite", raw.rewrite.is_some()),
        ("timeouts", raw.timeouts.is_some()),
        ("retry", raw.retry.is_some()),
        ("retry_non_idempotent", raw.retry_non_idempotent.is_some()),
        ("balance", raw.balance.is_some()),
        ("websocket", raw.websocket.is_some()),
        ("cache", raw.cache.is_some()),
    ];
    for (key, _) in given.iter().filter(|(_, given)| *given) {
        let finding = Finding::key(&path.key(key), format!("`{key}` has no meaning on a route without a pool"));
        resolver.report(finding.hint("remove it"));
    }
    if raw.headers.as_ref().is_some_and(|headers| headers.request.is_some()) {
        let path = path.key("headers").key("request");
        resolver.report(
            Finding::key(&path, "request headers have no meaning on a route without a pool").hint("remove them"),
        );
    }
}

fn pool_target(path: &KeyPath, raw: &RawRoute, pools: &[Arc<Pool>], resolver: &mut Resolver<'_>) -> Option<PoolTarget> {
    let known: Vec<&str> = pools.iter().map(|pool| &*pool.name).collect();
    let parse = |text: &str| values::index_of(text, "pool", "pools", &known);
    // What the route overrides is looked at even when its pool is not there.
    let index = resolver.get(&path.key("pool"), &raw.pool, parse);
    let pool = index.and_then(|index| pools.get(index));
    let base = pool.map_or_else(Retry::default, |pool| pool.retry.clone());
    let timeouts = pool.map(|pool| pool.timeouts).unwrap_or_default();
    let mut retry = retry::retry(&path.key("retry"), raw.retry.as_ref(), base, resolver);
    let non_idempotent = &raw.retry_non_idempotent;
    retry.non_idempotent = resolver.boolean(&path.key("retry_non_idempotent"), non_idempotent, retry.non_idempotent);
    if retry.non_idempotent && retry.attempts == 1 {
        let finding = Finding::key(&path.key("retry_non_idempotent"), "nothing is retried on this route");
        resolver.report(finding.hint("remove it, or let `retry` have more than one attempt"));
    }
    let timeouts = retry::timeouts(&path.key("timeouts"), raw.timeouts.as_ref(), timeouts, resolver);
    let balance = resolver.get(&path.key("balance"), &raw.balance, balance);
    let pool = pool?;
    Some(PoolTarget { pool: index?, balance: balance.unwrap_or_else(|| pool.balance.clone()), timeouts, retry })
}

fn redirect(path: &KeyPath, raw: &Or<RawRedirect>, resolver: &mut Resolver<'_>) -> Option<Redirect> {
    let (location_path, location, status) = match raw {
        Or::Text(text) => (path.clone(), Some(text.clone()), None),
        Or::Map(raw) => {
            if raw.location.is_none() {
                resolver.missing(path, "location", "one such as https://{host}{path}{query}");
            }
            let parse = |text: &str| match text {
                "301" | "302" | "303" | "307" | "308" => values::status(text),
                _ => Err(Wrong::not(text, "the status of a redirect").expected("301, 302, 303, 307 or 308")),
            };
            let status = resolver.get(&path.key("status"), &raw.status, parse);
            (path.key("location"), raw.location.clone(), status)
        }
    };
    let location = resolver.get(&location_path, &location, location_template)?;
    Some(Redirect { location, status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT) })
}

/// A Location with `{host}`, `{path}` and `{query}` in it.
fn location_template(text: &str) -> Result<String, Wrong> {
    let wrong = || Wrong::not(text, "a location").expected("one such as https://{host}{path}{query} or /new/");
    if !["/", "http://", "https://"].iter().any(|start| text.starts_with(start)) {
        return Err(wrong());
    }
    let bare = text.replace("{host}", "").replace("{path}", "").replace("{query}", "");
    if bare.contains(['{', '}']) {
        return Err(wrong().hint("what may stand in braces: {host}, {path}, {query}"));
    }
    if bare.contains(' ') {
        return Err(wrong().hint("spaces are percent-encoded in a location"));
    }
    values::header_value(text).map(|_| text.to_owned())
}

fn respond(path: &KeyPath, raw: &Or<RawRespond>, resolver: &mut Resolver<'_>) -> Option<Respond> {
    let raw = match raw {
        Or::Text(text) => {
            let status = resolver.get(path, &Some(text.clone()), values::status)?;
            return Some(Respond { status, body: bytes::Bytes::new(), content_type: TEXT });
        }
        Or::Map(raw) => raw,
    };
    let status = resolver.get(&path.key("status"), &raw.status, values::status).unwrap_or(StatusCode::OK);
    let body = raw.body.clone().unwrap_or_default();
    if body.len() > MAX_RESPOND_BODY {
        let finding = Finding::value(&path.key("body"), format!("the body has {} bytes", body.len()));
        resolver.report(finding.expected(format!("at most {}", values::show_size(MAX_RESPOND_BODY as u64))));
    }
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        let finding = Finding::key(&path.key("body"), format!("an answer with status {} has no body", status.as_u16()));
        resolver.report(finding.hint("remove it, or choose another status"));
    }
    let content_type = resolver.get(&path.key("content_type"), &raw.content_type, values::header_value);
    Some(Respond { status, body: body.into(), content_type: content_type.unwrap_or(TEXT) })
}
