//! A meter: the accounts of one unit under one limit, by key. Every change is noted in the ledger.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Unit;
use super::account::{Account, Lack, Moment, Rule, Standing};
use super::ledger::format::Record;
use super::ledger::{Ledger, Moved};
use super::table::{Entry, Table, Units};
use super::whom::{Named, Whom};
use crate::config::limit::{Limit, LimitKey};
use crate::observe::metrics::{BudgetGauges, LimitGauges};

/// The accounts of one unit under one limit.
pub struct Meter {
    unit: Unit,
    /// What it is found by in the ledger.
    id: u64,
    /// Those with units set aside are never forgotten, for somebody will settle.
    accounts: Table<Account>,
    ledger: Arc<Ledger>,
    gauges: Arc<LimitGauges>,
}

impl Meter {
    /// That of the budget of `limit` whose accounts have `rules`: with what the ledger has of it from before the process.
    pub fn new(
        unit: Unit,
        limit: &Limit,
        rules: &Units<Arc<Rule>>,
        moment: Moment,
        ledger: &Arc<Ledger>,
        gauges: &Arc<LimitGauges>,
    ) -> Self {
        let accounts = Table::new(limit.max_entries, rules.clone(), true, Arc::clone(gauges));
        let id = id(unit, limit, ledger);
        let meter = Self { unit, id, accounts, ledger: Arc::clone(ledger), gauges: Arc::clone(gauges) };
        meter.numbers().is_counted.store(true, Ordering::Relaxed);
        for (key, saved) in ledger.claim(id) {
            let (rule, under_way) = (rules.of(key), ledger.follows(id, key, saved.pending));
            let restored = Account::restored(&saved, under_way, rule, moment);
            if under_way {
                add(&meter.numbers().pending, saved.pending);
            }
            if restored.idle_in(rule, moment) != Some(0) {
                meter.accounts.change(key, moment, |account, _| *account = restored);
            }
        }
        meter
    }

    /// Shows how every account stands that is not as good as none.
    pub fn for_each(&self, moment: Moment, show: &mut dyn FnMut(Record)) {
        self.accounts.for_each(|key, account, rule| {
            if account.idle_in(rule, moment) != Some(0) {
                show(Record { meter: self.id, key, saved: account.save(rule, moment) });
            }
        });
    }

    /// Shows the key and the standing of every account that is not as good as none.
    pub(super) fn for_each_standing(&self, moment: Moment, show: &mut dyn FnMut(u64, Standing)) {
        self.accounts.for_each(|key, account, rule| {
            if account.idle_in(rule, moment) != Some(0) {
                show(key, account.look(rule, moment));
            }
        });
    }

    /// Whether there is an account of `key`.
    pub(super) fn has(&self, key: u64) -> bool {
        self.accounts.find(key, |_, _| ()).is_some()
    }

    /// Changes the budgets; what was used stays used, in units.
    pub fn set_rules(&self, rules: Units<Arc<Rule>>, moment: Moment) {
        self.accounts.rescale(rules, moment);
    }

    /// Changes how many keys it remembers at most.
    pub fn resize(&self, max_entries: usize) {
        self.accounts.resize(max_entries);
    }

    /// The key of the account of `whom`.
    pub(super) fn key(&self, whom: &Whom<'_>) -> u64 {
        self.ledger.key(|to| whom.feed(to))
    }

    /// The key of the account of somebody whom an operator names.
    pub(super) fn key_of(&self, named: &Named<'_>) -> u64 {
        self.ledger.key(|to| named.feed(to))
    }

    /// Forgives what was used of the account of `key`; how it stands then.
    pub fn forgive(&self, key: u64, moment: Moment) -> Standing {
        let forgive = |account: &mut Account, rule: &Arc<Rule>| {
            account.forgive(rule, moment);
            // A process that follows has the admin address, so nothing is forgiven here that it would have to learn of.
            self.note(key, Moved::default(), account, rule, moment);
        };
        // Of one that is not known, nothing was used.
        if self.has(key) {
            self.accounts.change(key, moment, forgive);
        }
        self.look(key, moment)
    }

    /// How the account of `key` stands.
    pub fn look(&self, key: u64, moment: Moment) -> Standing {
        self.on_copy(key, |account, rule| account.look(rule, moment))
    }

    /// How the account of `key` stands, when [`Self::reserve`] would let `estimate` pass; nothing is set aside.
    ///
    /// # Errors
    /// When it would not.
    pub fn ask(&self, key: u64, moment: Moment, estimate: u64) -> Result<Standing, Lack> {
        self.on_copy(key, |mut account, rule| {
            account.reserve(rule, moment, estimate)?;
            Ok(account.look(rule, moment))
        })
    }

