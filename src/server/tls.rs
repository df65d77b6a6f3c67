//! TLS towards clients: certificates by SNI, replaced on reload, and what is negotiated.
//!
//! [`Certificates`] is the resolver of a listener for as long as the process lives: a reload swaps what is inside it,
//! so the listener stays and open connections are not touched (A5.02). Files are read and checked by `config`; what
//! arrives here is known to be good.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, SupportedProtocolVersion, version};
use webpki::EndEntityCert;

use crate::config::TlsVersion;

/// Sessions of TLS 1.2 clients that are kept for resumption, per listener. Clients with tickets need none of it.
const SESSION_CACHE: usize = 1024;

/// The certificates of a listener.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<ByName>,
}

/// One set of certificates, by the names in them. A name may have several, such as one ECDSA and one RSA.
#[derive(Debug, Default)]
struct ByName {
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// `*.example.com`, under `example.com`.
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Certificates in the order of the configuration. The first is served to clients that ask for no name or for one
    /// that no certificate has; with none at all every handshake fails.
    pub fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        Self { current: ArcSwap::from_pointee(ByName::new(keys)) }
    }

    /// Serves these from the next handshake on.
    pub fn replace(&self, keys: Vec<Arc<CertifiedKey>>) {
        self.current.store(Arc::new(ByName::new(keys)));
    }

    /// The certificate for a name and the signature schemes of the client.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current.load().choose(name, schemes)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

impl ByName {
    fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        let mut set = Self::default();
        for key in &keys {
            for name in dns_names(key) {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut set.wildcard, parent),
                    None => (&mut set.exact, name.as_str()),
                };
                names.entry(name.into()).or_default().push(Arc::clone(key));
            }
        }
        set.default = keys.into_iter().next();
        set
    }

    /// Exact before wildcard before the first of all. A wildcard stands for one label (RFC 6125 section 6.4.3).
    /// Of several for one name, the first whose key the client can verify; when it can verify none, the first, so that
    /// the handshake fails with the reason.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let Some(keys) = name.and_then(|name| self.named(name)) else {
            return self.default.clone();
        };
        keys.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or_else(|| keys.first()).cloned()
    }

    /// rustls hands the name over in lower case.
    fn named(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

/// What a TLS listener negotiates: ring's cipher suites, forward secrecy only; the client's order of preference is
/// honoured among them, for they are all strong; tickets with keys that rotate, so that resumption needs no memory.
/// HTTP/2 before HTTP/1.1 by ALPN when `http2`.
///
/// Fails when the system has no randomness for the ticket keys.
pub fn server_config(
    certificates: Arc<Certificates>,
    min_version: TlsVersion,
    http2: bool,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&'static SupportedProtocolVersion] = match min_version {
        TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = ServerSessionMemoryCache::new(SESSION_CACHE);
    Ok(config)
}

/// The names in the first certificate, in lower case. One that cannot be read has none, and can only be the default.
fn dns_names(key: &CertifiedKey) -> Vec<String> {
    let Ok(certificate) = key.end_entity_cert() else {
        return Vec::new();
    };
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    certificate.valid_dns_names().map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests;
