//! The client's side of a connection: one stream with its deadlines.
//!
//! Invariants: a header block is complete within its deadline, counted from its first byte; an idle connection ends at
//! its deadline; a client that takes no bytes for the write deadline is cut off. What Pingora writes before a
//! request reached us (its bare 400) is replaced by an answer of ours.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsStream};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::connection::{Connection, Phase, carry};
use super::deadline::Deadline;
use super::socket::Socket;
use super::unsent::{GATHERED, Unsent};

/// How long a connection that ends with a part of the request unread is still read from.
const LINGER: Duration = Duration::from_secs(2);
/// And how much.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// What a client gets whose request is refused before any stage of ours has seen it.
pub trait EarlyRefusal: Send + Sync + std::fmt::Debug {
    /// The whole answer for `status`: 400 (malformed), 405 (CONNECT), 408 (header too slow) or 431 (header too long). Counts
    /// it too.
    fn answer(&self, connection: &Connection, status: u16) -> Vec<u8>;
}

#[derive(Debug)]
enum Wire {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// The stream of a client connection.
pub struct Downstream {
    wire: Wire,
    out: Unsent,
    /// Something was written since the last flush; TLS may hold on to it.
    unflushed: bool,
    connection: Arc<Connection>,
    refusal: Arc<dyn EarlyRefusal>,
    refused: bool,
    read_deadline: Deadline,
    write_deadline: Deadline,
}

impl Downstream {
    /// A plain connection.
    pub fn plain(socket: Socket, connection: Arc<Connection>, refusal: Arc<dyn EarlyRefusal>) -> Self {
        Self::new(Wire::Plain(socket), connection, refusal)
    }

    /// A TLS connection whose handshake is done.
    pub fn tls(stream: TlsStream<Socket>, connection: Arc<Connection>, refusal: Arc<dyn EarlyRefusal>) -> Self {
        Self::new(Wire::Tls(Box::new(stream)), connection, refusal)
    }

    fn new(wire: Wire, connection: Arc<Connection>, refusal: Arc<dyn EarlyRefusal>) -> Self {
        Self {
            wire,
            out: Unsent::new(Vec::with_capacity(GATHERED)),
            unflushed: false,
            connection,
            refusal,
            refused: false,
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
        }
    }

    /// Reads and forgets what the client still sends: closing on unread bytes would reset the connection, and the client
    /// could lose the answer that told it to stop.
    async fn discard(&mut self) {
        let mut scratch = [0_u8; 4096];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = self.wire.read(&mut scratch).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    }

    /// Says the last word to a client whose header block never ended.
    fn refuse_slow_header(&self) {
        let answer = self.refusal.answer(&self.connection, 408);
        if let Wire::Plain(socket) = &self.wire {
            socket.write_best_effort(&answer);
        }
    }

    /// Answers a request that nobody here reads, and ends the connection.
    pub async fn refuse(&mut self, status: u16) {
        self.put_refusal(status);
        // More of it may be on its way.
        self.connection.linger();
        Shutdown::shutdown(self).await;
    }

    /// Who is at the other end.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Where what is written next can be put at once: at most some kilobytes at a time.
    pub fn unwritten(&mut self) -> &mut Vec<u8> {
        self.out.bytes()
    }

    /// Gives the room back that one long header block took.
    pub fn shrink(&mut self) {
        self.out.shrink();
    }

    /// Writes `bytes` and `tail`, behind what waits to be; small ones wait themselves.
    ///
    /// # Errors
    /// When the connection breaks, or the client takes nothing in its time.
    pub async fn write(&mut self, bytes: &[u8], tail: &[u8]) -> io::Result<()> {
        let mut parts = [bytes, tail];
        if self.out.gather(parts) {
            return Ok(());
        }
        poll_fn(|cx| {
            while !parts[0].is_empty() {
                ready!(self.poll_through(cx, &mut parts))?;
            }
            Poll::Ready(io::Result::Ok(()))
        })
        .await?;
        self.unwritten().extend_from_slice(parts[1]);
        Ok(())
    }

