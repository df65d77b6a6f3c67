//! The shape of `log.audit`.

use serde::Deserialize;

use super::{Named, Short, Text};
use crate::config::raw::Or;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawAudit {
    pub(in crate::config) file: Text,
    pub(in crate::config) events: Option<Named<String>>,
    pub(in crate::config) alerts: Option<RawAlerts>,
    pub(in crate::config) webhook: Option<Or<RawWebhook>>,
}

impl Short for RawAudit {
    const EXPECTING: &'static str = "off, the path of a file, or a map with `file`";
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawAlerts {
    pub(in crate::config) auth_failures: Text,
    pub(in crate::config) suspicious_requests: Text,
    pub(in crate::config) sanitizations: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawWebhook {
    pub(in crate::config) url: Text,
    pub(in crate::config) timeout: Text,
    pub(in crate::config) retries: Text,
    pub(in crate::config) secret: Text,
}

impl Short for RawWebhook {
    const EXPECTING: &'static str = "a URL such as https://alerts.example.com/hook, or a map with `url`";
}
