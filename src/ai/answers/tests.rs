use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::cache::CacheRules;
use crate::observe::Identity;
use crate::observe::metrics::Metrics;

fn cache(max_entries: u64, max_bytes: u64) -> Arc<Answers> {
    let config = Cache {
        name: "answers".into(),
        max_entries,
        max_bytes,
        max_object: 1 << 20,
        coalesce_timeout: Duration::from_secs(5),
        tag_headers: Vec::new(),
        rules: CacheRules::default(),
    };
    let metrics = Metrics::new(&Identity { instance_id: "1".to_owned(), version: "0".to_owned() });
    Arc::new(Answers::new(Arc::new(config), metrics.cache("answers")))
}

fn kept(text: &'static str, at: Instant) -> Kept {
    Kept {
        form: Form::Whole(Bytes::from_static(text.as_bytes())),
        target: ("p".into(), "m".into()),
        usage: None,
        at,
        freshness: Freshness::configured(&CacheRules {
            ttl: Some(Duration::from_secs(10)),
            stale_if_error: Some(Duration::from_secs(5)),
            ..CacheRules::default()
        }),
        held: None,
    }
}

fn asked<'a>(body: &'a Key, targets: &'a [(&'a str, &'a str)]) -> Asked<'a> {
    let (scope, operation) = (Some("key:a"), Operation::Chat);
    Asked { scope, route: "r", operation, model: "m", variant: &[], targets, body, stream: None }
}

#[test]
fn whatever_differs_makes_another_key() {
    let (one, two) = ([1; 32], [2; 32]);
    let targets = [("openai", "gpt-4o")];
    let known = asked(&one, &targets).key();
    assert_eq!(known, asked(&one, &targets).key());
    let others = [
        asked(&two, &targets).key(),
        asked(&one, &[("azure", "gpt-4o")]).key(),
        asked(&one, &[]).key(),
        Asked { scope: Some("key:b"), ..asked(&one, &targets) }.key(),
        Asked { scope: None, ..asked(&one, &targets) }.key(),
        Asked { scope: Some(""), ..asked(&one, &targets) }.key(),
        Asked { route: "s", ..asked(&one, &targets) }.key(),
        Asked { model: "n", ..asked(&one, &targets) }.key(),
        Asked { operation: Operation::Messages, ..asked(&one, &targets) }.key(),
        Asked { variant: &[("anthropic-beta", b"x")], ..asked(&one, &targets) }.key(),
        Asked { variant: &[("anthropic-beta", b"y")], ..asked(&one, &targets) }.key(),
        Asked { variant: &[("?", b"x")], ..asked(&one, &targets) }.key(),
        Asked { stream: Some(true), ..asked(&one, &targets) }.key(),
        Asked { stream: Some(false), ..asked(&one, &targets) }.key(),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(known, *other, "{index}");
        assert_eq!(others.iter().filter(|third| *third == other).count(), 1, "{index}");
    }
}

#[test]
fn an_answer_is_fresh_for_its_time_and_then_there_for_errors_only() {
    let start = crate::clock::now();
    let kept = kept("x", start);
    let after = |seconds| start + Duration::from_secs(seconds);
    let verdict = |seconds| kept.verdict(&RequestControl::default(), after(seconds));
    assert_eq!([verdict(9), verdict(10)], [Verdict::Fresh, Verdict::Validate]);
    assert_eq!([14, 15].map(|seconds| kept.serves_on_error(false, after(seconds))), [true, false]);
    assert_eq!(kept.age(start + Duration::from_millis(2900)).as_secs(), 2);
}

#[test]
fn no_more_entries_are_kept_than_may_be() {
    let answers = cache(100, 1 << 20);
    for index in 0..200_u8 {
        answers.keep([index; 32], kept("x", crate::clock::now()), answers.ticket());
    }
    let (entries, bytes) = answers.size();
    assert!((90..=100).contains(&entries), "{entries}");
    assert!(bytes <= 1 << 20, "{bytes}");
}

#[test]
fn what_is_under_way_at_a_purge_is_not_kept() {
    let answers = cache(100, 1 << 20);
    answers.keep([1; 32], kept("x", crate::clock::now()), answers.ticket());
    let before = answers.ticket();
    assert_eq!(answers.purge(), 1);
    answers.keep([2; 32], kept("x", crate::clock::now()), before);
    assert!(answers.find(&[1; 32]).is_none() && answers.find(&[2; 32]).is_none());
}

fn piece(text: &'static str) -> Piece {
    Piece { bytes: Bytes::from_static(text.as_bytes()), usage: false }
}

fn begun() -> Begun {
    Begun { fields: http::HeaderMap::new(), whole: None, target: ("p".into(), "m".into()), attempts: 1 }
}

fn read(rider: &mut Rider) -> Vec<Bytes> {
    std::iter::from_fn(|| rider.at_hand()?.unwrap()).map(|piece| piece.bytes).collect()
}

