//! Who asks: header fields -> [`Caller`], or why not ([`Denied`]).
//!
//! Where a request brings several credentials (row F10): a token wins over a key, and when it is no good the key does
//! not help; the key's own fields win over `Authorization: Bearer`, which then belongs to the member. An empty field
//! counts as absent. A field that stands there twice is refused, and so are two that bring different keys, for nobody can
//! say which was meant.
//!
//! Nothing here allocates for a request, and no secret is kept: keys are found by their SHA-256.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::config::auth::{Accepts, Auth};

pub use crate::config::auth::{Permission, Permissions};
pub use api_key::KeyTable;
pub use jwt::{MAX_JTI, MAX_TOKEN, Presented, Revocations, SourceStatus, Sources, Tokens, Verifier};

mod api_key;
mod jwt;

/// A caller whose credentials were good.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// The id of its key, or the subject of its token. Never a secret; stands in logs.
    pub id: Arc<str>,
    /// What it showed.
    pub kind: CallerKind,
    /// What it may do.
    pub permissions: Permissions,
    /// What the operator wrote beside the key; empty for tokens.
    pub metadata: Arc<[(String, String)]>,
    /// Kind and id: what is kept apart for each caller is kept by this. A key and a token may have the same id.
    pub scope: Arc<str>,
}

impl Caller {
    /// A caller with no metadata.
    pub fn new(kind: CallerKind, id: Arc<str>, permissions: Permissions) -> Self {
        let kind_word = match kind {
            CallerKind::ApiKey => "key",
            CallerKind::Jwt => "token",
        };
        let scope = format!("{kind_word}:{id}").into();
        Self { id, kind, permissions, metadata: Arc::default(), scope }
    }

    /// What the operator wrote beside its key under `name`.
    pub fn said_of(&self, name: &str) -> Option<&str> {
        crate::config::auth::said_of(&self.metadata, name)
    }
}

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// A key.
    ApiKey,
    /// A token.
    Jwt,
}

/// Why credentials were no good. A client is not told which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There are none.
    Missing,
    /// They cannot be read, or stand there twice.
    Malformed,
    /// No key is like this.
    Unknown,
    /// The key is switched off.
    Disabled,
    /// Their time is over.
    Expired,
    /// Their time has not come.
    NotYetValid,
    /// Of an issuer that is not known.
    Issuer,
    /// For someone else.
    Audience,
    /// Signed in a way that is not taken.
    Algorithm,
    /// The signature is wrong.
    Signature,
    /// Called back.
    Revoked,
    /// The token is longer than any that works.
    TooLong,
    /// The token asks for an extension, and none is known.
    Critical,
    /// The token's key is not among its issuer's.
    KeyUnknown,
    /// The keys of the token's issuer were not fetched yet.
    NoKeys,
    /// A claim that has to be there is not, or is not of its type.
    Claims,
}

impl Denied {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Disabled,
        Self::Expired,
        Self::NotYetValid,
        Self::Issuer,
        Self::Audience,
        Self::Algorithm,
        Self::Signature,
        Self::Revoked,
        Self::TooLong,
        Self::Critical,
        Self::KeyUnknown,
        Self::NoKeys,
        Self::Claims,
    ];

    /// The stable word of audit and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Revoked => "revoked",
            Self::TooLong => "too_long",
            Self::Critical => "critical",
            Self::KeyUnknown => "key_unknown",
            Self::NoKeys => "no_keys",
            Self::Claims => "claims",
        }
    }
}

/// Credentials that were no good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Denied,
    /// The id of the key that they are of, where they are one's that is switched off or over.
    pub key: Option<Arc<str>>,
}

impl From<Denied> for Refused {
    fn from(why: Denied) -> Self {
        Self { why, key: None }
    }
}

/// Which fields of a request are credentials of ours, and so nothing for members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Those that bring keys: a bit for each, in the order of the configuration.
    pub keys: u8,
    /// Those that bring tokens and nothing else.
    pub tokens: bool,
    /// `Authorization`.
    pub authorization: bool,
}

impl Hidden {
    /// Whatever brings credentials.
    pub const ALL: Self = Self { keys: u8::MAX, tokens: true, authorization: true };
}

/// Knows everyone who may come in.
pub struct Authenticator {
    keys: Option<KeyTable>,
    tokens: Option<Verifier>,
}

impl Authenticator {
    /// Everyone that `auth` names; `tokens` is what outlives it.
    pub fn new(auth: &Auth, tokens: &Arc<Tokens>) -> Self {
        let keys = auth.api_keys.as_ref().map(KeyTable::new);
        Self { keys, tokens: auth.jwt.as_ref().map(|jwt| Verifier::new(jwt, tokens)) }
    }

