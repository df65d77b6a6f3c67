//! JWK sets that are fetched: what is in use of each, and how the last fetch went.
//!
//! They outlive snapshots. A set stays in use until another one was fetched whole and good; until the first one there
//! are no keys, and its issuer's tokens are refused. Workers read the set and may ask for a fetch; they never wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::future::join_all;
use log::{info, warn};
use tokio::sync::{Notify, OnceCell};

use super::fetch::Fetcher;
use crate::clock;
use crate::config::jwt::{Jwt, KeySet, Keys};
use crate::observe::metrics::{JwksMetrics, Metrics};

/// For the sets that a configuration names newly, before it is put in force without them.
const FILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two fetches that tokens with unknown keys asked for, in seconds: else a stranger could steer us.
const ASK_PAUSE: u64 = 30;
/// After the first failed fetch; doubled with each, up to the longest or the set's refresh time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// All JWK sets, by URL.
pub struct Sources {
    known: Mutex<HashMap<Arc<str>, Arc<Source>>>,
    metrics: Arc<Metrics>,
    /// Made when first needed: it reads the system's certificate authorities.
    fetcher: OnceCell<Fetcher>,
}

/// One JWK set.
pub struct Source {
    url: Arc<str>,
    current: ArcSwapOption<Fetched>,
    asked: Notify,
    /// When a token last asked for a fetch, in seconds since the epoch.
    asked_at: AtomicU64,
    outcome: Mutex<Outcome>,
    metrics: Arc<JwksMetrics>,
}

/// A set in use.
#[derive(Debug)]
pub struct Fetched {
    /// Counts up from 1 with every change.
    pub version: u64,
    /// The keys.
    pub keys: KeySet,
}

#[derive(Debug, Clone, Default)]
struct Outcome {
    fetched_at: Option<u64>,
    failure: Option<String>,
}

/// How a JWK set is, for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Where it is, without a query.
    pub url: String,
    /// Keys in use.
    pub keys: usize,
    /// When it was last fetched, in seconds since the epoch; `None`: never.
    pub fetched_at: Option<u64>,
    /// Why the last fetch failed; `None`: it did not.
    pub failure: Option<String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// Without any set.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { known: Mutex::default(), metrics, fetcher: OnceCell::new() }
    }

    /// The set at `url`; the same one whenever it is asked for.
    pub fn at(&self, url: &Arc<str>) -> Arc<Source> {
        let mut known = lock(&self.known);
        let make = || Arc::new(Source::new(Arc::clone(url), self.metrics.jwks(without_query(url))));
        Arc::clone(known.entry(Arc::clone(url)).or_insert_with(make))
    }

    /// Fetches every set of `jwt` that has no keys yet, all at once, for a few seconds at most.
    pub async fn fill(&self, jwt: Option<&Jwt>) {
        let new = self.named(jwt).into_iter().map(|(source, _)| source).filter(|source| source.current().is_none());
        let new: Vec<Arc<Source>> = new.collect();
        if new.is_empty() {
            return;
        }
        let fetcher = self.fetcher().await;
        let fetches = join_all(new.iter().map(|source| source.fetch(fetcher)));
        if tokio::time::timeout(FILL_TIMEOUT, fetches).await.is_err() {
            warn!(target: "sluicegate::auth", "not every JWK set came in time; tokens wait for those that did not");
        }
    }

    /// Fetches every set of `jwt` again in its time, when a fetch failed, and when a token asks for it, until dropped.
    pub async fn follow(&self, jwt: Option<&Jwt>) {
        let named = self.named(jwt);
        if !named.is_empty() {
            let fetcher = self.fetcher().await;
            join_all(named.iter().map(|(source, refresh)| source.follow(fetcher, *refresh))).await;
        }
        // Without a set there is nothing to follow, and nothing to end.
        std::future::pending::<()>().await;
    }

    /// Forgets the sets that no snapshot uses.
    pub fn retain(&self) {
        lock(&self.known).retain(|_, source| Arc::strong_count(source) > 1);
    }

    /// How the sets of `jwt` are, in the order of the configuration.
    pub fn status(&self, jwt: &Jwt) -> Vec<SourceStatus> {
        let named = self.named(Some(jwt));
        let mut all: Vec<SourceStatus> = named.iter().map(|(source, _)| source.status()).collect();
        all.sort_by(|a, b| a.url.cmp(&b.url));
        all
    }

    /// The sets of `jwt`, each once, with the shortest of its refresh times.
    fn named(&self, jwt: Option<&Jwt>) -> Vec<(Arc<Source>, Duration)> {
        let mut named: Vec<(Arc<Source>, Duration)> = Vec::new();
        for issuer in jwt.iter().flat_map(|jwt| &jwt.issuers) {
            let Keys::Url(at) = &issuer.keys else { continue };
            match named.iter_mut().find(|(source, _)| source.url == at.url) {
                Some((_, refresh)) => *refresh = (*refresh).min(at.refresh),
                None => named.push((self.at(&at.url), at.refresh)),
            }
        }
        named
    }

    async fn fetcher(&self) -> &Fetcher {
        self.fetcher.get_or_init(Fetcher::new).await
    }
}

