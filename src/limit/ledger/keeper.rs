//! The keeper: a thread that writes what the ledger is told.
//!
//! Notes go to the journal at once, ten milliseconds' worth at a time, and are synchronised every second. A state is
//! written every five seconds in which something changed, as long as the journal is not small beside it, so that a
//! ledger of many accounts is not written over and over for the sake of few; when notes were lost; and at the end.
//!
//! **Invariant:** a state that is in place has nothing that the journals from its own on do not have too, or that is not
//! in itself: the journal is begun before the accounts are collected, and what was noted meanwhile is appended to it
//! before the state takes its place.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::{error, info};

use super::folder::Folder;
use super::format::Record;
use super::{Ledger, Moved, Notes, Woken};
use crate::clock;
use crate::limit::account::Saved;
use crate::observe::metrics::LedgerGauges;

/// How long notes are gathered.
const GATHER: Duration = Duration::from_millis(10);
/// How often the journal is synchronised.
const SYNC: Duration = Duration::from_secs(1);
/// How often a state may be written.
const SAVE: Duration = Duration::from_secs(5);
/// The journal may be this part of the state before that is written anew.
const SMALL: u64 = 4;
/// Tries until it is told that the folder cannot be had: another process may have it for a moment.
const PATIENT: u32 = 20;
/// How often a failure is told.
const TELL: Duration = Duration::from_secs(60);

type Waiting = HashMap<(u64, u64), Saved>;

/// Shows every account that is worth to be kept.
pub type Accounts = Box<dyn Fn(&mut dyn FnMut(Record)) + Send>;

/// The keeper of a ledger. Dropped without [`Keeper::end`], it ends all the same.
pub struct Keeper {
    notes: Arc<Notes>,
    /// Whether its folder could be written to when it began.
    writes: bool,
    thread: Option<JoinHandle<Result<Desk, Waited>>>,
}

/// What a keeper had that ended before it could have its folder.
struct Waited {
    accounts: Accounts,
    gauges: Arc<LedgerGauges>,
}

/// A keeper that has ended and let go of its folder. The ledger goes on in memory.
pub struct Paused {
    notes: Arc<Notes>,
    accounts: Accounts,
    gauges: Arc<LedgerGauges>,
}

impl Keeper {
    /// Opens the ledger in `path`; `follows`: of a process that goes on working, and tells what it does. It is kept from the moment on that [`Opened::start`] is called.
    ///
    /// # Errors
    /// When the folder cannot be written to, or another process does.
    pub fn open(path: &Path, follows: bool) -> io::Result<Opened> {
        let (folder, found) = Folder::open(path)?;
        let notes = Arc::new(Notes::default());
        let ledger = Arc::new(Ledger::kept(&folder, found, &notes, follows));
        Ok(Opened { folder, notes, ledger })
    }

    /// Whether its folder could be written to when it began. Where not, that was told.
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// Writes everything, and waits until it is written.
    pub fn end(mut self) {
        self.finish();
    }

    /// Writes everything, and lets go of the folder: another process may take it over. What happens from then on is in
    /// [`Paused::moves`].
    pub fn hand_over(mut self) -> Option<Paused> {
        let Desk { mut folder, accounts, gauges, .. } = match self.finish()? {
            Ok(desk) => desk,
            // It never had the folder: there is nothing to be written.
            Err(Waited { accounts, gauges }) => {
                return Some(Paused { notes: Arc::clone(&self.notes), accounts, gauges });
            }
        };
        let last = folder.append(records(self.notes.cut())).and_then(|()| folder.sync());
        if let Err(error) = last {
            error!(target: "sluicegate::limit", "cannot write the last changes of the limits: {error}; they are forgotten");
        }
        Some(Paused { notes: Arc::clone(&self.notes), accounts, gauges })
    }

    fn finish(&mut self) -> Option<Result<Desk, Waited>> {
        let thread = self.thread.take()?;
        self.notes.end();
        let desk = thread.join();
        desk.inspect_err(|_| error!(target: "sluicegate::limit", "the keeper of limits had panicked")).ok()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Paused {
    /// What happened since the last look, by meter and key.
    pub fn moves(&self) -> Vec<(u64, u64, Moved)> {
        self.notes.take_moves()
    }

    /// Goes on in `path`, as if there had been no pause: what is in memory goes over what is found there. As long as the folder
    /// cannot be had (another process is about to end, the disk is full) it is tried again, and that is told.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn resume(self, path: &Path) -> io::Result<Keeper> {
        let Self { notes, accounts, gauges } = self;
        notes.begin_again();
        let (of_thread, path) = (Arc::clone(&notes), path.to_owned());
        let run = move || match open_again(&path, &of_thread, &gauges) {
            Some(folder) => Ok(Desk::new(folder, accounts, gauges).run(&of_thread)),
            None => Err(Waited { accounts, gauges }),
        };
        let thread = thread::Builder::new().name("limit-keeper".into()).spawn(run)?;
        Ok(Keeper { notes, writes: true, thread: Some(thread) })
    }
}

/// Tries until it is open, or the end has come.
fn open_again(path: &Path, notes: &Notes, gauges: &LedgerGauges) -> Option<Folder> {
    let mut tried: u32 = 0;
    loop {
        match Folder::open(path) {
            Ok((folder, _)) => {
                if tried > PATIENT {
                    info!(target: "sluicegate::limit", "the limits are kept again");
                }
                return Some(folder);
            }
            Err(error) if tried == PATIENT => {
                let what = format!("cannot keep the limits in {}: {error}", path.display());
                error!(target: "sluicegate::limit", "{what}; until that is mended, they do not outlive the process");
                gauges.saved(false);
                gauges.trouble(Some(what));
            }
            Err(_) => {}
        }
        tried = tried.saturating_add(1);
        if notes.pause(if tried > PATIENT { SYNC } else { GATHER * 10 }) {
            return None;
        }
    }
}

/// A ledger that is open and not kept yet.
pub struct Opened {
    folder: Folder,
    notes: Arc<Notes>,
    /// The ledger.
    pub ledger: Arc<Ledger>,
}

impl Opened {
    /// Begins to keep `accounts`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self, accounts: Accounts, gauges: Arc<LedgerGauges>) -> io::Result<Keeper> {
        Desk::new(self.folder, accounts, gauges).start(self.notes)
    }
}

