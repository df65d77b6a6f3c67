//! Prometheus metrics: every name and label in one place.
//!
//! A request records once, into relaxed atomics of its thread's shard ([`RouteMetrics`], [`PoolMetrics`],
//! [`ListenerMetrics`]); a scrape sums the shards and writes the same numbers under each name that dashboards and
//! alert rules ask for (F17, F18, F19). Pools and members bring their numbers to the scrape ([`PoolSample`]).
//!
//! Invariants:
//! - Label values come from the configuration or from fixed sets, never from a client. A status is a number (T41).
//! - No label is called `instance` but where F17 names it for a pool's member (T20).
//! - Gauges are guards: when nothing is in flight they read zero.
//!
//! It does not serve HTTP: `admin` sends what [`Metrics::render`] returns.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus::process_collector::ProcessCollector;

use super::writer::LogFile;
use super::{Identity, SERVICE};
use crate::clock;
use crate::config::audit::EventKind;
use security::SecurityMetrics;

pub use ai::{
    AiGatewayMetrics, AiModelMetrics, AiObservation, AiProviderMetrics, BreakerSample, BreakerState, CredentialMetrics,
    KeySample, KeyState, NO_PROVIDER, OTHER_MODEL, Sampler, Working,
};
pub use auth::AuthFailures;
pub use caches::{CacheMetrics, Held};
pub use connections::{Connection, ListenerMetrics};
pub use limits::{AccountSample, BudgetGauges, LedgerGauges, LimitGauges, LimitMetrics, LimitOutcome, Unpriced};
pub use pools::{AttemptOutcome, MemberSample, PoolMetrics, PoolSample, TimeSample};
pub use requests::{InFlight, Kind, MethodLabel, Observation, RouteMetrics};
pub use sanitized::{Direction, Found, SanitizeMetrics, Unsanitized};
pub use tokens::{JwksMetrics, RevokedMetrics};

mod ai;
pub(crate) mod auth;
mod caches;
mod connections;
mod counters;
mod family;
mod limits;
mod pools;
mod render;
mod requests;
mod sanitized;
mod security;
mod statuses;
mod tokens;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;
/// The `route` of requests that no route takes.
pub const NO_ROUTE: &str = "none";
/// When more names than this are known, those that no snapshot uses any more are forgotten.
const MOST_NAMES: usize = 4096;
/// API keys whose ends are exported.
const MOST_API_KEYS: usize = 1000;

/// All metrics of the process. Made once; survives reloads.
pub struct Metrics {
    identity: Identity,
    ai: ai::AiMetrics,
    environment: Option<String>,
    process: ProcessCollector,
    routes: Named<RouteMetrics>,
    pools: Named<PoolMetrics>,
    caches: Named<CacheMetrics>,
    listeners: Named<ListenerMetrics>,
    jwks: Named<JwksMetrics>,
    revoked: Arc<RevokedMetrics>,
    sanitize: Named<SanitizeMetrics>,
    limits: Named<LimitMetrics>,
    limit_gauges: Mutex<BTreeMap<Arc<str>, Weak<LimitGauges>>>,
    ledger: Arc<LedgerGauges>,
    unpriced: Arc<Unpriced>,
    logs: Mutex<BTreeMap<&'static str, Weak<LogFile>>>,
    auth_failures: Arc<AuthFailures>,
    reload: Mutex<Reload>,
    reloads_ok: AtomicU64,
    reloads_failed: AtomicU64,
    upgrades_ok: AtomicU64,
    certificates: Mutex<BTreeMap<String, u64>>,
    api_keys: Mutex<Vec<(Arc<str>, u64)>>,
    upgrades_failed: AtomicU64,
    panics: AtomicU64,
    log_errors: AtomicU64,
    malformed: AtomicU64,
    security: SecurityMetrics,
    draining: AtomicBool,
}

/// How the last load of the configuration went.
#[derive(Debug, Clone, Copy, Default)]
struct Reload {
    /// Seconds since the epoch of the last good one; 0 before it.
    succeeded_at: f64,
    /// Why the last one failed; `None` when it did not.
    failure: Option<&'static str>,
}

type Named<T> = Mutex<BTreeMap<Arc<str>, Arc<T>>>;

impl Metrics {
    /// Metrics with nothing recorded yet. `identity` stands on every series of ours.
    pub fn new(identity: &Identity) -> Self {
        Self {
            identity: identity.clone(),
            ai: ai::AiMetrics::default(),
            environment: None,
            process: ProcessCollector::for_self(),
            routes: Named::default(),
            pools: Named::default(),
            caches: Named::default(),
            listeners: Named::default(),
            jwks: Named::default(),
            revoked: Arc::default(),
            sanitize: Named::default(),
            limits: Named::default(),
            limit_gauges: Mutex::default(),
            ledger: Arc::default(),
            unpriced: Arc::default(),
            logs: Mutex::default(),
            auth_failures: Arc::new(AuthFailures::new()),
            reload: Mutex::default(),
            reloads_ok: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            upgrades_ok: AtomicU64::new(0),
            certificates: Mutex::default(),
            api_keys: Mutex::default(),
            upgrades_failed: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            log_errors: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            security: SecurityMetrics::new(),
            draining: AtomicBool::new(false),
        }
    }

    /// With the name of the environment on every series too (A3.08).
    #[must_use]
    pub fn in_environment(self, environment: Option<String>) -> Self {
        Self { environment, ..self }
    }

