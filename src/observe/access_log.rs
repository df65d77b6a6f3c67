//! The access log: one line a request.
//!
//! Invariants: a request makes exactly one line, whatever bytes the client sent; a line is at most about 60 KiB
//! (escapes included); secrets in a query are masked. A connection that never sent a request makes no line (A1.04):
//! the caller does not call [`AccessLog::record`] for it.
//!
//! ## JSON
//! One object a line, these keys in this order. Keys marked `?` are left out when there is nothing to say.
//!
//! | key | value |
//! |---|---|
//! | `ts` | start of the request, RFC 3339, UTC, milliseconds |
//! | `request_id`, `trace_id` | as sent to the upstream |
//! | `client`, `peer` | the client by trusted headers; the address of the connection |
//! | `caller?` | the id of the caller's key, or the subject of its token, where the route wants a caller |
//! | `listener` | the address the request came in on |
//! | `method`, `host`, `path`, `query?` | as received, unescaped no further; path and query 8 KiB together |
//! | `protocol` | `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0` |
//! | `tls_version?`, `tls_cipher?`, `sni?` | of the client's connection |
//! | `status` | sent to the client; 0 when none was |
//! | `bytes_in`, `bytes_out` | of the bodies |
//! | `duration_ms` | from the first byte in to the last out, with microseconds as decimals |
//! | `route?`, `pool?`, `member?` | names from the configuration; the last member tried |
//! | `cache?` | how the route's cache answered: `HIT`, `MISS`, `STALE`, `REVALIDATED`, `BYPASS`, `COALESCED` |
//! | `attempts`, `retried?` | tries at members; why there was more than one, separated by commas |
//! | `connect_ms?`, `first_byte_ms?`, `upstream_ms?` | of the last attempt: to connect, to the first byte, in all |
//! | `upstream_status?` | what the member answered |
//! | `operation?`, `model?` | on an `ai` route, which holds for all until `error`: the door; the model asked for |
//! | `model_served?` | what the provider calls the model it was asked for |
//! | `provider?`, `provider_key?` | names of the provider that answered, or was asked last, and of its key |
//! | `stream?` | `true` or `false`: whether the client asked for a stream |
//! | `tries?` | a list of objects with `provider`, `key?`, `outcome`, a word of [`TryOutcome`](super::ai::TryOutcome), and `request_id?`, the provider's own |
//! | `tries_untold?` | how many more than [`MOST_TRIES`](super::ai::MOST_TRIES) there were |
//! | `tokens_input?`, `tokens_output?`, `tokens_cache_read?`, `tokens_cache_write?`, `tokens_reasoning?` | all or none |
//! | `tokens_estimated?` | `true` when they were counted here, because the provider did not say |
//! | `cost_usd?` | with six decimals |
//! | `first_token_ms?` | from the request's header block to the provider's first content |
//! | `broken?` | `true` when a stream broke after a part of it had gone out |
//! | `error?` | the code of the error that this gateway answered with by itself |
//! | `limit?` | the name of the limit that refused the request |
//! | `limit_wanted?`, `limit_left?` | of a budget: tokens or dollars that the request was to set aside, and that were left for it |
//! | `termination` | a word of [`Termination`] |
//! | `user_agent?`, `referer?` | 512 bytes each |
//!
//! ## Combined
//! The combined format of Apache and nginx, escaped as nginx does, then more fields for those who want them:
//!
//! `client - caller [20/Nov/2026:17:52:18 +0000] "GET /path?query HTTP/1.1" 200 512 "referer" "user agent"`
//! ` "host" request-id trace-id route pool member attempts seconds upstream-seconds upstream-status termination`

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ai::AiRecord;
use super::writer::LogFile;
use super::{RetryReasons, Termination};
use crate::config::AccessFormat;

mod line;
mod mask;

/// The access log.
pub struct AccessLog {
    file: Arc<LogFile>,
    format: AccessFormat,
}

/// What is written of one request.
#[derive(Debug, Clone)]
pub struct AccessRecord<'a> {
    /// When it began, milliseconds since the epoch.
    pub wall_millis: u64,
    /// Its id.
    pub request_id: &'a str,
    /// Its trace.
    pub trace_id: &'a str,
    /// Who asked, by trusted forwarding headers.
    pub client: IpAddr,
    /// Who is connected.
    pub peer: IpAddr,
    /// The caller, where the route wants one and its credentials were good.
    pub caller: Option<&'a str>,
    /// The listener's address.
    pub listener: &'a str,
    /// The method.
    pub method: &'a str,
    /// The host asked for, empty when there was none.
    pub host: &'a str,
    /// The path, as received.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The client's protocol.
    pub protocol: Protocol,
    /// The client's TLS.
    pub tls: Option<TlsInfo<'a>>,
    /// The status sent; 0 when none was.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the end of the request's header block to the last byte out.
    pub duration: Duration,
    /// The route taken.
    pub route: Option<&'a str>,
    /// How the route's cache answered.
    pub cache: Option<&'a str>,
    /// The pool asked.
    pub pool: Option<&'a str>,
    /// The last member tried.
    pub member: Option<&'a str>,
    /// Tries at members.
    pub attempts: u32,
    /// Why there was more than one.
    pub retry_reasons: RetryReasons,
    /// The last attempt's time to a connection; zero or `None` when one was reused.
    pub connect_time: Option<Duration>,
    /// From the first attempt's start to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From the first attempt's start to the end of the last one.
    pub upstream_time: Option<Duration>,
    /// What the member answered.
    pub upstream_status: Option<u16>,
    /// What there is to say of a request to the AI gateway.
    pub ai: Option<&'a AiRecord>,
    /// The code of the error that this gateway answered with by itself.
    pub error: Option<&'a str>,
    /// The limit that refused it.
    pub limit: Option<&'a str>,
    /// What that did not have.
    pub lack: Option<Lack>,
    /// How it ended.
    pub termination: Termination,
    /// The User-Agent header.
    pub user_agent: Option<&'a [u8]>,
    /// The Referer header.
    pub referer: Option<&'a [u8]>,
}

/// What a request was to set aside of a budget, and what was left for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// Whether the numbers are millionths of a dollar; else they are tokens.
    pub money: bool,
    /// What was to be set aside.
    pub wanted: u64,
    /// What was left.
    pub left: u64,
}

/// The client's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// As it stands in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// The TLS of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsInfo<'a> {
    /// Such as `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite's name.
    pub cipher: &'a str,
    /// The name asked for.
    pub sni: Option<&'a str>,
}

impl AccessLog {
    /// A log that writes lines of `format` to `file`.
    pub fn new(file: Arc<LogFile>, format: AccessFormat) -> Self {
        Self { file, format }
    }

    /// The file, to reopen and flush it.
    pub fn file(&self) -> &Arc<LogFile> {
        &self.file
    }

    /// Writes one line. Never blocks; under a microsecond for a common request.
    pub fn record(&self, record: &AccessRecord<'_>) {
        self.file.append(|buf| line::write(buf, self.format, record));
    }
}

#[cfg(test)]
mod tests;
