use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;

use super::{Found, RequestView, RouteTable, bare_host};
use crate::config::auth::RouteAuth;
use crate::config::{HeaderMatch, HostPattern, Match, PathPattern, Redirect, Route, Target};
use crate::route::NormalPath;

mod reference;

/// A route's match in one line: `[METHOD,METHOD] [host]/path [?header[=value]]`; `*.host` and a final `/` as in the
/// configuration.
fn matching(text: &str) -> Match {
    let mut words: Vec<&str> = text.split(' ').collect();
    let headers = words.iter().filter_map(|word| word.strip_prefix('?')).map(header).collect();
    words.retain(|word| !word.starts_with('?'));
    let (methods, place) = match words[..] {
        [methods, place] => (methods.split(',').map(|m| m.parse().unwrap()).collect(), place),
        [place] => (Vec::new(), place),
        _ => panic!("not a match: {text}"),
    };
    let (host, path) = place.split_at(place.find('/').unwrap());
    let hosts = match host.strip_prefix("*.") {
        _ if host.is_empty() => Vec::new(),
        Some(parent) => vec![HostPattern::Wildcard(parent.to_owned())],
        None => vec![HostPattern::Exact(host.to_owned())],
    };
    let path =
        if path.ends_with('/') { PathPattern::Prefix(path.to_owned()) } else { PathPattern::Exact(path.to_owned()) };
    Match { hosts, path, methods, headers }
}

fn header(text: &str) -> HeaderMatch {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    HeaderMatch { name: name.parse().unwrap(), value: value.map(|value| value.parse().unwrap()) }
}

fn route(matching: Match) -> Arc<Route> {
    let redirect = Redirect { location: "/".to_owned(), status: StatusCode::FOUND };
    Arc::new(Route {
        name: "route".into(),
        matching,
        target: Target::Redirect(redirect),
        allow: Vec::new(),
        deny: Vec::new(),
        rewrite: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
        max_body: 0,
        websocket: true,
        auth: RouteAuth::None,
        forward_credentials: false,
        cors: None,
        limits: Vec::new(),
        cache: None,
        sanitize: None,
    })
}

/// Which of the routes takes the request, by its text.
struct Site(Vec<&'static str>, RouteTable);

fn site<const N: usize>(routes: [&'static str; N]) -> Site {
    let built: Vec<_> = routes.iter().map(|text| route(matching(text))).collect();
    Site(routes.to_vec(), RouteTable::build(&built))
}

impl Site {
    fn asked(&self, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Found {
        let headers: HeaderMap = headers
            .iter()
            .map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap()))
            .collect();
        let path = NormalPath::parse(path).unwrap();
        let method = method.parse().unwrap();
        self.1.find(&RequestView { host, path: &path, method: &method, headers: &headers })
    }

    fn get(&self, host: &str, path: &str) -> &'static str {
        self.taken(self.asked("GET", host, path, &[]))
    }

    fn taken(&self, found: Found) -> &'static str {
        match found {
            Found::Route(index) => self.0[index],
            Found::NotFound => "404",
            Found::MethodNotAllowed(_) => "405",
            Found::Ambiguous => "400",
        }
    }
}

#[test]
fn the_host_decides_before_the_path() {
    let site = site(["/v1/models", "*.example.com/v1/", "*.eu.example.com/", "www.eu.example.com/", "/"]);
    assert_eq!(site.get("www.eu.example.com", "/v1/models"), "www.eu.example.com/");
    assert_eq!(site.get("api.eu.example.com", "/v1/models"), "*.eu.example.com/");
    assert_eq!(site.get("a.b.example.com", "/v1/models"), "*.example.com/v1/");
    assert_eq!(site.get("api.example.com", "/other"), "/");
    assert_eq!(site.get("example.com", "/v1/models"), "/v1/models");
    assert_eq!(site.get("notexample.com", "/"), "/");
}

