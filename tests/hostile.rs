//! Clients that mean harm or have none of their wits: each is told so or cut, and the next one is served.

#[path = "support/harness.rs"]
mod support;

use support::*;

/// What became of raw bytes.
#[derive(Debug)]
enum Fate {
    /// Answered with this status.
    Status(u16),
    /// Closed without an answer.
    Closed,
}

/// Sends `bytes`, closes the sending side, and waits for what comes.
async fn fate(gate: &Gateway, bytes: &[u8]) -> Fate {
    let mut connection = gate.connect().await;
    // The gateway may have seen enough before all is sent.
    let _ = connection.try_send(bytes).await;
    let answer = within(s(14), "an answer or an end", connection.try_answer(true)).await;
    answer.map_or(Fate::Closed, |answer| Fate::Status(answer.status))
}

/// Checks that `bytes` are refused or cut, that no backend got a request, and that the next client is served.
async fn refused(gate: &Gateway, mock: &Mock, bytes: &[u8]) {
    let before = mock.hits();
    let fate = fate(gate, bytes).await;
    let shown = String::from_utf8_lossy(bytes.get(..120).unwrap_or(bytes)).into_owned();
    let good = matches!(fate, Fate::Closed | Fate::Status(400..=431));
    assert!(good, "{fate:?} for {shown:?}");
    assert_eq!(mock.hits(), before, "a backend got {shown:?}: {:?}", mock.requests().last());
    assert_eq!(gate.get("/").await.status, 200, "the next client after {shown:?}");
}

async fn quick_gateway(mock: &Mock) -> Gateway {
    gateway().section("server", "{ timeouts: { header: 2s, client_idle: 1s } }").pool("app", &[mock]).start().await
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    let noise: Vec<u8> = (0..4000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for garbage in [
        noise.as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / FTP/1.1\r\nHost: x\r\n\r\n",
        b"EHLO mail.example.com\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"G\x00ET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header line\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Nul: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX Space: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    ] {
        refused(&gate, &a, garbage).await;
    }
}

#[tokio::test]
async fn a_request_needs_one_sound_host() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@x\r\n\r\n",
        "GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        refused(&gate, &a, request.as_bytes()).await;
    }
}

#[tokio::test]
async fn connect_does_not_make_a_tunnel() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    refused(&gate, &a, format!("CONNECT {} HTTP/1.1\r\nHost: {}\r\n\r\n", a.address(), a.address()).as_bytes()).await;
    refused(&gate, &a, b"CONNECT evil.example.com:443 HTTP/1.1\r\nHost: evil.example.com\r\n\r\n").await;
}

#[tokio::test]
async fn a_header_block_over_the_maximum_is_431() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ max_header: 16KiB }").pool("app", &[&a]).start().await;
    let request = |size: usize| format!("GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "b".repeat(size));
    assert!(matches!(fate(&gate, request(10_000).as_bytes()).await, Fate::Status(200)));
    for size in [17_000, 100_000] {
        let fate = fate(&gate, request(size).as_bytes()).await;
        assert!(matches!(fate, Fate::Status(431)), "{size}: {fate:?}");
    }
    refused(&gate, &a, request(3 << 20).as_bytes()).await;
}

#[tokio::test]
async fn a_huge_target_and_a_thousand_header_lines_are_refused() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    refused(&gate, &a, format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(200_000)).as_bytes()).await;
    refused(&gate, &a, format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(2 << 20)).as_bytes()).await;
    refused(&gate, &a, format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: 1\r\n".repeat(1000)).as_bytes()).await;
}

#[tokio::test]
async fn two_ways_to_read_a_body_never_become_two_requests() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 39\r\n\r\n",
        "Content-Length: 0, 39\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0x0\r\n\r\n",
        "Content-Length: 99999999999999999999999\r\n\r\n",
    ] {
        fate(&gate, format!("POST /outer HTTP/1.1\r\nHost: x\r\n{framing}{smuggled}").as_bytes()).await;
        assert_eq!(gate.get("/").await.status, 200);
        let smuggled = a.requests().iter().any(|seen| seen.path_and_query == "/smuggled");
        assert!(!smuggled, "smuggled by {framing:?}");
    }
}

