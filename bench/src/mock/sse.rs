//! Server-sent events at a chosen pace.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use hyper::body::Frame;
use tokio::time::Instant;

use super::answer::{self, Answer, Frames, Payload};
use crate::units;

/// How many events, how far apart, and how much padding each carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cadence {
    pub(super) events: Option<u64>,
    pub(super) interval: Duration,
    pub(super) padding: u64,
    /// On an AI stream, each piece of text is its number and the time it was made.
    pub(super) stamped: bool,
}

impl Default for Cadence {
    fn default() -> Self {
        Self { events: None, interval: Duration::from_millis(100), padding: 0, stamped: false }
    }
}

impl Cadence {
    /// Reads `events=10`, `interval=100ms` or `rate=20` (a second), `size=1KiB` and `stamp`; other keys are left to others.
    /// `None` when a value is not one.
    pub(super) fn parse<'a>(pairs: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut cadence = Self::default();
        for pair in pairs {
            match pair.split_once('=') {
                Some(("events", value)) => cadence.events = Some(value.parse().ok()?),
                Some(("interval", value)) => cadence.interval = units::duration(value)?,
                Some(("rate", value)) => {
                    let rate = value.parse::<f64>().ok().filter(|rate| *rate > 0.0)?;
                    cadence.interval = Duration::try_from_secs_f64(1.0 / rate).ok()?;
                }
                None if pair == "stamp" => cadence.stamped = true,
                Some(("size", value)) => cadence.padding = units::size(value)?,
                _ => {}
            }
        }
        Some(cadence)
    }
}

/// Events that carry their index and the time they were made, in microseconds since the epoch.
pub(super) fn timed(cadence: Cadence) -> Answer {
    let padding = "x".repeat(usize::try_from(cadence.padding.min(1 << 20)).unwrap_or(0));
    let events = cadence.events.unwrap_or(10);
    let mut index = 0;
    paced(cadence.interval, move || {
        if index == events {
            return None;
        }
        let now = jiff::Timestamp::now().as_microsecond();
        let event = format!("id: {index}\ndata: {{\"index\":{index},\"sent_us\":{now},\"padding\":\"{padding}\"}}\n\n");
        index += 1;
        Some(Bytes::from(event))
    })
}

/// The events of `next`, each `interval` after the one before it; the first goes at once.
pub(super) fn paced(interval: Duration, next: impl FnMut() -> Option<Bytes> + Send + 'static) -> Answer {
    let frames = stream::unfold((Instant::now(), next), move |(due, mut next)| async move {
        if interval.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep_until(due).await;
        }
        let event = next()?;
        Some((Ok(Frame::data(event)), (due + interval, next)))
    });
    events(Box::pin(frames))
}

/// The answer that carries an event stream.
pub(super) fn events(frames: Frames) -> Answer {
    let mut answer = answer::with_payload(StatusCode::OK, "text/event-stream", Payload::Stream(frames));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
