//! The fetches of a worker: each brings one answer for all who wait for it, and stores it.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Method, StatusCode, header};
use tokio::task::JoinSet;

use super::variant;
use crate::cache::fill::{Coming, Confirmed, Failure, Filler, Informed};
use crate::cache::key::Key;
use crate::cache::{Answered, ErrorScan, Freshness, Head, Store, Stored, Unstorable, conditional, tags, vary};
use crate::clock;
use crate::config::cache::CacheRules;
use crate::limit::Permits;
use crate::observe::Termination;
use crate::proxy::context::{RequestContext, UpstreamRecord};
use crate::proxy::fetch::{Fetch, Fetched};
use crate::proxy::forward::{fields_for_upstream, request_for_upstream};
use crate::proxy::headers::{content_length, strip_hop_by_hop};
use crate::proxy::rejection::Rejection;
use crate::snapshot::RouteState;
use crate::transport::http1;
use crate::transport::session::Session;
use crate::upstream::connect::Connector;

/// The fetches of one worker. They end with it.
#[derive(Default)]
pub struct Fetches {
    tasks: Mutex<JoinSet<()>>,
}

impl Fetches {
    /// Runs `fetch` beside the requests of this worker.
    pub fn spawn(&self, fetch: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(fetch);
    }
}

/// What became of the attempts of a fetch, for the request that it was made for.
pub type Record = Arc<Mutex<Option<UpstreamRecord>>>;

