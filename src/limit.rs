//! How often, how many at once, and how much: a request -> [`Permits`] and [`Reserved`], or when to come again.
//!
//! A limit has a token bucket ([`bucket`]), a count of requests in flight, and accounts of tokens and of money
//! ([`account`]) for every key ([`state`], kept in bounded [`table`]s). Before its body is read, a request asks all limits
//! of its route on requests at once ([`RouteLimits::take`]): it passes all, or takes from none. When the body is read,
//! and it is known what is asked of which model, the estimate is set aside in all accounts, or in none
//! ([`RouteLimits::reserve`]); limits that count by model are asked then too. Limits of one name share their memory
//! between routes, and keep it over a reload ([`Limits`]). For some, whom an operator names, other numbers may hold than for
//! the rest ([`Limit::overrides`]); what they took stays taken when they are named, or no more.
//!
//! **Invariant:** a limit is exact on one node. Each bucket is changed by one compare-exchange, each account under the
//! lock of its shard, so no two requests can take the same unit. With several limits on requests, all are first asked,
//! then taken in the order of their names, and what was taken is given back when a later one refuses after all, because
//! others were faster. Until then those others may find a bucket emptier than it will be, and be refused; none can ever
//! find it fuller. As every request takes in the same order, of those that race for the last units one goes through.
//!
//! It does not say who the caller or the client is, what is asked of which model or what that costs, and does not
//! answer: `proxy` does.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::Caller;
use crate::clock;
use crate::config::limit::{Budget, Limit, LimitKey, MOST_PER_ROUTE};
use crate::observe::access_log::Lack;
use crate::observe::metrics::{LimitGauges, LimitMetrics, Metrics};
use account::Rule;
use early::Early;
use fields::Item;
use ledger::Ledger;
use ledger::format::Record;
use meter::Meter;
use round::Round;
use state::{Key, Permit, State};
use table::Units;
use whom::Whom;

pub use ledger::Moved;
pub use ledger::keeper::{Keeper, Paused};
pub use named::{Fullest, NamedStanding};
pub use reserve::{Estimate, Reserved, Spent};

pub mod account;
pub mod bucket;
pub mod calendar;
mod early;
mod fields;
pub mod ledger;
pub mod meter;
mod named;
mod reserve;
mod round;
pub mod state;
pub mod table;
mod whom;

/// What a request holds of limits on requests in flight; given back when it is dropped.
#[derive(Default)]
pub struct Permits {
    held: Vec<Permit>,
    /// What budgets, which are asked later, have to know of it.
    early: Option<Box<Early>>,
}

impl Permits {
    /// Whether budgets are still to be asked.
    pub fn await_budgets(&self) -> bool {
        self.early.is_some()
    }

    /// Whether there is anything to give back, or to be counted later.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty() || self.early.is_some()
    }
}

/// What every limit of the process remembers.
pub struct Limits {
    states: Arc<States>,
    /// Decided when the first budget comes.
    ledger: OnceLock<Arc<Ledger>>,
    epoch: Instant,
}

type States = Mutex<HashMap<Identity, Weak<State>>>;

/// What makes a limit the same one after a reload.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    name: Arc<str>,
    key: LimitKey,
}

/// What is counted of requests that are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Tokens.
    Tokens,
    /// Millionths of a dollar.
    Cost,
}

impl Unit {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tokens, Self::Cost];

    /// The budget that `limit` has of it.
    fn budget(self, limit: &Limit) -> Option<&Budget> {
        match self {
            Self::Tokens => limit.tokens.as_ref(),
            Self::Cost => limit.cost.as_ref(),
        }
    }
}

/// A limit on a route, and where it is counted.
type Guarded = (Arc<LimitMetrics>, Limiter);

/// One limit, as one generation of the configuration has it.
#[derive(Clone)]
pub struct Limiter {
    config: Arc<Limit>,
    /// The limit as it is for those of whom the configuration says something else.
    special: Arc<HashMap<Key, Arc<Limit>>>,
    state: Arc<State>,
}

