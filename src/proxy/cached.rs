//! A request on a route with a cache: served from what is stored, by a fetch that it shares with others, or past the cache.
//!
//! Invariants: nothing is served that `cache` does not say may be; a request waits for another one's fetch no longer
//! than `coalesce_timeout`; a fetch belongs to the worker, so that no client's leaving takes an answer from others.
//!
//! Requests with other methods than GET and HEAD, with a body, or with conditions on what they change go past the
//! cache. So do HEAD and Range where nothing is stored: their answers are not the whole.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::RequestHeader;

use super::context::RequestContext;
use super::exchange::{self, Unserved};
use super::headers::{nominated, request_host};
use super::rejection::Rejection;
use crate::cache::fill::{Coming, Confirmed, Failure, News, Reader};
use crate::cache::key::{Asked, Key};
use crate::cache::{Joined, RequestControl, Store, Stored, Verdict, invalidate, vary};
use crate::clock;
use crate::observe::{CacheStatus, Termination};
use crate::route::NormalPath;
use crate::snapshot::{CacheRoute, PoolRoute, RouteState};
use crate::transport::session::Session;
use crate::upstream::connect::Connector;
use fetching::{Fetches, Job};

mod answer;
pub mod fetching;

const X_CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
/// How often a request looks for another variant's fetch before it goes past the cache.
const MOST_VARIANTS: u32 = 3;

/// Fields of the connection itself, which Connection names as a matter of course.
const CONNECTION_FIELDS: [&str; 6] = ["keep-alive", "proxy-connection", "te", "trailer", "upgrade", "http2-settings"];

/// What a request is served by.
pub struct Cached<'a> {
    /// Its route.
    pub route: &'a Arc<RouteState>,
    /// The route's cache.
    pub cache: &'a CacheRoute,
    /// The route's pool.
    pub pool: &'a PoolRoute,
    /// The connections of this worker.
    pub connector: &'a Arc<Connector>,
    /// The fetches of this worker.
    pub fetches: &'a Fetches,
}

/// What the request asks for, looked up.
struct Request {
    /// The key of its URL.
    base: Key,
    /// The key of its variant.
    key: Key,
    url: String,
    control: RequestControl,
    stored: Option<Arc<Stored>>,
}

/// What the fetch that a request takes part in meant for it.
enum Outcome {
    Served,
    /// It is asked past the cache.
    Past,
    /// The answer is another variant's; this is the key of its own.
    Elsewhere(Key),
}

impl Request {
    /// Its URL, as purges name it.
    fn url(&self) -> &str {
        self.stored.as_ref().map_or(&self.url, |stored| &stored.url)
    }
}

