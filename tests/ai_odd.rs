//! Providers that answer oddly: what a client may learn of it, and what may not stop it.

#[path = "support/harness.rs"]
mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use support::ai::*;
use support::*;
use tokio::sync::Barrier;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A gateway whose one provider is of this kind and answers everything so.
async fn answered_by(kind: &str, status: u16, fields: &[(&str, &str)], body: impl Into<String>) -> (Gateway, Origin) {
    let body: String = body.into();
    let fields: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let backend = origin(move |_| {
        let (fields, body) = (fields.clone(), body.clone());
        async move {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            given_status(status, &fields, body)
        }
    })
    .await;
    let ai = ai().provider_at("first", kind, backend.address(), "keys: sk-x-4711").model("m", &["first"]);
    (ai.start().await, backend)
}

#[tokio::test]
async fn of_a_providers_own_words_those_that_name_our_account_are_taken_out() {
    let message = "Incorrect API key provided: sk-...abcd for organization org-AbC123dEf456 in project \
                   proj_Ab12Cd34: max_tokens is too large, see https://platform.openai.com/docs";
    let left = "Incorrect API key provided: [redacted] for organization [redacted] in project \
                [redacted] max_tokens is too large, see https://platform.openai.com/docs";
    let of_openai = |message: &str| json!({"error": {"message": message, "type": "invalid_request_error", "param": "max_tokens", "code": "x_1"}});
    let of_anthropic = |message: &str| json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_1"});
    for (kind, door, body) in [
        ("openai", "chat/completions", chat("m", "x")),
        ("openai", "responses", responses("m", "x")),
        ("anthropic", "messages", messages("m", "x")),
    ] {
        let error = |message: &str| if kind == "openai" { of_openai(message) } else { of_anthropic(message) };
        for status in [400, 404, 422] {
            let (gate, _backend) = answered_by(kind, status, JSON, error(message).to_string()).await;
            let answer = ask(&gate, door, &body).await;
            assert_eq!((answer.status, answer.json()), (status, error(left)), "{kind} {door}");
        }
    }
}

#[tokio::test]
async fn what_a_key_of_ours_may_not_do_is_never_told_as_the_callers_own_want_of_credentials() {
    let error =
        |code: &str| json!({"error": {"message": "no", "type": "invalid_request_error", "code": code}}).to_string();
    for (status, code, told) in [
        (401, "invalid_api_key", 503),
        (403, "missing_scope", 503),
        (403, "model_not_found", 404),
        (403, "content_policy_violation", 400),
        (407, "proxy", 502),
    ] {
        let (gate, backend) = answered_by("openai", status, JSON, error(code)).await;
        let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
        assert_eq!(answer.status, told, "{status} {code}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{status} {code}: {}", answer.text());
        let hits = backend.hits();
        ask(&gate, "chat/completions", &chat("m", "x")).await;
        let asked_again = backend.hits() > hits;
        assert_eq!(asked_again, told != 503, "{status} {code}: only a key that is refused is set aside");
    }
}

#[tokio::test]
async fn numbers_that_are_none_break_neither_a_stream_nor_an_answer_and_are_passed_on_as_they_came() {
    let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
    let events = [
        chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null}]"#),
        chunk(
            r#""choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":{"content":[{"token":"Hi","logprob":-Infinity}]}}]"#,
        ),
        chunk(r#""choices":[{"index":0,"delta":{"content":"."},"score": NaN}]"#),
        chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"speed":Infinity"#),
        chunk(r#""choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9,"load":NaN}"#),
        "data: [DONE]\n\n".to_owned(),
    ];
    let (gate, _backend) = answered_by("openai", 200, &[("content-type", "text/event-stream")], events.concat()).await;
    let asked = with(streamed(chat("m", "x")), json!({"stream_options": {"include_usage": true}}));
    let answer = ask(&gate, "chat/completions", &asked).await;
    assert_eq!(answer.text(), events.concat());
    let line = gate.access_log(1).await.remove(0);
    let told = ["tokens_input", "tokens_output", "broken"].map(|name| line[name].clone());
    assert_eq!(told, [json!(7), json!(2), Value::Null], "{line}");

    let whole = r#"{"id":"1","choices":[{"index":0,"message":{"content":"Hi"},"logprobs":{"x":-Infinity}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;
    let (gate, _backend) = answered_by("openai", 200, JSON, whole).await;
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.text(), whole);
    assert_eq!(gate.access_log(1).await[0]["tokens_output"], 2);
}

const HI: &str = r#"{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#;

