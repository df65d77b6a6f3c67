//! The AI cache: whole answers, found by all that was asked and by whom, and answers under way that others join.
//!
//! **Invariants:** two requests that differ in the caller, the door, the targets or anywhere in their JSON never share an
//! answer (T37); only complete answers are kept; a cache holds no more than its bytes and entries; identical requests at
//! one time are one at the provider.
//!
//! An entry is served while it is fresh, and past that, for a bounded time, only when no provider serves (T38).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::door::Operation;
use super::usage::Usage;
use crate::cache::{Freshness, RequestControl, Verdict};
use crate::config::cache::Cache;
use crate::observe::metrics::{CacheMetrics, Held};

pub use flight::{Begun, Flight, Joined, Last, Piece, Pilot, Rider};

pub mod convert;
mod flight;

/// What an entry is found by: a SHA-256.
pub type Key = [u8; 32];

/// Weight is counted in units of this many bytes, so that large entries do not overflow it.
const UNIT: u64 = 64;
/// What an entry costs beside its bytes.
const OVERHEAD: u64 = 512;
/// Answers under way at one time, at most; requests beyond go past the cache.
const MAX_FLIGHTS: usize = 8192;

/// What tells requests apart.
pub struct Asked<'a> {
    /// The caller's scope; `None` where callers share, or none is known.
    pub scope: Option<&'a str>,
    /// The route.
    pub route: &'a str,
    /// The door.
    pub operation: Operation,
    /// The model, as the client named it.
    pub model: &'a str,
    /// What else may change the answer, by names: the query, fields of a provider's API, credentials that are forwarded.
    pub variant: &'a [(&'a str, &'a [u8])],
    /// The targets that may serve, by provider and model.
    pub targets: &'a [(&'a str, &'a str)],
    /// The digest of the canonical body, without what says how it is to come.
    pub body: &'a Key,
    /// Whether a stream is asked for, where the door cannot turn one form into the other.
    pub stream: Option<bool>,
}

impl Asked<'_> {
    /// The key of what is asked.
    pub fn key(&self) -> Key {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            // Its length goes before each part, so that no two lists of parts are the same bytes.
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(&[u8::from(self.scope.is_some())]);
        part(self.scope.unwrap_or_default().as_bytes());
        part(self.route.as_bytes());
        part(self.operation.as_str().as_bytes());
        part(self.model.as_bytes());
        part(&(self.variant.len() as u64).to_be_bytes());
        for (name, value) in self.variant {
            part(name.as_bytes());
            part(value);
        }
        for (provider, model) in self.targets {
            part(provider.as_bytes());
            part(model.as_bytes());
        }
        part(self.body);
        part(&[self.stream.map_or(2, u8::from)]);
        hash.finalize().into()
    }
}

/// The form of an answer.
#[derive(Debug, Clone)]
pub enum Form {
    /// A JSON body.
    Whole(Bytes),
    /// Events, usage included.
    Events(Arc<[Piece]>),
}

impl Form {
    /// What it weighs, in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Whole(body) => body.len() as u64,
            Self::Events(pieces) => pieces.iter().map(|piece| piece.bytes.len() as u64 + 64).sum(),
        }
    }
}

/// An answer that is kept.
pub struct Kept {
    /// What it says.
    pub form: Form,
    /// Who gave it: provider and model.
    pub target: (Arc<str>, Arc<str>),
    /// What it used when it was made.
    pub usage: Option<Usage>,
    /// When it was whole.
    pub at: Instant,
    /// How long it serves.
    pub freshness: Freshness,
    /// Counts it, while it is kept.
    pub held: Option<Held>,
}

impl Kept {
    /// How old it is.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }

    /// Whether it serves a request that asks so.
    pub fn verdict(&self, asked: &RequestControl, now: Instant) -> Verdict {
        self.freshness.verdict(self.age(now), asked)
    }

    /// Whether it serves when no provider does: none gave an answer at all (`disconnected`), or only errors.
    pub fn serves_on_error(&self, disconnected: bool, now: Instant) -> bool {
        self.freshness.serves_on_error(self.age(now), disconnected)
    }

    /// For how long it may serve in any way.
    fn lasts(&self) -> Duration {
        let Freshness { lifetime, if_error, if_disconnected, .. } = self.freshness;
        lifetime.saturating_add(if_error.max(if_disconnected))
    }
}

