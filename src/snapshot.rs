//! Snapshot: all a request may read, behind one ArcSwap.
//!
//! **Invariant:** a request takes the snapshot once, when it begins, and lives in that generation to its end. Reloads
//! and changed addresses both publish a whole new snapshot; what outlives it is in [`Live`]. Who publishes them is not its matter.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use log::warn;

use crate::ai::answers::Answers;
use crate::ai::catalog::Catalog;
use crate::ai::price::Prices;
use crate::auth::{Authenticator, Tokens};
use crate::balance::live::Live;
use crate::balance::{Pool, Selector};
use crate::cache::{Caches, Store};
use crate::clock;
use crate::config::ai::{Ai, AiTarget};
use crate::config::cache::CacheRules;
use crate::config::sanitize::Sanitize;
use crate::config::{self, Balance, Config, Retry, Target, UpstreamTimeouts};
use crate::limit::{Limiter, Limits, RouteLimits};
use crate::observe::access_log::AccessLog;
use crate::observe::audit::Audit;
use crate::observe::metrics::{AuthFailures, Found, Metrics, PoolMetrics, RouteMetrics, SanitizeMetrics};
use crate::route::RouteTable;
use crate::upstream::peer::MemberPeer;
use crate::upstream::resolve::Addresses;
use crate::upstream::retry::Budget;
use ai::{AiCache, AiLive, AiRoute, AiState, ProviderState};
use books::Books;

pub mod ai;
pub mod books;
pub mod unserved;

/// One generation of everything a request may read.
pub struct Snapshot {
    /// Counts up from 1 with every swap.
    pub generation: u64,
    /// What was configured.
    pub config: Arc<Config>,
    /// Finds the route of a request.
    pub table: RouteTable,
    /// The routes, by the table's indices.
    pub routes: Vec<Arc<RouteState>>,
    /// The pools, in the order of the configuration.
    pub pools: Vec<Arc<Pool>>,
    /// The limits, in the order of the configuration. What a limit remembers lasts as long as the file has it, whether a route
    /// uses it now or not.
    pub limits: Vec<Limiter>,
    /// The caches, in the order of the configuration.
    pub caches: Vec<Arc<Store>>,
    /// What AI routes share; `None` without a section `ai`.
    pub ai: Option<Arc<AiState>>,
    /// The access log, when one is written.
    pub access: Option<Arc<AccessLog>>,
    /// Counts security events, and writes them where an audit log is configured.
    pub audit: Arc<Audit>,
    /// The metrics of requests that no route took.
    pub unrouted: Arc<RouteMetrics>,
    /// Knows who may come in; `None`: everyone may.
    pub auth: Option<Arc<Authenticator>>,
    /// Where those who may not are counted.
    pub auth_failures: Arc<AuthFailures>,
}

impl Snapshot {
    /// The answers of models in the cache called `name`, where a route keeps any.
    pub fn answers(&self, name: &str) -> Option<&Arc<Answers>> {
        let caches = self.routes.iter().filter_map(|route| route.ai.as_ref()?.cache.as_ref());
        caches.map(|cache| &cache.answers).find(|answers| *answers.config().name == *name)
    }

    /// Its log files.
    pub fn logs(&self) -> Logs {
        Logs { access: self.access.clone(), audit: Arc::clone(&self.audit) }
    }
}

/// A route, ready to serve.
pub struct RouteState {
    /// What was configured.
    pub config: Arc<config::Route>,
    /// Where its requests are counted.
    pub metrics: Arc<RouteMetrics>,
    /// Its pool, when it has one.
    pub pool: Option<PoolRoute>,
    /// What it asks of models, when it is an AI route.
    pub ai: Option<AiRoute>,
    /// Its cache, when it has one.
    pub cache: Option<CacheRoute>,
    /// Its limits, when it has any.
    pub limits: Option<RouteLimits>,
    /// Those of them that count requests of nobody known as well: the ones by client address.
    pub stranger_limits: Option<RouteLimits>,
    /// What is masked in its bodies.
    pub sanitize: Option<Arc<SanitizeState>>,
}

/// A set of masking rules, and where their findings are counted.
pub struct SanitizeState {
    /// What was configured.
    pub config: Arc<Sanitize>,
    /// The numbers of the set.
    pub metrics: Arc<SanitizeMetrics>,
    /// Those of each rule, in their order.
    pub found: Vec<Arc<Found>>,
}

/// The cache of a route.
pub struct CacheRoute {
    /// What is stored.
    pub store: Arc<Store>,
    /// What is stored, and for how long.
    pub rules: CacheRules,
}

/// The pool of a route, with what the route overrides.
pub struct PoolRoute {
    /// The members.
    pub pool: Arc<Pool>,
    /// Chooses among them. Shared by the routes that choose alike.
    pub selector: Arc<Selector>,
    /// How each is reached, by its index; `None` for one that cannot be.
    pub peers: Vec<Option<MemberPeer>>,
    /// Where attempts and retries are counted.
    pub metrics: Arc<PoolMetrics>,
    /// The pool's retry budget.
    pub budget: Arc<Budget>,
    /// The route's timeouts.
    pub timeouts: UpstreamTimeouts,
    /// The route's retry rules.
    pub retry: Retry,
}

