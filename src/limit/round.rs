//! One request before limits on requests: asked all, then taken from all or from none.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};

use super::bucket::Level;
use super::early::Early;
use super::state::Key;
use super::{Asked, Guarded, Permits, Refusal, Refused, fields, later};
use crate::clock;
use crate::config::limit::MOST_PER_ROUTE;
use crate::limit::whom::Whom;
use crate::observe::metrics::LimitOutcome;

/// One request before limits.
pub(super) struct Round<'a> {
    limits: &'a [Guarded],
    now: u64,
    keys: [Option<Key>; MOST_PER_ROUTE],
    levels: [Option<Level>; MOST_PER_ROUTE],
    outcomes: [LimitOutcome; MOST_PER_ROUTE],
}

/// What one limit says against a request.
#[derive(Clone, Copy)]
enum Objection {
    Rate(Option<u64>),
    Concurrency,
}

impl<'a> Round<'a> {
    /// `limits`: at most [`MOST_PER_ROUTE`], in the order of their names.
    pub(super) fn new(limits: &'a [Guarded], route: &str, asked: &Asked<'_>, now: Instant) -> Self {
        let mut keys = [None; MOST_PER_ROUTE];
        for (key, (_, limit)) in keys.iter_mut().zip(limits) {
            *key = Some(limit.state.key(Whom { key: &limit.config.key, route, asked }));
        }
        // All limits of a process have one clock.
        let now = limits.first().map_or(0, |(_, limit)| limit.state.nanos(now));
        let outcomes = [LimitOutcome::Passed; MOST_PER_ROUTE];
        Self { limits, now, keys, levels: [None; MOST_PER_ROUTE], outcomes }
    }

    /// Takes from every limit, or from none, and counts what they said.
    pub(super) fn pass(&mut self, permits: &mut Permits) -> Result<(), Refused> {
        // One limit alone need not be asked before it is taken.
        let result = if self.limits.len() > 1 { self.ask_all() } else { Ok(()) };
        let result = result.and_then(|()| self.take_all(permits));
        self.record(result.is_ok());
        result
    }

    /// What was taken and said, for the budgets that are asked later.
    pub(super) fn early(&self) -> Early {
        let mut early = Early::new(self.now);
        for ((metrics, limit), (key, outcome)) in self.limits.iter().zip(self.keys.into_iter().zip(self.outcomes)) {
            let taken = key.filter(|_| limit.config.rate.is_some() && outcome == LimitOutcome::Passed);
            early.said(metrics, limit, outcome, taken);
        }
        early
    }

    /// Gives back what was taken of the rates, because the request goes no further.
    pub(super) fn undo(&mut self) {
        self.give_back(self.limits.len());
    }

    /// Tells clients of the levels.
    pub(super) fn tell(&self, fields: &mut Vec<(HeaderName, HeaderValue)>) {
        if self.limits.is_empty() {
            return;
        }
        let told = self.limits.iter().zip(self.levels).filter(|((_, limit), _)| fields::is_told(&limit.config));
        fields::tell(told.filter_map(|((_, limit), level)| Some((&*limit.config.name, level?))), fields);
    }

    /// Asks every limit, and takes from none.
    fn ask_all(&mut self) -> Result<(), Refused> {
        let mut refusal = None;
        for at in 0..self.limits.len() {
            if let Err(objection) = self.ask(at) {
                refusal = later(refusal, self.object(at, objection));
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Takes from every limit that is enforced, or from none; from those that only count, where they have any.
    fn take_all(&mut self, permits: &mut Permits) -> Result<(), Refused> {
        for at in 0..self.limits.len() {
            let Err(objection) = self.take(at, permits) else {
                if let Some(outcome) = self.outcomes.get_mut(at) {
                    *outcome = LimitOutcome::Passed;
                }
                continue;
            };
            if let Some(refusal) = self.object(at, objection) {
                self.give_back(at);
                *permits = Permits::default();
                return Err(refusal);
            }
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) -> Result<(), Objection> {
        let (Some((_, limit)), Some(Some(key))) = (self.limits.get(at), self.keys.get(at)) else { return Ok(()) };
        let config = limit.of(*key);
        if config.concurrency.is_some_and(|most| !limit.state.has_place(*key, most)) {
            return Err(Objection::Concurrency);
        }
        let Some(rate) = config.rate else { return Ok(()) };
        let asked = limit.state.ask(*key, self.now, rate.burst, 1);
        self.note(at, asked.unwrap_or_else(|empty| empty.level));
        asked.map(drop).map_err(|empty| Objection::Rate(empty.wait))
    }

    /// A place in flight first: giving that back leaves no trace.
    fn take(&mut self, at: usize, permits: &mut Permits) -> Result<(), Objection> {
        let (Some((_, limit)), Some(Some(key))) = (self.limits.get(at), self.keys.get(at)) else { return Ok(()) };
        let config = limit.of(*key);
        let permit = match config.concurrency {
            Some(most) => Some(limit.state.enter(*key, most).ok_or(Objection::Concurrency)?),
            None => None,
        };
        if let Some(rate) = config.rate {
            let taken = limit.state.take(*key, self.now, rate.burst, 1);
            self.note(at, taken.unwrap_or_else(|empty| empty.level));
            taken.map_err(|empty| Objection::Rate(empty.wait))?;
        }
        permits.held.extend(permit);
        Ok(())
    }

    /// Gives back what was taken of the rates before number `end`. By a clock that is read again: others may have taken
    /// what time gave back since.
    fn give_back(&mut self, end: usize) {
        let mut later = None;
        for at in 0..end {
            let (Some((_, limit)), Some(Some(key))) = (self.limits.get(at), self.keys.get(at)) else { continue };
            if let (Some(rate), Some(LimitOutcome::Passed)) = (limit.of(*key).rate, self.outcomes.get(at)) {
                let now = *later.get_or_insert_with(|| limit.state.nanos(clock::now()));
                limit.state.refund(*key, now, self.now, 1);
                let level = limit.state.ask(*key, now, rate.burst, 0);
                self.note(at, level.unwrap_or_else(|empty| empty.level));
            }
        }
    }

    fn note(&mut self, at: usize, level: Level) {
        if let Some(slot) = self.levels.get_mut(at) {
            *slot = Some(level);
        }
    }

    /// Counts an objection; a refusal only where the limit is enforced.
    fn object(&mut self, at: usize, objection: Objection) -> Option<Refused> {
        let (_, limit) = self.limits.get(at)?;
        let enforced = limit.config.enforced;
        if let Some(outcome) = self.outcomes.get_mut(at) {
            *outcome = match (objection, enforced) {
                (Objection::Rate(_), true) => LimitOutcome::Rate,
                (Objection::Rate(_), false) => LimitOutcome::ShadowRate,
                (Objection::Concurrency, true) => LimitOutcome::Concurrency,
                (Objection::Concurrency, false) => LimitOutcome::ShadowConcurrency,
            };
        }
        let why = || match objection {
            Objection::Concurrency => Refusal::Concurrency,
            Objection::Rate(wait) => Refusal::Rate { seconds: fields::seconds_to_wait(wait.unwrap_or(u64::MAX)) },
        };
        enforced.then(|| Refused { limit: Arc::clone(&limit.config.name), why: why(), lack: None })
    }

    /// Where the request goes on, a limit with budgets that had no objection may still have one.
    fn record(&self, goes_on: bool) {
        for ((metrics, limit), outcome) in self.limits.iter().zip(self.outcomes) {
            if !(goes_on && outcome == LimitOutcome::Passed && limit.config.has_budget()) {
                metrics.record(outcome);
            }
        }
    }
}
