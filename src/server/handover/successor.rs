//! The side of the old process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::{error, info, warn};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Agreed, Carry, DETACH, Hello, Moves, SOCKETS, Word, channel};
use crate::clock;
use crate::config::Environment;
use crate::config::audit::EventKind;
use crate::observe::audit::Event;
use crate::server::listener::Bound;
use crate::server::reload::{Asked, Reloader};
use crate::server::state::StateDirectory;
use crate::server::supervisor::Supervisor;
use crate::server::{StartError, secrecy};

/// Until the program has started the new process.
const STARTS_WITHIN: Duration = Duration::from_secs(10);
/// Until that is there.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);
/// Until the new process could serve: it reads its configuration, looks names up and fetches keys.
const PREPARES_WITHIN: Duration = Duration::from_secs(20);
/// Until it serves then: it reads budgets, and starts its threads.
const SERVES_WITHIN: Duration = Duration::from_secs(5);
/// Until it has told the service manager.
const TELLS_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether the program has started it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often the new process hears what this one still charges.
const TELL: Duration = Duration::from_millis(20);
/// Bytes of a line of the new process.
const MAX_LINE: u64 = 1 << 20;

/// The process that took over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Its id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What it tells the service manager.
    pub status: String,
}

/// Hands this process's place over, when it is asked to.
pub struct Handover {
    program: PathBuf,
    environment: Environment,
    sockets: Mutex<Option<Arc<[Bound]>>>,
    reloader: Arc<Reloader>,
    state: Arc<StateDirectory>,
    supervisor: Arc<Supervisor>,
    /// One at a time.
    under_way: tokio::sync::Mutex<()>,
    last_failure: Mutex<Option<String>>,
    successor: watch::Sender<Option<Successor>>,
    /// What the new process still hears of this one.
    telling: Mutex<Option<JoinHandle<()>>>,
    /// Nothing is charged any more.
    finished: watch::Sender<bool>,
}

impl Handover {
    /// For a process with these `sockets`.
    ///
    /// # Errors
    /// When the path of the program cannot be found out.
    pub fn new(
        environment: Environment,
        sockets: Arc<[Bound]>,
        reloader: Arc<Reloader>,
        state: Arc<StateDirectory>,
        supervisor: Arc<Supervisor>,
    ) -> Result<Self, StartError> {
        let program = program().map_err(StartError::system("cannot find out where this program is"))?;
        let (under_way, last_failure, telling) = Default::default();
        let ((successor, _), (finished, _)) = (watch::channel(None), watch::channel(false));
        let sockets = Mutex::new(Some(sockets));
        Ok(Self {
            program,
            environment,
            sockets,
            reloader,
            state,
            supervisor,
            under_way,
            last_failure,
            successor,
            telling,
            finished,
        })
    }

    /// Starts the program at this one's path, and gives it this one's place.
    ///
    /// # Errors
    /// Why it could not be, for the operator. Then this process serves on.
    pub async fn run(&self, asked: Asked<'_>) -> Result<Successor, String> {
        let Ok(_under_way) = self.under_way.try_lock() else {
            return Err("an upgrade is under way already".to_owned());
        };
        if let Some(successor) = &*self.successor.borrow() {
            return Err(format!("process {} has taken over already", successor.pid));
        }
        info!("upgrade: {} takes over, if it can; asked by {}", self.program.display(), asked.actor);
        let result = self.try_run().await;
        let version = result.as_ref().ok().map(|successor| successor.version.as_str());
        let event = Event {
            actor: Some(asked.actor),
            client: asked.client,
            action: Some("upgrade"),
            target: version,
            reason: result.is_err().then_some("refused"),
            ..Event::new(EventKind::ServiceManagement, result.is_ok())
        };
        self.reloader.shared().current.load().audit.record(&event);
        self.reloader.shared().metrics.upgraded(result.is_ok());
        match &result {
            Ok(Successor { pid, version, .. }) => {
                info!("upgrade: process {pid} serves, version {version}; this one drains");
                self.successor.send_replace(result.as_ref().ok().cloned());
            }
            Err(reason) => error!("upgrade: refused, this process serves on: {reason}"),
        }
        *lock(&self.last_failure) = result.as_ref().err().cloned();
        result
    }

