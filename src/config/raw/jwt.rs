//! The shape of `auth.jwt`.

use serde::Deserialize;

use super::{Named, OneOrMany, Or, Short, Text};

// Debug is left out of what holds a secret.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawJwt {
    pub(in crate::config) issuer: Text,
    pub(in crate::config) audience: Option<OneOrMany<String>>,
    pub(in crate::config) algorithm: Text,
    pub(in crate::config) algorithms: Option<OneOrMany<String>>,
    pub(in crate::config) secret: Option<OneOrMany<String>>,
    pub(in crate::config) public_key: Option<OneOrMany<String>>,
    pub(in crate::config) jwks_file: Text,
    pub(in crate::config) jwks_url: Text,
    pub(in crate::config) refresh: Text,
    pub(in crate::config) leeway: Text,
    pub(in crate::config) header: Text,
    pub(in crate::config) id_claim: Text,
    pub(in crate::config) permissions_claim: Option<OneOrMany<String>>,
    pub(in crate::config) permissions: Option<Named<OneOrMany<String>>>,
    pub(in crate::config) revoked: Option<Or<RawRevoked>>,
}

impl std::fmt::Debug for RawJwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawJwt").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawRevoked {
    pub(in crate::config) max_entries: Text,
    pub(in crate::config) ttl: Text,
    pub(in crate::config) file: Text,
}

impl Short for RawRevoked {
    const EXPECTING: &'static str = "the path of a file with a `jti` a line, or a map with `max_entries` and others";
}
