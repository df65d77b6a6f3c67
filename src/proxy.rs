//! impl ProxyHttp: the table of contents, no logic.
//!
//! A request passes [`admit`] (who, what, may they), then either our own [`exchange`] (HTTP/1 members, no upgrade) or
//! Pingora's proxy phases ([`tunnel`]: upgrades, and pools that speak HTTP/2), and ends in [`finish`], once.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::server::drain::Drain;
use crate::snapshot::{CacheRoute, PoolRoute, RouteState, Shared};
use crate::upstream::connect::Connector;
use admit::Admission;
use cached::Cached;
use cached::fetching::Fetches;
use context::RequestContext;
use exchange::Unserved;

pub mod admit;
pub mod ai;
pub mod attempts;
pub mod body;
pub mod cached;
pub mod context;
pub mod cors;
pub mod exchange;
pub mod fetch;
pub mod finish;
pub mod forward;
pub mod guard;
pub mod headers;
pub mod local;
pub mod masking;
pub mod rejection;
pub mod tunnel;

/// The proxy of one worker thread.
pub struct Gateway {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Whether the process is on its way out.
    pub drain: Arc<Drain>,
    /// This worker's upstream connections.
    pub connector: Arc<Connector>,
    /// What this worker fetches for caches.
    pub fetches: Fetches,
}

impl Gateway {
    fn cached<'a>(&'a self, route: &'a Arc<RouteState>, cache: &'a CacheRoute, pool: &'a PoolRoute) -> Cached<'a> {
        Cached { route, cache, pool, connector: &self.connector, fetches: &self.fetches }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it through several futures, each of which would copy it.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Box<RequestContext> {
        Box::new(RequestContext::new(self.shared.current.load_full()))
    }

    /// No module runs on every request: the default would build one for a compression that is off.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<RequestContext>) -> pingora::Result<bool> {
        admit::enter(session, ctx);
        admit::bound_writes(session, ctx);
        let served = match admit::admit(session, ctx, self.drain.is_draining()) {
            Admission::Answer(answer) => local::send(session, ctx, answer).await,
            Admission::Reject(rejection, termination) => Err(Unserved::Rejected(rejection, termination)),
            Admission::Forward => {
                let route = ctx.route.clone();
                if let Some(ai) = route.as_ref().and_then(|route| route.ai.as_ref()) {
                    let served = Box::pin(ai::serve(session, ctx, ai, self)).await;
                    return exchange::settle(session, ctx, served).await.map(|()| true);
                }
                match route.as_ref().and_then(|route| Some((route, route.pool.as_ref()?))) {
                    Some((_, pool)) if tunnel::takes(session, pool) => {
                        tunnel::invite_body(session).await?;
                        return Ok(false);
                    }
                    Some((route, pool)) => match &route.cache {
                        Some(cache) => self.cached(route, cache, pool).serve(session, ctx).await,
                        None => exchange::serve(session, ctx, pool, &self.connector).await,
                    },
                    None => Ok(()),
                }
            }
        };
        exchange::settle(session, ctx, served).await.map(|()| true)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<Box<HttpPeer>> {
        tunnel::peer(session, ctx)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<RequestContext>,
        error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        tunnel::failed(ctx, error, true)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<()> {
        tunnel::request(request, ctx)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<bytes::Bytes>,
        _end: bool,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<()> {
        tunnel::count_body(body.as_ref(), ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<()> {
        tunnel::response(session, response, ctx);
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<pingora::Error>,
        ctx: &mut Box<RequestContext>,
        _reused: bool,
    ) -> Box<pingora::Error> {
        tunnel::failed(ctx, error, !tunnel::is_answered(session) && !session.retry_buffer_truncated())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &pingora::Error,
        ctx: &mut Box<RequestContext>,
    ) -> FailToProxy {
        tunnel::give_up(session, ctx, error).await
    }

    /// Failures are told by the access log and the metrics, where they can be counted and bounded.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<RequestContext>, _error: &pingora::Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Box<RequestContext>,
        _error: &pingora::Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _error: Option<&pingora::Error>, ctx: &mut Box<RequestContext>) {
        finish::finish(session, ctx);
    }
}
