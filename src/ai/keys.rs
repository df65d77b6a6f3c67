//! The keys of a provider: which one a request is sent with, and which are left alone for a while.
//!
//! Keys take turns by their weights (smooth weighted round robin), so that keys of one weight get the same number of requests. A
//! key is left alone in three ways:
//!
//! - **set aside** ([`KeyRing::refused`]): its provider refused it (401), or for one model (403). After a cool-down it gets one
//!   request, and it is back when that one is taken ([`KeyRing::succeeded`]);
//! - **resting** ([`KeyRing::rests`]): its provider said when to come again, for one model (429), or nothing is left for it;
//! - **spared** ([`KeyRing::spares`]): a good answer said that nothing is left. It is used when no other key can be.
//!
//! What is known of a key outlives a reload, as long as provider, name and secret stay the same ([`Rings`]). No secret is
//! kept here, only digests to tell keys apart; but for the tokens that are made of Flow's credentials ([`super::flow`]).
//!
//! It does not send anything, and does not say what an answer means: the caller does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::HeaderValue;
use log::{Level, error, info, log, warn};
use ring::digest::{Context, SHA256};

use super::flow::{self, NoToken, Token};
use crate::config::ai::{KeySecret, Provider};
pub use crate::observe::metrics::KeyState;
use crate::observe::metrics::{CredentialMetrics, KeySample, Metrics, Sampler};
use condition::Use;
use held::Held;
pub use of::{Of, Probing};

mod condition;
mod held;
mod of;
#[cfg(test)]
mod tests;

/// Why a key rests whose provider says that there is nothing left to pay with.
pub const SPENT: &str = "what it may spend is spent";

/// What is known of the keys of all providers, over reloads.
pub struct Rings {
    keys: Mutex<HashMap<Identity, Weak<Key>>>,
    /// The newest of each provider.
    rings: Arc<Mutex<HashMap<Arc<str>, Weak<KeyRing>>>>,
    metrics: Arc<Metrics>,
    /// Held so that scrapes can ask as long as this lives.
    _sampler: Arc<Sampler<KeySample>>,
}

/// What makes a key the same one after a reload.
#[derive(PartialEq, Eq, Hash)]
struct Identity {
    provider: Arc<str>,
    name: Arc<str>,
    digest: [u8; 32],
}

/// The keys of one provider, by their index in [`Provider::keys`].
pub struct KeyRing {
    provider: Arc<str>,
    /// Of the line that says which key is used: those who count keys by that line have Flow.
    level: Level,
    keys: Vec<Share>,
    /// What each key is owed. Held for some hundred nanoseconds.
    owed: Mutex<Vec<i64>>,
}

struct Share {
    weight: u32,
    key: Arc<Key>,
}

/// A key, over reloads.
struct Key {
    name: Arc<str>,
    held: Mutex<Held>,
    token: Token,
    metrics: Arc<CredentialMetrics>,
}

/// A key as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its name; no part of the secret.
    pub name: Arc<str>,
    /// Its share.
    pub weight: u32,
    /// Whether it may be used.
    pub state: KeyState,
    /// For how long that state lasts at least; zero when it may be used.
    pub lasts: Duration,
    /// Whether it rests because what it may spend at its provider is spent.
    pub spent: bool,
    /// Requests that it was chosen for, since the start of the process.
    pub requests: u64,
}

impl Rings {
    /// Nothing known yet. `metrics` counts how often a key is used, and shows its state.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let rings = Arc::<Mutex<HashMap<Arc<str>, Weak<KeyRing>>>>::default();
        let sampled = Arc::clone(&rings);
        let sampler: Arc<Sampler<KeySample>> = Arc::new(move |now| {
            let rings: Vec<Arc<KeyRing>> = lock(&sampled).values().filter_map(Weak::upgrade).collect();
            rings.iter().flat_map(|ring| ring.samples(now)).collect()
        });
        metrics.watch_keys(&sampler);
        Self { keys: Mutex::default(), rings, metrics, _sampler: sampler }
    }

    /// The keys of `provider`, with what is known of them. To be called when a snapshot is built.
    pub fn ring(&self, provider: &Provider) -> Arc<KeyRing> {
        let shares = provider.keys.iter().map(|key| {
            let digest = digest(&key.secret);
            Share { weight: key.weight.max(1), key: self.key(&provider.name, &key.name, digest) }
        });
        let shares: Vec<Share> = shares.collect();
        let level = flow::level(&provider.kind);
        let mut rings = lock(&self.rings);
        let known = rings.get(&provider.name).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.level == level && known.is_of(&shares)) {
            return known;
        }
        let owed = Mutex::new(vec![0; shares.len()]);
        let ring = Arc::new(KeyRing { provider: Arc::clone(&provider.name), level, keys: shares, owed });
        rings.insert(Arc::clone(&provider.name), Arc::downgrade(&ring));
        ring
    }

    /// Forgets keys that no snapshot holds any more. To be called after a swap.
    pub fn retain(&self) {
        lock(&self.rings).retain(|_, ring| ring.strong_count() > 0);
        lock(&self.keys).retain(|_, key| key.strong_count() > 0);
    }

    fn key(&self, provider: &Arc<str>, name: &Arc<str>, digest: [u8; 32]) -> Arc<Key> {
        let identity = Identity { provider: Arc::clone(provider), name: Arc::clone(name), digest };
        let mut keys = lock(&self.keys);
        if let Some(known) = keys.get(&identity).and_then(Weak::upgrade) {
            return known;
        }
        let key = Arc::new(Key {
            name: Arc::clone(name),
            held: Mutex::default(),
            token: Token::default(),
            metrics: self.metrics.credential(provider, name),
        });
        keys.insert(identity, Arc::downgrade(&key));
        key
    }
}

