//! `GET /control/limits/NAME?key=WHO` and `POST /control/limits/NAME/reset?key=WHO`: an account of a budget, shown or
//! forgiven what was used of it. Shown without a key: the accounts of which the most is used.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use log::info;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::control::unknown;
use super::{Peer, query, record};
use crate::clock;
use crate::config::audit::EventKind;
use crate::config::limit::{LimitKey, MICROS};
use crate::limit::{Fullest, Limiter, NamedStanding, Unit};
use crate::observe::audit::Event;
use crate::observe::metrics::AccountSample;
use crate::snapshot::Snapshot;

/// The most accounts that are listed.
pub const MOST_SHOWN: usize = 100;

/// The most accounts of one limit that are in the metrics.
const MOST_SAMPLED: usize = 1000;

/// How the accounts of somebody stand under one limit.
#[derive(Debug, Serialize, Deserialize)]
pub struct LimitShown {
    /// The key under `limits`.
    pub limit: String,
    /// Who was asked for; empty: all who count together.
    pub key: String,
    /// One for each budget; none where accounts are listed.
    pub budgets: Vec<BudgetShown>,
    /// Where nobody was asked for and the limit tells some apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<AccountsShown>,
}

/// The accounts of one limit.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountsShown {
    /// The fullest first, as many as [`MOST_SHOWN`].
    pub accounts: Vec<AccountShown>,
    /// How many more there are.
    pub more: usize,
}

/// An account of which something is used.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountShown {
    /// Whose it is; empty: of all who have nothing that the limit could tell them apart by. `None`: accounts are kept by
    /// digests, and this one's is of no name in the configuration.
    pub key: Option<String>,
    /// One for each budget.
    pub budgets: Vec<BudgetShown>,
}

/// How one account stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct BudgetShown {
    /// `tokens` or `usd`.
    pub unit: String,
    /// The whole budget.
    pub budget: f64,
    /// What was used and has not come back, or is set aside; more than the budget where that was overrun.
    #[serde(default)]
    pub used: f64,
    /// What may be set aside now.
    pub remaining: f64,
    /// Seconds until all of it is there again, if nothing more is used.
    pub full_in: u64,
}

/// The name of a unit, and how many of what is counted are one.
fn unit(of: Unit) -> (&'static str, f64) {
    match of {
        Unit::Tokens => ("tokens", 1.0),
        Unit::Cost => ("usd", MICROS as f64),
    }
}

impl BudgetShown {
    fn of(standing: NamedStanding) -> Self {
        let (unit, scale) = unit(standing.unit);
        let shown = |units: u64| units as f64 / scale;
        Self {
            unit: unit.to_owned(),
            budget: shown(standing.budget),
            used: shown(standing.used),
            remaining: shown(standing.remaining),
            full_in: standing.full_in.as_secs() + u64::from(standing.full_in.subsec_nanos() > 0),
        }
    }
}

/// The accounts of all budgets that have a name here, for metrics.
pub(super) fn samples(snapshot: &Snapshot) -> Vec<AccountSample> {
    let (now, mut samples) = (clock::now(), Vec::new());
    for limit in all(snapshot) {
        let name: Arc<str> = limit.name().into();
        for (key, standings) in limit.standings(names(snapshot, limit), MOST_SAMPLED, now) {
            samples.extend(standings.into_iter().map(|standing| {
                let (unit, scale) = unit(standing.unit);
                let (budget, used) = (standing.budget as f64 / scale, standing.used as f64 / scale);
                AccountSample { limit: Arc::clone(&name), key: key.clone(), unit, budget, used }
            }));
        }
    }
    samples
}

/// Shows the accounts that the query of `head` names.
///
/// # Errors
/// The answer for the client when there is no such limit, or it does not count by such a name.
pub(super) fn show(snapshot: &Snapshot, name: &str, head: &Parts) -> Result<Answer, Answer> {
    let (limit, who) = (find(snapshot, name)?, who(head)?);
    if who.is_none() && *limit.counts_by() != LimitKey::Global {
        let Fullest { accounts, more } = limit.fullest(MOST_SHOWN, names(snapshot, limit), clock::now());
        let shown =
            |(key, of): (_, Vec<_>)| AccountShown { key, budgets: of.into_iter().map(BudgetShown::of).collect() };
        let listed = AccountsShown { accounts: accounts.into_iter().map(shown).collect(), more };
        let shown =
            LimitShown { limit: name.to_owned(), key: String::new(), budgets: Vec::new(), listed: Some(listed) };
        return Ok(Answer::json(StatusCode::OK, &shown));
    }
    let who = named(limit, who)?;
    check_name(snapshot, limit, &who)?;
    told(name, who, |who| limit.standing_of(who, clock::now()))
}

/// Forgives what was used of them.
///
/// # Errors
/// As [`show`].
pub(super) fn reset(snapshot: &Snapshot, name: &str, head: &Parts, peer: Peer) -> Result<Answer, Answer> {
    let target = who(head).map(|who| format!("{name}/{}", who.unwrap_or_default()));
    let done = find(snapshot, name).and_then(|limit| {
        let who = named(limit, who(head)?)?;
        check_name(snapshot, limit, &who)?;
        told(name, who, |who| limit.forgive(who, clock::now()))
    });
    let event = Event::new(EventKind::ServiceManagement, done.is_ok());
    record(snapshot, peer, &Event { action: Some("reset_limit"), target: target.as_deref().ok(), ..event });
    if let (Ok(_), Ok(target)) = (&done, &target) {
        info!(target: "admin", "control: reset of limit {target:?}, asked by {peer}");
    }
    done
}

