//! A backend for tests, demos and benchmarks: every AI provider that the gateway speaks to, JAiRouter's paths and shapes
//! (requirements F01 to F20), plain web paths, and every fault a backend can show a proxy, on order.
//!
//! It runs on the runtime that starts it, so a test must not block its only thread while it expects answers.
//! It is not a model: the answers follow fixed rules, and nothing checks the sense of a request. Its form is checked, as the
//! provider does: missing fields, roles, calls of tools without results, signatures of thinking.
//!
//! # Doors
//!
//! | path | provider |
//! |---|---|
//! | `/v1/chat/completions`, `completions`, `responses`, `embeddings`, `rerank`, `images/*`, `audio/*`, `models` | OpenAI; also below `/api` (JAiRouter), `/v1beta/openai` (Gemini) and `/openai/v1` (Azure) |
//! | `/v1/messages`, `/v1/messages/count_tokens` | Anthropic |
//! | `/openai/deployments/NAME/...?api-version=` | Azure; a stream begins with the filter's chunk without choices |
//! | `/v1beta/models/NAME:generateContent`, `:streamGenerateContent` (an array without `?alt=sse`), `:countTokens`, `:embedContent`, `:batchEmbedContents`; `/v1` too | Gemini |
//! | `/flow-llm-proxy/...` | Flow: any of the above, with a token that is verified always (C11) |
//!
//! The order `flavour` makes the doors in OpenAI's shape those of `vllm` (no `/v1/messages`), `vllm-messages` or `jairouter`.
//!
//! # What is answered
//!
//! - `This is ID answering a question of N characters.`: the characters of all texts, system and tool results included. `, N
//!   images` and `, N tool results` come before the full stop where there are any.
//! - A question `say TEXT` is answered with the text. One for JSON has a value that fits its schema: texts `mock 1`, numbers `1`.
//! - A question with tools that has `call NAME` calls that tool, with `call NAME twice` twice at once; so does a tool choice that
//!   demands it. The arguments fit the schema: `mock 1` in the first call, `mock 2` in the second. Tool results, those since
//!   the last turn of the assistant, lead to text.
//! - Thinking comes where the dialect asks for it, and is signed; a later turn whose signature is wrong or missing is refused.
//! - Stop sequences and the longest output are kept to, and the reason to stop is told.
//! - A token of the prompt is four characters (rounded up over the whole, at least one), an image is a hundred tokens. A token
//!   of output is one event: a word of text or thinking with the space after it, or eight characters of JSON or arguments.
//!
//! # Orders
//!
//! A request orders with a header `x-mock-NAME: VALUE` or a query key of that name; [`Mock::set_order`] and `POST /mock/orders`
//! order for every AI request.
//!
//! | order | effect |
//! |---|---|
//! | `status: 503` | this status, with the provider's error at a door |
//! | `delay: 200ms` | a pause before the headers |
//! | `fault: ...` | one of the faults below |
//! | `error:` `router` `auth` `documented` `fallback` `ok-false` `html` | JAiRouter's error bodies, or a balancer's page; with an `error@` fault of a stream, the shape of its event |
//! | `sse: events=N,interval=50ms` (or `rate=20`)`,size=1KiB,stamp` | so many pieces of text at this pace, padded; stamped ones are `INDEX@MICROSECONDS ` |
//! | `usage: in=1000,out=500,cached=200,written=100,reasoning=50` | what is said (and booked) about tokens; cached and written ones are part of `in` |
//! | `framing: split=3,gap=1ms,together=10,crlf,cr,comments,multiline,tight,bom` | how events are put on the wire; see [`Framing`] |
//! | `think: 1` or `redacted` | thinking, whatever was asked |
//! | `finish:` `filter` `pause` `length` | the reason to stop |
//! | `flavour:` `openai` `vllm` `vllm-messages` `jairouter` | whose manner OpenAI's doors have |
//! | `strict: 1` | fields that the provider does not know are refused, with Gemini also in the schemas of functions |
//! | `leak: 1` | the answer carries the key it was asked with, and a cookie |
//! | `body-size: 100MiB`, `chunked: 1` | a body of this size where no door is; no `Content-Length` |
//!
//! # Faults
//!
//! A fault comes from the test ([`Mock::fail_next`], [`Mock::set_fault`], [`Mock::plan`]), from `POST /mock/fault`, or from the
//! request. The names are those of [`Fault`]:
//!
//! | fault | effect |
//! |---|---|
//! | `503` | this status, in the provider's shape at a door |
//! | `refuse:` `key` `forbidden` `quota` `credit` `model` `context` `filter` `overloaded` | what this provider says then |
//! | `rate-limit:6m` | 429 with the provider's reset headers |
//! | `close` `reset` `stall` `slow:2s` `garbage` | before the headers |
//! | `close-mid` `reset-mid` `stall-mid` | at half of a body, after the first event of a stream |
//! | `TWIST@STAGE` | in a stream: `error`, `error:529`, `close`, `tear` (a close in the next event), `reset`, `finish` (a good end without the rest), `stall`, `ping:100ms` (a stall that pings), `garbage`, `huge:1MiB`, `delay:2s`; at `headers`, `start` (behind the opening events), `N` (behind so many events of content), `end` (before the last event) |
//! | `no-usage` `invalid-json` `empty` `ok-false` `wrong-type` `ignores-stream` | a 200 that is wrong |
//! | `framed:crlf,split=3` | the framing of the order, as a fault |
//!
//! So no first token is `stall@start`, a slow one `delay:2s@start`, no terminal event `finish@end`, a truncated stream `close@3`.
//!
//! # Keys, models, books
//!
//! Any key may ask for any model. [`Mock::require_keys`], [`Mock::set_key`] and [`Mock::set_models`] change that, as do `POST
//! /mock/keys` and `/mock/models`; each provider looks for its own header and refuses in its own way. [`Mock::ledger`] and `GET
//! /mock/ledger` tell what each key asked of each model, how it ended and the tokens that were served. A prompt is booked with
//! the first event of content or the last byte of a whole answer, output as its events are written.
//!
//! Every answer names its backend in `X-Upstream`.

