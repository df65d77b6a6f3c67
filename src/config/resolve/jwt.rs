//! `auth.jwt`.

use super::Resolver;
use crate::config::jwt::Jwt;
use crate::config::problem::KeyPath;
use crate::config::raw::RawAuth;

/// The issuers. `path` is that of `auth`.
pub(super) fn jwt(path: &KeyPath, raw: &RawAuth, resolver: &mut Resolver<'_>) -> Vec<Jwt> {
    resolver.later(path, &raw.jwt, "jwt");
    Vec::new()
}
