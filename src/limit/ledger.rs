//! The ledger: what accounts are found by, and how they outlive the process.
//!
//! Keys are hashes under a random seed: a client cannot aim at another's account. Where a folder is given
//! ([`keeper`]), seed and accounts are kept in it ([`folder`], [`mod@format`]):
//!
//! - Every change of an account leaves a note of how it stands. A note takes the place of the last one of its account, so
//!   that what waits is bounded by the accounts, and by `MAX_NOTES`. No worker waits for a disk.
//! - The keeper's thread writes notes to the journal as they come, and now and then all accounts to the state.
//! - What a process had set aside when it was killed was never settled, and its work may have been done: it counts as used
//!   when it is read again. So a crash gives no money away; at worst a request is charged its whole estimate.
//!
//! - When another process takes over while this one still works, the files are left to that one ([`Keeper::hand_over`]). What
//!   changes from then on goes to it as [`Moved`] parts, and it changes its own accounts by them: what was set aside stays set
//!   aside there until it is settled here, and counts as used only if this process ends without settling it.
//!
//! [`Keeper::hand_over`]: keeper::Keeper::hand_over
//!
//! **Bound on what is lost:** `kill -9` loses what happened in the last 10 ms and while a state is being collected, a power
//! cut what happened in the last second. In a clean end nothing is.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::account::Saved;
use super::table::NOBODY;
use format::Record;

pub mod folder;
pub mod format;
pub mod keeper;

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// Accounts whose notes may wait. Beyond, the keeper writes a state instead, which has all of them.
const MAX_NOTES: usize = 1 << 16;

/// The book that all accounts of a process are in. The default forgets everything when the process ends.
#[derive(Default)]
pub struct Ledger {
    seed: Seed,
    /// `None`: nothing is kept.
    notes: Option<Arc<Notes>>,
    /// What was found of the last run and nobody has asked for yet, by meter.
    found: Mutex<folder::Found>,
    /// What the process before has set aside and not settled yet, by meter and key. `None`: it has ended.
    under_way: Mutex<Option<HashMap<(u64, u64), u64>>>,
}

/// What happened to an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Units set aside.
    pub set_aside: u64,
    /// Units no longer set aside.
    pub released: u64,
    /// Units used.
    pub used: u64,
}

/// What keys are hashed under. It is a secret: it has no Debug.
pub struct Seed([u8; SEED_BYTES]);

impl Seed {
    fn bytes(&self) -> &[u8; SEED_BYTES] {
        &self.0
    }
}

impl Default for Seed {
    /// One that nobody knows.
    fn default() -> Self {
        let mut seed = [0; SEED_BYTES];
        let mut drawn = 0;
        while let Some(rest) = seed.get_mut(drawn..).filter(|rest| !rest.is_empty()) {
            match getrandom(rest, GetRandomFlags::empty()) {
                Ok(more) => drawn += more,
                Err(Errno::INTR) => {}
                // No kernel that this runs on is without; then keys are only hashed.
                Err(_) => break,
            }
        }
        Self(seed)
    }
}

impl Ledger {
    fn kept(folder: &folder::Folder, found: folder::Found, notes: &Arc<Notes>, follows: bool) -> Self {
        let seed = Seed(*folder.seed().bytes());
        let under_way = Mutex::new(follows.then(HashMap::new));
        Self { seed, notes: Some(Arc::clone(notes)), found: Mutex::new(found), under_way }
    }

    /// Whether the process before still settles what it has set aside of this account, and tells us. Then that stays set
    /// aside.
    pub fn follows(&self, meter: u64, key: u64, pending: u64) -> bool {
        let mut under_way = lock(&self.under_way);
        let Some(under_way) = &mut *under_way else { return false };
        if pending > 0 {
            under_way.insert((meter, key), pending);
        }
        true
    }

    /// Remembers what the process before has moved.
    pub fn moved(&self, meter: u64, key: u64, moved: Moved) {
        if let Some(under_way) = &mut *lock(&self.under_way) {
            let pending = under_way.entry((meter, key)).or_default();
            *pending = pending.saturating_add(moved.set_aside).saturating_sub(moved.released);
        }
    }

    /// The process before has ended: what it has left set aside, by meter and key.
    pub fn left_behind(&self) -> Vec<(u64, u64, u64)> {
        let under_way = lock(&self.under_way).take().unwrap_or_default();
        under_way.into_iter().map(|((meter, key), pending)| (meter, key, pending)).filter(|left| left.2 > 0).collect()
    }

