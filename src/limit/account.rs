//! An account: what one key has used of a budget, and what is set aside for its requests under way.
//!
//! A request first sets its estimate aside ([`Account::reserve`]), which is refused unless all that was used, all that is
//! set aside and the estimate fit into the budget together. When it is known what was used, that is counted and the
//! whole estimate is no longer set aside ([`Account::settle`]). What was used comes back with time (in a rolling window)
//! or all at once (at a border of the calendar); what is set aside does not, so nothing can be given back twice.
//!
//! **Invariant:** as long as nobody uses more than it set aside, used and set aside are never more than the budget: each
//! settling moves at most what was set aside from one side to the other, and time only lowers the other. So what is
//! counted between any two moments is at most the budget and what came back between them, however many requests there
//! are, in whatever order they end. One who uses more is charged for it all the same: the account is in debt then, and
//! allows nothing until time has paid it back.
//!
//! Numbers are whole units (tokens, millionths of a dollar). In a rolling window units come back in parts, which are kept
//! to the nanosecond as a fraction: no rounding adds up.

use super::calendar::Periods;
use super::table::Entry;
use crate::config::limit::{Budget, Window};

/// A wall clock that says less (the beginning of 2026, in milliseconds since the epoch) has not been set yet.
const EARLIEST: u64 = 1_767_225_600_000;

/// A wall clock that is set back by no more than this (an hour, in milliseconds) does not bring an old period back.
const SET_BACK: u64 = 3_600_000;

const NANOS_IN_MILLI: u64 = 1_000_000;

/// A moment by the clocks that budgets know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic, in nanoseconds.
    pub nanos: u64,
    /// By the wall, in milliseconds since the epoch.
    pub wall: u64,
}

/// How much there is, and how it comes back.
#[derive(Debug, PartialEq)]
pub struct Rule {
    units: u64,
    returns: Returns,
}

#[derive(Debug, PartialEq)]
enum Returns {
    /// All units of the budget within so many nanoseconds; at least 1.
    Evenly(u64),
    /// All at once.
    AtBorders(Periods),
}

/// What one key has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Whole units used and not come back.
    spent: u64,
    /// And a part of a unit: so many nanoseconds' worth, of those in which the budget comes back.
    part: u64,
    /// When that was so: monotonic nanoseconds in a rolling window, milliseconds of the wall else.
    at: u64,
    /// Units set aside.
    pending: u64,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whole units that may be set aside.
    pub remaining: u64,
    /// Whole units that were used and have not come back, or are set aside.
    pub used: u64,
    /// Units of the budget.
    pub units: u64,
    /// Nanoseconds until all of them are there, if what is set aside is used.
    pub full_in: u64,
}

/// An account does not hold what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// How it stands.
    pub standing: Standing,
    /// Nanoseconds until it would, if nothing of what is set aside is used; 0: it may at any moment.
    pub wait: u64,
}

/// An account as it is kept over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Whole units used, rounded up.
    pub spent: u64,
    /// Units set aside.
    pub pending: u64,
    /// When that was so, in milliseconds since the epoch.
    pub at: u64,
}

impl Rule {
    /// That of `budget`.
    pub fn new(budget: &Budget) -> Self {
        let returns = match &budget.window {
            Window::Rolling(time) => Returns::Evenly(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)),
            Window::Calendar(calendar) => Returns::AtBorders(Periods::new(calendar.clone())),
        };
        Self { units: budget.units.max(1), returns }
    }

    /// Units of the budget.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Nanoseconds in which `units` and the `part` of one come back.
    fn nanos_of(&self, units: u64, part: u64, moment: Moment) -> u64 {
        if units == 0 && part == 0 {
            return 0;
        }
        match &self.returns {
            Returns::Evenly(whole) => {
                let scaled = u128::from(units) * u128::from(*whole) + u128::from(part);
                u64::try_from(scaled.div_ceil(u128::from(self.units))).unwrap_or(u64::MAX)
            }
            Returns::AtBorders(periods) => {
                let end = periods.at(moment.wall).end;
                end.saturating_sub(moment.wall).max(1).saturating_mul(NANOS_IN_MILLI)
            }
        }
    }
}

impl Account {
    /// What was kept of it. What was set aside then was never settled, and may have been used: it counts as used, unless it is
    /// `under_way` still.
    pub fn restored(saved: &Saved, under_way: bool, rule: &Rule, moment: Moment) -> Self {
        let at = match rule.returns {
            Returns::Evenly(_) => {
                // A clock that was set back meanwhile gives nothing back.
                let age = moment.wall.saturating_sub(saved.at);
                moment.nanos.saturating_sub(age.saturating_mul(NANOS_IN_MILLI))
            }
            Returns::AtBorders(_) => saved.at,
        };
        let (used, pending) = if under_way { (0, saved.pending) } else { (saved.pending, 0) };
        let mut account = Self { spent: saved.spent.saturating_add(used), part: 0, at, pending };
        account.catch_up(rule, moment);
        account
    }

