//! A fill: one fetch that any number of requests read from while it runs.
//!
//! The one who fetches ([`Filler`]) and those who read ([`Reader`]) live on any threads, and none needs another: a reader
//! that leaves changes nothing for the rest, and the fetch goes on without readers while its answer is to be stored.
//!
//! Invariants: a fill holds at most the largest body that is stored, or, once the answer is not to be stored, a window
//! before its slowest reader; a fill that is dropped before its end has failed, and its readers learn of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::key::Key;
use super::store::{ComingIn, Store, Ticket};
use super::stored::{Head, Stored};
use crate::clock;
use crate::observe::Termination;

/// Informational answers that are passed on, at most.
const MAX_INFORMED: usize = 16;
/// Bytes that wait for the slowest reader when they are not kept anyway.
const WINDOW: usize = 256 << 10;

/// A fetch under way.
#[derive(Default)]
pub struct Fill {
    /// When it began.
    ticket: Ticket,
    state: Mutex<State>,
    /// Told to readers when there is more.
    grown: Notify,
    /// Told to the filler when there is room, or nobody left.
    read: Notify,
}

#[derive(Default)]
struct State {
    /// Informational answers that came before.
    informed: Vec<Arc<Informed>>,
    news: Option<News>,
    /// What is kept of the body; the first of them has the number `first`.
    chunks: VecDeque<Bytes>,
    first: usize,
    /// Bytes in `chunks`.
    held: usize,
    end: Option<Result<(), Termination>>,
    /// How many readers stand before which chunk.
    readers: BTreeMap<usize, usize>,
    /// Whether chunks go once everybody has read them.
    passing: bool,
    /// Counts what is held for readers after the end.
    counted: Option<ComingIn>,
    /// When a reader last went on its own, because it took too long.
    gone_alone: Option<Instant>,
}

/// An informational answer: something is on its way.
#[derive(Debug)]
pub struct Informed {
    /// Its status, from 102.
    pub status: http::StatusCode,
    /// Its fields.
    pub headers: http::HeaderMap,
}

/// What a fetch brought.
#[derive(Clone)]
pub enum News {
    /// A word before the answer; more follows.
    Informed(Arc<Informed>),
    /// An answer, whose body follows.
    Answer(Arc<Coming>),
    /// The stored answer holds.
    Confirmed(Arc<Confirmed>),
    /// Nothing.
    Failed(Failure),
}

/// A stored answer that a member has just confirmed.
pub struct Confirmed {
    /// The answer, with its new fields.
    pub stored: Arc<Stored>,
    /// The fields it was chosen by.
    pub by: Vec<http::HeaderName>,
    /// The key of the requests that it was chosen for.
    pub variant: Key,
    /// Whether others than the one who asked may have it.
    pub shared: bool,
}

/// An answer whose body is under way.
pub struct Coming {
    /// Its header block.
    pub head: Head,
    /// The fields it was chosen by.
    pub by: Vec<http::HeaderName>,
    /// The key of the requests that it was chosen for.
    pub variant: Key,
    /// Whether others than the one who asked may have it.
    pub shared: bool,
    /// How long it serves, when it is to be stored.
    pub freshness: Option<super::Freshness>,
}

/// Why a fetch brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The status that says so.
    pub status: u16,
    /// How requests that waited for it end.
    pub termination: Termination,
}

/// Nobody is left who would read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

impl Fill {
    /// One that begins with `ticket`.
    pub(super) fn new(ticket: Ticket) -> Self {
        Self { ticket, ..Self::default() }
    }

    /// When it began.
    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.grown.notify_waiters();
    }
}

impl State {
    fn is_abandoned(&self) -> bool {
        self.passing && self.readers.is_empty()
    }

    /// Lets go of what everybody has read.
    fn trim(&mut self) {
        let slowest = self.readers.keys().next().copied().unwrap_or(usize::MAX);
        while self.passing && self.first < slowest {
            let Some(chunk) = self.chunks.pop_front() else { break };
            self.held -= chunk.len();
            self.first += 1;
        }
    }

    fn leave(&mut self, position: usize) {
        if let Some(count) = self.readers.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.readers.remove(&position);
            }
        }
    }
}

/// The side that fetches.
pub struct Filler {
    fill: Arc<Fill>,
    /// Where others find it.
    place: Option<(Arc<Store>, Key)>,
}

impl Filler {
    pub(super) fn new(fill: Arc<Fill>, place: Option<(Arc<Store>, Key)>) -> Self {
        Self { fill, place }
    }

    /// When it began.
    pub fn ticket(&self) -> Ticket {
        self.fill.ticket
    }

    /// How many read it now.
    pub fn readers(&self) -> usize {
        self.fill.state().readers.values().sum()
    }

    /// Brings an informational answer.
    pub fn inform(&self, informed: Informed) {
        self.fill.change(|state| {
            if state.informed.len() < MAX_INFORMED {
                state.informed.push(Arc::new(informed));
            }
        });
    }

    /// Brings the header block. An answer that is not kept takes no more readers, and its body goes by.
    pub fn answer(&mut self, coming: Coming) {
        let keep = coming.freshness.is_some();
        let shared = coming.shared;
        if !shared && self.readers() > 1 {
            self.remember_unshared();
        }
        if !keep {
            self.close();
        }
        self.fill.change(|state| {
            state.news = Some(News::Answer(Arc::new(coming)));
            state.passing |= !keep;
        });
    }

