//! Reservations: what a request is expected to use is set aside before it is worked on, and settled afterwards.
//!
//! [`RouteLimits::reserve`] sets the estimate aside in every account of the request, or in none. Two accounts cannot be
//! changed at once: what was set aside is given back when a later one refuses. Until then others may find less than there
//! will be; as what is set aside is counted apart from what is used, giving it back leaves no trace.
//!
//! A [`Reserved`] is a guard. It is settled once ([`Reserved::settle`], [`Reserved::settle_at_least`]); dropped without,
//! as on every path that did no work, it gives all of it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{HeaderName, HeaderValue};

use super::account::{Moment, Standing};
use super::early::Early;
use super::fields::{self, Item};
use super::round::Round;
use super::state::State;
use super::whom::Whom;
use super::{Asked, Limiter, Permits, Refusal, Refused, RouteLimits, Unit, later};
use crate::clock;
use crate::observe::access_log::Lack;
use crate::observe::metrics::LimitOutcome;

/// What a request is expected to use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// Tokens.
    pub tokens: u64,
    /// Millionths of a dollar.
    pub cost: u64,
}

/// What a request has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Tokens.
    pub tokens: u64,
    /// Millionths of a dollar.
    pub cost: u64,
}

impl Estimate {
    fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Cost => self.cost,
        }
    }
}

impl Spent {
    fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Cost => self.cost,
        }
    }
}

impl RouteLimits {
    /// Sets `estimate` aside in all accounts of the request, or in none, and takes from the limits that count requests by
    /// model. An estimate above a whole budget sets all of it aside, and passes when nothing of it is used. One of 0 always
    /// passes. `fields`, which [`Self::take`] has filled, get what the answer tells of these limits, either way. `permits` are
    /// those that `take` gave: after a refusal, what they hold of rates is given back.
    ///
    /// # Errors
    /// When a limit that is enforced has no more.
    pub fn reserve(
        &self,
        asked: &Asked<'_>,
        estimate: Estimate,
        now: Instant,
        fields: &mut Vec<(HeaderName, HeaderValue)>,
        permits: Option<&mut Permits>,
    ) -> Result<Reserved, Refused> {
        let mut reserved = Reserved::default();
        let mut early = permits.and_then(|permits| permits.early.take());
        let mut round = Round::new(&self.late, &self.route, asked, now);
        let mut result = round.pass(&mut reserved.permits);
        if result.is_err() {
            self.tell_budgets(asked, now, fields);
        }
        if result.is_ok() && !self.budgets.is_empty() {
            let mut late = round.early();
            let mut desk = Desk::new(asked, estimate, now, &self.route);
            for (metrics, limit) in &self.budgets {
                let objects = |early: &Early| early.has_objected(limit);
                if objects(&late) || early.as_deref().is_some_and(objects) {
                    continue;
                }
                metrics.record(desk.ask(limit));
                late.decided(limit);
                early.iter_mut().for_each(|early| early.decided(limit));
            }
            desk.tell(fields);
            match desk.close() {
                Ok(holds) => reserved.holds = holds,
                Err(refusal) => {
                    round.undo();
                    reserved = Reserved::default();
                    result = Err(refusal);
                }
            }
        }
        if result.is_err() {
            early.iter_mut().for_each(|early| early.undo());
        }
        // The model is known now.
        self.tell_own_policy(asked, fields);
        round.tell(fields);
        result.map(|()| reserved)
    }
}

/// Where one request asks its budgets, one after the other.
struct Desk<'a> {
    asked: &'a Asked<'a>,
    estimate: Estimate,
    now: Instant,
    route: &'a str,
    holds: Vec<Hold>,
    /// Standings were told with what was set aside first and given back, or never was set aside: they are not true any more.
    outdated: bool,
    refusal: Option<Refused>,
    standings: Vec<Looked<'a>>,
}

/// An account that was asked, and how it stands.
struct Looked<'a> {
    limit: &'a Limiter,
    unit: Unit,
    key: u64,
    standing: Standing,
}

impl<'a> Desk<'a> {
    fn new(asked: &'a Asked<'a>, estimate: Estimate, now: Instant, route: &'a str) -> Self {
        Self { asked, estimate, now, route, holds: Vec::new(), outdated: false, refusal: None, standings: Vec::new() }
    }

    /// Sets aside what the budgets of `limit` have to; after a refusal, they are only asked when they would refuse too.
    fn ask(&mut self, limit: &'a Limiter) -> LimitOutcome {
        let mut outcome = LimitOutcome::Passed;
        let held_before = self.holds.len();
        let moment = limit.state.moment(self.now);
        let mut key = None;
        for unit in Unit::ALL {
            let Some(meter) = limit.meter(unit) else { continue };
            let whom = Whom { key: &limit.config.key, route: self.route, asked: self.asked };
            let key = *key.get_or_insert_with(|| meter.key(&whom));
            let estimate = self.estimate.of(unit);
            let said = if self.refusal.is_some() {
                meter.ask(key, moment, estimate)
            } else {
                meter.reserve(key, moment, estimate).map(|(held, standing)| {
                    let (state, enforced) = (Arc::clone(&limit.state), limit.config.enforced);
                    let (held, cut) = (AtomicU64::new(held), AtomicU64::new(u64::MAX));
                    self.holds.push(Hold { state, unit, key, enforced, held, cut, open: true });
                    standing
                })
            };
            let standing = said.unwrap_or_else(|lack| {
                let seconds = fields::seconds_to_wait(lack.wait);
                outcome = unit.objection(limit.config.enforced);
                if limit.config.enforced {
                    let lack = Lack { money: unit == Unit::Cost, wanted: estimate, left: lack.standing.remaining };
                    let limit = Arc::clone(&limit.config.name);
                    let refused = Refused { limit, why: unit.refusal(seconds), lack: Some(lack) };
                    self.refusal = later(self.refusal.take(), Some(refused));
                }
                lack.standing
            });
            self.standings.push(Looked { limit, unit, key, standing });
        }
        if outcome != LimitOutcome::Passed {
            // Of a limit that only counts, too: what it would have refused would have used nothing.
            self.outdated |= self.holds.len() > held_before;
            self.holds.truncate(held_before);
        }
        outcome
    }

