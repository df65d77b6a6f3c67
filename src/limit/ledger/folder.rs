//! The files of a ledger: opened at the start, written while it runs.
//!
//! `limits.state` is written beside itself and renamed, with the file and then the folder synchronised, so that there is
//! always a whole one. `limits.journal.N` is appended to between two states, and a state says which is the first that is
//! newer. `limits.lock` is held, so that two processes never write one ledger. All have mode 0600: the seed is a secret.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use log::{error, info, warn};
use rustix::fs::{FlockOperation, flock};

use super::Seed;
use super::format::{self, Record};
use crate::clock;
use crate::limit::account::Saved;

const STATE: &str = "limits.state";
const NEW: &str = "limits.state.new";
const JOURNAL: &str = "limits.journal.";
const LOCK: &str = "limits.lock";

/// The largest file that is read, in bytes: as many accounts as fit into some memory.
const MAX_BYTES: u64 = 4 << 30;

/// What it means when a state is not taken over.
const ANEW: &str = "what was used of tokens and money is not known any more, and all budgets begin anew";
/// What it means when a journal is not.
const LACKING: &str = "what was used of tokens and money since the state was written is not counted";

/// The folder of one ledger, which this process alone writes to.
pub struct Folder {
    path: PathBuf,
    seed: Seed,
    generation: u64,
    journal: File,
    journal_bytes: u64,
    /// Whether the journal could not be appended to: nothing more is, until the next state.
    broken: bool,
    /// Whether a state has been written since the journal was begun.
    begun: bool,
    /// What was found and not taken over, for people.
    refused: Vec<String>,
    _lock: File,
}

/// Accounts by meter, as they were found.
pub type Found = HashMap<u64, Vec<(u64, Saved)>>;

impl Folder {
    /// Opens the ledger in `path`, which is made when only its last part is missing, and reads what is there. What cannot
    /// be read is kept under another name, and told.
    ///
    /// # Errors
    /// When the folder cannot be written to, or another process does.
    pub fn open(path: &Path) -> io::Result<(Self, Found)> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = private().create(true).truncate(false).open(path.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => {
                io::Error::new(io::ErrorKind::WouldBlock, "another process keeps its limits there")
            }
            other => other.into(),
        })?;
        remove(&path.join(NEW));
        let mut refused = Vec::new();
        let (seed, first, mut accounts) = match read_state(path, &mut refused) {
            Some(state) => state,
            None => {
                // The seed has to be there before anything is counted under it.
                let seed = Seed::default();
                match write_state(path, 0, &seed, &[]) {
                    Err(error) if !is_full(&error) => return Err(error),
                    // Without a state there will be no journal either, see below.
                    _ => (seed, 0, Accounts::new()),
                }
            }
        };
        let generation = read_journals(path, &seed, first, &mut accounts, &mut refused);
        let mut found = Found::new();
        for ((meter, key), saved) in accounts {
            found.entry(meter).or_default().push((key, saved));
        }
        let (journal, journal_bytes, broken) = match begin(path, generation, &seed) {
            Ok((journal, bytes)) => (journal, bytes, false),
            // A full disk does not keep us from serving, with what is known: it is as if it had become full later.
            Err(error) if is_full(&error) => {
                error!(target: "sluicegate::limit", "cannot write to {}: {error}; until there is room, what is used of tokens and money does not outlive the process, and goes on with what was written before", path.display());
                (File::options().write(true).open("/dev/null")?, 0, true)
            }
            Err(error) => return Err(error),
        };
        let path = path.to_owned();
        Ok((Self { path, seed, generation, journal, journal_bytes, broken, begun: false, refused, _lock: lock }, found))
    }

    /// What keys are hashed under.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// What was found and not taken over, for people.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// Bytes of the journal.
    pub fn journal_bytes(&self) -> u64 {
        self.journal_bytes
    }

    /// Whether a state has to be written because the journal could not be.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Appends records to the journal. Once that fails, nothing is appended until a state is written: what was lost is in
    /// the accounts still.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn append(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        let mut bytes = Vec::new();
        records.for_each(|record| format::put_journal(&record, &self.seed, &mut bytes));
        self.journal.write_all(&bytes).inspect_err(|_| self.broken = true)?;
        self.journal_bytes = self.journal_bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Waits until the journal is on the disk; one that is broken has nothing that counts.
    ///
    /// # Errors
    /// When the disk says no, or somebody removed the journal: what is written to it then is lost.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        if self.journal.metadata()?.nlink() == 0 {
            self.broken = true;
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed"));
        }
        self.journal.sync_data()
    }

    /// Begins a journal for what happens from now on; to be followed by [`Self::save`] with how all accounts stand then.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn rotate(&mut self) -> io::Result<()> {
        // After a failed save, the journal that was begun for it serves on: it has all that came after.
        if self.begun && !self.broken {
            return Ok(());
        }
        let (journal, bytes) = begin(&self.path, self.generation + 1, &self.seed)?;
        self.generation += 1;
        (self.journal, self.journal_bytes, self.broken, self.begun) = (journal, bytes, false, true);
        Ok(())
    }

    /// Puts a state in the place of the last one, and of the journals before this one. What changed since the records
    /// were taken has to be appended before.
    ///
    /// # Errors
    /// When it cannot be written; then the last one and its journals stay.
    pub fn save(&mut self, records: &[Record]) -> io::Result<u64> {
        self.sync()?;
        let bytes = write_state(&self.path, self.generation, &self.seed, records)?;
        self.begun = false;
        for (generation, path) in journals(&self.path) {
            if generation < self.generation {
                remove(&path);
            }
        }
        Ok(bytes)
    }
}