    /// Sets `estimate` aside for `key`, as [`Account::reserve`] does; how much that is, and how it stands then.
    ///
    /// # Errors
    /// When there is not enough, or more keys have units set aside than there is room for; then nothing is.
    pub fn reserve(&self, key: u64, moment: Moment, estimate: u64) -> Result<(u64, Standing), Lack> {
        let reserve = |account: &mut Account, rule: &Arc<Rule>| {
            let held = account.reserve(rule, moment, estimate)?;
            let moved = Moved { set_aside: held, ..Moved::default() };
            self.note(key, moved, account, rule, moment);
            Ok((held, account.look(rule, moment)))
        };
        let full = || Err(Lack { standing: self.look(key, moment), wait: 0 });
        let (held, standing) = self.accounts.change(key, moment, reserve).unwrap_or_else(full)?;
        let numbers = self.numbers();
        add(&numbers.reserved, held);
        add(&numbers.pending, held);
        add(&numbers.open, 1);
        Ok((held, standing))
    }

    /// Sets `more` aside beside what was set aside before; `false` when there is not so much.
    pub fn extend(&self, key: u64, moment: Moment, more: u64) -> bool {
        let extend = |account: &mut Account, rule: &Arc<Rule>| {
            // More than the budget never is there; less of it would not do.
            let done = more <= rule.units() && account.reserve(rule, moment, more).is_ok();
            if done {
                let moved = Moved { set_aside: more, ..Moved::default() };
                self.note(key, moved, account, rule, moment);
            }
            done
        };
        let done = self.accounts.change(key, moment, extend).unwrap_or(false);
        if done {
            add(&self.numbers().reserved, more);
            add(&self.numbers().pending, more);
        }
        done
    }

    /// `used` units were used of the `held` that were set aside in one reservation: the rest is given back, and what is
    /// beyond is charged, into debt if need be.
    pub fn settle(&self, key: u64, moment: Moment, held: u64, used: u64) {
        let settle = |account: &mut Account, rule: &Arc<Rule>| {
            account.settle(rule, moment, held, used);
            self.note(key, Moved { set_aside: 0, released: held, used }, account, rule, moment);
        };
        // There always is room: accounts with units set aside stay, and others may go.
        self.accounts.change(key, moment, settle);
        let numbers = self.numbers();
        numbers.pending.fetch_sub(held, Ordering::Relaxed);
        numbers.open.fetch_sub(1, Ordering::Relaxed);
        add(&numbers.settled, used);
        add(&numbers.released, held.saturating_sub(used));
    }

    /// What another process has done in the account of `key`; `false`: this is not the meter `id`.
    pub fn follow(&self, id: u64, key: u64, moment: Moment, moved: Moved) -> bool {
        if id != self.id {
            return false;
        }
        let follow = |account: &mut Account, rule: &Arc<Rule>| {
            account.hold(rule, moment, moved.set_aside);
            account.settle(rule, moment, moved.released, moved.used);
            self.note(key, moved, account, rule, moment);
        };
        self.accounts.change(key, moment, follow);
        let numbers = self.numbers();
        add(&numbers.pending, moved.set_aside);
        let less = |pending: u64| Some(pending.saturating_sub(moved.released));
        let _ = numbers.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        true
    }

    fn on_copy<R>(&self, key: u64, look: impl Fn(Account, &Rule) -> R) -> R {
        let found = self.accounts.find(key, |account, rule| look(*account, rule));
        found.unwrap_or_else(|| look(Account::default(), &self.accounts.unit_of(key)))
    }

    /// Under the lock of its shard, so that notes come in the order of the changes.
    fn note(&self, key: u64, moved: Moved, account: &Account, rule: &Rule, moment: Moment) {
        self.ledger.note(self.id, key, moved, || account.save(rule, moment));
    }

    fn numbers(&self) -> &BudgetGauges {
        match self.unit {
            Unit::Tokens => &self.gauges.tokens,
            Unit::Cost => &self.gauges.cost,
        }
    }
}

/// What makes a meter the same one after a restart: unit, name, and what the limit counts by.
fn id(unit: Unit, limit: &Limit, ledger: &Ledger) -> u64 {
    let by: Cow<'_, str> = match &limit.key {
        LimitKey::ClientIp { ipv6_prefix } => format!("client_ip/{ipv6_prefix}").into(),
        LimitKey::ApiKey => "api_key".into(),
        LimitKey::Route => "route".into(),
        LimitKey::Global => "global".into(),
        LimitKey::Model => "model".into(),
        LimitKey::Header(name) => format!("header({name})").into(),
        LimitKey::Metadata(name) => format!("metadata({name})").into(),
    };
    let unit = match unit {
        Unit::Tokens => "tokens",
        Unit::Cost => "cost",
    };
    // No name has a zero in it.
    ledger.key(|to| to(["meter", unit, &limit.name, &by].join("\0").as_bytes()))
}

// Relaxed: they are only read to be shown.
fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
