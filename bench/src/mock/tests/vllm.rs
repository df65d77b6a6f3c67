//! vLLM and its like.

use super::openai::{ask, with};
use super::*;

const CHAT: &str = "/v1/chat/completions";

async fn vllm() -> Mock {
    let mock = Mock::builder("a").start().await;
    mock.set_order("flavour", "vllm");
    mock
}

#[tokio::test]
async fn reasoning_is_shown_and_usage_may_go_along() {
    let mock = vllm().await;
    let more = json!({
        "stream": true, "chat_template_kwargs": {"enable_thinking": true},
        "stream_options": {"include_usage": true, "continuous_usage_stats": true},
    });
    let events = post(&mock, CHAT, &with(ask("hello"), more)).await.data();
    assert_eq!(events[1]["choices"][0]["delta"]["reasoning_content"], "I ");
    assert_eq!(events[1]["usage"], json!({"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}));
    assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 17);
}

#[tokio::test]
async fn errors_have_its_shape_and_a_stream_that_fails_is_done() {
    let mock = vllm().await;
    mock.fail_next(1, Fault::Status(404));
    let error = post(&mock, CHAT, &ask("x")).await.json()["error"].clone();
    assert_eq!((error["type"].as_str(), error["code"].as_u64()), (Some("NotFoundError"), Some(404)));
    mock.fail_next(1, Fault::At(Stage::After(2), Twist::Error(500)));
    let broken = post(&mock, CHAT, &with(ask("x"), json!({"stream": true}))).await;
    assert_eq!(broken.events().last(), Some(&"[DONE]"));
    assert_eq!(broken.data().last().unwrap()["error"]["type"], "InternalServerError");
}

#[tokio::test]
async fn messages_are_a_door_only_where_that_is_ordered() {
    let mock = vllm().await;
    let asked = with(ask("x"), json!({"max_tokens": 10}));
    let missing = post(&mock, "/v1/messages", &asked).await;
    assert_eq!((missing.status(), missing.json()), ("404", json!({"detail": "Not Found"})));
    mock.set_order("flavour", "vllm-messages");
    assert_eq!(post(&mock, "/v1/messages", &asked).await.json()["type"], "message");
}
