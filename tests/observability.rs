//! What an operator sees: access log, process log, metrics, health.

#[path = "support/harness.rs"]
mod support;

use std::process::{Command, Stdio};

use support::*;

#[tokio::test]
async fn an_access_line_tells_the_whole_story() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route("name: shop, match: { path: /shop/ }, pool: app").start().await;
    let ask =
        gate.ask("POST", "/shop/cart?item=7").header("host", "shop.example.com").header("user-agent", "tester/1.0");
    let answer = ask.header("referer", "http://from.example.com/").body("12345").send().await;
    let line = gate.access_log(1).await.remove(0);
    let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
    assert_eq!(
        (text("method"), text("host"), text("path"), text("query")),
        ("POST".into(), "shop.example.com".into(), "/shop/cart".into(), "item=7".into())
    );
    assert_eq!((text("route"), text("pool"), text("member")), ("shop".into(), "app".into(), a.address().to_string()));
    assert_eq!((text("client"), text("protocol")), ("127.0.0.1".into(), "HTTP/1.1".into()));
    assert_eq!((text("request_id"), text("trace_id").len()), (answer.header("x-request-id").to_owned(), 32));
    assert_eq!((text("user_agent"), text("referer")), ("tester/1.0".into(), "http://from.example.com/".into()));
    assert_eq!(
        (line["status"].as_u64(), line["upstream_status"].as_u64(), line["attempts"].as_u64()),
        (Some(200), Some(200), Some(1))
    );
    assert_eq!((line["bytes_in"].as_u64(), line["bytes_out"].as_u64()), (Some(5), Some(answer.body.len() as u64)));
    assert!(
        line["duration_ms"].as_f64() >= line["upstream_ms"].as_f64() && line["upstream_ms"].as_f64() > Some(0.0),
        "{line}"
    );
    assert!(!text("termination").is_empty() && text("ts").ends_with('Z'), "{line}");
}

#[tokio::test]
async fn errors_and_clients_that_leave_have_lines_too() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool("app", &[&a])
        .members("dead", &[free_address()], "")
        .route("match: { path: /dead }, pool: dead")
        .route("match: { path: /app/ }, pool: app")
        .start()
        .await;
    gate.get("/nowhere").await;
    gate.get("/dead").await;
    let mut leaving = gate.connect().await;
    leaving.send("GET /app/slow HTTP/1.1\r\nHost: x\r\nx-mock-delay: 20s\r\n\r\n").await;
    eventually(s(2), "the backend has it", async || a.hits() == 1).await;
    drop(leaving);
    let lines = gate.access_log(3).await;
    let line =
        |path: &str| lines.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("no {path}: {lines:#?}"));
    assert_eq!((&line("/nowhere")["status"], &line("/dead")["status"]), (&404.into(), &502.into()));
    let [nowhere, dead, left] =
        ["/nowhere", "/dead", "/app/slow"].map(|path| line(path)["termination"].as_str().unwrap());
    assert!(nowhere != dead && dead != left && left != nowhere, "{nowhere} {dead} {left}");
}

#[tokio::test]
async fn the_combined_format_is_the_one_that_log_tools_read() {
    let a = upstream("a").await;
    let gate = gateway()
        .section("log", r#"{ access: { file: "{dir}/access.log", format: combined } }"#)
        .pool("app", &[&a])
        .start()
        .await;
    gate.ask("GET", "/x?y=1").header("user-agent", "tester \"1\"").send().await;
    let line = gate.access_lines(1).await.remove(0);
    let (head, rest) = line.split_once(" [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(head, "127.0.0.1 - -");
    assert!(time.len() == 26 && time.contains('/') && time.ends_with(" +0000"), "{time}");
    assert!(rest.starts_with("\"GET /x?y=1 HTTP/1.1\" 200 "), "{rest}");
    assert!(rest.contains("\"-\" \"tester "), "{rest}");
    assert!(!rest.contains("tester \"1\""), "a quote is escaped: {rest}");
}

#[tokio::test]
async fn a_newline_of_a_client_makes_no_second_line() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.get("/a%0A%0D%22b?c=%0Ad\"e").await;
    gate.ask("GET", "/").header("user-agent", "x\ty").send().await;
    assert_eq!(gate.access_log(2).await.len(), 2);
}

#[tokio::test]
async fn health_checks_and_empty_connections_have_no_line() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for path in ["/health", "/health/live", "/health/ready", "/ready"] {
        gate.get(path).await;
        gate.admin().get(path).await;
    }
    drop(gate.connect().await);
    gate.get("/marker").await;
    let lines = gate.access_lines(1).await;
    assert!(lines.len() == 1 && lines[0].contains("/marker"), "{lines:?}");
}

