//! A worker thread: one reactor, its own proxy and its own upstream connections.
//!
//! Nothing is shared on the way of a request but the snapshot and the state of members. Each worker accepts from every
//! listener; a connection goes to the worker with the fewest, so that few connections do not crowd on one thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use log::{debug, error, warn};
use pingora::apps::{HttpServerApp, HttpServerOptions};
use pingora::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::drain::{Drain, Open};
use super::listener::{Bound, Listener};
use super::pulse::Pulse;
use super::refusal::Refusal;
use super::supervisor;
use crate::clock;
use crate::config;
use crate::observe::metrics;
use crate::proxy::Gateway;
use crate::proxy::cached::fetching::Fetches;
use crate::snapshot::Shared;
use crate::transport::downstream::EarlyRefusal;
use crate::transport::socket::Socket;
use crate::upstream::connect::Connector;
use serve::serve;

mod busy;
mod serve;

/// How long a worker keeps quiet about the bound on connections once it told of it, in milliseconds.
const TELL_FULL: u64 = 10_000;
/// How often idle upstream connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// Connections handed over by other workers that wait to be taken in; beyond it they stay where they were accepted.
const INBOX: usize = 256;
/// How long idle client connections stay open when the service ends.
const IDLE_GRACE: Duration = Duration::from_millis(300);
/// How long accepting rests when the process has no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Bytes of an answer that wait on one HTTP/2 stream for a client that does not read.
const H2_SEND_BUFFER: usize = 64 * 1024;
/// Streams a client may have open on one HTTP/2 connection.
const H2_STREAMS: u32 = 256;

/// What every worker is made of.
#[derive(Clone)]
pub struct Parts {
    /// What requests share.
    pub shared: Arc<Shared>,
    /// The way out.
    pub drain: Arc<Drain>,
    /// All listeners, each with its place.
    pub listeners: Arc<[Arc<Listener>]>,
    /// Bounds the connections of all workers.
    pub connections: Arc<Semaphore>,
    /// Settings of the server.
    pub settings: Arc<config::Server>,
}

/// How the others reach a worker.
#[derive(Clone)]
pub struct Handle {
    load: Arc<AtomicUsize>,
    inbox: mpsc::Sender<Accepted>,
}

/// An accepted connection on its way to the worker that serves it.
struct Accepted {
    socket: StdSocket,
    listener: usize,
    peer: IpAddr,
    guard: Guard,
}

enum StdSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// What an open connection counts in.
struct Guard {
    _permit: OwnedSemaphorePermit,
    _open: Open,
    _metric: metrics::Connection,
}

/// A worker before it runs.
pub struct Worker {
    handle: Handle,
    inbox: mpsc::Receiver<Accepted>,
    pulse: Pulse,
}

impl Worker {
    /// A worker and nothing to do.
    pub fn new() -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        Self { handle: Handle { load: Arc::default(), inbox: sender }, inbox, pulse: Pulse::default() }
    }

    /// How others reach it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Its signs of life, for as long as somebody wants some.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Serves until `stop` turns true. Runs on a thread of its own; its connections end with it.
    ///
    /// # Errors
    /// When the system gives no reactor.
    pub fn run(
        self,
        parts: Parts,
        bound: Vec<Bound>,
        all: Vec<Handle>,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let runtime = busy::reactor(parts.settings.busy_polling)?;
        runtime.block_on(async move {
            busy::begin().await;
            let connector = Arc::new(Connector::new(parts.settings.upstream_keepalive));
            let gateway = gateway(&parts, &connector);
            let serving = Arc::new(Serving {
                proxy: Arc::new(proxy(&parts, gateway.clone())),
                gateway,
                ending: watch::Sender::new(false),
                refusal: Arc::new(Refusal::new(Arc::clone(&parts.shared))),
                mine: self.handle,
                all,
                parts,
                told_full: AtomicU64::new(0),
            });
            // Every task of a worker lives on its runtime and ends with it.
            for (index, bound) in bound.into_iter().enumerate() {
                match Accepting::new(bound) {
                    Ok(accepting) => drop(tokio::spawn(accept(Arc::clone(&serving), index, accepting))),
                    Err(error) => error!("cannot listen: {error}"),
                }
            }
            tokio::spawn(take_in(Arc::clone(&serving), self.inbox));
            tokio::spawn(sweep(connector));
            tokio::spawn(announce_drain(Arc::clone(&serving)));
            if let Some(interval) = supervisor::pulse() {
                tokio::spawn(self.pulse.beat(interval));
            }
            let _ = stop.wait_for(|stop| *stop).await;
        });
        runtime.shutdown_background();
        Ok(())
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

struct Serving {
    parts: Parts,
    gateway: Gateway,
    /// Serves what [`Gateway::serve`] leaves to it, and HTTP/2.
    proxy: Arc<HttpProxy<Gateway>>,
    /// Turns true when connections that wait for a request end.
    ending: watch::Sender<bool>,
    refusal: Arc<dyn EarlyRefusal>,
    mine: Handle,
    all: Vec<Handle>,
    /// When it was last told that all places are taken, in milliseconds since the epoch.
    told_full: AtomicU64,
}

impl Serving {
    /// Tells the log that new connections wait, once in a while.
    fn tell_full(&self) {
        let now = clock::wall_millis();
        let last = self.told_full.swap(now, Ordering::Relaxed);
        if now.saturating_sub(last) > TELL_FULL {
            warn!(
                "all {} connections are taken; new ones wait (server.max_connections)",
                self.parts.settings.max_connections
            );
        } else {
            self.told_full.store(last, Ordering::Relaxed);
        }
    }
}

fn gateway(parts: &Parts, connector: &Arc<Connector>) -> Gateway {
    Gateway {
        shared: Arc::clone(&parts.shared),
        drain: Arc::clone(&parts.drain),
        connector: Arc::clone(connector),
        fetches: Arc::new(Fetches::default()),
    }
}

fn proxy(parts: &Parts, gateway: Gateway) -> HttpProxy<Gateway> {
    let settings = &parts.settings;
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: settings.upstream_keepalive,
        max_retries: 16,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    options.h2c = true; // Only asked for connections that were seen to begin with the preface.
    options.keepalive_request_limit = settings.keepalive_requests;
    options.h2_idle_timeout = Some(settings.timeouts.keepalive);
    proxy.server_options = Some(options);
    let mut h2 = pingora::protocols::http::v2::server::default_h2_options();
    h2.max_concurrent_streams(H2_STREAMS);
    h2.max_send_buffer_size(H2_SEND_BUFFER);
    h2.max_header_list_size(u32::try_from(settings.max_header).unwrap_or(u32::MAX));
    proxy.h2_options = Some(h2);
    proxy
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    fn new(bound: Bound) -> io::Result<Self> {
        Ok(match bound {
            Bound::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<(Socket, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), peer.ip().to_canonical()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
            }
        }
    }
}

/// Accepts from one listener until the drain begins.
async fn accept(serving: Arc<Serving>, index: usize, accepting: Accepting) {
    let mut shutdown = serving.parts.drain.watch();
    let Some(listener) = serving.parts.listeners.get(index).cloned() else { return };
    loop {
        let accepted = tokio::select! {
            accepted = accepting.accept() => accepted,
            _ = shutdown.wait_for(|draining| *draining) => return,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest_after(&error, &listener).await;
                continue;
            }
        };
        // At the bound, the connection waits here and the next ones in the kernel's queue.
        let permit = match Arc::clone(&serving.parts.connections).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                listener.metrics.waited();
                serving.tell_full();
                let permit = tokio::select! {
                    permit = Arc::clone(&serving.parts.connections).acquire_owned() => permit,
                    _ = shutdown.wait_for(|draining| *draining) => return,
                };
                let Ok(permit) = permit else { return };
                permit
            }
        };
        let guard = Guard { _permit: permit, _open: serving.parts.drain.enter(), _metric: listener.metrics.accepted() };
        place(&serving, index, socket, peer, guard);
    }
}

