//! RequestContext: what one request carries from stage to stage.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method};

use super::ai::AtDoor;
use super::ai::trail::Trail;
use super::headers::Forwarding;
use super::masking::Masking;
use super::rejection::Rejection;
use crate::auth::{Caller, Hidden};
use crate::balance::{Member, Pick};
use crate::clock;
use crate::limit::Permits;
use crate::observe::access_log::Lack;
use crate::observe::metrics::InFlight;
use crate::observe::trace::{RequestId, Trace};
use crate::observe::{CacheStatus, RetryReasons, Termination};
use crate::snapshot::{RouteState, Snapshot};
use crate::transport::connection::Connection;

/// One request. A stage writes its own slot and reads those before it.
pub struct RequestContext {
    /// The generation this request lives in.
    pub snapshot: Arc<Snapshot>,
    /// When its header block was complete.
    pub started: Instant,
    /// The same by the wall clock, in milliseconds since the epoch.
    pub wall_millis: u64,
    /// Its connection. `None` only before the first stage.
    pub connection: Option<Arc<Connection>>,
    /// Kept from the client when valid, else made.
    pub request_id: RequestId,
    /// Kept from the client when valid, else made.
    pub trace: Trace,
    /// Whether it was let in already, and is now with Pingora.
    pub admitted: bool,
    /// Its method.
    pub method: Method,
    /// The client, behind proxies that are trusted.
    pub client: IpAddr,
    /// Path and query to forward, when they are not those received.
    pub changed_target: Option<String>,
    /// What the upstream is told about the client.
    pub forwarding: Option<Forwarding>,
    /// The route.
    pub route: Option<Arc<RouteState>>,
    /// Who asks, where the route wants to know.
    pub caller: Option<Arc<Caller>>,
    /// The fields of it that are nothing for members.
    pub hidden: Hidden,
    /// What it holds of limits on requests in flight.
    pub permits: Option<Arc<Permits>>,
    /// How its bodies are masked.
    pub masking: Option<Box<Masking>>,
    /// Fields that its answer gets, whoever gives it. They replace those of the same name, but Vary is added to.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The door it came to, on an AI route.
    pub door: Option<AtDoor>,
    /// What became of it at providers, on an AI route.
    pub trail: Option<Box<Trail>>,
    /// How the route's cache answered it.
    pub cache: Option<CacheStatus>,
    /// Whether it is left out of the access log: health and the like.
    pub quiet: bool,
    /// What became of its attempts.
    pub upstream: UpstreamRecord,
    /// Bytes of the request body so far.
    pub body_in: u64,
    /// How it ended, once that is clear.
    pub termination: Option<Termination>,
    /// The code of the error that this gateway answered it with.
    pub error: Option<&'static str>,
    /// The limit that refused it.
    pub limit: Option<Arc<str>>,
    /// What that did not have.
    pub lack: Option<Lack>,
    /// When its client left, where its end has to wait for what an answer used.
    pub left: Option<Instant>,
    /// Counts it in flight while it lives.
    pub in_flight: Option<InFlight>,
}

/// What became of the attempts of a request.
#[derive(Default)]
pub struct UpstreamRecord {
    /// Attempts so far.
    pub attempts: u32,
    /// Why there was more than one.
    pub retry_reasons: RetryReasons,
    /// Indices of members that failed this request.
    pub tried: Vec<usize>,
    /// The member of the last attempt.
    pub member: Option<Arc<Member>>,
    /// The last attempt's hold on its member, on Pingora's own path.
    pub pick: Option<Pick>,
    /// When the last attempt began.
    pub attempt_started: Option<Instant>,
    /// How long its connection took; zero for one that was kept.
    pub connect: Option<Duration>,
    /// From the first attempt's start to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// When the first attempt began.
    pub started: Option<Instant>,
    /// When the last one ended.
    pub ended: Option<Instant>,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// What the client is told when there is no answer to pass on.
    pub rejection: Option<Rejection>,
}

impl RequestContext {
    /// A request of `snapshot`'s generation.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let wall_millis = clock::wall_millis();
        Self {
            snapshot,
            started: clock::now(),
            wall_millis,
            connection: None,
            request_id: RequestId::generate(wall_millis),
            trace: Trace::start(),
            admitted: false,
            method: Method::GET,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            changed_target: None,
            forwarding: None,
            route: None,
            caller: None,
            hidden: Hidden::default(),
            permits: None,
            masking: None,
            fields: Vec::new(),
            door: None,
            trail: None,
            cache: None,
            quiet: false,
            upstream: UpstreamRecord::default(),
            body_in: 0,
            termination: None,
            error: None,
            limit: None,
            lack: None,
            left: None,
            in_flight: None,
        }
    }

    /// The most bytes of a body this request may bring.
    pub fn max_body(&self) -> u64 {
        self.route.as_ref().map_or(self.snapshot.config.server.max_body, |route| route.config.max_body)
    }
}
