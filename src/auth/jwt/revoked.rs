//! Tokens that were taken back over the control API, by `jti` (A3.03, A3.07).
//!
//! Bounded: at the most entries, the one that was longest not asked for is forgotten, which is counted and logged. It
//! outlives reloads and not the process; what is to stay revoked belongs into the file.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::warn;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock;
use crate::observe::metrics::RevokedMetrics;

/// The longest `jti` that can be revoked, in bytes; no token with a longer one is taken.
pub const MAX_JTI: usize = 512;
/// How long an entry lives at most, in seconds.
const MAX_LIFE: u64 = 400 * 86_400;

/// The revoked tokens. Each entry is kept until its token expires, as far as that is known.
pub struct Revocations {
    /// Until when, in seconds since the epoch.
    entries: Cache<Arc<str>, u64>,
    max_entries: u64,
    /// Whether there ever was one: as long as there is none, a request does not ask.
    any: AtomicBool,
    metrics: Arc<RevokedMetrics>,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("max_entries", &self.max_entries).finish_non_exhaustive()
    }
}

impl Revocations {
    /// Room for `max_entries`.
    pub fn new(max_entries: u64, metrics: Arc<RevokedMetrics>) -> Self {
        let count = Arc::clone(&metrics);
        let entries = Cache::builder()
            .max_capacity(max_entries)
            // The usual policy of this cache may turn a new entry away, and then a token would not be revoked.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(UntilExpired)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    count.forgot();
                    warn!(target: "sluicegate::auth", "a revoked token is forgotten: auth.jwt.revoked.max_entries is reached");
                }
            })
            .build();
        Self { entries, max_entries, any: AtomicBool::new(false), metrics }
    }

    /// Revokes `jti` until then, in seconds since the epoch. Returns until when it is kept.
    pub fn revoke(&self, jti: &str, until: u64) -> u64 {
        let until = self.entries.get(jti).map_or(until, |known| known.max(until));
        self.entries.insert(jti.into(), until);
        self.entries.run_pending_tasks();
        self.metrics.set_entries(self.entries.entry_count());
        // After the entry, so that whoever sees this finds it.
        self.any.store(true, Ordering::Release);
        until
    }

    /// Whether `jti` is revoked, of a token that `expires` then, its leeway included. Its entry will live as long as the token does.
    pub fn holds(&self, jti: &str, expires: u64, now: u64) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let Some(until) = self.entries.get(jti) else { return false };
        if expires > until && until < now.saturating_add(MAX_LIFE) {
            self.entries.insert(jti.into(), expires.min(now.saturating_add(MAX_LIFE)));
        }
        until > now
    }

    /// All of them, each with until when it is kept.
    pub fn all(&self) -> Vec<(Arc<str>, u64)> {
        self.entries.iter().map(|(jti, until)| ((*jti).clone(), until)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most there can be.
    pub fn max_entries(&self) -> u64 {
        self.max_entries
    }
}

struct UntilExpired;

impl Expiry<Arc<str>, u64> for UntilExpired {
    fn expire_after_create(&self, _: &Arc<str>, until: &u64, _: Instant) -> Option<Duration> {
        Some(Duration::from_secs(until.saturating_sub(clock::wall_millis() / 1000).min(MAX_LIFE)))
    }

    fn expire_after_update(&self, jti: &Arc<str>, until: &u64, now: Instant, _: Option<Duration>) -> Option<Duration> {
        self.expire_after_create(jti, until, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> u64 {
        clock::wall_millis() / 1000
    }

    #[test]
    fn what_is_revoked_is_held_until_then() {
        let revocations = Revocations::new(10, Arc::default());
        assert!(!revocations.holds("a", now() + 60, now()));
        assert_eq!(revocations.revoke("a", now() + 60), now() + 60);
        assert!(revocations.holds("a", now() + 60, now()));
        assert!(!revocations.holds("b", now() + 60, now()));
        assert!(!revocations.holds("a", now() + 60, now() + 61));
    }

    #[test]
    fn an_entry_lives_as_long_as_its_token_once_that_is_seen() {
        let revocations = Revocations::new(10, Arc::default());
        revocations.revoke("a", now() + 60);
        assert!(revocations.holds("a", now() + 3600, now()));
        assert!(revocations.holds("a", now() + 3600, now() + 1800));
        assert!(revocations.revoke("a", now() + 60) >= now() + 3600, "a later call does not shorten it");
    }

    #[test]
    fn at_the_bound_the_one_longest_not_asked_for_goes() {
        let revocations = Revocations::new(3, Arc::default());
        let later = now() + 60;
        for jti in ["a", "b", "c"] {
            revocations.revoke(jti, later);
        }
        assert!(revocations.holds("a", later, now()));
        revocations.revoke("d", later);
        let held: Vec<&str> =
            ["a", "b", "c", "d"].into_iter().filter(|jti| revocations.holds(jti, later, now())).collect();
        assert_eq!(held, ["a", "c", "d"]);
        assert_eq!(revocations.len(), 3);
    }
}
