//! The mock keeps its promises; each test talks to it over a socket of its own.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ErrorKind};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::*;

mod anthropic;
mod azure;
mod faults;
mod flow;
mod gemini;
mod jairouter;
mod keys;
mod ledger;
mod openai;
mod responses;
mod vllm;

/// What came back on a connection, and how it ended.
#[derive(Debug)]
struct Heard {
    text: String,
    end: Result<(), ErrorKind>,
}

async fn connect(mock: &Mock) -> TcpStream {
    TcpStream::connect(mock.address()).await.unwrap()
}

/// Sends one request that closes its connection, and listens to the end.
async fn exchange(mock: &Mock, method: &str, target: &str, more: &str, body: &str) -> Heard {
    let mut tcp = connect(mock).await;
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n"
    );
    tcp.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    hear(&mut tcp).await
}

async fn get(mock: &Mock, target: &str) -> Heard {
    exchange(mock, "GET", target, "", "").await
}

/// Asks a door with JSON.
async fn post(mock: &Mock, path: &str, body: &Value) -> Heard {
    exchange(mock, "POST", path, "", &body.to_string()).await
}

async fn hear(tcp: &mut TcpStream) -> Heard {
    let mut bytes = Vec::new();
    let listening = tcp.read_to_end(&mut bytes);
    let end = tokio::time::timeout(Duration::from_secs(10), listening).await.expect("the connection ends");
    Heard { text: String::from_utf8_lossy(&bytes).into_owned(), end: end.map(drop).map_err(|error| error.kind()) }
}

impl Heard {
    fn status(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }

    fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.body()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value)
    }

    /// The JSON of each event but `[DONE]`.
    fn data(&self) -> Vec<Value> {
        let events = self.events().into_iter().filter(|event| *event != "[DONE]");
        events.map(|event| serde_json::from_str(event).unwrap_or_else(|_| panic!("not JSON: {event}"))).collect()
    }

    /// The names of the events.
    fn names(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
    }

    /// The text after `data: ` of each event, whatever chunks it came in.
    fn events(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }
}

/// Waits until something that follows from what was done has happened.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{what}, but it did not"));
}

/// Reads until `text` has come.
async fn read_until(tcp: &mut TcpStream, text: &str) -> String {
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains(text) {
        let mut buffer = [0; 4096];
        let reading = tokio::time::timeout(Duration::from_secs(10), tcp.read(&mut buffer)).await;
        let n = reading.unwrap_or_else(|_| panic!("{text:?} did not come")).unwrap();
        assert_ne!(n, 0, "the connection ended before {text:?}");
        heard.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn any_path_is_answered_and_names_the_backend() {
    let mock = Mock::builder("a").record(false).start().await;
    for path in ["/", "/no/such/path"] {
        let heard = get(&mock, path).await;
        assert_eq!((heard.status(), heard.body()), ("200", "hello from a\n"));
        assert!(heard.text.contains("x-upstream: a\r\n"));
    }
    assert_eq!((mock.hits(), mock.health_checks()), (2, 0));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let mock = Mock::builder("a").start().await;
    let mut tcp = connect(&mock).await;
    for _ in 0..3 {
        tcp.write_all(b"GET / HTTP/1.1\r\nhost: mock\r\n\r\n").await.unwrap();
        read_until(&mut tcp, "hello from a\n").await;
    }
    assert_eq!((mock.hits(), mock.accepted(), mock.connections()), (3, 1, 1));
    drop(tcp);
    eventually("the closed connection leaves the count", || mock.connections() == 0).await;
    assert_eq!(mock.cancelled(), 0);
}

#[tokio::test]
async fn health_flips_and_is_counted_apart() {
    let mock = Mock::builder("a").start().await;
    assert_eq!(get(&mock, "/actuator/health").await.json()["status"], "UP");
    mock.set_healthy(false);
    let down = get(&mock, "/health").await;
    assert_eq!((down.status(), down.json()["status"].as_str()), ("503", Some("DOWN")));
    assert_eq!((mock.hits(), mock.health_checks()), (0, 2));
}

#[tokio::test]
async fn requests_are_remembered_with_headers_and_body() {
    let mock = Mock::builder("a").start().await;
    exchange(&mock, "POST", "/echo?q=1", "x-request-id: 7\r\n", "four").await;
    let seen = mock.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].path_and_query.as_str()), ("POST", "/echo?q=1"));
    assert_eq!((seen[0].body_len, &seen[0].body[..]), (4, &b"four"[..]));
    assert_eq!(seen[0].headers["x-request-id"], "7");
    assert_eq!(seen[0].version, http::Version::HTTP_11);
}

