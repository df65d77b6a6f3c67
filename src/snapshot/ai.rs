//! The AI gateway of one generation: providers, ready to be asked, and how models find them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, header};
use log::warn;

use super::PoolRoute;
use super::books::Books;
use crate::ai::answers::Answers;
use crate::ai::breaker::Breakers;
use crate::ai::catalog::{Catalog, Plan};
use crate::ai::flow::NoToken;
use crate::ai::keys::{KeyRing, Rings};
use crate::ai::listed::Listed;
use crate::ai::price::Prices;
use crate::clock;
use crate::config::UpstreamTimeouts;
use crate::config::ai::{Ai, AiTarget, AiTimeouts, KeyPlace, KeySecret, Provider, ProviderKey};
use crate::config::cache::{Cache, CacheRules};
use crate::observe::metrics::Metrics;

/// All that AI routes share.
pub struct AiState {
    /// What was configured.
    pub config: Arc<Ai>,
    /// By the indices of the configuration; `None` for one that is switched off and has no pool.
    pub providers: Vec<Option<Arc<ProviderState>>>,
    /// Finds the targets of a model.
    pub catalog: Catalog,
    /// What models cost.
    pub prices: Prices,
    /// Which targets are left alone.
    pub breakers: Arc<Breakers>,
    /// Lists of models that providers gave.
    pub listed: Arc<Listed>,
    /// Where requests are counted.
    pub books: Books,
}

/// A provider, ready to be asked.
pub struct ProviderState {
    /// What was configured.
    pub config: Arc<Provider>,
    /// Its pool.
    pub route: PoolRoute,
    /// Its keys.
    pub keys: Arc<KeyRing>,
    /// The fields of its keys, by their indices; `None` for one that a token is made of.
    fields: Vec<Option<(HeaderName, HeaderValue)>>,
    /// The Host field.
    host: HeaderValue,
    /// It has refused to be asked for usage in a stream: what its streams use is counted here.
    no_options: AtomicBool,
}

impl AiState {
    /// How a request for `model` goes: by the catalogue, else, where any model may be asked for, by what providers lately
    /// said they have.
    pub fn plan(&self, model: &str) -> Option<Plan> {
        self.catalog.plan(model).or_else(|| {
            let now = clock::now();
            let has = |provider: &Provider| {
                let names = self.listed.known(&provider.name, now);
                provider.enabled && names.is_some_and(|names| names.iter().any(|name| **name == *model))
            };
            let found = self.config.providers.iter().position(|provider| has(provider));
            found.filter(|_| self.catalog.is_open()).map(|provider| self.catalog.at(provider, model))
        })
    }

    /// The models that the file names, each once: those of `ai.models`, and those in the lists of its providers.
    pub fn named_models(&self) -> Vec<&str> {
        let listed = self.config.providers.iter().flat_map(|provider| &provider.models);
        let mut names: Vec<&str> = self.catalog.names().chain(listed).map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The providers that are switched on and may be asked on a route with `target`.
    pub fn providers_of(&self, target: &AiTarget) -> Vec<Arc<ProviderState>> {
        let models = &self.config.models;
        let targets = models
            .iter()
            .filter(|model| self.config.is_asked(model, target))
            .flat_map(|model| model.ranks.iter().flatten());
        let asked: HashSet<usize> = targets.map(|target| target.provider).collect();
        let of_route = self.providers.iter().enumerate();
        let of_route = of_route.filter(|(index, _)| models.is_empty() || asked.contains(index));
        of_route.filter_map(|(_, provider)| provider.clone()).filter(|provider| provider.config.enabled).collect()
    }
}

impl ProviderState {
    /// `config`, with its pool and its keys.
    pub fn new(config: &Arc<Provider>, route: PoolRoute, keys: Arc<KeyRing>) -> Self {
        let fields = config.keys.iter().map(|key| field(&config.key_place, key)).collect();
        let member = route.pool.members().first().map(|member| HeaderValue::from_str(&member.configured));
        let host = config.host.clone().or_else(|| member?.ok());
        let host = host.unwrap_or(HeaderValue::from_static("localhost"));
        Self { config: Arc::clone(config), route, keys, fields, host, no_options: AtomicBool::new(false) }
    }

    /// Whether it may be asked for usage in a stream (`stream_options`), as far as is known.
    pub fn takes_stream_options(&self) -> bool {
        // Relaxed: who sees it late asks once more in vain.
        !self.no_options.load(Ordering::Relaxed)
    }

    /// It may not.
    pub fn refuses_stream_options(&self) {
        if !self.no_options.swap(true, Ordering::Relaxed) {
            let name = &self.config.name;
            warn!(
                target: "ai",
                "provider {name} refuses stream_options: its streams are asked for without, and what they use is estimated"
            );
        }
    }

