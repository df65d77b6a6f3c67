//! HTTP/2 by prior knowledge, for what the ordinary client does not show: trailers.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// A whole answer with its trailers.
#[derive(Debug)]
pub struct H2Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailers; empty when there were none.
    pub trailers: HeaderMap,
}

/// One GET on a connection of its own, with `te: trailers`.
pub async fn h2_get(address: SocketAddr, path: &str) -> H2Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::get(format!("http://{address}{path}")).header("te", "trailers");
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    driver.abort();
    H2Answer { status: parts.status.as_u16(), headers: parts.headers, body: collected.to_bytes(), trailers }
}
