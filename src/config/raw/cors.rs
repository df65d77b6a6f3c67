//! The shape of `cors`.

use serde::Deserialize;

use super::{OneOrMany, Short, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawCors {
    pub(in crate::config) origins: Option<OneOrMany<String>>,
    pub(in crate::config) methods: Option<OneOrMany<String>>,
    pub(in crate::config) headers: Option<OneOrMany<String>>,
    pub(in crate::config) expose: Option<OneOrMany<String>>,
    pub(in crate::config) credentials: Text,
    pub(in crate::config) max_age: Text,
    pub(in crate::config) private_network: Text,
}

impl Short for RawCors {
    const EXPECTING: &'static str = "off, or a map with `origins` and others";
}
