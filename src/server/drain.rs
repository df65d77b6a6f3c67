//! Drain: no new connections, and an end as soon as the last request is done.
//!
//! A process that another one has taken over from drains, too, but nobody is to look for another gateway: its answers to
//! probes stay what they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// Whether the process is on its way out, and what still holds it.
#[derive(Debug)]
pub struct Drain {
    draining: AtomicBool,
    shutdown: watch::Sender<bool>,
    handed_over: AtomicBool,
    connections: AtomicUsize,
    changed: Notify,
}

impl Drain {
    /// Nobody is leaving.
    pub fn new() -> Arc<Self> {
        let (shutdown, _) = watch::channel(false);
        Arc::new(Self {
            draining: AtomicBool::new(false),
            shutdown,
            handed_over: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            changed: Notify::new(),
        })
    }

    /// Begins: readiness says so, listeners close, idle connections end, others end with their answer.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.shutdown.send_replace(true);
    }

    /// Begins where another process serves from now on: listeners close, connections end as in [`Self::begin`].
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
        self.shutdown.send_replace(true);
    }

    /// Resolves once another process serves.
    pub async fn handed_over(&self) {
        let _ = self.watch().wait_for(|_| self.is_handed_over()).await;
    }

    /// Whether another process serves.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Whether it has begun, and nobody serves in our place.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Becomes `true` when it begins.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.shutdown.subscribe()
    }

    /// Client connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a client connection as open until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Resolves once no client connection is open.
    pub async fn empty(&self) {
        loop {
            let changed = self.changed.notified();
            if self.connections() == 0 {
                return;
            }
            changed.await;
        }
    }
}

/// An open client connection.
#[derive(Debug)]
pub struct Open(Arc<Drain>);

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.changed.notify_one();
        }
    }
}
