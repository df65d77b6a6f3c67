//! The shape of `auth`, and of a key file.

use serde::Deserialize;

use super::{Named, OneOrMany, RawCors, RawJwt, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawAuth {
    pub(in crate::config) api_keys: Option<RawApiKeys>,
    pub(in crate::config) jwt: Option<OneOrMany<RawJwt>>,
    pub(in crate::config) cors: Option<RawCors>,
    pub(in crate::config) forward_credentials: Text,
}

// Debug is left out of what may hold a secret.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawApiKeys {
    pub(in crate::config) header: Option<OneOrMany<String>>,
    pub(in crate::config) file: Text,
    pub(in crate::config) keys: Option<OneOrMany<RawApiKey>>,
    pub(in crate::config) default_expiry: Text,
}

impl std::fmt::Debug for RawApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawApiKeys").field("header", &self.header).field("file", &self.file).finish_non_exhaustive()
    }
}

/// A key file as a whole.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawKeyFile {
    pub(in crate::config) keys: Option<OneOrMany<RawApiKey>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawApiKey {
    pub(in crate::config) id: Text,
    pub(in crate::config) secret: Text,
    pub(in crate::config) secret_sha256: Text,
    pub(in crate::config) description: Text,
    pub(in crate::config) permissions: Option<OneOrMany<String>>,
    pub(in crate::config) enabled: Text,
    pub(in crate::config) created_at: Text,
    pub(in crate::config) expires_at: Text,
    pub(in crate::config) previous: Option<RawPreviousSecret>,
    pub(in crate::config) metadata: Option<Named<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawPreviousSecret {
    pub(in crate::config) secret: Text,
    pub(in crate::config) secret_sha256: Text,
    pub(in crate::config) until: Text,
}
