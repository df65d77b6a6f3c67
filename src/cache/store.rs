//! The entries of one cache, within its bounds, and what takes them away.
//!
//! Invariants: what is held weighs at most `max_bytes`, and is at most `max_entries` answers; an answer that was asked
//! for before its URL was invalidated, or before a purge, is never served after it, whenever it arrives.
//!
//! An entry weighs its bytes, but at least an equal share of `max_bytes`: so one bound holds for both. A URL that
//! answers in several variants has one small entry that names the fields, and one for every variant.
//!
//! Invalidation touches no entry. Each URL belongs to one of a fixed number of marks; a mark holds the moment of the last
//! invalidation, and entries whose fetch began before it are passed over. Two URLs of one mark cost each other a miss.

use std::collections::HashMap;
use std::collections::hash_map::{Entry as MapEntry, RandomState};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderName};
use moka::notification::RemovalCause;

use super::fill::{Fill, Filler, Reader};
use super::key::{Key, url};
use super::stored::Stored;
use crate::config::cache::Cache;
use crate::observe::metrics::CacheMetrics;
use crate::route::NormalPath;

/// Marks of invalidated URLs; a power of two.
const MARKS: usize = 1 << 14;
/// Fetches under way, at most; requests beyond go past the cache.
const MAX_FILLS: usize = 8192;
/// Keys whose requests are known not to be answered by one answer, at most.
const MAX_UNSHARED: u64 = 10_000;
/// How long such a key is known.
const UNSHARED: Duration = Duration::from_secs(10);
/// Bytes of a body from which the bounds are looked at with every answer that is stored.
const LARGE: usize = 64 << 10;
/// Weight is counted in units of this many bytes, so that large entries do not overflow it.
const UNIT: usize = 64;

/// One cache, shared by all workers.
pub struct Store {
    config: Arc<Cache>,
    metrics: Arc<CacheMetrics>,
    slots: moka::sync::Cache<Key, Slot>,
    unshared: moka::sync::Cache<Key, ()>,
    fills: Mutex<HashMap<Key, Arc<Fill>>>,
    marks: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Counts invalidations.
    sequence: AtomicU64,
    /// Counts purges.
    purges: AtomicU64,
    /// Bytes of bodies that are being fetched, to be stored.
    coming_in: AtomicU64,
}

/// What is found under a key.
#[derive(Clone)]
enum Slot {
    /// An answer; empty once it has gone. The map lets go of what is taken out of it only later.
    Answer(Arc<ArcSwapOption<Stored>>),
    /// The fields by which answers are chosen.
    Varies(Arc<[HeaderName]>),
}

/// When a fetch began. What it brings is not stored if its URL was invalidated, or anything purged, since.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ticket {
    sequence: u64,
    purges: u64,
}

/// What was found for a request.
pub struct Found {
    /// The key of its variant: what a fetch for it is shared by.
    pub key: Key,
    /// The answer.
    pub stored: Option<Arc<Stored>>,
}

/// What is to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Everything.
    All,
    /// One URL, in all its variants: `//host/path?query`, or `/path?query` on every host.
    Url(String),
    /// All URLs that begin so.
    Prefix(String),
    /// All answers with a tag.
    Tag(String),
}

/// A part in a fetch.
pub enum Joined {
    /// This request makes it.
    Leads(Filler, Reader),
    /// Another one makes it.
    Follows(Reader),
}