    /// The metrics of the route called `name`, made at the first call. Taken when a snapshot is built.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        get_or_make(&self.routes, name, RouteMetrics::new)
    }

    /// The metrics of the pool called `name`, made at the first call. Taken when a snapshot is built.
    pub fn pool(&self, name: &str) -> Arc<PoolMetrics> {
        get_or_make(&self.pools, name, PoolMetrics::new)
    }

    /// Where credentials that were no good are counted.
    pub fn auth_failures(&self) -> Arc<AuthFailures> {
        Arc::clone(&self.auth_failures)
    }

    /// The metrics of the cache called `name`, made at the first call. Taken when a snapshot is built.
    pub fn cache(&self, name: &str) -> Arc<CacheMetrics> {
        get_or_make(&self.caches, name, CacheMetrics::new)
    }

    /// The metrics of the listener at `address`, as configured.
    pub fn listener(&self, address: &str) -> Arc<ListenerMetrics> {
        get_or_make(&self.listeners, address, ListenerMetrics::new)
    }

    /// The metrics of the JWK set at `url`, made at the first call.
    pub fn jwks(&self, url: &str) -> Arc<JwksMetrics> {
        get_or_make(&self.jwks, url, JwksMetrics::new)
    }

    /// The metrics of revoked tokens.
    pub fn revoked(&self) -> Arc<RevokedMetrics> {
        Arc::clone(&self.revoked)
    }

    /// The metrics of the set of masking rules called `name`, made at the first call. Taken when a snapshot is built.
    pub fn sanitize(&self, name: &str) -> Arc<SanitizeMetrics> {
        get_or_make(&self.sanitize, name, SanitizeMetrics::new)
    }

    /// The metrics of `limit` on `route`, made at the first call. Taken when a snapshot is built.
    pub fn limit(&self, limit: &Arc<str>, route: &Arc<str>) -> Arc<LimitMetrics> {
        // No name has a slash in it.
        let both = format!("{limit}/{route}");
        get_or_make(&self.limits, &both, |_| LimitMetrics::new(Arc::clone(limit), Arc::clone(route)))
    }

    /// Exports what the limit `name` remembers, for as long as it does.
    pub fn watch_limit(&self, name: &Arc<str>, gauges: &Arc<LimitGauges>) {
        let mut watched = lock(&self.limit_gauges);
        watched.retain(|_, gauges| gauges.strong_count() > 0);
        watched.insert(Arc::clone(name), Arc::downgrade(gauges));
    }

    /// How the keeping of budgets goes.
    pub fn ledger(&self) -> Arc<LedgerGauges> {
        Arc::clone(&self.ledger)
    }

    /// Where models without a price are counted.
    pub fn unpriced(&self) -> Arc<Unpriced> {
        Arc::clone(&self.unpriced)
    }

    /// Exports the lost lines of a log file under `log="name"` for as long as the file lives.
    pub fn watch_log(&self, name: &'static str, file: &Arc<LogFile>) {
        lock(&self.logs).insert(name, Arc::downgrade(file));
    }

    /// Records that a configuration was loaded and is in use: at the start and at every reload.
    pub fn config_loaded(&self) {
        self.reloads_ok.fetch_add(1, Ordering::Relaxed);
        *lock(&self.reload) = Reload { succeeded_at: wall_seconds(), failure: None };
    }

    /// Records that a configuration was refused. `reason` is one word of a fixed set, such as `config`, `certificate`
    /// or `listener`; the log has the text.
    pub fn config_refused(&self, reason: &'static str) {
        self.reloads_failed.fetch_add(1, Ordering::Relaxed);
        lock(&self.reload).failure = Some(reason);
    }

    /// Records that another process was to take over, and whether it did.
    pub fn upgraded(&self, done: bool) {
        let counter = if done { &self.upgrades_ok } else { &self.upgrades_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Exports when these certificates end, by their files, in the place of those before.
    pub fn set_certificates(&self, certificates: impl Iterator<Item = (String, u64)>) {
        *lock(&self.certificates) = certificates.collect();
    }

    /// Exports when these API keys end, by their ids, in the place of those before: of those that end first, a thousand.
    pub fn set_api_keys(&self, keys: impl Iterator<Item = (Arc<str>, u64)>) {
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable_by_key(|(_, ends)| *ends);
        keys.truncate(MOST_API_KEYS);
        *lock(&self.api_keys) = keys;
    }

    /// Records a panic. The panic hook of [`super::logging`] does.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a line of level ERROR in the process log. The logger does.
    pub fn log_error(&self) {
        self.log_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a request that was not valid HTTP and never reached a route.
    pub fn malformed_request(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a security event. The audit log does.
    pub fn security_event(&self, kind: EventKind) {
        self.security.event(kind);
    }

    /// Records whether an alarm reached the webhook.
    pub fn webhook_posted(&self, ok: bool) {
        self.security.posted(ok);
    }

    /// Records an alarm that found no room on its way to the webhook.
    pub fn webhook_dropped(&self) {
        self.security.dropped();
    }

    /// Says whether the process is draining.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Everything in the text format 0.0.4, with `pools` and `accounts` as they are now. Costs some microseconds a series:
    /// not for a hot path.
    pub fn render(&self, pools: &[PoolSample], accounts: &[AccountSample]) -> Vec<u8> {
        render::render(self, pools, accounts)
    }
}

fn get_or_make<T>(named: &Named<T>, name: &str, make: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
    let mut named = lock(named);
    if let Some(known) = named.get(name) {
        return known.clone();
    }
    if named.len() >= MOST_NAMES {
        named.retain(|_, metrics| Arc::strong_count(metrics) > 1);
    }
    let name: Arc<str> = name.into();
    let metrics = Arc::new(make(name.clone()));
    named.insert(name, metrics.clone());
    metrics
}

fn wall_seconds() -> f64 {
    std::time::Duration::from_millis(clock::wall_millis()).as_secs_f64()
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