    /// Resolves once another process has taken over.
    pub async fn done(&self) -> Option<Successor> {
        self.successor.subscribe().wait_for(Option::is_some).await.ok().and_then(|successor| successor.clone())
    }

    /// Why the last try failed; `None`: it did not.
    pub fn last_failure(&self) -> Option<String> {
        lock(&self.last_failure).clone()
    }

    /// No more hand-over: closes the sockets.
    pub fn close(&self) {
        lock(&self.sockets).take();
    }

    /// Tells the new process the last of what is charged, and that this one ends. To be called when nothing is any more.
    pub async fn finish(&self) {
        let telling = lock(&self.telling).take();
        self.finished.send_replace(true);
        if let Some(telling) = telling {
            let _ = telling.await;
        }
    }

    async fn try_run(&self) -> Result<Successor, String> {
        let mut channel = self.start().await?;
        match channel.hear(PREPARES_WITHIN).await? {
            Word::Prepared => {}
            other => return Err(told(other)),
        }
        self.state.pause().await;
        let result = self.leave_to(&mut channel).await;
        match result {
            Ok(successor) => {
                let telling = tell(channel, Arc::clone(&self.state), self.finished.subscribe());
                *lock(&self.telling) = Some(tokio::spawn(telling));
                Ok(successor)
            }
            Err(reason) => {
                // It ends now, and lets go of the state.
                drop(channel);
                self.state.resume().await;
                Err(reason)
            }
        }
    }

    /// From the moment on that the new process could serve.
    async fn leave_to(&self, channel: &mut Channel) -> Result<Successor, String> {
        channel.say(&Carry::of(self.reloader.shared())).await?;
        let successor = match channel.hear(SERVES_WITHIN).await? {
            Word::Serving { pid, version, status } => Successor { pid, version, status },
            other => return Err(told(other)),
        };
        self.supervisor.succeeded_by(successor.status.clone());
        let agreed = channel.say(&Agreed {}).await.map_err(Unheard::Ended);
        match agreed.and(channel.next(TELLS_WITHIN).await) {
            Ok(_) => {}
            // It serves from the moment on that it reads this, however late it says so: only its end takes that back.
            Err(Unheard::Late) => warn!("upgrade: process {} is slow to tell the service manager", successor.pid),
            Err(Unheard::Ended(reason)) => {
                self.supervisor.serves_on();
                return Err(reason);
            }
        }
        self.supervisor.hand_on(successor.pid);
        Ok(successor)
    }

    async fn start(&self) -> Result<Channel, String> {
        let sockets = lock(&self.sockets).clone().ok_or("the process is about to end")?;
        let (program, count) = (self.program.clone(), sockets.len());
        let started = tokio::task::spawn_blocking(move || start(&program, count));
        let channel = started.await.map_err(|error| error.to_string())??;
        let broken = |error: std::io::Error| format!("cannot talk to it: {error}");
        let mut channel = Channel(BufReader::new(UnixStream::from_std(channel).map_err(broken)?));
        match channel.hear(BEGINS_WITHIN).await? {
            Word::Begun => {}
            other => return Err(told(other)),
        }
        // Some bytes, for which there is room.
        channel::send_sockets(channel.0.get_ref(), &sockets).map_err(broken)?;
        channel.say(&Hello { variables: out_of_sight(&self.environment) }).await?;
        Ok(channel)
    }
}

/// Why a word was not heard.
enum Unheard {
    /// It may still come.
    Late,
    /// It will not come any more, for this reason.
    Ended(String),
}

/// The channel to the new process.
struct Channel(BufReader<UnixStream>);

