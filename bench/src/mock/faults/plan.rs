//! Faults and orders that hold for requests to come.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Fault, Orders};

/// A fault for requests to come, for all of them or for some.
#[derive(Clone, Debug)]
pub struct Planned {
    fault: Fault,
    left: Option<usize>,
    path: Option<String>,
    key: Option<String>,
    model: Option<String>,
}

impl Planned {
    /// This fault for every request, health checks excepted, until [`super::super::Mock::clear_faults`].
    pub fn new(fault: Fault) -> Self {
        Self { fault, left: None, path: None, key: None, model: None }
    }

    /// For so many requests.
    pub fn times(mut self, times: usize) -> Self {
        self.left = Some(times);
        self
    }

    /// For requests on paths that begin so.
    pub fn on_path(mut self, prefix: impl Into<String>) -> Self {
        self.path = Some(prefix.into());
        self
    }

    /// For requests with this provider key; with Flow, of this client id.
    pub fn for_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// For requests for this model.
    pub fn for_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    fn takes(&self, path: &str, key: &str, model: &str) -> bool {
        self.left != Some(0)
            && self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix))
            && self.key.as_deref().is_none_or(|wanted| wanted == key)
            && self.model.as_deref().is_none_or(|wanted| wanted == model)
    }
}

/// Orders that hold for requests to come.
#[derive(Default)]
pub(in crate::mock) struct Plan {
    pub(in crate::mock) next: VecDeque<Fault>,
    pub(in crate::mock) always: Option<Fault>,
    pub(in crate::mock) some: Vec<Planned>,
    pub(in crate::mock) latency: Duration,
    /// Path prefix and its latency; the longest prefix wins over `latency`.
    pub(in crate::mock) path_latency: Vec<(String, Duration)>,
    /// What AI requests are asked for that do not ask themselves.
    pub(in crate::mock) standing: Option<Orders>,
}

impl Plan {
    pub(in crate::mock) fn is_empty(&self) -> bool {
        self.next.is_empty()
            && self.always.is_none()
            && self.some.is_empty()
            && self.latency.is_zero()
            && self.path_latency.is_empty()
            && self.standing.is_none()
    }

    /// The fault that meets a request: of those for some requests the first that fits, else the next, else the one for all.
    pub(in crate::mock) fn take_fault(&mut self, path: &str, key: &str, model: &str) -> Option<Fault> {
        let Some(at) = self.some.iter().position(|planned| planned.takes(path, key, model)) else {
            return self.next.pop_front().or(self.always);
        };
        let planned = self.some.get_mut(at)?;
        let fault = planned.fault;
        if let Some(left) = &mut planned.left {
            *left -= 1;
            if *left == 0 {
                self.some.remove(at);
            }
        }
        Some(fault)
    }

    /// Ends every fault, and leaves latencies and orders.
    pub(in crate::mock) fn clear_faults(&mut self) {
        self.next.clear();
        self.some.clear();
        self.always = None;
    }

    pub(in crate::mock) fn latency_of(&self, path: &str) -> Duration {
        let by_path = self.path_latency.iter().filter(|(prefix, _)| path.starts_with(prefix.as_str()));
        by_path.max_by_key(|(prefix, _)| prefix.len()).map_or(self.latency, |(_, latency)| *latency)
    }
}
