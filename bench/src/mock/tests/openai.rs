//! OpenAI's `chat/completions`, `completions` and the doors beside them.

use super::*;

const CHAT: &str = "/v1/chat/completions";

pub(super) fn ask(text: &str) -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]})
}

pub(super) fn with(mut ask: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        ask[name] = value.clone();
    }
    ask
}

fn weather() -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!([{"type": "function", "function": {"name": "weather", "parameters": schema}}])
}

#[tokio::test]
async fn usage_comes_only_where_it_is_asked_for() {
    let mock = Mock::builder("a").start().await;
    let silent = post(&mock, CHAT, &with(ask("hello"), json!({"stream": true}))).await.data();
    assert!(silent.iter().all(|chunk| chunk.get("usage").is_none() && chunk["choices"][0].is_object()));
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let told = post(&mock, CHAT, &with(ask("hello"), options)).await.data();
    let (last, others) = told.split_last().unwrap();
    assert!(others.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
    assert_eq!((last["choices"].as_array().unwrap().len(), last["usage"]["prompt_tokens"].as_u64()), (0, Some(2)));
    let unstreamed = with(ask("hello"), json!({"stream_options": {"include_usage": true}}));
    assert_eq!(post(&mock, CHAT, &unstreamed).await.status(), "400");
}

#[tokio::test]
async fn usage_is_what_was_ordered() {
    let mock = Mock::builder("a").start().await;
    mock.set_order("usage", "in=1000,out=500,cached=200,reasoning=50");
    let usage = post(&mock, CHAT, &ask("hello")).await.json()["usage"].clone();
    assert_eq!((usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64()), (Some(1000), Some(500)));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 200);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 50);
    mock.clear_orders();
    assert_eq!(post(&mock, CHAT, &ask("hello")).await.json()["usage"]["prompt_tokens"], 2);
}

