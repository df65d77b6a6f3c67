//! The exchange: one request served over HTTP/1 to a member, from the pick to the last byte.
//!
//! It runs inside `request_filter` and takes the place of Pingora's own proxy phases for every request that is not an
//! upgrade and whose pool speaks HTTP/1: it costs less, knows a timeout for the first byte and another for the pauses
//! after it, and can try again as long as the client has seen nothing.
//!
//! Invariants: the client sees bytes of one attempt only; a request is tried again only as `upstream::retry` allows;
//! a connection goes back for reuse only when both sides of it are complete; a client that leaves takes its upstream
//! request along, because both live in this one future.
//!
//! Both directions are pumped while an answer streams, but a write to one side is finished before the other is looked
//! at again: a peer that stops reading while it is written to meets the write timeout.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, StatusCode, Version, header};
use log::debug;
use pingora::http::RequestHeader;

use super::attempts::{self, Asking, cause_of, rejection_of};
use super::body::{BodyError, RequestBody};
use super::cached;
use super::context::RequestContext;
use super::forward::{fields_for_upstream, information, request_for_upstream, response_for_client};
use super::masking::Mask;
use super::rejection::Rejection;
use crate::balance::Pick;
use crate::clock;
use crate::observe::Termination;
use crate::observe::metrics::AttemptOutcome;
use crate::snapshot::PoolRoute;
use crate::transport::http1::{Conversation, Fault, Head, Patience};
use crate::transport::session::Session;
use crate::upstream::connect::Connector;
use crate::upstream::peer::MemberPeer;
use crate::upstream::retry::Cause;

/// The error of a connection that can only be cut.
pub const CUT: pingora::ErrorType = pingora::ErrorType::Custom("Cut");

/// Bytes of one body that are passed on in one go, before others on the same worker have their turn: well below a millisecond.
pub const SLICE: usize = 256 << 10;

/// How an exchange ended without a whole answer.
#[derive(Debug)]
pub enum Unserved {
    /// The client saw nothing yet: it is told this.
    Rejected(Rejection, Termination),
    /// The client is gone, or has seen a part: the connection can only be cut.
    Cut(Termination),
}

impl Unserved {
    /// Refused for a reason that lies in the request.
    pub fn rejected(rejection: Rejection) -> Self {
        let ending = rejection.ending();
        Self::Rejected(rejection, ending)
    }
}

/// A member that answers: its header block is in.
struct Answering {
    upstream: Box<Conversation>,
    head: Head,
    pick: Pick,
    /// The request is not, and will not be, complete on this connection.
    request_cut: bool,
}

/// Why an attempt brought no answer.
enum Failed {
    Member { cause: Cause, kept_connection: bool },
    Client(Unserved),
}

/// Serves the request of `session` from the pool of `route`.
pub async fn serve(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &PoolRoute,
    connector: &Connector,
) -> Result<(), Unserved> {
    let empty = session.is_body_empty();
    let mask = ctx.masking.as_mut().and_then(|masking| masking.request(empty));
    let mut body = RequestBody::new(empty, ctx.max_body(), mask);
    if !body.is_done() && expects_continue(session.req_header()) {
        let asked = session.write_continue_response().await;
        asked.map_err(|_| Unserved::Cut(Termination::ClientClosed))?;
    }
    attempts::begin(&mut ctx.upstream, route, ctx.started);
    let answering = loop {
        match attempt(session, ctx, route, connector, &mut body).await? {
            Some(answering) => break answering,
            None => continue,
        }
    };
    let streamed = stream(session, ctx, route, connector, &mut body, answering).await;
    ctx.upstream.ended = Some(clock::now());
    ctx.body_in = body.bytes();
    streamed
}

