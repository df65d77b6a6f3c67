//! Masking: whose bodies are masked, and which are refused because they cannot be.

use std::sync::Arc;

use crate::config::contains;
use crate::proxy::admit::Admission;
use crate::proxy::context::RequestContext;
use crate::proxy::forward::has_body;
use crate::proxy::masking::{Masking, Teller};
use crate::snapshot::RouteState;
use crate::transport::session::Session;

/// `None` lets the request go on. Asked last: who the caller is must be known.
pub fn take(session: &Session<'_>, ctx: &mut RequestContext, route: &RouteState) -> Option<Admission> {
    let state = route.sanitize.as_ref()?;
    let known =
        ctx.caller.as_ref().is_some_and(|caller| state.config.callers.iter().any(|scope| **scope == *caller.scope));
    if known || contains(&state.config.addresses, ctx.client) {
        return None;
    }
    let teller = Teller {
        audit: Arc::clone(&ctx.snapshot.audit),
        client: ctx.client,
        request_id: ctx.request_id,
        route: Arc::clone(&route.config),
    };
    match Masking::begin(state, &session.req_header().headers, has_body(session), teller) {
        Ok(masking) => {
            ctx.masking = Some(Box::new(masking));
            None
        }
        Err(rejection) => Some(Admission::reject(rejection)),
    }
}
