//! The shape of `caches`, and of a route's `cache`.

use serde::Deserialize;

use super::{OneOrMany, Short, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawCache {
    pub(in crate::config) max_entries: Text,
    pub(in crate::config) max_bytes: Text,
    pub(in crate::config) max_object: Text,
    pub(in crate::config) coalesce_timeout: Text,
    pub(in crate::config) tag_headers: Option<OneOrMany<String>>,
    pub(in crate::config) ttl: Text,
    pub(in crate::config) override_ttl: Text,
    pub(in crate::config) stale_while_revalidate: Text,
    pub(in crate::config) stale_if_error: Text,
    pub(in crate::config) heuristic: Text,
    pub(in crate::config) request_directives: Text,
    pub(in crate::config) key_headers: Option<OneOrMany<String>>,
    pub(in crate::config) share_between_callers: Text,
    pub(in crate::config) store_set_cookie: Text,
    pub(in crate::config) store_error_bodies: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawRouteCache {
    pub(in crate::config) r#use: Text,
    pub(in crate::config) ttl: Text,
    pub(in crate::config) override_ttl: Text,
    pub(in crate::config) stale_while_revalidate: Text,
    pub(in crate::config) stale_if_error: Text,
    pub(in crate::config) heuristic: Text,
    pub(in crate::config) request_directives: Text,
    pub(in crate::config) key_headers: Option<OneOrMany<String>>,
    pub(in crate::config) share_between_callers: Text,
    pub(in crate::config) store_set_cookie: Text,
    pub(in crate::config) store_error_bodies: Text,
}

impl Short for RawRouteCache {
    const EXPECTING: &'static str = "the name of a cache, or a map with `use` and others";
}

impl RawRouteCache {
    /// What it says, as a cache would.
    pub(in crate::config) fn rules(&self) -> RawCache {
        RawCache {
            ttl: self.ttl.clone(),
            override_ttl: self.override_ttl.clone(),
            stale_while_revalidate: self.stale_while_revalidate.clone(),
            stale_if_error: self.stale_if_error.clone(),
            heuristic: self.heuristic.clone(),
            request_directives: self.request_directives.clone(),
            key_headers: self.key_headers.clone(),
            share_between_callers: self.share_between_callers.clone(),
            store_set_cookie: self.store_set_cookie.clone(),
            store_error_bodies: self.store_error_bodies.clone(),
            ..RawCache::default()
        }
    }
}