    /// What is kept of it, as it is at `moment`.
    pub fn save(&self, rule: &Rule, moment: Moment) -> Saved {
        let mut now = *self;
        now.catch_up(rule, moment);
        let at = match rule.returns {
            Returns::Evenly(_) => moment.wall,
            Returns::AtBorders(_) => now.at,
        };
        Saved { spent: now.used(), pending: now.pending, at }
    }

    /// Sets `estimate` aside, or all of the budget when it is more, and says how much that is: who asks for more than
    /// there can ever be gets it when nothing is used, and pays the rest afterwards.
    ///
    /// # Errors
    /// When there is not enough; then nothing is set aside.
    pub fn reserve(&mut self, rule: &Rule, moment: Moment, estimate: u64) -> Result<u64, Lack> {
        self.catch_up(rule, moment);
        let cost = estimate.min(rule.units);
        if cost > 0 && cost > self.remaining(rule) {
            return Err(Lack { standing: self.standing(rule, moment), wait: self.wait(rule, moment, cost) });
        }
        self.pending = self.pending.saturating_add(cost);
        Ok(cost)
    }

    /// Somebody else has set `units` aside.
    pub fn hold(&mut self, rule: &Rule, moment: Moment, units: u64) {
        self.catch_up(rule, moment);
        self.pending = self.pending.saturating_add(units);
    }

    /// `used` units were used of `held` that were set aside: they count as used, and none of them as set aside.
    pub fn settle(&mut self, rule: &Rule, moment: Moment, held: u64, used: u64) {
        self.catch_up(rule, moment);
        self.pending = self.pending.saturating_sub(held);
        self.spent = self.spent.saturating_add(used);
    }

    /// What was used so far is forgiven; what is set aside stays so.
    pub fn forgive(&mut self, rule: &Rule, moment: Moment) {
        self.catch_up(rule, moment);
        (self.spent, self.part) = (0, 0);
    }

    /// How it stands at `moment`.
    pub fn look(&self, rule: &Rule, moment: Moment) -> Standing {
        let mut now = *self;
        now.catch_up(rule, moment);
        now.standing(rule, moment)
    }

    fn standing(&self, rule: &Rule, moment: Moment) -> Standing {
        let full_in = rule.nanos_of(self.spent.saturating_add(self.pending), self.part, moment);
        let used = self.used().saturating_add(self.pending);
        Standing { remaining: self.remaining(rule), used, units: rule.units, full_in }
    }

    /// Whole units used, rounded up.
    fn used(&self) -> u64 {
        self.spent.saturating_add(u64::from(self.part > 0))
    }

    fn remaining(&self, rule: &Rule) -> u64 {
        rule.units.saturating_sub(self.used()).saturating_sub(self.pending)
    }

    /// Until `cost` fits beside what was used. What is set aside may be given back at any moment.
    fn wait(&self, rule: &Rule, moment: Moment, cost: u64) -> u64 {
        let room = rule.units.saturating_sub(cost);
        match self.spent.checked_sub(room) {
            Some(over) => rule.nanos_of(over, self.part, moment),
            None => 0,
        }
    }

    /// Gives back what time has given back. A clock that was set back gives back nothing.
    fn catch_up(&mut self, rule: &Rule, moment: Moment) {
        match &rule.returns {
            Returns::Evenly(whole) => {
                let back = u128::from(moment.nanos.saturating_sub(self.at)) * u128::from(rule.units);
                let whole = u128::from(*whole);
                let left = (u128::from(self.spent) * whole + u128::from(self.part)).saturating_sub(back);
                self.spent = u64::try_from(left / whole).unwrap_or(u64::MAX);
                self.part = u64::try_from(left % whole).unwrap_or(0);
                self.at = self.at.max(moment.nanos);
            }
            // By a clock that is not set yet no period begins.
            Returns::AtBorders(_) if moment.wall < EARLIEST => {}
            Returns::AtBorders(periods) => {
                if self.at < periods.at(moment.wall).start {
                    self.spent = 0;
                }
                if moment.wall > self.at || self.at - moment.wall > SET_BACK {
                    self.at = moment.wall;
                }
            }
        }
    }
}

impl Entry for Account {
    type Unit = std::sync::Arc<Rule>;
    type At = Moment;

    fn idle_in(&self, rule: &Self::Unit, moment: Moment) -> Option<u64> {
        let mut now = *self;
        now.catch_up(rule, moment);
        // Both are only compared with others of the same table.
        (now.pending == 0).then(|| now.used())
    }

    /// What was used stays used, in units, and comes back by the new rule.
    fn rescale(&mut self, before: &Self::Unit, after: &Self::Unit, moment: Moment) {
        self.catch_up(before, moment);
        (self.spent, self.part) = (self.used(), 0);
        self.at = match (&before.returns, &after.returns) {
            (_, Returns::Evenly(_)) => moment.nanos,
            (Returns::AtBorders(_), Returns::AtBorders(_)) => self.at,
            (Returns::Evenly(_), Returns::AtBorders(_)) => moment.wall,
        };
        self.catch_up(after, moment);
    }
}

#[cfg(test)]
mod tests;
