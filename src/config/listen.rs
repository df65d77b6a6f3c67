//! Listeners: addresses that clients connect to, and their TLS.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where to bind.
    pub address: ListenAddress,
    /// Answer every request with a redirect to https, but for health and ACME paths. `None`: no redirect.
    pub redirect_https: Option<RedirectHttps>,
    /// HTTP/2: by ALPN on a TLS listener (default on), by prior knowledge on a plain one (default off).
    pub http2: bool,
    /// TLS, when the listener speaks it.
    pub tls: Option<Tls>,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `host:port` or `[::]:port`. An IPv6 wildcard also takes IPv4, as the system has it.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A redirect of plain HTTP to https: status 308, path and query kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectHttps {
    /// The port in the Location; 443 is left out of it.
    pub port: u16,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The lowest protocol version accepted.
    pub min_version: TlsVersion,
    /// Chosen by SNI; the first is the default. Never empty.
    pub certificates: Vec<CertificateFiles>,
}

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A certificate chain with its key, and where they were read from. Equal when the files and the chain are: the key
/// belongs to the chain.
#[derive(Clone)]
pub struct CertificateFiles {
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file with the private key; the same as `cert` for a bundle.
    pub key: PathBuf,
    /// What the files hold, ready to serve.
    pub certified: Arc<CertifiedKey>,
    /// When the first certificate of the chain that ends does, in seconds since the epoch.
    pub expires: u64,
}

impl PartialEq for CertificateFiles {
    fn eq(&self, other: &Self) -> bool {
        (&self.cert, &self.key, &self.certified.cert) == (&other.cert, &other.key, &other.certified.cert)
    }
}

impl Eq for CertificateFiles {}

impl fmt::Debug for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFiles").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}
