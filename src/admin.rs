//! The admin listener: health, metrics, stats page, control API.
//!
//! It runs on the control thread, apart from the workers that serve clients, so it answers while they are busy and
//! while the process drains. One request per connection: operators and scrapers come seconds apart.
//!
//! Invariants:
//! - Once another process has taken over it takes no connection any more, and ends those it has.
//! - Every bound is a constant here: connections, header time, body, request and connection time.
//! - A reload runs to its end even when the client that asked for it has gone.
//! - Nothing here changes anything before `access` has let the request in.
//!
//! It proxies nothing, and does not decide what is healthy: `balance` and `snapshot` do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use log::{debug, error, warn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use crate::clock;
use crate::config::Config;
use crate::observe::audit::Event;
use crate::server::drain::Drain;
use crate::server::handover::{Handover, Successor};
use crate::server::lifecycle::Control;
use crate::server::listener::Bound;
use crate::server::reload::{Asked, Reloaded, Reloader};
use crate::snapshot::Snapshot;
use answer::Answer;

mod access;
pub mod answer;
mod control;
mod endpoint;
mod health;
pub mod limits;
pub mod prices;
pub mod providers;
mod purge;
mod query;
mod scrape;
pub mod stats;
pub mod status;
pub mod tokens;

/// Connections served at once.
const MAX_CONNECTIONS: usize = 64;
/// For a request's header block.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request, from its header to the answer that is ready to be sent.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For a connection, whatever the client does: a slow reader cannot keep a place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a request's body. Nothing here reads one, but a form sends a few.
const MAX_BODY: usize = 16 << 10;
/// Bytes of a body that is too large that are read all the same, so that the client hears why.
const MAX_DISCARDED: usize = 1 << 20;
/// Bytes of a request's header block.
const MAX_HEADER: usize = 32 << 10;
/// Reloads and upgrades that wait for the one that runs.
const MAX_WAITING: usize = MAX_CONNECTIONS;
/// Between two tries to take a connection, when the system has none to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `bound` until dropped. `config` is what the process was started with; tokens are read from the snapshot.
pub async fn serve(bound: Bound, config: Arc<Config>, control: Control) {
    let Control { reloader, drain, handover, .. } = control;
    let (orders, asked) = mpsc::channel(MAX_WAITING);
    let place = config.admin.as_ref().map_or_else(String::new, |admin| admin.address.to_string());
    let admin = Arc::new(Admin { reloader, drain, handover, started: clock::now(), orders });
    let listener = match Door::open(bound) {
        Ok(listener) => listener,
        Err(error) => {
            error!("the admin listener {place} cannot be served: {error}");
            return;
        }
    };
    tokio::join!(accept(listener, &admin), carry_out(asked, &admin));
}

/// What every request may use.
struct Admin {
    reloader: Arc<Reloader>,
    drain: Arc<Drain>,
    handover: Arc<Handover>,
    started: Instant,
    orders: mpsc::Sender<Order>,
}

/// What somebody asked for that takes its time.
enum Order {
    Reload(Peer, oneshot::Sender<Result<Reloaded, String>>),
    Upgrade(Peer, oneshot::Sender<Result<Successor, String>>),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
enum Peer {
    Tcp(SocketAddr),
    /// A process on this machine, with its user, when the system tells.
    Unix(Option<u32>),
}

impl Peer {
    /// Who this is in the audit log. The address stands beside it.
    fn actor(&self) -> String {
        match self {
            Self::Tcp(_) => "control API".to_owned(),
            Self::Unix(_) => self.to_string(),
        }
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(user)) => write!(f, "user {user} over the unix socket"),
            Self::Unix(None) => f.write_str("the unix socket"),
        }
    }
}

/// A connection, of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    fn open(bound: Bound) -> io::Result<Self> {
        Ok(match bound {
            Bound::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Box::new(stream), Peer::Tcp(peer))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|credentials| credentials.uid());
                (Box::new(stream), Peer::Unix(user))
            }
        })
    }
}