    /// The Host field of requests to it.
    pub fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// The field that carries its key of this index.
    ///
    /// # Errors
    /// When no token can be made of it; the key is then as good as refused.
    pub fn key_field(&self, index: usize, now: Instant) -> Result<(HeaderName, HeaderValue), NoToken> {
        if let Some(Some(field)) = self.fields.get(index) {
            return Ok(field.clone());
        }
        let key = self.config.keys.get(index).ok_or(NoToken)?;
        Ok((header::AUTHORIZATION, self.keys.authorization(index, &key.secret, now)?))
    }

    /// The key of this index as it knows it, for what that may not be found in.
    pub fn key_text(&self, index: usize, now: Instant) -> Option<String> {
        let (_, field) = self.key_field(index, now).ok()?;
        let text = field.to_str().ok()?;
        Some(text.strip_prefix("Bearer ").unwrap_or(text).to_owned())
    }

    /// The name of its key of this index; empty where it has none.
    pub fn key_name(&self, index: Option<usize>) -> &str {
        index.and_then(|index| self.config.keys.get(index)).map_or("", |key| &*key.name)
    }
}

fn field(place: &KeyPlace, key: &ProviderKey) -> Option<(HeaderName, HeaderValue)> {
    let KeySecret::Plain(secret) = &key.secret else { return None };
    let (name, value) = match place {
        KeyPlace::Bearer => (header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", secret.reveal()))),
        KeyPlace::Header(name) => (name.clone(), HeaderValue::from_str(&secret.reveal())),
    };
    let mut value = value.ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

impl AiRoute {
    /// Whether this model may be asked for here.
    pub fn allows(&self, model: &str) -> bool {
        self.target.allows(model)
    }

    /// Whether any provider of its models has a member that may be asked. Providers that are switched off say nothing: one
    /// file serves machines with keys of different ones.
    pub fn has_usable_member(&self) -> bool {
        self.providers.is_empty() || self.providers.iter().any(|provider| provider.route.pool.has_usable_member())
    }
}

/// The AI gateway on one route.
pub struct AiRoute {
    /// What it shares with other routes.
    pub state: Arc<AiState>,
    /// What it does differently.
    pub target: AiTarget,
    /// The providers of its models that are switched on.
    pub providers: Vec<Arc<ProviderState>>,
    /// Its cache, when it has one.
    pub cache: Option<AiCache>,
}

/// The cache of an AI route.
pub struct AiCache {
    /// What is kept.
    pub answers: Arc<Answers>,
    /// What is kept, and for how long.
    pub rules: CacheRules,
    /// Whether answers are kept that would not be the same each time.
    pub any: bool,
}

/// What of the AI gateway outlives a snapshot.
pub struct AiLive {
    /// Keys that rest.
    pub rings: Rings,
    /// Targets that fail.
    pub breakers: Arc<Breakers>,
    /// Lists of models.
    pub listed: Arc<Listed>,
    /// Answers that are kept, by the names of their caches.
    answers: Mutex<HashMap<Arc<str>, Arc<Answers>>>,
}

impl AiLive {
    /// Nothing yet.
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            rings: Rings::new(Arc::clone(metrics)),
            breakers: Arc::new(Breakers::new(Arc::clone(metrics))),
            listed: Arc::default(),
            answers: Mutex::default(),
        }
    }

    /// The answers of `cache`: those that are there, unless its bounds have changed.
    pub fn answers(&self, cache: &Arc<Cache>, metrics: &Metrics) -> Arc<Answers> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = answers.get(&cache.name).filter(|known| known.fits(cache)) {
            return Arc::clone(known);
        }
        let new = Arc::new(Answers::new(Arc::clone(cache), metrics.cache(&cache.name)));
        answers.insert(Arc::clone(&cache.name), Arc::clone(&new));
        new
    }

    /// Forgets what no snapshot holds any more. To be called after a swap; `state`: that of the new one.
    pub fn retain(&self, state: Option<&AiState>) {
        self.rings.retain();
        self.breakers.retain(state.map(|state| &*state.config));
        let is_there =
            |name: &str| state.is_some_and(|state| state.config.providers.iter().any(|it| *it.name == *name));
        self.listed.retain(is_there);
        // One that only this map holds is used by no route.
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, known| Arc::strong_count(known) > 1);
    }
}

/// How long the upstream side of a provider may take, beyond what the exchange bounds itself.
pub fn upstream_timeouts(timeouts: &AiTimeouts) -> UpstreamTimeouts {
    UpstreamTimeouts {
        connect: timeouts.connect,
        first_byte: timeouts.first_token,
        idle: timeouts.idle,
        write: Duration::from_secs(60),
        ..UpstreamTimeouts::default()
    }
}
