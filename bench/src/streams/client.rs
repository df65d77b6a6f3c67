//! A client of event streams that costs little: one task and one socket a stream, no more HTTP than a stream needs.
//!
//! Its clock is read once for each read of the socket, so that the delay of an event is from its stamp to the moment at which the
//! client had it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stamps::{Chunks, Stamps};

/// The longest header block of an answer.
const MAX_HEAD: usize = 16 << 10;
/// Failures that are told; the others are counted.
const MAX_TOLD: usize = 5;
/// Delays that are kept at most.
const MAX_DELAYS: usize = 20_000_000;

/// One request, the same for every stream.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who is asked.
    pub address: SocketAddr,
    /// The whole request, head and body.
    pub bytes: Vec<u8>,
}

impl Ask {
    /// A POST of JSON with these header fields.
    pub fn post(address: SocketAddr, path: &str, fields: &[(String, String)], body: &str) -> Self {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        );
        Self { address, bytes: text.into_bytes() }
    }
}

/// What the streams of one run saw, counted by all of them.
#[derive(Default)]
pub struct Seen {
    /// Whether delays are kept now.
    pub measuring: AtomicBool,
    /// Streams that have had their first event.
    pub begun: AtomicU64,
    /// Streams that ended as they should.
    pub whole: AtomicU64,
    /// Events with a stamp.
    pub events: AtomicU64,
    /// Numbers of events that were left out.
    pub lost: AtomicU64,
    /// Events out of order, or twice.
    pub disordered: AtomicU64,
    /// Streams that ended with an error.
    pub failed: AtomicU64,
    told: Mutex<Vec<String>>,
    delays_us: Mutex<Vec<u32>>,
    closed: Mutex<HashMap<String, i64>>,
}

/// Notes when a client closes its connection, in microseconds since the epoch: dropped just before that.
struct Closing<'a> {
    id: &'a str,
    seen: &'a Seen,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let now = jiff::Timestamp::now().as_microsecond();
        self.seen.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(self.id.to_owned(), now);
    }
}

impl Seen {
    /// The delays since the last call, microseconds.
    pub fn take_delays(&self) -> Vec<u32> {
        std::mem::take(&mut *self.delays_us.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long after its client closed each of these was noticed, microseconds. They have ids, and moments since the epoch.
    pub fn own_delays(&self, noticed: &[(String, i64)]) -> Vec<u32> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let after = |(id, at): &(String, i64)| Some((at - closed.get(id)?).max(0));
        noticed.iter().filter_map(after).map(|after| u32::try_from(after).unwrap_or(u32::MAX)).collect()
    }

    /// The first failures, in words.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Streams that failed, and events that are missing or out of order.
    pub fn errors(&self) -> u64 {
        self.failed.load(Relaxed) + self.lost.load(Relaxed) + self.disordered.load(Relaxed)
    }

    fn fail(&self, error: &io::Error) {
        self.failed.fetch_add(1, Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD {
            told.push(error.to_string());
        }
    }

    fn delay(&self, now_us: u64, made_us: u64) {
        self.events.fetch_add(1, Relaxed);
        if self.measuring.load(Relaxed) {
            let mut delays = self.delays_us.lock().unwrap_or_else(PoisonError::into_inner);
            if delays.len() < MAX_DELAYS {
                delays.push(u32::try_from(now_us.saturating_sub(made_us)).unwrap_or(u32::MAX));
            }
        }
    }
}

/// Asks for one stream on a connection of its own, and reads it to its end; `events` of them should come, where that is known.
/// `id`: as the request names itself.
pub async fn once(ask: Ask, id: String, events: Option<u64>, seen: Arc<Seen>) {
    let read = async {
        let mut socket = open(&ask).await?;
        let _closing = Closing { id: &id, seen: &seen };
        stream(&mut socket, &ask, events, &seen).await
    };
    if let Err(error) = read.await {
        seen.fail(&error);
    }
}

/// Asks for one stream after the other on one connection, until `enough`. A connection that fails is made anew.
pub async fn again_and_again(ask: Arc<Ask>, events: u64, seen: Arc<Seen>, enough: Arc<AtomicBool>) {
    let mut kept: Option<TcpStream> = None;
    while !enough.load(Relaxed) {
        let read = async {
            let mut socket = match kept.take() {
                Some(socket) => socket,
                None => open(&ask).await?,
            };
            stream(&mut socket, &ask, Some(events), &seen).await?;
            io::Result::Ok(socket)
        };
        match read.await {
            Ok(socket) => kept = Some(socket),
            Err(error) => {
                seen.fail(&error);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// The status line, and what more came with it, of the answer to one request: for the report on a peer that does not serve.
pub async fn first_answer(ask: &Ask) -> io::Result<String> {
    let mut socket = open(ask).await?;
    socket.write_all(&ask.bytes).await?;
    let mut buffer = vec![0; 4096];
    let length = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut buffer)).await;
    let length = length.map_err(|_| io::Error::other("it takes the request and says nothing"))??;
    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).replace(['\r', '\n', '|'], " ");
    Ok(text.chars().take(300).collect())
}

async fn open(ask: &Ask) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(ask.address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn stream(socket: &mut TcpStream, ask: &Ask, events: Option<u64>, seen: &Seen) -> io::Result<()> {
    socket.write_all(&ask.bytes).await?;
    let mut buffer = vec![0; 4096];
    let (mut chunks, mut stamps) = (Chunks::default(), Stamps::default());
    let mut rest = head(socket).await?;
    loop {
        let came = stamps.came();
        let now = now_us();
        chunks.read(&rest, |body| stamps.read(body, |made| seen.delay(now, made))).map_err(io::Error::other)?;
        if came == 0 && stamps.came() > 0 {
            seen.begun.fetch_add(1, Relaxed);
        }
        if chunks.ended() {
            break;
        }
        let length = socket.read(&mut buffer).await?;
        if length == 0 {
            return Err(io::Error::other(format!("cut after {} events", stamps.came())));
        }
        rest.clear();
        rest.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    seen.disordered.fetch_add(stamps.disordered, Relaxed);
    // What is missing at the end is lost like what is left out before it.
    let missing = events.map_or(0, |events| events.saturating_sub(stamps.came() + stamps.lost));
    seen.lost.fetch_add(stamps.lost + missing, Relaxed);
    seen.whole.fetch_add(1, Relaxed);
    Ok(())
}

/// Reads the header block and returns what came behind it. Errors when it is not that of a stream.
async fn head(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(4096);
    let end = loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if head.len() > MAX_HEAD || socket.read_buf(&mut head).await? == 0 {
            return Err(io::Error::other("the answer has no header block"));
        }
    };
    let rest = head.split_off(end + 4);
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = text.lines().next().unwrap_or_default();
    if !status.starts_with("http/1.1 200") || !text.contains("\r\ntransfer-encoding: chunked\r\n") {
        return Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&rest).trim())));
    }
    Ok(rest)
}

/// Now, in microseconds since the epoch, by the clock of the mock's stamps.
fn now_us() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0)
}