/// The limits of one route.
pub struct RouteLimits {
    route: Arc<str>,
    /// Those on requests that are asked before a body is read. In the order of their names, as all of these, and at most
    /// [`MOST_PER_ROUTE`] together.
    early: Vec<Guarded>,
    /// Those on requests that have to know the model.
    late: Vec<Guarded>,
    /// Those with budgets.
    budgets: Vec<Guarded>,
    /// Made once; `None` when no limit is told of.
    policy: Option<HeaderValue>,
    /// All of them, where one says something else for some.
    told: Vec<Limiter>,
}

/// What limits may look at.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Whose address counts.
    pub client: IpAddr,
    /// Who asks, when that is known.
    pub caller: Option<&'a Caller>,
    /// The model that the client asked for, when that is known.
    pub model: Option<&'a str>,
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
    /// The tokens are used up, or set aside for others.
    Tokens {
        /// As above. What is set aside for others may be given back at any moment: then it is 1.
        seconds: u32,
    },
    /// The money is used up, or set aside for others.
    Cost {
        /// As above.
        seconds: u32,
    },
}

/// Which limit refuses a request, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub limit: Arc<str>,
    /// What it says.
    pub why: Refusal,
    /// Of a budget: what was to be set aside, and what was left.
    pub lack: Option<Lack>,
}

impl Refusal {
    /// When it is worth to come again. A place in flight may be free at any moment.
    pub fn seconds(&self) -> u32 {
        match self {
            Self::Rate { seconds } | Self::Tokens { seconds } | Self::Cost { seconds } => *seconds,
            Self::Concurrency => 1,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: Arc::default(), ledger: OnceLock::new(), epoch: clock::now() }
    }
}

impl Limits {
    /// The limit `config`: with the memory that one of the same name and key had, or with none yet. What was taken stays
    /// taken when the rate or the budget changes.
    pub fn limiter(&self, config: &Arc<Limit>, metrics: &Metrics) -> Limiter {
        let increment = config.rate.map_or(1, |rate| rate.increment());
        let identity = Identity { name: Arc::clone(&config.name), key: config.key.clone() };
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let known = states.get(&identity).and_then(Weak::upgrade);
        let state = known.unwrap_or_else(|| {
            let gauges = Arc::new(LimitGauges::default());
            metrics.watch_limit(&config.name, &gauges);
            let state = Arc::new(State::new(config.max_entries, increment, self.epoch, gauges));
            states.insert(identity, Arc::downgrade(&state));
            state
        });
        state.resize(config.max_entries);
        let special = |(who, limit): &(Box<str>, Arc<Limit>)| {
            Some((state.key(whom::Named::new(&config.key, who)?), Arc::clone(limit)))
        };
        let special: HashMap<Key, Arc<Limit>> = config.overrides.iter().filter_map(special).collect();
        let other = special.iter().filter_map(|(key, limit)| Some((*key, limit.rate?.increment())));
        state.set_increments(increment, other, clock::now());
        for unit in Unit::ALL {
            if let Some(budget) = unit.budget(config) {
                let ledger = self.ledger.get_or_init(Arc::default);
                let make = |rules: &_, moment| Meter::new(unit, config, rules, moment, ledger, state.gauges());
                state.set_rules(unit, rules(unit, budget, config, ledger), make);
            }
        }
        Limiter { config: Arc::clone(config), special: Arc::new(special), state }
    }

    /// Keeps budgets in the folder `path`, and takes over what is in it; `follows`: from a process that goes on working, and whose
    /// [`Moved`] parts come to [`Self::follow`]. To be called before the first budget comes.
    ///
    /// # Errors
    /// When the folder cannot be written to, another process does, or a budget came before.
    pub fn keep_in(&self, path: &Path, follows: bool, metrics: &Metrics) -> io::Result<Keeper> {
        let late = || io::Error::new(io::ErrorKind::AlreadyExists, "budgets are counted already");
        if self.is_decided() {
            return Err(late());
        }
        let opened = Keeper::open(path, follows)?;
        self.ledger.set(Arc::clone(&opened.ledger)).map_err(|_| late())?;
        let states = Arc::clone(&self.states);
        let accounts = move |show: &mut dyn FnMut(Record)| {
            let states = states.lock().unwrap_or_else(PoisonError::into_inner);
            let alive: Vec<_> = states.values().filter_map(Weak::upgrade).collect();
            drop(states);
            alive.iter().for_each(|state| state.for_each_account(show));
        };
        opened.start(Box::new(accounts), metrics.ledger())
    }

