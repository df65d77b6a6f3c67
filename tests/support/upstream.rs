//! Backends: the mock, and addresses where nothing good lives.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use socket2::{Domain, Socket, Type};

pub use sluicegate_bench::mock::{Fault, Mock, Seen};

/// A mock backend on a port of its own; its answers carry `X-Upstream: id`.
pub async fn upstream(id: &str) -> Mock {
    Mock::builder(id).start().await
}

/// One mock backend for every id.
pub async fn upstreams<const N: usize>(ids: [&str; N]) -> [Mock; N] {
    let started = join_all(ids.map(upstream)).await;
    started.try_into().unwrap_or_else(|_| unreachable!("one mock for every id"))
}

/// Starts a stopped mock again on its port. A process that another test starts at this moment may still hold the old
/// listener between fork and exec, so the port is tried until it is free.
pub async fn revive(mock: &Mock) {
    let what = format!("the port of {} is free again", mock.id());
    super::eventually(Duration::from_secs(5), &what, async || mock.start_again().await.is_ok()).await;
}

/// A loopback address on which nothing listens.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address that takes no connection and refuses none: its backlog is full for as long as this lives.
pub struct Blackhole {
    address: SocketAddr,
    _listener: Socket,
    _fillers: Vec<Socket>,
}

impl Blackhole {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Makes a [`Blackhole`].
pub fn blackhole() -> Blackhole {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..16 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let full = filler.connect_timeout(&address.into(), Duration::from_millis(100)).is_err();
        fillers.push(filler);
        if full {
            return Blackhole { address, _listener: listener, _fillers: fillers };
        }
    }
    panic!("the backlog of {address} does not fill up");
}

/// The last request that a mock got; the test fails when there was none.
pub fn last_seen(mock: &Mock) -> Seen {
    mock.requests().pop().unwrap_or_else(|| panic!("the backend {} saw no request", mock.id()))
}

/// The value of a header as a backend got it; empty when it did not, several lines joined by `, `.
pub fn sent(seen: &Seen, name: &str) -> String {
    let values = seen.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(", ")
}

/// How long ago a mock made the last event of `piece`, which came from its `/sse`.
pub fn event_age(piece: &[u8]) -> Duration {
    let text = std::str::from_utf8(piece).unwrap();
    let (_, sent) = text.rsplit_once("\"sent_us\":").unwrap_or_else(|| panic!("no stamp in {text:?}"));
    let sent = sent.split(',').next().unwrap_or_default().parse().expect("microseconds");
    SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_micros(sent)).unwrap_or_default()
}
