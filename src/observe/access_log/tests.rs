use std::net::{Ipv4Addr, Ipv6Addr};

use http::HeaderValue;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::observe::RetryReason;
use crate::observe::ai::{MOST_TRIES, Operation, Tokens, Try, TryOutcome};

fn record() -> AccessRecord<'static> {
    AccessRecord {
        wall_millis: 1_795_197_138_042,
        request_id: "0192f0a1b2c37d4e8f90a1b2c3d4e5f6",
        trace_id: "0af7651916cd43dd8448eb211c80319c",
        client: Ipv4Addr::new(203, 0, 113, 7).into(),
        peer: Ipv4Addr::new(10, 0, 0, 1).into(),
        caller: Some("service-a"),
        listener: "0.0.0.0:443",
        method: "POST",
        host: "api.example.com",
        path: "/v1/chat/completions",
        query: Some("stream=true&api_key=sk-secret"),
        protocol: Protocol::Http11,
        tls: Some(TlsInfo { version: "TLSv1.3", cipher: "TLS13_AES_256_GCM_SHA384", sni: Some("api.example.com") }),
        status: 200,
        bytes_in: 90,
        bytes_out: 5120,
        duration: Duration::from_micros(12_345),
        route: Some("chat"),
        cache: None,
        pool: Some("backend"),
        member: Some("10.0.0.11:8080"),
        attempts: 2,
        retry_reasons: {
            let mut reasons = RetryReasons::default();
            reasons.insert(RetryReason::Reset);
            reasons.insert(RetryReason::ConnectFailure);
            reasons
        },
        connect_time: Some(Duration::from_micros(7)),
        first_byte: Some(Duration::from_micros(8_120)),
        upstream_time: Some(Duration::from_millis(12)),
        upstream_status: Some(200),
        ai: None,
        error: None,
        limit: None,
        lack: None,
        termination: Termination::Completed,
        user_agent: Some(b"curl/8.5.0"),
        referer: Some(b"https://example.com/?page=2&token=sk-secret"),
    }
}

fn bare() -> AccessRecord<'static> {
    AccessRecord {
        query: None,
        tls: None,
        caller: None,
        status: 0,
        route: None,
        pool: None,
        member: None,
        attempts: 0,
        retry_reasons: RetryReasons::default(),
        connect_time: None,
        first_byte: None,
        upstream_time: None,
        upstream_status: None,
        termination: Termination::ClientClosed,
        user_agent: None,
        referer: None,
        ..record()
    }
}

fn text(format: AccessFormat, record: &AccessRecord<'_>) -> String {
    let mut buf = Vec::new();
    line::write(&mut buf, format, record);
    String::from_utf8(buf).unwrap()
}

