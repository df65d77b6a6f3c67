//! The test harness: the real binary on real sockets, mock backends and clients.
//!
//! A test is three steps: backends ([`upstream`]), a gateway in front of them ([`gateway`]), and what a client or an
//! operator then sees. Every port is reserved for the one test that uses it, every file lies in its own directory,
//! and a gateway dies with the test that started it. The only loops that wait live here, and every one has a deadline.

#![expect(dead_code, unused_imports, unreachable_pub, reason = "every test file uses its own part of the harness")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test support: a failure here is the failure of the test, and tests measure with the real clock"
)]

use std::time::{Duration, Instant};

pub mod ai;
mod builder;
mod certificates;
mod client;
mod gateway;
mod h2;
mod issuer;
mod load;
mod metrics;
mod origin;
mod raw;
mod tokens;
mod upstream;
mod websocket;

pub use builder::{Builder, gateway};
pub use certificates::{Authority, Identity, is_refused, openssl_handshake};
pub use client::{Answer, Client, Stream};
pub use gateway::{Exit, Gateway, Signal, check, sluicegate};
pub use h2::{H2Answer, H2LateUpload, h2_get, h2_late_upload, h2_stall, h2_stalled_upload, h2_upload};
pub use issuer::{Answers, KeyServer, key_server};
pub use load::{Load, Tally, load, load_of, wrk};
pub use metrics::Metrics;
pub use origin::{Came, Given, Origin, given, given_status, origin};
pub use raw::{RawAnswer, RawConnection, RawUpstream, connect, raw_upstream};
pub use tokens::{SECRET, Signer, claims, part, seconds_now};
pub use upstream::{
    Blackhole, Fault, Mock, Seen, blackhole, event_age, free_address, last_seen, revive, sent, upstream, upstreams,
};
pub use websocket::WebSocket;

/// Waits until `condition` holds; the test fails when it does not within `deadline`.
pub async fn eventually<F>(deadline: Duration, what: &str, mut condition: F)
where
    F: AsyncFnMut() -> bool,
{
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        pause(Duration::from_millis(10)).await;
    }
}

/// Checks that `condition` holds the whole time: at once, and again and again until `span` is over.
pub async fn holds_for<F>(span: Duration, what: &str, mut condition: F)
where
    F: AsyncFnMut() -> bool,
{
    let started = Instant::now();
    while started.elapsed() < span {
        assert!(condition().await, "no longer after {:?}: {what}", started.elapsed());
        pause(Duration::from_millis(20)).await;
    }
}

/// Waits for `future`; the test fails when it is not done within `deadline`.
pub async fn within<F: Future>(deadline: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(deadline, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}

/// The time now, for measuring.
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds.
pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Seconds.
pub const fn s(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The gap between two looks of a waiting loop.
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
