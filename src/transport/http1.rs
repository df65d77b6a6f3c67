//! HTTP/1 (RFC 9112): requests of clients on their connections ([`inbound`]), and one request and its answer on a connection
//! to a member ([`Conversation`]).
//!
//! It costs what has to be done: the request is bytes that leave in one write, the answer's header block is parsed once,
//! and its body is handed out in parts of the buffer that it was read into. A wait has a moment at which it is over, and
//! costs a timer only when it is one.
//!
//! **Invariants:** what cannot be read in one way only is [`Fault::Invalid`]; a connection is kept only when both sides of
//! the exchange are complete and the member lets it serve again; a future that is dropped while it reads loses nothing, and one
//! that is dropped while it writes makes its connection serve no other.

use std::future::poll_fn;
use std::io::Write;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite as _};

use super::deadline::{Alarm, Deadline};
use super::unsent::Unsent;
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

/// A request for a member.
#[derive(Clone)]
pub struct Request {
    /// Its header block.
    pub head: Vec<u8>,
    /// Its body, of which nothing was written.
    pub body: Sends,
    /// Whether it is a HEAD, to which no answer has a body.
    pub is_head: bool,
}

/// How the body of a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sends {
    /// So many bytes.
    Length(u64),
    /// Chunks, and the last one.
    Chunks,
}

/// How long a member may take to read.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Before it takes more.
    pub pause: Duration,
    /// Until it has taken all.
    pub until: Option<Instant>,
}

/// A connection while it serves one request.
pub struct Conversation {
    stream: Stream,
    unsent: Unsent,
    /// Something was written since the last flush; TLS may hold on to it.
    unflushed: bool,
    /// The member takes no more of the request.
    broken: bool,
    sends: Sends,
    is_head: bool,
    incoming: Incoming,
    /// So many bytes were no whole header block.
    looked_at: usize,
    body: Body,
    /// The request did not break off, and the member lets the connection serve again.
    keeps: bool,
    /// Something of an answer came.
    heard: bool,
    alarm: Alarm,
}

impl Conversation {
    /// Begins on a connection that nothing is on its way on. The header block waits for what of the body is written next,
    /// or for a look at the answer.
    pub fn new(stream: Stream, request: Request) -> Self {
        Self {
            stream,
            unsent: Unsent::new(request.head),
            unflushed: true,
            broken: false,
            sends: request.body,
            is_head: request.is_head,
            incoming: Incoming::default(),
            looked_at: 0,
            body: Body::default(),
            keeps: true,
            heard: false,
            alarm: Alarm::default(),
        }
    }

