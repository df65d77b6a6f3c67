//! The body of a request, read: JSON, or a form with files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ai::body::{Asked, Form};
use crate::ai::estimate;
use crate::ai::usage::ServiceTier;
use crate::clock;
use crate::observe::metrics::AiGatewayMetrics;

/// How long an answer waits at most for room before it is given up.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// A body that is no longer is a small one: 1 MiB.
const SMALL: u64 = 1 << 20;

/// How long a body is watched before it is called slow.
const WATCHED: Duration = Duration::from_secs(5);
/// A body that brings fewer bytes a second is slow: 128 KiB.
const SLOW: u64 = 128 << 10;

/// What a body takes of the memory that all of them may have. Dropping it gives that back.
pub struct Held {
    all: Arc<AiGatewayMetrics>,
    most: u64,
    bytes: u64,
}

impl Held {
    /// Nothing yet, of `most` bytes for all.
    pub fn new(all: &Arc<AiGatewayMetrics>, most: u64) -> Self {
        Self { all: Arc::clone(all), most, bytes: 0 }
    }

    /// So many bytes beside it, for a time; `None`: there are no more to be had.
    pub fn beside(&self, bytes: u64) -> Option<Self> {
        let mut held = self.another();
        held.add(bytes).then_some(held)
    }

    /// None yet, for something else of the same request.
    pub fn another(&self) -> Self {
        Self::new(&self.all, self.most)
    }

    /// The most that all may have.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The most that one body may have.
    pub fn most_of_one(&self) -> u64 {
        (self.most / 4 * 3).max(self.most.min(SMALL))
    }

    /// Takes so many more. `false`: there are no more to be had. A quarter is kept for small ones, so that a few large uploads
    /// shut nobody out.
    pub fn add(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let most = if self.bytes > SMALL { self.most / 4 * 3 } else { self.most };
        self.all.hold(bytes) <= most
    }

    /// Whether half of what all may have is held.
    pub fn is_half_full(&self) -> bool {
        self.all.held() > self.most / 2
    }

    /// Waits for so many more; `false`: others have kept all of it for too long.
    pub async fn wait_for(&mut self, bytes: u64) -> bool {
        let until = clock::now() + ROOM_WITHIN;
        while !self.add(bytes) {
            self.bytes -= bytes;
            self.all.let_go(bytes);
            if clock::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.let_go(self.bytes);
    }
}

/// How fast a body comes.
pub struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// Of a body that begins now.
    pub fn from(now: Instant) -> Self {
        Self { since: now, bytes: 0 }
    }

    /// Counts what came `now`; whether the body was slow while it was watched last.
    pub fn is_slow(&mut self, bytes: u64, now: Instant) -> bool {
        self.bytes += bytes;
        let watched = now.saturating_duration_since(self.since);
        if watched < WATCHED {
            return false;
        }
        let slow = u128::from(self.bytes) * 1000 < u128::from(SLOW) * watched.as_millis();
        *self = Self::from(now);
        slow
    }
}

/// A body, and what it says.
pub enum Body {
    /// JSON.
    Json(Asked),
    /// A form.
    Form(Form),
}

impl Body {
    /// The model that is asked for; not empty.
    pub fn model(&self) -> &str {
        match self {
            Self::Json(asked) => asked.model(),
            Self::Form(form) => form.model(),
        }
    }

    /// Whether a stream is asked for.
    pub fn streams(&self) -> bool {
        match self {
            Self::Json(asked) => asked.stream,
            Self::Form(form) => form.stream,
        }
    }

    /// Whether the answer is to be made later.
    pub fn in_background(&self) -> bool {
        matches!(self, Self::Json(asked) if asked.background)
    }

    /// How long it is, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Json(asked) => asked.body().len(),
            Self::Form(form) => form.body().len(),
        }
    }

    /// How many answers are asked for.
    pub fn answers(&self) -> u64 {
        match self {
            Self::Json(asked) => asked.answers(),
            Self::Form(form) => form.answers,
        }
    }

    /// The most tokens of one answer, where the client says it.
    pub fn most_output(&self) -> Option<u64> {
        match self {
            Self::Json(asked) => asked.max_output,
            Self::Form(_) => None,
        }
    }

    /// The tokens of an answer that the client foretells (`prediction`): what of it does not come true is charged beside the answer.
    pub fn predicted(&self) -> u64 {
        let Self::Json(asked) = self else { return 0 };
        asked.member("prediction").map_or(0, |prediction| estimate::output_tokens(prediction.len() as u64))
    }

    /// Whether some of it is to be held in the provider's cache for an hour. That stands in the parts of a prompt, which nobody
    /// reads for it: a text of just these words counts, too.
    pub fn asks_for_an_hour(&self) -> bool {
        matches!(self, Self::Json(asked) if memchr::memmem::find(asked.body(), b"\"1h\"").is_some())
    }

    /// The tier of service that is asked for, where the client names one.
    pub fn tier(&self) -> Option<ServiceTier> {
        let Self::Json(asked) = self else { return None };
        let named = |name| asked.text(name).and_then(|word| ServiceTier::of(word.as_bytes()));
        named("speed").or_else(|| named("service_tier")).or_else(|| named("serviceTier"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_slow_that_came_so_of_late_whatever_it_brought_before() {
        let begun = clock::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut pace = Pace::from(begun);
        assert!(!pace.is_slow(0, after(4)), "it is not known yet");
        assert!(!pace.is_slow(SLOW * 5, after(5)));
        assert!(!pace.is_slow(SLOW * 100, after(10)));
        assert!(pace.is_slow(SLOW * 20 - 1, after(30)));
    }
}
