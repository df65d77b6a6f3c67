//! The table: one entry for each key that is in use, in a bounded space.
//!
//! Keys are 64-bit hashes under a random seed, so that a client cannot aim at another's entry, and two keys share one in
//! practice never (among a million keys: one chance in thirty million). The table has shards, a shard has sets
//! of `WAYS` slots, and a key has its place in one of two sets. Known keys are found under a lock that is shared, for
//! entries that are changed by atomic operations; a new key, or an entry that is changed as a whole, takes the lock of
//! its shard alone, for a moment that does not depend on the number of keys but where the shard doubles.
//!
//! **Bound:** a slot for each of `max_entries`, rounded up to a power of two, is the most it takes; it begins with
//! nothing and doubles shard by shard when both sets of a new key are busy. An idle entry (one that says the same as no
//! entry) gives its slot to the next key that wants it. When nothing is idle and nothing may grow, the entry nearest to
//! idle goes, if the table allows it: that one forgets the least.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::observe::metrics::LimitGauges;

/// Slots of a set.
const WAYS: usize = 8;

/// Shards of a table; a power of two.
const SHARDS: usize = 64;

/// The key of a vacant slot; no hash may be this.
pub const NOBODY: u64 = 0;

/// What a table holds for a key. The default says the same as no entry.
pub trait Entry: Default {
    /// What its numbers are in.
    type Unit: Clone + PartialEq;
    /// When it is looked at.
    type At: Copy;

    /// How far it is from saying the same as no entry; 0: it does. `None`: it may not be forgotten.
    fn idle_in(&self, unit: &Self::Unit, at: Self::At) -> Option<u64>;

    /// Brings it to another unit.
    fn rescale(&mut self, before: &Self::Unit, after: &Self::Unit, at: Self::At);
}

/// What the numbers of entries are in: the same for all, but for some that are known by their keys.
#[derive(Clone, PartialEq)]
pub struct Units<U> {
    all: U,
    some: HashMap<u64, U>,
}

impl<U> Units<U> {
    /// `all`, but for `some`.
    pub fn new(all: U, some: impl IntoIterator<Item = (u64, U)>) -> Self {
        Self { all, some: some.into_iter().collect() }
    }

    /// That of `key`.
    pub fn of(&self, key: u64) -> &U {
        self.some.get(&key).unwrap_or(&self.all)
    }
}

/// A word is idle up to a time; its unit is an increment.
impl Entry for AtomicU64 {
    type Unit = u64;
    type At = u64;

    fn idle_in(&self, _: &u64, at: u64) -> Option<u64> {
        Some(self.load(Ordering::Relaxed).saturating_sub(at))
    }

    /// What lies after `at` keeps its count of units.
    fn rescale(&mut self, before: &u64, after: &u64, at: u64) {
        let word = self.get_mut();
        let ahead = u128::from(word.saturating_sub(at)) * u128::from(*after) / u128::from((*before).max(1));
        *word = (*word).min(at).saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX));
    }
}

/// Entries by key.
pub struct Table<E: Entry> {
    shards: Box<[Shard<E>]>,
    /// Slots that a shard may have; a power of two.
    most: AtomicUsize,
    /// Whether an entry that is not idle may go when there is no other room.
    forgets: bool,
    units: RwLock<Arc<Units<E::Unit>>>,
    gauges: Arc<LimitGauges>,
}

/// On cache lines of its own.
#[repr(align(128))]
struct Shard<E: Entry>(RwLock<Sets<E>>);

struct Sets<E: Entry> {
    units: Arc<Units<E::Unit>>,
    /// None, or a power of two of sets.
    slots: Box<[Slot<E>]>,
}

#[derive(Default)]
struct Slot<E> {
    /// [`NOBODY`] when it is vacant. Only changed by who has the shard alone.
    key: u64,
    entry: E,
}

impl<E: Entry> Table<E> {
    /// Bytes of one entry.
    pub const SLOT_BYTES: usize = size_of::<Slot<E>>();

