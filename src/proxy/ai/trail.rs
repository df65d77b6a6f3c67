//! The trail of a request through its tries: what was asked of whom, why it went on, and what the client is told when
//! nobody served it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::events::Events;
use crate::ai::catalog::Candidate;
use crate::ai::dialect::error::Class;
use crate::ai::dialect::translate::Malformed;
use crate::ai::door::Operation;
use crate::ai::refusal::Refusal;
use crate::ai::usage::Usage;
use crate::clock;
use crate::config::ai::Provider;
use crate::observe::Termination;
use crate::observe::ai::TryOutcome;
use crate::proxy::context::UpstreamRecord;
use crate::snapshot::ai::ProviderState;
use told::{blocked, down, limited, missed, seconds};

pub(super) use told::untold;

mod told;

/// The most tries that are remembered one by one.
const MOST_REMEMBERED: usize = 32;

/// Where providers say what they call a request: OpenAI and its like, Anthropic, Azure.
static REQUEST_IDS: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("apim-request-id"),
];

/// One try.
#[derive(Debug, Clone)]
pub struct Try {
    /// Index of the provider.
    pub provider: usize,
    /// Its name.
    pub name: Arc<str>,
    /// The key it was asked with, when it has one.
    pub key: Option<Arc<str>>,
    /// What it calls the model.
    pub model: Arc<str>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<TryOutcome>,
    /// What the provider calls the request.
    pub id: Option<HeaderValue>,
}

impl Try {
    /// How it ended; one that runs no more without an end was left by the client.
    pub fn told(&self) -> TryOutcome {
        self.outcome.unwrap_or(TryOutcome::Cancelled)
    }

    /// Whether `next` is another target or key. One that was passed over before a key was chosen is no other key.
    pub fn went_on_to(&self, next: &Self) -> bool {
        let other_key = next.key.is_some() && next.key != self.key;
        other_key || (self.provider, &self.model) != (next.provider, &next.model)
    }

    fn was_asked(&self) -> bool {
        !self.outcome.is_some_and(TryOutcome::is_passed_over)
    }
}

/// What became of a request so far.
pub struct Trail {
    /// What is asked for.
    pub operation: Option<Operation>,
    /// The model, as the client named it.
    pub model: Option<Arc<str>>,
    /// The same, as metrics name it.
    pub label: Option<Arc<str>>,
    /// Whether a stream is asked for.
    pub streams: bool,
    /// The tries, in their order.
    pub tries: Vec<Try>,
    /// Those in which a provider was asked, those that are not remembered included.
    pub count: u32,
    /// What the members were like.
    pub upstream: UpstreamRecord,
    /// When the first try began.
    pub began: Option<Instant>,
    /// From the request's end to the first content.
    pub first_content: Option<Duration>,
    /// When the first content came.
    pub first_at: Option<Instant>,
    /// When the last content came.
    pub last_content: Option<Instant>,
    /// The tokens it used, as the provider counted them or as they were estimated.
    pub usage: Option<Usage>,
    /// Whether the provider did not count.
    pub estimated: bool,
    /// What it cost, in millionths of a dollar, where there is a price.
    pub cost: Option<u64>,
    /// What the provider says it served.
    pub served_model: Option<Box<str>>,
    /// The stream broke off after a part of it had gone out.
    pub broken: bool,
    /// Tries that do not count against the most of a request.
    uncounted: u32,
    /// What the client is told.
    last: Option<Last>,
    /// That a target takes no part of a conversation alone, as Anthropic's SDK can send it.
    without_thread: Option<Refusal>,
    /// What the last provider that failed said, for the log.
    pub said: Option<String>,
}

/// Why the last try that says something was none. The later ones of a list win over earlier ones of their kind.
#[derive(Debug, Clone)]
enum Last {
    Disabled(Arc<str>),
    Cannot(Refusal),
    Open {
        provider: Arc<str>,
        retry_in: Duration,
    },
    Keys {
        provider: Arc<str>,
        refused: bool,
        wait: Option<Duration>,
    },
    Limited {
        provider: Arc<str>,
        wait: Duration,
    },
    Spent {
        provider: Arc<str>,
        wait: Duration,
    },
    Down {
        status: StatusCode,
        class: Class,
        wait: Option<Duration>,
    },
    NoMember {
        busy: bool,
    },
    Missed(TryOutcome),
    /// The request is more than it takes at any time.
    Unfit(Refusal),
    /// Something before its provider did not let it through.
    Blocked,
    /// Its answer could not be told to the client, who learns why.
    Untold(Malformed),
}