/// Whether the client waits to be asked for its body (RFC 9110, section 10.1.1: not over HTTP/1.0).
pub fn expects_continue(request: &RequestHeader) -> bool {
    let expected = request.headers.get(header::EXPECT).map(http::HeaderValue::as_bytes);
    request.version > Version::HTTP_10 && expected.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// One attempt. `Ok(None)`: it failed, and another one is due.
async fn attempt(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &PoolRoute,
    connector: &Connector,
    body: &mut RequestBody,
) -> Result<Option<Answering>, Unserved> {
    let asking = Asking::new(session.req_header(), &ctx.request_id, ctx.client);
    let mut pick = attempts::pick(&asking, &ctx.upstream, route)?;
    let peer = attempts::peer(&mut ctx.upstream, route, &pick)?;
    let mut allow_kept = true;
    loop {
        let started = clock::now();
        let tried = try_member(session, ctx, route, connector, body, peer, allow_kept).await;
        ctx.upstream.ended = Some(clock::now());
        ctx.body_in = body.bytes();
        let asking = Asking::new(session.req_header(), &ctx.request_id, ctx.client);
        match tried {
            Ok((upstream, head, request_cut)) => {
                let (replayable, status) = (body.is_replayable(), head.status);
                let record = &mut ctx.upstream;
                let taken = attempts::answered(&asking, record, route, replayable, &mut pick, status, started);
                return Ok(taken.then_some(Answering { upstream, head, pick, request_cut }));
            }
            Err(Failed::Client(unserved)) => {
                route.metrics.attempt(AttemptOutcome::Cancelled);
                return Err(unserved);
            }
            // The member closed a connection it had kept, just as we used it: no fault of the member's, and the
            // same request on a new connection to it is the cure.
            Err(Failed::Member { cause: Cause::Reset, kept_connection: true })
                if allow_kept && body.is_replayable() && asking.may_repeat(route) =>
            {
                allow_kept = false;
            }
            Err(Failed::Member { cause, .. }) => {
                attempts::failed(&asking, &mut ctx.upstream, route, body.is_replayable(), pick, cause)?;
                return Ok(None);
            }
        }
    }
}

/// Sends the request to one member and waits for its header block.
async fn try_member(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &PoolRoute,
    connector: &Connector,
    body: &mut RequestBody,
    peer: &MemberPeer,
    allow_kept: bool,
) -> Result<(Box<Conversation>, Head, bool), Failed> {
    let kept = if allow_kept { connector.take(peer) } else { None };
    let kept_connection = kept.is_some();
    let stream = match kept {
        Some(stream) => {
            ctx.upstream.connect = Some(Duration::ZERO);
            stream
        }
        // Boxed: it is large and rare, and every request would carry room for it.
        None => Box::pin(connect(session, ctx, route, connector, peer, body)).await?,
    };
    if let Some(left) = client_left(session).now_or_never() {
        return Err(Failed::Client(left));
    }
    let member = |fault| Failed::Member { cause: cause_of(fault), kept_connection };
    let request = fields_for_upstream(session, ctx)
        .and_then(|fields| request_for_upstream(session, ctx, &ctx.method, &fields))
        .map_err(|rejection| Failed::Client(Unserved::rejected(rejection)))?;
    let mut upstream = Box::new(Conversation::new(stream, request));
    let patience = patience(route);
    let mut request_cut = send_kept(&mut upstream, body, patience).await.map_err(member)?;
    // A slow client is not a slow member: its time runs once it has, or will get, the whole request.
    let mut until = None;
    loop {
        if until.is_none() && (body.is_done() || request_cut) {
            until = Some(clock::now() + route.timeouts.first_byte);
        }
        let event = if request_cut && !body.is_done() {
            // The client must not be listened to: the bytes belong to a body that another attempt may send whole.
            tokio::select! {
                biased;
                read = upstream.any_head(until) => Event::Answer(read),
                left = client_left(session) => return Err(Failed::Client(left)),
            }
        } else if body.is_done() {
            tokio::select! {
                biased;
                read = upstream.any_head(until) => Event::Answer(read),
                sent = session.read_body_or_idle(true) => Event::Request(sent),
            }
        } else {
            // The header block waits for the first bytes of the body, but only while these can be had at once: a look
            // for the answer lets it go.
            tokio::select! {
                biased;
                sent = session.read_body_or_idle(false) => Event::Request(sent),
                read = upstream.any_head(None) => Event::Answer(read),
            }
        };
        match event {
            Event::Request(sent) => {
                let sent = send_chunk(session, &mut upstream, body, sent, patience, &mut request_cut).await;
                sent.map_err(|not_sent| match not_sent {
                    NotSent::Client(unserved) => Failed::Client(unserved),
                    NotSent::Member(fault) => member(fault),
                })?;
            }
            Event::Answer(read) => {
                let head = read.map_err(member)?;
                if !head.status.is_informational() {
                    return Ok((upstream, head, request_cut));
                }
                if head.status != StatusCode::CONTINUE {
                    until = None; // Who says that it is still at work is.
                }
                Box::pin(pass_information(session, head)).await?;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// How long a member may take to read.
fn patience(route: &PoolRoute) -> Patience {
    Patience { pause: route.timeouts.write, until: None }
}

/// Sends again what an earlier attempt sent of the body. `true`: the member does not take it, but may answer.
async fn send_kept(upstream: &mut Conversation, body: &RequestBody, patience: Patience) -> Result<bool, Fault> {
    for chunk in body.kept() {
        match upstream.write(chunk, patience).await {
            Ok(()) => {}
            Err(Fault::Timeout) => return Err(Fault::Timeout),
            Err(_) => return Ok(true),
        }
    }
    Ok(!body.is_empty() && body.is_done() && upstream.end().is_err())
}

/// What happens next while an answer is waited for.
enum Event {
    /// The client sent something, or left.
    Request(pingora::Result<Option<Bytes>>),
    /// A header block, or its failure.
    Answer(Result<Head, Fault>),
}

async fn connect(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &PoolRoute,
    connector: &Connector,
    peer: &MemberPeer,
    body: &RequestBody,
) -> Result<pingora::protocols::Stream, Failed> {
    let started = clock::now();
    let connected = tokio::select! {
        biased;
        connected = connector.connect(peer, route.timeouts.connect) => connected,
        // While more of its body is due, a client can be watched without taking bytes of that over HTTP/2 only.
        left = async {
            if body.is_done() {
                return client_failed(session.read_body_or_idle(true).await.err().as_deref());
            }
            client_left(session).await
        } => return Err(Failed::Client(left)),
    };
    attempts::connected(&mut ctx.upstream, route, connector, peer, started, connected)
        .map_err(|cause| Failed::Member { cause, kept_connection: false })
}

/// Why a part of the request did not go on.
enum NotSent {
    Client(Unserved),
    Member(Fault),
}

/// Ends when an HTTP/2 client resets its stream, and reads nothing. A stream that was reset early looks like one whose
/// body is still to come. For other clients it never ends.
async fn client_left(session: &mut Session<'_>) -> Unserved {
    session.reset().await;
    Unserved::Cut(Termination::ClientClosed)
}

/// Passes what the client sent on to the member.
async fn send_chunk(
    session: &mut Session<'_>,
    upstream: &mut Conversation,
    body: &mut RequestBody,
    chunk: pingora::Result<Option<Bytes>>,
    patience: Patience,
    request_cut: &mut bool,
) -> Result<(), NotSent> {
    let chunk = chunk.map_err(|error| NotSent::Client(client_failed(Some(&error))))?;
    let ended = chunk.is_none();
    if let Some(chunk) = chunk {
        let chunk = body
            .add(chunk)
            .map_err(|BodyError::TooLarge| Unserved::Rejected(Rejection::PayloadTooLarge, Termination::Rejected))
            .map_err(NotSent::Client)?;
        write_request(upstream, &chunk, patience, request_cut).await?;
    }
    if ended || session.is_body_done() {
        let held = body.finish();
        write_request(upstream, &held, patience, request_cut).await?;
        *request_cut |= !*request_cut && upstream.end().is_err();
    }
    Ok(())
}

/// Writes a part of the request. A member may answer and close before it has read all: its answer counts then, not
/// our broken write. One that reads nothing for the write timeout will not answer either.
async fn write_request(
    upstream: &mut Conversation,
    chunk: &[u8],
    patience: Patience,
    request_cut: &mut bool,
) -> Result<(), NotSent> {
    match upstream.write(chunk, patience).await {
        Err(Fault::Timeout) => return Err(NotSent::Member(Fault::Timeout)),
        written => *request_cut |= written.is_err(),
    }
    Ok(())
}

/// Passes 103 and its like on; 100 was ours to say.
async fn pass_information(session: &mut Session<'_>, head: Head) -> Result<(), Failed> {
    if head.status == StatusCode::CONTINUE || session.req_header().version < Version::HTTP_11 {
        return Ok(());
    }
    let written = session.write_response_header(information(head.status, head.headers, head.reason.as_deref())).await;
    written.map_err(|_| Failed::Client(Unserved::Cut(Termination::ClientClosed)))
}

/// Streams the answer to the client.
async fn stream(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &PoolRoute,
    connector: &Connector,
    body: &mut RequestBody,
    answering: Answering,
) -> Result<(), Unserved> {
    let Answering { mut upstream, head, pick, mut request_cut } = answering;
    let mut mask = mask_of(ctx, &head.headers)?;
    cached::observe(session, ctx, head.status, &head.headers);
    let header = response_for_client(session, ctx, head);
    if session.req_header().version < Version::HTTP_11 && !header.headers.contains_key(header::CONTENT_LENGTH) {
        session.end_connection(); // The end of the connection is the end of the body.
    }
    hold(ctx, true);
    let written = session.write_response_header(header).await;
    written.map_err(|error| cut_by_client(&error))?;
    let mut slice = 0;
    while !upstream.is_done() {
        if let Some(read) = tokio::task::unconstrained(upstream.part(None)).now_or_never() {
            slice += pass_on(session, ctx, mask.as_deref_mut(), read).await?;
            if slice >= SLICE {
                slice = 0;
                tokio::task::yield_now().await;
            }
            continue;
        }
        // Nothing more is at hand: what was held back goes out with the next look at the client's side.
        hold(ctx, false);
        let until = clock::now() + route.timeouts.idle;
        tokio::select! {
            biased;
            read = upstream.part(Some(until)) => slice = pass_on(session, ctx, mask.as_deref_mut(), read).await?,
            sent = session.read_body_or_idle(body.is_done() || request_cut) => {
                let sent = send_chunk(session, &mut upstream, body, sent, patience(route), &mut request_cut).await;
                sent.map_err(cut)?;
            }
        }
        hold(ctx, true);
    }
    if let Some(mask) = &mut mask {
        write_answer(session, &mask.finish()).await?;
    }
    finish(session, ctx, body, request_cut).await?;
    drop(pick);
    if body.is_done()
        && !request_cut
        && let Some(member) = &ctx.upstream.member
    {
        attempts::give_back(*upstream, member, route, connector);
    }
    Ok(())
}

/// How the body of an answer is masked, if it is.
fn mask_of(ctx: &RequestContext, answer: &HeaderMap) -> Result<Option<Box<Mask>>, Unserved> {
    let Some(masking) = &ctx.masking else { return Ok(None) };
    masking.answer(answer).map_err(|rejection| Unserved::Rejected(rejection, Termination::Rejected))
}

/// Writes what was read of the answer to the client. So many bytes were read.
async fn pass_on(
    session: &mut Session<'_>,
    ctx: &RequestContext,
    mask: Option<&mut Mask>,
    read: Result<Option<Bytes>, Fault>,
) -> Result<usize, Unserved> {
    let bytes = read.map_err(|fault| {
        debug!(target: "sluicegate::upstream", "request {}: answer broke off: {fault:?}", ctx.request_id.as_str());
        Unserved::Cut(rejection_of(cause_of(fault)).1)
    })?;
    let Some(bytes) = bytes else { return Ok(0) };
    match mask {
        None => write_answer(session, &bytes).await?,
        Some(mask) => {
            let masked = mask.push(&bytes).map_err(|_| Unserved::Cut(Termination::Rejected))?;
            write_answer(session, &masked).await?;
        }
    }
    Ok(bytes.len())
}

pub(super) async fn write_answer(session: &mut Session<'_>, bytes: &[u8]) -> Result<(), Unserved> {
    session.write_part(bytes).await.map_err(|error| cut_by_client(&error))
}

/// Ends the answer towards the client.
async fn finish(
    session: &mut Session<'_>,
    ctx: &RequestContext,
    body: &RequestBody,
    request_cut: bool,
) -> Result<(), Unserved> {
    hold(ctx, false);
    if !body.is_done() || request_cut {
        session.end_connection();
        ctx.connection.as_ref().inspect(|connection| connection.linger());
    }
    let written = session.write_response_body(Bytes::new(), true).await;
    written.map_err(|error| cut_by_client(&error))
}

/// Holds back flushes towards an HTTP/1 client while more of the answer is at hand.
pub(super) fn hold(ctx: &RequestContext, held: bool) {
    if let Some(connection) = &ctx.connection {
        connection.hold_writes(held);
    }
}

/// With a part of the answer sent, nothing can be told any more.
fn cut(not_sent: NotSent) -> Unserved {
    match not_sent {
        NotSent::Client(Unserved::Rejected(_, termination) | Unserved::Cut(termination)) => Unserved::Cut(termination),
        NotSent::Member(fault) => Unserved::Cut(rejection_of(cause_of(fault)).1),
    }
}

pub(super) fn cut_by_client(error: &pingora::Error) -> Unserved {
    Unserved::Cut(client_termination(error))
}

/// What a failed read of the request means, before anything was answered.
pub(super) fn client_failed(error: Option<&pingora::Error>) -> Unserved {
    match error.map(client_termination) {
        Some(Termination::ClientTimeout) => Unserved::Rejected(Rejection::ClientTimeout, Termination::ClientTimeout),
        Some(Termination::ClientInvalid) => {
            Unserved::Rejected(Rejection::BadRequest("the request body is malformed"), Termination::ClientInvalid)
        }
        _ => Unserved::Cut(Termination::ClientClosed),
    }
}

fn client_termination(error: &pingora::Error) -> Termination {
    use pingora::ErrorType;
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Termination::ClientTimeout,
        ErrorType::WriteError if is_timeout(error) => Termination::ClientTimeout,
        ErrorType::InvalidHTTPHeader => Termination::ClientInvalid,
        ErrorType::Custom("InvalidChunk" | "ConnectionClosed") => Termination::ClientInvalid,
        _ => Termination::ClientClosed,
    }
}

/// Whether the stream's own write deadline is behind the error.
fn is_timeout(error: &pingora::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

/// Brings a request to its end: what was not served is told to the client, or its connection is cut.
///
/// # Errors
/// When the connection can only be cut.
pub async fn settle(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    served: Result<(), Unserved>,
) -> pingora::Result<()> {
    let cut = match served {
        Ok(()) => return Ok(()),
        Err(Unserved::Rejected(rejection, termination)) => {
            ctx.termination = Some(termination);
            ctx.error = Some(rejection.code());
            super::finish::refused(session, ctx, &rejection);
            if matches!(termination, Termination::ClientInvalid | Termination::ClientTimeout) {
                // Nobody knows where the next request would begin.
                session.end_connection();
                ctx.connection.as_ref().inspect(|connection| connection.linger());
            }
            let answer = super::local::rejected(&rejection, session, ctx);
            match super::local::send(session, ctx, answer).await {
                Ok(()) => return Ok(()),
                Err(unserved) => unserved,
            }
        }
        Err(unserved) => unserved,
    };
    if let Unserved::Cut(termination) = cut {
        ctx.termination = Some(termination);
    }
    hold(ctx, false);
    // What the log says was sent goes out before the cut: a look at the client's side writes what was held back.
    let _ = tokio::task::unconstrained(session.read_body_or_idle(true)).now_or_never();
    Err(pingora::Error::new_down(CUT))
}