    /// The caller that `headers` speak for at the time `wall`, whatever its kind.
    ///
    /// # Errors
    /// Why there is none.
    pub fn authenticate(&self, headers: &HeaderMap, wall: SystemTime) -> Result<Arc<Caller>, Refused> {
        self.authenticate_by(headers, Accepts::ALL, wall)
    }

    /// The same, where only some kinds of credentials are looked at.
    ///
    /// # Errors
    /// Why there is none.
    pub fn authenticate_by(
        &self,
        headers: &HeaderMap,
        accepts: Accepts,
        wall: SystemTime,
    ) -> Result<Arc<Caller>, Refused> {
        if let Some(tokens) = self.tokens.as_ref().filter(|_| accepts.jwt)
            && let Some(token) = tokens.find(headers)?
        {
            let now = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            return Ok(tokens.verify(token, now)?);
        }
        let Some(keys) = self.keys.as_ref().filter(|_| accepts.api_keys) else { return Err(Denied::Missing.into()) };
        let own = only(headers, keys.headers())?;
        let secret = own.map_or_else(|| bearer(headers), |secret| Ok(Some(secret)))?.ok_or(Denied::Missing)?;
        keys.find(secret, wall)
    }

    /// What of `headers` is not for members. `caller` is whom they brought in; `None` where nobody asked.
    ///
    /// The fields that bring keys and tokens are ours alone where a caller was asked for. Where none was, and in
    /// `Authorization` beside them, a value may well be the member's own (row F10): it is hidden when it is a secret of
    /// ours, or names an issuer of ours.
    pub fn hidden(&self, headers: &HeaderMap, caller: Option<&Caller>) -> Hidden {
        let by_key = self.keys.as_ref().map_or_else(Hidden::default, |keys| hidden_keys(keys, headers, caller));
        let Some(tokens) = &self.tokens else { return by_key };
        Hidden { tokens: true, authorization: by_key.authorization || tokens.is_bearer(headers), ..by_key }
    }

    /// The names of the fields that `hidden` tells of.
    pub fn names(&self, hidden: Hidden) -> impl Iterator<Item = &HeaderName> {
        let keys = self.keys.as_ref().map_or(&[][..], KeyTable::headers);
        let keys = keys.iter().enumerate().filter(move |(index, _)| hidden.keys & bit(*index) != 0);
        let tokens = self.tokens.as_ref().filter(|_| hidden.tokens).map_or(&[][..], Verifier::headers);
        let authorization = hidden.authorization.then_some(&header::AUTHORIZATION);
        keys.map(|(_, name)| name).chain(tokens).chain(authorization)
    }
}

/// That of the field at `index` among those that bring keys. The configuration has no more of them than there are bits.
fn bit(index: usize) -> u8 {
    u32::try_from(index).ok().and_then(|index| 1_u8.checked_shl(index)).unwrap_or_default()
}

fn hidden_keys(keys: &KeyTable, headers: &HeaderMap, caller: Option<&Caller>) -> Hidden {
    let holds = |name: &HeaderName| headers.get_all(name).iter().any(|value| !value.as_bytes().trim_ascii().is_empty());
    let by_field = keys.headers().iter().any(holds);
    let by_bearer = caller.is_some_and(|caller| caller.kind == CallerKind::ApiKey) && !by_field;
    let known = |name: &HeaderName| headers.get_all(name).iter().any(|value| keys.knows(value.as_bytes().trim_ascii()));
    let known_bearer = || {
        let mut values = headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        values.any(|value| token_of(value).is_some_and(|token| keys.knows(token)))
    };
    let ours = keys.headers().iter().enumerate().filter(|(_, name)| caller.is_some() || known(name));
    let keys = ours.fold(0, |bits, (index, _)| bits | bit(index));
    Hidden { keys, tokens: false, authorization: by_bearer || known_bearer() }
}

/// The one value of the fields `names`, as [`single`]; of more than one they have to bring the same.
fn only<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a [u8]>, Denied> {
    names.iter().try_fold(None, |before, name| match (before, single(headers, name)?) {
        (Some(one), Some(other)) if one != other => Err(Denied::Malformed),
        (before, found) => Ok(before.or(found)),
    })
}

/// The one value of the field `name`, without blanks around it; `None` when it is absent or empty.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Denied> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes).map(<[u8]>::trim_ascii);
    let first = values.next().filter(|value| !value.is_empty());
    if values.next().is_some() { Err(Denied::Malformed) } else { Ok(first) }
}

/// What the one `Authorization` field brings after `Bearer`.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Denied> {
    Ok(single(headers, &header::AUTHORIZATION)?.and_then(token_of))
}

/// What stands after `Bearer` (RFC 6750, section 2.1). Other schemes are not ours: `None`.
fn token_of(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.trim_ascii().split_at_checked(6)?;
    let token = rest.trim_ascii();
    let ours = scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_some_and(u8::is_ascii_whitespace);
    (ours && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
