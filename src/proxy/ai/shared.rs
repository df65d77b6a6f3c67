//! A request on a route with a cache: from what is kept, or from an answer under way that it shares with others.
//!
//! An answer that may be kept is made by a task of the worker, and the request that caused it reads it like those that
//! came after: a client that leaves takes it from nobody, and when all have left it is ended at the provider.
//!
//! Kept is what is the same for the same question: without a temperature above 0, without tools, without a state at the
//! provider; a route may say otherwise. What a client's `Cache-Control` asks for is done.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::oneshot;

use super::account::Account;
use super::answer::{self, Answer, Content};
use super::body::Body;
use super::delivery::Delivery;
use super::events::{Broken, Events, Step};
use super::job::{Job, Wanted, aside, busy};
use super::serve::{tell, told_of, wait};
use super::trail::Trail;
use super::turn::{Turned, Unturned, turned};
use crate::ai::answers::{self, Answers, Begun, Form, Joined, Kept, Key, Last, Piece, Pilot, Rider, convert};
use crate::ai::body::{Asked, canonical};
use crate::ai::door::Operation;
use crate::ai::refusal::Refusal;
use crate::cache::{Freshness, RequestControl, Verdict};
use crate::clock;
use crate::config::cache::CacheRules;
use crate::observe::{CacheStatus, Termination};
use crate::proxy::Gateway;
use crate::proxy::context::RequestContext;
use crate::proxy::exchange::{Unserved, hold};
use crate::proxy::rejection::Rejection;
use crate::snapshot::ai::AiCache;
use crate::transport::session::Session;

const X_CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Brings the trail of an answer, at its end, to the request that it was made for.
type Report = oneshot::Sender<Box<Trail>>;

/// Serves `job` by way of the route's cache.
///
/// # Errors
/// As [`super::serve()`].
pub async fn serve(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    cache: &AiCache,
    gateway: &Gateway,
    job: Job,
) -> Result<(), Unserved> {
    let asks = cache.rules.request_directives;
    let control = if asks { RequestControl::of(&session.req_header().headers) } else { RequestControl::default() };
    let key = if control.no_store { None } else { key(ctx, cache, &job).await };
    let kept = key.as_ref().and_then(|key| cache.answers.find(key));
    let wanted = job.wanted();
    if let Some(kept) = &kept
        && let Some((status, turned)) = at_hand(&wanted, kept, &control).await
    {
        return from_kept(session, ctx, cache, &wanted, kept, (status, turned)).await;
    }
    if control.only_if_cached {
        return Err(Unserved::Rejected(Rejection::NotCached, Termination::Rejected));
    }
    let Some(key) = key else {
        note(ctx, &cache.answers, CacheStatus::Bypass);
        return super::alone(session, ctx, job).await;
    };
    let kept = kept.filter(|_| !control.no_cache);
    match cache.answers.join(key) {
        None => {
            note(ctx, &cache.answers, CacheStatus::Bypass);
            super::alone(session, ctx, job).await
        }
        Some(Joined::Follows(rider)) => {
            // What others pay for costs this one nothing.
            match ride(session, ctx, cache, &wanted, rider, kept, CacheStatus::Coalesced).await? {
                Ridden::Served => Ok(()),
                Ridden::Untold => {
                    note(ctx, &cache.answers, CacheStatus::Bypass);
                    super::alone(session, ctx, job).await
                }
            }
        }
        Some(Joined::Leads(pilot, rider)) => {
            // Another flight may have landed between the look and now.
            let landed = cache.answers.find(&key);
            if let Some(landed) = landed.filter(|landed| kept.as_ref().is_none_or(|kept| !Arc::ptr_eq(kept, landed)))
                && let Some((status, turned)) = at_hand(&wanted, &landed, &control).await
            {
                drop(pilot);
                return from_kept(session, ctx, cache, &wanted, &landed, (status, turned)).await;
            }
            let account = match super::open(session, ctx, &job) {
                Ok(account) => account,
                Err(unready) => {
                    // Those who joined meanwhile have limits of their own: they are asked to come again.
                    pilot.refuse(&overtaken(), None);
                    note(ctx, &cache.answers, CacheStatus::Miss);
                    return unready.tell(session, ctx, job.operation.error_dialect()).await;
                }
            };
            let (report, reported) = oneshot::channel();
            let trail = ctx.trail.take().unwrap_or_else(|| Box::new(Trail::new(ctx.started)));
            let flight = fly(job, account, pilot, cache.rules.clone(), trail, report, ctx.permits.clone());
            gateway.fetches.spawn(flight);
            let served = ride(session, ctx, cache, &wanted, rider, kept, CacheStatus::Miss).await;
            if served.is_err() {
                ctx.left = Some(clock::now());
            }
            // Who is charged tells what was used, and that is known at the end of the answer: at once when its client was
            // the only one, later when others still read it.
            ctx.trail = reported.await.ok();
            served.map(drop)
        }
    }
}

