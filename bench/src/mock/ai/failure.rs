//! How each dialect says, in a stream that began well, that it fails.

use serde_json::{Value, json};

use super::error::{Manner, Trouble};
use super::{jairouter, json};
use crate::mock::faults::ErrorShape;

/// How a dialect ends a stream that fails.
pub(super) struct Failure {
    pub(super) manner: Manner,
    pub(super) number: u64,
    /// JAiRouter's shape in place of the dialect's.
    pub(super) shape: Option<ErrorShape>,
    pub(super) voice: Voice,
}

/// The ways of saying it.
pub(super) enum Voice {
    /// `data: {"error": ...}`.
    Data,
    /// The same, then `[DONE]`.
    DataThenDone,
    /// `event: error`.
    Event,
    /// `event: error`, then `response.failed` with this response, whose `error` is null.
    Response(Box<Value>),
    /// An element of a JSON array, which ends there.
    Element,
}

impl Failure {
    /// The events that say why the stream ends; `events` came before.
    pub(super) fn text(&self, trouble: &Trouble, events: u64) -> String {
        let body = match self.shape {
            Some(shape) => jairouter::in_stream(shape),
            None => trouble.body(self.manner, self.number),
        };
        match &self.voice {
            Voice::Data => format!("data: {body}\n\n"),
            Voice::DataThenDone => format!("data: {body}\n\ndata: [DONE]\n\n"),
            Voice::Event => format!("event: error\ndata: {body}\n\n"),
            Voice::Element => format!("{}{body}\n]\n", if events == 0 { "[" } else { ",\r\n" }),
            Voice::Response(response) => self.of_response(trouble, response, events),
        }
    }

    fn of_response(&self, trouble: &Trouble, response: &Value, events: u64) -> String {
        let (code, message) = trouble.of_response();
        let error = json!({
            "type": "error", "sequence_number": events, "code": code, "message": message, "param": null,
        });
        let mut response = response.clone();
        response["status"] = "failed".into();
        response["error"] = json!({"code": code, "message": message});
        let failed = json!({"type": "response.failed", "sequence_number": events + 1, "response": response});
        let [error, failed] = [error, failed].map(|value| json::written(&value, json::OPENAI));
        format!("event: error\ndata: {error}\n\nevent: response.failed\ndata: {failed}\n\n")
    }

    /// An event that is none.
    pub(super) fn garbage(&self) -> &'static str {
        match self.voice {
            Voice::Data | Voice::DataThenDone => "data: {\"id\":\"mock\",\"choices\":[{\"delta\":{\"conte\n\n",
            Voice::Event => "event: content_block_delta\ndata: {\"type\":\"content_block_de\n\n",
            Voice::Response(_) => "event: response.output_text.delta\ndata: {\"type\":\"response.outp\n\n",
            Voice::Element => ",\r\n{\"candidates\": [{\"conte",
        }
    }
}
