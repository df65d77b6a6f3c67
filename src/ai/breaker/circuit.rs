//! The breaker of one target: a state machine that is told the time.

use std::time::{Duration, Instant};

use crate::config::ai::Breaker as Settings;
use crate::observe::metrics::BreakerState;

/// Parts of the window.
pub(super) const BUCKETS: usize = 10;
/// The longest a target is left alone, whatever the configuration says: a bound that keeps the clock's arithmetic safe.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug)]
pub(super) struct Circuit {
    phase: Phase,
    /// Counts the changes of phase: what was let through in another one says nothing of this one.
    generation: u64,
    window: Window,
    /// When it has closed again.
    recovered: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// A request that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) probe: bool,
    generation: u64,
}

/// What a breaker has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened { failed: u32, requests: u32 },
    HalfOpened,
    Reopened,
    Closed,
}

impl Change {
    pub(super) fn state(self) -> BreakerState {
        match self {
            Self::Opened { .. } | Self::Reopened => BreakerState::Open,
            Self::HalfOpened => BreakerState::HalfOpen,
            Self::Closed => BreakerState::Closed,
        }
    }
}

impl Circuit {
    /// Closed, with nothing counted.
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Closed, generation: 0, window: Window::new(now), recovered: None }
    }

    /// Asks for a request.
    ///
    /// # Errors
    /// How long until one may come; `None`: until the probe is back.
    pub(super) fn admit(&mut self, settings: &Settings, now: Instant) -> Result<Pass, Option<Duration>> {
        match self.phase {
            Phase::Closed => {
                self.window.fit(settings.window, now);
                return Ok(Pass { probe: false, generation: self.generation });
            }
            Phase::Open { until } if now < until => return Err(Some(until.duration_since(now))),
            Phase::Open { .. } => self.become_(Phase::HalfOpen { probing: true }),
            Phase::HalfOpen { probing: true } => return Err(None),
            Phase::HalfOpen { probing: false } => self.phase = Phase::HalfOpen { probing: true },
        }
        Ok(Pass { probe: true, generation: self.generation })
    }

    /// What became of a request. Returns what the breaker has become by it.
    pub(super) fn report(&mut self, settings: &Settings, pass: Pass, good: bool, now: Instant) -> Option<Change> {
        if pass.generation != self.generation {
            return None;
        }
        match (self.phase, good) {
            (Phase::Closed, _) => {
                self.window.count(good, now);
                let Bucket { requests, failed } = self.window.sum(now);
                let enough = requests >= settings.min_requests && failed > 0;
                let share = u64::from(failed) * 100 >= u64::from(settings.error_percent) * u64::from(requests);
                (enough && share).then(|| {
                    self.open(settings, now);
                    Change::Opened { failed, requests }
                })
            }
            (Phase::HalfOpen { .. }, true) => {
                self.become_(Phase::Closed);
                self.window.clear();
                self.recovered = Some(now);
                Some(Change::Closed)
            }
            (Phase::HalfOpen { .. }, false) => {
                self.open(settings, now);
                Some(Change::Reopened)
            }
            // No request is let through while it is open, so none of this generation can be told of.
            (Phase::Open { .. }, _) => None,
        }
    }

    /// A request has ended and says nothing: where it was the probe, another may go.
    pub(super) fn release(&mut self, pass: Pass) {
        if pass.probe && pass.generation == self.generation && self.phase == (Phase::HalfOpen { probing: true }) {
            self.phase = Phase::HalfOpen { probing: false };
        }
    }

    /// Closes it, with nothing counted. Returns whether it was not closed.
    pub(super) fn restore(&mut self, now: Instant) -> bool {
        let was_out = self.phase != Phase::Closed;
        if was_out {
            self.recovered = Some(now);
        }
        self.become_(Phase::Closed);
        self.window.clear();
        was_out
    }

    /// The state as it is shown: one whose time is over is half-open, though nobody has come to try.
    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether nothing is lost when it is forgotten.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.phase == Phase::Closed && self.window.sum(now).requests == 0
    }

    /// Whether it has anything to say: it is not closed, or has counted something or closed again within its window.
    pub(super) fn is_telling(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < self.window.span();
        !self.is_idle(now) || self.recovered.is_some_and(lately)
    }

    fn open(&mut self, settings: &Settings, now: Instant) {
        self.become_(Phase::Open { until: now + settings.reset.min(LONGEST) });
    }

    fn become_(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}

/// What was counted lately. Ten buckets, of which the newest is being filled.
#[derive(Debug)]
struct Window {
    buckets: [Bucket; BUCKETS],
    /// The number of the newest bucket, counted from `began`.
    newest: u64,
    began: Instant,
    /// The length of a bucket, in nanoseconds.
    length: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    requests: u32,
    failed: u32,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { buckets: [Bucket::default(); BUCKETS], newest: 0, began: now, length: 1 }
    }

    /// Takes over the window's length; when it has changed, what was counted is forgotten.
    fn fit(&mut self, window: Duration, now: Instant) {
        let length = u64::try_from(window.as_nanos() / BUCKETS as u128).unwrap_or(u64::MAX).max(1);
        if self.length != length {
            *self = Self { length, ..Self::new(now) };
        }
    }

    fn span(&self) -> Duration {
        Duration::from_nanos(self.length.saturating_mul(BUCKETS as u64))
    }

    fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    /// The number of the bucket that `now` belongs to. Threads look at the clock before they come here, so it may be a
    /// little behind.
    fn number(&self, now: Instant) -> u64 {
        let nanos = u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX);
        (nanos / self.length).max(self.newest)
    }

    fn count(&mut self, good: bool, now: Instant) {
        let number = self.number(now);
        for passed in (self.newest + 1..=number).take(BUCKETS) {
            // All that lie between are empty; beyond ten, each was emptied once.
            if let Some(bucket) = self.buckets.get_mut(place(passed)) {
                *bucket = Bucket::default();
            }
        }
        self.newest = number;
        if let Some(bucket) = self.buckets.get_mut(place(number)) {
            bucket.requests = bucket.requests.saturating_add(1);
            bucket.failed = bucket.failed.saturating_add(u32::from(!good));
        }
    }

    fn sum(&self, now: Instant) -> Bucket {
        let number = self.number(now);
        let mut sum = Bucket::default();
        for back in 0..BUCKETS as u64 {
            let Some(old) = self.newest.checked_sub(back).filter(|old| number - old < BUCKETS as u64) else { break };
            if let Some(bucket) = self.buckets.get(place(old)) {
                sum.requests = sum.requests.saturating_add(bucket.requests);
                sum.failed = sum.failed.saturating_add(bucket.failed);
            }
        }
        sum
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % BUCKETS as u64).unwrap_or(0)
}
