//! `auth.api_keys`: the keys of the configuration and those of the key file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use jiff::Timestamp;

use super::entry::{DefaultExpiry, entry};
use crate::clock;
use crate::config::auth::{ApiKey, ApiKeys, MOST_HEADERS};
use crate::config::load::continue_in;
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{OneOrMany, RawApiKey, RawApiKeys, RawKeyFile};
use crate::config::resolve::{Resolver, tls};
use crate::config::values::{self, Wrong};

/// How old a key gets when it does not say itself (row A3.02).
const DEFAULT_EXPIRY: Duration = Duration::from_secs(365 * 86_400);
/// The longest and the shortest age that can be given.
const EXPIRIES: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(36_500 * 86_400);
/// How long before its end a key is warned of.
const SOON: Duration = Duration::from_secs(7 * 86_400);
/// Fields that mean something else.
const NOT_FOR_KEYS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
];

/// What a key is looked at beside: the ids and secrets taken so far, both of which have to be one key's only.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) ids: HashMap<Arc<str>, String>,
    pub(super) digests: HashMap<[u8; 32], Arc<str>>,
    /// The services that anything asks for; empty where that is not known.
    pub(super) services: Vec<String>,
}

/// `services`: those that anything asks for; empty where that is not known.
pub(super) fn api_keys(
    path: &KeyPath,
    raw: &RawApiKeys,
    services: Vec<String>,
    resolver: &mut Resolver<'_>,
) -> ApiKeys {
    let headers = headers(&path.key("header"), raw, resolver);
    let expiry = resolver.get(&path.key("default_expiry"), &raw.default_expiry, default_expiry);
    let expiry = expiry.unwrap_or(DefaultExpiry(Some(DEFAULT_EXPIRY)));
    let mut taken = Taken { services, ..Taken::default() };
    let mut keys = Vec::new();
    if let Some(list) = &raw.keys {
        keys.extend(entries(&path.key("keys"), list, expiry, &mut taken, resolver));
    }
    let file_path = path.key("file");
    if let Some(file) = tls::file(&file_path, raw.file.as_ref(), resolver) {
        keys.extend(key_file(&file_path, &file, expiry, &mut taken, resolver));
    } else if raw.keys.is_none() && raw.file.is_none() {
        resolver.missing(path, "file", "`file` with the path of a key file, or `keys` with a list of them");
    }
    ApiKeys { headers, keys }
}

/// Reads the key file. What is wrong in it is told with its own places.
fn key_file(
    path: &KeyPath,
    file: &Path,
    expiry: DefaultExpiry,
    taken: &mut Taken,
    resolver: &mut Resolver<'_>,
) -> Vec<ApiKey> {
    let shown = file.display().to_string();
    let text = match resolver.environment.read(file).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            resolver.report(Finding::value(path, format!("{shown} is not UTF-8 text")));
            return Vec::new();
        }
        Err(reason) => {
            resolver.report(Finding::value(path, format!("{shown} {reason}")));
            return Vec::new();
        }
    };
    resolver.warn_of_readers(path, file);
    let meaning = |raw: &RawKeyFile, resolver: &mut Resolver<'_>| {
        let root = KeyPath::default();
        match &raw.keys {
            Some(list) => entries(&root.key("keys"), list, expiry, taken, resolver),
            None => {
                resolver.missing(&root, "keys", "a list of keys, each with `id`, `secret_sha256` and `permissions`");
                Vec::new()
            }
        }
    };
    let (keys, found) = continue_in(&shown, &text, resolver.overrides, resolver.environment, meaning);
    resolver.elsewhere.warnings.extend(found.warnings);
    resolver.elsewhere.errors = match (resolver.elsewhere.errors.take(), found.errors) {
        (Some(before), Some(errors)) => Some(before.and(errors)),
        (before, errors) => before.or(errors),
    };
    keys.unwrap_or_default()
}

fn entries(
    path: &KeyPath,
    list: &OneOrMany<RawApiKey>,
    expiry: DefaultExpiry,
    taken: &mut Taken,
    resolver: &mut Resolver<'_>,
) -> Vec<ApiKey> {
    let keys: Vec<ApiKey> =
        list.items().filter_map(|(index, raw)| entry(&path.index(index), raw, expiry, taken, resolver)).collect();
    let forever: Vec<&str> =
        keys.iter().filter(|key| key.enabled && key.expires_at.is_none()).map(|key| &*key.id).collect();
    if let (Some(first), DefaultExpiry(Some(_))) = (forever.first(), expiry) {
        let others = match forever.len() - 1 {
            0 => "never expires".to_owned(),
            others => format!("and {others} more never expire"),
        };
        let finding = Finding::key(path, format!("{} {others}", values::quote(first)));
        resolver.warn(finding.hint(
            "give a key `expires_at`, or `created_at` to let it grow as old as `default_expiry` says; \
             `default_expiry: never` says that this is meant",
        ));
    }
    warn_of_ends(path, &keys, resolver);
    keys
}

/// Warns of keys that are about to end; of those that have ended, [`entry`] does.
fn warn_of_ends(path: &KeyPath, keys: &[ApiKey], resolver: &mut Resolver<'_>) {
    let now = clock::wall();
    let soon = |at: &SystemTime| *at > now && at.duration_since(now).is_ok_and(|left| left < SOON);
    let ends = |key: &ApiKey| key.expires_at.filter(|at| key.enabled && soon(at));
    let mut ending: Vec<_> = keys.iter().filter_map(|key| Some((ends(key)?, &*key.id))).collect();
    ending.sort_unstable();
    let Some((at, first)) = ending.first() else { return };
    let shown = Timestamp::try_from(*at).map(|at| at.to_string()).unwrap_or_default();
    let more = match ending.len() - 1 {
        0 => String::new(),
        others => format!(", and {others} more within a week"),
    };
    let finding = Finding::key(path, format!("{} ends soon, at {shown}{more}", values::quote(first)));
    resolver.warn(finding.hint("then nobody comes in by it: give it a later `expires_at`, or its callers another key"));
}

fn headers(path: &KeyPath, raw: &RawApiKeys, resolver: &mut Resolver<'_>) -> Vec<HeaderName> {
    let headers = resolver.list(path, raw.header.as_ref(), header);
    if headers.len() > MOST_HEADERS {
        let message = format!("{} headers are too many", headers.len());
        resolver.report(Finding::value(path, message).expected(format!("at most {MOST_HEADERS}")));
    }
    if headers.is_empty() { vec![HeaderName::from_static("x-api-key")] } else { headers }
}

fn header(text: &str) -> Result<HeaderName, Wrong> {
    let name = values::header_name(text)?;
    if NOT_FOR_KEYS.contains(&name.as_str()) {
        let wrong = Wrong::not(text, "a header of its own").expected("one such as X-API-Key");
        return Err(wrong.hint("`Authorization: Bearer` is read in any case"));
    }
    Ok(name)
}

fn default_expiry(text: &str) -> Result<DefaultExpiry, Wrong> {
    if text == "never" {
        return Ok(DefaultExpiry(None));
    }
    let age = values::duration(text).map_err(|wrong| wrong.expected("a duration such as 365d, or never"))?;
    if EXPIRIES.contains(&age) {
        Ok(DefaultExpiry(Some(age)))
    } else {
        Err(Wrong::new(format!("{} is out of range", values::quote(text))).expected("1m to 36500d, or never"))
    }
}