mod ai;
mod answer;
mod backend;
mod control;
mod faults;
mod ledger;
mod serve;
mod sse;
mod state;
mod websocket;
mod wire;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use ai::{FlowClaims, KeyState, flow_claims};
pub use faults::{Fault, Framing, LineEnd, Planned, Refusal, Stage, Twist};
pub use ledger::{Account, Cancellation, Ledger, Tokens};
pub use state::Seen;

use serve::Serving;
use state::Shared;

/// Settings of a mock before it listens; made by [`Mock::builder`].
pub struct Builder {
    id: String,
    listen: String,
    tls: Option<(Vec<u8>, Vec<u8>)>,
    h2c: bool,
    latency: Duration,
    record: bool,
}

impl Builder {
    /// The address to bind, `127.0.0.1:0` by default; port 0 takes a free one.
    pub fn listen(mut self, address: impl Display) -> Self {
        self.listen = address.to_string();
        self
    }

    /// The same as [`Builder::listen`].
    pub fn on(self, address: impl Display) -> Self {
        self.listen(address)
    }

    /// Speaks TLS with this certificate chain and key (PEM), offering `h2` and `http/1.1` by ALPN.
    pub fn tls(mut self, cert_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        self.tls = Some((cert_pem.as_ref().to_vec(), key_pem.as_ref().to_vec()));
        self
    }

    /// Also accepts HTTP/2 without TLS, told apart from HTTP/1 by the connection preface.
    pub fn h2c(mut self, on: bool) -> Self {
        self.h2c = on;
        self
    }

    /// Waits this long before each answer, health checks excepted.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Whether [`Mock::requests`] remembers; on by default, off where speed counts.
    pub fn record(mut self, on: bool) -> Self {
        self.record = on;
        self
    }

    /// Binds and serves.
    ///
    /// # Panics
    /// When the address cannot be bound or the certificate cannot be read; [`Builder::try_start`] returns the error instead.
    pub async fn start(self) -> Mock {
        let listen = self.listen.clone();
        match self.try_start().await {
            Ok(mock) => mock,
            Err(error) => panic!("mock backend on {listen}: {error}"),
        }
    }

    /// Binds and serves, or says why not: a bad address, a port in use, an unreadable certificate.
    pub async fn try_start(self) -> io::Result<Mock> {
        let wanted: SocketAddr = self.listen.parse().map_err(io::Error::other)?;
        let tls = self.tls.as_ref().map(|(cert, key)| serve::acceptor(cert, key)).transpose()?;
        let reserved = socket(wanted)?;
        let address = reserved.local_addr()?;
        let mock = Mock {
            shared: Arc::new(Shared::new(self.id, self.latency, self.record)),
            address,
            _reserved: reserved,
            tls,
            h2c: self.h2c,
            running: Mutex::new(None),
        };
        mock.start_again().await?;
        Ok(mock)
    }
}

