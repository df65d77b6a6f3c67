//! Limits on requests: taken all, or none and the client is told when to come again.

use std::sync::Arc;

use crate::clock;
use crate::limit::{Asked, Refusal, Refused, RouteLimits};
use crate::proxy::admit::Admission;
use crate::proxy::context::RequestContext;
use crate::proxy::rejection::Rejection;
use crate::snapshot::RouteState;
use crate::transport::session::Session;

/// `None` lets the request go on, with what it holds of limits in its context.
pub fn take(session: &Session<'_>, ctx: &mut RequestContext, route: &RouteState) -> Option<Admission> {
    take_of(route.limits.as_ref()?, session, ctx)
}

/// The same for a request of nobody known.
pub fn take_of_stranger(session: &Session<'_>, ctx: &mut RequestContext, route: &RouteState) -> Option<Admission> {
    take_of(route.stranger_limits.as_ref()?, session, ctx)
}

fn take_of(limits: &RouteLimits, session: &Session<'_>, ctx: &mut RequestContext) -> Option<Admission> {
    let headers = &session.req_header().headers;
    let asked = Asked { client: ctx.client, caller: ctx.caller.as_deref(), model: None, headers };
    match limits.take(&asked, clock::now(), &mut ctx.fields) {
        Ok(permits) => {
            ctx.permits = permits.holds_any().then(|| Arc::new(permits));
            None
        }
        Err(refused) => Some(Admission::reject(rejection(refused, ctx))),
    }
}

/// Tells how the budgets stand, where the request is over before they were asked.
pub fn tell_budgets(session: &Session<'_>, ctx: &mut RequestContext) {
    let awaits = ctx.permits.as_ref().is_some_and(|permits| permits.await_budgets());
    let Some(route) = ctx.route.clone().filter(|_| awaits) else { return };
    let headers = &session.req_header().headers;
    let asked = Asked { client: ctx.client, caller: ctx.caller.as_deref(), model: None, headers };
    if let Some(limits) = &route.limits {
        limits.tell_budgets(&asked, clock::now(), &mut ctx.fields);
    }
}

/// What a client hears of a limit's refusal.
pub fn rejection(refused: Refused, ctx: &mut RequestContext) -> Rejection {
    (ctx.limit, ctx.lack) = (Some(refused.limit), refused.lack);
    match refused.why {
        Refusal::Rate { seconds } => Rejection::RateLimited(seconds),
        Refusal::Concurrency => Rejection::ConcurrencyLimited,
        Refusal::Tokens { seconds } => Rejection::TokensLimited(seconds),
        Refusal::Cost { seconds } => Rejection::BudgetExceeded(seconds),
    }
}
