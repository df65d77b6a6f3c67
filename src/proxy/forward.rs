//! The request as the member gets it, and the answer as the client gets it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};

use super::context::RequestContext;
use super::cors;
use super::headers::{
    EditHeaders, apply_rules, content_length, is_hop_by_hop, nominated, reads_as, set_security_headers,
    strip_hop_by_hop,
};
use super::masking::Masking;
use super::rejection::Rejection;
use crate::transport::http1::{Head, Request, RequestHead, Sends};
use crate::transport::session::Session;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");
const UNFORWARDABLE: Rejection = Rejection::BadRequest("the path cannot be forwarded");

impl EditHeaders for RequestHeader {
    fn map(&self) -> &HeaderMap {
        &self.headers
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    // A header name and value that exist are always taken: the error is for text that is neither.
    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        let _ = self.insert_header(name, value);
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) {
        let _ = self.append_header(name, value);
    }
}

impl EditHeaders for ResponseHeader {
    fn map(&self) -> &HeaderMap {
        &self.headers
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        let _ = self.insert_header(name, value);
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) {
        let _ = self.append_header(name, value);
    }
}

/// The fields of the request for an HTTP/1 member.
///
/// # Errors
/// When Connection names fields that are not its to name.
pub fn fields_for_upstream(session: &Session<'_>, ctx: &RequestContext) -> Result<HeaderMap, Rejection> {
    let asked = session.req_header();
    let mut headers = asked.headers.clone();
    strip_request(&mut headers)?;
    headers.remove(header::EXPECT); // Answered by us.
    join_cookies(&mut headers);
    single_length(&mut headers);
    if let Some(masking) = &ctx.masking {
        masking.change_request(&mut headers);
    }
    if !headers.contains_key(header::HOST) {
        let authority = asked.uri.authority().map_or("", |authority| authority.as_str());
        let authority = HeaderValue::from_str(authority).map_err(|_| Rejection::BadRequest("the host is no text"))?;
        headers.insert(header::HOST, authority);
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // It says how the body ends, whatever the other says (RFC 9112, section 6.3).
        headers.remove(header::CONTENT_LENGTH);
    } else if !headers.contains_key(header::CONTENT_LENGTH) && session.has_streamed_body() {
        headers.insert(header::TRANSFER_ENCODING, CHUNKED);
    } else if !headers.contains_key(header::CONTENT_LENGTH)
        && asked.version == Version::HTTP_2
        && matches!(asked.method, Method::POST | Method::PUT | Method::PATCH)
    {
        // HTTP/1 servers want to be told that there is no body (RFC 9110, section 8.6).
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    }
    complete_headers(&mut headers, ctx)?;
    Ok(headers)
}

/// The request for an HTTP/1 member, with these fields.
///
/// # Errors
/// When it has no target that can be forwarded.
pub fn request_for_upstream(
    session: &Session<'_>,
    ctx: &RequestContext,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Request, Rejection> {
    let asked = session.req_header().uri.path_and_query().map_or("/", |both| both.as_str());
    let target = ctx.changed_target.as_deref().unwrap_or(asked);
    let mut head = RequestHead::new(method, target).ok_or(UNFORWARDABLE)?;
    headers.iter().for_each(|(name, value)| head.field(name, value));
    let body = if headers.contains_key(header::TRANSFER_ENCODING) {
        Sends::Chunks
    } else {
        Sends::Length(content_length(headers).unwrap_or(0))
    };
    Ok(Request { head: head.end(), body, is_head: *method == Method::HEAD })
}

/// Several equal lengths, which are taken, become one (RFC 9110, section 8.6).
fn single_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return };
    if lengths.next().is_none() && !first.as_bytes().contains(&b',') {
        return;
    }
    let one = first.as_bytes().split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
    if let Ok(one) = HeaderValue::from_bytes(one) {
        headers.insert(header::CONTENT_LENGTH, one);
    }
}

/// HTTP/2 may split a cookie into several fields; HTTP/1 knows one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let fields: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&fields.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Whether the request brings a body, an announced one or one of unknown length.
pub fn has_body(session: &Session<'_>) -> bool {
    let length = session.req_header().headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length.as_bytes() != b"0") || session.has_streamed_body()
}

