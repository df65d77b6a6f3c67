//! The credentials of a provider. No message shows one.

use std::sync::Arc;

use super::super::Resolver;
use super::flow;
use super::provider::Kind;
use crate::config::ai::{KeySecret, ProviderKey};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{Or, RawProvider, RawProviderKey};
use crate::config::secret::Secret;
use crate::config::values;

/// The longest key, in bytes.
const MAX_KEY: usize = 4096;
/// The most keys of a provider.
const MAX_KEYS: usize = 1000;
/// A name at least as long as this that stands in its secret gives a part of it away.
const TELLING: usize = 8;

/// The credentials of a provider.
pub(super) struct Keys {
    pub(super) keys: Vec<ProviderKey>,
    /// The key of the file whose value is empty, and what that means.
    pub(super) lacking: Option<(&'static str, &'static str)>,
}

pub(super) fn keys(path: &KeyPath, raw: &RawProvider, kind: Kind, enabled: bool, resolver: &mut Resolver<'_>) -> Keys {
    let none = Keys { keys: Vec::new(), lacking: None };
    if kind == Kind::Flow {
        return flow::credentials(path, raw, enabled, resolver);
    }
    let Some(list) = &raw.keys else {
        if kind.needs_keys() && enabled {
            resolver.missing(path, "keys", "a key, or a list of them, from a variable such as ${OPENAI_API_KEY:-}");
        }
        return none;
    };
    let path = path.key("keys");
    if list.0.is_empty() {
        if kind.needs_keys() && enabled {
            let finding = Finding::value(&path, "the list is empty").expected("a key");
            resolver.report(finding.hint("`enabled: false` switches the provider off"));
        }
        return none;
    }
    if list.0.len() > MAX_KEYS {
        resolver.report(Finding::value(&path, "these are too many keys").expected(format!("at most {MAX_KEYS}")));
    }
    let mut found: Vec<(usize, ProviderKey)> = Vec::new();
    let mut empty = 0;
    for (index, raw) in list.items() {
        let (short, place) = (path.index(index), path.index(index).key("secret"));
        let (text, raw, place) = match raw {
            Or::Text(text) => (Some(text), None, short.clone()),
            Or::Map(raw) => (raw.secret.as_ref(), Some(raw), place),
        };
        if text.is_none() {
            resolver.missing(&short, "secret", "a key from a variable such as ${OPENAI_API_KEY:-}");
        }
        empty += usize::from(text.is_some_and(String::is_empty));
        let (name, weight) = described(&short, raw, index, text, resolver);
        let secret = text.and_then(|text| secret(&place, text, resolver));
        let Some(secret) = secret else { continue };
        let key = ProviderKey { name, weight, secret: KeySecret::Plain(secret) };
        if let Some((first, _)) = found.iter().find(|(_, other)| other.secret == key.secret) {
            let finding =
                Finding::value(&place, "this key stands here twice").also(path.index(*first), "the other one");
            resolver.report(finding.hint("a larger share is a larger `weight`"));
        } else if let Some((first, _)) = found.iter().find(|(_, other)| other.name == key.name) {
            let finding = Finding::value(&short, format!("two keys have the name {}", values::quote(&key.name)));
            resolver.report(finding.also(path.index(*first), "the other one"));
        }
        found.push((index, key));
    }
    let lacking = (empty == list.0.len()).then_some(("keys", "there is no key, for all are empty"));
    Keys { keys: found.into_iter().map(|(_, key)| key).collect(), lacking }
}

/// Name and weight. Names count from 1 by the place in the file, so that they stay when another key is emptied.
fn described(
    path: &KeyPath,
    raw: Option<&RawProviderKey>,
    index: usize,
    secret: Option<&String>,
    resolver: &mut Resolver<'_>,
) -> (Arc<str>, u32) {
    let default = || format!("key-{}", index + 1);
    let Some(raw) = raw else { return (default().into(), 1) };
    let place = path.key("name");
    let name = resolver.get(&place, &raw.name, |text| values::name(text, "a key's name"));
    if name.as_deref().is_some_and(|name| name.len() >= TELLING && secret.is_some_and(|secret| secret.contains(name))) {
        let finding = Finding::value(&place, "the name is a part of the secret, and names stand in logs");
        resolver.report(finding.expected("another name"));
    }
    let weight = resolver.number(&path.key("weight"), &raw.weight, 1, 1..=1000);
    (name.unwrap_or_else(default).into(), weight)
}

fn secret(path: &KeyPath, text: &str, resolver: &mut Resolver<'_>) -> Option<Secret> {
    if text.is_empty() || resolver.is_known_to_all(path, text, "key", "take one from the provider's console") {
        return None;
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let finding = Finding::value(path, "the key has spaces, line breaks or characters outside of ASCII");
        resolver.report(finding.expected("visible ASCII characters, for it is sent in a header"));
    } else if text.len() > MAX_KEY {
        resolver.report(Finding::value(path, "the key is too long").expected(format!("at most {MAX_KEY} characters")));
    }
    Secret::new(text.to_owned())
}
