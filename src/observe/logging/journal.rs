//! The journal of systemd, by its own protocol: each record with its fields, so that `journalctl LOGGER=balance` finds them.
//!
//! A record is one datagram that is sent without waiting. One that the journal does not take (it is busy, or the record is too
//! large) goes to stderr instead, which the journal reads as well.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::line::Line;
use crate::observe::SERVICE;

/// Where the journal listens (systemd.journal-fields(7), "Native Journal Protocol").
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// The journal.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// The one that listens at `path`.
    ///
    /// # Errors
    /// When none does.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(Self(socket))
    }

    /// Whether it took the record.
    pub(super) fn takes(&self, line: &Line<'_>) -> bool {
        self.0.send(&record(line)).is_ok()
    }
}

fn record(line: &Line<'_>) -> Vec<u8> {
    let mut record = Vec::with_capacity(512);
    let priority = [super::line::priority(line.level)];
    field(&mut record, "MESSAGE", &line.said());
    field(&mut record, "PRIORITY", &priority);
    field(&mut record, "SYSLOG_IDENTIFIER", SERVICE.as_bytes());
    field(&mut record, "LOGGER", line.logger.as_bytes());
    field(&mut record, "THREAD", line.thread.as_bytes());
    field(&mut record, "INSTANCE_ID", line.instance_id.as_bytes());
    for (name, value) in line.fields.all() {
        field(&mut record, &name, value.as_bytes());
    }
    record
}

/// A value goes with its length in front of it, whatever is in it.
fn field(record: &mut Vec<u8>, name: &str, value: &[u8]) {
    record.extend_from_slice(name.as_bytes());
    record.push(b'\n');
    record.extend_from_slice(&(value.len() as u64).to_le_bytes());
    record.extend_from_slice(value);
    record.push(b'\n');
}
