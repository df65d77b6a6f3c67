//! A request goes to a backend, and its answer comes back, unchanged: methods, bodies, framing, connections.

#[path = "support/harness.rs"]
mod support;

use bytes::Bytes;
use support::*;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn the_shortest_configuration_serves_both_backends() {
    let [a, b] = upstreams(["a", "b"]).await;
    let members = format!("[{}, {}]", a.address(), b.address());
    let text = format!(
        "listen:\n  - address: {{listen}}\npools:\n  app:\n    members: {members}\nroutes:\n  - match: {{ path: / }}\n    pool: app\n"
    );
    let gate = gateway().config(&text).start().await;
    let (first, second) = (gate.get("/").await, gate.get("/").await);
    assert_eq!((first.status, second.status), (200, 200));
    let mut seen = [first.upstream(), second.upstream()];
    seen.sort_unstable();
    assert_eq!(seen, ["a", "b"]);
}

#[tokio::test]
async fn every_method_reaches_the_backend_as_it_is() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        gate.ask(method, "/echo").send().await;
        assert_eq!(last_seen(&a).method.as_str(), method);
    }
}

#[tokio::test]
async fn path_and_query_reach_the_backend_as_they_were_written() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for path in ["/", "/a%20b/c%2Fd?x=%26&y", "/?", "/a?b=c?d", "/%E4%BD%A0?q=a+b", "/a;v=1/b,c!$'()*"] {
        gate.connect().await.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(last_seen(&a).path_and_query, path);
    }
}

#[tokio::test]
async fn every_status_comes_back() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for status in [200, 201, 301, 304, 400, 404, 418, 429, 500, 599] {
        assert_eq!(gate.get(&format!("/status/{status}")).await.status, status);
    }
}

#[tokio::test]
async fn a_body_reaches_the_backend_whole() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let body: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    assert_eq!(gate.post("/echo", body.clone()).await.status, 200);
    assert_eq!(last_seen(&a).body.as_ref(), body);
    assert_eq!(sent(&last_seen(&a), "content-length"), "300000");
}

#[tokio::test]
async fn a_chunked_body_reaches_the_backend_whole() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let pieces: Vec<Bytes> = (0..100u8).map(|i| Bytes::from(vec![i; 1000 + usize::from(i)])).collect();
    let answer = gate.ask("PUT", "/echo").chunks(pieces.clone()).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(last_seen(&a).body, pieces.concat());
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    assert_eq!(gate.ask("GET", "/echo").body("question").send().await.status, 200);
    assert_eq!(last_seen(&a).body, "question");
}

