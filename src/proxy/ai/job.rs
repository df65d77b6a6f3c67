//! The tries of one request: targets in their order, keys and members of each, until one gives content.
//!
//! **Invariants:** a request is tried elsewhere only while its client has seen no content; an error that lies in the
//! request is passed on at once; the number of tries is bounded, and a key that is refused is not one of them, but set
//! aside for everybody.
//!
//! It knows no client: dropped, it ends what it has begun.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answer::{Answer, Content, passed_fields};
use super::body::Body;
use super::call::{self, Live, NoAnswer, Terms};
use super::delivery::Delivery;
use super::events::{Broken, Events, Start};
use super::outgoing::{Draft, To};
use super::trail::{Trail, Try};
use crate::ai::attempt::{Verdict, judge, judge_inside};
use crate::ai::breaker::Trial;
use crate::ai::catalog::{Candidate, Plan};
use crate::ai::dialect::error::{self, ProviderError};
use crate::ai::dialect::translate;
use crate::ai::door::Operation;
use crate::ai::json::Reader;
use crate::ai::meter::whole;
use crate::ai::refusal::Refusal;
use crate::ai::reset;
use crate::ai::usage::Usage;
use crate::ai::way::{Way, way};
use crate::clock;
use crate::observe::ai::{Phase, TryOutcome};
use crate::snapshot::ai::{AiState, ProviderState};
use crate::upstream::connect::Connector;
use crate::upstream::retry::Cause;

/// Bodies that are longer are worked on by a thread that has nothing else to do, so that no stream waits for it.
pub const LONG: usize = 64 << 10;
/// The most of a whole answer that is kept in memory.
const MOST_WHOLE: usize = 64 << 20;
/// The most of a provider's error that is read.
const MOST_ERROR: usize = 64 << 10;
/// For how long a key rests whose quota is used up, when its provider does not say.
const SPENT: Duration = Duration::from_secs(300);
/// For how long a key rests that was asked too often, when its provider does not say.
const LIMITED: Duration = Duration::from_secs(5);
/// Before a target is asked a second time.
const BACKOFF: std::ops::Range<u64> = 50..250;

/// A request, ready to be tried.
pub struct Job {
    /// Whom it may ask.
    pub ai: Arc<AiState>,
    /// The connections of the worker that runs this.
    pub connector: Arc<Connector>,
    /// What is asked for.
    pub operation: Operation,
    /// Its body, as it came.
    pub body: Arc<Body>,
    /// Its fields.
    pub draft: Draft,
    /// Whom to try.
    pub plan: Plan,
    /// Fields of its body that are taken out.
    pub strip: Vec<String>,
    /// The client.
    pub client: IpAddr,
    /// Tokens that its prompt is estimated to have.
    pub input: u64,
    /// Tokens that its answers may have at most, or as many as is usual.
    pub output: u64,
    /// Whether a stream that runs over its budget is cut.
    pub cut_over_budget: bool,
    /// When it began.
    pub began: Instant,
    /// When all has to be over.
    pub until: Instant,
}

/// How a candidate went.
enum Went {
    Answer(Box<Answer>),
    /// The request is at fault: nobody else is asked.
    Final(Refusal),
    /// It cannot, or will not, serve it.
    Next,
    /// It fails, and may not in a moment.
    Again,
}

/// What is asked of one candidate.
struct Prepared {
    way: Way,
    body: Bytes,
    notes: Option<translate::Notes>,
}

/// A try under way.
struct Attempt<'a> {
    provider: &'a Arc<ProviderState>,
    candidate: &'a Candidate,
    prepared: &'a Prepared,
    key: Option<usize>,
    trial: Trial,
}

/// What an answer that is not served means for the tries that follow.
enum Missed {
    Final(Refusal),
    Key,
    Member,
}

/// How one client wants an answer.
pub struct Wanted {
    /// The door it came to.
    pub operation: Operation,
    /// As a stream.
    pub streams: bool,
    /// Usage as an event of its own.
    pub usage: bool,
    /// Comments while it waits.
    pub keepalive: Duration,
    /// The name of who served.
    pub headers: bool,
}

