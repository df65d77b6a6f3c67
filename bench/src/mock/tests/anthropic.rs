//! Anthropic's `messages`.

use super::openai::with;
use super::*;

const MESSAGES: &str = "/v1/messages";

fn ask(text: &str) -> Value {
    json!({"model": "claude", "max_tokens": 4000, "messages": [{"role": "user", "content": text}]})
}

fn thinking() -> Value {
    let tools =
        json!([{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]);
    json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "tools": tools})
}

#[tokio::test]
async fn a_message_is_answered_whole() {
    let mock = Mock::builder("a").start().await;
    let answer = post(&mock, MESSAGES, &with(ask("hello"), json!({"system": "be kind"}))).await.json();
    assert_eq!(
        answer["content"],
        json!([{"type": "text", "text": "This is a answering a question of 12 characters."}])
    );
    assert_eq!((answer["stop_reason"].as_str(), &answer["stop_sequence"]), (Some("end_turn"), &Value::Null));
    assert_eq!(
        (answer["usage"]["input_tokens"].as_u64(), answer["usage"]["output_tokens"].as_u64()),
        (Some(3), Some(9))
    );
}

#[tokio::test]
async fn cached_tokens_stand_beside_the_input() {
    let mock = Mock::builder("a").start().await;
    mock.set_order("usage", "in=1000,out=5,cached=600,written=100");
    let usage = post(&mock, MESSAGES, &ask("hello")).await.json()["usage"].clone();
    assert_eq!(usage["input_tokens"], 300);
    assert_eq!(
        (usage["cache_read_input_tokens"].as_u64(), usage["cache_creation_input_tokens"].as_u64()),
        (Some(600), Some(100))
    );
}

#[tokio::test]
async fn a_stream_has_its_events_in_order() {
    let mock = Mock::builder("a").start().await;
    let heard = post(&mock, MESSAGES, &with(ask("say one two"), json!({"stream": true}))).await;
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(heard.names(), expected);
    let events = heard.data();
    assert!(events.iter().zip(expected).all(|(event, name)| event["type"] == name));
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 3);
    assert_eq!(events[3]["delta"], json!({"type": "text_delta", "text": "one "}));
    assert_eq!(
        (&events[6]["delta"]["stop_reason"], &events[6]["usage"]["output_tokens"]),
        (&json!("end_turn"), &json!(2))
    );
}

#[tokio::test]
async fn thinking_is_signed_and_a_later_turn_must_bring_it_back() {
    let mock = Mock::builder("a").start().await;
    let asked = with(ask("call weather"), thinking());
    let answer = post(&mock, MESSAGES, &asked).await.json();
    let content = answer["content"].clone();
    assert_eq!((content[0]["type"].as_str(), content[1]["type"].as_str()), (Some("thinking"), Some("tool_use")));
    let streamed = post(&mock, MESSAGES, &with(asked.clone(), json!({"stream": true}))).await.data();
    let signed = streamed.iter().find(|event| event["delta"]["type"] == "signature_delta").unwrap();
    assert_eq!(signed["delta"]["signature"], content[0]["signature"]);
    let later = |content: Value| {
        let result = json!([{"type": "tool_result", "tool_use_id": content.as_array().unwrap().last().unwrap()["id"], "content": "sun"}]);
        let turns = json!([asked["messages"][0], {"role": "assistant", "content": content}, {"role": "user", "content": result}]);
        with(asked.clone(), json!({"messages": turns}))
    };
    let answered = post(&mock, MESSAGES, &later(content.clone())).await.json();
    assert_eq!(answered["content"][1]["text"], "This is a answering a question of 15 characters, 1 tool results.");
    let mut changed = content.clone();
    changed[0]["thinking"] = "something else".into();
    assert!(post(&mock, MESSAGES, &later(changed)).await.body().contains("Invalid `signature`"));
    let mut unsigned = content.clone();
    unsigned[0].as_object_mut().unwrap().remove("signature");
    assert!(post(&mock, MESSAGES, &later(unsigned)).await.body().contains("signature: Field required"));
    let missing = json!([content[1]]);
    assert!(post(&mock, MESSAGES, &later(missing)).await.body().contains("must start with a thinking block"));
}

