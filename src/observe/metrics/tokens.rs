//! Keys of issuers of tokens, and revoked tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::family::Families;

/// The fetches of one JWK set. All atomics are relaxed: each is read on its own, only to be shown.
pub struct JwksMetrics {
    url: Arc<str>,
    fetched: AtomicU64,
    failed: AtomicU64,
    keys: AtomicU64,
    fetched_at: AtomicU64,
}

impl JwksMetrics {
    pub(super) fn new(url: Arc<str>) -> Self {
        let zero = || AtomicU64::new(0);
        Self { url, fetched: zero(), failed: zero(), keys: zero(), fetched_at: zero() }
    }

    /// Counts a fetch that brought so many keys, at `now` in seconds since the epoch.
    pub fn fetched(&self, keys: usize, now: u64) {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.keys.store(keys as u64, Ordering::Relaxed);
        self.fetched_at.store(now, Ordering::Relaxed);
    }

    /// Counts a fetch that failed; the keys stay.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for (result, counter) in [("success", &self.fetched), ("failure", &self.failed)] {
            let help = "Fetches of a JWK set by result.";
            let labels = [("jwks", &*self.url), ("result", result)];
            out.counter("sluicegate_jwks_fetches_total", help, &labels, counter.load(Ordering::Relaxed));
        }
        let labels = [("jwks", &*self.url)];
        let keys = self.keys.load(Ordering::Relaxed) as f64;
        out.gauge("sluicegate_jwks_keys", "Keys in use of a JWK set; 0 until it was fetched.", &labels, keys);
        let help = "When a JWK set was last fetched, seconds since the epoch; 0: never.";
        let at = self.fetched_at.load(Ordering::Relaxed) as f64;
        out.gauge("sluicegate_jwks_last_success_timestamp_seconds", help, &labels, at);
    }
}

/// The revoked tokens of the control API.
#[derive(Default)]
pub struct RevokedMetrics {
    entries: AtomicU64,
    forgotten: AtomicU64,
}

impl RevokedMetrics {
    /// How many there are now.
    pub fn set_entries(&self, entries: u64) {
        self.entries.store(entries, Ordering::Relaxed);
    }

    /// Counts one that was forgotten to make room.
    pub fn forgot(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        let help = "Tokens revoked over the control API that are still kept.";
        let entries = self.entries.load(Ordering::Relaxed) as f64;
        out.gauge("sluicegate_revoked_tokens", help, &[], entries);
        let help = "Revoked tokens forgotten because auth.jwt.revoked.max_entries was reached.";
        let forgotten = self.forgotten.load(Ordering::Relaxed);
        out.counter("sluicegate_revoked_tokens_forgotten_total", help, &[], forgotten);
    }
}
