//! One request: count it, remember it, read its body, obey its orders, answer by its path.
//!
//! A plain GET on `/` takes a short way without allocation or lock.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use serde_json::{Value, json};

use super::ai::{self, Call, Door};
use super::answer::{self, Answer, MockBody, Payload};
use super::faults::{self, Ending, Fault, Orders};
use super::ledger::{Serves, Tokens};
use super::sse::{self, Cadence};
use super::state::{Flight, Record, Shared};
use super::wire::Conn;
use super::{control, websocket};
use crate::units;

/// How much of a request's body is remembered; the rest is read and counted.
const KEPT_BODY: usize = 1 << 20;
/// How much of it is read into memory at a door that has to understand it.
const AI_BODY: usize = 256 << 20;
const X_UPSTREAM: HeaderName = HeaderName::from_static("x-upstream");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A request whose body has arrived.
pub(super) struct Upload {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) body_len: u64,
}

impl Upload {
    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(super) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

/// Answers one request of a connection.
pub(super) async fn serve(
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    request: Request<Incoming>,
) -> Result<Response<MockBody>, Infallible> {
    if is_plain(&shared, &request) {
        shared.hits.fetch_add(1, Relaxed);
        return Ok(greet(shared, conn));
    }
    // Boxed: most requests are plain, and this future is large.
    Ok(Box::pin(exchange(shared, conn, request)).await)
}

fn is_plain(shared: &Shared, request: &Request<Incoming>) -> bool {
    request.method() == Method::GET
        && request.uri().path() == "/"
        && request.uri().query().is_none()
        && request.body().is_end_stream()
        && !shared.has_plan()
        && !shared.records()
        && !Orders::given(request.headers())
}

fn greet(shared: Arc<Shared>, conn: Arc<Conn>) -> Response<MockBody> {
    let upstream = shared.upstream.clone();
    let payload = Payload::Whole(shared.greeting.clone());
    let mut response = Response::new(MockBody::new(payload, false, Flight::new(shared, conn)));
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response.headers_mut().insert(X_UPSTREAM, upstream);
    response
}

async fn exchange(shared: Arc<Shared>, conn: Arc<Conn>, mut request: Request<Incoming>) -> Response<MockBody> {
    let path = request.uri().path();
    let is_control = path.starts_with("/mock/");
    let is_health = is_health_path(path);
    let door = if is_control { None } else { Door::at(path) };
    let mut record = None;
    if is_health {
        shared.health_checks.fetch_add(1, Relaxed);
    } else if !is_control {
        shared.hits.fetch_add(1, Relaxed);
        record = shared.records().then(|| shared.remember(&request));
    }
    let standing = if door.is_some() { shared.standing() } else { Orders::default() };
    let parsed = Orders::parse(standing, request.headers(), request.uri().query().unwrap_or_default());
    let upgrade = websocket::is_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let mut flight = Flight::new(shared.clone(), conn.clone());
    let room = if door.is_some() { AI_BODY } else { KEPT_BODY };
    let upload = read(request, &conn, record.as_deref(), room).await;
    let asked = door.map(|door| ask(&shared, door, &upload, &mut flight));
    let (mut orders, mut answer) = match parsed {
        Err(why) => (Orders::default(), Some(answer::text(StatusCode::BAD_REQUEST, why + "\n"))),
        Ok(orders) => (orders, is_control.then(|| control::answer(&shared, &upload))),
    };
    if !is_control {
        orders.fault = planned_fault(&shared, &upload, is_health, asked.as_ref()).or(orders.fault);
    }
    if !is_control && !is_health {
        orders.delay += shared.latency_of(upload.path()) + asked_delay(&upload);
    }
    if let (Some(upgrade), true) = (upgrade, upload.path().starts_with("/ws")) {
        answer = Some(websocket::handshake(&upload.headers));
        *conn.upgrade.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(upgrade);
    }
    let is_stream = asked.as_ref().is_some_and(|(call, _)| call.streams(&orders));
    if !is_stream {
        orders.delay += ai::delay_of_whole(orders.fault);
    }
    wait(&conn, &mut flight, &orders).await;
    let answer = answer.unwrap_or_else(|| match &asked {
        Some((call, serves)) => call.answer(&shared, &upload, &orders, &conn, serves.clone()),
        None => route(&shared, &upload, &orders),
    });
    finish(&shared, conn, &upload, &orders, is_stream, answer, flight)
}

/// Reads what was asked at a door, and opens its entry in the books.
fn ask(shared: &Shared, door: Door, upload: &Upload, flight: &mut Flight) -> (Call, Serves) {
    let call = Call::read(door, upload);
    if !call.is_counted() {
        return (call, Serves::default());
    }
    let id = upload.headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let entry = shared.books.open(&call.key, &call.model, id);
    let serves = entry.serves();
    flight.book(entry);
    (call, serves)
}

/// The fault that the plan has for a request.
fn planned_fault(shared: &Shared, upload: &Upload, is_health: bool, asked: Option<&(Call, Serves)>) -> Option<Fault> {
    if is_health {
        return shared.health_fault();
    }
    let (key, model) = asked.map_or(("", ""), |(call, _)| (&call.key, &call.model));
    shared.take_fault(upload.path(), key, model)
}

fn is_health_path(path: &str) -> bool {
    matches!(path, "/actuator/health" | "/health")
}

/// Reads the whole body, keeping as much as there is room for. Of a client that leaves in the middle the record has a short body; the
/// request ends here, for hyper lets it go on without one.
async fn read(request: Request<Incoming>, conn: &Conn, record: Option<&Record>, most: usize) -> Upload {
    let (parts, mut body) = request.into_parts();
    let mut kept = BytesMut::new();
    let mut body_len = 0;
    let mut left = false;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            left = true;
            break;
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let room = most - kept.len();
        kept.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        body_len += data.len() as u64;
        if let Some(record) = record {
            record.body_len.store(body_len, Relaxed);
        }
    }
    let body = kept.freeze();
    if let Some(record) = record {
        // A copy where it is shorter, so that the whole is not held on to.
        let beginning = body.get(..KEPT_BODY).map_or_else(|| body.clone(), Bytes::copy_from_slice);
        let _ = record.body.set(beginning);
    }
    if left {
        // Over HTTP/2 hyper drops the request by itself, and other streams go on.
        if parts.version < Version::HTTP_2 {
            conn.abandon();
        }
        return std::future::pending().await;
    }
    Upload { method: parts.method, uri: parts.uri, version: parts.version, headers: parts.headers, body, body_len }
}

