//! The routing table: built once per snapshot, most specific match first.
//!
//! Hosts choose first (exact, then the longest wildcard, then routes without a host), then the path (exact, then the
//! longest prefix by segments), then the number of conditions (methods count as one, each header as one). A less
//! specific route is tried when the conditions of a more specific one fail. Routes that tie keep the order of the
//! file; the configuration refuses them before.
//!
//! A look-up allocates nothing unless it ends in 405, and its cost is bound by the depth of the configured paths, not
//! by what the client sends.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};

use super::path::{NormalPath, pattern_form};
use crate::config::{HeaderMatch, HostPattern, PathPattern, Route};

/// The longest host name that is looked up, in bytes (RFC 1035 section 2.3.4 with room). Longer ones only meet routes without a host.
const MAX_HOST: usize = 256;

/// All routes of one snapshot.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<str>, PathTree>,
    wildcard: HashMap<Box<str>, PathTree>,
    any: PathTree,
}

/// What of a request decides on its route.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The authority or Host as received: a port, a final dot and the case do not matter.
    pub host: &'a str,
    /// The path, in normal form.
    pub path: &'a NormalPath<'a>,
    /// The method. HEAD is taken where GET is.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// What the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This one: an index into the routes that the table was built from.
    Route(usize),
    /// There are routes, but none for this method: 405 with this `Allow`.
    MethodNotAllowed(HeaderValue),
    /// No route: 404.
    NotFound,
    /// The path has escaped slashes, and a backend that decodes them would see another route's path: 400.
    Ambiguous,
}

/// The routes of one host pattern, as a tree of path segments. Node 0 is the root.
#[derive(Debug)]
struct PathTree {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    parent: Option<usize>,
    /// Sorted by segment.
    children: Vec<(Box<str>, usize)>,
    exact: Vec<Entry>,
    prefix: Vec<Entry>,
}

/// A route at its place in the tree, with the conditions that are left to check.
#[derive(Debug, Clone)]
struct Entry {
    route: usize,
    methods: Vec<Method>,
    headers: Vec<HeaderMatch>,
}

impl RouteTable {
    /// Builds the table. The indices it gives out are those of `routes`.
    pub fn build(routes: &[Arc<Route>]) -> Self {
        let mut table = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let matching = &route.matching;
            let entry = Entry { route: index, methods: matching.methods.clone(), headers: matching.headers.clone() };
            if matching.hosts.is_empty() {
                table.any.insert(&matching.path, entry);
                continue;
            }
            for host in &matching.hosts {
                let tree = match host {
                    HostPattern::Exact(name) => table.exact.entry(host_key(name)).or_default(),
                    HostPattern::Wildcard(name) => table.wildcard.entry(host_key(name)).or_default(),
                };
                tree.insert(&matching.path, entry.clone());
            }
        }
        table
    }

    /// The most specific route that takes the request.
    pub fn find(&self, request: &RequestView<'_>) -> Found {
        let host = bare_host(request.host);
        let mut lowered = [0; MAX_HOST];
        let host = lower_case(host, &mut lowered);
        let found = self.find_path(host, request.path.matching(), request);
        match request.path.second_reading() {
            Some(second) if self.find_path(host, second, request) != found => Found::Ambiguous,
            _ => found,
        }
    }

    fn find_path(&self, host: &str, path: &str, request: &RequestView<'_>) -> Found {
        let mut allowed = Vec::new();
        let route = self
            .exact
            .get(host)
            .and_then(|tree| tree.find(path, request, &mut allowed))
            .or_else(|| self.find_wildcard(host, path, request, &mut allowed))
            .or_else(|| self.any.find(path, request, &mut allowed));
        match route {
            Some(route) => Found::Route(route),
            None if allowed.is_empty() => Found::NotFound,
            None => Found::MethodNotAllowed(allow(&mut allowed)),
        }
    }

    fn find_wildcard(
        &self,
        host: &str,
        path: &str,
        request: &RequestView<'_>,
        allowed: &mut Vec<Method>,
    ) -> Option<usize> {
        if self.wildcard.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(route) = self.wildcard.get(parent).and_then(|tree| tree.find(path, request, allowed)) {
                return Some(route);
            }
            rest = parent;
        }
        None
    }
}

