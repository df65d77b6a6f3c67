//! One check of one member: connect anew, ask, judge the answer.
//!
//! The backend says where to connect to: `Backend` carries an internet address or a unix socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Method};
use pingora::connectors::http::v2;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorType};
use pingora_load_balancing::health_check::HealthCheck;
use pingora_load_balancing::{Backend, Extensions};

use super::Settings;
use crate::balance::member::{Address, Member};
use crate::config::{self, CheckKind, StatusRange};
use crate::transport::authorities::authorities;
use crate::transport::failure::reason;

/// Connects for checks. The HTTP/2 connector also makes HTTP/1 connections and bare ones, and never reuses one here,
/// so one trust store serves all checks.
pub(super) type Connector = v2::Connector;

/// How much of a body is searched.
const BODY_SEARCHED: usize = 64 * 1024;
const AGENT: &str = "sluicegate-health";
/// An answer that is not the expected one. The context of the error is the reason, for the operator.
const UNEXPECTED: ErrorType = ErrorType::Custom("UnexpectedAnswer");

/// A check of one member, ready to run again and again.
pub(super) struct Probe {
    connector: Arc<Connector>,
    /// All but the address.
    peer: HttpPeer,
    ask: Ask,
    rise: u32,
    fall: u32,
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
    pub(super) fn new(member: &Member, settings: &Settings, connector: Arc<Connector>) -> Result<Self, String> {
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
        Ok(Self { connector, peer: peer(member, settings), ask, rise: check.rise, fall: check.fall })
    }
}

#[async_trait]
impl HealthCheck for Probe {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let mut peer = self.peer.clone();
        peer._address = target.addr.clone();
        match &self.ask {
            Ask::Connect => self.connector.transport().new_stream(&peer).await.map(drop),
            Ask::Get { h1, h2, statuses, body } => {
                let mut session: HttpSession = self.connector.new_http_session(&peer).await?;
                let request = if matches!(session, HttpSession::H2(_)) { h2 } else { h1 };
                let judged = get(&mut session, request.clone(), statuses, body.as_deref()).await;
                session.shutdown().await;
                judged
            }
        }
    }

    fn health_threshold(&self, success: bool) -> usize {
        usize::try_from(if success { self.rise } else { self.fall }).unwrap_or(usize::MAX)
    }
}

/// The member as checks see it. The error is for the operator.
pub(super) fn backend(member: &Member, check: &config::HealthCheck) -> Result<Backend, String> {
    let weight = usize::try_from(member.weight).unwrap_or(usize::MAX);
    Ok(Backend { addr: address(member, check)?, weight, ext: Extensions::new() })
}

async fn get(
    session: &mut HttpSession,
    request: Box<RequestHeader>,
    statuses: &[StatusRange],
    body: Option<&str>,
) -> pingora::Result<()> {
    session.write_request_header(request).await?;
    session.finish_request_body().await?;
    let status = loop {
        session.read_response_header().await?;
        let status = session.response_header().ok_or_else(|| unexpected("no answer".to_owned()))?.status;
        if !status.is_informational() {
            break status.as_u16();
        }
    };
    if !statuses.iter().any(|range| range.contains(status)) {
        return Err(unexpected(format!("status {status}, expected {}", list(statuses))));
    }
    match body {
        Some(text) => find(session, text.as_bytes()).await,
        None => Ok(()),
    }
}

/// Looks for `text` in the first part of the body, and reads no further than the end of it.
async fn find(session: &mut HttpSession, text: &[u8]) -> pingora::Result<()> {
    let mut read = Vec::new();
    while read.len() < BODY_SEARCHED {
        let Some(bytes) = session.read_response_body().await? else {
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
    Err(unexpected(format!("the body does not hold {:?}", String::from_utf8_lossy(text))))
}

fn unexpected(reason: String) -> BError {
    Error::explain(UNEXPECTED, reason)
}

fn peer(member: &Member, settings: &Settings) -> HttpPeer {
    let placeholder = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let sni = settings.tls.as_ref().map(|tls| tls.sni.clone().unwrap_or_else(|| default_name(member)));
    let mut peer = HttpPeer::new(placeholder, sni.is_some(), sni.unwrap_or_default());
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
    peer
}

fn address(member: &Member, check: &config::HealthCheck) -> Result<PeerAddress, String> {
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

/// The error of any check, in the words of an operator.
pub(super) fn describe(error: &Error) -> String {
    let cause = error.root_cause();
    match error.root_etype() {
        etype if *etype == UNEXPECTED => error.context.as_ref().map(ToString::to_string).unwrap_or_default(),
        ErrorType::ConnectRefused => "connection refused".to_owned(),
        ErrorType::ConnectNoRoute => "no route to host".to_owned(),
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => "connecting timed out".to_owned(),
        ErrorType::ReadTimedout => "the answer timed out".to_owned(),
        ErrorType::ConnectionClosed => "the connection was closed without an answer".to_owned(),
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            format!("TLS handshake failed: {}", reason(error))
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
