//! The one end of every request: its metrics and its line in the access log.

use http::{Version, header};

use super::ai::record::End;
use super::context::RequestContext;
use super::guard::identity;
use super::rejection::Rejection;
use crate::ai::flow;
use crate::clock;
use crate::config::audit::EventKind;
use crate::observe::access_log::{AccessRecord, Protocol, TlsInfo};
use crate::observe::audit::Event;
use crate::observe::metrics::{Kind, MethodLabel, Observation};
use crate::observe::{CacheStatus, Termination};
use crate::transport::session::Session;

/// Records the request. Called exactly once, after its last byte or its failure.
pub fn finish(session: &Session<'_>, ctx: &mut RequestContext) {
    let status = session.status_written().map_or(0, |status| status.as_u16());
    let termination = ctx.termination.unwrap_or(Termination::Completed);
    let duration = ctx.left.unwrap_or_else(clock::now).saturating_duration_since(ctx.started);
    let bytes_out = session.bytes_sent();
    let bytes_in = ctx.body_in.max(session.bytes_read());
    let kind = if session.was_upgraded() { Kind::Upgraded } else { Kind::Request };
    let method = MethodLabel::from(&ctx.method);
    let observation = Observation { method, status, duration, bytes_in, bytes_out, kind, termination };
    if !ctx.quiet {
        ctx.route.as_ref().map_or(&ctx.snapshot.unrouted, |route| &route.metrics).record(&observation);
        write_access(session, ctx, &observation);
    }
    if let (Some(trail), Some(state)) = (&ctx.trail, &ctx.snapshot.ai) {
        trail.count(&state.books, End { status, termination, duration });
        if let Some(status) = ctx.cache {
            state.books.gateway.cached(status);
        }
        if let Some(provider) = trail.last_try().and_then(|last| state.config.providers.get(last.provider)) {
            flow::processed(&provider.kind, status);
        }
    }
    if termination == Termination::ClientInvalid {
        audit(session, ctx, EventKind::SuspiciousRequest, "invalid");
    }
    ctx.upstream.pick = None;
    ctx.in_flight = None;
    ctx.permits = None;
}

/// Tells the audit log of a refused request when its address is not allowed on the route.
pub fn refused(session: &Session<'_>, ctx: &RequestContext, rejection: &Rejection) {
    if *rejection == Rejection::Forbidden {
        audit(session, ctx, EventKind::AccessDenied, "address");
    }
}

fn audit(session: &Session<'_>, ctx: &RequestContext, kind: EventKind, reason: &str) {
    let event = identity::event(session, ctx, kind, false);
    ctx.snapshot.audit.record(&Event { reason: Some(reason), ..event });
}

fn write_access(session: &Session<'_>, ctx: &RequestContext, observation: &Observation) {
    let (Some(log), Some(connection)) = (&ctx.snapshot.access, &ctx.connection) else { return };
    let request = session.req_header();
    let field = |name| request.headers.get(name).map(http::HeaderValue::as_bytes);
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri.authority().map(http::uri::Authority::as_str));
    let tls = session.tls();
    let upstream = ctx.trail.as_ref().map_or(&ctx.upstream, |trail| &trail.upstream);
    let ai = ctx.trail.as_ref().map(|trail| trail.record());
    let between =
        |from: Option<std::time::Instant>, to: Option<std::time::Instant>| Some(to?.saturating_duration_since(from?));
    log.record(&AccessRecord {
        wall_millis: ctx.wall_millis,
        request_id: ctx.request_id.as_str(),
        trace_id: ctx.trace.trace_id().as_str(),
        client: ctx.client,
        peer: connection.peer,
        caller: ctx.caller.as_ref().map(|caller| &*caller.id),
        listener: &connection.listener,
        method: ctx.method.as_str(),
        host: host.unwrap_or_default(),
        path: request.uri.path(),
        query: request.uri.query(),
        protocol: match request.version {
            Version::HTTP_2 => Protocol::Http2,
            Version::HTTP_11 => Protocol::Http11,
            _ => Protocol::Http10,
        },
        tls: tls.as_deref().map(|digest| TlsInfo {
            version: tls_version(&digest.version),
            cipher: &digest.cipher,
            sni: connection.sni.as_deref(),
        }),
        status: observation.status,
        bytes_in: observation.bytes_in,
        bytes_out: observation.bytes_out,
        duration: observation.duration,
        route: ctx.route.as_ref().map(|route| &*route.config.name),
        cache: ctx.cache.map(CacheStatus::as_str),
        pool: upstream.member.as_ref().map(|member| &*member.pool),
        member: upstream.member.as_ref().map(|member| &*member.name),
        attempts: upstream.attempts,
        retry_reasons: upstream.retry_reasons,
        connect_time: upstream.connect,
        first_byte: upstream.first_byte,
        upstream_time: between(upstream.started, upstream.ended),
        upstream_status: upstream.status,
        ai: ai.as_ref(),
        error: ctx.error,
        limit: ctx.limit.as_deref(),
        lack: ctx.lack,
        termination: observation.termination,
        user_agent: field(header::USER_AGENT),
        referer: field(header::REFERER),
    });
}

/// The name that people and other servers' logs use.
fn tls_version(version: &str) -> &str {
    match version {
        "TLSv1_2" => "TLSv1.2",
        "TLSv1_3" => "TLSv1.3",
        other => other,
    }
}