impl Cached<'_> {
    /// Serves the request of `session`.
    pub async fn serve(&self, session: &mut Session<'_>, ctx: &mut RequestContext) -> Result<(), Unserved> {
        let store = &self.cache.store;
        let Some(mut request) = self.request(session, ctx) else { return self.past(session, ctx).await };
        if let Some(stored) = request.stored.clone() {
            match stored.verdict(&request.control, clock::now()) {
                Verdict::Fresh => return answer::stored(session, ctx, store, &stored, CacheStatus::Hit).await,
                Verdict::Stale { refresh } => {
                    if refresh {
                        self.refresh(session, ctx, &request);
                    }
                    return answer::stored(session, ctx, store, &stored, CacheStatus::Stale).await;
                }
                Verdict::Validate => {}
            }
        }
        if request.control.only_if_cached {
            return Err(Unserved::Rejected(Rejection::NotCached, Termination::Rejected));
        }
        let partial = session.req_header().headers.contains_key(header::RANGE) || ctx.method == Method::HEAD;
        if (partial && request.stored.is_none()) || store.is_unshared(&request.key) {
            return self.past(session, ctx).await;
        }
        for _ in 0..MOST_VARIANTS {
            match Box::pin(self.take_part(session, ctx, &request)).await? {
                Outcome::Served => return Ok(()),
                Outcome::Past => break,
                Outcome::Elsewhere(key) => {
                    request.key = key;
                    if let Some(stored) = request.stored.take() {
                        request.url = stored.url.to_string();
                    }
                }
            }
        }
        self.past(session, ctx).await
    }

    /// What is asked for, and what is stored of it; `None` when it is nothing for a cache.
    fn request(&self, session: &mut Session<'_>, ctx: &RequestContext) -> Option<Request> {
        let bodiless = session.is_body_empty();
        let request = session.req_header();
        let headers = &request.headers;
        let plain = matches!(ctx.method, Method::GET | Method::HEAD)
            && bodiless
            && !nominates_fields(headers)
            && !headers.contains_key(header::IF_MATCH)
            && !headers.contains_key(header::IF_UNMODIFIED_SINCE);
        let rules = &self.cache.rules;
        let control = if rules.request_directives { RequestControl::of(headers) } else { RequestControl::default() };
        if !plain || control.no_store {
            return None;
        }
        let path = NormalPath::parse(request.uri.path()).ok()?;
        let caller = ctx.caller.as_ref().filter(|_| !rules.share_between_callers);
        let asked = Asked {
            route: &self.route.config.name,
            https: is_https(ctx),
            host: host(ctx, request),
            path: path.forward(),
            query: request.uri.query(),
            caller: caller.map(|caller| &*caller.scope),
            headers,
        };
        let base = asked.key(&rules.key_headers);
        let found = self.cache.store.find(base.clone(), headers);
        let url = if found.stored.is_some() { String::new() } else { asked.url() };
        Some(Request { base, key: found.key, url, control, stored: found.stored })
    }

    /// Takes part in the fetch for `request`, and begins one where there is none.
    async fn take_part(
        &self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        request: &Request,
    ) -> Result<Outcome, Unserved> {
        let store = &self.cache.store;
        let coalesce = store.config().coalesce_timeout;
        let joined = if coalesce.is_zero() {
            let (filler, reader) = store.alone();
            Some(Joined::Leads(filler, reader))
        } else {
            store.join(&request.key, request.url())
        };
        match joined {
            None => Ok(Outcome::Past),
            Some(Joined::Follows(reader)) => self.follow(session, ctx, request, reader, coalesce).await,
            Some(Joined::Leads(filler, mut reader)) => {
                // Another fetch may have ended between the look and now.
                let again = store.find(request.base.clone(), &session.req_header().headers);
                let again = again.stored.filter(|_| again.key == request.key);
                let fresh = again.filter(|stored| stored.verdict(&request.control, clock::now()) == Verdict::Fresh);
                if let Some(stored) = fresh {
                    let by = vary::names(&stored.head.headers).unwrap_or_default();
                    let variant = variant(&request.base, &by, &session.req_header().headers);
                    filler.confirm(Confirmed { stored: Arc::clone(&stored), by, variant, shared: true });
                    answer::stored(session, ctx, store, &stored, CacheStatus::Hit).await?;
                    return Ok(Outcome::Served);
                }
                let job = self.job(session, ctx, request)?;
                let record = Arc::clone(&job.record);
                self.fetches.spawn(job.run(filler));
                let news = news(session, &mut reader, Duration::MAX, true).await?;
                if let Some(record) = fetching::take(&record) {
                    ctx.upstream = record;
                }
                match news {
                    Some(news) => self.lead(session, ctx, request, reader, news).await,
                    None => Ok(Outcome::Past),
                }
            }
        }
    }

    /// Serves the request that the fetch was made for.
    async fn lead(
        &self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        request: &Request,
        reader: Reader,
        news: News,
    ) -> Result<Outcome, Unserved> {
        let store = &self.cache.store;
        match news {
            News::Informed(_) => {}
            News::Confirmed(confirmed) => {
                answer::stored(session, ctx, store, &confirmed.stored, CacheStatus::Revalidated).await?;
            }
            News::Failed(failure) => self.failed(session, ctx, request, failure).await?,
            News::Answer(coming) => {
                if let Some(stored) = in_place_of(request, &coming) {
                    drop(reader);
                    answer::stored(session, ctx, store, stored, CacheStatus::Stale).await?;
                } else {
                    answer::coming(session, ctx, store, &coming, reader, CacheStatus::Miss).await?;
                }
            }
        }
        Ok(Outcome::Served)
    }

    /// Serves a request by the fetch of another one, if that brings something for it in time.
    async fn follow(
        &self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        request: &Request,
        mut reader: Reader,
        patience: Duration,
    ) -> Result<Outcome, Unserved> {
        let store = &self.cache.store;
        let news = loop {
            match news(session, &mut reader, patience, false).await? {
                None if !reader.may_go_alone(patience) => {}
                news => break news,
            }
        };
        match news {
            None | Some(News::Informed(_)) => return Ok(Outcome::Past),
            Some(News::Confirmed(confirmed)) => {
                let mine = variant(&request.base, &confirmed.by, &session.req_header().headers);
                if !confirmed.shared {
                    return Ok(Outcome::Past);
                }
                if mine != confirmed.variant {
                    return Ok(Outcome::Elsewhere(mine));
                }
                answer::stored(session, ctx, store, &confirmed.stored, CacheStatus::Coalesced).await?;
            }
            Some(News::Failed(failure)) => self.failed(session, ctx, request, failure).await?,
            Some(News::Answer(coming)) => {
                if let Some(stored) = in_place_of(request, &coming) {
                    drop(reader);
                    answer::stored(session, ctx, store, stored, CacheStatus::Stale).await?;
                    return Ok(Outcome::Served);
                }
                let mine = variant(&request.base, &coming.by, &session.req_header().headers);
                if !coming.shared && matches!(coming.head.status.as_u16(), 502..=504) {
                    // What it says is for the one who asked. That it fails is for all: asking again is what it needs least.
                    note(ctx, store, CacheStatus::Coalesced);
                    return Err(Unserved::Rejected(Rejection::NoMember, Termination::Rejected));
                }
                if !coming.shared {
                    return Ok(Outcome::Past);
                }
                if mine != coming.variant {
                    return Ok(Outcome::Elsewhere(mine));
                }
                answer::coming(session, ctx, store, &coming, reader, CacheStatus::Coalesced).await?;
            }
        }
        Ok(Outcome::Served)
    }

    /// Answers when the fetch brought nothing: with what is stored, if that may serve then.
    async fn failed(
        &self,
        session: &mut Session<'_>,
        ctx: &mut RequestContext,
        request: &Request,
        failure: Failure,
    ) -> Result<(), Unserved> {
        let stored = request.stored.as_ref().filter(|_| !request.control.no_cache);
        match stored.filter(|stored| stored.serves_on_error(true, clock::now())) {
            Some(stored) => answer::stored(session, ctx, &self.cache.store, stored, CacheStatus::Stale).await,
            None => {
                note(ctx, &self.cache.store, CacheStatus::Miss);
                Err(Unserved::Rejected(fetching::rejection_of(failure), failure.termination))
            }
        }
    }

    /// Fetches behind a stale answer, unless somebody does already.
    fn refresh(&self, session: &Session<'_>, ctx: &RequestContext, request: &Request) {
        if let Some(Joined::Leads(filler, _)) = self.cache.store.join(&request.key, request.url())
            && let Ok(job) = self.job(session, ctx, request)
        {
            self.fetches.spawn(job.run(filler));
        }
    }

    fn job(&self, session: &Session<'_>, ctx: &RequestContext, request: &Request) -> Result<Job, Unserved> {
        let stored = request.stored.clone();
        let url = stored.as_ref().map_or_else(|| request.url.as_str().into(), |stored| stored.url.clone());
        let fetch = fetching::fetch(session, ctx, self.route, self.connector, stored.as_deref());
        let fetch = fetch.map_err(Unserved::rejected)?;
        Ok(Job {
            fetch,
            store: Arc::clone(&self.cache.store),
            rules: self.cache.rules.clone(),
            base: request.base.clone(),
            asked: session.req_header().headers.clone(),
            url,
            validates: stored.filter(|stored| crate::cache::has_validator(&stored.head.headers)),
            record: Arc::default(),
            permits: ctx.permits.clone(),
        })
    }

    /// Asks a member past the cache.
    async fn past(&self, session: &mut Session<'_>, ctx: &mut RequestContext) -> Result<(), Unserved> {
        note(ctx, &self.cache.store, CacheStatus::Bypass);
        // Boxed: it is large, and an answer of the cache would carry room for it.
        Box::pin(exchange::serve(session, ctx, self.pool, self.connector)).await
    }
}