/// A connection that broke before it was accepted is nothing; a process without file descriptors must rest.
async fn rest_after(error: &io::Error, listener: &Listener) {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
        error!("no file descriptor left to accept on {}; raise LimitNOFILE or lower max_connections", listener.address);
        tokio::time::sleep(EXHAUSTED).await;
    } else {
        debug!("accept on {}: {error}", listener.address);
        let of_the_client =
            [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        if !of_the_client.contains(&error.kind()) {
            tokio::time::sleep(EXHAUSTED).await;
        }
    }
}

/// Gives the connection to the worker with the fewest.
fn place(serving: &Arc<Serving>, listener: usize, socket: Socket, peer: IpAddr, guard: Guard) {
    let mine = serving.mine.load.load(Ordering::Relaxed);
    let fewest = serving.all.iter().min_by_key(|handle| handle.load.load(Ordering::Relaxed));
    if let Some(other) = fewest
        && other.load.load(Ordering::Relaxed) < mine
        && let Ok(slot) = other.inbox.try_reserve()
    {
        let socket = match socket {
            Socket::Tcp(stream) => stream.into_std().map(StdSocket::Tcp),
            Socket::Unix(stream) => stream.into_std().map(StdSocket::Unix),
        };
        if let Ok(socket) = socket {
            // Counted at once, or a burst would all go to the same worker.
            other.load.fetch_add(1, Ordering::Relaxed);
            slot.send(Accepted { socket, listener, peer, guard });
        }
        return;
    }
    serving.mine.load.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(serve(Arc::clone(serving), listener, socket, peer, guard));
}

/// Takes in what other workers hand over.
async fn take_in(serving: Arc<Serving>, mut inbox: mpsc::Receiver<Accepted>) {
    while let Some(Accepted { socket, listener, peer, guard }) = inbox.recv().await {
        let socket = match socket {
            StdSocket::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
            StdSocket::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
        };
        match socket {
            Ok(socket) => drop(tokio::spawn(serve(Arc::clone(&serving), listener, socket, peer, guard))),
            Err(_) => drop(Load(&serving.mine.load)),
        }
    }
}

/// Takes one off a worker's load when dropped.
struct Load<'a>(&'a AtomicUsize);

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn sweep(connector: Arc<Connector>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        connector.sweep();
    }
}

/// Ends idle connections some time after the drain has begun: a request may be on its way on each of them. It is answered,
/// and the answer ends the connection.
async fn announce_drain(serving: Arc<Serving>) {
    let mut shutdown = serving.parts.drain.watch();
    let _ = shutdown.wait_for(|draining| *draining).await;
    let grace = if serving.parts.drain.is_handed_over() {
        serving.parts.shared.current.load().config.server.timeouts.keepalive
    } else {
        IDLE_GRACE
    };
    tokio::time::sleep(grace).await;
    serving.ending.send_replace(true);
    serving.proxy.http_cleanup().await;
}