/// One cache of answers.
pub struct Answers {
    config: Arc<Cache>,
    metrics: Arc<CacheMetrics>,
    kept: moka::sync::Cache<Key, Arc<Kept>>,
    flights: Mutex<HashMap<Key, Arc<Flight>>>,
    /// Counts purges: what was under way at one is not kept.
    purges: AtomicU64,
}

impl Answers {
    /// An empty cache.
    pub fn new(config: Arc<Cache>, metrics: Arc<CacheMetrics>) -> Self {
        let share = config.max_bytes / config.max_entries.max(1);
        let weigh = move |_: &Key, kept: &Arc<Kept>| {
            let bytes = (kept.form.bytes() + OVERHEAD).max(share);
            u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
        };
        let counting = Arc::clone(&metrics);
        let kept = moka::sync::Cache::builder()
            .max_capacity(config.max_bytes / UNIT)
            .weigher(weigh)
            .expire_after(Expiry)
            .eviction_listener(move |_, _, cause| {
                if cause == moka::notification::RemovalCause::Size {
                    counting.evicted();
                }
            })
            .build();
        Self { config, metrics, kept, flights: Mutex::default(), purges: AtomicU64::new(0) }
    }

    /// What was configured.
    pub fn config(&self) -> &Arc<Cache> {
        &self.config
    }

    /// Whether it may go on as `cache`.
    pub fn fits(&self, cache: &Cache) -> bool {
        let known = &self.config;
        (known.max_bytes, known.max_entries, known.max_object) == (cache.max_bytes, cache.max_entries, cache.max_object)
    }

    /// Where it is counted.
    pub fn metrics(&self) -> &Arc<CacheMetrics> {
        &self.metrics
    }

    /// What is kept under `key`.
    pub fn find(&self, key: &Key) -> Option<Arc<Kept>> {
        self.kept.get(key)
    }

    /// How many entries there are, and about how many bytes they weigh.
    pub fn size(&self) -> (u64, u64) {
        self.kept.run_pending_tasks();
        (self.kept.entry_count(), self.kept.weighted_size() * UNIT)
    }

    /// The moment now, for an answer that begins.
    pub fn ticket(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Keeps an answer, unless it is too large or anything was purged since `ticket`.
    pub fn keep(&self, key: Key, mut kept: Kept, ticket: u64) {
        if kept.form.bytes() > self.config.max_object || kept.freshness.lifetime.is_zero() || ticket != self.ticket() {
            return;
        }
        kept.held = Some(self.metrics.hold(kept.form.bytes() + OVERHEAD));
        self.kept.insert(key, Arc::new(kept));
        // Answers are few and large: the bounds hold at once, and not a while later.
        self.kept.run_pending_tasks();
        // A purge that began after the last look may have passed by this place already.
        if ticket != self.ticket() {
            self.kept.invalidate(&key);
        }
    }

    /// Takes everything away, and returns how many answers that were. Looks through all entries: not for a worker.
    pub fn purge(&self) -> u64 {
        self.purges.fetch_add(1, Ordering::AcqRel);
        self.kept.run_pending_tasks();
        let count = self.kept.entry_count();
        self.kept.invalidate_all();
        self.kept.run_pending_tasks();
        self.metrics.purged(count);
        count
    }

    /// A part in the answer that is under way for `key`, or the lead of a new one; `None` when there are too many.
    pub fn join(self: &Arc<Self>, key: Key) -> Option<Joined> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key)
            && let Some(rider) = Rider::board(flight)
        {
            return Some(Joined::Follows(rider));
        }
        if flights.len() >= MAX_FLIGHTS {
            return None;
        }
        let flight = Arc::new(Flight::default());
        flights.insert(key, Arc::clone(&flight));
        let rider = Rider::board(&flight)?;
        Some(Joined::Leads(Pilot::new(flight, Arc::clone(self), key), rider))
    }

    /// `flight` takes nobody in any more.
    fn land(&self, key: &Key, flight: &Arc<Flight>) {
        let mut flights = self.flights();
        if flights.get(key).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            flights.remove(key);
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        // Nothing is left half done under this lock.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries go when not even an error could bring them back.
struct Expiry;

impl moka::Expiry<Key, Arc<Kept>> for Expiry {
    fn expire_after_create(&self, _: &Key, kept: &Arc<Kept>, _: Instant) -> Option<Duration> {
        Some(kept.lasts())
    }

    fn expire_after_update(&self, _: &Key, kept: &Arc<Kept>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lasts())
    }
}

#[cfg(test)]
mod tests;
