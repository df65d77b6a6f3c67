//! HTTP/1 (RFC 9112): requests of clients on their connections ([`inbound`]), and one request and its answer on a connection
//! to a member ([`Conversation`]).
//!
//! It costs what has to be done: the request is bytes that leave in one write, the answer's header block is parsed once,
//! and its body is handed out in parts of the buffer that it was read into. A wait has a moment at which it is over, and
//! costs a timer only when it is one.
//!
//! **Invariants:** what cannot be read in one way only is [`Fault::Invalid`]; a connection is kept only when both sides of
//! the exchange are complete and the member lets it serve again; a future that is dropped while it waits loses nothing.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::deadline::{Alarm, Deadline};
use crate::clock;
use body::{Body, Taken};
pub use head::{Head, RequestHead};

pub mod body;
pub mod handed;
pub mod head;
pub mod inbound;
pub mod request;

/// Bytes that are made room for before a read; doubled, up to [`MOST_ROOM`], while reads fill it.
const ROOM: usize = 4 << 10;
/// See [`ROOM`].
const MOST_ROOM: usize = 64 << 10;

/// Why an exchange breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing moved in time.
    Timeout,
    /// The connection broke, or ended too early.
    Closed,
    /// The member does not speak HTTP/1.
    Invalid,
}

/// A connection while it serves one request.
pub struct Conversation {
    stream: Stream,
    incoming: Incoming,
    body: Body,
    /// The whole request left, and the member lets the connection serve again.
    keeps: bool,
    /// Something of an answer came.
    heard: bool,
    alarm: Alarm,
}

impl Conversation {
    /// Begins on a connection that nothing is on its way on.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            incoming: Incoming::default(),
            body: Body::default(),
            keeps: true,
            heard: false,
            alarm: Alarm::default(),
        }
    }

    /// Sends `bytes`, of which the member has to take some in any time as long as `patience`, and all by `until`.
    ///
    /// # Errors
    /// When it does not, or the connection breaks.
    pub async fn send(&mut self, mut bytes: &[u8], patience: Duration, until: Instant) -> Result<(), Fault> {
        let mut pause = Deadline::default();
        let Self { stream, alarm, .. } = self;
        let mut waited = |cx: &mut Context<'_>, pause: &mut Deadline| match alarm.poll(cx, until) {
            Poll::Pending => pause.poll(cx, patience),
            over => over,
        };
        let sent = poll_fn(|cx| {
            while !bytes.is_empty() {
                match Pin::new(&mut *stream).poll_write(cx, bytes) {
                    Poll::Ready(Ok(taken @ 1..)) => bytes = bytes.get(taken..).unwrap_or_default(),
                    Poll::Ready(_) => return Poll::Ready(Err(Fault::Closed)),
                    Poll::Pending => return waited(cx, &mut pause).map(|()| Err(Fault::Timeout)),
                }
                pause.restart();
            }
            match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Fault::Closed)),
                Poll::Pending => waited(cx, &mut pause).map(|()| Err(Fault::Timeout)),
            }
        })
        .await;
        self.keeps &= sent.is_ok();
        sent
    }

    /// The header block of the answer, those that only inform passed over.
    ///
    /// # Errors
    /// When there is none at `until`, or none that can be understood.
    pub async fn head(&mut self, until: Instant) -> Result<Head, Fault> {
        loop {
            while let Some(head) = Head::take(&mut self.incoming.bytes)? {
                if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                    // One that never runs out of them is never waited for.
                    if clock::now() >= until {
                        return Err(Fault::Timeout);
                    }
                    continue;
                }
                let framed = Body::of(&head)?;
                self.body = framed.body;
                self.keeps &= framed.keeps;
                return Ok(head);
            }
            if self.fill(until).await? == 0 {
                return Err(Fault::Closed);
            }
        }
    }

    /// The next part of the answer's body, never empty; `None` at its end.
    ///
    /// # Errors
    /// When nothing is there at `until`, or the body breaks off.
    pub async fn part(&mut self, until: Instant) -> Result<Option<Bytes>, Fault> {
        loop {
            match self.body.take(&mut self.incoming.bytes)? {
                Taken::Part(bytes) => return Ok(Some(bytes)),
                Taken::End => return Ok(None),
                Taken::Nothing => {}
            }
            if self.fill(until).await? == 0 {
                self.keeps = false;
                return self.body.close().map(|()| None);
            }
        }
    }

    /// Whether anything of an answer came.
    pub fn was_heard(&self) -> bool {
        self.heard
    }

    /// Whether the answer was read to its end.
    pub fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// The connection, when it may serve another request.
    pub fn into_kept(self) -> Option<Stream> {
        (self.keeps && self.body.is_done() && self.incoming.bytes.is_empty()).then_some(self.stream)
    }

    /// Reads more; 0: the member said its last word.
    async fn fill(&mut self, until: Instant) -> Result<usize, Fault> {
        let read = poll_fn(|cx| self.poll_fill(cx, until)).await?;
        self.heard |= read > 0;
        Ok(read)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<Result<usize, Fault>> {
        if let Poll::Ready(read) = self.incoming.poll_fill(cx, &mut self.stream) {
            return Poll::Ready(read);
        }
        ready!(self.alarm.poll(cx, until));
        Poll::Ready(Err(Fault::Timeout))
    }
}

/// What was read from a connection and not handed out.
struct Incoming {
    bytes: BytesMut,
    room: usize,
}

impl Default for Incoming {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), room: ROOM }
    }
}

impl Incoming {
    /// Reads more; 0: there is no more.
    fn poll_fill(&mut self, cx: &mut Context<'_>, stream: &mut (impl AsyncRead + Unpin)) -> Poll<Result<usize, Fault>> {
        if self.bytes.capacity() - self.bytes.len() < self.room / 2 {
            self.bytes.reserve(self.room);
        }
        let read = ready!(pin!(stream.read_buf(&mut self.bytes)).poll(cx)).map_err(|_| Fault::Closed)?;
        if read >= self.room {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        Poll::Ready(Ok(read))
    }
}
