//! Floods: the same place logging again and again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use log::Level;

/// Lines that one place may write in one window.
const MOST: u32 = 100;
/// The window's length.
const WINDOW: Duration = Duration::from_secs(1);

/// A place in the code. There are as many as there are log statements: a map of them is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Site {
    pub(super) file: &'static str,
    pub(super) line: u32,
    pub(super) level: Level,
}

/// Lines that were kept back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub(super) site: Site,
    pub(super) target: String,
    pub(super) lines: u64,
}

/// How much each place has written lately.
#[derive(Default)]
pub(super) struct Floods {
    windows: HashMap<Site, Window>,
    /// Places that have lines kept back.
    flooding: usize,
}

struct Window {
    began: Instant,
    written: u32,
    suppressed: u64,
    /// Of a line kept back.
    target: String,
}

impl Floods {
    /// Whether a line of `site` may be written `now`, and what is to be told of floods that are over.
    pub(super) fn admit(&mut self, site: Site, target: &str, now: Instant) -> (bool, Vec<Suppressed>) {
        let over = if self.flooding > 0 { self.take(|window| window.is_over(now)) } else { Vec::new() };
        let window = self.windows.entry(site).or_insert_with(|| Window::new(now));
        if window.is_over(now) {
            *window = Window::new(now);
        }
        if window.written < MOST {
            window.written += 1;
            return (true, over);
        }
        if window.suppressed == 0 {
            self.flooding += 1;
            target.clone_into(&mut window.target);
        }
        window.suppressed += 1;
        (false, over)
    }

    /// Everything kept back and not told yet.
    pub(super) fn take_all(&mut self) -> Vec<Suppressed> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Window) -> bool) -> Vec<Suppressed> {
        let mut taken = Vec::new();
        for (site, window) in self.windows.iter_mut().filter(|(_, window)| window.suppressed > 0 && which(window)) {
            let lines = std::mem::take(&mut window.suppressed);
            taken.push(Suppressed { site: *site, target: std::mem::take(&mut window.target), lines });
        }
        self.flooding -= taken.len();
        taken
    }
}

impl Window {
    fn new(began: Instant) -> Self {
        Self { began, written: 0, suppressed: 0, target: String::new() }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const HERE: Site = Site { file: "a.rs", line: 1, level: Level::Error };
    const THERE: Site = Site { file: "a.rs", line: 2, level: Level::Error };

    #[test]
    fn the_lines_over_a_hundred_a_second_are_kept_back_and_told_once() {
        let (mut floods, now) = (Floods::default(), clock::now());
        let admitted = (0..250).filter(|_| floods.admit(HERE, "pingora", now).0).count();
        assert_eq!(admitted, 100);
        let (admitted, told) = floods.admit(HERE, "pingora", now + WINDOW);
        assert!(admitted);
        assert_eq!(told, [Suppressed { site: HERE, target: "pingora".into(), lines: 150 }]);
        assert_eq!(floods.admit(HERE, "pingora", now + WINDOW), (true, vec![]));
    }

    #[test]
    fn a_flood_does_not_silence_another_place_and_is_told_by_it() {
        let (mut floods, now) = (Floods::default(), clock::now());
        for _ in 0..101 {
            floods.admit(HERE, "pingora", now);
        }
        assert_eq!(floods.admit(THERE, "proxy", now), (true, vec![]), "the flood's window is not over");
        assert_eq!(floods.admit(THERE, "proxy", now + WINDOW).1.len(), 1);
    }

    #[test]
    fn what_is_left_is_told_at_the_end() {
        let (mut floods, now) = (Floods::default(), clock::now());
        for _ in 0..103 {
            floods.admit(HERE, "pingora", now);
        }
        assert_eq!(floods.take_all().first().map(|suppressed| suppressed.lines), Some(3));
        assert_eq!(floods.take_all(), []);
    }
}