    /// Brings the stored answer, confirmed.
    pub fn confirm(mut self, confirmed: Confirmed) {
        self.close();
        self.fill.change(|state| {
            state.news = Some(News::Confirmed(Arc::new(confirmed)));
            state.end = Some(Ok(()));
        });
    }

    /// Brings nothing.
    pub fn fail(mut self, failure: Failure) {
        self.close();
        self.fill.change(|state| {
            state.news = Some(News::Failed(failure));
            state.end = Some(Err(failure.termination));
        });
    }

    /// Keeps nothing of the body any more but what is still to be read.
    pub fn stop_keeping(&mut self) {
        self.remember_unshared();
        self.close();
        self.fill.change(|state| {
            state.passing = true;
            state.trim();
        });
    }

    /// Brings the next part of the body, when there is room for it.
    ///
    /// # Errors
    /// When nobody would read it.
    pub async fn push(&self, chunk: Bytes) -> Result<(), Abandoned> {
        wait(&self.fill.read, || {
            let state = self.fill.state();
            if state.is_abandoned() {
                return Some(Err(Abandoned));
            }
            (!state.passing || state.held < WINDOW).then_some(Ok(()))
        })
        .await?;
        self.fill.change(|state| {
            state.held += chunk.len();
            state.chunks.push_back(chunk);
        });
        Ok(())
    }

    /// Ends when nobody is left who would read.
    pub async fn abandoned(&self) {
        wait(&self.fill.read, || self.fill.state().is_abandoned().then_some(())).await;
    }

    /// The whole body, when it was kept.
    pub fn body(&self) -> Option<Bytes> {
        let (chunks, held) = {
            let state = self.fill.state();
            if state.passing || state.first != 0 {
                return None;
            }
            (state.chunks.clone(), state.held)
        };
        if chunks.len() < 2 {
            return Some(chunks.front().cloned().unwrap_or_default());
        }
        let mut body = Vec::with_capacity(held);
        chunks.iter().for_each(|chunk| body.extend_from_slice(chunk));
        Some(Bytes::from(body))
    }

    /// Ends the body. What readers still have to read goes as they read it, and is `counted` until they have.
    pub fn finish(mut self, end: Result<(), Termination>, counted: Option<ComingIn>) {
        self.close();
        self.fill.change(|state| {
            state.end = Some(end);
            state.passing = true;
            state.trim();
            state.counted = counted.filter(|_| !state.chunks.is_empty());
        });
    }

    fn remember_unshared(&self) {
        if let Some((store, key)) = &self.place {
            store.set_unshared(key);
        }
    }

    fn close(&mut self) {
        if let Some((store, key)) = &self.place {
            store.close(key, &self.fill);
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.close();
        self.fill.change(|state| {
            let failure = Failure { status: 500, termination: Termination::Internal };
            state.news.get_or_insert(News::Failed(failure));
            state.end.get_or_insert(Err(failure.termination));
        });
    }
}

/// The side that reads.
pub struct Reader {
    fill: Arc<Fill>,
    position: usize,
    /// Informational answers seen.
    informed: usize,
}

impl Reader {
    pub(super) fn new(fill: &Arc<Fill>) -> Self {
        *fill.state().readers.entry(0).or_default() += 1;
        Self { fill: Arc::clone(fill), position: 0, informed: 0 }
    }

    /// Whether this one may fetch for itself, because the fetch takes too long: one of all readers `every` so often, lest a
    /// member that is slow is asked by all of them at once.
    pub fn may_go_alone(&self, every: Duration) -> bool {
        let (mut state, now) = (self.fill.state(), clock::now());
        let may = state.gone_alone.is_none_or(|last| now.saturating_duration_since(last) >= every);
        if may {
            state.gone_alone = Some(now);
        }
        may
    }

    /// What the fetch brings, once it is there.
    pub async fn news(&mut self) -> News {
        let seen = self.informed;
        let news = wait(&self.fill.grown, || {
            let state = self.fill.state();
            state.informed.get(seen).cloned().map(News::Informed).or_else(|| state.news.clone())
        });
        let news = news.await;
        self.informed += usize::from(matches!(news, News::Informed(_)));
        news
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// How the requests end, when the body breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Termination> {
        let chunk = wait(&self.fill.grown, || self.try_chunk()).await;
        if let Ok(Some(_)) = &chunk {
            self.advance();
        }
        chunk
    }

    /// Whether the next part, or the end, is there.
    pub fn is_ready(&self) -> bool {
        self.try_chunk().is_some()
    }

    fn try_chunk(&self) -> Option<Result<Option<Bytes>, Termination>> {
        let state = self.fill.state();
        let index = self.position.checked_sub(state.first);
        if let Some(chunk) = index.and_then(|index| state.chunks.get(index)) {
            return Some(Ok(Some(chunk.clone())));
        }
        state.end.map(|end| end.map(|()| None))
    }

    fn advance(&mut self) {
        let mut state = self.fill.state();
        state.leave(self.position);
        self.position += 1;
        *state.readers.entry(self.position).or_default() += 1;
        state.trim();
        let tell = state.passing;
        drop(state);
        if tell {
            self.fill.read.notify_waiters();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.fill.state();
        state.leave(self.position);
        state.trim();
        drop(state);
        self.fill.read.notify_waiters();
    }
}

/// Waits until `ready` has something, looking again at every notice.
async fn wait<T>(notice: &Notify, ready: impl Fn() -> Option<T>) -> T {
    loop {
        // Made before the look: a notice in between is not missed.
        let noticed = notice.notified();
        if let Some(found) = ready() {
            return found;
        }
        noticed.await;
    }
}

#[cfg(test)]
mod tests;
