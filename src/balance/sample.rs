//! Plain data about pools and members, for metrics, the stats page and the control API.

use std::sync::Arc;
use std::time::Duration;

use super::member::{CheckResult, Member};
use super::{Failure, Pool};
use crate::clock;

/// A pool at one moment.
#[derive(Debug, Clone)]
pub struct PoolSample {
    /// The key under `pools`.
    pub name: Arc<str>,
    /// Whether any member could be picked.
    pub usable: bool,
    /// Whether so few members are usable that ejections are ignored.
    pub panicking: bool,
    /// The members, in the order of the configuration.
    pub members: Vec<MemberSample>,
}

/// A member at one moment. Counters only grow while the member is configured.
#[derive(Debug, Clone)]
pub struct MemberSample {
    /// Its full name.
    pub name: Arc<str>,
    /// Its name in the configuration.
    pub configured: Arc<str>,
    /// Its address, in text.
    pub address: String,
    /// Its configured weight.
    pub weight: u32,
    /// Whether it is a backup.
    pub backup: bool,
    /// `ready`, `drain` or `maint`.
    pub admin: &'static str,
    /// `unchecked`, `checking`, `up` or `down`.
    pub health: &'static str,
    /// For how much longer it is ejected; `None`: it is not.
    pub ejected_for: Option<Duration>,
    /// Whether it takes requests by itself: ready, not down, not ejected, weight not 0.
    pub usable: bool,
    /// Whether it is out by the operator's wish and its last request has ended: safe to stop.
    pub drained: bool,
    /// Requests in flight.
    pub in_flight: u32,
    /// Their outstanding tokens; `None`: nobody balances this pool by tokens.
    pub outstanding_tokens: Option<u64>,
    /// Requests given to it, retries included.
    pub requests: u64,
    /// Requests it answered.
    pub successes: u64,
    /// How long it took to the first byte of these answers, in all.
    pub answer_time: Duration,
    /// Requests it failed, by the kinds of [`Failure::NAMES`].
    pub failures: [u64; Failure::KINDS],
    /// Times it was ejected.
    pub ejections: u32,
    /// Good active checks.
    pub checks_ok: u64,
    /// Failed active checks.
    pub checks_failed: u64,
    /// How long the active checks took, in all.
    pub check_time: Duration,
    /// Times that active checks changed its health.
    pub health_changes: u64,
    /// The last active check.
    pub last_check: Option<CheckResult>,
}

impl MemberSample {
    /// All failures.
    pub fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    fn of(member: &Member, outlier: bool, counts_tokens: bool) -> Self {
        let state = &member.state;
        let (checks_ok, checks_failed) = state.checks();
        let ejected_for = state.ejected_for(clock::now()).filter(|_| outlier);
        let in_flight = state.in_flight();
        Self {
            name: member.name.clone(),
            configured: member.configured.clone(),
            address: member.address.to_string(),
            weight: member.weight,
            backup: member.backup,
            admin: state.admin().as_str(),
            health: state.health().as_str(),
            ejected_for,
            usable: member.weight > 0 && state.is_in() && ejected_for.is_none(),
            drained: state.admin() != super::AdminState::Ready && in_flight == 0,
            in_flight,
            outstanding_tokens: counts_tokens.then(|| state.outstanding_tokens()),
            requests: state.requests(),
            successes: state.successes(),
            answer_time: state.answer_time(),
            failures: state.failures(),
            ejections: state.ejections(),
            checks_ok,
            checks_failed,
            check_time: state.check_time(),
            health_changes: state.health_changes(),
            last_check: state.last_check(),
        }
    }
}

impl Pool {
    /// The pool and its members as they are now.
    pub fn sample(&self) -> PoolSample {
        let (outlier, counts_tokens) = (self.config.outlier.as_ref(), self.counts_tokens());
        let member = |member: &Arc<Member>| MemberSample::of(member, outlier.is_some(), counts_tokens);
        PoolSample {
            name: self.name().clone(),
            usable: self.has_usable_member(),
            panicking: outlier.is_some_and(|settings| self.panicking(settings, clock::now())),
            members: self.members.iter().map(member).collect(),
        }
    }
}
