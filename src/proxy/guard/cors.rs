//! CORS: preflights are answered here, without a key; other answers get their fields.

use http::{HeaderValue, StatusCode};

use crate::proxy::admit::Admission;
use crate::proxy::context::RequestContext;
use crate::proxy::cors::{answer_fields, preflight, preflight_fields};
use crate::proxy::local::Answer;
use crate::proxy::rejection::Rejection;
use crate::snapshot::RouteState;
use crate::transport::session::Session;

/// Gives every answer to this request its fields, whoever makes it: a page may read a refusal as well.
pub fn mark(session: &Session<'_>, ctx: &mut RequestContext, route: &RouteState) {
    if let Some(cors) = &route.config.cors {
        ctx.fields.extend(answer_fields(cors, &session.req_header().headers));
    }
}

/// Answers a preflight; `None` lets any other request go on.
pub fn take(session: &Session<'_>, ctx: &mut RequestContext, route: &RouteState) -> Option<Admission> {
    let cors = route.config.cors.as_deref()?;
    let headers = &session.req_header().headers;
    preflight(&ctx.method, headers)?;
    let Some(fields) = preflight_fields(cors, headers) else {
        return Some(Admission::reject(Rejection::OriginRefused));
    };
    ctx.fields.extend(fields);
    Some(Admission::Answer(Answer {
        status: StatusCode::NO_CONTENT,
        content_type: HeaderValue::from_static("text/plain"),
        body: bytes::Bytes::new(),
        fields: Vec::new(),
    }))
}
