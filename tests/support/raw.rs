//! HTTP/1 byte by byte, for requests that no proper client sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long a read may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(15);

/// One TCP connection.
pub struct RawConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer, as it stood on the wire.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// The header block, the status line included.
    pub head: String,
    /// The body, without the chunks' framing.
    pub body: Vec<u8>,
    /// The trailers, when the body was chunked and had some.
    pub trailers: String,
}

/// A backend that is played by hand, byte by byte.
pub struct RawUpstream {
    listener: TcpListener,
}

/// Listens on a port of its own.
pub async fn raw_upstream() -> RawUpstream {
    RawUpstream { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
}

impl RawUpstream {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection.
    pub async fn accept(&self) -> RawConnection {
        let accepted = timeout(PATIENCE, self.listener.accept()).await.expect("a connection arrives");
        RawConnection { stream: accepted.unwrap().0, buffer: Vec::new() }
    }

    /// Takes one request, gives `answer` without reading a body, and returns the connection and the request's head.
    pub async fn answer_once(&self, answer: &str) -> (RawConnection, String) {
        let mut connection = self.accept().await;
        let head = connection.head().await.expect("a request");
        connection.send(answer).await;
        (connection, head)
    }
}

/// Opens a connection.
pub async fn connect(address: SocketAddr) -> RawConnection {
    let stream = TcpStream::connect(address).await.unwrap_or_else(|error| panic!("connect to {address}: {error}"));
    stream.set_nodelay(true).unwrap();
    RawConnection { stream, buffer: Vec::new() }
}

impl RawConnection {
    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the connection takes what is sent");
    }

    /// Sends bytes as they are; an error when the other side has closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends these pieces one by one, each after a pause.
    pub async fn drip(&mut self, pieces: &[&str], pause: Duration) {
        for piece in pieces {
            super::pause(pause).await;
            self.send(piece).await;
        }
    }

    /// Sends and reads the answer.
    pub async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> RawAnswer {
        self.send(bytes).await;
        self.answer().await
    }

    /// Reads one answer; the test fails when there is none.
    pub async fn answer(&mut self) -> RawAnswer {
        self.try_answer(true).await.unwrap_or_else(|| panic!("closed without an answer: {:?}", self.seen()))
    }

    /// Reads one answer to a HEAD: a header block and no body.
    pub async fn answer_without_body(&mut self) -> RawAnswer {
        self.try_answer(false).await.unwrap_or_else(|| panic!("closed without an answer: {:?}", self.seen()))
    }

    /// Reads one answer; `None` when the connection ends before it is whole.
    pub async fn try_answer(&mut self, with_body: bool) -> Option<RawAnswer> {
        let head = self.head().await?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = RawAnswer { status, head, body: Vec::new(), trailers: String::new() };
        let bodyless = !with_body || status < 200 || status == 204 || status == 304;
        if bodyless {
            return Some(answer);
        }
        if answer.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            self.read_chunks(&mut answer).await?;
        } else if let Ok(length) = answer.header("content-length").parse() {
            answer.body = self.take(length).await?;
        } else {
            while self.fill().await {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        Some(answer)
    }

    /// Waits for the other side's close, throwing away what comes before it; false when it does not come in time.
    pub async fn closed_within(&mut self, deadline: Duration) -> bool {
        timeout(deadline, async { while self.fill().await {} }).await.is_ok()
    }

    /// Reads a header block, or what stands in the place of one; `None` when the connection ends first.
    pub async fn head(&mut self) -> Option<String> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = self.take(end + 4).await?;
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads exactly `count` bytes.
    pub async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        let rest = self.buffer.split_off(count);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads to the end of the connection, or until nothing has come for `quiet`, and gives all of it.
    pub async fn rest(&mut self, quiet: Duration) -> String {
        while timeout(quiet, self.fill()).await.unwrap_or(false) {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// Half-closes: the other side reads an end, and may still answer.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Resets the connection instead of closing it.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    async fn read_chunks(&mut self, answer: &mut RawAnswer) -> Option<()> {
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            answer.body.extend(self.take(size).await?);
            self.line().await?;
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(());
            }
            answer.trailers.push_str(&line);
            answer.trailers.push('\n');
        }
    }

    async fn line(&mut self) -> Option<String> {
        let end = self.find(b"\r\n").await?;
        let line = self.take(end).await?;
        self.take(2).await?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    async fn find(&mut self, needle: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.buffer.windows(needle.len()).position(|window| window == needle) {
                return Some(at);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads once; false at the end of the connection.
    async fn fill(&mut self) -> bool {
        match timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(count)) => count > 0,
            Ok(Err(_)) => false,
            Err(_) => panic!("nothing to read for {PATIENCE:?}; so far: {:?}", self.seen()),
        }
    }

    /// The beginning of what came and was not read yet.
    pub fn seen(&self) -> String {
        let shown = self.buffer.get(..500).unwrap_or(&self.buffer);
        String::from_utf8_lossy(shown).into_owned()
    }
}

impl RawAnswer {
    /// A header's value; empty when it is not there. Several lines of it are joined by `, `.
    pub fn header(&self, name: &str) -> String {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        values.collect::<Vec<_>>().join(", ")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
