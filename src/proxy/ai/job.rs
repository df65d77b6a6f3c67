//! The tries of one request: targets in their order, keys and members of each, until one gives content.
//!
//! **Invariants:** a request is tried elsewhere only while its client has seen no content; an error that lies in the
//! request is passed on at once; the number of tries is bounded, and a key that is refused is not one of those that an
//! operator counts, but set aside for everybody.
//!
//! It knows no client: dropped, it ends what it has begun.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::account::Sent;
use super::answer::Answer;
use super::body::{Body, Held};
use super::delivery::Delivery;
use super::outgoing::Draft;
use super::trail::{Trail, Try};
use crate::ai::breaker::Trial;
use crate::ai::catalog::{Candidate, Plan};
use crate::ai::door::Operation;
use crate::ai::estimate::Made;
use crate::ai::refusal::Refusal;
use crate::ai::usage::Usage;
use crate::clock;
use crate::config::ai::MAX_ATTEMPTS;
use crate::observe::ai::Phase;
use crate::snapshot::ai::{AiState, ProviderState};
use crate::upstream::connect::Connector;
use attempt::{Attempt, Missed};

pub use prepare::busy;
pub use take::{body_of, is_json};

mod attempt;
mod prepare;
mod take;

/// Bodies that are longer are worked on by a thread that has nothing else to do, so that no stream waits for it.
pub const LONG: usize = 64 << 10;

/// Works on what is so many bytes long, on such a thread where that is [`LONG`]. `None`: the work has panicked.
pub async fn aside<R: Send + 'static>(length: usize, work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    if length <= LONG { Some(work()) } else { tokio::task::spawn_blocking(work).await.ok() }
}
/// Second tries at a target after it had a request, as a share of all requests for it, percent (row T39).
const RETRIES: u32 = 20;
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
    /// What that takes of the memory for bodies.
    pub held: Held,
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
    /// Whether a provider has all of it.
    pub sent: Sent,
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
    /// None yet, for what is made of an answer.
    pub held: Held,
}

impl Wanted {
    /// A delivery to it.
    pub fn delivery(&self) -> Delivery {
        Delivery::new(self.streams, self.usage, self.keepalive, self.operation.error_dialect())
    }
}

