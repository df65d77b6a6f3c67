//! How often each caller was let in, summed over a minute: a line for every request would be the access log again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::observe::shard;

/// Callers told apart within a minute, for each shard; what is beyond is counted together. Tokens can name any number.
const MOST: usize = 10_000;
/// The most shards: beyond this, threads share.
const MOST_SHARDS: usize = 16;
/// The name under which callers beyond [`MOST`] are counted.
const OTHERS: &str = "(others)";

type Counts = HashMap<Arc<str>, u64>;

/// Counts by the scope of the caller, that is kind and id. Survives reloads.
pub struct Usage {
    /// A power of two of them.
    shards: Box<[Mutex<Counts>]>,
}

impl Default for Usage {
    fn default() -> Self {
        Self { shards: (0..shard::count(MOST_SHARDS)).map(|_| Mutex::default()).collect() }
    }
}

impl Usage {
    /// Counts one request of `caller`.
    pub fn count(&self, caller: &Arc<str>) {
        let number = shard::number() & self.shards.len().saturating_sub(1);
        let Some(shard) = self.shards.get(number) else { return };
        let mut counts = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(caller) {
            *count += 1;
        } else if counts.len() < MOST {
            counts.insert(Arc::clone(caller), 1);
        } else {
            *counts.entry(OTHERS.into()).or_default() += 1;
        }
    }

    /// What was counted since it was last taken, in the order of the names.
    pub fn take(&self) -> Vec<(Arc<str>, u64)> {
        let mut sum = Counts::new();
        for shard in &self.shards {
            let counts = std::mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            for (caller, count) in counts {
                *sum.entry(caller).or_default() += count;
            }
        }
        let mut sum: Vec<_> = sum.into_iter().collect();
        sum.sort_unstable();
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_are_summed_and_taken_once() {
        let usage = Usage::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| usage.count(&a)));
            }
        });
        usage.count(&b);
        assert_eq!(usage.take(), [(a, 400), (b, 1)]);
        assert!(usage.take().is_empty());
    }

    #[test]
    fn callers_without_number_are_counted_together() {
        let usage = Usage::default();
        for n in 0..MOST + 5 {
            usage.count(&n.to_string().into());
        }
        let counts = usage.take();
        assert_eq!(counts.len(), MOST + 1);
        assert!(counts.contains(&(OTHERS.into(), 5)));
    }
}