    /// Writes a part of the body; a small one waits for the next, or for a look at the answer.
    ///
    /// # Errors
    /// When the member does not take it in time, or the connection breaks. An answer may be there all the same.
    pub async fn write(&mut self, bytes: &[u8], patience: Patience) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(()); // As a chunk, it would end the body.
        }
        if self.broken {
            return Err(Fault::Closed);
        }
        match self.sends {
            Sends::Length(left) => {
                // More than was announced would be the beginning of another request.
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.sends = Sends::Length(left - most as u64);
                self.put([bytes.get(..most).unwrap_or_default(), &[]], patience).await
            }
            Sends::Chunks => {
                // What is written into memory is always written.
                let _ = write!(self.unsent.bytes(), "{:X}\r\n", bytes.len());
                self.put([bytes, b"\r\n"], patience).await
            }
        }
    }

    async fn put(&mut self, mut parts: [&[u8]; 2], patience: Patience) -> Result<(), Fault> {
        self.unflushed = true;
        if self.unsent.gather(parts) {
            return Ok(());
        }
        self.drive(&mut parts, patience).await?;
        self.unsent.bytes().extend_from_slice(parts[1]);
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// When it is shorter than was announced.
    pub fn end(&mut self) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::Closed);
        }
        match self.sends {
            Sends::Chunks => {
                self.unsent.bytes().extend_from_slice(b"0\r\n\r\n");
                self.unflushed = true;
            }
            Sends::Length(0) => {}
            Sends::Length(_) => return Err(Fault::Closed),
        }
        self.sends = Sends::Length(0);
        Ok(())
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn flush(&mut self, patience: Patience) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::Closed);
        }
        self.drive(&mut [&[], &[]], patience).await
    }

    /// Sends what waits and the first of `parts`.
    async fn drive(&mut self, parts: &mut [&[u8]; 2], patience: Patience) -> Result<(), Fault> {
        let mut pause = Deadline::default();
        let mut left = (self.unsent.len(), parts[0].len());
        // Should this be dropped while it waits, what was to leave is lost.
        let keeps = std::mem::take(&mut self.keeps);
        let sent = poll_fn(|cx| {
            let sent = self.poll_send(cx, parts);
            if sent.is_ready() {
                return sent;
            }
            let now = (self.unsent.len(), parts[0].len());
            if std::mem::replace(&mut left, now) != now {
                pause.restart();
            }
            if let Some(until) = patience.until
                && self.alarm.poll(cx, until).is_ready()
            {
                return Poll::Ready(Err(Fault::Timeout));
            }
            pause.poll(cx, patience.pause).map(|()| Err(Fault::Timeout))
        })
        .await;
        match sent {
            Ok(()) => self.keeps = keeps,
            Err(_) => self.break_off(),
        }
        sent
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &mut [&[u8]; 2]) -> Poll<Result<(), Fault>> {
        while !self.unsent.is_empty() || !parts[0].is_empty() {
            ready!(self.unsent.poll_write(cx, &mut self.stream, parts)).map_err(|_| Fault::Closed)?;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|_| Fault::Closed)?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// The member takes no more of the request: nothing is written behind what was torn.
    fn break_off(&mut self) {
        self.unsent.clear();
        (self.unflushed, self.broken, self.keeps) = (false, true, false);
    }

    /// The header block of the answer, those that only inform passed over.
    ///
    /// # Errors
    /// When there is none at `until`, or none that can be understood.
    pub async fn head(&mut self, until: Instant) -> Result<Head, Fault> {
        loop {
            let head = self.any_head(Some(until)).await?;
            if !head.status.is_informational() {
                return Ok(head);
            }
        }
    }

    /// The next header block, which may be one that only informs.
    ///
    /// # Errors
    /// When there is none at `until`, or none that can be understood.
    pub async fn any_head(&mut self, until: Option<Instant>) -> Result<Head, Fault> {
        loop {
            if let Some(head) = self.look()? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    let framed = Body::of(&head, self.is_head)?;
                    self.body = framed.body;
                    self.keeps &= framed.keeps;
                } else if until.is_some_and(|until| clock::now() >= until) {
                    // One that never runs out of them is never waited for.
                    return Err(Fault::Timeout);
                }
                return Ok(head);
            }
            if self.fill(until).await? == 0 {
                return Err(Fault::Closed);
            }
        }
    }

    fn look(&mut self) -> Result<Option<Head>, Fault> {
        if !head::is_worth_a_look(&self.incoming.bytes, self.looked_at) {
            return Ok(None);
        }
        self.looked_at = self.incoming.bytes.len();
        let head = Head::take(&mut self.incoming.bytes)?;
        if head.is_some() {
            self.looked_at = 0;
        }
        Ok(head)
    }

    /// The next part of the answer's body, never empty; `None` at its end.
    ///
    /// # Errors
    /// When nothing is there at `until`, or the body breaks off.
    pub async fn part(&mut self, until: Option<Instant>) -> Result<Option<Bytes>, Fault> {
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
        let asked = self.sends == Sends::Length(0) && !self.unflushed;
        let answered = self.body.is_done() && self.incoming.bytes.is_empty();
        (self.keeps && asked && answered).then_some(self.stream)
    }

    /// Reads more; 0: the member said its last word.
    async fn fill(&mut self, until: Option<Instant>) -> Result<usize, Fault> {
        let read = poll_fn(|cx| self.poll_fill(cx, until)).await?;
        self.heard |= read > 0;
        Ok(read)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<Result<usize, Fault>> {
        // Who waits for an answer has said what there was to say. One may be there though it did not leave.
        if self.unflushed
            && let Poll::Ready(Err(_)) = self.poll_send(cx, &mut [&[], &[]])
        {
            self.break_off();
        }
        if let Poll::Ready(read) = self.incoming.poll_fill(cx, &mut self.stream) {
            return Poll::Ready(read);
        }
        match until {
            Some(until) => self.alarm.poll(cx, until).map(|()| Err(Fault::Timeout)),
            None => Poll::Pending,
        }
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

#[cfg(test)]
mod tests;
