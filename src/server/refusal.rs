//! What clients get whose request is refused before any stage runs.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::config::audit::EventKind;
use crate::observe::access_log::{AccessRecord, Protocol};
use crate::observe::audit::Event;
use crate::observe::trace::{RequestId, Trace};
use crate::observe::{RetryReasons, Termination};
use crate::proxy::rejection::Rejection;
use crate::snapshot::Shared;
use crate::transport::connection::Connection;
use crate::transport::downstream::EarlyRefusal;

/// Answers in JSON, with a request id, and counts.
pub struct Refusal {
    shared: Arc<Shared>,
}

impl Refusal {
    /// Counts in the metrics of `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Refusal {
    /// The record of a request of which nothing is known but who sent it.
    fn record(&self, connection: &Connection, id: &RequestId, status: u16, (code, bytes_out): (&str, usize)) {
        let snapshot = self.shared.current.load();
        let Some(log) = &snapshot.access else { return };
        log.record(&AccessRecord {
            wall_millis: clock::wall_millis(),
            request_id: id.as_str(),
            trace_id: Trace::start().trace_id().as_str(),
            client: connection.peer,
            peer: connection.peer,
            caller: None,
            listener: &connection.listener,
            method: "-",
            host: "",
            path: "-",
            query: None,
            protocol: Protocol::Http11,
            tls: None,
            status,
            bytes_in: 0,
            bytes_out: bytes_out as u64,
            duration: Duration::ZERO,
            route: None,
            cache: None,
            pool: None,
            member: None,
            attempts: 0,
            retry_reasons: RetryReasons::default(),
            connect_time: None,
            first_byte: None,
            upstream_time: None,
            upstream_status: None,
            ai: None,
            error: Some(code),
            limit: None,
            lack: None,
            termination: if status == 408 { Termination::ClientTimeout } else { Termination::ClientInvalid },
            user_agent: None,
            referer: None,
        });
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refusal")
    }
}

impl EarlyRefusal for Refusal {
    fn answer(&self, connection: &Connection, status: u16) -> Vec<u8> {
        self.shared.metrics.malformed_request();
        let rejection = match status {
            405 => Rejection::MethodNotAllowed(http::HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE")),
            408 => Rejection::ClientTimeout,
            431 => Rejection::HeadersTooLarge,
            _ => Rejection::BadRequest("the request is not valid HTTP"),
        };
        log::debug!("request of {} on {} refused unread: {status}", connection.peer, connection.listener);
        let id = RequestId::generate(clock::wall_millis());
        let rendered = rejection.render(None, id.as_str());
        self.record(connection, &id, status, (rejection.code(), rendered.body.len()));
        if matches!(rejection, Rejection::BadRequest(_)) {
            let reason = Some("not_http");
            let event = Event::new(EventKind::SuspiciousRequest, false);
            let event = Event { client: Some(connection.peer), request_id: Some(id.as_str()), reason, ..event };
            self.shared.current.load().audit.record(&event);
        }
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nX-Request-ID: {}\r\n",
            rendered.status.as_u16(),
            rendered.status.canonical_reason().unwrap_or_default(),
            rendered.content_type.to_str().unwrap_or("application/json"),
            rendered.body.len(),
            id.as_str(),
        )
        .into_bytes();
        if self.shared.current.load().config.server.security_headers {
            answer.extend_from_slice(
                b"X-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\nX-XSS-Protection: 1; mode=block\r\n",
            );
        }
        if connection.tls && self.shared.current.load().config.server.security_headers {
            answer.extend_from_slice(b"Strict-Transport-Security: max-age=31536000\r\n");
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&rendered.body);
        answer
    }
}
