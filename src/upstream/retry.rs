//! When a request is tried again: one table, and a budget over all requests of a pool.
//!
//! Invariant: a request is tried again only while its client has seen no byte of an answer, its body can be sent again,
//! attempts are left, and the pool's budget allows it. A request that is not idempotent is tried again only when nothing
//! of it was sent (rows D02, T39), unless the configuration says otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;

use crate::config::Retry;

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection: refused, unreachable, no TLS. Nothing was sent.
    Connect,
    /// No connection in time. Nothing was sent.
    ConnectTimeout,
    /// The connection broke before any byte of the answer.
    Reset,
    /// No first byte in time.
    Timeout,
    /// What came back is not HTTP.
    Invalid,
    /// An answer with this status.
    Status(u16),
    /// This process has no file descriptor or port left: no member's fault.
    Local,
}

/// What is known of a request when an attempt failed.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Attempts so far, the failed one included.
    pub attempts: u32,
    /// Whether the body, as far as it was sent, can be sent again.
    pub replayable: bool,
}

/// Whether the rules allow another attempt; the budget is asked after this.
pub fn allowed(rules: &Retry, cause: Cause, attempt: &Attempt<'_>) -> bool {
    if attempt.attempts >= rules.attempts || !attempt.replayable {
        return false;
    }
    let listed = match cause {
        Cause::Connect | Cause::ConnectTimeout => rules.on.connect_failure,
        Cause::Reset => rules.on.reset,
        Cause::Timeout => rules.on.timeout,
        Cause::Invalid | Cause::Local => false,
        Cause::Status(status) => rules.on.statuses.contains(&status),
    };
    let nothing_sent = matches!(cause, Cause::Connect | Cause::ConnectTimeout);
    listed && (nothing_sent || rules.non_idempotent || is_idempotent(attempt.method))
}

/// Idempotent methods of RFC 9110, section 9.2.2.
pub fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

/// Seconds of one half of the window.
const HALF_WINDOW: u64 = 5;
/// Retries that are always free within a window, so that a quiet pool is not left without.
const FREE_RETRIES: u64 = 10;

/// Retries as a share of requests, over the last five to ten seconds.
///
/// Two halves rotate; a request or a retry is counted in the current one. A race at the turn of a half may lose a few
/// counts, which only shifts the share by as many.
#[derive(Debug)]
pub struct Budget {
    start: Instant,
    halves: [Half; 2],
}

#[derive(Debug, Default)]
struct Half {
    number: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
}

impl Budget {
    /// An unused budget.
    pub fn new(now: Instant) -> Self {
        Self { start: now, halves: Default::default() }
    }

    /// Counts a request.
    pub fn request(&self, now: Instant) {
        if let Some(half) = self.current(now) {
            half.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes one retry, if `percent` of the requests allow it.
    pub fn take(&self, percent: u32, now: Instant) -> bool {
        let number = self.number(now);
        let Some(current) = self.current(now) else { return false };
        let live = self.halves.iter().filter(|half| half.number.load(Ordering::Relaxed) + 1 >= number);
        let (requests, retries) = live.fold((0, 0), |(requests, retries), half| {
            (requests + half.requests.load(Ordering::Relaxed), retries + half.retries.load(Ordering::Relaxed))
        });
        let allowed = FREE_RETRIES.max(requests.saturating_mul(u64::from(percent)) / 100);
        if retries >= allowed {
            return false;
        }
        current.retries.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn number(&self, now: Instant) -> u64 {
        // From 1, so that a fresh half (number 0) never counts as current.
        now.saturating_duration_since(self.start).as_secs() / HALF_WINDOW + 1
    }

    fn current(&self, now: Instant) -> Option<&Half> {
        let number = self.number(now);
        let half = self.halves.get(usize::from(number % 2 == 1))?;
        if half.number.swap(number, Ordering::Relaxed) != number {
            half.requests.store(0, Ordering::Relaxed);
            half.retries.store(0, Ordering::Relaxed);
        }
        Some(half)
    }
}

/// The window over which a [`Budget`] looks back at most.
pub const WINDOW: Duration = Duration::from_secs(2 * HALF_WINDOW);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::config::RetryOn;

    fn rules() -> Retry {
        let on = RetryOn { connect_failure: true, reset: true, timeout: false, statuses: vec![503] };
        Retry { attempts: 3, on, budget_percent: 20, non_idempotent: false }
    }

    fn first(method: &Method) -> Attempt<'_> {
        Attempt { method, attempts: 1, replayable: true }
    }

    #[test]
    fn a_get_is_tried_again_on_what_the_rules_list() {
        let get = first(&Method::GET);
        assert!(allowed(&rules(), Cause::Connect, &get));
        assert!(allowed(&rules(), Cause::Reset, &get));
        assert!(allowed(&rules(), Cause::Status(503), &get));
        assert!(!allowed(&rules(), Cause::Status(500), &get));
        assert!(!allowed(&rules(), Cause::Timeout, &get));
        assert!(!allowed(&rules(), Cause::Invalid, &get));
    }

    #[test]
    fn a_post_is_tried_again_only_when_nothing_was_sent() {
        let post = first(&Method::POST);
        assert!(allowed(&rules(), Cause::Connect, &post));
        assert!(allowed(&rules(), Cause::ConnectTimeout, &post));
        assert!(!allowed(&rules(), Cause::Reset, &post));
        assert!(!allowed(&rules(), Cause::Status(503), &post));
        let opted_in = Retry { non_idempotent: true, ..rules() };
        assert!(allowed(&opted_in, Cause::Reset, &post));
    }

    #[test]
    fn attempts_and_the_body_bound_it() {
        let method = Method::GET;
        assert!(!allowed(&rules(), Cause::Connect, &Attempt { method: &method, attempts: 3, replayable: true }));
        assert!(!allowed(&rules(), Cause::Connect, &Attempt { method: &method, attempts: 1, replayable: false }));
    }

    #[test]
    fn the_budget_gives_a_share_of_the_requests_and_a_few_for_free() {
        let now = clock::now();
        let quiet = Budget::new(now);
        assert_eq!((0..100).filter(|_| quiet.take(20, now)).count(), 10);

        let busy = Budget::new(now);
        (0..1000).for_each(|_| busy.request(now));
        assert_eq!((0..1000).filter(|_| busy.take(20, now)).count(), 200);
    }

    #[test]
    fn the_budget_forgets_after_its_window() {
        let now = clock::now();
        let budget = Budget::new(now);
        assert_eq!((0..100).filter(|_| budget.take(20, now)).count(), 10);
        assert!(!budget.take(20, now + Duration::from_secs(6)), "the half before still counts");
        assert!(budget.take(20, now + WINDOW + Duration::from_secs(HALF_WINDOW)));
    }
}
