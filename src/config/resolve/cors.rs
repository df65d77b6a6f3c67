//! `auth.cors`, and `cors` of a route.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use super::{Resolver, within};
use crate::config::cors::{Cors, Origins};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{OneOrMany, Or, RawAuth, RawCors, RawRoute};
use crate::config::values::origin::{OriginPattern, origin};
use crate::config::values::{self, Wrong};

/// How long a browser may remember a preflight's answer. Browsers cut it to two hours or to one day themselves.
const MAX_AGE: Duration = Duration::from_secs(600);
const LONGEST_AGE: Duration = Duration::from_secs(86_400);

/// What needs no preflight for its method (the Fetch standard, section 2.2.1).
const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

/// The rules for all routes. `path` is that of `auth`.
pub(super) fn cors(path: &KeyPath, raw: &RawAuth, resolver: &mut Resolver<'_>) -> Option<Arc<Cors>> {
    rules(&path.key("cors"), raw.cors.as_ref()?, resolver).map(Arc::new)
}

/// The rules of one route, where it does not take those for all.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    all: Option<&Arc<Cors>>,
    resolver: &mut Resolver<'_>,
) -> Option<Arc<Cors>> {
    let key = path.key("cors");
    let rules = match &raw.cors {
        None => all.cloned(),
        Some(Or::Text(text)) if text == "off" => None,
        Some(Or::Text(text)) => {
            let wrong = Wrong::not(text, "a set of CORS rules").expected("off, or a map with `origins` and others");
            resolver.wrong(&key, wrong);
            None
        }
        Some(Or::Map(raw)) => rules(&key, raw, resolver).map(Arc::new),
    };
    if rules.is_some() {
        refuse_header_rules(path, raw, resolver);
    }
    rules
}

/// A rule on headers that says what CORS says already: one of them would be without effect.
fn refuse_header_rules(path: &KeyPath, raw: &RawRoute, resolver: &mut Resolver<'_>) {
    let path = path.key("headers").key("response");
    let Some(rules) = raw.headers.as_ref().and_then(|headers| headers.response.as_ref()) else { return };
    let set = rules.set.iter().flat_map(|set| set.items()).map(|(name, _)| ("set", name));
    let add = rules.add.iter().flat_map(|add| add.items()).map(|(name, _)| ("add", name));
    for (list, name) in set.chain(add) {
        if name.to_ascii_lowercase().starts_with("access-control-") {
            let finding = Finding::key(&path.key(list).key(name), format!("{name} is written by `cors`"));
            resolver.report(finding.hint("remove it, or say `cors: off` on this route"));
        }
    }
}

fn rules(path: &KeyPath, raw: &RawCors, resolver: &mut Resolver<'_>) -> Option<Cors> {
    let credentials = resolver.boolean(&path.key("credentials"), &raw.credentials, false);
    let origins = origins(path, raw, credentials, resolver);
    let mut methods = names(&path.key("methods"), raw.methods.as_ref(), credentials, values::method, resolver);
    if methods.is_empty() {
        methods = METHODS.iter().map(ToString::to_string).collect();
    }
    let headers = names(&path.key("headers"), raw.headers.as_ref(), credentials, values::header_name, resolver);
    let expose = names(&path.key("expose"), raw.expose.as_ref(), credentials, values::header_name, resolver);
    let age = |text: &str| within(text, values::duration(text)?, &(Duration::ZERO..=LONGEST_AGE), show);
    let max_age = resolver.get(&path.key("max_age"), &raw.max_age, age).unwrap_or(MAX_AGE);
    Some(Cors {
        origins: origins?,
        methods: joined(&methods)?,
        headers: joined(&headers),
        expose: joined(&expose),
        credentials,
        max_age: HeaderValue::from(max_age.as_secs()),
        private_network: resolver.boolean(&path.key("private_network"), &raw.private_network, false),
    })
}

fn show(duration: &Duration) -> String {
    values::show_duration(*duration)
}

/// Row T30: what every page may do must not be done with the cookies of whoever looks at it.
fn origins(path: &KeyPath, raw: &RawCors, credentials: bool, resolver: &mut Resolver<'_>) -> Option<Origins> {
    resolver.missing(path, "origins", "a list such as [\"https://app.example.com\"]");
    let key = path.key("origins");
    let patterns = resolver.list(&key, raw.origins.as_ref(), origin);
    let any = patterns.contains(&OriginPattern::Any);
    let null = patterns.contains(&OriginPattern::Null);
    if credentials && (any || null) {
        let what = if any { "`*`" } else { "`null`, which any page can make itself," };
        let finding = Finding::value(&key, format!("{what} does not go with `credentials: true`"));
        let other = (path.key("credentials"), "credentials");
        resolver.report(finding.expected("the origins by name").also(other.0, other.1));
    }
    if any && patterns.len() > 1 {
        resolver.report(Finding::value(&key, "`*` takes every origin, and others stand beside it").expected("one"));
    }
    if any {
        return Some(Origins::Any);
    }
    let mut exact = HashSet::new();
    let mut below = Vec::new();
    for pattern in patterns {
        match pattern {
            OriginPattern::Any => {}
            OriginPattern::Null => drop(exact.insert("null".into())),
            OriginPattern::Exact(origin) => drop(exact.insert(origin)),
            OriginPattern::Below(domain) => below.push(domain),
        }
    }
    (!exact.is_empty() || !below.is_empty()).then_some(Origins::Listed { exact, below })
}

/// Names of methods or headers. With credentials, browsers take `*` for a name like any other.
fn names<T: Display>(
    path: &KeyPath,
    list: Option<&OneOrMany<String>>,
    credentials: bool,
    parse: impl Fn(&str) -> Result<T, Wrong>,
    resolver: &mut Resolver<'_>,
) -> Vec<String> {
    let parse = |text: &str| match text {
        "*" if credentials => Err(Wrong::new("`*` does not go with `credentials: true`").expected("names")),
        text => parse(text).map(|name| name.to_string()),
    };
    resolver.list(path, list, parse)
}

fn joined(names: &[String]) -> Option<HeaderValue> {
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}
