//! Faults in event streams, and those of whole answers at the doors of providers.

use super::openai::{ask, with};
use super::*;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// Asks for a stream of `one two three`.
async fn stream(mock: &Mock, path: &str) -> Heard {
    post(mock, path, &with(ask("say one two three"), json!({"stream": true, "max_tokens": 100}))).await
}

fn words(heard: &Heard) -> String {
    let event = |event: Value| {
        let text = event["delta"]["text"].as_str().or_else(|| event["choices"][0]["delta"]["content"].as_str());
        text.unwrap_or_default().to_owned()
    };
    let events = heard.events().into_iter().filter_map(|event| serde_json::from_str(event).ok());
    events.map(event).collect()
}

fn at(stage: Stage, twist: Twist) -> Option<Fault> {
    Some(Fault::At(stage, twist))
}

#[tokio::test]
async fn errors_come_at_every_stage_in_the_dialect() {
    let mock = Mock::builder("a").start().await;
    for (stage, before) in
        [(Stage::Headers, ""), (Stage::Start, ""), (Stage::After(2), "one two "), (Stage::End, "one two three")]
    {
        mock.set_fault(at(stage, Twist::Error(529)));
        let chat = stream(&mock, CHAT).await;
        assert_eq!((chat.status(), words(&chat).as_str()), ("200", before), "{stage:?}");
        assert_eq!(chat.data().last().unwrap()["error"]["type"], "server_error");
        assert!(!chat.events().contains(&"[DONE]") && chat.text.ends_with("0\r\n\r\n"), "a body that ends well");
        let messages = stream(&mock, MESSAGES).await;
        assert_eq!((words(&messages).as_str(), messages.names().last()), (before, Some(&"error")));
        assert_eq!(messages.data().last().unwrap()["error"]["type"], "overloaded_error");
    }
}

#[tokio::test]
async fn a_stream_is_cut_closed_reset_or_just_ends() {
    let mock = Mock::builder("a").start().await;
    mock.set_fault(at(Stage::After(1), Twist::Close));
    let closed = stream(&mock, CHAT).await;
    assert_eq!((words(&closed).as_str(), closed.end, closed.text.ends_with("0\r\n\r\n")), ("one ", Ok(()), false));
    mock.set_fault(at(Stage::After(1), Twist::Tear));
    let torn = stream(&mock, CHAT).await;
    let half = torn.events().last().copied().unwrap_or_default().to_owned();
    assert_eq!((words(&torn).as_str(), torn.text.ends_with("0\r\n\r\n")), ("one ", false));
    assert!(half.starts_with('{') && serde_json::from_str::<Value>(&half).is_err(), "{half}");
    mock.set_fault(at(Stage::After(2), Twist::Reset));
    let reset = stream(&mock, MESSAGES).await;
    assert_eq!((words(&reset).as_str(), reset.end), ("one two ", Err(ErrorKind::ConnectionReset)));
    mock.set_fault(at(Stage::End, Twist::Finish));
    let unfinished = stream(&mock, MESSAGES).await;
    assert_eq!((unfinished.names().last(), unfinished.text.ends_with("0\r\n\r\n")), (Some(&"message_delta"), true));
    assert!(!stream(&mock, CHAT).await.events().contains(&"[DONE]"));
    assert_eq!((mock.cancelled(), mock.ledger().total().failed), (0, 5));
}