/// A stream of OpenAI's that says `Hi`.
fn hi_stream() -> String {
    let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
    [
        chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]"#),
        chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#),
        chunk(r#""choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}"#),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}

#[tokio::test]
async fn a_call_whose_arguments_are_no_object_breaks_the_stream_of_a_client_that_would_run_it() {
    let chunk = |rest: &str| {
        format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,{rest}}}]}}\n\n")
    };
    let call = |arguments: &str| {
        let call =
            json!([{"index": 0, "id": "c", "type": "function", "function": {"name": "rm", "arguments": arguments}}]);
        chunk(&format!("\"delta\":{{\"tool_calls\":{call}}}"))
    };
    let answered = |arguments: &str, reason: &str| {
        let end = chunk(&format!("\"delta\":{{}},\"finish_reason\":\"{reason}\""));
        [call(arguments), end, "data: [DONE]\n\n".to_owned()].concat()
    };
    let stream = &[("content-type", "text/event-stream")];
    for arguments in [r#"{"path":"/","dry"#, "[1]", r#""x""#, r#"{"a":1}{"b":2}"#] {
        let (gate, _backend) = answered_by("openai", 200, stream, answered(arguments, "tool_calls")).await;
        let answer = ask(&gate, "messages", &streamed(messages("m", "x"))).await;
        let text = answer.text();
        assert!(text.contains(r#""type":"error""#) && text.contains("no JSON object"), "{arguments}: {text}");
        assert!(!text.contains("content_block_stop") && !text.contains("message_stop"), "{arguments}: {text}");
    }
    for (arguments, reason, stop) in [(r#"{"path":"/"#, "length", "max_tokens"), ("", "tool_calls", "tool_use")] {
        let (gate, _backend) = answered_by("openai", 200, stream, answered(arguments, reason)).await;
        let told = messages_told(&events(ask(&gate, "messages", &streamed(messages("m", "x"))).await.text()));
        assert_eq!((told.finish.as_deref(), told.ended), (Some(stop), true), "{arguments}");
    }
}

#[tokio::test]
async fn a_body_is_what_it_is_whatever_its_type_says() {
    type Fields = &'static [(&'static str, &'static str)];
    let cases: [(Fields, bool, String); 5] = [
        (&[], false, HI.to_owned()),
        (&[], true, hi_stream()),
        (&[("content-type", "text/plain; charset=utf-8")], false, HI.to_owned()),
        (&[("content-type", "text/html")], false, HI.to_owned()),
        (&[("content-type", "Application/JSON;charset=utf-8")], false, HI.to_owned()),
    ];
    for (fields, streams, body) in cases {
        let (gate, _backend) = answered_by("openai", 200, fields, body).await;
        let asked = if streams { streamed(chat("m", "x")) } else { chat("m", "x") };
        let answer = ask(&gate, "chat/completions", &asked).await;
        assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text());
        if streams {
            let told = chat_told(&events(answer.text()));
            assert_eq!((told.text.as_str(), told.ended), ("Hi", true), "{fields:?}");
            assert_eq!(answer.header("content-type"), "text/event-stream");
        } else {
            assert_eq!(text_of(&answer), "Hi", "{fields:?}");
            assert!(answer.header("content-type").to_lowercase().starts_with("application/json"), "{fields:?}");
        }
        let line = gate.access_log(1).await.remove(0);
        assert_eq!((&line["tokens_input"], &line["tokens_output"]), (&json!(7), &json!(2)), "{fields:?}: {line}");
    }
}

#[tokio::test]
async fn a_success_that_is_none_is_told_as_the_providers_failure() {
    let html = &[("content-type", "text/html")][..];
    let error = r#"{"error":{"message":"you did nothing wrong","type":"server_error","code":null}}"#;
    for (fields, body) in [
        (JSON, ""),
        (&[][..], ""),
        (html, "<html>down for maintenance</html>"),
        (JSON, "null"),
        (JSON, error),
        (JSON, "{\"id\":\"1\",\"choices\":["),
    ] {
        for streams in [false, true] {
            let (gate, _backend) = answered_by("openai", 200, fields, body).await;
            let asked = if streams { streamed(chat("m", "x")) } else { chat("m", "x") };
            let answer = ask(&gate, "chat/completions", &asked).await;
            assert_eq!(answer.status, 502, "{fields:?} {body:?} {streams}: {}", answer.text());
            assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
            assert!(!answer.text().contains("nothing wrong"), "{}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_retry_after_is_understood_in_every_form_that_is_written() {
    let date = |seconds: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    for (name, value, least, most) in [
        ("retry-after", "20".to_owned(), 20, 20),
        ("retry-after", "19.5".to_owned(), 20, 20),
        ("retry-after", date(300), 250, 300),
        ("retry-after", date(-30), 1, 1),
        ("retry-after", "0".to_owned(), 1, 1),
        ("retry-after", "soon".to_owned(), 5, 5),
        ("retry-after", "-3".to_owned(), 5, 5),
        ("retry-after", "999999999".to_owned(), 3600, 3600),
        ("retry-after-ms", "7300".to_owned(), 8, 8),
    ] {
        let fields = [JSON[0], (name, value.as_str())];
        let (gate, _backend) = answered_by("openai", 429, &fields, r#"{"error":{"message":"slow down"}}"#).await;
        let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
        let wait: u64 = answer.header("retry-after").parse().unwrap_or(0);
        assert_eq!(answer.status, 429, "{name}: {value}");
        assert!((least..=most).contains(&wait), "{name}: {value} became {wait}");
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over_and_compressed_ones_are_not_taken_for_text() {
    let raw = raw_upstream().await;
    let ai = ai().provider_at("first", "openai", raw.address(), "keys: sk-x-4711").model("m", &["first"]);
    let gate = ai.set("attempts: 1").start().await;
    let length = HI.len();
    let good = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nset-cookie: a=b\r\nx-evil: 1\r\n\r\n{HI}"
    );
    let gzip = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x08\x00\x00";
    for (answer, status) in [(good.as_str(), 200), (gzip, 502)] {
        let body = chat("m", "x");
        let asking = ask(&gate, "chat/completions", &body);
        let (told, (_connection, head)) = tokio::join!(asking, raw.answer_once(answer));
        assert_eq!(told.status, status, "{}", told.text());
        assert!(head.to_lowercase().contains("accept-encoding: identity"), "{head}");
        assert_eq!((told.header("set-cookie"), told.header("x-evil"), told.header("link")), ("", "", ""));
    }
}

#[tokio::test]
async fn a_provider_that_never_ends_is_left_after_the_time_for_all() {
    let a = upstream("a").await;
    a.set_order("sse", "interval=0ms,events=100000000");
    let gate = ai_of(&a).set("timeouts: { first_token: 1s, idle: 1s, total: 2s }").start().await;
    let asked = streamed(chat("m", "x"));
    let events = within(s(20), "an end", stream(&gate, "chat/completions", &asked).await.rest()).await;
    let last = events.last().map(Event::json).unwrap_or_default();
    assert_eq!(last["error"]["code"], "PROVIDER_TIMEOUT", "{last}");
    eventually(s(5), "the provider is left", async || a.ledger().total().cancelled == 1).await;
}

#[tokio::test]
async fn numbers_of_tokens_that_nobody_means_spoil_no_sum() {
    let usage = r#"{"prompt_tokens":18446744073709551615,"completion_tokens":1e300,"total_tokens":-1}"#;
    let whole = HI.replace(r#"{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}"#, usage);
    let (gate, _backend) = answered_by("openai", 200, JSON, whole).await;
    for _ in 0..20 {
        assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("m", "x")).await), "Hi");
    }
    let metrics = gate.metrics().await;
    assert!(metrics.sum(r#"sluicegate_ai_tokens_total{type="input"}"#) < 1e13, "{}", metrics.text());
    assert_eq!(metrics.sum("sluicegate_panics_total"), 0.0);
}

const TOO_LARGE: &str = "Request too large for gpt-4o in organization org-AbC123dEf456 on tokens per min (TPM): Limit 30000, Requested 50000.";

#[tokio::test]
async fn a_request_that_is_more_than_its_provider_ever_takes_costs_no_other_caller_a_key() {
    let error =
        json!({"error": {"message": TOO_LARGE, "type": "tokens", "param": null, "code": "rate_limit_exceeded"}});
    for status in [429, 413] {
        let backend = {
            let error = error.to_string();
            origin(move |_| {
                let error = error.clone();
                async move { given_status(status, &[JSON[0], ("retry-after", "7")], error) }
            })
            .await
        };
        let other = upstream("b").await;
        let gate = ai()
            .provider_at("first", "openai", backend.address(), "keys: [sk-x-4711, sk-x-4712]")
            .openai("second", &other)
            .model("m", &["first"])
            .model("n", &["first", "second"])
            .start()
            .await;
        for (times, door) in [(1, "chat/completions"), (2, "messages"), (3, "chat/completions")] {
            let asked = if door == "messages" { messages("m", "x") } else { chat("m", "x") };
            let answer = ask(&gate, door, &asked).await;
            assert_eq!((answer.status, backend.hits()), (status, times), "no second key: {}", answer.text());
            assert!(!answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
            assert_eq!(answer.header("x-should-retry"), "false", "{:?}", answer.headers);
            let error = &answer.json()["error"];
            let kind = match (door, status) {
                ("messages", 413) => "request_too_large",
                ("messages", _) => "rate_limit_error",
                _ => "tokens",
            };
            assert_eq!(error["type"], kind, "{error}");
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.contains("Limit 30000, Requested 50000") && !message.contains("AbC123"), "{message}");
        }
        let answer = ask(&gate, "chat/completions", &chat("n", "hello")).await;
        assert_eq!((text_of(&answer), backend.hits()), (said("b", 5), 4), "another target serves it");
    }
}

#[tokio::test]
async fn errors_of_another_dialect_have_the_codes_that_clients_of_openai_know() {
    let claude = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    let google =
        |code: u16, status: &str, message: &str| json!({"error": {"code": code, "status": status, "message": message}});
    let openai = |code: &str, message: &str| json!({"error": {"message": message, "type": "invalid_request_error", "code": code}});
    let long = "prompt is too long: 210000 tokens > 200000 maximum";
    let many = "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).";
    for (kind, status, body, door, told) in [
        ("anthropic", 400, claude("invalid_request_error", long), "chat/completions", "context_length_exceeded"),
        ("gemini", 400, google(400, "INVALID_ARGUMENT", many), "chat/completions", "context_length_exceeded"),
        (
            "anthropic",
            400,
            claude("invalid_request_error", "Output blocked by content filtering policy"),
            "chat/completions",
            "content_policy_violation",
        ),
        ("anthropic", 404, claude("not_found_error", "model: claude-9"), "chat/completions", "model_not_found"),
        (
            "gemini",
            404,
            google(404, "NOT_FOUND", "models/g-9 is not found for API version v1beta"),
            "chat/completions",
            "model_not_found",
        ),
        ("openai", 400, openai("context_length_exceeded", "too long"), "messages", "invalid_request_error"),
        ("gemini", 400, google(400, "INVALID_ARGUMENT", many), "messages", "invalid_request_error"),
        ("openai", 400, openai("content_policy_violation", "no"), "messages", "invalid_request_error"),
        ("openai", 404, openai("model_not_found", "The model `x` does not exist"), "messages", "not_found_error"),
    ] {
        let (gate, backend) = answered_by(kind, status, JSON, body.to_string()).await;
        let asked = if door == "messages" { messages("m", "x") } else { chat("m", "x") };
        let answer = ask(&gate, door, &asked).await;
        assert_eq!((answer.status, backend.hits()), (status, 1), "{kind} {body}: {}", answer.text());
        let error = &answer.json()["error"];
        let is = if door == "messages" { &error["type"] } else { &error["code"] };
        assert_eq!(is, told, "{kind} {body}: {error}");
        assert_eq!(error["message"], body["error"]["message"], "{kind}");
        if status == 404 {
            let told = "does not know m, which the configuration asks it for as m";
            eventually(s(5), "the log tells of it", async || gate.stderr().contains(told)).await;
        }
    }
}

/// A gateway that asks one provider, and another one after these times.
async fn before(first: &RawUpstream, second: &Mock, timeouts: &str) -> Gateway {
    ai().provider_at("first", "openai", first.address(), "keys: sk-x-4711")
        .openai("good", second)
        .model("m", &["first", "good"])
        .set(&format!("timeouts: {timeouts}"))
        .start()
        .await
}

/// Answers one request so, and then with this again and again, until the gateway has gone.
async fn flood(raw: RawUpstream, begin: &str, more: &str) {
    let (mut connection, _) = raw.answer_once(begin).await;
    while connection.try_send(more.repeat(4096)).await.is_ok() {}
}

#[tokio::test]
async fn a_header_block_that_comes_in_drops_is_not_waited_for() {
    let (raw, good) = (raw_upstream().await, upstream("good").await);
    let gate = before(&raw, &good, "{ first_token: 1s, idle: 1s }").await;
    let drops = tokio::spawn(async move {
        let (mut connection, _) = raw.answer_once("HTTP/1.1 200 OK\r\n").await;
        // It ends with a panic, when the gateway has gone.
        connection.drip(&["x-a: b\r\n"; 40], ms(200)).await;
    });
    let started = now();
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    assert!(started.elapsed() < s(5), "it took {:?}", started.elapsed());
    assert_eq!(good.hits(), 1);
    assert!(drops.await.is_err(), "the connection is still open");
}

#[tokio::test]
async fn comments_of_a_provider_are_no_content() {
    let (raw, good) = (raw_upstream().await, upstream("good").await);
    let gate = before(&raw, &good, "{ first_token: 1s }").await;
    let comments = tokio::spawn(flood(raw, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", ": ping\n\n"));
    let answer = ask(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    let text = answer.text();
    assert!(text.contains("[DONE]"), "{}", text.get(..300).unwrap_or(text));
    assert_eq!(good.hits(), 1);
    comments.await.unwrap();
}

#[tokio::test]
async fn a_provider_that_only_ever_informs_is_not_waited_for() {
    let (raw, good) = (raw_upstream().await, upstream("good").await);
    let gate = before(&raw, &good, "{ first_token: 1s }").await;
    let informs = tokio::spawn(flood(raw, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"));
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    assert_eq!(good.hits(), 1);
    informs.await.unwrap();
}

#[tokio::test]
async fn a_provider_that_had_begun_to_answer_on_a_kept_connection_is_not_asked_once_more() {
    let (raw, good) = (raw_upstream().await, upstream("good").await);
    let gate = before(&raw, &good, "{ first_token: 20s }").await;
    let provider = tokio::spawn(async move {
        let body = r#"{"choices":[{"message":{"content":"one"}}]}"#;
        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (mut connection, head) = raw.answer_once(&whole).await;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
        connection.take(length).await.unwrap();
        connection.head().await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\nx-a:").await;
        drop(connection);
        raw
    });
    let first = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert_eq!((text_of(&first).as_str(), good.hits()), ("one", 0));
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    assert_eq!(good.hits(), 1, "the other one answers");
    let raw = provider.await.unwrap();
    let again = tokio::time::timeout(ms(300), raw.accept()).await;
    assert!(again.is_err(), "it was asked once more");
}

#[tokio::test]
async fn a_parameter_that_is_no_ascii_reaches_its_provider_as_it_came() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let body = chat("m", "x").to_string();
    let mut connection = gate.connect().await;
    let head =
        format!("POST /v1/chat/completions?beta=\u{e9} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    assert_eq!(connection.ask(format!("{head}{body}")).await.status, 200);
    assert_eq!(last_seen(&a).path_and_query, "/v1/chat/completions?beta=\u{e9}");
}

#[tokio::test]
async fn a_provider_that_is_down_says_by_no_window_of_its_limits_when_it_is_back() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).to_string();
    let windows = [
        ("content-type", "application/json"),
        ("anthropic-ratelimit-requests-remaining", "499"),
        ("anthropic-ratelimit-requests-reset", "2099-01-01T00:00:00Z"),
    ];
    let (gate, _backend) = answered_by("anthropic", 529, &windows, error.clone()).await;
    let answer = ask(&gate, "messages", &messages("m", "x")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (529, ""), "{}", answer.text());
    let (gate, _backend) = answered_by("anthropic", 529, &[windows[0], ("retry-after", "7")], error).await;
    assert_eq!(ask(&gate, "messages", &messages("m", "x")).await.header("retry-after"), "7");
}

/// A chat whose stream tells no usage, of a server that refuses to be asked for some.
async fn strict() -> Origin {
    origin(|came| async move { strictly(&came) }).await
}

/// What it answers.
fn strictly(came: &Came) -> Given {
    if String::from_utf8_lossy(&came.body).contains("stream_options") {
        let detail = json!([{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]);
        return given_status(422, JSON, json!({"detail": detail}).to_string());
    }
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let said = chunk("{\"role\":\"assistant\",\"content\":\"Hi\"}", "null") + &chunk("{}", "\"stop\"");
    given(&[("content-type", "text/event-stream")], said + "data: [DONE]\n\n")
}

#[tokio::test]
async fn a_server_that_takes_no_stream_options_is_asked_without_from_then_on() {
    for door in ["chat/completions", "messages"] {
        let backend = strict().await;
        let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]);
        let gate = ai.set("attempts: 1").on_route("limits: [a]").build();
        let gate = gate.section("limits", "{ a: { key: global, tokens: 1000000/1d } }").start().await;
        let body = if door == "messages" { messages("m", "x") } else { chat("m", "x") };
        for calls in [2, 3] {
            let events = stream(&gate, door, &streamed(body.clone())).await.rest().await;
            let told = if door == "messages" { messages_told(&events) } else { chat_told(&events) };
            assert_eq!((told.text.as_str(), told.ended, told.errors.len()), ("Hi", true, 0), "{door}: {told:?}");
            assert_eq!(backend.hits(), calls, "{door}");
        }
        assert!(settled(&gate).await > 0, "what it used is estimated");
    }
}

#[tokio::test]
async fn a_client_that_asks_for_stream_options_itself_hears_that_they_are_refused() {
    let backend = strict().await;
    let gate =
        ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]).start().await;
    let body = with(streamed(chat("m", "x")), json!({"stream_options": {"include_usage": true}}));
    assert_eq!(ask(&gate, "chat/completions", &body).await.status, 422);
    assert_eq!(backend.hits(), 1);
}

#[tokio::test]
async fn what_a_provider_says_when_it_refuses_a_key_is_in_the_log_without_the_key() {
    let error =
        json!({"error": {"message": "Incorrect API key provided: sk-x-4711. Rotate it.", "code": "invalid_api_key"}});
    let (gate, _backend) = answered_by("openai", 401, JSON, error.to_string()).await;
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 503);
    let log = gate.stderr();
    assert!(log.contains("answered 401 for model m: \"Incorrect API key provided"), "{log}");
    assert!(!log.contains("sk-x-4711"), "{log}");
}

#[tokio::test]
async fn what_a_provider_repeats_of_its_own_fields_in_an_error_no_client_reads() {
    let error = json!({"error": {"message": "field x-account: acct-4711-blue", "type": "invalid_request_error"}});
    let text = error.to_string();
    let backend = origin(move |_| {
        let text = text.clone();
        async move { given_status(400, JSON, text) }
    })
    .await;
    let rest = "keys: sk-x-4711, headers: { x-account: acct-4711-blue }";
    let gate = ai().provider_at("first", "openai", backend.address(), rest).model("m", &["first"]).start().await;
    let answer = ask_with(&gate, "chat/completions", &chat("m", "x"), &[("X_Account", "mine")]).await;
    assert!(answer.status == 400 && !answer.text().contains("acct-4711-blue"), "{}", answer.text());
    let came = &backend.came()[0].headers;
    assert!(came.get("x_account").is_none() && came["x-account"] == "acct-4711-blue", "{came:?}");
}

#[tokio::test]
async fn a_door_that_a_key_or_a_provider_does_not_serve_costs_the_others_nothing() {
    let scopes = "You have insufficient permissions for this operation. Missing scopes: api.responses.write.";
    let said = [
        (401, 503, scopes),
        (501, 501, "This server does not support embeddings."),
        (500, 400, "input is too large to process. increase the physical batch size"),
    ];
    for (status, told, message) in said {
        let backend = origin(move |came| async move {
            if came.path.ends_with("/embeddings") {
                return given_status(status, JSON, json!({"error": {"message": message, "type": "x"}}).to_string());
            }
            given(JSON, HI.to_owned())
        })
        .await;
        let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]);
        let gate = ai.set("breaker: { error_threshold: 1%, min_requests: 1 }").start().await;
        let refused = ask(&gate, "embeddings", &json!({"model": "m", "input": "x"})).await;
        assert_eq!(refused.status, told, "{}", refused.text());
        assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("m", "x")).await), "Hi");
        assert_eq!(backend.hits(), 2, "nobody is asked twice");
    }
}