#[test]
fn the_host_is_read_without_case_port_and_final_dot() {
    let site = site(["Api.Example.com/", "[::1]/", "*.Wild.example/"]);
    for host in ["api.example.com", "API.EXAMPLE.COM:8443", "api.example.com.", "api.example.com.:80"] {
        assert_eq!(site.get(host, "/"), "Api.Example.com/", "{host}");
    }
    assert_eq!(site.get("[::1]", "/"), "[::1]/");
    assert_eq!(site.get("[::1]:8080", "/"), "[::1]/");
    assert_eq!(site.get("X.WILD.example", "/"), "*.Wild.example/");
    assert_eq!(site.get(&"A".repeat(400), "/"), "404");
    assert_eq!(bare_host("[::1"), "[");
}

#[test]
fn the_longest_path_wins_and_an_exact_one_before_all() {
    let site = site(["/", "/v1/", "/v1/chat/", "/v1/chat", "/v1/models"]);
    assert_eq!(site.get("h", "/v1/chat"), "/v1/chat");
    assert_eq!(site.get("h", "/v1/chat/"), "/v1/chat/");
    assert_eq!(site.get("h", "/v1/chat/completions"), "/v1/chat/");
    assert_eq!(site.get("h", "/v1/models"), "/v1/models");
    assert_eq!(site.get("h", "/v1/models/x"), "/v1/");
    assert_eq!(site.get("h", "/v1"), "/v1/");
    assert_eq!(site.get("h", "/"), "/");
}

#[test]
fn a_prefix_takes_whole_segments() {
    let site = site(["/actuator/", "/exact"]);
    assert_eq!(site.get("h", "/actuator"), "/actuator/");
    assert_eq!(site.get("h", "/actuator/env"), "/actuator/");
    assert_eq!(site.get("h", "/actuatorX"), "404");
    assert_eq!(site.get("h", "/actuatorX/env"), "404");
    assert_eq!(site.get("h", "/exact/"), "404");
}

#[test]
fn an_allow_list_on_a_path_cannot_be_passed_by_spelling() {
    let site = site(["/actuator/", "/"]);
    for path in [
        "/%61ctuator/env",
        "//actuator/env",
        "/x/../actuator/env",
        "/actuator;x/env",
        "/actuator%3b/env",
        "/..;/actuator",
        "/x/..;/actuator/env",
        "/actuator/%2e/env",
        "/;a/actuator",
    ] {
        match NormalPath::parse(path) {
            Ok(_) => assert_eq!(site.get("h", path), "/actuator/", "{path}"),
            Err(_) => assert_eq!(path, "/..;/actuator"),
        }
    }
    for path in ["/actuator%2fenv", "/actuator%5cenv", "/actuator\\env", "/x/..%2Factuator/env", "/%2factuator/env"] {
        assert_eq!(site.get("h", path), "400", "{path}");
    }
    assert_eq!(site.get("h", "/ACTUATOR/env"), "/");
    assert_eq!(site.get("h", "/models/meta-llama%2FLlama-3"), "/");
}

#[test]
fn a_pattern_may_be_written_with_escapes() {
    assert_eq!(site(["/%C3%BC/"]).get("h", "/\u{fc}/x"), "/%C3%BC/");
    assert_eq!(site(["/a%3Ab"]).get("h", "/a:b"), "/a%3Ab");
}

#[test]
fn more_conditions_win_and_failing_ones_fall_back() {
    let site = site(["/v1/", "GET /v1/", "GET /v1/ ?x-canary=on", "/ ?x-any"]);
    assert_eq!(site.taken(site.asked("GET", "h", "/v1/a", &[("x-canary", "on")])), "GET /v1/ ?x-canary=on");
    assert_eq!(
        site.taken(site.asked("GET", "h", "/v1/a", &[("x-canary", "off"), ("x-canary", "on")])),
        "GET /v1/ ?x-canary=on"
    );
    assert_eq!(site.taken(site.asked("GET", "h", "/v1/a", &[("x-canary", "off")])), "GET /v1/");
    assert_eq!(site.taken(site.asked("POST", "h", "/v1/a", &[("x-canary", "on")])), "/v1/");
    assert_eq!(site.taken(site.asked("GET", "h", "/other", &[("x-any", "")])), "/ ?x-any");
    assert_eq!(site.taken(site.asked("GET", "h", "/other", &[])), "404");
}

