//! The AI gateway as a whole: the time that it takes itself, and its cache.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::buckets::{Buckets, NANOS};
use crate::clock;
use crate::observe::CacheStatus;
use crate::observe::ai::Phase;
use crate::observe::metrics::counters::Counters;
use crate::observe::metrics::family::Families;

/// Nanoseconds: from 10 microseconds to 10 seconds.
const PHASE_BOUNDS: [u64; 14] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// What is counted of the AI gateway as a whole.
pub struct AiGatewayMetrics {
    phases: [Buckets<{ PHASE_BOUNDS.len() + 2 }>; Phase::ALL.len()],
    cache: Counters<{ CacheStatus::ALL.len() }>,
    buffered: AtomicU64,
}

impl Default for AiGatewayMetrics {
    fn default() -> Self {
        Self {
            phases: std::array::from_fn(|_| Buckets::new(&PHASE_BOUNDS)),
            cache: Counters::new(),
            buffered: AtomicU64::new(0),
        }
    }
}

impl AiGatewayMetrics {
    /// Begins a part of the gateway's own work, which ends when the guard is dropped.
    pub fn begin(&self, phase: Phase) -> Working<'_> {
        Working { metrics: self, phase, began: clock::now(), ended: None }
    }

    /// Records how long a part of the gateway's own work took.
    pub fn phase(&self, phase: Phase, time: Duration) {
        if let Some(buckets) = self.phases.get(phase as usize) {
            buckets.record_time(time);
        }
    }

    /// Counts a request on an `ai` route with a cache by how it was answered.
    pub fn cached(&self, status: CacheStatus) {
        self.cache.add(status as usize, 1);
    }

    /// So many bytes of bodies are held more than before. Returns how many there are now.
    pub fn hold(&self, bytes: u64) -> u64 {
        self.buffered.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// How many bytes are held.
    pub fn held(&self) -> u64 {
        self.buffered.load(Ordering::Relaxed)
    }

    /// So many bytes are held no more.
    pub fn let_go(&self, bytes: u64) {
        self.buffered.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for (phase, buckets) in Phase::ALL.iter().zip(&self.phases) {
            let help = "Time that the gateway itself took for a request to a model, by what it did.";
            let labels = [("phase", phase.as_str())];
            buckets.collect(out, "sluicegate_ai_phase_seconds", help, &labels, NANOS);
        }
        let help = "The share of requests to models that a cache answered, of those that it was asked for; 0 before the first.";
        out.gauge("ai_gateway_cache_hit_ratio", help, &[], self.hit_ratio());
        let help = "Bytes of bodies of requests to models that are held now.";
        out.gauge("sluicegate_ai_buffered_bytes", help, &[], self.held() as f64);
    }

    fn hit_ratio(&self) -> f64 {
        let count = |status: CacheStatus| self.cache.sum(status as usize);
        let hits = count(CacheStatus::Hit)
            + count(CacheStatus::Stale)
            + count(CacheStatus::Revalidated)
            + count(CacheStatus::Coalesced);
        let asked = hits + count(CacheStatus::Miss);
        if asked == 0 { 0.0 } else { hits as f64 / asked as f64 }
    }
}

/// A part of the gateway's own work.
#[must_use = "the work ends when this is dropped"]
pub struct Working<'a> {
    metrics: &'a AiGatewayMetrics,
    phase: Phase,
    began: Instant,
    ended: Option<Instant>,
}

impl Working<'_> {
    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Ends it; when that was.
    pub fn over(mut self) -> Instant {
        *self.ended.insert(clock::now())
    }

    /// Ends it, and begins another part at the same moment.
    pub fn then(self, phase: Phase) -> Self {
        let metrics = self.metrics;
        Self { metrics, phase, began: self.over(), ended: None }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let ended = self.ended.unwrap_or_else(clock::now);
        self.metrics.phase(self.phase, ended.saturating_duration_since(self.began));
    }
}