impl Channel {
    async fn say(&mut self, message: &impl Serialize) -> Result<(), String> {
        let broken = |error: std::io::Error| format!("the new process does not listen: {error}");
        let line = channel::line(message).map_err(broken)?;
        let written = tokio::time::timeout(SERVES_WITHIN, self.0.write_all(&line));
        written.await.map_err(|_| format!("the new process has not listened for {SERVES_WITHIN:?}"))?.map_err(broken)
    }

    async fn hear(&mut self, limit: Duration) -> Result<Word, String> {
        self.next(limit).await.map_err(|unheard| match unheard {
            Unheard::Late => format!("the new process was not ready within {limit:?}"),
            Unheard::Ended(reason) => reason,
        })
    }

    async fn next(&mut self, limit: Duration) -> Result<Word, Unheard> {
        let mut line = Vec::new();
        let mut bounded = tokio::io::AsyncReadExt::take(&mut self.0, MAX_LINE);
        let read = tokio::time::timeout(limit, bounded.read_until(b'\n', &mut line)).await;
        let ended = || "the new process ended before it was ready; its reason is in the process log".to_owned();
        read.map_err(|_| Unheard::Late)?.map_err(|_| Unheard::Ended(ended()))?;
        channel::parse(&line).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Unheard::Ended(ended()),
            _ => Unheard::Ended(format!("the new process says something that is not understood: {error}")),
        })
    }
}

/// Tells the new process what this one still charges, until the end.
async fn tell(mut channel: Channel, state: Arc<StateDirectory>, mut finished: watch::Receiver<bool>) {
    loop {
        let last = tokio::time::timeout(TELL, finished.wait_for(|finished| *finished)).await.is_ok();
        let moves = state.moves();
        if !moves.is_empty()
            && let Err(reason) = channel.say(&Moves { moves }).await
        {
            return warn!("what this process still charges is not told: {reason}");
        }
        if last {
            return;
        }
    }
}

fn told(word: Word) -> String {
    match word {
        Word::Failed { reason } => reason,
        other => format!("the new process is out of step: {other:?}"),
    }
}

/// Starts the process between, which starts the new one and ends.
fn start(program: &Path, sockets: usize) -> Result<std::os::unix::net::UnixStream, String> {
    let broken = |error: std::io::Error| format!("cannot make a channel: {error}");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(broken)?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    command.arg0(arguments.next().unwrap_or_else(|| OsString::from(program))).args(arguments);
    command.env(SOCKETS, sockets.to_string()).env(DETACH, "1");
    // They are for this process alone.
    for name in [secrecy::HANDED_OVER, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    let cannot = |why: String| format!("{} cannot be started: {why}", program.display());
    let between = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
    // What it has of the channel is its own now.
    drop(command);
    let mut between = between.map_err(|error| cannot(error.to_string()))?;
    let began = clock::now();
    loop {
        match between.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(cannot(status.to_string())),
            Ok(None) if clock::now() - began < STARTS_WITHIN => std::thread::sleep(LOOK_AGAIN),
            Ok(None) => {
                let _ = between.kill().and_then(|()| between.wait());
                return Err(cannot(format!("it does nothing within {STARTS_WITHIN:?}")));
            }
            Err(error) => return Err(cannot(error.to_string())),
        }
    }
    ours.set_nonblocking(true).map_err(broken)?;
    Ok(ours)
}

/// The variables that are not in the environment which a child inherits.
fn out_of_sight(environment: &Environment) -> BTreeMap<String, String> {
    let names = environment.interpolated().into_iter().filter(|name| std::env::var_os(name).is_none());
    names.filter_map(|name| environment.variable(&name).map(|value| (name, value))).collect()
}

/// Where this program was started from, which is where a newer one will be: a link is not followed.
fn program() -> std::io::Result<PathBuf> {
    let named = std::env::args_os().next().map(PathBuf::from).filter(|name| name.components().count() > 1);
    match named {
        Some(named) => std::path::absolute(named),
        None => {
            let found = std::env::current_exe()?;
            if !found.exists() {
                warn!("{} is no longer there: an upgrade will not find it", found.display());
            }
            Ok(found)
        }
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
