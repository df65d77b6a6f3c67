//! The table: one word for each key that is in use, in a bounded space.
//!
//! Keys are 64-bit hashes under a random seed, so that a client cannot aim at another's entry, and two keys share one in
//! practice never (among a million keys: one chance in thirty million). The table has shards, a shard has sets
//! of `WAYS` slots, and a key has its place in one of two sets. Known keys are found under a lock that is shared,
//! and their words are changed by atomic operations; only a new key takes the lock of its shard alone, for a moment
//! that does not depend on the number of keys but where the shard doubles.
//!
//! **Bound:** [`SLOT_BYTES`] bytes for each of `max_entries`, rounded up to a power of two, are the most it takes; it
//! begins with nothing and doubles shard by shard when both sets of a new key are busy. An idle entry (one whose word
//! says the same as no word) gives its slot to the next key that wants it. When nothing is idle and nothing may grow,
//! the entry nearest to idle goes, if the table allows it: that one forgets the least.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::observe::metrics::LimitGauges;

/// Slots of a set.
const WAYS: usize = 8;

/// Bytes of one entry.
pub const SLOT_BYTES: usize = size_of::<Slot>();

/// Shards of a table; a power of two.
const SHARDS: usize = 64;

/// The key of a vacant slot; no hash may be this.
pub const NOBODY: u64 = 0;

/// Words by key.
pub struct Table {
    shards: Box<[Shard]>,
    /// Slots that a shard may have; a power of two.
    most: usize,
    /// Whether an entry that is not idle may go when there is no other room.
    forgets: bool,
    gauges: Arc<LimitGauges>,
}

/// On cache lines of its own.
#[repr(align(128))]
struct Shard(RwLock<Sets>);

struct Sets {
    /// What a unit of the words is worth.
    increment: u64,
    /// None, or a power of two of sets.
    slots: Box<[Slot]>,
}

struct Slot {
    /// Only changed by who has the shard alone.
    key: u64,
    word: AtomicU64,
}

impl Slot {
    const fn vacant() -> Self {
        Self { key: NOBODY, word: AtomicU64::new(0) }
    }
}

impl Table {
    /// A table of at most `max_entries` keys, whose words are in units of `increment`.
    pub fn new(max_entries: usize, increment: u64, forgets: bool, gauges: Arc<LimitGauges>) -> Self {
        let most = max_entries.next_power_of_two().max(SHARDS * WAYS) / SHARDS;
        let shard = |_| Shard(RwLock::new(Sets { increment, slots: Box::default() }));
        Self { shards: (0..SHARDS).map(shard).collect(), most, forgets, gauges }
    }

    /// The most bytes that its entries take.
    pub fn max_bytes(&self) -> usize {
        self.most * SHARDS * SLOT_BYTES
    }

    /// What `look` makes of the word of `key` and the increment of its unit; `None` when the key is not here.
    pub fn find<R>(&self, key: u64, look: impl FnOnce(&AtomicU64, u64) -> R) -> Option<R> {
        let sets = read(self.shard(key)?);
        let slot = sets.find(key)?;
        Some(look(&slot.word, sets.increment))
    }

    /// The same, making room for the key when it is not here; its word is 0 then. Words up to `idle` may be forgotten
    /// for it. `None` when there is no room that may be taken.
    pub fn with<R>(&self, key: u64, idle: u64, look: impl Fn(&AtomicU64, u64) -> R) -> Option<R> {
        let shard = self.shard(key)?;
        {
            let sets = read(shard);
            if let Some(slot) = sets.find(key) {
                return Some(look(&slot.word, sets.increment));
            }
        }
        let mut sets = write(shard);
        // Another thread may have been faster.
        if sets.find(key).is_none() {
            self.place(&mut sets, key, idle)?;
        }
        let slot = sets.find(key)?;
        Some(look(&slot.word, sets.increment))
    }

