//! Who may ask: by default anybody, with any key or none. On order keys are asked for and known, refused or limited, and models
//! are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::door::{Door, Scheme, Service, Shape};
use super::error::Trouble;
use super::{Call, flow};
use crate::mock::backend::Upload;
use crate::mock::faults::Refusal;

/// What becomes of requests with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The provider refuses it: 401, and 400 `API_KEY_INVALID` at Gemini.
    Refused,
    /// 403.
    Forbidden,
    /// There is no money: 402 at Anthropic, 429 `insufficient_quota` elsewhere.
    NoQuota,
    /// 429 until this time from now is over; the answers say how long that still is.
    Limited(Duration),
    /// This status.
    Status(u16),
}

/// What is known of keys and models.
#[derive(Default)]
pub(in crate::mock) struct Keys {
    /// Whether anything is.
    any: AtomicBool,
    rules: Mutex<Rules>,
}

#[derive(Default)]
struct Rules {
    /// The keys that are taken; an empty set takes any, but one there must be.
    required: Option<BTreeSet<String>>,
    states: BTreeMap<String, (KeyState, Instant)>,
    models: Option<Vec<String>>,
}

impl Keys {
    /// From now on a key must be sent in the provider's own header, and be one of these if there are any.
    pub(in crate::mock) fn require(&self, keys: impl IntoIterator<Item = String>) {
        self.lock().required = Some(keys.into_iter().collect());
        self.any.store(true, Relaxed);
    }

    /// Says what becomes of a key; `None` ends it.
    pub(in crate::mock) fn set(&self, key: &str, state: Option<KeyState>) {
        let mut rules = self.lock();
        match state {
            Some(state) => rules.states.insert(key.to_owned(), (state, Instant::now())),
            None => rules.states.remove(key),
        };
        self.any.store(true, Relaxed);
    }

    /// From now on there are these models and no others.
    pub(in crate::mock) fn set_models(&self, models: impl IntoIterator<Item = String>) {
        self.lock().models = Some(models.into_iter().collect());
        self.any.store(true, Relaxed);
    }

    /// Anybody may ask for anything again.
    pub(in crate::mock) fn clear(&self) {
        *self.lock() = Rules::default();
        self.any.store(false, Relaxed);
    }

    /// The models that are told in lists.
    pub(super) fn models(&self) -> Vec<String> {
        let told = self.lock().models.clone();
        told.unwrap_or_else(|| vec!["qwen2:7b".to_owned(), "llama3.1".to_owned()])
    }

    /// Why a call is refused, if it is.
    pub(super) fn check(&self, call: &Call, upload: &Upload) -> Option<Trouble> {
        if call.door.scheme == Scheme::Flow && flow::flow_claims(&bearer(upload).unwrap_or_default()).is_err() {
            return Some(Trouble::key());
        }
        if call.door.shape == Shape::Azure
            && let Some(trouble) = azure(call, upload)
        {
            return Some(trouble);
        }
        if !self.any.load(Relaxed) {
            return None;
        }
        let rules = self.lock();
        rules
            .required
            .as_ref()
            .and_then(|keys| unproven(&call.door, upload, keys))
            .or_else(|| rules.state(call))
            .or_else(|| {
                let known = rules.models.as_ref()?;
                let free = call.model.is_empty() || matches!(call.door.service, Service::Models);
                (!free && !known.contains(&call.model)).then(|| Trouble::no_such_model(&call.model))
            })
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Azure refuses for its version. Its API `v1` has none, or one of these words.
fn azure(call: &Call, upload: &Upload) -> Option<Trouble> {
    let version = upload.query().split('&').find_map(|pair| pair.strip_prefix("api-version="));
    if upload.path().starts_with("/openai/v1/") {
        let known = version.is_none_or(|version| ["preview", "latest", "v1"].contains(&version));
        return (!known).then(|| Trouble::invalid("API version not supported"));
    }
    let responses = call.door.service == Service::Responses;
    // A deployment has no door for responses.
    let Some(version) = version.filter(|_| !(responses && call.door.named.is_some())) else {
        return Some(Trouble::no_such_path());
    };
    (responses && version < "2025-03-01-preview").then(|| {
        Trouble::invalid("Azure OpenAI Responses API is enabled only for api-version 2025-03-01-preview and later")
    })
}

impl Rules {
    fn state(&self, call: &Call) -> Option<Trouble> {
        let (state, since) = self.states.get(&call.key)?;
        let refusal = |refusal| Some(Trouble::of_refusal(refusal, call.door.shape, &call.model));
        match state {
            KeyState::Refused => refusal(Refusal::Key),
            KeyState::Forbidden => refusal(Refusal::Forbidden),
            KeyState::NoQuota => refusal(Refusal::Quota),
            KeyState::Status(status) => Some(Trouble::of_status(*status)),
            KeyState::Limited(time) => {
                let left = time.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
                Some(Trouble::limited(left, &call.model))
            }
        }
    }
}

/// Why a call does not prove that it may ask, where keys are required.
fn unproven(door: &Door, upload: &Upload, keys: &BTreeSet<String>) -> Option<Trouble> {
    let Some(key) = own(door, upload) else {
        return Some(Trouble::no_key());
    };
    if !keys.is_empty() && !keys.contains(&key) {
        return Some(Trouble::of_refusal(Refusal::Key, door.shape, ""));
    }
    let unversioned = door.scheme == Scheme::Anthropic && !upload.headers.contains_key("anthropic-version");
    unversioned.then(|| Trouble::invalid("anthropic-version: header is required"))
}

/// The key in the door's own header.
fn own(door: &Door, upload: &Upload) -> Option<String> {
    let found = match door.scheme {
        Scheme::Bearer => bearer(upload),
        Scheme::Anthropic => header(upload, "x-api-key"),
        Scheme::Azure => header(upload, "api-key"),
        Scheme::Google => header(upload, "x-goog-api-key").or_else(|| {
            let asked = upload.query().split('&').find_map(|pair| pair.strip_prefix("key="));
            asked.map(str::to_owned)
        }),
        Scheme::Flow => flow::flow_claims(&bearer(upload)?).ok().map(|claims| claims.client_id),
    };
    found.filter(|key| !key.is_empty())
}

/// The key of a request, wherever it is; empty where none is.
pub(super) fn sent(door: &Door, upload: &Upload) -> String {
    let elsewhere = || {
        let named = ["x-api-key", "api-key", "x-goog-api-key"];
        bearer(upload).or_else(|| named.iter().find_map(|name| header(upload, name)))
    };
    own(door, upload).or_else(elsewhere).unwrap_or_default()
}

fn header(upload: &Upload, name: &str) -> Option<String> {
    upload.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn bearer(upload: &Upload) -> Option<String> {
    let value = header(upload, "authorization")?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}
