//! What the service manager hears of us, and what it wants to hear (sd_notify(3)).
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing here does anything, and everything else runs the same.
//!
//! **Invariant:** once another process has taken over, this one says no more than what it still does: neither that it
//! stops, which would end the service, nor that it is well, which would hide that the other is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::{debug, warn};
use sd_notify::NotifyState;

use super::pulse::Pulse;

/// Times that workers are looked at while the service manager waits for one sign of life. Two would do, and the rest are
/// for a machine that is slow.
const LOOKS: u32 = 4;

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// What we do, when nothing special is going on.
    usual: Mutex<String>,
    succeeded: AtomicBool,
}

impl Supervisor {
    /// We serve; `status` says what. After an upgrade the service manager has to learn who we are, too.
    pub fn ready(&self, status: String) {
        let pid = NotifyState::MainPid(std::process::id());
        tell(&[pid, NotifyState::Ready, NotifyState::Status(&status)]);
        *self.usual.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// A reload begins. To be followed by [`Self::reloaded`], whatever comes of it.
    pub fn reloading(&self) {
        if self.has_succeeded() {
            return;
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
            Err(error) => debug!("no monotonic clock: {error}"),
        }
    }

    /// A reload is over; `refused`: the old configuration serves on.
    pub fn reloaded(&self, refused: bool) {
        if self.has_succeeded() {
            return;
        }
        let usual = self.usual();
        let status = if refused { format!("{usual}; the last reload was refused") } else { usual };
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// We are on our way out, and need as much time as `limit`.
    pub fn stopping(&self, limit: Duration) {
        if !self.has_succeeded() {
            let time = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
            tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(time)]);
        }
    }

    /// `connections` are open while we leave.
    pub fn draining(&self, connections: usize) {
        let connections =
            if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") };
        let status = if self.has_succeeded() {
            format!("{}; process {} drains {connections}", self.usual(), std::process::id())
        } else {
            format!("draining {connections}")
        };
        tell(&[NotifyState::Status(&status)]);
    }

    /// Another process serves now, and says `status` of itself.
    pub fn succeeded_by(&self, status: String) {
        *self.usual.lock().unwrap_or_else(PoisonError::into_inner) = status;
        self.succeeded.store(true, Ordering::Relaxed);
    }

    /// The other process, `pid`, is the one to watch from now on. It has said so itself, and where the service manager listens
    /// to the main process alone (`NotifyAccess=main`), it has to hear that from us.
    pub fn hand_on(&self, pid: u32) {
        tell(&[NotifyState::MainPid(pid), NotifyState::Status(&self.usual())]);
    }

    /// The other process has failed after all.
    pub fn serves_on(&self) {
        self.succeeded.store(false, Ordering::Relaxed);
    }

    /// We end. If another process serves, the last word is about that.
    pub fn ended(&self) {
        if self.has_succeeded() {
            tell(&[NotifyState::Status(&self.usual())]);
        }
    }

    /// Gives a sign of life as often as the service manager wants one, for as long as every worker does. For ever; not at
    /// all when none is wanted.
    pub async fn watch(self: Arc<Self>, workers: Vec<Pulse>) {
        let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
        let mut looks = tokio::time::interval(patience / LOOKS);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen: Vec<Option<u64>> = vec![None; workers.len()];
        let mut silent = false;
        loop {
            looks.tick().await;
            if self.has_succeeded() {
                return;
            }
            let now: Vec<Option<u64>> = workers.iter().map(|worker| Some(worker.beats())).collect();
            if now.iter().zip(&seen).all(|(now, seen)| now != seen) {
                tell(&[NotifyState::Watchdog]);
                (seen, silent) = (now, false);
            } else if !std::mem::replace(&mut silent, true) {
                let hung = now.iter().zip(&seen).position(|(now, seen)| now == seen).unwrap_or_default();
                debug!("worker {hung} has given no sign of life for {:?}", patience / LOOKS);
            }
        }
    }

    fn usual(&self) -> String {
        self.usual.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has_succeeded(&self) -> bool {
        self.succeeded.load(Ordering::Relaxed)
    }
}

/// How often a worker has to give a sign of life; `None`: nobody wants any.
pub fn pulse() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / LOOKS)
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("the service manager cannot be told: {error}");
    }
}
