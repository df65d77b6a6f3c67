//! The audit log: who was let in, who was not, who changed what; and alarms (rows A3.05, A5.06).
//!
//! Every event is counted; those that the configuration names are written, one JSON object a line, to a file of their
//! own. Failures that come too often raise an alarm: a line here, a warning in the process log, a count, and a message to a
//! webhook.
//!
//! Invariants: recording never waits for the disk or the network; no line holds a secret, for an [`Event`] has no place for
//! one; what waits for the webhook is bounded, and what does not fit is counted.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;
use tokio::sync::mpsc;

use super::writer::LogFile;
use super::{Identity, SERVICE, escape, timestamp};
use crate::clock;
use crate::config::audit::{self as config, EventKind};
use crate::observe::metrics::Metrics;

pub use alarm::{Alarm, Alarms, Raised};
pub use event::Event;
pub use usage::Usage;

mod alarm;
mod event;
mod usage;
pub mod webhook;

/// Alarms that wait to be posted.
const MOST_WAITING: usize = 64;
/// Bytes of a path, before escaping.
const PATH_MOST: usize = 1024;
/// Bytes of any other text.
const TEXT_MOST: usize = 256;

/// What outlives every reload.
pub struct Auditing {
    identity: Identity,
    metrics: Arc<Metrics>,
    alarms: Alarms,
    usage: Usage,
    to_webhook: mpsc::Sender<webhook::Message>,
    /// Makes the ids of messages unique within a process.
    messages: AtomicU64,
}

impl Auditing {
    /// Nothing audited yet; what is to be posted comes out of the receiver.
    pub fn new(identity: Identity, metrics: Arc<Metrics>) -> (Arc<Self>, mpsc::Receiver<webhook::Message>) {
        let (to_webhook, messages) = mpsc::channel(MOST_WAITING);
        let (alarms, usage) = (Alarms::default(), Usage::default());
        (Arc::new(Self { identity, metrics, alarms, usage, to_webhook, messages: AtomicU64::new(0) }), messages)
    }
}

/// The audit log of one generation of the configuration.
pub struct Audit {
    shared: Arc<Auditing>,
    config: Option<config::Audit>,
    file: Option<Arc<LogFile>>,
}

impl Audit {
    /// One that goes where `config` says, or only counts.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(config: Option<&config::Audit>, shared: &Arc<Auditing>) -> io::Result<Self> {
        let file = config.map(|config| LogFile::open(&config.file)).transpose()?;
        if let Some(file) = &file {
            shared.metrics.watch_log("audit", file);
        }
        Ok(Self { shared: Arc::clone(shared), config: config.cloned(), file })
    }

    /// Whether it is what `config` asks for.
    pub fn is_of(&self, config: Option<&config::Audit>) -> bool {
        self.config.as_ref() == config
    }

    /// Where it goes.
    pub fn file(&self) -> Option<&Arc<LogFile>> {
        self.file.as_ref()
    }

    /// Who is told of alarms.
    pub fn webhook(&self) -> Option<&Arc<config::Webhook>> {
        self.config.as_ref()?.webhook.as_ref()
    }

    /// Takes in `event`: counts it, writes it, and raises an alarm when it is one too many.
    pub fn record(&self, event: &Event<'_>) {
        self.shared.metrics.security_event(event.kind);
        self.write(event);
        let alerts = self.config.as_ref().map_or_else(config::Alerts::default, |config| config.alerts);
        let (alarm, threshold) = match event.kind {
            EventKind::AuthenticationFailure => (Alarm::AuthFailures, alerts.auth_failures),
            EventKind::SuspiciousRequest => (Alarm::SuspiciousRequests, alerts.suspicious_requests),
            EventKind::SanitizationApplied => (Alarm::Sanitizations, alerts.sanitizations),
            _ => return,
        };
        if let Some(raised) = self.shared.alarms.count(alarm, threshold, event.client, clock::now()) {
            self.alert(&raised);
        }
    }

    /// Counts one request that this caller was let in with, by its scope: a key and a token may have the same id.
    pub fn used(&self, caller: &Arc<str>) {
        if self.file.is_some() {
            self.shared.usage.count(caller);
        }
    }

    /// Writes how often each caller was let in since the last time. Called once a minute, and at the end.
    pub fn write_usage(&self) {
        for (caller, count) in self.shared.usage.take() {
            self.record(&Event {
                actor: Some(&caller),
                count: Some(count),
                ..Event::new(EventKind::ApiKeyUsage, true)
            });
        }
    }

    fn alert(&self, raised: &Raised) {
        let name = raised.alarm.as_str();
        let client = raised.worst.map(|(client, _)| client);
        let from = client.map_or_else(String::new, |client| format!(", most of them from {client}"));
        warn!(target: "sluicegate::audit", "security alert: {name}: {} in a minute{from}", raised.count);
        let count = u64::try_from(raised.count).ok();
        let event = Event { reason: Some(name), client, count, ..Event::new(EventKind::SecurityAlert, true) };
        self.shared.metrics.security_event(event.kind);
        self.write(&event);
        if self.webhook().is_none() {
            return;
        }
        // Relaxed: it only has to be another number.
        let number = self.shared.messages.fetch_add(1, Ordering::Relaxed);
        let message = webhook::Message::new(number, raised, &self.shared.identity);
        if self.shared.to_webhook.try_send(message).is_err() {
            self.shared.metrics.webhook_dropped();
        }
    }

    fn write(&self, event: &Event<'_>) {
        let (Some(file), Some(config)) = (&self.file, &self.config) else { return };
        if config.events.has(event.kind) {
            file.append(|line| write_line(line, event, &self.shared.identity, clock::wall_millis()));
        }
    }
}

