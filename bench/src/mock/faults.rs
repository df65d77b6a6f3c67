//! Faults: what they are, how they are written, and those that any answer can show.
//!
//! What happens inside an event stream is played by `ai::play`; refusals in a provider's own shape are made by `ai::error`.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use hyper::body::Frame;

use super::answer::{self, Answer, Frames, Payload};
use super::wire::Conn;
use crate::units;

mod framing;
mod orders;
mod plan;

pub use framing::{Framing, LineEnd};
pub(super) use orders::{Ended, ErrorShape, Flavour, Orders, Think};
pub(super) use plan::Plan;
pub use plan::Planned;

/// Time for hyper to flush what was sent before a connection is cut in the middle of a body.
pub(super) const FLUSH: Duration = Duration::from_millis(30);

/// How a request fails. Closing and resetting act on the whole connection, so on HTTP/2 on every stream of it, but for
/// [`Twist::Reset`], which over HTTP/2 resets its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status; 429 and 503 carry `Retry-After: 1`. The body is short. On an AI path body and headers are the
    /// provider's own, and Gemini and JAiRouter have no such header.
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
    /// Something happens at a stage of an event stream. An answer that is no stream shows the nearest to it: an error becomes
    /// the status, a stall or a cut comes at its half, garbage makes its JSON invalid.
    At(Stage, Twist),
    /// The provider refuses, in its own words.
    Refusal(Refusal),
    /// 429 with the provider's own headers, which say that the limit resets after this time.
    RateLimit(Duration),
    /// Says nothing about tokens, in streams and whole answers.
    NoUsage,
    /// 200 with JSON that ends in its middle.
    InvalidJson,
    /// 200 without a body.
    Empty,
    /// 200 with `success: false`, as JAiRouter fails (F08).
    OkFalse,
    /// The right body as `text/html`.
    WrongType,
    /// Answers a request for a stream with a whole body.
    IgnoresStream,
    /// Writes the events in this way; all else is right.
    Framed(Framing),
}

/// A place in an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After the headers of the answer, before any event.
    Headers,
    /// After the events that open a stream (role chunk; `message_start` and `ping`; `response.created`), before any content.
    Start,
    /// After so many events with content.
    After(u64),
    /// Before the event that ends a stream (`[DONE]`, `message_stop`, `response.completed`, Gemini's `finishReason`).
    End,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// The error event that the provider sends for this status, and the end of the stream.
    Error(u16),
    /// The connection is closed, in the middle of the body.
    Close,
    /// The same, in the middle of the next event.
    Tear,
    /// The connection is reset; over HTTP/2 the stream.
    Reset,
    /// The body ends in good order, without the events that are missing.
    Finish,
    /// Nothing more comes.
    Stall,
    /// Nothing more comes but a ping (or a comment, where the dialect has no pings) each such time.
    Ping(Duration),
    /// One event that is not JSON; then the stream goes on.
    Garbage,
    /// One event, valid but for its meaning, of so many bytes; then the stream goes on.
    Huge(u64),
    /// A pause, then the stream goes on. At [`Stage::Start`] it is a slow first token.
    Delay(Duration),
}

/// Reasons for which providers refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key is wrong: 401, at Gemini 400.
    Key,
    /// The key may not do this: 403.
    Forbidden,
    /// There is no money: 402, where OpenAI and Azure have 429 `insufficient_quota`.
    Quota,
    /// The same as Anthropic and OpenAI say it with 400: no credit is left, the hard limit of the bill is reached.
    Credit,
    /// There is no such model: 404.
    Model,
    /// The prompt is longer than the model's context: 400.
    Context,
    /// The prompt is against the rules: 400.
    Filter,
    /// Too many people ask: 529 at Anthropic, 503 elsewhere.
    Overloaded,
}

impl FromStr for Fault {
    type Err = String;

