//! Breakers: a target that fails is left alone for a while, and tried by one request before the others (row B12).
//!
//! A target is a provider, one of its keys and a model. Its breaker is
//!
//! - **closed**: requests pass and are counted, in ten buckets that make up the window. When there are enough of them and
//!   the share of failures is reached, it opens;
//! - **open**: no request passes, until `reset` is over;
//! - **half-open**: one request at a time passes. When it succeeds, the breaker closes and counts anew; when it fails, it
//!   opens again.
//!
//! A request that is let through holds a [`Trial`]. What it says after the breaker has moved on counts for nothing.
//! Breakers outlive reloads: what is counted stays, and new settings hold from the next request on.
//!
//! A model that the configuration does not name, which only clients do, has a breaker of its own as well, as long as a
//! provider's key has fewer than [`MOST_UNNAMED`] such in use; those beyond share the one of [`OTHER_MODEL`], so that nobody
//! fills the status by making up names.
//!
//! At most [`MOST`] targets have a breaker. When there are as many, those that are closed and have counted nothing lately are
//! forgotten, once a second at most; when none is left to forget, a new target is not watched: all its requests pass.
//!
//! What counts as a failure is the caller's matter.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::clock;
use crate::config::ai::{Ai, Breaker as Settings};
pub use crate::observe::metrics::BreakerState;
use crate::observe::metrics::{BreakerSample, Metrics, OTHER_MODEL, Sampler};
use circuit::{Change, Circuit, Pass};

mod circuit;
#[cfg(test)]
mod tests;

/// The most targets that have a breaker.
pub const MOST: usize = 10_000;
/// The most models which the configuration does not name that have breakers of their own, of one key of a provider.
pub const MOST_UNNAMED: usize = 16;
/// How often at most it is looked for breakers to forget.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// When a client may come again while the one probe is out.
const WHILE_PROBING: Duration = Duration::from_secs(1);

/// The breakers of all targets, over reloads.
pub struct Breakers {
    known: Arc<Known>,
    metrics: Arc<Metrics>,
    /// Held so that scrapes can ask as long as this lives.
    _sampler: Arc<Sampler<BreakerSample>>,
}

/// Breakers by the hash of their target under a seed of this process; the target itself is compared.
struct Known {
    breakers: RwLock<HashMap<u64, Arc<Target>>>,
    seed: RandomState,
    swept: Mutex<Option<Instant>>,
}

struct Target {
    provider: Arc<str>,
    key: Arc<str>,
    model: Arc<str>,
    /// Whether the configuration named the model when this was made.
    named: bool,
    circuit: Mutex<Circuit>,
}

/// The target is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// When it is worth to come again.
    pub retry_in: Duration,
}

/// A request that was let through. To end in [`Self::succeeded`] or [`Self::failed`]; dropped without either, it says nothing,
/// and where it was the probe another one may go.
#[must_use = "the breaker counts what this is told"]
pub struct Trial {
    /// `None` where no breaker watches.
    watched: Option<Watched>,
}

struct Watched {
    target: Arc<Target>,
    settings: Settings,
    pass: Pass,
    metrics: Arc<Metrics>,
}

impl Breakers {
    /// No target known yet. `metrics` shows their states.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let known = Arc::new(Known { breakers: RwLock::default(), seed: RandomState::new(), swept: Mutex::default() });
        let sampled = Arc::clone(&known);
        let sampler: Arc<Sampler<BreakerSample>> = Arc::new(move |now| sampled.samples(now));
        metrics.watch_breakers(&sampler);
        Self { known, metrics, _sampler: sampler }
    }

    /// Asks whether a request for `model` may go to `provider` with its key called `key` (empty where it has none). Without
    /// `settings` every one may.
    ///
    /// # Errors
    /// When the target is left alone.
    pub fn admit(
        &self,
        settings: Option<&Settings>,
        provider: &Arc<str>,
        key: &str,
        model: &str,
        now: Instant,
    ) -> Result<Trial, Open> {
        let Some(settings) = settings else { return Ok(Trial { watched: None }) };
        let is_named = |model: &str| self.metrics.names_target(provider, model);
        let target = self.known.target(provider, key, model, is_named, now);
        let Some(target) = target else { return Ok(Trial { watched: None }) };
        let admitted = lock(&target.circuit).admit(settings, now);
        match admitted {
            Ok(pass) => {
                if pass.probe {
                    target.tell(Change::HalfOpened, settings, &self.metrics);
                }
                let metrics = Arc::clone(&self.metrics);
                Ok(Trial { watched: Some(Watched { target, settings: *settings, pass, metrics }) })
            }
            Err(wait) => Err(Open { retry_in: wait.unwrap_or(WHILE_PROBING) }),
        }
    }

    /// Closes the breakers of `provider`, or only those of its key called `key`, with nothing counted. Returns how many were
    /// not closed.
    pub fn restore(&self, provider: &str, key: Option<&str>) -> usize {
        let breakers = read(&self.known.breakers);
        let of = |target: &&Arc<Target>| *target.provider == *provider && key.is_none_or(|key| *target.key == *key);
        let restored = breakers.values().filter(of).filter(|target| {
            let was_out = lock(&target.circuit).restore(clock::now());
            if was_out {
                self.metrics.ai_provider(&target.provider).breaker(BreakerState::Closed);
            }
            was_out
        });
        restored.count()
    }

    /// The breakers that have anything to say at `now`: those that are not closed, or have counted something or closed again
    /// lately.
    pub fn samples(&self, now: Instant) -> Vec<BreakerSample> {
        self.known.samples(now)
    }

    /// Forgets the breakers of providers and keys that `ai` does not have, and all of them where it has none. To be called
    /// after a swap.
    pub fn retain(&self, ai: Option<&Ai>) {
        let providers = ai.filter(|ai| ai.breaker.is_some()).map_or(&[][..], |ai| &ai.providers);
        write(&self.known.breakers).retain(|_, target| {
            let provider = providers.iter().find(|provider| provider.name == target.provider);
            provider
                .is_some_and(|provider| target.key.is_empty() || provider.keys.iter().any(|key| key.name == target.key))
        });
    }
}

