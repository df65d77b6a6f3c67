//! A stream of events on its way from a provider: watched, translated where the dialects differ, held back until its
//! first content or the bounds of holding, and then passed on as it comes.
//!
//! **Invariant:** nothing leaves it while it is held, so that an error until then can be answered by another
//! provider; what leaves it in the client's own dialect is byte for byte what the provider sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::call::Live;
use super::cut::Watch;
use crate::ai::answers::Piece;
use crate::ai::dialect::Dialect;
use crate::ai::dialect::error::ProviderError;
use crate::ai::dialect::translate::{self, Malformed};
use crate::ai::estimate;
use crate::ai::meter::{Kind, Meter};
use crate::ai::sse::{Decoder, Frame, MAX_EVENT};
use crate::ai::usage::Usage;
use crate::clock;
use crate::observe::ai::Phase;
use crate::observe::metrics::AiGatewayMetrics;
use crate::upstream::retry::Cause;

/// How many tokens come between two words to the member's count of what is outstanding.
const TELL_EVERY: u64 = 32;
/// How long a provider is listened to, after the end of an answer whose client has left, for what it counted.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A provider's stream.
pub struct Events {
    live: Live,
    decoder: Decoder,
    meter: Meter,
    translator: Option<Box<Translating>>,
    /// What a stream that passes has open.
    watch: Watch,
    /// For the client, in order.
    ready: VecDeque<Piece>,
    ready_bytes: usize,
    /// Tokens that the member was told it has worked off.
    worked_off: u64,
    /// When its first content came.
    content_at: Option<Instant>,
    /// When that has to be there at the latest.
    content_by: Option<Instant>,
    /// It goes out as it comes; until then comments are nothing that is worth to be held.
    started: bool,
    /// The provider's last event was there, or its body ended.
    ended: bool,
    /// What went wrong, once what came before it has gone out.
    broken: Option<Broken>,
}

/// A translation under way, and the time it took so far. Told once, when it ends.
pub struct Translating {
    stream: translate::Stream,
    took: Duration,
    metrics: Arc<AiGatewayMetrics>,
}

impl Translating {
    /// One that has not begun.
    pub fn new(stream: translate::Stream, metrics: &Arc<AiGatewayMetrics>) -> Self {
        Self { stream, took: Duration::ZERO, metrics: Arc::clone(metrics) }
    }

    fn work<R>(&mut self, work: impl FnOnce(&mut translate::Stream) -> R) -> R {
        let began = clock::now();
        let result = work(&mut self.stream);
        self.took += clock::now().saturating_duration_since(began);
        result
    }
}

impl Drop for Translating {
    fn drop(&mut self) {
        self.metrics.phase(Phase::Translate, self.took);
    }
}

/// Why a stream breaks off.
#[derive(Debug, Clone)]
pub enum Broken {
    /// The provider says so.
    Error(ProviderError),
    /// The connection broke, or the stream ended before its last event.
    Truncated,
    /// Nothing came in time.
    Timeout,
    /// It is no stream of events that anybody understands, or an event is too long.
    Malformed,
    /// It has what the client's dialect has no words for.
    Foreign(Malformed),
}

impl Broken {
    /// Whether the provider has failed.
    pub const fn is_of_provider(&self) -> bool {
        !matches!(self, Self::Foreign(_))
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// A part for the client.
    Piece(Piece),
    /// Its proper end.
    End,
    /// It broke off.
    Broken(Broken),
}

/// Until when the first content is waited for.
pub struct Start {
    /// At the latest.
    pub until: Instant,
    /// Bytes that are held at most.
    pub bytes: usize,
    /// From when on nothing is held any more.
    pub held_until: Instant,
}

impl Events {
    /// The stream that `live` brings.
    pub fn new(live: Live, dialect: Dialect, translator: Option<Box<Translating>>) -> Self {
        Self {
            live,
            decoder: Decoder::new(MAX_EVENT),
            meter: Meter::new(dialect),
            translator,
            watch: Watch::new(dialect),
            ready: VecDeque::new(),
            ready_bytes: 0,
            worked_off: 0,
            content_at: None,
            content_by: None,
            started: false,
            ended: false,
            broken: None,
        }
    }

    /// What it told so far.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// When its first content came; `None`: not yet.
    pub fn first_content(&self) -> Option<Instant> {
        self.content_at
    }

    /// Holds the stream back until its first content, its end, or the bounds of holding.
    ///
    /// # Errors
    /// When it breaks before; the client has seen nothing of it.
    pub async fn start(&mut self, start: &Start) -> Result<(), Broken> {
        self.content_by = Some(start.until);
        let held = self.hold(start).await;
        self.started = true;
        held
    }

    async fn hold(&mut self, start: &Start) -> Result<(), Broken> {
        loop {
            let now = clock::now();
            if now >= start.until {
                return Err(Broken::Timeout);
            }
            let until = if self.ready.is_empty() { start.until } else { start.until.min(start.held_until.max(now)) };
            if until <= now {
                return Ok(());
            }
            let content = match self.live.chunk(until).await {
                Ok(Some(chunk)) => self.take(chunk),
                Ok(None) => self.end(),
                Err(Cause::Timeout) => continue,
                Err(_) => self.fail(Broken::Truncated),
            };
            match self.broken.take() {
                // Content before the failure went out already in spirit: the client gets it, and then the error.
                Some(broken) if content => {
                    self.broken = Some(broken);
                    return Ok(());
                }
                Some(broken) => return Err(broken),
                None if content || self.ended || self.ready_bytes > start.bytes => return Ok(()),
                None => {}
            }
        }
    }

    /// What is ready to go out.
    fn ready(&mut self) -> Option<Piece> {
        let piece = self.ready.pop_front()?;
        self.ready_bytes -= piece.bytes.len();
        Some(piece)
    }

