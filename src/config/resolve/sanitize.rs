//! `sanitize`.

use std::sync::Arc;

use super::Resolver;
use crate::config::problem::KeyPath;
use crate::config::raw::{RawConfig, RawRoute};
use crate::config::sanitize::Sanitize;

/// The section, in the order of its names.
pub(super) fn sanitize(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Vec<Arc<Sanitize>> {
    resolver.later(&KeyPath::default(), &raw.sanitize, "sanitize");
    Vec::new()
}

/// The masking rules of a route, as an index into `sanitize`.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    _sets: &[Arc<Sanitize>],
    resolver: &mut Resolver<'_>,
) -> Option<usize> {
    resolver.later(path, &raw.sanitize, "sanitize");
    None
}
