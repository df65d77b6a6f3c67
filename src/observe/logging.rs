//! The process log, behind the `log` facade.
//!
//! Lines go to stderr and, when configured, to a file, each through the writer thread of a [`LogFile`]: logging never
//! blocks a worker. Format, levels and file change with a reload; the logger stays.
//!
//! Invariants:
//! - One record is one line, whatever is in the message.
//! - One place in the code writes at most 100 lines a second; the rest is counted and told in one line.
//!
//! ## JSON
//! `@timestamp`, `level`, `logger`, `message`, `thread`, `traceId`, `spanId`, `service`, `instanceId`, always all of
//! them (A5.07), and `context` when the record has key-values, with camel-case keys (E07). The key-values `trace_id`
//! and `span_id` fill `traceId` and `spanId` instead:
//! `log::warn!(trace_id = trace.trace_id().as_str(), request_id = id.as_str(); "connect failed: {error}")`.
//!
//! ## Text
//! `2026-11-20T17:52:18.042Z [thread] LEVEL [traceId] logger - message key=value` (A3.09). Where stderr is systemd's journal, it
//! gets the message and the rest as fields instead (`logging/journal.rs`).
//!
//! The logger is the target without `sluicegate::`: the same words as in the configuration's `log.targets`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use log::{Level, Log, Metadata, Record};

use super::Identity;
use super::metrics::Metrics;
use super::writer::LogFile;
use crate::clock;
use crate::config::{self, LogFormat};

use filter::Filter;
use flood::{Floods, Site, Suppressed};
use journal::Journal;
use line::{Fields, Line};

mod filter;
mod flood;
mod journal;
mod line;
mod panic;

/// A handle on the process log. Dropping it flushes; the logger itself stays installed.
pub struct Logging {
    shared: Arc<Shared>,
}

impl Logging {
    /// Installs the logger for the whole process, and the panic hook, which logs where a panic was and counts it.
    ///
    /// # Errors
    /// When the log file cannot be opened, or a logger is installed already.
    pub fn install(config: &config::Log, identity: &Identity, metrics: Arc<Metrics>) -> io::Result<Self> {
        let journal = stderr_is_journal().then(|| Journal::at(Path::new(journal::SOCKET)).ok());
        let logging = Self::new(config, identity, metrics, LogFile::stderr()?, journal)?;
        log::set_boxed_logger(Box::new(Logger(logging.shared.clone()))).map_err(io::Error::other)?;
        log::set_max_level(logging.shared.settings.load().filter.most());
        std::panic::set_hook(Box::new(panic::hook(logging.shared.metrics.clone())));
        Ok(logging)
    }

    /// Takes over levels, format and file of a new configuration. A file that stays the same stays open.
    ///
    /// # Errors
    /// When a new file cannot be opened; nothing has changed then.
    pub fn reconfigure(&self, config: &config::Log) -> io::Result<()> {
        let settings = Settings::new(config, Some(&self.shared.settings.load()))?;
        settings.watch(&self.shared.metrics);
        log::set_max_level(settings.filter.most());
        self.shared.settings.store(Arc::new(settings));
        Ok(())
    }

    /// Opens the log file again, after rotation. Waits for the disk: not for worker threads.
    ///
    /// # Errors
    /// When the file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        self.shared.settings.load_full().file.as_ref().map_or(Ok(()), |file| file.reopen())
    }

    /// Waits until everything logged so far is written, some seconds at most. Not for worker threads.
    pub fn flush(&self) {
        let suppressed = self.shared.floods().take_all();
        self.shared.tell(suppressed);
        self.shared.flush();
    }

    fn new(
        config: &config::Log,
        identity: &Identity,
        metrics: Arc<Metrics>,
        stderr: Arc<LogFile>,
        journal: Option<Option<Journal>>,
    ) -> io::Result<Self> {
        let settings = Settings::new(config, None)?;
        settings.watch(&metrics);
        metrics.watch_log("stderr", &stderr);
        let shared = Shared {
            settings: ArcSwap::from_pointee(settings),
            stderr,
            journal,
            identity: identity.clone(),
            metrics,
            floods: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flush();
    }
}

