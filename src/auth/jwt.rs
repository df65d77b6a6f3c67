//! Tokens (JWT, RFC 7519) -> who they name, or why they are refused.
//!
//! Written to RFC 8725, the list of what went wrong elsewhere. Signatures are checked by ring, which our TLS uses, too;
//! of the token libraries, those that build on ring are no longer kept up.
//!
//! Invariants:
//! - The key's kind decides which algorithms may be used with it; what a token writes only chooses among those.
//! - Keys come from the configuration or a JWKS that it names. `jku`, `x5u`, `jwk` and `x5c` of a token are not read.
//! - Nothing is parsed of a token that is too long, and nothing here waits.
//! - No error and no log holds a token or a part of one.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use moka::sync::Cache;
use ring::digest::{SHA256, digest};

use super::{Caller, Denied};
use crate::config::jwt::{self as config, Jwt};
use crate::observe::metrics::Metrics;
use claims::Claims;
use keys::IssuerKeys;
pub use revoked::{MAX_JTI, Revocations};
pub use sources::{SourceStatus, Sources};
use token::Token;

mod claims;
mod fetch;
mod keys;
mod revoked;
mod sources;
#[cfg(test)]
mod tests;
mod token;

/// The longest token, in bytes. Header blocks of servers end at 8 KiB, so no working token is longer.
pub const MAX_TOKEN: usize = 8 << 10;
/// Tokens whose signature was found good and need not be checked again. An RSA or EC signature costs as much as a whole
/// request otherwise.
const MAX_REMEMBERED: u64 = 10_000;

/// A token, and the header that brought it. Shows nothing.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    text: &'a str,
    /// `None`: `Authorization`.
    header: Option<&'a HeaderName>,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(***)")
    }
}

/// What outlives every snapshot: fetched keys, and what was revoked.
#[derive(Debug)]
pub struct Tokens {
    /// The JWK sets that are fetched.
    pub sources: Sources,
    /// What was revoked over the control API.
    pub revocations: Revocations,
}

impl Tokens {
    /// Nothing fetched yet, and nothing revoked.
    pub fn new(jwt: Option<&Jwt>, metrics: &Arc<Metrics>) -> Self {
        let max_entries = jwt.map_or(config::DEFAULT_MAX_REVOKED, |jwt| jwt.revoked.max_entries);
        let revocations = Revocations::new(max_entries, metrics.revoked());
        Self { sources: Sources::new(Arc::clone(metrics)), revocations }
    }
}

/// Checks tokens against one configuration.
pub struct Verifier {
    issuers: Vec<Issuer>,
    /// The headers that tokens come in, but for `Authorization`.
    headers: Vec<HeaderName>,
    /// Whether tokens come in `Authorization`.
    bearer: bool,
    tokens: Arc<Tokens>,
    listed: Arc<HashSet<String>>,
    remembered: Cache<[u8; 32], Arc<Remembered>>,
}

struct Issuer {
    config: Arc<config::Issuer>,
    keys: IssuerKeys,
    /// Whether its callers' ids end in `@` and its name.
    with_issuer: bool,
}

struct Remembered {
    caller: Arc<Caller>,
    /// Its name, by which it can be revoked.
    jti: Option<Box<str>>,
    /// Until when it is good, in seconds since the epoch: the leeway is in it.
    until: u64,
    /// Its place in `Verifier::issuers`.
    issuer: usize,
    /// Of the keys that checked it.
    version: u64,
}

impl Verifier {
    /// Makes what is configured ready. What outlives it is in `tokens`.
    pub fn new(jwt: &Jwt, tokens: &Arc<Tokens>) -> Self {
        // One name may stand for two people at two issuers, and they are not to be taken for each other.
        let with_issuer = jwt.issuers.len() > 1;
        let issuers: Vec<Issuer> = jwt
            .issuers
            .iter()
            .map(|config| Issuer {
                keys: IssuerKeys::new(config, &tokens.sources),
                config: Arc::clone(config),
                with_issuer,
            })
            .collect();
        let mut headers: Vec<HeaderName> = Vec::new();
        for header in issuers.iter().filter_map(|issuer| issuer.config.header.as_ref()) {
            if !headers.contains(header) {
                headers.push(header.clone());
            }
        }
        Self {
            bearer: issuers.iter().any(|issuer| issuer.config.header.is_none()),
            issuers,
            headers,
            tokens: Arc::clone(tokens),
            listed: Arc::clone(&jwt.revoked.listed),
            remembered: Cache::new(MAX_REMEMBERED),
        }
    }

