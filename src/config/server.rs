//! The process: its admin address, its own settings, its logs.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::ListenAddress;
use super::audit::Audit;
use super::secret::Digested;

/// The admin listener: health, metrics, stats page, control API.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where to bind.
    pub address: ListenAddress,
    /// The bearer token that control calls must carry. `None`: none is asked for, which is only accepted on a
    /// loopback address or a unix socket.
    pub token: Option<Digested>,
}

/// Process-wide settings.
#[derive(Debug, Clone)]
pub struct Server {
    /// This instance's name in logs and metrics. Default: the host's name.
    pub instance_id: String,
    /// Where it runs, for metrics: `production`. `None`: nobody said.
    pub environment: Option<String>,
    /// Worker threads, at least 1. Default: the cores this process may use.
    pub threads: usize,
    /// Client connections open at once over all listeners; more wait in the kernel's queue. Default 4096.
    pub max_connections: usize,
    /// Peers whose X-Forwarded-For and other forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes of a request body; `u64::MAX` is no limit. Default 100 MiB.
    pub max_body: u64,
    /// Bytes of a request's header block. Default 64 KiB.
    pub max_header: usize,
    /// Requests on one keep-alive connection before it is closed. Default: no limit.
    pub keepalive_requests: Option<u32>,
    /// Idle upstream connections kept for reuse, per worker thread. Default 512.
    pub upstream_keepalive: usize,
    /// For how long a worker that has nothing to do looks for more before it sleeps, 0 to 1 s. Default 0.
    pub busy_polling: Duration,
    /// Timeouts of the client side.
    pub timeouts: ServerTimeouts,
    /// Whether a crash may leave a core, with every secret in it. Default false.
    pub core_dumps: bool,
    /// Where what is used of budgets outlives the process. `None`: where the system says, or nowhere.
    pub state_dir: Option<PathBuf>,
    /// Security headers set on every answer that does not have them. Default on.
    pub security_headers: bool,
}

/// Timeouts of the client side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// For a whole request header block, from its first byte. Default 10 s.
    pub header: Duration,
    /// An idle keep-alive connection, between requests. Default 60 s.
    pub keepalive: Duration,
    /// Between two reads of a request body, or two successful writes of an answer. Default 50 s.
    pub client_idle: Duration,
    /// For the TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// How long TERM waits for requests in flight. Default 30 s.
    pub drain: Duration,
    /// How long a process that was replaced waits for requests in flight. Default 10 min.
    pub handover: Duration,
}

/// Process and access logs.
#[derive(Debug, Clone)]
pub struct Log {
    /// The level for all targets without one of their own.
    pub level: log::LevelFilter,
    /// Levels per target, such as `balance` or `pingora_core`.
    pub targets: Vec<(String, log::LevelFilter)>,
    /// The shape of a line.
    pub format: LogFormat,
    /// A file beside stderr.
    pub file: Option<PathBuf>,
    /// The access log. `None`: none is written.
    pub access: Option<AccessLog>,
    /// The audit log. `None`: none is written.
    pub audit: Option<Audit>,
}

/// The shape of the process log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Columns for people.
    Text,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it goes.
    pub file: PathBuf,
    /// The shape of a line.
    pub format: AccessFormat,
}

/// The shape of an access-log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}
