//! What a request took of limits before its body was read, for as long as a budget may still refuse it.
//!
//! **Invariant:** a limit counts a request once, by what it said in the end; and what a later one refuses, the earlier
//! ones get back.

use std::sync::Arc;

use super::Limiter;
use super::state::{Key, State};
use crate::clock;
use crate::observe::metrics::{LimitMetrics, LimitOutcome};

/// What was taken and said. Dropped, those that had no objection count the request as passed.
pub(super) struct Early {
    /// When, by the clock of limits.
    at: u64,
    /// A unit of each of these rates.
    rates: Vec<(Arc<State>, Key)>,
    /// Limits with budgets that had no objection so far.
    undecided: Vec<(Arc<State>, Arc<LimitMetrics>)>,
    /// Limits with budgets that only count, and would have refused.
    objected: Vec<Arc<State>>,
}

impl Early {
    /// Nothing was taken yet.
    pub(super) fn new(at: u64) -> Self {
        Self { at, rates: Vec::new(), undecided: Vec::new(), objected: Vec::new() }
    }

    /// Takes in what one limit said, and the key of its bucket, when a unit was taken of it.
    pub(super) fn said(
        &mut self,
        metrics: &Arc<LimitMetrics>,
        limit: &Limiter,
        outcome: LimitOutcome,
        taken: Option<Key>,
    ) {
        self.rates.extend(taken.map(|key| (Arc::clone(&limit.state), key)));
        if limit.config.has_budget() {
            if outcome == LimitOutcome::Passed {
                self.undecided.push((Arc::clone(&limit.state), Arc::clone(metrics)));
            } else {
                self.objected.push(Arc::clone(&limit.state));
            }
        }
    }

    /// Whether `limit` only counts, and has objected: then its budgets would never have been asked.
    pub(super) fn has_objected(&self, limit: &Limiter) -> bool {
        self.objected.iter().any(|state| Arc::ptr_eq(state, &limit.state))
    }

    /// The budgets of `limit` have said this, which was counted.
    pub(super) fn decided(&mut self, limit: &Limiter) {
        self.undecided.retain(|(state, _)| !Arc::ptr_eq(state, &limit.state));
    }

    /// Gives back what was taken, for the request goes no further.
    pub(super) fn undo(&mut self) {
        for (state, key) in self.rates.drain(..) {
            state.refund(key, state.nanos(clock::now()), self.at, 1);
        }
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.undecided.drain(..).for_each(|(_, metrics)| metrics.record(LimitOutcome::Passed));
    }
}
