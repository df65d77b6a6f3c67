//! An answer whose header block is there: events, a whole body, or bytes; served from its first content on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use log::warn;

use super::attempt::{Attempt, Fault, Missed};
use super::prepare::busy;
use super::{Job, LONG, aside};
use crate::ai::answers::{Piece, convert};
use crate::ai::attempt::{Verdict, judge, judge_inside};
use crate::ai::dialect::translate::{self, Malformed};
use crate::ai::dialect::{Dialect, error};
use crate::ai::door::Operation;
use crate::ai::estimate::{self, Made};
use crate::ai::meter::{Whole, whole};
use crate::ai::refusal::Refusal;
use crate::ai::reset;
use crate::ai::usage::Usage;
use crate::ai::way::Way;
use crate::clock;
use crate::observe::Termination;
use crate::observe::ai::{Phase, TryOutcome};
use crate::observe::metrics::AiGatewayMetrics;
use crate::proxy::ai::answer::{Answer, Content, passed_fields};
use crate::proxy::ai::body::Held;
use crate::proxy::ai::call::Live;
use crate::proxy::ai::events::{Broken, Events, Start, Translating};
use crate::proxy::ai::trail::Trail;
use crate::proxy::ai::turn;
use crate::proxy::exchange::SLICE;
use crate::upstream::retry::Cause;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The most of a whole answer that is kept in memory.
const MOST_WHOLE: usize = 64 << 20;
/// The most of a provider's error that is read.
const MOST_ERROR: usize = 64 << 10;
/// How long that may take.
const ERROR_WITHIN: Duration = Duration::from_secs(5);

/// What the body of an answer is.
enum Kind {
    Events,
    Whole,
    Bytes,
}

impl Job {
    /// Takes in an answer whose header block is there; its first content has to be at `until`.
    pub(super) async fn take(
        &self,
        attempt: Attempt<'_>,
        until: Instant,
        mut live: Live,
        trail: &mut Trail,
    ) -> Result<Box<Answer>, Missed> {
        let status = live.status();
        let headers = live.take_headers();
        trail.named(&headers);
        if !status.is_success() {
            let until = clock::now() + ERROR_WITHIN;
            let body = body_of(live, MOST_ERROR, ERROR_WITHIN, until).await.unwrap_or_default();
            if attempt.asked_for_more_than_it_knows(status, &body) {
                attempt.takes_key();
                attempt.provider.refuses_stream_options();
                attempt.trial.succeeded();
                trail.asked_too_much();
                return Err(Missed::Less);
            }
            let dialect = attempt.prepared.way.dialect(self.operation);
            let error = error::read(dialect, status, &body);
            let verdict = judge(status, error.class);
            if !matches!(verdict, Verdict::KeyRefused | Verdict::ModelRefused | Verdict::Blocked) {
                attempt.takes_key();
            }
            return Err(self.miss(
                attempt,
                Fault { verdict, status, headers: &headers, error, body: Some(body) },
                trail,
            ));
        }
        attempt.takes_key();
        if let Some(key) = attempt.key
            && let Some(rest) = reset::proactive(&headers, clock::wall())
        {
            attempt.provider.keys.spares(key, clock::now() + rest);
        }
        if let Some(coding) = coding(&headers) {
            // It would answer the same again.
            attempt.trial.failed();
            warn!(target: "ai", "provider {} answers with the coding {coding:?}, though it was asked for none", attempt.provider.config.name);
            trail.untold(&Malformed::encoded(coding));
            return Err(Missed::Target);
        }
        match self.kind(&headers, &mut live, until).await {
            Ok(Kind::Events) => self.take_events(attempt, until, live, headers, trail).await,
            Ok(Kind::Whole) => self.take_whole(attempt, live, headers, trail).await,
            Ok(Kind::Bytes) => Ok(self.served(attempt, headers, Content::Bytes(live), trail)),
            Err(outcome) => {
                attempt.trial.failed();
                trail.missed(outcome);
                Err(Missed::Member)
            }
        }
    }

