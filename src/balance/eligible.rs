//! Which members of a pool a request may go to, at one moment.

use std::cell::OnceCell;
use std::time::Instant;

use super::member::Member;
use super::{NoPick, Pool};
use crate::clock;

/// The members that one request may go to. Nothing is collected: a policy asks member by member, so a pool of any
/// size costs no allocation, and what changes meanwhile is seen.
pub(super) struct Eligible<'a> {
    pool: &'a Pool,
    tried: &'a [usize],
    /// Read from the clock at most once, and mostly not at all.
    now: OnceCell<Instant>,
    ignore_ejections: bool,
    backup: bool,
}

impl<'a> Eligible<'a> {
    /// Decides whether ejections count (not in panic mode, and not without outlier settings) and whether it is the
    /// backups' turn: when no other member is usable that the request has not tried. A member at its cap is busy, not
    /// out, so backups do not take over from busy members. `now` is for tests.
    pub(super) fn new(pool: &'a Pool, tried: &'a [usize], now: Option<Instant>) -> Result<Self, NoPick> {
        let mut new = Self {
            pool,
            tried,
            now: now.map_or_else(OnceCell::new, OnceCell::from),
            ignore_ejections: true,
            backup: false,
        };
        if let Some(settings) = &pool.config.outlier {
            new.ignore_ejections = pool.shared.may_have_ejected(|| new.now()) && pool.panicking(settings, new.now());
        }
        let mut tried_one = false;
        for backup in [false, true] {
            for member in pool.members.iter().filter(|m| m.backup == backup) {
                if new.is_usable(member) {
                    if !tried.contains(&member.index) {
                        new.backup = backup;
                        return Ok(new);
                    }
                    tried_one = true;
                }
            }
        }
        Err(if tried_one { NoPick::AllTried } else { NoPick::NoMember })
    }

    /// How many members the pool has; policies ask for indexes below.
    pub(super) fn len(&self) -> usize {
        self.pool.members.len()
    }

    /// Whether it is the backups' turn.
    pub(super) fn backup(&self) -> bool {
        self.backup
    }

    /// The member, and its weight now in thousandths (slow start included), if the request may go to it.
    pub(super) fn get(&self, index: usize) -> Option<(&'a Member, u64)> {
        let member = self.pool.members.get(index)?;
        let eligible = member.backup == self.backup
            && self.is_usable(member)
            && member.state.in_flight() < self.pool.cap()
            && !self.tried.contains(&index);
        eligible.then(|| {
            let ramp = member.state.ramp(self.pool.config.slow_start, || self.now());
            (&**member, u64::from(member.weight) * ramp)
        })
    }

    /// The weight of [`Self::get`]; 0 when the request may not go there.
    pub(super) fn weight(&self, index: usize) -> u64 {
        self.get(index).map_or(0, |(_, weight)| weight)
    }

    /// The moment of this pick.
    pub(super) fn now(&self) -> Instant {
        *self.now.get_or_init(clock::now)
    }

    fn is_usable(&self, member: &Member) -> bool {
        member.weight > 0 && member.state.is_in() && (self.ignore_ejections || !self.is_ejected(member))
    }

    /// Whether the member is ejected; the first to see that its time is over takes the ejection back.
    fn is_ejected(&self, member: &Member) -> bool {
        if !member.state.may_be_ejected() {
            return false;
        }
        let now = self.now();
        if member.state.ejected_for(now).is_some() {
            return true;
        }
        if member.state.end_ejection(now) {
            log::info!(target: "balance", "pool {} member {} is back from ejection", member.pool, member.name);
        }
        false
    }
}
