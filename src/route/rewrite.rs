//! What follows from a route's path: the path sent upstream, and the Location of redirects.
//!
//! Everything taken from the client is checked or escaped on its way into a header, so no Location holds a line break
//! (RFC 9110 section 5.5), and none leads to a host that the request did not name.

use http::HeaderValue;
use http::uri::Authority;

use super::path::{NormalPath, push_escape};
use crate::config::{Redirect, Rewrite};

/// Paths that are answered over plain HTTP even where everything else is redirected: health checks that do not
/// speak TLS, and the ACME challenge that a certificate is renewed by (T47).
const PLAIN_HTTP: [&str; 3] = ["/health", "/ready", "/.well-known/acme-challenge"];

/// The path and query to send upstream.
///
/// `path` is [`NormalPath::forward`]. With [`Rewrite::Prefix`] as many segments are replaced as `from` has; the rest
/// stays as the client wrote it. The path `/api`, which the prefix `/api/` takes too, becomes `to` without its
/// final slash.
pub fn rewrite_path(rewrite: &Rewrite, path: &str, query: Option<&str>) -> String {
    let mut out = String::with_capacity(path.len() + query.map_or(0, str::len) + 32);
    match rewrite {
        Rewrite::Path(to) => out.push_str(to),
        Rewrite::Prefix { from, to } => match below(from, path) {
            Some(rest) => {
                out.push_str(to);
                out.push_str(rest);
            }
            None => out.push_str(to.strip_suffix('/').unwrap_or(to)),
        },
    }
    if out.is_empty() {
        out.push('/');
    }
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    out
}

/// The Location of a route's redirect; `None` when the host is no authority, or what comes out is no header value.
///
/// `host` is the authority as received, `path` is [`NormalPath::forward`] (it has no leading `//`, so it
/// cannot name another host).
pub fn redirect_location(redirect: &Redirect, host: &str, path: &str, query: Option<&str>) -> Option<HeaderValue> {
    let mut out = String::with_capacity(redirect.location.len() + host.len() + path.len() + 16);
    let mut rest = redirect.location.as_str();
    while let Some(open) = rest.find('{') {
        let (text, placeholder) = rest.split_at(open);
        out.push_str(text);
        if let Some(tail) = placeholder.strip_prefix("{host}") {
            out.push_str(authority(host)?.as_str());
            rest = tail;
        } else if let Some(tail) = placeholder.strip_prefix("{path}") {
            push_escaped(&mut out, path);
            rest = tail;
        } else if let Some(tail) = placeholder.strip_prefix("{query}") {
            push_query(&mut out, query);
            rest = tail;
        } else {
            out.push('{');
            rest = placeholder.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    HeaderValue::try_from(out).ok()
}

/// The Location of the redirect to https (308); `None` when the path is exempt or the host is no authority.
///
/// `host` is the authority as received; its port gives way to `port`, which is left out when it is 443. Path and query
/// are kept as the client sent them (A1.08).
pub fn redirect_https(host: &str, path: &NormalPath<'_>, query: Option<&str>, port: u16) -> Option<HeaderValue> {
    if PLAIN_HTTP.iter().any(|exempt| is_at_or_below(path.matching(), exempt)) {
        return None;
    }
    let authority = authority(host)?;
    let mut out = String::with_capacity(16 + host.len() + path.forward().len() + query.map_or(0, str::len));
    out.push_str("https://");
    out.push_str(authority.host());
    if port != 443 {
        out.push(':');
        out.push_str(&port.to_string());
    }
    push_escaped(&mut out, path.forward());
    push_query(&mut out, query);
    HeaderValue::try_from(out).ok()
}

/// What of `path` lies below the prefix `from`; `None` when the path is the prefix without its final slash.
fn below<'a>(from: &str, path: &'a str) -> Option<&'a str> {
    let depth = from.split('/').filter(|segment| !segment.is_empty()).count();
    let mut rest = path.strip_prefix('/').unwrap_or(path);
    for _ in 0..depth {
        rest = rest.split_once('/')?.1;
    }
    Some(rest)
}

fn is_at_or_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A host with an optional port, without user information.
fn authority(host: &str) -> Option<Authority> {
    let authority: Authority = host.parse().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    (!authority.host().is_empty() && host.bytes().all(plain)).then_some(authority)
}

fn push_query(out: &mut String, query: Option<&str>) {
    if let Some(query) = query {
        out.push('?');
        push_escaped(out, query);
    }
}

/// Escapes what may not stand in a Location: all but visible ASCII, and what ends it in markup.
fn push_escaped(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_escape(out, byte);
        }
    }
}

#[cfg(test)]
mod tests;