    /// The key of what is fed: never [`NOBODY`].
    pub fn key(&self, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> u64 {
        let mut digest = Sha256::new_with_prefix(self.seed.0);
        feed(&mut |bytes| digest.update(bytes));
        let digest: [u8; 32] = digest.finalize().into();
        let first = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        first.max(NOBODY + 1)
    }

    /// Notes how the account of `key` stands. To be called while nobody else can change it, so that the last note is the
    /// last change.
    pub fn note(&self, meter: u64, key: u64, moved: Moved, saved: impl FnOnce() -> Saved) {
        if let Some(notes) = &self.notes {
            notes.put(Record { meter, key, saved: saved() }, moved);
        }
    }

    /// What was found of `meter`; it is only given once.
    pub fn claim(&self, meter: u64) -> Vec<(u64, Saved)> {
        lock(&self.found).remove(&meter).unwrap_or_default()
    }

    /// Drops what nobody has claimed: its limits are not in the configuration any more. How many accounts that were.
    pub fn drop_unclaimed(&self) -> usize {
        let unclaimed = std::mem::take(&mut *lock(&self.found));
        unclaimed.values().map(Vec::len).sum()
    }
}

impl Moved {
    fn add(&mut self, more: Self) {
        self.set_aside = self.set_aside.saturating_add(more.set_aside);
        self.released = self.released.saturating_add(more.released);
        self.used = self.used.saturating_add(more.used);
    }
}

/// Notes on their way to the keeper.
#[derive(Default)]
struct Notes {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

#[derive(Default)]
struct Waiting {
    notes: HashMap<(u64, u64), Saved>,
    /// What happened since another process has taken over, in the place of notes.
    moves: Option<HashMap<(u64, u64), Moved>>,
    /// There were more than may wait.
    overflowed: bool,
    /// The keeper sleeps until the next note.
    asleep: bool,
    /// The keeper is to write all, and to end.
    ended: bool,
}

/// What the keeper wakes up to.
struct Woken {
    notes: HashMap<(u64, u64), Saved>,
    overflowed: bool,
    ended: bool,
}

impl Notes {
    fn put(&self, record: Record, moved: Moved) {
        let mut waiting = lock(&self.waiting);
        let place = (record.meter, record.key);
        if let Some(moves) = &mut waiting.moves {
            // One that finds no room is settled as far as the other process knows when this one ends: all of it as used.
            if moves.len() < MAX_NOTES || moves.contains_key(&place) {
                moves.entry(place).or_default().add(moved);
            }
            return;
        }
        if waiting.notes.len() >= MAX_NOTES && !waiting.notes.contains_key(&place) {
            waiting.overflowed = true;
        } else {
            waiting.notes.insert(place, record.saved);
        }
        // A worker pays for waking only one that sleeps.
        if std::mem::take(&mut waiting.asleep) {
            drop(waiting);
            self.woken.notify_one();
        }
    }

    fn end(&self) {
        lock(&self.waiting).ended = true;
        self.woken.notify_one();
    }

    /// There is a keeper again. It has to write all: what was noted meanwhile may not be whole.
    fn begin_again(&self) {
        let mut waiting = lock(&self.waiting);
        (waiting.ended, waiting.overflowed, waiting.moves) = (false, true, None);
    }

    /// The last notes. What comes after them is for another process.
    fn cut(&self) -> HashMap<(u64, u64), Saved> {
        let mut waiting = lock(&self.waiting);
        waiting.moves = Some(HashMap::new());
        std::mem::take(&mut waiting.notes)
    }

    /// What happened since the last look.
    fn take_moves(&self) -> Vec<(u64, u64, Moved)> {
        let moves = lock(&self.waiting).moves.as_mut().map(std::mem::take).unwrap_or_default();
        moves.into_iter().map(|((meter, key), moved)| (meter, key, moved)).collect()
    }

    /// Waits for notes or the end, at most `time`, and takes what there is.
    fn wait(&self, time: Duration) -> Woken {
        let idle = |waiting: &mut Waiting| waiting.notes.is_empty() && !waiting.ended;
        let mut waiting = lock(&self.waiting);
        if idle(&mut waiting) {
            waiting.asleep = true;
            let woken = self.woken.wait_timeout_while(waiting, time, idle);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
            waiting.asleep = false;
        }
        Self::take_from(&mut waiting)
    }

    /// Waits for the end alone, at most `time`; whether it has come.
    fn pause(&self, time: Duration) -> bool {
        let waited = self.woken.wait_timeout_while(lock(&self.waiting), time, |waiting| !waiting.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    fn take(&self) -> Woken {
        Self::take_from(&mut lock(&self.waiting))
    }

    fn take_from(waiting: &mut Waiting) -> Woken {
        Woken {
            notes: std::mem::take(&mut waiting.notes),
            overflowed: std::mem::take(&mut waiting.overflowed),
            ended: waiting.ended,
        }
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
