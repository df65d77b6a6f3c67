//! What must hold for any conversation and any answer.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::accumulate;
use super::golden::{notes, streamed};
use super::*;
use crate::ai::dialect::ask::{Choice, Part, Role, Source};

// === Conversations ===

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z \"\\\\\n{}]{0,12}", any::<String>().prop_map(|s| s.chars().take(8).collect())]
}

fn arguments() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(
        "[a-z\"]{1,4}",
        prop_oneof![text().prop_map(Value::from), any::<i64>().prop_map(Value::from)],
        0..3,
    )
    .prop_map(|map| json!(map))
}

fn user_part() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|text| json!({"type": "text", "text": text})),
        "[A-Za-z0-9+/]{4,8}".prop_map(
            |data| json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}})
        ),
        "[a-z]{1,5}".prop_map(
            |path| json!({"type": "image_url", "image_url": {"url": format!("https://a.example/{path}.png")}})
        ),
    ]
}

/// Some messages in a row that belong together: a call with its results is never torn apart.
fn exchange() -> impl Strategy<Value = Vec<Value>> {
    prop_oneof![
        text().prop_map(|text| vec![json!({"role": "system", "content": text})]),
        text().prop_map(|text| vec![json!({"role": "user", "content": text})]),
        prop::collection::vec(user_part(), 1..4).prop_map(|parts| vec![json!({"role": "user", "content": parts})]),
        text().prop_map(|text| vec![json!({"role": "assistant", "content": text})]),
        (text(), prop::collection::vec((arguments(), text(), any::<bool>()), 1..4), any::<bool>()).prop_map(called),
    ]
}

fn called((said, calls, reversed): (String, Vec<(Value, String, bool)>, bool)) -> Vec<Value> {
    let id = |index: usize| format!("call_{index}");
    let tool_calls = calls.iter().enumerate().map(|(index, (arguments, _, _))| {
        json!({"id": id(index), "type": "function", "function": {"name": "f", "arguments": arguments.to_string()}})
    });
    let mut messages =
        vec![json!({"role": "assistant", "content": said, "tool_calls": tool_calls.collect::<Vec<_>>()})];
    let results = calls.iter().enumerate().map(|(index, (_, result, as_parts))| {
        let content = if *as_parts { json!([{"type": "text", "text": result}]) } else { json!(result) };
        json!({"role": "tool", "tool_call_id": id(index), "content": content})
    });
    let mut results: Vec<_> = results.collect();
    if reversed {
        results.reverse();
    }
    messages.append(&mut results);
    messages
}

fn request_of_chat() -> impl Strategy<Value = Value> {
    let parameters = (
        prop::option::of(0.0..1.0_f64),
        prop::option::of(1_u64..10_000),
        prop::collection::vec("[a-z]{1,4}", 0..3),
        prop::option::of(prop_oneof![Just("auto"), Just("none"), Just("required")]),
        prop::option::of(any::<bool>()),
        any::<bool>(),
    );
    (prop::collection::vec(exchange(), 0..6), parameters).prop_map(|(exchanges, parameters)| {
        let (temperature, most, stop, choice, parallel, stream) = parameters;
        let mut messages = vec![json!({"role": "user", "content": "Go."})];
        messages.extend(exchanges.into_iter().flatten());
        let mut body = json!({"model": "m", "messages": messages, "stream": stream});
        body["tools"] = json!([{"type": "function", "function": {
            "name": "f", "description": "d", "parameters": {"type": "object", "properties": {"z": {}, "a": {}}},
        }}]);
        body["temperature"] = json!(temperature);
        body["max_tokens"] = json!(most);
        body["stop"] = json!(stop);
        body["tool_choice"] = json!(choice);
        body["parallel_tool_calls"] = json!(parallel);
        body
    })
}

/// What a request says, whatever its dialect: all that must survive a translation.
fn meaning(dialect: Dialect, body: &[u8]) -> Value {
    let ask = match dialect {
        Dialect::Chat => read::<chat::Body<'_>>(body).unwrap().into_ask().unwrap(),
        _ => read::<messages::Body<'_>>(body).unwrap().into_ask().unwrap(),
    };
    let turns = ask.turns_of(|part| !matches!(part, Part::Text(text, _) if text.is_blank()));
    let turns: Vec<Value> = turns.iter().map(|(role, parts)| turn(*role, parts)).collect();
    let tools: Vec<Value> = ask
        .tools
        .iter()
        .map(|tool| json!([&*tool.name, tool.description.as_deref(), tool.schema.map(|raw| raw.get()), tool.strict]))
        .collect();
    json!({
        "system": ask.system_text(),
        "turns": turns,
        "tools": tools,
        "choice": format!("{:?}", ask.choice.as_ref().unwrap_or(&Choice::Auto)),
        "parallel": ask.choice == Some(Choice::None) || ask.parallel.unwrap_or(true),
        "max_tokens": ask.max_tokens.unwrap_or(4096),
        "temperature": ask.temperature,
        "stop": ask.stop.iter().map(|stop| &**stop).collect::<Vec<_>>(),
        "stream": ask.stream,
    })
}

