//! Live: state that outlives a reload.
//!
//! Members are found again by pool, configured name and address. A state lives as long as a snapshot or a check
//! holds it; a configuration that was refused leaves nothing behind. The lock is only taken when a snapshot is built.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::member::{Address, AdminState, MemberState};
use crate::clock;

/// State that outlives a reload.
#[derive(Debug, Default)]
pub struct Live {
    members: Mutex<HashMap<Key, Weak<MemberState>>>,
    pools: Mutex<HashMap<Arc<str>, Weak<PoolState>>>,
}

/// What tells one member from another, over reloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    pool: Arc<str>,
    configured: Arc<str>,
    address: Address,
}

/// What the generations of one pool share.
#[derive(Debug)]
pub struct PoolState {
    /// Until when at most a member is ejected, in microseconds since this was made; 0: no ejection yet.
    ejections_end: AtomicU64,
    /// Held while it is decided whether one more member may be ejected.
    ejecting: Mutex<()>,
    made: Instant,
}

impl PoolState {
    fn new(now: Instant) -> Self {
        Self { ejections_end: AtomicU64::new(0), ejecting: Mutex::default(), made: now }
    }

    /// Whether any member may be ejected now: only then panic mode is worth a look. Asks for the time only when
    /// there was an ejection at all.
    pub(crate) fn may_have_ejected(&self, now: impl FnOnce() -> Instant) -> bool {
        let end = self.ejections_end.load(Relaxed);
        end != 0 && self.micros(now()) < end
    }

    /// An ejection was set that ends at `until`.
    pub(crate) fn ejected_until(&self, until: Instant) {
        self.ejections_end.fetch_max(self.micros(until), Relaxed);
    }

    /// One decision about an ejection at a time, so that two threads cannot both take the last place.
    pub(crate) fn ejecting(&self) -> MutexGuard<'_, ()> {
        lock(&self.ejecting)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.made).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Live {
    /// The state of a member: the one it had, or a new one. `checked` says whether it has an active check, which
    /// only matters to a new one. A new address of a host whose other addresses are all drained is drained too.
    pub fn member(&self, pool: &Arc<str>, configured: &Arc<str>, address: &Address, checked: bool) -> Arc<MemberState> {
        let key = Key { pool: pool.clone(), configured: configured.clone(), address: address.clone() };
        let mut members = lock(&self.members);
        if let Some(state) = members.get(&key).and_then(Weak::upgrade) {
            return state;
        }
        let now = clock::now();
        let state = Arc::new(MemberState::new(checked, now));
        let mut others = members
            .iter()
            .filter(|(other, _)| other.pool == key.pool && other.configured == key.configured)
            .filter_map(|(_, state)| Some(state.upgrade()?.admin()));
        if let Some(admin) = others.next().filter(|first| *first != AdminState::Ready)
            && others.all(|other| other == admin)
        {
            state.set_admin(admin, now);
        }
        members.insert(key, Arc::downgrade(&state));
        state
    }

    /// What the generations of a pool share.
    pub fn pool(&self, pool: &Arc<str>) -> Arc<PoolState> {
        let mut pools = lock(&self.pools);
        if let Some(state) = pools.get(pool).and_then(Weak::upgrade) {
            return state;
        }
        let state = Arc::new(PoolState::new(clock::now()));
        pools.insert(pool.clone(), Arc::downgrade(&state));
        state
    }

    /// Forgets what no snapshot holds any more. To be called after a swap.
    pub fn retain(&self) {
        lock(&self.members).retain(|_, state| state.strong_count() > 0);
        lock(&self.pools).retain(|_, state| state.strong_count() > 0);
    }
}

/// A panic cannot leave the maps half-changed, so poison is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
