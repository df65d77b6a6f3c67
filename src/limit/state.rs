//! What a limit remembers, over reloads: a bucket, a count of requests in flight, and accounts for every key in use.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::Unit;
use super::account::{Moment, Rule};
use super::bucket::{Bucket, Empty, Level};
use super::ledger::Moved;
use super::ledger::format::Record;
use super::meter::Meter;
use super::table::{NOBODY, Table, Units};
use crate::clock;
use crate::observe::metrics::LimitGauges;

/// What the clock of accounts says when the process begins (ten years, in nanoseconds): what was used before that, and is
/// found again, has a time too.
const BEFORE: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// The memory of one limit.
pub struct State {
    /// Buckets: an entry whose time is over is full, like one that is not there.
    buckets: Table<AtomicU64>,
    /// Requests in flight. Entries above 0 are never forgotten, for somebody will count them down.
    in_flight: Table<AtomicU64>,
    /// Accounts of tokens and of money, from when the limit had such a budget first.
    meters: [OnceLock<Meter>; Unit::ALL.len()],
    epoch: Instant,
    seed: RandomState,
    gauges: Arc<LimitGauges>,
}

/// A key, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl State {
    /// Nothing yet. `epoch` is the zero of its clock; `increment` the nanoseconds in which a unit comes back.
    pub fn new(max_entries: usize, increment: u64, epoch: Instant, gauges: Arc<LimitGauges>) -> Self {
        let buckets = Table::new(max_entries, Units::new(increment, []), true, Arc::clone(&gauges));
        let in_flight = Table::new(max_entries, Units::new(1, []), false, Arc::clone(&gauges));
        Self { buckets, in_flight, meters: [OnceLock::new(), OnceLock::new()], epoch, seed: RandomState::new(), gauges }
    }

    /// Its numbers.
    pub fn gauges(&self) -> &Arc<LimitGauges> {
        &self.gauges
    }

    /// How many keys it remembers at most, from now on.
    pub fn resize(&self, max_entries: usize) {
        self.buckets.resize(max_entries);
        self.in_flight.resize(max_entries);
        self.meters.iter().filter_map(OnceLock::get).for_each(|meter| meter.resize(max_entries));
    }

    /// The accounts of `unit`, when the limit ever had a budget of it.
    pub fn meter(&self, unit: Unit) -> Option<&Meter> {
        self.meters.get(unit as usize)?.get()
    }

    /// Shows every account of its budgets that is not as good as none.
    pub fn for_each_account(&self, show: &mut dyn FnMut(Record)) {
        let moment = self.moment(clock::now());
        self.meters.iter().filter_map(OnceLock::get).for_each(|meter| meter.for_each(moment, show));
    }

    /// How many of these there are.
    pub fn count_accounts(&self) -> usize {
        let mut count = 0;
        self.for_each_account(&mut |_| count += 1);
        count
    }

    /// What another process has done in an account of one of its meters; `false`: the meter `id` is none of them.
    pub fn follow(&self, id: u64, key: u64, moved: Moved) -> bool {
        let moment = self.moment(clock::now());
        self.meters.iter().filter_map(OnceLock::get).any(|meter| meter.follow(id, key, moment, moved))
    }

    /// What budgets the accounts of `unit` have: those there are, or those that `make` makes of it.
    pub fn set_rules(
        &self,
        unit: Unit,
        rules: Units<Arc<Rule>>,
        make: impl FnOnce(&Units<Arc<Rule>>, Moment) -> Meter,
    ) {
        let moment = self.moment(clock::now());
        if let Some(meter) = self.meters.get(unit as usize) {
            meter.get_or_init(|| make(&rules, moment)).set_rules(rules, moment);
        }
    }

    /// The moment `at` by the clocks of accounts.
    pub fn moment(&self, at: Instant) -> Moment {
        Moment { nanos: BEFORE.saturating_add(self.nanos(at)), wall: clock::wall_millis() }
    }

    /// The nanoseconds of its clock at `at`.
    pub fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The key of `whom`.
    pub fn key(&self, whom: impl Hash) -> Key {
        Key(self.seed.hash_one(whom).max(NOBODY + 1))
    }

    /// New rates, `some` by their keys: what everybody has taken stays taken, in units.
    pub fn set_increments(&self, all: u64, some: impl IntoIterator<Item = (Key, u64)>, now: Instant) {
        let some = some.into_iter().map(|(Key(key), increment)| (key, increment));
        self.buckets.rescale(Units::new(all, some), self.nanos(now));
    }

    /// What the bucket of `key` holds, when that is `cost` at least; nothing is taken.
    ///
    /// # Errors
    /// When it holds less.
    pub fn ask(&self, key: Key, now: u64, burst: u64, cost: u64) -> Result<Level, Empty> {
        let ask =
            |full_at: &AtomicU64, increment: &u64| Bucket { full_at, increment: *increment, burst }.ask(now, cost);
        let asked = self.buckets.find(key.0, ask);
        asked.unwrap_or_else(|| {
            let full = AtomicU64::new(0);
            Bucket { full_at: &full, increment: self.buckets.unit_of(key.0), burst }.ask(now, cost)
        })
    }

    /// Takes `cost` from the bucket of `key` and says what is left.
    ///
    /// # Errors
    /// When it holds less; then nothing is taken.
    pub fn take(&self, key: Key, now: u64, burst: u64, cost: u64) -> Result<Level, Empty> {
        let take =
            |full_at: &AtomicU64, increment: &u64| Bucket { full_at, increment: *increment, burst }.take(now, cost);
        // Buckets always find room.
        self.buckets.with(key.0, now, take).unwrap_or_else(|| self.ask(key, now, burst, cost))
    }

    /// Gives back what was taken at `taken`; see [`Bucket::refund`]. A bucket that was forgotten meanwhile is full anyway.
    pub fn refund(&self, key: Key, now: u64, taken: u64, cost: u64) {
        let refund = |full_at: &AtomicU64, increment: &u64| {
            Bucket { full_at, increment: *increment, burst: 0 }.refund(now, taken, cost)
        };
        self.buckets.find(key.0, refund);
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
        let enter = |count: &AtomicU64, _: &u64| count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
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