/// A running backend. Dropping it ends it and resets its connections.
pub struct Mock {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Bound but never listening: keeps the port ours while the backend is down, and lets clients be refused meanwhile.
    _reserved: TcpSocket,
    tls: Option<TlsAcceptor>,
    h2c: bool,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Mock {
    /// Starts the description of a backend that answers `X-Upstream: <id>`.
    pub fn builder(id: impl Into<String>) -> Builder {
        Builder {
            id: id.into(),
            listen: "127.0.0.1:0".to_owned(),
            tls: None,
            h2c: false,
            latency: Duration::ZERO,
            record: true,
        }
    }

    /// Where it listens, or will listen again after [`Mock::stop`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name in its `X-Upstream` header.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Requests that arrived, without health checks and `/mock/` control requests.
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Relaxed)
    }

    /// Requests on `/actuator/health` and `/health` that arrived.
    pub fn health_checks(&self) -> u64 {
        self.shared.health_checks.load(Relaxed)
    }

    /// Whether the health paths answer 200 `UP` or 503 `DOWN`.
    pub fn set_healthy(&self, up: bool) {
        self.shared.healthy.store(up, Relaxed);
    }

    /// Connections open now, upgraded ones included.
    pub fn connections(&self) -> u64 {
        self.shared.open.load(Relaxed)
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Relaxed)
    }

    /// Requests whose client went away before the answer was complete. Answers that a fault cut off are not counted.
    pub fn cancelled(&self) -> u64 {
        self.shared.cancelled.load(Relaxed)
    }

    /// The last 1024 requests, oldest first, without health checks and control requests.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.requests()
    }

    /// Waits this long before each answer from now on, health checks excepted.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.set_latency(latency);
    }

    /// The next `n` requests that are not health checks meet this fault, before any of [`Mock::set_fault`].
    pub fn fail_next(&self, n: usize, fault: Fault) {
        self.shared.change_plan(|plan| plan.next.extend(std::iter::repeat_n(fault, n.min(100_000))));
    }

    /// Every request meets this fault until changed, health checks too; `None` ends it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.change_plan(|plan| plan.always = fault);
    }

    /// Requests of one path, key or model, or so many of all, meet a fault: before those of [`Mock::fail_next`], and among
    /// each other in the order in which they were planned.
    pub fn plan(&self, planned: Planned) {
        self.shared.change_plan(|plan| plan.some.push(planned));
    }

    /// Ends every fault.
    pub fn clear_faults(&self) {
        self.shared.change_plan(faults::Plan::clear_faults);
    }

    /// An order for all AI requests from now on, by the name it has after `x-mock-`: `set_order("sse", "rate=20,events=1200")`.
    /// A request's own order of the same name wins.
    ///
    /// # Panics
    /// When there is no such order, or the value makes no sense.
    pub fn set_order(&self, name: &str, value: &str) {
        self.shared.change_plan(|plan| {
            if let Err(why) = plan.standing.get_or_insert_default().read(name, value) {
                panic!("{why}");
            }
        });
    }

    /// Ends every order of [`Mock::set_order`].
    pub fn clear_orders(&self) {
        self.shared.change_plan(|plan| plan.standing = None);
    }

    /// From now on AI requests must carry one of these keys in the header that is the provider's own; with no keys given, any
    /// key, but one.
    pub fn require_keys(&self, keys: &[&str]) {
        self.shared.keys.require(keys.iter().map(ToString::to_string));
    }

    /// What becomes of requests with a key, or with Flow of a client id; `None` ends it.
    pub fn set_key(&self, key: &str, state: Option<KeyState>) {
        self.shared.keys.set(key, state);
    }

    /// From now on there are these models, and any other is unknown: 404.
    pub fn set_models(&self, models: &[&str]) {
        self.shared.keys.set_models(models.iter().map(ToString::to_string));
    }

    /// What was asked of it and what it served, by key and model.
    pub fn ledger(&self) -> Ledger {
        self.shared.books.read()
    }

    /// Cancellations from now on say how long after this moment they were noticed: call it when clients leave.
    pub fn mark_leaving(&self) {
        self.shared.books.mark();
    }

    /// As when it was started: no faults, orders, keys, counts or books. Connections stay.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Closes the listener and resets every connection at once, as `kill -9` would. The port stays reserved.
    pub async fn stop(&self) {
        let running = self.take_running();
        if let Some(Running { stop, task }) = running {
            self.shared.down.store(true, Relaxed);
            let _ = stop.send(());
            let _ = task.await;
        }
    }

    /// Listens on the same port again after [`Mock::stop`]; does nothing while it runs. Errors when the port cannot be bound.
    #[expect(clippy::unused_async, reason = "the counterpart of stop, and used like it")]
    pub async fn start_again(&self) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            let listener: TcpListener = socket(self.address)?.listen(4096)?;
            self.shared.down.store(false, Relaxed);
            let (stop, stopped) = oneshot::channel();
            let serving = Serving { shared: self.shared.clone(), tls: self.tls.clone(), h2c: self.h2c };
            *running = Some(Running { stop, task: tokio::spawn(serving.run(listener, stopped)) });
        }
        Ok(())
    }

    fn take_running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        if let Some(running) = self.take_running() {
            self.shared.down.store(true, Relaxed);
            running.task.abort();
        }
    }
}

/// A socket bound with SO_REUSEADDR, so that the reserving socket and the listener can share the port.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