impl Default for PathTree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl PathTree {
    fn insert(&mut self, pattern: &PathPattern, entry: Entry) {
        let (text, exact) = match pattern {
            PathPattern::Exact(path) => (pattern_form(path), true),
            PathPattern::Prefix(path) => (pattern_form(path), false),
        };
        let mut segments = text.strip_prefix('/').unwrap_or(&text);
        if !exact {
            segments = segments.strip_suffix('/').unwrap_or(segments);
        }
        let mut at = 0;
        // The prefix `/` has no segment; the exact path `/` has one, an empty one.
        if exact || !segments.is_empty() {
            for segment in segments.split('/') {
                at = self.child(at, segment);
            }
        }
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        let entries = if exact { &mut node.exact } else { &mut node.prefix };
        let place = entries.partition_point(|other| other.conditions() >= entry.conditions());
        entries.insert(place, entry);
    }

    /// The child of `parent` for `segment`, made when there is none.
    fn child(&mut self, parent: usize, segment: &str) -> usize {
        let new = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else {
            return 0;
        };
        match node.children.binary_search_by(|(name, _)| (**name).cmp(segment)) {
            Ok(found) => node.children.get(found).map_or(0, |(_, child)| *child),
            Err(place) => {
                node.children.insert(place, (segment.into(), new));
                self.nodes.push(Node { parent: Some(parent), ..Node::default() });
                new
            }
        }
    }

    fn find(&self, path: &str, request: &RequestView<'_>, allowed: &mut Vec<Method>) -> Option<usize> {
        let mut node = self.nodes.first()?;
        let mut whole = true;
        for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
            match node.children.binary_search_by(|(name, _)| (**name).cmp(segment)) {
                Ok(found) => node = self.nodes.get(node.children.get(found)?.1)?,
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        if whole && let Some(route) = first_that_takes(&node.exact, request, allowed) {
            return Some(route);
        }
        loop {
            if let Some(route) = first_that_takes(&node.prefix, request, allowed) {
                return Some(route);
            }
            node = self.nodes.get(node.parent?)?;
        }
    }
}

impl Entry {
    fn conditions(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len()
    }

    fn takes_headers(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|wanted| match &wanted.value {
            Some(value) => headers.get_all(&wanted.name).iter().any(|there| there == value),
            None => headers.contains_key(&wanted.name),
        })
    }

    fn takes_method(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

/// The host of an authority or Host header, without port, brackets of an IPv6 address, and final dot.
/// Letter case is kept. What is not an authority comes back as it is, and matches nothing.
pub fn bare_host(authority: &str) -> &str {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// A host pattern as the table looks it up.
fn host_key(name: &str) -> Box<str> {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// `host` in lower case; copied only when it is not.
fn lower_case<'a>(host: &'a str, buffer: &'a mut [u8; MAX_HOST]) -> &'a str {
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return host;
    }
    let Some(copy) = buffer.get_mut(..host.len()) else {
        return host;
    };
    copy.copy_from_slice(host.as_bytes());
    copy.make_ascii_lowercase();
    std::str::from_utf8(copy).unwrap_or(host)
}

fn first_that_takes(entries: &[Entry], request: &RequestView<'_>, allowed: &mut Vec<Method>) -> Option<usize> {
    for entry in entries {
        if !entry.takes_headers(request.headers) {
            continue;
        }
        if entry.takes_method(request.method) {
            return Some(entry.route);
        }
        allowed.extend(entry.methods.iter().cloned());
    }
    None
}

/// The `Allow` header: every method once, sorted, HEAD beside GET.
fn allow(methods: &mut Vec<Method>) -> HeaderValue {
    if methods.contains(&Method::GET) {
        methods.push(Method::HEAD);
    }
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods.dedup();
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