/// What the thread has.
struct Desk {
    folder: Folder,
    accounts: Accounts,
    gauges: Arc<LedgerGauges>,
    /// Whether the state is older than something.
    changed: bool,
    /// Whether there were more notes than may wait: the journal does not have all.
    lost: bool,
    unsynced: bool,
    state_bytes: u64,
    synced: Instant,
    saved: Instant,
    told: Option<Instant>,
}

impl Desk {
    fn new(folder: Folder, accounts: Accounts, gauges: Arc<LedgerGauges>) -> Self {
        let now = clock::now();
        folder.refused().iter().for_each(|what| gauges.refused(what.clone()));
        // What was told of the folder when it was opened.
        let told = folder.is_broken().then_some(now);
        gauges.trouble(folder.is_broken().then(|| "cannot write the limits: the disk is full".to_owned()));
        Self {
            folder,
            accounts,
            gauges,
            // What was found is in a state and journals of the last run.
            changed: true,
            lost: false,
            unsynced: false,
            state_bytes: 0,
            synced: now,
            saved: now,
            told,
        }
    }

    fn start(self, notes: Arc<Notes>) -> io::Result<Keeper> {
        let (of_thread, writes) = (Arc::clone(&notes), !self.folder.is_broken());
        let thread = thread::Builder::new().name("limit-keeper".into()).spawn(move || Ok(self.run(&of_thread)))?;
        Ok(Keeper { notes, writes, thread: Some(thread) })
    }

    fn run(mut self, notes: &Notes) -> Self {
        loop {
            let time = if self.unsynced { SYNC } else { SAVE };
            let Woken { notes: some, overflowed, ended } = notes.wait(time);
            self.lost |= overflowed;
            self.changed |= self.lost || !some.is_empty();
            self.append(some);
            if ended {
                if !self.save(notes) {
                    error!(target: "sluicegate::limit", "the limits could not be written at the end: what was used of tokens and money since the last state is forgotten");
                }
                return self;
            }
            let now = clock::now();
            if self.unsynced && now.saturating_duration_since(self.synced) >= SYNC {
                self.synced = now;
                self.unsynced = false;
                let done = self.folder.sync();
                self.tell("synchronise the journal of", &done);
            }
            let due = now.saturating_duration_since(self.saved) >= SAVE;
            let large = self.folder.journal_bytes() >= self.state_bytes / SMALL;
            if self.changed && due && (large || self.lost || self.folder.is_broken()) {
                self.save(notes);
            }
            notes.pause(GATHER);
        }
    }

    fn append(&mut self, notes: Waiting) {
        if notes.is_empty() {
            return;
        }
        self.unsynced = true;
        let done = self.folder.append(records(notes));
        self.tell("write to the journal of", &done);
    }

    fn save(&mut self, notes: &Notes) -> bool {
        let done = self.try_save(notes);
        self.gauges.saved(done.is_ok());
        self.saved = clock::now();
        self.tell("write the state of", &done);
        if let Ok((bytes, overflowed)) = &done {
            let (bytes, overflowed) = (*bytes, *overflowed);
            (self.changed, self.lost, self.unsynced, self.state_bytes) = (overflowed, overflowed, false, bytes);
            self.gauges.trouble(None);
            if self.told.take().is_some() {
                info!(target: "sluicegate::limit", "the limits are kept again");
            }
        }
        done.is_ok()
    }

    /// How large the state is, and whether more notes came meanwhile than may wait.
    fn try_save(&mut self, notes: &Notes) -> io::Result<(u64, bool)> {
        self.folder.rotate()?;
        let mut all = Vec::new();
        (self.accounts)(&mut |record| all.push(record));
        let Woken { notes: meanwhile, overflowed, .. } = notes.take();
        self.folder.append(records(meanwhile))?;
        Ok((self.folder.save(&all)?, overflowed))
    }

    fn tell<T>(&mut self, what: &str, done: &io::Result<T>) {
        let Err(error) = done else { return };
        self.gauges.trouble(Some(format!("cannot {what} the limits: {error}")));
        let now = clock::now();
        if self.told.is_none_or(|last| now.saturating_duration_since(last) >= TELL) {
            self.told = Some(now);
            error!(target: "sluicegate::limit", "cannot {what} the limits: {error}; until that is mended, they do not outlive the process");
        }
    }
}

fn records(notes: Waiting) -> impl Iterator<Item = Record> {
    notes.into_iter().map(|((meter, key), saved)| Record { meter, key, saved })
}
