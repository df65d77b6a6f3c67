//! Access: who may see and change things over the admin listener (T05, T17).
//!
//! With `admin.token` set, the control API and the stats page need it: as a bearer token, or as the password of HTTP
//! Basic, which is all a browser can send. Two more gates stand before a browser that is led astray by a page from
//! elsewhere: a change must come from the same origin (CSRF), and without a token the name by which this listener was
//! reached must not be one that anybody can point here (DNS rebinding).
//!
//! The configuration sees to it that a listener without a token is only on loopback or a unix socket.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::Peer;
use super::answer::Answer;
use super::endpoint::Endpoint;
use crate::config::Config;
use crate::config::audit::EventKind;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No token came with it.
    #[error("it needs the admin token")]
    NoToken,
    /// Another token than ours came with it.
    #[error("the token is wrong")]
    WrongToken,
    /// A page from elsewhere asks for a change.
    #[error("a page from another origin asks for it")]
    Origin,
    /// It was reached by a name that is not ours.
    #[error("the Host is neither an IP address nor localhost nor server.instance_id, and there is no token")]
    Host,
}

impl Refusal {
    /// The word in the audit log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_admin_token",
            Self::WrongToken => "wrong_admin_token",
            Self::Origin => "cross_origin",
            Self::Host => "wrong_host",
        }
    }

    /// What it is in the audit log. Of a token there was none or a wrong one; the rest is about where it came from.
    pub(super) const fn event(self) -> EventKind {
        match self {
            Self::NoToken | Self::WrongToken => EventKind::AuthenticationFailure,
            Self::Origin | Self::Host => EventKind::AccessDenied,
        }
    }

    /// What the client gets.
    pub(super) fn answer(self) -> Answer {
        match self {
            Self::NoToken | Self::WrongToken => {
                let how = "send `Authorization: Bearer TOKEN`, or the token as the password of HTTP Basic";
                Answer::error(StatusCode::UNAUTHORIZED, "unauthorized", format!("{self}; {how}"))
                    .with(WWW_AUTHENTICATE, r#"Bearer realm="sluicegate""#)
                    .with(WWW_AUTHENTICATE, r#"Basic realm="sluicegate", charset="UTF-8""#)
            }
            Self::Origin => Answer::error(StatusCode::FORBIDDEN, "cross_origin", self.to_string()),
            Self::Host => Answer::error(StatusCode::FORBIDDEN, "wrong_host", self.to_string()),
        }
    }
}

/// Whether the request with this `head` is let in to `endpoint`.
pub(super) fn check(endpoint: &Endpoint<'_>, head: &Parts, config: &Config, peer: Peer) -> Result<(), Refusal> {
    if endpoint.changes() && !is_same_origin(&head.headers) {
        return Err(Refusal::Origin);
    }
    let token = config.admin.as_ref().and_then(|admin| admin.token.as_ref());
    match token {
        Some(token) if endpoint.needs_token() => match sent(&head.headers) {
            None => Err(Refusal::NoToken),
            Some(sent) if token.matches(sent.as_bytes()) => Ok(()),
            Some(_) => Err(Refusal::WrongToken),
        },
        Some(_) => Ok(()),
        // No browser reaches a unix socket.
        None if matches!(peer, Peer::Unix(_)) || is_ours(&head.headers, &config.server.instance_id) => Ok(()),
        None => Err(Refusal::Host),
    }
}

/// The token in the Authorization header.
fn sent(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return (!rest.is_empty()).then(|| rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (_any_user, password) = decoded.split_once(':')?;
    Some(password.to_owned())
}

/// Whether a change was asked for by our own page, or by no page at all. Browsers say where a POST comes from; other
/// clients say nothing.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

/// Whether the Host is a name that nobody else can point here. Absent, no browser sent it.
fn is_ours(headers: &HeaderMap, name: &str) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    host.parse::<std::net::Ipv4Addr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || host.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests;
