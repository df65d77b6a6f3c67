//! Who may come in: the values of `auth`, and what a route asks of its callers.

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderName;

use super::jwt::Jwt;
pub use permission::{Flat, NotAPermission, Permission, Permissions, SERVICES};

mod permission;

/// The section `auth`. Once it is there, every route needs a caller unless it says `auth: none`.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Keys; `None`: nobody comes in by one.
    pub api_keys: Option<ApiKeys>,
    /// Whether the members get the credentials too. Default false; a route may say otherwise.
    pub forward_credentials: bool,
    /// Issuers of tokens; `None`: nobody comes in by one.
    pub jwt: Option<Arc<Jwt>>,
}

/// The most fields that bring keys.
pub const MOST_HEADERS: usize = 8;

/// The keys.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    /// The fields that bring one, beside `Authorization: Bearer`: 1 to [`MOST_HEADERS`]. Default `X-API-Key`.
    pub headers: Vec<HeaderName>,
    /// In the order of the configuration, then of the key file. No two have the same id, nor the same secret.
    pub keys: Vec<ApiKey>,
}

/// One key. Its secrets are known by their digests only.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its name in logs and limits, at most 64 bytes. Never a secret.
    pub id: Arc<str>,
    /// For people.
    pub description: Option<String>,
    /// What it may do.
    pub permissions: Permissions,
    /// Whether it comes in at all.
    pub enabled: bool,
    /// From when it does not any more. `None`: never.
    pub expires_at: Option<SystemTime>,
    /// What it is known by: none where the secret is empty, two while it is being changed.
    pub secrets: Vec<KeySecret>,
    /// Whatever the operator wants to know of it.
    pub metadata: Arc<[(String, String)]>,
}

impl Auth {
    /// Every API key.
    pub fn keys(&self) -> impl Iterator<Item = &ApiKey> {
        self.api_keys.iter().flat_map(|keys| &keys.keys)
    }
}

impl ApiKey {
    /// What its metadata says under `name`.
    pub fn said_of(&self, name: &str) -> Option<&str> {
        said_of(&self.metadata, name)
    }
}

/// What `metadata` says under `name`.
pub fn said_of<'a>(metadata: &'a [(String, String)], name: &str) -> Option<&'a str> {
    metadata.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

/// A secret of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// SHA-256 of it.
    pub digest: [u8; 32],
    /// From when it is not taken any more; `None` for the one in force.
    pub until: Option<SystemTime>,
}

impl std::fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySecret").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What a route asks of its callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RouteAuth {
    /// Nothing: `auth: none`, or there is no section `auth`.
    #[default]
    None,
    /// A known caller.
    Required(Requirement),
}

/// Which callers a route lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// By what they may show who they are.
    pub accepts: Accepts,
    /// What they must be allowed; `None`: the method decides.
    pub permission: Option<Permission>,
}

/// Kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// Keys.
    pub api_keys: bool,
    /// Tokens.
    pub jwt: bool,
}

/// Whether `text` may be the id of a key: 1 to 64 letters, digits, `_`, `-`, `.`, `@` and `:`.
pub fn is_key_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@:".contains(c))
}

impl Accepts {
    /// Every kind there is.
    pub const ALL: Self = Self { api_keys: true, jwt: true };
}
