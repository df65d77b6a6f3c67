//! Caches: how requests were answered, and what is held.

use std::sync::Arc;

use super::counters::Counters;
use super::family::Families;
use crate::observe::CacheStatus;

const ADDED: usize = CacheStatus::ALL.len();
const REMOVED: usize = ADDED + 1;
const BYTES_ADDED: usize = ADDED + 2;
const BYTES_REMOVED: usize = ADDED + 3;
const EVICTED: usize = ADDED + 4;
const PURGED: usize = ADDED + 5;
const INVALIDATED: usize = ADDED + 6;
const FAILED: usize = ADDED + 7;

/// One cache.
pub struct CacheMetrics {
    name: Arc<str>,
    counters: Counters<{ FAILED + 1 }>,
}

impl CacheMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, counters: Counters::new() }
    }

    /// Counts a request by how it was answered.
    pub fn answered(&self, status: CacheStatus) {
        self.counters.add(status as usize, 1);
    }

    /// Counts an answer of `bytes` as held, until the guard is dropped.
    pub fn hold(self: &Arc<Self>, bytes: u64) -> Held {
        self.counters.add(ADDED, 1);
        self.counters.add(BYTES_ADDED, bytes);
        Held { metrics: Arc::clone(self), bytes }
    }

    /// Bytes of the answers that are held now.
    pub fn bytes(&self) -> u64 {
        self.counters.open(BYTES_ADDED, BYTES_REMOVED)
    }

    /// Counts an answer that made room for others.
    pub fn evicted(&self) {
        self.counters.add(EVICTED, 1);
    }

    /// Counts answers that were purged.
    pub fn purged(&self, count: u64) {
        self.counters.add(PURGED, count);
    }

    /// Counts a URL that a request with an unsafe method invalidated.
    pub fn invalidated(&self) {
        self.counters.add(INVALIDATED, 1);
    }

    /// Counts a fetch that brought no answer.
    pub fn fetch_failed(&self) {
        self.counters.add(FAILED, 1);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for status in CacheStatus::ALL {
            let labels = [("cache", &*self.name), ("status", status.as_str())];
            let help = "Requests on routes with a cache, by how they were answered.";
            out.counter("sluicegate_cache_requests_total", help, &labels, self.counters.sum(status as usize));
        }
        let labels = [("cache", &*self.name)];
        let (entries, bytes) = (self.counters.open(ADDED, REMOVED), self.counters.open(BYTES_ADDED, BYTES_REMOVED));
        out.gauge(
            "sluicegate_cache_entries",
            "Answers held, those still being sent included.",
            &labels,
            entries as f64,
        );
        out.gauge("sluicegate_cache_bytes", "Bytes of the answers held.", &labels, bytes as f64);
        for (name, help, counter) in [
            ("sluicegate_cache_stored_total", "Answers stored.", ADDED),
            ("sluicegate_cache_evicted_total", "Answers that made room for others.", EVICTED),
            ("sluicegate_cache_purged_total", "Answers purged.", PURGED),
            ("sluicegate_cache_invalidated_total", "URLs invalidated by unsafe requests.", INVALIDATED),
            ("sluicegate_cache_fetch_failures_total", "Fetches for the cache that brought no answer.", FAILED),
        ] {
            out.counter(name, help, &labels, self.counters.sum(counter));
        }
    }
}

/// A stored answer.
#[must_use = "the answer counts as held until this is dropped"]
pub struct Held {
    metrics: Arc<CacheMetrics>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.counters.add(REMOVED, 1);
        self.metrics.counters.add(BYTES_REMOVED, self.bytes);
    }
}
