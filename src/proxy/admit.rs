//! The stages before a member is asked: who asks, for what, and may they.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;

use super::ai::AtDoor;
use super::context::RequestContext;
use super::cors::preflight;
use super::guard;
use super::headers::{Edge, Forwarding, check_request, content_length, request_host};
use super::local::{self, Answer, Probe};
use super::rejection::Rejection;
use crate::ai::dialect::Dialect;
use crate::ai::door::{Door, Operation};
use crate::config::{self, PathPattern, Target, contains};
use crate::observe::Termination;
use crate::observe::trace::{RequestId, Trace};
use crate::route::rewrite::{redirect_https, redirect_location, rewrite_path};
use crate::route::{Found, NormalPath, RequestView};
use crate::snapshot::{RouteState, Snapshot};
use crate::transport::connection::{Connection, Phase};
use crate::transport::session::Session;

/// Nothing is wrong with the request but that the redirect has no place for it.
const UNREDIRECTABLE: Rejection = Rejection::BadRequest("the redirect cannot hold this request");

/// What is to be done with a request.
pub enum Admission {
    /// Answer it so.
    Answer(Answer),
    /// Refuse it.
    Reject(Rejection, Termination),
    /// Ask the route's pool.
    Forward,
}

impl Admission {
    /// Refuses for a reason that lies in the request.
    pub fn reject(rejection: Rejection) -> Self {
        let ending = rejection.ending();
        Self::Reject(rejection, ending)
    }
}

/// Ties the request to its connection. The first thing done with it.
pub fn enter(session: &Session<'_>, ctx: &mut RequestContext) {
    ctx.connection = session.connection();
    let http2 = session.is_http2();
    if let Some(connection) = &ctx.connection {
        ctx.client = connection.peer;
        connection.enter(if http2 { Phase::Multiplexed } else { Phase::Request });
    }
    let request = session.req_header();
    ctx.method = request.method.clone();
    ctx.request_id = RequestId::from_headers(&request.headers, ctx.wall_millis);
    ctx.trace = Trace::from_headers(&request.headers);
}

/// Bounds how long an HTTP/2 stream waits for its client to take more: the connection as a whole may be moving. An
/// HTTP/1 connection bounds its writes itself.
pub fn bound_writes(session: &mut Session<'_>, ctx: &RequestContext) {
    if let Some(connection) = &ctx.connection {
        session.bound_writes(connection.deadlines.write);
    }
}

/// Goes on with a request that was let in.
pub fn resume(ctx: &RequestContext) {
    if let Some(connection) = &ctx.connection {
        connection.enter(Phase::Request);
    }
}

/// Runs the stages.
pub fn admit(session: &Session<'_>, ctx: &mut RequestContext, draining: bool) -> Admission {
    let Some(connection) = ctx.connection.clone() else {
        return Admission::Reject(Rejection::Internal, Termination::Internal);
    };
    let snapshot = Arc::clone(&ctx.snapshot);
    let request = session.req_header();
    let server = &snapshot.config.server;
    if let Err(rejection) = check_request(&request.uri, &request.headers, request.version, server.max_header) {
        return Admission::reject(rejection);
    }
    ctx.forwarding = Some(forwarding(session, &connection, &server.trusted_proxies));
    ctx.client = ctx.forwarding.as_ref().map_or(connection.peer, |forwarding| forwarding.client);

    if !has_readable_target(request) {
        return Admission::reject(Rejection::BadRequest("the request target is no path"));
    }
    if !request.raw_path_is_utf8() {
        return Admission::reject(Rejection::BadRequest("the path is not text"));
    }
    let path = match NormalPath::parse(request.uri.path()) {
        Ok(path) => path,
        Err(bad) => return Admission::reject(Rejection::BadRequest(bad.reason())),
    };
    let host = request_host(&request.uri, &request.headers);
    let view = RequestView { host, path: &path, method: &request.method, headers: &request.headers };
    let found = find(&snapshot, &view);
    if let Some(answer) = probe(session, ctx, &path, &found, draining) {
        return Admission::Answer(answer);
    }
    if let Some(port) = connection.redirect_https
        && let Some(location) = redirect_https(host, &path, request.uri.query(), port)
    {
        return Admission::Answer(local::redirect(http::StatusCode::PERMANENT_REDIRECT, location));
    }
    let route = match found {
        Found::Route(index) => snapshot.routes.get(index).cloned(),
        Found::MethodNotAllowed(allow) => return Admission::reject(Rejection::MethodNotAllowed(allow)),
        Found::Ambiguous => return Admission::reject(Rejection::BadRequest("the path can be read in two ways")),
        Found::NotFound => None,
    };
    let Some(route) = route else { return Admission::reject(Rejection::NotFound) };
    ctx.in_flight = Some(route.metrics.enter());
    ctx.route = Some(Arc::clone(&route));
    guard::cors::mark(session, ctx, &route);
    take_route(session, ctx, &route, &path, host)
}

/// The route of a request; of a preflight, that which takes the method it asks for, if it answers preflights. Neither
/// has such a route to list OPTIONS, nor does a catch-all beside it answer in its place.
fn find(snapshot: &Snapshot, view: &RequestView<'_>) -> Found {
    if let Some(method) = preflight(view.method, view.headers) {
        let found = snapshot.table.find(&RequestView { method: &method, ..*view });
        let route = if let Found::Route(index) = found { snapshot.routes.get(index) } else { None };
        if route.is_some_and(|route| route.config.cors.is_some()) {
            return found;
        }
    }
    snapshot.table.find(view)
}

