//! Headers towards the upstream and the client.
//!
//! Who the client is ([`client_address`]), what the upstream is told about it ([`Forwarding`]), what may not pass
//! ([`strip_hop_by_hop`]), what the configuration changes ([`apply_rules`], [`set_security_headers`]), and whether a
//! request is sane at all ([`check_request`]). Request id and trace context are `observe`'s, and how a
//! body is delimited is known below, in `transport` and Pingora.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version};
use ipnet::IpNet;

use super::rejection::Rejection;
use crate::config::{HeaderRules, contains};

/// The longest request target, in bytes. Longer ones get 414. RFC 9112 section 3 asks for at least 8000; signed URLs
/// and long queries need more.
pub const MAX_TARGET: usize = 16 * 1024;

/// Header fields in a request. More get 431.
pub const MAX_FIELDS: usize = 200;

/// The `Server` header of answers of our own. Answers of members keep theirs.
pub const SERVER: HeaderValue = HeaderValue::from_static("sluicegate");

/// Entries of X-Forwarded-For that are looked at, from the right.
const MAX_HOPS: usize = 32;

/// Bytes of X-Forwarded-For that are looked at, from the right.
const MAX_FORWARDED: usize = 1024;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Whether a field may not pass a proxy in either direction (RFC 9110 section 7.6.1), beside what Connection names.
/// Transfer-Encoding may: the server writes it itself.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "proxy-authenticate" | "te" | "upgrade" | "http2-settings"
    )
}

/// What only a proxy in front of us may say, beside the headers that [`Forwarding`] overwrites. Backends take the
/// client's address, the path prefix, and even the whole path (past every rule on paths) from these.
const CLAIMS: [&str; 5] = ["forwarded", "x-forwarded-prefix", "x-forwarded-ssl", "x-original-url", "x-rewrite-url"];

/// A header block that can be changed: a plain map, or the server's own type that also keeps the case of names.
pub trait EditHeaders {
    /// The headers as they are.
    fn map(&self) -> &HeaderMap;
    /// Takes away every field of this name.
    fn remove(&mut self, name: &HeaderName);
    /// Puts one field in the place of all of this name.
    fn set(&mut self, name: HeaderName, value: HeaderValue);
    /// Adds a field.
    fn append(&mut self, name: HeaderName, value: HeaderValue);
}

impl EditHeaders for HeaderMap {
    fn map(&self) -> &HeaderMap {
        self
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove(name);
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.append(name, value);
    }
}

/// What is the same for every request of a listener, in the form it is forwarded in. Made once.
#[derive(Debug, Clone)]
pub struct Edge {
    tls: bool,
    port: HeaderValue,
}

impl Edge {
    /// `tls`: whether clients speak TLS to this listener; `port`: the port it is bound to.
    pub fn new(tls: bool, port: u16) -> Self {
        let port = match port {
            80 => HeaderValue::from_static("80"),
            443 => HeaderValue::from_static("443"),
            port => HeaderValue::from(port),
        };
        Self { tls, port }
    }
}

/// Who asks, and what the upstream is told about it (A1.19, F15).
///
/// From a trusted peer, what it says is kept and its own address is appended. From any other peer everything is
/// replaced; `Forwarded` and its like are removed, and so are the same names written with underscores, which CGI-like
/// backends cannot tell apart. Other headers with underscores pass (D06).
#[derive(Debug, Clone)]
pub struct Forwarding {
    /// The client, for allow-lists, limits, hashing and logs.
    pub client: IpAddr,
    /// `X-Forwarded-For`: the client, and the trusted proxies after it. What stands left of the client was written
    /// by nobody we trust, and backends read the first entry: it is left out.
    pub forwarded_for: HeaderValue,
    /// `X-Real-IP`: the client.
    pub real_ip: HeaderValue,
    /// `X-Forwarded-Proto`: `http` or `https`.
    pub proto: HeaderValue,
    /// `X-Forwarded-Host`: the host the client asked for.
    pub host: Option<HeaderValue>,
    /// `X-Forwarded-Port`: the port the client connected to.
    pub port: HeaderValue,
    /// Whether the peer is trusted, so that its `Forwarded` is kept.
    pub trusted: bool,
}

