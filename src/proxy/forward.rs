//! The request as the member gets it, and the answer as the client gets it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::context::RequestContext;
use super::headers::{EditHeaders, apply_rules, set_security_headers, strip_hop_by_hop};
use super::rejection::Rejection;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// Fields that may not pass a proxy on a request (RFC 9110, section 7.6.1), beside those that Connection names.
const REQUEST_HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

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

/// The request for an HTTP/1 member.
///
/// # Errors
/// When Connection names fields that are not its to name.
pub fn request_for_upstream(session: &Session, ctx: &RequestContext) -> Result<Box<RequestHeader>, Rejection> {
    let mut request = Box::new(session.req_header().clone());
    request.set_version(Version::HTTP_11);
    strip_request(&mut request)?;
    if request.headers.contains_key(header::EXPECT) {
        request.remove_header(&header::EXPECT); // Answered by us.
    }
    join_cookies(&mut request);
    if !request.headers.contains_key(header::HOST) {
        let authority = request.uri.authority().map(|authority| authority.as_str().to_owned());
        let _ = request.insert_header(header::HOST, authority.unwrap_or_default());
    }
    if !request.headers.contains_key(header::CONTENT_LENGTH) && has_streamed_body(session) {
        let _ = request.insert_header(header::TRANSFER_ENCODING, CHUNKED);
    }
    complete_request(&mut request, ctx)?;
    Ok(request)
}

/// HTTP/2 may split a cookie into several fields; HTTP/1 knows one (RFC 9113, section 8.2.3).
fn join_cookies(request: &mut RequestHeader) {
    let mut cookies = request.headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let fields: Vec<&[u8]> = request.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&fields.join(&b"; "[..])) {
        request.set(header::COOKIE, joined);
    }
}

/// An HTTP/2 body has no field that says it is there.
fn has_streamed_body(session: &Session) -> bool {
    let request = session.req_header();
    if request.version == Version::HTTP_2 {
        return !session.downstream_session.as_http2().is_some_and(|stream| stream.is_body_empty());
    }
    request.headers.contains_key(header::TRANSFER_ENCODING)
}

/// What every request towards a member gets: its target, what is told of the client, ids, and the route's rules last.
pub fn complete_request(request: &mut RequestHeader, ctx: &RequestContext) -> Result<(), Rejection> {
    if let Some(target) = &ctx.changed_target {
        let set = request.set_raw_path(target.as_bytes());
        set.map_err(|_| Rejection::BadRequest("the path cannot be forwarded"))?;
    }
    if let Some(forwarding) = ctx.forwarding.clone() {
        forwarding.apply(request);
    }
    let id = HeaderValue::from_str(ctx.request_id.as_str()).map_err(|_| Rejection::Internal)?;
    request.set(X_REQUEST_ID, id);
    if !ctx.trace.inherited() && request.headers.contains_key(TRACESTATE) {
        // It belongs to a trace that was not valid.
        request.remove_header(&TRACESTATE);
    }
    let traceparent = ctx.trace.traceparent();
    let traceparent = HeaderValue::from_str(traceparent.as_str()).map_err(|_| Rejection::Internal)?;
    request.set(TRACEPARENT, traceparent);
    if let Some(route) = &ctx.route {
        apply_rules(request, &route.config.request_headers);
    }
    Ok(())
}

fn strip_request(request: &mut RequestHeader) -> Result<(), Rejection> {
    let nominated: Vec<HeaderName> = request
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.eq_ignore_ascii_case(b"close") && !token.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect();
    for name in nominated {
        // What a request is routed, framed or identified by cannot be taken away from it in passing.
        let protected = name == header::HOST
            || name == header::CONTENT_LENGTH
            || name == header::TRANSFER_ENCODING
            || name == header::AUTHORIZATION
            || name == header::COOKIE
            || name.as_str().starts_with("x-forwarded-");
        if protected {
            return Err(Rejection::BadRequest("the Connection header names a field it may not"));
        }
        request.remove_header(&name);
    }
    for name in &REQUEST_HOP_BY_HOP {
        if request.headers.contains_key(name) {
            request.remove_header(name);
        }
    }
    Ok(())
}

/// The answer for the client: `upstream`'s, without what may not pass, with what the configuration adds.
pub fn response_for_client(session: &Session, ctx: &RequestContext, upstream: &ResponseHeader) -> Box<ResponseHeader> {
    let mut response = Box::new(upstream.clone());
    finish_response(&mut response, ctx);
    frame(&mut response, &ctx.method, session.req_header().version);
    response
}

/// What every answer gets, of a member or our own.
pub fn finish_response(response: &mut ResponseHeader, ctx: &RequestContext) {
    let status = response.status;
    strip_hop_by_hop(response, status);
    if let Ok(id) = HeaderValue::from_str(ctx.request_id.as_str()) {
        response.set(X_REQUEST_ID, id);
    }
    if ctx.snapshot.config.server.security_headers {
        let tls = ctx.connection.as_ref().is_some_and(|connection| connection.tls);
        set_security_headers(response, tls);
    }
    if let Some(route) = &ctx.route {
        apply_rules(response, &route.config.response_headers);
    }
}

/// Says how the body is delimited, in the client's version of HTTP.
fn frame(response: &mut ResponseHeader, method: &Method, client: Version) {
    let bodiless = *method == Method::HEAD
        || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || response.status.is_informational();
    let chunked = response.headers.contains_key(header::TRANSFER_ENCODING);
    if client == Version::HTTP_11 {
        response.set_version(Version::HTTP_11);
        if !bodiless && !chunked && !response.headers.contains_key(header::CONTENT_LENGTH) {
            response.set(header::TRANSFER_ENCODING, CHUNKED);
        }
    } else if chunked {
        // HTTP/2 frames by itself, and HTTP/1.0 ends a body with the connection.
        response.remove_header(&header::TRANSFER_ENCODING);
    }
}
