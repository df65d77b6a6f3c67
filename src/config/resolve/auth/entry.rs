//! One key: what it is called, what it is known by, what it may do and until when.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::PERMISSIONS;
use super::api_keys::Taken;
use crate::clock;
use crate::config::auth::{ApiKey, KeySecret, Permissions, is_key_id};
use crate::config::problem::{Finding, KeyPath, nearest};
use crate::config::raw::{RawApiKey, RawPreviousSecret, Text};
use crate::config::resolve::Resolver;
use crate::config::secret::is_placeholder_digest;
use crate::config::values::time::moment;
use crate::config::values::{self, Wrong};

/// The longest secret, in bytes.
const MOST_SECRET: usize = 512;
/// A secret shorter than this can be guessed.
const SHORT_SECRET: usize = 16;
/// The most entries of `metadata`.
const MOST_METADATA: usize = 32;

/// How old a key gets that only says when it was made; `None`: as old as you like.
#[derive(Clone, Copy)]
pub(super) struct DefaultExpiry(pub(super) Option<Duration>);

/// The key at `path`; `None` when it has no id.
pub(super) fn entry(
    path: &KeyPath,
    raw: &RawApiKey,
    expiry: DefaultExpiry,
    taken: &mut Taken,
    resolver: &mut Resolver<'_>,
) -> Option<ApiKey> {
    let enabled = resolver.boolean(&path.key("enabled"), &raw.enabled, true);
    let expires_at = expires_at(path, raw, expiry, enabled, resolver);
    let permissions = permissions(path, raw, &taken.services, resolver);
    let description = resolver.line(&path.key("description"), &raw.description, "the description");
    let metadata = metadata(&path.key("metadata"), raw, resolver);
    let id = id(path, raw, taken, resolver)?;
    let pair = (&raw.secret, &raw.secret_sha256);
    let current = secret(path, pair, enabled, resolver).map(|digest| KeySecret { digest, until: None });
    let previous = raw.previous.as_ref().and_then(|raw| previous(&path.key("previous"), raw, enabled, resolver));
    let secrets: Vec<KeySecret> = current.into_iter().chain(previous).collect();
    for secret in &secrets {
        if let Some(other) = taken.digests.insert(secret.digest, Arc::clone(&id)) {
            let message = match *other == *id {
                true => "the previous secret is the current one".to_owned(),
                false => format!("{} and {} have the same secret", values::quote(&other), values::quote(&id)),
            };
            resolver.report(Finding::value(path, message).hint("a secret tells who is calling; give each its own"));
        }
    }
    Some(ApiKey { id, description, permissions, enabled, expires_at, secrets, metadata })
}

fn id(path: &KeyPath, raw: &RawApiKey, taken: &mut Taken, resolver: &mut Resolver<'_>) -> Option<Arc<str>> {
    let parse = |text: &str| {
        let wrong =
            || Wrong::not(text, "the id of a key").expected("at most 64 letters, digits, `_`, `-`, `.`, `@` and `:`");
        if is_key_id(text) { Ok(Arc::from(text)) } else { Err(wrong()) }
    };
    if raw.id.is_none() {
        resolver.missing(path, "id", "a name for logs and limits such as `service-a`");
    }
    let place = path.key("id");
    let id: Arc<str> = resolver.get(&place, &raw.id, parse)?;
    let here = resolver.source.problem_at(&place, crate::config::Severity::Error, "", None);
    let here = here.position.map_or_else(|| here.origin.clone(), |at| format!("{}:{}", here.origin, at.line));
    if let Some(first) = taken.ids.insert(Arc::clone(&id), here) {
        let finding =
            Finding::value(&place, format!("two keys have the id {}; the first is in {first}", values::quote(&id)));
        resolver.report(finding.hint("to change a secret, keep one entry and give it `previous`"));
    }
    Some(id)
}

/// The digest of a secret that is written out or already digested. `None`: there is none, or it is empty, which is
/// warned of and matches nothing (row T29). No message shows it.
fn secret(
    path: &KeyPath,
    (plain, digest): (&Text, &Text),
    enabled: bool,
    resolver: &mut Resolver<'_>,
) -> Option<[u8; 32]> {
    let (plain_path, digest_path) = (path.key("secret"), path.key("secret_sha256"));
    match (plain, digest) {
        (Some(_), Some(_)) => {
            let finding = Finding::key(&digest_path, "the secret stands here twice: in plain text, and as its digest");
            resolver.report(finding.hint("keep `secret_sha256`"));
            None
        }
        (None, None) => {
            if !resolver.source.has(&digest_path) {
                resolver.missing(path, "secret", "`secret_sha256`, or `secret` from a variable such as ${APP_KEY:-}");
            }
            None
        }
        (Some(plain), None) => digest_of(&plain_path, plain, enabled, resolver),
        (None, Some(digest)) => digest_in(&digest_path, digest, enabled, resolver),
    }
}

fn digest_of(path: &KeyPath, plain: &str, enabled: bool, resolver: &mut Resolver<'_>) -> Option<[u8; 32]> {
    if plain.is_empty() {
        warn_of_nothing(path, enabled, resolver);
        return None;
    }
    if !plain.bytes().all(|byte| byte.is_ascii_graphic()) {
        let finding = Finding::value(path, "the secret has spaces, line breaks or characters outside of ASCII");
        resolver.report(finding.expected("visible ASCII characters, for it is sent in a header"));
    } else if plain.len() > MOST_SECRET {
        resolver.report(Finding::value(path, "the secret is too long").expected("at most 512 characters"));
    } else if enabled && resolver.is_placeholder(path, plain, "secret", "sluicegate key new") {
        // Reported.
    } else if plain.len() < SHORT_SECRET && enabled && !resolver.overrides.insecure_dev {
        let finding = Finding::value(path, "the secret is so short that it can be guessed");
        resolver.warn(finding.hint("make a long one with: sluicegate key new"));
    }
    Some(Sha256::digest(plain).into())
}

