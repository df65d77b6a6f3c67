//! One try: a request to one target with one key, and what an answer means that is not served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use log::{Level, log, warn};
use memchr::memmem;

use super::Job;
use super::prepare::{Prepared, STREAM_OPTIONS};
use crate::ai::attempt::Verdict;
use crate::ai::breaker::Trial;
use crate::ai::catalog::Candidate;
use crate::ai::dialect::error::{self, Class, ProviderError};
use crate::ai::keys::{Of, Probing};
use crate::ai::refusal::Refusal;
use crate::ai::reset;
use crate::ai::way::Way;
use crate::clock;
use crate::config::ai::wildcard;
use crate::observe::ai::{Phase, TryOutcome};
use crate::observe::metrics::OTHER_MODEL;
use crate::proxy::ai::answer::Answer;
use crate::proxy::ai::call::{self, Live, NoAnswer, Outgoing, Terms};
use crate::proxy::ai::outgoing::To;
use crate::proxy::ai::trail::Trail;
use crate::snapshot::ai::ProviderState;
use crate::upstream::retry::Cause;

/// For how long a key rests whose quota is used up, when its provider does not say.
const SPENT: Duration = Duration::from_secs(300);
/// For how long a key rests that was asked too often, when its provider does not say.
const LIMITED: Duration = Duration::from_secs(5);

/// A try under way.
pub(super) struct Attempt<'a> {
    pub(super) provider: &'a Arc<ProviderState>,
    pub(super) candidate: &'a Candidate,
    pub(super) prepared: &'a Prepared,
    pub(super) key: Option<usize>,
    pub(super) trial: Trial,
    pub(super) began: Instant,
}

impl Attempt<'_> {
    /// Whether the provider refuses what no client has asked it for.
    pub(super) fn asked_for_more_than_it_knows(&self, status: StatusCode, body: &[u8]) -> bool {
        self.prepared.adds_options
            && matches!(status.as_u16(), 400 | 422)
            && memmem::find(body, STREAM_OPTIONS.as_bytes()).is_some()
    }

    /// The provider takes the key, whatever it answers.
    pub(super) fn takes_key(&self) {
        if let Some(key) = self.key {
            self.provider.keys.succeeded(key, &self.candidate.model, clock::now());
        }
    }
}

/// What an answer that is not served means for the tries that follow.
pub(super) enum Missed {
    /// None may follow.
    Final(Refusal),
    /// Another key may do better.
    Key,
    /// The same may, asked for less.
    Less,
    /// Another member of the pool may.
    Member,
    /// Another target may: this one is well, and would answer the same again.
    Target,
    /// The pool has none.
    Pool,
}

/// An answer that is not served.
pub(super) struct Fault<'a> {
    pub(super) verdict: Verdict,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) error: ProviderError,
    /// As it came, when it was a body of its own.
    pub(super) body: Option<Bytes>,
}

impl Fault<'_> {
    /// The same without `key`: nobody is told it, and no log has it.
    fn without(self, key: &str) -> Self {
        let body = self.body.map(|body| error::without(body, key));
        Self { error: self.error.without(key), body, ..self }
    }

    /// The same without the values of fields of ours, which may be secrets.
    fn without_all(self, fields: &[(HeaderName, HeaderValue)]) -> Self {
        fields.iter().filter_map(|(_, value)| value.to_str().ok()).fold(self, Self::without)
    }
}

