//! OpenAI's `responses`.

use super::openai::with;
use super::*;

const RESPONSES: &str = "/v1/responses";

fn ask(text: &str) -> Value {
    json!({"model": "gpt-4o", "input": text})
}

fn weather() -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"tools": [{"type": "function", "name": "weather", "parameters": schema}]})
}

#[tokio::test]
async fn a_stream_goes_from_created_to_completed_and_numbers_its_events() {
    let mock = Mock::builder("a").start().await;
    let heard = post(&mock, RESPONSES, &with(ask("say one two"), json!({"stream": true}))).await;
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(heard.names(), expected);
    let events = heard.data();
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<u64>>());
    assert_eq!(events[9]["response"]["usage"]["output_tokens"], 2);
    assert_eq!(events[0]["response"]["usage"], Value::Null);
}

#[tokio::test]
async fn calls_are_items_and_their_outputs_are_answered() {
    let mock = Mock::builder("a").start().await;
    let answer = post(&mock, RESPONSES, &with(ask("call weather"), weather())).await.json();
    let call = answer["output"][0].clone();
    assert_eq!(
        (call["type"].as_str(), call["arguments"].as_str()),
        (Some("function_call"), Some(r#"{"city":"mock 1"}"#))
    );
    let streamed =
        post(&mock, RESPONSES, &with(with(ask("call weather"), weather()), json!({"stream": true}))).await.data();
    let pieces = streamed.iter().filter(|event| event["type"] == "response.function_call_arguments.delta");
    assert_eq!(pieces.filter_map(|event| event["delta"].as_str()).collect::<String>(), r#"{"city":"mock 1"}"#);
    let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "sun"});
    let user = json!({"role": "user", "content": [{"type": "input_text", "text": "call weather"}]});
    let answered = post(&mock, RESPONSES, &json!({"model": "m", "input": [user, call, output]})).await.json();
    assert_eq!(
        answered["output"][0]["content"][0]["text"],
        "This is a answering a question of 15 characters, 1 tool results."
    );
    let stray = post(&mock, RESPONSES, &json!({"model": "m", "input": [user, output]})).await;
    assert!(stray.body().contains("No tool call found"));
}

#[tokio::test]
async fn reasoning_is_an_item_before_the_message() {
    let mock = Mock::builder("a").start().await;
    let asked = json!({"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]});
    let answer = post(&mock, RESPONSES, &with(ask("hello"), asked)).await.json();
    assert_eq!(answer["output"][0]["summary"][0]["text"], "I think about a question of 5 characters.");
    assert!(answer["output"][0]["encrypted_content"].is_string());
    assert_eq!(answer["usage"]["output_tokens_details"]["reasoning_tokens"], 8);
    assert_eq!(answer["output"][1]["type"], "message");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_incomplete() {
    let mock = Mock::builder("a").start().await;
    let heard = post(&mock, RESPONSES, &with(ask("hello"), json!({"max_output_tokens": 2, "stream": true}))).await;
    assert_eq!(heard.names().last(), Some(&"response.incomplete"));
    assert_eq!(heard.data().last().unwrap()["response"]["incomplete_details"]["reason"], "max_output_tokens");
}

#[tokio::test]
async fn a_stream_that_fails_says_so_twice() {
    let mock = Mock::builder("a").start().await;
    mock.set_fault(Some(Fault::At(Stage::Start, Twist::Error(429))));
    let heard = post(&mock, RESPONSES, &with(ask("hello"), json!({"stream": true}))).await;
    let names = heard.names();
    assert_eq!((names[0], &names[names.len() - 2..]), ("response.created", &["error", "response.failed"][..]));
    let failed = heard.data().last().unwrap()["response"].clone();
    assert_eq!(
        (failed["status"].as_str(), failed["error"]["code"].as_str()),
        (Some("failed"), Some("rate_limit_exceeded"))
    );
}
