//! The shape of a limit.

use serde::Deserialize;

use super::{Named, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawLimit {
    pub(in crate::config) key: Text,
    pub(in crate::config) rate: Text,
    pub(in crate::config) burst: Text,
    pub(in crate::config) concurrent: Text,
    pub(in crate::config) concurrency: Text,
    pub(in crate::config) tokens: Text,
    pub(in crate::config) cost: Text,
    pub(in crate::config) timezone: Text,
    pub(in crate::config) mode: Text,
    pub(in crate::config) headers: Text,
    pub(in crate::config) ipv6_prefix: Text,
    pub(in crate::config) max_entries: Text,
    pub(in crate::config) overrides: Option<Named<RawNumbers>>,
}

/// What a limit says of some whom it counts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawNumbers {
    pub(in crate::config) rate: Text,
    pub(in crate::config) burst: Text,
    pub(in crate::config) concurrent: Text,
    pub(in crate::config) concurrency: Text,
    pub(in crate::config) tokens: Text,
    pub(in crate::config) cost: Text,
}
