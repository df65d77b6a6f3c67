//! The account of one request: what it reserved of its limits, and what it used in the end.
//!
//! **Invariant:** what was reserved is settled or given back exactly once, whatever way a request ends: by its answer, by
//! a client that leaves, by an error, or by the end of the process. As long as no provider has the whole request, and
//! where one failed, nothing is charged; from then on its prompt is, and of its answer at least what was seen. An answer that
//! no client could be told is charged as its provider counted it, beside what comes after it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use log::warn;

use super::job::Job;
use super::trail::{Trail, Try};
use crate::ai::estimate::Made;
use crate::ai::meter::Meter;
use crate::ai::usage::Usage;
use crate::limit::{Reserved, Spent};

/// How many more tokens a stream brings between two looks at its budget.
const LOOK_EVERY: u64 = 16;

/// What a provider may say of one answer, in tokens, whatever was asked for: a number that nobody means must not spoil the
/// sums of all others.
const MOST_TOKENS: u64 = 1 << 36;
/// What one answer may cost, in millionths of a dollar.
const MOST_COST: u64 = 1 << 46;
/// What a provider may have read that did not stand in the request (files by their names, pages it looked up, what was said
/// before), in tokens: as much as the largest models take.
const MOST_BESIDES: u64 = 2_000_000;
/// What a model may have written, in tokens, though it was asked for less and nobody saw it.
const MOST_UNSEEN: u64 = 1_000_000;
/// Bytes of a character, at most; a token has one byte at least.
const CHARACTER: u64 = 4;

/// What one request holds and owes.
pub struct Account {
    reserved: Option<Reserved>,
    /// Tokens of the prompt, as long as the provider has not counted them, and what they cost at most.
    prompt: Spent,
    /// Whether the answer is text, as a model writes it.
    generates: bool,
    most: Most,
    sent: Sent,
    /// What a stream was seen to use so far.
    seen: Usage,
    /// What its answer has.
    made: Made,
    /// The same, as limits count it; what it costs lags behind by a few tokens.
    spent: Spent,
    looked: u64,
    settled: bool,
}

/// Whether a provider has the whole request, and has not failed; and what answers have used that no client gets.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    whole: Arc<AtomicBool>,
    wasted: Arc<Mutex<Wasted>>,
}

/// What answers have used that no client gets.
#[derive(Debug, Clone, Default)]
struct Wasted {
    usage: Usage,
    cost: Option<u64>,
}

