//! The byte stream under one connection, with the two tricks that hyper does not offer: a reset instead of a close, and garbage.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use super::state::Shared;

/// What goes out in place of an answer for [`super::Fault::BadHttp`].
const GARBAGE: &[u8] = b"\x01\x02 this is not HTTP \xff\xfe\r\n";

/// Handles on one connection for the requests that it carries.
#[derive(Default)]
pub(super) struct Conn {
    cut: Notify,
    reset: AtomicBool,
    was_cut: AtomicBool,
    garbage: AtomicBool,
    /// A WebSocket that takes over when HTTP is done.
    pub(super) upgrade: Mutex<Option<OnUpgrade>>,
}

impl Conn {
    /// Ends the connection now: FIN, or RST when `reset`. What hyper has not flushed is lost.
    pub(super) fn cut(&self, reset: bool) {
        self.reset.store(reset, Relaxed);
        self.was_cut.store(true, Relaxed);
        self.cut.notify_one();
    }

    /// Ends the connection of a client that left in the middle of a request.
    pub(super) fn abandon(&self) {
        self.cut.notify_one();
    }

    /// Whether the mock ended the connection, so that what was in flight is nobody's cancellation.
    pub(super) fn was_cut(&self) -> bool {
        self.was_cut.load(Relaxed)
    }

    /// Resolves when [`Conn::cut`] was called.
    pub(super) async fn is_cut(&self) {
        self.cut.notified().await;
    }

    /// From now on everything written becomes garbage of the same length.
    pub(super) fn write_garbage(&self) {
        self.garbage.store(true, Relaxed);
    }
}

/// Counts a connection as open while it lives.
pub(super) struct OpenGuard(Arc<Shared>);

impl OpenGuard {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.accepted.fetch_add(1, Relaxed);
        shared.open.fetch_add(1, Relaxed);
        Self(shared)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// A plain or TLS socket.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// The stream that hyper reads and writes.
pub(super) struct Wire {
    socket: Socket,
    conn: Arc<Conn>,
    open: OpenGuard,
}

impl Wire {
    pub(super) fn new(socket: Socket, conn: Arc<Conn>, open: OpenGuard) -> Self {
        Self { socket, conn, open }
    }

    fn poll_garbage(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        let noise: Vec<u8> = GARBAGE.iter().copied().cycle().take(len).collect();
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, &noise),
            Socket::Tls(tls) => Pin::new(tls).poll_write(cx, &noise),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.conn.reset.load(Relaxed) || self.open.0.down.load(Relaxed) {
            let _ = self.socket.tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.conn.garbage.load(Relaxed) {
            return self.poll_garbage(cx, buf.len());
        }
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.conn.garbage.load(Relaxed) {
            let len = bufs.iter().map(|buf| buf.len()).sum();
            return self.poll_garbage(cx, len);
        }
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Socket::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(tcp) => tcp.is_write_vectored(),
            Socket::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