/// Takes connections until another process does. They end with this future. When all places are taken the oldest connection gives way,
/// so that a probe is answered even while somebody holds places and says nothing.
async fn accept(door: Door, admin: &Arc<Admin>) {
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(MAX_CONNECTIONS);
    let handed_over = admin.drain.handed_over();
    tokio::pin!(handed_over);
    loop {
        tokio::select! {
            () = &mut handed_over => break,
            accepted = door.accept() => match accepted {
                Ok((stream, peer)) => {
                    open.retain(|connection| !connection.is_finished());
                    if open.len() >= MAX_CONNECTIONS && let Some(oldest) = open.pop_front() {
                        oldest.abort();
                    }
                    open.push_back(connections.spawn(connection(stream, peer, Arc::clone(admin))));
                }
                Err(error) => {
                    warn!("the admin listener cannot take a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(door);
    while connections.join_next().await.is_some() {}
}

/// Does what it is asked to, one after the other. Whoever asked may have gone.
async fn carry_out(mut orders: mpsc::Receiver<Order>, admin: &Admin) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Reload(peer, reply) => {
                let asked = Asked { actor: &peer.actor(), client: peer.address() };
                let _ = reply.send(admin.reloader.reload(asked).await);
            }
            Order::Upgrade(peer, reply) => {
                let asked = Asked { actor: &peer.actor(), client: peer.address() };
                let _ = reply.send(admin.handover.run(asked).await);
            }
        }
    }
}

async fn connection(stream: Box<dyn Stream>, peer: Peer, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(respond(&admin, request, peer).await.into_response()) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that broke off, or was too slow, is no news.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, serving).await;
}

async fn respond(admin: &Admin, request: http::Request<Incoming>, peer: Peer) -> Answer {
    let answering = tokio::time::timeout(REQUEST_TIMEOUT, try_respond(admin, request, peer));
    let answer = answering.await.unwrap_or_else(|_| Err(Answer::timed_out())).unwrap_or_else(|refused| refused);
    debug!("admin: {} for {peer}", answer.status);
    answer
}

async fn try_respond(admin: &Admin, request: http::Request<Incoming>, peer: Peer) -> Result<Answer, Answer> {
    let (head, body) = request.into_parts();
    let endpoint = endpoint::find(&head.method, head.uri.path())?;
    let snapshot = admin.reloader.shared().current.load_full();
    let allowed = access::check(&endpoint, &head, &snapshot.config, peer);
    // An endpoint that answers strangers tells by its answer whether a token was right: a wrong one is no stranger's.
    if let Err(refusal) = &allowed
        && (*refusal == access::Refusal::WrongToken || !endpoint.answers_strangers())
    {
        let (method, path) = (Some(head.method.as_str()), Some(head.uri.path()));
        let event = Event::new(refusal.event(), false);
        record(&snapshot, peer, &Event { method, path, reason: Some(refusal.as_str()), ..event });
    }
    if let Err(refusal) = &allowed
        && !endpoint.answers_strangers()
    {
        warn!("admin: {} {} is refused: {refusal}; asked by {peer}", head.method, endpoint.name());
        return Err(refusal.answer());
    }
    tokio::time::timeout(BODY_TIMEOUT, read_to_end(body)).await.map_err(|_| Answer::too_slow())??;
    control::answer(admin, &endpoint, &head, &snapshot, peer, allowed.is_ok()).await
}

/// Tells the audit log of what `peer` asked for.
fn record(snapshot: &Snapshot, peer: Peer, event: &Event<'_>) {
    snapshot.audit.record(&Event { actor: Some(&peer.actor()), client: peer.address(), ..*event });
}

/// Reads the body and forgets it.
async fn read_to_end(mut body: Incoming) -> Result<(), Answer> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Answer::bad_request("the body broke off"))?;
        length += frame.data_ref().map_or(0, bytes::Bytes::len);
        if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY { Err(Answer::too_large(MAX_BODY)) } else { Ok(()) }
}