    /// What the body is: as its type says, where the door's answers may be so; where a stream is wanted and no type is
    /// there, as its beginning says.
    async fn kind(&self, headers: &HeaderMap, live: &mut Live, until: Instant) -> Result<Kind, TryOutcome> {
        let typed = headers.contains_key(header::CONTENT_TYPE);
        if has_type(headers, b"text/event-stream") {
            return Ok(Kind::Events);
        }
        if !typed && self.streams() {
            let begin = live.peek(until).await.map_err(outcome_of)?;
            let is_json = unmarked(begin).trim_ascii_start().starts_with(b"{");
            return Ok(if is_json { Kind::Whole } else { Kind::Events });
        }
        // Sound, and transcripts as text. All other doors answer with JSON, whatever they call it.
        let gives_bytes = match self.operation {
            Operation::Speech => true,
            Operation::Transcription | Operation::Translation => typed,
            _ => false,
        };
        Ok(if gives_bytes && !is_json(headers) { Kind::Bytes } else { Kind::Whole })
    }

    async fn take_events(
        &self,
        attempt: Attempt<'_>,
        until: Instant,
        live: Live,
        headers: HeaderMap,
        trail: &mut Trail,
    ) -> Result<Box<Answer>, Missed> {
        let dialect = attempt.prepared.way.dialect(self.operation);
        let notes = attempt.prepared.notes.clone();
        let translator = notes.map(|mut notes| {
            // Usage is held back from who did not ask: others may read the same answer.
            notes.include_usage = true;
            let stream = translate::Stream::new(dialect, self.operation.dialect(), notes);
            Box::new(Translating::new(stream, &self.ai.books.gateway))
        });
        let mut events = Events::new(live, dialect, translator);
        let hold = self.ai.config.hold;
        let held_to_the_end = hold.time >= self.ai.config.timeouts.first_token;
        let now = clock::now();
        let start =
            Start { until, bytes: hold.bytes, held_until: if held_to_the_end { until } else { now + hold.time } };
        let started = events.start(&start).await;
        match started {
            Ok(()) => {
                if let Some(at) = events.first_content() {
                    trail.first_content(at);
                }
                Ok(self.served(attempt, headers, Content::Events(Box::new(events)), trail))
            }
            Err(Broken::Error(error)) => {
                let verdict = judge_inside(error.class);
                let status = error.class.status();
                trail.inside_stream(error.class);
                Err(self.miss(attempt, Fault { verdict, status, headers: &headers, error, body: None }, trail))
            }
            Err(Broken::Foreign(malformed)) => {
                let meter = events.meter();
                Err(self.untold(attempt, &malformed, (meter.usage(), meter.made()), trail))
            }
            Err(broken) => {
                attempt.trial.failed();
                trail.missed(match broken {
                    Broken::Timeout => TryOutcome::FirstTokenTimeout,
                    Broken::Malformed | Broken::Foreign(_) => TryOutcome::Invalid,
                    Broken::Truncated | Broken::Error(_) => TryOutcome::Truncated,
                });
                Err(Missed::Member)
            }
        }
    }

    async fn take_whole(
        &self,
        attempt: Attempt<'_>,
        live: Live,
        headers: HeaderMap,
        trail: &mut Trail,
    ) -> Result<Box<Answer>, Missed> {
        // It is held until the client has it, who may be slow.
        let mut held = self.held.another();
        let body = match whole_of(live, MOST_WHOLE, self.plan.timeouts.idle, self.until, Some(&mut held)).await {
            Ok(body) => body,
            Err(NotWhole::Broken(outcome)) => {
                attempt.trial.failed();
                trail.missed(outcome);
                return Err(Missed::Member);
            }
            Err(NotWhole::NoRoom { read }) => return Err(self.without_room(attempt, read, trail)),
        };
        let (length, streams) = (body.len(), self.streams() && convert::turns(self.operation));
        if streams && !turn::room(&mut held, length).await {
            return Err(self.without_room(attempt, length as u64, trail));
        }
        let unread = Unread {
            operation: self.operation,
            dialect: attempt.prepared.way.dialect(self.operation),
            body,
            notes: attempt.prepared.notes.clone(),
            streams,
            metrics: Arc::clone(&self.ai.books.gateway),
        };
        let read = aside(length, move || unread.read()).await;
        let (whole, body, pieces) = match read.unwrap_or(Read::Nothing) {
            Read::Answer(Whole { error: Some(error), .. }, ..) => {
                let verdict = judge_inside(error.class);
                let status = error.class.status();
                return Err(self.miss(attempt, Fault { verdict, status, headers: &headers, error, body: None }, trail));
            }
            Read::Answer(whole, body, pieces) => (whole, body, pieces),
            Read::Foreign(whole, malformed) => {
                return Err(self.untold(attempt, &malformed, (whole.usage, whole.made), trail));
            }
            Read::Nothing => {
                attempt.trial.failed();
                trail.missed(TryOutcome::Invalid);
                return Err(Missed::Member);
            }
        };
        trail.first_content(clock::now());
        if let Some(pieces) = &pieces {
            turn::weighed(&mut held, length, pieces);
        }
        let Whole { usage, made, model, .. } = whole;
        let content = Content::Whole { body, pieces, usage, made, model, held };
        Ok(self.served(attempt, headers, content, trail))
    }

