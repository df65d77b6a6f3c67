//! One client connection, from its handshake to its end.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use log::debug;
use pingora::apps::{HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::tls::TlsStream;
use pingora::protocols::{ALPN, Peek, Ssl};
use pingora::server::ShutdownWatch;
use socket2::SockRef;

use super::{Guard, Load, Serving};
use crate::config;
use crate::proxy::finish::finish;
use crate::proxy::{Admitted, Served};
use crate::server::listener::{Listener, TlsListener};
use crate::transport::connection::{Connection, Deadlines, Phase};
use crate::transport::downstream::Downstream;
use crate::transport::http1::handed::Handed;
use crate::transport::http1::inbound::{Bounds, Inbound};
use crate::transport::session::Session;
use crate::transport::socket::Socket;

/// The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one client connection to its end.
pub(super) async fn serve(serving: Arc<Serving>, listener: usize, socket: Socket, peer: IpAddr, guard: Guard) {
    let _load = Load(&serving.mine.load);
    let _guard = guard;
    // Of the configuration in force: a reload holds for connections that come after it.
    let (timeouts, fields) = {
        let current = serving.parts.shared.current.load();
        (current.config.server.timeouts, current.config.server.max_header)
    };
    let Some(listener) = serving.parts.listeners.get(listener) else { return };
    if let Socket::Tcp(stream) = &socket {
        let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
    let connection = Connection::new(
        Arc::clone(&listener.address),
        listener.port,
        listener.tls.is_some(),
        listener.redirect_https,
        peer,
        deadlines(&timeouts),
    );
    let refusal = Arc::clone(&serving.refusal);
    let mut shutdown = serving.parts.drain.watch();
    if *shutdown.borrow() {
        shutdown.mark_changed(); // Pingora waits for a change, and this one has been.
    }
    let (mut stream, connection) = match &listener.tls {
        None => {
            let connection = Arc::new(connection);
            (Downstream::plain(socket, Arc::clone(&connection), refusal), connection)
        }
        Some(tls) => {
            // Boxed: it is large, and over before the first request.
            let shaken = Box::pin(shake_hands(tls, socket, listener, peer, timeouts.handshake)).await;
            let Some(stream) = shaken else { return };
            let name = stream.get_ssl().and_then(|tls| tls.server_name());
            let connection = Arc::new(connection.asked_for(name));
            (Downstream::tls(stream, Arc::clone(&connection), refusal), connection)
        }
    };
    let by_alpn = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
    if by_alpn || listener.h2c && begins_http2(&mut stream, timeouts.header).await {
        connection.enter(Phase::Preface);
        serving.proxy.process_new(Box::new(stream), &shutdown).await;
    } else {
        // The first request is no reuse.
        let requests = serving.parts.settings.keepalive_requests.map(|requests| requests.saturating_sub(1));
        let bounds = Bounds { requests, patience: timeouts.client_idle, fields };
        serve_http1(&serving, Inbound::new(stream, bounds), &shutdown).await;
    }
}

async fn shake_hands(
    tls: &TlsListener,
    socket: Socket,
    listener: &Listener,
    peer: IpAddr,
    limit: Duration,
) -> Option<TlsStream<Socket>> {
    match tokio::time::timeout(limit, tls.acceptor.tls_handshake(socket)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => {
            debug!(target: "sluicegate::server::worker", "TLS handshake with {peer} on {}: {error}", listener.address)
        }
        Err(_) => {
            debug!(target: "sluicegate::server::worker", "TLS handshake with {peer} on {}: not done in {limit:?}", listener.address)
        }
    }
    listener.metrics.handshake_failed();
    None
}

fn deadlines(timeouts: &config::ServerTimeouts) -> Deadlines {
    Deadlines { header: timeouts.header, keepalive: timeouts.keepalive, write: timeouts.client_idle }
}

/// Whether the client speaks HTTP/2 at once. Shorter first words are HTTP/1.
async fn begins_http2(stream: &mut Downstream, limit: Duration) -> bool {
    let mut first = [0_u8; PREFACE.len()];
    let peeked = tokio::time::timeout(limit, stream.try_peek(&mut first)).await;
    matches!(peeked, Ok(Ok(true))) && first == PREFACE
}

/// HTTP/1: one request after the other.
async fn serve_http1(serving: &Serving, mut inbound: Inbound, shutdown: &ShutdownWatch) {
    let mut ending = serving.ending.subscribe();
    let mut ended = pin!(ending.wait_for(|ended| *ended));
    loop {
        let asked = tokio::select! {
            biased; // A request that is there is served.
            asked = inbound.next() => asked,
            _ = &mut ended => return,
        };
        if !asked {
            return;
        }
        if *shutdown.borrow() {
            inbound.end_with_this();
        }
        let mut ctx = serving.gateway.context();
        let served = serving.gateway.serve(&mut Session::Http1(&mut inbound), &mut ctx).await;
        if let Ok(Served::Left) = served {
            // Boxed: it is rare, and an idle connection would carry room for it.
            match Box::pin(serve_by_pingora(serving, Handed::new(inbound), Admitted(ctx), shutdown)).await {
                Some(back) => inbound = back,
                None => return,
            }
            continue;
        }
        finish(&Session::Http1(&mut inbound), &mut ctx);
        drop(ctx);
        if served.is_err() || !inbound.finish().await {
            return;
        }
    }
}

/// A request that was let in; gives the connection back, if it may serve another one.
async fn serve_by_pingora(
    serving: &Serving,
    handed: Handed,
    admitted: Admitted,
    shutdown: &ShutdownWatch,
) -> Option<Inbound> {
    // As before the stages: what Pingora itself refuses is told in our words.
    handed.inbound().stream().connection().enter(Phase::Head);
    let bounds = handed.inbound().bounds();
    let mut session = ServerSession::new_http1(Box::new(handed));
    session.set_connection_user_context(Some(Box::new(admitted)));
    session.set_keepalive_reuses_remaining(bounds.requests);
    session.set_read_timeout(Some(bounds.patience));
    let (stream, _) = serving.proxy.process_new_http(session, shutdown).await?.consume();
    stream.into_any().downcast::<Handed>().ok()?.into_inbound()
}
