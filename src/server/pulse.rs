//! The pulse of a worker: a task on its reactor counts up, so whoever hangs stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a worker has given a sign of life.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Counts up every `interval`, until dropped. To be spawned on the reactor that it is the pulse of.
    pub async fn beat(self, interval: Duration) {
        let mut beats = tokio::time::interval(interval);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Signs of life so far.
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
