//! `limits`.

use std::sync::Arc;

use super::Resolver;
use crate::config::limit::Limit;
use crate::config::problem::KeyPath;
use crate::config::raw::{RawConfig, RawRoute};

/// The section, in the order of its names.
pub(super) fn limits(raw: &RawConfig, resolver: &mut Resolver<'_>) -> Vec<Arc<Limit>> {
    resolver.later(&KeyPath::default(), &raw.limits, "limits");
    Vec::new()
}

/// The limits of a route, as indices into `limits`.
pub(super) fn of_route(
    path: &KeyPath,
    raw: &RawRoute,
    _limits: &[Arc<Limit>],
    resolver: &mut Resolver<'_>,
) -> Vec<usize> {
    resolver.later(path, &raw.limits, "limits");
    Vec::new()
}
