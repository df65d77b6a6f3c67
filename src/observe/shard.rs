//! Which shard of a buffer or a counter the calling thread uses.
//!
//! Threads are numbered when they first ask. The numbers only spread threads over shards: nothing is wrong when two
//! threads share one, it is only slower.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers threads. Process-wide because threads are.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // Relaxed: only the number's uniqueness matters, not its order with anything else.
    static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
}

/// The calling thread's number, from 0. While a thread ends, 0.
pub(super) fn number() -> usize {
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

/// How many shards to make: a power of two, at least the processors this process may use, at most `most`.
pub(super) fn count(most: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    processors.next_power_of_two().clamp(1, most)
}