fn write_line(line: &mut Vec<u8>, event: &Event<'_>, identity: &Identity, wall_millis: u64) {
    line.extend_from_slice(b"{\"@timestamp\":\"");
    timestamp::rfc3339(line, wall_millis);
    text(line, b"\",\"event\":\"", Some(event.kind.as_str()));
    let outcome = if event.done { "success" } else { "failure" };
    text(line, b",\"outcome\":\"", Some(outcome));
    text(line, b",\"actor\":\"", event.actor);
    if let Some(client) = event.client {
        text(line, b",\"client\":\"", Some(&show(client)));
    }
    text(line, b",\"requestId\":\"", event.request_id);
    text(line, b",\"route\":\"", event.route);
    text(line, b",\"method\":\"", event.method);
    if let Some(path) = event.path {
        line.extend_from_slice(b",\"path\":\"");
        escape::json(line, escape::truncate(path.as_bytes(), PATH_MOST));
        line.push(b'"');
    }
    text(line, b",\"action\":\"", event.action);
    text(line, b",\"target\":\"", event.target);
    text(line, b",\"reason\":\"", event.reason);
    if let Some(count) = event.count {
        line.extend_from_slice(b",\"count\":");
        line.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    }
    text(line, b",\"service\":\"", Some(SERVICE));
    text(line, b",\"instanceId\":\"", Some(&identity.instance_id));
    line.extend_from_slice(b"}\n");
}

fn show(client: IpAddr) -> String {
    client.to_canonical().to_string()
}

fn text(line: &mut Vec<u8>, before: &[u8], value: Option<&str>) {
    let Some(value) = value else { return };
    line.extend_from_slice(before);
    escape::json(line, escape::truncate(value.as_bytes(), TEXT_MOST));
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_stands_in_it() {
        let identity = Identity { instance_id: "one".to_owned(), version: "0".to_owned() };
        let event = Event {
            actor: Some("key\"\n1"),
            client: Some(IpAddr::from([192, 0, 2, 1])),
            path: Some("/a\u{7f}\"b"),
            reason: Some("expired"),
            count: Some(3),
            ..Event::new(EventKind::AuthenticationFailure, false)
        };
        let mut line = Vec::new();
        write_line(&mut line, &event, &identity, 1_763_660_000_123);
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["event"], "AUTHENTICATION_FAILURE");
        assert_eq!(read["outcome"], "failure");
        assert_eq!((&read["actor"], &read["path"]), (&"key\"\n1".into(), &"/a\u{7f}\"b".into()));
        assert_eq!((&read["client"], &read["count"]), (&"192.0.2.1".into(), &3.into()));
        assert_eq!((&read["service"], &read["instanceId"]), (&"sluicegate".into(), &"one".into()));
        assert_eq!(read["@timestamp"], "2025-11-20T17:33:20.123Z");
        assert!(read.get("route").is_none(), "what is not known is left out");
    }
}
