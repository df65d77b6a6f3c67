//! The policies that choose a member.
//!
//! Why our own ring and weighted selection and not those of pingora-load-balancing: its `Weighted` expands every
//! weight into indexes, divides by zero when all weights are zero, and gives a dead member's whole share to its
//! neighbours; its `select_with` allocates a set and clones the backend per call; its ring knows no unix sockets and
//! has 160 points per unit of weight, which is 160,000 for a weight of 1000.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName};

use super::eligible::Eligible;
use super::{Member, NoPick, Pick, Pool};
use crate::config;

mod ring;
mod tokens;
mod two_choices;
mod weighted;

use ring::Rings;
use weighted::{Cumulative, RoundRobin};

/// Up to this many members, `least_requests` and `least_tokens` look at all; above, at two chosen by chance, which is
/// nearly as even and does not grow with the pool.
const LEAST_SCAN: usize = 64;

/// What of a request a policy may look at.
#[derive(Debug, Clone, Copy)]
pub struct PickRequest<'a> {
    /// The client's address, as forwarding headers of trusted proxies have it.
    pub client: IpAddr,
    /// Path and query.
    pub path_and_query: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The most tokens that it may cost, prompt and output together, as far as can be told; 0: not known. Then each 4
    /// bytes of the body that Content-Length announces are taken for a token, and a request without one counts as one.
    /// More than 2^20 count as that many.
    pub tokens: u64,
}

/// One policy over one generation of a pool. A route may override its pool's policy; routes with the same pool and
/// policy share one.
#[derive(Debug)]
pub struct Selector {
    pool: Arc<Pool>,
    policy: Policy,
    round_robin: RoundRobin,
}

#[derive(Debug)]
enum Policy {
    RoundRobin,
    Random(Cumulative),
    LeastRequests,
    LeastTokens,
    PeakEwma,
    Hash { rings: Rings, key: HashOf, bound_percent: Option<u32> },
}

/// What a hash is taken of.
#[derive(Debug)]
enum HashOf {
    Client,
    Uri,
    /// The header; without it the client.
    HeaderOrClient(HeaderName),
    /// The header; without it there is nothing to hash, and round robin takes its place.
    Header(HeaderName),
}

impl Selector {
    /// Builds the policy for this generation of the pool.
    pub fn new(balance: &config::Balance, pool: Arc<Pool>) -> Self {
        let hash = |key, bound_percent| Policy::Hash { rings: Rings::new(pool.members()), key, bound_percent };
        let policy = match balance {
            config::Balance::RoundRobin => Policy::RoundRobin,
            config::Balance::Random => Policy::Random(Cumulative::new(pool.members())),
            config::Balance::LeastRequests => Policy::LeastRequests,
            config::Balance::LeastTokens => {
                pool.count_tokens();
                Policy::LeastTokens
            }
            config::Balance::PeakEwma => Policy::PeakEwma,
            config::Balance::IpHash => hash(HashOf::Client, None),
            config::Balance::HeaderHash(name) => hash(HashOf::Header(name.clone()), None),
            config::Balance::ConsistentHash { key, bound_percent } => {
                let key = match key {
                    config::HashKey::Uri => HashOf::Uri,
                    config::HashKey::ClientIp => HashOf::Client,
                    config::HashKey::Header(name) => HashOf::HeaderOrClient(name.clone()),
                };
                hash(key, *bound_percent)
            }
        };
        Self { pool, policy, round_robin: RoundRobin::default() }
    }

    /// The pool it chooses from.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Chooses a member. `tried` are the [`super::Member::index`]es that this request has used up; none of them is
    /// given again.
    pub fn pick(&self, request: &PickRequest<'_>, tried: &[usize]) -> Result<Pick, NoPick> {
        self.pick_at(request, tried, None)
    }