    /// Brings all words to units of `increment`: what lies after `now` keeps its count of units.
    pub fn rescale(&self, increment: u64, now: u64) {
        for shard in &self.shards {
            let mut sets = write(shard);
            let before = std::mem::replace(&mut sets.increment, increment);
            if before == increment {
                continue;
            }
            for slot in &mut sets.slots {
                let word = slot.word.get_mut();
                let ahead = u128::from(word.saturating_sub(now)) * u128::from(increment) / u128::from(before.max(1));
                *word = (*word).min(now).saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX));
            }
        }
    }

    fn shard(&self, key: u64) -> Option<&Shard> {
        // The highest bits choose the shard; the lowest, and some in the middle, choose the sets.
        self.shards.get((key >> 58) as usize)
    }

    /// Gives `key` a slot.
    fn place(&self, sets: &mut Sets, key: u64, idle: u64) -> Option<()> {
        loop {
            if let Some(slot) = sets.free_slot(key, idle) {
                if slot.key == NOBODY {
                    self.gauges.entries.fetch_add(1, Ordering::Relaxed);
                }
                *slot = Slot { key, word: AtomicU64::new(0) };
                return Some(());
            }
            if sets.slots.len() < self.most {
                let before = sets.slots.len();
                let dropped = sets.grow(idle);
                self.gauges.bytes.fetch_add(((sets.slots.len() - before) * SLOT_BYTES) as u64, Ordering::Relaxed);
                self.gauges.entries.fetch_sub(dropped, Ordering::Relaxed);
                continue;
            }
            if !self.forgets {
                return None;
            }
            let slot = sets.nearest_to_idle(key)?;
            *slot = Slot { key, word: AtomicU64::new(0) };
            self.gauges.evictions.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
    }
}

impl Sets {
    fn find(&self, key: u64) -> Option<&Slot> {
        let places = places(key, self.slots.len())?;
        places
            .into_iter()
            .filter_map(|place| self.slots.get(place..place + WAYS))
            .flatten()
            .find(|slot| slot.key == key)
    }

    /// A slot for `key` that is vacant or idle, in the set that has more of these.
    fn free_slot(&mut self, key: u64, idle: u64) -> Option<&mut Slot> {
        let places = places(key, self.slots.len())?;
        let is_free = |slot: &&Slot| slot.is_idle(idle);
        let free =
            |place: &usize| self.slots.get(*place..*place + WAYS).map_or(0, |set| set.iter().filter(is_free).count());
        // The first of equals: `max_by_key` would take the last.
        let place = places.into_iter().rev().max_by_key(free)?;
        self.slots.get_mut(place..place + WAYS)?.iter_mut().find(|slot| slot.is_idle(idle))
    }

    fn nearest_to_idle(&mut self, key: u64) -> Option<&mut Slot> {
        let places = places(key, self.slots.len())?;
        let word = |at: usize| self.slots.get(at).map(|slot| (slot.word.load(Ordering::Relaxed), at));
        let (_, at) = places.into_iter().flat_map(|place| place..place + WAYS).filter_map(word).min()?;
        self.slots.get_mut(at)
    }

    /// Doubles, and says how many idle entries were left behind. A set splits into two by one more bit of its keys,
    /// so all of them fit.
    fn grow(&mut self, idle: u64) -> u64 {
        let before = std::mem::take(&mut self.slots);
        let sets = (before.len() / WAYS * 2).max(1);
        let mut slots: Box<[Slot]> = (0..sets * WAYS).map(|_| Slot::vacant()).collect();
        let mut dropped = 0;
        for (at, slot) in before.into_iter().enumerate() {
            if slot.is_idle(idle) {
                dropped += u64::from(slot.key != NOBODY);
                continue;
            }
            let old_set = at / WAYS;
            // It stays by the choice that it was placed by.
            let splits = |place: &usize| (place / WAYS) & (sets / 2 - 1) == old_set;
            let place = places(slot.key, slots.len()).and_then(|places| places.into_iter().find(splits));
            let room = place.and_then(|place| slots.get_mut(place..place + WAYS));
            if let Some(room) = room.and_then(|set| set.iter_mut().find(|slot| slot.key == NOBODY)) {
                *room = slot;
            }
        }
        self.slots = slots;
        dropped
    }
}

impl Slot {
    fn is_idle(&self, idle: u64) -> bool {
        self.key == NOBODY || self.word.load(Ordering::Relaxed) <= idle
    }
}

/// Where the two sets of `key` begin, among `slots`; `None` when there are no slots.
fn places(key: u64, slots: usize) -> Option<[usize; 2]> {
    let mask = (slots / WAYS).checked_sub(1)?;
    Some([(key as usize & mask) * WAYS, ((key >> 29) as usize & mask) * WAYS])
}

// A panic cannot leave a table half changed, so poison is no reason to stop.
fn read(shard: &Shard) -> RwLockReadGuard<'_, Sets> {
    shard.0.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &Shard) -> RwLockWriteGuard<'_, Sets> {
    shard.0.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
