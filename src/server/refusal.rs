//! What clients get when Pingora refuses a request before any stage of ours runs.

use std::sync::Arc;

use crate::clock;
use crate::observe::trace::RequestId;
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
            _ => Rejection::BadRequest("the request is not valid HTTP"),
        };
        log::debug!("request of {} on {} refused unread: {status}", connection.peer, connection.listener);
        let id = RequestId::generate(clock::wall_millis());
        let rendered = rejection.render(None, id.as_str());
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
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&rendered.body);
        answer
    }
}
