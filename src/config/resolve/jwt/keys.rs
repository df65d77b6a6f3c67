//! The keys of an issuer, and the algorithms that fit them. No message shows a secret.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::super::tls::file;
use super::super::{OPENSSL, Resolver};
use crate::config::jwt::{Algorithm, Family, JwksUrl, KeySet, Keys, NamedKey, PublicKey};
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{OneOrMany, RawJwt};
use crate::config::secret::Secret;
use crate::config::values::{self, Wrong};

const DEFAULT_REFRESH: Duration = Duration::from_secs(600);
const LEAST_REFRESH: Duration = Duration::from_secs(1);
const WHICH: &str = "one of `secret`, `public_key`, `jwks_file` and `jwks_url`";

/// The keys; `None` when they are reported.
pub(super) fn keys(path: &KeyPath, raw: &RawJwt, resolver: &mut Resolver<'_>) -> Option<Keys> {
    let given: Vec<&str> = [
        ("secret", raw.secret.is_some()),
        ("public_key", raw.public_key.is_some()),
        ("jwks_file", raw.jwks_file.is_some()),
        ("jwks_url", raw.jwks_url.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, is)| is.then_some(key))
    .collect();
    if let [first, second, ..] = given.as_slice() {
        let finding = Finding::key(&path.key(second), format!("`{second}` stands beside `{first}`"));
        let finding = finding.expected(WHICH).hint("tokens of two kinds need two issuers, each with a name of its own");
        resolver.report(finding.also(path.key(first), "the other one"));
        return None;
    }
    if raw.refresh.is_some() && raw.jwks_url.is_none() {
        let finding = Finding::key(&path.key("refresh"), "`refresh` has no meaning without `jwks_url`");
        resolver.report(finding.hint("files are read again with each reload"));
    }
    let path_of = |key: &str| path.key(key);
    match given.first().copied() {
        Some("secret") => secrets(&path_of("secret"), raw.secret.as_ref()?, resolver),
        Some("public_key") => public_keys(&path_of("public_key"), raw.public_key.as_ref()?, resolver),
        Some("jwks_file") => {
            let path = path_of("jwks_file");
            let file = file(&path, raw.jwks_file.as_ref(), resolver)?;
            let set = read(&path, &file, resolver, |bytes| KeySet::from_jwks(bytes).map(|(set, _)| set))?;
            Some(Keys::Public(Arc::new(set)))
        }
        Some(_) => {
            let url = resolver.get(&path_of("jwks_url"), &raw.jwks_url, url)?;
            let refresh = resolver.duration_from(&path_of("refresh"), &raw.refresh, DEFAULT_REFRESH, LEAST_REFRESH);
            Some(Keys::Url(JwksUrl { url, refresh }))
        }
        None => {
            // Missing once: at the first of the four.
            if given.is_empty() && !resolver.doubtful(path) {
                let finding = Finding::key(path, "there is no key to check tokens with");
                resolver.report(finding.expected(WHICH));
            }
            None
        }
    }
}

fn secrets(path: &KeyPath, list: &OneOrMany<String>, resolver: &mut Resolver<'_>) -> Option<Keys> {
    let mut secrets = Vec::new();
    for (index, text) in list.items() {
        let path = path.index(index);
        if text.is_empty() {
            let finding = Finding::value(&path, "the secret is empty, so anyone could sign tokens");
            resolver.report(finding.expected("the issuer's secret").hint("without `jwt` no token is taken at all"));
        } else if !resolver.is_placeholder(&path, text, "secret", OPENSSL) {
            secrets.extend(Secret::new(text.clone()));
        }
    }
    if list.0.is_empty() {
        resolver.report(Finding::value(path, "the list is empty").expected("the issuer's secret"));
    }
    (!secrets.is_empty()).then_some(Keys::Secrets(secrets))
}

fn public_keys(path: &KeyPath, list: &OneOrMany<String>, resolver: &mut Resolver<'_>) -> Option<Keys> {
    let mut keys = Vec::new();
    if list.0.is_empty() {
        resolver.report(Finding::value(path, "the list is empty").expected("the path of a PEM file"));
    }
    for (index, text) in list.items() {
        let path = path.index(index);
        if let Some(file) = file(&path, Some(text), resolver) {
            let key = read(&path, &file, resolver, PublicKey::from_pem);
            keys.extend(key.map(|key| NamedKey { kid: None, algorithm: None, key }));
        }
    }
    (!keys.is_empty()).then(|| Keys::Public(Arc::new(KeySet { keys })))
}

