//! Providers of models, as `/control/status` tells of them: their keys, and the breakers of their targets. And
//! `POST /control/providers/PROVIDER/keys/KEY/restore` and `POST /control/providers/PROVIDER/restore`.

use std::time::Duration;

use http::StatusCode;
use log::info;
use serde::{Deserialize, Serialize};

use super::Peer;
use super::answer::Answer;
use super::control::{managed, unknown};
use crate::ai::keys::{KeyState, KeyStatus, SPENT};
use crate::clock;
use crate::observe::metrics::{BreakerSample, BreakerState};
use crate::snapshot::Snapshot;
use crate::snapshot::ai::{AiState, ProviderState};

/// A provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// The key under `ai.providers`.
    pub name: String,
    /// What it is, as in the configuration.
    pub kind: String,
    /// `false`: none of its keys is there, or it is switched off.
    pub enabled: bool,
    /// Why it is not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
    /// The pool that is asked, of the configuration or made for it.
    #[serde(default)]
    pub pool: String,
    /// Its keys, in the order of the configuration.
    pub keys: Vec<ProviderKeyStatus>,
    /// Breakers of its targets that have counted something lately.
    pub breakers: Vec<BreakerStatus>,
}

/// A key of a provider. Nothing of its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderKeyStatus {
    /// Its name.
    pub name: String,
    /// Its share beside the others.
    pub weight: u32,
    /// `ready`, `spared`, `resting`, `failed` or `probing`.
    pub state: String,
    /// For how many more seconds it is not used.
    pub out_seconds: Option<f64>,
    /// Why, where more is known than the state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests that were sent with it.
    pub requests: u64,
}

/// The breaker of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BreakerStatus {
    /// The name of the key; empty where there is none.
    pub key: String,
    /// The model, as the provider calls it.
    pub model: String,
    /// `closed`, `half_open` or `open`.
    pub state: String,
}

/// A key that is used again.
#[derive(Debug, Serialize, Deserialize)]
pub struct RestoredKey {
    /// The key under `ai.providers`.
    pub provider: String,
    /// The name of its key.
    pub key: String,
    /// How many breakers of it were closed.
    #[serde(default)]
    pub breakers: usize,
}

/// A provider that is asked again.
#[derive(Debug, Serialize, Deserialize)]
pub struct RestoredProvider {
    /// The key under `ai.providers`.
    pub provider: String,
    /// How many of its breakers were closed.
    pub breakers: usize,
}

/// Forgets what a provider said of its key, and closes the breakers of that, so that the next request may be sent with it.
///
/// # Errors
/// The answer for the client when there is no such provider or key.
pub(super) fn restore(snapshot: &Snapshot, provider: &str, key: &str, peer: Peer) -> Result<Answer, Answer> {
    let (ai, found) = find(snapshot, provider)?;
    let known = found.keys.restore(key);
    managed(snapshot, peer, "restore_key", Some(&format!("{provider}/{key}")), known);
    if !known {
        let names = found.config.keys.iter().map(|key| &*key.name);
        return Err(unknown(format!("provider {provider} has no key {key:?}"), "keys", names));
    }
    let breakers = ai.breakers.restore(provider, Some(key));
    info!(target: "admin", "control: key {key:?} of provider {provider} is used again, {breakers} breakers closed, asked by {peer}");
    Ok(Answer::json(StatusCode::OK, &RestoredKey { provider: provider.to_owned(), key: key.to_owned(), breakers }))
}

/// Closes all breakers of a provider, so that the next request may go to it. Its keys stay as they are.
///
/// # Errors
/// The answer for the client when there is no such provider.
pub(super) fn restore_all(snapshot: &Snapshot, provider: &str, peer: Peer) -> Result<Answer, Answer> {
    let found = find(snapshot, provider);
    managed(snapshot, peer, "restore_provider", Some(provider), found.is_ok());
    let (ai, _) = found?;
    let breakers = ai.breakers.restore(provider, None);
    info!(target: "admin", "control: provider {provider} is asked again, {breakers} breakers closed, asked by {peer}");
    Ok(Answer::json(StatusCode::OK, &RestoredProvider { provider: provider.to_owned(), breakers }))
}

fn find<'a>(snapshot: &'a Snapshot, provider: &str) -> Result<(&'a AiState, &'a ProviderState), Answer> {
    let known = || snapshot.ai.iter().flat_map(|ai| ai.providers.iter().flatten().map(move |known| (&**ai, &**known)));
    known().find(|(_, known)| *known.config.name == *provider).ok_or_else(|| {
        let names = known().map(|(_, known)| &*known.config.name);
        unknown(format!("there is no provider {provider:?}, or it is off"), "providers", names)
    })
}

