//! Load: a loop of our own that checks every answer, and wrk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::raw::{RawConnection, connect};

/// Load that runs beside the test until it is stopped.
pub struct Load {
    workers: JoinSet<Tally>,
    shared: Arc<Shared>,
}

/// What came of the load.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Answers by status.
    pub statuses: BTreeMap<u16, usize>,
    /// Answers by the mock that gave them.
    pub upstreams: BTreeMap<String, usize>,
    /// Requests that got no whole answer, with the connection's state.
    pub broken: Vec<String>,
    /// Connections opened.
    pub connections: usize,
}

struct Shared {
    stop: AtomicBool,
    left: AtomicUsize,
    done: AtomicUsize,
    address: SocketAddr,
    request: String,
}

/// GETs of `path` by `workers` keep-alive connections, each sending its next request when the last is answered.
pub fn load(address: SocketAddr, path: &str, workers: usize) -> Load {
    load_of(address, path, workers, usize::MAX)
}

/// The same, but over after `count` requests.
pub fn load_of(address: SocketAddr, path: &str, workers: usize, count: usize) -> Load {
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        left: AtomicUsize::new(count),
        done: AtomicUsize::new(0),
        address,
        request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    });
    let mut set = JoinSet::new();
    for _ in 0..workers {
        set.spawn(work(Arc::clone(&shared)));
    }
    Load { workers: set, shared }
}

impl Load {
    /// Sends `count` requests and tells what came of them.
    pub async fn of(address: SocketAddr, path: &str, workers: usize, count: usize) -> Tally {
        load_of(address, path, workers, count).finished().await
    }

    /// Stops after the requests that are under way, and tells what came of it.
    pub async fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finished().await
    }

    /// Waits until all requests are sent and answered.
    pub async fn finished(mut self) -> Tally {
        let mut sum = Tally::default();
        while let Some(tally) = self.workers.join_next().await {
            sum.merge(tally.expect("a worker of the load"));
        }
        sum
    }

    /// Requests answered so far.
    pub fn done(&self) -> usize {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// Waits until `count` more requests are answered.
    pub async fn answers(&self, count: usize) {
        let goal = self.done() + count;
        let what = format!("{count} more answers under load");
        super::eventually(Duration::from_secs(30), &what, async || self.done() >= goal).await;
    }
}

impl Tally {
    /// All requests.
    pub fn total(&self) -> usize {
        self.statuses.values().sum::<usize>() + self.broken.len()
    }

    /// Answers with this status.
    pub fn status(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Answers by this mock.
    pub fn upstream(&self, id: &str) -> usize {
        self.upstreams.get(id).copied().unwrap_or(0)
    }

    /// The test fails unless every request was answered with 200.
    pub fn assert_all_ok(&self) {
        let shown = self.broken.get(..5).unwrap_or(&self.broken);
        let all_ok = self.status(200) == self.total();
        assert!(all_ok, "statuses {:?}, {} broken, such as {shown:#?}", self.statuses, self.broken.len());
    }

    fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (id, count) in other.upstreams {
            *self.upstreams.entry(id).or_default() += count;
        }
        self.broken.extend(other.broken);
        self.connections += other.connections;
    }
}

/// wrk for `span` with 16 connections; its report, and whether every answer was a 2xx or 3xx.
pub async fn wrk(url: &str, span: Duration) -> (String, bool) {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c16", &format!("-d{}s", span.as_secs().max(1)), url]).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("wrk is installed");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let clean = output.status.success() && !report.contains("Non-2xx") && !report.contains("Socket errors");
    (report, clean)
}

async fn work(shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<RawConnection> = None;
    while !shared.stop.load(Ordering::Relaxed) && take_one(&shared.left) {
        let mut open = match connection.take() {
            Some(open) => open,
            None => {
                tally.connections += 1;
                connect(shared.address).await
            }
        };
        let answer = match open.try_send(&shared.request).await {
            Ok(()) => open.try_answer(true).await,
            Err(_) => None,
        };
        shared.done.fetch_add(1, Ordering::Relaxed);
        let Some(answer) = answer else {
            tally.broken.push(format!("request {} of connection {}", tally.total() + 1, tally.connections));
            continue;
        };
        *tally.statuses.entry(answer.status).or_default() += 1;
        *tally.upstreams.entry(answer.header("x-upstream")).or_default() += 1;
        if !answer.header("connection").eq_ignore_ascii_case("close") {
            connection = Some(open);
        }
    }
    tally
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}