impl Job {
    pub(super) async fn attempt(&self, attempt: Attempt<'_>, trail: &mut Trail) -> Result<Box<Answer>, Missed> {
        let Attempt { provider, candidate, prepared, key, began, .. } = attempt;
        let probing = Probing::new(&provider.keys, key, &candidate.model);
        let field = match key.map(|key| (key, provider.key_field(key, began))) {
            Some((_, Ok(field))) => Some(field),
            Some((key, Err(_))) => {
                provider.keys.refused(key, Of::All, began, self.ai.config.key_cooldown);
                trail.began(provider, candidate, Some(key), began);
                trail.refused(provider, Some(key));
                return Err(Missed::Key);
            }
            None => None,
        };
        let to = To { provider, way: prepared.way, model: &candidate.model, streams: self.streams(), key: field };
        let outgoing = self.draft.outgoing(to, prepared.body.clone());
        let outgoing = outgoing.map_err(|_| Missed::Final(Refusal::internal()))?;
        let timeouts = self.plan.timeouts;
        let soon = self.streams() && (timeouts.first_token_always || self.may_be_stood_in_for(candidate, provider));
        let patience = if soon { timeouts.first_token } else { timeouts.idle };
        let until = began.checked_add(patience).map_or(self.until, |until| until.min(self.until));
        let mut terms = Terms {
            client: self.client,
            path_and_query: &self.draft.path,
            headers: self.draft.headers(),
            tokens: self.tokens(),
            timeouts,
            began,
            until,
            on_kept: true,
            sent: &self.sent,
        };
        let mut called = self.call(&attempt, &outgoing, &terms, trail).await;
        if matches!(called, Err(NoAnswer::JustClosed)) {
            trail.just_closed();
            terms.on_kept = false;
            called = self.call(&attempt, &outgoing, &terms, trail).await;
        }
        if let Some(connect) = trail.upstream.connect {
            self.ai.books.gateway.phase(Phase::Connect, connect);
        }
        let live = match called {
            Ok(live) => live,
            Err(none) => return Err(self.unanswered(none, attempt.trial, trail)),
        };
        let member = live.member();
        let taken = self.take(attempt, until, live, trail).await;
        probing.over();
        if taken.is_err() {
            self.sent.set(false);
        }
        if matches!(taken, Err(Missed::Member)) {
            // Another member of the pool may do better; this one is not asked twice in a row.
            trail.upstream.tried.push(member);
        }
        taken
    }

    /// What no answer at all means.
    fn unanswered(&self, none: NoAnswer, trial: Trial, trail: &mut Trail) -> Missed {
        self.sent.set(false);
        let cause = match none {
            NoAnswer::Failed(cause) => cause,
            NoAnswer::JustClosed => Cause::Reset,
            NoAnswer::NoMember | NoAnswer::Busy => {
                trail.no_member(matches!(none, NoAnswer::Busy));
                return Missed::Pool;
            }
        };
        if cause != Cause::Local {
            trial.failed();
        }
        trail.missed(outcome_of(cause));
        Missed::Member
    }

    /// Sends the request once, and takes that down.
    async fn call(
        &self,
        attempt: &Attempt<'_>,
        outgoing: &Outgoing,
        terms: &Terms<'_>,
        trail: &mut Trail,
    ) -> Result<Live, NoAnswer> {
        let Attempt { provider, candidate, key, .. } = *attempt;
        if let Some(key) = key {
            provider.keys.used(key);
        }
        trail.began(provider, candidate, key, terms.began);
        trail.upstream.connect = None;
        call::call(provider, &self.connector, outgoing, terms, &mut trail.upstream).await
    }

    /// Whether somebody else could serve the request: another member, or a target further on.
    fn may_be_stood_in_for(&self, candidate: &Candidate, provider: &ProviderState) -> bool {
        let is_on =
            |other: &Candidate| self.ai.config.providers.get(other.provider).is_some_and(|provider| provider.enabled);
        let mut after = self.plan.candidates.iter().skip_while(|other| *other != candidate).skip(1);
        provider.route.pool.members().len() > 1 || after.any(is_on)
    }

    /// What the configuration says of the provider of a target is not so. `Some`: that is to be told, with how often it was not.
    fn misled(&self, candidate: &Candidate) -> Option<u64> {
        self.ai.books.misled.get(candidate.provider)?.happened(clock::now())
    }

    /// Tells the log, once in a while, of a model that the configuration says the provider has: that is no fault of who asks for it.
    fn tell_missing(&self, candidate: &Candidate, provider: &ProviderState, error: &ProviderError) {
        let label = &*self.plan.label;
        if error.code() != "model_not_found" || label == OTHER_MODEL || wildcard(label).is_some() {
            return;
        }
        if let Some(untold) = self.misled(candidate) {
            let (name, model) = (&provider.config.name, &candidate.model);
            warn!(
                target: "ai",
                "provider {name} does not know {model}, which the configuration asks it for as {label}: its 404 goes to the \
                 client, and no other target is asked; {untold} more since this was told last"
            );
        }
    }

