//! The shape of `auth`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::RawCors;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawAuth {
    pub(in crate::config) api_keys: Option<IgnoredAny>,
    pub(in crate::config) jwt: Option<IgnoredAny>,
    pub(in crate::config) cors: Option<RawCors>,
}
