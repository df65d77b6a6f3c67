//! impl ProxyHttp: the table of contents, no logic.
//!
//! A request passes [`admit`] (who, what, may they), then either our own [`exchange`] (HTTP/1 members, no upgrade) or
//! Pingora's proxy phases ([`tunnel`]: upgrades, and pools that speak HTTP/2), and ends in [`finish`], once.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session as PingoraSession};

use crate::server::drain::Drain;
use crate::snapshot::{CacheRoute, PoolRoute, RouteState, Shared};
use crate::transport::session::Session;
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
#[derive(Clone)]
pub struct Gateway {
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Whether the process is on its way out.
    pub drain: Arc<Drain>,
    /// This worker's upstream connections.
    pub connector: Arc<Connector>,
    /// What this worker fetches for caches.
    pub fetches: Arc<Fetches>,
}

/// How far a request was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// To its end.
    Whole,
    /// It was let in, and is one for Pingora's proxy phases.
    Left,
}

/// A request that was let in, on its way to Pingora.
pub struct Admitted(pub Box<RequestContext>);

impl Gateway {
    /// What a request begins with.
    pub fn context(&self) -> Box<RequestContext> {
        Box::new(RequestContext::new(self.shared.current.load_full()))
    }

    /// Serves a request: to its end, unless it is one for Pingora's proxy phases.
    ///
    /// # Errors
    /// When its connection can only be cut.
    pub async fn serve(&self, session: &mut Session<'_>, ctx: &mut RequestContext) -> pingora::Result<Served> {
        admit::enter(session, ctx);
        admit::bound_writes(session, ctx);
        let served = match admit::admit(session, ctx, self.drain.is_draining()) {
            Admission::Answer(answer) => local::send(session, ctx, answer).await,
            Admission::Reject(rejection, termination) => Err(Unserved::Rejected(rejection, termination)),
            Admission::Forward => {
                let route = ctx.route.clone();
                match route.as_ref().map(|route| (route, &route.ai, &route.pool)) {
                    Some((_, _, Some(pool))) if tunnel::takes(session, pool) => {
                        ctx.admitted = true;
                        return Ok(Served::Left);
                    }
                    // Boxed: an idle connection would carry room for them.
                    Some((_, Some(ai), _)) => Box::pin(ai::serve(session, ctx, ai, self)).await,
                    Some((route, _, Some(pool))) => match &route.cache {
                        Some(cache) => Box::pin(self.cached(route, cache, pool).serve(session, ctx)).await,
                        None => Box::pin(exchange::serve(session, ctx, pool, &self.connector)).await,
                    },
                    _ => Ok(()),
                }
            }
        };
        exchange::settle(session, ctx, served).await.map(|()| Served::Whole)
    }

    fn cached<'a>(&'a self, route: &'a Arc<RouteState>, cache: &'a CacheRoute, pool: &'a PoolRoute) -> Cached<'a> {
        Cached { route, cache, pool, connector: &self.connector, fetches: &self.fetches }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it through several futures, each of which would copy it.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Box<RequestContext> {
        self.context()
    }

    /// No module runs on every request: the default would build one for a compression that is off.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// A request that [`Gateway::serve`] left to Pingora, on a connection of ours, goes on where it stands.
    fn on_connection_reuse(
        &self,
        _session: &mut PingoraSession,
        ctx: &mut Box<RequestContext>,
        admitted: Box<dyn Any + Send + Sync>,
    ) {
        if let Ok(admitted) = admitted.downcast::<Admitted>() {
            *ctx = admitted.0;
        }
    }

    async fn request_filter(
        &self,
        session: &mut PingoraSession,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<bool> {
        let served = if ctx.admitted {
            admit::resume(ctx);
            Served::Left
        } else {
            self.serve(&mut Session::Pingora(session), ctx).await?
        };
        if served == Served::Left {
            tunnel::invite_body(session).await?;
        }
        Ok(served == Served::Whole)
    }

    async fn upstream_peer(
        &self,
        session: &mut PingoraSession,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<Box<HttpPeer>> {
        tunnel::peer(session, ctx)
    }

    fn fail_to_connect(
        &self,
        _session: &mut PingoraSession,
        _peer: &HttpPeer,
        ctx: &mut Box<RequestContext>,
        error: Box<pingora::Error>,
    ) -> Box<pingora::Error> {
        tunnel::failed(ctx, error, true)
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut PingoraSession,
        request: &mut RequestHeader,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<()> {
        tunnel::request(request, ctx)
    }

    async fn request_body_filter(
        &self,
        _session: &mut PingoraSession,
        body: &mut Option<bytes::Bytes>,
        _end: bool,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<()> {
        tunnel::count_body(body.as_ref(), ctx)
    }

    async fn response_filter(
        &self,
        session: &mut PingoraSession,
        response: &mut ResponseHeader,
        ctx: &mut Box<RequestContext>,
    ) -> pingora::Result<()> {
        tunnel::response(session, response, ctx);
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut PingoraSession,
        error: Box<pingora::Error>,
        ctx: &mut Box<RequestContext>,
        _reused: bool,
    ) -> Box<pingora::Error> {
        tunnel::failed(ctx, error, !tunnel::is_answered(session) && !session.retry_buffer_truncated())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut PingoraSession,
        error: &pingora::Error,
        ctx: &mut Box<RequestContext>,
    ) -> FailToProxy {
        tunnel::give_up(session, ctx, error).await
    }

    /// Failures are told by the access log and the metrics, where they can be counted and bounded.
    fn suppress_error_log(
        &self,
        _session: &PingoraSession,
        _ctx: &Box<RequestContext>,
        _error: &pingora::Error,
    ) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &PingoraSession,
        _ctx: &Box<RequestContext>,
        _error: &pingora::Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(
        &self,
        session: &mut PingoraSession,
        error: Option<&pingora::Error>,
        ctx: &mut Box<RequestContext>,
    ) {
        let mut session = Session::Pingora(session);
        finish::finish(&session, ctx);
        // What broke off is to be seen as such.
        if error.is_none() || ctx.error.is_some() {
            session.linger().await;
        }
    }
}