#[tokio::test]
async fn no_secret_is_in_any_log() {
    let (a, secret) = (upstream("a").await, "s3cr3t-v4lu3");
    let gate = gateway()
        .section("admin", r#"{ address: "{admin}", token: "${ADMIN_TOKEN}" }"#)
        .section("log", r#"{ level: debug, access: { file: "{dir}/access.log" } }"#)
        .env("ADMIN_TOKEN", secret)
        .pool("app", &[&a])
        .start()
        .await;
    let ask = gate.ask("GET", &format!("/x?api_key={secret}&access_token={secret}&page=2&password={secret}"));
    let ask = ask.header("authorization", &format!("Bearer {secret}")).header("cookie", &format!("session={secret}"));
    ask.header("x-api-key", secret).send().await;
    gate.admin().ask("POST", "/control/reload").header("authorization", &format!("Bearer {secret}x")).send().await;
    let line = gate.access_lines(1).await.remove(0);
    assert!(line.contains("page=2") && !line.contains(secret), "{line}");
    assert!(!gate.stderr().contains(secret), "{}", gate.stderr());
    let command = std::fs::read(format!("/proc/{}/cmdline", gate.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&command).contains(secret));
}

#[tokio::test]
async fn the_process_log_is_one_json_object_a_line_with_the_known_keys() {
    let a = upstream("a").await;
    let gate = gateway()
        .section("server", "{ instance_id: gate-7 }")
        .section("log", r#"{ level: info, format: json, access: off }"#)
        .pool("app", &[&a])
        .start()
        .await;
    gate.rewrite_config(|_| "routes: [".into());
    gate.reload().await;
    gate.says("sluicegate.yaml").await;
    for line in gate.stderr().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["@timestamp", "level", "logger", "message", "thread", "service", "instanceId"] {
            assert!(!line[key].is_null(), "no {key} in {line}");
        }
        assert_eq!(line["instanceId"], "gate-7");
    }
}

#[tokio::test]
async fn one_target_may_be_louder_than_the_rest() {
    let a = upstream("a").await;
    let log = r#"{ level: "warn,balance=debug", format: json }"#;
    let gate = gateway()
        .section("log", log)
        .pool_with("app", &[&a], "health_check: { path: /health, interval: 50ms }")
        .start()
        .await
        .ready()
        .await;
    a.set_healthy(false);
    eventually(s(5), "the member is out", async || gate.get("/ready").await.status == 503).await;
    for line in gate.stderr().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let loud = ["DEBUG", "INFO"].contains(&line["level"].as_str().unwrap());
        assert!(!loud || line["logger"].as_str().unwrap().contains("balance"), "{line}");
    }
}

#[tokio::test]
async fn the_metrics_have_the_names_that_dashboards_ask_for() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool_with("app", &[&a], "health_check: { path: /health, interval: 50ms }")
        .start()
        .await
        .ready()
        .await;
    gate.get("/").await;
    gate.get("/status/503").await;
    gate.access_lines(2).await;
    let metrics = gate.metrics().await;
    for name in [
        "http_server_requests_total",
        "http_server_requests_seconds_bucket",
        "http_server_requests_seconds_count",
        "http_requests_total",
        "http_request_duration_seconds_bucket",
        "jairouter_requests_total",
        "jairouter_request_duration_seconds_count",
        "jairouter_backend_calls_total",
        "jairouter_backend_call_duration_seconds_count",
        "jairouter_loadbalancer_selections_total",
        "jairouter_backend_health",
        "jairouter_health_check_duration_seconds_count",
        "jairouter_request_size_bytes_count",
        "jairouter_response_size_bytes_count",
        "jairouter_log_errors_total",
        "sluicegate_reloads_total",
        "sluicegate_connections",
        "sluicegate_requests_in_flight",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(metrics.has(name), "no {name} in\n{}", metrics.text());
    }
}

