//! A log file behind a thread of its own.
//!
//! A worker appends a line to the buffer of its shard, under a mutex that is almost never contended, and goes on. The
//! writer thread swaps full buffers for empty ones and writes them: at once when one passes 32 KiB, else every 100 ms.
//!
//! Invariants:
//! - A line that was appended is written exactly once, whole, to one file; or it is counted as dropped.
//! - No appending thread ever waits for the disk. A shard holds at most 4 MiB; beyond that lines are dropped.
//! - [`LogFile::reopen`] splits the lines: those appended before it are in the old file, those after it in the new.
//!
//! Lines of one thread keep their order; lines of different threads may change places within one drain.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::shard;
use crate::clock;

/// A shard that holds this much wakes the writer.
const WAKE_AT: usize = 32 * 1024;
/// A shard that holds more than this takes no more lines.
const FULL_AT: usize = 4 * 1024 * 1024;
/// Capacity that an empty buffer may keep.
const KEEP: usize = 128 * 1024;
/// The longest that a line waits in a buffer.
const INTERVAL: Duration = Duration::from_millis(100);
/// How often a failing write may be reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// How long [`LogFile::flush`], [`LogFile::reopen`] and `drop` wait for a writer that is stuck in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// A log file, or stderr, that many threads append lines to.
pub struct LogFile {
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
}

impl LogFile {
    /// Opens `path` for appending, with mode 0640 when it is made, and starts its writer thread.
    ///
    /// # Errors
    /// When the file cannot be opened or no thread can be started.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Arc<Self>> {
        let path = path.into();
        let sink = Sink::File { file: open(&path)?, path };
        Self::start(sink)
    }

    /// The same for stderr: a reader that does not read never stops a worker.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn stderr() -> io::Result<Arc<Self>> {
        Self::start(Sink::Stderr)
    }

    /// Lets `write_line` append one line, its line feed included, to a buffer of the calling thread. Must not append
    /// to the same log from inside, and must not panic. Returns false when the buffer is full and the line dropped.
    pub fn append(&self, write_line: impl FnOnce(&mut Vec<u8>)) -> bool {
        let shard = self.shared.shard();
        let mut buffer = lock(&shard.buffer);
        let before = buffer.len();
        if before > FULL_AT {
            drop(buffer);
            // Relaxed, as all counters here: they are only read to be shown.
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        write_line(&mut buffer);
        let after = buffer.len();
        drop(buffer);
        if before < WAKE_AT && after >= WAKE_AT {
            self.wake();
        }
        true
    }

    /// Tells the writer not to wait for more. Never blocks.
    pub fn wake(&self) {
        // Relaxed: at worst a line waits for the next interval.
        if !self.shared.woken.swap(true, Ordering::Relaxed) {
            // A full queue means that the writer is about to look anyway.
            let _ = self.orders.try_send(Order::Wake);
        }
    }

    /// Closes the file and opens its path again, for log rotation. What was appended before is in the old file, what
    /// is appended after it returns goes to the new one. Waits for the disk: not for worker threads.
    ///
    /// # Errors
    /// When the path cannot be opened, in which case the old file stays in use; or when the writer does not answer
    /// within 5 s.
    pub fn reopen(&self) -> io::Result<()> {
        self.order(Order::Reopen)?
    }

    /// Waits until all that was appended before has been handed to the kernel, at most 5 s. Not for worker threads.
    ///
    /// # Errors
    /// When the writer does not answer in time.
    pub fn flush(&self) -> io::Result<()> {
        self.order(Order::Flush)
    }

    /// Lines lost so far: to a full buffer or a failed write.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes that failed so far.
    pub fn write_errors(&self) -> u64 {
        self.shared.write_errors.load(Ordering::Relaxed)
    }

    fn start(sink: Sink) -> io::Result<Arc<Self>> {
        // Twice the processors: threads that are not workers take numbers too.
        let shards = (0..shard::count(32) * 2).map(|_| Shard::default()).collect();
        let shared = Arc::new(Shared {
            shards,
            dropped: AtomicU64::new(0),
            write_errors: AtomicU64::new(0),
            woken: AtomicBool::new(false),
        });
        let (orders, inbox) = sync_channel(8);
        let writer = Writer { shared: shared.clone(), sink, spare: Vec::new(), mid_line: false, reported: None };
        std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run(&inbox))?;
        Ok(Arc::new(Self { shared, orders }))
    }

    fn order<T>(&self, order: impl FnOnce(SyncSender<T>) -> Order) -> io::Result<T> {
        let (reply, answer) = sync_channel(1);
        let stuck = || io::Error::new(io::ErrorKind::TimedOut, "the log writer is stuck");
        self.orders.try_send(order(reply)).map_err(|_| stuck())?;
        answer.recv_timeout(PATIENCE).map_err(|_| stuck())
    }
}

