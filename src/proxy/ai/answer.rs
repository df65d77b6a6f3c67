//! An answer of a provider, and how it reaches the client.
//!
//! A client that goes away ends the future that waits here, and with it the request at the provider.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};

use super::body::Held;
use super::call::Live;
use super::events::Events;
use crate::ai::answers::Piece;
use crate::ai::breaker::Trial;
use crate::ai::estimate::Made;
use crate::ai::usage::Usage;
use crate::proxy::context::RequestContext;
use crate::proxy::exchange::{Unserved, cut_by_client};
use crate::proxy::forward::complete_response;
use crate::transport::session::Session;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// Proxies in front of us are not to hold events back (row C22).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// What Anthropic's clients read as the id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Fields of ours that an answer gets, about.
const OURS: usize = 14;

/// Whether a field of a provider's answer is for the client. All others stay here: they may carry cookies, keys, or limits
/// that are the gateway's and not the caller's.
fn passes(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-type"
            | "content-disposition"
            | "content-language"
            | "openai-model"
            | "openai-version"
            | "openai-processing-ms"
            | "x-inference-time"
            | "x-model"
            | "warning"
    )
}

/// An answer that has begun: with its first content, or let go before.
pub struct Answer {
    /// The provider's fields that pass.
    pub fields: HeaderMap,
    /// What it says.
    pub content: Content,
    /// Told how a stream ends.
    pub trial: Option<Trial>,
}

/// What an answer says.
pub enum Content {
    /// All of it, in the client's dialect.
    Whole {
        /// Its bytes.
        body: Bytes,
        /// The tokens that the provider counted.
        usage: Option<Usage>,
        /// The same as events, where the client wants these and its door can have them.
        pieces: Option<Vec<Piece>>,
        /// What the model has made.
        made: Made,
        /// The model that the provider names.
        model: Option<Box<str>>,
        /// What it takes of the memory for bodies.
        held: Held,
    },
    /// Events.
    Events(Box<Events>),
    /// Bytes that nobody here reads, such as sound.
    Bytes(Live),
}

/// The fields of a provider's answer that pass. `translated`: the body is ours.
pub fn passed_fields(headers: &HeaderMap, translated: bool) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(OURS);
    let passes = |name: &HeaderName| if translated { name == header::CONTENT_TYPE } else { passes(name) };
    for (name, value) in headers.iter().filter(|(name, _)| passes(name)) {
        // The first one of each name.
        passed.entry(name).or_insert_with(|| value.clone());
    }
    passed
}

/// Begins the answer to the client with `fields`.
///
/// # Errors
/// When the client is gone.
pub async fn begin(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    fields: HeaderMap,
    length: Option<usize>,
) -> Result<(), Unserved> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::OK;
    parts.headers = fields;
    parts.headers.extend(request_id(ctx));
    match length {
        Some(length) => {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if session.req_header().version < Version::HTTP_11 => session.end_connection(),
        None => {}
    }
    let header = complete_response(session, ctx, parts, None);
    let written = session.write_response_header(header).await;
    written.map_err(|error| cut_by_client(&error))
}

/// The id of the request, as clients of Anthropic look for it.
pub fn request_id(ctx: &RequestContext) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(ctx.request_id.as_str()).ok().map(|id| (REQUEST_ID, id))
}

/// The fields of a stream of events.
pub fn event_fields(mut fields: HeaderMap) -> HeaderMap {
    fields.entry(header::CONTENT_TYPE).or_insert(EVENT_STREAM);
    fields.insert(header::CACHE_CONTROL, NO_CACHE);
    fields.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    fields
}

/// Sends the last bytes of the answer to the client; there may be none.
///
/// # Errors
/// When the client is gone.
pub async fn last(session: &mut Session<'_>, bytes: Bytes) -> Result<(), Unserved> {
    let written = session.write_response_body(bytes, true).await;
    written.map_err(|error| cut_by_client(&error))
}

/// A time that never comes, as far as a request is concerned.
pub const NEVER: Duration = Duration::from_secs(365 * 86_400);