impl Store {
    /// An empty cache.
    pub fn new(config: Arc<Cache>, metrics: Arc<CacheMetrics>) -> Self {
        let share = usize::try_from(config.max_bytes / config.max_entries.max(1)).unwrap_or(usize::MAX);
        let weigh = move |key: &Key, slot: &Slot| {
            let bytes = key.weight() + slot.weight();
            u32::try_from(bytes.max(share).div_ceil(UNIT)).unwrap_or(u32::MAX)
        };
        let counting = Arc::clone(&metrics);
        let slots = moka::sync::Cache::builder()
            .max_capacity(config.max_bytes / UNIT as u64)
            .weigher(weigh)
            .eviction_listener(move |_, slot: Slot, cause| {
                if let Slot::Answer(held) = &slot {
                    held.store(None);
                }
                if cause == RemovalCause::Size {
                    counting.evicted();
                }
            })
            .build();
        let unshared = moka::sync::Cache::builder().max_capacity(MAX_UNSHARED).time_to_live(UNSHARED).build();
        Self {
            config,
            metrics,
            slots,
            unshared,
            fills: Mutex::default(),
            marks: (0..MARKS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            sequence: AtomicU64::new(1),
            purges: AtomicU64::new(0),
            coming_in: AtomicU64::new(0),
        }
    }

    /// What was configured.
    pub fn config(&self) -> &Arc<Cache> {
        &self.config
    }

    /// Where it is counted.
    pub fn metrics(&self) -> &Arc<CacheMetrics> {
        &self.metrics
    }

    /// What is stored under `key` for `request`.
    pub fn find(&self, key: Key, request: &HeaderMap) -> Found {
        let stored = match self.slots.get(&key) {
            Some(Slot::Answer(held)) => held.load_full(),
            Some(Slot::Varies(by)) => return self.find_variant(&key.varied(&by, request)),
            None => None,
        };
        Found { key, stored: stored.filter(|stored| self.is_valid(stored)) }
    }

    fn find_variant(&self, key: &Key) -> Found {
        let stored = match self.slots.get(key) {
            Some(Slot::Answer(held)) => held.load_full(),
            _ => None,
        };
        Found { key: key.clone(), stored: stored.filter(|stored| self.is_valid(stored)) }
    }

    /// The moment now, for a fetch that begins.
    pub fn ticket(&self) -> Ticket {
        // Acquire: whatever is asked from here on is asked after the invalidations that are counted in it.
        let (sequence, purges) = (self.sequence.load(Ordering::Acquire), self.purges.load(Ordering::Acquire));
        Ticket { sequence, purges }
    }

    /// Stores an answer to `request` under `key`, the key of its URL without variants. `by`: the fields it was chosen by.
    /// Nothing is stored when its URL was invalidated since `ticket`.
    pub fn put(
        &self,
        key: &Key,
        by: &[HeaderName],
        request: &HeaderMap,
        mut stored: Stored,
        ticket: Ticket,
    ) -> Arc<Stored> {
        (stored.sequence, stored.purges) = (ticket.sequence, ticket.purges);
        let valid = self.is_valid(&stored) && stored.body.len() as u64 <= self.config.max_object;
        if !valid {
            return Arc::new(stored);
        }
        stored.held = Some(self.metrics.hold((stored.weight() + key.weight()) as u64));
        let stored = Arc::new(stored);
        if by.is_empty() {
            self.insert(key.clone(), &stored);
        } else {
            let known = matches!(self.slots.get(key), Some(Slot::Varies(known)) if *known == *by);
            if !known {
                self.slots.insert(key.clone(), Slot::Varies(by.into()));
            }
            self.insert(key.varied(by, request), &stored);
        }
        stored
    }

    fn insert(&self, key: Key, stored: &Arc<Stored>) {
        let held = Arc::new(ArcSwapOption::new(Some(Arc::clone(stored))));
        self.slots.insert(key.clone(), Slot::Answer(held));
        if stored.body.len() >= LARGE {
            // A few of these are over the bound before the map looks at it by itself.
            self.slots.run_pending_tasks();
        }
        // A purge that began after the last look may have passed by this place already.
        if stored.purges != self.purges.load(Ordering::Acquire) {
            self.slots.invalidate(&key);
        }
    }

    /// Whether neither its URL was invalidated nor anything purged since it was asked for.
    fn is_valid(&self, stored: &Stored) -> bool {
        // Acquire pairs with the release of the invalidation that set the mark.
        let mark = self.mark(&stored.url).map_or(0, |mark| mark.load(Ordering::Acquire));
        stored.sequence > mark && (stored.held.is_some() || stored.purges == self.purges.load(Ordering::Acquire))
    }

    /// Makes everything stored of `url` unusable, and everything that is being fetched of it.
    pub fn invalidate(&self, url: &str) {
        // The mark first: a fetch that begins after it has a higher number.
        let Some(mark) = self.mark(url) else { return };
        let moment = self.sequence.fetch_add(1, Ordering::AcqRel);
        mark.fetch_max(moment, Ordering::AcqRel);
        self.metrics.invalidated();
    }

    fn mark(&self, url: &str) -> Option<&AtomicU64> {
        let hash = self.hasher.hash_one(url);
        self.marks.get(usize::try_from(hash).unwrap_or(0) & (MARKS - 1))
    }

    /// Takes away what `purge` names, and returns how many answers that were. Looks through all entries: not for a worker.
    pub fn purge(&self, purge: &Purge) -> u64 {
        // What is being fetched now is not stored: nobody can tell yet what it is.
        self.purges.fetch_add(1, Ordering::AcqRel);
        self.slots.run_pending_tasks();
        let mut count = 0;
        for (key, slot) in &self.slots {
            let gone = match &slot {
                Slot::Answer(held) => held.load().as_ref().is_some_and(|stored| purge.takes(stored)),
                Slot::Varies(_) => *purge == Purge::All,
            };
            if gone {
                self.slots.invalidate(&*key);
                count += u64::from(matches!(slot, Slot::Answer(_)));
            }
        }
        self.slots.run_pending_tasks();
        self.metrics.purged(count);
        count
    }

    /// Takes part in the fetch of `url` under `key`, or begins one. `None`: too many are under way. A fetch that began
    /// before its URL was invalidated, or before a purge, takes nobody in any more.
    pub fn join(self: &Arc<Self>, key: &Key, url: &str) -> Option<Joined> {
        let mut fills = self.fills();
        let full = fills.len() >= MAX_FILLS;
        let fill = match fills.entry(key.clone()) {
            MapEntry::Occupied(fill) if self.is_current(url, fill.get().ticket()) => {
                return Some(Joined::Follows(Reader::new(fill.get())));
            }
            MapEntry::Occupied(mut place) => {
                let fill = Arc::new(Fill::new(self.ticket()));
                place.insert(Arc::clone(&fill));
                fill
            }
            MapEntry::Vacant(_) if full => return None,
            MapEntry::Vacant(place) => Arc::clone(place.insert(Arc::new(Fill::new(self.ticket())))),
        };
        let reader = Reader::new(&fill);
        Some(Joined::Leads(Filler::new(fill, Some((Arc::clone(self), key.clone()))), reader))
    }

    /// Whether `url` was not invalidated, and nothing purged, since `ticket`.
    fn is_current(&self, url: &str, ticket: Ticket) -> bool {
        let mark = self.mark(url).map_or(0, |mark| mark.load(Ordering::Acquire));
        ticket.sequence > mark && ticket.purges == self.purges.load(Ordering::Acquire)
    }

    /// Begins a fetch that no other request takes part in.
    pub fn alone(&self) -> (Filler, Reader) {
        let fill = Arc::new(Fill::new(self.ticket()));
        let reader = Reader::new(&fill);
        (Filler::new(fill, None), reader)
    }

    /// Lets no other request take part in `fill`.
    pub(super) fn close(&self, key: &Key, fill: &Arc<Fill>) {
        let mut fills = self.fills();
        if fills.get(key).is_some_and(|known| Arc::ptr_eq(known, fill)) {
            fills.remove(key);
        }
    }

    /// Remembers for a while that requests under `key` do not share an answer.
    pub fn set_unshared(&self, key: &Key) {
        self.unshared.insert(key.clone(), ());
    }

    /// Whether requests under `key` did not share an answer lately.
    pub fn is_unshared(&self, key: &Key) -> bool {
        self.unshared.contains_key(key)
    }

    /// Counts a body that is fetched, to be stored.
    pub fn coming_in(self: &Arc<Self>) -> ComingIn {
        ComingIn { store: Arc::clone(self), bytes: 0 }
    }

    fn fills(&self) -> MutexGuard<'_, HashMap<Key, Arc<Fill>>> {
        // Nothing is left half done under this lock.
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a body that is fetched, to be stored. All of them together are at most what the cache holds.
#[must_use = "the bytes count until this is dropped"]
pub struct ComingIn {
    store: Arc<Store>,
    bytes: u64,
}

impl ComingIn {
    /// Adds to them. `false`: it is too much, and the body is not to be kept.
    pub fn add(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        // Relaxed: a bound, which nothing else hangs on.
        let all = self.store.coming_in.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let config = &self.store.config;
        self.bytes <= config.max_object && all <= config.max_bytes
    }
}

impl Drop for ComingIn {
    fn drop(&mut self) {
        self.store.coming_in.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Slot {
    fn weight(&self) -> usize {
        match self {
            Self::Answer(held) => held.load().as_ref().map_or(0, |stored| stored.weight()),
            Self::Varies(by) => 128 + by.len() * 64,
        }
    }
}

impl Purge {
    /// The purge of one URL: `http://host/path?query`, or `/path?query` on every host; `None` when it is none.
    pub fn url(url: &str) -> Option<Self> {
        normal(url).map(Self::Url)
    }

    /// The purge of all URLs that begin so.
    pub fn prefix(url: &str) -> Option<Self> {
        normal(url).map(Self::Prefix)
    }

    fn takes(&self, stored: &Stored) -> bool {
        let comparable = |pattern: &str| {
            let host = if pattern.starts_with("//") {
                0
            } else {
                stored.url.get(2..).and_then(|url| url.find('/')).unwrap_or(0) + 2
            };
            stored.url.get(host..).unwrap_or_default()
        };
        match self {
            Self::All => true,
            Self::Url(url) => comparable(url) == url,
            Self::Prefix(prefix) => comparable(prefix).starts_with(prefix.as_str()),
            Self::Tag(tag) => stored.tags.iter().any(|known| **known == **tag),
        }
    }
}

/// A URL in the form that entries have theirs in.
fn normal(text: &str) -> Option<String> {
    let (https, rest) = match text.split_once("//") {
        Some((scheme @ ("" | "http:" | "https:"), rest)) => (scheme == "https:", Some(rest)),
        _ => (false, None),
    };
    let (host, target) = match rest {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => ("", text),
    };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    if !(path.starts_with('/') || (path.is_empty() && rest.is_some())) || (rest.is_some() && host.is_empty()) {
        return None;
    }
    let path = NormalPath::parse(path).ok()?;
    let whole = url(host, https, path.forward(), query);
    if rest.is_some() { Some(whole) } else { whole.strip_prefix("//").map(str::to_owned) }
}

#[cfg(test)]
mod tests;
