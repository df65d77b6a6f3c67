//! Addresses, hosts and paths: where to listen, where members are, what a route takes.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::{Wrong, number, quote};
use crate::config::{HostPattern, ListenAddress, MemberAddress, PathPattern};

/// The longest path of a unix socket, in bytes (`sun_path` of unix(7), less its NUL).
const MAX_UNIX_PATH: usize = 107;
/// What is a part of regular expressions, and of no path that anybody has.
const REGULAR: [&str; 6] = [".*", "[0-9", "[a-z", "[^", "(?", "\\"];
/// The longest host name, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Where to bind: `0.0.0.0:80`, `[::]:443` or `unix:/path`. Port 0 is any free one.
pub(in crate::config) fn listen(text: &str) -> Result<ListenAddress, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(ListenAddress::Unix);
    }
    let wrong =
        || Wrong::not(text, "an address to listen on").expected("one such as 0.0.0.0:80, [::]:443 or unix:/run/x.sock");
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(ListenAddress::Tcp(address));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    if number::<u16>(port).is_err() {
        return Err(wrong());
    }
    match host {
        "" | "*" => Err(wrong().hint(format!("for all addresses write [::]:{port} (IPv6 and IPv4) or 0.0.0.0:{port}"))),
        "localhost" => Err(wrong().hint(format!("write 127.0.0.1:{port} or [::1]:{port}"))),
        host if host.contains(':') && !host.starts_with('[') => {
            Err(wrong().hint(format!("an IPv6 address stands in brackets: [{host}]:{port}")))
        }
        _ => Err(wrong().hint("a listener needs an IP address of this machine, not a name")),
    }
}

/// A member's address, and what its scheme says about TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct MemberText {
    pub(in crate::config) address: MemberAddress,
    /// `Some(true)` for `https://`, `Some(false)` for `http://`.
    pub(in crate::config) tls: Option<bool>,
    /// The address without its scheme.
    pub(in crate::config) name: String,
}

/// Where a member is: `10.0.0.1:8080`, `host.name:8080`, `[::1]:80`, `unix:/run/x.sock`, after `http://` or
/// `https://` if wanted. The scheme brings no port.
pub(in crate::config) fn member(text: &str) -> Result<MemberText, Wrong> {
    if text.contains('@') && !text.starts_with("unix:") {
        // Not quoted: it may hold a password.
        return Err(Wrong::new("the address of a member has no user name or password")
            .expected("host:port, and a header rule for Authorization"));
    }
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(false), rest),
        Some(("https", rest)) => (Some(true), rest),
        Some((scheme, _)) => {
            return Err(
                Wrong::new(format!("a member cannot be reached by {}", quote(scheme))).expected("http or https")
            );
        }
        None => (None, text),
    };
    let name = rest.strip_suffix('/').unwrap_or(rest);
    let address = member_address(name, tls)?;
    let name = name.to_owned();
    Ok(MemberText { address, tls, name })
}

fn member_address(text: &str, tls: Option<bool>) -> Result<MemberAddress, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(MemberAddress::Unix);
    }
    let wrong = || {
        Wrong::not(text, "the address of a member")
            .expected("one such as 10.0.0.1:8080, host.name:8080 or unix:/run/x.sock")
    };
    if let Some((address, rest)) = text.split_once(' ') {
        return Err(wrong().hint(with_options(address, rest)));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(wrong().hint("a port is 1 to 65535"))
        } else {
            Ok(MemberAddress::Socket(address))
        };
    }
    if text.contains('/') {
        return Err(wrong().hint("a member has no path; a route's `rewrite` changes paths"));
    }
    let bare_v6 = text.parse::<Ipv6Addr>().is_ok();
    if bare_v6 {
        return Err(wrong().hint(format!("an IPv6 address stands in brackets: [{text}]:8080")));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        let port = if tls == Some(true) { 443 } else { 8080 };
        let wrong = Wrong::new(format!("the member {} has no port", quote(text)));
        return Err(if text.is_empty() {
            self::empty()
        } else {
            wrong.hint(format!("write it with one: {text}:{port}"))
        });
    };
    let port = number::<u16>(port).ok().filter(|port| *port > 0).ok_or_else(|| wrong().hint("a port is 1 to 65535"))?;
    let host = name(host).map_err(|reason| wrong().hint(reason))?;
    Ok(MemberAddress::Host { host: host.into(), port })
}