impl ProviderStatus {
    /// The providers of `snapshot`.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let Some(ai) = &snapshot.ai else { return Vec::new() };
        let now = clock::now();
        let breakers = ai.breakers.samples(now);
        let status = ai.config.providers.iter().zip(&ai.providers).map(|(config, state)| {
            let keys = state.as_ref().map(|state| state.keys.status(now)).unwrap_or_default();
            let mut of: Vec<_> =
                breakers.iter().filter(|sample| sample.provider == config.name).map(BreakerStatus::of).collect();
            of.sort_by(|one, other| (&one.key, &one.model).cmp(&(&other.key, &other.model)));
            Self {
                name: config.name.to_string(),
                kind: config.kind.as_str().to_owned(),
                enabled: config.enabled,
                off: (!config.enabled)
                    .then(|| config.lacks.unwrap_or("its configuration has `enabled: false`").to_owned()),
                pool: snapshot.config.pools.get(config.pool).map(|pool| pool.name.to_string()).unwrap_or_default(),
                keys: keys.iter().map(ProviderKeyStatus::of).collect(),
                breakers: of,
            }
        });
        status.collect()
    }

    /// What is not as it should be, for people: a line each.
    pub fn troubles(&self) -> Vec<String> {
        let Self { name, .. } = self;
        if !self.enabled {
            let why = self.off.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            return vec![format!("provider {name} is off{why}")];
        }
        let key = |key: &ProviderKeyStatus| {
            let left = key.out_seconds.map(|left| format!(", for {left:.0}s")).unwrap_or_default();
            let why = key.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("provider {name}: key {} is {}{left}{why}", key.name, key.state)
        };
        let breaker = |breaker: &BreakerStatus| {
            let of = if breaker.key.is_empty() { String::new() } else { format!(" with key {}", breaker.key) };
            format!("provider {name}: the breaker of {}{of} is {}", breaker.model, breaker.state.replace('_', "-"))
        };
        let keys = self.keys.iter().filter(|key| key.state != KeyState::Ready.as_str()).map(key);
        let breakers =
            self.breakers.iter().filter(|breaker| breaker.state != BreakerState::Closed.as_str()).map(breaker);
        keys.chain(breakers).collect()
    }
}

impl ProviderKeyStatus {
    fn of(key: &KeyStatus) -> Self {
        let lasts = Some(key.lasts).filter(|lasts| *lasts > Duration::ZERO);
        Self {
            name: key.name.to_string(),
            weight: key.weight,
            state: key.state.as_str().to_owned(),
            out_seconds: lasts.map(|lasts| lasts.as_secs_f64()),
            reason: key.spent.then(|| SPENT.to_owned()),
            requests: key.requests,
        }
    }
}

impl BreakerStatus {
    fn of(sample: &BreakerSample) -> Self {
        Self { key: sample.key.to_string(), model: sample.model.to_string(), state: sample.state.as_str().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, state: &str, out_seconds: Option<f64>) -> ProviderKeyStatus {
        let (name, state) = (name.to_owned(), state.to_owned());
        ProviderKeyStatus { name, weight: 1, state, out_seconds, reason: None, requests: 0 }
    }

    fn provider() -> ProviderStatus {
        let breaker = |key: &str, state: &str| BreakerStatus {
            key: key.to_owned(),
            model: "gpt-4".to_owned(),
            state: state.to_owned(),
        };
        ProviderStatus {
            name: "openai".to_owned(),
            pool: String::new(),
            kind: "openai".to_owned(),
            enabled: true,
            off: None,
            keys: vec![key("a", "ready", None), key("b", "failed", Some(41.7)), key("c", "probing", None)],
            breakers: vec![breaker("a", "closed"), breaker("b", "half_open"), breaker("", "open")],
        }
    }

    #[test]
    fn only_what_is_not_as_it_should_be_is_a_line() {
        assert_eq!(
            provider().troubles(),
            [
                "provider openai: key b is failed, for 42s",
                "provider openai: key c is probing",
                "provider openai: the breaker of gpt-4 with key b is half-open",
                "provider openai: the breaker of gpt-4 is open",
            ]
        );
    }

    #[test]
    fn a_key_without_credit_is_told_as_such() {
        let spent = ProviderKeyStatus { reason: Some(SPENT.to_owned()), ..key("a", "resting", Some(300.0)) };
        let provider = ProviderStatus { keys: vec![spent], breakers: Vec::new(), ..provider() };
        assert_eq!(provider.troubles(), ["provider openai: key a is resting, for 300s: what it may spend is spent"]);
    }

    #[test]
    fn a_provider_that_is_off_is_one_line() {
        let off = ProviderStatus { enabled: false, off: Some("there is no key".to_owned()), ..provider() };
        assert_eq!(off.troubles(), ["provider openai is off: there is no key"]);
    }

    #[test]
    fn programs_read_back_what_is_written() {
        let text = serde_json::to_string(&provider()).unwrap();
        let read: ProviderStatus = serde_json::from_str(&text).unwrap();
        assert_eq!((read.keys, read.breakers), (provider().keys, provider().breakers));
    }
}