    /// Writes of what waits to be written, and of `parts` behind it, what goes out in one call.
    fn poll_through(&mut self, cx: &mut Context<'_>, parts: &mut [&[u8]; 2]) -> Poll<io::Result<()>> {
        let written = self.out.poll_write(cx, &mut self.wire, parts);
        match written {
            Poll::Pending => return self.poll_write_deadline(cx).map(Err),
            Poll::Ready(Ok(())) => {
                self.unflushed = true;
                self.write_deadline.restart();
            }
            Poll::Ready(Err(_)) => {}
        }
        written
    }

    fn put_refusal(&mut self, status: u16) {
        let answer = self.refusal.answer(&self.connection, status);
        self.unwritten().extend_from_slice(&answer);
    }

    fn poll_flush_wire(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            ready!(self.poll_through(cx, &mut [&[], &[]]))?;
        }
        match Pin::new(&mut self.wire).poll_flush(cx) {
            Poll::Pending => self.poll_write_deadline(cx).map(Err),
            done => {
                self.unflushed = false;
                self.write_deadline.restart();
                done
            }
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.out.gather([buf, &[]]) {
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_flush_wire(cx))?;
        if self.out.gather([buf, &[]]) {
            return Poll::Ready(Ok(buf.len()));
        }
        let mut parts = [buf, &[]];
        ready!(self.poll_through(cx, &mut parts))?;
        Poll::Ready(Ok(buf.len() - parts[0].len()))
    }

    fn poll_write_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let limit = self.connection.deadlines.write;
        ready!(self.write_deadline.poll(cx, limit));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes"))
    }
}

impl AsyncRead for Downstream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Who waits for the client has said what there was to say.
        if (this.unflushed || !this.out.is_empty())
            && !this.connection.holds_writes()
            && let Poll::Ready(Err(error)) = this.poll_flush_wire(cx)
        {
            return Poll::Ready(Err(error));
        }
        if this.connection.begins_to_wait() {
            this.read_deadline.restart();
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.wire).poll_read(cx, buf);
        let phase = this.connection.phase();
        match (&read, phase) {
            (Poll::Ready(Ok(())), Phase::Idle) => {
                this.read_deadline.restart();
                if buf.filled().len() > before {
                    this.connection.enter(Phase::Head);
                }
                read
            }
            (Poll::Pending, Phase::Idle | Phase::Preface) => {
                if this.read_deadline.poll(cx, this.connection.deadlines.keepalive).is_ready() {
                    return Poll::Ready(Ok(())); // An end of stream: nobody asked for anything.
                }
                read
            }
            (Poll::Pending | Poll::Ready(Ok(())), Phase::Head) => {
                if this.read_deadline.poll(cx, this.connection.deadlines.header).is_ready() {
                    this.refuse_slow_header();
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                read
            }
            _ => read,
        }
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.connection.phase(), Phase::Idle | Phase::Head) {
            if !std::mem::replace(&mut this.refused, true) {
                this.put_refusal(400);
            }
            return Poll::Ready(Ok(buf.len()));
        }
        this.poll_write_out(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.holds_writes() {
            return Poll::Ready(Ok(()));
        }
        this.poll_flush_wire(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_flush_wire(cx))?;
        match Pin::new(&mut this.wire).poll_shutdown(cx) {
            Poll::Pending => this.poll_write_deadline(cx).map(Err),
            done => done,
        }
    }
}

impl std::fmt::Debug for Downstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downstream").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[async_trait]
impl Shutdown for Downstream {
    async fn shutdown(&mut self) {
        self.connection.hold_writes(false);
        let _ = AsyncWriteExt::shutdown(self).await;
        if self.connection.lingers() {
            let _ = tokio::time::timeout(LINGER, self.discard()).await;
        }
    }
}

impl UniqueID for Downstream {
    fn id(&self) -> UniqueIDType {
        match &self.wire {
            Wire::Plain(socket) => socket.id(),
            Wire::Tls(stream) => stream.id(),
        }
    }
}

impl Ssl for Downstream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        match &self.wire {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => stream.get_ssl_digest(),
        }
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.wire {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => stream.selected_alpn_proto(),
        }
    }
}

impl GetTimingDigest for Downstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Downstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        carry(Arc::clone(&self.connection))
    }
}

impl GetSocketDigest for Downstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Downstream {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.try_peek(buf).await,
            Wire::Tls(_) => Ok(false),
        }
    }
}
