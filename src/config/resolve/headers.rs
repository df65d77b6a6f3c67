//! `headers` of a route: what is set, added and removed.

use http::{HeaderName, HeaderValue, header};

use super::Resolver;
use crate::config::HeaderRules;
use crate::config::problem::{Finding, KeyPath, Place};
use crate::config::raw::RawHeaderRules;
use crate::config::values;

/// What belongs to one connection and so cannot be passed on or made up (RFC 9110 section 7.6.1), and the framing.
const CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "http2-settings",
];

pub(super) fn rules(
    path: &KeyPath,
    raw: Option<&RawHeaderRules>,
    request: bool,
    resolver: &mut Resolver<'_>,
) -> HeaderRules {
    let mut rules = HeaderRules::default();
    let Some(raw) = raw else { return rules };
    for (text, value) in raw.set.iter().flat_map(|set| set.items()) {
        let path = path.key("set").key(text);
        let Some(name) = name(&path, text, request, resolver) else {
            continue;
        };
        if rules.set.iter().any(|(other, _)| *other == name) {
            resolver
                .report(Finding::key(&path, "this header is set twice").hint("the case of a header has no meaning"));
        }
        rules.set.extend(self::value(&path, value, resolver).map(|value| (name, value)));
    }
    for (text, values) in raw.add.iter().flat_map(|add| add.items()) {
        let path = path.key("add").key(text);
        let Some(name) = name(&path, text, false, resolver) else {
            continue;
        };
        for (index, text) in values.items() {
            let value = self::value(&path.index(index), text, resolver);
            rules.add.extend(value.map(|value| (name.clone(), value)));
        }
    }
    let remove = path.key("remove");
    rules.remove = resolver.list(&remove, raw.remove.as_ref(), values::header_name);
    for name in &rules.remove {
        if let Some(reason) = refused(name, false) {
            resolver.report(Finding::value(&remove, format!("{name} {reason}")));
        }
        if rules.set.iter().any(|(other, _)| other == name) {
            let finding = Finding::value(&remove, format!("{name} is both removed and set"));
            resolver.report(finding.hint("`set` replaces what is there; `remove` is not needed"));
        }
    }
    rules
}

pub(super) fn name(path: &KeyPath, text: &str, may_be_host: bool, resolver: &mut Resolver<'_>) -> Option<HeaderName> {
    match values::header_name(text) {
        Ok(name) => {
            if let Some(reason) = refused(&name, may_be_host) {
                resolver.report(Finding::key(path, format!("{name} {reason}")));
            }
            Some(name)
        }
        Err(wrong) => {
            resolver.wrong_at(Place::Key(path.clone()), wrong);
            None
        }
    }
}

/// Whether a field belongs to one connection.
pub(super) fn of_connection(name: &HeaderName) -> bool {
    CONNECTION.contains(&name.as_str())
}

fn refused(name: &HeaderName, may_be_host: bool) -> Option<&'static str> {
    if of_connection(name) {
        return Some("belongs to one connection and is not for rules");
    }
    (name == header::HOST && !may_be_host).then_some("can only be set, and only on requests")
}

/// A value that holds a secret is marked, so that no log shows it.
pub(super) fn value(path: &KeyPath, text: &str, resolver: &mut Resolver<'_>) -> Option<HeaderValue> {
    let mut value = resolver.get(path, &Some(text.to_owned()), values::header_value)?;
    value.set_sensitive(resolver.secrets.iter().any(|secret| text.contains(secret.as_str())));
    Some(value)
}
