//! `routes`: what each takes and what it does.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::{Resolver, headers, pool, server};
use crate::config::problem::{Finding, KeyPath, list, nearest};
use crate::config::raw::{Or, RawConfig, RawMatch, RawRedirect, RawRespond, RawRewrite, RawRoute};
use crate::config::values::{self, Wrong, address, balance::balance};
use crate::config::{
    HeaderMatch, Match, PathPattern, Pool, PoolTarget, Redirect, Respond, Retry, Rewrite, Route,
    Server, Target,
};

/// The longest body of a fixed answer, in bytes.
const MAX_RESPOND_BODY: usize = 64 << 10;
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const TARGETS: &str = "exactly one of pool, redirect or respond";

/// The routes with the place of each in the file.
pub(super) fn routes(
    raw: &RawConfig,
    pools: &[Arc<Pool>],
    server: &Server,
    resolver: &mut Resolver<'_>,
) -> Vec<(KeyPath, Arc<Route>)> {
    let path = KeyPath::default().key("routes");
    let Some(list) = &raw.routes else {
        // With `ai` they are not needed; that section is refused on its own.
        if raw.ai.is_none() {
            resolver.missing(
                &KeyPath::default(),
                "routes",
                "a list such as `- { match: { path: / }, pool: app }`",
            );
        }
        return Vec::new();
    };
    if list.0.is_empty() {
        resolver.report(Finding::value(&path, "the list is empty").expected("at least one route"));
    }
    let mut routes: Vec<(KeyPath, Arc<Route>)> = Vec::new();
    for (index, raw) in list.items() {
        let path = path.index(index);
        let name = name(&path, index, raw, resolver);
        if let Some((first, _)) = routes.iter().find(|(_, other)| *other.name == *name) {
            let place = |path: &KeyPath, resolver: &Resolver<'_>| {
                let long = path.key("name");
                if resolver.source.has(&long) {
                    long
                } else {
                    path.clone()
                }
            };
            let finding = Finding::value(
                &place(&path, resolver),
                format!("two routes have the name {}", values::quote(&name)),
            );
            let first = place(first, resolver);
            resolver.report(finding.also(first, "the other one"));
        }
        if let Some(route) = route(&path, name, raw, pools, server, resolver) {
            routes.push((path, Arc::new(route)));
        }
    }
    routes
}

fn name(path: &KeyPath, index: usize, raw: &RawRoute, resolver: &mut Resolver<'_>) -> String {
    let parse = |text: &str| {
        let fits = (1..=64).contains(&text.len())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        let wrong = || {
            Wrong::not(text, "a route's name")
                .expected("at most 64 letters, digits, `_`, `-` and `.`")
        };
        if fits {
            Ok(text.to_owned())
        } else {
            Err(wrong())
        }
    };
    resolver
        .get(&path.key("name"), &raw.name, parse)
        .unwrap_or_else(|| format!("route-{}", index + 1))
}

