//! Which route wins, and which routes could tie.
//!
//! The most specific route that matches a request wins, whatever the order of the file: first by host (exact, then
//! wildcard with the longer one first, then any), then by path (exact, then the longer prefix), then by
//! [`conditions`]. Two routes that are equal in all three and can both match one request are refused here, so the
//! winner never depends on anything else. That also covers routes that can never be reached: a route that is
//! matched only where another one is, is either equal to it or wins over it.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::problem::{Finding, KeyPath};
use super::{Match, PathPattern, Route};

/// How many conditions besides host and path a match has: one for `methods`, one for each header.
pub fn conditions(matching: &Match) -> usize {
    usize::from(!matching.methods.is_empty()) + matching.headers.len()
}

/// Whether one request could be taken by both and neither is more specific for it.
pub fn tie(one: &Match, other: &Match) -> bool {
    one.path == other.path
        && conditions(one) == conditions(other)
        && hosts_tie(one, other)
        && methods_meet(&one.methods, &other.methods)
        && headers_meet(one, other)
}

/// A tie needs a host that both know in the same way. Two different wildcards that take the same host differ in
/// length, and an exact one is above them.
fn hosts_tie(one: &Match, other: &Match) -> bool {
    (one.hosts.is_empty() && other.hosts.is_empty()) || one.hosts.iter().any(|host| other.hosts.contains(host))
}

fn methods_meet(one: &[Method], other: &[Method]) -> bool {
    let takes = |methods: &[Method], method: &Method| {
        methods.contains(method) || (*method == Method::HEAD && methods.contains(&Method::GET))
    };
    one.is_empty() || other.is_empty() || one.iter().any(|m| takes(other, m)) || other.iter().any(|m| takes(one, m))
}

/// Two that want different values of one header never meet.
fn headers_meet(one: &Match, other: &Match) -> bool {
    !one.headers.iter().any(|a| {
        other.headers.iter().any(|b| a.name == b.name && a.value.is_some() && b.value.is_some() && a.value != b.value)
    })
}

/// Reports every route that could tie with an earlier one.
pub(super) fn check(routes: &[(KeyPath, Arc<Route>)], findings: &mut Vec<Finding>) {
    let mut by_path: HashMap<&PathPattern, Vec<&(KeyPath, Arc<Route>)>> = HashMap::new();
    for entry in routes {
        let (path, route) = entry;
        let rivals = by_path.entry(&route.matching.path).or_default();
        if let Some((first, other)) = rivals.iter().find(|(_, other)| tie(&other.matching, &route.matching)) {
            findings.push(report(path, route, first, other));
        }
        rivals.push(entry);
    }
}

fn report(path: &KeyPath, route: &Route, first: &KeyPath, other: &Route) -> Finding {
    let (name, other_name) = (&route.name, &other.name);
    let same = route.matching == other.matching;
    let message = if same {
        format!("route `{name}` can never be reached: route `{other_name}` takes the same requests")
    } else {
        format!("routes `{other_name}` and `{name}` can both take one request, and neither is more specific")
    };
    let finding = Finding::value(&path.key("match"), message).also(first.key("match"), format!("route `{other_name}`"));
    finding.hint(if same {
        "remove one of them"
    } else {
        "give one a longer path, another host or more conditions; the order of routes has no meaning"
    })
}

#[cfg(test)]
mod tests;
