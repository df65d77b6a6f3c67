//! A fetch: one answer of a pool, asked for by the cache and not by a client's connection.
//!
//! It has no body to send and watches no client: whoever drives it ends it by dropping it. Picks, retries and timeouts
//! are those of the route. Informational answers are told to whoever asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use log::debug;
use pingora::http::RequestHeader;

use super::attempts::{self, Asking, cause_of, rejection_of};
use super::context::UpstreamRecord;
use super::exchange::Unserved;
use super::rejection::Rejection;
use crate::balance::Pick;
use crate::clock;
use crate::observe::Termination;
use crate::observe::trace::RequestId;
use crate::snapshot::{PoolRoute, RouteState};
use crate::transport::http1::{Conversation, Head, Request};
use crate::upstream::connect::Connector;
use crate::upstream::peer::MemberPeer;
use crate::upstream::retry::Cause;

/// What is to be fetched, and for whom members are chosen.
pub struct Fetch {
    /// A route with a pool of HTTP/1 members.
    pub route: Arc<RouteState>,
    /// The connections of the worker that runs this.
    pub connector: Arc<Connector>,
    /// The request as the client sent it: members are chosen by it.
    pub asked: Box<RequestHeader>,
    /// The request as the member gets it, without a body.
    pub request: Request,
    /// Whether the member sees credentials that the client brought.
    pub authorized: bool,
    /// The id of the request that it is made for.
    pub id: RequestId,
    /// The client that it is made for.
    pub client: IpAddr,
}

/// An answer: its header block is in, its body is still to be read.
pub struct Fetched {
    head: Head,
    upstream: Box<Conversation>,
    route: Arc<RouteState>,
    connector: Arc<Connector>,
    id: RequestId,
    /// Counts it in flight at its member.
    pick: Pick,
}

/// Why nothing was fetched.
pub struct Unfetched {
    /// What a client that waited for it hears.
    pub rejection: Rejection,
    /// How its request ended.
    pub termination: Termination,
    /// What became of the attempts.
    pub record: UpstreamRecord,
}

/// Why an attempt failed.
struct Failed {
    cause: Cause,
    kept_connection: bool,
}

impl Fetch {
    /// Asks members until one answers or no other attempt is due. `informed` gets each informational answer but 100.
    ///
    /// # Errors
    /// What the client is to hear, when nobody answers.
    pub async fn send(self, informed: &(dyn Fn(Head) + Send + Sync)) -> Result<(Fetched, UpstreamRecord), Unfetched> {
        let mut record = UpstreamRecord::default();
        let answer = self.attempt_all(&mut record, informed).await;
        record.ended = Some(clock::now());
        match answer {
            Ok((upstream, head, pick)) => {
                let Self { route, connector, id, .. } = self;
                Ok((Fetched { head, upstream, route, connector, id, pick }, record))
            }
            Err(Unserved::Rejected(rejection, termination)) => Err(Unfetched { rejection, termination, record }),
            Err(Unserved::Cut(termination)) => Err(Unfetched { rejection: Rejection::Internal, termination, record }),
        }
    }

    async fn attempt_all(
        &self,
        record: &mut UpstreamRecord,
        informed: &(dyn Fn(Head) + Send + Sync),
    ) -> Result<(Box<Conversation>, Head, Pick), Unserved> {
        let internal = || Unserved::Rejected(Rejection::Internal, Termination::Internal);
        let route = self.route.pool.as_ref().ok_or_else(internal)?;
        attempts::begin(record, route, clock::now());
        loop {
            if let Some(answer) = self.attempt(route, record, informed).await? {
                return Ok(answer);
            }
        }
    }

    /// One attempt. `Ok(None)`: it failed, and another one is due.
    async fn attempt(
        &self,
        route: &PoolRoute,
        record: &mut UpstreamRecord,
        informed: &(dyn Fn(Head) + Send + Sync),
    ) -> Result<Option<(Box<Conversation>, Head, Pick)>, Unserved> {
        let asking = Asking::new(&self.asked, &self.id, self.client);
        let mut pick = attempts::pick(&asking, record, route)?;
        let peer = attempts::peer(record, route, &pick)?;
        let mut started = clock::now();
        let mut tried = self.try_member(route, record, peer, true, informed).await;
        if matches!(tried, Err(Failed { cause: Cause::Reset, kept_connection: true })) && asking.may_repeat(route) {
            // The member closed a connection it had kept, just as we used it: no fault of the member's.
            started = clock::now();
            tried = self.try_member(route, record, peer, false, informed).await;
        }
        match tried {
            Ok((upstream, head)) => {
                let taken = attempts::answered(&asking, record, route, true, &mut pick, head.status, started);
                Ok(taken.then_some((upstream, head, pick)))
            }
            Err(Failed { cause, .. }) => attempts::failed(&asking, record, route, true, pick, cause).map(|()| None),
        }
    }

    /// Sends the request to one member and waits for its header block.
    async fn try_member(
        &self,
        route: &PoolRoute,
        record: &mut UpstreamRecord,
        peer: &MemberPeer,
        allow_kept: bool,
        informed: &(dyn Fn(Head) + Send + Sync),
    ) -> Result<(Box<Conversation>, Head), Failed> {
        let started = clock::now();
        let kept = if allow_kept { self.connector.take(peer) } else { None };
        let kept_connection = kept.is_some();
        let failed = |cause| Failed { cause, kept_connection };
        let stream = match kept {
            Some(stream) => {
                record.connect = Some(Duration::ZERO);
                stream
            }
            None => {
                let connected = self.connector.connect(peer, route.timeouts.connect).await;
                attempts::connected(record, route, &self.connector, peer, started, connected).map_err(failed)?
            }
        };
        let mut upstream = Box::new(Conversation::new(stream, self.request.clone()));
        let until = clock::now() + route.timeouts.first_byte;
        loop {
            let head = upstream.any_head(Some(until)).await.map_err(|fault| failed(cause_of(fault)))?;
            if !head.status.is_informational() {
                return Ok((upstream, head));
            }
            if head.status != StatusCode::CONTINUE {
                informed(head);
            }
        }
    }
}

impl Fetched {
    /// The header block of the answer, as the member sent it.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next part of the body, never empty; `None` at its end.
    ///
    /// # Errors
    /// How a request that waits for it ended, when the body breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Termination> {
        let until = self.route.pool.as_ref().map(|route| clock::now() + route.timeouts.idle);
        self.upstream.part(until).await.map_err(|fault| {
            debug!(target: "sluicegate::upstream", "request {}: answer broke off: {fault:?}", self.id.as_str());
            rejection_of(cause_of(fault)).1
        })
    }

    /// Ends it. A connection whose body was read to its end is kept for another request.
    pub fn finish(self) {
        if let Some(route) = self.route.pool.as_ref() {
            attempts::give_back(*self.upstream, &self.pick.member, route, &self.connector);
        }
    }
}