fn route(
    path: &KeyPath,
    name: String,
    raw: &RawRoute,
    pools: &[Arc<Pool>],
    server: &Server,
    resolver: &mut Resolver<'_>,
) -> Option<Route> {
    resolver.later(path, &raw.ai, "ai");
    resolver.later(path, &raw.limits, "limits");
    resolver.later(path, &raw.cache, "cache");
    resolver.later(path, &raw.permission, "permission");
    if raw.auth.as_deref().is_some_and(|auth| auth != "none") {
        let finding = Finding::value(&path.key("auth"), "authentication is not supported yet");
        resolver.report(finding.expected("none"));
    }
    let allow = resolver.list(&path.key("allow"), raw.allow.as_ref(), values::network);
    let deny = resolver.list(&path.key("deny"), raw.deny.as_ref(), values::network);
    for net in &allow {
        if let Some(wider) = deny.iter().find(|wider| wider.contains(net)) {
            let finding = Finding::value(
                &path.key("allow"),
                format!("{net} is let in by `allow` and kept out by `deny` ({wider})"),
            );
            resolver.report(finding.hint("`deny` is asked first; remove one of them"));
        }
    }
    let matching = matching(&path.key("match"), raw.r#match.as_ref(), resolver);
    let request_headers = raw.headers.as_ref().and_then(|raw| raw.request.as_ref());
    let response_headers = raw.headers.as_ref().and_then(|raw| raw.response.as_ref());
    let headers_path = path.key("headers");
    let rewrite = rewrite(
        &path.key("rewrite"),
        raw.rewrite.as_ref(),
        &matching.path,
        resolver,
    );
    let request_headers = headers::rules(
        &headers_path.key("request"),
        request_headers,
        true,
        resolver,
    );
    let response_headers = headers::rules(
        &headers_path.key("response"),
        response_headers,
        false,
        resolver,
    );
    let max_body =
        server::max_body(&path.key("max_body"), &raw.max_body, resolver).unwrap_or(server.max_body);
    let websocket = resolver.boolean(&path.key("websocket"), &raw.websocket, true);
    Some(Route {
        name: name.into(),
        target: target(path, raw, pools, resolver)?,
        matching,
        allow,
        deny,
        rewrite,
        request_headers,
        response_headers,
        max_body,
        websocket,
    })
}

fn matching(path: &KeyPath, raw: Option<&Or<RawMatch>>, resolver: &mut Resolver<'_>) -> Match {
    let every = || PathPattern::Prefix("/".to_owned());
    let mut matching = Match {
        hosts: Vec::new(),
        path: every(),
        methods: Vec::new(),
        headers: Vec::new(),
    };
    match raw {
        None => {}
        Some(Or::Text(text)) => {
            matching.path = resolver
                .get(path, &Some(text.clone()), address::path_pattern)
                .unwrap_or_else(every);
        }
        Some(Or::Map(raw)) => {
            matching.hosts =
                resolver.list(&path.key("host"), raw.host.as_ref(), address::host_pattern);
            matching.path = resolver
                .get(&path.key("path"), &raw.path, address::path_pattern)
                .unwrap_or_else(every);
            matching.methods =
                resolver.list(&path.key("methods"), raw.methods.as_ref(), values::method);
            matching.headers = header_matches(&path.key("headers"), raw, resolver);
        }
    }
    matching
}

fn header_matches(path: &KeyPath, raw: &RawMatch, resolver: &mut Resolver<'_>) -> Vec<HeaderMatch> {
    let mut found: Vec<HeaderMatch> = Vec::new();
    for (name, value) in raw.headers.iter().flat_map(|headers| headers.items()) {
        let path = path.key(name);
        let name = match values::header_name(name) {
            Ok(name) => name,
            Err(wrong) => {
                resolver.wrong_at(crate::config::problem::Place::Key(path), wrong);
                continue;
            }
        };
        if found.iter().any(|other| other.name == name) {
            resolver.report(
                Finding::key(&path, "this header stands here twice")
                    .hint("the case of a header has no meaning"),
            );
        }
        // `*`: it only has to be there.
        let value = if value == "*" {
            None
        } else {
            resolver.get(&path, &Some(value.clone()), values::header_value)
        };
        found.push(HeaderMatch { name, value });
    }
    found
}

fn target(
    path: &KeyPath,
    raw: &RawRoute,
    pools: &[Arc<Pool>],
    resolver: &mut Resolver<'_>,
) -> Option<Target> {
    let given = [
        ("pool", raw.pool.is_some()),
        ("redirect", raw.redirect.is_some()),
        ("respond", raw.respond.is_some()),
    ];
    let mut keys = given
        .iter()
        .filter(|(_, given)| *given)
        .map(|(key, _)| *key);
    let (first, second) = (keys.next(), keys.next());
    if let (Some(first), Some(second)) = (first, second) {
        let finding = Finding::key(
            &path.key(second),
            format!("the route has `{first}` already"),
        );
        resolver.report(
            finding
                .expected(TARGETS)
                .also(path.key(first), "the other one"),
        );
        return None;
    }
    if first.is_some_and(|first| first != "pool") {
        pool_only(path, raw, resolver);
    }
    match first {
        Some("pool") => pool_target(path, raw, pools, resolver).map(Target::Pool),
        Some("redirect") => {
            redirect(&path.key("redirect"), raw.redirect.as_ref()?, resolver).map(Target::Redirect)
        }
        Some(_) => {
            respond(&path.key("respond"), raw.respond.as_ref()?, resolver).map(Target::Respond)
        }
        None => {
            let refused = ["pool", "redirect", "respond"]
                .iter()
                .any(|key| resolver.source.has(&path.key(key)));
            if raw.ai.is_none() && !refused {
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
    ];
    for (key, _) in given.iter().filter(|(_, given)| *given) {
        let finding = Finding::key(
            &path.key(key),
            format!("`{key}` has no meaning on a route without a pool"),
        );
        resolver.report(finding.hint("remove it"));
    }
    if raw
        .headers
        .as_ref()
        .is_some_and(|headers| headers.request.is_some())
    {
        let path = path.key("headers").key("request");
        resolver.report(
            Finding::key(
                &path,
                "request headers have no meaning on a route without a pool",
            )
            .hint("remove them"),
        );
    }
}

fn pool_target(
    path: &KeyPath,
    raw: &RawRoute,
    pools: &[Arc<Pool>],
    resolver: &mut Resolver<'_>,
) -> Option<PoolTarget> {
    let known: Vec<&str> = pools.iter().map(|pool| &*pool.name).collect();
    let parse = |text: &str| match known.iter().position(|name| *name == text) {
        Some(index) => Ok(index),
        None => {
            let wrong = Wrong::new(format!("there is no pool {}", values::quote(text)));
            Err(match nearest(text, known.iter().copied()) {
                Some(near) => wrong.hint(format!("did you mean `{near}`?")),
                None if known.is_empty() => {
                    wrong.hint("there is none at all; write one under `pools`")
                }
                None => wrong.expected(list(&known)),
            })
        }
    };
    // What the route overrides is looked at even when its pool is not there.
    let index = resolver.get(&path.key("pool"), &raw.pool, parse);
    let pool = index.and_then(|index| pools.get(index));
    let base = pool.map_or_else(Retry::default, |pool| pool.retry.clone());
    let timeouts = pool.map(|pool| pool.timeouts).unwrap_or_default();
    let mut retry = pool::retry(&path.key("retry"), raw.retry.as_ref(), base, resolver);
    let non_idempotent = &raw.retry_non_idempotent;
    retry.non_idempotent = resolver.boolean(
        &path.key("retry_non_idempotent"),
        non_idempotent,
        retry.non_idempotent,
    );
    if retry.non_idempotent && retry.attempts == 1 {
        let finding = Finding::key(
            &path.key("retry_non_idempotent"),
            "nothing is retried on this route",
        );
        resolver.report(finding.hint("remove it, or let `retry` have more than one attempt"));
    }
    let timeouts = pool::timeouts(
        &path.key("timeouts"),
        raw.timeouts.as_ref(),
        timeouts,
        resolver,
    );
    let balance = resolver.get(&path.key("balance"), &raw.balance, balance);
    let pool = pool?;
    Some(PoolTarget {
        pool: index?,
        balance: balance.unwrap_or_else(|| pool.balance.clone()),
        timeouts,
        retry,
    })
}

fn redirect(
    path: &KeyPath,
    raw: &Or<RawRedirect>,
    resolver: &mut Resolver<'_>,
) -> Option<Redirect> {
    let (location_path, location, status) = match raw {
        Or::Text(text) => (path.clone(), Some(text.clone()), None),
        Or::Map(raw) => {
            if raw.location.is_none() {
                resolver.missing(path, "location", "one such as https://{host}{path}{query}");
            }
            let parse = |text: &str| match text {
                "301" | "302" | "303" | "307" | "308" => values::status(text),
                _ => Err(Wrong::not(text, "the status of a redirect")
                    .expected("301, 302, 303, 307 or 308")),
            };
            let status = resolver.get(&path.key("status"), &raw.status, parse);
            (path.key("location"), raw.location.clone(), status)
        }
    };
    let location = resolver.get(&location_path, &location, location_template)?;
    Some(Redirect {
        location,
        status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
    })
}

/// A Location with `{host}`, `{path}` and `{query}` in it.
fn location_template(text: &str) -> Result<String, Wrong> {
    let wrong = || {
        Wrong::not(text, "a location").expected("one such as https://{host}{path}{query} or /new/")
    };
    if !["/", "http://", "https://"]
        .iter()
        .any(|start| text.starts_with(start))
    {
        return Err(wrong());
    }
    let bare = text
        .replace("{host}", "")
        .replace("{path}", "")
        .replace("{query}", "");
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
            return Some(Respond {
                status,
                body: bytes::Bytes::new(),
                content_type: TEXT,
            });
        }
        Or::Map(raw) => raw,
    };
    let status = resolver
        .get(&path.key("status"), &raw.status, values::status)
        .unwrap_or(StatusCode::OK);
    let body = raw.body.clone().unwrap_or_default();
    if body.len() > MAX_RESPOND_BODY {
        let finding = Finding::value(
            &path.key("body"),
            format!("the body has {} bytes", body.len()),
        );
        resolver.report(finding.expected(format!(
            "at most {}",
            values::show_size(MAX_RESPOND_BODY as u64)
        )));
    }
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        let finding = Finding::key(
            &path.key("body"),
            format!("an answer with status {} has no body", status.as_u16()),
        );
        resolver.report(finding.hint("remove it, or choose another status"));
    }
    let content_type = resolver.get(
        &path.key("content_type"),
        &raw.content_type,
        values::header_value,
    );
    Some(Respond {
        status,
        body: body.into(),
        content_type: content_type.unwrap_or(TEXT),
    })
}

