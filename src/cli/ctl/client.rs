//! One call of the control API: connect, ask, read the whole answer.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Failure;
use super::target::{Place, Target};
use crate::admin::answer::ErrorBody;

/// For a whole call. The gateway itself gives up on a request after 30 s.
const TIMEOUT: Duration = Duration::from_secs(35);
/// Bytes of an answer.
const MAX_ANSWER: usize = 64 << 20;

/// Asks one gateway.
pub(super) struct Client {
    target: Target,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        Self { target }
    }

    /// The body at `path`, as it came.
    pub(super) async fn get(&self, path: &str) -> Result<String, Failure> {
        let body = self.call(Method::GET, path).await?;
        String::from_utf8(body.into()).map_err(|_| self.not_ours("no text"))
    }

    /// The value at `path`.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.parsed(&self.call(Method::GET, path).await?)
    }

    /// Asks for a change.
    pub(super) async fn change<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.parsed(&self.call(Method::POST, path).await?)
    }

    fn parsed<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|error| self.not_ours(&error.to_string()))
    }

    fn not_ours(&self, why: &str) -> Failure {
        format!("what answers at {} is no admin listener of this version: {why}", self.target.place)
    }

    async fn call(&self, method: Method, path: &str) -> Result<Bytes, Failure> {
        let place = &self.target.place;
        let called = tokio::time::timeout(TIMEOUT, self.try_call(method, path)).await;
        let (status, body) = called.map_err(|_| format!("no answer from {place} within {TIMEOUT:?}"))??;
        if status.is_success() {
            return Ok(body);
        }
        let reason = serde_json::from_slice::<ErrorBody>(&body).map(|body| body.error.message);
        let reason = reason.map_err(|error| self.not_ours(&format!("status {status}, {error}")))?;
        match (&self.target.no_token, status) {
            (Some(hint), StatusCode::UNAUTHORIZED) => Err(format!("{reason}\n{hint}")),
            _ => Err(reason),
        }
    }

    async fn try_call(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), Failure> {
        let place = &self.target.place;
        let unreachable = |error: io::Error| format!("cannot reach the gateway at {place}: {error}; is it running?");
        match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                self.exchange(stream, method, path, address).await
            }
            Place::Unix(file) => {
                let stream = UnixStream::connect(file).await.map_err(unreachable)?;
                self.exchange(stream, method, path, "localhost").await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        method: Method,
        path: &str,
        host: &str,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let broken = |error: hyper::Error| format!("the answer from {} broke off: {error}", self.target.place);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = self.request(method, path, host)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| format!("the answer from {} broke off: {error}", self.target.place))?;
            Ok((status, body.to_bytes()))
        };
        // The connection has to be driven beside; it ends with the exchange.
        let driven = async {
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            done = exchange => done,
            never = driven => never,
        }
    }

    fn request(&self, method: Method, path: &str, host: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, host).header(ACCEPT, "application/json");
        if let Some(token) = &self.target.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
            let mut value = value.map_err(|_| "the token has characters that no header can carry".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Empty::new()).map_err(|error| error.to_string())
    }
}
