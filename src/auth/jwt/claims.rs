//! The claims of a token whose signature is good -> who it names and what it permits, or why it is refused.
//!
//! A claim of the wrong type is as bad as a wrong one: what cannot be read is never passed over.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{MAX_JTI, seconds};
use crate::auth::{Caller, CallerKind, Denied, Permissions};
use crate::config::jwt::{ClaimPath, Issuer};

/// The longest id, in bytes.
const MAX_NAME: usize = 512;
/// The most values of a token's claims that are looked at for permissions.
const MAX_VALUES: usize = 256;

/// What a good token says.
#[derive(Debug)]
pub(super) struct Claims {
    /// Who it names, and what that one may do.
    pub(super) caller: Arc<Caller>,
    /// Its name, by which it can be revoked.
    pub(super) jti: Option<Box<str>>,
    /// From when on it is no longer good, in seconds since the epoch: `exp` and the leeway.
    pub(super) until: u64,
}

impl Claims {
    /// Checks `claims` at `now`. `with_issuer`: the caller's id ends in `@` and the issuer's name.
    pub(super) fn check(
        issuer: &Issuer,
        with_issuer: bool,
        claims: &Map<String, Value>,
        now: u64,
    ) -> Result<Self, Denied> {
        let expires = time(claims, "exp")?.ok_or(Denied::Claims)?;
        // On that very second it no longer is good (RFC 7519 section 4.1.4).
        let until = expires.saturating_add(seconds(issuer.leeway));
        if now >= until {
            return Err(Denied::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|begins| begins > now.saturating_add(seconds(issuer.leeway))) {
            return Err(Denied::NotYetValid);
        }
        time(claims, "iat")?;
        if !is_for_us(issuer, claims.get("aud")) {
            return Err(Denied::Audience);
        }
        let jti = match claims.get("jti") {
            None => None,
            Some(Value::String(jti)) if (1..=MAX_JTI).contains(&jti.len()) => Some(jti.as_str().into()),
            Some(_) => return Err(Denied::Claims),
        };
        let id = id(at(claims, &issuer.id_claim)).ok_or(Denied::Claims)?;
        let id = if with_issuer { format!("{id}@{}", issuer.name).into() } else { id };
        let caller = Caller::new(CallerKind::Jwt, id, permissions(issuer, claims)?);
        Ok(Self { caller: Arc::new(caller), jti, until })
    }
}

/// A NumericDate, which may have a fraction (RFC 7519 section 2). One before 1970 is 0.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Denied> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(seconds));
    }
    match value.as_f64() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float stops at the ends of the range, as is wanted"
        )]
        Some(seconds) if seconds.is_finite() => Ok(Some(seconds as u64)),
        _ => Err(Denied::Claims),
    }
}

fn is_for_us(issuer: &Issuer, audience: Option<&Value>) -> bool {
    let ours = |value: &Value| value.as_str().is_some_and(|name| issuer.audience.iter().any(|own| **own == *name));
    match audience {
        None => issuer.audience.is_empty(),
        Some(Value::Array(list)) => list.iter().all(Value::is_string) && list.iter().any(ours),
        Some(one) => ours(one),
    }
}

/// The claim at `path`.
fn at<'a>(claims: &'a Map<String, Value>, path: &ClaimPath) -> Option<&'a Value> {
    let (first, rest) = path.0.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
}

/// The name of a caller: a text that can stand in a log, or a whole number.
fn id(value: Option<&Value>) -> Option<Arc<str>> {
    match value? {
        Value::String(text) => {
            let fits = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
            fits.then(|| Arc::from(text.as_str()))
        }
        Value::Number(number) => Some(number.as_i64()?.to_string().into()),
        _ => None,
    }
}

/// What the claims permit. A value that is no permission, such as the scope `openid`, permits nothing.
/// What the claims give. A claim that is neither a text nor a list of texts is none that can be judged.
fn permissions(issuer: &Issuer, claims: &Map<String, Value>) -> Result<Permissions, Denied> {
    let stated: Vec<&Value> = issuer.permission_claims.iter().filter_map(|path| at(claims, path)).collect();
    if stated.is_empty() {
        return Ok(Permissions::unstated());
    }
    let mut found = Permissions::default();
    let mut values = Vec::new();
    for claim in stated {
        match claim {
            Value::String(words) => values.extend(words.split_ascii_whitespace()),
            Value::Array(list) => {
                for value in list {
                    values.push(value.as_str().ok_or(Denied::Claims)?);
                }
            }
            _ => return Err(Denied::Claims),
        }
    }
    for value in values.into_iter().take(MAX_VALUES) {
        match &issuer.permissions {
            None => {
                let _ = found.add(value);
            }
            Some(table) => {
                for permission in table.get(value).into_iter().flatten() {
                    // The configuration let nothing else into the table.
                    let _ = found.add(permission);
                }
            }
        }
    }
    Ok(found)
}
