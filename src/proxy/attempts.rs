//! Attempts: who is asked next, what a failure counts as, and whether another try is due.
//!
//! One set of rules for every way a pool is asked: the streaming [`exchange`](super::exchange), a [`fetch`](super::fetch)
//! for the cache, and Pingora's own phases ([`tunnel`](super::tunnel)).

use std::net::IpAddr;
use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};
use log::{debug, warn};
use pingora::http::RequestHeader;

use super::context::UpstreamRecord;
use super::exchange::Unserved;
use super::rejection::Rejection;
use crate::balance::{Failure, Member, NoPick, Pick, PickRequest};
use crate::clock;
use crate::observe::metrics::AttemptOutcome;
use crate::observe::trace::RequestId;
use crate::observe::{RetryReason, Termination};
use crate::snapshot::PoolRoute;
use crate::transport::http1::{Conversation, Fault};
use crate::upstream::connect::{ConnectError, Connector};
use crate::upstream::peer::MemberPeer;
use crate::upstream::retry::{self, Cause};

/// The request that attempts are made for.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// Its id, for the log.
    pub id: &'a RequestId,
    /// Its method.
    pub method: &'a Method,
    /// Path and query as they came.
    pub path_and_query: &'a str,
    /// Its header block as it came.
    pub headers: &'a HeaderMap,
    /// The client.
    pub client: IpAddr,
}

impl<'a> Asking<'a> {
    /// The request with this header block.
    pub fn new(request: &'a RequestHeader, id: &'a RequestId, client: IpAddr) -> Self {
        let path_and_query = request.uri.path_and_query().map_or("/", |both| both.as_str());
        Self { id, method: &request.method, path_and_query, headers: &request.headers, client }
    }

    /// Whether it may be sent twice to a member that may have seen it.
    pub fn may_repeat(&self, route: &PoolRoute) -> bool {
        route.retry.non_idempotent || retry::is_idempotent(self.method)
    }
}

/// Begins to count: once for each request, before its first attempt.
pub fn begin(record: &mut UpstreamRecord, route: &PoolRoute, started: Instant) {
    route.budget.request(started);
    record.started = Some(clock::now());
}

/// A member for the next attempt. When all were tried, the last failure is what the client hears.
///
/// # Errors
/// When there is nobody to ask.
pub fn pick(asking: &Asking<'_>, record: &UpstreamRecord, route: &PoolRoute) -> Result<Pick, Unserved> {
    let (client, path_and_query, headers) = (asking.client, asking.path_and_query, asking.headers);
    let asked = PickRequest { client, path_and_query, headers, tokens: 0 };
    let none = match route.selector.pick(&asked, &record.tried) {
        Ok(pick) => return Ok(pick),
        // One member alone may be asked again: a restart of it looks just like this.
        Err(NoPick::AllTried) => match route.selector.pick(&asked, &[]) {
            Ok(pick) => return Ok(pick),
            Err(none) => none,
        },
        Err(none) => none,
    };
    let (rejection, termination) = match none {
        NoPick::AllBusy => (Rejection::AllBusy, Termination::Rejected),
        NoPick::NoMember | NoPick::AllTried => (Rejection::NoMember, Termination::NoMember),
    };
    Err(Unserved::Rejected(record.rejection.clone().unwrap_or(rejection), termination))
}

/// How `pick` is reached; the attempt begins.
///
/// # Errors
/// When the member cannot be reached at all, by a fault of ours.
pub fn peer<'a>(record: &mut UpstreamRecord, route: &'a PoolRoute, pick: &Pick) -> Result<&'a MemberPeer, Unserved> {
    let Some(peer) = route.peers.get(pick.member.index).and_then(Option::as_ref) else {
        return Err(Unserved::Rejected(Rejection::Internal, Termination::Internal));
    };
    record.attempts += 1;
    record.member = Some(pick.member.clone());
    Ok(peer)
}

/// Takes in the end of a connect.
///
/// # Errors
/// The cause of its failure.
pub fn connected<T>(
    record: &mut UpstreamRecord,
    route: &PoolRoute,
    connector: &Connector,
    peer: &MemberPeer,
    started: Instant,
    connected: Result<T, ConnectError>,
) -> Result<T, Cause> {
    record.connect = Some(clock::now().saturating_duration_since(started));
    connected.map_err(|error| {
        if connector.worth_telling(peer) {
            warn!(target: "sluicegate::upstream", "pool {}: no connection to {}: {}", route.pool.name(), peer.address, error.reason);
        }
        error.cause
    })
}

