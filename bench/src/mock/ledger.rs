//! The mock's own books: what each provider key asked of each model, how that ended, and the tokens that were served.
//!
//! Tokens of a stream are counted event by event as they are handed to the connection, so that a stream which its client left
//! has those that were written. Tokens of a whole answer are counted when its last byte is.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// Rows of the ledger; requests of further keys and models are counted in one row without names.
const MAX_ROWS: usize = 4096;
/// Cancellations that are remembered, the latest.
const MAX_CANCELLATIONS: usize = 8192;

/// What a mock did, by key and model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One for each key and model, by their names.
    pub accounts: Vec<Account>,
    /// Requests that their clients left, in the order in which it was noticed; the last 8192.
    pub cancellations: Vec<Cancellation>,
}

/// Requests of one key for one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The key, as it was sent; with Flow the client id. Empty where none was.
    pub key: String,
    /// The model; with Azure the deployment. Empty where none was named.
    pub model: String,
    /// Requests whose body arrived.
    pub begun: u64,
    /// Those answered in full with what was asked for.
    pub finished: u64,
    /// Those answered with an error, or cut or ended early by the mock.
    pub failed: u64,
    /// Those whose client closed the connection, or reset the stream, before the end.
    pub cancelled: u64,
    /// Tokens served.
    pub tokens: Tokens,
}

impl Account {
    /// Requests that have not ended.
    pub fn in_flight(&self) -> u64 {
        self.begun.saturating_sub(self.finished + self.failed + self.cancelled)
    }
}

/// Tokens as the gateway counts them: cached ones within the input, reasoning within the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All of the prompt.
    pub input: u64,
    /// Of these, read from the cache.
    pub cache_read: u64,
    /// Of these, written to the cache.
    pub cache_write: u64,
    /// All of the answer.
    pub output: u64,
    /// Of these, for thinking.
    pub reasoning: u64,
}

/// One request that its client left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    /// The key, as in [`Account::key`].
    pub key: String,
    /// The model, as in [`Account::model`].
    pub model: String,
    /// Its `x-request-id`, or empty.
    pub request_id: String,
    /// When its body had arrived, in microseconds since the epoch.
    pub began_us: i64,
    /// When the mock noticed that the client is gone, in microseconds since the epoch.
    pub noticed_us: i64,
    /// The time from [`super::Mock::mark_leaving`] to the noticing, where there was a mark.
    pub after_mark: Option<Duration>,
    /// Events that were written before.
    pub events: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Finished,
    Failed,
    Cancelled,
}

/// The books as they are kept.
#[derive(Default)]
pub(super) struct Books(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    rows: HashMap<(String, String), Arc<Row>>,
    cancellations: VecDeque<Cancellation>,
    mark: Option<Instant>,
    /// Counts resets: a request from before one is not written down after it.
    generation: u64,
}

/// One account, counting.
#[derive(Default)]
struct Row {
    begun: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    input: AtomicU64,
    cache_read: AtomicU64,
    cache_write: AtomicU64,
    output: AtomicU64,
    reasoning: AtomicU64,
}

/// What one request serves, counted while it does; by default in no books.
#[derive(Clone, Default)]
pub(super) struct Serves {
    row: Arc<Row>,
    progress: Arc<Progress>,
}

/// How far the answer to one request is.
#[derive(Default)]
struct Progress {
    events: AtomicU64,
    /// The mock has spoiled it, so its end is no success.
    spoiled: AtomicBool,
}

/// One request in the books, open until [`Books::close`].
pub(super) struct Entry {
    serves: Serves,
    key: String,
    model: String,
    request_id: String,
    began_us: i64,
    generation: u64,
}

impl Books {
    /// Opens the entry of a request.
    pub(super) fn open(&self, key: &str, model: &str, request_id: &str) -> Entry {
        let mut pages = self.lock();
        let full = pages.rows.len() >= MAX_ROWS;
        let name = (key.to_owned(), model.to_owned());
        let name = if full && !pages.rows.contains_key(&name) { Default::default() } else { name };
        let row = pages.rows.entry(name).or_default().clone();
        let generation = pages.generation;
        drop(pages);
        row.begun.fetch_add(1, Relaxed);
        Entry {
            serves: Serves { row, progress: Arc::default() },
            key: key.to_owned(),
            model: model.to_owned(),
            request_id: request_id.to_owned(),
            began_us: jiff::Timestamp::now().as_microsecond(),
            generation,
        }
    }

    /// Writes down how a request ended. A whole answer that was finished served these tokens.
    pub(super) fn close(&self, entry: &Entry, outcome: Outcome, whole: &Tokens) {
        let row = &entry.serves.row;
        let spoiled = entry.serves.progress.spoiled.load(Relaxed);
        match outcome {
            Outcome::Cancelled => {
                self.note(entry);
                row.cancelled.fetch_add(1, Relaxed);
            }
            Outcome::Finished if !spoiled => {
                entry.serves.add(whole);
                row.finished.fetch_add(1, Relaxed);
            }
            Outcome::Finished | Outcome::Failed => {
                row.failed.fetch_add(1, Relaxed);
            }
        }
    }

