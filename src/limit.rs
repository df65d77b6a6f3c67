//! How often and how many at once: a request -> [`Permits`], or when to come again.
//!
//! A limit has a token bucket ([`bucket`]) and a count of requests in flight for every key ([`state`], kept in a bounded
//! [`table`]). A route asks all of its limits at once ([`RouteLimits::take`]): the request passes all, or takes from
//! none. Limits of one name share their memory between routes, and keep it over a reload ([`Limits`]).
//!
//! **Invariant:** a limit is exact on one node. Each bucket is changed by one compare-exchange, so no two requests can
//! take the same unit. With several limits, all are first asked, then taken in the order of their names, and what was
//! taken is given back when a later one refuses after all, because others were faster. Until then those others may find
//! a bucket emptier than it will be, and be refused; none can ever find it fuller. As every request takes in the same
//! order, of those that race for the last units one goes through.
//!
//! It does not say who the caller or the client is, and does not answer: `proxy::guard` does.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::Caller;
use crate::clock;
use crate::config::limit::{Limit, LimitKey, MOST_PER_ROUTE};
use crate::observe::metrics::{LimitGauges, LimitMetrics, LimitOutcome, Metrics};
use bucket::Level;
use state::{Key, Permit, State};

pub mod bucket;
mod fields;
pub mod state;
pub mod table;

/// What a request holds of limits on requests in flight; given back when it is dropped.
#[derive(Default)]
pub struct Permits {
    held: Vec<Permit>,
}

impl Permits {
    /// Whether there is anything to give back.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }
}

/// What every limit of the process remembers.
pub struct Limits {
    states: Mutex<HashMap<Identity, Weak<State>>>,
    epoch: Instant,
}

/// What makes a limit the same one after a reload.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    name: Arc<str>,
    key: LimitKey,
    max_entries: usize,
}

/// One limit, as one generation of the configuration has it.
#[derive(Clone)]
pub struct Limiter {
    config: Arc<Limit>,
    state: Arc<State>,
}

/// The limits of one route.
pub struct RouteLimits {
    route: Arc<str>,
    /// In the order of their names, at most [`MOST_PER_ROUTE`].
    limits: Vec<(Arc<LimitMetrics>, Limiter)>,
    /// Made once; `None` when no limit is told of.
    policy: Option<HeaderValue>,
}

/// What limits may look at.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Whose address counts.
    pub client: IpAddr,
    /// Who asks, when that is known.
    pub caller: Option<&'a Caller>,
    /// The request's fields.
    pub headers: &'a HeaderMap,
}

/// Why a request does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A rate is used up.
    Rate {
        /// When it is worth to come again, rounded up; at least 1.
        seconds: u32,
    },
    /// Too many are in flight.
    Concurrency,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: Mutex::default(), epoch: clock::now() }
    }
}

impl Limits {
    /// The limit `config`: with the memory that one of the same name, key and bound had, or with none yet. What was
    /// taken stays taken when the rate changes.
    pub fn limiter(&self, config: &Arc<Limit>, metrics: &Metrics) -> Limiter {
        let increment = config.rate.map_or(1, |rate| rate.increment());
        let identity =
            Identity { name: Arc::clone(&config.name), key: config.key.clone(), max_entries: config.max_entries };
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let known = states.get(&identity).and_then(Weak::upgrade);
        let state = known.unwrap_or_else(|| {
            let gauges = Arc::new(LimitGauges::default());
            metrics.watch_limit(&config.name, &gauges);
            let state = Arc::new(State::new(config.max_entries, increment, self.epoch, gauges));
            states.insert(identity, Arc::downgrade(&state));
            state
        });
        state.set_increment(increment, clock::now());
        Limiter { config: Arc::clone(config), state }
    }

    /// Forgets limits that no snapshot holds any more. To be called after a swap.
    pub fn retain(&self) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, state| state.strong_count() > 0);
    }
}

impl RouteLimits {
    /// The limits of `route`; `None` when it has none.
    pub fn new(route: &Arc<str>, limits: Vec<Limiter>, metrics: &Metrics) -> Option<Self> {
        let mut limits = limits;
        limits.sort_by(|one, other| one.config.name.cmp(&other.config.name));
        limits.truncate(MOST_PER_ROUTE);
        let policy = fields::policy(limits.iter().map(|limit| &*limit.config));
        let limits: Vec<_> =
            limits.into_iter().map(|limit| (metrics.limit(&limit.config.name, route), limit)).collect();
        (!limits.is_empty()).then(|| Self { route: Arc::clone(route), limits, policy })
    }

    /// Takes from every limit, or from none. `fields` get what the answer tells of limits, either way.
    ///
    /// # Errors
    /// When a limit that is enforced has no more.
    pub fn take(
        &self,
        asked: &Asked<'_>,
        now: Instant,
        fields: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Permits, Refusal> {
        let mut round = Round::new(self, asked, now);
        let mut permits = Permits::default();
        // One limit alone need not be asked before it is taken.
        let result = if self.limits.len() > 1 { round.ask_all() } else { Ok(()) };
        let result = result.and_then(|()| round.take_all(&mut permits));
        round.record();
        if let Some(policy) = &self.policy {
            fields::tell(policy, round.told(), fields);
        }
        result.map(|()| permits)
    }
}

/// One request before the limits of its route.
struct Round<'a> {
    limits: &'a [(Arc<LimitMetrics>, Limiter)],
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
    fn new(route: &'a RouteLimits, asked: &Asked<'_>, now: Instant) -> Self {
        let limits = &route.limits;
        let mut keys = [None; MOST_PER_ROUTE];
        for (key, (_, limit)) in keys.iter_mut().zip(limits) {
            *key = Some(limit.state.key(Whom { key: &limit.config.key, route: &route.route, asked }));
        }
        // All limits of a process have one clock.
        let now = limits.first().map_or(0, |(_, limit)| limit.state.nanos(now));
        let outcomes = [LimitOutcome::Passed; MOST_PER_ROUTE];
        Self { limits, now, keys, levels: [None; MOST_PER_ROUTE], outcomes }
    }

