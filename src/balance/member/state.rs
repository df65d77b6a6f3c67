//! The state of one member: counters, health, ejection, admin state.
//!
//! Invariant: `in_flight` counts the [`crate::balance::Pick`]s that are alive, of all generations, and
//! `outstanding_tokens` is the sum of what they still hold; with no request in flight both read zero.
//!
//! Times are kept as microseconds since the state was made, plus one; 0 means never. Atomics are `Relaxed`: each
//! stands alone, nothing else is published through them. What must change together is behind a mutex that no
//! successful request takes.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::balance::Failure;
use crate::balance::outlier::Outlier;

/// What an operator wants of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AdminState {
    /// Take requests.
    Ready = 0,
    /// Take no new requests; checks go on (A5.15).
    Drain = 1,
    /// Take no new requests; no checks.
    Maint = 2,
}

impl AdminState {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Ready, Self::Drain, Self::Maint];

    /// The word for metrics, pages and the control API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

/// What the active checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// No check, or none has spoken yet on a member that was already serving: usable.
    Unchecked = 0,
    /// A new member that waits for its first good check: not usable.
    Checking = 1,
    /// The checks are good: usable.
    Up = 2,
    /// The checks fail: not usable.
    Down = 3,
}

impl Health {
    /// The word for metrics, pages and the control API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Checking => "checking",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The outcome of one active check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// When it ended.
    pub at: Instant,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed; `None`: it was good.
    pub error: Option<String>,
}

/// The state of one member. See the module. In this order, and on cache lines of its own: what a request touches comes
/// first, and what others count does not disturb it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct MemberState {
    in_flight: AtomicU32,
    admin: AtomicU8,
    health: AtomicU8,
    ejected_until: AtomicU64,
    became_usable: AtomicU64,
    requests: AtomicU64,
    successes: AtomicU64,
    ejections: AtomicU32,
    // Peak EWMA of the time to the first byte, in microseconds as f64 bits, and when it was last fed.
    latency: AtomicU64,
    latency_at: AtomicU64,
    /// Only touched in pools that count tokens.
    outstanding_tokens: AtomicU64,
    failures: [AtomicU64; Failure::KINDS],
    /// Times to the first byte of all answers, in nanoseconds: 584 years fit.
    answer_nanos: AtomicU64,
    checks_ok: AtomicU64,
    checks_failed: AtomicU64,
    /// Times of all active checks, in nanoseconds.
    check_nanos: AtomicU64,
    health_changes: AtomicU64,
    checks: Mutex<Checks>,
    outlier: Mutex<Outlier>,
    made: Instant,
}

/// What the checks of a member remember.
#[derive(Debug, Default)]
struct Checks {
    good_in_a_row: u32,
    bad_in_a_row: u32,
    last: Option<CheckResult>,
}

/// The time constant of the latency average: after it, an old value has 37 % of its weight.
const LATENCY_TAU_MICROS: f64 = 10_000_000.0;
/// A failure doubles the latency average, within these bounds, so that a member that fails fast does not look fast.
const FAILED_LATENCY_MICROS: (f64, f64) = (50_000.0, 10_000_000.0);

