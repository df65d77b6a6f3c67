//! One request for one client: it waits for the first content, and passes on what comes.
//!
//! **Invariant:** a client that goes away ends its request at the provider at once, streaming or not; whatever way a
//! request ends, its account is settled once.

use std::convert::Infallible;
use std::pin::{Pin, pin};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::account::Account;
use super::answer::{self, Answer, Content};
use super::call::Live;
use super::delivery::Delivery;
use super::events::{Broken, Events, Step};
use super::job::Job;
use super::trail::{self, Trail};
use crate::ai::breaker::Trial;
use crate::ai::dialect::error::Class;
use crate::ai::estimate::Made;
use crate::ai::refusal::Refusal;
use crate::ai::usage::Usage;
use crate::clock;
use crate::observe::Termination;
use crate::proxy::context::RequestContext;
use crate::proxy::exchange::{Unserved, hold, write_answer};
use crate::transport::session::Session;
use crate::upstream::retry::Cause;

const X_TARGET: HeaderName = HeaderName::from_static("x-sluicegate-target");
const X_ATTEMPTS: HeaderName = HeaderName::from_static("x-sluicegate-attempts");

/// Serves `job` to the client of `session`.
///
/// # Errors
/// When the client is gone, or saw a part of an answer that broke off.
pub async fn serve(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    job: Job,
    mut account: Account,
) -> Result<(), Unserved> {
    let mut delivery = job.wanted().delivery();
    let mut trail = ctx.trail.take().unwrap_or_else(|| Box::new(Trail::new(ctx.started)));
    let served = exchange_with(session, ctx, &job, &mut account, &mut delivery, &mut trail).await;
    trail.upstream.ended = Some(clock::now());
    if let Err(Unserved::Cut(_)) = &served {
        // Many may leave at once: what all of them asked for ends before anything is written down.
        tokio::task::yield_now().await;
        account.settle_seen(&mut trail, &job);
        trail.cancelled();
    }
    ctx.trail = Some(trail);
    served
}

async fn exchange_with(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    job: &Job,
    account: &mut Account,
    delivery: &mut Delivery,
    trail: &mut Trail,
) -> Result<(), Unserved> {
    // Pinned here: as an argument it would be stored twice.
    let waited = wait(session, ctx, pin!(job.run(trail)), delivery).await?;
    tell_target(ctx, job, trail);
    let answer = match waited {
        Ok(answer) => *answer,
        Err(refusal) => {
            account.settle_wasted(trail, job);
            return delivery.refuse(session, ctx, refusal).await;
        }
    };
    let Answer { fields, content, trial } = answer;
    match content {
        Content::Whole { body, pieces, usage, made, model, held: _held } => {
            account.settle_whole(trail, job, usage, made);
            trail.served_model = model;
            match pieces {
                // It wants events, and the provider gave none.
                Some(pieces) => delivery.pieces(session, ctx, fields, &pieces).await,
                None if delivery.has_begun() => delivery.refuse(session, ctx, told_of(&Broken::Malformed)).await,
                None => delivery.whole(session, ctx, fields, body).await,
            }
        }
        Content::Bytes(live) => {
            account.settle_whole(trail, job, None, Made::default());
            if delivery.has_begun() {
                // It was promised events.
                return delivery.refuse(session, ctx, told_of(&Broken::Malformed)).await;
            }
            answer::begin(session, ctx, fields, None).await?;
            trail.first_content(clock::now());
            let passed = bytes(session, job, live).await;
            match (&passed, trial) {
                (Ok(()), Some(trial)) => trial.succeeded(),
                (Err(Unserved::Cut(Termination::UpstreamTimeout | Termination::UpstreamReset)), trial) => {
                    trail.broke();
                    trial.into_iter().for_each(Trial::failed);
                }
                // A client that left says nothing about the provider.
                (_, _) => {}
            }
            passed
        }
        Content::Events(mut events) => {
            delivery.begin(session, ctx, fields).await?;
            let passed = pass(session, ctx, job, Accounts { account, trail }, delivery, &mut events).await;
            if passed.is_err() {
                events.abandoned().await;
            }
            let (usage, estimated) = account.usage_of(events.meter());
            account.settle(trail, job, usage.clone(), estimated);
            trail.streamed(&events);
            hold(ctx, false);
            match (&passed, trial) {
                (Ok(Ending::Broken(broken)), Some(trial)) if broken.is_of_provider() => trial.failed(),
                (Ok(_), Some(trial)) => trial.succeeded(),
                // A client that left says nothing about the provider.
                (_, _) => {}
            }
            end(session, ctx, delivery, events, passed?, Told { trail, usage }).await
        }
    }
}

/// Waits for what `coming` brings, as long as the client is there.
pub(super) async fn wait<T>(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    mut coming: Pin<&mut impl Future<Output = T>>,
    delivery: &mut Delivery,
) -> Result<T, Unserved> {
    loop {
        tokio::select! {
            biased;
            came = &mut coming => return Ok(came),
            () = delivery.due() => delivery.comment(session, ctx).await?,
            _ = session.read_body_or_idle(true) => return Err(Unserved::Cut(Termination::ClientClosed)),
        }
    }
}

/// How a stream went.
enum Ending {
    Whole,
    OverBudget,
    Broken(Broken),
}

/// What a stream is written down in.
struct Accounts<'a> {
    account: &'a mut Account,
    trail: &'a Trail,
}

