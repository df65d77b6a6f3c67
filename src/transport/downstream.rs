//! The client's side of a connection: one stream with its deadlines.
//!
//! Invariants: a header block is complete within its deadline, counted from its first byte; an idle connection ends at
//! its deadline; a client that takes no bytes for the write deadline is cut off. What Pingora writes before a request
//! reached us (its bare 400 and 405) is replaced by an answer of ours.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsStream};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

use super::connection::{Connection, Phase, carry};
use super::deadline::Deadline;
use super::socket::Socket;

/// Bytes of an answer gathered before they go to the kernel: a header block and a small body leave in one call.
const WRITE_BUFFER: usize = 4096;

/// How long a connection that ends with a part of the request unread is still read from.
const LINGER: Duration = Duration::from_secs(2);
/// And how much.
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// What a client connection does when Pingora refuses a request by itself, before any hook of ours.
pub trait EarlyRefusal: Send + Sync + std::fmt::Debug {
    /// The whole answer for `status`, 400 (malformed), 405 (CONNECT) or 408 (header too slow). Counts it too.
    fn answer(&self, connection: &Connection, status: u16) -> Vec<u8>;
}

#[derive(Debug)]
enum Wire {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// The stream of a client connection.
pub struct Downstream {
    wire: BufWriter<Wire>,
    connection: Arc<Connection>,
    digest: Option<Arc<ProxyDigest>>,
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
            wire: BufWriter::with_capacity(WRITE_BUFFER, wire),
            digest: carry(Arc::clone(&connection)),
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
        while let Ok(read @ 1..) = self.wire.get_mut().read(&mut scratch).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    }

    /// Says the last word to a client whose header block never ended.
    fn refuse_slow_header(&self) {
        let answer = self.refusal.answer(&self.connection, 408);
        if let Wire::Plain(socket) = self.wire.get_ref() {
            socket.write_best_effort(&answer);
        }
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.refused {
            let status = if buf.starts_with(b"HTTP/1.1 405") { 405 } else { 400 };
            let answer = self.refusal.answer(&self.connection, status);
            // The buffer is empty here, and the answer is smaller than it: it is taken whole.
            ready!(Pin::new(&mut self.wire).poll_write(cx, &answer))?;
            self.refused = true;
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush_wire(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.wire).poll_flush(cx) {
            Poll::Pending => self.poll_write_deadline(cx).map(Err),
            done => {
                self.write_deadline.restart();
                done
            }
        }
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
        if !this.wire.buffer().is_empty()
            && !this.connection.holds_writes()
            && let Poll::Ready(Err(error)) = this.poll_flush_wire(cx)
        {
            return Poll::Ready(Err(error));
        }
        if this.connection.begins_to_wait() {
            this.read_deadline.restart();
        }
        let before = buf.filled().len();
        let read = Pin::new(this.wire.get_mut()).poll_read(cx, buf);
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
            return this.poll_refusal(cx, buf);
        }
        let dated = this.connection.kept_date().and_then(|date| with_date(buf, date));
        match Pin::new(&mut this.wire).poll_write(cx, dated.as_deref().unwrap_or(buf)) {
            Poll::Pending => this.poll_write_deadline(cx).map(Err),
            done => {
                this.connection.forget_date();
                this.write_deadline.restart();
                done
            }
        }
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
        match self.wire.get_ref() {
            Wire::Plain(socket) => socket.id(),
            Wire::Tls(stream) => stream.id(),
        }
    }
}

impl Ssl for Downstream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        match self.wire.get_ref() {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => stream.get_ssl_digest(),
        }
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.wire.get_ref() {
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
        self.digest.clone()
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
        match self.wire.get_mut() {
            Wire::Plain(socket) => socket.try_peek(buf).await,
            Wire::Tls(_) => Ok(false),
        }
    }
}

/// The header block `head` with another Date of the same length; `None` when it has none, or may not be written whole.
fn with_date(head: &[u8], date: SystemTime) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\r\ndate: ";
    if head.len() >= WRITE_BUFFER {
        return None;
    }
    let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let at = head.get(..end)?.windows(NAME.len()).position(|bytes| bytes.eq_ignore_ascii_case(NAME))? + NAME.len();
    let text = httpdate::fmt_http_date(date);
    let mut dated = head.to_vec();
    dated.get_mut(at..at + text.len()).filter(|old| old.ends_with(b"GMT"))?.copy_from_slice(text.as_bytes());
    Some(dated)
}