impl Known {
    /// The breaker of a target, made at its first request; `None` when there is no room. `is_named`: whether the
    /// configuration names a model.
    fn target(
        &self,
        provider: &Arc<str>,
        key: &str,
        model: &str,
        is_named: impl FnOnce(&str) -> bool,
        now: Instant,
    ) -> Option<Arc<Target>> {
        let hash = self.seed.hash_one((&**provider, key, model));
        if let Some(target) = read(&self.breakers).get(&hash) {
            // Two targets of one hash: there is no way to choose such, and the second is not watched.
            return Some(target).filter(|target| target.is(provider, key, model)).cloned();
        }
        let named = is_named(model);
        let mut breakers = write(&self.breakers);
        let has_room = named || make_room(&mut breakers, provider, key, now);
        let model = if has_room { model } else { OTHER_MODEL };
        let hash = self.seed.hash_one((&**provider, key, model));
        if breakers.len() >= MOST {
            self.sweep(&mut breakers, now);
        }
        if breakers.len() >= MOST && !breakers.contains_key(&hash) {
            return None;
        }
        let made = || {
            Arc::new(Target {
                provider: Arc::clone(provider),
                key: key.into(),
                model: model.into(),
                named,
                circuit: Mutex::new(Circuit::new(now)),
            })
        };
        Some(&*breakers.entry(hash).or_insert_with(made)).filter(|target| target.is(provider, key, model)).cloned()
    }

    /// Forgets breakers that say nothing, unless that was tried just now.
    fn sweep(&self, breakers: &mut HashMap<u64, Arc<Target>>, now: Instant) {
        let mut swept = lock(&self.swept);
        if swept.is_some_and(|last| now.saturating_duration_since(last) < SWEEP_EVERY) {
            return;
        }
        *swept = Some(now);
        breakers.retain(|_, target| !lock(&target.circuit).is_idle(now));
        if breakers.len() >= MOST {
            warn!(target: "ai", "{MOST} targets have a breaker that is in use: others are not watched");
        }
    }

    fn samples(&self, now: Instant) -> Vec<BreakerSample> {
        let targets: Vec<Arc<Target>> = read(&self.breakers).values().cloned().collect();
        let sample = |target: Arc<Target>| {
            let circuit = lock(&target.circuit);
            let state = circuit.is_telling(now).then(|| circuit.state(now))?;
            let (provider, key, model) = (&target.provider, &target.key, &target.model);
            Some(BreakerSample {
                provider: Arc::clone(provider),
                key: Arc::clone(key),
                model: Arc::clone(model),
                state,
            })
        };
        targets.into_iter().filter_map(sample).collect()
    }
}

/// Whether there is room for another model of `key` that the configuration does not name; those that say nothing make some.
fn make_room(breakers: &mut HashMap<u64, Arc<Target>>, provider: &str, key: &str, now: Instant) -> bool {
    let is_one = |target: &Target| {
        !target.named && (&*target.provider, &*target.key) == (provider, key) && &*target.model != OTHER_MODEL
    };
    let in_use = |breakers: &HashMap<u64, Arc<Target>>| breakers.values().filter(|target| is_one(target)).count();
    if in_use(breakers) >= MOST_UNNAMED {
        breakers.retain(|_, target| !(is_one(target) && lock(&target.circuit).is_idle(now)));
    }
    in_use(breakers) < MOST_UNNAMED
}

impl Target {
    fn is(&self, provider: &str, key: &str, model: &str) -> bool {
        (&*self.provider, &*self.key, &*self.model) == (provider, key, model)
    }

    /// Logs and counts a change.
    fn tell(&self, change: Change, settings: &Settings, metrics: &Metrics) {
        let Self { provider, key, model, .. } = self;
        metrics.ai_provider(provider).breaker(change.state());
        match change {
            Change::Opened { failed, requests } => warn!(
                target: "ai", "the breaker of provider {provider}, key {key}, model {model} opens for {:?}: {failed} of {requests} \
                requests failed", settings.reset
            ),
            Change::HalfOpened => {
                info!(target: "ai", "the breaker of provider {provider}, key {key}, model {model} lets one request through");
            }
            Change::Reopened => warn!(
                target: "ai", "the breaker of provider {provider}, key {key}, model {model} opens again for {:?}: the probe failed",
                settings.reset
            ),
            Change::Closed => {
                info!(target: "ai", "the breaker of provider {provider}, key {key}, model {model} closes: the probe was good");
            }
        }
    }
}

impl Trial {
    /// Whether this is the one request that tries a target which was left alone.
    pub fn is_probe(&self) -> bool {
        self.watched.as_ref().is_some_and(|watched| watched.pass.probe)
    }

    /// The target answered.
    pub fn succeeded(mut self) {
        self.end(true);
    }

    /// The target failed.
    pub fn failed(mut self) {
        self.end(false);
    }

    fn end(&mut self, good: bool) {
        if let Some(Watched { target, settings, pass, metrics }) = self.watched.take() {
            let change = lock(&target.circuit).report(&settings, pass, good, clock::now());
            if let Some(change) = change {
                target.tell(change, &settings, &metrics);
            }
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(Watched { target, pass, .. }) = self.watched.take() {
            lock(&target.circuit).release(pass);
        }
    }
}

/// A panic cannot leave anything half-changed under these locks, so poison is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