    /// Reads the names in the table of the module's documentation.
    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "close" => Self::CloseBeforeHeaders,
            "reset" => Self::ResetBeforeHeaders,
            "close-mid" => Self::CloseMidBody,
            "reset-mid" => Self::ResetMidBody,
            "stall" => Self::Stall,
            "stall-mid" => Self::StallMidBody,
            "garbage" => Self::BadHttp,
            "no-usage" => Self::NoUsage,
            "invalid-json" => Self::InvalidJson,
            "empty" => Self::Empty,
            "ok-false" => Self::OkFalse,
            "wrong-type" => Self::WrongType,
            "ignores-stream" => Self::IgnoresStream,
            _ => return parameterised(name).ok_or_else(|| unknown("fault", name)),
        })
    }
}

fn parameterised(name: &str) -> Option<Fault> {
    if let Some((twist, stage)) = name.split_once('@') {
        return Some(Fault::At(stage.parse().ok()?, twist.parse().ok()?));
    }
    if let Some(delay) = name.strip_prefix("slow:") {
        return units::duration(delay).map(Fault::SlowHeaders);
    }
    if let Some(reset) = name.strip_prefix("rate-limit:") {
        return units::duration(reset).map(Fault::RateLimit);
    }
    if let Some(refusal) = name.strip_prefix("refuse:") {
        return refusal.parse().ok().map(Fault::Refusal);
    }
    if let Some(framing) = name.strip_prefix("framed:") {
        return Framing::parse(framing).map(Fault::Framed);
    }
    let code = name.parse().ok()?;
    StatusCode::from_u16(code).ok().map(|_| Fault::Status(code))
}

impl FromStr for Stage {
    type Err = ();

    /// Reads `headers`, `start`, `end`, or a number of events.
    fn from_str(name: &str) -> Result<Self, ()> {
        Ok(match name {
            "headers" => Self::Headers,
            "start" => Self::Start,
            "end" => Self::End,
            _ => Self::After(name.parse().map_err(drop)?),
        })
    }
}

impl FromStr for Twist {
    type Err = ();

    /// Reads `error`, `error:529`, `close`, `tear`, `reset`, `finish`, `stall`, `ping:100ms`, `garbage`, `huge:1MiB`, `delay:2s`.
    fn from_str(name: &str) -> Result<Self, ()> {
        let (name, value) = name.split_once(':').unwrap_or((name, ""));
        Ok(match (name, value) {
            ("error", "") => Self::Error(500),
            ("error", status) => Self::Error(StatusCode::from_str(status).map_err(drop)?.as_u16()),
            ("close", "") => Self::Close,
            ("tear", "") => Self::Tear,
            ("reset", "") => Self::Reset,
            ("finish", "") => Self::Finish,
            ("stall", "") => Self::Stall,
            ("garbage", "") => Self::Garbage,
            ("ping", interval) => Self::Ping(units::duration(interval).filter(|time| !time.is_zero()).ok_or(())?),
            ("huge", size) => Self::Huge(units::size(size).ok_or(())?),
            ("delay", delay) => Self::Delay(units::duration(delay).ok_or(())?),
            _ => return Err(()),
        })
    }
}

impl FromStr for Refusal {
    type Err = ();

    /// Reads the names of the variants in lower case.
    fn from_str(name: &str) -> Result<Self, ()> {
        Ok(match name {
            "key" => Self::Key,
            "forbidden" => Self::Forbidden,
            "quota" => Self::Quota,
            "credit" => Self::Credit,
            "model" => Self::Model,
            "context" => Self::Context,
            "filter" => Self::Filter,
            "overloaded" => Self::Overloaded,
            _ => return Err(()),
        })
    }
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

impl Ending {
    /// How the fault ends an answer in its middle, where it does. On a stream of a dialect, twists are left to its player.
    pub(super) fn of(fault: Option<Fault>, is_stream: bool) -> Option<Self> {
        match fault? {
            Fault::CloseMidBody => Some(Self::Close),
            Fault::ResetMidBody => Some(Self::Reset),
            Fault::StallMidBody => Some(Self::Stall),
            Fault::At(_, Twist::Close | Twist::Tear) if !is_stream => Some(Self::Close),
            Fault::At(_, Twist::Reset) if !is_stream => Some(Self::Reset),
            Fault::At(_, Twist::Stall | Twist::Ping(_)) if !is_stream => Some(Self::Stall),
            _ => None,
        }
    }
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
    Box::pin(stream::iter([Ok(Frame::data(bytes))]))
}