    /// Adds what the accounts say to `fields`: as they stand with what was set aside, or without after a refusal.
    fn tell(&mut self, fields: &mut Vec<(HeaderName, HeaderValue)>) {
        if self.refusal.is_some() {
            // Accounts that were asked after the refusal have spoken as if this request were served, too.
            self.outdated = true;
            self.holds.clear();
        }
        if self.outdated {
            for looked in &mut self.standings {
                if let Some(meter) = looked.limit.meter(looked.unit) {
                    looked.standing = meter.look(looked.key, looked.limit.state.moment(self.now));
                }
            }
        }
        let told = self.standings.iter().filter(|looked| fields::is_told(&looked.limit.config));
        let item =
            |looked: &'_ Looked<'a>| Item { limit: &looked.limit.config, unit: looked.unit, standing: looked.standing };
        fields::tell_budgets(told.map(item), fields);
    }

    fn close(self) -> Result<Vec<Hold>, Refused> {
        self.refusal.map_or(Ok(self.holds), Err)
    }
}

impl Unit {
    fn refusal(self, seconds: u32) -> Refusal {
        match self {
            Self::Tokens => Refusal::Tokens { seconds },
            Self::Cost => Refusal::Cost { seconds },
        }
    }

    fn objection(self, enforced: bool) -> LimitOutcome {
        match (self, enforced) {
            (Self::Tokens, true) => LimitOutcome::Tokens,
            (Self::Tokens, false) => LimitOutcome::ShadowTokens,
            (Self::Cost, true) => LimitOutcome::Cost,
            (Self::Cost, false) => LimitOutcome::ShadowCost,
        }
    }
}

/// What is set aside for one request, and the places it holds under limits by model. Dropped without being settled, all
/// of it is given back: the work was never done.
#[derive(Default)]
#[must_use = "what was set aside is given back when this is dropped"]
pub struct Reserved {
    holds: Vec<Hold>,
    permits: Permits,
}

/// Units set aside in one account.
struct Hold {
    state: Arc<State>,
    unit: Unit,
    key: u64,
    enforced: bool,
    held: AtomicU64,
    /// Where a stream would have been cut, under a limit that only counts.
    cut: AtomicU64,
    /// Until it is settled.
    open: bool,
}

impl Reserved {
    /// Whether it holds anything.
    pub fn holds_any(&self) -> bool {
        !self.holds.is_empty() || self.permits.holds_any()
    }

    /// `used` was used: the rest is given back, and what is beyond what was set aside is charged, into debt if need be.
    pub fn settle(self, used: Spent) {
        self.finish(|unit, _| used.of(unit));
    }

    /// `used` was used at least, and perhaps more, as when a stream broke: nothing is given back.
    pub fn settle_at_least(self, used: Spent) {
        self.finish(|unit, held| used.of(unit).max(held));
    }

    /// Whether a request that has used `used` so far may go on: it is within what was set aside, or more could be set
    /// aside, which this does. A few loads while it is within; a lock for a moment when it is not. For streams that are cut
    /// when they run over their budget; others need not ask, and are charged when they settle. A limit that only counts
    /// lets it go on, and counts no more than up to there.
    pub fn remaining_allows(&self, used: Spent) -> bool {
        let mut moment = None;
        self.holds.iter().all(|hold| {
            // Relaxed: the number guards nothing but itself.
            let (used, held) = (used.of(hold.unit), hold.held.load(Ordering::Relaxed));
            let Some(beyond) = used.checked_sub(held).filter(|beyond| *beyond > 0) else { return true };
            if hold.cut.load(Ordering::Relaxed) < u64::MAX {
                return true;
            }
            let moment = *moment.get_or_insert_with(|| hold.state.moment(clock::now()));
            if hold.extend(beyond, held, moment) {
                return true;
            }
            if !hold.enforced {
                hold.cut.store(used, Ordering::Relaxed);
            }
            !hold.enforced
        })
    }

    fn finish(mut self, used: impl Fn(Unit, u64) -> u64) {
        for hold in std::mem::take(&mut self.holds) {
            let used = used(hold.unit, hold.held.load(Ordering::Relaxed));
            hold.settle(used);
        }
    }
}

impl Hold {
    /// Sets `beyond` more aside, and some for what comes next when there is: then the next look is not soon.
    fn extend(&self, beyond: u64, held: u64, moment: Moment) -> bool {
        let Some(meter) = self.state.meter(self.unit) else { return true };
        let ahead = beyond.saturating_add(held / 8);
        let more = [ahead, beyond].into_iter().find(|more| meter.extend(self.key, moment, *more));
        self.held.fetch_add(more.unwrap_or(0), Ordering::Relaxed);
        more.is_some()
    }

    fn settle(mut self, used: u64) {
        let cut = *self.cut.get_mut();
        self.close(used.min(cut));
    }

    fn close(&mut self, used: u64) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if let Some(meter) = self.state.meter(self.unit) {
            meter.settle(self.key, self.state.moment(clock::now()), *self.held.get_mut(), used);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.close(0);
    }
}

#[cfg(test)]
mod tests;
