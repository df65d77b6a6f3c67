//! `routes`: what each takes and what it does.

use std::sync::Arc;

use super::target::target;
use super::{Resolver, ai, auth, caches, cors, headers, limits, sanitize, server};
use crate::config::ai::Ai;
use crate::config::auth::Auth;
use crate::config::cache::Cache;
use crate::config::cors::Cors;
use crate::config::limit::Limit;
use crate::config::problem::{Finding, KeyPath, Place};
use crate::config::raw::{Or, RawConfig, RawMatch, RawRewrite, RawRoute, RawRouteAi};
use crate::config::sanitize::Sanitize;
use crate::config::values::{self, Wrong, address};
use crate::config::{HeaderMatch, Match, PathPattern, Pool, Rewrite, Route, Server, Target};

/// What the one route takes that a file with `ai` and no routes has.
const AI_PREFIX: &str = "/v1/";

/// The sections that guard routes, and that routes name.
pub(super) struct Guards {
    pub(super) auth: Option<Arc<Auth>>,
    /// The rules for every route that has none of its own.
    pub(super) cors: Option<Arc<Cors>>,
    pub(super) limits: Vec<Arc<Limit>>,
    pub(super) caches: Vec<Arc<Cache>>,
    pub(super) sanitize: Vec<Arc<Sanitize>>,
    pub(super) ai: Option<Arc<Ai>>,
}

/// The routes with the place of each in the file.
pub(super) fn routes(
    raw: &RawConfig,
    pools: &[Arc<Pool>],
    server: &Server,
    guards: &Guards,
    resolver: &mut Resolver<'_>,
) -> Vec<(KeyPath, Arc<Route>)> {
    let path = KeyPath::default().key("routes");
    let Some(list) = &raw.routes else {
        if raw.ai.is_some() && !resolver.source.has(&path) && !resolver.meant.contains(&path) {
            let raw = RawRoute {
                r#match: Some(Or::Text(AI_PREFIX.to_owned())),
                ai: Some(Or::Map(RawRouteAi::default())),
                ..RawRoute::default()
            };
            let route = route(&path, "ai".to_owned(), &raw, pools, server, guards, resolver);
            return route.map(|route| (path, Arc::new(route))).into_iter().collect();
        }
        if !resolver.source.has(&KeyPath::default().key("ai")) {
            resolver.missing(&KeyPath::default(), "routes", "a list such as `- { match: { path: / }, pool: app }`");
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
                if resolver.source.has(&long) { long } else { path.clone() }
            };
            let finding =
                Finding::value(&place(&path, resolver), format!("two routes have the name {}", values::quote(&name)));
            let first = place(first, resolver);
            resolver.report(finding.also(first, "the other one"));
        }
        if let Some(route) = route(&path, name, raw, pools, server, guards, resolver) {
            routes.push((path, Arc::new(route)));
        }
    }
    routes
}

fn name(path: &KeyPath, index: usize, raw: &RawRoute, resolver: &mut Resolver<'_>) -> String {
    let parse = |text: &str| values::name(text, "a route's name");
    resolver.get(&path.key("name"), &raw.name, parse).unwrap_or_else(|| format!("route-{}", index + 1))
}

fn route(
    path: &KeyPath,
    name: String,
    raw: &RawRoute,
    pools: &[Arc<Pool>],
    server: &Server,
    guards: &Guards,
    resolver: &mut Resolver<'_>,
) -> Option<Route> {
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
    let rewrite = rewrite(&path.key("rewrite"), raw.rewrite.as_ref(), &matching.path, resolver);
    let request_headers = headers::rules(&headers_path.key("request"), request_headers, true, resolver);
    let response_headers = headers::rules(&headers_path.key("response"), response_headers, false, resolver);
    let max_body = server::max_body(&path.key("max_body"), &raw.max_body, resolver).unwrap_or(server.max_body);
    let upgrades = raw.sanitize.is_none() && raw.ai.is_none();
    let websocket = resolver.boolean(&path.key("websocket"), &raw.websocket, upgrades);
    let auth = auth::of_route(path, raw, guards.auth.as_deref(), resolver);
    let limits = limits::of_route(path, raw, &auth, &guards.limits, resolver);
    let target = target(path, raw, &matching.path, (pools, guards.ai.as_ref()), resolver)?;
    if let Target::Ai(target) = &target {
        ai::has_budget(path, target, &limits, &guards.limits, resolver);
        ai::cuts_for_one(path, target, raw.cache.is_some(), resolver);
        ai::keeps(path, target, raw.cache.is_some(), resolver);
    }
    Some(Route {
        name: name.into(),
        target,
        matching,
        allow,
        deny,
        rewrite,
        request_headers,
        response_headers,
        max_body,
        websocket,
        limits,
        auth,
        forward_credentials: auth::forwards(path, raw, guards.auth.as_deref(), resolver),
        cors: cors::of_route(path, raw, guards.cors.as_ref(), resolver),
        cache: caches::of_route(path, raw, &guards.caches, pools, resolver),
        sanitize: sanitize::of_route(path, raw, &guards.sanitize, pools, resolver),
    })
}