    /// An answer for which others leave no memory. Its provider is well, and what was read of it is owed.
    fn without_room(&self, attempt: Attempt<'_>, read: u64, trail: &mut Trail) -> Missed {
        attempt.trial.succeeded();
        trail.missed(TryOutcome::Truncated);
        let output = estimate::output_tokens(read).min(self.output);
        self.wasted(trail, Some(Usage { input: self.input, output, ..Usage::default() }), Made::default());
        if read > self.held.most_of_one() {
            // It would be as long the next time, and be paid again.
            let message =
                "the answer is longer than all that requests for models may hold here; ask for it as a stream";
            let refusal =
                Refusal::new(StatusCode::BAD_GATEWAY, "PROVIDER_INVALID_ANSWER", message, Termination::UpstreamInvalid);
            return Missed::Final(refusal.for_good());
        }
        Missed::Final(busy())
    }

    /// An answer that the client's dialect has no words for. Its provider is well, and what it used is owed.
    fn untold(
        &self,
        attempt: Attempt<'_>,
        malformed: &Malformed,
        (usage, made): (Option<Usage>, Made),
        trail: &mut Trail,
    ) -> Missed {
        attempt.trial.succeeded();
        self.wasted(trail, usage, made);
        trail.untold(malformed);
        Missed::Target
    }

    fn served(&self, attempt: Attempt<'_>, headers: HeaderMap, content: Content, trail: &mut Trail) -> Box<Answer> {
        trail.served();
        let translated = attempt.prepared.way != Way::Pass;
        let mut fields = passed_fields(&headers, translated);
        if matches!(content, Content::Whole { .. }) && !is_json(&headers) {
            // It was read, and is JSON.
            fields.insert(header::CONTENT_TYPE, JSON);
        }
        // A probe has found out what it was to; what else is passed on as it comes is only good when it was whole.
        let trial = match &content {
            Content::Events(_) | Content::Bytes(_) if !attempt.trial.is_probe() => Some(attempt.trial),
            _ => {
                attempt.trial.succeeded();
                None
            }
        };
        Box::new(Answer { fields, content, trial })
    }
}

/// The coding of a body, where it has one.
fn coding(headers: &HeaderMap) -> Option<&str> {
    let coding = headers.get(header::CONTENT_ENCODING)?.to_str().unwrap_or("unknown").trim();
    (!coding.is_empty() && !coding.eq_ignore_ascii_case("identity")).then_some(coding)
}

