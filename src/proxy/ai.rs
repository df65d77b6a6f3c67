//! A request on an AI route: its door, its model, its limits, and the exchange with a provider.
//!
//! It is served inside `request_filter`, like every plain request. The body is read whole, for it says which model is
//! asked for; then [`job`] tries the targets of the model in their order until one gives content, and [`mod@serve`] passes
//! that on. Where client and provider speak the same dialect, bytes pass as they are.
//!
//! **Invariant:** nothing a client sends chooses an address, a key of ours or another caller's answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use log::warn;
use percent_encoding::percent_decode_str;

use super::Gateway;
use super::context::RequestContext;
use super::exchange::{self, SLICE, Unserved};
use super::guard::limits::{rejection, tell_budgets};
use super::headers::content_length;
use super::local::{self, Answer};
use super::rejection::Rejection;
use crate::ai::body::{Asked, BadBody, Form, Naming};
use crate::ai::catalog::Plan;
use crate::ai::dialect::{Dialect, translate};
use crate::ai::door::Operation;
use crate::ai::estimate;
use crate::ai::refusal::Refusal;
use crate::ai::way::{Way, way};
use crate::clock;
use crate::config::ai::BOUNDS;
use crate::limit::{self, Estimate, Reserved};
use crate::observe::Termination;
use crate::observe::ai::Phase;
use crate::observe::metrics::Working;
use crate::snapshot::ai::AiRoute;
use crate::transport::session::Session;
use account::{Account, Sent};
use body::{Body, Held, Pace};
use job::{Job, aside};
use outgoing::Draft;
use trail::Trail;

pub mod account;
pub mod answer;
pub mod body;
pub mod call;
pub mod cut;
pub mod delivery;
pub mod events;
pub mod job;
pub mod models;
pub mod outgoing;
pub mod record;
pub mod serve;
pub mod shared;
pub mod trail;
pub mod turn;

/// The most memory that is taken for a body before it is there.
const MOST_AT_ONCE: usize = 1 << 20;
/// Characters of a model's name that its client reads again.
const MOST_SHOWN: usize = 100;

/// The door that a request came to.
#[derive(Debug, Clone)]
pub struct AtDoor {
    /// What is asked for.
    pub operation: Operation,
    /// The name of a model as the path has it, at `models/NAME` and `deployments/NAME/...`.
    pub model: Option<Box<str>>,
    /// In which dialect errors are told.
    pub dialect: Dialect,
}

/// Serves the request of `session`.
///
/// # Errors
/// As [`exchange::serve`].
pub async fn serve(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &AiRoute,
    gateway: &Gateway,
) -> Result<(), Unserved> {
    let Some(door) = ctx.door.clone() else {
        return Err(Unserved::Rejected(Rejection::NotFound, Termination::Rejected));
    };
    ctx.trail = Some(Box::new(Trail::at(ctx.started, door.operation)));
    if door.operation == Operation::Models {
        tell_budgets(session, ctx);
        return models::serve(session, ctx, route, gateway, &door).await;
    }
    if session.req_header().headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        tell_budgets(session, ctx);
        return Err(Unserved::Rejected(Rejection::UnreadableBody, Termination::Rejected));
    }
    let reading = route.state.books.gateway.begin(Phase::Read);
    let mut held = Held::new(&route.state.books.gateway, route.state.config.max_buffered);
    let dialect = door.dialect;
    let body = match read_body(session, ctx, route, &mut held).await {
        Ok(body) => body,
        Err(unready) => return unready.tell(session, ctx, dialect).await,
    };
    let parsing = reading.then(Phase::Parse);
    let job = match prepare(session, ctx, route, gateway, door, (body, held), parsing).await {
        Ok(job) => job,
        Err(unready) => return unready.tell(session, ctx, dialect).await,
    };
    match &route.cache {
        Some(cache) => Box::pin(shared::serve(session, ctx, cache, gateway, job)).await,
        None => alone(session, ctx, job).await,
    }
}