impl Trail {
    /// A request at this door.
    pub fn at(started: Instant, operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::new(started) }
    }

    /// Nothing yet. `started`: when the request began.
    pub fn new(started: Instant) -> Self {
        Self {
            operation: None,
            model: None,
            label: None,
            streams: false,
            tries: Vec::new(),
            count: 0,
            upstream: UpstreamRecord { started: Some(started), ..UpstreamRecord::default() },
            began: None,
            first_content: None,
            first_at: None,
            last_content: None,
            usage: None,
            estimated: false,
            cost: None,
            served_model: None,
            broken: false,
            uncounted: 0,
            last: None,
            without_thread: None,
            said: None,
        }
    }

    /// Tries that count against the most of a request: a key that is refused costs none, nor does what no client asked for.
    pub fn counted(&self) -> u32 {
        self.count.saturating_sub(self.uncounted)
    }

    /// For which model, and how.
    pub(super) fn asked(&mut self, model: &Arc<str>, streams: bool) {
        self.model = Some(Arc::clone(model));
        self.streams = streams;
    }

    /// Provider and model of the try that serves.
    pub(super) fn target(&self) -> Option<(Arc<str>, Arc<str>)> {
        self.last_try().map(|last| (Arc::clone(&last.name), Arc::clone(&last.model)))
    }

    /// The client left.
    pub(super) fn cancelled(&mut self) {
        if !self.broken
            && let Some(last) = self.tries.last_mut()
            && matches!(last.outcome, None | Some(TryOutcome::Answered))
        {
            last.outcome = Some(TryOutcome::Cancelled);
        }
    }

    /// The stream, or what else was passed on as it came, broke after a part of it had gone out.
    pub(super) fn broke(&mut self) {
        self.broken = true;
    }

    /// What a stream told.
    pub(super) fn streamed(&mut self, events: &Events) {
        if let Some(at) = events.first_content() {
            self.first_content(at);
        }
        self.served_model = events.meter().model().map(Into::into);
        self.last_content = Some(clock::now());
    }

    /// The try that serves, or the last one in which a provider was asked.
    pub fn last_try(&self) -> Option<&Try> {
        self.tries.iter().rev().find(|one| one.was_asked())
    }

    pub(super) fn begin_target(&mut self) {
        self.upstream.tried.clear();
    }

    pub(super) fn began(&mut self, provider: &ProviderState, candidate: &Candidate, key: Option<usize>, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.began.get_or_insert(now);
        self.remember(provider, candidate, key, None);
    }

    /// Whether the last try never reached the provider.
    pub(super) fn failed_to_connect(&self) -> bool {
        self.tries.last().and_then(|last| last.outcome) == Some(TryOutcome::ConnectFailure)
    }

    /// Whether the last try had no answer in time.
    pub(super) fn timed_out(&self) -> bool {
        let outcome = self.tries.last().and_then(|last| last.outcome);
        matches!(outcome, Some(TryOutcome::Timeout | TryOutcome::FirstTokenTimeout))
    }

    fn remember(
        &mut self,
        provider: &ProviderState,
        candidate: &Candidate,
        key: Option<usize>,
        outcome: Option<TryOutcome>,
    ) {
        if self.tries.len() == MOST_REMEMBERED {
            self.tries.remove(MOST_REMEMBERED / 2);
        }
        let config = &provider.config;
        self.tries.push(Try {
            provider: candidate.provider,
            name: Arc::clone(&config.name),
            key: key.and_then(|key| config.keys.get(key)).map(|key| Arc::clone(&key.name)),
            model: Arc::clone(&candidate.model),
            outcome,
            id: None,
        });
    }

    /// Takes down what the provider calls the request that it answers with these fields.
    pub(super) fn named(&mut self, headers: &HeaderMap) {
        if let Some(one) = self.tries.last_mut() {
            one.id = REQUEST_IDS.iter().find_map(|name| headers.get(name)).cloned();
        }
    }

    pub(super) fn missed(&mut self, outcome: TryOutcome) {
        self.ended(outcome);
        self.last = Some(Last::Missed(outcome));
    }

    /// The connection was closed before the request came, which is sent again.
    pub(super) fn just_closed(&mut self) {
        self.ended(TryOutcome::Reset);
        self.uncounted += 1;
    }

    /// The provider does not know something that no client has asked for: that is no try of the client's.
    pub(super) fn asked_too_much(&mut self) {
        self.ended(TryOutcome::Status4xx);
        self.uncounted += 1;
    }

    /// The provider takes no request such as this one; what the client is told if nobody does.
    pub(super) fn unfit(&mut self, refusal: Refusal) {
        self.ended(match refusal.status {
            StatusCode::TOO_MANY_REQUESTS => TryOutcome::Status429,
            status if status.is_server_error() => TryOutcome::Status5xx,
            _ => TryOutcome::Status4xx,
        });
        self.last = Some(Last::Unfit(refusal));
    }

    /// Something before the provider did not let the request through.
    pub(super) fn blocked(&mut self) {
        self.ended(TryOutcome::Status4xx);
        self.last = Some(Last::Blocked);
    }

    /// The client's dialect has no words for the answer.
    pub(super) fn untold(&mut self, malformed: &Malformed) {
        self.ended(TryOutcome::Invalid);
        self.last = Some(Last::Untold(malformed.clone()));
    }

    /// The try that began asked nobody: its pool has no member for it, or all are `busy`. It counts as none.
    pub(super) fn no_member(&mut self, busy: bool) {
        self.count = self.count.saturating_sub(1);
        if self.upstream.tried.is_empty() {
            self.ended(TryOutcome::NoMember);
            self.last = Some(Last::NoMember { busy });
        } else {
            // Its members were asked, and what became of that was told.
            self.tries.pop();
        }
    }

    pub(super) fn served(&mut self) {
        self.ended(TryOutcome::Answered);
    }

    pub(super) fn fault(&mut self) {
        self.ended(TryOutcome::Status4xx);
    }

    pub(super) fn down(&mut self, status: StatusCode, class: Class, wait: Option<Duration>) {
        self.ended(outcome_of(status, class));
        self.last = Some(Last::Down { status, class, wait });
    }

    pub(super) fn inside_stream(&mut self, class: Class) {
        let overloaded = class == Class::Overloaded;
        self.ended(if overloaded { TryOutcome::Overloaded } else { TryOutcome::StreamError });
    }

    pub(super) fn limited(&mut self, provider: &ProviderState, wait: Duration) {
        self.ended(TryOutcome::Status429);
        self.last = Some(Last::Limited { provider: Arc::clone(&provider.config.name), wait });
    }

    pub(super) fn spent(&mut self, provider: &ProviderState, wait: Duration) {
        self.ended(TryOutcome::KeySpent);
        self.last = Some(Last::Spent { provider: Arc::clone(&provider.config.name), wait });
    }

    /// The provider refuses the key, which costs no try; or it wants one, and none is configured.
    pub(super) fn refused(&mut self, provider: &ProviderState, key: Option<usize>) {
        self.ended(TryOutcome::KeyRefused);
        self.uncounted += u32::from(key.is_some());
        self.last = Some(Last::Keys { provider: Arc::clone(&provider.config.name), refused: true, wait: None });
    }

    pub(super) fn disabled(&mut self, provider: &Provider) {
        if self.last.is_none() {
            self.last = Some(Last::Disabled(Arc::clone(&provider.name)));
        }
    }

    pub(super) fn cannot(&mut self, provider: &ProviderState, candidate: &Candidate, refusal: Refusal) {
        self.remember(provider, candidate, None, Some(TryOutcome::Unsupported));
        if refusal.is_about("thread") {
            self.without_thread = Some(refusal.clone());
        }
        if self.last.is_none() || matches!(self.last, Some(Last::Disabled(_))) {
            self.last = Some(Last::Cannot(refusal));
        }
    }

    pub(super) fn keys_out(&mut self, provider: &ProviderState, candidate: &Candidate, now: Instant) {
        self.remember(provider, candidate, None, Some(TryOutcome::KeyOut));
        let wait = provider.keys.earliest(&candidate.model, now);
        let refused = provider.keys.are_refused(&candidate.model, now);
        let name = Arc::clone(&provider.config.name);
        self.last = Some(match wait {
            Some(wait) if provider.keys.are_spent(now) => Last::Spent { provider: name, wait },
            _ => Last::Keys { provider: name, refused, wait },
        });
    }

    pub(super) fn open(
        &mut self,
        provider: &ProviderState,
        candidate: &Candidate,
        key: Option<usize>,
        retry_in: Duration,
    ) {
        self.remember(provider, candidate, key, Some(TryOutcome::BreakerOpen));
        // What was really asked and failed tells more.
        let known = match self.last {
            Some(Last::Open { retry_in: known, .. }) => Some(known),
            None | Some(Last::Disabled(_) | Last::Cannot(_)) => None,
            Some(_) => return,
        };
        let retry_in = known.map_or(retry_in, |known| known.min(retry_in));
        self.last = Some(Last::Open { provider: Arc::clone(&provider.config.name), retry_in });
    }

    /// From a stream's first content to its last.
    pub(super) fn generation(&self) -> Option<Duration> {
        Some(self.last_content?.saturating_duration_since(self.first_at?))
    }

    pub(super) fn first_content(&mut self, at: Instant) {
        self.first_content = self.upstream.started.map(|started| at.saturating_duration_since(started));
        self.first_at = Some(at);
        self.last_content = Some(at);
    }

    fn ended(&mut self, outcome: TryOutcome) {
        if let Some(last) = self.tries.last_mut()
            && last.outcome.is_none()
        {
            last.outcome = Some(outcome);
        }
    }

    /// What the client is told: whose fault it is, and when it is worth to come again.
    pub fn refusal(&self) -> Refusal {
        // Whatever else went wrong: its SDK comes again without the thread.
        if let Some(refusal) = &self.without_thread {
            return refusal.clone();
        }
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        match &self.last {
            None => Refusal::new(
                UNAVAILABLE,
                "NO_AVAILABLE_PROVIDERS",
                "no provider of this model is available",
                Termination::NoMember,
            )
            .after(5),
            Some(Last::Disabled(name)) => Refusal::new(
                UNAVAILABLE,
                "NO_AVAILABLE_PROVIDERS",
                format!("the provider of this model, {name}, is not configured at this gateway"),
                Termination::NoMember,
            ),
            Some(Last::Cannot(refusal) | Last::Unfit(refusal)) => refusal.clone(),
            Some(Last::Open { provider, retry_in }) => {
                let message = "the provider of this model fails too often and is left alone for a while";
                Refusal::new(UNAVAILABLE, "CIRCUIT_OPEN", message, Termination::NoMember)
                    .after(seconds(*retry_in))
                    .open(Arc::clone(provider))
            }
            Some(Last::Keys { provider, refused: true, wait }) => {
                let message = format!(
                    "the provider {provider} does not accept the credentials of this gateway; this is not the caller's fault"
                );
                let refusal = Refusal::new(UNAVAILABLE, "PROVIDER_CREDENTIALS_REFUSED", message, Termination::NoMember);
                // Who comes again in a minute finds the same key, until somebody has seen to it.
                let refusal = refusal.for_good();
                match wait {
                    Some(wait) => refusal.after(seconds(*wait)),
                    None => refusal,
                }
            }
            Some(Last::Keys { provider, refused: false, wait }) => {
                limited(provider, wait.unwrap_or(Duration::from_secs(1)))
            }
            Some(Last::Limited { provider, wait }) => limited(provider, *wait),
            Some(Last::Spent { provider, wait }) => {
                let message = format!(
                    "what this gateway may use of the provider {provider} is used up; the caller's own limits are not reached"
                );
                Refusal::new(UNAVAILABLE, "PROVIDER_QUOTA_EXHAUSTED", message, Termination::NoMember)
                    .after(seconds(*wait))
            }
            Some(Last::Down { status, class, wait }) => down(*status, *class, *wait),
            Some(Last::NoMember { busy }) => {
                let message = "no server of this model is available";
                let refusal = Refusal::new(UNAVAILABLE, "NO_AVAILABLE_PROVIDERS", message, Termination::NoMember);
                // As on any other route.
                refusal.after(if *busy { 1 } else { 5 })
            }
            Some(Last::Missed(outcome)) => missed(*outcome),
            Some(Last::Blocked) => blocked(),
            Some(Last::Untold(malformed)) => untold(malformed),
        }
    }
}

fn outcome_of(status: StatusCode, class: Class) -> TryOutcome {
    match status.as_u16() {
        _ if class == Class::Overloaded => TryOutcome::Overloaded,
        529 => TryOutcome::Overloaded,
        500.. => TryOutcome::Status5xx,
        400.. => TryOutcome::Status4xx,
        _ => TryOutcome::Invalid,
    }
}
