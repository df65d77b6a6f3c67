//! Accounts that an operator names: how they stand, and what was used of them forgiven.
//!
//! Accounts are kept by digests and bear no names, so they cannot be listed; but who knows a name finds its account.

use std::time::{Duration, Instant};

use super::account::Standing;
use super::whom;
use super::{Limiter, RouteLimits, Unit};

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedStanding {
    /// What it counts.
    pub unit: Unit,
    /// The whole budget, in units.
    pub budget: u64,
    /// Units that may be set aside now.
    pub remaining: u64,
    /// When all of it is there again, if nothing more is used.
    pub full_in: Duration,
}

impl RouteLimits {
    /// Those of its limits that have budgets.
    pub fn budgets(&self) -> impl Iterator<Item = &Limiter> {
        self.budgets.iter().map(|(_, limit)| limit)
    }
}

impl Limiter {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How the accounts of `who` stand: a caller's id (or `token:` and a token's), an address, a route, a model or a field's
    /// value, as the limit counts; nothing for one that counts all together. `None`: that is not what it counts by.
    pub fn standing_of(&self, who: &str, now: Instant) -> Option<Vec<NamedStanding>> {
        self.of_each(who, now, |meter, key, moment| meter.look(key, moment))
    }

    /// Forgives what `who` has used; what is set aside for requests under way stays so. Gives how the accounts stand then.
    pub fn forgive(&self, who: &str, now: Instant) -> Option<Vec<NamedStanding>> {
        self.of_each(who, now, |meter, key, moment| meter.forgive(key, moment))
    }

    fn of_each(
        &self,
        who: &str,
        now: Instant,
        then: impl Fn(&super::meter::Meter, u64, super::account::Moment) -> Standing,
    ) -> Option<Vec<NamedStanding>> {
        let named = whom::Named::new(&self.config.key, who)?;
        let moment = self.state.moment(now);
        let standing = |unit: Unit| {
            unit.budget(&self.config)?;
            let meter = self.state.meter(unit)?;
            let Standing { remaining, units, full_in } = then(meter, meter.key_of(&named), moment);
            Some(NamedStanding { unit, budget: units, remaining, full_in: Duration::from_nanos(full_in) })
        };
        Some(Unit::ALL.into_iter().filter_map(standing).collect())
    }
}