/// Takes in an answer's status. `false`: it is thrown away, and another attempt is due.
pub fn answered(
    asking: &Asking<'_>,
    record: &mut UpstreamRecord,
    route: &PoolRoute,
    replayable: bool,
    pick: &mut Pick,
    status: StatusCode,
    started: Instant,
) -> bool {
    let status = status.as_u16();
    record.status = Some(status);
    route.metrics.attempt(AttemptOutcome::Answered);
    let now = clock::now();
    if status < 500 {
        pick.succeeded(now.saturating_duration_since(started));
    } else {
        pick.failed(Failure::Status(status));
    }
    if route.retry.on.statuses.contains(&status)
        && another(asking.method, record, route, replayable, Cause::Status(status))
    {
        record.tried.push(pick.member.index);
        return false;
    }
    record.first_byte = record.started.map(|began| now.saturating_duration_since(began));
    true
}

/// Takes in a failed attempt.
///
/// # Errors
/// When no other is due: what the client hears.
pub fn failed(
    asking: &Asking<'_>,
    record: &mut UpstreamRecord,
    route: &PoolRoute,
    replayable: bool,
    mut pick: Pick,
    cause: Cause,
) -> Result<(), Unserved> {
    let (rejection, termination) = rejection_of(cause);
    let Some((failure, outcome)) = fault_of(cause) else { return Err(Unserved::Rejected(rejection, termination)) };
    pick.failed(failure);
    route.metrics.attempt(outcome);
    record.tried.push(pick.member.index);
    let path = asking.path_and_query.split('?').next().unwrap_or_default();
    debug!(
        target: "sluicegate::upstream", "request {}: member {} failed: {failure} ({} {path})",
        asking.id.as_str(), pick.member.name, asking.method,
    );
    record.rejection = Some(rejection.clone());
    if another(asking.method, record, route, replayable, cause) {
        Ok(())
    } else {
        Err(Unserved::Rejected(rejection, termination))
    }
}

/// Whether rules and budget allow another attempt; takes it from the budget.
pub fn another(
    method: &Method,
    record: &mut UpstreamRecord,
    route: &PoolRoute,
    replayable: bool,
    cause: Cause,
) -> bool {
    let attempt = retry::Attempt { method, attempts: record.attempts, replayable };
    if !retry::allowed(&route.retry, cause, &attempt) {
        return false;
    }
    // With nobody left to ask, an answer at hand is better than a rejection of ours.
    if matches!(cause, Cause::Status(_)) && record.tried.len() + 1 >= route.pool.members().len() {
        return false;
    }
    if !route.budget.take(route.retry.budget_percent, clock::now()) {
        route.metrics.retry_budget_exhausted();
        return false;
    }
    let reason = match cause {
        Cause::Connect | Cause::ConnectTimeout => RetryReason::ConnectFailure,
        Cause::Timeout => RetryReason::Timeout,
        Cause::Status(_) => RetryReason::Status,
        Cause::Reset | Cause::Invalid | Cause::Local => RetryReason::Reset,
    };
    record.retry_reasons.insert(reason);
    route.metrics.retry(reason);
    true
}

/// What a failed attempt counts as, against the member and among the pool's attempts; `None`: no member's fault.
pub fn fault_of(cause: Cause) -> Option<(Failure, AttemptOutcome)> {
    Some(match cause {
        Cause::Connect | Cause::ConnectTimeout => (Failure::Connect, AttemptOutcome::ConnectFailure),
        Cause::Reset => (Failure::Reset, AttemptOutcome::Reset),
        Cause::Timeout => (Failure::Timeout, AttemptOutcome::Timeout),
        Cause::Invalid => (Failure::Invalid, AttemptOutcome::Invalid),
        Cause::Status(status) => (Failure::Status(status), AttemptOutcome::Answered),
        Cause::Local => return None,
    })
}

/// What the client hears of a failure that is not tried again, and how the request ended.
pub fn rejection_of(cause: Cause) -> (Rejection, Termination) {
    match cause {
        Cause::Connect => (Rejection::UpstreamConnect, Termination::UpstreamConnect),
        Cause::ConnectTimeout => (Rejection::ConnectTimeout, Termination::UpstreamConnect),
        Cause::Reset | Cause::Status(_) => (Rejection::UpstreamReset, Termination::UpstreamReset),
        Cause::Timeout => (Rejection::UpstreamTimeout, Termination::UpstreamTimeout),
        Cause::Invalid => (Rejection::UpstreamInvalid, Termination::UpstreamInvalid),
        Cause::Local => (Rejection::AllBusy, Termination::Internal),
    }
}

/// What a failed read or write of the member's side means.
pub fn cause_of(fault: Fault) -> Cause {
    match fault {
        Fault::Timeout => Cause::Timeout,
        Fault::Closed => Cause::Reset,
        Fault::Invalid => Cause::Invalid,
    }
}

/// Keeps the connection of a complete exchange for another request, if the member will.
pub fn give_back(upstream: Conversation, member: &Member, route: &PoolRoute, connector: &Connector) {
    if let Some(stream) = upstream.into_kept()
        && let Some(peer) = route.peers.get(member.index).and_then(Option::as_ref)
    {
        connector.put(peer, stream, route.timeouts.keepalive);
    }
}
