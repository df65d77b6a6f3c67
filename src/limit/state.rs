//! What a limit remembers, over reloads: a bucket and a count of requests in flight for every key in use.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::bucket::{Bucket, Empty, Level};
use super::table::{NOBODY, Table};
use crate::clock;
use crate::observe::metrics::LimitGauges;

/// The memory of one limit.
pub struct State {
    /// Buckets: an entry whose time is over is full, like one that is not there.
    buckets: Table,
    /// Requests in flight. Entries above 0 are never forgotten, for somebody will count them down.
    in_flight: Table,
    /// Of `buckets`.
    increment: AtomicU64,
    epoch: Instant,
    seed: RandomState,
    gauges: Arc<LimitGauges>,
}

/// A key, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl State {
    /// Nothing yet. `epoch` is the zero of its clock; `increment` the nanoseconds in which a unit comes back.
    pub fn new(max_entries: usize, increment: u64, epoch: Instant, gauges: Arc<LimitGauges>) -> Self {
        let buckets = Table::new(max_entries, increment, true, Arc::clone(&gauges));
        let in_flight = Table::new(max_entries, 1, false, Arc::clone(&gauges));
        Self { buckets, in_flight, increment: AtomicU64::new(increment), epoch, seed: RandomState::new(), gauges }
    }

    /// The nanoseconds of its clock at `at`.
    pub fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The key of `whom`.
    pub fn key(&self, whom: impl Hash) -> Key {
        Key(self.seed.hash_one(whom).max(NOBODY + 1))
    }

    /// A new rate: what everybody has taken stays taken, in units.
    pub fn set_increment(&self, increment: u64, now: Instant) {
        // Only a reload comes here, one at a time.
        if self.increment.swap(increment, Ordering::Relaxed) != increment {
            self.buckets.rescale(increment, self.nanos(now));
        }
    }

    /// What the bucket of `key` holds, when that is `cost` at least; nothing is taken.
    ///
    /// # Errors
    /// When it holds less.
    pub fn ask(&self, key: Key, now: u64, burst: u64, cost: u64) -> Result<Level, Empty> {
        let asked = self.buckets.find(key.0, |full_at, increment| Bucket { full_at, increment, burst }.ask(now, cost));
        asked.unwrap_or_else(|| {
            let full = AtomicU64::new(0);
            Bucket { full_at: &full, increment: self.increment.load(Ordering::Relaxed), burst }.ask(now, cost)
        })
    }

    /// Takes `cost` from the bucket of `key` and says what is left.
    ///
    /// # Errors
    /// When it holds less; then nothing is taken.
    pub fn take(&self, key: Key, now: u64, burst: u64, cost: u64) -> Result<Level, Empty> {
        let take = |full_at: &AtomicU64, increment| Bucket { full_at, increment, burst }.take(now, cost);
        // Buckets always find room.
        self.buckets.with(key.0, now, take).unwrap_or_else(|| self.ask(key, now, burst, cost))
    }

    /// Gives back what was taken and not used, but for what time gave back since; `taken` as for [`Bucket::refund`].
    /// A bucket that was forgotten meanwhile is full anyway.
    pub fn refund(&self, key: Key, now: u64, taken: u64, cost: u64) {
        let refund = |full_at: &AtomicU64, increment| Bucket { full_at, increment, burst: 0 }.refund(now, taken, cost);
        self.buckets.find(key.0, refund);
    }

    /// Takes what was used beyond what was taken, into debt if need be.
    pub fn charge(&self, key: Key, now: u64, cost: u64) {
        let charge = |full_at: &AtomicU64, increment| Bucket { full_at, increment, burst: 0 }.charge(now, cost);
        self.buckets.with(key.0, now, charge);
    }

    /// Whether fewer than `most` requests of `key` are in flight.
    pub fn has_place(&self, key: Key, most: u32) -> bool {
        self.in_flight.find(key.0, |count, _| count.load(Ordering::Relaxed) < u64::from(most)).unwrap_or(true)
    }

    /// A place among `most` in flight; `None` when all are taken, or when more keys are in flight than the table has
    /// room for.
    pub fn enter(self: &Arc<Self>, key: Key, most: u32) -> Option<Permit> {
        let more = |count: u64| (count < u64::from(most)).then_some(count + 1);
        // Relaxed: the count guards nothing but itself.
        let enter = |count: &AtomicU64, _| count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if !self.in_flight.with(key.0, 0, enter)? {
            return None;
        }
        self.gauges.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Permit { state: Arc::clone(self), key })
    }
}

/// A place among the requests in flight; given back when it is dropped.
#[must_use = "the place is given back when this is dropped"]
pub struct Permit {
    state: Arc<State>,
    key: Key,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // The entry is there: while it counts this permit, it is not forgotten.
        self.state.in_flight.find(self.key.0, |count, _| count.fetch_sub(1, Ordering::Relaxed));
        self.state.gauges.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Units taken on an estimate, to be settled when it is known what was used. Dropped without that, all of it is given
/// back: the work was never done.
#[must_use = "what was taken is given back when this is dropped"]
pub struct Reservation {
    state: Arc<State>,
    key: Key,
    cost: u64,
    /// When the bucket would have been full again, as the units were taken.
    taken: u64,
}

impl Reservation {
    /// Takes `cost` units of the bucket of `key`.
    ///
    /// # Errors
    /// When it holds less; then nothing is taken.
    pub fn take(state: &Arc<State>, key: Key, now: u64, burst: u64, cost: u64) -> Result<Self, Empty> {
        let level = state.take(key, now, burst, cost)?;
        Ok(Self { state: Arc::clone(state), key, cost, taken: now.saturating_add(level.full_in) })
    }

    /// Units that are reserved.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// `used` units were used: the rest is given back, and what is beyond is charged, into debt if need be.
    pub fn settle(mut self, now: u64, used: u64) {
        match used.checked_sub(self.cost) {
            Some(beyond) if beyond > 0 => self.state.charge(self.key, now, beyond),
            _ => self.state.refund(self.key, now, self.taken, self.cost - used.min(self.cost)),
        }
        self.cost = 0;
    }

    /// `used` units were used at least, and perhaps more: nothing is given back.
    pub fn settle_at_least(self, now: u64, used: u64) {
        let used = used.max(self.cost);
        self.settle(now, used);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.cost > 0 {
            self.state.refund(self.key, self.state.nanos(clock::now()), self.taken, self.cost);
        }
    }
}