/// What every request towards a member gets, upgraded and HTTP/2 ones included.
///
/// # Errors
/// When the target to forward is none.
pub fn complete_request(request: &mut RequestHeader, ctx: &RequestContext) -> Result<(), Rejection> {
    set_target(request, ctx)?;
    complete_headers(request, ctx)
}

fn set_target(request: &mut RequestHeader, ctx: &RequestContext) -> Result<(), Rejection> {
    let Some(target) = &ctx.changed_target else { return Ok(()) };
    if request.version == Version::HTTP_2 && request.uri.authority().is_some() {
        // The host stands there, too.
        let mut uri = request.uri.clone().into_parts();
        uri.path_and_query = Some(target.parse().map_err(|_| UNFORWARDABLE)?);
        request.set_uri(Uri::from_parts(uri).map_err(|_| UNFORWARDABLE)?);
        return Ok(());
    }
    request.set_raw_path(target.as_bytes()).map_err(|_| UNFORWARDABLE)
}

/// What is not for the member, what is told of the client, the ids, and the route's rules last: they may set what was
/// taken away.
pub(super) fn complete_headers(headers: &mut impl EditHeaders, ctx: &RequestContext) -> Result<(), Rejection> {
    if let Some(auth) = &ctx.snapshot.auth {
        auth.names(ctx.hidden).for_each(|name| headers.remove(name));
        let is_hidden = |name: &&HeaderName| {
            let name = name.as_str();
            name.contains('_') && auth.names(ctx.hidden).any(|hidden| reads_as(name, hidden.as_str()))
        };
        let disguised: Vec<HeaderName> = headers.map().keys().filter(is_hidden).cloned().collect();
        disguised.iter().for_each(|name| headers.remove(name));
    }
    if let Some(forwarding) = ctx.forwarding.clone() {
        forwarding.apply(headers);
    }
    let id = HeaderValue::from_str(ctx.request_id.as_str()).map_err(|_| Rejection::Internal)?;
    headers.set(X_REQUEST_ID, id);
    if !ctx.trace.inherited() && headers.map().contains_key(TRACESTATE) {
        // It belongs to a trace that was not valid.
        headers.remove(&TRACESTATE);
    }
    let traceparent = ctx.trace.traceparent();
    let traceparent = HeaderValue::from_str(traceparent.as_str()).map_err(|_| Rejection::Internal)?;
    headers.set(TRACEPARENT, traceparent);
    if let Some(route) = &ctx.route {
        apply_rules(headers, &route.config.request_headers);
    }
    Ok(())
}

/// Whether a field may not pass a proxy on a request (RFC 9110, section 7.6.1). `nominated`: the fields that Connection names.
pub(super) fn is_stripped(name: &HeaderName, nominated: &[HeaderName]) -> bool {
    is_hop_by_hop(name) || matches!(*name, header::PROXY_AUTHORIZATION | header::TRAILER) || nominated.contains(name)
}

fn strip_request(headers: &mut HeaderMap) -> Result<(), Rejection> {
    let nominated = nominated_by_client(headers)?;
    // What is there is looked at: far less than what might be.
    let found = headers.keys().filter(|name| is_stripped(name, &nominated));
    for name in found.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    Ok(())
}

/// The fields that a client takes away by its Connection.
///
/// # Errors
/// When it names what is not its to name.
pub(super) fn nominated_by_client(headers: &HeaderMap) -> Result<Vec<HeaderName>, Rejection> {
    let options = |name: &HeaderName| matches!(name.as_str(), "close" | "keep-alive");
    let nominated: Vec<HeaderName> = nominated(headers).filter(|name| !options(name)).collect();
    // What a request is routed, framed or identified by cannot be taken away from it in passing.
    let is_protected = |name: &HeaderName| {
        matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "authorization" | "cookie")
            || name.as_str().starts_with("x-forwarded-")
    };
    if nominated.iter().any(is_protected) {
        return Err(Rejection::BadRequest("the Connection header names a field it may not"));
    }
    Ok(nominated)
}

