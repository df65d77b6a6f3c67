//! CORS by the Fetch standard: what a browser is told about the pages that may call (rows T30, E10).
//!
//! Plain values in and out. CORS keeps no request away from a member: it decides what a browser lets a page read, and
//! whether it sends what needs a preflight. Who may come in is decided by `auth`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::config::cors::{Cors, Origins};

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const ANY: HeaderValue = HeaderValue::from_static("*");
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// What a member may say by itself, and what counts only from here where a route has rules.
pub const RESPONSE_FIELDS: [HeaderName; 7] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    ALLOW_PRIVATE_NETWORK,
];

/// Fields of an answer.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// The method that a preflight asks for; `None` for any other request, a plain OPTIONS among them.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

/// The fields that every answer to a request with these headers gets.
pub fn answer_fields(cors: &Cors, request: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    // An answer to nobody's page depends on the origin too: a cache must not give it to a page.
    if cors.origins != Origins::Any {
        fields.push((header::VARY, ORIGIN));
    }
    let Some(allowed) = allowed_origin(cors, request) else { return fields };
    fields.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed));
    if cors.credentials {
        fields.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE));
    }
    if let Some(expose) = &cors.expose {
        fields.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone()));
    }
    fields
}

/// The fields that the answer to a preflight gets beside [`answer_fields`]; `None`: its origin is not among those that
/// may call. Whether method and headers suffice is for the browser to see: it is told what there is.
pub fn preflight_fields(cors: &Cors, request: &HeaderMap) -> Option<Fields> {
    allowed_origin(cors, request)?;
    let mut fields = vec![
        (header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone()),
        (header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone()),
    ];
    if let Some(headers) = &cors.headers {
        fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone()));
    }
    if cors.private_network && request.get(REQUEST_PRIVATE_NETWORK) == Some(&TRUE) {
        fields.push((ALLOW_PRIVATE_NETWORK, TRUE));
    }
    Some(fields)
}

/// `Access-Control-Allow-Origin` for the page that asks. More than one Origin is no browser's.
fn allowed_origin(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = request.get_all(header::ORIGIN).iter();
    let (origin, None) = (origins.next()?, origins.next()) else { return None };
    match &cors.origins {
        Origins::Any => Some(ANY),
        listed => listed.contain(origin.to_str().ok()?).then(|| origin.clone()),
    }
}

#[cfg(test)]
mod tests;
