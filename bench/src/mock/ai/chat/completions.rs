//! OpenAI's older `completions`, which vLLM and others still serve: a prompt, and the text that goes on from it.

use serde_json::{Value, json};

use super::super::error::Trouble;
use super::super::json::OPENAI;
use super::super::question::{Question, Role, texts};
use super::super::reply::{Finish, Reply};
use super::super::script::{Beat, Form, Part, TEXT};
use super::super::{Call, Scene};
use super::play;
use crate::mock::answer::Answer;

/// The answer to a request for a completion, whole or as a stream.
pub(in crate::mock::ai) fn answer(call: &Call, scene: &Scene, asked: &Value, stream: bool) -> Result<Answer, Trouble> {
    if call.model.is_empty() {
        return Err(Trouble::invalid("you must provide a model parameter"));
    }
    let mut question = Question::new();
    let prompts = texts(&asked["prompt"]);
    if prompts.is_empty() && !asked["prompt"].is_array() {
        return Err(Trouble::missing("prompt"));
    }
    prompts.iter().for_each(|prompt| question.hear(Role::User, prompt));
    question.most = asked["max_tokens"].as_u64();
    question.stop = texts(&asked["stop"]);
    let reply = Reply::plan(scene, &question);
    let head = json!({
        "id": format!("cmpl-mock{}", scene.number), "object": "text_completion", "created": scene.created,
        "model": call.model, "system_fingerprint": "fp_mock",
    });
    let finish = if reply.finish == Finish::Length { "length" } else { "stop" };
    let with = |text: &str, finish: Value| {
        let mut object = head.clone();
        object["choices"] = json!([{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}]);
        object
    };
    let usage = super::usage(scene.orders.flavour, &reply.usage);
    if !stream {
        let mut whole = with(&reply.text(), finish.into());
        if !scene.silent {
            whole["usage"] = usage;
        }
        return Ok(scene.whole(&whole, OPENAI, reply.usage));
    }
    let content = Form::event(None, &with(TEXT, Value::Null), OPENAI);
    let mut beats = vec![
        Beat::content(content, reply.words(), reply.count),
        Beat::once(Part::Closing, Form::event(None, &with("", finish.into()), OPENAI)),
    ];
    if asked["stream_options"]["include_usage"] == true && !scene.silent {
        let mut last = head.clone();
        last["choices"] = json!([]);
        last["usage"] = usage;
        beats.push(Beat::once(Part::Closing, Form::event(None, &last, OPENAI)));
    }
    beats.push(Beat::once(Part::Terminal, Form::parse("data: [DONE]\n\n")));
    Ok(play(scene, super::score(call, scene, &reply, beats)))
}
