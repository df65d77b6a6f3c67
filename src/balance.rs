//! Balance: pool -> Pick, a guard on one member.
//!
//! A [`Pool`] is one generation of a configured pool with its resolved members. A [`Selector`] is one policy over it;
//! it gives [`Pick`]s, which count in flight until they are dropped and take the outcome of the request.
//!
//! Invariants:
//! - A member's in-flight count is the number of its picks that are alive; its cap is never exceeded.
//! - A member's outstanding tokens are what its living picks still hold. Nobody counts them in a pool that no selector
//!   balances by tokens.
//! - A member that an operator or a failing check took out is never picked, panic mode or not.
//! - Picking allocates nothing and takes no lock that another thread holds.
//!
//! It opens no connection (but for the active checks, in [`health`]) and does not know why a request is tried again.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::{clock, config};

mod eligible;
pub mod health;
pub mod live;
pub mod member;
pub mod outlier;
pub mod policy;
pub mod sample;

pub use member::{Address, AdminState, Member};
pub use policy::{PickRequest, Selector};

use eligible::Eligible;
use live::{Live, PoolState};

/// One generation of a pool.
#[derive(Debug)]
pub struct Pool {
    config: Arc<config::Pool>,
    members: Vec<Arc<Member>>,
    shared: Arc<PoolState>,
    /// Whether picks count tokens. Set before the snapshot that holds this pool is published, which orders it before
    /// every pick, so `Relaxed` will do.
    counts_tokens: AtomicBool,
}

/// Why there is no member for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPick {
    /// The pool has no usable member at all.
    #[error("no usable member")]
    NoMember,
    /// The usable members that this request has not tried are all at their cap.
    #[error("every member is at its limit of requests in flight")]
    AllBusy,
    /// This request has tried every usable member.
    #[error("every usable member was tried")]
    AllTried,
}

/// How a member failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unreachable, timed out, or the TLS handshake failed.
    Connect,
    /// The connection broke.
    Reset,
    /// No answer in time.
    Timeout,
    /// An answer that is not HTTP.
    Invalid,
    /// A status. Below 500 it counts as an answer like any other, not as a failure.
    Status(u16),
}