#[tokio::test]
async fn whoever_joins_late_reads_from_the_beginning() {
    let answers = cache(100, 1 << 20);
    let Some(Joined::Leads(pilot, mut first)) = answers.join([1; 32]) else { panic!("nobody else is there") };
    pilot.begin(begun());
    pilot.push(piece("a"));
    assert_eq!(read(&mut first), ["a"]);
    let Some(Joined::Follows(mut late)) = answers.join([1; 32]) else { panic!("the flight is under way") };
    pilot.push(piece("b"));
    let (form, _, _) = pilot.finish();
    assert_eq!(read(&mut late), ["a", "b"]);
    assert_eq!(read(&mut first), ["b"]);
    assert!(matches!(late.at_hand(), Some(Ok(None))));
    assert!(matches!(form, Form::Events(pieces) if pieces.len() == 2));
    assert!(matches!(answers.join([1; 32]), Some(Joined::Leads(..))), "it has landed");
}

#[tokio::test]
async fn the_pilot_learns_that_the_last_rider_has_left() {
    let answers = cache(100, 1 << 20);
    let Some(Joined::Leads(pilot, first)) = answers.join([1; 32]) else { panic!("nobody else is there") };
    let Some(Joined::Follows(second)) = answers.join([1; 32]) else { panic!("the flight is under way") };
    drop(first);
    assert!(futures::FutureExt::now_or_never(pilot.abandoned()).is_none());
    drop(second);
    pilot.abandoned().await;
    assert!(matches!(answers.join([1; 32]), Some(Joined::Leads(..))), "whoever comes now begins anew");
}

#[tokio::test]
async fn riders_of_a_lost_pilot_learn_of_it() {
    let answers = cache(100, 1 << 20);
    let Some(Joined::Leads(pilot, rider)) = answers.join([1; 32]) else { panic!("nobody else is there") };
    drop(pilot);
    assert_eq!(rider.begun().await.unwrap_err().code, "internal_error");
}

fn texts(pieces: &[Piece]) -> Vec<Value> {
    let text = pieces.iter().map(|piece| String::from_utf8(piece.bytes.to_vec()).unwrap()).collect::<String>();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn again(operation: Operation, answer: &Value) -> Value {
    let pieces = convert::events(operation, answer.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&convert::whole(operation, &pieces).unwrap()).unwrap()
}

fn chat_answer() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m", "system_fingerprint": "fp",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Grüße", "refusal": null, "reasoning_content": "hm"},
             "logprobs": null, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": null, "refusal": null, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
             "logprobs": null, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    })
}

#[test]
fn a_whole_chat_answer_becomes_a_stream_and_is_the_same_when_it_is_whole_again() {
    let answer = chat_answer();
    let pieces = convert::events(Operation::Chat, answer.to_string().as_bytes()).unwrap();
    let events = texts(&pieces);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[4]["choices"][0]["delta"]["tool_calls"][1]["index"], 1);
    assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"));
    let usage: Vec<_> = pieces.iter().filter(|piece| piece.usage).collect();
    assert_eq!(usage.len(), 1);
    assert_eq!(pieces.last().unwrap().bytes, "data: [DONE]\n\n");
    assert_eq!(again(Operation::Chat, &answer), answer);
}

#[test]
fn a_whole_message_becomes_a_stream_and_is_the_same_when_it_is_whole_again() {
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "hello"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": [1, 2]}},
            {"type": "tool_use", "id": "u", "name": "g", "input": {}}],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 9}
    });
    assert_eq!(again(Operation::Messages, &answer), answer);
    let pieces = convert::events(Operation::Messages, answer.to_string().as_bytes()).unwrap();
    let kinds: Vec<String> = texts(&pieces).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.first().unwrap(), "message_start");
    assert_eq!(kinds[kinds.len() - 2..], ["message_delta", "message_stop"]);
}

#[test]
fn a_stream_without_its_end_makes_no_whole_answer() {
    let pieces = convert::events(Operation::Chat, chat_answer().to_string().as_bytes()).unwrap();
    assert!(convert::whole(Operation::Chat, &pieces[..2]).is_none());
    assert!(convert::whole(Operation::Messages, &pieces).is_none());
    assert!(convert::events(Operation::Chat, b"[]").is_none());
}

proptest! {
    #[test]
    fn text_in_any_parts_is_whole_again(parts in prop::collection::vec(".{0,12}", 1..8)) {
        let event = |delta: Value, finish: Value| {
            let data = json!({"id": "1", "object": "chat.completion.chunk", "choices": [
                {"index": 0, "delta": delta, "finish_reason": finish}]});
            Piece { bytes: format!("data: {data}\n\n").into(), usage: false }
        };
        let mut pieces = vec![event(json!({"role": "assistant", "content": ""}), Value::Null)];
        pieces.extend(parts.iter().map(|part| event(json!({"content": part}), Value::Null)));
        pieces.push(event(json!({}), json!("stop")));
        let whole: Value = serde_json::from_slice(&convert::whole(Operation::Chat, &pieces).unwrap()).unwrap();
        prop_assert_eq!(whole["choices"][0]["message"]["content"].as_str().unwrap(), parts.concat());
    }
}
