//! One check of one member: connect anew, ask, judge the answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Method};
use pingora::connectors::http::v2;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, ErrorType};

use super::Settings;
use crate::balance::member::{Address, Member};
use crate::config::{CheckKind, HealthCheck, StatusRange};
use crate::transport::authorities::authorities;

/// Connects for checks. The HTTP/2 connector also makes HTTP/1 connections and bare ones, and never reuses one here,
/// so one trust store serves all checks.
pub(super) type Connector = v2::Connector;

/// How much of a body is searched.
const BODY_SEARCHED: usize = 64 * 1024;
const AGENT: &str = "sluicegate-health";

/// A check of one member, ready to run again and again.
#[derive(Debug)]
pub(super) struct Probe {
    peer: HttpPeer,
    timeout: Duration,
    ask: Ask,
}

#[derive(Debug)]
enum Ask {
    /// A connection is enough, with TLS where the pool has it.
    Connect,
    Get {
        h1: Box<RequestHeader>,
        h2: Box<RequestHeader>,
        statuses: Vec<StatusRange>,
        body: Option<String>,
    },
}

impl Probe {
    /// Prepares a check. The error is for the operator: it is the reason why the member is down.
    pub(super) fn new(member: &Member, settings: &Settings) -> Result<Self, String> {
        let Settings { check, .. } = settings;
        let ask = match &check.kind {
            CheckKind::Tcp => Ask::Connect,
            CheckKind::Http { path, host, expect_status, expect_body } => {
                let host = host.clone().unwrap_or_else(|| default_host(member));
                let tls = settings.tls.is_some();
                let (h1, h2) = requests(path, &host, tls).map_err(|error| format!("cannot ask for {path}: {error}"))?;
                Ask::Get { h1, h2, statuses: expect_status.clone(), body: expect_body.clone() }
            }
        };
        Ok(Self { peer: peer(member, settings)?, timeout: check.timeout, ask })
    }

    /// Runs the check once, within its timeout from the first packet to the last. `Err`: why it failed.
    pub(super) async fn run(&self, connector: &Connector) -> Result<(), String> {
        tokio::time::timeout(self.timeout, Box::pin(self.ask(connector)))
            .await
            .unwrap_or_else(|_| Err(format!("no result within {:?}", self.timeout)))
    }

    async fn ask(&self, connector: &Connector) -> Result<(), String> {
        match &self.ask {
            Ask::Connect => connector.transport().new_stream(&self.peer).await.map(drop).map_err(describe),
            Ask::Get { h1, h2, statuses, body } => {
                let mut session: HttpSession = connector.new_http_session(&self.peer).await.map_err(describe)?;
                let request = if matches!(session, HttpSession::H2(_)) { h2 } else { h1 };
                let judged = get(&mut session, request.clone(), statuses, body.as_deref()).await;
                session.shutdown().await;
                judged
            }
        }
    }
}

async fn get(
    session: &mut HttpSession,
    request: Box<RequestHeader>,
    statuses: &[StatusRange],
    body: Option<&str>,
) -> Result<(), String> {
    session.write_request_header(request).await.map_err(describe)?;
    session.finish_request_body().await.map_err(describe)?;
    let status = loop {
        session.read_response_header().await.map_err(describe)?;
        let status = session.response_header().ok_or("no answer")?.status;
        if !status.is_informational() {
            break status.as_u16();
        }
    };
    if !statuses.iter().any(|range| range.contains(status)) {
        return Err(format!("status {status}, expected {}", list(statuses)));
    }
    match body {
        Some(text) => find(session, text.as_bytes()).await,
        None => Ok(()),
    }
}

/// Looks for `text` in the first part of the body, and reads no further than the end of it.
async fn find(session: &mut HttpSession, text: &[u8]) -> Result<(), String> {
    let mut read = Vec::new();
    while read.len() < BODY_SEARCHED {
        let Some(bytes) = session.read_response_body().await.map_err(describe)? else {
            break;
        };
        let searched = read.len().saturating_sub(text.len());
        let room = BODY_SEARCHED - read.len();
        read.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
        let unsearched = read.get(searched..).unwrap_or_default();
        if text.is_empty() || unsearched.windows(text.len()).any(|window| window == text) {
            return Ok(());
        }
    }
    Err(format!("the body does not hold {:?}", String::from_utf8_lossy(text)))
}

