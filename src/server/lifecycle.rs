//! Signals, and the way out.
//!
//! TERM drains: readiness turns to 503, listeners close, requests in flight finish, and the process ends with the last
//! of them or at the deadline. INT ends at once. HUP reloads and reopens logs, USR1 reopens logs. USR2 hands over to a new
//! process; then this one drains as well, with a deadline of its own and without a word to probes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use log::{error, info, warn};
use rustix::process::{Pid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::AbortHandle;

use super::drain::Drain;
use super::handover::{Handover, Predecessor};
use super::reload::{Asked, Reloader};
use super::supervisor::Supervisor;
use crate::config::audit::EventKind;
use crate::observe::audit::Event;

/// How often it is told what still holds a process that leaves.
const TELL: Duration = Duration::from_secs(1);

/// All that steers the process.
#[derive(Clone)]
pub struct Control {
    /// Reloads.
    pub reloader: Arc<Reloader>,
    /// The way out.
    pub drain: Arc<Drain>,
    /// Another way out.
    pub handover: Arc<Handover>,
    /// The service manager.
    pub supervisor: Arc<Supervisor>,
}

/// The process whose place this one took, as long as it drains.
struct Before {
    pid: Pid,
    drains: AbortHandle,
}

/// Why the process leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It was told to.
    Term,
    /// Another one serves.
    HandedOver,
}

impl Control {
    /// Handles signals until the process is to end; returns when nothing holds it any more. `predecessor`: the process
    /// that it took over from, which has to end first.
    pub async fn run(&self, mut signals: Signals, predecessor: Option<Predecessor>) {
        let pid = predecessor.as_ref().and_then(Predecessor::pid);
        let drains =
            predecessor.map(|predecessor| tokio::spawn(predecessor.follow(Arc::clone(self.reloader.shared()))));
        let before = drains.as_ref().zip(pid).map(|(drains, pid)| Before { pid, drains: drains.abort_handle() });
        let way = loop {
            tokio::select! {
                _ = signals.hangup.recv() => {
                    self.reopen("HUP", before.as_ref());
                    // The reason of a refusal is in the log already.
                    let _ = self.reloader.reload(Asked { actor: "HUP", client: None }).await;
                }
                _ = signals.user1.recv() => self.reopen("USR1", before.as_ref()),
                _ = signals.user2.recv() => self.upgrade(),
                () = self.reloader.addresses_changed() => {}
                _ = self.handover.done() => break Way::HandedOver,
                _ = signals.interrupt.recv() => {
                    self.tell("INT", "stop", true);
                    info!("INT: ending at once, {} connections are cut", self.drain.connections());
                    return;
                }
                _ = signals.terminate.recv() => break Way::Term,
            }
        };
        self.handover.close();
        let empty = async {
            self.drain.empty().await;
            if let Some(drains) = drains {
                let _ = drains.await;
            }
        };
        self.leave(way, &mut signals, empty, before.as_ref()).await;
    }

    /// Takes its time, and signals are heard meanwhile. What comes of it is in the log.
    fn upgrade(&self) {
        let handover = Arc::clone(&self.handover);
        tokio::spawn(async move { handover.run(Asked { actor: "USR2", client: None }).await });
    }

    fn reopen(&self, signal: &str, before: Option<&Before>) {
        let reopened = self.reloader.reopen_logs();
        self.tell(signal, "reopen_logs", reopened.is_ok());
        match reopened {
            Ok(()) => info!("logs reopened"),
            Err(error) => error!("cannot reopen the logs: {error}; the old files stay in use"),
        }
        // Who rotates knows one process alone.
        if let Some(Before { pid, drains }) = before
            && !drains.is_finished()
            && let Err(error) = kill_process(*pid, rustix::process::Signal::USR1)
        {
            warn!("process {pid:?} still drains and cannot be told to open its logs again: {error}");
        }
    }

    /// Tells the audit log what a signal brought about.
    fn tell(&self, signal: &str, action: &str, done: bool) {
        let event = Event::new(EventKind::ServiceManagement, done);
        let event = Event { actor: Some(signal), action: Some(action), ..event };
        self.reloader.shared().current.load().audit.record(&event);
    }

    async fn leave(&self, way: Way, signals: &mut Signals, empty: impl Future<Output = ()>, before: Option<&Before>) {
        let timeouts = self.reloader.shared().current.load().config.server.timeouts;
        let limit = self.begin(way, timeouts.drain, timeouts.handover);
        let deadline = tokio::time::sleep(limit);
        tokio::pin!(empty, deadline);
        loop {
            tokio::select! {
                () = &mut empty => return info!("drained"),
                () = &mut deadline => {
                    return warn!("the drain deadline has passed: {} connections are cut", self.drain.connections());
                }
                _ = signals.interrupt.recv() => {
                    return info!("INT: ending at once, {} connections are cut", self.drain.connections());
                }
                // Now it is to end as soon as it would have without the upgrade.
                _ = signals.terminate.recv(), if way == Way::HandedOver => {
                    info!("TERM: draining for {:?} at most", timeouts.drain);
                    deadline.as_mut().reset(tokio::time::Instant::now() + timeouts.drain.min(limit));
                }
                // The files belong to both processes.
                _ = signals.user1.recv() => self.reopen("USR1", before),
                () = tokio::time::sleep(TELL) => self.supervisor.draining(self.drain.connections()),
            }
        }
    }

    /// How long the way out may take.
    fn begin(&self, way: Way, drain: Duration, handover: Duration) -> Duration {
        let connections = self.drain.connections();
        match way {
            Way::Term => {
                info!("TERM: draining {connections} connections, for {drain:?} at most");
                self.tell("TERM", "drain", true);
                self.reloader.shared().metrics.set_draining(true);
                self.supervisor.stopping(drain);
                self.drain.begin();
                drain
            }
            Way::HandedOver => {
                info!("handed over: draining {connections} connections, for {handover:?} at most");
                self.drain.hand_over();
                handover
            }
        }
    }
}

/// Linux has no other number for it but on MIPS and PA-RISC.
const SIGXFSZ: i32 = 25;

/// The signals that mean something.
pub struct Signals {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    interrupt: Signal,
    terminate: Signal,
    /// A file is as long as this process may make one: the write fails, and says so.
    _file_size: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself. On a reactor.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }
}
