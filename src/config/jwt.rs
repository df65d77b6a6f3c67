//! The values of `auth.jwt`: whose tokens are taken, checked with which keys, and what their claims mean here.
//!
//! **Invariant:** the algorithms of an issuer fit the kind of its keys: HMAC stands beside a secret and never beside a
//! public key, so that no public key can be taken for a secret (RFC 8725 section 3.1). `none` cannot be written.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::secret::Secret;
pub use algorithm::{Algorithm, Family};
pub use keys::{KeySet, NamedKey, PublicKey};

mod algorithm;
mod keys;

/// Tokens that can be revoked at once when nothing is said (A3.07).
pub const DEFAULT_MAX_REVOKED: u64 = 100_000;

/// The section `auth.jwt`.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// Whose tokens are taken; each has a name of its own. Never empty.
    pub issuers: Vec<Arc<Issuer>>,
    /// Tokens that are taken back before they expire.
    pub revoked: Revoked,
}

impl Jwt {
    /// The longest leeway of the issuers, in whole seconds, rounded up.
    pub fn longest_leeway(&self) -> u64 {
        let leeways = self.issuers.iter().map(|issuer| issuer.leeway);
        leeways.map(|leeway| leeway.as_secs() + u64::from(leeway.subsec_nanos() > 0)).max().unwrap_or_default()
    }
}

/// One issuer whose tokens are taken.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// What `iss` must be, to the letter.
    pub name: Arc<str>,
    /// One of these must stand in `aud`. Empty: a token must name no audience (RFC 7519 section 4.1.3).
    pub audience: Vec<Arc<str>>,
    /// The algorithms taken, all of them fit for the keys. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// What signatures are checked with.
    pub keys: Keys,
    /// By how much clocks may differ. Default 30 s, at most 5 min.
    pub leeway: Duration,
    /// The header that carries the token. `None`: `Authorization: Bearer` (F10 has `Jairouter_Token`).
    pub header: Option<HeaderName>,
    /// The claim that names the caller. Default `sub`.
    pub id_claim: ClaimPath,
    /// The claims that hold permissions, as a list or as words between spaces. Default `permissions` and `scope`.
    pub permission_claims: Vec<ClaimPath>,
    /// What each value of those claims permits. `None`: the values are permissions themselves.
    pub permissions: Option<HashMap<String, Vec<String>>>,
}

/// What the signatures of an issuer are checked with.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Secrets that the issuer and this gateway share; each is long enough for every algorithm. Never empty.
    Secrets(Vec<Secret>),
    /// Public keys out of files, read with the configuration. Never empty.
    Public(Arc<KeySet>),
    /// A JWK set that is fetched, and fetched again.
    Url(JwksUrl),
}

/// Where a JWK set is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JwksUrl {
    /// `https://`, or `http://` on this machine.
    pub url: Arc<str>,
    /// How often it is fetched again. Default 10 min.
    pub refresh: Duration,
}

/// The names of claims, from the outermost to the innermost: `realm_access.roles` is two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(pub Vec<String>);

/// Tokens that are taken back before they expire, by `jti` (A3.03, A3.07).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// How many can be revoked over the control API at once; beyond, the one that was longest not asked for is
    /// forgotten, which is logged and counted. Default 100,000.
    pub max_entries: u64,
    /// How long one stays revoked when nothing says how long its token lives. Default 24 h.
    pub ttl: Duration,
    /// The file with more of them, one a line.
    pub file: Option<PathBuf>,
    /// What stood in it.
    pub listed: Arc<std::collections::HashSet<String>>,
}
