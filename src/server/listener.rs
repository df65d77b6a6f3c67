//! Listening sockets, bound before anything else runs.
//!
//! Invariant: a socket that cannot be bound fails the start, with its address and the reason. Pingora's own listeners
//! would panic in a task and leave a process that listens to nothing.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use socket2::{Domain, Protocol, Socket, Type};

use super::tls::{self, Certificates};
use crate::config::{self, ListenAddress};
use crate::observe::metrics::{ListenerMetrics, Metrics};

/// The kernel's queue of connections nobody took yet; `net.core.somaxconn` caps it.
const BACKLOG: i32 = 65535;

/// A bound socket.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Bound {
    /// Binds `address`.
    ///
    /// # Errors
    /// When the system refuses: in use, not ours, no permission.
    pub fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            ListenAddress::Unix(path) => bind_unix(path).map(Self::Unix),
        }
    }

    /// What it is bound to.
    ///
    /// # Errors
    /// When the system does not say, or it is a unix socket without a path.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let nameless = || io::Error::new(io::ErrorKind::Unsupported, "a unix socket has no path");
                address.as_pathname().map(|path| ListenAddress::Unix(path.to_owned())).ok_or_else(nameless)
            }
        }
    }

    /// No call on it waits from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    // A socket that nobody listens on any more is a leftover; one that answers is somebody's.
    if UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A listener as every worker knows it.
pub struct Listener {
    /// The address as configured: in logs and metrics.
    pub address: Arc<str>,
    /// The port, 0 on a unix socket.
    pub port: u16,
    /// Where plain HTTP is sent to.
    pub redirect_https: Option<u16>,
    /// HTTP/2 by prior knowledge on a plain listener.
    pub h2c: bool,
    /// The TLS side.
    pub tls: Option<TlsListener>,
    /// Its metrics.
    pub metrics: Arc<ListenerMetrics>,
}

/// The TLS side of a listener.
pub struct TlsListener {
    /// Does the handshakes.
    pub acceptor: Acceptor,
    /// What it shows; replaced on reload.
    pub certificates: Arc<Certificates>,
}

impl Listener {
    /// Makes `configured` ready to serve.
    ///
    /// # Errors
    /// When the TLS settings cannot be used.
    pub fn new(configured: &config::Listener, metrics: &Metrics) -> Result<Self, String> {
        let address: Arc<str> = configured.address.to_string().into();
        let tls = configured.tls.as_ref().map(|settings| tls_listener(settings, configured.http2)).transpose()?;
        Ok(Self {
            metrics: metrics.listener(&address),
            address,
            port: match configured.address {
                ListenAddress::Tcp(address) => address.port(),
                ListenAddress::Unix(_) => 0,
            },
            redirect_https: configured.redirect_https.map(|redirect| redirect.port),
            h2c: configured.http2 && tls.is_none(),
            tls,
        })
    }
}

fn tls_listener(settings: &config::Tls, http2: bool) -> Result<TlsListener, String> {
    let certificates = Arc::new(Certificates::new(certified_keys(settings)));
    let config = tls::server_config(Arc::clone(&certificates), settings.min_version, http2)
        .map_err(|error| error.to_string())?;
    Ok(TlsListener { acceptor: Acceptor::from_server_config(Arc::new(config)), certificates })
}

/// The certificates of `settings`, the default first.
pub fn certified_keys(settings: &config::Tls) -> Vec<Arc<rustls::sign::CertifiedKey>> {
    settings.certificates.iter().map(|files| Arc::clone(&files.certified)).collect()
}