fn read<T>(
    path: &KeyPath,
    file: &Path,
    resolver: &mut Resolver<'_>,
    parse: impl Fn(&[u8]) -> Result<T, String>,
) -> Option<T> {
    let found = resolver.environment.read(file).and_then(|bytes| parse(&bytes));
    found.map_err(|reason| resolver.report(Finding::value(path, format!("{} {reason}", file.display())))).ok()
}

/// `https://...`, or `http://` on this machine: whoever can change the keys on their way can sign tokens.
fn url(text: &str) -> Result<Arc<str>, Wrong> {
    if text.contains('@') {
        // Not quoted: it may hold a password.
        return Err(Wrong::new("the URL of a JWK set has no user name or password"));
    }
    let wrong = || Wrong::not(text, "the URL of a JWK set").expected("one such as https://id.example.com/jwks.json");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    match uri.scheme_str() {
        Some("https") => Ok(text.into()),
        Some("http") if is_this_machine(host) => Ok(text.into()),
        Some("http") => Err(wrong().hint("keys that come over plain http can be anybody's; http:// is for loopback")),
        _ => Err(wrong()),
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The algorithms: those written, or what is usual for the keys. Each fits a key.
pub(super) fn algorithms(
    path: &KeyPath,
    raw: &RawJwt,
    keys: Option<&Keys>,
    resolver: &mut Resolver<'_>,
) -> Vec<Algorithm> {
    let parse = |text: &str| {
        values::one_of(text, "an algorithm for tokens", &Algorithm::ALL).map_err(|wrong| {
            let none = text.eq_ignore_ascii_case("none");
            if none { wrong.hint("a token without a signature proves nothing and is never taken") } else { wrong }
        })
    };
    let path = match (&raw.algorithm, &raw.algorithms) {
        (Some(_), Some(_)) => {
            let finding = Finding::key(&path.key("algorithms"), "`algorithms` stands beside `algorithm`");
            resolver.report(finding.hint("keep `algorithms`"));
            return Vec::new();
        }
        (Some(_), None) => path.key("algorithm"),
        _ => path.key("algorithms"),
    };
    let mut written = resolver.list(&path, raw.algorithms.as_ref(), parse);
    written.extend(resolver.get(&path, &raw.algorithm, parse));
    let Some(keys) = keys else { return written };
    if raw.algorithm.is_none() && raw.algorithms.is_none() {
        written = usual(keys);
    }
    for algorithm in &written {
        if let Some(reason) = misfit(*algorithm, keys) {
            resolver.report(Finding::value(&path, format!("{} {reason}", algorithm.name())));
        }
    }
    if let Keys::Secrets(secrets) = keys {
        let least = written.iter().map(|algorithm| algorithm.least_secret()).max().unwrap_or_default();
        let short = secrets.iter().any(|secret| secret.reveal().len() < least);
        if short {
            let secret = path.parent().key("secret");
            let finding = Finding::value(&secret, format!("the secret has fewer than {least} bytes"));
            resolver.report(finding.expected(format!("at least {least} bytes")).hint(format!(
                "a shorter one can be guessed from a single token; make one with: openssl rand -hex {least}"
            )));
        }
    }
    written
}

/// What is taken when nothing is written.
fn usual(keys: &Keys) -> Vec<Algorithm> {
    match keys {
        Keys::Secrets(_) => vec![Family::Hmac.usual()],
        Keys::Public(set) => {
            let mut found = Vec::new();
            for key in &set.keys {
                let algorithm = key.algorithm.unwrap_or_else(|| key.key.family().usual());
                if !found.contains(&algorithm) {
                    found.push(algorithm);
                }
            }
            found
        }
        Keys::Url(_) => vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa],
    }
}

/// Why `algorithm` cannot stand beside these keys.
fn misfit(algorithm: Algorithm, keys: &Keys) -> Option<String> {
    let needs = algorithm.family().describe();
    match keys {
        Keys::Secrets(_) => {
            (algorithm.family() != Family::Hmac).then(|| format!("needs {needs}, and there is a secret"))
        }
        _ if algorithm.family() == Family::Hmac => {
            Some("needs a secret, and a public key is none: whoever has it could sign tokens".to_owned())
        }
        Keys::Public(set) => (!set.fits(algorithm)).then(|| format!("needs {needs}, and there is none")),
        Keys::Url(_) => None,
    }
}