/// The log files of one generation.
#[derive(Clone)]
pub struct Logs {
    /// The access log, when one is written.
    pub access: Option<Arc<AccessLog>>,
    /// The audit log.
    pub audit: Arc<Audit>,
}

/// What outlives every snapshot.
pub struct Shared {
    /// The snapshot in force.
    pub current: ArcSwap<Snapshot>,
    /// State of members and pools.
    pub live: Live,
    /// Addresses of host names.
    pub addresses: Arc<Addresses>,
    /// Every metric.
    pub metrics: Arc<Metrics>,
    /// Keys of issuers, and revoked tokens.
    pub tokens: Arc<Tokens>,
    /// What limits remember.
    pub limits: Limits,
    budgets: Mutex<HashMap<Arc<str>, Arc<Budget>>>,
    caches: Caches,
    ai: AiLive,
}

impl Shared {
    /// Begins with the first snapshot.
    pub fn new(
        config: Arc<Config>,
        logs: Logs,
        addresses: Arc<Addresses>,
        metrics: Arc<Metrics>,
        tokens: Arc<Tokens>,
        limits: Limits,
    ) -> Self {
        let live = Live::default();
        let budgets = Mutex::default();
        let (caches, ai) = (Caches::default(), AiLive::new(&metrics));
        let lasting = Lasting {
            live: &live,
            addresses: &addresses,
            metrics: &metrics,
            tokens: &tokens,
            limits: &limits,
            budgets: &budgets,
            caches: &caches,
            ai: &ai,
        };
        let first = build(1, config, logs, &lasting);
        limits
            .retain(&[], &first.limits)
            .iter()
            .for_each(|forgotten| warn!(target: "sluicegate::limit", "{forgotten}"));
        let current = ArcSwap::from_pointee(first);
        Self { current, live, addresses, metrics, tokens, limits, budgets, caches, ai }
    }

    /// Publishes `config` with the addresses known now. Returns the snapshot, and what was forgotten as it is in it no more.
    pub fn publish(&self, config: Arc<Config>, logs: Logs) -> (Arc<Snapshot>, Vec<String>) {
        let generation = self.current.load().generation + 1;
        let lasting = Lasting {
            live: &self.live,
            addresses: &self.addresses,
            metrics: &self.metrics,
            tokens: &self.tokens,
            limits: &self.limits,
            budgets: &self.budgets,
            caches: &self.caches,
            ai: &self.ai,
        };
        let next = Arc::new(build(generation, config, logs, &lasting));
        let before = self.current.swap(Arc::clone(&next));
        self.live.retain();
        let forgotten = self.limits.retain(&before.limits, &next.limits);
        self.ai.retain(next.ai.as_deref());
        (next, forgotten)
    }

    /// Publishes the configuration in force again, because addresses changed.
    pub fn republish(&self) -> Arc<Snapshot> {
        let current = self.current.load_full();
        self.publish(Arc::clone(&current.config), current.logs()).0
    }
}

/// What a snapshot is built from beside its configuration: the parts of [`Shared`].
struct Lasting<'a> {
    live: &'a Live,
    addresses: &'a Addresses,
    metrics: &'a Metrics,
    tokens: &'a Arc<Tokens>,
    limits: &'a Limits,
    budgets: &'a Mutex<HashMap<Arc<str>, Arc<Budget>>>,
    caches: &'a Caches,
    ai: &'a AiLive,
}

fn build(generation: u64, config: Arc<Config>, logs: Logs, lasting: &Lasting<'_>) -> Snapshot {
    let Lasting { live, addresses, metrics, tokens, limits, caches, .. } = *lasting;
    let limiters: Vec<Limiter> = config.limits.iter().map(|limit| limits.limiter(limit, metrics)).collect();
    let caches = caches.of(&config.caches, metrics);
    let pools: Vec<Arc<Pool>> =
        config.pools.iter().map(|pool| Pool::build(pool, |member| addresses.of(member), live)).collect();
    let sanitize: Vec<_> = config.sanitize.iter().map(|set| sanitize_state(set, metrics)).collect();
    let mut asks = Asks { pools: &pools, selectors: Vec::new(), lasting };
    let ai = config.ai.as_ref().map(|ai| Arc::new(ai_state(ai, &mut asks)));
    let routes = config.routes.iter().map(|route| {
        let pool = match &route.target {
            Target::Pool(target) => asks.pool(target),
            Target::Ai(_) | Target::Redirect(_) | Target::Respond(_) => None,
        };
        let ai = match &route.target {
            Target::Ai(target) => ai.as_ref().map(|ai| ai_route(ai, target, route, &config, lasting)),
            _ => None,
        };
        let cache = route.cache.as_ref().filter(|_| ai.is_none()).and_then(|cache| {
            Some(CacheRoute { store: Arc::clone(caches.get(cache.cache)?), rules: cache.rules.clone() })
        });
        let sanitize = route.sanitize.and_then(|set| sanitize.get(set)).cloned();
        let limits: Vec<Limiter> = route.limits.iter().filter_map(|index| limiters.get(*index).cloned()).collect();
        let by_address = limits.iter().filter(|limit| limit.is_by_address()).cloned().collect();
        let stranger_limits = RouteLimits::new(&route.name, by_address, metrics);
        let limits = RouteLimits::new(&route.name, limits, metrics);
        Arc::new(RouteState {
            metrics: metrics.route(&route.name),
            pool,
            ai,
            cache,
            limits,
            stranger_limits,
            sanitize,
            config: Arc::clone(route),
        })
    });
    let routes = routes.collect();
    let Logs { access, audit } = logs;
    let table = RouteTable::build(&config.routes);
    let auth = config.auth.as_deref().map(|auth| Arc::new(Authenticator::new(auth, tokens)));
    let (unrouted, auth_failures) = (metrics.route("none"), metrics.auth_failures());
    Snapshot {
        generation,
        table,
        routes,
        pools,
        limits: limiters,
        caches,
        ai,
        access,
        audit,
        unrouted,
        auth,
        auth_failures,
        config,
    }
}

