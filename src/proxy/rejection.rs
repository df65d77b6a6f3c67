//! Rejection: an answer of our own when a request cannot be served.
//!
//! One place decides what the client gets: the status, a stable code word, a message that names nothing internal (no
//! address, pool or member), Retry-After, and the word the access log keeps. The body is JSON in the shape that
//! OpenAI clients read (F07c), or a small HTML page for those who prefer one.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use maud::{DOCTYPE, html};
use serde::Serialize;

use crate::observe::Termination;

pub mod accept;

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The request is not valid: it breaks a rule of HTTP or of ours; the reason is told to the client.
    BadRequest(&'static str),
    /// The client's address is not allowed on the route.
    Forbidden,
    /// It is a preflight from a page of an origin that may not call.
    OriginRefused,
    /// The route wants a caller, and the credentials are missing or no good. Which of these is not told.
    Unauthorized,
    /// The caller lacks a permission.
    PermissionDenied,
    /// A limit is used up; holds the seconds until it is worth to come again.
    RateLimited(u32),
    /// Too many requests of this caller are in flight.
    ConcurrencyLimited,
    /// A limit on tokens is used up; as above.
    TokensLimited(u32),
    /// A limit on money is used up; as above.
    BudgetExceeded(u32),
    /// The client takes nothing but a stored answer, and there is none (RFC 9111, section 5.2.1.7).
    NotCached,
    /// The route does not let connections be upgraded.
    UpgradeRefused,
    /// No route takes the request.
    NotFound,
    /// Routes take the path, but not with this method; holds the `Allow` header.
    MethodNotAllowed(HeaderValue),
    /// The client did not send its request in time.
    ClientTimeout,
    /// The body is larger than the route takes.
    PayloadTooLarge,
    /// The body is compressed or the like, and the route must read it.
    UnreadableBody,
    /// The request target is too long.
    UriTooLong,
    /// The header block is too large, or has too many fields.
    HeadersTooLarge,
    /// The fault is ours.
    Internal,
    /// No member could be connected to.
    UpstreamConnect,
    /// The member closed or reset the connection before it answered.
    UpstreamReset,
    /// What the member sent is not HTTP.
    UpstreamInvalid,
    /// The member's answer cannot be masked, and must not pass without.
    UnmaskableAnswer,
    /// No member of the pool is usable.
    NoMember,
    /// Every usable member has as many requests as it may.
    AllBusy,
    /// This process is shutting down.
    Draining,
    /// The connection to the member was not made in time.
    ConnectTimeout,
    /// The member did not answer in time.
    UpstreamTimeout,
}

/// An answer, ready to be sent. A HEAD request gets the headers alone, with the body's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The status.
    pub status: StatusCode,
    /// The body's type.
    pub content_type: HeaderValue,
    /// The body.
    pub body: Bytes,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// `Allow`; with 405 only (RFC 9110 section 15.5.6).
    pub allow: Option<HeaderValue>,
}

impl Rejection {
    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::RateLimited(_) | Self::ConcurrencyLimited | Self::TokensLimited(_) | Self::BudgetExceeded(_) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Forbidden | Self::OriginRefused | Self::PermissionDenied | Self::UpgradeRefused => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnreadableBody => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamConnect | Self::UpstreamReset | Self::UpstreamInvalid | Self::UnmaskableAnswer => {
                StatusCode::BAD_GATEWAY
            }
            Self::NoMember | Self::AllBusy | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectTimeout | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// How a request ends that is refused for a reason that lies in it: by a rule, or because it is not valid.
    pub const fn ending(&self) -> Termination {
        match self {
            Self::BadRequest(_) => Termination::ClientInvalid,
            _ => Termination::Rejected,
        }
    }

