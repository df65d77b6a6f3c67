//! `caches`.

use std::sync::Arc;

use super::Resolver;
use crate::config::cache::{Cache, RouteCache};
use crate::config::problem::KeyPath;
use crate::config::raw::{RawConfig, RawRoute};

/// The section, in the order of its names.
pub(super) fn caches(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Vec<Arc<Cache>> {
    resolver.later(&KeyPath::default(), &raw.caches, "caches");
    Vec::new()
}

/// The cache of a route.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    _caches: &[Arc<Cache>],
    resolver: &mut Resolver<'_>,
) -> Option<RouteCache> {
    resolver.later(path, &raw.cache, "cache");
    None
}
