//! Delays of many events, and what lies between two sets of them.

use serde::Serialize;

/// Percentiles of a set of delays, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delays {
    /// How many there are.
    pub count: usize,
    /// Half of them are at most this.
    pub p50: u32,
    /// 99 of 100 are.
    pub p99: u32,
    /// The longest.
    pub max: u32,
}

impl Delays {
    /// Of these, in any order.
    pub fn of(mut delays: Vec<u32>) -> Self {
        delays.sort_unstable();
        let at = |share: f64| {
            // The nearest rank: the smallest delay that `share` of all do not exceed.
            let rank = (share * delays.len() as f64).ceil() as usize;
            delays.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self { count: delays.len(), p50: at(0.5), p99: at(0.99), max: delays.last().copied().unwrap_or(0) }
    }

    /// What is over `direct`, milliseconds, at the median and at the 99th percentile. Below zero where noise is larger than it.
    pub fn added_to(&self, direct: &Self) -> (f64, f64) {
        let added = |own: u32, base: u32| (f64::from(own) - f64::from(base)) / 1e3;
        (added(self.p50, direct.p50), added(self.p99, direct.p99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        assert_eq!(Delays::of((1..=100).rev().collect()), Delays { count: 100, p50: 50, p99: 99, max: 100 });
        assert_eq!(Delays::of(vec![7]), Delays { count: 1, p50: 7, p99: 7, max: 7 });
        assert_eq!(Delays::of(Vec::new()), Delays::default());
    }

    #[test]
    fn what_is_added_is_the_difference_and_may_be_negative() {
        let direct = Delays { count: 1, p50: 500, p99: 3000, max: 9000 };
        let through = Delays { count: 1, p50: 750, p99: 2000, max: 9000 };
        assert_eq!(through.added_to(&direct), (0.25, -1.0));
    }
}