impl KeyRing {
    /// Whether its provider is asked without a key. Then there is nothing to pick.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key for one request for `model`: the next by turn of those that may be used at `now` and are not among `tried`;
    /// `None` when there is none.
    ///
    /// A key whose cool-down is over is given to one request alone. That request is to end in [`Self::succeeded`],
    /// [`Self::refused`] or, when it says nothing about the key, [`Self::released`], which a [`Probing`] sees to; without
    /// any of these, the next one is let through a quarter of a minute later.
    pub fn pick(&self, model: &str, now: Instant, tried: &[usize]) -> Option<usize> {
        if let [only] = &*self.keys {
            return (tried.is_empty() && lock(&only.key.held).enter(model, now)).then_some(0);
        }
        let mut owed = lock(&self.owed);
        // Whoever is chosen and cannot be entered was taken as a probe from another generation meanwhile.
        for _ in 0..self.keys.len() {
            let usable = |index: usize| match self.keys.get(index) {
                Some(share) if !tried.contains(&index) => Some(share.key.usable(model, now)).filter(Use::is_open),
                _ => None,
            };
            let fresh = (0..self.keys.len()).any(|index| usable(index).is_some_and(|usable| !usable.is_spared()));
            let index =
                self.turn(&mut owed, |index| usable(index).is_some_and(|usable| !(fresh && usable.is_spared())))?;
            if lock(&self.keys.get(index)?.key.held).enter(model, now) {
                return Some(index);
            }
        }
        None
    }

    /// Counts and logs that a request is sent with the key.
    pub fn used(&self, index: usize) {
        if let Some(Share { key, .. }) = self.keys.get(index) {
            key.metrics.used();
            log!(target: "ai", self.level, "Using configuration '{}'", key.name);
        }
    }

    /// The provider refused the key: it is set aside for `cooldown`. `of`: for all models, or for the one that was asked
    /// for.
    pub fn refused(&self, index: usize, of: Of<'_>, now: Instant, cooldown: Duration) {
        let Some(key) = self.keys.get(index).map(|share| &share.key) else { return };
        let mut held = lock(&key.held);
        let news = held.refuse(of.one(), now, cooldown);
        if let Of::Model(_) = of {
            held.take_but(now);
        }
        drop(held);
        if !news {
            return;
        }
        let (available, all) = (self.available(of.model(), now), self.keys.len());
        let marked = marked(&key.name, available, all);
        warn!(target: "ai", "{marked} (provider {}, {of}, for {cooldown:?})", self.provider);
        if available == 0 {
            error!(
                target: "ai", "provider {} has no key left that it takes for {of}: requests go to the other targets of their \
                models, and fail where there is none", self.provider
            );
        }
    }

    /// The provider said when the key may be used again: not before `until`, because of `why`. The later moment counts.
    pub fn rests(&self, index: usize, of: Of<'_>, now: Instant, until: Instant, why: &str) {
        let Some(key) = self.keys.get(index).map(|share| &share.key) else { return };
        let news = lock(&key.held).rest(of.one(), now, until);
        self.tell_rest(news, key, of, (now, until), why);
    }

    /// What the key may spend at its provider is spent, until then.
    pub fn spent(&self, index: usize, now: Instant, until: Instant) {
        let Some(key) = self.keys.get(index).map(|share| &share.key) else { return };
        let news = lock(&key.held).spend(now, until);
        self.tell_rest(news, key, Of::All, (now, until), SPENT);
    }

    fn tell_rest(&self, news: bool, key: &Key, of: Of<'_>, (now, until): (Instant, Instant), why: &str) {
        if news {
            let (available, all) = (self.available(of.model(), now), self.keys.len());
            let rest = until.saturating_duration_since(now);
            warn!(
                target: "ai", "Config '{}' of provider {} rests for {rest:.0?} ({of}): {why}. Available: {available}/{all}", key.name,
                self.provider
            );
        }
    }

    /// A good answer said that the key has nothing left before `until`: others are used before it.
    pub fn spares(&self, index: usize, until: Instant) {
        if let Some(share) = self.keys.get(index) {
            lock(&share.key.held).spare(until);
        }
    }

    /// The provider took the key for `model`, whatever it answered: to be told at the answer's header block.
    pub fn succeeded(&self, index: usize, model: &str, now: Instant) {
        let Some(key) = self.keys.get(index).map(|share| &share.key) else { return };
        if lock(&key.held).take(model, now) {
            let (available, all) = (self.available(model, now), self.keys.len());
            info!(
                target: "ai", "Config '{}' is good again. Available: {available}/{all} (provider {})", key.name, self.provider
            );
        }
    }

