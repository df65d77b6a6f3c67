//! What is known of one key: for all models, and for those that its provider refused it or limited it for.
//!
//! Of models that have something said of them at most [`MOST`] are remembered; beyond it, that which is over soonest is
//! forgotten, and the next request for it finds out anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::condition::{Condition, Use};

/// The most models that a key remembers something of. Clients name them, so there is a bound.
pub(super) const MOST: usize = 256;

/// The conditions of one key.
#[derive(Debug, Default)]
pub(super) struct Held {
    all: Condition,
    models: HashMap<Box<str>, Condition>,
    /// What it may spend is spent, until then.
    spent: Option<Instant>,
}

impl Held {
    /// What may be done for `model` at `now`.
    pub(super) fn at(&self, model: &str, now: Instant) -> Use {
        let all = self.all.at(now);
        self.models.get(model).map_or(all, |of_model| all.with(of_model.at(now)))
    }

    /// The worst of what is known at `now`: of the key, or for one of its models.
    pub(super) fn worst(&self, now: Instant) -> Use {
        self.models.values().fold(self.all.at(now), |worst, of_model| worst.with(of_model.at(now)))
    }

    /// A request for `model` wants to use it. True: it may; where it was set aside, as the probe.
    pub(super) fn enter(&mut self, model: &str, now: Instant) -> bool {
        let may = self.at(model, now).is_open();
        if may {
            self.all.enter(now);
            if let Some(of_model) = self.models.get_mut(model) {
                of_model.enter(now);
            }
        }
        may
    }

    /// It was refused, for `model` alone or for all. True: that is news.
    pub(super) fn refuse(&mut self, model: Option<&str>, now: Instant, cooldown: Duration) -> bool {
        self.of(model, now).refuse(now, cooldown)
    }

    /// It is not to be used before `until`, for `model` alone or for all. True: that is news.
    pub(super) fn rest(&mut self, model: Option<&str>, now: Instant, until: Instant) -> bool {
        self.of(model, now).rest(now, until)
    }

    /// What it may spend is spent before `until`. True: that is news.
    pub(super) fn spend(&mut self, now: Instant, until: Instant) -> bool {
        self.spent = self.spent.max(Some(until));
        self.rest(None, now, until)
    }

    /// Whether it rests because what it may spend is spent.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        self.spent.is_some_and(|until| now < until)
    }

    /// It has nothing left before `until`.
    pub(super) fn spare(&mut self, until: Instant) {
        self.all.spare(until);
    }

    /// It was taken for `model`. True: it is back.
    pub(super) fn take(&mut self, model: &str, now: Instant) -> bool {
        self.spent = None;
        let back = self.models.get_mut(model).is_some_and(|of_model| of_model.take(now));
        self.all.take(now) | back
    }

    /// The provider takes the key, but not for `model`: a probe of the key has found it good.
    pub(super) fn take_but(&mut self, now: Instant) {
        self.all.take(now);
    }

    /// A request for `model` ended without a word about it.
    pub(super) fn release(&mut self, model: &str) {
        self.all.release();
        if let Some(of_model) = self.models.get_mut(model) {
            of_model.release();
        }
    }

    fn of(&mut self, model: Option<&str>, now: Instant) -> &mut Condition {
        let Some(model) = model else { return &mut self.all };
        if self.models.len() >= MOST && !self.models.contains_key(model) {
            self.models.retain(|_, of_model| !of_model.is_over(now));
            let soonest = self.models.iter().min_by_key(|(_, of_model)| of_model.at(now).wait(now));
            if let Some(soonest) = soonest.map(|(name, _)| name.clone()).filter(|_| self.models.len() >= MOST) {
                self.models.remove(&soonest);
            }
        }
        self.models.entry(model.into()).or_default()
    }
}
