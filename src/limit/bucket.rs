//! A token bucket in one word: the generic cell rate algorithm (GCRA).
//!
//! The word is the time, in nanoseconds of the limiter's clock, at which the bucket will be full again; a time that is
//! over means full. Taking `n` moves it `n` increments into the future, and is allowed as long as it stays within
//! `burst` increments of now. Nothing ever has to be refilled, and there is no rounding that could add up.
//!
//! **Invariant:** of any number of concurrent takers no more pass than `burst`, and one per increment of time: each
//! passes by one compare-exchange that moves the word from what it saw, and what it saw allowed it. A taker that
//! looked at the clock a moment ago only asks for more than it needs to.
//!
//! Tokens and money, which are set aside first and counted when they are used, are kept in an
//! [`account`](super::account) instead.

use std::sync::atomic::{AtomicU64, Ordering};

/// A bucket, for as long as it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bucket<'a> {
    /// When it will be full, in nanoseconds.
    pub full_at: &'a AtomicU64,
    /// Nanoseconds in which one unit comes back; at least 1.
    pub increment: u64,
    /// Units that it holds when full.
    pub burst: u64,
}

/// What a bucket holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Whole units that may be taken.
    pub remaining: u64,
    /// Units that it holds when full.
    pub burst: u64,
    /// Nanoseconds until one more than `remaining` may be taken; 0 when it is full.
    pub next_in: u64,
    /// Nanoseconds until it is full.
    pub full_in: u64,
}

/// A bucket does not hold what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Empty {
    /// What it does hold.
    pub level: Level,
    /// Nanoseconds until it will, if nobody else takes; `None`: more was asked for than it ever holds.
    pub wait: Option<u64>,
}

// All orderings are relaxed: the word is the whole state, and no other memory is published by it.
impl Bucket<'_> {
    /// What it holds.
    pub fn level(&self, now: u64) -> Level {
        self.level_at(self.full_at.load(Ordering::Relaxed), now)
    }

    /// What it holds, when that is `cost` units at least; nothing is taken.
    ///
    /// # Errors
    /// When it holds less.
    pub fn ask(&self, now: u64, cost: u64) -> Result<Level, Empty> {
        let seen = self.full_at.load(Ordering::Relaxed);
        self.next(seen, now, cost).map(|_| self.level_at(seen, now))
    }

    /// Takes `cost` units and says what is left.
    ///
    /// # Errors
    /// When it holds less; then nothing is taken.
    pub fn take(&self, now: u64, cost: u64) -> Result<Level, Empty> {
        let mut seen = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = self.next(seen, now, cost)?;
            match self.full_at.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(self.level_at(next, now)),
                Err(newer) => seen = newer,
            }
        }
    }

    /// Gives back `cost` units that were taken at `taken` by the same clock, but for what time may have given back since
    /// then: others may have taken that. So one who gives back leaves no more than if it had never taken, whoever else
    /// takes and gives back meanwhile. A time that is over means full, however long: it never holds more than its burst.
    pub fn refund(&self, now: u64, taken: u64, cost: u64) {
        let price = self.price(cost).saturating_sub(now.saturating_sub(taken));
        let mut seen = self.full_at.load(Ordering::Relaxed);
        while let Err(newer) =
            self.full_at.compare_exchange_weak(seen, seen.saturating_sub(price), Ordering::Relaxed, Ordering::Relaxed)
        {
            seen = newer;
        }
    }

    /// The word after taking `cost` from a bucket whose word is `seen`.
    fn next(&self, seen: u64, now: u64, cost: u64) -> Result<u64, Empty> {
        let (price, capacity) = (self.price(cost), self.price(self.burst));
        let next = seen.max(now).saturating_add(price);
        let over = (next - now).saturating_sub(capacity);
        if over == 0 && next != u64::MAX {
            return Ok(next);
        }
        Err(Empty { level: self.level_at(seen, now), wait: (price <= capacity).then_some(over) })
    }

    fn level_at(&self, full_at: u64, now: u64) -> Level {
        let full_in = full_at.saturating_sub(now);
        let held = self.price(self.burst).saturating_sub(full_in);
        let (remaining, started) = (held / self.increment, held % self.increment);
        // Beyond its burst it is when a reload has lowered that.
        let beyond = full_in.saturating_sub(self.price(self.burst));
        let next_in = if full_in == 0 { 0 } else { beyond + self.increment - started };
        Level { remaining, burst: self.burst, next_in, full_in }
    }

    fn price(&self, cost: u64) -> u64 {
        self.increment.saturating_mul(cost)
    }
}

#[cfg(test)]
mod tests;
