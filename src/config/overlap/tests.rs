use std::collections::HashSet;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::config::{HeaderMatch, HostPattern};

fn on(path: &str) -> Match {
    let path =
        if path.ends_with('/') { PathPattern::Prefix(path.to_owned()) } else { PathPattern::Exact(path.to_owned()) };
    Match { hosts: Vec::new(), path, methods: Vec::new(), headers: Vec::new() }
}

fn hosts(matching: Match, hosts: &[&str]) -> Match {
    let pattern = |host: &&str| match host.strip_prefix("*.") {
        Some(parent) => HostPattern::Wildcard(parent.to_owned()),
        None => HostPattern::Exact((*host).to_owned()),
    };
    Match { hosts: hosts.iter().map(pattern).collect(), ..matching }
}

fn methods(matching: Match, methods: &[Method]) -> Match {
    Match { methods: methods.to_vec(), ..matching }
}

fn header(mut matching: Match, name: &'static str, value: Option<&'static str>) -> Match {
    let value = value.map(HeaderValue::from_static);
    matching.headers.push(HeaderMatch { name: HeaderName::from_static(name), value });
    matching
}

#[test]
fn the_same_match_ties_with_itself() {
    let matching = header(methods(hosts(on("/a/"), &["a.example"]), &[Method::GET]), "x-a", Some("b"));
    assert!(tie(&matching, &matching));
}

#[test]
fn another_path_never_ties() {
    assert!(!tie(&on("/a/"), &on("/b/")));
    assert!(!tie(&on("/a/"), &on("/a/b/")), "the longer prefix wins");
    assert!(!tie(&on("/a/"), &on("/a")), "the exact path wins");
}

#[test]
fn hosts_tie_only_where_both_know_one_in_the_same_way() {
    let with = |names: &[&str]| hosts(on("/"), names);
    assert!(tie(&with(&["a.example", "b.example"]), &with(&["c.example", "b.example"])));
    assert!(tie(&with(&["*.example"]), &with(&["*.example"])));
    assert!(!tie(&with(&["a.example"]), &with(&["b.example"])));
    assert!(!tie(&with(&["a.example"]), &with(&["*.example"])), "the exact host wins");
    assert!(!tie(&with(&["*.a.example"]), &with(&["*.example"])), "the longer wildcard wins");
    assert!(!tie(&with(&["*.example"]), &on("/")), "any host is least specific");
}

#[test]
fn more_conditions_win() {
    assert!(!tie(&methods(on("/"), &[Method::GET]), &on("/")));
    assert!(!tie(&header(on("/"), "x-a", None), &on("/")));
    assert!(tie(&methods(on("/"), &[Method::GET]), &header(on("/"), "x-a", None)));
}

#[test]
fn methods_that_never_meet_never_tie() {
    let with = |list: &[Method]| methods(on("/"), list);
    assert!(!tie(&with(&[Method::GET]), &with(&[Method::POST, Method::PUT])));
    assert!(tie(&with(&[Method::GET, Method::PUT]), &with(&[Method::PUT])));
    assert!(tie(&with(&[Method::HEAD]), &with(&[Method::GET])), "GET takes HEAD too");
}

#[test]
fn different_values_of_one_header_never_tie() {
    let with = |name, value| header(on("/"), name, value);
    assert!(!tie(&with("x-a", Some("1")), &with("x-a", Some("2"))));
    assert!(tie(&with("x-a", Some("1")), &with("x-a", None)), "both take the value 1");
    assert!(tie(&with("x-a", Some("1")), &with("x-b", Some("2"))));
}

/// What a request offers to a match, in the plainest words.
fn takes(matching: &Match, host: &str, path: &str, method: &Method, values: &[(&str, &str)]) -> bool {
    let host = matching.hosts.is_empty()
        || matching.hosts.iter().any(|pattern| match pattern {
            HostPattern::Exact(name) => name == host,
            HostPattern::Wildcard(parent) => host.ends_with(&format!(".{parent}")),
        });
    let path = match &matching.path {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => format!("{path}/").starts_with(prefix.as_str()),
    };
    let method = matching.methods.is_empty()
        || matching.methods.contains(method)
        || (*method == Method::HEAD && matching.methods.contains(&Method::GET));
    let headers = matching.headers.iter().all(|wanted| {
        values
            .iter()
            .any(|(name, value)| wanted.name == *name && wanted.value.as_ref().is_none_or(|wanted| wanted == *value))
    });
    host && path && method && headers
}

/// How specific a match is for a host that it takes; higher wins.
fn rank(matching: &Match, host: &str) -> (usize, usize, usize, usize) {
    let by_host = matching.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
        HostPattern::Wildcard(parent) => host.ends_with(&format!(".{parent}")).then_some(parent.len()),
    });
    let (exact, length) = match &matching.path {
        PathPattern::Exact(path) => (1, path.len()),
        PathPattern::Prefix(path) => (0, path.len()),
    };
    (by_host.max().unwrap_or(0), exact, length, conditions(matching))
}

fn any_match() -> impl Strategy<Value = Match> {
    let some_hosts = prop::sample::subsequence(vec!["a.x", "b.x", "*.x", "*.a.x"], 0..=2);
    let path = prop::sample::select(vec!["/", "/p/", "/p", "/p/q/", "/p/q"]);
    let verbs = prop::sample::subsequence(vec![Method::GET, Method::HEAD, Method::POST], 0..=2);
    let some_headers = prop::collection::vec(
        (prop::sample::select(vec!["x-a", "x-b"]), prop::sample::select(vec![None, Some("1"), Some("2")])),
        0..=2,
    );
    (some_hosts, path, verbs, some_headers).prop_map(|(names, path, verbs, wanted)| {
        let mut seen = HashSet::new();
        let matching = methods(hosts(on(path), &names), &verbs);
        wanted
            .into_iter()
            .filter(|(name, _)| seen.insert(*name))
            .fold(matching, |m, (name, value)| header(m, name, value))
    })
}

proptest! {
    /// A tie is exactly this: some request is taken by both, and neither ranks higher for it.
    #[test]
    fn a_tie_is_told_if_and_only_if_a_request_proves_it(one in any_match(), other in any_match()) {
        let mut proven = false;
        for host in ["a.x", "b.x", "c.x", "d.a.x", "y"] {
            for path in ["/", "/p", "/p/q", "/p/q/r", "/z"] {
                for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT] {
                    for values in [[("x-a", "1"), ("x-b", "1")], [("x-a", "1"), ("x-b", "2")], [("x-a", "2"), ("x-b", "1")], [("x-a", "2"), ("x-b", "2")]] {
                        proven |= takes(&one, host, path, &method, &values)
                            && takes(&other, host, path, &method, &values)
                            && rank(&one, host) == rank(&other, host);
                    }
                }
            }
        }
        prop_assert_eq!(tie(&one, &other), proven);
        prop_assert_eq!(tie(&other, &one), proven, "whichever comes first");
    }
}
