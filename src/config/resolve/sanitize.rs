//! `sanitize`, and `sanitize` of a route.

use std::sync::Arc;

use regex::bytes::RegexBuilder;

use super::{Resolver, within};
use crate::config::Pool;
use crate::config::problem::{Finding, KeyPath, Place, list, nearest};
use crate::config::raw::{Or, RawConfig, RawRoute, RawSanitize, RawSanitizeRule};
use crate::config::sanitize::{Finds, Rule, Sanitize, Unmasked};
use crate::config::values::{self, Wrong, quote};

const MAX_BODY: u64 = 1 << 20;
const MIB: usize = 1 << 20;

/// The most rules of a set: each reads every text once.
const MAX_RULES: usize = 32;

/// The most memory that one pattern may take: compiled, and while it runs on a thread, in bytes.
const MAX_PATTERN: usize = MIB;
const MAX_RUNNING: usize = 2 * MIB;

/// How deep the brackets of a pattern may be nested.
const MAX_NESTING: u32 = 50;

const MASK: &str = "***";
const BUILT_IN: [&str; 4] = ["email", "phone", "card", "id_card"];
const UNMASKED: [(&str, Unmasked); 2] = [("pass", Unmasked::Pass), ("refuse", Unmasked::Refuse)];

/// The section, in the order of its names.
pub(super) fn sanitize(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Vec<Arc<Sanitize>> {
    let path = KeyPath::default().key("sanitize");
    let mut sets = Vec::new();
    for (name, set) in raw.sanitize.iter().flat_map(|sets| sets.items()) {
        let path = path.key(name);
        if let Err(wrong) = values::name(name, "a name") {
            resolver.wrong_at(Place::Key(path.clone()), wrong);
        }
        let with_auth = raw.auth.is_some();
        sets.push(Arc::new(self::set(&path, name, set, with_auth, resolver)));
    }
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    sets
}

/// The masking rules of a route, as an index into `sanitize`.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    sets: &[Arc<Sanitize>],
    pools: &[Arc<Pool>],
    resolver: &mut Resolver<'_>,
) -> Option<usize> {
    let text = raw.sanitize.as_deref()?;
    let key = path.key("sanitize");
    let found = sets.iter().position(|set| *set.name == *text);
    if found.is_none() && !resolver.doubtful(&KeyPath::default().key("sanitize")) {
        let finding = Finding::value(&key, format!("there is no set of rules {}", quote(text)));
        let names: Vec<&str> = sets.iter().map(|set| &*set.name).collect();
        resolver.report(match nearest(text, names.iter().copied()) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None if names.is_empty() => finding.hint("the sets stand under `sanitize`, and there is none"),
            None => finding.expected(list(&names)),
        });
    }
    for (against, hint) in contradictions(raw, pools) {
        resolver.report(Finding::key(&key, against).hint(hint));
    }
    found
}

/// What a route cannot be beside a route whose bodies are masked: they would pass by another way, as they are.
fn contradictions(raw: &RawRoute, pools: &[Arc<Pool>]) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    let pool = pools.iter().find(|pool| raw.pool.as_deref() == Some(&*pool.name));
    if raw.respond.is_some() || raw.redirect.is_some() {
        found.push(("the route has no pool whose answers could be masked", "remove it"));
    }
    if pool.is_some_and(|pool| pool.http2) {
        found.push(("bodies are masked towards pools that speak HTTP/1", "remove `http2` from the pool"));
    }
    if raw.websocket.as_deref() == Some("true") {
        found.push(("what flows through a websocket is not masked", "remove `websocket: true`: upgrades are refused"));
    }
    if raw.cache.is_some() {
        found.push(("answers are stored as they are and not masked", "remove `cache` or `sanitize`"));
    }
    found
}

fn set(path: &KeyPath, name: &str, raw: &RawSanitize, with_auth: bool, resolver: &mut Resolver<'_>) -> Sanitize {
    let (mut callers, mut addresses) = (Vec::new(), Vec::new());
    if let Some(allow) = &raw.allow {
        let path = path.key("allow");
        callers = resolver.list(&path.key("callers"), allow.callers.as_ref(), caller);
        addresses = resolver.list(&path.key("addresses"), allow.addresses.as_ref(), values::network);
        if !callers.is_empty() && !with_auth {
            let finding = Finding::key(&path.key("callers"), "without the section `auth` no caller is known");
            resolver.report(finding.hint("add `auth`, or let them pass by `addresses`"));
        }
    }
    let request = resolver.boolean(&path.key("request"), &raw.request, true);
    let response = resolver.boolean(&path.key("response"), &raw.response, true);
    if !request && !response {
        resolver.report(Finding::key(&path.key("response"), "neither requests nor answers are masked"));
    }
    let unmasked = |text: &str| values::one_of(text, "what is done with such a body", &UNMASKED);
    let on_too_large = resolver.get(&path.key("on_too_large"), &raw.on_too_large, unmasked);
    let on_unreadable = resolver.get(&path.key("on_unreadable"), &raw.on_unreadable, unmasked);
    Sanitize {
        name: name.into(),
        rules: rules(path, raw, resolver),
        request,
        response,
        max_body: resolver.size(&path.key("max_body"), &raw.max_body, 1..=1 << 40).unwrap_or(MAX_BODY),
        on_too_large: on_too_large.unwrap_or(Unmasked::Refuse),
        on_unreadable: on_unreadable.unwrap_or(Unmasked::Refuse),
        callers,
        addresses,
    }
}