/// The names that accounts of `limit` may have, as far as the configuration and the lists of providers say.
fn names(snapshot: &Snapshot, limit: &Limiter) -> impl Iterator<Item = String> {
    // The empty name is that of all who have no other.
    let mut names: Vec<String> = match limit.counts_by() {
        LimitKey::ApiKey => callers(snapshot).map(str::to_owned).collect(),
        LimitKey::Metadata(name) => {
            let keys = snapshot.config.auth.iter().flat_map(|auth| auth.keys());
            let mut values: Vec<String> = keys.filter_map(|key| key.said_of(name)).map(str::to_owned).collect();
            values.sort_unstable();
            values.dedup();
            values
        }
        LimitKey::Route => snapshot.routes.iter().map(|route| route.config.name.to_string()).collect(),
        LimitKey::Model => {
            let providers = snapshot.ai.iter().flat_map(|ai| ai.config.providers.iter().map(move |known| (ai, known)));
            let mut names: Vec<String> =
                snapshot.ai.iter().flat_map(|ai| ai.named_models()).map(str::to_owned).collect();
            for (ai, provider) in providers {
                let listed = ai.listed.known(&provider.name, clock::now());
                names.extend(listed.iter().flat_map(|listed| listed.iter().map(ToString::to_string)));
            }
            names.sort_unstable();
            names.dedup();
            names
        }
        LimitKey::ClientIp { .. } | LimitKey::Header(_) | LimitKey::Global => Vec::new(),
    };
    names.push(String::new());
    names.into_iter()
}

fn callers(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    snapshot.config.auth.iter().flat_map(|auth| auth.keys()).map(|key| &*key.id)
}

/// Refuses a name that nobody has: who mistypes one would read of a budget that nobody has touched. Those of tokens are not
/// known here, nor are addresses and values of fields; and who was taken out of the configuration may have an account still.
fn check_name(snapshot: &Snapshot, limit: &Limiter, who: &str) -> Result<(), Answer> {
    let (id, is_nobody, what) = match limit.counts_by() {
        _ if who.is_empty() => return Ok(()),
        LimitKey::ApiKey if who.starts_with("token:") => return Ok(()),
        LimitKey::ApiKey => {
            let id = who.strip_prefix("key:").unwrap_or(who);
            (id, format!("there is no caller {id:?} (token:ID for a token's)"), "callers")
        }
        LimitKey::Metadata(name) => (who, format!("no key has {name}: {who:?} in its metadata"), "values"),
        LimitKey::Route => (who, format!("there is no route {who:?}"), "routes"),
        LimitKey::Model => (who, format!("no model {who:?} is known"), "models"),
        LimitKey::ClientIp { .. } | LimitKey::Header(_) | LimitKey::Global => return Ok(()),
    };
    let mut names: Vec<String> = names(snapshot, limit).filter(|name| !name.is_empty()).collect();
    // Where providers take models of any name, none may be known.
    let is_open = names.is_empty() && *limit.counts_by() == LimitKey::Model;
    if is_open || names.iter().any(|known| known == id) || limit.has_account_of(who) {
        return Ok(());
    }
    names.sort_by_cached_key(|name| strsim::damerau_levenshtein(id, name));
    Err(unknown(is_nobody, what, names.iter().map(String::as_str)))
}

fn told(name: &str, who: String, standing: impl Fn(&str) -> Option<Vec<NamedStanding>>) -> Result<Answer, Answer> {
    let budgets = standing(&who).ok_or_else(nobody)?;
    let budgets = budgets.into_iter().map(BudgetShown::of).collect();
    Ok(Answer::json(StatusCode::OK, &LimitShown { limit: name.to_owned(), key: who, budgets, listed: None }))
}

fn nobody() -> Answer {
    let message = "?key=WHO (ctl limits: --key WHO) is to be who the limit counts: a caller's id, what its metadata says, an \
                   address, a route, a model or a field's value, empty for all who have none; without it where all count \
                   together";
    Answer::bad_request(message)
}

/// The limits with budgets, whether a route has them or not.
fn all(snapshot: &Snapshot) -> impl Iterator<Item = &Limiter> {
    snapshot.limits.iter().filter(|limit| limit.has_budget())
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Limiter, Answer> {
    all(snapshot).find(|limit| limit.name() == name).ok_or_else(|| {
        let message = format!("there is no limit {name:?} with tokens or cost");
        unknown(message, "limits", all(snapshot).map(Limiter::name))
    })
}

/// Whose account is meant. Where all count together there is but one.
fn named(limit: &Limiter, who: Option<String>) -> Result<String, Answer> {
    let together = || (*limit.counts_by() == LimitKey::Global).then(String::new);
    who.or_else(together).ok_or_else(nobody)
}

/// Who is asked for, when somebody is.
fn who(head: &Parts) -> Result<Option<String>, Answer> {
    query::only(head, "key", "at most ?key=WHO may stand here").map(|who| who.map(Cow::into_owned))
}
