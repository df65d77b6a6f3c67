//! A client's connection that speaks HTTP/1: its requests, one after the other, and their answers.
//!
//! **Invariants:** a request that can be read in more than one way is refused before any stage sees it; one answer goes out
//! for a request, framed as its header block says; a connection serves again only when request and answer are complete; a
//! future of this that is dropped while it reads loses nothing.

use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Shutdown;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::body::{Body, Taken};
use super::head::{is_worth_a_look, items};
use super::request::{Request, Unfit, skip_blank_lines};
use super::{Fault, Incoming};
use crate::transport::connection::Phase;
use crate::transport::deadline::Deadline;
use crate::transport::downstream::Downstream;

/// Bytes of requests to come that are read while one is served, to see whether the client is still there.
const MOST_AHEAD: usize = 64 << 10;
/// The bytes that a target may have beside the fields.
const MOST_TARGET: usize = 64 << 10;

/// What stands for the request while there is none.
static NONE: LazyLock<RequestHeader> = LazyLock::new(|| RequestHeader::from(http::Request::new(()).into_parts().0));

/// A connection, and the request that is served on it.
pub struct Inbound {
    stream: Downstream,
    incoming: Incoming,
    bounds: Bounds,
    request: Option<Box<RequestHeader>>,
    /// The header block of the request as it came.
    raw: Bytes,
    body: Body,
    empty: bool,
    read: u64,
    sent: u64,
    answer: Answer,
    status: Option<StatusCode>,
    keeps: bool,
    /// The client will say no more.
    left: bool,
    /// The time between two reads of a body.
    pause: Deadline,
}

/// What a connection may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Requests after the one that is served. `None`: no bound.
    pub requests: Option<u32>,
    /// The time between two reads of a body.
    pub patience: Duration,
    /// Bytes of a request's fields.
    pub fields: usize,
}

/// What is still to be written of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Its header block.
    Head,
    /// So many bytes.
    Length(u64),
    /// Chunks, and the last one.
    Chunks,
    /// Everything up to the end of the connection.
    UntilClose,
    /// Nothing.
    Done,
}

impl Inbound {
    /// A connection before its first request.
    pub fn new(stream: Downstream, bounds: Bounds) -> Self {
        Self {
            stream,
            incoming: Incoming::default(),
            bounds,
            request: None,
            raw: Bytes::new(),
            body: Body::Done,
            empty: true,
            read: 0,
            sent: 0,
            answer: Answer::Done,
            status: None,
            keeps: false,
            left: false,
            pause: Deadline::default(),
        }
    }

    /// Waits for a request; `false`: there is none, and the connection ends. One that is none is refused here.
    pub async fn next(&mut self) -> bool {
        let mut looked_at = 0;
        if !self.incoming.bytes.is_empty() {
            // Who sends all its requests ahead waits for nothing else.
            tokio::task::consume_budget().await;
        }
        loop {
            if is_worth_a_look(&self.incoming.bytes, looked_at) {
                looked_at = self.incoming.bytes.len();
                match Request::take(&mut self.incoming.bytes) {
                    Ok(Some(request)) => return self.begin(request).await,
                    Ok(None) => {}
                    Err(Unfit::Malformed) => return self.refuse(400).await,
                    Err(Unfit::TooManyFields) => return self.refuse(431).await,
                }
            }
            if self.incoming.bytes.len() > self.bounds.fields + MOST_TARGET {
                return self.refuse(431).await;
            }
            if !matches!(poll_fn(|cx| self.poll_fill(cx)).await, Ok(1..)) {
                return false;
            }
        }
    }

    async fn begin(&mut self, request: Request) -> bool {
        if request.header.method == Method::CONNECT {
            return self.refuse(405).await;
        }
        self.request = Some(request.header);
        self.raw = request.raw;
        self.body = request.framed.body;
        self.empty = self.body.is_done();
        self.keeps = request.framed.keeps;
        (self.read, self.sent) = (0, 0);
        (self.answer, self.status) = (Answer::Head, None);
        true
    }

    async fn refuse(&mut self, status: u16) -> bool {
        self.stream.refuse(status).await;
        false
    }

