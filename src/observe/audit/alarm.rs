//! Alarms: when a kind of event comes more often than it should.
//!
//! A window of one minute slides over the last events of a kind. When it holds more than the threshold, one alarm is
//! raised, and the kind is quiet for a minute. What is kept is bounded by the threshold.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The span in which events are counted, and for which a raised alarm is quiet.
const WINDOW: Duration = Duration::from_secs(60);

/// What an alarm may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Failed authentications.
    AuthFailures,
    /// Suspicious requests.
    SuspiciousRequests,
    /// Masked bodies.
    Sanitizations,
}

impl Alarm {
    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthFailures => "auth_failures",
            Self::SuspiciousRequests => "suspicious_requests",
            Self::Sanitizations => "sanitizations",
        }
    }
}

/// A threshold was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// Which.
    pub alarm: Alarm,
    /// Events in the window.
    pub count: usize,
    /// The address that most of them came from, and how many those were.
    pub worst: Option<(IpAddr, usize)>,
}

/// The windows of all alarms. Survives reloads.
#[derive(Debug, Default)]
pub struct Alarms {
    windows: [Mutex<Window>; 3],
}

#[derive(Debug, Default)]
struct Window {
    recent: VecDeque<(Instant, Option<IpAddr>)>,
    quiet_until: Option<Instant>,
}

impl Alarms {
    /// Takes in one event at `now`; tells when it passes `threshold`. A threshold of zero is never passed.
    pub fn count(&self, alarm: Alarm, threshold: u32, client: Option<IpAddr>, now: Instant) -> Option<Raised> {
        let threshold = usize::try_from(threshold).ok().filter(|threshold| *threshold > 0)?;
        let window = self.windows.get(alarm as usize)?;
        // A panic while it was held leaves at worst one event too few.
        window.lock().unwrap_or_else(PoisonError::into_inner).count(alarm, threshold, client, now)
    }
}

impl Window {
    fn count(&mut self, alarm: Alarm, threshold: usize, client: Option<IpAddr>, now: Instant) -> Option<Raised> {
        self.recent.push_back((now, client));
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= WINDOW;
        while self.recent.len() > threshold + 1 || self.recent.front().is_some_and(|(at, _)| is_old(at)) {
            self.recent.pop_front();
        }
        if self.recent.len() <= threshold || self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.quiet_until = Some(now + WINDOW);
        Some(Raised { alarm, count: self.recent.len(), worst: self.worst() })
    }

    fn worst(&self) -> Option<(IpAddr, usize)> {
        let mut by_client: HashMap<IpAddr, usize> = HashMap::new();
        for client in self.recent.iter().filter_map(|(_, client)| *client) {
            *by_client.entry(client).or_default() += 1;
        }
        by_client.into_iter().max_by_key(|(client, count)| (*count, *client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_sixth_failure_in_a_minute_raises_one_alarm() {
        let (alarms, start) = (Alarms::default(), clock::now());
        for second in 0..5 {
            assert_eq!(alarms.count(Alarm::AuthFailures, 5, client(1), at(start, second)), None);
        }
        let raised = alarms.count(Alarm::AuthFailures, 5, client(2), at(start, 5)).unwrap();
        assert_eq!((raised.count, raised.worst), (6, client(1).map(|client| (client, 5))));
        for second in 6..65 {
            assert_eq!(alarms.count(Alarm::AuthFailures, 5, client(1), at(start, second)), None, "{second}");
        }
        assert!(
            alarms.count(Alarm::AuthFailures, 5, client(1), at(start, 65)).is_some(),
            "it goes on, so it is told again"
        );
    }

    #[test]
    fn the_window_slides() {
        let (alarms, start) = (Alarms::default(), clock::now());
        for second in [0, 50, 55, 58, 59, 61] {
            // The first is older than a minute when the sixth comes.
            assert_eq!(alarms.count(Alarm::AuthFailures, 5, None, at(start, second)), None, "{second}");
        }
        assert!(alarms.count(Alarm::AuthFailures, 5, None, at(start, 62)).is_some());
    }

    #[test]
    fn alarms_do_not_disturb_each_other_and_zero_is_off() {
        let (alarms, start) = (Alarms::default(), clock::now());
        for _ in 0..100 {
            assert_eq!(alarms.count(Alarm::Sanitizations, 0, None, start), None);
            assert_eq!(alarms.count(Alarm::SuspiciousRequests, 100, None, start), None);
        }
        assert_eq!(alarms.count(Alarm::AuthFailures, 1, None, start), None);
        assert!(alarms.count(Alarm::AuthFailures, 1, None, start).is_some());
    }

    #[test]
    fn what_is_kept_is_bounded_by_the_threshold() {
        let (alarms, start) = (Alarms::default(), clock::now());
        for _ in 0..10_000 {
            alarms.count(Alarm::AuthFailures, 5, None, start);
        }
        assert_eq!(alarms.windows[0].lock().unwrap().recent.len(), 6);
    }
}