/// The answer for the client: `head`, without what may not pass, with what the configuration adds.
pub fn response_for_client(session: &Session<'_>, ctx: &RequestContext, head: Head) -> Box<ResponseHeader> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    (parts.status, parts.version, parts.headers) = (head.status, head.version, head.headers);
    if let Some(masking) = &ctx.masking
        && masking.changes(&parts.headers, parts.status)
    {
        Masking::change_answer(&mut parts.headers, parts.status);
    }
    complete_response(session, ctx, parts, head.reason.as_deref())
}

/// An answer that only informs, for the client.
pub fn information(status: StatusCode, headers: HeaderMap, reason: Option<&str>) -> Box<ResponseHeader> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    (parts.status, parts.headers) = (status, headers);
    strip_hop_by_hop(&mut parts.headers, parts.status);
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        parts.headers.remove(name); // It has no body to tell of (RFC 9110, section 8.6; RFC 9112, section 6.1).
    }
    response_with(parts, reason)
}

/// The same of an answer in plain parts. `reason`: its phrase, when it is not the usual one.
pub fn complete_response(
    session: &Session<'_>,
    ctx: &RequestContext,
    mut parts: http::response::Parts,
    reason: Option<&str>,
) -> Box<ResponseHeader> {
    finish_response(&mut parts.headers, parts.status, ctx);
    frame(&mut parts, &ctx.method, session.req_header().version);
    response_with(parts, reason)
}

fn response_with(parts: http::response::Parts, reason: Option<&str>) -> Box<ResponseHeader> {
    let mut response = Box::new(ResponseHeader::from(parts));
    if reason.is_some() {
        // It was read from a status line, so it fits one.
        let _ = response.set_reason_phrase(reason);
    }
    response
}

/// What every answer gets, of a member or our own.
pub fn finish_response(headers: &mut impl EditHeaders, status: StatusCode, ctx: &RequestContext) {
    strip_hop_by_hop(headers, status);
    if let Ok(id) = HeaderValue::from_str(ctx.request_id.as_str()) {
        headers.set(X_REQUEST_ID, id);
    }
    if ctx.route.as_ref().is_some_and(|route| route.config.cors.is_some()) {
        for name in &cors::RESPONSE_FIELDS {
            headers.remove(name);
        }
    }
    for (name, value) in &ctx.fields {
        if *name == header::VARY {
            add_vary(headers, value);
        } else {
            headers.set(name.clone(), value.clone());
        }
    }
    if ctx.snapshot.config.server.security_headers {
        let tls = ctx.connection.as_ref().is_some_and(|connection| connection.tls);
        set_security_headers(headers, tls);
    }
    if let Some(route) = &ctx.route {
        apply_rules(headers, &route.config.response_headers);
    }
}

/// Adds a name to Vary, unless it stands there.
fn add_vary(headers: &mut impl EditHeaders, name: &HeaderValue) {
    let mut there = headers.map().get_all(header::VARY).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    if !there.any(|item| item.trim_ascii().eq_ignore_ascii_case(name.as_bytes())) {
        headers.append(header::VARY, name.clone());
    }
}

/// Says how the body is delimited, in the client's version of HTTP.
fn frame(response: &mut http::response::Parts, method: &Method, client: Version) {
    let bodiless = *method == Method::HEAD
        || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || response.status.is_informational();
    single_length(&mut response.headers);
    if response.status == StatusCode::NO_CONTENT {
        // No body, and no word of one (RFC 9110, section 8.6; RFC 9112, section 6.1).
        response.headers.remove(header::CONTENT_LENGTH);
        response.headers.remove(header::TRANSFER_ENCODING);
    }
    let chunked = response.headers.contains_key(header::TRANSFER_ENCODING);
    if chunked {
        // It says how the body ends, whatever the other says (RFC 9112, section 6.3).
        response.headers.remove(header::CONTENT_LENGTH);
    }
    if client == Version::HTTP_11 {
        response.version = Version::HTTP_11;
        if !bodiless && !chunked && !response.headers.contains_key(header::CONTENT_LENGTH) {
            response.headers.insert(header::TRANSFER_ENCODING, CHUNKED);
        }
    } else if chunked {
        // HTTP/2 frames by itself, and HTTP/1.0 ends a body with the connection.
        response.headers.remove(header::TRANSFER_ENCODING);
    }
}