struct Shared {
    settings: ArcSwap<Settings>,
    stderr: Arc<LogFile>,
    /// Where stderr is the journal: its own door, if that is open. Otherwise it takes the level from a `<N>` in front of the
    /// line.
    journal: Option<Option<Journal>>,
    identity: Identity,
    metrics: Arc<Metrics>,
    floods: Mutex<Floods>,
}

/// What a reload may change.
struct Settings {
    filter: Filter,
    format: LogFormat,
    path: Option<PathBuf>,
    file: Option<Arc<LogFile>>,
}

impl Settings {
    fn new(config: &config::Log, current: Option<&Self>) -> io::Result<Self> {
        let kept = current.filter(|current| current.path == config.file).and_then(|current| current.file.clone());
        let file = match (kept, &config.file) {
            (Some(file), _) => Some(file),
            (None, Some(path)) => Some(LogFile::open(path)?),
            (None, None) => None,
        };
        Ok(Self {
            filter: Filter::new(config.level, &config.targets),
            format: config.format,
            path: config.file.clone(),
            file,
        })
    }

    fn watch(&self, metrics: &Metrics) {
        if let Some(file) = &self.file {
            metrics.watch_log("process", file);
        }
    }
}

impl Shared {
    fn write(&self, record: &Record<'_>) {
        if record.level() == Level::Error {
            self.metrics.log_error();
        }
        let site =
            Site { file: record.file_static().unwrap_or(""), line: record.line().unwrap_or(0), level: record.level() };
        let (admitted, suppressed) = self.floods().admit(site, record.target(), clock::now());
        self.tell(suppressed);
        if admitted {
            let thread = std::thread::current();
            self.put(&Line {
                millis: clock::wall_millis(),
                level: record.level(),
                logger: filter::short(record.target()),
                message: &record.args().to_string(),
                thread: thread.name().unwrap_or("unnamed"),
                fields: &Fields::of(record.key_values()),
                instance_id: &self.identity.instance_id,
            });
        }
    }

    /// One line for what a flood has kept back.
    fn tell(&self, suppressed: Vec<Suppressed>) {
        for Suppressed { site, target, lines } in suppressed {
            self.put(&Line {
                millis: clock::wall_millis(),
                level: site.level,
                logger: filter::short(&target),
                message: &format!("suppressed {lines} more lines from {}:{}", site.file, site.line),
                thread: "logging",
                fields: &Fields::default(),
                instance_id: &self.identity.instance_id,
            });
        }
    }

    /// Formats first and appends then: a message that itself logs while it is formatted must not meet a lock.
    fn put(&self, line: &Line<'_>) {
        let settings = self.settings.load();
        let mut text = Vec::with_capacity(256);
        line.write(&mut text, settings.format);
        // Whoever asks for JSON parses what the journal shows.
        let taken = settings.format == LogFormat::Text
            && self.journal.as_ref().is_some_and(|journal| journal.as_ref().is_some_and(|door| door.takes(line)));
        if !taken {
            self.stderr.append(|buf| {
                if self.journal.is_some() {
                    buf.extend_from_slice(&[b'<', line::priority(line.level), b'>']);
                }
                buf.extend_from_slice(&text);
            });
            self.stderr.wake();
        }
        if let Some(file) = &settings.file {
            file.append(|buf| buf.extend_from_slice(&text));
            if line.level == Level::Error {
                file.wake();
            }
        }
    }

    fn flush(&self) {
        // A log that cannot be written is told by its own writer.
        let _ = self.stderr.flush();
        if let Some(file) = &self.settings.load_full().file {
            let _ = file.flush();
        }
    }

    /// Counts are right after every step.
    fn floods(&self) -> MutexGuard<'_, Floods> {
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the `log` facade calls.
struct Logger(Arc<Shared>);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.settings.load().filter.enabled(metadata.target(), metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.write(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Whether stderr is connected to systemd's journal: `JOURNAL_STREAM` holds its device and inode.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests;
