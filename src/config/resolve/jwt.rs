//! `auth.jwt`.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header;

use super::tls::file;
use super::{Resolver, within};
use crate::config::auth::Permissions;
use crate::config::jwt::{ClaimPath, DEFAULT_MAX_REVOKED, Issuer, Jwt, Revoked};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{Named, OneOrMany, Or, RawAuth, RawJwt, RawRevoked};
use crate::config::values::{self, Wrong};

mod keys;

const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
/// More would keep expired tokens alive.
const MAX_LEEWAY: Duration = Duration::from_secs(300);
/// About 200 bytes each.
const MAX_MAX_REVOKED: u64 = 10_000_000;
const DEFAULT_REVOKED_TTL: Duration = Duration::from_secs(86_400);
const MAX_REVOKED_TTL: Duration = Duration::from_secs(400 * 86_400);
/// The longest `jti`, `iss`, `aud` and name of a claim, in bytes.
const MAX_TEXT: usize = 512;

/// The issuers, and what is revoked. `path` is that of `auth`.
pub(super) fn jwt(path: &KeyPath, raw: &RawAuth, resolver: &mut Resolver<'_>) -> Option<Arc<Jwt>> {
    let path = path.key("jwt");
    let list = raw.jwt.as_ref()?;
    if list.0.is_empty() {
        resolver.report(Finding::value(&path, "the list is empty").expected("at least one issuer"));
    }
    let mut issuers: Vec<Arc<Issuer>> = Vec::new();
    let mut listed: Option<(KeyPath, Revoked)> = None;
    for (index, raw) in list.items() {
        let path = path.index(index);
        if let Some(issuer) = issuer(&path, raw, resolver) {
            if issuers.iter().any(|other| other.name == issuer.name) {
                let message = format!("the issuer {} stands here twice", values::quote(&issuer.name));
                let finding = Finding::value(&path.key("issuer"), message);
                resolver.report(finding.hint("one issuer may have several secrets or public keys, as a list"));
            }
            issuers.push(Arc::new(issuer));
        }
        if let Some(raw) = &raw.revoked {
            let path = path.key("revoked");
            let revoked = revoked(&path, raw, resolver);
            if let Some((first, _)) = &listed {
                let finding = Finding::key(&path, "`revoked` stands at two issuers");
                let finding = finding.hint("it holds for all of them; keep it at one");
                resolver.report(finding.also(first.clone(), "the other one"));
            } else {
                listed = Some((path, revoked));
            }
        }
    }
    if issuers.len() > 1 && issuers.iter().any(|issuer| issuer.name.contains('@')) {
        let finding = Finding::key(&path, "the name of one of several issuers has an `@`");
        resolver.report(finding.hint("a caller's id is then `ID@ISSUER`, and has to tell them apart"));
    }
    let revoked = listed.map_or_else(Revoked::default, |(_, revoked)| revoked);
    Some(Arc::new(Jwt { issuers, revoked }))
}

fn issuer(path: &KeyPath, raw: &RawJwt, resolver: &mut Resolver<'_>) -> Option<Issuer> {
    if raw.issuer.is_none() {
        resolver.missing(path, "issuer", "what the tokens have in `iss`");
    }
    let name = resolver.get(&path.key("issuer"), &raw.issuer, |value| text(value, "an issuer"));
    let audience = resolver.list(&path.key("audience"), raw.audience.as_ref(), |value| text(value, "an audience"));
    let keys = keys::keys(path, raw, resolver);
    let algorithms = keys::algorithms(path, raw, keys.as_ref(), resolver);
    let leeway = resolver.get(&path.key("leeway"), &raw.leeway, |value| {
        let range = Duration::ZERO..=MAX_LEEWAY;
        within(value, values::duration(value)?, &range, |leeway| values::show_duration(*leeway))
    });
    let header = resolver.get(&path.key("header"), &raw.header, |value| match values::header_name(value)? {
        header::AUTHORIZATION => Ok(None),
        name if [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING].contains(&name) => {
            Err(Wrong::new(format!("{name} carries no token")).expected("a header such as Authorization or X-Token"))
        }
        name => Ok(Some(name)),
    });
    let id_claim = resolver.get(&path.key("id_claim"), &raw.id_claim, claim);
    let permission_claims = resolver.list(&path.key("permissions_claim"), raw.permissions_claim.as_ref(), claim);
    let permissions = raw.permissions.as_ref().map(|raw| table(&path.key("permissions"), raw, resolver));
    let usual = |name: &str| ClaimPath(vec![name.to_owned()]);
    Some(Issuer {
        name: name?.into(),
        audience: audience.into_iter().map(Arc::from).collect(),
        algorithms,
        keys: keys?,
        leeway: leeway.unwrap_or(DEFAULT_LEEWAY),
        header: header.flatten(),
        id_claim: id_claim.unwrap_or_else(|| usual("sub")),
        permission_claims: match permission_claims {
            none if none.is_empty() => vec![usual("permissions"), usual("scope")],
            some => some,
        },
        permissions,
    })
}