    /// The headers that carry tokens and nothing else. The upstream is not to get them.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// The token among `fields`, if there is one. A value of `Authorization` that is no bearer token with two dots is
    /// none; it may be a key.
    ///
    /// # Errors
    /// When there is more than one: two programs might each look at another.
    pub fn find<'a>(&'a self, fields: &'a HeaderMap) -> Result<Option<Presented<'a>>, Denied> {
        let mut found: Option<Presented<'a>> = None;
        for header in &self.headers {
            for value in fields.get_all(header) {
                let text = value.to_str().map_err(|_| Denied::Malformed)?.trim();
                if text.is_empty() {
                    continue;
                }
                let presented = Presented { text: bearer(text).unwrap_or(text), header: Some(header) };
                if found.replace(presented).is_some() {
                    return Err(Denied::Malformed);
                }
            }
        }
        if !self.bearer {
            return Ok(found);
        }
        for value in fields.get_all(AUTHORIZATION) {
            let Some(text) = value.to_str().ok().and_then(bearer).filter(|text| is_token(text)) else { continue };
            if found.replace(Presented { text, header: None }).is_some() {
                return Err(Denied::Malformed);
            }
        }
        Ok(found)
    }

    /// Whether `Authorization` brings a token that names one of our issuers, be it good or not.
    pub fn is_bearer(&self, fields: &HeaderMap) -> bool {
        let mut values = fields.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value.to_str().ok()?));
        self.bearer
            && values.any(|text| {
                let known = || self.remembered.contains_key(&fingerprint(text));
                let ours = || Token::parse(text).is_ok_and(|token| self.issuer(&token, None).is_ok());
                is_token(text) && text.len() <= MAX_TOKEN && (known() || ours())
            })
    }

    /// Checks a token at `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, presented: Presented<'_>, now: u64) -> Result<Arc<Caller>, Denied> {
        if presented.text.len() > MAX_TOKEN {
            return Err(Denied::TooLong);
        }
        let name = fingerprint(presented.text);
        if let Some(known) = self.recall(&name, presented, now) {
            self.check_revoked(known.jti.as_deref(), known.until, now)?;
            return Ok(Arc::clone(&known.caller));
        }
        let token = Token::parse(presented.text)?;
        let (index, issuer) = self.issuer(&token, presented.header)?;
        let version = issuer.keys.check(&issuer.config, &token, now)?;
        let Claims { caller, jti, until } = Claims::check(&issuer.config, issuer.with_issuer, token.claims(), now)?;
        self.check_revoked(jti.as_deref(), until, now)?;
        let known = Remembered { caller: Arc::clone(&caller), jti, until, issuer: index, version };
        self.remembered.insert(name, Arc::new(known));
        Ok(caller)
    }

    /// What was found of this very token before, if that still holds.
    fn recall(&self, name: &[u8; 32], presented: Presented<'_>, now: u64) -> Option<Arc<Remembered>> {
        let known = self.remembered.get(name)?;
        let issuer = self.issuers.get(known.issuer)?;
        let holds = issuer.config.header.as_ref() == presented.header
            && issuer.keys.version() == known.version
            && now < known.until;
        holds.then_some(known)
    }

    /// The issuer that the token names, among those whose tokens come in this header.
    fn issuer(&self, token: &Token<'_>, header: Option<&HeaderName>) -> Result<(usize, &Issuer), Denied> {
        let name = token.issuer().ok_or(Denied::Issuer)?;
        let mut issuers = self.issuers.iter().enumerate();
        let found = issuers.find(|(_, issuer)| *issuer.config.name == *name);
        found.filter(|(_, issuer)| issuer.config.header.as_ref() == header).ok_or(Denied::Issuer)
    }

    /// Asks for as long as the token is good, which is until then.
    fn check_revoked(&self, jti: Option<&str>, until: u64, now: u64) -> Result<(), Denied> {
        let Some(jti) = jti else { return Ok(()) };
        if self.listed.contains(jti) || self.tokens.revocations.holds(jti, until, now) {
            return Err(Denied::Revoked);
        }
        Ok(())
    }
}

/// What stands behind `Bearer` (RFC 6750 section 2.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("bearer ").then(|| rest.trim())
}

/// Whether `text` is meant as a token: three parts, the first of which can be a JSON object in base64url.
fn is_token(text: &str) -> bool {
    text.starts_with("ey") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

fn fingerprint(token: &str) -> [u8; 32] {
    let mut name = [0; 32];
    // The digest has this length, so this always fits.
    name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    name
}

/// A duration in whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