/// The rules of the route itself.
fn take_route(
    session: &Session<'_>,
    ctx: &mut RequestContext,
    route: &RouteState,
    path: &NormalPath<'_>,
    host: &str,
) -> Admission {
    let request = session.req_header();
    if let Target::Ai(_) = route.config.target {
        ctx.door = at_door(&route.config, path, &request.headers);
    }
    if !is_allowed(&route.config, ctx.client) {
        return Admission::reject(Rejection::Forbidden);
    }
    if content_length(&request.headers).is_some_and(|length| length > route.config.max_body) {
        return Admission::reject(Rejection::PayloadTooLarge);
    }
    if let Some(admission) = guard::guard(session, ctx, route) {
        return admission;
    }
    match &route.config.target {
        Target::Respond(respond) => return Admission::Answer(local::fixed(respond)),
        Target::Redirect(redirect) => {
            let location = redirect_location(redirect, host, path.forward(), request.uri.query());
            return location.map_or_else(
                || Admission::Reject(UNREDIRECTABLE, Termination::Rejected),
                |location| Admission::Answer(local::redirect(redirect.status, location)),
            );
        }
        Target::Pool(_) => {}
        Target::Ai(_) => {
            let admission = enter_door(ctx);
            if !matches!(admission, Admission::Forward) {
                guard::limits::tell_budgets(session, ctx);
            }
            return admission;
        }
    }
    if !route.config.websocket && session.is_upgrade_req() {
        return Admission::reject(Rejection::UpgradeRefused);
    }
    ctx.changed_target = changed_target(&route.config, path, request);
    Admission::Forward
}

/// The door of an AI route at `path`. Both dialects list models there; Anthropic's clients name its version.
fn at_door(route: &config::Route, path: &NormalPath<'_>, headers: &HeaderMap) -> Option<AtDoor> {
    let prefix = match &route.matching.path {
        PathPattern::Prefix(prefix) | PathPattern::Exact(prefix) => prefix,
    };
    let door = Door::at(path.forward().strip_prefix(prefix.as_str())?)?;
    let dialect = match door.operation {
        Operation::Models if headers.contains_key("anthropic-version") => Dialect::Messages,
        operation => operation.error_dialect(),
    };
    Some(AtDoor { operation: door.operation, model: door.model.map(Into::into), dialect })
}

/// Lets a request in at its door, if it comes by the door's method.
fn enter_door(ctx: &RequestContext) -> Admission {
    let Some(door) = &ctx.door else { return Admission::reject(Rejection::NotFound) };
    let method = door.operation.method();
    if ctx.method == method || (ctx.method == Method::HEAD && method == Method::GET) {
        return Admission::Forward;
    }
    let allow = if method == Method::GET { "GET, HEAD" } else { "POST" };
    Admission::reject(Rejection::MethodNotAllowed(HeaderValue::from_static(allow)))
}

/// Whether the target is a path, or an absolute URL. What is neither would be forwarded as `/`.
fn has_readable_target(request: &RequestHeader) -> bool {
    let target = request.raw_path();
    let begins = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    target.first() == Some(&b'/') || begins(b"http://") || begins(b"https://")
}

fn is_allowed(route: &config::Route, client: IpAddr) -> bool {
    !contains(&route.deny, client) && (route.allow.is_empty() || contains(&route.allow, client))
}

/// Path and query towards the member, when they are not those received: rewritten, in normal form, or taken out of an
/// absolute target.
fn changed_target(route: &config::Route, path: &NormalPath<'_>, request: &RequestHeader) -> Option<String> {
    let query = request.uri.query();
    if let Some(rewrite) = &route.rewrite {
        return Some(rewrite_path(rewrite, path.forward(), query));
    }
    if path.forward() == request.uri.path() && request.raw_path().first() == Some(&b'/') {
        return None;
    }
    Some(match query {
        Some(query) => format!("{}?{query}", path.forward()),
        None => path.forward().to_owned(),
    })
}

/// The local endpoints, unless a route names them: `/` and other catch-alls do not.
fn probe(
    session: &Session<'_>,
    ctx: &mut RequestContext,
    path: &NormalPath<'_>,
    found: &Found,
    draining: bool,
) -> Option<Answer> {
    let probe = Probe::at(path.matching())?;
    let claimed = match found {
        Found::Route(index) => ctx.snapshot.routes.get(*index).is_some_and(|route| names_its_path(&route.config)),
        _ => false,
    };
    if claimed || !matches!(ctx.method, Method::GET | Method::HEAD) {
        return None;
    }
    ctx.quiet = true;
    let request = session.req_header();
    let asks_json = |value: &HeaderValue| value.to_str().is_ok_and(|accept| accept.contains("application/json"));
    let json = request.headers.get(header::ACCEPT).is_some_and(asks_json)
        || request.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "format=json"));
    Some(local::probe(probe, &ctx.snapshot, draining, json))
}

fn names_its_path(route: &config::Route) -> bool {
    match &route.matching.path {
        PathPattern::Exact(_) => true,
        PathPattern::Prefix(prefix) => prefix != "/",
    }
}

fn forwarding(session: &Session<'_>, connection: &Connection, trusted: &[ipnet::IpNet]) -> Forwarding {
    let request = session.req_header();
    let host = request.headers.get(header::HOST).cloned().or_else(|| {
        let authority = request.uri.authority()?;
        HeaderValue::from_str(authority.as_str()).ok()
    });
    // A unix socket has no peer address; whoever may open it stands on this machine.
    let edge = Edge::new(connection.tls, connection.port);
    Forwarding::new(connection.peer, host, &edge, &request.headers, trusted)
}