    /// Whoever runs the gateway says that the key called `name` is good: what was said of it is forgotten, and the next answer
    /// says it anew. `false`: there is none.
    pub fn restore(&self, name: &str) -> bool {
        let key = self.keys.iter().map(|share| &share.key).find(|key| *key.name == *name);
        if let Some(key) = key {
            *lock(&key.held) = Held::default();
        }
        key.is_some()
    }

    /// The request for `model` ended before the provider said anything about the key: no connection, a timeout, a client
    /// that left.
    pub fn released(&self, index: usize, model: &str) {
        if let Some(share) = self.keys.get(index) {
            lock(&share.key.held).release(model);
        }
    }

    /// How long until a key may be used for `model`; zero when one may now, `None` when there is no key at all.
    pub fn earliest(&self, model: &str, now: Instant) -> Option<Duration> {
        self.keys.iter().map(|share| share.key.usable(model, now).wait(now)).min()
    }

    /// Whether no key may be used for `model` at `now`, and all of them because their provider refused them.
    pub fn are_refused(&self, model: &str, now: Instant) -> bool {
        let refused =
            |share: &Share| matches!(share.key.usable(model, now).state(), KeyState::Failed | KeyState::Probing);
        !self.keys.is_empty() && self.keys.iter().all(refused)
    }

    /// Whether no key may be used at `now`, and all of them because what they may spend is spent.
    pub fn are_spent(&self, now: Instant) -> bool {
        !self.keys.is_empty() && self.keys.iter().all(|share| lock(&share.key.held).is_spent(now))
    }

    /// The value of `Authorization` for a key: `Bearer` and the key, or the token made of it. `secret` is that of the same
    /// index in [`Provider::keys`]. Marked as sensitive.
    ///
    /// # Errors
    /// When none can be made; the key is then as good as refused.
    pub fn authorization(&self, index: usize, secret: &KeySecret, now: Instant) -> Result<HeaderValue, NoToken> {
        self.keys.get(index).ok_or(NoToken)?.key.token.authorization(secret, now)
    }

    /// The keys as they are at `now`, in the order of the configuration.
    pub fn status(&self, now: Instant) -> Vec<KeyStatus> {
        let status = |share: &Share| {
            let held = lock(&share.key.held);
            let (usable, spent) = (held.worst(now), held.is_spent(now));
            drop(held);
            KeyStatus {
                name: Arc::clone(&share.key.name),
                weight: share.weight,
                state: usable.state(),
                lasts: usable.wait(now),
                spent: spent && usable.state() == KeyState::Resting,
                requests: share.key.metrics.requests(),
            }
        };
        self.keys.iter().map(status).collect()
    }

    fn samples(&self, now: Instant) -> impl Iterator<Item = KeySample> {
        self.keys.iter().map(move |share| KeySample {
            provider: Arc::clone(&self.provider),
            name: Arc::clone(&share.key.name),
            state: lock(&share.key.held).worst(now).state(),
        })
    }

    /// One turn among those that `may`: each is owed its weight, the one owed most is served and pays for all.
    fn turn(&self, owed: &mut [i64], may: impl Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, (share, owed)) in self.keys.iter().zip(owed.iter_mut()).enumerate().filter(|(index, _)| may(*index))
        {
            let weight = i64::from(share.weight);
            *owed = owed.saturating_add(weight);
            total += weight;
            if best.is_none_or(|(_, most)| *owed > most) {
                best = Some((index, *owed));
            }
        }
        let (index, _) = best?;
        *owed.get_mut(index)? -= total;
        Some(index)
    }

    fn available(&self, model: &str, now: Instant) -> usize {
        self.keys.iter().filter(|share| share.key.usable(model, now).is_open()).count()
    }

    fn is_of(&self, shares: &[Share]) -> bool {
        let same = |(one, other): (&Share, &Share)| one.weight == other.weight && Arc::ptr_eq(&one.key, &other.key);
        self.keys.len() == shares.len() && self.keys.iter().zip(shares).all(same)
    }
}

impl Key {
    fn usable(&self, model: &str, now: Instant) -> Use {
        lock(&self.held).at(model, now)
    }
}

/// The words that scripts count (row C13).
fn marked(name: &str, available: usize, all: usize) -> String {
    format!("Config '{name}' marked as failed. Available: {available}/{all}")
}

/// Tells secrets apart without keeping them.
fn digest(secret: &KeySecret) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    // With its length before each part, so that no two lists of parts are the same bytes.
    let mut part = |text: &str| {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    };
    match secret {
        KeySecret::Plain(secret) => part(&secret.reveal()),
        KeySecret::Flow { client_id, client_secret, tenant } => {
            part(client_id);
            part(&client_secret.reveal());
            part(tenant);
        }
    }
    let mut digest = [0; 32];
    // SHA-256 has this length, so this always fits.
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A panic cannot leave anything half-changed under these locks, so poison is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
