//! Accepting connections and serving each until it ends, is cut, or the mock stops.
//!
//! One task accepts and owns all connection tasks; ending it ends them all.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto};

use super::state::Shared;
use super::wire::{Conn, OpenGuard, Socket, Wire};
use super::{backend, websocket};

/// One run of a mock, from start to stop.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) shared: Arc<Shared>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) h2c: bool,
}

impl Serving {
    /// Serves until told to stop, then drops every connection (reset, as `Shared::down` is set) and returns when all are gone.
    pub(super) async fn run(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                accepted = listener.accept() => match accepted {
                    Ok((tcp, _)) => { tasks.spawn(self.clone().connection(tcp)); }
                    // Out of descriptors: wait for connections to end rather than spin.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        drop(listener);
        tasks.shutdown().await;
    }

    async fn connection(self, tcp: TcpStream) {
        let open = OpenGuard::new(self.shared.clone());
        let _ = tcp.set_nodelay(true);
        let mut http2 = false;
        let socket = match &self.tls {
            None => Socket::Plain(tcp),
            Some(acceptor) => {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                Socket::Tls(Box::new(tls))
            }
        };
        let conn = Arc::new(Conn::default());
        let wire = TokioIo::new(Wire::new(socket, conn.clone(), open));
        let mut http = auto::Builder::new(TokioExecutor::new());
        if http2 {
            http = http.http2_only();
        } else if !self.h2c {
            http = http.http1_only();
        }
        let service = service_fn(|request| backend::serve(self.shared.clone(), conn.clone(), request));
        tokio::select! {
            biased;
            () = conn.is_cut() => return,
            _ = http.serve_connection_with_upgrades(wire, service) => {}
        }
        let upgrade = conn.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(upgrade) = upgrade
            && let Ok(stream) = upgrade.await
        {
            // An echo that ends, ends; its reason interests nobody.
            let _ = websocket::echo(TokioIo::new(stream)).await;
        }
    }
}

/// TLS from PEM texts. Errors name what could not be read.
pub(super) fn acceptor(cert_pem: &[u8], key_pem: &[u8]) -> io::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(cert_pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| io::Error::other(format!("certificate: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| io::Error::other(format!("key: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
