//! Signals, and the way out.
//!
//! TERM drains: readiness turns to 503, listeners close, requests in flight finish, and the process ends with the last
//! of them or at the deadline. INT ends at once. HUP reloads and reopens logs, USR1 reopens logs.

use std::sync::Arc;

use log::{error, info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::drain::Drain;
use super::reload::{Asked, Reloader};
use crate::config::audit::EventKind;
use crate::observe::audit::Event;

/// Handles signals until the process is to end; returns when nothing holds it any more.
pub async fn control(reloader: &Arc<Reloader>, drain: &Arc<Drain>) {
    let Some(mut signals) = Signals::new() else { return };
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                reopen(reloader, "HUP");
                // The reason of a refusal is in the log already.
                let _ = reloader.reload(Asked { actor: "HUP", client: None }).await;
            }
            _ = signals.user1.recv() => reopen(reloader, "USR1"),
            _ = signals.user2.recv() => warn!("USR2: upgrading the binary in place is not supported yet"),
            () = reloader.addresses_changed() => {}
            _ = signals.interrupt.recv() => {
                tell(reloader, "INT", "stop", true);
                info!("INT: ending at once, {} connections are cut", drain.connections());
                return;
            }
            _ = signals.terminate.recv() => break,
        }
    }
    leave(reloader, drain, &mut signals).await;
}

fn reopen(reloader: &Reloader, signal: &str) {
    let reopened = reloader.reopen_logs();
    tell(reloader, signal, "reopen_logs", reopened.is_ok());
    match reopened {
        Ok(()) => info!("logs reopened"),
        Err(error) => error!("cannot reopen the logs: {error}; the old files stay in use"),
    }
}

/// Tells the audit log what a signal brought about.
fn tell(reloader: &Reloader, signal: &str, action: &str, done: bool) {
    let event = Event::new(EventKind::ServiceManagement, done);
    let event = Event { actor: Some(signal), action: Some(action), ..event };
    reloader.shared().current.load().audit.record(&event);
}

async fn leave(reloader: &Reloader, drain: &Arc<Drain>, signals: &mut Signals) {
    let limit = reloader.shared().current.load().config.server.timeouts.drain;
    info!("TERM: draining {} connections, for {limit:?} at most", drain.connections());
    tell(reloader, "TERM", "drain", true);
    reloader.shared().metrics.set_draining(true);
    drain.begin();
    tokio::select! {
        () = drain.empty() => info!("drained"),
        () = tokio::time::sleep(limit) => {
            warn!("the drain deadline has passed: {} connections are cut", drain.connections());
        }
        _ = signals.interrupt.recv() => info!("INT: ending at once, {} connections are cut", drain.connections()),
    }
}

struct Signals {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Option<Self> {
        let listen = |kind| signal(kind).inspect_err(|error| error!("cannot take signals: {error}")).ok();
        Some(Self {
            hangup: listen(SignalKind::hangup())?,
            user1: listen(SignalKind::user_defined1())?,
            user2: listen(SignalKind::user_defined2())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }
}
