//! Counters that threads do not fight over.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::shard;

/// The most shards: beyond this, threads share.
pub(super) const MOST_SHARDS: usize = 16;

/// `N` counters, each split into shards by thread.
pub(super) struct Counters<const N: usize> {
    /// A power of two of them.
    shards: Box<[Row<N>]>,
}

/// On cache lines of its own (two: processors fetch them in pairs).
#[repr(align(128))]
struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Counters<N> {
    pub(super) fn new() -> Self {
        let row = |_| Row(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { shards: (0..shard::count(MOST_SHARDS)).map(row).collect() }
    }

    /// Adds `amount` to counter `which`. Relaxed: counters are read one by one, only to be shown.
    pub(super) fn add(&self, which: usize, amount: u64) {
        let row = &self.shards[shard::number() & (self.shards.len() - 1)];
        if let Some(counter) = row.0.get(which) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// The sum of counter `which` over all shards.
    pub(super) fn sum(&self, which: usize) -> u64 {
        self.shards.iter().filter_map(|row| row.0.get(which)).map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// What was added to `began` and not yet to `ended`. `ended` is read first, so that a thing that begins and ends
    /// in between is not counted as less than nothing.
    pub(super) fn open(&self, began: usize, ended: usize) -> u64 {
        let ended = self.sum(ended);
        self.sum(began).saturating_sub(ended)
    }
}