#[tokio::test]
async fn redacted_thinking_comes_on_order() {
    let mock = Mock::builder("a").start().await;
    mock.set_order("think", "redacted");
    let heard = post(&mock, MESSAGES, &with(ask("hello"), json!({"stream": true}))).await.data();
    let block = heard.iter().find(|event| event["content_block"]["type"] == "redacted_thinking");
    assert!(block.unwrap()["content_block"]["data"].is_string());
}

#[tokio::test]
async fn every_reason_to_stop_is_told() {
    let mock = Mock::builder("a").start().await;
    let stop = async |more: Value| {
        let answer = post(&mock, MESSAGES, &with(ask("hello"), more)).await.json();
        (answer["stop_reason"].as_str().unwrap_or_default().to_owned(), answer["stop_sequence"].clone())
    };
    assert_eq!(stop(json!({"max_tokens": 2})).await.0, "max_tokens");
    assert_eq!(stop(json!({"stop_sequences": ["of"]})).await, ("stop_sequence".to_owned(), json!("of")));
    for (order, reason) in [("filter", "refusal"), ("pause", "pause_turn")] {
        mock.set_order("finish", order);
        assert_eq!(stop(json!({})).await.0, reason);
    }
}

#[tokio::test]
async fn bad_requests_are_refused_in_its_shape() {
    let mock = Mock::builder("a").start().await;
    let image = json!([{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "AA"}}]}]);
    for (more, says) in [
        (json!({"max_tokens": null}), "max_tokens"),
        (json!({"messages": []}), "at least one message"),
        (json!({"messages": [{"role": "system", "content": "x"}]}), "top-level `system`"),
        (json!({"messages": [{"role": "user", "content": ""}]}), "non-empty content"),
        (json!({"messages": image}), "media_type"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 10}}), "1024"),
        (json!({"thinking": {"type": "enabled", "budget_tokens": 5000}}), "must be greater"),
        (json!({"tools": [{"name": "x", "input_schema": {}}]}), "input_schema.type"),
    ] {
        let refused = post(&mock, MESSAGES, &with(ask("x"), more)).await;
        let error = refused.json();
        assert_eq!((refused.status(), error["error"]["type"].as_str()), ("400", Some("invalid_request_error")));
        assert!(error["error"]["message"].as_str().unwrap().contains(says), "{error}");
        assert!(error["request_id"].is_string());
    }
    let stray = json!([{"type": "tool_result", "tool_use_id": "t", "content": "x"}]);
    let stray = with(ask("x"), json!({"messages": [{"role": "user", "content": stray}]}));
    assert!(post(&mock, MESSAGES, &stray).await.body().contains("unexpected `tool_use_id`"));
    mock.set_order("strict", "1");
    let foreign = post(&mock, MESSAGES, &with(ask("x"), json!({"stream_options": {}}))).await;
    assert!(foreign.body().contains("stream_options: Extra inputs are not permitted"));
}

#[tokio::test]
async fn tokens_are_counted_without_an_answer() {
    let mock = Mock::builder("a").start().await;
    let asked = json!({"model": "claude", "messages": [{"role": "user", "content": "12345"}]});
    assert_eq!(post(&mock, "/v1/messages/count_tokens", &asked).await.json(), json!({"input_tokens": 2}));
}

#[tokio::test]
async fn its_list_of_models_is_its_own() {
    let mock = Mock::builder("a").start().await;
    let list = exchange(&mock, "GET", "/v1/models", "anthropic-version: 2023-06-01\r\n", "").await.json();
    assert_eq!((list["has_more"].as_bool(), list["data"][0]["type"].as_str()), (Some(false), Some("model")));
}
