//! One call: a whole request to one member of a provider's pool, and its answer's header block.
//!
//! It watches no client: whoever drives it ends it by dropping it, and with it the request at the provider.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::account::Sent;
use crate::balance::{Failure, NoPick, Pick, PickRequest};
use crate::clock;
use crate::config::ai::AiTimeouts;
use crate::observe::metrics::AttemptOutcome;
use crate::proxy::attempts::{self, cause_of, fault_of};
use crate::proxy::context::UpstreamRecord;
use crate::proxy::exchange::SLICE;
use crate::snapshot::ai::ProviderState;
use crate::transport::http1::{Conversation, Fault, Head, Patience, Request, Sends};
use crate::upstream::connect::Connector;
use crate::upstream::peer::MemberPeer;
use crate::upstream::retry::Cause;

/// How long an answer is waited for that a provider gave before it had read the whole request.
const EARLY_ANSWER: Duration = Duration::from_secs(5);
/// How long the end of an answer is waited for once its last event is there, so that the connection can be kept.
const LINGER: Duration = Duration::from_millis(200);
/// A provider that closes a kept connection as it is used has done so within this time; one that takes longer may have worked.
const RACE: Duration = Duration::from_millis(500);

/// A request as the provider gets it.
pub struct Outgoing {
    /// Its header block, length included.
    pub head: Vec<u8>,
    /// Its body.
    pub body: Bytes,
}

/// For whom members are chosen, and how long it may take.
pub struct Terms<'a> {
    /// The client.
    pub client: IpAddr,
    /// Its path and query.
    pub path_and_query: &'a str,
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// Tokens that the request is estimated to use.
    pub tokens: u64,
    /// For this try.
    pub timeouts: AiTimeouts,
    /// When it begins: now.
    pub began: Instant,
    /// When the first content has to be there at the latest.
    pub until: Instant,
    /// Whether a connection that was kept may be used.
    pub on_kept: bool,
    /// Told when the provider has the whole request.
    pub sent: &'a Sent,
}

/// An answer whose header block is in.
pub struct Live {
    upstream: Box<Conversation>,
    head: Head,
    pick: Pick,
    provider: Arc<ProviderState>,
    connector: Arc<Connector>,
    /// A part of the body that was looked at.
    peeked: Option<Bytes>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The member failed.
    Failed(Cause),
    /// It closed a connection it had kept, just as it was used: no fault of the member's, and the request may be sent again.
    JustClosed,
    /// The pool has no member for it.
    NoMember,
    /// All of them are at their cap.
    Busy,
}

/// Why an attempt failed.
struct Failed {
    cause: Cause,
    /// A kept connection ended so soon that it was closed before the request came.
    just_closed: bool,
}

/// Asks a member of the provider that is not among the `tried` ones.
///
/// # Errors
/// When no answer begins in time.
pub async fn call(
    provider: &Arc<ProviderState>,
    connector: &Arc<Connector>,
    outgoing: &Outgoing,
    terms: &Terms<'_>,
    record: &mut UpstreamRecord,
) -> Result<Live, NoAnswer> {
    let route = &provider.route;
    let asked = PickRequest {
        client: terms.client,
        path_and_query: terms.path_and_query,
        headers: terms.headers,
        tokens: terms.tokens,
    };
    let mut pick = route.selector.pick(&asked, &record.tried).map_err(|none| match none {
        NoPick::AllBusy => NoAnswer::Busy,
        NoPick::NoMember | NoPick::AllTried => NoAnswer::NoMember,
    })?;
    let Ok(peer) = attempts::peer(record, route, &pick) else { return Err(NoAnswer::NoMember) };
    let tried = exchange(provider, connector, outgoing, terms, record, peer).await;
    let now = clock::now();
    record.ended = Some(now);
    match tried {
        Ok((upstream, head)) => {
            let status = head.status.as_u16();
            record.status = Some(status);
            record.first_byte = record.started.map(|began| now.saturating_duration_since(began));
            route.metrics.attempt(AttemptOutcome::Answered);
            if status < 500 {
                pick.succeeded(now.saturating_duration_since(terms.began));
            } else {
                pick.failed(Failure::Status(status));
            }
            let (provider, connector) = (Arc::clone(provider), Arc::clone(connector));
            Ok(Live { upstream, head, pick, provider, connector, peeked: None })
        }
        Err(Failed { cause: Cause::Reset, just_closed: true }) => Err(NoAnswer::JustClosed),
        Err(Failed { cause, .. }) => {
            if let Some((failure, outcome)) = fault_of(cause) {
                pick.failed(failure);
                route.metrics.attempt(outcome);
            }
            record.tried.push(pick.member.index);
            Err(NoAnswer::Failed(cause))
        }
    }
}