#[tokio::test]
async fn what_the_backend_gets_is_framed_in_one_way_only() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    fate(&gate, b"POST /both HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    for seen in a.requests().iter().filter(|seen| seen.path_and_query == "/both") {
        let both = seen.headers.contains_key("content-length") && seen.headers.contains_key("transfer-encoding");
        assert!(!both && seen.body == "hello", "{seen:?}");
    }
}

#[tokio::test]
async fn a_body_with_broken_chunks_ends_the_request() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    for chunks in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello",
        "5;\r\nhe",
    ] {
        let fate = fate(
            &gate,
            format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").as_bytes(),
        )
        .await;
        assert!(matches!(fate, Fate::Closed | Fate::Status(400..=408)), "{fate:?} for {chunks:?}");
        assert_eq!(gate.get("/").await.status, 200);
    }
    eventually(s(5), "no request stays open at the backend", async || {
        gate.metric("sluicegate_requests_in_flight").await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_truncated_body_never_looks_whole_to_the_backend() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "retry: { attempts: 1 }").start().await;
    for (framing, part) in [("Content-Length: 100", "only this"), ("Transfer-Encoding: chunked", "9\r\nonly this\r\n")]
    {
        let mut connection = gate.connect().await;
        connection.send(format!("POST /echo HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{part}")).await;
        let mut got = backend.accept().await;
        got.head().await.expect("a request");
        connection.reset();
        let rest = got.rest(s(3)).await;
        assert!(rest.contains("only this") && !rest.contains("0\r\n\r\n"), "{framing}: {rest:?}");
        assert!(got.closed_within(s(1)).await, "{framing}: the backend is left waiting");
    }
}

#[tokio::test]
async fn an_answer_that_can_be_read_in_two_ways_is_not_passed_on() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "retry: { attempts: 1 }").start().await;
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok",
        "HTTP/1.1 99999 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\nok",
    ] {
        let client = gate.client().clone();
        let asked = tokio::spawn(async move { client.get("/").await.status });
        drop(backend.answer_once(head).await);
        assert_eq!(asked.await.unwrap(), 502, "{head:?}");
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_never_reaches_the_backend() {
    let a = upstream("a").await;
    let gate = gateway()
        .section("server", "{ max_body: 10KiB }")
        .pool("app", &[&a])
        .route("match: { path: /big/ }, pool: app, max_body: 1MiB")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    assert_eq!(gate.post("/", vec![0; 10 * 1024]).await.status, 200);
    assert_eq!(gate.post("/big/", vec![0; 1 << 20]).await.status, 200);
    let hits = a.hits();
    for (path, size) in [("/", 10 * 1024 + 1), ("/big/", (1 << 20) + 1), ("/", 5 << 30)] {
        let mut connection = gate.connect().await;
        let answer = connection.ask(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n")).await;
        assert_eq!(answer.status, 413, "{path} {size}");
    }
    assert_eq!(a.hits(), hits);
}

#[tokio::test]
async fn the_default_maximum_of_a_body_is_100_mib() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let ask = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 101 << 20);
    assert_eq!((gate.connect().await.ask(ask).await.status, a.hits()), (413, 0));
}

#[tokio::test]
async fn a_chunked_body_that_grows_too_large_is_413_in_the_middle() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ max_body: 100KiB }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = format!("2800\r\n{}\r\n", "c".repeat(0x2800));
    for _ in 0..11 {
        let _ = connection.try_send(&chunk).await;
    }
    assert_eq!(connection.answer().await.status, 413);
    eventually(s(5), "the backend is let go", async || a.connections() == 0).await;
    // On a busy machine the whole body may be there before the first of it is sent on: then the backend got nothing.
    let got = a.requests().last().map_or(0, |seen| seen.body_len);
    assert!(got <= 100 * 1024, "the backend got {got}");
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn two_requests_at_once_are_both_answered_or_the_second_is_cut() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    let mut connection = gate.connect().await;
    connection.send("GET /bytes/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /bytes/2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(connection.answer().await.body.len(), 1);
    if let Some(second) = connection.try_answer(true).await {
        assert_eq!(second.body.len(), 2);
    }
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn hundreds_of_half_open_requests_keep_nobody_waiting() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut connection = gate.connect().await;
        connection.send("GET / HTTP/1.1\r\nHost: x\r\nX-").await;
        slow.push(connection);
    }
    let answer = gate.get("/").await;
    assert!(answer.status == 200 && answer.elapsed < s(1), "took {:?}", answer.elapsed);
    for mut connection in slow {
        assert!(connection.closed_within(s(6)).await, "a half-open request outlives its time");
    }
    eventually(s(5), "all are gone", async || gate.metric("sluicegate_connections").await <= 2.0).await;
}

