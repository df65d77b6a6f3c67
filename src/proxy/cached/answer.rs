//! Answers of the cache: from what is stored, or from a fetch while it runs.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

use super::note;
use crate::cache::fill::{Coming, Informed, Reader};
use crate::cache::range::{self, Part};
use crate::cache::{Store, Stored, conditional};
use crate::clock;
use crate::observe::CacheStatus;
use crate::proxy::context::RequestContext;
use crate::proxy::exchange::{self, Unserved, cut_by_client, hold};
use crate::proxy::forward::{complete_response, information};
use crate::transport::session::Session;

/// Sends a stored answer, or what the request asks of it.
pub(super) async fn stored(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    store: &Store,
    stored: &Stored,
    status: CacheStatus,
) -> Result<(), Unserved> {
    note(ctx, store, status);
    let age = stored.age(clock::now()).as_secs();
    let (mut parts, body) = shaped(&session.req_header().headers, &ctx.method, stored);
    parts.headers.insert(header::AGE, HeaderValue::from(age));
    // There are none any more.
    parts.headers.remove(header::TRAILER);
    let header = complete_response(session, ctx, parts, stored.head.reason.as_deref());
    let body = if ctx.method == Method::HEAD { Bytes::new() } else { body };
    session.write_response_header(header).await.map_err(|error| cut_by_client(&error))?;
    session.write_response_body(body, true).await.map_err(|error| cut_by_client(&error))
}

/// The header block and the body for a request with these fields: 304, 206, 416 or the whole.
fn shaped(request: &HeaderMap, method: &Method, stored: &Stored) -> (http::response::Parts, Bytes) {
    let head = &stored.head;
    let (mut parts, ()) = http::Response::new(()).into_parts();
    if conditional::is_not_modified(request, head.status, &head.headers, head.received_wall) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers = conditional::not_modified_fields(&head.headers);
        return (parts, Bytes::new());
    }
    parts.status = head.status;
    parts.headers = head.headers.clone();
    let length = stored.body.len() as u64;
    let part = match asks_for_part(request, method, head.status, &head.headers) {
        true => range::part(request, length),
        false => Part::Whole,
    };
    match part {
        Part::Whole => {
            if head.status != StatusCode::NO_CONTENT {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            (parts, stored.body.clone())
        }
        Part::Bytes { first, last } => {
            let range = format!("bytes {first}-{last}/{length}");
            parts.status = StatusCode::PARTIAL_CONTENT;
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(last - first + 1));
            set_range(&mut parts.headers, &range);
            // Both lie inside the body, whose length is an usize.
            let (first, last) = (usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(0));
            (parts, stored.body.slice(first..=last))
        }
        Part::Unsatisfiable => {
            parts.status = StatusCode::RANGE_NOT_SATISFIABLE;
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_ENCODING);
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            set_range(&mut parts.headers, &format!("bytes */{length}"));
            (parts, Bytes::new())
        }
    }
}

fn asks_for_part(request: &HeaderMap, method: &Method, status: StatusCode, stored: &HeaderMap) -> bool {
    let holds = |if_range| conditional::if_range_holds(if_range, stored);
    method == Method::GET
        && status == StatusCode::OK
        && request.contains_key(header::RANGE)
        && request.get(header::IF_RANGE).is_none_or(holds)
}

fn set_range(headers: &mut HeaderMap, range: &str) {
    if let Ok(value) = HeaderValue::from_str(range) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

/// Passes an informational answer on, to those who can tell it from the answer.
pub(super) async fn informed(session: &mut Session<'_>, informed: &Informed) -> Result<(), Unserved> {
    if session.req_header().version < Version::HTTP_11 {
        return Ok(());
    }
    let header = information(informed.status, informed.headers.clone(), None);
    let written = session.write_response_header(header).await;
    written.map_err(|error| cut_by_client(&error))
}

/// Sends an answer while it is fetched.
pub(super) async fn coming(
    session: &mut Session<'_>,
    ctx: &mut RequestContext,
    store: &Store,
    coming: &Arc<Coming>,
    mut reader: Reader,
    status: CacheStatus,
) -> Result<(), Unserved> {
    note(ctx, store, status);
    let others;
    let head = match status {
        CacheStatus::Coalesced => {
            let mut head = coming.head.clone();
            head.take_out_personal(coming.freshness.as_ref().map_or(&[], |freshness| &freshness.unstored));
            others = head;
            &others
        }
        _ => &coming.head,
    };
    let (mut parts, ()) = http::Response::new(()).into_parts();
    let request = &session.req_header().headers;
    let unmodified = conditional::is_not_modified(request, head.status, &head.headers, head.received_wall);
    (parts.status, parts.headers) = if unmodified {
        (StatusCode::NOT_MODIFIED, conditional::not_modified_fields(&head.headers))
    } else {
        (head.status, head.headers.clone())
    };
    let bodiless = unmodified || ctx.method == Method::HEAD;
    let header = complete_response(session, ctx, parts, head.reason.as_deref().filter(|_| !unmodified));
    if session.req_header().version < Version::HTTP_11
        && !bodiless
        && !header.headers.contains_key(header::CONTENT_LENGTH)
    {
        session.end_connection(); // The end of the connection is the end of the body.
    }
    hold(ctx, true);
    let written = session.write_response_header(header).await;
    written.map_err(|error| cut_by_client(&error))?;
    if !bodiless {
        pass_on(session, ctx, &mut reader).await?;
    }
    hold(ctx, false);
    let ended = session.write_response_body(Bytes::new(), true).await;
    ended.map_err(|error| cut_by_client(&error))
}

/// Writes the body as it comes.
async fn pass_on(session: &mut Session<'_>, ctx: &RequestContext, reader: &mut Reader) -> Result<(), Unserved> {
    loop {
        let read = match reader.is_ready() {
            true => reader.chunk().now_or_never(),
            false => None,
        };
        let read = match read {
            Some(read) => read,
            None => {
                // Nothing more is at hand: what was held back goes out with the next look at the client's side.
                hold(ctx, false);
                let read = super::watched(session, reader.chunk()).await?;
                hold(ctx, true);
                read
            }
        };
        let Some(chunk) = read.map_err(Unserved::Cut)? else { return Ok(()) };
        let written = session.write_response_body(chunk, false).await;
        written.map_err(|error| exchange::cut_by_client(&error))?;
    }
}