fn rewrite(
    path: &KeyPath,
    raw: Option<&RawRewrite>,
    pattern: &PathPattern,
    resolver: &mut Resolver<'_>,
) -> Option<Rewrite> {
    let raw = raw?;
    let parse = |text: &str| {
        address::path(text).map_err(|reason| {
            Wrong::not(text, "a path")
                .expected("one such as /api/")
                .hint(reason)
        })
    };
    match (&raw.path, &raw.prefix, pattern) {
        (Some(_), Some(_), _) => {
            let finding = Finding::key(&path.key("prefix"), "the rewrite has `path` already");
            resolver.report(finding.expected("one of path or prefix"));
            None
        }
        (None, None, _) => {
            if !resolver.source.has(&path.key("path")) && !resolver.source.has(&path.key("prefix"))
            {
                resolver.report(
                    Finding::value(path, "the rewrite changes nothing")
                        .expected("`path` or `prefix`"),
                );
            }
            None
        }
        (text @ Some(_), None, _) => resolver
            .get(&path.key("path"), text, parse)
            .map(Rewrite::Path),
        (None, Some(_), PathPattern::Exact(exact)) => {
            let message = format!("the route takes the one path {exact}, which has no prefix");
            resolver.report(
                Finding::key(&path.key("prefix"), message).hint("write `rewrite: { path: ... }`"),
            );
            None
        }
        (None, text @ Some(_), PathPattern::Prefix(from)) => {
            let parse = |text: &str| match parse(text)? {
                to if to.ends_with('/') => Ok(to),
                to => {
                    Err(Wrong::not(text, "a prefix").hint(format!("a prefix ends in `/`: {to}/")))
                }
            };
            let to = resolver.get(&path.key("prefix"), text, parse)?;
            Some(Rewrite::Prefix {
                from: from.clone(),
                to,
            })
        }
    }
}