fn peer(member: &Member, settings: &Settings) -> Result<HttpPeer, String> {
    let placeholder = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let sni = settings.tls.as_ref().map(|tls| tls.sni.clone().unwrap_or_else(|| default_name(member)));
    let mut peer = HttpPeer::new(placeholder, sni.is_some(), sni.unwrap_or_default());
    peer._address = address(member, &settings.check)?;
    let options = &mut peer.options;
    let timeout = Some(settings.check.timeout);
    options.connection_timeout = timeout;
    options.total_connection_timeout = timeout;
    options.read_timeout = timeout;
    options.write_timeout = timeout;
    options.alpn = match (settings.http2, &settings.tls) {
        (true, Some(_)) => ALPN::H2H1,
        (true, None) => ALPN::H2,
        (false, _) => ALPN::H1,
    };
    if let Some(tls) = &settings.tls {
        (options.verify_cert, options.verify_hostname) = (tls.verify, tls.verify);
        options.ca = authorities(tls);
    }
    Ok(peer)
}

fn address(member: &Member, check: &HealthCheck) -> Result<PeerAddress, String> {
    match &member.address {
        Address::Inet(address) => {
            Ok(PeerAddress::Inet(SocketAddr::new(address.ip(), check.port.unwrap_or_else(|| address.port()))))
        }
        Address::Unix(path) => UnixAddress::from_pathname(path)
            .map(PeerAddress::Unix)
            .map_err(|error| format!("cannot use the socket {}: {error}", path.display())),
    }
}

/// The name to ask for and to verify when the pool says none. Never empty: pingora verifies nothing without a name.
fn default_name(member: &Member) -> String {
    match (&member.host, &member.address) {
        (Some(host), _) => host.to_string(),
        (None, Address::Inet(address)) => address.ip().to_string(),
        (None, Address::Unix(_)) => "localhost".to_owned(),
    }
}

/// The Host when the check says none: the member as it was configured.
fn default_host(member: &Member) -> String {
    match &member.address {
        Address::Inet(_) if member.host.is_some() => member.configured.to_string(),
        Address::Inet(address) => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    }
}

type Requests = (Box<RequestHeader>, Box<RequestHeader>);

/// The request as HTTP/1.1 and as HTTP/2 write it.
fn requests(path: &str, host: &str, tls: bool) -> Result<Requests, Box<dyn std::error::Error + Send + Sync>> {
    let mut h1 = RequestHeader::build(Method::GET, path.as_bytes(), Some(4))?;
    h1.insert_header(HOST, HeaderValue::from_str(host)?)?;
    h1.insert_header(USER_AGENT, AGENT)?;
    h1.insert_header(CONNECTION, "close")?;

    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(host)?);
    uri.path_and_query = Some(PathAndQuery::try_from(path)?);
    let mut h2 = RequestHeader::build(Method::GET, path.as_bytes(), Some(4))?;
    h2.set_version(http::Version::HTTP_2);
    h2.set_uri(Uri::from_parts(uri)?);
    h2.insert_header(USER_AGENT, AGENT)?;
    Ok((Box::new(h1), Box::new(h2)))
}

/// An error in the words of an operator.
#[expect(clippy::boxed_local, reason = "pingora boxes its errors; this ends a map_err")]
fn describe(error: BError) -> String {
    let cause = error.root_cause();
    match error.root_etype() {
        ErrorType::ConnectRefused => "connection refused".to_owned(),
        ErrorType::ConnectNoRoute => "no route to host".to_owned(),
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => "connecting timed out".to_owned(),
        ErrorType::ReadTimedout => "the answer timed out".to_owned(),
        ErrorType::ConnectionClosed => "the connection was closed without an answer".to_owned(),
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            format!("TLS handshake failed: {cause}")
        }
        other => format!("{}: {cause}", other.as_str()),
    }
}

fn list(ranges: &[StatusRange]) -> String {
    let one = |range: &StatusRange| match (range.first, range.last) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}