    fn note(&self, entry: &Entry) {
        let mut pages = self.lock();
        if pages.generation != entry.generation {
            return;
        }
        if pages.cancellations.len() == MAX_CANCELLATIONS {
            pages.cancellations.pop_front();
        }
        let after_mark = pages.mark.map(|mark| mark.elapsed());
        pages.cancellations.push_back(Cancellation {
            key: entry.key.clone(),
            model: entry.model.clone(),
            request_id: entry.request_id.clone(),
            began_us: entry.began_us,
            noticed_us: jiff::Timestamp::now().as_microsecond(),
            after_mark,
            events: entry.serves.progress.events.load(Relaxed),
        });
    }

    /// From now on cancellations say how long after this moment they were noticed.
    pub(super) fn mark(&self) {
        self.lock().mark = Some(Instant::now());
    }

    /// Empties the books. Requests in flight are not written down any more.
    pub(super) fn clear(&self) {
        let mut pages = self.lock();
        let generation = pages.generation + 1;
        *pages = Pages { generation, ..Pages::default() };
    }

    pub(super) fn read(&self) -> Ledger {
        let pages = self.lock();
        let mut accounts: Vec<Account> = pages.rows.iter().map(|(name, row)| row.account(name)).collect();
        let cancellations = pages.cancellations.iter().cloned().collect();
        drop(pages);
        accounts.sort_by(|a, b| (&a.key, &a.model).cmp(&(&b.key, &b.model)));
        Ledger { accounts, cancellations }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn account(&self, (key, model): &(String, String)) -> Account {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        Account {
            key: key.clone(),
            model: model.clone(),
            // Ends before beginnings, so that none is seen to have ended before it began.
            finished: read(&self.finished),
            failed: read(&self.failed),
            cancelled: read(&self.cancelled),
            begun: read(&self.begun),
            tokens: Tokens {
                input: read(&self.input),
                cache_read: read(&self.cache_read),
                cache_write: read(&self.cache_write),
                output: read(&self.output),
                reasoning: read(&self.reasoning),
            },
        }
    }
}

impl Entry {
    pub(super) fn serves(&self) -> Serves {
        self.serves.clone()
    }
}

impl Serves {
    /// Adds tokens that were served.
    pub(super) fn add(&self, tokens: &Tokens) {
        self.row.input.fetch_add(tokens.input, Relaxed);
        self.row.cache_read.fetch_add(tokens.cache_read, Relaxed);
        self.row.cache_write.fetch_add(tokens.cache_write, Relaxed);
        self.row.output.fetch_add(tokens.output, Relaxed);
        self.row.reasoning.fetch_add(tokens.reasoning, Relaxed);
    }

    /// The answer is an error, or broken on purpose.
    pub(super) fn spoil(&self) {
        self.progress.spoiled.store(true, Relaxed);
    }

    /// Counts an event, and the tokens of output that it says.
    pub(super) fn event(&self, output: u64) {
        self.progress.events.fetch_add(1, Relaxed);
        self.row.output.fetch_add(output, Relaxed);
    }

    /// Puts a count of output right that an order made differ from the events: `said` of them were counted.
    pub(super) fn correct(&self, output: u64, said: u64) {
        // Two's complement: what is too much is taken off by the same addition.
        self.row.output.fetch_add(output.wrapping_sub(said), Relaxed);
    }
}

impl Ledger {
    /// The account of a key and a model; empty where nothing was asked.
    pub fn account(&self, key: &str, model: &str) -> Account {
        let found = self.accounts.iter().find(|account| account.key == key && account.model == model);
        found.cloned().unwrap_or_default()
    }

    /// All accounts in one, without names.
    pub fn total(&self) -> Account {
        let mut total = Account::default();
        for account in &self.accounts {
            total.begun += account.begun;
            total.finished += account.finished;
            total.failed += account.failed;
            total.cancelled += account.cancelled;
            total.tokens.input += account.tokens.input;
            total.tokens.cache_read += account.tokens.cache_read;
            total.tokens.cache_write += account.tokens.cache_write;
            total.tokens.output += account.tokens.output;
            total.tokens.reasoning += account.tokens.reasoning;
        }
        total
    }

    pub(super) fn json(&self) -> Value {
        let cancellation = |one: &Cancellation| {
            json!({
                "key": one.key, "model": one.model, "request_id": one.request_id, "events": one.events,
                "began_us": one.began_us, "noticed_us": one.noticed_us,
                "after_mark_us": one.after_mark.map(|time| time.as_micros() as u64),
            })
        };
        let cancellations: Vec<Value> = self.cancellations.iter().map(cancellation).collect();
        let accounts: Vec<Value> = self.accounts.iter().map(Account::json).collect();
        json!({"accounts": accounts, "total": self.total().json(), "cancellations": cancellations})
    }
}

impl Account {
    fn json(&self) -> Value {
        let tokens = &self.tokens;
        json!({
            "key": self.key, "model": self.model, "begun": self.begun, "finished": self.finished,
            "failed": self.failed, "cancelled": self.cancelled, "in_flight": self.in_flight(),
            "tokens": {
                "input": tokens.input, "cache_read": tokens.cache_read, "cache_write": tokens.cache_write,
                "output": tokens.output, "reasoning": tokens.reasoning,
            },
        })
    }
}
