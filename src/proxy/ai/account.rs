//! The account of one request: what it reserved of its limits, and what it used in the end.
//!
//! **Invariant:** what was reserved is settled or given back exactly once, whatever way a request ends: by its answer, by
//! a client that leaves, by an error, or by the end of the process. Nothing is charged before the first content; from
//! then on at least what was seen is.

use super::job::Job;
use super::trail::Trail;
use crate::ai::estimate;
use crate::ai::meter::Meter;
use crate::ai::usage::Usage;
use crate::limit::{Reserved, Spent};

/// How many more tokens a stream brings between two looks at its budget.
const LOOK_EVERY: u64 = 16;

/// What a provider may say of one answer, in tokens: a number that nobody means must not spoil the sums of all others.
const MOST_TOKENS: u64 = 1 << 36;
/// What one answer may cost, in millionths of a dollar.
const MOST_COST: u64 = 1 << 46;

/// What one request holds and owes.
pub struct Account {
    reserved: Option<Reserved>,
    /// Tokens of the prompt, as long as the provider has not counted them.
    input: u64,
    /// What a stream was seen to use so far.
    seen: Usage,
    /// The same, as limits count it; what it costs lags behind by a few tokens.
    spent: Spent,
    looked: u64,
}

impl Account {
    /// An account with what was reserved, for a prompt of about `input` tokens.
    pub fn new(reserved: Option<Reserved>, input: u64) -> Self {
        Self { reserved, input, seen: Usage::default(), spent: Spent::default(), looked: 0 }
    }

    /// What a stream has used so far or in all, and whether that is an estimate.
    pub fn usage_of(&self, meter: &Meter) -> (Usage, bool) {
        match meter.usage() {
            Some(usage) if meter.is_finished() => (usage, false),
            counted => {
                // Some providers count the prompt at the beginning.
                let counted = counted.unwrap_or_default();
                let input = if counted.input > 0 { counted.input } else { self.input };
                let output = counted.output.max(estimate::output_tokens(meter.output_chars()));
                (Usage { input, output, ..counted }, true)
            }
        }
    }

    /// Takes in what a stream has told so far. Every few tokens: what it costs is looked at too, and, on a route that cuts
    /// such streams, whether it is over its budget (`true`).
    pub fn saw(&mut self, meter: &Meter, trail: &Trail, job: &Job) -> bool {
        self.seen = plausible(self.usage_of(meter).0);
        let Some(reserved) = &self.reserved else { return false };
        self.spent.tokens = self.seen.total();
        if self.spent.tokens < self.looked.saturating_add(LOOK_EVERY) {
            return false;
        }
        self.looked = self.spent.tokens;
        self.spent.cost = trail.last_try().and_then(|last| job.cost(last, &self.seen)).unwrap_or(0);
        job.cut_over_budget && !reserved.remaining_allows(self.spent)
    }

    /// Nobody waits for the rest: what was seen so far is owed.
    pub fn settle_seen(&mut self, trail: &mut Trail, job: &Job) {
        if self.seen.total() > 0 {
            self.settle(trail, job, self.seen, true);
        }
    }

    /// A whole answer was given: its provider counted `usage`, or it has so many characters.
    pub fn settle_whole(&mut self, trail: &mut Trail, job: &Job, usage: Option<Usage>, chars: u64) {
        match usage {
            Some(usage) => self.settle(trail, job, usage, false),
            None => {
                // What is no text, and what will be made later, counts as what was set aside for it.
                let is_text = job.operation.generates() && !job.body.in_background();
                let output = if chars > 0 || is_text { estimate::output_tokens(chars) } else { job.output };
                self.settle(trail, job, Usage { input: self.input, output, ..Usage::default() }, true);
            }
        }
    }

    /// The request has used `usage`; `estimated`: its provider did not say so.
    pub fn settle(&mut self, trail: &mut Trail, job: &Job, usage: Usage, estimated: bool) {
        // Asking what something would cost costs nothing.
        let usage = if job.operation.charges() { plausible(usage) } else { Usage::default() };
        let cost = trail.last_try().and_then(|last| job.cost(last, &usage)).map(|cost| cost.min(MOST_COST));
        trail.usage = Some(usage);
        trail.estimated = estimated;
        trail.cost = cost;
        let spent = Spent { tokens: usage.total(), cost: cost.unwrap_or(0) };
        if let Some(reserved) = self.reserved.take() {
            reserved.settle(spent);
        }
    }
}

fn plausible(usage: Usage) -> Usage {
    let most = |tokens: u64| tokens.min(MOST_TOKENS);
    Usage { input: most(usage.input), output: most(usage.output), ..usage }.bounded()
}

impl Drop for Account {
    /// The future that served the request was dropped: what was seen is owed, and where nothing was, nothing is.
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take()
            && self.spent.tokens > 0
        {
            reserved.settle(self.spent);
        }
    }
}