/// `key:ID`, `token:ID`, or the bare id of a key: whoever issues tokens must not be able to name one of our keys.
fn caller(text: &str) -> Result<String, Wrong> {
    let (kind, id) = match text.split_once(':') {
        Some((kind @ ("key" | "token"), id)) => (kind, id),
        _ => ("key", text),
    };
    if id.is_empty() {
        return Err(Wrong::new("the id is empty").expected("the id of a key, or `token:` and the id of a token"));
    }
    Ok(format!("{kind}:{id}"))
}

fn rules(path: &KeyPath, raw: &RawSanitize, resolver: &mut Resolver<'_>) -> Vec<Rule> {
    resolver.missing(path, "rules", "a list such as [email, phone]");
    let key = path.key("rules");
    let Some(list) = &raw.rules else { return Vec::new() };
    if !(1..=MAX_RULES).contains(&list.0.len()) {
        resolver.report(Finding::value(&key, "these are not as many rules as a set has").expected("1 to 32"));
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (index, raw) in list.items() {
        let path = key.index(index);
        let rule = match raw {
            Or::Text(text) => resolver.get(&path, &Some(text.clone()), built_in).map(|finds| Rule {
                name: text.as_str().into(),
                finds,
                replace: MASK.as_bytes().into(),
            }),
            Or::Map(raw) => self::rule(&path, raw, resolver),
        };
        let Some(rule) = rule else { continue };
        if rules.iter().any(|other| other.name == rule.name) {
            resolver.report(Finding::value(&path, format!("two rules have the name {}", quote(&rule.name))));
        }
        rules.push(rule);
    }
    rules
}

fn built_in(text: &str) -> Result<Finds, Wrong> {
    match text {
        "email" => Ok(Finds::Email),
        "phone" => Ok(Finds::Phone),
        "card" => Ok(Finds::Card),
        "id_card" => Ok(Finds::IdCard),
        _ => {
            let wrong = Wrong::not(text, "a rule that is built in").expected(list(&BUILT_IN));
            Err(match nearest(text, BUILT_IN) {
                Some(near) => wrong.hint(format!("did you mean `{near}`?")),
                None => wrong.hint("a rule of your own is a map: { name: x, pattern: '...' }"),
            })
        }
    }
}

/// A rule of one's own, or one that is built in with another mask.
fn rule(path: &KeyPath, raw: &RawSanitizeRule, resolver: &mut Resolver<'_>) -> Option<Rule> {
    resolver.missing(path, "name", "a name such as order_number");
    let replace = |text: &str| match text {
        text if text.chars().any(char::is_control) || text.len() > 256 => {
            Err(Wrong::new("this is not a mask").expected("at most 256 bytes without control characters"))
        }
        text => Ok(text.to_owned()),
    };
    let replace = resolver.get(&path.key("replace"), &raw.replace, replace).unwrap_or_else(|| MASK.to_owned());
    let escaped = serde_json::Value::String(replace).to_string();
    let inside = escaped.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(MASK);
    let name = resolver.get(&path.key("name"), &raw.name, |text| values::name(text, "a name"))?;
    let finds = if raw.pattern.is_none() {
        resolver
            .get(&path.key("name"), &raw.name, |text| built_in(text).map_err(|wrong| wrong.hint("add `pattern`")))?
    } else if BUILT_IN.contains(&name.as_str()) {
        let finding = Finding::key(&path.key("pattern"), format!("{} is built in and has its own", quote(&name)));
        resolver.report(finding.hint("give the rule another name, or remove the pattern"));
        return None;
    } else {
        resolver.get(&path.key("pattern"), &raw.pattern, pattern)?
    };
    Some(Rule { name: name.into(), finds, replace: inside.as_bytes().into() })
}

fn pattern(text: &str) -> Result<Finds, Wrong> {
    within("the pattern", text.len(), &(1..=4096), |bytes| format!("{bytes} bytes"))?;
    let wrong = |error: &regex::Error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        Wrong::new(format!("the pattern cannot be used: {reason}")).expected(
            "a regular expression as the Rust crate `regex` reads it, without look-around and back-references",
        )
    };
    // As text first: a pattern that could match a part of a character is refused by it.
    let plain = regex::RegexBuilder::new(text).size_limit(MAX_PATTERN).nest_limit(MAX_NESTING).build();
    let plain = plain.map_err(|error| wrong(&error))?;
    if plain.is_match("") {
        return Err(
            Wrong::new("the pattern takes the empty text, which is everywhere").hint("ask for one character at least")
        );
    }
    let mut builder = RegexBuilder::new(text);
    let builder = builder.size_limit(MAX_PATTERN).dfa_size_limit(MAX_RUNNING).nest_limit(MAX_NESTING);
    builder.build().map(Finds::Pattern).map_err(|error| wrong(&error))
}