#[test]
fn head_is_taken_where_get_is() {
    let site = site(["GET /a", "POST /b"]);
    assert_eq!(site.taken(site.asked("HEAD", "h", "/a", &[])), "GET /a");
    assert_eq!(site.taken(site.asked("HEAD", "h", "/b", &[])), "405");
}

#[test]
fn a_wrong_method_is_told_what_is_allowed() {
    let site = site(["GET,POST /a", "DELETE,POST h/a", "PUT /a ?x-there", "PATCH /b"]);
    let allow = |value| Found::MethodNotAllowed(HeaderValue::from_static(value));
    assert_eq!(site.asked("PATCH", "h", "/a", &[]), allow("DELETE, GET, HEAD, POST"));
    assert_eq!(site.asked("PATCH", "other", "/a", &[("x-there", "1")]), allow("GET, HEAD, POST, PUT"));
    assert_eq!(site.asked("GET", "h", "/b", &[]), allow("PATCH"));
}

#[test]
fn routes_that_tie_keep_the_order_of_the_file() {
    let table = RouteTable::build(&[route(matching("/")), route(matching("/"))]);
    let path = NormalPath::parse("/").unwrap();
    let request = RequestView { host: "h", path: &path, method: &Method::GET, headers: &HeaderMap::new() };
    assert_eq!(table.find(&request), Found::Route(0));
}

#[test]
fn one_route_may_have_several_hosts() {
    let mut both = matching("a.example/");
    both.hosts.push(HostPattern::Wildcard("b.example".to_owned()));
    let table = RouteTable::build(&[route(both)]);
    let path = NormalPath::parse("/x").unwrap();
    for host in ["a.example", "x.b.example"] {
        let request = RequestView { host, path: &path, method: &Method::GET, headers: &HeaderMap::new() };
        assert_eq!(table.find(&request), Found::Route(0));
    }
}

#[test]
fn a_path_of_many_segments_costs_one_walk() {
    let site = site(["/", "/a/"]);
    assert_eq!(site.get("h", &"/a".repeat(8000)), "/a/");
}

proptest! {
    #[test]
    fn the_table_agrees_with_the_plain_reading_of_the_rule(
        routes in prop::collection::vec(reference::any_match(), 0..12),
        request in reference::any_request(),
    ) {
        let built: Vec<_> = routes.iter().cloned().map(route).collect();
        let path = NormalPath::parse(&request.path).unwrap();
        let view = RequestView {
            host: &request.host, path: &path, method: &request.method, headers: &request.headers,
        };
        prop_assert_eq!(RouteTable::build(&built).find(&view), reference::find(&routes, &view));
    }

    #[test]
    fn what_is_forwarded_takes_the_same_route(
        routes in prop::collection::vec(reference::any_match(), 0..12),
        pieces in prop::collection::vec(prop::sample::select(vec!["/", "/", "a", "b", "..", ";", "%2f", "%61", "."]), 0..12),
    ) {
        let built: Vec<_> = routes.iter().cloned().map(route).collect();
        let table = RouteTable::build(&built);
        let raw = format!("/{}", pieces.concat());
        if let Ok(path) = NormalPath::parse(&raw) {
            let forwarded = NormalPath::parse(path.forward()).unwrap();
            let headers = HeaderMap::new();
            let view = |path| table.find(&RequestView { host: "a.b", path, method: &Method::GET, headers: &headers });
            prop_assert_eq!(view(&path), view(&forwarded));
        }
    }
}
