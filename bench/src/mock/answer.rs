//! Answers: the body type that hyper sends, and short ways to make a response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;

use super::state::Flight;

/// A response before it is bound to its request.
pub(super) type Answer = Response<Payload>;

/// A stream of body frames. An error ends the connection, or over HTTP/2 the stream.
pub(super) type Frames = Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>> + Send>>;

/// What long answers are made of.
static FILLER: [u8; 64 * 1024] = [b'x'; 64 * 1024];

/// The content of a body.
pub(super) enum Payload {
    Whole(Bytes),
    /// So many bytes of filler, made while they are sent.
    Filler(u64),
    Stream(Frames),
}

/// A body on its way to the client; it tells the counters when the client left too early.
pub(super) struct MockBody {
    payload: Payload,
    chunked: bool,
    flight: Flight,
}

impl MockBody {
    /// `chunked` hides the length.
    pub(super) fn new(payload: Payload, chunked: bool, flight: Flight) -> Self {
        Self { payload, chunked, flight }
    }
}

impl Body for MockBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame: Option<io::Result<_>> = match &mut self.payload {
            Payload::Whole(bytes) if bytes.is_empty() => None,
            Payload::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Payload::Filler(0) => None,
            Payload::Filler(left) => {
                let chunk = filler(*left);
                *left -= chunk.len() as u64;
                Some(Ok(Frame::data(chunk)))
            }
            Payload::Stream(frames) => std::task::ready!(frames.as_mut().poll_next(cx)),
        };
        // hyper does not ask again after the last byte of a known length, nor after trailers.
        let last = match &frame {
            Some(Ok(frame)) => frame.is_trailers(),
            Some(Err(_)) => {
                self.flight.fails();
                true
            }
            None => true,
        };
        if last || self.is_end_stream() {
            self.flight.settle();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.payload {
            Payload::Whole(bytes) => bytes.is_empty(),
            Payload::Filler(left) => *left == 0,
            Payload::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            _ if self.chunked => SizeHint::default(),
            Payload::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Filler(left) => SizeHint::with_exact(*left),
            Payload::Stream(_) => SizeHint::default(),
        }
    }
}

/// At most `left` bytes of filler, without copying.
pub(super) fn filler(left: u64) -> Bytes {
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(FILLER.len());
    Bytes::from_static(FILLER.get(..len).unwrap_or_default())
}

/// Whether HTTP lets such an answer have a body (RFC 9110, 6.4.1).
pub(super) fn may_have_body(method: &Method, status: StatusCode) -> bool {
    let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    method != Method::HEAD && !bodiless
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    typed(status, "text/plain; charset=utf-8", body)
}

pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    typed(status, "application/json", value.to_string())
}

pub(super) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    with_payload(status, content_type, Payload::Whole(body.into()))
}

pub(super) fn with_payload(status: StatusCode, content_type: &'static str, payload: Payload) -> Answer {
    let mut answer = Response::new(payload);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
