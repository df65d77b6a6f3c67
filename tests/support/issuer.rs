//! A server that publishes a JWK set, or does something worse.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with a request.
#[derive(Clone)]
pub enum Answers {
    /// Sends the set.
    Keys(Vec<Value>),
    /// Sends this status with a body.
    Status(u16, String),
    /// Sends to this place.
    Redirect(String),
    /// Says nothing.
    Nothing,
    /// Begins an answer and goes on for ever.
    Endless,
}

/// A running server. Dropping it ends it.
pub struct KeyServer {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    hits: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// Starts a server.
pub async fn key_server(answers: Answers) -> KeyServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answers, hits) = (Arc::new(Mutex::new(answers)), Arc::new(AtomicU64::new(0)));
    let (shared, count) = (Arc::clone(&answers), Arc::clone(&hits));
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let answers = shared.lock().unwrap().clone();
            connections.spawn(serve(stream, answers));
        }
    });
    KeyServer { address, answers, hits, task }
}

impl KeyServer {
    /// Where the set is.
    pub fn url(&self) -> String {
        format!("http://{}/jwks.json?key=sEcReT-of-the-query", self.address)
    }

    /// How often it was asked.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// What it does from now on.
    pub fn now(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answers: Answers) {
    let mut head = [0; 4096];
    let _ = stream.read(&mut head).await;
    let answer = |status: u16, more: &str, body: &str| {
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n{body}", body.len())
    };
    let text = match answers {
        Answers::Keys(keys) => answer(200, "", &json!({ "keys": keys }).to_string()),
        Answers::Status(status, body) => answer(status, "", &body),
        Answers::Redirect(to) => answer(302, &format!("Location: {to}\r\n"), ""),
        Answers::Nothing => return std::future::pending().await,
        Answers::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n{\"keys\":[").await;
            let piece = [b' '; 16 << 10];
            while stream.write_all(&piece).await.is_ok() {}
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes()).await;
}