impl Drop for LogFile {
    /// Writes what is left. A writer that is stuck is left behind after 5 s.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Shard {
    buffer: Mutex<Vec<u8>>,
}

struct Shared {
    /// A power of two of them.
    shards: Box<[Shard]>,
    dropped: AtomicU64,
    write_errors: AtomicU64,
    /// Whether an [`Order::Wake`] is on its way: there is never more than one.
    woken: AtomicBool,
}

impl Shared {
    fn shard(&self) -> &Shard {
        &self.shards[shard::number() & (self.shards.len() - 1)]
    }
}

enum Order {
    Wake,
    Flush(SyncSender<()>),
    Reopen(SyncSender<io::Result<()>>),
}

enum Sink {
    File { file: File, path: PathBuf },
    Stderr,
}

struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
    /// An empty buffer, changed for a full one.
    spare: Vec<u8>,
    /// Whether a failed write left half a line at the end of the file.
    mid_line: bool,
    reported: Option<Instant>,
}

impl Writer {
    /// Runs until the [`LogFile`] is gone.
    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            let order = inbox.recv_timeout(INTERVAL);
            self.shared.woken.store(false, Ordering::Relaxed);
            self.drain();
            match order {
                Ok(Order::Wake) | Err(RecvTimeoutError::Timeout) => {}
                // A caller that no longer waits needs no answer.
                Ok(Order::Flush(reply)) => drop(reply.try_send(())),
                Ok(Order::Reopen(reply)) => drop(reply.try_send(self.reopen())),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn drain(&mut self) {
        let shared = self.shared.clone();
        for shard in &shared.shards {
            let mut buffer = lock(&shard.buffer);
            if buffer.is_empty() {
                continue;
            }
            std::mem::swap(&mut *buffer, &mut self.spare);
            drop(buffer);
            let mut full = std::mem::take(&mut self.spare);
            self.write(&full);
            full.clear();
            full.shrink_to(KEEP);
            self.spare = full;
        }
    }

    /// Writes whole lines, or counts those that could not be written. Never tries the same bytes again later: the
    /// buffers are for bursts, not for a full disk.
    fn write(&mut self, mut bytes: &[u8]) {
        if self.mid_line {
            match self.sink.write(b"\n") {
                Ok(_) => self.mid_line = false,
                Err(error) => return self.failed(bytes, &error),
            }
        }
        while !bytes.is_empty() {
            match self.sink.write(bytes) {
                Ok(0) => return self.failed(bytes, &io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    let (done, rest) = bytes.split_at(written.min(bytes.len()));
                    self.mid_line = done.last() != Some(&b'\n');
                    bytes = rest;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(bytes, &error),
            }
        }
    }

    fn failed(&mut self, lost: &[u8], error: &io::Error) {
        let lines = lost.iter().filter(|byte| **byte == b'\n').count();
        self.shared.dropped.fetch_add(u64::try_from(lines).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.shared.write_errors.fetch_add(1, Ordering::Relaxed);
        let now = clock::now();
        if self.reported.is_none_or(|last| now.duration_since(last) >= REPORT_EVERY) {
            self.reported = Some(now);
            if let Sink::File { path, .. } = &self.sink {
                let _ =
                    writeln!(io::stderr(), "sluicegate: cannot write {}: {error}; {lines} lines lost", path.display());
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { file, path } = &mut self.sink {
            *file = open(path)?;
            self.mid_line = false;
        }
        Ok(())
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { file, .. } => file.write(bytes),
            Self::Stderr => io::stderr().write(bytes),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// A thread that panicked while it appended has at worst left half a line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