/// Whether `kept` serves a request that asks so, and as what. Nothing is fetched behind a stale one: nobody asked for it who
/// could be charged.
fn serves(kept: &Kept, control: &RequestControl) -> Option<CacheStatus> {
    match kept.verdict(control, clock::now()) {
        Verdict::Fresh => Some(CacheStatus::Hit),
        Verdict::Stale { .. } => Some(CacheStatus::Stale),
        Verdict::Validate => None,
    }
}

/// What `kept` is for a request that asks so, and in the form that it wants. `None`: it does not serve, or cannot be told so.
async fn at_hand(
    wanted: &Wanted,
    kept: &Kept,
    control: &RequestControl,
) -> Option<(CacheStatus, Result<Turned, Refusal>)> {
    let status = serves(kept, control)?;
    match turned(wanted, &kept.form).await {
        Ok(turned) => Some((status, Ok(turned))),
        Err(Unturned::NoRoom) => Some((status, Err(busy()))),
        Err(Unturned::Cannot) => None,
    }
}

/// What those are told who joined an answer that its first client may not have.
fn overtaken() -> Refusal {
    let message = "another request for the same was refused by a limit just now";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "TRY_AGAIN", message, Termination::Rejected).after(1)
}

/// The key of what is asked; `None` when its answer may not be kept.
async fn key(ctx: &RequestContext, cache: &AiCache, job: &Job) -> Option<Key> {
    let Body::Json(asked) = &*job.body else { return None };
    if !is_keepable(job.operation, asked, cache.any) {
        return None;
    }
    let body = asked.body().clone();
    let digest = move || canonical(&body, &["stream", "stream_options"]);
    let body = aside(asked.body().len(), digest).await?.ok()?;
    let scope = ctx.caller.as_ref().filter(|_| !cache.rules.share_between_callers);
    let targets = job.targets();
    let turns = convert::turns(job.operation);
    let asked = answers::Asked {
        scope: scope.map(|caller| &*caller.scope),
        route: ctx.route.as_ref().map_or("", |route| &route.config.name),
        operation: job.operation,
        model: job.body.model(),
        variant: &job.draft.variant(),
        targets: &targets,
        body: &body,
        stream: (!turns).then_some(asked.stream),
    };
    Some(asked.key())
}

fn is_keepable(operation: Operation, asked: &Asked, any: bool) -> bool {
    use Operation::{Chat, Completions, CountTokens, Embeddings, Messages, Moderations, Rerank, Responses};
    let door = match operation {
        Chat | Completions | Messages | Embeddings | Rerank | Moderations | CountTokens => true,
        // Its answer is stored at the provider by default, and named by its id later.
        Responses => asked.store == Some(false),
        _ => false,
    };
    let repeats = asked.temperature.is_none_or(|temperature| temperature == 0.0) && !asked.tools;
    door && !asked.background && !asked.stateful && (repeats || any)
}

/// Makes the answer for all who ride along, and keeps it when it is whole.
async fn fly(
    job: Job,
    mut account: Account,
    pilot: Pilot,
    rules: CacheRules,
    mut trail: Box<Trail>,
    report: Report,
    permits: Option<Arc<crate::limit::Permits>>,
) {
    let _in_flight = permits;
    let flown = make(&job, &mut account, &pilot, &mut trail).await;
    trail.upstream.ended = Some(clock::now());
    if flown.is_none() {
        account.settle_seen(&mut trail, &job);
        trail.cancelled();
    }
    let asked = trail.target().map(|target| Last { target, attempts: trail.count });
    let usage = trail.usage.clone();
    // Nobody takes it when the connection of the one it was made for is gone with its worker.
    drop(report.send(trail));
    match flown {
        None => {}
        Some(Err(refusal)) => pilot.refuse(&refusal, asked),
        Some(Ok(end)) => {
            let answers = Arc::clone(pilot.answers());
            let (form, key, ticket) = pilot.finish();
            let (freshness, at) = (Freshness::configured(&rules), clock::now());
            if let Some(Last { target, .. }) = asked.filter(|_| end == End::Whole) {
                answers.keep(key, Kept { form, target, usage, at, freshness, held: None }, ticket);
            }
        }
    }
}

/// Whether an answer that was made is all there.
#[derive(PartialEq, Eq)]
enum End {
    Whole,
    /// A stream without its last event: its readers have what they need, and nobody who comes later is told so.
    Missing,
}

