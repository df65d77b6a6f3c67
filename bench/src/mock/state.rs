//! What all connections of one mock share: counters, the fault plan, and the memory of past requests.
//!
//! A request without orders touches atomics only. The plan's lock is taken only while `special` says that a plan exists.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Version};

use super::ai::Keys;
use super::faults::{Fault, Orders, Plan};
use super::ledger::{Books, Entry, Outcome, Tokens};
use super::wire::Conn;

/// How many requests [`super::Mock::requests`] remembers.
const REMEMBERED: usize = 1024;

/// One request as the backend saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path with its query, as sent.
    pub path_and_query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// Bytes of body that arrived so far.
    pub body_len: u64,
    /// The body's first MiB, once all of it arrived.
    pub body: Bytes,
    /// The HTTP version on this connection.
    pub version: Version,
}

/// State of one mock.
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) upstream: HeaderValue,
    pub(super) greeting: Bytes,
    pub(super) healthy: AtomicBool,
    pub(super) hits: AtomicU64,
    pub(super) health_checks: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) cancelled: AtomicU64,
    /// Set while stopped: connections that end now are reset, and their requests are not the client's cancellations.
    pub(super) down: AtomicBool,
    record: AtomicBool,
    /// Set while `plan` is not empty.
    special: AtomicBool,
    plan: Mutex<Plan>,
    seen: Mutex<VecDeque<Arc<Record>>>,
    pub(super) books: Books,
    pub(super) keys: Keys,
    /// Numbers AI requests, for ids that do not repeat.
    asked: AtomicU64,
}

/// A request being remembered; the body is filled in as it arrives.
pub(super) struct Record {
    head: Seen,
    pub(super) body_len: AtomicU64,
    pub(super) body: OnceLock<Bytes>,
}

impl Shared {
    pub(super) fn new(id: String, latency: Duration, record: bool) -> Self {
        let upstream = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("unprintable"));
        let greeting = Bytes::from(format!("hello from {id}\n"));
        let shared = Self {
            id,
            upstream,
            greeting,
            healthy: AtomicBool::new(true),
            hits: AtomicU64::new(0),
            health_checks: AtomicU64::new(0),
            open: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            down: AtomicBool::new(false),
            record: AtomicBool::new(record),
            special: AtomicBool::new(false),
            plan: Mutex::default(),
            seen: Mutex::default(),
            books: Books::default(),
            keys: Keys::default(),
            asked: AtomicU64::new(0),
        };
        shared.set_latency(latency);
        shared
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.change_plan(|plan| plan.latency = latency);
    }

    /// Changes the plan for the requests to come.
    pub(super) fn change_plan(&self, change: impl FnOnce(&mut Plan)) {
        let mut plan = lock(&self.plan);
        change(&mut plan);
        self.special.store(!plan.is_empty(), Relaxed);
    }

    /// Whether requests may meet a fault or a latency; false in the usual case, at the cost of one load.
    pub(super) fn has_plan(&self) -> bool {
        self.special.load(Relaxed)
    }

    /// The latency that the plan holds for a request on `path`.
    pub(super) fn latency_of(&self, path: &str) -> Duration {
        if self.has_plan() { lock(&self.plan).latency_of(path) } else { Duration::ZERO }
    }

    /// The orders that stand for AI requests.
    pub(super) fn standing(&self) -> Orders {
        if self.has_plan() { lock(&self.plan).standing.clone().unwrap_or_default() } else { Orders::default() }
    }

    /// The fault that the plan holds for a health check.
    pub(super) fn health_fault(&self) -> Option<Fault> {
        if self.has_plan() { lock(&self.plan).always } else { None }
    }

    /// Takes the fault that the plan holds for a request, of this key and for this model if it is an AI request.
    pub(super) fn take_fault(&self, path: &str, key: &str, model: &str) -> Option<Fault> {
        if !self.has_plan() {
            return None;
        }
        let mut plan = lock(&self.plan);
        let fault = plan.take_fault(path, key, model);
        self.special.store(!plan.is_empty(), Relaxed);
        fault
    }

    /// A number that no other AI request of this mock has.
    pub(super) fn next_number(&self) -> u64 {
        self.asked.fetch_add(1, Relaxed) + 1
    }

    /// Forgets faults, latencies, orders, keys, models, counters, books and requests; open connections stay counted.
    pub(super) fn reset(&self) {
        self.change_plan(|plan| *plan = Plan::default());
        self.healthy.store(true, Relaxed);
        for counter in [&self.hits, &self.health_checks, &self.accepted, &self.cancelled] {
            counter.store(0, Relaxed);
        }
        lock(&self.seen).clear();
        self.books.clear();
        self.keys.clear();
    }

    pub(super) fn records(&self) -> bool {
        self.record.load(Relaxed)
    }

    /// Remembers the head of a request; the body goes into what is returned.
    pub(super) fn remember<B>(&self, request: &Request<B>) -> Arc<Record> {
        let path_and_query = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
        let record = Arc::new(Record {
            head: Seen {
                method: request.method().clone(),
                path_and_query,
                headers: request.headers().clone(),
                body_len: 0,
                body: Bytes::new(),
                version: request.version(),
            },
            body_len: AtomicU64::new(0),
            body: OnceLock::new(),
        });
        let mut seen = lock(&self.seen);
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(record.clone());
        record
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        lock(&self.seen).iter().map(|record| record.seen()).collect()
    }
}

impl Record {
    fn seen(&self) -> Seen {
        let body = self.body.get().cloned().unwrap_or_default();
        Seen { body_len: self.body_len.load(Relaxed), body, ..self.head.clone() }
    }
}

/// Counts a request as cancelled unless its answer was completed or cut off on purpose, and closes its entry in the books.
pub(super) struct Flight {
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    settled: bool,
    entry: Option<Entry>,
    tokens: Tokens,
}

impl Flight {
    pub(super) fn new(shared: Arc<Shared>, conn: Arc<Conn>) -> Self {
        Self { shared, conn, settled: false, entry: None, tokens: Tokens::default() }
    }

    /// Keeps books on this request.
    pub(super) fn book(&mut self, entry: Entry) {
        self.entry = Some(entry);
    }

    /// What the whole answer serves, counted when it is complete.
    pub(super) fn serve(&mut self, tokens: Tokens) {
        self.tokens = tokens;
    }

    /// The answer is no success, whether it completes or not.
    pub(super) fn fails(&self) {
        if let Some(entry) = &self.entry {
            entry.serves().spoil();
        }
    }

    /// The answer is complete, or it is the mock that ends it.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let by_us = self.conn.was_cut() || self.shared.down.load(Relaxed);
        let cancelled = !self.settled && !by_us;
        if cancelled {
            self.shared.cancelled.fetch_add(1, Relaxed);
        }
        if let Some(entry) = &self.entry {
            let outcome = match (cancelled, self.settled) {
                (true, _) => Outcome::Cancelled,
                (false, true) => Outcome::Finished,
                (false, false) => Outcome::Failed,
            };
            self.shared.books.close(entry, outcome, &self.tokens);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
