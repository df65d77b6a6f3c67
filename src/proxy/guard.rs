//! What guards a route, in this order: CORS, identity, permission, limits, masking. Any may answer.

use pingora_proxy::Session;

use super::admit::Admission;
use super::context::RequestContext;
use crate::snapshot::RouteState;

pub mod cors;
pub mod identity;
pub mod limits;
pub mod sanitize;

/// Runs the guards of `route`; `None` lets the request in.
pub fn guard(session: &Session, ctx: &mut RequestContext, route: &RouteState) -> Option<Admission> {
    cors::take(session, ctx, route)
        .or_else(|| identity::take(session, ctx, route))
        .or_else(|| limits::take(session, ctx, route))
        .or_else(|| sanitize::take(session, ctx, route))
}
