//! Weighted selection: smooth round robin, and by chance.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::balance::eligible::Eligible;
use crate::balance::member::Member;

/// States of the rotation; a thread keeps to one while no other thread is in it.
const SHARDS: usize = 16;
/// A shard starts this many turns at most into its rotation, so that threads do not all begin with the same member.
const HEAD_START: usize = 64;

thread_local! {
    /// The shard that this thread used last.
    static SHARD: Cell<usize> = Cell::new(fastrand::usize(..SHARDS));
}

/// Smooth weighted round robin over whoever may be chosen now: a member's share comes evenly spread, and when one
/// drops out the others share its part by their weights.
///
/// A turn looks at every member of the pool, some nanoseconds each.
///
/// Each shard is a whole rotation of its own, so any split of the picks over shards has the right distribution.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    shards: [Shard; SHARDS],
}

/// What each member is owed. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<i64>>);

impl RoundRobin {
    /// The next of `members` indexes whose weight is not zero; `None` when all are.
    pub(super) fn next(&self, members: usize, weight: impl Fn(usize) -> u64) -> Option<usize> {
        let mut owed = self.shard()?;
        if owed.len() != members {
            owed.clear();
            owed.resize(members, 0);
            for _ in 0..fastrand::usize(..HEAD_START) {
                turn(&mut owed, &weight);
            }
        }
        turn(&mut owed, &weight)
    }

    /// The thread's shard, or the next one that is free; only when all are taken it waits, for less than a microsecond.
    fn shard(&self) -> Option<MutexGuard<'_, Vec<i64>>> {
        let first = SHARD.get();
        for index in (0..SHARDS).map(|step| (first + step) % SHARDS) {
            let guard = match self.shards.get(index)?.0.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            SHARD.set(index);
            return Some(guard);
        }
        Some(self.shards.get(first)?.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One turn: everyone is owed its weight, the one owed most is served and pays for all.
fn turn(owed: &mut [i64], weight: impl Fn(usize) -> u64) -> Option<usize> {
    let mut total = 0_i64;
    let mut best: Option<(usize, i64)> = None;
    for (index, owed) in owed.iter_mut().enumerate() {
        let weight = i64::try_from(weight(index)).unwrap_or(0);
        if weight == 0 {
            continue;
        }
        *owed = owed.saturating_add(weight);
        total += weight;
        if best.is_none_or(|(_, most)| *owed > most) {
            best = Some((index, *owed));
        }
    }
    let (index, _) = best?;
    *owed.get_mut(index)? -= total;
    Some(index)
}

/// Choice by chance, by weight.
#[derive(Debug)]
pub(super) struct Cumulative {
    /// For the members and for the backups: the sum of weights up to and with each member, and its index.
    tiers: [Vec<(u64, usize)>; 2],
}

/// Draws among all members before looking who may be chosen at all.
const DRAWS: usize = 8;

impl Cumulative {
    pub(super) fn new(members: &[Arc<Member>]) -> Self {
        let tier = |backup| {
            let mut sum = 0;
            let of_tier = members.iter().filter(|m| m.backup == backup && m.weight > 0);
            of_tier
                .map(|member| {
                    sum += u64::from(member.weight);
                    (sum, member.index)
                })
                .collect()
        };
        Self { tiers: [tier(false), tier(true)] }
    }

    pub(super) fn choose(&self, eligible: &Eligible<'_>) -> Option<usize> {
        let [members, backups] = &self.tiers;
        let tier = if eligible.backup() { backups } else { members };
        let total = tier.last()?.0;
        for _ in 0..DRAWS {
            let draw = fastrand::u64(..total);
            let (_, index) = *tier.get(tier.partition_point(|(sum, _)| *sum <= draw))?;
            // A member in slow start takes only its part of the draws that fall on it.
            if let Some((member, weight)) = eligible.get(index)
                && fastrand::u64(..u64::from(member.weight) * 1000) < weight
            {
                return Some(index);
            }
        }
        among_eligible(eligible)
    }
}

/// Exact, by looking at everyone: for when most draws fall on members that are out.
fn among_eligible(eligible: &Eligible<'_>) -> Option<usize> {
    let mut total = 0;
    let mut chosen = None;
    for index in 0..eligible.len() {
        let weight = eligible.weight(index);
        total += weight;
        if weight > 0 && fastrand::u64(..total) < weight {
            chosen = Some(index);
        }
    }
    chosen
}