impl MemberState {
    /// A member that was not known before. `checked`: it has an active check, so it waits for the first good one.
    pub fn new(checked: bool, now: Instant) -> Self {
        let health = if checked { Health::Checking } else { Health::Unchecked };
        Self {
            in_flight: AtomicU32::new(0),
            admin: AtomicU8::new(AdminState::Ready as u8),
            health: AtomicU8::new(health as u8),
            ejected_until: AtomicU64::new(0),
            became_usable: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            latency: AtomicU64::new(0),
            latency_at: AtomicU64::new(0),
            outstanding_tokens: AtomicU64::new(0),
            failures: Default::default(),
            answer_nanos: AtomicU64::new(0),
            checks_ok: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
            check_nanos: AtomicU64::new(0),
            health_changes: AtomicU64::new(0),
            checks: Mutex::default(),
            outlier: Mutex::default(),
            made: now,
        }
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Tokens that its requests in flight may still cost, of those picked while tokens counted.
    pub fn outstanding_tokens(&self) -> u64 {
        self.outstanding_tokens.load(Relaxed)
    }

    /// Requests given to this member so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Requests it answered, with anything but a 5xx.
    pub fn successes(&self) -> u64 {
        self.successes.load(Relaxed)
    }

    /// How long it took to the first byte of these answers, in all.
    pub fn answer_time(&self) -> Duration {
        Duration::from_nanos(self.answer_nanos.load(Relaxed))
    }

    /// Requests it failed, by [`Failure::kind`].
    pub fn failures(&self) -> [u64; Failure::KINDS] {
        std::array::from_fn(|kind| self.failures.get(kind).map_or(0, |n| n.load(Relaxed)))
    }

    /// Ejections so far.
    pub fn ejections(&self) -> u32 {
        self.ejections.load(Relaxed)
    }

    /// Active checks so far: good and failed ones.
    pub fn checks(&self) -> (u64, u64) {
        (self.checks_ok.load(Relaxed), self.checks_failed.load(Relaxed))
    }

    /// How long these checks took, in all.
    pub fn check_time(&self) -> Duration {
        Duration::from_nanos(self.check_nanos.load(Relaxed))
    }

    /// How often active checks changed its health so far.
    pub fn health_changes(&self) -> u64 {
        self.health_changes.load(Relaxed)
    }

    /// The last active check.
    pub fn last_check(&self) -> Option<CheckResult> {
        lock(&self.checks).last.clone()
    }

    /// What the operator wants.
    pub fn admin(&self) -> AdminState {
        match self.admin.load(Relaxed) {
            0 => AdminState::Ready,
            1 => AdminState::Drain,
            _ => AdminState::Maint,
        }
    }

    /// Sets what the operator wants; returns what it was. Coming from `Maint`, where no check ran, a checked member
    /// is back after `rise` good checks (A5.15).
    pub fn set_admin(&self, admin: AdminState, now: Instant) -> AdminState {
        let before = self.admin();
        if before == AdminState::Maint && admin != AdminState::Maint && self.health() != Health::Unchecked {
            let mut checks = lock(&self.checks);
            (checks.good_in_a_row, checks.bad_in_a_row) = (0, 0);
            self.health.store(Health::Down as u8, Relaxed);
        }
        if before != AdminState::Ready && admin == AdminState::Ready {
            self.came_back(now);
        }
        self.admin.store(admin as u8, Relaxed);
        before
    }

    /// What the active checks say.
    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            0 => Health::Unchecked,
            1 => Health::Checking,
            2 => Health::Up,
            _ => Health::Down,
        }
    }

    /// A new member begins as what it was for the process before; the checks go on from there.
    pub fn presume(&self, health: Health) {
        let checking = Health::Checking as u8;
        // One that has been checked already knows better.
        let _ = self.health.compare_exchange(checking, health as u8, Relaxed, Relaxed);
    }

    /// Whether neither the operator nor the checks keep it out. Ejection is another matter.
    pub(crate) fn is_in(&self) -> bool {
        self.admin.load(Relaxed) == AdminState::Ready as u8 && matches!(self.health(), Health::Unchecked | Health::Up)
    }

    /// Forgets what checks said: the member has none any more.
    pub(crate) fn reset_checks(&self) {
        if self.health() != Health::Unchecked {
            *lock(&self.checks) = Checks::default();
            self.health.store(Health::Unchecked as u8, Relaxed);
        }
    }

    /// Takes in one check. Returns the new health when it changed. From `Checking` the first good check is enough;
    /// otherwise `rise` good ones in a row bring it up, `fall` failed ones in a row take it down (A1.11).
    pub(crate) fn record_check(&self, result: CheckResult, rise: u32, fall: u32) -> Option<Health> {
        let (good, now) = (result.error.is_none(), result.at);
        let mut checks = lock(&self.checks);
        self.check_nanos.fetch_add(nanos(result.duration), Relaxed);
        if good {
            self.checks_ok.fetch_add(1, Relaxed);
            checks.good_in_a_row = checks.good_in_a_row.saturating_add(1);
            checks.bad_in_a_row = 0;
        } else {
            self.checks_failed.fetch_add(1, Relaxed);
            checks.bad_in_a_row = checks.bad_in_a_row.saturating_add(1);
            checks.good_in_a_row = 0;
        }
        checks.last = Some(result);
        let before = self.health();
        let after = match before {
            Health::Unchecked | Health::Checking if good => Health::Up,
            Health::Down if checks.good_in_a_row >= rise.max(1) => Health::Up,
            Health::Unchecked | Health::Checking | Health::Up if checks.bad_in_a_row >= fall.max(1) => Health::Down,
            same => same,
        };
        if after == before {
            return None;
        }
        if before == Health::Down {
            self.came_back(now);
        }
        self.health.store(after as u8, Relaxed);
        self.health_changes.fetch_add(1, Relaxed);
        Some(after)
    }

    /// When the ejection ends, if the member is ejected at `now`.
    pub(crate) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        match self.ejected_until.load(Relaxed) {
            0 => None,
            until => until.checked_sub(self.stamp(now)).filter(|left| *left > 0).map(Duration::from_micros),
        }
    }

    /// Whether an ejection was set and not yet taken back: only then the clock is needed.
    pub(crate) fn may_be_ejected(&self) -> bool {
        self.ejected_until.load(Relaxed) != 0
    }

    /// Takes back an ejection whose time is over. True for the one caller that did it, who logs it.
    pub(crate) fn end_ejection(&self, now: Instant) -> bool {
        let until = self.ejected_until.load(Relaxed);
        if until == 0 || until > self.stamp(now) {
            return false;
        }
        let ended = self.ejected_until.compare_exchange(until, 0, Relaxed, Relaxed).is_ok();
        if ended {
            self.came_back(now);
        }
        ended
    }

    /// Keeps the member out for `length` from `now`.
    pub(crate) fn eject(&self, length: Duration, now: Instant) {
        self.ejected_until.store(self.stamp(now + length), Relaxed);
        self.ejections.fetch_add(1, Relaxed);
    }

    /// The memory of failures, for [`crate::balance::Pool`].
    pub(crate) fn outlier(&self) -> MutexGuard<'_, Outlier> {
        lock(&self.outlier)
    }

    /// Takes one place of at most `limit`; false when all are taken. Exact under concurrency.
    pub(crate) fn reserve(&self, limit: u32) -> bool {
        let reserved = if limit == u32::MAX {
            self.in_flight.fetch_add(1, Relaxed);
            true
        } else {
            self.in_flight.fetch_update(Relaxed, Relaxed, |n| (n < limit).then_some(n + 1)).is_ok()
        };
        if reserved {
            self.requests.fetch_add(1, Relaxed);
        }
        reserved
    }

    /// Gives the place back. Only for a place that [`Self::reserve`] gave.
    pub(crate) fn release(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Adds the tokens of one request. It cannot overflow: 2^32 requests of 2^32 tokens at most.
    pub(crate) fn charge_tokens(&self, tokens: u32) {
        self.outstanding_tokens.fetch_add(u64::from(tokens), Relaxed);
    }

    /// Takes tokens away. Only what [`Self::charge_tokens`] added.
    pub(crate) fn release_tokens(&self, tokens: u32) {
        self.outstanding_tokens.fetch_sub(u64::from(tokens), Relaxed);
    }

    /// Counts an answer that was no failure, and the time to its first byte.
    pub(crate) fn count_success(&self, first_byte: Duration) {
        self.successes.fetch_add(1, Relaxed);
        self.answer_nanos.fetch_add(nanos(first_byte), Relaxed);
    }

    /// Counts a failure by its kind.
    pub(crate) fn count_failure(&self, failure: Failure) {
        if let Some(counter) = self.failures.get(failure.kind()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// The latency average at `now` in microseconds; `None` before the first answer. It fades while no answer comes,
    /// so that a member that was slow is tried again.
    pub(crate) fn latency(&self, now: Instant) -> Option<f64> {
        match self.latency_at.load(Relaxed) {
            0 => None,
            at => Some(f64::from_bits(self.latency.load(Relaxed)) * fade(self.stamp(now).saturating_sub(at))),
        }
    }

    /// Feeds the latency average: a peak counts at once, anything lower by and by. Two threads at the same moment may
    /// lose one of the two samples: it is an estimate.
    pub(crate) fn feed_latency(&self, sample: Duration, now: Instant) {
        let sample = sample.as_secs_f64() * 1e6;
        let stamp = self.stamp(now);
        let at = self.latency_at.load(Relaxed);
        let old = f64::from_bits(self.latency.load(Relaxed));
        let new = if at == 0 || sample >= old {
            sample
        } else {
            let weight = fade(stamp.saturating_sub(at));
            old * weight + sample * (1.0 - weight)
        };
        self.latency.store(new.to_bits(), Relaxed);
        self.latency_at.store(stamp, Relaxed);
    }

    /// Makes a failure cost latency.
    pub(crate) fn punish_latency(&self, now: Instant) {
        let (least, most) = FAILED_LATENCY_MICROS;
        let punished = (self.latency(now).unwrap_or(0.0) * 2.0).clamp(least, most);
        self.latency.store(punished.to_bits(), Relaxed);
        self.latency_at.store(self.stamp(now), Relaxed);
    }

    /// The share of its weight, in thousandths, that a member which came back gets at `now`: 100 at first, growing to
    /// 1000 over `slow_start`.
    pub(crate) fn ramp(&self, slow_start: Duration, now: impl FnOnce() -> Instant) -> u64 {
        let since = self.became_usable.load(Relaxed);
        if since == 0 || slow_start.is_zero() {
            return 1000;
        }
        let length = u64::try_from(slow_start.as_micros()).unwrap_or(u64::MAX).max(1);
        let passed = self.stamp(now()).saturating_sub(since).min(length);
        100 + u64::try_from(u128::from(passed) * 900 / u128::from(length)).unwrap_or(900)
    }

    fn came_back(&self, now: Instant) {
        self.became_usable.store(self.stamp(now), Relaxed);
    }

    fn stamp(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.made).as_micros()).map_or(u64::MAX, |n| n.saturating_add(1))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn fade(micros: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a fading factor needs no more than 52 bits")]
    let micros = micros as f64;
    (-micros / LATENCY_TAU_MICROS).exp()
}

/// A panic cannot leave these behind half-changed in a way that matters, so poison is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
