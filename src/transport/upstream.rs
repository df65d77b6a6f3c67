//! A member's side of a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};

use super::socket::Socket;

/// Bytes of a request gathered before they go to the kernel: a header block and a small body leave in one call.
const WRITE_BUFFER: usize = 4096;

/// A plain connection to a member. A TLS one is Pingora's own.
#[derive(Debug)]
pub struct Upstream {
    wire: BufWriter<Socket>,
    corked: AtomicBool,
}

impl Upstream {
    /// Takes a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self { wire: BufWriter::with_capacity(WRITE_BUFFER, socket), corked: AtomicBool::new(false) }
    }

    /// Holds back flushes, so that the header block waits for the first bytes of the body. Pingora flushes each by
    /// itself, which costs a system call and, at the member, often a read that finds half a request.
    pub fn cork(&self, corked: bool) {
        self.corked.store(corked, Ordering::Relaxed);
    }
}

impl AsyncRead for Upstream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Who waits for an answer has said what there was to say.
        if !this.wire.buffer().is_empty()
            && !this.corked.load(Ordering::Relaxed)
            && let Poll::Ready(Err(error)) = Pin::new(&mut this.wire).poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(this.wire.get_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.corked.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Upstream {
    async fn shutdown(&mut self) {
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Upstream {
    fn id(&self) -> UniqueIDType {
        self.wire.get_ref().id()
    }
}

impl Ssl for Upstream {}

impl GetTimingDigest for Upstream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Upstream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Upstream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Upstream {}