#[tokio::test]
async fn memory_of_requests_is_bounded_and_can_be_off() {
    let mock = Mock::builder("a").start().await;
    let mut tcp = connect(&mock).await;
    for n in 0..1030 {
        tcp.write_all(format!("GET /{n} HTTP/1.1\r\nhost: mock\r\n\r\n").as_bytes()).await.unwrap();
        read_until(&mut tcp, "hello from a\n").await;
    }
    let seen = mock.requests();
    assert_eq!((seen.len(), seen[0].path_and_query.as_str()), (1024, "/6"));
    let forgetful = Mock::builder("b").record(false).start().await;
    get(&forgetful, "/echo").await;
    assert!(forgetful.requests().is_empty());
}

#[tokio::test]
async fn echo_tells_what_arrived() {
    let mock = Mock::builder("a").start().await;
    let echo = exchange(&mock, "PUT", "/echo?a=b", "x-a: 1\r\nx-b: 2\r\nx-b: 3\r\n", "hi").await.json();
    assert_eq!(
        (echo["method"].as_str(), echo["query"].as_str(), echo["body"].as_str()),
        (Some("PUT"), Some("a=b"), Some("hi"))
    );
    assert_eq!(echo["headers"]["x-a"], "1");
    assert_eq!(echo["headers"]["x-b"], serde_json::json!(["2", "3"]));
}

#[tokio::test]
async fn status_fault_answers_so_many_requests_and_spares_health_checks() {
    let mock = Mock::builder("a").start().await;
    mock.fail_next(2, Fault::Status(429));
    assert_eq!(get(&mock, "/health").await.status(), "200");
    let limited = get(&mock, "/").await;
    assert_eq!(limited.status(), "429");
    assert!(limited.text.contains("retry-after: 1\r\n"));
    assert_eq!(get(&mock, "/").await.status(), "429");
    assert_eq!(get(&mock, "/").await.status(), "200");
}

#[tokio::test]
async fn standing_fault_holds_until_taken_back() {
    let mock = Mock::builder("a").start().await;
    mock.set_fault(Some(Fault::Status(500)));
    for path in ["/", "/v1/models", "/health"] {
        assert_eq!(get(&mock, path).await.status(), "500");
    }
    mock.set_fault(None);
    assert_eq!(get(&mock, "/").await.status(), "200");
}

#[tokio::test]
async fn faults_before_headers_give_no_answer() {
    let mock = Mock::builder("a").start().await;
    mock.fail_next(1, Fault::CloseBeforeHeaders);
    let closed = exchange(&mock, "POST", "/", "", "body").await;
    assert_eq!((closed.text.as_str(), closed.end), ("", Ok(())));
    mock.fail_next(1, Fault::ResetBeforeHeaders);
    let reset = exchange(&mock, "POST", "/", "", "body").await;
    assert_eq!((reset.text.as_str(), reset.end), ("", Err(ErrorKind::ConnectionReset)));
    assert_eq!((mock.hits(), mock.cancelled()), (2, 0));
}

#[tokio::test]
async fn faults_in_the_body_send_half_of_what_was_promised() {
    let mock = Mock::builder("a").start().await;
    mock.fail_next(1, Fault::CloseMidBody);
    let closed = get(&mock, "/").await;
    assert!(closed.text.contains("content-length: 13\r\n"), "{closed:?}");
    assert_eq!((closed.body(), closed.end), ("hello ", Ok(())));
    mock.fail_next(1, Fault::ResetMidBody);
    let reset = get(&mock, "/").await;
    assert_eq!(reset.end, Err(ErrorKind::ConnectionReset));
    assert_eq!(mock.cancelled(), 0);
}