    /// A table of at most `max_entries` keys, whose numbers are in `units`.
    pub fn new(max_entries: usize, units: Units<E::Unit>, forgets: bool, gauges: Arc<LimitGauges>) -> Self {
        let (most, units) = (AtomicUsize::new(most(max_entries)), Arc::new(units));
        let shard = |_| Shard(RwLock::new(Sets { units: Arc::clone(&units), slots: Box::default() }));
        let shards = (0..SHARDS).map(shard).collect();
        Self { shards, most, forgets, units: RwLock::new(units), gauges }
    }

    /// The most bytes that its entries take.
    pub fn max_bytes(&self) -> usize {
        self.most.load(Ordering::Relaxed) * SHARDS * Self::SLOT_BYTES
    }

    /// Changes how many keys it takes at most. What it has grown to already stays.
    pub fn resize(&self, max_entries: usize) {
        // Relaxed: who grows a shard meanwhile may do so by either.
        self.most.store(most(max_entries), Ordering::Relaxed);
    }

    /// What `look` makes of the entry of `key` and its unit; `None` when the key is not here.
    pub fn find<R>(&self, key: u64, look: impl FnOnce(&E, &E::Unit) -> R) -> Option<R> {
        let sets = read(self.shard(key)?);
        let slot = sets.find(key)?;
        Some(look(&slot.entry, sets.units.of(key)))
    }

    /// The same, making room for the key when it is not here. Entries that are idle at `at` may be forgotten for it.
    /// `None` when there is no room that may be taken.
    pub fn with<R>(&self, key: u64, at: E::At, look: impl Fn(&E, &E::Unit) -> R) -> Option<R> {
        if let Some(found) = self.find(key, &look) {
            return Some(found);
        }
        self.change(key, at, |entry, unit| look(entry, unit))
    }

    /// The same with the shard of the key alone, for entries that are more than a word.
    pub fn change<R>(&self, key: u64, at: E::At, change: impl FnOnce(&mut E, &E::Unit) -> R) -> Option<R> {
        let mut sets = write(self.shard(key)?);
        // Another thread may have been faster.
        if sets.find(key).is_none() {
            self.place(&mut sets, key, at)?;
        }
        let Sets { units, slots } = &mut *sets;
        let slot = places(key, slots.len())?.into_iter().find_map(|place| {
            let set = slots.get(place..place + WAYS)?;
            set.iter().position(|slot| slot.key == key).map(|at| place + at)
        })?;
        Some(change(&mut slots.get_mut(slot)?.entry, units.of(key)))
    }

    /// What the numbers of `key` are in, whether it is here or not.
    pub fn unit_of(&self, key: u64) -> E::Unit {
        self.units.read().unwrap_or_else(PoisonError::into_inner).of(key).clone()
    }

    /// Brings every entry to its unit among `units`.
    pub fn rescale(&self, units: Units<E::Unit>, at: E::At) {
        let units = Arc::new(units);
        let before = {
            let mut known = self.units.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, Arc::clone(&units))
        };
        if before == units {
            return;
        }
        for shard in &self.shards {
            let mut sets = write(shard);
            let before = std::mem::replace(&mut sets.units, Arc::clone(&units));
            for slot in &mut sets.slots {
                let (before, after) = (before.of(slot.key), units.of(slot.key));
                if before != after {
                    slot.entry.rescale(before, after, at);
                }
            }
        }
    }

    /// Shows every entry to `look`, with one shard at a time.
    pub fn for_each(&self, mut look: impl FnMut(u64, &E, &E::Unit)) {
        for shard in &self.shards {
            let sets = read(shard);
            let used = sets.slots.iter().filter(|slot| slot.key != NOBODY);
            used.for_each(|slot| look(slot.key, &slot.entry, sets.units.of(slot.key)));
        }
    }

    fn shard(&self, key: u64) -> Option<&Shard<E>> {
        // The highest bits choose the shard; the lowest, and some in the middle, choose the sets.
        self.shards.get((key >> 58) as usize)
    }

    /// Gives `key` a slot.
    fn place(&self, sets: &mut Sets<E>, key: u64, at: E::At) -> Option<()> {
        loop {
            if let Some(slot) = sets.free_slot(key, at) {
                if slot.key == NOBODY {
                    self.gauges.entries.fetch_add(1, Ordering::Relaxed);
                }
                *slot = Slot { key, entry: E::default() };
                return Some(());
            }
            if sets.slots.len() < self.most.load(Ordering::Relaxed) {
                let before = sets.slots.len();
                let dropped = sets.grow(at);
                let more = (sets.slots.len() - before) * Self::SLOT_BYTES;
                self.gauges.bytes.fetch_add(more as u64, Ordering::Relaxed);
                self.gauges.entries.fetch_sub(dropped, Ordering::Relaxed);
                continue;
            }
            if !self.forgets {
                return None;
            }
            let slot = sets.nearest_to_idle(key, at)?;
            *slot = Slot { key, entry: E::default() };
            self.gauges.evictions.fetch_add(1, Ordering::Relaxed);
            return Some(());
        }
    }
}