impl Forwarding {
    /// `host` is the Host or authority of the request.
    pub fn new(peer: IpAddr, host: Option<HeaderValue>, edge: &Edge, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let proto = HeaderValue::from_static(if edge.tls { "https" } else { "http" });
        let peer = peer.to_canonical();
        if !contains(trusted, peer) {
            let real_ip = address_value(peer);
            let (forwarded_for, port) = (real_ip.clone(), edge.port.clone());
            return Self { client: peer, forwarded_for, real_ip, proto, host, port, trusted: false };
        }
        let chain = Chain::read(peer, headers, trusted);
        Self {
            client: chain.client,
            forwarded_for: chain.forwarded_for(peer),
            real_ip: address_value(chain.client),
            proto: single(headers, &X_FORWARDED_PROTO, is_scheme).unwrap_or(proto),
            host: single(headers, &X_FORWARDED_HOST, |text| text.parse::<Authority>().is_ok()).or(host),
            port: single(headers, &X_FORWARDED_PORT, |text| text.parse::<u16>().is_ok())
                .unwrap_or_else(|| edge.port.clone()),
            trusted: true,
        }
    }

    /// Writes the headers. Host is not touched: the upstream sees the client's, unless a rule sets it.
    pub fn apply(self, headers: &mut impl EditHeaders) {
        if !self.trusted {
            let claims: Vec<HeaderName> = headers.map().keys().filter(|name| is_claim(name)).cloned().collect();
            for name in &claims {
                headers.remove(name);
            }
        }
        headers.set(X_FORWARDED_FOR, self.forwarded_for);
        headers.set(X_REAL_IP, self.real_ip);
        headers.set(X_FORWARDED_PROTO, self.proto);
        headers.set(X_FORWARDED_PORT, self.port);
        match self.host {
            Some(host) => headers.set(X_FORWARDED_HOST, host),
            None => headers.remove(&X_FORWARDED_HOST),
        }
    }
}

/// The client's address: the peer's, unless the peer is trusted; then X-Forwarded-For is walked from the right, past
/// trusted proxies, to the first address that is not one. What cannot be read ends the walk at the last good address.
/// At most 32 entries and 1024 bytes are looked at.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if contains(trusted, peer) { Chain::read(peer, headers, trusted).client } else { peer }
}

/// What a trusted peer says about the proxies before it.
struct Chain {
    client: IpAddr,
    /// The addresses before the peer, from the right, as far as they are believed; the client is the last.
    hops: Vec<IpAddr>,
}

impl Chain {
    fn read(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let mut chain = Self { client: peer, hops: Vec::new() };
        let mut left = MAX_FORWARDED;
        for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            for entry in value.as_bytes().rsplit(|&byte| byte == b',') {
                let Some(rest) = left.checked_sub(entry.len() + 1) else {
                    return chain;
                };
                left = rest;
                if chain.hops.len() == MAX_HOPS || !contains(trusted, chain.client) {
                    return chain;
                }
                let Some(address) = std::str::from_utf8(entry).ok().and_then(forwarded_address) else {
                    return chain;
                };
                chain.hops.push(address);
                chain.client = address;
            }
        }
        chain
    }

    fn forwarded_for(&self, peer: IpAddr) -> HeaderValue {
        if self.hops.is_empty() {
            return address_value(peer);
        }
        let mut text = String::with_capacity(16 * (self.hops.len() + 1));
        for hop in self.hops.iter().rev() {
            text.push_str(&hop.to_string());
            text.push_str(", ");
        }
        text.push_str(&peer.to_string());
        HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| address_value(peer))
    }
}

/// Takes away what a response may not bring through a proxy: what Connection names, Keep-Alive, `Proxy-*`, TE, and
/// Upgrade unless the status is 101 (then Connection stays too).
pub fn strip_hop_by_hop(headers: &mut impl EditHeaders, status: StatusCode) {
    let upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
    if headers.map().contains_key(header::CONNECTION) && !upgrade {
        let frames = |name: &HeaderName| matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING);
        for name in nominated(headers.map()).filter(|name| !frames(name)).collect::<Vec<_>>() {
            headers.remove(&name);
        }
    }
    let of_answers = |name: &HeaderName| is_hop_by_hop(name) || name == "proxy-authentication-info";
    let kept = |name: &HeaderName| upgrade && matches!(*name, header::CONNECTION | header::UPGRADE);
    let found = headers.map().keys().filter(|name| of_answers(name) && !kept(name));
    for name in found.cloned().collect::<Vec<_>>() {
        headers.remove(&name);
    }
}

/// Applies rules of the configuration: first `remove`, then `set`, then `add`.
pub fn apply_rules(headers: &mut impl EditHeaders, rules: &HeaderRules) {
    for name in &rules.remove {
        headers.remove(name);
    }
    for (name, value) in &rules.set {
        headers.set(name.clone(), value.clone());
    }
    for (name, value) in &rules.add {
        headers.append(name.clone(), value.clone());
    }
}