    /// What the process before has done in an account.
    pub fn follow(&self, meter: u64, key: u64, moved: Moved) {
        if let Some(ledger) = self.ledger.get() {
            ledger.moved(meter, key, moved);
        }
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let alive: Vec<_> = states.values().filter_map(Weak::upgrade).collect();
        drop(states);
        // None has it when its limit is no longer configured.
        alive.iter().any(|state| state.follow(meter, key, moved));
    }

    /// The process before has ended. What it has not settled may have been used: it counts as used.
    pub fn follow_no_more(&self) {
        let left = self.ledger.get().map(|ledger| ledger.left_behind()).unwrap_or_default();
        for (meter, key, pending) in left {
            self.follow(meter, key, Moved { set_aside: 0, released: pending, used: pending });
        }
    }

    /// Whether it is decided where budgets are kept: in a folder, or nowhere, as there was a budget before one was given.
    pub fn is_decided(&self) -> bool {
        self.ledger.get().is_some()
    }

    /// Forgets what is of none of the limits `now`, and says how much that is. `before` are those of the snapshot before;
    /// to be called when another one, or the first, has taken its place.
    pub fn retain(&self, before: &[Limiter], now: &[Limiter]) -> Vec<String> {
        let is_gone = |limit: &&Limiter| !now.iter().any(|other| Arc::ptr_eq(&other.state, &limit.state));
        let forgotten = |limit: &Limiter| {
            let accounts = Some(limit.state.count_accounts()).filter(|accounts| *accounts > 0)?;
            let name = &limit.config.name;
            Some(format!(
                "the limit {name} is not in the configuration any more, or counts by another key: what was used of {accounts} \
                 accounts is forgotten"
            ))
        };
        let mut told: Vec<String> = before.iter().filter(is_gone).filter_map(forgotten).collect();
        self.states.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, state| state.strong_count() > 0);
        let unclaimed = self.ledger.get().map_or(0, |ledger| ledger.drop_unclaimed());
        if unclaimed > 0 {
            told.push(format!(
                "what was used of {unclaimed} accounts of the last run is forgotten: the configuration has no limit any more of \
                 that name, key and unit"
            ));
        }
        told
    }
}

/// The budgets of `unit`: `budget`, and what the overrides of `limit` say.
fn rules(unit: Unit, budget: &Budget, limit: &Limit, ledger: &Ledger) -> Units<Arc<Rule>> {
    let rule = |budget: &Budget| Arc::new(Rule::new(budget));
    let other = limit.overrides.iter().filter_map(|(who, other)| {
        let named = whom::Named::new(&limit.key, who)?;
        Some((ledger.key(|to| named.feed(to)), rule(unit.budget(other)?)))
    });
    Units::new(rule(budget), other)
}

impl Limiter {
    /// The limit as it is for those of `key`.
    fn of(&self, key: Key) -> &Limit {
        self.special.get(&key).unwrap_or(&self.config)
    }

    /// The accounts of `unit`, when the limit has such a budget in this generation.
    fn meter(&self, unit: Unit) -> Option<&Meter> {
        unit.budget(&self.config).and_then(|_| self.state.meter(unit))
    }

    /// Whether it tells clients apart by their address.
    pub fn is_by_address(&self) -> bool {
        matches!(self.config.key, LimitKey::ClientIp { .. })
    }
}

