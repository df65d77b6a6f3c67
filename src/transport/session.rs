//! One request of a client and the way of its answer: over HTTP/1 our own, over HTTP/2 and in tunnels Pingora's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Ssl;
use pingora::protocols::http::ServerSession;
use pingora::protocols::tls::SslDigest;

use super::connection::{Connection, carried};
use super::http1::inbound::Inbound;

/// How long an HTTP/2 stream whose answer is out waits for the end of its request, and for how many bytes of that.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// A request while it is served.
pub enum Session<'a> {
    /// Over HTTP/1.
    Http1(&'a mut Inbound),
    /// What Pingora took in.
    Pingora(&'a mut pingora_proxy::Session),
}

impl Session<'_> {
    /// The header block of the request.
    pub fn req_header(&self) -> &RequestHeader {
        match self {
            Self::Http1(inbound) => inbound.request(),
            Self::Pingora(session) => session.req_header(),
        }
    }

    /// The connection that it came on.
    pub fn connection(&self) -> Option<Arc<Connection>> {
        match self {
            Self::Http1(inbound) => Some(Arc::clone(inbound.stream().connection())),
            Self::Pingora(session) => carried(session.digest()?.proxy_digest.as_deref()?).cloned(),
        }
    }

    /// What was agreed on by TLS.
    pub fn tls(&self) -> Option<Arc<SslDigest>> {
        match self {
            Self::Http1(inbound) => inbound.stream().get_ssl_digest(),
            Self::Pingora(session) => session.digest()?.ssl_digest.clone(),
        }
    }

    /// Whether it came over HTTP/2.
    pub fn is_http2(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Pingora(session) => session.is_http2(),
        }
    }

    /// Whether it asks for another protocol on its connection.
    pub fn is_upgrade_req(&self) -> bool {
        let request = self.req_header();
        request.version == Version::HTTP_11 && request.headers.contains_key(header::UPGRADE)
    }

    /// Whether another protocol is spoken on its connection by now.
    pub fn was_upgraded(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Pingora(session) => session.was_upgraded(),
        }
    }

    /// Whether it has no body.
    pub fn is_body_empty(&mut self) -> bool {
        match self {
            Self::Http1(inbound) => inbound.is_body_empty(),
            Self::Pingora(session) => session.is_body_empty(),
        }
    }

    /// Whether a body of no known length comes with it.
    pub fn has_streamed_body(&self) -> bool {
        // An HTTP/2 body has no field that says it is there.
        if let Self::Pingora(session) = self
            && let Some(stream) = session.as_http2()
        {
            return !stream.is_body_empty();
        }
        self.req_header().headers.contains_key(header::TRANSFER_ENCODING)
    }

    /// Whether its body was read to the end.
    pub fn is_body_done(&mut self) -> bool {
        match self {
            Self::Http1(inbound) => inbound.is_body_done(),
            Self::Pingora(session) => session.is_body_done(),
        }
    }

    /// Bytes of its body that were read.
    pub fn bytes_read(&self) -> u64 {
        match self {
            Self::Http1(inbound) => inbound.bytes_read(),
            Self::Pingora(session) => session.body_bytes_read() as u64,
        }
    }

    /// Bytes of the answer's body that were written.
    pub fn bytes_sent(&self) -> u64 {
        match self {
            Self::Http1(inbound) => inbound.bytes_sent(),
            Self::Pingora(session) => session.body_bytes_sent() as u64,
        }
    }

    /// The status that was written to the client; not one that only informs.
    pub fn status_written(&self) -> Option<StatusCode> {
        match self {
            Self::Http1(inbound) => inbound.status(),
            Self::Pingora(session) => {
                let status = session.response_written()?.status;
                (!status.is_informational() || session.was_upgraded()).then_some(status)
            }
        }
    }

    /// The next bytes of the request, or, when there are or have to be no more, the client's going away.
    ///
    /// # Errors
    /// When the body breaks off, is malformed or rests for too long, or the client is gone.
    pub async fn read_body_or_idle(&mut self, done: bool) -> pingora::Result<Option<Bytes>> {
        match self {
            Self::Http1(inbound) if done || inbound.is_body_done() => Err(inbound.gone().await),
            Self::Http1(inbound) => inbound.part().await,
            Self::Pingora(session) => {
                let idle = session.get_write_timeout();
                let http2 = session.is_http2();
                let read = session.read_body_or_idle(done);
                match idle {
                    // Over HTTP/1 the time between two reads has a bound of its own; for a stream it is that of its writes.
                    Some(idle) if http2 && !done => tokio::time::timeout(idle, read).await.unwrap_or_else(|_| {
                        pingora::Error::e_explain(pingora::ErrorType::ReadTimedout, "reading the body of a stream")
                    }),
                    _ => read.await,
                }
            }
        }
    }

    /// Ends when an HTTP/2 client resets its stream, and reads nothing. A stream that was reset early looks like one whose
    /// body is still to come. For other clients it never ends.
    pub async fn reset(&mut self) {
        if let Self::Pingora(session) = self
            && let Some(closed) = session.watch_h2_stream_close()
        {
            drop(closed.await);
            return;
        }
        std::future::pending().await
    }

    /// Bounds how long an HTTP/2 stream waits for its client to take more: the connection as a whole may be moving. An
    /// HTTP/1 connection bounds its writes itself.
    pub fn bound_writes(&mut self, limit: Duration) {
        if let Self::Pingora(session) = self
            && session.is_http2()
        {
            session.set_write_timeout(Some(limit));
        }
    }

    /// Ends the answer, and drops what still comes of the body of an HTTP/2 request, for a while. A stream that is let go before
    /// its client has ended it is reset (RFC 9113, section 8.1), and some clients then lose the answer that they have. What
    /// lingers on HTTP/1 is the connection.
    pub async fn linger(&mut self) {
        let Self::Pingora(session) = self else { return };
        let ServerSession::H2(stream) = session.downstream_session.as_mut() else { return };
        if stream.is_body_done() || stream.finish().is_err() {
            return;
        }
        let rest = async {
            let mut left = LINGER_BYTES;
            while let Ok(Some(part)) = stream.read_body_bytes().await
                && left > part.len()
            {
                left -= part.len();
            }
        };
        // Either way it is let go.
        let _ = tokio::time::timeout(LINGER, rest).await;
    }

    /// Its connection ends with it.
    pub fn end_connection(&mut self) {
        match self {
            Self::Http1(inbound) => inbound.end_with_this(),
            Self::Pingora(session) => session.set_keepalive(None),
        }
    }

    /// Asks the client, which waits for it, for the body.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn write_continue_response(&mut self) -> pingora::Result<()> {
        match self {
            Self::Http1(inbound) => inbound.invite_body().await,
            Self::Pingora(session) => session.write_continue_response().await,
        }
    }

    /// Writes the header block of the answer, or one that only informs.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn write_response_header(&mut self, header: Box<ResponseHeader>) -> pingora::Result<()> {
        match self {
            Self::Http1(inbound) => inbound.write_head(header).await,
            Self::Pingora(session) => session.downstream_session.write_response_header(header).await,
        }
    }

    /// Writes a part of the answer's body.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn write_part(&mut self, bytes: &[u8]) -> pingora::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self {
            Self::Http1(inbound) => inbound.write(bytes).await,
            Self::Pingora(session) => match session.downstream_session.as_mut() {
                ServerSession::H1(client) => client.write_body(bytes).await.map(|_| ()),
                client => client.write_response_body(Bytes::copy_from_slice(bytes), false).await,
            },
        }
    }

    /// Writes a part of the answer's body; with `end`, the last one, which may be empty.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn write_response_body(&mut self, bytes: Bytes, end: bool) -> pingora::Result<()> {
        match self {
            Self::Http1(inbound) => {
                inbound.write(&bytes).await?;
                if end { inbound.end().await } else { Ok(()) }
            }
            Self::Pingora(session) => session.downstream_session.write_response_body(bytes, end).await,
        }
    }
}