impl Wanted {
    /// A delivery to it.
    pub fn delivery(&self) -> Delivery {
        Delivery::new(self.streams, self.usage, self.keepalive, self.operation.error_dialect())
    }
}

impl Job {
    /// Whether the client wants a stream.
    pub fn streams(&self) -> bool {
        self.body.streams()
    }

    /// Tokens that it may use.
    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// How the client wants the answer.
    pub fn wanted(&self) -> Wanted {
        let asks = match &*self.body {
            Body::Json(asked) => asked.include_usage,
            Body::Form(_) => true,
        };
        Wanted {
            operation: self.operation,
            streams: self.streams(),
            usage: asks || !self.operation.asks_for_usage(),
            keepalive: self.ai.config.keepalive,
            headers: self.ai.config.headers,
        }
    }

    /// Who may serve it: names of providers, and of their models.
    pub fn targets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.plan.candidates.iter().filter_map(|candidate| {
            let provider = self.ai.config.providers.get(candidate.provider)?;
            Some((&*provider.name, &*candidate.model))
        })
    }

    /// What `usage` costs at the target of `served`, in millionths of a dollar; `None` where there is no price.
    pub fn cost(&self, served: &Try, usage: &Usage) -> Option<u64> {
        // Some tell the tier in no answer.
        let usage = Usage { tier: usage.tier.or_else(|| self.body.tier()), ..*usage };
        self.ai.prices.cost(served.provider, &served.model, self.body.model(), &usage)
    }

    /// What it may cost at the dearest of its targets, in millionths of a dollar.
    ///
    /// # Errors
    /// When none of them has a price, and such requests are refused where money is limited.
    pub fn estimated_cost(&self) -> Result<u64, Refusal> {
        let usage = Usage { input: self.input, output: self.output, tier: self.body.tier(), ..Usage::default() };
        let costs = self.plan.candidates.iter().filter_map(|candidate| {
            self.ai.config.providers.get(candidate.provider).filter(|provider| provider.enabled)?;
            let prices = &self.ai.prices;
            Some(prices.estimate(candidate.provider, &candidate.model, self.body.model(), &usage))
        });
        let mut dearest = 0;
        for cost in costs {
            let unpriced = || {
                let message = "the model has no price at this gateway, and what it may cost is limited here";
                Refusal::of_request(StatusCode::BAD_REQUEST, "MODEL_WITHOUT_PRICE", message)
            };
            dearest = dearest.max(cost.ok_or_else(unpriced)?);
        }
        Ok(dearest)
    }

    /// Tries until there is content.
    ///
    /// # Errors
    /// What the client is told when nobody serves it.
    pub async fn run(&self, trail: &mut Trail) -> Result<Box<Answer>, Refusal> {
        let mut again = Vec::new();
        for (index, candidate) in self.plan.candidates.iter().enumerate() {
            match self.candidate(candidate, trail).await {
                Went::Answer(answer) => return Ok(answer),
                Went::Final(refusal) => return Err(refusal),
                Went::Next => {}
                Went::Again => again.push(index),
            }
            if !self.may_try(trail) {
                break;
            }
        }
        // Once more, where it may have been a moment's weakness (T40: once, and not at the same time as all others).
        let refusal = trail.refusal();
        if !again.is_empty() && self.may_try(trail) {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(BACKOFF))).await;
            for candidate in again.into_iter().filter_map(|index| self.plan.candidates.get(index)) {
                if !self.may_try(trail) {
                    break;
                }
                match self.candidate(candidate, trail).await {
                    Went::Answer(answer) => return Ok(answer),
                    Went::Final(refusal) => return Err(refusal),
                    Went::Next | Went::Again => {}
                }
            }
        }
        Err(refusal)
    }

    fn may_try(&self, trail: &Trail) -> bool {
        trail.counted() < self.ai.config.attempts && clock::now() < self.until
    }

    /// Tries one target: its keys, and the members of its pool.
    async fn candidate(&self, candidate: &Candidate, trail: &mut Trail) -> Went {
        let Some(config) = self.ai.config.providers.get(candidate.provider) else { return Went::Next };
        let provider = self.ai.providers.get(candidate.provider).and_then(Option::as_ref);
        let Some(provider) = provider.filter(|_| config.enabled) else {
            trail.disabled(config);
            return Went::Next;
        };
        let prepared = match self.prepare(candidate, provider).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                trail.cannot(refusal);
                return Went::Next;
            }
        };
        trail.begin_target();
        let mut tried_keys = Vec::new();
        let mut again = false;
        while self.may_try(trail) {
            let now = clock::now();
            let choosing = self.ai.books.gateway.begin(Phase::Choose);
            let key = match provider.keys.pick(now, &tried_keys) {
                Some(key) => Some(key),
                None if config.keys.is_empty() => None,
                None => {
                    if tried_keys.is_empty() {
                        trail.keys_out(provider, now);
                    }
                    break;
                }
            };
            let trial = match self.admit(provider, key, candidate, now) {
                Ok(trial) => trial,
                Err(retry_in) => {
                    trail.open(provider, retry_in);
                    match key {
                        Some(key) => {
                            provider.keys.released(key);
                            tried_keys.push(key);
                        }
                        None => break,
                    }
                    continue;
                }
            };
            drop(choosing);
            let attempt = Attempt { provider, candidate, prepared: &prepared, key, trial };
            match self.attempt(attempt, trail).await {
                Ok(answer) => return Went::Answer(answer),
                Err(Missed::Final(refusal)) => return Went::Final(refusal),
                Err(Missed::Key) => match key {
                    Some(key) => tried_keys.push(key),
                    None => break,
                },
                Err(Missed::Member) => {
                    again = true;
                    if trail.upstream.tried.len() >= provider.route.pool.members().len() {
                        break;
                    }
                }
            }
        }
        if again { Went::Again } else { Went::Next }
    }

    fn admit(
        &self,
        provider: &ProviderState,
        key: Option<usize>,
        candidate: &Candidate,
        now: Instant,
    ) -> Result<Trial, Duration> {
        let (settings, name) = (self.ai.config.breaker.as_ref(), &provider.config.name);
        let admitted = self.ai.breakers.admit(settings, name, provider.key_name(key), &candidate.model, now);
        admitted.map_err(|open| open.retry_in)
    }

    /// The body for `candidate`, in the dialect of its provider.
    async fn prepare(&self, candidate: &Candidate, provider: &ProviderState) -> Result<Prepared, Refusal> {
        let unsupported = || {
            let message = format!("the provider of this model does not offer {}", self.operation.path());
            Refusal::of_request(StatusCode::BAD_REQUEST, "UNSUPPORTED_OPERATION", message)
        };
        let way = way(&provider.config, self.operation).ok_or_else(unsupported)?;
        let asked = match &*self.body {
            Body::Json(asked) => asked,
            Body::Form(form) => return Ok(Prepared { way, body: form.with_model(&candidate.model), notes: None }),
        };
        let mut edit = asked.edit();
        for name in &self.strip {
            edit = edit.remove(name);
        }
        let Way::Translate(dialect) = way else {
            edit = edit.model(&candidate.model);
            // Without it a stream would not tell what it used; a client that did not ask does not see it.
            if asked.stream && self.operation.asks_for_usage() {
                edit = edit.include_usage();
            }
            return Ok(Prepared { way, body: edit.build(), notes: None });
        };
        let working = self.ai.books.gateway.begin(Phase::Translate);
        let (body, client, model) = (edit.build(), self.operation.dialect(), Arc::clone(&candidate.model));
        let translate = move || translate::request(client, dialect, &body, &model);
        let translated = if asked.body().len() > LONG {
            // No stream of this worker waits for it.
            tokio::task::spawn_blocking(translate).await.map_err(|_| Refusal::internal())?
        } else {
            translate()
        };
        drop(working);
        let translated = translated.map_err(|cannot| {
            Refusal::of_request(StatusCode::BAD_REQUEST, "INVALID_REQUEST", cannot.message).param(cannot.param)
        })?;
        Ok(Prepared { way, body: Bytes::from(translated.body), notes: Some(translated.notes) })
    }

    async fn attempt(&self, attempt: Attempt<'_>, trail: &mut Trail) -> Result<Box<Answer>, Missed> {
        let Attempt { provider, candidate, prepared, key, trial } = attempt;
        let began = clock::now();
        let field = match key.map(|key| (key, provider.key_field(key, began))) {
            Some((_, Ok(field))) => Some(field),
            Some((key, Err(_))) => {
                provider.keys.refused(key, began, self.ai.config.key_cooldown);
                trail.key_refused(provider);
                return Err(Missed::Key);
            }
            None => None,
        };
        let to = To { provider, way: prepared.way, model: &candidate.model, streams: self.streams(), key: field };
        let outgoing = self.draft.outgoing(to, prepared.body.clone());
        let outgoing = outgoing.map_err(|_| Missed::Final(Refusal::internal()))?;
        let timeouts = self.plan.timeouts;
        let patience = if self.streams() { timeouts.first_token } else { timeouts.idle };
        let until = began.checked_add(patience).map_or(self.until, |until| until.min(self.until));
        let terms = Terms {
            client: self.client,
            path_and_query: &self.draft.path,
            headers: self.draft.headers(),
            tokens: self.tokens(),
            timeouts,
            until,
        };
        if let Some(key) = key {
            provider.keys.used(key);
        }
        trail.began(provider, candidate, key);
        trail.upstream.connect = None;
        let called = call::call(provider, &self.connector, &outgoing, &terms, &mut trail.upstream).await;
        if let Some(connect) = trail.upstream.connect {
            self.ai.books.gateway.phase(Phase::Connect, connect);
        }
        let live = match called {
            Ok(live) => live,
            Err(none) => {
                if matches!(none, NoAnswer::Failed(cause) if cause != Cause::Local) {
                    trial.failed();
                }
                if let Some(key) = key {
                    provider.keys.released(key);
                }
                trail.missed(outcome_of(none));
                return Err(if none == NoAnswer::NoMember || none == NoAnswer::Busy {
                    Missed::Key
                } else {
                    Missed::Member
                });
            }
        };
        let member = live.member();
        let answered = Answered { provider, prepared, key, trial, until };
        let taken = self.take(answered, live, trail).await;
        if matches!(taken, Err(Missed::Member)) {
            // Another member of the pool may do better; this one is not asked twice in a row.
            trail.upstream.tried.push(member);
        }
        taken
    }

    /// Takes in an answer whose header block is there.
    async fn take(&self, answered: Answered<'_>, live: Live, trail: &mut Trail) -> Result<Box<Answer>, Missed> {
        let status = live.status();
        if let Some(key) = answered.key
            && !matches!(status.as_u16(), 401 | 403)
        {
            answered.provider.keys.succeeded(key, clock::now());
        }
        let headers = live.header().map(|header| header.headers.clone()).unwrap_or_default();
        if !status.is_success() {
            let body = body_of(live, MOST_ERROR, Duration::from_secs(5)).await.unwrap_or_default();
            let dialect = answered.prepared.way.dialect(self.operation);
            let error = error::read(dialect, status, &body);
            let verdict = judge(status, error.class);
            return Err(self.miss(
                answered,
                Fault { verdict, status, headers: &headers, error, body: Some(body) },
                trail,
            ));
        }
        if let Some(key) = answered.key
            && let Some(rest) = reset::proactive(&headers, clock::wall())
        {
            answered.provider.keys.spares(key, clock::now() + rest);
        }
        if is_events(&headers) {
            return self.take_events(answered, live, headers, trail).await;
        }
        if !is_json(&headers) {
            return Ok(self.served(answered, headers, Content::Bytes(live), trail));
        }
        self.take_whole(answered, live, headers, trail).await
    }

    async fn take_events(
        &self,
        answered: Answered<'_>,
        live: Live,
        headers: HeaderMap,
        trail: &mut Trail,
    ) -> Result<Box<Answer>, Missed> {
        let dialect = answered.prepared.way.dialect(self.operation);
        let notes = answered.prepared.notes.clone();
        let translator = notes.map(|notes| Box::new(translate::Stream::new(dialect, self.operation.dialect(), notes)));
        let mut events = Events::new(live, dialect, translator);
        let hold = self.ai.config.hold;
        let held_to_the_end = hold.time >= self.ai.config.timeouts.first_token;
        let now = clock::now();
        let start = Start {
            until: answered.until,
            bytes: hold.bytes,
            held_until: if held_to_the_end { answered.until } else { now + hold.time },
        };
        let started = events.start(&start).await;
        match started {
            Ok(()) => {
                trail.first_content();
                Ok(self.served(answered, headers, Content::Events(Box::new(events)), trail))
            }
            Err(Broken::Error(error)) => {
                let verdict = judge_inside(error.class);
                let status = error.class.status();
                trail.inside_stream(error.class);
                Err(self.miss(answered, Fault { verdict, status, headers: &headers, error, body: None }, trail))
            }
            Err(broken) => {
                answered.trial.failed();
                trail.missed(match broken {
                    Broken::Timeout => TryOutcome::FirstTokenTimeout,
                    Broken::Malformed => TryOutcome::Invalid,
                    Broken::Truncated | Broken::Error(_) => TryOutcome::Truncated,
                });
                Err(Missed::Member)
            }
        }
    }

    async fn take_whole(
        &self,
        answered: Answered<'_>,
        live: Live,
        headers: HeaderMap,
        trail: &mut Trail,
    ) -> Result<Box<Answer>, Missed> {
        let left = self.until.saturating_duration_since(clock::now());
        let body = match body_of(live, MOST_WHOLE, self.plan.timeouts.idle.min(left)).await {
            Ok(body) => body,
            Err(outcome) => {
                answered.trial.failed();
                trail.missed(outcome);
                return Err(Missed::Member);
            }
        };
        let dialect = answered.prepared.way.dialect(self.operation);
        if !is_whole_json(&body).await {
            answered.trial.failed();
            trail.missed(TryOutcome::Invalid);
            return Err(Missed::Member);
        }
        let whole = whole(dialect, &body);
        if let Some(error) = whole.error {
            let verdict = judge_inside(error.class);
            let status = error.class.status();
            return Err(self.miss(answered, Fault { verdict, status, headers: &headers, error, body: None }, trail));
        }
        let translated = match &answered.prepared.notes {
            Some(notes) => {
                let _working = self.ai.books.gateway.begin(Phase::Translate);
                translate::answer(dialect, self.operation.dialect(), &body, notes).map(Bytes::from)
            }
            None => Ok(body),
        };
        let Ok(body) = translated else {
            answered.trial.failed();
            trail.missed(TryOutcome::Invalid);
            return Err(Missed::Member);
        };
        trail.first_content();
        let content = Content::Whole { body, usage: whole.usage, chars: whole.output_chars, model: whole.model };
        Ok(self.served(answered, headers, content, trail))
    }

    fn served(&self, answered: Answered<'_>, headers: HeaderMap, content: Content, trail: &mut Trail) -> Box<Answer> {
        trail.served();
        let translated = answered.prepared.way != Way::Pass;
        let fields = passed_fields(&headers, translated);
        // A probe has found out what it was to; another stream is only good when it was whole.
        let trial = match &content {
            Content::Events(_) if !answered.trial.is_probe() => Some(answered.trial),
            _ => {
                answered.trial.succeeded();
                None
            }
        };
        Box::new(Answer { fields, content, trial })
    }

    /// What an answer that is not served means.
    fn miss(&self, answered: Answered<'_>, fault: Fault<'_>, trail: &mut Trail) -> Missed {
        let Answered { provider, prepared, key, trial, .. } = answered;
        let Fault { verdict, status, headers, error, body } = fault;
        let (now, wall) = (clock::now(), clock::wall());
        let rest = reset::rest_of(headers, wall).or_else(|| reset::rest_in(body.as_deref().unwrap_or_default()));
        match verdict {
            Verdict::Serve | Verdict::Fault => {
                trial.succeeded();
                trail.fault();
                Missed::Final(self.fault(prepared, status, headers, &error, body))
            }
            Verdict::KeyRefused => {
                match key {
                    Some(key) => {
                        provider.keys.refused(key, now, self.ai.config.key_cooldown);
                        trail.key_refused(provider);
                    }
                    None => trail.refused_without_key(provider),
                }
                Missed::Key
            }
            Verdict::KeySpent | Verdict::Limited => {
                let usual = if verdict == Verdict::Limited { LIMITED } else { SPENT };
                let rest = rest.unwrap_or(usual);
                if let Some(key) = key {
                    provider.keys.rests(key, now + rest);
                }
                trail.limited(provider, rest);
                Missed::Key
            }
            Verdict::Down => {
                trial.failed();
                trail.down(status, error.class, rest);
                Missed::Member
            }
        }
    }

    /// The caller's own fault, in its own dialect.
    fn fault(
        &self,
        prepared: &Prepared,
        status: StatusCode,
        headers: &HeaderMap,
        error: &ProviderError,
        body: Option<Bytes>,
    ) -> Refusal {
        let message = error.message.clone().unwrap_or_else(|| "the provider does not accept this request".to_owned());
        let mut refusal = Refusal::of_request(status, error.code(), message);
        refusal.termination = crate::observe::Termination::Completed;
        let body = body.filter(|body| prepared.way == Way::Pass && !body.is_empty() && is_json(headers));
        refusal.passed(body)
    }
}

