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

/// What a cache and a route may both say.
pub(in crate::config) struct RawRules<'a> {
    pub(in crate::config) ttl: &'a Text,
    pub(in crate::config) override_ttl: &'a Text,
    pub(in crate::config) stale_while_revalidate: &'a Text,
    pub(in crate::config) stale_if_error: &'a Text,
    pub(in crate::config) heuristic: &'a Text,
    pub(in crate::config) request_directives: &'a Text,
    pub(in crate::config) key_headers: Option<&'a OneOrMany<String>>,
    pub(in crate::config) share_between_callers: &'a Text,
    pub(in crate::config) store_set_cookie: &'a Text,
    pub(in crate::config) store_error_bodies: &'a Text,
}

impl RawCache {
    pub(in crate::config) fn rules(&self) -> RawRules<'_> {
        RawRules {
            ttl: &self.ttl,
            override_ttl: &self.override_ttl,
            stale_while_revalidate: &self.stale_while_revalidate,
            stale_if_error: &self.stale_if_error,
            heuristic: &self.heuristic,
            request_directives: &self.request_directives,
            key_headers: self.key_headers.as_ref(),
            share_between_callers: &self.share_between_callers,
            store_set_cookie: &self.store_set_cookie,
            store_error_bodies: &self.store_error_bodies,
        }
    }
}

impl RawRouteCache {
    pub(in crate::config) fn rules(&self) -> RawRules<'_> {
        RawRules {
            ttl: &self.ttl,
            override_ttl: &self.override_ttl,
            stale_while_revalidate: &self.stale_while_revalidate,
            stale_if_error: &self.stale_if_error,
            heuristic: &self.heuristic,
            request_directives: &self.request_directives,
            key_headers: self.key_headers.as_ref(),
            share_between_callers: &self.share_between_callers,
            store_set_cookie: &self.store_set_cookie,
            store_error_bodies: &self.store_error_bodies,
        }
    }
}