/// An assistant's texts are joined, for Chat knows one.
fn turn(role: Role, parts: &[&Part<'_>]) -> Value {
    let mut said = String::new();
    let mut others = Vec::new();
    for part in parts {
        match part {
            Part::Text(text, _) if role == Role::Assistant => said.push_str(text),
            Part::Text(text, _) => others.push(json!({"text": &**text})),
            Part::Call(call) => {
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
                others.push(json!({"call": &*call.id, "name": &*call.name, "arguments": arguments}));
            }
            Part::Result(outcome) => {
                let text = outcome.text();
                let text = if text.trim().is_empty() { "" } else { &text };
                others.push(json!({"result": &*outcome.id, "of": &*outcome.name, "text": text}));
            }
            Part::Media(media) => others.push(match &media.source {
                Source::Data { mime, data } => json!({"mime": &**mime, "data": &**data}),
                Source::Url(url) => json!({"url": &**url}),
                Source::Plain(text) => json!({"plain": &**text}),
            }),
            other => others.push(json!(format!("{other:?}"))),
        }
    }
    json!({"role": format!("{role:?}"), "said": said, "parts": others})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_conversation_keeps_its_meaning_there_and_back(body in request_of_chat()) {
        let asked = body.to_string().into_bytes();
        let there = request(Dialect::Chat, Dialect::Messages, &asked, "m").unwrap();
        let back = request(Dialect::Messages, Dialect::Chat, &there.body, "m").unwrap();
        prop_assert_eq!(meaning(Dialect::Chat, &asked), meaning(Dialect::Messages, &there.body));
        prop_assert_eq!(meaning(Dialect::Chat, &asked), meaning(Dialect::Chat, &back.body));
    }

    #[test]
    fn gemini_is_asked_turn_by_turn_with_a_result_for_each_call(body in request_of_chat()) {
        let asked = request(Dialect::Chat, Dialect::Gemini, body.to_string().as_bytes(), "gemini-3-pro").unwrap();
        let asked: Value = serde_json::from_slice(&asked.body).unwrap();
        let mut last = (Value::Null, 0);
        for content in asked["contents"].as_array().unwrap() {
            let count = |key: &str| content["parts"].as_array().unwrap().iter().filter(|part| part.get(key).is_some()).count();
            prop_assert_ne!(&content["role"], &last.0);
            prop_assert_eq!(count("functionResponse"), last.1);
            let calls = count("functionCall");
            prop_assert_eq!(count("thoughtSignature"), usize::from(calls > 0));
            last = (content["role"].clone(), calls);
        }
    }
}

// === Answers ===

/// An answer, in no dialect yet.
#[derive(Debug, Clone)]
struct Said {
    thinking: Option<String>,
    text: Option<String>,
    calls: Vec<Value>,
    stop: u8,
    /// Where texts are cut into deltas: one after each so many characters.
    cut: usize,
}

fn said() -> impl Strategy<Value = Said> {
    let filled = || prop::option::of(text().prop_filter("empty text is no text", |text| !text.is_empty()));
    (filled(), filled(), prop::collection::vec(arguments(), 0..3), 0..4_u8, 1..6_usize)
        .prop_map(|(thinking, text, calls, stop, cut)| Said { thinking, text, calls, stop, cut })
}

impl Said {
    fn pieces(&self, text: &str) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        chars.chunks(self.cut).map(|chunk| chunk.iter().collect()).collect()
    }

    fn word(&self, words: [&'static str; 4], calls: &'static str) -> &'static str {
        if self.calls.is_empty() { words[usize::from(self.stop)] } else { calls }
    }
}

fn of_messages(said: &Said) -> (Value, String) {
    let (mut content, mut events) = (Vec::new(), Vec::new());
    let mut block = |whole: Value, start: Value, deltas: Vec<Value>| {
        let index = content.len();
        content.push(whole);
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        events.extend(
            deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
    };
    if let Some(text) = &said.thinking {
        let mut deltas: Vec<_> =
            said.pieces(text).into_iter().map(|piece| json!({"type": "thinking_delta", "thinking": piece})).collect();
        deltas.push(json!({"type": "signature_delta", "signature": "c2ln"}));
        let whole = json!({"type": "thinking", "thinking": text, "signature": "c2ln"});
        block(whole, json!({"type": "thinking", "thinking": "", "signature": ""}), deltas);
        block(
            json!({"type": "redacted_thinking", "data": "x"}),
            json!({"type": "redacted_thinking", "data": "x"}),
            vec![],
        );
    }
    if let Some(text) = &said.text {
        let deltas = said.pieces(text).into_iter().map(|piece| json!({"type": "text_delta", "text": piece}));
        block(json!({"type": "text", "text": text}), json!({"type": "text", "text": ""}), deltas.collect());
    }
    for (index, input) in said.calls.iter().enumerate() {
        let pieces = if input == &json!({}) { vec![] } else { said.pieces(&input.to_string()) };
        let deltas = pieces.into_iter().map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
        let call =
            |input: &Value| json!({"type": "tool_use", "id": format!("toolu_{index}"), "name": "f", "input": input});
        block(call(input), call(&json!({})), deltas.collect());
    }
    let stop = said.word(["end_turn", "max_tokens", "stop_sequence", "refusal"], "tool_use");
    let whole = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": stop, "stop_sequence": null,
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 20, "output_tokens": 9},
    });
    let start = json!({"type": "message_start", "message": {
        "id": "msg_1", "model": "m", "usage": {"input_tokens": 7, "cache_read_input_tokens": 20, "output_tokens": 1},
    }});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 9}});
    let all = std::iter::once(start).chain(events).chain([end, json!({"type": "message_stop"})]);
    let sse = all.map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect();
    (whole, sse)
}

