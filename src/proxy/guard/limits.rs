//! Limits on requests: taken all, or none and the client is told when to come again.

use pingora_proxy::Session;

use crate::proxy::admit::Admission;
use crate::proxy::context::RequestContext;
use crate::snapshot::RouteState;

/// `None` lets the request go on.
pub fn take(_session: &Session, _ctx: &mut RequestContext, _route: &RouteState) -> Option<Admission> {
    None
}