fn matching(path: &KeyPath, raw: Option<&Or<RawMatch>>, resolver: &mut Resolver<'_>) -> Match {
    let every = || PathPattern::Prefix("/".to_owned());
    let mut matching = Match { hosts: Vec::new(), path: every(), methods: Vec::new(), headers: Vec::new() };
    match raw {
        None => {}
        Some(Or::Text(text)) => {
            matching.path = resolver.get(path, &Some(text.clone()), address::path_pattern).unwrap_or_else(every);
        }
        Some(Or::Map(raw)) => {
            matching.hosts = resolver.list(&path.key("host"), raw.host.as_ref(), address::host_pattern);
            matching.path = resolver.get(&path.key("path"), &raw.path, address::path_pattern).unwrap_or_else(every);
            matching.methods = resolver.list(&path.key("methods"), raw.methods.as_ref(), values::method);
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
                resolver.wrong_at(Place::Key(path), wrong);
                continue;
            }
        };
        if found.iter().any(|other| other.name == name) {
            resolver.report(
                Finding::key(&path, "this header stands here twice").hint("the case of a header has no meaning"),
            );
        }
        // `*`: it only has to be there.
        let value = if value == "*" { None } else { resolver.get(&path, &Some(value.clone()), values::header_value) };
        found.push(HeaderMatch { name, value });
    }
    found
}

fn rewrite(
    path: &KeyPath,
    raw: Option<&Or<RawRewrite>>,
    pattern: &PathPattern,
    resolver: &mut Resolver<'_>,
) -> Option<Rewrite> {
    let raw = match raw? {
        Or::Map(raw) => raw,
        Or::Text(text) => {
            let key = if text.ends_with('/') { "prefix" } else { "path" };
            let wrong = Wrong::not(text, "a rewrite").expected("a map with `prefix` or `path`");
            resolver.wrong(path, wrong.hint(format!("write `rewrite: {{ {key}: {text} }}`")));
            return None;
        }
    };
    let parse = |text: &str| {
        address::path(text).map_err(|reason| Wrong::not(text, "a path").expected("one such as /api/").hint(reason))
    };
    match (&raw.path, &raw.prefix, pattern) {
        (Some(_), Some(_), _) => {
            let finding = Finding::key(&path.key("prefix"), "the rewrite has `path` already");
            resolver.report(finding.expected("one of path or prefix"));
            None
        }
        (None, None, _) => {
            if !resolver.source.has(&path.key("path")) && !resolver.source.has(&path.key("prefix")) {
                resolver.report(Finding::value(path, "the rewrite changes nothing").expected("`path` or `prefix`"));
            }
            None
        }
        (text @ Some(_), None, _) => resolver.get(&path.key("path"), text, parse).map(Rewrite::Path),
        (None, Some(_), PathPattern::Exact(exact)) => {
            let message = format!("the route takes the one path {exact}, which has no prefix");
            resolver.report(Finding::key(&path.key("prefix"), message).hint("write `rewrite: { path: ... }`"));
            None
        }
        (None, text @ Some(_), PathPattern::Prefix(from)) => {
            let parse = |text: &str| match parse(text)? {
                to if to.ends_with('/') => Ok(to),
                to => Err(Wrong::not(text, "a prefix").hint(format!("a prefix ends in `/`: {to}/"))),
            };
            let to = resolver.get(&path.key("prefix"), text, parse)?;
            Some(Rewrite::Prefix { from: from.clone(), to })
        }
    }
}