impl Failure {
    /// How many kinds there are.
    pub const KINDS: usize = 5;
    /// The words for the kinds, by [`Self::kind`], for metric labels.
    pub const NAMES: [&'static str; Self::KINDS] = ["connect", "reset", "timeout", "invalid", "status"];

    /// Whether it says that the member is broken. Of the statuses only 502, 503 and 504 do: another 5xx may be a fault
    /// of the application on one path, and taking members out for it would take all of them.
    fn is_of_the_member(self) -> bool {
        !matches!(self, Self::Status(status) if !(502..=504).contains(&status))
    }

    /// The kind: an index into [`Self::NAMES`].
    pub fn kind(self) -> usize {
        match self {
            Self::Connect => 0,
            Self::Reset => 1,
            Self::Timeout => 2,
            Self::Invalid => 3,
            Self::Status(_) => 4,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Reset => f.write_str("connection broken"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Invalid => f.write_str("invalid answer"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

impl Pool {
    /// Builds a generation. `addresses` gives the addresses of a host name; it is not asked for fixed ones.
    /// Members that `live` knows keep their state; nothing of theirs changes here, so that a configuration that is
    /// refused later leaves no trace.
    pub fn build(
        config: &Arc<config::Pool>,
        addresses: impl Fn(&config::Member) -> Vec<Address>,
        live: &Live,
    ) -> Arc<Self> {
        Arc::new_cyclic(|owner| Self {
            config: config.clone(),
            members: build_members(config, addresses, live, owner),
            shared: live.pool(&config.name),
            counts_tokens: AtomicBool::new(config.balance == config::Balance::LeastTokens),
        })
    }

    /// The key under `pools`.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// What was configured.
    pub fn config(&self) -> &Arc<config::Pool> {
        &self.config
    }

    /// The members, in the order of the configuration.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Whether any member could be picked, panic mode included and caps aside: readiness (D03).
    pub fn has_usable_member(&self) -> bool {
        Eligible::new(self, &[], None).is_ok()
    }

    /// Sets what the operator wants of the members with this name, the configured or the full one. Returns how many
    /// there are; 0: no such member.
    pub fn set_admin(&self, name: &str, admin: AdminState) -> usize {
        let now = clock::now();
        let mut found = 0;
        for member in self.members.iter().filter(|m| &*m.configured == name || &*m.name == name) {
            found += 1;
            let before = member.state.set_admin(admin, now);
            if before != admin {
                log::info!(
                    target: "balance", "pool {} member {}: {} by the operator, was {}",
                    self.name(), member.name, admin.as_str(), before.as_str(),
                );
            }
        }
        found
    }

    /// Whether any selector balances this pool by tokens: then the picks of all of them count tokens.
    pub fn counts_tokens(&self) -> bool {
        self.counts_tokens.load(Relaxed)
    }

    /// From now on picks count tokens.
    fn count_tokens(&self) {
        self.counts_tokens.store(true, Relaxed);
    }

    /// The cap of requests in flight per member; `u32::MAX`: none.
    fn cap(&self) -> u32 {
        self.config.max_requests_per_member.unwrap_or(u32::MAX)
    }

    /// Whether too few members are usable to go on without the ejected ones.
    fn panicking(&self, settings: &config::Outlier, now: Instant) -> bool {
        let (mut all, mut usable) = (0_u64, 0_u64);
        for member in self.members.iter().filter(|m| m.weight > 0 && m.state.admin() == AdminState::Ready) {
            all += 1;
            usable += u64::from(member.state.is_in() && member.state.ejected_for(now).is_none());
        }
        usable * 100 < all * u64::from(settings.panic_percent)
    }

    /// Takes in a failure of a member, and ejects it when it is due and the pool can spare it.
    fn failed(&self, member: &Member, failure: Failure, now: Instant) {
        let Some(settings) = &self.config.outlier else {
            return;
        };
        let (pool, name) = (self.name(), &member.name);
        match self.eject_if_due(settings, member, now) {
            Verdict::NotDue => {}
            Verdict::Needed => log::debug!(
                target: "balance", "pool {pool} member {name} stays though it fails ({failure}): too many are ejected",
            ),
            Verdict::Ejected(length) => log::warn!(
                target: "balance", "pool {pool} member {name} is ejected for {length:?}: it fails, lastly by {failure}",
            ),
        }
    }

    fn eject_if_due(&self, settings: &config::Outlier, member: &Member, now: Instant) -> Verdict {
        let mut outlier = member.state.outlier();
        if !outlier.failed(settings, now) {
            return Verdict::NotDue;
        }
        let _one_at_a_time = self.shared.ejecting();
        if !self.can_spare_one(settings, now) {
            return Verdict::Needed;
        }
        let length = outlier.eject(settings, now);
        member.state.eject(length, now);
        self.shared.ejected_until(now + length);
        Verdict::Ejected(length)
    }

    /// Whether one more member may be ejected: never the only one; the first of several always, unless
    /// `max_ejected_percent` is 0; then as many as that share allows.
    fn can_spare_one(&self, settings: &config::Outlier, now: Instant) -> bool {
        let (mut all, mut ejected) = (0_u64, 0_u64);
        for member in self.members.iter().filter(|m| m.weight > 0 && m.state.admin() == AdminState::Ready) {
            all += 1;
            ejected += u64::from(member.state.ejected_for(now).is_some());
        }
        let share = u64::from(settings.max_ejected_percent);
        let allowed = if all < 2 || share == 0 { 0 } else { (all * share / 100).max(1) };
        ejected < allowed
    }
}

/// What becomes of a member that failed.
enum Verdict {
    /// It goes on.
    NotDue,
    /// It would be ejected, but too many are.
    Needed,
    /// It is out, for this long.
    Ejected(Duration),
}

/// A member given to a request. Dropping it ends the request's place in the in-flight count; dropped without a
/// report, the request counts neither for nor against the member (the client went away). Every answer with a 5xx is
/// a failure to report, whether it is tried again or sent on.
#[derive(Debug)]
pub struct Pick {
    /// Who was picked.
    pub member: Arc<Member>,
    /// The member's ejections when it was picked: a failure of a request from before an ejection says nothing new.
    ejections: u32,
    /// Whether the policy wants latencies.
    latency: bool,
    reported: bool,
    /// What it holds of the member's outstanding tokens; 0 where they do not count, else one at least.
    tokens: u32,
}

impl Pick {
    /// For a member whose place in flight was reserved. `tokens`: what it charges the member with; 0: they do not count.
    fn new(member: Arc<Member>, latency: bool, tokens: u32) -> Self {
        if tokens > 0 {
            member.state.charge_tokens(tokens);
        }
        Self { ejections: member.state.ejections(), member, latency, reported: false, tokens }
    }

    /// Takes tokens that the request will not cost any more off the member's outstanding ones: its prompt, once the
    /// answer has begun, and its output as it comes. Any number may be given, in any number of calls: one token is
    /// left until the pick is dropped, for a request in flight weighs something, and dropping gives back only the rest.
    /// Does nothing in a pool that does not count tokens.
    pub fn spent(&mut self, tokens: u64) {
        let spent = u32::try_from(tokens).unwrap_or(u32::MAX).min(self.tokens.saturating_sub(1));
        if spent > 0 {
            self.tokens -= spent;
            self.member.state.release_tokens(spent);
        }
    }

    /// The member answered, its first byte after this time. Only the first report of a pick counts.
    pub fn succeeded(&mut self, first_byte: Duration) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        self.member.state.count_success(first_byte);
        if self.latency {
            self.member.state.feed_latency(first_byte, clock::now());
        }
    }

    /// The member failed. Only the first report of a pick counts.
    pub fn failed(&mut self, failure: Failure) {
        self.failed_at(failure, clock::now());
    }

    fn failed_at(&mut self, failure: Failure, now: Instant) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let state = &self.member.state;
        if matches!(failure, Failure::Status(status) if status < 500) {
            state.count_success(Duration::ZERO); // Nobody took the time of an answer that was reported as a failure.
            return;
        }
        state.count_failure(failure);
        if self.latency {
            state.punish_latency(now);
        }
        if failure.is_of_the_member()
            && state.ejections() == self.ejections
            && let Some(pool) = self.member.owner.upgrade()
        {
            pool.failed(&self.member, failure, now);
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if self.tokens > 0 {
            self.member.state.release_tokens(self.tokens);
        }
        self.member.state.release();
    }
}

fn build_members(
    config: &Arc<config::Pool>,
    addresses: impl Fn(&config::Member) -> Vec<Address>,
    live: &Live,
    owner: &Weak<Pool>,
) -> Vec<Arc<Member>> {
    let checked = config.health_check.is_some();
    let mut members = Vec::with_capacity(config.members.len());
    for configured in &config.members {
        let found = Address::fixed(&configured.address).map_or_else(|| addresses(configured), |fixed| vec![fixed]);
        let several = found.len() > 1;
        for address in found {
            members.push(Arc::new(Member {
                name: member_name(configured, &address, several),
                configured: configured.name.clone(),
                pool: config.name.clone(),
                host: match &configured.address {
                    config::MemberAddress::Host { host, .. } => Some(host.clone()),
                    _ => None,
                },
                weight: configured.weight,
                backup: configured.backup,
                index: members.len(),
                state: live.member(&config.name, &configured.name, &address, checked),
                address,
                owner: owner.clone(),
            }));
        }
    }
    members
}

/// The configured name, with the address when a host name has several.
fn member_name(configured: &config::Member, address: &Address, several: bool) -> Arc<str> {
    match address {
        Address::Inet(address) if several => format!("{}@{}", configured.name, address.ip()).into(),
        _ => configured.name.clone(),
    }
}

#[cfg(test)]
mod tests;