fn digest_in(path: &KeyPath, text: &str, enabled: bool, resolver: &mut Resolver<'_>) -> Option<[u8; 32]> {
    if text.is_empty() {
        warn_of_nothing(path, enabled, resolver);
        return None;
    }
    let Some(digest) = unhex(text) else {
        let finding = Finding::value(path, "this is not a SHA-256 digest").expected("64 hexadecimal digits");
        resolver.report(finding.hint("make one with: printf %s SECRET | sha256sum"));
        return None;
    };
    if digest == <[u8; 32]>::from(Sha256::digest("")) {
        warn_of_nothing(path, enabled, resolver);
        return None;
    }
    // The digest that examples have is taken, so that they do what they say; whoever copied one is told at every load.
    if digest == <[u8; 32]>::from(Sha256::digest("secret")) && enabled {
        if !resolver.overrides.insecure_dev {
            let finding =
                Finding::value(path, "this is the digest of `secret`: everyone who knows the examples can come in");
            resolver.warn(finding.hint("make a secret of your own with: sluicegate key new"));
        }
        return Some(digest);
    }
    // Not an error: a digest that everyone knows was hardly written on purpose.
    if is_placeholder_digest(&digest) && enabled && !resolver.overrides.insecure_dev {
        let finding = Finding::value(path, "this is the digest of a well-known placeholder: nothing matches it");
        resolver.warn(finding.hint("make a secret of your own with: sluicegate key new"));
        return None;
    }
    Some(digest)
}

fn warn_of_nothing(path: &KeyPath, enabled: bool, resolver: &mut Resolver<'_>) {
    if enabled {
        let finding = Finding::value(path, "the secret is empty: this key is disabled, and nothing matches it");
        resolver.warn(finding.hint("give it a secret, or say so on purpose with `enabled: false`"));
    }
}

/// The secret before this one, which is still taken for some time (row B17).
fn previous(path: &KeyPath, raw: &RawPreviousSecret, enabled: bool, resolver: &mut Resolver<'_>) -> Option<KeySecret> {
    let until = resolver.get(&path.key("until"), &raw.until, moment);
    if raw.until.is_none() {
        resolver.missing(path, "until", "the end of its time such as 2027-12-31T23:59:59Z");
    }
    if until.is_some_and(|until| until <= clock::wall()) && enabled {
        let finding = Finding::value(&path.key("until"), "the time of the previous secret is over");
        resolver.warn(finding.hint("remove `previous`"));
    }
    let digest = secret(path, (&raw.secret, &raw.secret_sha256), enabled, resolver)?;
    Some(KeySecret { digest, until: Some(until?) })
}

fn expires_at(
    path: &KeyPath,
    raw: &RawApiKey,
    expiry: DefaultExpiry,
    enabled: bool,
    resolver: &mut Resolver<'_>,
) -> Option<SystemTime> {
    let created = resolver.get(&path.key("created_at"), &raw.created_at, moment);
    let explicit = resolver.get(&path.key("expires_at"), &raw.expires_at, moment);
    let by_age = || created?.checked_add(expiry.0?);
    let at = explicit.or_else(by_age)?;
    if at <= clock::wall() && enabled {
        let key = if explicit.is_some() { "expires_at" } else { "created_at" };
        let shown = Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default();
        let finding = Finding::value(&path.key(key), format!("this key expired at {shown}"));
        resolver.warn(finding.hint("nobody comes in by it; remove it, or give it a later `expires_at`"));
    }
    Some(at)
}

fn permissions(path: &KeyPath, raw: &RawApiKey, services: &[String], resolver: &mut Resolver<'_>) -> Permissions {
    if raw.permissions.is_none() {
        resolver.missing(path, "permissions", "a list such as [read, write] or [\"chat:*\"]; [\"*\"] is everything");
    }
    let parse = |text: &str| match Permissions::parse([text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(no_permission(text)),
    };
    let words = resolver.list(&path.key("permissions"), raw.permissions.as_ref(), parse);
    for (index, word) in words.iter().enumerate() {
        warn_of_service(&path.key("permissions").index(index), word, services, resolver);
    }
    Permissions::parse(words.iter().map(String::as_str)).unwrap_or_default()
}

/// Warns of a permission for a service that nothing asks for, when one that is asked for has nearly its name.
fn warn_of_service(path: &KeyPath, word: &str, services: &[String], resolver: &mut Resolver<'_>) {
    let Some((service, verb)) = word.split_once(':') else { return };
    if service == "*" || services.iter().any(|known| known == service) {
        return;
    }
    if let Some(near) = nearest(service, services.iter().map(String::as_str)) {
        let message = format!("no door and no route asks for the service {}", values::quote(service));
        resolver.warn(Finding::value(path, message).hint(format!("did you mean `{near}:{verb}`?")));
    }
}

fn no_permission(text: &str) -> Wrong {
    let wrong = Wrong::not(text, "a permission").expected(format!("`*`, {PERMISSIONS}"));
    let lower = text.to_ascii_lowercase();
    if Permissions::parse([lower.as_str()]).is_ok() { wrong.hint(format!("did you mean `{lower}`?")) } else { wrong }
}

fn metadata(path: &KeyPath, raw: &RawApiKey, resolver: &mut Resolver<'_>) -> Arc<[(String, String)]> {
    let Some(raw) = &raw.metadata else { return Arc::default() };
    if raw.0.len() > MOST_METADATA {
        resolver.report(Finding::value(path, "there is too much of it").expected("at most 32 names"));
    }
    raw.items().map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(digest)
}