fn json(record: &AccessRecord<'_>) -> Value {
    let text = text(AccessFormat::Json, record);
    assert_eq!(text.matches('\n').count(), 1, "one line");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_json_line_says_all_there_is_to_say_in_a_stable_order() {
    let expected = concat!(
        r#"{"ts":"2026-11-20T17:52:18.042Z","request_id":"0192f0a1b2c37d4e8f90a1b2c3d4e5f6","#,
        r#""trace_id":"0af7651916cd43dd8448eb211c80319c","client":"203.0.113.7","peer":"10.0.0.1","#,
        r#""caller":"service-a","listener":"0.0.0.0:443","method":"POST","host":"api.example.com","path":"/v1/chat/completions","#,
        r#""query":"stream=true&api_key=***","protocol":"HTTP/1.1","tls_version":"TLSv1.3","#,
        r#""tls_cipher":"TLS13_AES_256_GCM_SHA384","sni":"api.example.com","status":200,"bytes_in":90,"#,
        r#""bytes_out":5120,"duration_ms":12.345,"route":"chat","pool":"backend","member":"10.0.0.11:8080","#,
        r#""attempts":2,"retried":"connect_failure,reset","connect_ms":0.007,"first_byte_ms":8.120,"#,
        r#""upstream_ms":12.000,"upstream_status":200,"termination":"completed","user_agent":"curl/8.5.0","#,
        r#""referer":"https://example.com/?page=2&token=***"}"#,
        "\n"
    );
    assert_eq!(text(AccessFormat::Json, &record()), expected);
}

#[test]
fn what_is_not_known_is_left_out() {
    let line = json(&bare());
    for key in
        ["query", "sni", "route", "pool", "member", "retried", "connect_ms", "upstream_status", "user_agent", "referer"]
    {
        assert!(line.get(key).is_none(), "{key}");
    }
    assert_eq!(line["status"], 0);
    assert_eq!(line["termination"], "client_closed");
}

#[test]
fn the_combined_format_is_what_log_readers_know_with_more_behind_it() {
    assert_eq!(
        text(AccessFormat::Combined, &record()),
        concat!(
            r#"203.0.113.7 - service-a [20/Nov/2026:17:52:18 +0000] "POST /v1/chat/completions?stream=true&api_key=*** HTTP/1.1" "#,
            r#"200 5120 "https://example.com/?page=2&token=***" "curl/8.5.0" "api.example.com" "#,
            "0192f0a1b2c37d4e8f90a1b2c3d4e5f6 0af7651916cd43dd8448eb211c80319c chat backend 10.0.0.11:8080 2 0.012345 ",
            "0.012000 200 completed\n"
        )
    );
    assert!(text(AccessFormat::Combined, &bare()).ends_with(" - - - 0 0.012345 - - client_closed\n"));
}

fn ai_record() -> AiRecord {
    let mut record = AiRecord::new(Operation::Chat);
    let one = |provider: &str, outcome| Try {
        provider: provider.into(),
        key: Some("key-1".into()),
        outcome,
        request_id: None,
    };
    record.tried(one("openai", TryOutcome::Status429));
    record.tried(Try { key: None, ..one("gpus", TryOutcome::BreakerOpen) });
    let request_id = Some(HeaderValue::from_static("req_\"1"));
    record.tried(Try { request_id, ..one("anthropic", TryOutcome::Answered) });
    record.model = "gpt-4".to_owned();
    record.served = Some("claude-sonnet-4-5".into());
    record.provider = Some("anthropic".into());
    record.key = Some("key-1".into());
    record.stream = true;
    record.tokens = Some(Tokens { input: 1_200, output: 80, cache_read: 1_000, cache_write: 100, reasoning: 40 });
    record.estimated = true;
    record.cost = Some(12_345);
    record.first_token = Some(Duration::from_micros(456_789));
    record.broken = true;
    record
}

#[test]
fn a_request_to_the_ai_gateway_tells_who_was_tried_and_what_it_cost() {
    let ai = ai_record();
    let expected = concat!(
        r#","upstream_status":200,"operation":"chat","model":"gpt-4","model_served":"claude-sonnet-4-5","#,
        r#""provider":"anthropic","provider_key":"key-1","stream":true,"#,
        r#""tries":[{"provider":"openai","key":"key-1","outcome":"status_429"},"#,
        r#"{"provider":"gpus","outcome":"breaker_open"},{"provider":"anthropic","key":"key-1","outcome":"answered","#,
        r#""request_id":"req_\"1"}],"#,
        r#""tokens_input":1200,"tokens_output":80,"tokens_cache_read":1000,"tokens_cache_write":100,"#,
        r#""tokens_reasoning":40,"tokens_estimated":true,"cost_usd":0.012345,"first_token_ms":456.789,"broken":true,"#,
        r#""termination":"completed","#
    );
    let line = text(AccessFormat::Json, &AccessRecord { ai: Some(&ai), ..record() });
    assert!(line.contains(expected), "{line}");
    assert!(serde_json::from_str::<Value>(&line).is_ok());
}

#[test]
fn what_is_not_known_of_a_request_to_the_ai_gateway_is_left_out() {
    let ai = AiRecord::new(Operation::Models);
    let line = text(AccessFormat::Json, &AccessRecord { ai: Some(&ai), ..bare() });
    assert!(line.contains(r#""operation":"models","stream":false,"termination":"#), "{line}");
}

#[test]
fn a_refusal_of_the_gateway_names_its_code_and_its_limit() {
    let refused = AccessRecord { error: Some("BUDGET_EXCEEDED"), limit: Some("team-money"), ..bare() };
    let line = text(AccessFormat::Json, &refused);
    assert!(line.contains(r#","error":"BUDGET_EXCEEDED","limit":"team-money","termination":"#), "{line}");
    assert!(!text(AccessFormat::Json, &bare()).contains(r#""error""#));
    let lacking = |money, told: &str| {
        let lack = Some(Lack { money, wanted: 1_500_000, left: 20 });
        let line = text(AccessFormat::Json, &AccessRecord { lack, ..refused.clone() });
        assert!(line.contains(&format!(r#","limit":"team-money",{told},"termination":"#)), "{line}");
    };
    lacking(false, r#""limit_wanted":1500000,"limit_left":20"#);
    lacking(true, r#""limit_wanted":1.500000,"limit_left":0.000020"#);
}

#[test]
fn the_combined_format_is_the_same_for_requests_to_the_ai_gateway() {
    let ai = ai_record();
    let with = AccessRecord { ai: Some(&ai), ..record() };
    assert_eq!(text(AccessFormat::Combined, &with), text(AccessFormat::Combined, &record()));
}

#[test]
fn a_request_that_was_tried_without_end_still_makes_a_line_of_bounded_length() {
    let (mut ai, evil) = (ai_record(), "\u{1}".repeat(20_000));
    for _ in 0..1_000 {
        ai.tried(Try {
            provider: "p".repeat(64).into(),
            key: Some("k".repeat(64).into()),
            outcome: TryOutcome::KeyRefused,
            request_id: HeaderValue::from_bytes(&[b'r'; 4_000]).ok(),
        });
    }
    ai.model.clone_from(&evil);
    let record = AccessRecord { ai: Some(&ai), path: &evil, ..record() };
    let line = json(&record);
    assert_eq!(line["tries"].as_array().unwrap().len(), MOST_TRIES);
    assert_eq!(line["tries_untold"], 1_003 - MOST_TRIES);
    assert_eq!(line["model"].as_str().unwrap().len(), 256);
    assert!(text(AccessFormat::Json, &record).len() < 60 * 1024);
}

#[test]
fn an_ipv6_client_is_written_in_its_short_form() {
    let line = json(&AccessRecord { client: Ipv6Addr::LOCALHOST.into(), ..record() });
    assert_eq!(line["client"], "::1");
}

#[test]
fn long_fields_are_cut() {
    let (path, query, agent) = (format!("/{}", "ü".repeat(5_000)), "q".repeat(9_000), vec![b'a'; 4_000]);
    let record = AccessRecord { path: &path, query: Some(&query), user_agent: Some(&agent), host: &query, ..record() };
    let line = json(&record);
    assert_eq!(line["path"].as_str().unwrap().len(), 8 * 1024 - 1, "cut before a character of two bytes");
    assert_eq!(line["query"].as_str().unwrap().len(), 1);
    assert_eq!(line["user_agent"].as_str().unwrap().len(), 512);
    assert_eq!(line["host"].as_str().unwrap().len(), 256);
}

#[test]
fn a_line_of_nothing_but_escapes_has_a_bound() {
    let (evil, agent) = ("\u{1}".repeat(20_000), vec![0; 20_000]);
    let record = AccessRecord {
        path: &evil,
        host: &evil,
        method: &evil,
        request_id: &evil,
        user_agent: Some(&agent),
        referer: Some(&agent),
        ..record()
    };
    assert!(text(AccessFormat::Json, &record).len() < 62 * 1024);
    assert!(text(AccessFormat::Combined, &record).len() < 62 * 1024 + 80_000);
}

#[test]
fn the_log_writes_each_record_as_a_line_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = AccessLog::new(LogFile::open(&path).unwrap(), AccessFormat::Json);
    log.record(&record());
    log.record(&bare());
    log.file().flush().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(!text.contains("sk-secret"));
}

proptest! {
    /// Whatever the client sent, the line is JSON and says what was sent.
    #[test]
    fn any_request_parses_back(
        method in any::<String>(),
        host in any::<String>(),
        path in any::<String>(),
        agent in proptest::collection::vec(any::<u8>(), 0..300),
        status in any::<u16>(),
        bytes_out in any::<u64>(),
        micros in any::<u64>(),
    ) {
        let record = AccessRecord {
            method: &method, host: &host, path: &path, user_agent: Some(&agent), status, bytes_out,
            duration: Duration::from_micros(micros), ..record()
        };
        let line = json(&record);
        let agent = String::from_utf8_lossy(&agent);
        let strings = [("method", &*method), ("host", &*host), ("path", &*path), ("user_agent", &*agent)];
        for (key, sent) in strings.into_iter().filter(|(_, sent)| sent.len() <= 256) {
            prop_assert_eq!(line[key].as_str(), Some(sent));
        }
        prop_assert_eq!(line["status"].as_u64(), Some(u64::from(status)));
        prop_assert_eq!(line["bytes_out"].as_u64(), Some(bytes_out));
        let millis = line["duration_ms"].as_f64().unwrap();
        prop_assert!((millis - micros as f64 / 1000.0).abs() <= millis * 1e-9 + 0.0005);
    }

    #[test]
    fn any_query_is_kept_but_for_its_secrets(names in proptest::collection::vec("[a-z]{1,3}", 1..5), value in "[^&;#?]{0,20}") {
        let query = names.iter().map(|name| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        prop_assume!(!names.iter().any(|name| ["key", "jwt", "pwd", "sig"].contains(&name.as_str())));
        let shown = json(&AccessRecord { query: Some(&format!("{query}&token=hunter2")), ..record() });
        prop_assert_eq!(shown["query"].as_str(), Some(&*format!("{query}&token=***")));
    }

    /// A reader of the combined format finds its fields where they belong.
    #[test]
    fn any_request_has_its_quotes_in_place(path in any::<String>(), agent in proptest::collection::vec(any::<u8>(), 0..300)) {
        let line = text(AccessFormat::Combined, &AccessRecord { path: &path, user_agent: Some(&agent), ..record() });
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(line.matches('"').count(), 8);
    }
}

/// Not a test: `cargo test --profile quick --lib access_log::tests::cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_line() {
    let log = AccessLog::new(LogFile::open("/dev/null").unwrap(), AccessFormat::Json);
    let metrics = crate::observe::metrics::Metrics::new(&crate::observe::Identity {
        instance_id: "a".into(),
        version: "0".into(),
    });
    let route = metrics.route("chat");
    let record = record();
    const ROUNDS: u32 = 1_000_000;
    let start = crate::clock::now();
    for _ in 0..ROUNDS {
        log.record(std::hint::black_box(&record));
    }
    let line = start.elapsed();
    let start = crate::clock::now();
    for _ in 0..ROUNDS {
        let _guard = route.enter();
        route.record(std::hint::black_box(&crate::observe::metrics::Observation {
            method: crate::observe::metrics::MethodLabel::Post,
            status: 200,
            duration: Duration::from_micros(12_345),
            bytes_in: 90,
            bytes_out: 5120,
            kind: crate::observe::metrics::Kind::Request,
            termination: Termination::Completed,
        }));
    }
    println!(
        "{:?} a line, {:?} for the metrics, {} dropped",
        line / ROUNDS,
        start.elapsed() / ROUNDS,
        log.file().dropped()
    );
}
