//! What Pingora's own proxy phases ask of us: for upgraded connections, and for members that speak HTTP/2.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session as PingoraSession};

use super::attempts::{self, Asking, fault_of, rejection_of};
use super::context::RequestContext;
use super::exchange::{self, Unserved};
use super::forward::{complete_request, finish_response};
use super::local;
use super::rejection::Rejection;
use crate::balance::Failure;
use crate::clock;
use crate::observe::Termination;
use crate::observe::metrics::AttemptOutcome;
use crate::snapshot::PoolRoute;
use crate::transport::session::Session;
use crate::upstream::retry::Cause;

/// Whether a request goes this way.
pub fn takes(session: &Session<'_>, route: &PoolRoute) -> bool {
    route.pool.config().http2 || session.is_upgrade_req()
}

/// Asks a client that waits for it for its body: an HTTP/2 member's own word would not come through.
///
/// # Errors
/// When the client is gone.
pub async fn invite_body(session: &mut PingoraSession) -> pingora::Result<()> {
    let invited = !session.downstream_session.is_upgrade_req() && !session.downstream_session.is_body_empty();
    if invited && exchange::expects_continue(session.req_header()) {
        session.write_continue_response().await
    } else {
        Ok(())
    }
}

/// Whether the client has seen a part of the answer proper.
pub fn is_answered(session: &PingoraSession) -> bool {
    session.response_written().is_some_and(|response| !response.status.is_informational())
}

/// Picks a member.
pub fn peer(session: &PingoraSession, ctx: &mut RequestContext) -> pingora::Result<Box<HttpPeer>> {
    let Some(route) = ctx.route.clone() else { return Err(refusal(ctx, Rejection::Internal, Termination::Internal)) };
    let Some(route) = route.pool.as_ref() else {
        return Err(refusal(ctx, Rejection::Internal, Termination::Internal));
    };
    if ctx.upstream.started.is_none() {
        attempts::begin(&mut ctx.upstream, route, ctx.started);
    }
    let asking = Asking::new(session.req_header(), &ctx.request_id, ctx.client);
    let pick = match attempts::pick(&asking, &ctx.upstream, route) {
        Ok(pick) => pick,
        Err(Unserved::Rejected(rejection, termination)) => return Err(refusal(ctx, rejection, termination)),
        Err(Unserved::Cut(termination)) => return Err(refusal(ctx, Rejection::Internal, termination)),
    };
    let peer = route.peers.get(pick.member.index).and_then(Option::as_ref).map(|peer| Box::new(peer.http.clone()));
    ctx.body_in = 0; // Pingora sends what it kept of the body through the filter again.
    ctx.upstream.attempts += 1;
    ctx.upstream.attempt_started = Some(clock::now());
    ctx.upstream.member = Some(pick.member.clone());
    ctx.upstream.pick = Some(pick);
    peer.ok_or_else(|| refusal(ctx, Rejection::Internal, Termination::Internal))
}

/// The request as the member gets it. Pingora took away what may not pass.
pub fn request(request: &mut RequestHeader, ctx: &RequestContext) -> pingora::Result<()> {
    request.remove_header(&header::EXPECT); // Answered by us.
    complete_request(request, ctx).map_err(|_| Error::new(ErrorType::InvalidHTTPHeader))?;
    let grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if request.version == Version::HTTP_2 && request.headers.get(header::CONTENT_TYPE).is_some_and(grpc) {
        // Some gRPC servers refuse a request that does not say it takes trailers.
        request.insert_header(header::TE, HeaderValue::from_static("trailers"))?;
    }
    Ok(())
}

/// Counts the body, and stops it at its limit.
pub fn count_body(body: Option<&Bytes>, ctx: &mut RequestContext) -> pingora::Result<()> {
    ctx.body_in += body.map_or(0, Bytes::len) as u64;
    let upgraded = ctx.upstream.status == Some(101);
    if !upgraded && ctx.body_in > ctx.max_body() {
        return Err(refusal(ctx, Rejection::PayloadTooLarge, Termination::Rejected));
    }
    Ok(())
}