    /// A stable word for programs that read the answer.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Forbidden => "forbidden",
            Self::OriginRefused => "origin_refused",
            Self::Unauthorized => "unauthorized",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited(_) | Self::TokensLimited(_) => "RATE_LIMIT_EXCEEDED",
            Self::BudgetExceeded(_) => "BUDGET_EXCEEDED",
            Self::ConcurrencyLimited => "CONCURRENCY_LIMIT_EXCEEDED",
            Self::NotCached => "not_cached",
            Self::UpgradeRefused => "upgrade_refused",
            Self::NotFound => "no_route",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::ClientTimeout => "request_timeout",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnreadableBody => "unreadable_body",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Internal => "internal_error",
            Self::UpstreamConnect => "upstream_unreachable",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamInvalid => "upstream_invalid_response",
            Self::UnmaskableAnswer => "unmaskable_response",
            Self::NoMember => "no_member",
            Self::AllBusy => "overloaded",
            Self::Draining => "shutting_down",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// One sentence for the person who reads the answer.
    pub const fn message(&self) -> &'static str {
        match self {
            Self::BadRequest(reason) => reason,
            Self::Forbidden => "access to this resource is not allowed from your address",
            Self::OriginRefused => "pages of this origin may not call this",
            Self::Unauthorized => "valid credentials are needed here",
            Self::PermissionDenied => "these credentials do not allow this",
            Self::RateLimited(_) => "too many requests, please retry later",
            Self::ConcurrencyLimited => "too many requests at the same time, please retry",
            Self::TokensLimited(_) => {
                "this request may use more tokens (its prompt, and the most its answer may have) than are left: ask for less, or retry later"
            }
            Self::BudgetExceeded(_) => "this request may cost more than is left: ask for less, or retry later",
            Self::NotCached => "there is no stored answer",
            Self::UpgradeRefused => "this resource does not accept connection upgrades",
            Self::NotFound => "nothing is served at this address",
            Self::MethodNotAllowed(_) => "this method is not allowed here",
            Self::ClientTimeout => "the request did not arrive in time",
            Self::PayloadTooLarge => "the request body is too large",
            Self::UnreadableBody => "the request body has to be plain JSON in UTF-8 here, without compression",
            Self::UriTooLong => "the request target is too long",
            Self::HeadersTooLarge => "the request headers are too large",
            Self::Internal => "the gateway failed to handle the request",
            Self::UpstreamConnect => "the service could not be reached",
            Self::UpstreamReset => "the service closed the connection before it answered",
            Self::UpstreamInvalid => "the service sent an invalid answer",
            Self::UnmaskableAnswer => "the answer of the service may not be passed on",
            Self::NoMember => "the service is not available",
            Self::AllBusy => "the service is overloaded, please retry",
            Self::Draining => "the gateway is shutting down, please retry",
            Self::ConnectTimeout => "the service could not be reached in time",
            Self::UpstreamTimeout => "the service did not answer in time",
        }
    }

    /// The same, with the name of the limit whose budget is used up: `RateLimit-Policy` tells it as well.
    pub fn message_of(&self, limit: Option<&str>) -> Cow<'static, str> {
        match (self, limit) {
            (Self::TokensLimited(_) | Self::BudgetExceeded(_), Some(limit)) => {
                self.message().replacen("left", &format!("left of the limit `{limit}`"), 1).into()
            }
            _ => self.message().into(),
        }
    }

    /// After how many seconds it is worth to try again.
    pub const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::AllBusy | Self::Draining | Self::ConcurrencyLimited => Some(1),
            Self::RateLimited(seconds) | Self::TokensLimited(seconds) | Self::BudgetExceeded(seconds) => Some(*seconds),
            Self::NoMember => Some(5),
            _ => None,
        }
    }

    /// Why the request ended, as the access log and the metrics have it: who ended it, then how.
    pub const fn termination(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "client_bad_request",
            Self::ClientTimeout => "client_timeout",
            Self::PayloadTooLarge => "client_body_too_large",
            Self::UnreadableBody => "client_unreadable_body",
            Self::UriTooLong => "client_uri_too_long",
            Self::HeadersTooLarge => "client_headers_too_large",
            Self::Forbidden => "proxy_forbidden",
            Self::OriginRefused => "proxy_origin_refused",
            Self::Unauthorized => "proxy_unauthorized",
            Self::PermissionDenied => "proxy_permission_denied",
            Self::RateLimited(_) => "proxy_rate_limited",
            Self::ConcurrencyLimited => "proxy_concurrency_limited",
            Self::TokensLimited(_) => "proxy_tokens_limited",
            Self::BudgetExceeded(_) => "proxy_budget_exceeded",
            Self::NotCached => "proxy_not_cached",
            Self::UpgradeRefused => "proxy_upgrade_refused",
            Self::NotFound => "proxy_no_route",
            Self::MethodNotAllowed(_) => "proxy_method_not_allowed",
            Self::Internal => "proxy_error",
            Self::UnmaskableAnswer => "proxy_unmaskable_answer",
            Self::NoMember => "proxy_no_member",
            Self::AllBusy => "proxy_all_busy",
            Self::Draining => "proxy_draining",
            Self::UpstreamConnect => "upstream_connect_failed",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// The answer: HTML when `accept` prefers it over JSON, else JSON.
    pub fn render(&self, accept: Option<&HeaderValue>, request_id: &str) -> Rendered {
        let html = accept.is_some_and(accept::prefers_html);
        let content_type = if html { "text/html; charset=utf-8" } else { "application/json" };
        Rendered {
            status: self.status(),
            content_type: HeaderValue::from_static(content_type),
            body: if html { self.html(request_id) } else { self.json(request_id) },
            retry_after: self.retry_after(),
            allow: match self {
                Self::MethodNotAllowed(allow) => Some(allow.clone()),
                _ => None,
            },
        }
    }

    fn json(&self, request_id: &str) -> Bytes {
        let details = match self {
            Self::RateLimited(_) | Self::ConcurrencyLimited | Self::TokensLimited(_) | Self::BudgetExceeded(_) => {
                self.retry_after().map(|retry_after| Details { retry_after })
            }
            _ => None,
        };
        let error = ErrorBody { message: self.message(), kind: self.kind(), code: self.code(), details, request_id };
        serde_json::to_vec(&Body { error }).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }

    fn html(&self, request_id: &str) -> Bytes {
        let status = self.status();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { (status) } }
                body {
                    h1 { (status) }
                    p { "Error " code { (self.code()) } ": " (self.message()) "." }
                    p { small { "Request " code { (request_id) } } }
                }
            }
        };
        Bytes::from(page.into_string())
    }

    /// The class of errors, as F07c names them.
    const fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Forbidden | Self::OriginRefused | Self::PermissionDenied => "permission_denied",
            Self::Unauthorized => "authentication_error",
            Self::RateLimited(_) | Self::ConcurrencyLimited | Self::TokensLimited(_) => "rate_limit_error",
            Self::BudgetExceeded(_) => "insufficient_quota",
            Self::NotCached => "not_cached",
            Self::Internal => "internal_error",
            Self::NoMember | Self::AllBusy | Self::Draining => "service_unavailable",
            Self::UpstreamConnect
            | Self::UpstreamReset
            | Self::UpstreamInvalid
            | Self::UnmaskableAnswer
            | Self::ConnectTimeout
            | Self::UpstreamTimeout => "upstream_error",
            Self::BadRequest(_)
            | Self::UpgradeRefused
            | Self::MethodNotAllowed(_)
            | Self::ClientTimeout
            | Self::PayloadTooLarge
            | Self::UnreadableBody
            | Self::UriTooLong
            | Self::HeadersTooLarge => "invalid_request",
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    request_id: &'a str,
}

/// What a limit tells a program (B24).
#[derive(Serialize)]
struct Details {
    /// Seconds, as in Retry-After.
    retry_after: u32,
}

#[cfg(test)]
mod tests;
