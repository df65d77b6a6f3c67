//! Accounts that an operator names: how they stand, and what was used of them forgiven.
//!
//! Accounts are kept by digests and bear no names, but who knows a name finds its account: of those that are listed,
//! the ones have names whose names are known.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use super::account::{Moment, Standing};
use super::meter::Meter;
use super::whom;
use super::{Limiter, Unit};
use crate::config::limit::LimitKey;

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedStanding {
    /// What it counts.
    pub unit: Unit,
    /// The whole budget, in units.
    pub budget: u64,
    /// Units that were used and have not come back, or are set aside; more than the budget where it was overrun.
    pub used: u64,
    /// Units that may be set aside now.
    pub remaining: u64,
    /// When all of it is there again, if nothing more is used.
    pub full_in: Duration,
}

/// The accounts of a limit that are the fullest.
#[derive(Debug, Default)]
pub struct Fullest {
    /// The fullest first: the name, where it is known, and how they stand.
    pub accounts: Vec<(Option<String>, Vec<NamedStanding>)>,
    /// How many more there are.
    pub more: usize,
}

impl NamedStanding {
    fn of(unit: Unit, standing: Standing) -> Self {
        let Standing { remaining, used, units, full_in } = standing;
        Self { unit, budget: units, used, remaining, full_in: Duration::from_nanos(full_in) }
    }

    /// How much of the budget is used, in millionths.
    fn share(&self) -> u128 {
        u128::from(self.used) * 1_000_000 / u128::from(self.budget.max(1))
    }
}

impl Limiter {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether it counts tokens or money.
    pub fn has_budget(&self) -> bool {
        self.config.has_budget()
    }

    /// How the accounts of `who` stand: a caller's id (or `token:` and a token's), an address, a route, a model or a field's
    /// value, as the limit counts; nothing for one that counts all together, and for those who count together because they have
    /// no such thing. `None`: that is not what it counts by.
    pub fn standing_of(&self, who: &str, now: Instant) -> Option<Vec<NamedStanding>> {
        self.of_each(who, now, |meter, key, moment| meter.look(key, moment))
    }

    /// Forgives what `who` has used; what is set aside for requests under way stays so. Gives how the accounts stand then.
    pub fn forgive(&self, who: &str, now: Instant) -> Option<Vec<NamedStanding>> {
        self.of_each(who, now, |meter, key, moment| meter.forgive(key, moment))
    }

    /// What it counts by.
    pub fn counts_by(&self) -> &LimitKey {
        &self.config.key
    }

    /// Whether there is an account of `who`.
    pub fn has_account_of(&self, who: &str) -> bool {
        let Some(named) = whom::Named::new(&self.config.key, who) else { return false };
        self.meters().any(|(_, meter)| meter.has(meter.key_of(&named)))
    }

    /// The accounts of which the most is used, `most` of them; `names` are those that may be known.
    pub fn fullest(&self, most: usize, names: impl Iterator<Item = String>, now: Instant) -> Fullest {
        let moment = self.state.moment(now);
        let (mut keys, mut held) = (Vec::new(), 0_usize);
        for (unit, meter) in self.meters() {
            // The smallest share of those that are kept is at hand.
            let mut kept = BinaryHeap::new();
            let mut count = 0;
            meter.for_each_standing(moment, &mut |key, standing| {
                count += 1;
                kept.push(Reverse((NamedStanding::of(unit, standing).share(), key)));
                if kept.len() > most {
                    kept.pop();
                }
            });
            keys.extend(kept.into_iter().map(|Reverse((_, key))| key));
            // Whoever uses money uses tokens: they are about the same.
            held = held.max(count);
        }
        keys.sort_unstable();
        keys.dedup();
        let standings = |key| self.meters().map(move |(unit, meter)| NamedStanding::of(unit, meter.look(key, moment)));
        let mut accounts: Vec<(u64, Vec<NamedStanding>)> =
            keys.into_iter().map(|key| (key, standings(key).collect())).collect();
        accounts.sort_by_key(|(_, of)| Reverse(of.iter().map(NamedStanding::share).max()));
        accounts.truncate(most);
        let more = held.saturating_sub(accounts.len());
        let names = self.named(names);
        let accounts = accounts.into_iter().map(|(key, of)| (names.get(&key).cloned(), of));
        Fullest { accounts: accounts.collect(), more }
    }

    /// How those of `names` stand that have an account, `most` of them at most.
    pub fn standings(
        &self,
        names: impl Iterator<Item = String>,
        most: usize,
        now: Instant,
    ) -> impl Iterator<Item = (String, Vec<NamedStanding>)> {
        let there = names.filter(|name| self.has_account_of(name)).take(most);
        there.filter_map(move |name| self.standing_of(&name, now).map(|of| (name, of)))
    }

    /// The names by the keys of their accounts.
    fn named(&self, names: impl Iterator<Item = String>) -> HashMap<u64, String> {
        let key = |name: &str| {
            let named = whom::Named::new(&self.config.key, name)?;
            // The key is the same for every unit.
            self.meters().next().map(|(_, meter)| meter.key_of(&named))
        };
        names.filter_map(|name| Some((key(&name)?, name))).collect()
    }

    /// The accounts of each unit that has a budget in this generation.
    fn meters(&self) -> impl Iterator<Item = (Unit, &Meter)> {
        let meter = |unit: Unit| unit.budget(&self.config).and_then(|_| Some((unit, self.state.meter(unit)?)));
        Unit::ALL.into_iter().filter_map(meter)
    }

    fn of_each(
        &self,
        who: &str,
        now: Instant,
        then: impl Fn(&Meter, u64, Moment) -> Standing,
    ) -> Option<Vec<NamedStanding>> {
        let named = whom::Named::new(&self.config.key, who)?;
        let moment = self.state.moment(now);
        let standing =
            |(unit, meter): (Unit, &Meter)| NamedStanding::of(unit, then(meter, meter.key_of(&named), moment));
        Some(self.meters().map(standing).collect())
    }
}
