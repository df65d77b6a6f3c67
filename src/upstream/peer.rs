//! What is needed to reach a member: made once per generation, not per request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::{ALPN, TcpKeepalive};
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer as _};

use crate::balance::{Address, Member};
use crate::config::{self, UpstreamTimeouts};
use crate::transport::authorities::{authorities, group};

/// Streams that share one HTTP/2 connection to a member.
const MAX_H2_STREAMS: usize = 128;

/// How one member is reached on one route.
#[derive(Debug)]
pub struct MemberPeer {
    /// Where it is.
    pub address: Address,
    /// The same for Pingora, with every timeout set.
    pub http: HttpPeer,
    /// Connections with the same key may be used for each other.
    pub key: u64,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl MemberPeer {
    /// How `member` is reached with these timeouts. `None` for a unix socket path that no socket can have.
    pub fn new(member: &Member, pool: &config::Pool, timeouts: &UpstreamTimeouts) -> Option<Self> {
        let tls = pool.tls.is_some();
        let sni = sni(member, pool);
        let mut http = match &member.address {
            Address::Inet(address) => HttpPeer::new(*address, tls, sni),
            Address::Unix(path) => HttpPeer::new_uds(unix_path(path)?, tls, sni).ok()?,
        };
        let options = &mut http.options;
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        // Pingora knows one read timeout for the first byte and for all later ones. Only upgrades and HTTP/2 members go
        // its way; a tunnel that is silent longer than a first byte may take must live.
        options.read_timeout = Some(timeouts.idle.max(timeouts.first_byte));
        options.write_timeout = Some(timeouts.write);
        options.idle_timeout = Some(timeouts.keepalive);
        options.max_h2_streams = MAX_H2_STREAMS;
        options.h2_ping_interval = pool.http2.then_some(Duration::from_secs(30));
        options.alpn = match (pool.http2, tls) {
            (false, _) => ALPN::H1,
            (true, true) => ALPN::H2H1,
            (true, false) => ALPN::H2,
        };
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::standard();
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 5,
            user_timeout: Duration::ZERO,
        });
        if let Some(tls) = &pool.tls {
            options.verify_cert = tls.verify;
            options.verify_hostname = tls.verify;
            options.ca = authorities(tls);
            http.group_key = group(tls);
        }
        let key = http.reuse_hash();
        Some(Self { address: member.address.clone(), http, key, tls })
    }
}

fn unix_path(path: &Arc<Path>) -> Option<&str> {
    path.to_str()
}

/// The name asked for and verified: the configured one, else the member's host name, else its address.
fn sni(member: &Member, pool: &config::Pool) -> String {
    match (&pool.tls, &member.host, &member.address) {
        (None, _, _) => String::new(),
        (Some(config::UpstreamTls { sni: Some(name), .. }), _, _) => name.clone(),
        (Some(_), Some(host), _) => host.to_string(),
        (Some(_), None, Address::Inet(address)) => address.ip().to_string(),
        // Never empty: without a name nothing would be verified.
        (Some(_), None, Address::Unix(_)) => "localhost".to_owned(),
    }
}
