//! Callers that were not let in.

use super::counters::Counters;
use super::family::Families;

/// Why not, in the words of the audit log. Fixed: no label carries what a client chose (A3.06).
pub(crate) const REASONS: [&str; 16] = [
    "missing",
    "malformed",
    "unknown",
    "disabled",
    "expired",
    "not_yet_valid",
    "issuer",
    "audience",
    "algorithm",
    "signature",
    "revoked",
    "too_long",
    "critical",
    "key_unknown",
    "no_keys",
    "claims",
];

/// Counts credentials that were no good.
pub struct AuthFailures {
    counters: Counters<{ REASONS.len() }>,
}

impl AuthFailures {
    pub(super) fn new() -> Self {
        Self { counters: Counters::new() }
    }

    /// Counts one. `reason` is one of a fixed set of words; others are not counted.
    pub fn record(&self, reason: &str) {
        if let Some(which) = REASONS.iter().position(|known| *known == reason) {
            self.counters.add(which, 1);
        }
    }

    pub(super) fn collect(&self, out: &mut Families) {
        let help = "Requests without good credentials on routes that need a caller, by reason.";
        for (which, reason) in REASONS.iter().enumerate() {
            out.counter("jairouter_auth_failures_total", help, &[("reason", reason)], self.counters.sum(which));
        }
    }
}
