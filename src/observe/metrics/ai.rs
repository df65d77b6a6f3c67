//! The AI gateway: its requests by provider and model, what they used and cost, and the state of targets.
//!
//! A snapshot holds an [`AiModelMetrics`] for each provider and model of the configuration, so that a request only adds to
//! atomics. Names are those of dashboards that exist (B08, F17, F19, C14), those of OpenTelemetry's conventions for
//! generative AI in the form that Prometheus gives them, and ours.
//!
//! Labels are bounded: providers and keys are names of the configuration, a model is one that a snapshot has asked for by
//! name or [`OTHER_MODEL`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use super::family::Families;
use super::{Metrics, Named, get_or_make, lock};
use crate::clock;
use crate::config::ai::{Ai, Provider};

pub use credential::CredentialMetrics;
pub use gateway::{AiGatewayMetrics, Working};
pub use model::{AiModelMetrics, AiObservation};
pub use provider::AiProviderMetrics;
pub use states::{BreakerSample, BreakerState, KeySample, KeyState};

mod buckets;
mod credential;
mod gateway;
mod model;
mod provider;
mod states;
#[cfg(test)]
mod tests;

/// The `provider` of requests that no provider was asked for.
pub const NO_PROVIDER: &str = "none";
/// The `model` of requests for a model that the configuration does not name.
pub const OTHER_MODEL: &str = "other";

/// Brings values to a scrape, as they are at that moment.
pub type Sampler<T> = dyn Fn(Instant) -> Vec<T> + Send + Sync;

/// What [`Metrics`] holds of the AI gateway.
#[derive(Default)]
pub(super) struct AiMetrics {
    gateway: Arc<AiGatewayMetrics>,
    providers: Named<AiProviderMetrics>,
    /// By `provider/model`.
    models: Named<AiModelMetrics>,
    /// By `provider/key`.
    credentials: Named<CredentialMetrics>,
    breakers: Mutex<Option<Weak<Sampler<BreakerSample>>>>,
    /// The models of each provider that breakers are told apart by, as the provider calls them.
    targets: Mutex<BTreeMap<Arc<str>, BTreeSet<Arc<str>>>>,
    keys: Mutex<Option<Weak<Sampler<KeySample>>>>,
}

impl Metrics {
    /// The metrics of the AI gateway as a whole: time of its own, cache.
    pub fn ai_gateway(&self) -> Arc<AiGatewayMetrics> {
        Arc::clone(&self.ai.gateway)
    }

    /// The metrics of the provider called `name`, made at the first call. Its states are shown while a snapshot holds this.
    pub fn ai_provider(&self, name: &str) -> Arc<AiProviderMetrics> {
        get_or_make(&self.ai.providers, name, AiProviderMetrics::new)
    }

    /// The metrics of `model` at `provider`, made at the first call; of requests that no provider was asked for without one.
    /// Taken when a snapshot is built, for models that the configuration names, and for [`OTHER_MODEL`]: never with a name
    /// that a client chose.
    pub fn ai_model(&self, provider: Option<&Provider>, model: &str) -> Arc<AiModelMetrics> {
        let name: &str = provider.map_or(NO_PROVIDER, |provider| &provider.name);
        // No name of a provider has a slash in it.
        let both = format!("{name}/{model}");
        let metrics = get_or_make(&self.ai.models, &both, |_| AiModelMetrics::new(name.into(), model.into()));
        metrics.set_kind(provider.map(|provider| &provider.kind));
        metrics
    }

    /// The metrics of the credential `name` of `provider`, made at the first call. Taken when a snapshot is built.
    pub fn credential(&self, provider: &Arc<str>, name: &Arc<str>) -> Arc<CredentialMetrics> {
        let both = format!("{provider}/{name}");
        let make = |_| CredentialMetrics::new(Arc::clone(provider), Arc::clone(name));
        get_or_make(&self.ai.credentials, &both, make)
    }

    /// Takes over which models the configuration names for each provider, as the provider calls them. Breakers of these
    /// are shown one by one; those of others, which only clients name, are shown as [`OTHER_MODEL`].
    pub fn ai_targets(&self, ai: &Ai) {
        let mut targets: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
        for provider in &ai.providers {
            targets.entry(Arc::clone(&provider.name)).or_default().extend(provider.models.iter().cloned());
        }
        for model in &ai.models {
            for target in model.ranks.iter().flatten() {
                if let (Some(provider), Some(served)) = (ai.providers.get(target.provider), model.only_served(target)) {
                    targets.entry(Arc::clone(&provider.name)).or_default().insert(Arc::clone(served));
                }
            }
        }
        *lock(&self.ai.targets) = targets;
    }

    /// Whether the configuration names `model` for `provider`, as the provider calls it.
    pub fn names_target(&self, provider: &str, model: &str) -> bool {
        lock(&self.ai.targets).get(provider).is_some_and(|models| models.contains(model))
    }

    /// Shows the breakers that `sampler` brings, for as long as it lives.
    pub fn watch_breakers(&self, sampler: &Arc<Sampler<BreakerSample>>) {
        *lock(&self.ai.breakers) = Some(Arc::downgrade(sampler));
    }

    /// Shows the keys that `sampler` brings, for as long as it lives.
    pub fn watch_keys(&self, sampler: &Arc<Sampler<KeySample>>) {
        *lock(&self.ai.keys) = Some(Arc::downgrade(sampler));
    }
}

impl AiMetrics {
    pub(super) fn collect(&self, out: &mut Families) {
        let providers: Vec<Arc<AiProviderMetrics>> = lock(&self.providers).values().cloned().collect();
        let models: Vec<Arc<AiModelMetrics>> = lock(&self.models).values().cloned().collect();
        for provider in &providers {
            provider.collect(out);
        }
        for model in &models {
            model.collect(out);
        }
        for credential in lock(&self.credentials).values() {
            credential.collect(out);
        }
        if !models.is_empty() {
            self.gateway.collect(out);
        }
        let targets = lock(&self.targets).clone();
        let known = |provider: &str, model: &str| targets.get(provider).is_some_and(|models| models.contains(model));
        // In the list and here: whoever holds one more is a snapshot.
        let held = providers.iter().filter(|provider| Arc::strong_count(provider) > 2).map(|provider| provider.name());
        let mut worst: BTreeMap<&str, BreakerState> = held.map(|name| (&**name, BreakerState::Closed)).collect();
        let breakers = sample(&self.breakers);
        states::collect_breakers(out, &breakers, &mut worst, known);
        states::collect_keys(out, &sample(&self.keys));
    }
}

/// What the sampler brings now. It is asked without the lock.
fn sample<T>(watched: &Mutex<Option<Weak<Sampler<T>>>>) -> Vec<T> {
    let sampler = lock(watched).as_ref().and_then(Weak::upgrade);
    sampler.map(|sampler| sampler(clock::now())).unwrap_or_default()
}
