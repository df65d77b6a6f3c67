//! "The most specific match wins", written as plainly as can be: rank every route and take the first.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Found, HeaderMatch, HostPattern, Match, PathPattern, RequestView};

/// How specific: host, path, conditions; greater first.
type Rank = ((u8, usize), (u8, usize), usize);

pub(super) struct Request {
    pub host: String,
    pub path: String,
    pub method: Method,
    pub headers: HeaderMap,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}{} {:?}", self.method, self.host, self.path, self.headers)
    }
}

pub(super) fn find(routes: &[Match], request: &RequestView<'_>) -> Found {
    let mut ranked: Vec<(Rank, usize)> = routes
        .iter()
        .enumerate()
        .filter(|(_, route)| headers_hold(route, request))
        .filter_map(|(index, route)| {
            let conditions = usize::from(!route.methods.is_empty()) + route.headers.len();
            Some(((host_rank(route, request.host)?, path_rank(route, request.path.matching())?, conditions), index))
        })
        .collect();
    ranked.sort_by(|(a, i), (b, j)| b.cmp(a).then(i.cmp(j)));
    let takes = |index: usize| {
        let methods = &routes[index].methods;
        let method = request.method;
        methods.is_empty() || methods.contains(method) || (method == Method::HEAD && methods.contains(&Method::GET))
    };
    match ranked.iter().find(|(_, index)| takes(*index)) {
        Some((_, index)) => Found::Route(*index),
        None if ranked.is_empty() => Found::NotFound,
        None => Found::MethodNotAllowed(allowed(ranked.iter().map(|(_, index)| &routes[*index]))),
    }
}

fn allowed<'a>(routes: impl Iterator<Item = &'a Match>) -> HeaderValue {
    let mut names: std::collections::BTreeSet<&str> =
        routes.flat_map(|route| &route.methods).map(Method::as_str).collect();
    if names.contains("GET") {
        names.insert("HEAD");
    }
    names.into_iter().collect::<Vec<_>>().join(", ").parse().unwrap()
}

fn host_rank(route: &Match, host: &str) -> Option<(u8, usize)> {
    if route.hosts.is_empty() {
        return Some((0, 0));
    }
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some((2, 0)),
        HostPattern::Wildcard(parent) => host.ends_with(&format!(".{parent}")).then_some((1, parent.len())),
    };
    route.hosts.iter().filter_map(rank).max()
}

fn path_rank(route: &Match, path: &str) -> Option<(u8, usize)> {
    match &route.path {
        PathPattern::Exact(exact) => (exact == path).then_some((1, 0)),
        PathPattern::Prefix(prefix) => format!("{path}/").starts_with(prefix.as_str()).then_some((0, prefix.len())),
    }
}

fn headers_hold(route: &Match, request: &RequestView<'_>) -> bool {
    route.headers.iter().all(|wanted| match (&wanted.value, request.headers.get(&wanted.name)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(value), Some(there)) => value == there,
    })
}

fn any_path() -> impl Strategy<Value = String> {
    (prop::collection::vec(select(vec!["a", "b", "aa"]), 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let path = format!("/{}", segments.join("/"));
        if slash && path != "/" { format!("{path}/") } else { path }
    })
}

fn any_host() -> impl Strategy<Value = String> {
    select(vec!["a", "a.b", "b", "c.a.b", "x.b", "b.a"]).prop_map(str::to_owned)
}

fn any_method() -> impl Strategy<Value = Method> {
    select(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT])
}

const NAMES: [HeaderName; 2] = [HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];

fn any_header() -> impl Strategy<Value = HeaderMatch> {
    (select(NAMES.to_vec()), select(vec![None, Some("1"), Some("2")]))
        .prop_map(|(name, value)| HeaderMatch { name, value: value.map(HeaderValue::from_static) })
}

pub(super) fn any_match() -> impl Strategy<Value = Match> {
    let host = (any_host(), any::<bool>())
        .prop_map(|(name, exact)| if exact { HostPattern::Exact(name) } else { HostPattern::Wildcard(name) });
    let path = any_path().prop_flat_map(|path| {
        select(vec![PathPattern::Exact(path.clone()), PathPattern::Prefix(format!("{}/", path.trim_end_matches('/')))])
    });
    let hosts = prop::collection::vec(host, 0..3);
    let methods = prop::collection::vec(any_method(), 0..3);
    let headers = prop::collection::vec(any_header(), 0..2);
    (hosts, path, methods, headers).prop_map(|(hosts, path, methods, headers)| Match { hosts, path, methods, headers })
}

pub(super) fn any_request() -> impl Strategy<Value = Request> {
    let headers = prop::collection::hash_map(select(NAMES.to_vec()), select(vec!["1", "2"]), 0..3);
    (any_host(), any_path(), any_method(), headers).prop_map(|(host, path, method, headers)| Request {
        host,
        path,
        method,
        headers: headers.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect(),
    })
}
