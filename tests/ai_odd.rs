//! Providers that answer oddly: what a client may learn of it, and what may not stop it.

#[path = "support/harness.rs"]
mod support;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::ai::*;
use support::*;

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

/// What every provider of [`answered_by_all`] answers next.
#[derive(Clone, Default)]
struct Next(Arc<Mutex<(&'static str, String)>>);

impl Next {
    fn say(&self, kind: &'static str, body: &str) {
        *self.0.lock().expect("nobody panics with it") = (kind, body.to_owned());
    }
}

/// A gateway with a provider and a model of each kind, by the kind's name.
async fn answered_by_all() -> (Gateway, Next, Origin) {
    let next = Next::default();
    let said = next.clone();
    let backend = origin(move |_| {
        let (kind, body) = said.0.lock().expect("nobody panics with it").clone();
        async move { given(&[("content-type", kind)], body) }
    })
    .await;
    let kinds = ["openai", "anthropic", "gemini"];
    let ai = kinds
        .into_iter()
        .fold(ai(), |ai, kind| ai.provider_at(kind, kind, backend.address(), "keys: sk-x-4711").model(kind, &[kind]));
    (ai.start().await, next, backend)
}

#[tokio::test]
async fn numbers_of_tokens_in_odd_forms_count_where_they_are_some_and_never_break_an_answer() {
    let (gate, next, _backend) = answered_by_all().await;
    let mut expected = Vec::new();
    // An answer of one token, where it is counted here.
    for (number, charged, estimated) in [
        ("5.0", 5, false),
        (r#""5""#, 5, false),
        ("5e0", 5, false),
        ("-500", 1, true),
        ("1e30", 1, true),
        ("5.5", 1, true),
        ("null", 1, true),
        ("[5]", 1, true),
        (r#"{"n":5}"#, 1, true),
    ] {
        let openai = format!(
            r#""usage":{{"prompt_tokens":7,"completion_tokens":{number},"total_tokens":{number},"prompt_tokens_details":{{"cached_tokens":{number}}},"completion_tokens_details":{{"reasoning_tokens":{number}}}}}"#
        );
        let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
        let chat_whole = format!(
            r#"{{"id":"1","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hi"}},"finish_reason":"stop"}}],{openai}}}"#
        );
        let chat_stream = [
            chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]"#),
            chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#),
            chunk(&format!(r#""choices":[],{openai}"#)),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat();
        let claude = format!(
            r#""usage":{{"input_tokens":7,"output_tokens":{number},"cache_read_input_tokens":{number},"output_tokens_details":{{"thinking_tokens":{number}}}}}"#
        );
        let claude_whole = format!(
            r#"{{"id":"1","type":"message","role":"assistant","model":"m","content":[{{"type":"text","text":"Hi"}}],"stop_reason":"end_turn",{claude}}}"#
        );
        let claude_stream = format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"1\",\"model\":\"m\",\"usage\":{{\"input_tokens\":7,\"output_tokens\":0}}}}}}\n\n\
             event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"\"}}}}\n\n\
             event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"Hi\"}}}}\n\n\
             event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
             event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},{claude}}}\n\n\
             event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        );
        let gemini = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"Hi"}}]}},"finishReason":"STOP"}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":{number},"cachedContentTokenCount":{number}}}}}"#
        );
        let gemini_stream = format!("data: {gemini}\n\n");
        for (kind, whole, events_of) in [
            ("openai", &chat_whole, &chat_stream),
            ("anthropic", &claude_whole, &claude_stream),
            ("gemini", &gemini, &gemini_stream),
        ] {
            for (door, streams) in
                [("chat/completions", false), ("chat/completions", true), ("messages", false), ("messages", true)]
            {
                let what = format!("{number} of {kind} at {door}, {streams}");
                let body = if streams { events_of } else { whole };
                let typed = if streams { "text/event-stream" } else { "application/json" };
                next.say(typed, body);
                let body = if door == "messages" { messages(kind, "x") } else { chat(kind, "x") };
                let body = if streams { streamed(body) } else { body };
                let answer = ask(&gate, door, &body).await;
                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                let (text, ended) = match (door, streams) {
                    ("messages", true) => {
                        let told = messages_told(&events(answer.text()));
                        (told.text, told.ended)
                    }
                    (_, true) => {
                        let told = chat_told(&events(answer.text()));
                        (told.text, told.ended)
                    }
                    ("messages", false) => {
                        (answer.json()["content"][0]["text"].as_str().unwrap_or_default().to_owned(), true)
                    }
                    (_, false) => (text_of(&answer), true),
                };
                assert_eq!((text.as_str(), ended), ("Hi", true), "{what}: {}", answer.text());
                expected.push((what, charged, estimated));
            }
        }
    }
    let lines = gate.access_log(expected.len()).await;
    for (line, (what, charged, estimated)) in lines.iter().zip(expected) {
        assert_eq!(line["tokens_output"], charged, "{what}: {line}");
        assert_eq!(line["tokens_estimated"] == true, estimated, "{what}: {line}");
        assert_eq!(line["broken"], Value::Null, "{what}: {line}");
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
async fn a_query_that_is_no_ascii_reaches_its_provider_as_it_came() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let body = chat("m", "x").to_string();
    let mut connection = gate.connect().await;
    let head =
        format!("POST /v1/chat/completions?\u{e9}=1 HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    assert_eq!(connection.ask(format!("{head}{body}")).await.status, 200);
    assert_eq!(last_seen(&a).path_and_query, "/v1/chat/completions?\u{e9}=1");
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