/// Passes events on until their end.
async fn pass(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    job: &Job,
    accounts: Accounts<'_>,
    delivery: &mut Delivery,
    events: &mut Events,
) -> Result<Ending, Unserved> {
    let Accounts { account, trail } = accounts;
    loop {
        hold(ctx, true);
        match next(session, ctx, delivery, events, job).await? {
            Step::Piece(piece) => {
                delivery.piece(session, piece).await?;
                if account.saw(events.meter(), trail, job) {
                    return Ok(Ending::OverBudget);
                }
            }
            Step::End => return Ok(Ending::Whole),
            Step::Broken(broken) => return Ok(Ending::Broken(broken)),
        }
    }
}

/// The next step, and while there is none, what there is to do for the client.
async fn next(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    delivery: &mut Delivery,
    events: &mut Events,
    job: &Job,
) -> Result<Step, Unserved> {
    let Some(until) = job.next_by() else { return Ok(Step::Broken(Broken::Timeout)) };
    loop {
        tokio::select! {
            biased;
            step = events.step(until) => return Ok(step),
            () = delivery.due() => delivery.comment(session, ctx).await?,
            never = released(ctx) => match never {},
            _ = session.read_body_or_idle(true) => return Err(Unserved::Cut(Termination::ClientClosed)),
        }
    }
}

/// Never ends. Nothing more is at hand: what was held back goes out with the next look at the client's side.
async fn released(ctx: &RequestContext) -> Infallible {
    hold(ctx, false);
    std::future::pending().await
}

/// What a stream came to.
struct Told<'a> {
    trail: &'a mut Trail,
    usage: Usage,
}

async fn end(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    delivery: &mut Delivery,
    mut events: Box<Events>,
    ending: Ending,
    told: Told<'_>,
) -> Result<(), Unserved> {
    match ending {
        Ending::Whole => {
            answer::last(session, Bytes::new()).await?;
            events.finish().await;
            Ok(())
        }
        Ending::OverBudget => {
            let mut last = Vec::new();
            events.cut(told.usage, delivery.wants_usage(), &mut last);
            drop(events);
            ctx.termination = Some(Termination::OverBudget);
            write_answer(session, &last).await?;
            answer::last(session, Bytes::new()).await
        }
        Ending::Broken(broken) => {
            drop(events);
            told.trail.broke();
            delivery.refuse(session, ctx, told_of(&broken)).await
        }
    }
}

/// Passes bytes on that nobody here reads.
async fn bytes(session: &mut Session<'_>, job: &Job, mut live: Live) -> Result<(), Unserved> {
    loop {
        let Some(until) = job.next_by() else { return Err(Unserved::Cut(Termination::UpstreamTimeout)) };
        let read = tokio::select! {
            biased;
            read = live.chunk(until) => read,
            _ = session.read_body_or_idle(true) => return Err(Unserved::Cut(Termination::ClientClosed)),
        };
        match read {
            Ok(Some(chunk)) => write_answer(session, &chunk).await?,
            Ok(None) => break,
            Err(Cause::Timeout) => return Err(Unserved::Cut(Termination::UpstreamTimeout)),
            Err(_) => return Err(Unserved::Cut(Termination::UpstreamReset)),
        }
    }
    answer::last(session, Bytes::new()).await?;
    live.finish().await;
    Ok(())
}

/// What a client is told of a stream that broke.
pub(super) fn told_of(broken: &Broken) -> Refusal {
    const FAILED: StatusCode = StatusCode::BAD_GATEWAY;
    let (status, code, message, termination) = match broken {
        Broken::Error(error) if error.class == Class::Overloaded => (
            StatusCode::SERVICE_UNAVAILABLE,
            "PROVIDER_OVERLOADED",
            "the provider is overloaded",
            Termination::UpstreamInvalid,
        ),
        Broken::Error(_) => {
            (FAILED, "PROVIDER_ERROR", "the provider failed while it answered", Termination::UpstreamInvalid)
        }
        Broken::Truncated => (FAILED, "PROVIDER_DISCONNECTED", "Upstream connection lost", Termination::UpstreamReset),
        Broken::Timeout => (
            StatusCode::GATEWAY_TIMEOUT,
            "PROVIDER_TIMEOUT",
            "the provider stopped answering",
            Termination::UpstreamTimeout,
        ),
        Broken::Foreign(malformed) => return trail::untold(malformed),
        Broken::Malformed => (
            FAILED,
            "PROVIDER_INVALID_ANSWER",
            "the provider sent something that cannot be understood",
            Termination::UpstreamInvalid,
        ),
    };
    let refusal = Refusal::new(status, code, message, termination);
    match broken {
        Broken::Error(error) => refusal.word(error.code()),
        _ => refusal,
    }
}

/// Says who serves, and after how many tries, where that is wanted.
fn tell_target(ctx: &mut RequestContext, job: &Job, trail: &Trail) {
    if let Some(last) = trail.last_try().filter(|_| job.ai.config.headers) {
        tell(ctx, &last.name, &last.model, trail.count);
    }
}

/// The fields that name a target.
pub(super) fn tell(ctx: &mut RequestContext, provider: &str, model: &str, attempts: u32) {
    let target = HeaderValue::from_maybe_shared(Bytes::from(format!("{provider}/{model}")));
    ctx.fields.extend(target.ok().map(|target| (X_TARGET, target)));
    ctx.fields.push((X_ATTEMPTS, HeaderValue::from(attempts)));
}