/// `None`: all have left who read it.
async fn make(job: &Job, account: &mut Account, pilot: &Pilot, trail: &mut Trail) -> Option<Result<End, Refusal>> {
    let answer = match while_read(pilot, job.run(trail)).await? {
        Ok(answer) => *answer,
        Err(refusal) => {
            account.settle_wasted(trail, job);
            if refusal.is_of_provider() {
                pilot.answers().metrics().fetch_failed();
            }
            return Some(Err(refusal));
        }
    };
    let Answer { fields, content, trial } = answer;
    let Some(target) = trail.target() else { return Some(Err(Refusal::internal())) };
    let begun = |whole| Begun { fields, whole, target, attempts: trail.count };
    match content {
        Content::Whole { body, usage, made, model, .. } => {
            let begun = begun(Some(body));
            account.settle_whole(trail, job, usage, made);
            trail.served_model = model;
            pilot.begin(begun);
            Some(Ok(End::Whole))
        }
        // A door whose answers may be kept gives none.
        Content::Bytes(_) => Some(Err(told_of(&Broken::Malformed))),
        Content::Events(mut events) => {
            pilot.begin(begun(None));
            let passed = while_read(pilot, pass(job, account, trail, pilot, &mut events)).await;
            if passed.is_none() {
                events.abandoned().await;
            }
            let (usage, estimated) = account.usage_of(events.meter());
            account.settle(trail, job, usage, estimated);
            trail.streamed(&events);
            match (&passed, trial) {
                (Some(Err(broken)), Some(trial)) if broken.is_of_provider() => trial.failed(),
                (Some(_), Some(trial)) => trial.succeeded(),
                // Clients that left say nothing about the provider.
                (_, _) => {}
            }
            if let Err(broken) = passed? {
                trail.broke();
                return Some(Err(told_of(&broken)));
            }
            let end = if events.meter().has_ended() { End::Whole } else { End::Missing };
            events.finish().await;
            Some(Ok(end))
        }
    }
}

/// What `making` gives, as long as anybody reads.
async fn while_read<T>(pilot: &Pilot, making: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        made = making => Some(made),
        () = pilot.abandoned() => None,
    }
}

async fn pass(
    job: &Job,
    account: &mut Account,
    trail: &Trail,
    pilot: &Pilot,
    events: &mut Events,
) -> Result<(), Broken> {
    loop {
        let Some(until) = job.next_by() else { return Err(Broken::Timeout) };
        match events.step(until).await {
            Step::Piece(piece) => {
                account.saw(events.meter(), trail, job);
                if !pilot.push(piece) {
                    return Err(Broken::Malformed);
                }
            }
            Step::End => return Ok(()),
            Step::Broken(broken) => return Err(broken),
        }
    }
}

/// Reads an answer under way for one client.
async fn ride(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    cache: &AiCache,
    wanted: &Wanted,
    mut rider: Rider,
    kept: Option<Arc<Kept>>,
    status: CacheStatus,
) -> Result<Ridden, Unserved> {
    let mut delivery = wanted.delivery();
    let begun = match wait(session, ctx, pin!(rider.begun()), &mut delivery).await {
        Ok(begun) => begun,
        Err(gone) => {
            note(ctx, &cache.answers, status);
            return Err(gone);
        }
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(refusal) => {
            // An old answer is better than none, where the fault is the provider's (T38: the same question, a bounded age).
            let serves = |kept: &Arc<Kept>| kept.serves_on_error(refusal.is_unanswered(), clock::now());
            if let Some(kept) = kept.filter(|kept| refusal.is_of_provider() && serves(kept))
                && let Ok(turned) = turned(wanted, &kept.form).await
            {
                note(ctx, &cache.answers, CacheStatus::Stale);
                let sent = send_kept(session, ctx, wanted, (&kept, turned), delivery).await;
                return sent.map(|()| Ridden::Served);
            }
            note(ctx, &cache.answers, status);
            if let Some(Last { target, attempts }) = rider.asked().filter(|_| wanted.headers) {
                tell(ctx, &target.0, &target.1, attempts);
            }
            return delivery.refuse(session, ctx, refusal).await.map(|()| Ridden::Served);
        }
    };
    let all = match wait(session, ctx, pin!(all_of(wanted, &begun, &mut rider)), &mut delivery).await {
        Ok(Some(Err(Untold::Turning(Unturned::Cannot))))
            if !delivery.has_begun() && status == CacheStatus::Coalesced =>
        {
            return Ok(Ridden::Untold);
        }
        all => all,
    };
    note(ctx, &cache.answers, status);
    if wanted.headers {
        tell(ctx, &begun.target.0, &begun.target.1, begun.attempts);
    }
    let served = match all? {
        Some(all) => send(session, ctx, all.map_err(Untold::refusal), begun.fields.clone(), delivery).await,
        None => follow(session, ctx, &begun, rider, delivery).await,
    };
    served.map(|()| Ridden::Served)
}

