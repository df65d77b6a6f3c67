//! One request of a client's connection, handed to Pingora as a stream of its own.
//!
//! Pingora serves what we do not: upgrades, and pools that speak HTTP/2. It reads this request and nothing behind it, framed by
//! the rules of the one reader that there is; when another protocol is agreed on, everything. The connection comes back as it is.

use std::fmt::Write;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Fault;
use super::body::Body;
use super::inbound::Inbound;

/// How the status line begins with which another protocol is agreed on.
const SWITCHED: &[u8] = b"HTTP/1.1 101";
/// How all status lines begin that only inform, and that one.
const INFORMS: &[u8] = b"HTTP/1.1 1";
/// A line that no chunk begins with.
const MALFORMED: &[u8] = b"malformed\r\n";

/// The connection while Pingora has it.
#[derive(Debug)]
pub struct Handed {
    inbound: Inbound,
    /// What Pingora reads next.
    ready: BytesMut,
    next: Next,
    /// The header block of the answer went out.
    answered: bool,
}

/// What comes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// More of the body.
    Body { chunked: bool },
    /// Nothing, until another protocol is agreed on.
    Nothing,
    /// All that the client sends.
    Everything,
}

impl Handed {
    /// Hands over a request of which nothing but the header block was taken.
    pub fn new(inbound: Inbound) -> Self {
        let next = match inbound.body() {
            Body::Done => Next::Nothing,
            body => Next::Body { chunked: body == Body::Size },
        };
        Self { ready: BytesMut::from(inbound.raw()), inbound, next, answered: false }
    }

    /// The connection.
    pub fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// The connection, which waits for its next request; `None` when it serves no other one.
    pub fn into_inbound(mut self) -> Option<Inbound> {
        let whole = self.next != Next::Everything && self.inbound.is_body_done() && self.ready.is_empty();
        self.inbound.wait_anew();
        whole.then_some(self.inbound)
    }

    /// Makes more ready; `false`: there is no more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.next {
            Next::Body { chunked } => match ready!(self.inbound.poll_part(cx)) {
                Ok(Some(part)) => self.put(&part, chunked),
                Ok(None) => {
                    self.next = Next::Nothing;
                    self.ready.extend_from_slice(if chunked { b"0\r\n\r\n" } else { b"" });
                }
                // So that it is told as what it is.
                Err(Fault::Invalid) => self.ready.extend_from_slice(MALFORMED),
                Err(_) => return Poll::Ready(Ok(false)),
            },
            Next::Nothing => {
                ready!(self.inbound.poll_gone(cx));
                return Poll::Ready(Ok(false));
            }
            Next::Everything => {
                let came = ready!(self.inbound.poll_anything(cx)).map_err(|_| io::ErrorKind::ConnectionReset)?;
                if came.is_empty() {
                    return Poll::Ready(Ok(false));
                }
                self.ready.unsplit(came);
            }
        }
        Poll::Ready(Ok(true))
    }

    /// A part of the body, as it is framed.
    fn put(&mut self, part: &Bytes, chunked: bool) {
        if chunked {
            // What is written into memory is always written.
            let _ = write!(self.ready, "{:X}\r\n", part.len());
        }
        self.ready.extend_from_slice(part);
        if chunked {
            self.ready.extend_from_slice(b"\r\n");
        }
    }
}

impl AsyncRead for Handed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.ready.is_empty() {
            if !ready!(this.poll_more(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
        let most = this.ready.len().min(buf.remaining());
        buf.put_slice(this.ready.get(..most).unwrap_or_default());
        this.ready.advance(most);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Handed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(this.inbound.stream_mut()).poll_write(cx, buf))?;
        if !this.answered {
            if buf.starts_with(SWITCHED) {
                this.next = Next::Everything;
            }
            this.answered = !buf.starts_with(INFORMS);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().inbound.stream_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().inbound.stream_mut()).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Handed {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(self.inbound.stream_mut()).await;
    }
}

impl UniqueID for Handed {
    fn id(&self) -> UniqueIDType {
        self.inbound.stream().id()
    }
}

impl Ssl for Handed {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inbound.stream().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inbound.stream().selected_alpn_proto()
    }
}

impl GetTimingDigest for Handed {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Handed {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inbound.stream().get_proxy_digest()
    }
}

impl GetSocketDigest for Handed {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Handed {}