/// What each value of the claims permits.
fn table(path: &KeyPath, raw: &Named<OneOrMany<String>>, resolver: &mut Resolver<'_>) -> HashMap<String, Vec<String>> {
    let mut table = HashMap::new();
    for (value, permissions) in raw.items() {
        let path = path.key(value);
        let permissions = resolver.list(&path, Some(permissions), |text| {
            let wrong = || Wrong::not(text, "a permission");
            let wrong = || wrong().expected("`service:verb`, `service:*`, `*:verb`, `*`, read, write, delete or admin");
            Permissions::parse([text]).map(|_| text.to_owned()).map_err(|_| wrong())
        });
        table.insert(value.to_owned(), permissions);
    }
    if table.is_empty() {
        let finding = Finding::value(path, "the table is empty: no token would permit anything");
        resolver.report(finding.expected("the values of the claim with what they permit, or no table"));
    }
    table
}

fn text(value: &str, what: &str) -> Result<String, Wrong> {
    match value {
        "" => Err(Wrong::new(format!("{what} is empty"))),
        value if value.len() > MAX_TEXT || value.chars().any(char::is_control) => {
            Err(Wrong::not(value, what).expected(format!("at most {MAX_TEXT} bytes, no control characters")))
        }
        value => Ok(value.to_owned()),
    }
}

/// `sub` or `realm_access.roles`. A claim whose own name has dots, as URLs do, is one name: `https://example.com/roles`.
fn claim(value: &str) -> Result<ClaimPath, Wrong> {
    let value = text(value, "the name of a claim")?;
    if value.contains("://") {
        return Ok(ClaimPath(vec![value]));
    }
    let names: Vec<String> = value.split('.').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err(Wrong::not(&value, "the name of a claim").expected("one such as scope or realm_access.roles"));
    }
    Ok(ClaimPath(names))
}

impl Default for Revoked {
    fn default() -> Self {
        let (max_entries, ttl) = (DEFAULT_MAX_REVOKED, DEFAULT_REVOKED_TTL);
        Self { max_entries, ttl, file: None, listed: Arc::default() }
    }
}

fn revoked(path: &KeyPath, raw: &Or<RawRevoked>, resolver: &mut Resolver<'_>) -> Revoked {
    let short;
    let (raw, file_path) = match raw {
        Or::Map(raw) => (raw, path.key("file")),
        Or::Text(text) => {
            short = RawRevoked { file: Some(text.clone()), ..RawRevoked::default() };
            (&short, path.clone())
        }
    };
    let max = 1..=MAX_MAX_REVOKED;
    let max_entries = resolver.number(&path.key("max_entries"), &raw.max_entries, DEFAULT_MAX_REVOKED, max);
    let ttl = resolver.get(&path.key("ttl"), &raw.ttl, |value| {
        let range = Duration::from_secs(1)..=MAX_REVOKED_TTL;
        within(value, values::duration(value)?, &range, |ttl| values::show_duration(*ttl))
    });
    let file = file(&file_path, raw.file.as_ref(), resolver);
    let listed = file.as_ref().map(|file| listed(&file_path, file, resolver)).unwrap_or_default();
    Revoked { max_entries, ttl: ttl.unwrap_or(DEFAULT_REVOKED_TTL), file, listed: Arc::new(listed) }
}

/// One `jti` a line; empty lines and those that begin with `#` are for people.
fn listed(path: &KeyPath, file: &Path, resolver: &mut Resolver<'_>) -> HashSet<String> {
    let text = match resolver.environment.read(file).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            resolver.report(Finding::value(path, format!("{} is not UTF-8 text", file.display())));
            return HashSet::new();
        }
        Err(reason) => {
            resolver.report(Finding::value(path, format!("{} {reason}", file.display())));
            return HashSet::new();
        }
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}
