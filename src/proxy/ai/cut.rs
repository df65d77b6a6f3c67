//! The proper end of a stream that passes as it is and is cut, because what it may use is used up.

use serde_json::{Map, Value, json};

use crate::ai::dialect::Dialect;
use crate::ai::sse::{Frame, write_event};
use crate::ai::usage::Usage;

/// What a stream has open, as far as its end has to say so.
pub struct Watch {
    dialect: Dialect,
    /// Blocks that Anthropic's stream has begun, and ended.
    begun: u64,
    ended: u64,
    /// The last event of OpenAI's stream: its end bears the same id. Of Responses, the one that began it.
    last: Option<Frame>,
    /// Events of Responses so far.
    events: u64,
}

impl Watch {
    /// Nothing is open.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, begun: 0, ended: 0, last: None, events: 0 }
    }

    /// Takes in an event that goes on to the client.
    pub fn frame(&mut self, frame: &Frame) {
        match self.dialect {
            Dialect::Messages if frame.event() == b"content_block_start" => self.begun += 1,
            Dialect::Messages if frame.event() == b"content_block_stop" => self.ended += 1,
            Dialect::Chat | Dialect::Completions if !frame.data().is_empty() && !frame.is_done() => {
                self.last = Some(frame.clone());
            }
            Dialect::Responses if !frame.data().is_empty() => {
                self.events += 1;
                if frame.event() == b"response.created" {
                    self.last = Some(frame.clone());
                }
            }
            _ => {}
        }
    }

    /// Writes the end, with what was counted; `tells`: a client of Chat asked for that. In a dialect without an end that
    /// says why, nothing: the client sees the connection end.
    pub fn cut(&self, model: &str, usage: Usage, tells: bool, out: &mut Vec<u8>) {
        let mut event = |name, data: Value| write_event(out, name, data.to_string().as_bytes());
        let known = || -> Option<Map<String, Value>> { serde_json::from_slice(self.last.as_ref()?.data()).ok() };
        match self.dialect {
            Dialect::Messages => {
                // Blocks come one after the other, so that at most the last one is open.
                if self.begun > self.ended {
                    let stop = json!({"type": "content_block_stop", "index": self.begun - 1});
                    event(Some("content_block_stop"), stop);
                }
                let delta = json!({"stop_reason": "max_tokens", "stop_sequence": null});
                let delta = json!({"type": "message_delta", "delta": delta, "usage": of_messages(usage)});
                event(Some("message_delta"), delta);
                event(Some("message_stop"), json!({"type": "message_stop"}));
            }
            Dialect::Chat | Dialect::Completions => {
                let chat = self.dialect == Dialect::Chat;
                let object = if chat { "chat.completion.chunk" } else { "text_completion" };
                let mut choice = json!({"index": 0, "finish_reason": "length", "logprobs": null});
                let said = if chat { ("delta", json!({})) } else { ("text", json!("")) };
                if let Some(choice) = choice.as_object_mut() {
                    choice.insert(said.0.to_owned(), said.1);
                }
                let mut last = known().unwrap_or_default();
                last.insert("object".to_owned(), json!(object));
                last.entry("model").or_insert_with(|| json!(model));
                last.insert("choices".to_owned(), json!([choice]));
                last.remove("usage");
                event(None, json!(last));
                if tells {
                    last.insert("choices".to_owned(), json!([]));
                    last.insert("usage".to_owned(), of_chat(usage));
                    event(None, json!(last));
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            Dialect::Responses => {
                let mut created = known().unwrap_or_default();
                let mut response = match created.remove("response") {
                    Some(Value::Object(response)) => response,
                    _ => Map::new(),
                };
                response.insert("object".to_owned(), json!("response"));
                response.insert("status".to_owned(), json!("incomplete"));
                response.insert("incomplete_details".to_owned(), json!({"reason": "max_output_tokens"}));
                response.entry("model").or_insert_with(|| json!(model));
                response.entry("output").or_insert_with(|| json!([]));
                response.insert("usage".to_owned(), of_responses(usage));
                let last = json!({"type": "response.incomplete", "sequence_number": self.events, "response": response});
                event(Some("response.incomplete"), last);
            }
            Dialect::Gemini | Dialect::Other => {}
        }
    }
}

fn of_messages(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input.saturating_sub(usage.cache_read).saturating_sub(usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    })
}

fn of_chat(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn of_responses(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total(),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ai::sse::Decoder;

    fn cut(dialect: Dialect, stream: &'static str) -> String {
        let mut watch = Watch::new(dialect);
        let mut decoder = Decoder::new(1 << 20);
        decoder.push(Bytes::from_static(stream.as_bytes()));
        while let Some(Ok(frame)) = decoder.next() {
            watch.frame(&frame);
        }
        let mut out = Vec::new();
        let usage = Usage { input: 30, cache_read: 10, output: 7, ..Usage::default() };
        watch.cut("m", usage, true, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The usage in the last event that has one.
    fn usage(end: &str) -> Value {
        let data = end.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let usage = |event: Value| event.pointer("/response/usage").or_else(|| event.get("usage")).cloned();
        data.filter_map(usage).next_back().unwrap_or_default()
    }

    #[test]
    fn every_end_says_what_was_counted() {
        let created = "event: response.created\ndata: {\"response\":{\"id\":\"resp_1\",\"usage\":null}}\n\n";
        let end = cut(Dialect::Responses, created);
        assert!(end.contains("\"id\":\"resp_1\"") && end.contains("\"status\":\"incomplete\""), "{end}");
        assert_eq!((&usage(&end)["input_tokens"], &usage(&end)["output_tokens"]), (&json!(30), &json!(7)), "{end}");
        let end = cut(Dialect::Messages, "event: message_start\ndata: {}\n\n");
        assert_eq!((&usage(&end)["input_tokens"], &usage(&end)["output_tokens"]), (&json!(20), &json!(7)), "{end}");
        let end = cut(Dialect::Chat, "data: {\"id\":\"c\",\"usage\":null}\n\n");
        assert_eq!(usage(&end)["total_tokens"], 37, "{end}");
    }

    #[test]
    fn a_chat_that_is_cut_ends_for_its_length() {
        let end = cut(Dialect::Chat, "data: {}\n\n");
        assert!(end.contains("\"finish_reason\":\"length\"") && end.ends_with("data: [DONE]\n\n"), "{end}");
    }

    #[test]
    fn a_message_that_is_cut_closes_the_block_that_is_open() {
        let open = "event: content_block_start\ndata: {}\n\nevent: content_block_stop\ndata: {}\n\nevent: content_block_start\ndata: {}\n\n";
        let end = cut(Dialect::Messages, open);
        assert!(end.starts_with("event: content_block_stop\ndata: {\"index\":1"), "{end}");
        assert!(end.contains("\"max_tokens\"") && end.contains("event: message_stop"), "{end}");
        let closed = cut(Dialect::Messages, "event: message_start\ndata: {}\n\n");
        assert!(closed.starts_with("event: message_delta"), "{closed}");
    }
}
