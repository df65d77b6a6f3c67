//! Where requests to models are counted: taken once for a generation, so that a request only adds.

use std::collections::HashMap;
use std::sync::Arc;

use super::unserved::Unserved;
use crate::config::ai::Ai;
use crate::observe::metrics::{AiGatewayMetrics, AiModelMetrics, AiProviderMetrics, Metrics, OTHER_MODEL};

/// The metrics of the AI gateway.
pub struct Books {
    /// Its own time, and its cache.
    pub gateway: Arc<AiGatewayMetrics>,
    /// By the indices of the configuration.
    pub providers: Vec<Arc<AiProviderMetrics>>,
    /// By the same: requests that it was the last to fail.
    pub unserved: Vec<Unserved>,
    /// By the same: requests that it refuses for what the configuration says of it, a model that it has or a key for a door.
    pub misled: Vec<Unserved>,
    /// Requests for whose bodies there was no room.
    pub crowded_out: Unserved,
    by_provider: Vec<Models>,
    /// Requests that no provider was asked for.
    nobody: Models,
}

/// By the name that metrics have for a model.
struct Models {
    named: HashMap<Arc<str>, Arc<AiModelMetrics>>,
    other: Arc<AiModelMetrics>,
}

impl Books {
    /// Those for `config`.
    pub fn new(config: &Ai, metrics: &Metrics) -> Self {
        metrics.ai_targets(config);
        let names = |provider: usize| {
            let asked = config.models.iter().filter(move |model| {
                model.ranks.iter().flatten().any(|target| target.provider == provider) && *model.name != *"*"
            });
            let listed = config.providers.get(provider).into_iter().flat_map(|provider| provider.models.iter());
            asked.map(|model| &model.name).chain(listed.filter(|_| config.names_more_than_models()))
        };
        let by_provider = config.providers.iter().enumerate().map(|(index, provider)| {
            let of = |name: &str| metrics.ai_model(Some(provider), name);
            Models::new(names(index), of)
        });
        let all = config.models.iter().map(|model| &model.name).filter(|name| &***name != "*");
        Self {
            gateway: metrics.ai_gateway(),
            providers: config.providers.iter().map(|provider| metrics.ai_provider(&provider.name)).collect(),
            unserved: config.providers.iter().map(|_| Unserved::default()).collect(),
            misled: config.providers.iter().map(|_| Unserved::default()).collect(),
            crowded_out: Unserved::default(),
            by_provider: by_provider.collect(),
            nobody: Models::new(all, |name| metrics.ai_model(None, name)),
        }
    }

    /// Those of the model called `label` at `provider`; of requests that nobody was asked for without one.
    pub fn model(&self, provider: Option<usize>, label: &str) -> &Arc<AiModelMetrics> {
        let models = provider.and_then(|provider| self.by_provider.get(provider)).unwrap_or(&self.nobody);
        models.named.get(label).unwrap_or(&models.other)
    }
}

impl Models {
    fn new<'a>(names: impl Iterator<Item = &'a Arc<str>>, of: impl Fn(&str) -> Arc<AiModelMetrics>) -> Self {
        let named = names.map(|name| (Arc::clone(name), of(name))).collect();
        Self { named, other: of(OTHER_MODEL) }
    }
}