/// The answer as the client gets it.
pub fn response(session: &mut PingoraSession, response: &mut ResponseHeader, ctx: &mut RequestContext) {
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let now = clock::now();
    let status = response.status.as_u16();
    if status == 101
        && let Some(route) = ctx.route.as_ref().and_then(|route| route.pool.as_ref())
    {
        // Both sides of a tunnel may be silent for the same time.
        session.set_read_timeout(Some(route.timeouts.idle.max(route.timeouts.first_byte)));
    }
    super::cached::observe(&Session::Pingora(session), ctx, response.status, &response.headers);
    ctx.upstream.status = Some(status);
    ctx.upstream.first_byte = ctx.upstream.started.map(|started| now.saturating_duration_since(started));
    let since = ctx.upstream.attempt_started.map(|started| now.saturating_duration_since(started));
    if let Some(pick) = &mut ctx.upstream.pick {
        if status < 500 {
            pick.succeeded(since.unwrap_or_default());
        } else {
            pick.failed(Failure::Status(status));
        }
    }
    if let Some(route) = ctx.route.as_ref().and_then(|route| route.pool.as_ref()) {
        route.metrics.attempt(AttemptOutcome::Answered);
    }
    let status = response.status;
    finish_response(response, status, ctx);
}

/// Takes in a failed attempt and says whether another one is due.
pub fn failed(ctx: &mut RequestContext, mut error: Box<Error>, replayable: bool) -> Box<Error> {
    ctx.upstream.ended = Some(clock::now());
    let mut pick = ctx.upstream.pick.take();
    if *error.esource() != ErrorSource::Upstream || ctx.upstream.rejection.is_some() && pick.is_none() {
        error.set_retry(false);
        return error;
    }
    let cause = match cause_of(&error) {
        // Pingora knows when an HTTP/2 member did not process the request (GOAWAY, REFUSED_STREAM).
        Cause::Invalid if *error.etype() == ErrorType::H2Error && error.retry() => Cause::Connect,
        other => other,
    };
    let fault = fault_of(cause);
    if let (Some(pick), Some((failure, _))) = (&mut pick, fault) {
        pick.failed(failure);
        ctx.upstream.tried.push(pick.member.index);
    }
    let (rejection, termination) = rejection_of(cause);
    ctx.upstream.rejection = Some(rejection);
    ctx.termination = Some(termination);
    let Some(route) = ctx.route.clone() else { return error };
    let Some(route) = route.pool.as_ref() else { return error };
    if let Some((_, outcome)) = fault {
        route.metrics.attempt(outcome);
    }
    let again = attempts::another(&ctx.method, &mut ctx.upstream, route, replayable, cause);
    if again {
        ctx.termination = None;
    }
    error.set_retry(again);
    error
}

/// What an error of the member's side means, before any byte of an answer.
fn cause_of(error: &Error) -> Cause {
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Cause::Timeout,
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Cause::ConnectTimeout,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => Cause::Connect,
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::InvalidH2 | ErrorType::H2Error => Cause::Invalid,
        _ => Cause::Reset,
    }
}

/// Tells the client what can still be told.
pub async fn give_up(session: &mut PingoraSession, ctx: &mut RequestContext, error: &Error) -> FailToProxy {
    let dead = FailToProxy { error_code: 0, can_reuse_downstream: false };
    if *error.etype() == exchange::CUT {
        return dead;
    }
    if is_answered(session) {
        ctx.termination.get_or_insert_with(|| match error.esource() {
            ErrorSource::Downstream => Termination::ClientClosed,
            _ => Termination::UpstreamReset,
        });
        return dead;
    }
    if *error.esource() == ErrorSource::Downstream && ctx.upstream.rejection.is_none() {
        match exchange::client_failed(Some(error)) {
            Unserved::Cut(termination) => {
                ctx.termination = Some(termination);
                return dead;
            }
            Unserved::Rejected(rejection, termination) => {
                ctx.upstream.rejection = Some(rejection);
                ctx.termination = Some(termination);
                ctx.connection.as_ref().inspect(|connection| connection.linger());
            }
        }
    }
    let rejection = ctx.upstream.rejection.clone().unwrap_or(Rejection::Internal);
    ctx.termination.get_or_insert(Termination::Internal);
    ctx.error = Some(rejection.code());
    let mut client = Session::Pingora(session);
    let answer = local::rejected(&rejection, &client, ctx);
    let code = answer.status.as_u16();
    match local::send(&mut client, ctx, answer).await {
        Ok(()) => {
            // Pingora drops the connection; a part of the request may be unread, and the answer would be lost with it.
            if let ServerSession::H1(client) = session.downstream_session.as_mut() {
                client.shutdown().await;
            }
            FailToProxy { error_code: code, can_reuse_downstream: false }
        }
        Err(_) => dead,
    }
}

/// An error that carries what the client is to hear in the context.
fn refusal(ctx: &mut RequestContext, rejection: Rejection, termination: Termination) -> Box<Error> {
    ctx.upstream.rejection = Some(rejection);
    ctx.termination = Some(termination);
    Error::new_in(ErrorType::Custom("Rejected"))
}
