//! The events of a response: each item is added, filled piece by piece, and done.

use serde_json::{Value, json};

use super::super::json::OPENAI;
use super::super::script::{Beat, Form, NUMBER, Part, TEXT, Words};
use super::{Talk, part};

/// All events.
pub(super) fn beats(talk: &Talk) -> Vec<Beat> {
    let mut script = Script { beats: Vec::new(), output: 0 };
    for name in ["response.created", "response.in_progress"] {
        script.once(Part::Opening, name, json!({"response": talk.begun()}));
    }
    if !talk.reply.thinking.is_empty() {
        reasoning(talk, &mut script);
    }
    if talk.reply.count > 0 {
        message(talk, &mut script);
    }
    for at in 0..talk.reply.calls.len() {
        call(talk, &mut script, at);
    }
    let status = talk.status();
    let mut response = talk.response(status, talk.output());
    if talk.scene.silent {
        response["usage"] = Value::Null;
    }
    script.once(Part::Terminal, &format!("response.{status}"), json!({"response": response}));
    script.beats
}

struct Script {
    beats: Vec<Beat>,
    /// The number of the item.
    output: u64,
}

impl Script {
    fn form(&self, name: &str, mut data: Value) -> Form {
        data["type"] = name.into();
        data["sequence_number"] = NUMBER.into();
        Form::event(Some(name), &data, OPENAI)
    }

    fn once(&mut self, part: Part, name: &str, data: Value) {
        let form = self.form(name, data);
        self.beats.push(Beat::once(part, form));
    }

    /// An event about the item.
    fn about(&mut self, part: Part, name: &str, mut data: Value) {
        data["output_index"] = self.output.into();
        self.once(part, name, data);
    }

    fn pieces(&mut self, name: &str, mut data: Value, words: Words, times: u64) {
        data["output_index"] = self.output.into();
        data["delta"] = TEXT.into();
        let form = self.form(name, data);
        self.beats.push(Beat::content(form, words, times));
    }
}

fn reasoning(talk: &Talk, script: &mut Script) {
    let whole = talk.reasoning();
    let id = whole["id"].clone();
    let mut begun = whole.clone();
    begun["summary"] = json!([]);
    script.about(Part::Opening, "response.output_item.added", json!({"item": begun}));
    if let Some(summary) = whole["summary"].get(0) {
        let place = |data: Value| {
            let mut data = data;
            data["item_id"] = id.clone();
            data["summary_index"] = 0.into();
            data
        };
        let empty = json!({"type": "summary_text", "text": ""});
        script.about(Part::Content, "response.reasoning_summary_part.added", place(json!({"part": empty})));
        let words = Words::cycle(&talk.reply.thinking);
        let times = talk.reply.thinking.len() as u64;
        script.pieces("response.reasoning_summary_text.delta", place(json!({})), words, times);
        let text = json!({"text": summary["text"]});
        script.about(Part::Content, "response.reasoning_summary_text.done", place(text));
        script.about(Part::Content, "response.reasoning_summary_part.done", place(json!({"part": summary})));
    }
    script.about(Part::Content, "response.output_item.done", json!({"item": whole}));
    script.output += 1;
}

fn message(talk: &Talk, script: &mut Script) {
    let whole = talk.message(talk.status(), vec![part(&talk.reply.text())]);
    let id = whole["id"].clone();
    let place = |mut data: Value| {
        data["item_id"] = id.clone();
        data["content_index"] = 0.into();
        data
    };
    // Up to the first piece of text nothing is said; behind an item of reasoning it is not the opening any more.
    let opening = if script.output == 0 { Part::Opening } else { Part::Content };
    script.about(opening, "response.output_item.added", json!({"item": talk.message("in_progress", Vec::new())}));
    script.about(opening, "response.content_part.added", place(json!({"part": part("")})));
    let delta = place(json!({"logprobs": []}));
    script.pieces("response.output_text.delta", delta, talk.reply.words(), talk.reply.count);
    let text = talk.reply.text();
    script.about(Part::Content, "response.output_text.done", place(json!({"text": text, "logprobs": []})));
    script.about(Part::Content, "response.content_part.done", place(json!({"part": part(&text)})));
    script.about(Part::Content, "response.output_item.done", json!({"item": whole}));
    script.output += 1;
}

fn call(talk: &Talk, script: &mut Script, at: usize) {
    let (Some(begun), Some(whole), Some(call)) =
        (talk.called(at, false), talk.called(at, true), talk.reply.calls.get(at))
    else {
        return;
    };
    let id = whole["id"].clone();
    script.about(Part::Content, "response.output_item.added", json!({"item": begun}));
    let pieces = call.pieces();
    let words = Words::cycle(&pieces);
    let delta = json!({"item_id": id});
    script.pieces("response.function_call_arguments.delta", delta, words, pieces.len() as u64);
    let done = json!({"item_id": id, "name": call.name, "arguments": call.arguments.to_string()});
    script.about(Part::Content, "response.function_call_arguments.done", done);
    script.about(Part::Content, "response.output_item.done", json!({"item": whole}));
    script.output += 1;
}