/// Bodies with a status of success that have nothing of an answer, and say nothing that anybody knows.
const NO_ANSWERS: [&str; 4] =
    [r#"{"code":50001,"msg":"system busy"}"#, "{}", r#"{"detail":"not now"}"#, r#"{"choices":null,"content":null}"#];

/// Doors whose answers are known by their members, and what is asked there.
fn doors() -> [(&'static str, Value); 6] {
    [
        ("chat/completions", chat("m", "hello")),
        ("chat/completions", streamed(chat("m", "hello"))),
        ("completions", json!({"model": "m", "prompt": "hello"})),
        ("responses", responses("m", "hello")),
        ("embeddings", json!({"model": "m", "input": "hello"})),
        ("rerank", json!({"model": "m", "query": "q", "documents": ["a"]})),
    ]
}

/// A gateway that asks `backend` first, and `second` then.
async fn with_a_second(backend: &Origin, second: &Mock) -> Gateway {
    let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").openai("second", second);
    ai.model("m", &["first", "second"]).start().await
}

#[tokio::test]
async fn a_body_that_is_no_answer_is_passed_over_like_one_that_is_no_json() {
    let b = upstream("b").await;
    for body in NO_ANSWERS {
        let backend = origin(move |_| async move { given(JSON, body) }).await;
        let gate = with_a_second(&backend, &b).await;
        for (door, asked) in doors() {
            let answer = ask(&gate, door, &asked).await;
            let told = (answer.status, answer.header("x-sluicegate-target"));
            assert_eq!(told, (200, "second/m"), "{door} {body}: {}", answer.text());
        }
        for line in gate.access_log(doors().len()).await {
            assert_eq!(line["tries"][0]["outcome"], "invalid", "{line}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_answer_is_a_failure_of_its_provider_and_is_not_kept() {
    let breaker = "breaker: { error_threshold: 50%, window: 60s, min_requests: 4, reset: 60s }";
    for body in NO_ANSWERS {
        for asked in [chat("m", "hello"), streamed(chat("m", "hello"))] {
            let backend = origin(move |_| async move { given(JSON, body) }).await;
            let gate = ai()
                .provider_at("first", "openai", backend.address(), "keys: sk-x-4711")
                .model("m", &["first"])
                .set("attempts: 1")
                .set(breaker)
                .on_route("cache: answers")
                .build()
                .section("caches", "{ answers: { ttl: 1d, max_entries: 10, max_bytes: 1MiB } }")
                .start()
                .await;
            for asked_before in 0..4 {
                let answer = ask(&gate, "chat/completions", &asked).await;
                let told = (answer.status, code_of(&answer), backend.hits());
                assert_eq!(told, (502, "PROVIDER_INVALID_ANSWER".to_owned(), asked_before + 1), "{body}");
            }
            let answer = ask(&gate, "chat/completions", &asked).await;
            assert_eq!((answer.status, code_of(&answer).as_str()), (503, "CIRCUIT_OPEN"), "{body}");
        }
    }
}

#[tokio::test]
async fn an_error_that_comes_as_a_success_is_told_as_what_it_is() {
    let vllm =
        r#"{"object":"error","message":"max_tokens is too large","type":"BadRequestError","param":null,"code":400}"#;
    for (body, status, code) in [
        (vllm, 400, "invalid_request"),
        (r#"{"code":429,"msg":"slow down"}"#, 429, "PROVIDER_RATE_LIMITED"),
        (r#"{"code":503,"message":"busy"}"#, 503, "PROVIDER_OVERLOADED"),
    ] {
        let (gate, _backend) = answered_by("openai", 200, JSON, body).await;
        for asked in [chat("m", "x"), streamed(chat("m", "x"))] {
            let answer = ask(&gate, "chat/completions", &asked).await;
            assert_eq!((answer.status, code_of(&answer).as_str()), (status, code), "{body}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn an_event_stream_with_nothing_but_its_end_is_passed_over() {
    let b = upstream("b").await;
    for body in [
        "data: [DONE]\n\n",
        ": hello\n\ndata: [DONE]\n\n",
        ": hello\n\n",
        "",
        "data: {\"code\":50001}\n\ndata: [DONE]\n\n",
    ] {
        let backend = origin(move |_| async move { given(&[("content-type", "text/event-stream")], body) }).await;
        let gate = with_a_second(&backend, &b).await;
        let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await);
        assert_eq!((told.text, told.ended), (said("b", 5), true), "{body}");
    }
}

#[tokio::test]
async fn requests_at_the_same_time_do_not_hear_of_stream_options_either() {
    for door in ["chat/completions", "messages"] {
        // Both are refused before either can be told.
        let both = Arc::new(Barrier::new(2));
        let backend = origin(move |came| {
            let both = Arc::clone(&both);
            async move {
                if String::from_utf8_lossy(&came.body).contains("stream_options") {
                    both.wait().await;
                }
                strictly(&came)
            }
        })
        .await;
        let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]);
        let gate = ai.start().await;
        let body = streamed(if door == "messages" { messages("m", "x") } else { chat("m", "x") });
        let (one, other) = tokio::join!(ask(&gate, door, &body), ask(&gate, door, &body));
        assert_eq!((one.status, other.status, backend.hits()), (200, 200, 4), "{door}");
    }
}

const BLOCKED: &str = "<!DOCTYPE html><html><h1>Sorry, you have been blocked</h1>Cloudflare Ray ID: 8c1</html>";

/// A provider with a firewall before it, which does not let a certain text through, and answers in this way.
async fn behind_a_firewall(page: &'static str) -> Origin {
    origin(move |came| async move {
        if String::from_utf8_lossy(&came.body).contains("DROP TABLE") {
            return given_status(403, &[("content-type", "text/html")], page);
        }
        given(JSON, HI)
    })
    .await
}

#[tokio::test]
async fn a_text_that_a_firewall_stops_takes_the_model_from_nobody() {
    for page in [BLOCKED, "", "{\"message\":\"Forbidden\"}"] {
        let backend = behind_a_firewall(page).await;
        let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]);
        let gate = ai.start().await;
        for _ in 0..25 {
            let answer = ask(&gate, "chat/completions", &chat("m", "x'; DROP TABLE users")).await;
            assert_eq!((answer.status, code_of(&answer).as_str()), (502, "PROVIDER_BLOCKED"), "{}", answer.text());
            assert_eq!(answer.header("x-should-retry"), "false");
        }
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, 200, "{page:?}");
    }
}

#[tokio::test]
async fn what_a_firewall_stops_is_asked_of_the_next_target() {
    let b = upstream("b").await;
    let backend = behind_a_firewall(BLOCKED).await;
    let gate = with_a_second(&backend, &b).await;
    let answer = ask(&gate, "chat/completions", &chat("m", "x'; DROP TABLE users")).await;
    assert_eq!((answer.status, answer.header("x-sluicegate-attempts")), (200, "2"), "{}", answer.text());
    assert_eq!((backend.hits(), b.hits()), (1, 1));
}

#[tokio::test]
async fn a_key_of_ours_is_told_in_no_member_of_an_error_whatever_it_looks_like() {
    let key = "provider-key-of-ours";
    let error = json!({"error": {"message": format!("no: {key}"), "type": "invalid_request_error", "code": key, "param": key,
        "details": [{key: [key]}]}});
    for (kind, status) in [("openai", 400), ("openai", 422), ("anthropic", 400), ("openai", 401)] {
        let backend = origin({
            let error = error.to_string();
            move |_| {
                let error = error.clone();
                async move { given_status(status, JSON, error) }
            }
        })
        .await;
        let ai = ai().provider_at("first", kind, backend.address(), &format!("keys: {key}")).model("m", &["first"]);
        let gate = ai.start().await;
        for (door, body) in [("chat/completions", chat("m", "x")), ("messages", messages("m", "x"))] {
            let answer = ask(&gate, door, &body).await;
            assert!(answer.status >= 400 && !answer.text().contains(key), "{kind} {status} {door}: {}", answer.text());
        }
        assert!(!gate.stderr().contains(key), "{kind} {status}: {}", gate.stderr());
    }
}

#[tokio::test]
async fn an_event_without_data_ends_no_stream() {
    let sent = hi_stream().replacen("\n\n", "\n\ndata:\n\nevent: nothing\ndata: \n\n", 1);
    let (gate, _backend) = answered_by("openai", 200, &[("content-type", "text/event-stream")], sent.clone()).await;
    let told = messages_told(&stream(&gate, "messages", &streamed(messages("m", "x"))).await.rest().await);
    assert_eq!((told.text.as_str(), told.ended), ("Hi", true));
    let asked = with(streamed(chat("m", "x")), json!({"stream_options": {"include_usage": true}}));
    assert_eq!(ask(&gate, "chat/completions", &asked).await.text(), sent, "in its own dialect a stream is what it was");
}

#[tokio::test]
async fn blank_lines_between_events_do_not_become_more_than_they_were() {
    let flood = "\n".repeat(200_000);
    let sent = hi_stream().replacen("\n\n", &format!("\n\n{flood}"), 1);
    let (gate, _backend) = answered_by("openai", 200, &[("content-type", "text/event-stream")], sent.clone()).await;
    let mut client = gate.connect().await;
    let body = streamed(with(chat("m", "x"), json!({"stream_options": {"include_usage": true}}))).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json";
    client.send(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    let came = client.rest(std::time::Duration::from_secs(15)).await;
    assert!(came.contains("data: [DONE]"), "{} bytes", came.len());
    assert!(came.len() < sent.len() * 11 / 10, "{} bytes became {}", sent.len(), came.len());
}

#[tokio::test]
async fn an_answer_in_a_coding_that_nobody_asked_for_is_told_as_such_and_asked_for_once() {
    let fields = &[("content-type", "application/json"), ("content-encoding", "gzip")];
    let (gate, backend) = answered_by("openai", 200, fields, "\u{1f}\u{8}").await;
    for body in [chat("m", "x"), streamed(chat("m", "x"))] {
        let before = backend.came().len();
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!((answer.status, code_of(&answer).as_str()), (502, "PROVIDER_INVALID_ANSWER"), "{}", answer.text());
        assert!(answer.text().contains("has the coding gzip, which nobody asked for"), "{}", answer.text());
        assert_eq!(backend.came().len() - before, 1);
    }
}

#[tokio::test]
async fn the_mark_of_utf_8_before_an_answer_is_passed_over() {
    let choice = r#"{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}"#;
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":1}"#;
    let body = format!("\u{feff}{{\"id\":\"1\",\"model\":\"m\",\"choices\":[{choice}],{usage}}}");
    let (gate, backend) = answered_by("openai", 200, JSON, body).await;
    assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("m", "x")).await), "Hi");
    assert_eq!(backend.came().len(), 1);
}