#[tokio::test]
async fn a_stream_that_stalls_keeps_still_or_pings() {
    let mock = Mock::builder("a").start().await;
    let begin = async |fault: Fault| {
        mock.set_fault(Some(fault));
        let mut tcp = connect(&mock).await;
        let body = with(ask("say one two"), json!({"stream": true, "max_tokens": 9})).to_string();
        let head = format!("POST {MESSAGES} HTTP/1.1\r\nhost: mock\r\ncontent-length: {}\r\n\r\n", body.len());
        tcp.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        tcp
    };
    let mut silent = begin(Fault::At(Stage::Start, Twist::Stall)).await;
    read_until(&mut silent, "event: ping").await;
    let more = tokio::time::timeout(Duration::from_millis(50), read_until(&mut silent, "content_block_delta")).await;
    assert!(more.is_err(), "a stalled stream went on: {more:?}");
    drop(silent);
    eventually("the stalled stream is cancelled", || mock.cancelled() == 1).await;
    let mut pinging = begin(Fault::At(Stage::After(1), Twist::Ping(Duration::from_millis(1)))).await;
    let heard = read_until(&mut pinging, "content_block_delta").await;
    let heard = heard + &read_until(&mut pinging, "event: ping").await + &read_until(&mut pinging, "event: ping").await;
    assert!(heard.contains("one ") && !heard.contains("two"), "{heard}");
}

#[tokio::test]
async fn a_first_token_can_be_slow() {
    let mock = Mock::builder("a").start().await;
    let delay = Duration::from_millis(80);
    mock.set_fault(at(Stage::Start, Twist::Delay(delay)));
    for stream in [true, false] {
        let before = tokio::time::Instant::now();
        let heard = post(&mock, CHAT, &with(ask("say hi"), json!({"stream": stream}))).await;
        assert!(before.elapsed() >= delay && heard.status() == "200", "{stream}");
    }
}

#[tokio::test]
async fn odd_events_come_between_good_ones() {
    let mock = Mock::builder("a").start().await;
    mock.set_fault(at(Stage::After(1), Twist::Garbage));
    let garbage = stream(&mock, CHAT).await;
    let bad = garbage.events().into_iter().filter(|event| serde_json::from_str::<Value>(event).is_err()).count();
    assert_eq!((bad, words(&garbage).as_str()), (2, "one two three"), "the garbage and [DONE]");
    mock.set_fault(at(Stage::After(1), Twist::Huge(100_000)));
    let huge = stream(&mock, MESSAGES).await;
    assert_eq!(words(&huge).len(), 100_013);
    assert_eq!(huge.names().last(), Some(&"message_stop"));
}

#[tokio::test]
async fn usage_can_be_missing_everywhere() {
    let mock = Mock::builder("a").start().await;
    mock.set_fault(Some(Fault::NoUsage));
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    assert!(!post(&mock, CHAT, &with(ask("x"), options)).await.text.contains("usage"));
    assert!(!stream(&mock, MESSAGES).await.text.contains("usage"));
    assert!(!post(&mock, CHAT, &ask("x")).await.text.contains("usage"));
    let gemini = json!({"contents": [{"parts": [{"text": "x"}]}]});
    assert!(!post(&mock, "/v1beta/models/g:generateContent", &gemini).await.text.contains("usage"));
    assert_eq!(mock.ledger().total().tokens.output, 9 + 3 + 9 + 9, "it was served all the same");
}

#[tokio::test]
async fn whole_answers_can_be_wrong_in_a_200() {
    let mock = Mock::builder("a").start().await;
    let asked = async |fault: Fault| {
        mock.fail_next(1, fault);
        post(&mock, CHAT, &ask("x")).await
    };
    let invalid = asked(Fault::InvalidJson).await;
    assert!(invalid.status() == "200" && serde_json::from_str::<Value>(invalid.body()).is_err());
    assert_eq!(asked(Fault::Empty).await.body(), "");
    assert_eq!(asked(Fault::OkFalse).await.json()["success"], false);
    assert_eq!(asked(Fault::WrongType).await.header("content-type"), "text/html");
    assert_eq!(asked(Fault::At(Stage::Start, Twist::Error(503))).await.status(), "503");
    let cut = asked(Fault::At(Stage::After(1), Twist::Close)).await;
    assert!(cut.status() == "200" && serde_json::from_str::<Value>(cut.body()).is_err());
    mock.fail_next(1, Fault::IgnoresStream);
    assert_eq!(stream(&mock, CHAT).await.json()["object"], "chat.completion");
}