    /// The next step; a break when nothing is there at `until`, or no content by when the first has to be. Dropped while it
    /// waits, nothing is lost.
    pub async fn step(&mut self, until: Instant) -> Step {
        loop {
            if let Some(piece) = self.ready() {
                return Step::Piece(piece);
            }
            if let Some(broken) = self.broken.take() {
                return Step::Broken(broken);
            }
            if self.ended {
                return Step::End;
            }
            let is_due = self.content_at.is_none() && !self.meter.is_finished();
            let content_by = self.content_by.filter(|_| is_due);
            let until = content_by.map_or(until, |by| until.min(by));
            match self.live.chunk(until).await {
                Ok(Some(chunk)) => self.take(chunk),
                Ok(None) => self.end(),
                Err(Cause::Timeout) => self.fail(Broken::Timeout),
                Err(_) => self.fail(Broken::Truncated),
            };
        }
    }

    /// Nobody reads it any more. Who leaves at the last word has had all of it, and owes what it was: the provider is listened
    /// to until it has said what it counted.
    pub async fn abandoned(&mut self) {
        let until = clock::now() + LAST_WORD;
        while self.meter.is_finished() && self.meter.usage().is_none() {
            if !matches!(self.step(until).await, Step::Piece(_)) {
                break;
            }
        }
    }

    /// Writes a proper end in the client's dialect over what is still to come: the answer was as long as it may be, and used
    /// so much. `tells`: the client asked to be told of it.
    pub fn cut(&mut self, usage: Usage, tells: bool, out: &mut Vec<u8>) {
        match &mut self.translator {
            Some(translating) => {
                translating.stream.cut(usage, out);
                if let Some(told) = translating.stream.take_usage().filter(|_| !tells) {
                    out.drain(told);
                }
            }
            None => self.watch.cut(self.meter.model().unwrap_or_default(), usage, tells, out),
        }
    }

    /// Ends it. Its connection is kept when the answer was read to its end.
    pub async fn finish(self) {
        if self.ended {
            self.live.finish().await;
        }
    }

    /// Takes in a part of the body. `true`: there was content in it.
    fn take(&mut self, chunk: Bytes) -> bool {
        self.decoder.push(chunk);
        let written = estimate::output_tokens(self.meter.output_chars());
        if written >= self.worked_off + TELL_EVERY {
            self.live.worked_off(written - self.worked_off);
            self.worked_off = written;
        }
        let mut content = false;
        while let Some(frame) = self.decoder.next() {
            let Ok(frame) = frame else {
                self.fail(Broken::Malformed);
                return content;
            };
            content |= self.frame(frame);
            if self.ended || self.broken.is_some() {
                break;
            }
        }
        content
    }

    fn frame(&mut self, frame: Frame) -> bool {
        if !self.started && !frame.has_data() && frame.event().is_empty() {
            return false;
        }
        let kind = self.meter.frame(&frame);
        if let Kind::Error(error) = kind {
            self.broken = Some(Broken::Error(error));
            return false;
        }
        if kind == Kind::Unreadable || (kind == Kind::Terminal && !self.meter.has_heard()) {
            self.fail(Broken::Malformed);
            return false;
        }
        match &mut self.translator {
            Some(translator) => {
                let mut out = Vec::new();
                let translated = |stream: &mut translate::Stream| stream.event(frame.data(), &mut out);
                // A data line that is empty says no more than none.
                let worked = if frame.data().is_empty() { Ok(()) } else { translator.work(translated) };
                if let Err(malformed) = worked {
                    let malformed = malformed.counted(self.meter.usage());
                    return self.fail(if malformed.foreign { Broken::Foreign(malformed) } else { Broken::Malformed });
                }
                self.push_translated(out);
            }
            None => {
                self.watch.frame(&frame);
                self.push(frame.into_closed(), kind == Kind::Usage);
            }
        }
        if kind == Kind::Terminal {
            self.close();
        }
        let content = kind == Kind::Content;
        if content {
            self.content_at.get_or_insert_with(clock::now);
        }
        content
    }

    /// The provider's body has ended.
    fn end(&mut self) -> bool {
        let mut content = false;
        if let Some(rest) = self.decoder.finish() {
            content = self.frame(rest);
        }
        if self.ended || self.broken.is_some() {
            return content;
        }
        if self.meter.may_end() {
            self.close();
        } else {
            self.fail(Broken::Truncated);
        }
        content
    }

    fn close(&mut self) {
        self.ended = true;
        if let Some(translator) = &mut self.translator
            && !translator.stream.is_complete()
        {
            let mut out = Vec::new();
            let finished = translator.work(|stream| stream.finish(&mut out));
            self.push_translated(out);
            if finished.is_err() {
                self.broken = Some(Broken::Truncated);
            }
        }
    }

    fn fail(&mut self, broken: Broken) -> bool {
        self.broken = Some(broken);
        false
    }

    /// Events of the translator's. That of the usage is one of its own: not every client asks for it.
    fn push_translated(&mut self, out: Vec<u8>) {
        let usage = self.translator.as_mut().and_then(|translating| translating.stream.take_usage());
        let mut out = Bytes::from(out);
        if let Some(usage) = usage {
            let rest = out.split_off(usage.end.min(out.len()));
            let told = out.split_off(usage.start.min(out.len()));
            self.push(std::mem::replace(&mut out, rest), false);
            self.push(told, true);
        }
        self.push(out, false);
    }

    fn push(&mut self, bytes: Bytes, usage: bool) {
        if !bytes.is_empty() {
            self.ready_bytes += bytes.len();
            self.ready.push_back(Piece { bytes, usage });
        }
    }
}