#[tokio::test]
async fn an_answer_of_unknown_length_comes_back_chunked() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let answer = connection.ask("GET /sse?events=5&interval=1ms HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.header("transfer-encoding"), "chunked");
    assert!(answer.text().matches("data:").count() >= 5, "{}", answer.text());
    assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send("HEAD /bytes/1000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let head = connection.answer_without_body().await;
    assert_eq!((head.status, head.header("content-length").as_str()), (200, "1000"));
    let next = connection.ask("GET /bytes/5 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((next.status, next.body.len()), (200, 5));
}

#[tokio::test]
async fn answers_that_have_no_body_leave_the_connection_in_order() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    for status in [204, 304, 204] {
        let answer = connection.ask(format!("GET /status/{status} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status, status);
        let next = connection.ask("GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!((next.status, next.body.len()), (200, 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_of_100_mib_does_not_stay_in_memory() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.get("/bytes/100000").await;
    let before = gate.peak_memory();
    let mut stream = gate.ask("GET", &format!("/bytes/{}", 100 * MIB)).stream().await;
    assert_eq!(stream.drain().await, 100 * MIB as u64);
    // The kernel's sums are exact only now and then: the later one may be the smaller.
    let grown = gate.peak_memory().saturating_sub(before);
    assert!(grown < 24 * MIB as u64, "grew by {grown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_100_mib_does_not_stay_in_memory() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.post("/echo", vec![1; 100_000]).await;
    let before = gate.peak_memory();
    let mib = Bytes::from(vec![7; MIB]);
    let answer = gate.ask("POST", "/status/200").chunks(vec![mib; 100]).send().await;
    assert_eq!((answer.status, last_seen(&a).body_len), (200, 100 * MIB as u64));
    // The kernel's sums are exact only now and then: the later one may be the smaller.
    let grown = gate.peak_memory().saturating_sub(before);
    assert!(grown < 24 * MIB as u64, "grew by {grown}");
}

#[tokio::test]
async fn an_answer_with_trailers_leaves_an_http_1_connection_in_order() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    for _ in 0..2 {
        let answer = connection.ask("GET /trailers HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "body before trailers\n"));
    }
}

#[tokio::test]
async fn trailers_go_from_http_2_to_http_2() {
    let a = Mock::builder("a").h2c(true).start().await;
    let gate =
        gateway().listener(r#"address: "{listen}", http2: true"#).pool_with("app", &[&a], "http2: true").start().await;
    let answer = h2_get(gate.address(), "/trailers").await;
    assert_eq!((answer.status, answer.body.as_ref()), (200, b"body before trailers\n".as_ref()));
    assert_eq!(answer.trailers.get("x-checksum").unwrap(), "abc123");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_told_to_go_on() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(connection.ask(head).await.status, 100);
    assert_eq!(connection.ask("hello").await.status, 200);
    assert_eq!(last_seen(&a).body, "hello");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_plain_body_and_a_close() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let answer = connection.ask("GET /sse?events=3&interval=1ms HTTP/1.0\r\nHost: x\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("transfer-encoding").as_str()), (200, ""));
    assert!(answer.text().starts_with("data:") || answer.text().starts_with("id:"), "{}", answer.text());
}

#[tokio::test]
async fn ab_keeps_its_http_1_0_connection_when_it_asks_to() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    for _ in 0..3 {
        let answer = connection.ask("GET /bytes/9 HTTP/1.0\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n").await;
        assert_eq!((answer.status, answer.body.len()), (200, 9));
        assert_eq!(answer.header("connection").to_lowercase(), "keep-alive");
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let tally = Load::of(gate.address(), "/", 1, 50).await;
    tally.assert_all_ok();
    assert_eq!(tally.connections, 1);
    assert_eq!(a.accepted(), 1);
}

#[tokio::test]
async fn a_client_that_says_close_is_closed_on() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let answer = connection.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("connection").to_lowercase().as_str()), (200, "close"));
    assert!(connection.closed_within(s(2)).await);
}

#[tokio::test]
async fn an_early_answer_to_an_unfinished_upload_reaches_the_client_and_says_that_the_connection_ends() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    let mut connection = gate.connect().await;
    connection.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbeginning").await;
    let _held = backend.answer_once("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let answer = within(s(5), "the early answer", connection.answer()).await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    assert_eq!(answer.header("connection").to_lowercase(), "close");
    assert!(connection.closed_within(s(5)).await);
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_whole() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    let asked = tokio::spawn({
        let client = gate.client().clone();
        async move { client.get("/").await }
    });
    drop(backend.answer_once("HTTP/1.1 200 OK\r\n\r\nuntil the end").await);
    assert_eq!(asked.await.unwrap().text(), "until the end");
}

#[tokio::test]
async fn early_hints_go_before_the_answer() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    let mut connection = gate.connect().await;
    connection.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let hints =
        "HTTP/1.1 103 Soon\r\nLink: </a.css>; rel=preload\r\nConnection: x-a\r\nX-A: b\r\nContent-Length: 7\r\n\r\n";
    let _held = backend.answer_once(&format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    let hints = connection.answer_without_body().await;
    assert_eq!((hints.status, hints.header("link").as_str()), (103, "</a.css>; rel=preload"));
    for name in ["connection", "x-a", "content-length", "transfer-encoding"] {
        assert_eq!(hints.header(name), "", "{name}");
    }
    let answer = connection.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn a_member_that_says_that_it_is_still_at_work_is_waited_for() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "timeouts: { first_byte: 1s }").start().await;
    let working = tokio::spawn(async move {
        let (mut connection, _) = backend.answer_once("").await;
        connection.drip(&["HTTP/1.1 102 Processing\r\n\r\n"; 6], ms(300)).await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    });
    assert_eq!(gate.get("/").await.status, 200);
    working.await.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_at_the_backend_breaks_off_at_the_client() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for fault in [Fault::CloseMidBody, Fault::ResetMidBody] {
        a.fail_next(1, fault);
        let outcome = gate.ask("GET", "/bytes/1000000").try_send().await;
        assert!(outcome.is_err(), "a cut answer looks whole: {:?}", outcome.map(|answer| answer.body.len()));
    }
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_backend_may_speak_http_2() {
    let a = Mock::builder("a").h2c(true).start().await;
    let gate = gateway().pool_with("app", &[&a], "http2: true").start().await;
    let answer = gate.post("/echo", "over h2").await;
    assert_eq!((answer.status, answer.upstream()), (200, "a"));
    let seen = last_seen(&a);
    assert_eq!((seen.version, seen.body.as_ref()), (http::Version::HTTP_2, b"over h2".as_ref()));
}

#[tokio::test]
async fn a_client_may_speak_http_2_without_tls_where_the_listener_says_so() {
    let a = upstream("a").await;
    let gate = gateway().listener(r#"address: "{listen}", http2: true"#).pool("app", &[&a]).start().await;
    let h2 = Client::h2c(gate.address()).post("/echo", "hello").await;
    assert_eq!((h2.status, h2.version), (200, http::Version::HTTP_2));
    let h1 = gate.post("/echo", "hello").await;
    assert_eq!((h1.status, h1.version), (200, http::Version::HTTP_11));
}

/// What a client gets for a GET when the backend answers with these bytes and closes.
async fn answered_with(bytes: &str) -> RawAnswer {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "retry: { attempts: 1 }").start().await;
    let mut connection = gate.connect().await;
    connection.send("GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let (_, head) = backend.answer_once(bytes).await;
    assert!(head.contains("bytes=0-1") && head.contains("gzip"), "{head}");
    connection.answer().await
}

#[tokio::test]
async fn ranges_and_encodings_go_through_untouched() {
    let range = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nab";
    let partial = answered_with(range).await;
    assert_eq!(
        (partial.status, partial.header("content-range"), partial.text()),
        (206, "bytes 0-1/9".into(), "ab".into())
    );
    let gzip = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: \"x\"\r\nContent-Length: 4\r\n\r\n\x1f0zz";
    let encoded = answered_with(gzip).await;
    assert_eq!((encoded.header("content-encoding"), encoded.text()), ("gzip".into(), "\x1f0zz".into()));
    assert_eq!(encoded.header("etag"), "\"x\"");
}

#[tokio::test]
async fn a_backend_of_http_1_0_is_understood() {
    let answer = answered_with("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold but good").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "old but good"));
    assert!(answer.head.starts_with("HTTP/1.1"), "{}", answer.head);
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_a_502() {
    let answer =
        answered_with("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n").await;
    assert_eq!(answer.status, 502);
}

#[tokio::test]
async fn a_backend_may_live_on_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backend.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let gate = gateway().members("app", &[format!("unix:{}", path.display())], "").start().await;
    let client = gate.client().clone();
    let asked = tokio::spawn(async move { client.get("/").await });
    let (mut stream, _) = listener.accept().await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(asked.await.unwrap().text(), "ok");
}

#[tokio::test]
async fn the_date_of_a_member_stays() {
    const DATE: &str = "Mon, 01 Nov 2027 00:00:00 GMT";
    let member = raw_upstream().await;
    let gate = gateway().members("app", &[member.address()], "").start().await;
    let answers = tokio::spawn(async move {
        let answer = format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: 2\r\n\r\nok");
        drop(member.answer_once(&answer).await);
    });
    assert_eq!(gate.get("/").await.header("date"), DATE);
    answers.await.unwrap();
}

#[tokio::test]
async fn a_client_gets_what_came_of_an_answer_that_breaks_off() {
    let member = raw_upstream().await;
    let gate = gateway().members("app", &[member.address()], "").start().await;
    let answers = tokio::spawn(async move {
        drop(member.answer_once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await);
    });
    let mut client = gate.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.closed_within(s(5)).await);
    let seen = client.seen();
    assert!(seen.starts_with("HTTP/1.1 200") && seen.ends_with("short"), "{seen}");
    answers.await.unwrap();
}