impl RouteLimits {
    /// The limits of `route`; `None` when it has none.
    pub fn new(route: &Arc<str>, limits: Vec<Limiter>, metrics: &Metrics) -> Option<Self> {
        let mut limits = limits;
        limits.sort_by(|one, other| one.config.name.cmp(&other.config.name));
        limits.truncate(MOST_PER_ROUTE);
        let policy = fields::policy(limits.iter().map(|limit| &*limit.config));
        let is_special = limits.iter().any(|limit| !limit.special.is_empty());
        let told = if is_special { limits.clone() } else { Vec::new() };
        let limits: Vec<_> =
            limits.into_iter().map(|limit| (metrics.limit(&limit.config.name, route), limit)).collect();
        let those = |which: &dyn Fn(&Limit) -> bool| -> Vec<Guarded> {
            limits.iter().filter(|(_, limit)| which(&limit.config)).cloned().collect()
        };
        let by_model = |limit: &Limit| limit.key == LimitKey::Model;
        let early = those(&|limit| limit.counts_requests() && !by_model(limit));
        let late = those(&|limit| limit.counts_requests() && by_model(limit));
        let budgets = those(&Limit::has_budget);
        (!limits.is_empty()).then(|| Self { route: Arc::clone(route), early, late, budgets, policy, told })
    }

    /// Whether money is limited here.
    pub fn limit_cost(&self) -> bool {
        self.budgets.iter().any(|(_, limit)| limit.config.cost.is_some())
    }

    /// Whether tokens or money are limited here, and requests refused for it.
    pub fn enforces_budgets(&self) -> bool {
        self.budgets.iter().any(|(_, limit)| limit.config.enforced)
    }

    /// Takes from every limit on requests that need not know the model, or from none. `fields` get what the answer tells
    /// of limits, either way.
    ///
    /// # Errors
    /// When a limit that is enforced has no more.
    pub fn take(
        &self,
        asked: &Asked<'_>,
        now: Instant,
        fields: &mut Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Permits, Refused> {
        let mut round = Round::new(&self.early, &self.route, asked, now);
        let mut permits = Permits::default();
        let result = round.pass(&mut permits);
        if let Some(policy) = &self.policy {
            fields.reserve(9);
            fields.push((fields::POLICY, policy.clone()));
            self.tell_own_policy(asked, fields);
            round.tell(fields);
            if result.is_err() {
                self.tell_budgets(asked, now, fields);
            }
        }
        if result.is_ok() && (!self.budgets.is_empty() || !self.late.is_empty()) {
            permits.early = Some(Box::new(round.early()));
        }
        result.map(|()| permits)
    }

    /// Adds to `fields` how the budgets of a request stand that does not come to ask them. Those that count by model are left out
    /// where that is not known.
    pub fn tell_budgets(&self, asked: &Asked<'_>, now: Instant, fields: &mut Vec<(HeaderName, HeaderValue)>) {
        let known = |limit: &Limit| asked.model.is_some() || limit.key != LimitKey::Model;
        let told = self.budgets.iter().map(|(_, limit)| limit);
        let told = told.filter(|limit| fields::is_told(&limit.config) && known(&limit.config));
        let items = told.flat_map(|limit| {
            let whom = Whom { key: &limit.config.key, route: &self.route, asked };
            Unit::ALL.into_iter().filter_map(move |unit| {
                let meter = limit.meter(unit)?;
                let standing = meter.look(meter.key(&whom), limit.state.moment(now));
                Some(Item { limit: &limit.config, unit, standing })
            })
        });
        fields::tell_budgets(items, fields);
    }

    /// Where other numbers hold for who asks, these are told.
    fn tell_own_policy(&self, asked: &Asked<'_>, fields: &mut [(HeaderName, HeaderValue)]) {
        let key = |limit: &Limiter| limit.state.key(Whom { key: &limit.config.key, route: &self.route, asked });
        if self.told.iter().all(|limit| limit.special.is_empty() || !limit.special.contains_key(&key(limit))) {
            return;
        }
        let own = fields::policy(self.told.iter().map(|limit| limit.of(key(limit))));
        if let (Some(own), Some((_, policy))) = (own, fields.iter_mut().find(|(name, _)| *name == fields::POLICY)) {
            *policy = own;
        }
    }
}

/// The refusal that holds longer.
fn later(one: Option<Refused>, other: Option<Refused>) -> Option<Refused> {
    // A place in flight may be free at any moment, so it says the least.
    let rank = |refused: &Refused| (refused.why != Refusal::Concurrency, refused.why.seconds());
    match (one, other) {
        (Some(a), Some(b)) => Some(if rank(&b) > rank(&a) { b } else { a }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