/// How a client fared with an answer that others read too.
enum Ridden {
    Served,
    /// It cannot be told in the form that the client wants, who has seen nothing of it.
    Untold,
}

/// Why an answer under way is not there in the form that a client wants.
enum Untold {
    Broken(Refusal),
    Turning(Unturned),
}

impl Untold {
    fn refusal(self) -> Refusal {
        match self {
            Self::Broken(refusal) => refusal,
            Self::Turning(Unturned::Cannot) => told_of(&Broken::Malformed),
            Self::Turning(Unturned::NoRoom) => busy(),
        }
    }
}

/// An answer that goes out at once, when all of it is there; `None`: its events go out as they come.
async fn all_of(wanted: &Wanted, begun: &Begun, rider: &mut Rider) -> Option<Result<Turned, Untold>> {
    let form = match &begun.whole {
        Some(body) => Form::Whole(body.clone()),
        None if wanted.streams => return None,
        None => match gather(rider).await {
            Ok(pieces) => Form::Events(pieces.into()),
            Err(refusal) => return Some(Err(Untold::Broken(refusal))),
        },
    };
    Some(turned(wanted, &form).await.map_err(Untold::Turning))
}

/// Passes the events of an answer on as they come.
async fn follow(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    begun: &Begun,
    mut rider: Rider,
    mut delivery: Delivery,
) -> Result<(), Unserved> {
    delivery.begin(session, ctx, begun.fields.clone()).await?;
    loop {
        match rider.at_hand() {
            Some(Ok(Some(piece))) => delivery.piece(session, piece).await?,
            Some(Ok(None)) => {
                hold(ctx, false);
                return answer::last(session, Bytes::new()).await;
            }
            Some(Err(refusal)) => return delivery.refuse(session, ctx, refusal).await,
            None => {
                hold(ctx, false);
                wait(session, ctx, pin!(rider.more()), &mut delivery).await?;
                hold(ctx, true);
            }
        }
    }
}

/// All pieces of an answer, once they are there.
async fn gather(rider: &mut Rider) -> Result<Vec<Piece>, Refusal> {
    let mut pieces = Vec::new();
    loop {
        match rider.at_hand() {
            Some(Ok(Some(piece))) => pieces.push(piece),
            Some(Ok(None)) => return Ok(pieces),
            Some(Err(refusal)) => return Err(refusal),
            None => rider.more().await,
        }
    }
}

async fn from_kept(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    cache: &AiCache,
    wanted: &Wanted,
    kept: &Kept,
    (status, turned): (CacheStatus, Result<Turned, Refusal>),
) -> Result<(), Unserved> {
    note(ctx, &cache.answers, status);
    let mut delivery = wanted.delivery();
    match turned {
        Ok(turned) => send_kept(session, ctx, wanted, (kept, turned), delivery).await,
        Err(refusal) => delivery.refuse(session, ctx, refusal).await,
    }
}

async fn send_kept(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    wanted: &Wanted,
    (kept, turned): (&Kept, Turned),
    delivery: Delivery,
) -> Result<(), Unserved> {
    if wanted.headers {
        tell(ctx, &kept.target.0, &kept.target.1, 0);
    }
    ctx.fields.push((header::AGE, HeaderValue::from(kept.age(clock::now()).as_secs())));
    send(session, ctx, Ok(turned), HeaderMap::new(), delivery).await
}

/// Sends an answer that is all there.
async fn send(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    turned: Result<Turned, Refusal>,
    mut fields: HeaderMap,
    mut delivery: Delivery,
) -> Result<(), Unserved> {
    fields.remove(header::CONTENT_TYPE);
    let Turned { form, held: _held } = match turned {
        Ok(turned) => turned,
        Err(refusal) => return delivery.refuse(session, ctx, refusal).await,
    };
    match form {
        Form::Events(pieces) => delivery.pieces(session, ctx, fields, &pieces).await,
        // It was promised events.
        Form::Whole(_) if delivery.has_begun() => delivery.refuse(session, ctx, told_of(&Broken::Malformed)).await,
        Form::Whole(body) => {
            fields.insert(header::CONTENT_TYPE, JSON);
            delivery.whole(session, ctx, fields, body).await
        }
    }
}

/// Says how the request is answered: to the client, the log and the metrics.
fn note(ctx: &mut RequestContext, answers: &Answers, status: CacheStatus) {
    answers.metrics().answered(status);
    ctx.cache = Some(status);
    ctx.fields.push((X_CACHE_STATUS, HeaderValue::from_static(status.as_str())));
}