impl Job {
    /// When the next part of an answer that has begun has to be there; `None`: the time for all of it is over, also for a
    /// provider that never pauses and never ends.
    pub fn next_by(&self) -> Option<Instant> {
        let (now, timeouts) = (clock::now(), &self.plan.timeouts);
        let next = now + timeouts.idle;
        if timeouts.bounds_streams { (now < self.until).then(|| self.until.min(next)) } else { Some(next) }
    }

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
            held: self.held.another(),
        }
    }

    /// Who may serve it, in the order of the configuration: names of providers, and of their models.
    pub fn targets(&self) -> Vec<(&str, &str)> {
        let mut candidates: Vec<&Candidate> = self.plan.candidates.iter().collect();
        candidates.sort_unstable_by_key(|candidate| candidate.place);
        let named = candidates.into_iter().filter_map(|candidate| {
            let provider = self.ai.config.providers.get(candidate.provider)?;
            Some((&*provider.name, &*candidate.model))
        });
        named.collect()
    }

    /// Takes down what an answer used that no client gets, of the try under way.
    fn wasted(&self, trail: &mut Trail, usage: Option<Usage>, made: Made) {
        if let (Some(usage), Some(one)) = (usage, trail.last_try()) {
            self.sent.wasted(self, one, usage, made);
        }
    }

    /// What `usage` costs at the target of `served`, in millionths of a dollar; `None` where there is no price.
    pub fn cost(&self, served: &Try, usage: &Usage) -> Option<u64> {
        // Some tell the tier in no answer.
        let tier = usage.tier.or_else(|| self.body.tier());
        let mut usage = Usage { tier, ..usage.clone() }.at(self.operation);
        if usage.cache_write > 0 && usage.cache_time_unsaid && self.body.asks_for_an_hour() {
            usage.cache_write_1h = usage.cache_write;
        }
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

    /// What its prompt costs at the dearest of its targets, in millionths of a dollar.
    pub fn prompt_cost(&self) -> u64 {
        let usage = Usage { input: self.input, tier: self.body.tier(), ..Usage::default() }.at(self.operation);
        let costs = self.plan.candidates.iter().filter_map(|candidate| {
            self.ai.prices.cost(candidate.provider, &candidate.model, self.body.model(), &usage)
        });
        costs.max().unwrap_or(0)
    }

    /// Tries until there is content.
    ///
    /// # Errors
    /// What the client is told when nobody serves it.
    pub async fn run(&self, trail: &mut Trail) -> Result<Box<Answer>, Refusal> {
        let mut again = Vec::new();
        for (index, candidate) in self.plan.candidates.iter().enumerate() {
            match self.candidate(candidate, self.usable_after(index), trail).await {
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
                if !self.may_ask_again(candidate) {
                    continue;
                }
                match self.candidate(candidate, 0, trail).await {
                    Went::Answer(answer) => return Ok(answer),
                    Went::Final(refusal) => return Err(refusal),
                    Went::Next | Went::Again => {}
                }
            }
        }
        Err(refusal)
    }

    fn may_try(&self, trail: &Trail) -> bool {
        let may_follow = trail.counted() < self.ai.config.attempts && trail.count < MAX_ATTEMPTS;
        may_follow && clock::now() < self.until
    }

    /// How many of the targets behind this one may be asked at all.
    fn usable_after(&self, index: usize) -> u32 {
        let behind = self.plan.candidates.iter().skip(index + 1);
        u32::try_from(behind.filter_map(|candidate| self.provider(candidate)).count()).unwrap_or(u32::MAX)
    }

    /// The provider of a target, where it may be asked.
    fn provider(&self, candidate: &Candidate) -> Option<&Arc<ProviderState>> {
        self.ai.providers.get(candidate.provider)?.as_ref().filter(|provider| provider.config.enabled)
    }

    /// Whether so few second tries were made at the target of late that this one may be.
    fn may_ask_again(&self, candidate: &Candidate) -> bool {
        self.provider(candidate).is_some_and(|provider| provider.route.budget.take(RETRIES, clock::now()))
    }

    /// Tries one target: its keys, and the members of its pool, but for as many tries as there are targets `behind` it, which
    /// are those that a failure here is to fall back on.
    async fn candidate(&self, candidate: &Candidate, behind: u32, trail: &mut Trail) -> Went {
        let Some(provider) = self.provider(candidate) else {
            self.ai.config.providers.get(candidate.provider).into_iter().for_each(|config| trail.disabled(config));
            return Went::Next;
        };
        let mut prepared = match self.prepare(candidate, provider).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                trail.cannot(provider, candidate, refusal);
                return Went::Next;
            }
        };
        trail.begin_target();
        let budget = &provider.route.budget;
        budget.request(clock::now());
        let mut tried_keys = Vec::new();
        let (mut again, mut retried) = (false, false);
        // One in any case.
        let most = self.ai.config.attempts.saturating_sub(behind).max(trail.counted().saturating_add(1));
        while self.may_try(trail) && trail.counted() < most {
            let Some((key, trial, began)) = self.choose(provider, candidate, &mut tried_keys, trail) else { break };
            let attempt = Attempt { provider, candidate, prepared: &prepared, key, trial, began };
            match self.attempt(attempt, trail).await {
                Ok(answer) => return Went::Answer(answer),
                Err(Missed::Final(refusal)) => return Went::Final(refusal),
                Err(Missed::Key) => match key {
                    Some(key) => tried_keys.push(key),
                    None => break,
                },
                Err(Missed::Target) => return Went::Next,
                Err(Missed::Pool) => break,
                Err(Missed::Less) => match self.prepare(candidate, provider).await {
                    Ok(less) => prepared = less,
                    Err(refusal) => return Went::Final(refusal),
                },
                Err(Missed::Member) => {
                    // One that took too long would again, and be paid twice.
                    again = !trail.timed_out();
                    if trail.upstream.tried.len() >= provider.route.pool.members().len() {
                        break;
                    }
                    // A member that had the request may have worked on it: one other may, and not when all of them fail (T39, T40).
                    if !trail.failed_to_connect() {
                        again = false;
                        if retried || !budget.take(RETRIES, clock::now()) {
                            break;
                        }
                        retried = true;
                    }
                }
            }
        }
        if again { Went::Again } else { Went::Next }
    }

    /// The next key to ask with, with leave of its breaker, and since when; `None`: there is none.
    fn choose(
        &self,
        provider: &Arc<ProviderState>,
        candidate: &Candidate,
        tried: &mut Vec<usize>,
        trail: &mut Trail,
    ) -> Option<(Option<usize>, Trial, Instant)> {
        loop {
            let choosing = self.ai.books.gateway.begin(Phase::Choose);
            let now = choosing.began();
            let key = match provider.keys.pick(&candidate.model, now, tried) {
                Some(key) => Some(key),
                None if provider.config.keys.is_empty() => None,
                None => {
                    if tried.is_empty() {
                        trail.keys_out(provider, candidate, now);
                    }
                    return None;
                }
            };
            match self.admit(provider, key, candidate, now) {
                Ok(trial) => return Some((key, trial, choosing.over())),
                Err(retry_in) => {
                    trail.open(provider, candidate, key, retry_in);
                    let key = key?;
                    provider.keys.released(key, &candidate.model);
                    tried.push(key);
                }
            }
        }
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
}
