//! Who the caller is, and whether it may do this.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderValue, header};

use crate::auth::{Caller, Denied, Refused};
use crate::config::audit::EventKind;
use crate::config::auth::{Permission, Requirement, RouteAuth};
use crate::observe::audit::Event;
use crate::proxy::admit::Admission;
use crate::proxy::context::RequestContext;
use crate::proxy::rejection::Rejection;
use crate::snapshot::RouteState;
use crate::transport::session::Session;

/// The scheme that a client is asked to use (RFC 9110, section 11.6.1). What was wrong is not told.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"sluicegate\"");

/// Whether the one who asks is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identified {
    /// It is, or the route is open to everyone.
    LetIn,
    /// It is known, and may not do this.
    NotPermitted,
    /// Nobody knows who it is.
    Unknown,
}

/// Finds out who asks, and tells of it.
pub fn take(session: &Session<'_>, ctx: &mut RequestContext, route: &RouteState) -> Identified {
    let headers = &session.req_header().headers;
    let snapshot = Arc::clone(&ctx.snapshot);
    let auth = snapshot.auth.as_ref();
    let RouteAuth::Required(requirement) = &route.config.auth else {
        if let Some(auth) = auth.filter(|_| !route.config.forward_credentials) {
            ctx.hidden = auth.hidden(headers, None);
        }
        return Identified::LetIn;
    };
    let wall = UNIX_EPOCH + Duration::from_millis(ctx.wall_millis);
    // A route that wants a caller is never open, even if there were nobody to ask.
    let found = auth
        .map_or_else(|| Err(Denied::Missing.into()), |auth| auth.authenticate_by(headers, requirement.accepts, wall));
    let outcome = match found {
        Err(refused) => Outcome::Unknown(refused),
        Ok(caller) => {
            if let Some(auth) = auth.filter(|_| !route.config.forward_credentials) {
                ctx.hidden = auth.hidden(headers, Some(&caller));
            }
            let service = ctx.door.as_ref().and_then(|door| door.operation.service());
            // Where no door is, there is nothing to be allowed: whoever is known may learn that.
            let nowhere = route.ai.is_some() && ctx.door.is_none() && requirement.permission.is_none();
            let permitted = nowhere || is_permitted(requirement, &caller, &ctx.method, service);
            ctx.caller = Some(caller);
            if permitted { Outcome::LetIn } else { Outcome::NotPermitted(needed(requirement, &ctx.method, service)) }
        }
    };
    tell(session, ctx, &outcome);
    match outcome {
        Outcome::LetIn => Identified::LetIn,
        Outcome::NotPermitted(_) => Identified::NotPermitted,
        Outcome::Unknown(_) => Identified::Unknown,
    }
}

/// Asks for credentials.
pub fn challenge(ctx: &mut RequestContext) -> Admission {
    ctx.fields.push((header::WWW_AUTHENTICATE, CHALLENGE));
    Admission::reject(Rejection::Unauthorized)
}

/// What became of a request on a route that wants a caller.
enum Outcome<'a> {
    /// `ctx.caller` is in.
    LetIn,
    /// `ctx.caller` is known, and lacks this permission.
    NotPermitted(Cow<'a, str>),
    /// There is no caller.
    Unknown(Refused),
}

/// The one place that knows of every caller let in, refused or unknown: it counts them.
fn tell(session: &Session<'_>, ctx: &RequestContext, outcome: &Outcome<'_>) {
    let audit = &ctx.snapshot.audit;
    let (kind, done, reason) = match outcome {
        Outcome::LetIn => (EventKind::AuthenticationSuccess, true, None),
        Outcome::NotPermitted(_) => (EventKind::AccessDenied, false, Some("permission")),
        Outcome::Unknown(refused) => (EventKind::AuthenticationFailure, false, Some(refused.why.as_str())),
    };
    if let Some(reason) = reason.filter(|_| kind == EventKind::AuthenticationFailure) {
        ctx.snapshot.auth_failures.record(reason);
    }
    if let (Outcome::LetIn, Some(caller)) = (outcome, &ctx.caller) {
        audit.used(&caller.scope);
    }
    let event = Event { reason, ..event(session, ctx, kind, done) };
    audit.record(&match outcome {
        Outcome::LetIn => event,
        Outcome::NotPermitted(needed) => Event { target: Some(needed), ..event },
        Outcome::Unknown(refused) => Event { actor: refused.key.as_deref(), ..event },
    });
}

/// What the audit log says of this request.
pub fn event<'a>(session: &'a Session, ctx: &'a RequestContext, kind: EventKind, done: bool) -> Event<'a> {
    Event {
        actor: ctx.caller.as_ref().map(|caller| &*caller.id),
        client: Some(ctx.client),
        request_id: Some(ctx.request_id.as_str()),
        route: ctx.route.as_ref().map(|route| &*route.config.name),
        method: Some(ctx.method.as_str()),
        path: Some(session.req_header().uri.path()),
        ..Event::new(kind, done)
    }
}

/// What a caller lacks that [`is_permitted`] refuses.
fn needed<'a>(requirement: &'a Requirement, method: &http::Method, service: Option<&str>) -> Cow<'a, str> {
    let by_door = || Permission::text_of(method, service);
    requirement.permission.as_ref().map_or_else(by_door, Permission::text)
}

/// `service`: what a door of an AI route is for. There a permission for the service is one to use it (row A5.05).
fn is_permitted(requirement: &Requirement, caller: &Caller, method: &http::Method, service: Option<&str>) -> bool {
    match (&requirement.permission, service) {
        (Some(permission), _) => caller.permissions.allows(permission),
        (None, Some(service)) => caller.permissions.allows_service(service, method),
        (None, None) => caller.permissions.allows_method(method),
    }
}
