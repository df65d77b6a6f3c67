//! What a stream comes to, read as strictly as a client's library reads it.

use serde_json::{Value, json};

use super::Event;

/// What a stream told.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Told {
    /// The whole text.
    pub text: String,
    /// The whole thinking.
    pub thinking: String,
    /// Signatures of thinking.
    pub signatures: Vec<String>,
    /// Calls of tools: id, name and arguments.
    pub calls: Vec<(String, String, String)>,
    /// Why it ended.
    pub finish: Option<String>,
    /// The usage, where it was told.
    pub usage: Option<Value>,
    /// Events that are errors.
    pub errors: Vec<Value>,
    /// Whether the last event was that which ends a good stream.
    pub ended: bool,
}

/// The chunks of a stream of `chat/completions`, the first choice only.
///
/// # Panics
/// When the chunks are not such a stream: an object of another kind, two ids, an event after the last.
pub fn chat_told(events: &[Event]) -> Told {
    let mut told = Told::default();
    let mut id = Value::Null;
    for event in events {
        assert!(!told.ended, "an event after the last: {event:?}");
        if event.is_done() {
            told.ended = true;
            continue;
        }
        let chunk = event.json();
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            told.errors.push(chunk["error"].clone());
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk", "{chunk}");
        assert!(id.is_null() || id == chunk["id"], "another id: {chunk}");
        id = chunk["id"].clone();
        if chunk["usage"].is_object() {
            told.usage = Some(chunk["usage"].clone());
        }
        for choice in chunk["choices"].as_array().expect("choices").iter().filter(|choice| choice["index"] == 0) {
            chat_choice(&mut told, choice);
        }
    }
    told
}

fn chat_choice(told: &mut Told, choice: &Value) {
    assert!(told.finish.is_none(), "a delta after the finish: {choice}");
    let delta = &choice["delta"];
    told.text.push_str(delta["content"].as_str().unwrap_or_default());
    told.thinking.push_str(delta["reasoning_content"].as_str().unwrap_or_default());
    for call in delta["tool_calls"].as_array().into_iter().flatten() {
        let index = usize::try_from(call["index"].as_u64().expect("an index")).expect("a small one");
        if index == told.calls.len() {
            let name = call["function"]["name"].as_str().expect("a call begins with its name");
            let id = call["id"].as_str().expect("a call begins with its id");
            told.calls.push((id.to_owned(), name.to_owned(), String::new()));
        }
        let (_, _, arguments) = &mut told.calls[index];
        arguments.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
    }
    if let Some(finish) = choice["finish_reason"].as_str() {
        told.finish = Some(finish.to_owned());
    }
}

/// The events of a stream of `messages`.
///
/// # Panics
/// When the events are not such a stream: a block that was not begun, a second beginning, an event after the last.
pub fn messages_told(events: &[Event]) -> Told {
    let mut told = Told::default();
    let (mut begun, mut open, mut next) = (false, None, 0);
    for event in events {
        assert!(!told.ended, "an event after the last: {event:?}");
        let value = event.json();
        assert_eq!(value["type"].as_str(), Some(event.name.as_str()), "{event:?}");
        assert!(begun || matches!(event.name.as_str(), "message_start" | "ping" | "error"), "no beginning: {event:?}");
        match event.name.as_str() {
            "ping" => {}
            "error" => told.errors.push(value["error"].clone()),
            "message_start" => {
                assert!(!begun, "a second beginning");
                begun = true;
                told.usage = Some(value["message"]["usage"].clone());
            }
            "content_block_start" => {
                assert_eq!((open, &value["index"]), (None, &json!(next)), "{value}");
                open = Some(next);
                let block = &value["content_block"];
                if block["type"] == "tool_use" {
                    let text = |name: &str| block[name].as_str().expect("a text").to_owned();
                    told.calls.push((text("id"), text("name"), String::new()));
                }
            }
            "content_block_delta" => {
                assert_eq!(value["index"].as_u64(), open, "{value}");
                block_delta(&mut told, &value["delta"]);
            }
            "content_block_stop" => {
                assert_eq!(value["index"].as_u64(), open.take(), "{value}");
                next += 1;
            }
            "message_delta" => {
                told.finish = value["delta"]["stop_reason"].as_str().map(str::to_owned);
                let usage = told.usage.get_or_insert_default();
                for (name, count) in value["usage"].as_object().into_iter().flatten() {
                    usage[name.as_str()] = count.clone();
                }
            }
            "message_stop" => told.ended = true,
            other => panic!("there is no event {other}"),
        }
    }
    told
}

fn block_delta(told: &mut Told, delta: &Value) {
    let text = |name: &str| delta[name].as_str().expect("a text");
    match delta["type"].as_str().unwrap_or_default() {
        "text_delta" => told.text.push_str(text("text")),
        "thinking_delta" => told.thinking.push_str(text("thinking")),
        "signature_delta" => told.signatures.push(text("signature").to_owned()),
        "input_json_delta" => {
            let (_, _, arguments) = told.calls.last_mut().expect("a call was begun");
            arguments.push_str(text("partial_json"));
        }
        other => panic!("there is no delta {other}"),
    }
}

/// The events of a stream of `responses`.
///
/// # Panics
/// When an event's name is not its type, or one comes after the last.
pub fn responses_told(events: &[Event]) -> Told {
    let mut told = Told::default();
    for event in events {
        assert!(!told.ended, "an event after the last: {event:?}");
        let value = event.json();
        assert_eq!(value["type"].as_str(), Some(event.name.as_str()), "{event:?}");
        match event.name.as_str() {
            "response.output_text.delta" => told.text.push_str(value["delta"].as_str().expect("a text")),
            "response.output_item.added" if value["item"]["type"] == "function_call" => {
                let text = |name: &str| value["item"][name].as_str().expect("a text").to_owned();
                told.calls.push((text("call_id"), text("name"), String::new()));
            }
            "response.function_call_arguments.delta" => {
                let (_, _, arguments) = told.calls.last_mut().expect("a call was begun");
                arguments.push_str(value["delta"].as_str().expect("a text"));
            }
            "error" => told.errors.push(value.clone()),
            "response.failed" => told.errors.push(value["response"]["error"].clone()),
            "response.completed" | "response.incomplete" => {
                told.finish = value["response"]["status"].as_str().map(str::to_owned);
                told.usage = Some(value["response"]["usage"].clone());
                told.ended = true;
            }
            _ => {}
        }
    }
    told
}
