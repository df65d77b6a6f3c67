//! The shape of `sanitize`.

use serde::Deserialize;

use super::{OneOrMany, Or, Short, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawSanitize {
    pub(in crate::config) rules: Option<OneOrMany<Or<RawSanitizeRule>>>,
    pub(in crate::config) request: Text,
    pub(in crate::config) response: Text,
    pub(in crate::config) max_body: Text,
    pub(in crate::config) on_too_large: Text,
    pub(in crate::config) on_unreadable: Text,
    pub(in crate::config) allow: Option<RawSanitizeAllow>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawSanitizeRule {
    pub(in crate::config) name: Text,
    pub(in crate::config) pattern: Text,
    pub(in crate::config) replace: Text,
}

impl Short for RawSanitizeRule {
    const EXPECTING: &'static str = "email, phone, card or id_card, or a map with `name`, `pattern` and `replace`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawSanitizeAllow {
    pub(in crate::config) callers: Option<OneOrMany<String>>,
    pub(in crate::config) addresses: Option<OneOrMany<String>>,
}
