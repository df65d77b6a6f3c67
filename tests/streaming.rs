//! What flows is passed on at once, in both directions, and stops when one side goes away.

#[path = "support/harness.rs"]
mod support;

use bytes::Bytes;
use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_the_client_within_50_ms_of_its_sending() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.get("/").await;
    let mut stream = gate.ask("GET", "/sse?events=5&interval=200ms").stream().await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    for index in 0..5 {
        let piece = stream.piece().await.expect("an event");
        let text = String::from_utf8_lossy(&piece).into_owned();
        assert!(text.contains(&format!("\"index\":{index}")) && text.matches("data:").count() == 1, "{text}");
        assert!(event_age(&piece) < ms(50), "event {index} took {:?}", event_age(&piece));
    }
    assert_eq!(stream.piece().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_reaches_an_http_2_client_as_fast() {
    let a = upstream("a").await;
    let gate = gateway().listener(r#"address: "{listen}", http2: true"#).pool("app", &[&a]).start().await;
    let client = Client::h2c(gate.address());
    client.get("/").await;
    let mut stream = client.ask("GET", "/sse?events=3&interval=200ms").stream().await;
    for index in 0..3 {
        let piece = stream.piece().await.expect("an event");
        assert!(event_age(&piece) < ms(50), "event {index} took {:?}", event_age(&piece));
    }
}

#[tokio::test]
async fn the_header_of_a_stream_does_not_wait_for_its_body() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    for framing in ["Content-Type: text/event-stream", "Transfer-Encoding: chunked"] {
        let mut connection = gate.connect().await;
        connection.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let _held = backend.answer_once(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")).await;
        let head = within(s(2), "the header", connection.head()).await;
        assert!(head.is_some_and(|head| head.starts_with("HTTP/1.1 200")), "{framing}");
    }
}

#[tokio::test]
async fn a_piece_of_a_body_does_not_wait_for_the_next() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    let mut connection = gate.connect().await;
    connection.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (mut held, _) = backend.answer_once("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").await;
    held.send("one").await;
    within(s(2), "the header", connection.head()).await;
    assert_eq!(within(s(2), "one", connection.take(3)).await.as_deref(), Some(b"one".as_slice()));
    for piece in ["two", "six"] {
        held.send(piece).await;
        assert_eq!(within(s(2), piece, connection.take(3)).await.as_deref(), Some(piece.as_bytes()));
    }
}

#[tokio::test]
async fn an_upload_reaches_the_backend_while_it_is_sent() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    eventually(s(2), "the first piece arrives", async || a.requests().last().is_some_and(|seen| seen.body_len == 5))
        .await;
    connection.send("4\r\nlast\r\n0\r\n\r\n").await;
    assert_eq!(connection.answer().await.status, 200);
    assert_eq!(last_seen(&a).body, "firstlast");
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_ends_it_at_the_backend() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut stream = gate.ask("GET", "/sse?events=1000&interval=20ms").stream().await;
    stream.piece().await;
    drop(stream);
    eventually(s(2), "the backend's request is cancelled", async || a.cancelled() == 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_backend_thinks_ends_it() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send("GET /slow?delay=20s HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually(s(2), "the backend has it", async || a.hits() == 1).await;
    drop(connection);
    eventually(s(2), "the backend's request is cancelled", async || a.cancelled() == 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_upload_ends_it() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf").await;
    eventually(s(2), "the backend has it", async || a.hits() == 1).await;
    connection.reset();
    eventually(s(2), "the backend is let go", async || a.connections() == 0).await;
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn many_streams_flow_side_by_side() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let one = async || gate.get("/sse?events=5&interval=50ms").await.text().matches("data:").count();
    let counts = futures::future::join_all((0..100).map(|_| one())).await;
    assert!(counts.iter().all(|count| *count == 5), "{counts:?}");
}

#[tokio::test]
async fn a_websocket_echoes_through_the_gateway() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut socket = WebSocket::open(gate.address(), "/ws").await.expect("an upgrade");
    for text in ["hello".to_owned(), "x".repeat(200), "y".repeat(100_000)] {
        socket.send(&text).await;
        assert_eq!(socket.receive().await, Some(text));
    }
    socket.close().await;
}

#[tokio::test]
async fn a_websocket_ends_on_the_other_side_too() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let socket = WebSocket::open(gate.address(), "/ws").await.expect("an upgrade");
    assert_eq!(a.connections(), 1);
    drop(socket);
    eventually(s(2), "the backend's side is closed", async || a.connections() == 0).await;
    let mut socket = WebSocket::open(gate.address(), "/ws").await.expect("an upgrade");
    a.stop().await;
    assert_eq!(within(s(2), "the client's side is closed", socket.receive()).await, None);
}

#[tokio::test]
async fn a_route_may_refuse_websockets() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route("match: { path: / }, pool: app, websocket: false").start().await;
    let refused = WebSocket::open(gate.address(), "/ws").await.err().expect("no upgrade");
    assert!((400..500).contains(&refused.status), "{}", refused.head);
    assert_eq!(a.hits(), 0);
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_websocket_that_the_backend_refuses_is_an_ordinary_answer() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    let address = gate.address();
    let asked = tokio::spawn(async move { WebSocket::open(address, "/ws").await.err().expect("no upgrade") });
    let (_held, head) = backend.answer_once("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
    let refused = asked.await.unwrap();
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn both_directions_flow_at_the_same_time() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let pieces = (0..200u32).map(|i| Bytes::from(vec![i as u8; 10_000])).collect();
    let up = gate.ask("POST", "/echo").chunks(pieces).send();
    let down = gate.get("/bytes/2000000");
    let (up, down) = futures::join!(up, down);
    assert_eq!((up.status, last_body_len(&a), down.body.len()), (200, 2_000_000, 2_000_000));
}

/// The longest body that a backend got.
fn last_body_len(mock: &Mock) -> u64 {
    mock.requests().iter().map(|seen| seen.body_len).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_holds_the_backend_back_and_not_the_memory() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.get("/bytes/1000000").await;
    let before = gate.memory();
    let mut slow: Vec<RawConnection> = Vec::new();
    for _ in 0..10 {
        let mut connection = gate.connect().await;
        connection.send("GET /bytes/50000000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(connection.take(100_000).await.is_some());
        slow.push(connection);
    }
    let little = async || gate.memory().saturating_sub(before) < 16 << 20;
    holds_for(ms(500), "ten slow clients of 50 MB each cost little memory", little).await;
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_backend_holds_an_upload_back_and_not_the_memory() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    let before = gate.memory();
    let mut connection = gate.connect().await;
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n").await;
    let sending = tokio::spawn(async move { connection.try_send(vec![0; 100_000_000]).await });
    let mut held = backend.accept().await;
    held.head().await.expect("a request");
    let little = async || gate.memory().saturating_sub(before) < 16 << 20;
    holds_for(ms(500), "100 MB on the way cost little memory", little).await;
    assert!(!sending.is_finished(), "the client is held back");
    sending.abort();
}
