//! What a client connection is, for all its requests.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;

/// Where an HTTP/1 connection stands between requests and within one. Tells which deadline holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Between requests, or before the first: the keep-alive deadline holds.
    Idle = 0,
    /// The first bytes of a header block are in, but not the last: the header deadline holds.
    Head = 1,
    /// A request is served.
    Request = 2,
    /// An HTTP/2 connection before its first stream: the keep-alive deadline holds for all of it.
    Preface = 3,
    /// An HTTP/2 connection with streams, which have deadlines of their own.
    Multiplexed = 4,
}

/// Deadlines of a connection, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For a whole header block, from its first byte.
    pub header: Duration,
    /// Between requests.
    pub keepalive: Duration,
    /// Between two successful writes.
    pub write: Duration,
}

/// A client connection. Shared by the stream and by every request on it.
#[derive(Debug)]
pub struct Connection {
    /// The listener's address as it was configured.
    pub listener: Arc<str>,
    /// The port clients see, for X-Forwarded-Port; 0 on a unix socket.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The port of the https redirect, when this listener only redirects.
    pub redirect_https: Option<u16>,
    /// Who is at the other end; the unspecified address on a unix socket.
    pub peer: IpAddr,
    /// Its deadlines.
    pub deadlines: Deadlines,
    /// The name asked for by SNI.
    pub sni: Option<Box<str>>,
    phase: AtomicU8,
    waits_anew: AtomicBool,
    held: AtomicBool,
    lingers: AtomicBool,
}

impl Connection {
    /// A connection that waits for its first request.
    pub fn new(
        listener: Arc<str>,
        port: u16,
        tls: bool,
        redirect_https: Option<u16>,
        peer: IpAddr,
        deadlines: Deadlines,
    ) -> Self {
        Self {
            listener,
            port,
            tls,
            redirect_https,
            peer,
            deadlines,
            sni: None,
            phase: AtomicU8::new(Phase::Idle as u8),
            waits_anew: AtomicBool::new(false),
            held: AtomicBool::new(false),
            lingers: AtomicBool::new(false),
        }
    }

    /// The same, asked for by this name in TLS.
    pub fn asked_for(mut self, sni: Option<&str>) -> Self {
        self.sni = sni.map(Box::from);
        self
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        // One task reads and writes this; the order of other memory does not hang on it.
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Request,
            3 => Phase::Preface,
            _ => Phase::Multiplexed,
        }
    }

    /// Whether the connection went idle since the last call: the time of waiting begins anew.
    pub fn begins_to_wait(&self) -> bool {
        self.waits_anew.load(Ordering::Relaxed) && self.waits_anew.swap(false, Ordering::Relaxed)
    }

    /// Moves on to `phase`.
    pub fn enter(&self, phase: Phase) {
        if phase == Phase::Idle {
            self.waits_anew.store(true, Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Holds back flushes while more of an answer is at hand; without effect on HTTP/2, whose streams share the
    /// connection.
    pub fn hold_writes(&self, held: bool) {
        if self.phase() == Phase::Request {
            self.held.store(held, Ordering::Relaxed);
        }
    }

    /// Whether flushes are held back.
    pub fn holds_writes(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// The connection will end with a part of a request unread.
    pub fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed)
    }
}

/// Wraps `connection` so that it travels in Pingora's digest to every request of the connection, HTTP/1 and HTTP/2.
///
/// Pingora has no slot for a value of ours on a connection, but carries what a CONNECT proxy said of it, with room for
/// user data; clients' connections never come over one.
pub fn carry(connection: Arc<Connection>) -> Option<Arc<ProxyDigest>> {
    let header = ResponseHeader::build(200, Some(0)).ok()?;
    Some(Arc::new(ProxyDigest::new(Box::new(header), Some(Box::new(connection) as Box<dyn Any + Send + Sync>))))
}

/// The connection that [`carry`] put there.
pub fn carried(digest: &ProxyDigest) -> Option<&Arc<Connection>> {
    digest.user_data.as_ref()?.downcast_ref()
}