/// Without the mark of UTF-8 that some put before JSON, and that RFC 8259 lets readers pass over.
fn unmarked(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// What a whole body is.
enum Read {
    /// An answer, or an error of the provider's, and the body for the client, also as events where these are wanted.
    Answer(Whole, Bytes, Option<Vec<Piece>>),
    /// An answer that the client's dialect has no words for.
    Foreign(Whole, Malformed),
    /// No answer.
    Nothing,
}

/// A whole body that nobody has looked at.
struct Unread {
    operation: Operation,
    /// Of the provider.
    dialect: Dialect,
    body: Bytes,
    notes: Option<translate::Notes>,
    /// Whether events are wanted, and can be made.
    streams: bool,
    metrics: Arc<AiGatewayMetrics>,
}

impl Unread {
    fn read(self) -> Read {
        let Self { operation, dialect, body, notes, streams, metrics } = self;
        let body = body.slice_ref(unmarked(&body));
        let Some(whole) = whole(dialect, operation, &body) else { return Read::Nothing };
        if whole.error.is_some() {
            return Read::Answer(whole, body, None);
        }
        if !whole.answers {
            return Read::Nothing;
        }
        let body = match notes {
            None => body,
            Some(notes) => {
                let _working = metrics.begin(Phase::Translate);
                match translate::answer(dialect, operation.dialect(), &body, &notes) {
                    Ok(translated) => translated.into(),
                    Err(malformed) => {
                        let malformed = malformed.counted(whole.usage.clone());
                        return if malformed.foreign { Read::Foreign(whole, malformed) } else { Read::Nothing };
                    }
                }
            }
        };
        if !streams {
            return Read::Answer(whole, body, None);
        }
        match convert::events(operation, &body) {
            Some(pieces) => Read::Answer(whole, body, Some(pieces)),
            None => Read::Nothing,
        }
    }
}

/// Why a whole body is not there.
enum NotWhole {
    /// It broke off, or is too long.
    Broken(TryOutcome),
    /// Others take all of the memory for bodies; so many bytes of it were read.
    NoRoom { read: u64 },
}

impl From<TryOutcome> for NotWhole {
    fn from(outcome: TryOutcome) -> Self {
        Self::Broken(outcome)
    }
}

/// The whole body, when it is not longer than `most` and there by `until`; no part of it may take longer than `patience`.
pub async fn body_of(live: Live, most: usize, patience: Duration, until: Instant) -> Result<Bytes, TryOutcome> {
    whole_of(live, most, patience, until, None).await.map_err(|not| match not {
        NotWhole::Broken(outcome) => outcome,
        NotWhole::NoRoom { .. } => TryOutcome::Truncated,
    })
}

/// The same of a body that counts in `held` where it is long: it is read on when there is room.
async fn whole_of(
    mut live: Live,
    most: usize,
    patience: Duration,
    until: Instant,
    mut held: Option<&mut Held>,
) -> Result<Bytes, NotWhole> {
    let Some(first) = next(&mut live, patience, until).await? else {
        live.finish().await;
        return Ok(Bytes::new());
    };
    let Some(second) = next(&mut live, patience, until).await? else {
        live.finish().await;
        return Ok(first);
    };
    let mut body = Vec::with_capacity(first.len() + second.len());
    body.extend_from_slice(&first);
    body.extend_from_slice(&second);
    let (mut counted, mut unpaused) = (0, 0);
    while let Some(chunk) = next(&mut live, patience, until).await? {
        let length = body.len() + chunk.len();
        if length > most {
            return Err(TryOutcome::Invalid.into());
        }
        if length > LONG
            && let Some(held) = &mut held
        {
            let more = (length - counted) as u64;
            if length as u64 > held.most_of_one() || !held.wait_for(more).await {
                return Err(NotWhole::NoRoom { read: length as u64 });
            }
            counted = length;
        }
        body.extend_from_slice(&chunk);
        unpaused += chunk.len();
        if unpaused > SLICE {
            // Others of this worker have their turn.
            unpaused = 0;
            tokio::task::yield_now().await;
        }
    }
    live.finish().await;
    Ok(Bytes::from(body))
}

async fn next(live: &mut Live, patience: Duration, until: Instant) -> Result<Option<Bytes>, TryOutcome> {
    let now = clock::now();
    if until <= now {
        return Err(TryOutcome::Timeout);
    }
    live.chunk(until.min(now + patience)).await.map_err(outcome_of)
}

fn outcome_of(cause: Cause) -> TryOutcome {
    match cause {
        Cause::Timeout => TryOutcome::Timeout,
        _ => TryOutcome::Truncated,
    }
}

/// Whether the type of a body is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    has_type(headers, b"application/json")
}

fn has_type(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(wanted)
}