type Accounts = HashMap<(u64, u64), Saved>;

/// Writes the state of `generation`; how many bytes it has.
fn write_state(path: &Path, generation: u64, seed: &Seed, records: &[Record]) -> io::Result<u64> {
    let bytes = format::write_state(generation, seed, records);
    let new = path.join(NEW);
    let write = || {
        let mut file = private().create(true).truncate(true).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, path.join(STATE))?;
        File::open(path)?.sync_all()
    };
    match write() {
        Ok(()) => Ok(bytes.len() as u64),
        Err(error) => {
            remove(&new);
            Err(error)
        }
    }
}

/// The seed, the first journal that counts, and how accounts stood; `None` when there is no state to go on with.
fn read_state(path: &Path, refused: &mut Vec<String>) -> Option<(Seed, u64, Accounts)> {
    let file = path.join(STATE);
    let read = match read(&file) {
        Ok(bytes) => format::read_state(&bytes).map_err(str::to_owned),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Without their seed, journals are of no use.
            for (_, journal) in journals(path) {
                refused.push(set_aside(&journal, "there is no state that it belongs to", ANEW));
            }
            return None;
        }
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(state) => {
            let accounts = state.records.iter().map(|record| ((record.meter, record.key), record.saved));
            let accounts: Accounts = accounts.collect();
            info!(target: "sluicegate::limit", "{} accounts of the last run are in {}", accounts.len(), file.display());
            Some((state.seed, state.generation, accounts))
        }
        Err(reason) => {
            refused.push(set_aside(&file, &reason, ANEW));
            for (_, journal) in journals(path) {
                set_aside(&journal, "the state that it belongs to is not taken over", ANEW);
            }
            None
        }
    }
}

/// Reads the journals from `first` on into `accounts`, and says which comes next.
fn read_journals(path: &Path, seed: &Seed, first: u64, accounts: &mut Accounts, refused: &mut Vec<String>) -> u64 {
    let mut next = first;
    for (generation, file) in journals(path) {
        if generation < first {
            // A save was cut off between its state and this.
            remove(&file);
            continue;
        }
        next = next.max(generation.saturating_add(1));
        let journal = read(&file)
            .map_err(|error| error.to_string())
            .and_then(|bytes| format::read_journal(&bytes, generation, seed).map_err(str::to_owned));
        match journal {
            Ok(journal) => {
                if journal.torn > 0 {
                    warn!(target: "sluicegate::limit", "the last {} bytes of {} are no whole record", journal.torn, file.display());
                }
                if journal.damaged > 0 {
                    refused.push(damaged(&file, journal.damaged));
                }
                accounts.extend(journal.records.iter().map(|record| ((record.meter, record.key), record.saved)));
            }
            Err(reason) => refused.push(set_aside(&file, &reason, LACKING)),
        }
    }
    next
}

/// Makes the journal of `generation`.
fn begin(path: &Path, generation: u64, seed: &Seed) -> io::Result<(File, u64)> {
    let head = format::begin_journal(generation, seed);
    let name = path.join(format!("{JOURNAL}{generation}"));
    let mut file = private().create(true).truncate(true).open(&name)?;
    // Half a head is nothing that could be read back.
    file.write_all(&head).inspect_err(|_| remove(&name))?;
    File::open(path)?.sync_all()?;
    Ok((file, head.len() as u64))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The journals that are there, in their order.
fn journals(path: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let generation = name.to_str()?.strip_prefix(JOURNAL)?.parse().ok()?;
            Some((generation, entry.path()))
        })
        .collect();
    found.sort_unstable();
    found
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than any that is written"));
    }
    fs::read(path)
}

/// Keeps a file that is not taken over under another name, and tells of it and its `consequence`. Returns what was told.
fn set_aside(path: &Path, reason: &str, consequence: &str) -> String {
    let kept = refused_name(path);
    let where_to = match fs::rename(path, &kept) {
        Ok(()) => format!("it is kept as {}", kept.display()),
        Err(error) => format!("it cannot be renamed: {error}"),
    };
    let told = format!("{} is not taken over: {reason}; {where_to}; {consequence}", path.display());
    error!(target: "sluicegate::limit", "{told}. A good copy of the directory may be put in its place while the gateway is stopped");
    told
}

/// Tells of a journal that is read although so many bytes of it are no records, and keeps it under another name, too: it is
/// gone with the next state, and until then it counts. Returns what was told.
fn damaged(path: &Path, bytes: usize) -> String {
    let kept = refused_name(path);
    let where_to = match fs::hard_link(path, &kept).or_else(|_| fs::copy(path, &kept).map(drop)) {
        Ok(()) => format!("it is kept as {}", kept.display()),
        Err(error) => format!("it cannot be kept: {error}"),
    };
    let told = format!(
        "{} is damaged: {bytes} bytes of it cannot be read, what stands before and behind them is taken over; {where_to}; of accounts \
         whose last change stood there, what was used since the change before is not counted",
        path.display()
    );
    error!(target: "sluicegate::limit", "{told}");
    told
}

fn refused_name(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.refused-{}", path.display(), clock::wall_millis()))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(target: "sluicegate::limit", "cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