/// An answer that is not served.
struct Fault<'a> {
    verdict: Verdict,
    status: StatusCode,
    headers: &'a HeaderMap,
    error: ProviderError,
    /// As it came, when it was a body of its own.
    body: Option<Bytes>,
}

/// What is known of a try whose answer has begun.
struct Answered<'a> {
    provider: &'a Arc<ProviderState>,
    prepared: &'a Prepared,
    key: Option<usize>,
    trial: Trial,
    /// When its first content has to be there.
    until: Instant,
}

/// The whole body, when it is not longer than `most`.
pub(super) async fn body_of(mut live: Live, most: usize, patience: Duration) -> Result<Bytes, TryOutcome> {
    let Some(first) = next(&mut live, patience).await? else {
        live.finish().await;
        return Ok(Bytes::new());
    };
    let Some(second) = next(&mut live, patience).await? else {
        live.finish().await;
        return Ok(first);
    };
    let mut body = Vec::with_capacity(first.len() + second.len());
    body.extend_from_slice(&first);
    body.extend_from_slice(&second);
    while let Some(chunk) = next(&mut live, patience).await? {
        if body.len() + chunk.len() > most {
            return Err(TryOutcome::Invalid);
        }
        body.extend_from_slice(&chunk);
    }
    live.finish().await;
    Ok(Bytes::from(body))
}

