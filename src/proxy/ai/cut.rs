//! The proper end of a stream that passes as it is and is cut, because what it may use is used up.

use serde_json::json;

use crate::ai::dialect::Dialect;
use crate::ai::sse::{Frame, write_event};

/// What a stream has open, as far as its end has to say so.
pub struct Watch {
    dialect: Dialect,
    /// Blocks that Anthropic's stream has begun, and ended.
    begun: u64,
    ended: u64,
    /// The last event of OpenAI's stream: its end bears the same id.
    last: Option<Frame>,
}

impl Watch {
    /// Nothing is open.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, begun: 0, ended: 0, last: None }
    }

    /// Takes in an event that goes on to the client.
    pub fn frame(&mut self, frame: &Frame) {
        match self.dialect {
            Dialect::Messages if frame.event() == b"content_block_start" => self.begun += 1,
            Dialect::Messages if frame.event() == b"content_block_stop" => self.ended += 1,
            Dialect::Chat | Dialect::Completions if frame.has_data() && !frame.is_done() => {
                self.last = Some(frame.clone());
            }
            _ => {}
        }
    }

    /// Writes the end. In a dialect without one that says why, nothing: the client sees the connection end.
    pub fn cut(&self, model: &str, out: &mut Vec<u8>) {
        let mut event = |name, data: serde_json::Value| write_event(out, name, data.to_string().as_bytes());
        match self.dialect {
            Dialect::Messages => {
                // Blocks come one after the other, so that at most the last one is open.
                if self.begun > self.ended {
                    let stop = json!({"type": "content_block_stop", "index": self.begun - 1});
                    event(Some("content_block_stop"), stop);
                }
                let delta = json!({"stop_reason": "max_tokens", "stop_sequence": null});
                let delta = json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}});
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
                let known = self.last.as_ref().and_then(|frame| serde_json::from_slice(frame.data()).ok());
                let mut last: serde_json::Map<String, serde_json::Value> = known.unwrap_or_default();
                last.insert("object".to_owned(), json!(object));
                last.entry("model").or_insert_with(|| json!(model));
                last.insert("choices".to_owned(), json!([choice]));
                event(None, json!(last));
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            Dialect::Responses => {
                let details = json!({"reason": "max_output_tokens"});
                let response = json!({"object": "response", "status": "incomplete", "incomplete_details": details,
                    "model": model, "output": []});
                event(Some("response.incomplete"), json!({"type": "response.incomplete", "response": response}));
            }
            Dialect::Gemini | Dialect::Other => {}
        }
    }
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
        watch.cut("m", &mut out);
        String::from_utf8(out).unwrap()
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
