//! Clients, as far as they put a stream together again: by index, strings joined, as the official SDKs do. They insist on
//! the order of events.

use serde_json::{Map, Value, json};

use crate::ai::dialect::Dialect;

/// The events of a stream, with their names.
pub(super) fn events(text: &str) -> Vec<(Option<String>, String)> {
    let frames = text.split_terminator("\n\n");
    frames
        .map(|frame| {
            let mut lines: Vec<&str> = frame.lines().collect();
            let data = lines.pop().unwrap().strip_prefix("data: ").expect("the last line is data").to_owned();
            let name = lines.pop().map(|line| line.strip_prefix("event: ").expect("the other is a name").to_owned());
            assert!(lines.is_empty(), "{frame}");
            (name, data)
        })
        .collect()
}

/// The answer that a stream makes.
pub(super) fn stream(client: Dialect, text: &str) -> Value {
    if client == Dialect::Messages { of_messages(text) } else { of_chat(text) }
}

/// A whole answer, without what a stream says otherwise.
pub(super) fn whole(client: Dialect, mut answer: Value) -> Value {
    if client == Dialect::Chat {
        answer.as_object_mut().unwrap().remove("object");
        let choice = answer["choices"][0].as_object_mut().unwrap();
        choice.remove("logprobs");
        let message = choice["message"].as_object_mut().unwrap();
        // In a stream, nothing said is an empty string.
        if message["content"].is_null() {
            message.insert("content".to_owned(), json!(""));
        }
        message.retain(|_, value| !value.is_null());
    }
    answer
}

fn of_chat(text: &str) -> Value {
    let events = events(text);
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last, &(None, "[DONE]".to_owned()));
    let (mut message, mut reason, mut usage) = (Map::new(), Value::Null, Value::Null);
    let mut head: Option<[Value; 3]> = None;
    for (name, data) in chunks {
        assert_eq!(name, &None);
        let chunk: Value = serde_json::from_str(data).unwrap();
        let these = [chunk["id"].clone(), chunk["model"].clone(), chunk["created"].clone()];
        assert_eq!(head.get_or_insert_with(|| these.clone()), &these, "they are the same in all chunks");
        assert_eq!(usage, Value::Null, "usage is the last");
        let Some(choice) = chunk["choices"].get(0) else {
            usage = chunk["usage"].clone();
            continue;
        };
        assert_eq!(reason, Value::Null, "nothing follows the reason");
        if message.is_empty() {
            assert_eq!(choice["delta"]["role"], "assistant", "the role comes first");
        }
        reason = choice["finish_reason"].clone();
        add(&mut message, choice["delta"].as_object().unwrap());
    }
    assert!(reason.is_string());
    for key in ["tool_calls", "thinking_blocks"] {
        for (index, entry) in message.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            assert_eq!(entry.as_object_mut().unwrap().remove("index"), Some(json!(index)));
            if key == "thinking_blocks" && entry["type"] == "thinking" && entry.get("thinking").is_none() {
                entry["thinking"] = json!("");
            }
        }
    }
    let [id, model, created] = head.unwrap();
    json!({
        "id": id, "model": model, "created": created, "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    })
}

fn add(to: &mut Map<String, Value>, delta: &Map<String, Value>) {
    for (key, value) in delta {
        match (to.get_mut(key), value) {
            (Some(Value::String(before)), Value::String(more)) if key != "type" => before.push_str(more),
            (Some(Value::Object(before)), Value::Object(more)) => add(before, more),
            (_, Value::Array(entries)) => {
                let list = to.entry(key.clone()).or_insert_with(|| json!([])).as_array_mut().unwrap();
                for entry in entries {
                    let entry = entry.as_object().unwrap();
                    let index = usize::try_from(entry["index"].as_u64().unwrap()).unwrap();
                    assert!(index <= list.len(), "indices have no gaps");
                    if index == list.len() {
                        list.push(json!({}));
                    }
                    add(list[index].as_object_mut().unwrap(), entry);
                }
            }
            _ => {
                to.insert(key.clone(), value.clone());
            }
        }
    }
}

fn of_messages(text: &str) -> Value {
    let events = events(text);
    let mut message = Value::Null;
    let (mut open, mut arguments) = (false, String::new());
    for (at, (name, data)) in events.iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name.as_deref(), event["type"].as_str());
        let kind = event["type"].as_str().unwrap();
        assert_eq!(kind == "message_start", at == 0, "it begins once");
        assert_eq!(kind == "message_stop", at == events.len() - 1, "it ends once");
        match kind {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert!(!std::mem::replace(&mut open, true), "one block at a time");
                assert_eq!(event["index"], content.len(), "blocks are counted");
                content.push(event["content_block"].clone());
                arguments.clear();
            }
            "content_block_delta" => {
                let content = message["content"].as_array_mut().unwrap();
                assert!(open && event["index"] == content.len() - 1, "a delta is of the block that is open");
                block_delta(content.last_mut().unwrap(), &event["delta"], &mut arguments);
            }
            "content_block_stop" => assert!(std::mem::replace(&mut open, false), "what is closed was open"),
            "message_delta" => {
                assert!(!open, "all blocks are closed");
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => {}
            other => panic!("{other}"),
        }
    }
    message
}

fn block_delta(block: &mut Value, delta: &Value, arguments: &mut String) {
    let (kind, key) = match delta["type"].as_str().unwrap() {
        "text_delta" => ("text", "text"),
        "thinking_delta" => ("thinking", "thinking"),
        "signature_delta" => ("thinking", "signature"),
        "input_json_delta" => {
            assert_eq!(block["type"], "tool_use");
            arguments.push_str(delta["partial_json"].as_str().unwrap());
            block["input"] = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
            return;
        }
        other => panic!("{other}"),
    };
    assert_eq!(block["type"], kind);
    let joined = format!("{}{}", block[key].as_str().unwrap(), delta[key].as_str().unwrap());
    block[key] = json!(joined);
}