/// What is stored, when it serves better than a member's error (RFC 5861, section 4).
fn in_place_of<'a>(request: &'a Request, coming: &Coming) -> Option<&'a Arc<Stored>> {
    let error = matches!(coming.head.status.as_u16(), 500 | 502 | 503 | 504) && !request.control.no_cache;
    request.stored.as_ref().filter(|stored| error && stored.serves_on_error(false, clock::now()))
}

/// The key of the variant that `headers` ask for.
fn variant(base: &Key, by: &[HeaderName], headers: &HeaderMap) -> Key {
    if by.is_empty() { base.clone() } else { base.varied(by, headers) }
}

/// What the fetch brings in the end; `None` when that is not there within `patience`. Informational answers before it
/// are passed on (RFC 9110, section 15.2) to the request that the fetch was `made_for`: they may be meant for it alone.
async fn news(
    session: &mut Session<'_>,
    reader: &mut Reader,
    patience: Duration,
    made_for: bool,
) -> Result<Option<News>, Unserved> {
    let until = clock::now().checked_add(patience);
    loop {
        let waited = async {
            match until {
                Some(until) => tokio::time::timeout_at(until.into(), reader.news()).await.ok(),
                None => Some(reader.news().await),
            }
        };
        match watched(session, waited).await? {
            Some(News::Informed(informed)) if made_for => answer::informed(session, &informed).await?,
            Some(News::Informed(_)) => {}
            news => return Ok(news),
        }
    }
}