async fn exchange(
    provider: &ProviderState,
    connector: &Connector,
    outgoing: &Outgoing,
    terms: &Terms<'_>,
    record: &mut UpstreamRecord,
    peer: &MemberPeer,
) -> Result<(Box<Conversation>, Head), Failed> {
    terms.sent.set(false);
    let route = &provider.route;
    let kept = if terms.on_kept { connector.take(peer) } else { None };
    let race_until = kept.is_some().then(|| clock::now() + RACE);
    let failed = |cause| Failed { cause, just_closed: false };
    let stream = match kept {
        Some(stream) => {
            record.connect = Some(Duration::ZERO);
            stream
        }
        // Boxed: it is large and rare.
        None => {
            let started = clock::now();
            let connecting = Box::pin(connector.connect(peer, terms.timeouts.connect));
            let Ok(connected) = tokio::time::timeout_at(terms.until.into(), connecting).await else {
                record.connect = Some(clock::now().saturating_duration_since(started));
                return Err(failed(Cause::Timeout));
            };
            attempts::connected(record, route, connector, peer, started, connected).map_err(failed)?
        }
    };
    let Outgoing { head, body } = outgoing;
    let request = Request { head: head.clone(), body: Sends::Length(body.len() as u64), is_head: false };
    let mut upstream = Box::new(Conversation::new(stream, request));
    let patience = Patience { pause: route.timeouts.write, until: Some(terms.until) };
    // A provider may answer and close before it has read all: its answer counts then, not our broken write.
    let cut = match send(&mut upstream, body, patience).await {
        Ok(()) => false,
        Err(Fault::Timeout) => return Err(failed(Cause::Timeout)),
        Err(_) => true,
    };
    terms.sent.set(!cut);
    let until = if cut { terms.until.min(clock::now() + EARLY_ANSWER) } else { terms.until };
    match upstream.head(until).await {
        Ok(head) => Ok((upstream, head)),
        // One that had begun to answer, or had time to, has the request.
        Err(fault) => {
            let just_closed = race_until.is_some_and(|until| clock::now() < until) && !upstream.was_heard();
            Err(Failed { cause: cause_of(fault), just_closed })
        }
    }
}

/// Sends a body, a slice at a time, so that what else the worker serves does not wait for all of it.
async fn send(upstream: &mut Conversation, body: &Bytes, patience: Patience) -> Result<(), Fault> {
    let mut slices = body.chunks(SLICE);
    upstream.write(slices.next().unwrap_or_default(), patience).await?;
    for slice in slices {
        tokio::task::yield_now().await;
        upstream.write(slice, patience).await?;
    }
    upstream.flush(patience).await
}

impl Live {
    /// Takes the fields of its header block.
    pub fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.head.headers)
    }

    /// The index of the member that gives it.
    pub fn member(&self) -> usize {
        self.pick.member.index
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The member has worked off so many of the tokens that were estimated.
    pub fn worked_off(&mut self, tokens: u64) {
        self.pick.spent(tokens);
    }

    /// Whether the whole body was read.
    pub fn is_done(&self) -> bool {
        self.peeked.is_none() && self.upstream.is_done()
    }

    /// The first part of the body, which [`Self::chunk`] gives again; empty when there is none.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn peek(&mut self, until: Instant) -> Result<&[u8], Cause> {
        self.peeked = self.chunk(until).await?;
        Ok(self.peeked.as_deref().unwrap_or_default())
    }

    /// The next part of the body, never empty; `None` at its end. Dropped while it waits, nothing is lost.
    ///
    /// # Errors
    /// Why the body breaks off; a timeout when nothing is there at `until`.
    pub async fn chunk(&mut self, until: Instant) -> Result<Option<Bytes>, Cause> {
        if let Some(peeked) = self.peeked.take() {
            return Ok(Some(peeked));
        }
        self.upstream.part(Some(until)).await.map_err(cause_of)
    }

    /// Keeps the connection for another request, when its answer ends now or in a moment.
    pub async fn finish(mut self) {
        if !self.is_done() {
            let rest = self.chunk(clock::now() + LINGER).await;
            if !matches!(rest, Ok(None)) {
                return;
            }
        }
        attempts::give_back(*self.upstream, &self.pick.member, &self.provider.route, &self.connector);
    }
}