impl Source {
    fn new(url: Arc<str>, metrics: Arc<JwksMetrics>) -> Self {
        let (current, asked, outcome) = (ArcSwapOption::empty(), Notify::new(), Mutex::default());
        Self { url, current, asked, asked_at: AtomicU64::new(0), outcome, metrics }
    }

    /// The keys in use; `None` until they were fetched.
    pub fn current(&self) -> Option<Arc<Fetched>> {
        self.current.load_full()
    }

    /// Asks for a fetch, because a token names a key that is not known; at most every 30 s.
    pub fn ask(&self, now: u64) {
        let before = self.asked_at.load(Ordering::Relaxed);
        if now < before.saturating_add(ASK_PAUSE) {
            return;
        }
        // Relaxed: nothing else is read by it. Of those who come at once, one asks.
        if self.asked_at.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.asked.notify_one();
        }
    }

    async fn follow(&self, fetcher: &Fetcher, refresh: Duration) {
        // Every reload begins anew here: the time since the last fetch counts, or frequent reloads would put it off.
        let mut pause = first_pause(refresh, lock(&self.outcome).fetched_at, clock::wall_millis() / 1000);
        let mut after_failure = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.asked.notified() => {}
            }
            if self.fetch(fetcher).await {
                (pause, after_failure) = (refresh, FIRST_PAUSE);
            } else {
                pause = after_failure.min(refresh);
                after_failure = (after_failure * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Fetches the set; whether that went well.
    async fn fetch(&self, fetcher: &Fetcher) -> bool {
        let fetched = fetcher.fetch(&self.url).await.and_then(|bytes| KeySet::from_jwks(&bytes));
        let shown = without_query(&self.url);
        match fetched {
            Ok((keys, left_out)) => {
                let now = clock::wall_millis() / 1000;
                self.metrics.fetched(keys.keys.len(), now);
                *lock(&self.outcome) = Outcome { fetched_at: Some(now), failure: None };
                self.replace(keys, left_out);
                true
            }
            Err(reason) => {
                self.metrics.failed();
                let stays = if self.current().is_some() { "the keys in use stay" } else { "its tokens are refused" };
                warn!(target: "sluicegate::auth", "the JWK set at {shown} {reason}; {stays}");
                lock(&self.outcome).failure = Some(reason);
                false
            }
        }
    }

    fn replace(&self, keys: KeySet, left_out: usize) {
        let before = self.current();
        if before.as_ref().is_some_and(|before| before.keys == keys) {
            return;
        }
        let (count, shown) = (keys.keys.len(), without_query(&self.url));
        info!(target: "sluicegate::auth", "the JWK set at {shown} has {count} keys; {left_out} more are not for signatures known here");
        let version = before.map_or(0, |before| before.version) + 1;
        self.current.store(Some(Arc::new(Fetched { version, keys })));
    }

    fn status(&self) -> SourceStatus {
        let Outcome { fetched_at, failure } = lock(&self.outcome).clone();
        let keys = self.current().map_or(0, |fetched| fetched.keys.keys.len());
        SourceStatus { url: without_query(&self.url).to_owned(), keys, fetched_at, failure }
    }
}

/// From `now` to the next fetch of a set that was last fetched then, in seconds since the epoch; `None`: never.
fn first_pause(refresh: Duration, fetched_at: Option<u64>, now: u64) -> Duration {
    match fetched_at {
        Some(at) => refresh.saturating_sub(Duration::from_secs(now.saturating_sub(at))),
        None => FIRST_PAUSE.min(refresh),
    }
}

/// A query may hold a key.
fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_does_not_put_the_next_fetch_off() {
        let refresh = Duration::from_secs(600);
        assert_eq!(first_pause(refresh, None, 1_000), FIRST_PAUSE);
        assert_eq!(first_pause(refresh, Some(1_000), 1_000), refresh);
        assert_eq!(first_pause(refresh, Some(1_000), 1_590), Duration::from_secs(10));
        assert_eq!(first_pause(refresh, Some(1_000), 9_000), Duration::ZERO);
        assert_eq!(first_pause(refresh, Some(1_000), 900), refresh, "the clock was put back");
    }
}
