//! What a cache stores, whom it serves, and what takes its answers away.

#[path = "support/harness.rs"]
mod support;

use futures::future::join_all;
use support::*;

/// A gateway whose one route has a cache with these keys in front of `origin`.
async fn cached(origin: &Origin, keys: &str) -> Gateway {
    routed(origin, keys, "match: { path: / }, pool: app, cache: web").await
}

async fn routed(origin: &Origin, keys: &str, route: &str) -> Gateway {
    let builder =
        gateway().members("app", &[origin.address()], "").section("caches", &format!("{{ web: {{ {keys} }} }}"));
    builder.route(route).start().await
}

/// A backend that gives every request the same headers, and its number as the body.
async fn fixed(fields: &'static [(&'static str, &'static str)]) -> Origin {
    origin(move |came| async move { given(fields, came.number.to_string()) }).await
}

/// The cache's word for the answer, and its body.
async fn got(gate: &Gateway, path: &str) -> (String, String) {
    told(&gate.get(path).await)
}

async fn got_with(gate: &Gateway, path: &str, fields: &[(&str, &str)]) -> (String, String) {
    let ask = fields.iter().fold(gate.ask("GET", path), |ask, (name, value)| ask.header(name, value));
    told(&ask.send().await)
}

fn told(answer: &Answer) -> (String, String) {
    (answer.header("x-cache-status").to_owned(), answer.text().to_owned())
}

#[track_caller]
fn assert_told(told: &(String, String), status: &str, body: &str) {
    assert_eq!((told.0.as_str(), told.1.as_str()), (status, body));
}

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=600")];

