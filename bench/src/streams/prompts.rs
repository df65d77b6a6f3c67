//! Large prompts: who sends them, and a provider that reads them and understands nothing.
//!
//! Both are plain threads with blocking sockets, so that they never stand in the way of the clients of streams. The mock is no
//! provider for this: it would need longer to parse such a prompt than the gateway, and hold its own streams up.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use super::client::Ask;
use crate::gateways::load::PATH;

/// The bytes of a large prompt.
pub const SIZE: usize = 5 << 20;
/// The model that the sink serves.
pub const MODEL: &str = "large";
/// How long one prompt may take.
const LIMIT: Duration = Duration::from_secs(30);
/// What every large prompt is answered with.
const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"large","choices":[{"index":0,"message":{"role":"assistant","content":"Read."},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// How many prompts are sent, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pressure {
    /// For the report.
    pub name: &'static str,
    /// Senders at the same time.
    pub senders: usize,
    /// What each waits between an answer and its next prompt.
    pub pause_ms: u64,
}

impl Pressure {
    /// None, some, and as many as go through.
    pub const ALL: [Self; 3] = [
        Self { name: "none", senders: 0, pause_ms: 0 },
        Self { name: "one, then 200 ms of rest", senders: 1, pause_ms: 200 },
        Self { name: "four at once, without rest", senders: 4, pause_ms: 0 },
    ];

    /// Begins to send.
    pub fn begin(self, to: SocketAddr, fields: &[(String, String)]) -> Sending {
        let counts = Arc::new(Counts::default());
        let text = "All work and no play makes for a very long prompt. ".repeat(SIZE / 51);
        let body =
            serde_json::json!({"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 9});
        let ask = Arc::new(Ask::post(to, PATH, fields, &body.to_string()));
        let sender = || {
            let (ask, counts) = (ask.clone(), counts.clone());
            thread::spawn(move || send(&ask, &counts, Duration::from_millis(self.pause_ms)))
        };
        let senders = std::iter::repeat_with(sender).take(self.senders).collect();
        Sending { counts, senders }
    }
}

/// Prompts on their way.
pub struct Sending {
    counts: Arc<Counts>,
    senders: Vec<JoinHandle<()>>,
}

/// What became of prompts.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Answered with 200.
    pub answered: u64,
    /// Anything else.
    pub failed: u64,
}

#[derive(Default)]
struct Counts {
    enough: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Sending {
    /// Sends no more, and waits for the answers to what is on its way.
    pub async fn end(self) -> Sent {
        self.counts.enough.store(true, Relaxed);
        while !self.senders.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Sent { answered: self.counts.answered.load(Relaxed), failed: self.counts.failed.load(Relaxed) }
    }
}

fn send(ask: &Ask, counts: &Counts, pause: Duration) {
    let mut kept = None;
    while !counts.enough.load(Relaxed) {
        match exchange(ask, kept.take()) {
            Ok(socket) => {
                counts.answered.fetch_add(1, Relaxed);
                kept = Some(socket);
            }
            Err(error) => {
                // The first is told; the others are counted.
                if counts.failed.fetch_add(1, Relaxed) == 0 {
                    eprintln!("  a large prompt: {error}");
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        thread::sleep(pause);
    }
}

/// One prompt and its answer, over the connection of the last one.
fn exchange(ask: &Ask, kept: Option<BufReader<TcpStream>>) -> io::Result<BufReader<TcpStream>> {
    let mut socket = match kept {
        Some(socket) => socket,
        None => {
            let socket = TcpStream::connect(ask.address)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(LIMIT))?;
            socket.set_write_timeout(Some(LIMIT))?;
            BufReader::new(socket)
        }
    };
    socket.get_mut().write_all(&ask.bytes)?;
    let (first, length) = head(&mut socket)?;
    discard(&mut socket, length)?;
    match first.starts_with("HTTP/1.1 200") {
        true => Ok(socket),
        false => Err(io::Error::other(first)),
    }
}

/// A provider on a thread of its own for each connection; it ends with the program.
pub struct Sink {
    /// Its address.
    pub address: SocketAddr,
}

impl Sink {
    /// Begins to listen.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                thread::spawn(move || serve(socket));
            }
        });
        Ok(Self { address })
    }
}

fn serve(socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::with_capacity(256 << 10, socket);
    loop {
        let (_, length) = head(&mut socket)?;
        discard(&mut socket, length)?;
        let length = ANSWER.len();
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{ANSWER}");
        socket.get_mut().write_all(answer.as_bytes())?;
    }
}

/// Reads a header block: its first line, and the length of the body behind it. Errors without a `Content-Length`.
fn head(socket: &mut impl BufRead) -> io::Result<(String, u64)> {
    let (mut first, mut length) = (String::new(), None);
    loop {
        let mut line = String::new();
        if socket.by_ref().take(16 << 10).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if first.is_empty() {
            line.clone_into(&mut first);
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let length = length.ok_or_else(|| io::Error::other(format!("{first:?} comes without a length")))?;
    Ok((first, length))
}

/// Reads a body, and keeps nothing of it.
fn discard(socket: &mut impl BufRead, length: u64) -> io::Result<()> {
    match io::copy(&mut socket.by_ref().take(length), &mut io::sink())? == length {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn prompts_are_sent_to_the_sink_and_answered() {
        let sink = Sink::start().unwrap();
        let sending = Pressure { name: "some", senders: 2, pause_ms: 1 }.begin(sink.address, &[]);
        while sending.counts.answered.load(Relaxed) < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let sent = sending.end().await;
        assert!(sent.answered >= 4 && sent.failed == 0, "{sent:?}");
    }

    #[test]
    fn a_message_without_a_length_is_an_error() {
        let read = |text: &str| head(&mut BufReader::new(text.as_bytes()));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-LENGTH: 7\r\n\r\n").unwrap(), ("HTTP/1.1 200 OK".to_owned(), 7));
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 200 OK\r\n").is_err());
    }
}