/// Makes what asks pools: routes and providers.
struct Asks<'a> {
    pools: &'a [Arc<Pool>],
    selectors: Vec<(usize, Balance, Arc<Selector>)>,
    lasting: &'a Lasting<'a>,
}

impl Asks<'_> {
    fn pool(&mut self, target: &config::PoolTarget) -> Option<PoolRoute> {
        let pool = self.pools.get(target.pool)?;
        let peer = |member| MemberPeer::new(member, pool.config(), &target.timeouts);
        Some(PoolRoute {
            selector: selector(&mut self.selectors, target, pool),
            peers: pool.members().iter().map(|member| peer(member)).collect(),
            metrics: self.lasting.metrics.pool(pool.name()),
            budget: budget(self.lasting.budgets, pool.name()),
            timeouts: target.timeouts,
            retry: target.retry.clone(),
            pool: Arc::clone(pool),
        })
    }
}

fn ai_state(config: &Arc<Ai>, asks: &mut Asks<'_>) -> AiState {
    let live = asks.lasting.ai;
    let providers = config.providers.iter().map(|provider| {
        let pool = asks.pools.get(provider.pool)?;
        let target = config::PoolTarget {
            pool: provider.pool,
            balance: pool.config().balance.clone(),
            timeouts: ai::upstream_timeouts(&config.timeouts),
            retry: pool.config().retry.clone(),
        };
        let route = asks.pool(&target)?;
        Some(Arc::new(ProviderState::new(provider, route, live.rings.ring(provider))))
    });
    let providers = providers.collect();
    let pool_names: Vec<&str> = asks.pools.iter().map(|pool| &**pool.name()).collect();
    AiState {
        providers,
        catalog: Catalog::new(config),
        prices: Prices::new(config, &pool_names, &asks.lasting.metrics.unpriced()),
        breakers: Arc::clone(&live.breakers),
        listed: Arc::clone(&live.listed),
        books: Books::new(config, asks.lasting.metrics),
        config: Arc::clone(config),
    }
}

fn ai_route(
    state: &Arc<AiState>,
    target: &AiTarget,
    route: &config::Route,
    config: &Config,
    lasting: &Lasting<'_>,
) -> AiRoute {
    let cache = route.cache.as_ref().and_then(|used| {
        let answers = lasting.ai.answers(config.caches.get(used.cache)?, lasting.metrics);
        Some(AiCache { answers, rules: used.rules.clone(), any: target.cache_nondeterministic })
    });
    AiRoute { state: Arc::clone(state), providers: state.providers_of(target), target: target.clone(), cache }
}

fn sanitize_state(set: &Arc<Sanitize>, metrics: &Metrics) -> Arc<SanitizeState> {
    let metrics = metrics.sanitize(&set.name);
    let found = set.rules.iter().map(|rule| metrics.rule(&rule.name)).collect();
    Arc::new(SanitizeState { config: Arc::clone(set), metrics, found })
}

/// One selector for all routes that choose alike from a pool, so that they take turns together.
fn selector(
    known: &mut Vec<(usize, Balance, Arc<Selector>)>,
    target: &config::PoolTarget,
    pool: &Arc<Pool>,
) -> Arc<Selector> {
    let found = known.iter().find(|(index, balance, _)| *index == target.pool && *balance == target.balance);
    if let Some((_, _, selector)) = found {
        return Arc::clone(selector);
    }
    let selector = Arc::new(Selector::new(&target.balance, Arc::clone(pool)));
    known.push((target.pool, target.balance.clone(), Arc::clone(&selector)));
    selector
}

fn budget(budgets: &Mutex<HashMap<Arc<str>, Arc<Budget>>>, pool: &Arc<str>) -> Arc<Budget> {
    let mut budgets = budgets.lock().unwrap_or_else(PoisonError::into_inner);
    let budget = budgets.entry(Arc::clone(pool)).or_insert_with(|| Arc::new(Budget::new(clock::now())));
    Arc::clone(budget)
}
