//! A flight: one answer under way that any number of requests read, live, from its beginning.
//!
//! The one who makes it ([`Pilot`]) and those who read ([`Rider`]) may be on any threads. A rider that leaves changes
//! nothing for the others; when the last one has left, the pilot is told, and ends the request at the provider.
//!
//! **Invariant:** every rider sees every piece once and in order, whenever it came; a flight whose pilot is dropped before
//! its end has failed, and its riders learn of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Notify;

use super::{Answers, Form, Key};
use crate::ai::refusal::Refusal;

/// Bytes of one answer that are held for its readers, at most; an answer that is longer is cut.
const MAX_HELD: usize = 64 << 20;

/// A part of a stream, an event or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// As the client gets it.
    pub bytes: Bytes,
    /// It only tells of usage that not every client asks for.
    pub usage: bool,
}

/// How an answer begins.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The provider's fields that pass.
    pub fields: HeaderMap,
    /// The body, when it came as a whole; `None`: pieces follow.
    pub whole: Option<Bytes>,
    /// Provider and model.
    pub target: (Arc<str>, Arc<str>),
    /// After how many tries.
    pub attempts: u32,
}

/// Who was asked last, and in which try.
#[derive(Debug, Clone)]
pub struct Last {
    /// Provider and model.
    pub target: (Arc<str>, Arc<str>),
    /// After how many tries.
    pub attempts: u32,
}

/// An answer under way.
#[derive(Default)]
pub struct Flight {
    state: Mutex<State>,
    /// Told to riders when there is more.
    grown: Notify,
    /// Told to the pilot when nobody is left.
    left: Notify,
}

#[derive(Default)]
struct State {
    begun: Option<Result<Arc<Begun>, Refusal>>,
    pieces: Vec<Piece>,
    held: usize,
    end: Option<Result<(), Refusal>>,
    /// Who was asked last for an answer that does not begin.
    asked: Option<Last>,
    riders: usize,
    /// Nobody may come aboard any more.
    closed: bool,
}

/// A part in a flight.
pub enum Joined {
    /// This request makes it.
    Leads(Pilot, Rider),
    /// Another one makes it.
    Follows(Rider),
}

impl Flight {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.grown.notify_waiters();
    }
}

/// The side that makes the answer.
pub struct Pilot {
    flight: Arc<Flight>,
    answers: Arc<Answers>,
    key: Key,
    ticket: u64,
}

impl Pilot {
    pub(super) fn new(flight: Arc<Flight>, answers: Arc<Answers>, key: Key) -> Self {
        let ticket = answers.ticket();
        Self { flight, answers, key, ticket }
    }

    /// The cache it is made for.
    pub fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }

    /// The answer begins.
    pub fn begin(&self, begun: Begun) {
        self.flight.change(|state| state.begun = Some(Ok(Arc::new(begun))));
    }

    /// There is none. `asked`: who was asked for it.
    pub fn refuse(self, refusal: &Refusal, asked: Option<Last>) {
        self.answers.land(&self.key, &self.flight);
        self.flight.change(|state| {
            state.asked = asked;
            state.begun.get_or_insert_with(|| Err(refusal.clone()));
            state.end = Some(Err(refusal.clone()));
        });
    }

    /// The next piece. `false`: it was the last one that is taken; the answer is too long.
    pub fn push(&self, piece: Piece) -> bool {
        let mut room = true;
        self.flight.change(|state| {
            state.held += piece.bytes.len();
            room = state.held <= MAX_HELD;
            if room {
                state.pieces.push(piece);
            }
        });
        room
    }

    /// Ends when nobody is left who reads.
    pub async fn abandoned(&self) {
        wait(&self.flight.left, || {
            let mut state = self.flight.state();
            // Whoever comes now begins anew: this answer is being given up.
            state.closed |= state.riders == 0;
            (state.riders == 0).then_some(())
        })
        .await;
    }

    /// The answer is whole; what it says, for the cache.
    pub fn finish(self) -> (Form, Key, u64) {
        self.answers.land(&self.key, &self.flight);
        let mut form = None;
        self.flight.change(|state| {
            state.end = Some(Ok(()));
            let whole = state.begun.as_ref().and_then(|begun| begun.as_ref().ok()?.whole.clone());
            form = Some(whole.map_or_else(|| Form::Events(state.pieces.as_slice().into()), Form::Whole));
        });
        (form.unwrap_or(Form::Whole(Bytes::new())), self.key, self.ticket)
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.answers.land(&self.key, &self.flight);
        self.flight.change(|state| {
            let failure = || Err(Refusal::internal());
            state.begun.get_or_insert_with(failure);
            state.end.get_or_insert_with(|| Err(Refusal::internal()));
        });
    }
}

/// The side that reads.
pub struct Rider {
    flight: Arc<Flight>,
    position: usize,
}

impl Rider {
    /// A part in `flight`, unless it takes nobody in any more.
    pub(super) fn board(flight: &Arc<Flight>) -> Option<Self> {
        let mut state = flight.state();
        if state.closed {
            return None;
        }
        state.riders += 1;
        drop(state);
        Some(Self { flight: Arc::clone(flight), position: 0 })
    }

    /// How the answer begins, once that is known.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn begun(&self) -> Result<Arc<Begun>, Refusal> {
        wait(&self.flight.grown, || self.flight.state().begun.clone()).await
    }

    /// Who was asked last for an answer that does not begin, once that is known.
    pub fn asked(&self) -> Option<Last> {
        self.flight.state().asked.clone()
    }

    /// The next piece, when it, or the end, is there; `Some(Ok(None))` at the end.
    ///
    /// # Errors
    /// Why it broke off.
    pub fn at_hand(&mut self) -> Option<Result<Option<Piece>, Refusal>> {
        let state = self.flight.state();
        if let Some(piece) = state.pieces.get(self.position) {
            self.position += 1;
            return Some(Ok(Some(piece.clone())));
        }
        state.end.clone().map(|end| end.map(|()| None))
    }

    /// Ends when there is a piece, or the end.
    pub async fn more(&self) {
        wait(&self.flight.grown, || {
            let state = self.flight.state();
            (state.pieces.len() > self.position || state.end.is_some()).then_some(())
        })
        .await;
    }
}

impl Drop for Rider {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.riders -= 1;
        drop(state);
        self.flight.left.notify_waiters();
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