impl Sent {
    /// Notes that it has, or that it has failed.
    pub fn set(&self, sent: bool) {
        // Relaxed: it guards nothing but itself.
        self.whole.store(sent, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.whole.load(Ordering::Relaxed)
    }

    /// Takes down that an answer to the try `one` of `job` has used `usage`, and no client gets what was `made`.
    pub fn wasted(&self, job: &Job, one: &Try, usage: Usage, made: Made) {
        let input = if usage.input > 0 { usage.input } else { job.input };
        let usage = Most::of(job).believed(Usage { input, ..usage }, made);
        let cost = job.cost(one, &usage).map(|cost| cost.min(MOST_COST));
        let mut wasted = self.wasted.lock().unwrap_or_else(PoisonError::into_inner);
        wasted.usage += usage;
        wasted.cost = added(wasted.cost, cost);
    }

    fn get_wasted(&self) -> Wasted {
        self.wasted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Together, as far as there is a price.
fn added(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.map_or(other, |one| Some(one.saturating_add(other.unwrap_or(0))))
}

/// What was counted, and of the answer at least what was seen of it.
fn at_least(counted: Usage, made: Made) -> Usage {
    let seen = made.usage();
    if counted.output >= seen.output {
        return counted;
    }
    Usage { output: seen.output, audio_output: seen.audio_output, image_output: seen.image_output, ..counted }
}

/// What a provider is believed to have used, in tokens.
#[derive(Debug, Clone, Copy)]
struct Most {
    input: u64,
    output: u64,
}

impl Most {
    /// A token has a byte at least, but for what did not stand in the request.
    fn of(job: &Job) -> Self {
        let sent = u64::try_from(job.body.bytes()).unwrap_or(u64::MAX).max(job.input);
        Self { input: sent.saturating_add(MOST_BESIDES), output: job.output.max(MOST_UNSEEN) }
    }

    fn believed(self, usage: Usage, made: Made) -> Usage {
        let input = usage.input.min(self.input).min(MOST_TOKENS);
        let seen = made.chars.saturating_mul(CHARACTER).saturating_add(made.usage().output);
        let output = usage.output.min(self.output.max(seen)).min(MOST_TOKENS);
        Usage { input, output, ..usage }.bounded()
    }
}

impl Account {
    /// An account for `job`, with what was reserved.
    pub fn new(reserved: Option<Reserved>, job: &Job) -> Self {
        let cost = if reserved.is_some() { job.prompt_cost() } else { 0 };
        Self {
            reserved,
            prompt: Spent { tokens: job.input, cost },
            generates: job.operation.generates(),
            most: Most::of(job),
            sent: job.sent.clone(),
            seen: Usage::default(),
            made: Made::default(),
            spent: Spent::default(),
            looked: 0,
            settled: false,
        }
    }

    /// What a stream has used so far or in all, and whether that is an estimate.
    pub fn usage_of(&mut self, meter: &Meter) -> (Usage, bool) {
        self.made = meter.made();
        match meter.usage() {
            Some(usage) if meter.is_finished() => self.completed(usage),
            counted => {
                // Some providers count the prompt at the beginning.
                let counted = counted.unwrap_or_default();
                let input = if counted.input > 0 { counted.input } else { self.prompt.tokens };
                (at_least(Usage { input, ..counted }, self.made), true)
            }
        }
    }

    /// What the provider counted of an answer that is whole, and whether a part of it is an estimate: where it counts nothing of
    /// a prompt or of a text that has something.
    fn completed(&self, usage: Usage) -> (Usage, bool) {
        let input = if usage.input > 0 { usage.input } else { self.prompt.tokens };
        let is_counted = usage.output > 0 || !self.generates;
        let made = if is_counted { Made::default() } else { self.made };
        let completed = at_least(Usage { input, ..usage.clone() }, made);
        let is_estimate = (completed.input, completed.output) != (usage.input, usage.output);
        (completed, is_estimate)
    }

    /// Takes in what a stream has told so far. Every few tokens: what it costs is looked at too, and, on a route that cuts
    /// such streams, whether it is over its budget (`true`).
    pub fn saw(&mut self, meter: &Meter, trail: &Trail, job: &Job) -> bool {
        let usage = self.usage_of(meter).0;
        self.seen = self.most.believed(usage, self.made);
        let Some(reserved) = &self.reserved else { return false };
        self.spent.tokens = self.seen.total();
        if self.spent.tokens < self.looked.saturating_add(LOOK_EVERY) {
            return false;
        }
        self.looked = self.spent.tokens;
        self.spent.cost = trail.last_try().and_then(|last| job.cost(last, &self.seen)).unwrap_or(0);
        job.cut_over_budget && !reserved.remaining_allows(self.spent)
    }

    /// Nobody waits for the rest: what was seen so far is owed, and the prompt from the moment on that a provider had it.
    pub fn settle_seen(&mut self, trail: &mut Trail, job: &Job) {
        if self.settled {
            return;
        }
        if self.seen.total() > 0 {
            self.settle(trail, job, self.seen.clone(), true);
        } else if self.sent.get() {
            let input = self.prompt.tokens;
            self.settle(trail, job, Usage { input, ..Usage::default() }, true);
        } else {
            self.settle_wasted(trail, job);
        }
    }

    /// No provider's answer was served: what some have used nevertheless is owed.
    pub fn settle_wasted(&mut self, trail: &mut Trail, job: &Job) {
        if !self.settled && self.sent.get_wasted().usage.total() > 0 {
            self.settle(trail, job, Usage::default(), false);
        }
    }

    /// A whole answer was given: its provider counted `usage`, or this is what was `made`.
    pub fn settle_whole(&mut self, trail: &mut Trail, job: &Job, usage: Option<Usage>, made: Made) {
        self.made = made;
        match usage {
            Some(usage) => {
                let (usage, estimated) = self.completed(usage);
                self.settle(trail, job, usage, estimated);
            }
            None => {
                // What is no text, and what will be made later, counts as what was set aside for it.
                let is_text = job.operation.generates() && !job.body.in_background();
                let is_seen = made != Made::default() || is_text;
                let usage = if is_seen { made.usage() } else { Usage { output: job.output, ..Usage::default() } };
                self.settle(trail, job, Usage { input: self.prompt.tokens, ..usage }, true);
            }
        }
    }

    /// The request has used `usage`; `estimated`: its provider did not say so.
    pub fn settle(&mut self, trail: &mut Trail, job: &Job, usage: Usage, estimated: bool) {
        // Asking what something would cost costs nothing.
        let said = if job.operation.charges() { usage } else { Usage::default() };
        let usage = self.most.believed(said.clone(), self.made);
        if usage.total() != said.total() {
            let provider = trail.last_try().map_or("", |last| &*last.name);
            warn!(
                target: "ai", "provider {provider} says that an answer used {} and {} tokens, which cannot be: {} and {} are counted",
                said.input, said.output, usage.input, usage.output
            );
        }
        self.settled = true;
        let cost = trail.last_try().and_then(|last| job.cost(last, &usage)).map(|cost| cost.min(MOST_COST));
        let wasted = self.sent.get_wasted();
        let (mut usage, cost) = (usage, added(cost, wasted.cost));
        usage += wasted.usage;
        let spent = Spent { tokens: usage.total(), cost: cost.unwrap_or(0) };
        trail.usage = Some(usage);
        trail.estimated = estimated;
        trail.cost = cost;
        if let Some(reserved) = self.reserved.take() {
            reserved.settle(spent);
        }
    }
}

impl Drop for Account {
    /// The future that served the request was dropped: what was seen is owed, the prompt once a provider had it, and where
    /// none had, nothing is.
    fn drop(&mut self) {
        let Some(reserved) = self.reserved.take() else { return };
        let Wasted { usage, cost } = self.sent.get_wasted();
        let mut owed = Spent { tokens: usage.total(), cost: cost.unwrap_or(0) };
        let seen = if self.spent.tokens > 0 {
            self.spent
        } else if self.sent.get() {
            self.prompt
        } else {
            Spent::default()
        };
        owed.tokens = owed.tokens.saturating_add(seen.tokens);
        owed.cost = owed.cost.saturating_add(seen.cost);
        if owed.tokens > 0 {
            reserved.settle(owed);
        }
    }
}
