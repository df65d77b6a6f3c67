//! The harness itself, without a gateway between client and mock: what fails here is no fault of the gateway.

#[path = "support/harness.rs"]
mod support;

use support::*;

#[tokio::test]
async fn the_load_counts_every_answer_and_keeps_its_connections() {
    let a = upstream("a").await;
    let tally = Load::of(a.address(), "/", 4, 200).await;
    tally.assert_all_ok();
    assert_eq!((tally.total(), tally.upstream("a"), tally.connections), (200, 200, 4));
    a.set_fault(Some(Fault::CloseBeforeHeaders));
    assert_eq!(Load::of(a.address(), "/", 1, 5).await.broken.len(), 5);
}

#[tokio::test]
async fn wrk_is_told_apart_when_it_sees_errors() {
    let a = upstream("a").await;
    let url = format!("http://{}/", a.address());
    assert!(wrk(&url, s(1)).await.1);
    a.set_fault(Some(Fault::Status(500)));
    assert!(!wrk(&url, s(1)).await.1);
}

#[tokio::test]
async fn the_raw_client_reads_every_framing() {
    let a = upstream("a").await;
    let mut connection = connect(a.address()).await;
    let chunked = connection.ask("GET /trailers HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n").await;
    assert_eq!((chunked.text().as_str(), chunked.trailers.trim()), ("body before trailers\n", "x-checksum: abc123"));
    assert_eq!(connection.ask("GET /status/204 HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 204);
    assert_eq!(connection.ask("GET /bytes/100 HTTP/1.1\r\nHost: x\r\n\r\n").await.body.len(), 100);
    let last = connection.ask("GET /sse?events=2&interval=1ms HTTP/1.0\r\n\r\n").await;
    assert_eq!(last.text().matches("data:").count(), 2);
}

#[tokio::test]
async fn events_are_stamped_and_websockets_echo() {
    let a = upstream("a").await;
    let mut stream = Client::http(a.address()).ask("GET", "/sse?events=2&interval=50ms").stream().await;
    assert!(event_age(&stream.piece().await.unwrap()) < ms(50));
    let mut socket = WebSocket::open(a.address(), "/ws").await.unwrap();
    for length in [1, 200, 70_000] {
        socket.send(&"x".repeat(length)).await;
        assert_eq!(socket.receive().await.unwrap().len(), length);
    }
    socket.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_by_the_mock() {
    let a = upstream("a").await;
    let mut connection = connect(a.address()).await;
    connection.send("GET /slow?delay=20s HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually(s(2), "the request arrives", async || a.hits() == 1).await;
    connection.reset();
    eventually(s(2), "the request is cancelled", async || a.cancelled() == 1).await;
}

#[tokio::test]
async fn http_2_and_trailers_and_certificates_are_seen() {
    let authority = Authority::new();
    let identity = authority.issue(&["a.example.com"]);
    let a = Mock::builder("a").h2c(true).start().await;
    assert_eq!(h2_get(a.address(), "/trailers").await.trailers["x-checksum"], "abc123");
    let b = Mock::builder("b").tls(&identity.cert, &identity.key).start().await;
    let answer = Client::https("a.example.com", b.address(), &authority.pem()).get("/").await;
    assert_eq!((answer.status, answer.version), (200, http::Version::HTTP_2));
    assert_eq!(answer.certificate, Some(identity.der));
    assert!(openssl_handshake(b.address(), "a.example.com", &["-tls1_2"]).await.contains("Cipher is ECDHE-"));
    let old = openssl_handshake(b.address(), "a.example.com", &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]).await;
    assert!(is_refused(&old), "{old}");
}

#[tokio::test]
async fn a_blackhole_neither_takes_nor_refuses() {
    let hole = blackhole();
    let connect = tokio::net::TcpStream::connect(hole.address());
    assert!(tokio::time::timeout(ms(300), connect).await.is_err());
    assert!(tokio::net::TcpStream::connect(free_address()).await.is_err());
}

#[tokio::test]
async fn a_scrape_is_summed_by_labels() {
    let text =
        "# HELP x y\nx_total{a=\"1\",b=\"2\"} 3\nx_total{a=\"1\",b=\"20\"} 4\nx_total{a=\"2\",b=\"2\"} 5\ny 1.5e3\n";
    let metrics = Metrics::new(text.to_owned());
    assert_eq!((metrics.sum("x_total"), metrics.sum("y")), (12.0, 1500.0));
    assert_eq!(metrics.sum(r#"x_total{b="2"}"#), 8.0);
    assert_eq!(metrics.sum(r#"x_total{b="2",a="1"}"#), 3.0);
    assert!(!metrics.has("x") && metrics.sum("x") == 0.0);
}