#[tokio::test]
async fn a_client_that_resets_again_and_again_leaves_nothing_behind() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    for _ in 0..100 {
        let mut connection = gate.connect().await;
        connection.send("GET /bytes/100000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        connection.reset();
    }
    eventually(s(5), "nothing is in flight", async || gate.metric("sluicegate_requests_in_flight").await == 0.0).await;
    assert_eq!(gate.metric("sluicegate_panics_total").await, 0.0);
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_backend_that_sends_nonsense_is_a_502_and_no_more() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], "outlier: { max_fails: 1000 }, retry: { attempts: 1 }").start().await;
    for _ in 0..3 {
        a.fail_next(1, Fault::BadHttp);
        assert_eq!(gate.get("/").await.status, 502);
        assert_eq!(gate.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn strange_bytes_in_a_target_are_refused_or_passed_on_as_they_are() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    for target in ["/a\\b", "/%00", "/a%", "/a%zz", "/a|b", "/a\"b", "/\u{e9}", "*", "/#fragment", "/a\tb", "?x", "a/b"]
    {
        let before = a.hits();
        let fate = fate(&gate, format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let passed = a.hits() > before;
        assert!(passed || matches!(fate, Fate::Closed | Fate::Status(400..=405)), "{fate:?} for {target:?}");
        assert!(!passed || last_seen(&a).path_and_query.starts_with('/'), "{target:?} became {:?}", last_seen(&a));
        assert_eq!(gate.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_with_too_large_a_body_is_refused_before_it_sends() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ max_body: 1KiB }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!((connection.ask(head).await.status, a.hits()), (413, 0));
}

#[tokio::test]
async fn a_chunked_body_ends_once_however_the_client_ends_it() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "retry: off").start().await;
    for end in ["0\r\n\r\n", "0\r\nT: x\r\n\r\n"] {
        let mut client = gate.connect().await;
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}5\r\nhello\r\n")).await;
        let mut got = backend.accept().await;
        got.head().await.expect("a request");
        client.send(end).await;
        assert_eq!(got.rest(ms(300)).await, "5\r\nhello\r\n0\r\n\r\n", "{end:?}");
    }
}

#[tokio::test]
async fn a_body_whose_framing_is_lost_ends_the_connection() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    for broken in ["zz\r\n", "0x5\r\n", "-1\r\n", "ffffffffffffffffff\r\n"] {
        let mut client = gate.connect().await;
        client
            .send(format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{broken}"))
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection").as_str()), (400, "close"), "{broken:?}");
        let _ = client.try_send("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(client.closed_within(s(4)).await, "{broken:?}");
    }
    assert!(a.requests().iter().all(|seen| seen.path_and_query != "/smuggled"));
}

#[tokio::test]
async fn targets_hosts_and_codings_that_mean_nothing_are_refused() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    for head in [
        "GET x HTTP/1.1\r\nHost: x\r\n",
        "GET a:80 HTTP/1.1\r\nHost: x\r\n",
        "GET / HTTP/1.1\r\nHost: x:80abc\r\n",
        "GET / HTTP/1.1\r\nHost: x:99999\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n",
    ] {
        let mut client = gate.connect().await;
        assert_eq!(client.ask(format!("{head}\r\n")).await.status, 400, "{head:?}");
    }
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn equal_lengths_reach_the_backend_as_one() {
    let a = upstream("a").await;
    let gate = quick_gateway(&a).await;
    for lengths in ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5"] {
        let mut client = gate.connect().await;
        assert_eq!(client.ask(format!("POST /echo HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\nhello")).await.status, 200);
        assert_eq!(sent(&last_seen(&a), "content-length"), "5");
    }
}
