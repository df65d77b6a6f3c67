//! What is counted of a provider, whatever the model.

use std::sync::Arc;

use super::BreakerState;
use crate::observe::ai::TryOutcome;
use crate::observe::metrics::counters::Counters;
use crate::observe::metrics::family::Families;

const BREAKER: usize = TryOutcome::ALL.len();

/// One provider.
pub struct AiProviderMetrics {
    name: Arc<str>,
    counters: Counters<{ BREAKER + BreakerState::ALL.len() }>,
}

impl AiProviderMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, counters: Counters::new() }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Counts a request that went on to another target, or another key, because of how a try at this provider ended.
    pub fn failover(&self, reason: TryOutcome) {
        self.counters.add(reason as usize, 1);
    }

    /// Counts a breaker of one of its targets that has become this.
    pub fn breaker(&self, state: BreakerState) {
        self.counters.add(BREAKER + state as usize, 1);
    }

    pub(super) fn collect(&self, out: &mut Families) {
        for reason in TryOutcome::ALL {
            let count = self.counters.sum(reason as usize);
            if count > 0 {
                let labels = [("provider", &*self.name), ("reason", reason.as_str())];
                let help = "Requests that went on to another target or key, by how the try at this provider ended.";
                out.counter("sluicegate_ai_failovers_total", help, &labels, count);
            }
        }
        for state in BreakerState::ALL {
            let labels = [("service", &*self.name), ("event", state.as_str())];
            let help = "Times that a breaker of the provider's targets became closed, open or half-open.";
            let count = self.counters.sum(BREAKER + state as usize);
            out.counter("jairouter_circuit_breaker_events_total", help, &labels, count);
        }
    }
}