/// Waits for `future` as long as the client is there.
async fn watched<T>(session: &mut Session<'_>, future: impl Future<Output = T>) -> Result<T, Unserved> {
    tokio::select! {
        biased;
        done = future => Ok(done),
        _ = session.read_body_or_idle(true) => Err(Unserved::Cut(Termination::ClientClosed)),
    }
}

/// Says how the request is answered: to the client, the log and the metrics.
fn note(ctx: &mut RequestContext, store: &Store, status: CacheStatus) {
    store.metrics().answered(status);
    ctx.cache = Some(status);
    ctx.fields.push((X_CACHE_STATUS, HeaderValue::from_static(status.as_str())));
}

/// Whether Connection takes fields away from the request: its answer would not be one to the fields that it is kept by.
fn nominates_fields(headers: &HeaderMap) -> bool {
    let of_connection = |name: &HeaderName| CONNECTION_FIELDS.contains(&name.as_str());
    nominated(headers).any(|name| !of_connection(&name) && headers.contains_key(name))
}

/// The host that members are told of: a trusted proxy may name another one than it asks for.
fn host<'a>(ctx: &'a RequestContext, request: &'a RequestHeader) -> &'a str {
    let told = ctx.forwarding.as_ref().filter(|forwarding| forwarding.trusted);
    let told = told.and_then(|forwarding| forwarding.host.as_ref()?.to_str().ok());
    told.unwrap_or_else(|| request_host(&request.uri, &request.headers))
}

fn is_https(ctx: &RequestContext) -> bool {
    ctx.forwarding.as_ref().is_some_and(|forwarding| forwarding.proto == "https")
}

/// Takes in an answer that a member gave past the cache: one to an unsafe request makes what is stored unusable. Called
/// before the client sees it, so that what the client asks next is asked anew.
pub fn observe(session: &Session<'_>, ctx: &RequestContext, status: StatusCode, answer: &HeaderMap) {
    let Some(cache) = ctx.route.as_ref().and_then(|route| route.cache.as_ref()) else { return };
    if !invalidate::changes(&ctx.method, status) {
        return;
    }
    let request = session.req_header();
    let Ok(path) = NormalPath::parse(request.uri.path()) else { return };
    let place = invalidate::Place {
        host: host(ctx, request),
        https: is_https(ctx),
        path: path.forward(),
        query: request.uri.query(),
    };
    for url in invalidate::targets(&place, answer) {
        cache.store.invalidate(&url);
    }
}