#[tokio::test]
async fn tools_are_called_by_name_and_their_results_answered() {
    let mock = Mock::builder("a").start().await;
    let tools = json!({"tools": weather()});
    let called = post(&mock, CHAT, &with(ask("please call weather twice"), tools.clone())).await.json();
    let choice = &called["choices"][0];
    assert_eq!((choice["finish_reason"].as_str(), &choice["message"]["content"]), (Some("tool_calls"), &Value::Null));
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    let arguments: Vec<&str> = calls.iter().map(|call| call["function"]["arguments"].as_str().unwrap()).collect();
    assert_eq!(arguments, [r#"{"city":"mock 1"}"#, r#"{"city":"mock 2"}"#]);
    assert_eq!(called["usage"]["completion_tokens"], 6, "three pieces a call");
    let mut turns = vec![json!({"role": "user", "content": "call weather twice"}), choice["message"].clone()];
    turns.extend(calls.iter().map(|call| json!({"role": "tool", "tool_call_id": call["id"], "content": "sun"})));
    let answered = post(&mock, CHAT, &json!({"model": "m", "messages": turns, "tools": weather()})).await.json();
    let expected = "This is a answering a question of 24 characters, 2 tool results.";
    assert_eq!(answered["choices"][0]["message"]["content"], expected);
    let unanswered = json!({"model": "m", "messages": [turns[0], turns[1]]});
    assert!(post(&mock, CHAT, &unanswered).await.body().contains("did not have response messages"));
    let forced = with(ask("hello"), json!({"tools": weather(), "tool_choice": "required"}));
    assert_eq!(post(&mock, CHAT, &forced).await.json()["choices"][0]["finish_reason"], "tool_calls");
    let forbidden = with(ask("call weather"), json!({"tools": weather(), "tool_choice": "none"}));
    assert_eq!(post(&mock, CHAT, &forbidden).await.json()["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn calls_are_streamed_piece_by_piece() {
    let mock = Mock::builder("a").start().await;
    let asked = with(ask("call weather twice"), json!({"tools": weather(), "stream": true}));
    let chunks = post(&mock, CHAT, &asked).await.data();
    let mut arguments = [String::new(), String::new()];
    for chunk in &chunks {
        for call in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().unwrap() as usize;
            arguments[at].push_str(call["function"]["arguments"].as_str().unwrap());
        }
    }
    assert_eq!(arguments, [r#"{"city":"mock 1"}"#, r#"{"city":"mock 2"}"#]);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn answers_end_where_they_must() {
    let mock = Mock::builder("a").start().await;
    let finish = async |more: Value| {
        let choice = post(&mock, CHAT, &with(ask("hello"), more)).await.json()["choices"][0].clone();
        (
            choice["message"]["content"].as_str().unwrap().to_owned(),
            choice["finish_reason"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(finish(json!({"max_tokens": 3})).await, ("This is a ".to_owned(), "length".to_owned()));
    assert_eq!(finish(json!({"stop": ["answering"]})).await, ("This is a ".to_owned(), "stop".to_owned()));
    mock.set_order("finish", "filter");
    assert_eq!(finish(json!({})).await.1, "content_filter");
    assert!(post(&mock, CHAT, &with(ask("x"), json!({"max_tokens": 0}))).await.body().contains("max_tokens"));
}

#[tokio::test]
async fn a_text_is_said_after_the_caller_and_as_long_as_ordered() {
    let mock = Mock::builder("a").start().await;
    let said = post(&mock, CHAT, &ask("say Zürich \"quoted\"\n🚀")).await.json();
    assert_eq!(said["choices"][0]["message"]["content"], "Zürich \"quoted\"\n🚀");
    mock.set_order("sse", "events=25,interval=0ms,stamp");
    let asked = with(ask("hello"), json!({"stream": true, "stream_options": {"include_usage": true}}));
    let chunks = post(&mock, CHAT, &asked).await.data();
    let pieces: Vec<&str> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    let numbers: Vec<&str> =
        pieces.iter().filter_map(|piece| piece.split('@').next()).filter(|n| !n.is_empty()).collect();
    let expected: Vec<String> = (0..25).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 25);
}

#[tokio::test]
async fn json_is_answered_in_the_schema_that_was_asked_for() {
    let mock = Mock::builder("a").start().await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
    let answer = post(&mock, CHAT, &with(ask("x"), format)).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], r#"{"n":1,"s":"mock 1"}"#);
}

#[tokio::test]
async fn images_are_counted_and_choices_repeated() {
    let mock = Mock::builder("a").start().await;
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
    let content = json!([{"type": "text", "text": "what"}, image, image]);
    let asked = json!({"model": "m", "n": 2, "messages": [{"role": "user", "content": content}]});
    let answer = post(&mock, CHAT, &asked).await.json();
    assert_eq!(answer["choices"][1]["message"]["content"], "This is a answering a question of 4 characters, 2 images.");
    assert_eq!(answer["usage"], with(answer["usage"].clone(), json!({"prompt_tokens": 201, "completion_tokens": 22})));
    let streamed = post(&mock, CHAT, &with(asked, json!({"stream": true}))).await.data();
    let of_second = streamed.iter().filter(|chunk| chunk["choices"][0]["index"] == 1).count();
    assert_eq!(of_second, 13, "a role, eleven words and the end");
}

#[tokio::test]
async fn bad_requests_are_refused_in_its_shape() {
    let mock = Mock::builder("a").start().await;
    for (body, param) in [
        (json!({"model": "m"}), "messages"),
        (json!({"model": "m", "messages": []}), "messages"),
        (json!({"model": "m", "messages": [{"role": "king", "content": "x"}]}), "messages[0].role"),
        (
            json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "smell"}]}]}),
            "messages[0].content[0].type",
        ),
    ] {
        let refused = post(&mock, CHAT, &body).await;
        let error = refused.json()["error"].clone();
        assert_eq!((refused.status(), error["param"].as_str()), ("400", Some(param)), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    assert_eq!(exchange(&mock, "POST", CHAT, "", "{").await.status(), "400");
    assert_eq!(get(&mock, CHAT).await.status(), "405");
    let odd = with(ask("x"), json!({"top_k": 3}));
    assert_eq!(post(&mock, CHAT, &odd).await.status(), "200");
    mock.set_order("strict", "1");
    assert_eq!(post(&mock, CHAT, &odd).await.json()["error"]["param"], "top_k");
}

#[tokio::test]
async fn prompts_are_completed() {
    let mock = Mock::builder("a").start().await;
    let asked = json!({"model": "m", "prompt": "12345678", "stream": true, "stream_options": {"include_usage": true}});
    let chunks = post(&mock, "/v1/completions", &asked).await.data();
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "This is a answering a question of 8 characters.");
    assert_eq!(chunks.last().unwrap()["usage"]["prompt_tokens"], 2);
}

#[tokio::test]
async fn vectors_come_as_numbers_or_as_base64() {
    let mock = Mock::builder("a").start().await;
    let asked = json!({"model": "e", "input": "x", "dimensions": 3});
    let numbers = post(&mock, "/v1/embeddings", &asked).await.json()["data"][0]["embedding"].clone();
    let encoded = post(&mock, "/v1/embeddings", &with(asked, json!({"encoding_format": "base64"}))).await.json();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded["data"][0]["embedding"].as_str().unwrap());
    let decoded: Vec<f32> = bytes.unwrap().as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    let plain: Vec<f32> = serde_json::from_value(numbers).unwrap();
    assert_eq!(decoded, plain);
    assert_eq!(decoded.len(), 3);
}

#[tokio::test]
async fn forms_are_read() {
    let mock = Mock::builder("a").start().await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n";
    let kind = "content-type: multipart/form-data; boundary=b\r\n";
    let heard = exchange(&mock, "POST", "/v1/audio/transcriptions", kind, form).await.json();
    assert_eq!(heard["text"], "transcribed by a: a.wav of 4 bytes");
    assert_eq!(mock.ledger().account("", "whisper-1").finished, 1);
    assert_eq!(exchange(&mock, "POST", "/v1/images/edits", kind, &form[..60]).await.status(), "400");
}
