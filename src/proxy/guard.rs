//! What guards a route, in this order: CORS, identity, permission, limits, masking. Any may answer.
//!
//! Who is not let in counts under limits too, so that nobody tries one key after the other as fast as it goes: a caller
//! without permission under all of them, one that is not known under those by client address. The other limits are for
//! callers; strangers must not be able to use them up.

use super::admit::Admission;
use super::context::RequestContext;
use super::rejection::Rejection;
use crate::snapshot::RouteState;
use crate::transport::session::Session;
use identity::Identified;

pub mod cors;
pub mod identity;
pub mod limits;
pub mod sanitize;

/// Runs the guards of `route`; `None` lets the request in.
pub fn guard(session: &Session<'_>, ctx: &mut RequestContext, route: &RouteState) -> Option<Admission> {
    cors::take(session, ctx, route).or_else(|| match identity::take(session, ctx, route) {
        Identified::LetIn => limits::take(session, ctx, route).or_else(|| sanitize::take(session, ctx, route)),
        Identified::NotPermitted => {
            let limited = limits::take(session, ctx, route);
            Some(limited.unwrap_or_else(|| Admission::reject(Rejection::PermissionDenied)))
        }
        Identified::Unknown => {
            let limited = limits::take_of_stranger(session, ctx, route);
            Some(limited.unwrap_or_else(|| identity::challenge(ctx)))
        }
    })
}
