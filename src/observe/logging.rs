//! The process log, behind the `log` facade.

use std::io;
use std::sync::Arc;

use super::Identity;
use super::metrics::Metrics;
use crate::config;

/// A handle on the process log. Dropping it flushes; the logger itself stays installed.
pub struct Logging {}

impl Logging {
    /// Installs the logger for the whole process, and the panic hook, which logs where a panic was and counts it.
    ///
    /// # Errors
    /// When the log file cannot be opened, or a logger is installed already.
    pub fn install(_config: &config::Log, _identity: &Identity, _metrics: Arc<Metrics>) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Takes over levels, format and file of a new configuration.
    ///
    /// # Errors
    /// When a new file cannot be opened; nothing has changed then.
    pub fn reconfigure(&self, _config: &config::Log) -> io::Result<()> {
        Ok(())
    }

    /// Opens the log file again, after rotation. Waits for the disk: not for worker threads.
    ///
    /// # Errors
    /// When the file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        Ok(())
    }

    /// Waits until everything logged so far is written, a few seconds at most. Not for worker threads.
    pub fn flush(&self) {}
}
