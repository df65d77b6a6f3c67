//! A histogram that threads do not fight over.

use std::time::Duration;

use crate::observe::metrics::counters::Counters;
use crate::observe::metrics::family::{Families, Histogram};

/// Units in a second, for histograms of nanoseconds.
pub(super) const NANOS: f64 = 1e9;
/// For histograms of things that are counted.
pub(super) const ONES: f64 = 1.0;

/// A histogram of whole numbers. `N` is two more than there are bounds: one bucket has none, and one counter is the sum.
pub(super) struct Buckets<const N: usize> {
    /// Ascending.
    bounds: &'static [u64],
    counters: Counters<N>,
}

impl<const N: usize> Buckets<N> {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.len() + 2 == N, "a histogram of {N} counters has {} bounds", bounds.len());
        Self { bounds, counters: Counters::new() }
    }

    pub(super) fn record(&self, value: u64) {
        self.counters.add(self.bounds.partition_point(|bound| *bound < value), 1);
        self.counters.add(N - 1, value);
    }

    pub(super) fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds the histogram, when there is anything in it. `unit` is how many make one of what is shown.
    pub(super) fn collect(
        &self,
        out: &mut Families,
        name: &'static str,
        help: &str,
        labels: &[(&str, &str)],
        unit: f64,
    ) {
        let counts: Vec<u64> = (0..N - 1).map(|bucket| self.counters.sum(bucket)).collect();
        if counts.iter().all(|count| *count == 0) {
            return;
        }
        let bounds: Vec<f64> = self.bounds.iter().map(|bound| *bound as f64 / unit).collect();
        let sum = self.counters.sum(N - 1) as f64 / unit;
        out.histogram(name, help, labels, &Histogram { bounds: &bounds, counts: &counts, sum });
    }
}