fn of_chat(said: &Said) -> (Value, String) {
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    let mut message = json!({"role": "assistant", "content": said.text});
    if let Some(text) = &said.thinking {
        message["reasoning_content"] = json!(text);
        deltas.extend(said.pieces(text).into_iter().map(|piece| json!({"reasoning_content": piece})));
    }
    if let Some(text) = &said.text {
        deltas.extend(said.pieces(text).into_iter().map(|piece| json!({"content": piece})));
    }
    for (index, arguments) in said.calls.iter().enumerate() {
        let arguments = arguments.to_string();
        let id = format!("call_{index}");
        let call = json!({"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": ""}});
        deltas.push(json!({"tool_calls": [call]}));
        for piece in said.pieces(&arguments) {
            deltas.push(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}));
        }
        let calls = message.as_object_mut().unwrap().entry("tool_calls").or_insert_with(|| json!([]));
        let call = json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
        calls.as_array_mut().unwrap().push(call);
    }
    let stop = said.word(["stop", "length", "stop", "content_filter"], "tool_calls");
    let usage = json!({"prompt_tokens": 27, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 20}});
    let whole = json!({
        "id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": stop}], "usage": usage,
    });
    let chunk = |choices: Value, usage: Value| {
        format!("data: {}\n\n", json!({"id": "c", "model": "m", "choices": choices, "usage": usage}))
    };
    let mut sse: String = deltas
        .into_iter()
        .map(|delta| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]), Value::Null))
        .collect();
    sse += &chunk(json!([{"index": 0, "delta": {}, "finish_reason": stop}]), Value::Null);
    sse += &chunk(json!([]), usage);
    (whole, sse + "data: [DONE]\n\n")
}

fn of_gemini(said: &Said) -> (Value, String) {
    let usage = json!({"promptTokenCount": 27, "cachedContentTokenCount": 20, "candidatesTokenCount": 5, "thoughtsTokenCount": 4});
    let stop = said.word(["STOP", "MAX_TOKENS", "STOP", "SAFETY"], "STOP");
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for (text, thought) in [(&said.thinking, true), (&said.text, false)] {
        if let Some(text) = text {
            whole.push(json!({"text": text, "thought": thought}));
            parts.extend(said.pieces(text).into_iter().map(|piece| json!({"text": piece, "thought": thought})));
        }
    }
    for (index, args) in said.calls.iter().enumerate() {
        let mut part = json!({"functionCall": {"name": "f", "args": args}});
        if index == 0 {
            part["thoughtSignature"] = json!("c2ln");
        }
        whole.push(part.clone());
        parts.push(part);
    }
    if said.calls.is_empty() {
        let seal = json!({"text": "", "thoughtSignature": "dGV4dA=="});
        whole.push(seal.clone());
        parts.push(seal);
    }
    let answer = |parts: Value, reason: Value| {
        json!({
            "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": reason}],
            "usageMetadata": usage, "modelVersion": "m", "responseId": "r",
        })
    };
    let sse: String =
        parts.into_iter().map(|part| format!("data: {}\n\n", answer(json!([part]), Value::Null))).collect();
    let end = format!("data: {}\n\n", answer(json!([]), json!(stop)));
    (answer(json!(whole), json!(stop)), sse + &end)
}

fn same_either_way(
    provider: Dialect,
    client: Dialect,
    (whole, sse): (Value, String),
    cuts: &[prop::sample::Index],
) -> Result<(), TestCaseError> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(sse.len())).collect();
    cuts.sort_unstable();
    let answer = answer(provider, client, whole.to_string().as_bytes(), &notes()).unwrap();
    let (text, malformed) = streamed((provider, client), sse.as_bytes(), cuts);
    prop_assert_eq!(malformed, None);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    prop_assert_eq!(accumulate::stream(client, &text), accumulate::whole(client, answer));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_stream_gives_the_same_answer_as_the_whole_however_it_is_cut(
        said in said(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        same_either_way(Dialect::Messages, Dialect::Chat, of_messages(&said), &cuts)?;
        same_either_way(Dialect::Chat, Dialect::Messages, of_chat(&said), &cuts)?;
        same_either_way(Dialect::Gemini, Dialect::Chat, of_gemini(&said), &cuts)?;
        same_either_way(Dialect::Gemini, Dialect::Messages, of_gemini(&said), &cuts)?;
    }
}