/// How a member is written that has more than an address: `10.0.0.1:80 weight=2 backup` of nginx.
fn with_options(address: &str, options: &str) -> String {
    let option = |word: &str| match word.split_once('=') {
        Some(("weight", weight)) if number::<u32>(weight).is_ok() => Some(format!("weight: {weight}")),
        None if word == "backup" => Some("backup: true".to_owned()),
        _ => None,
    };
    let mut known: Vec<String> = options.split_whitespace().filter_map(option).collect();
    if known.is_empty() {
        known.push("weight: 2".to_owned());
    }
    format!("a weight, and `backup`, stand beside the address in a map: {{ address: {address}, {} }}", known.join(", "))
}

fn empty() -> Wrong {
    Wrong::new("the address is empty").expected("one such as 10.0.0.1:8080")
}

fn unix(path: &str) -> Result<PathBuf, Wrong> {
    let wrong = || Wrong::not(path, "the path of a unix socket");
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(wrong().expected("an absolute path such as unix:/run/sluicegate/x.sock"));
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(wrong().expected(format!("at most {MAX_UNIX_PATH} bytes")));
    }
    Ok(PathBuf::from(path))
}

/// A host name or IPv4 address in lower case. The error is a hint.
pub(in crate::config) fn name(text: &str) -> Result<String, String> {
    if !text.is_ascii() {
        return Err("a name outside of ASCII is written in its xn-- form".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if lower.ends_with('.') {
        return Err("leave out the dot at the end".to_owned());
    }
    if lower.len() > MAX_HOST || !lower.split('.').all(label) {
        return Err("a host name is letters, digits and hyphens, in parts set apart by dots".to_owned());
    }
    // All digits and dots but no address: `10.0.1` or `256.0.0.1` is never a name.
    if lower.split('.').next_back().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
        && lower.parse::<std::net::Ipv4Addr>().is_err()
    {
        return Err("this looks like an IPv4 address but is none".to_owned());
    }
    Ok(lower)
}

/// A host to match: `example.com` or `*.example.com`.
pub(in crate::config) fn host_pattern(text: &str) -> Result<HostPattern, Wrong> {
    let wrong =
        || Wrong::not(text, "a host to match").expected("a name such as example.com, or *.example.com for all below");
    if text == "*" {
        return Err(wrong().hint("leave `host` out to take every host"));
    }
    if let Some(v6) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().map(|ip| HostPattern::Exact(format!("[{ip}]"))).map_err(|_| wrong());
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && number::<u16>(port).is_ok()
    {
        return Err(wrong().hint(format!("a host is matched without its port: {host}")));
    }
    match text.strip_prefix("*.") {
        Some(parent) => name(parent).map(HostPattern::Wildcard),
        None => name(text).map(HostPattern::Exact),
    }
    .map_err(|reason| {
        wrong().hint(if text.contains('*') {
            "`*` stands only at the front, for whole parts".to_owned()
        } else {
            reason
        })
    })
}

/// A path to match: `/models` is exact, `/api/` takes everything below.
pub(in crate::config) fn path_pattern(text: &str) -> Result<PathPattern, Wrong> {
    let wrong = || Wrong::not(text, "a path to match").expected("`/exact` or `/prefix/`");
    if REGULAR.iter().any(|part| text.contains(part)) || text.starts_with(['~', '^']) {
        return Err(wrong().hint("there are no regular expressions; a path that ends in `/` takes everything below it"));
    }
    if let Some(exact) = text.strip_prefix("= ") {
        return Err(wrong().hint(format!("a path is exact unless it ends in `/`: {}", exact.trim_start())));
    }
    if text.ends_with('*') {
        return Err(
            wrong().hint(format!("a path that ends in `/` takes everything below: {}", text.trim_end_matches('*')))
        );
    }
    let text = path(text).map_err(|reason| wrong().hint(reason))?;
    Ok(if text.ends_with('/') { PathPattern::Prefix(text) } else { PathPattern::Exact(text) })
}

/// A path without a query that needs no normalizing. The error is a hint.
pub(in crate::config) fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("a path begins with `/`: /{text}"));
    }
    if text.contains(['?', '#']) {
        return Err("leave out the query and the fragment".to_owned());
    }
    if text.bytes().any(|b| b.is_ascii_control() || b == b' ' || !b.is_ascii()) {
        return Err("spaces and characters outside of ASCII are percent-encoded in a path".to_owned());
    }
    if text.contains("//") || text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("leave out `//`, `/./` and `/../`".to_owned());
    }
    Ok(text.to_owned())
}
