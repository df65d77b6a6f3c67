//! `auth`, and what a route asks of its callers.

use std::sync::Arc;

use super::{Resolver, cors, jwt};
use crate::config::auth::{Auth, RouteAuth};
use crate::config::cors::Cors;
use crate::config::problem::{Finding, KeyPath};
use crate::config::raw::{RawConfig, RawRoute};

/// The section, and the CORS rules for all routes.
pub(super) fn auth(raw: &RawConfig, resolver: &mut Resolver<'_>) -> (Option<Arc<Auth>>, Option<Arc<Cors>>) {
    let path = KeyPath::default().key("auth");
    let Some(raw) = &raw.auth else { return (None, None) };
    resolver.later(&path, &raw.api_keys, "api_keys");
    let _ = jwt::jwt(&path, raw, resolver);
    let cors = cors::cors(&path, raw, resolver);
    (None, cors)
}

/// What a route asks of its callers.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    _auth: Option<&Arc<Auth>>,
    resolver: &mut Resolver<'_>,
) -> RouteAuth {
    resolver.later(path, &raw.permission, "permission");
    if raw.auth.as_deref().is_some_and(|auth| auth != "none") {
        let finding = Finding::value(&path.key("auth"), "authentication is not supported yet");
        resolver.report(finding.expected("none"));
    }
    RouteAuth::None
}