/// `/slow?delay=5s`; a second when the query says nothing.
fn asked_delay(upload: &Upload) -> Duration {
    if upload.path() != "/slow" {
        return Duration::ZERO;
    }
    let asked = upload.query().split('&').find_map(|pair| pair.strip_prefix("delay="));
    asked.and_then(units::duration).unwrap_or(Duration::from_secs(1))
}

/// Waits as ordered, and does not return where the fault is to give no answer.
async fn wait(conn: &Conn, flight: &mut Flight, orders: &Orders) {
    let fault_delay = match orders.fault {
        Some(Fault::SlowHeaders(delay)) => delay,
        _ => Duration::ZERO,
    };
    let delay = orders.delay + fault_delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match orders.fault {
        Some(Fault::CloseBeforeHeaders) => conn.cut(false),
        Some(Fault::ResetBeforeHeaders) => conn.cut(true),
        Some(Fault::Stall) => return std::future::pending().await,
        _ => return,
    }
    flight.fails();
    flight.settle();
    std::future::pending().await
}

/// Applies the orders that shape an answer, and names this backend in it.
fn finish(
    shared: &Shared,
    conn: Arc<Conn>,
    upload: &Upload,
    orders: &Orders,
    is_stream: bool,
    mut answer: Answer,
    mut flight: Flight,
) -> Response<MockBody> {
    if let Some(tokens) = answer.extensions_mut().remove::<Tokens>() {
        flight.serve(tokens);
    }
    let ending = Ending::of(orders.fault, is_stream);
    if ending.is_some() || orders.fault == Some(Fault::BadHttp) || !answer.status().is_success() {
        flight.fails();
    }
    let mut answer = match ending {
        None => answer,
        Some(ending) => faults::break_midway(answer, conn.clone(), orders.chunked, ending),
    };
    if orders.fault == Some(Fault::BadHttp) {
        conn.write_garbage();
        answer.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer.headers_mut().insert(X_UPSTREAM, shared.upstream.clone());
    let cut_by_us = matches!(ending, Some(Ending::Close | Ending::Reset));
    if cut_by_us || !answer::may_have_body(&upload.method, answer.status()) {
        flight.settle();
    }
    answer.map(|payload| {
        let empty =
            matches!(&payload, Payload::Whole(bytes) if bytes.is_empty()) || matches!(payload, Payload::Filler(0));
        if empty {
            flight.settle();
        }
        MockBody::new(payload, orders.chunked, flight)
    })
}

fn route(shared: &Shared, upload: &Upload, orders: &Orders) -> Answer {
    if let Some(Fault::Status(code)) = orders.fault {
        return faults::status_answer(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    }
    if let Some(shape) = orders.error {
        return ai::failure(shape, orders.status);
    }
    if let Some(size) = orders.body_size {
        let status = orders.status.unwrap_or(StatusCode::OK);
        return answer::with_payload(status, "application/octet-stream", Payload::Filler(size));
    }
    if let Some(status) = orders.status {
        return faults::status_answer(status);
    }
    if upload.path() == "/api/models" && upload.method == Method::GET {
        return answer::json(StatusCode::OK, &ai::models_of_router());
    }
    match orders.sse {
        Some(cadence) => sse::timed(cadence),
        None => web(shared, upload),
    }
}

/// The paths that are not AI.
fn web(shared: &Shared, upload: &Upload) -> Answer {
    let path = upload.path();
    if let Some(size) = path.strip_prefix("/bytes/").and_then(units::size) {
        return answer::with_payload(StatusCode::OK, "application/octet-stream", Payload::Filler(size));
    }
    if let Some(Ok(status)) = path.strip_prefix("/status/").map(str::parse) {
        return faults::status_answer(status);
    }
    match path {
        _ if is_health_path(path) => health(shared.healthy.load(Relaxed)),
        "/actuator/info" => answer::json(StatusCode::OK, &json!({"app": {"name": "mock", "id": shared.id}})),
        "/actuator/prometheus" => answer::text(StatusCode::OK, prometheus(shared)),
        "/echo" => answer::json(StatusCode::OK, &echo(shared, upload)),
        "/headers" => response_headers(upload.query()),
        "/trailers" => trailers(),
        "/cached" => cacheable(shared),
        "/sse" | "/api/health-status/stream" => match Cadence::parse(upload.query().split('&')) {
            Some(cadence) => sse::timed(cadence),
            None => answer::text(StatusCode::BAD_REQUEST, "expected ?events=N&interval=100ms&size=N\n"),
        },
        _ => answer::text(StatusCode::OK, shared.greeting.clone()),
    }
}

/// What any cache may keep for an hour.
fn cacheable(shared: &Shared) -> Answer {
    let mut answer = answer::text(StatusCode::OK, shared.greeting.clone());
    answer.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    answer
}

/// F11.
fn health(up: bool) -> Answer {
    match up {
        true => answer::json(StatusCode::OK, &json!({"status": "UP"})),
        false => answer::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "DOWN"})),
    }
}

