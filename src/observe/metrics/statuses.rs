//! Requests by status: every status there is, and memory only for those that occur.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The last status that is told from others.
const LAST: u16 = 999;

/// A counter for every status. By hundreds; a hundred is made when a status of it is first seen.
#[derive(Default)]
pub(super) struct Statuses([OnceLock<Box<Hundred>>; 10]);

/// Counters for `x00` to `x99`.
struct Hundred([AtomicU64; 100]);

impl Default for Hundred {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Statuses {
    /// Counts one. Beyond 999 counts as 999. Relaxed: counters are read one by one, only to be shown.
    pub(super) fn add(&self, status: u16) {
        let status = usize::from(status.min(LAST));
        if let Some(hundred) = self.0.get(status / 100)
            && let Some(counter) = hundred.get_or_init(Box::default).0.get(status % 100)
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The statuses that occurred, and how often, in ascending order.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u16, u64)> {
        (0u16..).zip(&self.0).flat_map(|(hundred, counters)| {
            let counters = counters.get().into_iter().flat_map(|hundred| &hundred.0);
            let counts = (0u16..).zip(counters).map(move |(rest, counter)| (hundred * 100 + rest, counter));
            counts.map(|(status, counter)| (status, counter.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
        })
    }
}
