//! HTTP/2 by prior knowledge, for what the ordinary client does not show: trailers.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
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

/// An upload of unknown length: its end is an empty frame of its own.
pub async fn h2_upload(address: SocketAddr, path: &str, body: &'static str) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let _driver = tokio::spawn(connection);
    let frame = Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(body.as_bytes())));
    let frames = futures::stream::iter([frame]);
    let request = Request::post(format!("http://{address}{path}")).body(StreamBody::new(frames)).unwrap();
    let _ = sender.send_request(request).await;
}

/// An upload that goes on after its answer has come.
pub struct H2LateUpload {
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub body: Bytes,
    pieces: tokio::sync::mpsc::Sender<Frame<Bytes>>,
}

/// Begins an upload and waits for the whole answer, before a byte of the body is sent.
pub async fn h2_late_upload(address: SocketAddr, path: &str) -> H2LateUpload {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (pieces, taken) = tokio::sync::mpsc::channel(1);
    let frames = futures::stream::unfold(taken, async |mut taken| Some((taken.recv().await?, taken)));
    let frames = futures::StreamExt::map(frames, Ok::<_, std::convert::Infallible>);
    let request = Request::post(format!("http://{address}{path}")).body(StreamBody::new(Box::pin(frames))).unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    H2LateUpload { status: parts.status.as_u16(), body: body.collect().await.unwrap().to_bytes(), pieces }
}

impl H2LateUpload {
    /// Sends `pieces` of 16 KiB; gives how many went out before the stream was let go.
    pub async fn send(&self, pieces: usize) -> usize {
        for piece in 0..pieces {
            if self.pieces.send(Frame::data(Bytes::from_static(&[0; 16 << 10]))).await.is_err() {
                return piece;
            }
        }
        pieces
    }

    /// Waits until the stream is let go.
    pub async fn let_go(&self) {
        self.pieces.closed().await;
    }
}

/// Asks for an answer and gives no window for its body.
pub async fn h2_stall(address: SocketAddr, path: &str) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{address}{path}")).body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(request).await.unwrap()
}

/// An upload that begins and never goes on; the status of the answer.
pub async fn h2_stalled_upload(address: SocketAddr, path: &str) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let frames = futures::stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>();
    let request = Request::post(format!("http://{address}{path}")).body(StreamBody::new(frames)).unwrap();
    sender.send_request(request).await.unwrap().status().as_u16()
}
