//! Busy polling (`server.busy_polling`): a worker that has nothing to do looks for more for a while before it sleeps.
//!
//! A core without work halts. That of a virtual machine is given to others then, and is back milliseconds after an event that
//! was to wake it; so are those of bare metal in deep sleep, by some ten microseconds.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::clock;
use crate::transport::socket;

thread_local! {
    static LOOKING: RefCell<Option<Looking>> = const { RefCell::new(None) };
}

/// What a worker knows that looks for something to do.
struct Looking {
    /// Keeps the reactor from sleeping: it polls without waiting whenever something is woken.
    root: Waker,
    /// What [`socket::reads`] said the last time.
    reads: u64,
    /// Since when it has said the same.
    since: Instant,
}

/// A reactor that looks for `time` before it sleeps.
///
/// # Errors
/// When the system gives none.
pub(super) fn reactor(time: Duration) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if !time.is_zero() {
        builder.on_thread_park(move || look(time));
    }
    builder.build()
}

/// Begins to look, within the future that the reactor of this thread blocks on.
pub(super) async fn begin() {
    poll_fn(|context| {
        let root = context.waker().clone();
        LOOKING.set(Some(Looking { root, reads: socket::reads(), since: clock::now() }));
        Poll::Ready(())
    })
    .await;
}

/// Called when there is nothing to do.
fn look(time: Duration) {
    LOOKING.with_borrow_mut(|looking| {
        let Some(looking) = looking else { return };
        let (reads, now) = (socket::reads(), clock::now());
        if reads != looking.reads {
            (looking.reads, looking.since) = (reads, now);
        }
        if now.saturating_duration_since(looking.since) < time {
            looking.root.wake_by_ref();
        }
    });
}