    /// Tells the log what a provider says of an answer that is not served.
    fn tell(
        &self,
        verdict: Verdict,
        status: StatusCode,
        candidate: &Candidate,
        provider: &ProviderState,
        error: &ProviderError,
    ) {
        // What rests a key comes once in a while; the rest may come with each request.
        let level = match verdict {
            Verdict::KeyRefused | Verdict::ModelRefused | Verdict::KeySpent => Level::Warn,
            Verdict::DoorRefused if self.misled(candidate).is_some() => Level::Warn,
            _ => Level::Debug,
        };
        if let Some(said) = &error.said {
            // The model by the name that metrics have for it: others are what a client made up.
            let (name, label) = (&provider.config.name, &self.plan.label);
            log!(target: "ai", level, "provider {name} answered {} for model {label}: {said:?}", status.as_u16());
        }
    }

    /// What an answer that is not served means.
    pub(super) fn miss(&self, attempt: Attempt<'_>, fault: Fault<'_>, trail: &mut Trail) -> Missed {
        let Attempt { provider, prepared, candidate, key, trial, .. } = attempt;
        let model = &*candidate.model;
        let Fault { verdict, status, headers, error, body } =
            match key.and_then(|key| provider.key_text(key, clock::now())) {
                Some(key) => fault.without(&key),
                None => fault,
            }
            .without_all(&provider.config.headers);
        self.tell(verdict, status, candidate, provider, &error);
        let (now, wall) = (clock::now(), clock::wall());
        let in_body = || reset::rest_in(body.as_deref().unwrap_or_default());
        match verdict {
            Verdict::Serve | Verdict::Fault => {
                trial.succeeded();
                trail.fault();
                self.tell_missing(candidate, provider, &error);
                Missed::Final(callers_fault(prepared, status, &error, body))
            }
            Verdict::KeyRefused | Verdict::ModelRefused => {
                let of = if verdict == Verdict::KeyRefused { Of::All } else { Of::Model(model) };
                if let Some(key) = key {
                    provider.keys.refused(key, of, now, self.ai.config.key_cooldown);
                }
                trail.refused(provider, key);
                Missed::Key
            }
            Verdict::DoorRefused => {
                trial.succeeded();
                trail.refused(provider, key);
                Missed::Key
            }
            Verdict::KeySpent => {
                let rest = reset::wait_of(headers, wall).unwrap_or(SPENT);
                if let Some(key) = key {
                    provider.keys.spent(key, now, now + rest);
                }
                trail.spent(provider, rest);
                Missed::Key
            }
            Verdict::Limited => {
                let rest = reset::rest_of(headers, wall).or_else(in_body).unwrap_or(LIMITED);
                if let Some(key) = key {
                    let why = "its provider limits how often it is used";
                    provider.keys.rests(key, Of::Model(model), now, now + rest, why);
                }
                trail.limited(provider, rest);
                Missed::Key
            }
            Verdict::Unfit => {
                trial.succeeded();
                trail.unfit(callers_fault(prepared, status, &error, body).for_good());
                Missed::Target
            }
            Verdict::Blocked => {
                trail.blocked();
                Missed::Target
            }
            Verdict::Down => {
                trial.failed();
                // When a window of its limits begins anew says nothing of when it works again.
                let rest = reset::wait_of(headers, wall).or_else(in_body);
                trail.said = error.said;
                trail.down(status, error.class, rest);
                Missed::Member
            }
        }
    }
}

/// The caller's own fault, in its own dialect.
fn callers_fault(prepared: &Prepared, status: StatusCode, error: &ProviderError, body: Option<Bytes>) -> Refusal {
    let message = error.message.clone().unwrap_or_else(|| "the provider does not accept this request".to_owned());
    // What a key of ours may not do is no matter of who the caller is.
    let forbidden = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let status = if forbidden || error.class == Class::Unsupported { error.class.status() } else { status };
    let mut refusal = Refusal::of_request(status, error.code(), message);
    refusal.termination = crate::observe::Termination::Completed;
    let body = body.filter(|_| prepared.way == Way::Pass);
    refusal.passed(body.as_ref().and_then(error::passed))
}

fn outcome_of(cause: Cause) -> TryOutcome {
    match cause {
        Cause::Connect | Cause::ConnectTimeout | Cause::Local => TryOutcome::ConnectFailure,
        Cause::Timeout => TryOutcome::Timeout,
        Cause::Reset | Cause::Status(_) => TryOutcome::Reset,
        Cause::Invalid => TryOutcome::Invalid,
    }
}
