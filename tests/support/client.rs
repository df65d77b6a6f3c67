//! An HTTP client, thin over reqwest: one base address, answers with everything in them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Version};

/// How long a request may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of one gateway. It follows no redirect and uses no proxy.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The protocol.
    pub version: Version,
    /// The certificate that was shown, DER.
    pub certificate: Option<Vec<u8>>,
    /// From sending the request to the body's end.
    pub elapsed: Duration,
}

/// An answer whose body is read piece by piece.
pub struct Stream {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    response: reqwest::Response,
}

/// A request under way to being sent.
pub struct Ask {
    request: reqwest::RequestBuilder,
}

impl Client {
    /// HTTP/1.1 to `address`.
    pub fn http(address: SocketAddr) -> Self {
        Self::build(format!("http://{address}"), |builder| builder.http1_only())
    }

    /// HTTP/2 by prior knowledge to `address`.
    pub fn h2c(address: SocketAddr) -> Self {
        Self::build(format!("http://{address}"), |builder| builder.http2_prior_knowledge())
    }

    /// HTTPS to `host`, found at `address`, with the authority `ca` (PEM); h2 when the other side offers it.
    pub fn https(host: &str, address: SocketAddr, ca: &str) -> Self {
        Self::tls(host, address, ca, |builder| builder)
    }

    /// HTTPS without h2.
    pub fn https1(host: &str, address: SocketAddr, ca: &str) -> Self {
        Self::tls(host, address, ca, |builder| builder.http1_only())
    }

    /// Any client: `options` are reqwest's.
    pub fn build(base: String, options: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Self {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_info(true)
            .timeout(PATIENCE);
        Self { base, http: options(builder).build().expect("a client") }
    }

    fn tls(
        host: &str,
        address: SocketAddr,
        ca: &str,
        options: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Self {
        let authority = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
        Self::build(format!("https://{host}:{}", address.port()), |builder| {
            options(builder.add_root_certificate(authority).resolve(host, address))
        })
    }

    /// A request; send it with [`Ask::send`].
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Ask { request: self.http.request(method, format!("{}{path}", self.base)) }
    }

    /// GET, whole.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    /// POST of `body`, whole.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.ask("POST", path).body(body).send().await
    }
}

impl Ask {
    /// Adds a header; twice adds it twice.
    pub fn header(self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        Self { request: self.request.header(name, HeaderValue::from_str(value).unwrap()) }
    }

    /// The body.
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self { request: self.request.body(body) }
    }

    /// A body of unknown length, sent in these pieces.
    pub fn chunks(self, pieces: Vec<Bytes>) -> Self {
        let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        Self { request: self.request.body(reqwest::Body::wrap_stream(pieces)) }
    }

    /// Sends, and reads the whole answer.
    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Sends, and reads the whole answer; an error when the connection or the body breaks.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let started = Instant::now();
        let response = self.request.send().await?;
        let certificate = response.extensions().get::<reqwest::tls::TlsInfo>().and_then(|tls| tls.peer_certificate());
        Ok(Answer {
            certificate: certificate.map(<[u8]>::to_vec),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            version: response.version(),
            body: response.bytes().await?,
            elapsed: started.elapsed(),
        })
    }

    /// Sends, and returns as soon as the header is there.
    pub async fn stream(self) -> Stream {
        let response = self.request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
        Stream { status: response.status().as_u16(), headers: response.headers().clone(), response }
    }
}

impl Answer {
    /// A header's value; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// Which mock answered; empty when none did.
    pub fn upstream(&self) -> &str {
        self.header("x-upstream")
    }
}

impl Stream {
    /// The next piece of the body; `None` at its end.
    pub async fn piece(&mut self) -> Option<Bytes> {
        self.try_piece().await.expect("a piece of the body")
    }

    /// The next piece of the body; `None` at its end, an error when it breaks off.
    pub async fn try_piece(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
        self.response.chunk().await
    }

    /// Reads to the end and counts the bytes.
    pub async fn drain(&mut self) -> u64 {
        let mut bytes = 0;
        while let Some(piece) = self.piece().await {
            bytes += piece.len() as u64;
        }
        bytes
    }
}
