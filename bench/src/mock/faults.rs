//! Faults, and the orders that one request carries in `x-mock-*` headers or query keys of the same names.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Frame;

use super::answer::{self, Answer, Frames, Payload};
use super::sse::Cadence;
use super::wire::Conn;
use crate::units;

/// Time for hyper to flush what was sent before a connection is cut in the middle of a body.
const FLUSH: Duration = Duration::from_millis(30);

/// How a request fails. Closing and resetting act on the whole connection, so on HTTP/2 on every stream of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status and a short body; 429 and 503 carry `Retry-After: 1`.
    Status(u16),
    /// Reads the request, then closes (FIN) without an answer.
    CloseBeforeHeaders,
    /// Reads the request, then resets (RST) without an answer.
    ResetBeforeHeaders,
    /// Sends the headers and half of the body, then closes.
    CloseMidBody,
    /// Sends the headers and half of the body, then resets.
    ResetMidBody,
    /// Reads the request and never answers.
    Stall,
    /// Answers in full after this time.
    SlowHeaders(Duration),
    /// Sends the headers and half of the body, then nothing more.
    StallMidBody,
    /// Sends bytes that are not HTTP in place of the answer.
    BadHttp,
}

impl FromStr for Fault {
    type Err = String;

    /// Reads `close`, `reset`, `close-mid`, `reset-mid`, `stall`, `stall-mid`, `garbage`, a status such as `503`, or `slow:2s`.
    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "close" => Self::CloseBeforeHeaders,
            "reset" => Self::ResetBeforeHeaders,
            "close-mid" => Self::CloseMidBody,
            "reset-mid" => Self::ResetMidBody,
            "stall" => Self::Stall,
            "stall-mid" => Self::StallMidBody,
            "garbage" => Self::BadHttp,
            _ => return parameterised(name).ok_or_else(|| unknown("fault", name)),
        })
    }
}

fn parameterised(name: &str) -> Option<Fault> {
    if let Some(delay) = name.strip_prefix("slow:") {
        return units::duration(delay).map(Fault::SlowHeaders);
    }
    let code = name.parse().ok()?;
    StatusCode::from_u16(code).ok().map(|_| Fault::Status(code))
}

/// The error bodies that JAiRouter is known to send (F07, F08).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorShape {
    /// (a) `RouterResponse` with `success: false`.
    Router,
    /// (b) 401 `AUTH_MISSING` without a content type.
    Auth,
    /// (c) The documented `{"error": {...}}`.
    Documented,
    /// (d) 503 with a bare string labelled as JSON.
    Fallback,
    /// F08: 200 with `success: false`.
    OkFalse,
}

/// What one request asks of the mock.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
    pub(super) status: Option<StatusCode>,
    pub(super) body_size: Option<u64>,
    pub(super) chunked: bool,
    pub(super) sse: Option<Cadence>,
    pub(super) error: Option<ErrorShape>,
}

impl Orders {
    /// Reads the headers and the query. Errors name the order that makes no sense.
    pub(super) fn parse(headers: &HeaderMap, query: &str) -> Result<Self, String> {
        let mut orders = Self::default();
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix("x-mock-") {
                orders.read(name, value.to_str().unwrap_or_default())?;
            }
        }
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Some(name) = name.strip_prefix("x-mock-") {
                orders.read(name, value)?;
            }
        }
        Ok(orders)
    }

    /// Whether a request carries any order, at the price of a look at each header's name.
    pub(super) fn given(headers: &HeaderMap) -> bool {
        headers.keys().any(|name| name.as_str().starts_with("x-mock-"))
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bad = || unknown(name, value);
        match name {
            "status" => self.status = Some(StatusCode::from_str(value).map_err(|_| bad())?),
            "delay" => self.delay += units::duration(value).ok_or_else(bad)?,
            "fault" => self.fault = Some(value.parse()?),
            "body-size" => self.body_size = Some(units::size(value).ok_or_else(bad)?),
            "chunked" => self.chunked = matches!(value, "" | "1" | "true"),
            "sse" => self.sse = Some(Cadence::parse(value.split(',')).ok_or_else(bad)?),
            "error" => self.error = Some(shape(value).ok_or_else(bad)?),
            _ => return Err(format!("there is no order x-mock-{name}")),
        }
        Ok(())
    }
}

fn shape(name: &str) -> Option<ErrorShape> {
    Some(match name {
        "router" | "a" => ErrorShape::Router,
        "auth" | "b" => ErrorShape::Auth,
        "documented" | "c" => ErrorShape::Documented,
        "fallback" | "d" => ErrorShape::Fallback,
        "ok-false" => ErrorShape::OkFalse,
        _ => return None,
    })
}

fn unknown(what: &str, value: &str) -> String {
    format!("x-mock-{what} does not understand {value:?}")
}

/// An answer of this status and nothing much else.
pub(super) fn status_answer(status: StatusCode) -> Answer {
    let mut answer = answer::text(status, format!("status {}\n", status.as_u16()));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// How an answer ends after its first half.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    Close,
    Reset,
    Stall,
}

/// Keeps the first half of a whole body, or the first frame of a stream, and ends there. The headers still promise the rest.
pub(super) fn break_midway(answer: Answer, conn: Arc<Conn>, chunked: bool, ending: Ending) -> Answer {
    let (mut parts, payload) = answer.into_parts();
    let mut promise = |len: u64| {
        if !chunked {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
    };
    let first: Frames = match payload {
        Payload::Whole(bytes) => {
            let bytes = if bytes.len() < 2 { answer::filler(1024) } else { bytes };
            promise(bytes.len() as u64);
            frame(bytes.slice(..bytes.len() / 2))
        }
        Payload::Filler(len) => {
            let len = len.max(1024);
            promise(len);
            frame(answer::filler(len / 2))
        }
        Payload::Stream(frames) => Box::pin(frames.take(1)),
    };
    let end = stream::once(async move {
        if !matches!(ending, Ending::Stall) {
            tokio::time::sleep(FLUSH).await;
            conn.cut(matches!(ending, Ending::Reset));
        }
        std::future::pending().await
    });
    http::Response::from_parts(parts, Payload::Stream(Box::pin(first.chain(end))))
}

fn frame(bytes: Bytes) -> Frames {
    Box::pin(stream::iter([Frame::data(bytes)]))
}
