//! The values of `log.audit`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::secret::Secret;

/// The audit log, its alarms and who is told of them (rows A3.05, A5.06).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Where it goes.
    pub file: PathBuf,
    /// The events that are written. Counted are all.
    pub events: EventKinds,
    /// When an alarm is raised.
    pub alerts: Alerts,
    /// Who is told of alarms. `None`: the logs alone.
    pub webhook: Option<Arc<Webhook>>,
}

/// Events of a kind within a minute, beyond which an alarm is raised. Zero: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alerts {
    /// Credentials that are missing or no good, admin tokens included. Default 5.
    pub auth_failures: u32,
    /// Requests that are no valid HTTP, leave the root, or can be read in two ways. Default 10.
    pub suspicious_requests: u32,
    /// Bodies in which something was masked. Default 200.
    pub sanitizations: u32,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { auth_failures: 5, suspicious_requests: 10, sanitizations: 200 }
    }
}

/// Where alarms are posted to.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// An http or https URL. It may hold a secret itself, so it is never shown.
    pub url: Secret,
    /// For one attempt. Default 5 s.
    pub timeout: Duration,
    /// Attempts after the first. Default 3.
    pub retries: u32,
    /// Signs each message, by the rules of Standard Webhooks.
    pub secret: Option<Secret>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

/// The key that a webhook's secret stands for: the text as it is, or, in the form that Standard Webhooks hands out, what
/// follows `whsec_` in Base64. `None` when that cannot be read.
pub fn signing_key(secret: &str) -> Option<Vec<u8>> {
    match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).ok().filter(|key| !key.is_empty()),
        None => Some(secret.as_bytes().to_vec()),
    }
}

/// A kind of event. The words are stable: they stand in the audit log and in `jairouter_security_events_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A caller was let in. Not written by default (A3.05).
    AuthenticationSuccess,
    /// Credentials were missing or no good.
    AuthenticationFailure,
    /// A known caller lacks a permission, or an address is not allowed.
    AccessDenied,
    /// How often a caller was let in during the last minute: a line a caller and minute.
    ApiKeyUsage,
    /// The configuration was loaded, or refused.
    ConfigUpdate,
    /// A member was drained or brought back, logs were reopened, the process drains.
    ServiceManagement,
    /// What a caller may do was changed: a token was revoked.
    UserManagement,
    /// A threshold was passed.
    SecurityAlert,
    /// A body was masked. Not written by default (A3.05).
    SanitizationApplied,
    /// Stored answers were thrown away.
    CachePurge,
    /// A request that is no valid HTTP, leaves the root, or can be read in two ways.
    SuspiciousRequest,
}

impl EventKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::AuthenticationSuccess,
        Self::AuthenticationFailure,
        Self::AccessDenied,
        Self::ApiKeyUsage,
        Self::ConfigUpdate,
        Self::ServiceManagement,
        Self::UserManagement,
        Self::SecurityAlert,
        Self::SanitizationApplied,
        Self::CachePurge,
        Self::SuspiciousRequest,
    ];

    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthenticationSuccess => "AUTHENTICATION_SUCCESS",
            Self::AuthenticationFailure => "AUTHENTICATION_FAILURE",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::ApiKeyUsage => "API_KEY_USAGE",
            Self::ConfigUpdate => "CONFIG_UPDATE",
            Self::ServiceManagement => "SERVICE_MANAGEMENT",
            Self::UserManagement => "USER_MANAGEMENT",
            Self::SecurityAlert => "SECURITY_ALERT",
            Self::SanitizationApplied => "SANITIZATION_APPLIED",
            Self::CachePurge => "CACHE_PURGE",
            Self::SuspiciousRequest => "SUSPICIOUS_REQUEST",
        }
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKinds(u16);

impl Default for EventKinds {
    /// All but those that every good request causes.
    fn default() -> Self {
        let mut all = Self((1 << EventKind::ALL.len()) - 1);
        all.set(EventKind::AuthenticationSuccess, false);
        all.set(EventKind::SanitizationApplied, false);
        all
    }
}

impl EventKinds {
    /// Puts one in, or takes it out.
    pub fn set(&mut self, kind: EventKind, on: bool) {
        let bit = 1 << kind as u16;
        if on { self.0 |= bit } else { self.0 &= !bit }
    }

    /// Whether it is in.
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_leaves_out_what_every_good_request_causes() {
        let default = EventKinds::default();
        let out: Vec<_> = EventKind::ALL.into_iter().filter(|kind| !default.has(*kind)).collect();
        assert_eq!(out, [EventKind::AuthenticationSuccess, EventKind::SanitizationApplied]);
    }

    #[test]
    fn the_numbers_are_the_places() {
        for (place, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }
}