#[tokio::test]
async fn times_of_calls_and_of_checks_are_summed_up() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool_with("app", &[&a], "health_check: { path: /health, interval: 50ms }")
        .start()
        .await
        .ready()
        .await;
    a.set_latency(ms(30));
    gate.get("/").await;
    gate.get("/").await;
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum("jairouter_backend_call_duration_seconds_count"), 2.0);
    assert!(metrics.sum("jairouter_backend_call_duration_seconds_sum") >= 0.06);
    assert!(metrics.sum("jairouter_health_check_duration_seconds_count") >= 1.0);
    assert!(metrics.sum("jairouter_health_check_duration_seconds_sum") > 0.0);
    assert_eq!(metrics.sum("sluicegate_member_health_changes_total"), 1.0, "it came up");
}

#[tokio::test]
async fn requests_are_counted_by_status_and_route() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool("app", &[&a])
        .route("name: shop, match: { path: /status/ }, pool: app")
        .route("name: rest, match: { path: / }, pool: app")
        .start()
        .await;
    for status in [200, 200, 200, 503, 404] {
        gate.get(&format!("/status/{status}")).await;
    }
    gate.access_lines(5).await;
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum(r#"http_server_requests_total{method="GET",uri="shop",status="200"}"#), 3.0);
    assert_eq!(metrics.sum(r#"http_server_requests_total{uri="shop",status="503"}"#), 1.0);
    assert_eq!(metrics.sum(r#"http_requests_total{method="GET",path="shop",status="404"}"#), 1.0);
    assert_eq!(metrics.sum(r#"http_requests_total{path="shop"}"#), 5.0);
    assert_eq!(metrics.sum(r#"http_server_requests_seconds_count{uri="shop"}"#), 5.0);
    assert_eq!(metrics.sum(r#"http_requests_total{path="rest"}"#), 0.0);
}

#[tokio::test]
async fn retries_attempts_and_ejections_are_counted() {
    let [a, b] = upstreams(["a", "b"]).await;
    let options = "outlier: { max_fails: 2, fail_timeout: 60s }, retry: { attempts: 2, on: [reset], budget: 100% }";
    let gate = gateway().pool_with("app", &[&a, &b], options).start().await;
    a.set_fault(Some(Fault::ResetBeforeHeaders));
    Load::of(gate.address(), "/", 1, 20).await.assert_all_ok();
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum("sluicegate_retries_total"), 2.0);
    assert_eq!(metrics.sum("sluicegate_upstream_attempts_total"), 22.0);
    assert_eq!(metrics.sum("sluicegate_member_ejections_total"), 1.0);
    assert_eq!(metrics.sum(r#"jairouter_backend_calls_total{status="failure"}"#), 2.0);
    assert_eq!(metrics.sum(r#"jairouter_backend_calls_total{status="success"}"#), 20.0);
}

#[tokio::test]
async fn what_clients_send_makes_no_new_series() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let ask = async |i: u32| {
        let ask =
            gate.ask(&format!("METHOD{i}"), &format!("/path/{i}?q={i}")).header("host", &format!("h{i}.example.com"));
        ask.header("user-agent", &format!("agent/{i}"))
            .header("x-request-id", &format!("request-number-{i}"))
            .send()
            .await;
    };
    ask(0).await;
    ask(1).await;
    gate.access_lines(2).await;
    let before = gate.metrics().await.samples().count();
    for i in 2..60 {
        ask(i).await;
    }
    gate.access_lines(60).await;
    assert_eq!(gate.metrics().await.samples().count(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gauges_read_zero_when_nothing_is_in_flight() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a, &b]).start().await;
    Load::of(gate.address(), "/", 8, 200).await.assert_all_ok();
    a.fail_next(3, Fault::ResetMidBody);
    for _ in 0..6 {
        let _ = gate.ask("GET", "/bytes/200000").try_send().await;
    }
    let mut leaving = gate.ask("GET", "/sse?events=1000&interval=20ms").stream().await;
    leaving.piece().await;
    assert_eq!(gate.metric("sluicegate_requests_in_flight").await, 1.0);
    drop(leaving);
    let socket = WebSocket::open(gate.address(), "/ws").await.expect("an upgrade");
    socket.close().await;
    for gauge in ["sluicegate_requests_in_flight", "sluicegate_member_in_flight"] {
        eventually(s(5), &format!("{gauge} is zero"), async || gate.metric(gauge).await == 0.0).await;
    }
}

#[tokio::test]
async fn open_connections_are_counted_while_they_are_open() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    eventually(s(5), "none", async || gate.metric("sluicegate_connections").await == 0.0).await;
    let held = [gate.connect().await, gate.connect().await, gate.connect().await];
    eventually(s(5), "three", async || gate.metric("sluicegate_connections").await == 3.0).await;
    drop(held);
    eventually(s(5), "none again", async || gate.metric("sluicegate_connections").await == 0.0).await;
}

#[tokio::test]
async fn both_metrics_paths_serve_the_same_in_the_text_format() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let admin = gate.admin();
    let (first, second) = (admin.get("/metrics").await, admin.get("/actuator/prometheus").await);
    for answer in [&first, &second] {
        assert_eq!(answer.status, 200);
        assert!(
            answer.header("content-type").starts_with("text/plain; version=0.0.4"),
            "{}",
            answer.header("content-type")
        );
    }
    let names = |answer: &Answer| {
        answer.text().lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&first), names(&second));
}

#[tokio::test]
async fn every_series_of_ours_carries_the_instance_id() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ instance_id: gate-7 }").pool("app", &[&a]).start().await;
    gate.get("/").await;
    gate.access_lines(1).await;
    for (name, labels, _) in gate.metrics().await.samples() {
        assert!(name.starts_with("process_") || labels.contains(r#"instance_id="gate-7""#), "{name}{{{labels}}}");
    }
}

#[tokio::test]
async fn every_series_of_ours_carries_the_environment_where_one_is_named() {
    let named = gateway().section("server", "{ environment: staging }").route("match: /, respond: 200").start().await;
    for (name, labels, _) in named.metrics().await.samples() {
        assert!(name.starts_with("process_") || labels.contains(r#"environment="staging""#), "{name}{{{labels}}}");
    }
    let unnamed = gateway().route("match: /, respond: 200").start().await;
    for (name, labels, _) in unnamed.metrics().await.samples() {
        assert!(!labels.contains("environment"), "{name}{{{labels}}}");
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    if Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return; // Not on this machine.
    }
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.get("/").await;
    std::fs::write(gate.dir().join("metrics"), gate.metrics().await.text()).unwrap();
    let input = std::fs::File::open(gate.dir().join("metrics")).unwrap();
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(input).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"), "{output:?}");
}

#[tokio::test]
async fn health_is_a_word_for_people_and_json_for_those_who_ask() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    a.stop().await;
    let plain = gate.get("/health").await;
    assert_eq!((plain.status, plain.text()), (200, "healthy\n"));
    assert!(plain.header("content-type").starts_with("text/plain"));
    let json = gate.ask("GET", "/health").header("accept", "application/json").send().await;
    assert!(json.header("content-type").starts_with("application/json"));
    assert_eq!(json.json()["status"], "healthy");
    assert!(!json.json()["timestamp"].is_null());
    assert_eq!(gate.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn readiness_follows_the_pools_that_routes_need() {
    let a = upstream("a").await;
    let check = "health_check: { path: /health, interval: 50ms, fall: 2, rise: 2 }";
    let gate = gateway().pool_with("app", &[&a], check).start().await.ready().await;
    for path in ["/health/ready", "/ready"] {
        assert_eq!(gate.get(path).await.status, 200);
    }
    a.set_healthy(false);
    eventually(s(5), "not ready", async || gate.get("/health/ready").await.status == 503).await;
    assert_eq!((gate.get("/ready").await.status, gate.get("/health/live").await.status), (503, 200));
}

#[tokio::test]
async fn the_admin_address_has_springs_health() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let health = gate.admin().get("/actuator/health").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("UP")));
    assert_eq!(gate.admin().get("/health").await.text(), "healthy\n");
}