/// Takes out what is told of the attempts so far.
pub fn take(record: &Record) -> Option<UpstreamRecord> {
    record.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The request towards the pool for that of `session`: for the whole answer, or for what is newer than `stored`.
///
/// # Errors
/// What the client is told when its request cannot be forwarded.
pub fn fetch(
    session: &Session<'_>,
    ctx: &RequestContext,
    route: &Arc<RouteState>,
    connector: &Arc<Connector>,
    stored: Option<&Stored>,
) -> Result<Fetch, Rejection> {
    let mut fields = fields_for_upstream(session, ctx)?;
    fields.remove(header::RANGE);
    for name in &conditional::CONDITIONS {
        fields.remove(name);
    }
    fields.extend(stored.into_iter().flat_map(|stored| conditional::conditions(&stored.head.headers)));
    let request = request_for_upstream(session, ctx, &Method::GET, &fields)?;
    // They may choose the answer, whoever the caller is to this gateway.
    let passed_on = fields.get(header::AUTHORIZATION);
    let authorized = passed_on.is_some() && passed_on == session.req_header().headers.get(header::AUTHORIZATION);
    Ok(Fetch {
        route: Arc::clone(route),
        connector: Arc::clone(connector),
        asked: Box::new(session.req_header().clone()),
        request,
        authorized,
        id: ctx.request_id,
        client: ctx.client,
    })
}

/// A fetch, and what is to be done with its answer.
pub struct Job {
    /// The request.
    pub fetch: Fetch,
    /// Where its answer goes.
    pub store: Arc<Store>,
    /// Whether it goes there.
    pub rules: CacheRules,
    /// The key of its URL.
    pub base: Key,
    /// The fields of the request as the client sent it.
    pub asked: HeaderMap,
    /// The URL, as purges name it.
    pub url: Box<str>,
    /// The stored answer that it asks about.
    pub validates: Option<Arc<Stored>>,
    /// Where its attempts are told.
    pub record: Record,
    /// What its request holds of limits: it counts as in flight until the fetch has ended.
    pub permits: Option<Arc<Permits>>,
}

impl Job {
    /// Fetches, tells `filler`, and stores.
    pub async fn run(self, filler: Filler) {
        let Self { fetch, store, rules, base, asked, url, validates, record, permits } = self;
        let authorized = fetch.authorized;
        let _in_flight = permits;
        let judge = Judge { store, rules, base, asked, url, authorized, began: clock::now() };
        let inform = |head: http1::Head| filler.inform(Informed { status: head.status, headers: head.headers });
        match fetch.send(&inform).await {
            Ok((fetched, attempts)) => {
                tell(&record, attempts);
                judge.take(fetched, filler, validates).await;
            }
            Err(unfetched) => {
                judge.store.metrics().fetch_failed();
                tell(&record, unfetched.record);
                let status = unfetched.rejection.status().as_u16();
                filler.fail(Failure { status, termination: unfetched.termination });
            }
        }
    }
}

fn tell(record: &Record, value: UpstreamRecord) {
    *record.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}

/// What the client hears of a fetch that brought nothing.
pub fn rejection_of(failure: Failure) -> Rejection {
    match (failure.termination, failure.status) {
        (Termination::UpstreamConnect, 504) => Rejection::ConnectTimeout,
        (Termination::UpstreamConnect, _) => Rejection::UpstreamConnect,
        (Termination::UpstreamTimeout, _) => Rejection::UpstreamTimeout,
        (Termination::UpstreamReset, _) => Rejection::UpstreamReset,
        (Termination::UpstreamInvalid, _) => Rejection::UpstreamInvalid,
        (Termination::NoMember, _) => Rejection::NoMember,
        (Termination::Rejected, 503) => Rejection::AllBusy,
        _ => Rejection::Internal,
    }
}

/// What is known of an answer before it comes.
struct Judge {
    store: Arc<Store>,
    rules: CacheRules,
    base: Key,
    asked: HeaderMap,
    url: Box<str>,
    authorized: bool,
    began: std::time::Instant,
}

impl Judge {
    async fn take(self, fetched: Fetched, filler: Filler, validates: Option<Arc<Stored>>) {
        let head = head_of(fetched.head());
        match validates {
            Some(stored) if head.status == StatusCode::NOT_MODIFIED => {
                self.confirm(filler, head, &stored);
                fetched.finish();
            }
            _ => self.pass_on(fetched, filler, head).await,
        }
    }

    fn freshness(&self, head: &Head) -> Result<Freshness, Unstorable> {
        let delay = head.received.saturating_duration_since(self.began);
        let (status, headers, received) = (head.status, &head.headers, head.received_wall);
        let answered = Answered { status, headers, authorized: self.authorized, received, delay };
        Freshness::of(&answered, &self.rules)
    }

    /// Passes an answer on to those who wait, and stores it when it was whole and may be.
    async fn pass_on(self, mut fetched: Fetched, mut filler: Filler, head: Head) {
        let length = content_length(&head.headers);
        let judged = self.freshness(&head);
        let small = length.is_none_or(|length| length <= self.store.config().max_object);
        let shared = match &judged {
            Ok(freshness) => small && freshness.lifetime > freshness.initial_age,
            // An error is told to all who wait: each asking again is what a failing member needs least.
            // Unless it may be meant for the one who asked: such a page may show what that one sent.
            Err(why) => {
                let named = [header::COOKIE, header::AUTHORIZATION].iter().any(|name| self.asked.contains_key(name));
                let personal = named || matches!(why, Unstorable::Personal | Unstorable::NoStore);
                head.status.is_server_error() && !personal
            }
        };
        let freshness = judged.ok().filter(|_| small);
        let by = vary::names(&head.headers).unwrap_or_default();
        let variant = variant(&self.base, &by, &self.asked);
        let mut kept = freshness.is_some().then(|| Scan::of(&head.headers, &self.rules));
        filler.answer(Coming { head: head.clone(), by: by.clone(), variant, shared, freshness: freshness.clone() });
        let mut coming_in = Some(self.store.coming_in());
        let end = loop {
            let read = tokio::select! {
                biased;
                read = fetched.chunk() => read,
                () = filler.abandoned() => return,
            };
            let chunk = match read {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Ok(()),
                Err(termination) => break Err(termination),
            };
            if let Some(scan) = &mut kept {
                scan.feed(&chunk);
                if !coming_in.as_mut().is_some_and(|coming_in| coming_in.add(chunk.len() as u64)) {
                    kept = None;
                    coming_in = None;
                    filler.stop_keeping();
                }
            }
            if filler.push(chunk).await.is_err() {
                return;
            }
        };
        if end.is_ok()
            && let (Some(freshness), Some(scan)) = (freshness, kept)
            && !scan.is_error()
            && let Some(body) = filler.body()
        {
            self.put(&filler, head, freshness, &by, body);
        }
        filler.finish(end, coming_in);
        if end.is_ok() {
            fetched.finish();
        }
    }

    /// Tells that `stored` holds, with the fields that came with that (RFC 9111, section 4.3.4).
    fn confirm(&self, filler: Filler, mut head: Head, stored: &Arc<Stored>) {
        head.headers = conditional::freshened(&stored.head.headers, &head.headers);
        head.status = stored.head.status;
        head.reason.clone_from(&stored.head.reason);
        let by = vary::names(&head.headers).unwrap_or_default();
        let variant = variant(&self.base, &by, &self.asked);
        match self.freshness(&head) {
            Ok(freshness) => {
                let stored = self.put(&filler, head, freshness, &by, stored.body.clone());
                filler.confirm(Confirmed { stored, by, variant, shared: true });
            }
            // It may not be stored any more, and is for nobody but the one who asked.
            Err(_) => {
                let freshness = stored.freshness.clone();
                head.prepare(&freshness);
                let (url, tags) = (self.url.clone(), stored.tags.clone());
                let stored = Arc::new(Stored::new(head, stored.body.clone(), url, tags, freshness));
                filler.confirm(Confirmed { stored, by, variant, shared: false });
            }
        }
    }

    fn put(
        &self,
        filler: &Filler,
        mut head: Head,
        freshness: Freshness,
        by: &[http::HeaderName],
        body: bytes::Bytes,
    ) -> Arc<Stored> {
        let tags = tags(&head.headers, &self.store.config().tag_headers);
        head.prepare(&freshness);
        let stored = Stored::new(head, body, self.url.clone(), tags, freshness);
        self.store.put(&self.base, by, &self.asked, stored, filler.ticket())
    }
}

/// A look at what is kept, where that is wanted.
struct Scan(Option<ErrorScan>);

impl Scan {
    fn of(headers: &HeaderMap, rules: &CacheRules) -> Self {
        let json = headers.get(header::CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes()));
        Self((json && !rules.store_error_bodies).then(ErrorScan::default))
    }

    fn feed(&mut self, bytes: &[u8]) {
        if let Some(scan) = &mut self.0 {
            scan.feed(bytes);
        }
    }

    fn is_error(&self) -> bool {
        self.0.as_ref().is_some_and(ErrorScan::is_error)
    }
}

fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let kind = kind.to_ascii_lowercase();
    kind == b"application/json" || kind == b"text/json" || kind.ends_with(b"+json")
}

fn head_of(answer: &http1::Head) -> Head {
    let mut headers = answer.headers.clone();
    strip_hop_by_hop(&mut headers, answer.status);
    let (received, received_wall) = (clock::now(), clock::wall());
    Head { status: answer.status, reason: answer.reason.clone(), headers, received, received_wall }
}