/// Serves a request for its client alone, past any cache.
async fn alone(session: &mut Session<'_>, ctx: &mut RequestContext, job: Job) -> Result<(), Unserved> {
    match open(session, ctx, &job) {
        Ok(account) => Box::pin(serve::serve(session, ctx, job, account)).await,
        Err(unready) => unready.tell(session, ctx, job.operation.error_dialect()).await,
    }
}

/// Why a request does not come to its first try.
enum Unready {
    Refused(Refusal),
    Unserved(Unserved),
}

impl Unready {
    async fn tell(self, session: &mut Session<'_>, ctx: &mut RequestContext, dialect: Dialect) -> Result<(), Unserved> {
        match self {
            Self::Refused(refusal) => {
                tell_budgets(session, ctx);
                refuse(session, ctx, refusal, dialect).await
            }
            Self::Unserved(unserved) => {
                tell_budgets(session, ctx);
                Err(unserved)
            }
        }
    }
}

impl From<Refusal> for Unready {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Rejection> for Unready {
    fn from(rejection: Rejection) -> Self {
        Self::Unserved(Unserved::rejected(rejection))
    }
}

impl From<Unserved> for Unready {
    fn from(unserved: Unserved) -> Self {
        Self::Unserved(unserved)
    }
}

impl From<BadBody> for Unready {
    fn from(bad: BadBody) -> Self {
        Self::Refused(Refusal::of_request(StatusCode::BAD_REQUEST, bad.code(), bad.to_string()).param(bad.param()))
    }
}

/// What was read of a body.
struct Read {
    body: Body,
    /// Tokens of the prompt, estimated.
    input: u64,
}

/// Reads `body`; on another thread when it is long.
async fn read(door: AtDoor, content_type: Option<HeaderValue>, body: Bytes) -> Result<Read, Unready> {
    let length = body.len();
    let read = move || -> Result<Read, BadBody> {
        let operation = door.operation;
        let named = door.model.as_deref().map(|name| percent_decode_str(name).decode_utf8_lossy());
        let naming = match (&named, operation.usual_model()) {
            (Some(name), _) => Naming::Address(name),
            (None, Some(name)) => Naming::Usual(name),
            (None, None) => Naming::Body,
        };
        if operation.takes_form() {
            let content_type = content_type.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
            let form = Form::read(content_type, &body, naming)?;
            let input = estimate::form_tokens(operation, &form);
            return Ok(Read { body: Body::Form(form), input });
        }
        let asked = Asked::read(&body, operation.dialect(), naming)?;
        let input = estimate::input_tokens(&body, operation.dialect());
        Ok(Read { body: Body::Json(asked), input })
    };
    Ok(aside(length, read).await.ok_or(Rejection::Internal)??)
}

/// Makes the request ready for its first try: it is read, and its model found.
async fn prepare(
    session: &Session<'_>,
    ctx: &mut RequestContext,
    route: &AiRoute,
    gateway: &Gateway,
    door: AtDoor,
    (body, held): (Bytes, Held),
    parsing: Working<'_>,
) -> Result<Job, Unready> {
    let content_type = session.req_header().headers.get(header::CONTENT_TYPE).cloned();
    let (operation, of_azure) = (door.operation, door.model.is_some());
    let Read { body, input } = read(door, content_type, body).await?;
    let choosing = parsing.then(Phase::Choose);
    let model: Arc<str> = body.model().into();
    if let Some(trail) = &mut ctx.trail {
        trail.asked(&model, body.streams());
    }
    let strips = |field: &str| route.target.strip_body_fields.iter().any(|stripped| stripped == field);
    if body.in_background() && !strips("background") {
        // It would be paid for, and nobody could fetch it here.
        let message = "background is not served here: ask without it, as a stream if it takes long";
        let refusal = Refusal::of_request(StatusCode::BAD_REQUEST, "UNSUPPORTED_PARAMETER", message);
        return Err(refusal.param(Some("background")).into());
    }
    let plan = plan(ctx, route, gateway, &model).await?;
    let chosen = choosing.over();
    if let Some(trail) = &mut ctx.trail {
        trail.label = Some(Arc::clone(&plan.label));
    }
    let unbounded = || {
        let usual = estimate::usual_output(operation, input, plan.assumed_output);
        usual.max(translated_bound(route, &plan, operation, &body))
    };
    // A bound that the route takes out is none.
    let is_kept = !BOUNDS.into_iter().any(strips);
    let most_output = body.most_output().filter(|_| operation.generates() && is_kept).unwrap_or_else(unbounded);
    let output = most_output.saturating_add(body.predicted()).saturating_mul(body.answers());
    let (input, output) = if operation.charges() { (input, output) } else { (0, 0) };
    let mut draft = Draft::new(session, ctx, operation)?;
    if of_azure {
        // `api-version` is Azure's, whose own provider says which.
        draft.query = None;
    }
    let timeouts = plan.timeouts;
    Ok(Job {
        ai: Arc::clone(&route.state),
        connector: Arc::clone(&gateway.connector),
        operation,
        body: Arc::new(body),
        held,
        draft,
        plan,
        strip: route.target.strip_body_fields.clone(),
        client: ctx.client,
        input,
        output,
        cut_over_budget: route.target.cut_over_budget,
        sent: Sent::default(),
        began: ctx.started,
        until: chosen.checked_add(timeouts.total).unwrap_or(ctx.started),
    })
}

/// The most that an answer may have by the translation for one of the targets, where the client names no bound and the
/// provider's dialect asks for one.
fn translated_bound(route: &AiRoute, plan: &Plan, operation: Operation, body: &Body) -> u64 {
    let Body::Json(asked) = body else { return 0 };
    let effort = asked.text("reasoning_effort");
    let bounds = plan.candidates.iter().filter_map(|candidate| {
        let provider = route.state.config.providers.get(candidate.provider)?;
        match way(provider, operation)? {
            Way::Translate(dialect) => Some(translate::own_bound(dialect, effort.as_deref(), &candidate.model)),
            Way::Pass => None,
        }
    });
    bounds.max().unwrap_or(0)
}

/// Opens the account of `job`: what it may use is set aside.
fn open(session: &Session<'_>, ctx: &mut RequestContext, job: &Job) -> Result<Account, Unready> {
    let limiting = job.ai.books.gateway.begin(Phase::Limit);
    Ok(Account::new(reserve(session, ctx, job, limiting.began())?, job))
}

/// The targets of `model` on this route.
async fn plan(ctx: &RequestContext, route: &AiRoute, gateway: &Gateway, model: &str) -> Result<Plan, Refusal> {
    let state = &route.state;
    let mut plan = state.plan(model);
    if plan.is_none() && state.catalog.is_open() {
        // Nobody has said yet who has it.
        models::learn(state, &gateway.connector, ctx).await;
        plan = state.plan(model);
    }
    plan.filter(|_| route.allows(model)).ok_or_else(|| {
        let name: String = model.chars().take(MOST_SHOWN).collect();
        let message =
            format!("the model {name:?} is not known here, or may not be asked for; GET models lists those that may");
        Refusal::of_request(StatusCode::BAD_REQUEST, "UNSUPPORTED_MODEL", message).param(Some("model"))
    })
}

/// Takes what the request may use out of the limits of its route.
fn reserve(
    session: &Session<'_>,
    ctx: &mut RequestContext,
    job: &Job,
    now: Instant,
) -> Result<Option<Reserved>, Unready> {
    let Some(route) = ctx.route.clone() else { return Ok(None) };
    let Some(limits) = &route.limits else { return Ok(None) };
    let cost = if limits.limit_cost() { job.estimated_cost()? } else { 0 };
    let estimate = Estimate { tokens: job.tokens(), cost };
    let asked = limit::Asked {
        client: ctx.client,
        caller: ctx.caller.as_deref(),
        headers: &session.req_header().headers,
        model: Some(job.body.model()),
    };
    // Nobody else has them yet.
    let permits = ctx.permits.as_mut().and_then(Arc::get_mut);
    let reserved = limits.reserve(&asked, estimate, now, &mut ctx.fields, permits);
    reserved.map(Some).map_err(|refused| rejection(refused, ctx).into())
}

/// Reads the whole body of the request.
async fn read_body(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    route: &AiRoute,
    held: &mut Held,
) -> Result<Bytes, Unready> {
    let announced = content_length(&session.req_header().headers).unwrap_or(0);
    if announced > held.most_of_one() {
        return Err(never_fits(held.most_of_one()).into());
    }
    if exchange::expects_continue(session.req_header()) {
        let asked = session.write_continue_response().await;
        asked.map_err(|_| Unserved::Cut(Termination::ClientClosed))?;
    }
    let too_large = || Unserved::Rejected(Rejection::PayloadTooLarge, Termination::Rejected);
    let most = ctx.max_body();
    let announced = usize::try_from(announced.min(most)).unwrap_or(0).min(MOST_AT_ONCE);
    let mut first = Bytes::new();
    let mut body = BytesMut::new();
    let mut slice = 0;
    let mut pace = Pace::from(clock::now());
    while !session.is_body_done() {
        let read = session.read_body_or_idle(false).await;
        let Some(chunk) = read.map_err(|error| exchange::client_failed(Some(&error)))? else { break };
        ctx.body_in += chunk.len() as u64;
        if ctx.body_in > most {
            return Err(too_large().into());
        }
        if ctx.body_in > held.most_of_one() {
            return Err(never_fits(held.most_of_one()).into());
        }
        if !held.add(chunk.len() as u64) {
            tell_full(route, held);
            return Err(Unserved::Rejected(Rejection::AllBusy, Termination::Rejected).into());
        }
        if pace.is_slow(chunk.len() as u64, clock::now()) && held.is_half_full() {
            // It may be a slow network: but others need the room.
            return Err(Unserved::Rejected(Rejection::ClientTimeout, Termination::ClientTimeout).into());
        }
        // Most bodies come in one piece, which is not copied.
        if body.is_empty() && first.is_empty() {
            first = chunk;
            continue;
        }
        if body.is_empty() {
            body.reserve(announced.max(first.len() + chunk.len()));
            body.extend_from_slice(&first);
        }
        body.extend_from_slice(&chunk);
        slice += chunk.len();
        if slice >= SLICE {
            slice = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(if body.is_empty() { first } else { body.freeze() })
}

/// Tells the log, once in a while, that bodies find no room.
fn tell_full(route: &AiRoute, held: &Held) {
    if let Some(untold) = route.state.books.crowded_out.happened(clock::now()) {
        let mib = held.most() >> 20;
        warn!(
            target: "ai",
            "bodies of requests fill the {mib} MiB that they may have (ai.max_buffered): one was refused, and {untold} since \
             this was told last"
        );
    }
}

/// A body that is larger than all may be together: another try would end the same way.
fn never_fits(most: u64) -> Refusal {
    let message =
        format!("the request body is larger than the {most} bytes that all requests for models may have here");
    Refusal::of_request(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
}

/// Tells the client why there is no answer.
///
/// # Errors
/// When it is gone.
async fn refuse(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    refusal: Refusal,
    dialect: Dialect,
) -> Result<(), Unserved> {
    ctx.termination = Some(refusal.termination);
    ctx.error = refusal.own_code();
    let (content_type, body) = refusal.body(dialect, ctx.request_id.as_str());
    let mut fields = refusal.fields();
    fields.extend(answer::request_id(ctx));
    let answer = Answer { status: refusal.status, content_type, body, fields };
    local::send(session, ctx, answer).await
}