fn prometheus(shared: &Shared) -> String {
    let hits = shared.hits.load(Relaxed);
    format!("# TYPE http_server_requests_seconds_count counter\nhttp_server_requests_seconds_count {hits}\n")
}

fn echo(shared: &Shared, upload: &Upload) -> Value {
    json!({
        "upstream": shared.id,
        "method": upload.method.as_str(),
        "path": upload.path(),
        "query": upload.query(),
        "version": format!("{:?}", upload.version),
        "headers": headers_json(&upload.headers),
        "body": String::from_utf8_lossy(&upload.body),
        "body_len": upload.body_len,
    })
}

/// Headers as a JSON object; one that was sent several times becomes a list.
pub(super) fn headers_json(headers: &HeaderMap) -> Value {
    let one = |name: &HeaderName| {
        let mut values: Vec<Value> =
            headers.get_all(name).iter().map(|value| Value::from(String::from_utf8_lossy(value.as_bytes()))).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::from(values) };
        (name.as_str().to_owned(), value)
    };
    Value::Object(headers.keys().map(one).collect())
}

/// `/headers?x-foo=bar` answers with `x-foo: bar`; values are percent-decoded.
fn response_headers(query: &str) -> Answer {
    let mut answer = answer::text(StatusCode::OK, "headers as asked\n");
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(&percent_decoded(value))) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = if first == b'%' { tail.split_at_checked(2) } else { None };
        let decoded = escaped.and_then(|(hex, after)| {
            let hex = std::str::from_utf8(hex).ok()?;
            Some((u8::from_str_radix(hex, 16).ok()?, after))
        });
        let (byte, after) = decoded.unwrap_or((first, tail));
        out.push(byte);
        rest = after;
    }
    out
}

/// A chunked body with the trailer `x-checksum`. HTTP/1 sends it only to a client that said `TE: trailers`.
fn trailers() -> Answer {
    let mut last = HeaderMap::new();
    last.insert("x-checksum", HeaderValue::from_static("abc123"));
    let frames = [Ok(Frame::data(Bytes::from_static(b"body before trailers\n"))), Ok(Frame::trailers(last))];
    let payload = Payload::Stream(Box::pin(stream::iter(frames)));
    let mut answer = answer::with_payload(StatusCode::OK, "text/plain", payload);
    answer.headers_mut().insert(http::header::TRAILER, HeaderValue::from_static("x-checksum"));
    answer
}