#[tokio::test]
async fn stream_that_closes_midway_has_no_last_chunk() {
    let mock = Mock::builder("a").start().await;
    let heard = get(&mock, "/sse?events=5&interval=0ms&x-mock-fault=close-mid").await;
    assert_eq!(heard.events().len(), 1, "{heard:?}");
    assert!(!heard.text.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn stalls_last_until_the_client_gives_up_and_count_as_cancelled() {
    let mock = Mock::builder("a").start().await;
    mock.fail_next(1, Fault::Stall);
    let mut silent = connect(&mock).await;
    silent.write_all(b"GET / HTTP/1.1\r\nhost: mock\r\n\r\n").await.unwrap();
    eventually("the request arrives", || mock.hits() == 1).await;
    let answer = tokio::time::timeout(Duration::from_millis(50), silent.read_u8()).await;
    assert!(answer.is_err(), "a stalled request was answered: {answer:?}");
    drop(silent);
    eventually("the stalled request is cancelled", || mock.cancelled() == 1).await;
    mock.fail_next(1, Fault::StallMidBody);
    let mut half = connect(&mock).await;
    half.write_all(b"GET / HTTP/1.1\r\nhost: mock\r\n\r\n").await.unwrap();
    read_until(&mut half, "\r\n\r\nhello ").await;
    assert_eq!(mock.cancelled(), 1);
    drop(half);
    eventually("the half answered request is cancelled", || mock.cancelled() == 2).await;
}

#[tokio::test]
async fn client_that_leaves_a_stream_cancels_it() {
    let mock = Mock::builder("a").start().await;
    let mut tcp = connect(&mock).await;
    tcp.write_all(b"GET /sse?events=1000&interval=5ms HTTP/1.1\r\nhost: mock\r\n\r\n").await.unwrap();
    read_until(&mut tcp, "id: 2\n").await;
    drop(tcp);
    eventually("the stream is cancelled", || mock.cancelled() == 1).await;
}

#[tokio::test]
async fn slow_headers_come_late_but_whole() {
    let mock = Mock::builder("a").start().await;
    let delay = Duration::from_millis(80);
    mock.fail_next(1, Fault::SlowHeaders(delay));
    for target in ["/", "/?x-mock-delay=80ms", "/slow?delay=80ms"] {
        let before = tokio::time::Instant::now();
        assert_eq!(get(&mock, target).await.body(), "hello from a\n");
        assert!(before.elapsed() >= delay, "{target} came after {:?}", before.elapsed());
    }
}

#[tokio::test]
async fn garbage_is_not_http() {
    let mock = Mock::builder("a").start().await;
    mock.fail_next(1, Fault::BadHttp);
    let heard = get(&mock, "/").await;
    assert!(!heard.text.is_empty());
    assert!(!heard.text.contains("HTTP/1"), "{heard:?}");
}

#[tokio::test]
async fn stop_resets_connections_refuses_new_ones_and_the_port_comes_back() {
    let mock = Mock::builder("a").start().await;
    let mut idle = connect(&mock).await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: mock\r\n\r\n").await.unwrap();
    read_until(&mut idle, "hello from a\n").await;
    mock.stop().await;
    assert_eq!(hear(&mut idle).await.end, Err(ErrorKind::ConnectionReset));
    assert_eq!(mock.connections(), 0);
    let refused = TcpStream::connect(mock.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Nobody else gets the port meanwhile.
    let taken = TcpSocket::new_v4().unwrap().bind(mock.address()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    mock.start_again().await.unwrap();
    assert_eq!(get(&mock, "/").await.status(), "200");
    assert_eq!(mock.cancelled(), 0);
}

#[tokio::test]
async fn headers_of_a_request_order_status_size_and_chunks() {
    let mock = Mock::builder("a").start().await;
    assert_eq!(exchange(&mock, "GET", "/", "x-mock-status: 418\r\n", "").await.status(), "418");
    let sized = exchange(&mock, "GET", "/", "x-mock-body-size: 100KiB\r\n", "").await;
    assert!(sized.text.contains("content-length: 102400\r\n"));
    assert_eq!(sized.body().len(), 102_400);
    let chunked = exchange(&mock, "GET", "/", "x-mock-chunked: 1\r\n", "").await;
    assert!(chunked.text.contains("transfer-encoding: chunked\r\n"), "{chunked:?}");
    let wrong = exchange(&mock, "GET", "/", "x-mock-fault: earthquake\r\n", "").await;
    assert_eq!(wrong.status(), "400");
    assert!(wrong.body().contains("earthquake"));
}

#[tokio::test]
async fn plain_paths_do_as_their_names_say() {
    let mock = Mock::builder("a").start().await;
    assert_eq!(get(&mock, "/bytes/70000").await.body().len(), 70_000);
    assert_eq!(get(&mock, "/status/204").await.status(), "204");
    assert!(get(&mock, "/headers?x-foo=b%20r&x-foo=2").await.text.contains("x-foo: b r\r\nx-foo: 2\r\n"));
    let trailers = exchange(&mock, "GET", "/trailers", "te: trailers\r\n", "").await;
    assert!(trailers.text.ends_with("0\r\nx-checksum: abc123\r\n\r\n"), "{trailers:?}");
    let head = exchange(&mock, "HEAD", "/bytes/70000", "", "").await;
    assert!(head.text.contains("content-length: 70000\r\n") && head.body().is_empty());
    assert_eq!(mock.cancelled(), 0);
}

#[tokio::test]
async fn sse_events_carry_their_index_and_time() {
    let mock = Mock::builder("a").start().await;
    let heard = get(&mock, "/sse?events=3&interval=1ms").await;
    let events: Vec<Value> = heard.events().iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["index"], 2);
    assert!(events[0]["sent_us"].as_i64() < events[2]["sent_us"].as_i64());
    assert_eq!(exchange(&mock, "GET", "/any", "x-mock-sse: events=4,interval=0ms\r\n", "").await.events().len(), 4);
}

#[tokio::test]
async fn control_paths_drive_the_mock_and_are_not_counted() {
    let mock = Mock::builder("a").start().await;
    let post = |path: &'static str, body: &'static str| exchange(&mock, "POST", path, "", body);
    post("/mock/health", r#"{"up":false}"#).await;
    assert_eq!(get(&mock, "/health").await.status(), "503");
    post("/mock/fault", r#"{"fault":"reset","count":1}"#).await;
    assert_eq!(get(&mock, "/").await.end, Err(ErrorKind::ConnectionReset));
    assert_eq!(get(&mock, "/").await.status(), "200");
    post("/mock/fault", r#"{"fault":502}"#).await;
    assert_eq!(get(&mock, "/").await.status(), "502");
    let stats = get(&mock, "/mock/stats").await.json();
    assert_eq!((stats["hits"].as_u64(), stats["health_checks"].as_u64()), (Some(3), Some(1)));
    assert_eq!(post("/mock/fault", r#"{"fault":"earthquake"}"#).await.status(), "400");
    post("/mock/reset", "").await;
    assert_eq!(get(&mock, "/health").await.status(), "200");
    assert_eq!((mock.hits(), mock.health_checks()), (0, 1));
}

#[tokio::test]
async fn latency_by_path_prefers_the_longest_prefix() {
    let mock = Mock::builder("a").start().await;
    exchange(&mock, "POST", "/mock/latency", "", r#"{"latency":"1h"}"#).await;
    exchange(&mock, "POST", "/mock/latency", "", r#"{"latency":"1h","path":"/v1/"}"#).await;
    exchange(&mock, "POST", "/mock/latency", "", r#"{"latency":"0ms","path":"/v1/models"}"#).await;
    assert_eq!(get(&mock, "/v1/models").await.status(), "200");
}

#[tokio::test]
async fn websocket_echoes_frames_unmasked() {
    let mock = Mock::builder("a").start().await;
    let mut tcp = connect(&mock).await;
    let key = base64::engine::general_purpose::STANDARD.encode([7; 16]);
    let ask = format!(
        "GET /ws HTTP/1.1\r\nhost: mock\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
    );
    tcp.write_all(ask.as_bytes()).await.unwrap();
    let head = read_until(&mut tcp, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for len in [5_usize, 300, 70_000] {
        let mut frame = vec![0x81];
        match len {
            0..126 => frame.push(0x80 | len as u8),
            126..65536 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        let header = frame.len();
        frame.extend([1, 2, 3, 4]);
        frame.extend((0..len).map(|at| b'm' ^ (at % 4 + 1) as u8));
        tcp.write_all(&frame).await.unwrap();
        let mut echo = vec![0; header + len];
        tcp.read_exact(&mut echo).await.unwrap();
        assert_eq!((echo[0], echo[1] & 0x80), (0x81, 0));
        assert!(echo[header..].iter().all(|byte| *byte == b'm'));
    }
    assert_eq!(mock.connections(), 1);
    mock.stop().await;
    assert_eq!(hear(&mut tcp).await.end, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn http2_without_tls_is_accepted_where_asked() {
    let mock = Mock::builder("a").h2c(true).start().await;
    assert_eq!(get(&mock, "/").await.status(), "200");
    let tcp = TokioIo::new(connect(&mock).await);
    let (mut send, conn) = hyper::client::conn::http2::handshake(TokioExecutor::new(), tcp).await.unwrap();
    let driver = tokio::spawn(conn);
    let request = http::Request::get("http://mock/trailers").body(Empty::<bytes::Bytes>::new()).unwrap();
    let body = send.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-checksum"], "abc123");
    assert_eq!(mock.requests()[1].version, http::Version::HTTP_2);
    driver.abort();
}

#[tokio::test]
async fn tls_offers_both_protocols_by_alpn() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mock = Mock::builder("a").tls(issued.cert.pem(), issued.signing_key.serialize_pem()).start().await;
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    for (offer, expected) in [(&b"h2"[..], http::Version::HTTP_2), (b"http/1.1", http::Version::HTTP_11)] {
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![offer.to_vec()];
        let name = "localhost".to_owned().try_into().unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, connect(&mock).await).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(offer));
        let request = http::Request::get("https://localhost/").body(Empty::<bytes::Bytes>::new()).unwrap();
        let status = if expected == http::Version::HTTP_2 {
            let (mut send, conn) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
            let _driver = tokio::spawn(conn);
            send.send_request(request).await.unwrap().status()
        } else {
            let (mut send, conn) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
            let _driver = tokio::spawn(conn);
            send.send_request(request).await.unwrap().status()
        };
        assert_eq!(status, 200);
        assert_eq!(mock.requests().last().unwrap().version, expected);
    }
}