#[tokio::test]
async fn a_status_has_the_providers_body() {
    let mock = Mock::builder("a").start().await;
    for status in [400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529] {
        mock.set_fault(Some(Fault::Status(status)));
        let chat = post(&mock, CHAT, &ask("x")).await;
        assert_eq!((chat.status(), chat.json()["error"]["message"].is_string()), (status.to_string().as_str(), true));
        let messages = post(&mock, MESSAGES, &ask("x")).await;
        assert_eq!((messages.status(), messages.json()["type"].as_str()), (status.to_string().as_str(), Some("error")));
    }
}

#[tokio::test]
async fn framings_change_bytes_and_nothing_else() {
    let mock = Mock::builder("a").start().await;
    let plain = stream(&mock, MESSAGES).await;
    for framing in ["split=1", "split=7,gap=1ms", "together=4", "together=1000", "comments"] {
        mock.set_order("framing", framing);
        let heard = dechunked(&stream(&mock, MESSAGES).await);
        let expected = dechunked(&plain);
        let without_comments = heard.replace(": keep-alive\n\n", "");
        let same =
            |text: &str| text.lines().filter(|line| !line.contains("message_start")).collect::<Vec<_>>().join("\n");
        assert_eq!(same(&without_comments), same(&expected), "{framing}");
        assert_eq!(heard.contains(": keep-alive"), framing == "comments");
    }
    mock.clear_orders();
    mock.fail_next(1, "framed:crlf".parse().unwrap());
    assert!(
        stream(&mock, MESSAGES).await.text.contains("event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n")
    );
}

/// The body of a chunked answer.
fn dechunked(heard: &Heard) -> String {
    let mut rest = heard.body();
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    body
}

#[tokio::test]
async fn faults_meet_only_those_they_are_planned_for() {
    let mock = Mock::builder("a").start().await;
    mock.plan(Planned::new(Fault::Status(500)).for_model("other"));
    mock.plan(Planned::new(Fault::Status(503)).for_key("k").times(1));
    mock.plan(Planned::new(Fault::Status(529)).on_path("/v1/messages"));
    let asked = async |path: &str, model: &str, key: &str| {
        let body = with(ask("x"), json!({"model": model, "max_tokens": 9})).to_string();
        let header = format!("authorization: Bearer {key}\r\n");
        exchange(&mock, "POST", path, &header, &body).await.status().to_owned()
    };
    assert_eq!(asked(CHAT, "m", "x").await, "200");
    assert_eq!(asked(CHAT, "other", "x").await, "500");
    assert_eq!(asked(CHAT, "m", "k").await, "503");
    assert_eq!(asked(CHAT, "m", "k").await, "200", "once");
    assert_eq!(asked(MESSAGES, "m", "x").await, "529");
    post(&mock, "/mock/fault", &json!({"fault": "502", "key": "k", "count": 1})).await;
    assert_eq!(asked(CHAT, "m", "k").await, "502");
    mock.clear_faults();
    assert_eq!(asked(MESSAGES, "m", "x").await, "200");
}

#[tokio::test]
async fn over_http_2_a_reset_ends_its_own_stream() {
    let mock = Mock::builder("a").h2c(true).start().await;
    let tcp = TokioIo::new(connect(&mock).await);
    let (mut send, conn) = hyper::client::conn::http2::handshake(TokioExecutor::new(), tcp).await.unwrap();
    let driver = tokio::spawn(conn);
    let mut asked = async |fault: &str| {
        let body = with(ask("x"), json!({"stream": true})).to_string();
        let request = http::Request::post(format!("http://mock{CHAT}")).header("x-mock-fault", fault);
        let request = request.body(http_body_util::Full::new(bytes::Bytes::from(body))).unwrap();
        send.send_request(request).await.unwrap().into_body().collect().await.is_ok()
    };
    assert!(!asked("reset@2").await);
    assert!(asked("no-usage").await, "the connection lives");
    driver.abort();
}