    /// Asks every limit, and takes from none.
    fn ask_all(&mut self) -> Result<(), Refusal> {
        let mut refusal = None;
        for at in 0..self.limits.len() {
            if let Err(objection) = self.ask(at) {
                refusal = later(refusal, self.object(at, objection));
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// Takes from every limit that is enforced, or from none; from those that only count, where they have any.
    fn take_all(&mut self, permits: &mut Permits) -> Result<(), Refusal> {
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
        if limit.config.concurrency.is_some_and(|most| !limit.state.has_place(*key, most)) {
            return Err(Objection::Concurrency);
        }
        let Some(rate) = limit.config.rate else { return Ok(()) };
        let asked = limit.state.ask(*key, self.now, rate.burst, 1);
        self.note(at, asked.unwrap_or_else(|empty| empty.level));
        asked.map(drop).map_err(|empty| Objection::Rate(empty.wait))
    }

    /// A place in flight first: giving that back leaves no trace.
    fn take(&mut self, at: usize, permits: &mut Permits) -> Result<(), Objection> {
        let (Some((_, limit)), Some(Some(key))) = (self.limits.get(at), self.keys.get(at)) else { return Ok(()) };
        let permit = match limit.config.concurrency {
            Some(most) => Some(limit.state.enter(*key, most).ok_or(Objection::Concurrency)?),
            None => None,
        };
        if let Some(rate) = limit.config.rate {
            let taken = limit.state.take(*key, self.now, rate.burst, 1);
            self.note(at, taken.unwrap_or_else(|empty| empty.level));
            taken.map_err(|empty| Objection::Rate(empty.wait))?;
        }
        permits.held.extend(permit);
        Ok(())
    }

    /// Gives back what was taken of the rates before number `end`.
    fn give_back(&mut self, end: usize) {
        for at in 0..end {
            let (Some((_, limit)), Some(Some(key))) = (self.limits.get(at), self.keys.get(at)) else { continue };
            if let (Some(rate), Some(LimitOutcome::Passed)) = (limit.config.rate, self.outcomes.get(at)) {
                let full_in = self.levels.get(at).copied().flatten().map_or(0, |level| level.full_in);
                limit.state.refund(*key, self.now, self.now.saturating_add(full_in), 1);
                let level = limit.state.ask(*key, self.now, rate.burst, 0);
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
    fn object(&mut self, at: usize, objection: Objection) -> Option<Refusal> {
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
        enforced.then(|| match objection {
            Objection::Concurrency => Refusal::Concurrency,
            Objection::Rate(wait) => {
                let seconds = fields::whole_seconds(wait.unwrap_or(u64::MAX)).max(1);
                Refusal::Rate { seconds: u32::try_from(seconds).unwrap_or(u32::MAX) }
            }
        })
    }

    fn record(&self) {
        for ((metrics, _), outcome) in self.limits.iter().zip(self.outcomes) {
            metrics.record(outcome);
        }
    }

    /// The levels that clients are told of.
    fn told(&self) -> impl Iterator<Item = (&str, Level)> {
        let told = self.limits.iter().zip(self.levels).filter(|((_, limit), _)| fields::is_told(&limit.config));
        told.filter_map(|((_, limit), level)| Some((&*limit.config.name, level?)))
    }
}

/// The refusal that holds longer. A place in flight may be free at any moment.
fn later(one: Option<Refusal>, other: Option<Refusal>) -> Option<Refusal> {
    match (one, other) {
        (Some(Refusal::Rate { seconds: a }), Some(Refusal::Rate { seconds: b })) => {
            Some(Refusal::Rate { seconds: a.max(b) })
        }
        (Some(Refusal::Concurrency) | None, Some(other)) => Some(other),
        (one, _) => one,
    }
}

/// Whose requests are counted together, of one request under one limit.
struct Whom<'a> {
    key: &'a LimitKey,
    route: &'a str,
    asked: &'a Asked<'a>,
}

impl Hash for Whom<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.key {
            LimitKey::ClientIp { ipv6_prefix } => match self.asked.client.to_canonical() {
                IpAddr::V4(address) => address.to_bits().hash(state),
                IpAddr::V6(address) => {
                    let kept = u128::MAX.checked_shl(128 - u32::from(*ipv6_prefix)).unwrap_or_default();
                    (address.to_bits() & kept).hash(state);
                }
            },
            // Without a caller: all such requests count together, so that nobody is free of the limit.
            LimitKey::ApiKey => self.asked.caller.map(|caller| &*caller.scope).hash(state),
            LimitKey::Route => self.route.hash(state),
            LimitKey::Global => {}
            LimitKey::Header(name) => self.asked.headers.get_all(name).iter().for_each(|value| value.hash(state)),
        }
    }
}

#[cfg(test)]
mod tests;
