//! The worker threads, from their start to their end.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use log::error;
use sluicegate_wipe::wipe_what_this_thread_frees_up_to;
use tokio::sync::{Semaphore, watch};

use super::StartError;
use super::drain::Drain;
use super::listener::Listener;
use super::pulse::Pulse;
use super::sockets::Sockets;
use super::worker::{Handle, Parts, Worker};
use crate::config::Config;
use crate::snapshot::Shared;

/// Bytes of the blocks in which a header block usually comes, and so what clients call their secrets; larger ones are of bodies.
const WIPED: usize = 16 << 10;

/// The worker threads.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    pulses: Vec<Pulse>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts as many as `config` says.
    ///
    /// # Errors
    /// When the system gives no thread or no handle on a socket.
    pub fn start(
        config: &Config,
        shared: &Arc<Shared>,
        drain: &Arc<Drain>,
        listeners: &Arc<[Arc<Listener>]>,
        sockets: &Sockets,
    ) -> Result<Self, StartError> {
        let (stop, stopped) = watch::channel(false);
        let parts = Parts {
            shared: Arc::clone(shared),
            drain: Arc::clone(drain),
            listeners: Arc::clone(listeners),
            connections: Arc::new(Semaphore::new(config.server.max_connections.min(Semaphore::MAX_PERMITS))),
            settings: Arc::new(config.server.clone()),
        };
        let workers: Vec<Worker> = (0..config.server.threads).map(|_| Worker::new()).collect();
        let all: Vec<Handle> = workers.iter().map(Worker::handle).collect();
        let pulses = workers.iter().map(Worker::pulse).collect();
        let mut threads = Vec::with_capacity(workers.len());
        for (index, worker) in workers.into_iter().enumerate() {
            let (parts, all, stopped, bound) =
                (parts.clone(), all.clone(), stopped.clone(), sockets.clone_listeners()?);
            let run = move || {
                wipe_what_this_thread_frees_up_to(WIPED);
                if let Err(error) = worker.run(parts, bound, all, stopped) {
                    error!("worker {index} cannot run: {error}");
                }
            };
            let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(run);
            threads.push(thread.map_err(StartError::system("cannot start a worker thread"))?);
        }
        Ok(Self { threads, pulses, stop })
    }

    /// Their signs of life.
    pub fn pulses(&self) -> Vec<Pulse> {
        self.pulses.clone()
    }

    /// Ends the workers, and every connection they still have.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                error!("a worker thread had panicked");
            }
        }
    }
}
