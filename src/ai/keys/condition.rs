//! What is known of one key, for one model or for all: a small state machine that is told the time.

use std::time::{Duration, Instant};

use crate::observe::metrics::KeyState;

/// For how long a probe may say nothing before another request is let through. The task of one may be gone, so this is not
/// as long as an answer may take.
pub(super) const PROBE_MOST: Duration = Duration::from_secs(15);
/// The longest a key is left alone, whatever the configuration says: a bound that keeps the clock's arithmetic safe.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What was said of a key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Condition {
    refused: Option<Refused>,
    rests: Option<Instant>,
    spared: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    /// Nobody gets it before. While a probe is out: when the next one may go.
    until: Instant,
    /// When the probe that is out was let through.
    probe: Option<Instant>,
}

/// Whether a key may be used at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// As any other.
    Ready,
    /// When there is no other.
    Spared,
    /// By one request.
    Probe,
    /// Not before.
    Out(KeyState, Instant),
}

impl Use {
    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::Out(..))
    }

    pub(super) fn is_spared(&self) -> bool {
        matches!(self, Self::Spared)
    }

    pub(super) fn wait(&self, now: Instant) -> Duration {
        match self {
            Self::Out(_, until) => until.saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    /// This and `other` hold both: the stricter of the two.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Out(one, until), Self::Out(other, later)) => {
                // They stand in their order, the worst last.
                let state = if (other as u8) > (one as u8) { other } else { one };
                Self::Out(state, until.max(later))
            }
            (out @ Self::Out(..), _) | (_, out @ Self::Out(..)) => out,
            (Self::Probe, _) | (_, Self::Probe) => Self::Probe,
            (Self::Spared, _) | (_, Self::Spared) => Self::Spared,
            (Self::Ready, Self::Ready) => Self::Ready,
        }
    }

    pub(super) fn state(&self) -> KeyState {
        match self {
            Self::Ready => KeyState::Ready,
            Self::Spared => KeyState::Spared,
            Self::Probe => KeyState::Probing,
            Self::Out(state, _) => *state,
        }
    }
}

impl Condition {
    /// What may be done at `now`.
    pub(super) fn at(&self, now: Instant) -> Use {
        let rests = self.rests.filter(|until| now < *until);
        match self.refused {
            Some(refused) if now < refused.until => {
                let state = if refused.probe.is_some() { KeyState::Probing } else { KeyState::Failed };
                Use::Out(state, rests.map_or(refused.until, |until| until.max(refused.until)))
            }
            _ if rests.is_some() => Use::Out(KeyState::Resting, rests.unwrap_or(now)),
            Some(_) => Use::Probe,
            None if self.spared.is_some_and(|until| now < until) => Use::Spared,
            None => Use::Ready,
        }
    }

    /// A request wants to use it. True: it may. The first after a cool-down is the probe, and holds others off.
    pub(super) fn enter(&mut self, now: Instant) -> bool {
        match self.at(now) {
            Use::Out(..) => false,
            Use::Probe => {
                self.refused = Some(Refused { until: now + PROBE_MOST, probe: Some(now) });
                true
            }
            Use::Ready | Use::Spared => true,
        }
    }

    /// It was refused. True: that is news. False: by an answer to a request of before it was set aside.
    pub(super) fn refuse(&mut self, now: Instant, cooldown: Duration) -> bool {
        let news = self.refused.is_none_or(|refused| refused.probe.is_some() || refused.until <= now);
        if news {
            self.refused = Some(Refused { until: now + cooldown.min(LONGEST), probe: None });
        }
        news
    }

    /// It was taken. True: it is back. An answer to a request of before it was set aside brings nothing back.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let back = self.refused.is_some_and(|refused| refused.probe.is_some() || refused.until <= now);
        if back {
            self.refused = None;
        }
        back
    }

    /// The probe, if there is one, is over and said nothing: the next may go.
    pub(super) fn release(&mut self) {
        if let Some(Refused { until, probe }) = &mut self.refused
            && let Some(since) = probe.take()
        {
            *until = since;
        }
    }

    /// It is not to be used before `until`; the later moment counts. True: it was free to be used.
    pub(super) fn rest(&mut self, now: Instant, until: Instant) -> bool {
        let news = self.rests.is_none_or(|rests| rests <= now) && now < until;
        self.rests = self.rests.max(Some(until));
        news
    }

    /// Whether nothing is lost when it is forgotten.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.at(now) == Use::Ready
    }

    pub(super) fn spare(&mut self, until: Instant) {
        self.spared = self.spared.max(Some(until));
    }
}
