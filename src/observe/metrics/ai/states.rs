//! The states of breakers and keys, as they are at a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::OTHER_MODEL;
use crate::observe::metrics::family::Families;

/// The state of a breaker, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// One request at a time passes.
    HalfOpen,
    /// No request passes.
    Open,
}

impl BreakerState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// JAiRouter's number for it (T21).
    const fn number(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::Open => 1.0,
            Self::HalfOpen => 2.0,
        }
    }
}

/// A breaker as it is at a scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerSample {
    /// The provider.
    pub provider: Arc<str>,
    /// The name of its key; empty where it has none.
    pub key: Arc<str>,
    /// The model, as clients or the configuration call it.
    pub model: Arc<str>,
    /// Its state.
    pub state: BreakerState,
}

/// Whether a key may be used, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// It is used.
    Ready,
    /// It has nothing left, by its provider's own word: others are used before it.
    Spared,
    /// It was refused, and one request tries whether it is good again; or the next one will.
    Probing,
    /// Its provider said when to come again.
    Resting,
    /// Its provider refused it, not long ago.
    Failed,
}

impl KeyState {
    /// All of them, from the best to the worst.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Spared, Self::Probing, Self::Resting, Self::Failed];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Spared => "spared",
            Self::Probing => "probing",
            Self::Resting => "resting",
            Self::Failed => "failed",
        }
    }
}

/// A key as it is at a scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySample {
    /// The provider.
    pub provider: Arc<str>,
    /// The key's name.
    pub name: Arc<str>,
    /// Its state.
    pub state: KeyState,
}

/// Adds the breakers. `worst` holds the providers that there are, and gets the worst state of each. A model that is not
/// `known` is one of the others, which are shown as one.
pub(super) fn collect_breakers<'a>(
    out: &mut Families,
    samples: &'a [BreakerSample],
    worst: &mut BTreeMap<&'a str, BreakerState>,
    known: impl Fn(&str, &str) -> bool,
) {
    let mut shown: BTreeMap<(&str, &str, &str), BreakerState> = BTreeMap::new();
    for BreakerSample { provider, key, model, state } in samples {
        let model = if known(provider, model) { &**model } else { OTHER_MODEL };
        let target = shown.entry((provider, key, model)).or_insert(*state);
        *target = (*target).max(*state);
        let provider = worst.entry(provider).or_insert(*state);
        *provider = (*provider).max(*state);
    }
    for ((provider, key, model), state) in shown {
        let labels = [("service", provider), ("upstream", key), ("model", model)];
        let help = "The breaker of a target: 0 closed, 1 open, 2 half-open. Absent while it has nothing to say.";
        // One under the name of alert rules (A4.07), one under that of JAiRouter itself (F17).
        out.gauge("jairouter_circuitbreaker_state", help, &labels, state.number());
        out.gauge("jairouter_circuit_breaker_state", help, &labels, state.number());
    }
    for (provider, worst) in worst {
        for state in BreakerState::ALL {
            let labels = [("provider", *provider), ("state", state.as_str())];
            let help = "1 for the worst state of the provider's breakers.";
            out.gauge("ai_circuit_breaker_state", help, &labels, f64::from(u8::from(state == *worst)));
        }
    }
}

/// Adds the keys. Those of one name are shown as the best of them.
pub(super) fn collect_keys(out: &mut Families, samples: &[KeySample]) {
    let mut shown: BTreeMap<(&str, &str), KeyState> = BTreeMap::new();
    for KeySample { provider, name, state } in samples {
        let key = shown.entry((provider, name)).or_insert(*state);
        *key = (*key).min(*state);
    }
    for ((provider, key), state) in shown {
        let labels = [("provider", provider), ("key", key), ("state", state.as_str())];
        out.gauge("sluicegate_ai_key_state", "1 for the state that a provider's key is in.", &labels, 1.0);
    }
}
