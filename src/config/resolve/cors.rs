//! `auth.cors`, and `cors` of a route.

use std::sync::Arc;

use super::Resolver;
use crate::config::cors::Cors;
use crate::config::problem::KeyPath;
use crate::config::raw::{RawAuth, RawRoute};

/// The rules for all routes. `path` is that of `auth`.
pub(super) fn cors(path: &KeyPath, raw: &RawAuth, resolver: &mut Resolver<'_>) -> Option<Arc<Cors>> {
    resolver.later(path, &raw.cors, "cors");
    None
}

/// The rules of one route, where it does not take those for all.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    all: Option<&Arc<Cors>>,
    resolver: &mut Resolver<'_>,
) -> Option<Arc<Cors>> {
    resolver.later(path, &raw.cors, "cors");
    all.cloned()
}