/// Whether a body is JSON to its end: half an answer is none.
async fn is_whole_json(body: &Bytes) -> bool {
    fn check(body: &[u8]) -> bool {
        let mut reader = Reader::new(body);
        std::str::from_utf8(body).is_ok() && reader.skip().is_ok() && reader.end().is_ok()
    }
    if body.len() <= LONG {
        return check(body);
    }
    let body = body.clone();
    tokio::task::spawn_blocking(move || check(&body)).await.unwrap_or(false)
}

async fn next(live: &mut Live, patience: Duration) -> Result<Option<Bytes>, TryOutcome> {
    live.chunk(patience).await.map_err(|cause| match cause {
        Cause::Timeout => TryOutcome::Timeout,
        _ => TryOutcome::Truncated,
    })
}

fn outcome_of(none: NoAnswer) -> TryOutcome {
    match none {
        NoAnswer::Failed(Cause::Connect | Cause::ConnectTimeout | Cause::Local) => TryOutcome::ConnectFailure,
        NoAnswer::Failed(Cause::Timeout) => TryOutcome::Timeout,
        NoAnswer::Failed(Cause::Reset | Cause::Status(_)) => TryOutcome::Reset,
        NoAnswer::Failed(Cause::Invalid) => TryOutcome::Invalid,
        NoAnswer::NoMember | NoAnswer::Busy => TryOutcome::NoMember,
    }
}

fn is_events(headers: &HeaderMap) -> bool {
    has_type(headers, b"text/event-stream")
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_none() || has_type(headers, b"application/json")
}

fn has_type(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(wanted)
}
