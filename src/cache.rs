//! The HTTP cache: what is stored of a pool's answers, and which requests it serves (RFC 9111).
//!
//! A request becomes a [`Key`](key::Key); a [`Store`] finds what is stored under it; [`Stored::verdict`] says whether
//! that serves. What does not is fetched once for all who ask at the same time ([`fill`]), judged by [`Freshness`], and
//! stored. Nothing here opens a connection: `proxy::cached` fetches and answers.
//!
//! Invariants: two requests that differ in a part of the key never share an answer; a store never holds more than its
//! bounds; what was asked for before an invalidation is not served after it.
//!
//! It does not store parts (206), nor answers to other methods than GET.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::cache::Cache;
use crate::observe::metrics::Metrics;

pub use control::{RequestControl, ResponseControl};
pub use errors::ErrorScan;
pub use freshness::{Answered, Freshness, Unstorable, Verdict, has_validator};
pub use store::{Found, Joined, Purge, Store, Ticket};
pub use stored::{Head, Stored, tags};

pub mod conditional;
pub mod control;
mod dates;
mod errors;
pub mod fill;
mod freshness;
pub mod invalidate;
pub mod key;
pub mod range;
mod store;
mod stored;
pub mod vary;

/// The caches of all snapshots. Their entries outlive a reload.
#[derive(Default)]
pub struct Caches {
    stores: Mutex<HashMap<Arc<str>, Arc<Store>>>,
}

impl Caches {
    /// The stores of `configured`, in its order: those that are there, but for the ones whose bounds have changed, which
    /// begin anew. Others are let go.
    pub fn of(&self, configured: &[Arc<Cache>], metrics: &Metrics) -> Vec<Arc<Store>> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |store: &Store, cache: &Cache| {
            let known = store.config();
            (known.max_bytes, known.max_entries) == (cache.max_bytes, cache.max_entries)
                && (known.max_object, known.coalesce_timeout) == (cache.max_object, cache.coalesce_timeout)
                && known.tag_headers == cache.tag_headers
        };
        let next: Vec<Arc<Store>> = configured
            .iter()
            .map(|cache| match stores.get(&cache.name) {
                Some(store) if same(store, cache) => Arc::clone(store),
                _ => Arc::new(Store::new(Arc::clone(cache), metrics.cache(&cache.name))),
            })
            .collect();
        *stores = next.iter().map(|store| (Arc::clone(&store.config().name), Arc::clone(store))).collect();
        next
    }
}