    pub(super) fn pick_at(
        &self,
        request: &PickRequest<'_>,
        tried: &[usize],
        now: Option<Instant>,
    ) -> Result<Pick, NoPick> {
        let eligible = Eligible::new(&self.pool, tried, now)?;
        let tokens = if self.pool.counts_tokens() { tokens::of(request) } else { 0 };
        // Another thread may take a member's last place between choice and reservation; then choose again.
        for _ in 0..=eligible.len() {
            let (index, limit) = self.choose(&eligible, request, tokens).ok_or(NoPick::AllBusy)?;
            if let Some(pick) = self.reserve(index, limit, tokens) {
                return Ok(pick);
            }
        }
        let left = (0..eligible.len()).filter(|index| eligible.get(*index).is_some());
        left.into_iter().find_map(|index| self.reserve(index, self.pool.cap(), tokens)).ok_or(NoPick::AllBusy)
    }

    fn reserve(&self, index: usize, limit: u32, tokens: u32) -> Option<Pick> {
        let member = self.pool.members().get(index)?;
        let latency = matches!(self.policy, Policy::PeakEwma);
        member.state.reserve(limit).then(|| Pick::new(member.clone(), latency, tokens))
    }

    /// A member's index, and the most it may have in flight.
    fn choose(&self, eligible: &Eligible<'_>, request: &PickRequest<'_>, tokens: u32) -> Option<(usize, u32)> {
        let cap = self.pool.cap();
        let index = match &self.policy {
            Policy::RoundRobin => self.round_robin.next(eligible.len(), |index| eligible.weight(index)),
            Policy::Random(cumulative) => cumulative.choose(eligible),
            Policy::LeastRequests => self.least(eligible, two_choices::load),
            Policy::LeastTokens => self.least(eligible, |member| tokens::load(member, tokens)),
            Policy::PeakEwma => two_choices::peak_ewma(eligible),
            Policy::Hash { rings, key, bound_percent } => match (key.hash(request), bound_percent) {
                (None, _) => self.round_robin.next(eligible.len(), |index| eligible.weight(index)),
                (Some(hash), None) => rings.walk(hash, eligible, |index| eligible.get(index).is_some()),
                (Some(hash), Some(percent)) => {
                    return rings.walk_bounded(hash, eligible, *percent, cap);
                }
            },
        };
        Some((index?, cap))
    }

    /// The member with the least load, for which the weight counts. Members that are equal take turns by weight, so
    /// that an idle pool is served in rotation. With more than [`LEAST_SCAN`] members, the better of two.
    fn least(&self, eligible: &Eligible<'_>, load: impl Fn((&Member, u64)) -> u64) -> Option<usize> {
        if eligible.len() > LEAST_SCAN {
            return two_choices::least(eligible, load);
        }
        let mut weighed = [(u64::MAX, 0); LEAST_SCAN];
        let (mut least, mut of_least, mut equals) = (u64::MAX, None, 0);
        for (index, slot) in weighed.iter_mut().enumerate().take(eligible.len()) {
            let Some(found) = eligible.get(index) else {
                continue;
            };
            let load = load(found);
            *slot = (load, found.1);
            if load < least {
                (least, of_least, equals) = (load, Some(index), 1);
            } else if load == least {
                equals += 1;
            }
        }
        if equals < 2 {
            return of_least;
        }
        let equal = |index| weighed.get(index).filter(|(load, _)| *load == least).map_or(0, |(_, weight)| *weight);
        self.round_robin.next(eligible.len(), equal)
    }
}

impl HashOf {
    fn hash(&self, request: &PickRequest<'_>) -> Option<u64> {
        let client = || match request.client.to_canonical() {
            IpAddr::V4(ip) => ring::hash(&ip.octets()),
            IpAddr::V6(ip) => ring::hash(&ip.octets()),
        };
        let header = |name| request.headers.get(name).map(|value| ring::hash(value.as_bytes()));
        match self {
            Self::Client => Some(client()),
            Self::Uri => Some(ring::hash(request.path_and_query.as_bytes())),
            Self::HeaderOrClient(name) => Some(header(name).unwrap_or_else(client)),
            Self::Header(name) => header(name),
        }
    }
}

#[cfg(test)]
mod tests;
