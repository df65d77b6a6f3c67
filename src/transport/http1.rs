//! One request and its answer over HTTP/1.1 (RFC 9112), on a connection to a member.
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
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::deadline::{Alarm, Deadline};
use crate::clock;
use body::{Body, Taken};
pub use head::{Head, RequestHead};

pub mod body;
pub mod head;

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
    /// What was read and not handed out.
    buffer: BytesMut,
    room: usize,
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
            buffer: BytesMut::new(),
            room: ROOM,
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
            while let Some(head) = Head::take(&mut self.buffer)? {
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
            match self.body.take(&mut self.buffer)? {
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
        (self.keeps && self.body.is_done() && self.buffer.is_empty()).then_some(self.stream)
    }

    /// Reads more; 0: the member said its last word.
    async fn fill(&mut self, until: Instant) -> Result<usize, Fault> {
        let read = poll_fn(|cx| self.poll_fill(cx, until)).await?;
        self.heard |= read > 0;
        if read >= self.room {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        Ok(read)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<Result<usize, Fault>> {
        if self.buffer.capacity() - self.buffer.len() < self.room / 2 {
            self.buffer.reserve(self.room);
        }
        if let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.buffer)).poll(cx) {
            return Poll::Ready(read.map_err(|_| Fault::Closed));
        }
        ready!(self.alarm.poll(cx, until));
        Poll::Ready(Err(Fault::Timeout))
    }
}
