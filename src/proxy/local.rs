//! Answers of our own: health, redirects, fixed responses, rejections.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;

use super::context::RequestContext;
use super::exchange::Unserved;
use super::forward::finish_response;
use super::rejection::Rejection;
use crate::ai::dialect::Dialect;
use crate::ai::dialect::error::{self, ErrorText};
use crate::ai::door;
use crate::ai::refusal::give_up_after;
use crate::clock;
use crate::config::{PathPattern, Respond};
use crate::observe::Termination;
use crate::snapshot::{RouteState, Snapshot};
use crate::transport::session::Session;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The paths that every listener answers itself, unless a route names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/health`: the process serves (row A1.22).
    Health,
    /// `/health/live`: the same for orchestrators (row D03).
    Live,
    /// `/health/ready`, `/ready`: it should get traffic.
    Ready,
}

impl Probe {
    /// The probe at `path`.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/health" => Some(Self::Health),
            "/health/live" => Some(Self::Live),
            "/health/ready" | "/ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// A small answer, whole in memory.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body's type.
    pub content_type: HeaderValue,
    /// Its body.
    pub body: Bytes,
    /// Other fields.
    pub fields: Vec<(header::HeaderName, HeaderValue)>,
}

/// What `probe` says now. JSON where the client asks for it by Accept or `?format=json`.
pub fn probe(probe: Probe, snapshot: &Snapshot, draining: bool, json: bool) -> Answer {
    let not_ready = if draining { Some("draining") } else { unusable(snapshot) };
    let (status, body) = match (probe, not_ready) {
        (Probe::Ready, Some(reason)) => {
            let text = format!(r#"{{"status":"not_ready","reason":"{reason}","timestamp":"{}"}}"#, timestamp());
            (StatusCode::SERVICE_UNAVAILABLE, Bytes::from(text))
        }
        (Probe::Health, _) if !json => (StatusCode::OK, Bytes::from_static(b"healthy\n")),
        (Probe::Health, _) => (StatusCode::OK, status_json("healthy")),
        (Probe::Live, _) => (StatusCode::OK, status_json("alive")),
        (Probe::Ready, None) => (StatusCode::OK, status_json("ready")),
    };
    let content_type = if probe == Probe::Health && !json { TEXT } else { JSON };
    Answer { status, content_type, body, fields: vec![(header::CACHE_CONTROL, NO_STORE)] }
}

fn status_json(word: &str) -> Bytes {
    Bytes::from(format!(r#"{{"status":"{word}","timestamp":"{}"}}"#, timestamp()))
}

fn timestamp() -> String {
    jiff::Timestamp::try_from(clock::wall()).map(|now| format!("{now:.3}")).unwrap_or_default()
}

/// Why traffic should go elsewhere: a route is left without a member that it could ask.
pub fn unusable(snapshot: &Snapshot) -> Option<&'static str> {
    let lacks_pool = |route: &RouteState| route.pool.as_ref().is_some_and(|route| !route.pool.has_usable_member());
    let lacks_provider = |route: &RouteState| route.ai.as_ref().is_some_and(|route| !route.has_usable_member());
    if snapshot.routes.iter().any(|route| lacks_pool(route)) {
        return Some("a pool has no usable member");
    }
    let lacks_models = snapshot.routes.iter().any(|route| lacks_provider(route));
    lacks_models.then_some("no provider of the models of a route has a usable member")
}

/// The answer of a `respond` route.
pub fn fixed(respond: &Respond) -> Answer {
    Answer {
        status: respond.status,
        content_type: respond.content_type.clone(),
        body: respond.body.clone(),
        fields: Vec::new(),
    }
}

/// A redirect.
pub fn redirect(status: StatusCode, location: HeaderValue) -> Answer {
    Answer { status, content_type: TEXT, body: Bytes::new(), fields: vec![(header::LOCATION, location)] }
}

/// What the client gets for `rejection`.
pub fn rejected(rejection: &Rejection, session: &Session<'_>, ctx: &RequestContext) -> Answer {
    let accept = session.req_header().headers.get(header::ACCEPT);
    let mut rendered = rejection.render(accept, ctx.request_id.as_str());
    let dialect = dialect(session, ctx);
    if let Some(dialect) = dialect {
        rendered.content_type = JSON;
        rendered.body = ai_error(rejection, dialect, ctx);
    }
    let mut fields = vec![(header::SERVER, HeaderValue::from_static("sluicegate")), (header::CACHE_CONTROL, NO_STORE)];
    if dialect.is_some() {
        fields.extend(super::ai::answer::request_id(ctx));
    }
    if let Some(seconds) = rendered.retry_after {
        fields.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        if dialect.is_some() {
            fields.extend(give_up_after(seconds.into()));
        }
    }
    if let Some(allow) = rendered.allow {
        fields.push((header::ALLOW, allow));
    }
    Answer { status: rendered.status, content_type: rendered.content_type, body: rendered.body, fields }
}

/// In which dialect errors are told: that of the door; where there is none on an AI route, that of the client.
fn dialect(session: &Session<'_>, ctx: &RequestContext) -> Option<Dialect> {
    if let Some(door) = &ctx.door {
        return Some(door.dialect);
    }
    ctx.route.as_ref()?.ai.as_ref()?;
    let of_anthropic = session.req_header().headers.contains_key("anthropic-version");
    Some(if of_anthropic { Dialect::Messages } else { Dialect::Chat })
}

/// The words of `rejection` in a dialect of models.
fn ai_error(rejection: &Rejection, dialect: Dialect, ctx: &RequestContext) -> Bytes {
    let message = match (rejection, &ctx.route) {
        (Rejection::NotFound, Some(route)) if ctx.door.is_none() => {
            let (PathPattern::Prefix(prefix) | PathPattern::Exact(prefix)) = &route.config.matching.path;
            Cow::Owned(door::no_door(prefix))
        }
        _ => rejection.message_of(ctx.limit.as_deref()),
    };
    let (status, code, request_id) = (rejection.status(), rejection.code(), ctx.request_id.as_str());
    let text = ErrorText { status, code, message: &message, param: None, request_id };
    error::render(dialect, &text)
}

/// Sends `answer`.
///
/// # Errors
/// When the client is gone.
pub async fn send(session: &mut Session<'_>, ctx: &RequestContext, answer: Answer) -> Result<(), Unserved> {
    let gone = |_| Unserved::Cut(Termination::ClientClosed);
    let mut response = ResponseHeader::build(answer.status, Some(12)).map_err(gone)?;
    let bodiless = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless {
        response.insert_header(header::CONTENT_LENGTH, answer.body.len()).map_err(gone)?;
        if !answer.body.is_empty() {
            response.insert_header(header::CONTENT_TYPE, answer.content_type).map_err(gone)?;
        }
    }
    for (name, value) in answer.fields {
        response.insert_header(name, value).map_err(gone)?;
    }
    finish_response(&mut response, answer.status, ctx);
    if !session.is_body_done() {
        // What was not read of the request is not worth reading.
        session.end_connection();
        if let Some(connection) = &ctx.connection {
            connection.linger();
        }
    }
    let body = if ctx.method == Method::HEAD || bodiless { Bytes::new() } else { answer.body };
    session.write_response_header(Box::new(response)).await.map_err(gone)?;
    session.write_response_body(body, true).await.map_err(gone)
}