#[tokio::test]
async fn what_is_fresh_is_served_without_asking_a_member() {
    let origin = fixed(FRESH).await;
    let gate = cached(&origin, "").await;
    assert_told(&got(&gate, "/a?b=1").await, "MISS", "1");
    assert_told(&got(&gate, "/a?b=1").await, "HIT", "1");
    assert_told(&got(&gate, "/a?b=2").await, "MISS", "2");
    let hit = gate.get("/a?b=1").await;
    assert_eq!((hit.header("age"), hit.header("content-length"), origin.hits()), ("0", "1", 2));
    assert!(!hit.header("x-request-id").is_empty() && hit.header("x-frame-options") == "DENY");
    assert_eq!(gate.metric(r#"sluicegate_cache_requests_total{cache="web",status="HIT"}"#).await, 2.0);
    assert_eq!(gate.metric(r#"sluicegate_cache_entries{cache="web"}"#).await, 2.0);
    let log = gate.access_log(4).await;
    let words: Vec<_> = log.iter().map(|line| line["cache"].as_str().unwrap().to_owned()).collect();
    assert_eq!(words, ["MISS", "HIT", "MISS", "HIT"]);
    assert_eq!((&log[0]["attempts"], &log[1]["attempts"]), (&1.into(), &0.into()));
    assert_eq!(
        (&log[0]["member"], &log[1]["member"]),
        (&origin.address().to_string().into(), &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn without_headers_the_configured_time_counts_and_nothing_is_stored_without_one() {
    let origin = fixed(&[]).await;
    let gate = cached(&origin, "ttl: 300s").await;
    assert_told(&got(&gate, "/api/models").await, "MISS", "1");
    assert_told(&got(&gate, "/api/models").await, "HIT", "1");
    let gate = cached(&origin, "").await;
    assert_told(&got(&gate, "/api/models").await, "MISS", "2");
    assert_told(&got(&gate, "/api/models").await, "MISS", "3");
}

#[tokio::test]
async fn a_route_may_say_otherwise_than_its_cache() {
    let origin = fixed(&[]).await;
    let gate =
        routed(&origin, "", "match: { path: / }, pool: app, cache: { use: web, ttl: 60s, key_headers: x-tenant }");
    let gate = gate.await;
    assert_told(&got_with(&gate, "/", &[("x-tenant", "a")]).await, "MISS", "1");
    assert_told(&got_with(&gate, "/", &[("x-tenant", "b")]).await, "MISS", "2");
    assert_told(&got_with(&gate, "/", &[("x-tenant", "a")]).await, "HIT", "1");
}

#[tokio::test]
async fn what_must_not_be_stored_is_not() {
    const UNSTORED: [&[(&str, &str)]; 6] = [
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=600, private")],
        &[("cache-control", "max-age=600"), ("set-cookie", "a=b")],
        &[("cache-control", "max-age=600"), ("vary", "*")],
        &[("cache-control", "max-age=0")],
        &[("cdn-cache-control", "no-store"), ("cache-control", "max-age=600")],
    ];
    let origin = origin(|came| async move {
        let which: usize = came.path.trim_start_matches('/').parse().unwrap();
        given(UNSTORED[which], came.number.to_string())
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    for which in 0..UNSTORED.len() {
        let (first, second) = (got(&gate, &format!("/{which}")).await, got(&gate, &format!("/{which}")).await);
        assert!(first.1 != second.1, "{which}: {first:?} {second:?}");
    }
    assert_eq!(gate.metric(r#"sluicegate_cache_entries{cache="web"}"#).await, 0.0);
}

#[tokio::test]
async fn credentials_of_the_client_keep_an_answer_from_others_unless_it_is_public() {
    let origin = origin(|came| async move {
        let control = if came.path == "/public" { "max-age=600, public" } else { "max-age=600" };
        given(&[("cache-control", control)], came.number.to_string())
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    let secret = [("authorization", "Bearer x")];
    assert_told(&got_with(&gate, "/own", &secret).await, "MISS", "1");
    assert_told(&got(&gate, "/own").await, "MISS", "2");
    assert_told(&got_with(&gate, "/public", &secret).await, "MISS", "3");
    assert_told(&got(&gate, "/public").await, "HIT", "3");
}

#[tokio::test]
async fn errors_that_come_as_json_are_not_stored() {
    let origin = origin(|came| async move {
        let body = match came.path.as_str() {
            "/failed" => r#"{"success":false,"errorCode":"500"}"#,
            "/error" => r#"{"data":[1,2],"error":{"message":"no"}}"#,
            _ => r#"{"success":true,"data":{"error":1}}"#,
        };
        given(&[("content-type", "application/json;charset=utf-8")], body)
    });
    let origin = origin.await;
    let gate = cached(&origin, "ttl: 300s").await;
    for path in ["/failed", "/error", "/failed", "/error"] {
        assert_eq!(got(&gate, path).await.0, "MISS", "{path}");
    }
    assert_eq!(got(&gate, "/fine").await.0, "MISS");
    assert_eq!(got(&gate, "/fine").await.0, "HIT");
    let gate = cached(&origin, "ttl: 300s, store_error_bodies: true").await;
    assert_eq!(got(&gate, "/failed").await.0, "MISS");
    assert_eq!(got(&gate, "/failed").await.0, "HIT");
}

#[tokio::test]
async fn variants_are_served_to_those_who_ask_for_them() {
    let origin = origin(|came| async move {
        let language = came.headers.get("accept-language").map_or("none", |value| value.to_str().unwrap());
        given(&[("cache-control", "max-age=600"), ("vary", "Accept-Language")], language.to_owned())
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    for (language, status, body) in
        [("de", "MISS", "de"), ("en", "MISS", "en"), ("DE", "HIT", "de"), ("en", "HIT", "en"), ("fr", "MISS", "fr")]
    {
        assert_told(&got_with(&gate, "/", &[("accept-language", language)]).await, status, body);
    }
    assert_told(&got(&gate, "/").await, "MISS", "none");
    assert_told(&got(&gate, "/").await, "HIT", "none");
}

#[tokio::test]
async fn what_is_stale_is_validated_and_freshened() {
    let origin = origin(|came| async move {
        let asked = came.headers.get("if-none-match").is_some_and(|tag| tag == "\"v1\"");
        let number = came.number.to_string();
        let fields = [("cache-control", "no-cache"), ("etag", "\"v1\""), ("x-number", number.as_str())];
        if asked { given_status(304, &fields, "") } else { given(&fields, "body") }
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    assert_told(&got(&gate, "/").await, "MISS", "body");
    let again = gate.get("/").await;
    assert_told(&told(&again), "REVALIDATED", "body");
    assert_eq!((again.status, again.header("x-number"), origin.last("if-none-match").as_str()), (200, "2", "\"v1\""));
    let condition = gate.ask("GET", "/").header("if-none-match", "W/\"v1\"").send().await;
    assert_eq!((condition.status, condition.header("etag"), condition.text()), (304, "\"v1\"", ""));
}

#[tokio::test]
async fn conditions_and_ranges_are_answered_from_what_is_stored() {
    let origin = origin(|_| async move {
        let fields = [
            ("cache-control", "max-age=600"),
            ("etag", "\"v1\""),
            ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT"),
            ("content-type", "text/x-test"),
        ];
        given(&fields, "0123456789")
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    gate.get("/").await;
    for (fields, status, body, range) in [
        (vec![("range", "bytes=2-4")], 206, "234", "bytes 2-4/10"),
        (vec![("range", "bytes=-3")], 206, "789", "bytes 7-9/10"),
        (vec![("range", "bytes=8-")], 206, "89", "bytes 8-9/10"),
        (vec![("range", "bytes=20-")], 416, "", "bytes */10"),
        (vec![("range", "bytes=0-1,3-4")], 200, "0123456789", ""),
        (vec![("range", "bytes=0-0"), ("if-range", "\"v1\"")], 206, "0", "bytes 0-0/10"),
        (vec![("range", "bytes=0-0"), ("if-range", "\"v2\"")], 200, "0123456789", ""),
        (vec![("if-none-match", "\"v2\", \"v1\"")], 304, "", ""),
        (vec![("if-none-match", "\"v2\"")], 200, "0123456789", ""),
        (vec![("if-modified-since", "Wed, 01 Jan 2020 00:00:00 GMT")], 304, "", ""),
        (vec![("if-modified-since", "Wed, 01 Jan 2019 00:00:00 GMT")], 200, "0123456789", ""),
        (vec![("if-none-match", "\"v1\""), ("range", "bytes=0-0")], 304, "", ""),
    ] {
        let ask = fields.iter().fold(gate.ask("GET", "/"), |ask, (name, value)| ask.header(name, value));
        let answer = ask.send().await;
        let told = (answer.status, answer.text(), answer.header("content-range"), answer.header("x-cache-status"));
        assert_eq!(told, (status, body, range, "HIT"), "{fields:?}");
        assert!(!answer.header("date").is_empty() && !answer.header("age").is_empty());
    }
    let head = gate.ask("HEAD", "/").send().await;
    assert_eq!((head.status, head.header("content-length"), head.header("x-cache-status")), (200, "10", "HIT"));
    assert_eq!(origin.hits(), 1);
}

#[tokio::test]
async fn a_client_that_has_the_answer_gets_304_even_when_it_is_only_now_fetched() {
    let origin = fixed(&[("cache-control", "max-age=600"), ("etag", "\"v1\"")]).await;
    let gate = cached(&origin, "").await;
    let first = gate.ask("GET", "/").header("if-none-match", "\"v1\"").send().await;
    assert_eq!((first.status, first.header("x-cache-status"), first.header("etag")), (304, "MISS", "\"v1\""));
    assert_eq!(origin.last("if-none-match"), "");
    eventually(s(5), "it is stored", async || got(&gate, "/").await.0 == "HIT").await;
}

#[tokio::test]
async fn a_request_may_ask_for_something_fresher_or_for_nothing_but_what_is_stored() {
    let origin = fixed(FRESH).await;
    let gate = cached(&origin, "").await;
    let only = gate.ask("GET", "/").header("cache-control", "only-if-cached").send().await;
    assert_eq!((only.status, origin.hits()), (504, 0));
    assert_told(&got(&gate, "/").await, "MISS", "1");
    assert_told(&got_with(&gate, "/", &[("cache-control", "only-if-cached")]).await, "HIT", "1");
    assert_told(&got_with(&gate, "/", &[("cache-control", "min-fresh=601")]).await, "MISS", "2");
    assert_told(&got_with(&gate, "/", &[("cache-control", "no-cache")]).await, "MISS", "3");
    assert_told(&got_with(&gate, "/", &[("pragma", "no-cache")]).await, "MISS", "4");
    assert_told(&got_with(&gate, "/", &[("cache-control", "no-store")]).await, "BYPASS", "5");
    assert_told(&got(&gate, "/").await, "HIT", "4");
    let deaf = cached(&origin, "request_directives: false").await;
    assert_told(&got(&deaf, "/").await, "MISS", "6");
    assert_told(&got_with(&deaf, "/", &[("cache-control", "no-cache, no-store")]).await, "HIT", "6");
}

#[tokio::test]
async fn stale_answers_are_served_while_a_new_one_is_fetched() {
    let origin = fixed(&[("cache-control", "max-age=0, stale-while-revalidate=600")]).await;
    let gate = cached(&origin, "").await;
    assert_told(&got(&gate, "/").await, "MISS", "1");
    assert_told(&got(&gate, "/").await, "STALE", "1");
    eventually(s(5), "the new one is there", async || got(&gate, "/").await.1 != "1").await;
}

#[tokio::test]
async fn stale_answers_are_served_when_members_fail_and_only_when_allowed() {
    let origin = origin(|came| async move {
        let control = match came.path.as_str() {
            "/kept" => "max-age=0, stale-if-error=600",
            "/forbidden" => "max-age=0, stale-if-error=600, must-revalidate",
            _ => "max-age=0",
        };
        let fields = [("cache-control", control), ("etag", "\"v1\"")];
        if came.headers.contains_key("if-none-match") { given_status(503, &[], "down") } else { given(&fields, "good") }
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    for path in ["/kept", "/forbidden", "/plain"] {
        assert_told(&got(&gate, path).await, "MISS", "good");
    }
    assert_told(&got(&gate, "/kept").await, "STALE", "good");
    assert_told(&got(&gate, "/forbidden").await, "MISS", "down");
    assert_told(&got(&gate, "/plain").await, "MISS", "down");
    drop(origin);
    assert_told(&got(&gate, "/kept").await, "STALE", "good");
    assert_told(&got(&gate, "/plain").await, "STALE", "good");
    assert_eq!(gate.get("/forbidden").await.status, 502);
}

#[tokio::test]
async fn an_unsafe_request_that_succeeds_makes_what_is_stored_unusable() {
    let origin = origin(|came| async move {
        match (came.method.as_str(), came.path.as_str()) {
            ("GET", _) => given(FRESH, came.number.to_string()),
            (_, "/fails") => given_status(500, &[], ""),
            _ => given_status(201, &[("location", "/made"), ("content-location", "http://other.example/x")], ""),
        }
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    for path in ["/a", "/made", "/x", "/fails"] {
        got(&gate, path).await;
        assert_eq!(got(&gate, path).await.0, "HIT");
    }
    assert_eq!(gate.post("/fails", "x").await.status, 500);
    assert_eq!(gate.ask("DELETE", "/a").send().await.status, 201);
    assert_eq!(got(&gate, "/a").await.0, "MISS");
    assert_eq!(got(&gate, "/made").await.0, "MISS");
    assert_eq!((got(&gate, "/x").await.0, got(&gate, "/fails").await.0), ("HIT".to_owned(), "HIT".to_owned()));
}

#[tokio::test]
async fn the_host_that_a_trusted_proxy_names_tells_answers_apart_and_invalidates_them() {
    let origin = fixed(FRESH).await;
    let gate = gateway()
        .section("server", "{ trusted_proxies: [127.0.0.0/8] }")
        .members("app", &[origin.address()], "")
        .section("caches", "{ web: {} }")
        .route("match: { path: / }, pool: app, cache: web")
        .start()
        .await;
    let (one, other) = ([("x-forwarded-host", "one.example")], [("x-forwarded-host", "other.example")]);
    assert_told(&got_with(&gate, "/a", &one).await, "MISS", "1");
    assert_told(&got_with(&gate, "/a", &other).await, "MISS", "2");
    assert_told(&got_with(&gate, "/a", &one).await, "HIT", "1");
    let delete = gate.ask("DELETE", "/a").header("x-forwarded-host", "one.example");
    assert_eq!(delete.send().await.status, 200);
    assert_eq!(got_with(&gate, "/a", &one).await.0, "MISS");
    assert_told(&got_with(&gate, "/a", &other).await, "HIT", "2");
}

#[tokio::test]
async fn answers_to_posts_are_never_shared() {
    let origin = fixed(FRESH).await;
    let gate = cached(&origin, "ttl: 300s").await;
    let one = gate.post("/v1/chat", r#"{"prompt":"one"}"#).await;
    let other = gate.post("/v1/chat", r#"{"prompt":"other"}"#).await;
    assert_eq!((one.text(), other.text(), other.header("x-cache-status")), ("1", "2", "BYPASS"));
    assert_eq!(got(&gate, "/v1/chat").await.0, "MISS");
}

#[tokio::test]
async fn a_thousand_identical_misses_are_one_request() {
    let origin = origin(|came| async move {
        tokio::time::sleep(ms(500)).await;
        given(FRESH, came.number.to_string().repeat(1000))
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    let asks = join_all((0..1000).map(|_| gate.ask("GET", "/").try_send())).await;
    let answers: Vec<Answer> = asks.into_iter().map(|answer| answer.expect("an answer")).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "1".repeat(1000)));
    assert_eq!(origin.hits(), 1);
    let coalesced = answers.iter().filter(|answer| answer.header("x-cache-status") == "COALESCED").count();
    assert!(coalesced > 100, "{coalesced}");
}

#[tokio::test]
async fn a_slow_member_is_asked_by_one_more_at_a_time_and_not_by_all_who_wait() {
    let origin = origin(|came| async move {
        tokio::time::sleep(s(2)).await;
        given(FRESH, came.number.to_string())
    });
    let origin = origin.await;
    let gate = cached(&origin, "coalesce_timeout: 500ms").await;
    let asks = join_all((0..200).map(|_| gate.ask("GET", "/").try_send())).await;
    assert!(asks.into_iter().all(|answer| answer.expect("an answer").status == 200));
    assert!((2..=10).contains(&origin.hits()), "{}", origin.hits());
}

#[tokio::test]
async fn a_failure_is_told_to_all_who_waited_and_nobody_stampedes() {
    let origin = origin(|_| async move {
        tokio::time::sleep(ms(300)).await;
        given_status(503, &[("cache-control", "no-store")], "down")
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    let answers = join_all((0..200).map(|_| gate.get("/"))).await;
    assert!(answers.iter().all(|answer| answer.status == 503));
    assert!(origin.hits() <= 5, "{}", origin.hits());
}

#[tokio::test]
async fn a_member_that_breaks_off_costs_all_who_waited_one_request() {
    let upstream = raw_upstream().await;
    let builder = gateway().members("app", &[upstream.address()], "retry: off").section("caches", "{ web: {} }");
    let gate = builder.route("match: { path: / }, pool: app, cache: web").start().await;
    let asks = join_all((0..50).map(|_| gate.get("/")));
    let breaking = async {
        let mut connection = upstream.accept().await;
        connection.head().await.unwrap();
        tokio::time::sleep(ms(300)).await;
        connection.reset();
    };
    let (answers, ()) = futures::join!(asks, breaking);
    assert!(answers.iter().all(|answer| answer.status == 502), "{:?}", answers[0]);
}

#[tokio::test]
async fn those_who_waited_for_what_cannot_be_shared_ask_for_themselves() {
    let origin = origin(|came| async move {
        tokio::time::sleep(ms(200)).await;
        given(&[("cache-control", "private")], came.number.to_string())
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    let answers = join_all((0..20).map(|_| gate.get("/"))).await;
    let mut bodies: Vec<_> = answers.iter().map(|answer| answer.text().to_owned()).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!((bodies.len(), origin.hits()), (20, 20));
    assert_eq!(got(&gate, "/").await.0, "BYPASS", "they are not made to wait again");
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_answer_from_nobody() {
    let origin = origin(|came| async move {
        tokio::time::sleep(ms(400)).await;
        given(FRESH, came.number.to_string())
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    let mut first = gate.connect().await;
    first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually(s(5), "it is asked for", async || origin.hits() == 1).await;
    let second = gate.ask("GET", "/").header("host", "x").send();
    let (second, ()) = futures::join!(second, async { first.reset() });
    assert_told(&told(&second), "COALESCED", "1");
    assert_eq!(origin.hits(), 1);
}

#[tokio::test]
async fn what_is_too_large_passes_and_is_not_stored() {
    let origin = origin(|_| async move { given(FRESH, vec![b'x'; 200_000]) }).await;
    let gate = cached(&origin, "max_object: 100KiB").await;
    for _ in 0..2 {
        let answer = gate.get("/").await;
        assert_eq!((answer.body.len(), answer.header("x-cache-status")), (200_000, "MISS"));
    }
    assert_eq!(origin.hits(), 2);
}

#[tokio::test]
async fn the_bounds_of_a_cache_hold() {
    let origin = origin(|_| async move { given(FRESH, vec![b'x'; 10_000]) }).await;
    let gate = cached(&origin, "max_bytes: 1MiB, max_entries: 1000").await;
    for index in 0..400 {
        gate.get(&format!("/{index}")).await;
    }
    let bytes = gate.metric("sluicegate_cache_bytes").await;
    assert!(bytes > 500_000.0 && bytes < 1_600_000.0, "{bytes}");
    let gate = cached(&origin, "max_entries: 10").await;
    for index in 0..300 {
        gate.get(&format!("/{index}")).await;
    }
    eventually(s(5), "ten are left", async || {
        gate.get("/0").await;
        gate.metric("sluicegate_cache_entries").await <= 11.0
    })
    .await;
    assert!(gate.metric("sluicegate_cache_evicted_total").await >= 200.0);
}

#[tokio::test]
async fn operators_purge_by_url_prefix_tag_and_all_at_once() {
    let origin = origin(|came| async move {
        let tag = if came.path.ends_with("red") { "red, all" } else { "blue all" };
        given(&[("cache-control", "max-age=600"), ("cache-tag", tag)], "x")
    });
    let origin = origin.await;
    let gate = cached(&origin, "").await;
    let fill = async || {
        for path in ["/a/red", "/a/blue", "/b/red", "/b/blue?q=1"] {
            got(&gate, path).await;
        }
    };
    let url = |path: &str| gate.url(path);
    for (arguments, left) in [
        (vec!["--url", "/b/blue?q=1"], ["HIT", "HIT", "HIT", "MISS"]),
        (vec!["--url", &url("/a/red")], ["MISS", "HIT", "HIT", "HIT"]),
        (vec!["--prefix", &url("/a/")], ["MISS", "MISS", "HIT", "HIT"]),
        (vec!["--tag", "red"], ["MISS", "HIT", "MISS", "HIT"]),
        (vec!["--all"], ["MISS", "MISS", "MISS", "MISS"]),
    ] {
        fill().await;
        let went = left.iter().filter(|status| **status == "MISS").count();
        let exit = gate.ctl(&[&["purge", "web"], arguments.as_slice()].concat()).await;
        let plural = if went == 1 { "" } else { "s" };
        assert_eq!(exit.stdout.trim(), format!("web: {went} answer{plural} purged"), "{arguments:?} {exit:?}");
        let found = join_all(["/a/red", "/a/blue", "/b/red", "/b/blue?q=1"].map(|path| got(&gate, path))).await;
        assert_eq!(found.iter().map(|(status, _)| status.as_str()).collect::<Vec<_>>(), left, "{arguments:?}");
    }
    assert_eq!(gate.metric("sluicegate_cache_purged_total").await, 10.0);
    let unknown = gate.ctl(&["purge", "wab", "--all"]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("caches: web"), "{unknown:?}");
    assert_eq!(gate.control("POST", "/control/caches/web/purge").await.status, 400);
}

#[tokio::test]
async fn entries_survive_a_reload_and_a_changed_bound_begins_anew() {
    let origin = fixed(FRESH).await;
    let gate = cached(&origin, "max_entries: 500").await;
    got(&gate, "/").await;
    assert_eq!(gate.reload().await.status, 200);
    assert_told(&got(&gate, "/").await, "HIT", "1");
    gate.reload_with("max_entries: 500", "max_entries: 501").await;
    assert_told(&got(&gate, "/").await, "MISS", "2");
}

#[tokio::test]
async fn a_stored_answer_keeps_the_date_it_was_made_at() {
    let origin = fixed(&[("cache-control", "max-age=999999999"), ("date", "Wed, 01 Jan 2025 00:00:00 GMT")]).await;
    let gate = cached(&origin, "").await;
    got(&gate, "/").await;
    let hit = gate.get("/").await;
    assert_eq!((hit.header("x-cache-status"), hit.header("date")), ("HIT", "Wed, 01 Jan 2025 00:00:00 GMT"));
    assert!(hit.header("age").parse::<u64>().unwrap() > 1_000_000);
    assert_ne!(gate.get("/health").await.header("date"), "Wed, 01 Jan 2025 00:00:00 GMT");
}

#[tokio::test]
async fn http2_clients_share_what_is_stored() {
    let origin = fixed(FRESH).await;
    let builder = gateway().members("app", &[origin.address()], "").section("caches", "{ web: {} }");
    let builder = builder.listener(r#"address: "{listen}", http2: true"#);
    let gate = builder.route("match: { path: / }, pool: app, cache: web").start().await;
    let client = Client::h2c(gate.address());
    let miss = client.get("/").await;
    assert_eq!((miss.version, miss.header("x-cache-status"), miss.text()), (http::Version::HTTP_2, "MISS", "1"));
    assert_told(&told(&client.get("/").await), "HIT", "1");
    assert_told(&got(&gate, "/").await, "HIT", "1");
}

#[tokio::test]
async fn a_hint_before_the_answer_is_passed_on_and_not_stored() {
    let upstream = raw_upstream().await;
    let builder = gateway().members("app", &[upstream.address()], "").section("caches", "{ web: {} }");
    let gate = builder.route("match: { path: / }, pool: app, cache: web").start().await;
    let answers = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 7\r\n\r\n\
                   HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 4\r\n\r\nbody";
    let mut client = gate.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let _member = upstream.answer_once(answers).await;
    let hint = client.answer().await;
    assert_eq!((hint.status, hint.header("link").as_str()), (103, "</a.css>; rel=preload"));
    assert_eq!(hint.header("content-length"), "", "it has no body to tell of");
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text().as_str(), answer.header("link").as_str()), (200, "body", ""));
    let again = client.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(
        (again.status, again.header("x-cache-status").as_str(), again.header("link").as_str()),
        (200, "HIT", "")
    );
}

#[tokio::test]
async fn callers_never_get_what_was_fetched_for_others_unless_the_operator_says_so() {
    const KEYS: &str = "{ api_keys: { keys: [{ id: a, secret: aaaa-1111-bbbb-2222-cccc, permissions: ['*'] }, \
                        { id: b, secret: bbbb-1111-cccc-2222-dddd, permissions: ['*'] }] } }";
    let (a, b) = ("aaaa-1111-bbbb-2222-cccc", "bbbb-1111-cccc-2222-dddd");
    let origin = fixed(FRESH).await;
    let builder = gateway().members("app", &[origin.address()], "").section("auth", KEYS);
    let builder = builder.section("caches", "{ web: {}, all: { share_between_callers: true } }");
    let builder = builder.route("match: { path: / }, pool: app, cache: web, permission: x:y");
    let gate = builder.route("match: { path: /all/ }, pool: app, cache: all, permission: x:y").start().await;
    let ask = async |key: &str, path: &str| got_with(&gate, path, &[("x-api-key", key)]).await;
    assert_told(&ask(a, "/own").await, "MISS", "1");
    assert_told(&ask(b, "/own").await, "MISS", "2");
    assert_told(&ask(a, "/own").await, "HIT", "1");
    assert_told(&got_with(&gate, "/own", &[("authorization", &format!("Bearer {b}"))]).await, "HIT", "2");
    assert_eq!(gate.get("/own").await.status, 401);
    assert_told(&ask(a, "/all/x").await, "MISS", "3");
    assert_told(&ask(b, "/all/x").await, "HIT", "3");
    let both = [("x-api-key", a), ("authorization", "Bearer of-an-end-user")];
    assert_told(&got_with(&gate, "/users", &both).await, "MISS", "4");
    assert_told(&got_with(&gate, "/users", &both).await, "MISS", "5");
}

#[tokio::test]
async fn what_cannot_work_together_is_refused() {
    let file = |pool: &str, caches: &str, route: &str| {
        let text = format!(
            "listen: 127.0.0.1:1\npools: {{ app: {{ members: [127.0.0.1:2]{pool} }} }}\ncaches: {{ {caches} }}\n\
             routes:\n  - {{ match: /, {route} }}\n"
        );
        let exit = check(&text);
        (exit.code, exit.stderr + &exit.stdout)
    };
    for (pool, caches, route, said) in [
        ("", "web: {}", "pool: app, cache: wab", "did you mean `web`?"),
        ("", "web: {}", "respond: 200, cache: web", "has no meaning on a route without a pool"),
        (", http2: true", "web: {}", "pool: app, cache: web", "http2: true"),
        ("", "web: { max_bytes: 1MiB, max_object: 2MiB }", "pool: app, cache: web", "at most `max_bytes`"),
        ("", "web: { ttl: 5 }", "pool: app, cache: web", "5s"),
        ("", "web: { tll: 5s }", "pool: app, cache: web", "did you mean `ttl`?"),
        ("", "web: { key_headers: host }", "pool: app, cache: web", "stands in every key already"),
        ("", "web: {}", "pool: app, cache: { ttl: 5s }", "`use` is missing"),
    ] {
        let (code, text) = file(pool, caches, route);
        assert!(code == Some(78) && text.contains(said), "{caches} {route}: {text}");
    }
}
