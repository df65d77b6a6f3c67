//! New and idle connections of one worker thread.
//!
//! Each worker keeps its own idle connections, so a request never waits for another worker's lock and a connection is
//! always served by the reactor that opened it. The price is one set of idle connections for each worker.
//!
//! Invariants: an idle connection is reused only while it is open and silent, and never past its keep-alive time; a
//! worker keeps at most `max_idle` of them, the least recently used leave first.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures::FutureExt;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use super::peer::MemberPeer;
use super::retry::Cause;
use crate::balance::Address;
use crate::clock;
use crate::transport::failure::reason;
use crate::transport::socket::Socket;

/// How long a worker keeps quiet about a member that it told the log it cannot reach.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// The connections of one worker.
pub struct Connector {
    idle: Mutex<Idle>,
    max_idle: usize,
    /// Made at the first TLS member: it reads the system's authorities.
    tls: OnceLock<TransportConnector>,
    /// When each peer's failure was last told to the log.
    told: Mutex<HashMap<u64, Instant>>,
}

#[derive(Default)]
struct Idle {
    by_peer: HashMap<u64, Vec<IdleConnection>>,
    count: usize,
}

struct IdleConnection {
    stream: Stream,
    until: Instant,
}

/// Why there is no connection.
#[derive(Debug)]
pub struct ConnectError {
    /// [`Cause::Connect`] or [`Cause::ConnectTimeout`].
    pub cause: Cause,
    /// For the log.
    pub reason: String,
}

impl Connector {
    /// A connector that keeps at most `max_idle` connections.
    pub fn new(max_idle: usize) -> Self {
        Self { idle: Mutex::default(), max_idle, tls: OnceLock::new(), told: Mutex::default() }
    }

    /// An idle connection to `peer` that is still sound, the most recently used first.
    pub fn take(&self, peer: &MemberPeer) -> Option<Stream> {
        let now = clock::now();
        loop {
            let candidate = self.lock().pop(peer.key)?;
            let mut stream = candidate.stream;
            if candidate.until > now && is_quiet(&mut stream) {
                return Some(stream);
            }
        }
    }

    /// Keeps `stream` for another request to `peer`, for at most `keepalive`.
    pub fn put(&self, peer: &MemberPeer, mut stream: Stream, keepalive: Duration) {
        if self.max_idle == 0 || keepalive.is_zero() || !is_quiet(&mut stream) {
            return;
        }
        let until = clock::now() + keepalive;
        let mut idle = self.lock();
        if idle.count >= self.max_idle {
            idle.evict_oldest();
        }
        idle.by_peer.entry(peer.key).or_default().push(IdleConnection { stream, until });
        idle.count += 1;
    }

    /// Lets go of connections that are past their time or were closed by the member. Called about once a second.
    pub fn sweep(&self) {
        let now = clock::now();
        let mut idle = self.lock();
        let mut count = 0;
        idle.by_peer.retain(|_, connections| {
            connections.retain_mut(|connection| connection.until > now && is_quiet(&mut connection.stream));
            count += connections.len();
            !connections.is_empty()
        });
        idle.count = count;
    }

    /// A new connection to `peer`, TLS included, within its connect timeout.
    ///
    /// # Errors
    /// When the member refuses, is unreachable, does not answer in time, or its certificate does not hold.
    pub async fn connect(&self, peer: &MemberPeer, timeout: Duration) -> Result<Stream, ConnectError> {
        if peer.tls {
            return self.connect_tls(peer).await;
        }
        match tokio::time::timeout(timeout, open(&peer.address)).await {
            Ok(Ok(socket)) => Ok(Box::new(socket)),
            Ok(Err(error)) => Err(ConnectError { cause: cause_of(&error), reason: error.to_string() }),
            Err(_) => {
                Err(ConnectError { cause: Cause::ConnectTimeout, reason: format!("no connection in {timeout:?}") })
            }
        }
    }

    async fn connect_tls(&self, peer: &MemberPeer) -> Result<Stream, ConnectError> {
        let connector = self.tls.get_or_init(|| TransportConnector::new(Some(ConnectorOptions::new(1))));
        connector.new_stream(&peer.http).await.map_err(|error| {
            let timed_out =
                matches!(error.etype(), pingora::ErrorType::ConnectTimedout | pingora::ErrorType::TLSHandshakeTimedout);
            let cause = match error.root_cause().downcast_ref::<io::Error>() {
                _ if timed_out => Cause::ConnectTimeout,
                Some(error) => cause_of(error),
                None => Cause::Connect,
            };
            ConnectError { cause, reason: reason(&error) }
        })
    }

    /// Whether a failure to reach `peer` is worth a line in the log now: the first in a while is.
    pub fn worth_telling(&self, peer: &MemberPeer) -> bool {
        let now = clock::now();
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < TELL_AGAIN);
        if told.contains_key(&peer.key) {
            return false;
        }
        told.insert(peer.key, now);
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        // A panic while it was held leaves at worst a wrong count, which the next sweep mends.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, key: u64) -> Option<IdleConnection> {
        let connection = self.by_peer.get_mut(&key)?.pop()?;
        self.count = self.count.saturating_sub(1);
        Some(connection)
    }

    fn evict_oldest(&mut self) {
        let oldest = self.by_peer.iter().filter_map(|(key, list)| Some((list.first()?.until, *key))).min();
        if let Some(list) = oldest.and_then(|(_, key)| self.by_peer.get_mut(&key)) {
            list.remove(0);
            self.count = self.count.saturating_sub(1);
        }
    }
}

/// What is exhausted here says nothing about the member.
fn cause_of(error: &io::Error) -> Cause {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EADDRNOTAVAIL: i32 = 99;
    match error.raw_os_error() {
        Some(EMFILE | ENFILE | EADDRNOTAVAIL) => Cause::Local,
        _ => Cause::Connect,
    }
}

/// Whether a read would block: the connection is open, and nobody sent what was not asked for.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0_u8; 1];
    // Unconstrained: a task that used up its share of this turn would be told "pending" of any stream.
    tokio::task::unconstrained(stream.read(&mut byte)).now_or_never().is_none()
}

async fn open(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Inet(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(60))
                .with_interval(Duration::from_secs(10))
                .with_retries(5);
            SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
            Ok(Socket::Tcp(stream))
        }
        Address::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
    }
}