    /// The header block of the request.
    pub fn request(&self) -> &RequestHeader {
        self.request.as_deref().unwrap_or(&NONE)
    }

    /// The stream below.
    pub fn stream(&self) -> &Downstream {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut Downstream {
        &mut self.stream
    }

    /// The header block of the request as it came.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What is still to come of the body.
    pub(super) fn body(&self) -> Body {
        self.body
    }

    /// What it may cost from now on.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Whether the request has no body.
    pub fn is_body_empty(&self) -> bool {
        self.empty
    }

    /// Whether the body was read to its end.
    pub fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Bytes of the body that were read.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Bytes of the answer's body that were written.
    pub fn bytes_sent(&self) -> u64 {
        self.sent
    }

    /// The status of the answer, once its header block is written.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The connection ends with this request.
    pub fn end_with_this(&mut self) {
        self.keeps = false;
    }

    /// The next part of the body, never empty; `None` at its end.
    ///
    /// # Errors
    /// When the body is malformed, breaks off, or rests for too long.
    pub async fn part(&mut self) -> pingora::Result<Option<Bytes>> {
        self.pause.restart();
        let part = poll_fn(|cx| match self.poll_part(cx) {
            Poll::Pending => self.pause.poll(cx, self.bounds.patience).map(|()| Err(Fault::Timeout)),
            part => part,
        });
        part.await.map_err(|fault| {
            let kind = match fault {
                Fault::Timeout => ErrorType::ReadTimedout,
                Fault::Closed => ErrorType::ConnectionClosed,
                Fault::Invalid => ErrorType::Custom("InvalidChunk"),
            };
            Error::explain(kind, "reading the body")
        })
    }

    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            match self.body.take(&mut self.incoming.bytes)? {
                Taken::Part(bytes) => {
                    self.read += bytes.len() as u64;
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Taken::End => return Poll::Ready(Ok(None)),
                Taken::Nothing => {}
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(Fault::Closed));
            }
        }
    }

    /// Ends when the client is gone. What it sends ahead is kept for its next request.
    pub async fn gone(&mut self) -> Box<Error> {
        poll_fn(|cx| self.poll_gone(cx)).await;
        Error::explain(ErrorType::ConnectionClosed, "the client has left")
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.left {
            if self.incoming.bytes.len() >= MOST_AHEAD {
                // Who waits for the client has said what there was to say.
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
                return Poll::Pending;
            }
            let _ = ready!(self.poll_fill(cx));
        }
        Poll::Ready(())
    }

    /// What comes, whatever it is; empty at its end.
    pub(super) fn poll_anything(&mut self, cx: &mut Context<'_>) -> Poll<Result<BytesMut, Fault>> {
        if self.incoming.bytes.is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(self.incoming.bytes.split()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let read = ready!(self.incoming.poll_fill(cx, &mut self.stream));
        if !matches!(read, Ok(1..)) {
            (self.left, self.keeps) = (true, false);
        }
        Poll::Ready(read)
    }

    /// Asks a client that waits for it for its body.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn invite_body(&mut self) -> pingora::Result<()> {
        if self.answer == Answer::Head {
            self.stream.unwritten().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.stream.flush().await.map_err(unwritten)?;
        }
        Ok(())
    }

    /// Writes the header block of the answer, or one that only informs.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn write_head(&mut self, mut head: Box<ResponseHeader>) -> pingora::Result<()> {
        if self.answer != Answer::Head {
            return Ok(());
        }
        if head.status.is_informational() {
            self.put_lines(&head);
            self.stream.unwritten().extend_from_slice(b"\r\n");
            return self.stream.flush().await.map_err(unwritten);
        }
        self.answer = self.framing(&head);
        // A body that is still on its way would have to be read to its end.
        self.keeps &= self.body.is_done() && self.answer != Answer::UntilClose && self.bounds.requests != Some(0);
        head.remove_header(&header::CONNECTION);
        self.put_lines(&head);
        let keeps = self.keeps;
        let out = self.stream.unwritten();
        // That of who made the answer stays (RFC 9110, section 6.6.1).
        if !head.headers.contains_key(header::DATE) {
            for part in [b"Date: ", get_cached_date().as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        let last: &[u8] = if keeps { b"Connection: keep-alive\r\n\r\n" } else { b"Connection: close\r\n\r\n" };
        out.extend_from_slice(last);
        // Of one that has a length, more is at hand or will be soon.
        if !matches!(self.answer, Answer::Length(1..)) {
            self.stream.flush().await.map_err(unwritten)?;
        }
        self.status = Some(head.status);
        Ok(())
    }

    /// The status line and the fields.
    fn put_lines(&mut self, head: &ResponseHeader) {
        let out = self.stream.unwritten();
        let version: &[u8] = if head.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
        let reason = head.get_reason_phrase().unwrap_or_default();
        for part in [version, head.status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
        head.header_to_h1_wire(out);
    }

    /// How the body behind `head` is delimited (RFC 9112, section 6.3).
    fn framing(&self, head: &ResponseHeader) -> Answer {
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || self.request().method == Method::HEAD {
            return Answer::Done;
        }
        let mut codings = items(&head.headers, header::TRANSFER_ENCODING);
        if codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            return Answer::Chunks;
        }
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.map_or(Answer::UntilClose, Answer::Length)
    }

    /// Writes a part of the answer's body.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn write(&mut self, bytes: &[u8]) -> pingora::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self.answer {
            Answer::Head | Answer::Done => return Ok(()),
            Answer::Length(left) => {
                // More than was announced would be the beginning of another answer.
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.stream.write(bytes.get(..most).unwrap_or_default(), &[]).await.map_err(unwritten)?;
                self.sent += most as u64;
                self.answer = Answer::Length(left - most as u64);
                if self.answer != Answer::Length(0) {
                    return Ok(());
                }
            }
            Answer::UntilClose => {
                self.stream.write(bytes, &[]).await.map_err(unwritten)?;
                self.sent += bytes.len() as u64;
            }
            Answer::Chunks => {
                // What is written into memory is always written.
                let _ = write!(self.stream.unwritten(), "{:X}\r\n", bytes.len());
                self.stream.write(bytes, b"\r\n").await.map_err(unwritten)?;
                self.sent += bytes.len() as u64;
            }
        }
        self.stream.flush().await.map_err(unwritten)
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// When the client is gone, or the body is shorter than was announced.
    pub async fn end(&mut self) -> pingora::Result<()> {
        match std::mem::replace(&mut self.answer, Answer::Done) {
            Answer::Chunks => self.stream.unwritten().extend_from_slice(b"0\r\n\r\n"),
            Answer::Length(1..) => {
                self.keeps = false;
                return Error::e_explain(ErrorType::Custom("PrematureBodyEnd"), "the answer is too short");
            }
            _ => {}
        }
        self.stream.flush().await.map_err(unwritten)
    }

    /// After the request: whether the connection serves another one. If not, it is closed.
    pub async fn finish(&mut self) -> bool {
        // Held for ever, else: nobody but a request lets go.
        self.stream.connection().hold_writes(false);
        let ended = self.answer != Answer::Head && self.end().await.is_ok();
        if ended && self.keeps && self.body.is_done() {
            self.wait_anew();
            return true;
        }
        Shutdown::shutdown(&mut self.stream).await;
        false
    }

    /// The connection waits for the next request. Nothing of the last one is held while there is none.
    pub(super) fn wait_anew(&mut self) {
        self.bounds.requests = self.bounds.requests.map(|left| left.saturating_sub(1));
        self.stream.shrink();
        let connection = self.stream.connection();
        connection.enter(Phase::Idle);
        skip_blank_lines(&mut self.incoming.bytes);
        if self.incoming.bytes.is_empty() {
            self.incoming = Incoming::default();
        } else {
            connection.enter(Phase::Head);
        }
        (self.request, self.raw) = (None, Bytes::new());
    }
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound").field("stream", &self.stream).finish_non_exhaustive()
    }
}

fn unwritten(error: std::io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing the answer", error)
}