impl<E: Entry> Sets<E> {
    fn find(&self, key: u64) -> Option<&Slot<E>> {
        let places = places(key, self.slots.len())?;
        places
            .into_iter()
            .filter_map(|place| self.slots.get(place..place + WAYS))
            .flatten()
            .find(|slot| slot.key == key)
    }

    /// A slot for `key` that is vacant or idle, in the set that has more of these.
    fn free_slot(&mut self, key: u64, at: E::At) -> Option<&mut Slot<E>> {
        let Self { units, slots } = self;
        let places = places(key, slots.len())?;
        let is_free = |slot: &&Slot<E>| slot.is_idle(units, at);
        let free = |place: &usize| slots.get(*place..*place + WAYS).map_or(0, |set| set.iter().filter(is_free).count());
        // The first of equals: `max_by_key` would take the last.
        let place = places.into_iter().rev().max_by_key(free)?;
        slots.get_mut(place..place + WAYS)?.iter_mut().find(|slot| slot.is_idle(units, at))
    }

    fn nearest_to_idle(&mut self, key: u64, at: E::At) -> Option<&mut Slot<E>> {
        let Self { units, slots } = self;
        let places = places(key, slots.len())?;
        let idle_in = |slot: &Slot<E>| slot.entry.idle_in(units.of(slot.key), at);
        let far = |place: usize| slots.get(place).and_then(|slot| Some((idle_in(slot)?, place)));
        let (_, place) = places.into_iter().flat_map(|place| place..place + WAYS).filter_map(far).min()?;
        slots.get_mut(place)
    }

    /// Doubles, and says how many idle entries were left behind. A set splits into two by one more bit of its keys,
    /// so all of them fit.
    fn grow(&mut self, at: E::At) -> u64 {
        let before = std::mem::take(&mut self.slots);
        let sets = (before.len() / WAYS * 2).max(1);
        let mut slots: Box<[Slot<E>]> = (0..sets * WAYS).map(|_| Slot::default()).collect();
        let mut dropped = 0;
        for (index, slot) in before.into_iter().enumerate() {
            if slot.is_idle(&self.units, at) {
                dropped += u64::from(slot.key != NOBODY);
                continue;
            }
            let old_set = index / WAYS;
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

impl<E: Entry> Slot<E> {
    fn is_idle(&self, units: &Units<E::Unit>, at: E::At) -> bool {
        self.key == NOBODY || self.entry.idle_in(units.of(self.key), at) == Some(0)
    }
}

/// Slots that a shard has at most, so that all have `max_entries`.
fn most(max_entries: usize) -> usize {
    max_entries.next_power_of_two().max(SHARDS * WAYS) / SHARDS
}

/// Where the two sets of `key` begin, among `slots`; `None` when there are no slots.
fn places(key: u64, slots: usize) -> Option<[usize; 2]> {
    let mask = (slots / WAYS).checked_sub(1)?;
    Some([(key as usize & mask) * WAYS, ((key >> 29) as usize & mask) * WAYS])
}

// A panic cannot leave a table half changed, so poison is no reason to stop.
fn read<E: Entry>(shard: &Shard<E>) -> RwLockReadGuard<'_, Sets<E>> {
    shard.0.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<E: Entry>(shard: &Shard<E>) -> RwLockWriteGuard<'_, Sets<E>> {
    shard.0.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
