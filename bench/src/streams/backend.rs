//! The mock in a process of its own, and what a benchmark asks of it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::compare::peers::{argv, free_address};
use crate::compare::process::{Running, Usage};
use crate::compare::start;

/// A mock that runs while this lives.
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    running: Running,
}

/// When the mock noticed that clients are gone.
#[derive(Default)]
pub struct Noticed {
    /// For each, how long after the mark.
    pub after: Vec<Duration>,
    /// The id of each request, and the moment in microseconds since the epoch.
    pub at: Vec<(String, i64)>,
}

impl Backend {
    /// Starts `sluicegate-mock` with one thread. Errors when it is not built or does not listen.
    pub async fn start(tools: &Path, dir: &Path) -> io::Result<Self> {
        let program = tools.join("sluicegate-mock");
        if !program.is_file() {
            return Err(io::Error::other(format!("{} is not built", program.display())));
        }
        let address = free_address()?;
        let argv = argv(&program, &["--threads", "1", "--listen", &address.to_string()]);
        let running = start(&argv, &dir.join("mock.log"), address, Duration::from_secs(5)).await?;
        Ok(Self { address, running })
    }

    /// Orders how streams are paced from now on: the mock's order `sse`.
    pub async fn order(&self, sse: &str) -> io::Result<()> {
        self.tell("orders", &json!({"sse": sse}).to_string()).await.map(drop)
    }

    /// From now on the books say how long after this a cancellation was noticed.
    pub async fn mark_leaving(&self) -> io::Result<()> {
        self.tell("leaving", "").await.map(drop)
    }

    /// Empties the books.
    pub async fn forget(&self) -> io::Result<()> {
        self.tell("reset", "").await.map(drop)
    }

    /// Requests that their clients left.
    pub async fn noticed(&self) -> io::Result<Noticed> {
        let ledger = self.exchange("GET", "ledger", "").await?;
        let all = ledger["cancellations"].as_array().cloned().unwrap_or_default();
        let after = all.iter().filter_map(|one| one["after_mark_us"].as_u64()).map(Duration::from_micros).collect();
        let at = |one: &Value| Some((one["request_id"].as_str()?.to_owned(), one["noticed_us"].as_i64()?));
        Ok(Noticed { after, at: all.iter().filter_map(at).collect() })
    }

    /// What its process has used.
    pub fn usage(&self) -> io::Result<Usage> {
        self.running.usage()
    }

    async fn tell(&self, command: &str, body: &str) -> io::Result<Value> {
        self.exchange("POST", command, body).await
    }

    /// One control request. Errors when it is refused, or its answer is not JSON.
    async fn exchange(&self, method: &str, command: &str, body: &str) -> io::Result<Value> {
        let mut socket = TcpStream::connect(self.address).await?;
        let length = body.len();
        let request = format!(
            "{method} /mock/{command} HTTP/1.1\r\nHost: mock\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!("the mock refuses {command}: {body}")));
        }
        serde_json::from_str(body).map_err(io::Error::other)
    }
}