/// Sets the security headers that the answer does not have (A1.17, T36); HSTS (one year) over TLS only.
pub fn set_security_headers(headers: &mut impl EditHeaders, tls: bool) {
    set_missing(headers, header::X_FRAME_OPTIONS, "DENY");
    set_missing(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set_missing(headers, header::X_XSS_PROTECTION, "1; mode=block");
    if tls {
        set_missing(headers, header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

/// Whether a request is one that may be routed.
///
/// Refuses: more than [`MAX_FIELDS`] fields or `max_header` bytes of them (431), a target over [`MAX_TARGET`] bytes
/// (414), HTTP/1.1 without exactly one Host (RFC 9112 section 3.2), several Hosts, and a Host that is no host. Framing
/// (Content-Length, Transfer-Encoding) is checked before, where the header block is read.
pub fn check_request(uri: &Uri, headers: &HeaderMap, version: Version, max_header: usize) -> Result<(), Rejection> {
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if target > MAX_TARGET {
        return Err(Rejection::UriTooLong);
    }
    if headers.len() > MAX_FIELDS || header_bytes(headers) > max_header {
        return Err(Rejection::HeadersTooLarge);
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Rejection::BadRequest("only the transfer coding chunked is taken"));
    }
    let authority = uri.authority();
    if authority.is_some_and(|authority| !is_host(authority.as_str())) {
        return Err(Rejection::BadRequest("the authority of the request is not a host"));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(Rejection::BadRequest("the request has more than one Host header")),
        (Some(host), None) if !host.to_str().is_ok_and(is_host) => {
            Err(Rejection::BadRequest("the Host header is not a host"))
        }
        (None, None) if version == Version::HTTP_11 => Err(Rejection::BadRequest("the request has no Host header")),
        _ => Ok(()),
    }
}

/// The length of the body, as Content-Length says it; `None` when it does not, or not in a number.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The host that a request asks for, with its port: the authority of the target (RFC 9112 section 3.2.2), else Host;
/// empty when there is neither, as HTTP/1.0 allows.
pub fn request_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    }
}

/// Whether this is `host` or `host:port`: no user information, blank, path or control character.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    !text.is_empty()
        && text.len() <= 261
        && text.bytes().all(plain)
        && text.parse::<Authority>().is_ok_and(|authority| has_port_or_none(&authority))
}

/// The http crate takes any text for a port until it is asked for its number.
fn has_port_or_none(authority: &Authority) -> bool {
    let after_host = authority.as_str().len() - authority.host().len();
    after_host <= 1 || authority.port_u16().is_some()
}

fn header_bytes(headers: &HeaderMap) -> usize {
    // The colon, the blank and the line break of each line count too.
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn set_missing(headers: &mut impl EditHeaders, name: HeaderName, value: &'static str) {
    if !headers.map().contains_key(&name) {
        headers.set(name, HeaderValue::from_static(value));
    }
}

/// The fields that Connection names; `close` and `keep-alive` are among them.
pub(super) fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let tokens =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
}

/// Whether an untrusted peer may not send this header: a claim, or one of ours with underscores in its name.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    if !name.starts_with(['x', 'f']) {
        return false;
    }
    let same = |claim: &str| reads_as(name, claim);
    let ours = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT, X_REAL_IP];
    CLAIMS.into_iter().any(same) || (name.contains('_') && ours.iter().any(|header| same(header.as_str())))
}

/// Whether a server that cannot tell `_` from `-`, as CGI's cannot, reads the name of a field as this one.
pub(super) fn reads_as(name: &str, known: &str) -> bool {
    name.len() == known.len() && begins_as(name, known)
}

/// Whether it reads the beginning so.
pub(super) fn begins_as(name: &str, known: &str) -> bool {
    let mut pairs = known.bytes().zip(name.bytes());
    name.len() >= known.len() && pairs.all(|(a, b)| a == b || (a == b'-' && b == b'_'))
}

fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(address.to_string()))
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// An entry of X-Forwarded-For: an address, also with a port or in brackets.
fn forwarded_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// The value of a header that is there once and good.
fn single(headers: &HeaderMap, name: &HeaderName, good: impl Fn(&str) -> bool) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    (values.next().is_none() && value.to_str().is_ok_and(good)).then(|| value.clone())
}

fn is_scheme(text: &str) -> bool {
    text.eq_ignore_ascii_case("http") || text.eq_ignore_ascii_case("https")
}

#[cfg(test)]
mod tests;
