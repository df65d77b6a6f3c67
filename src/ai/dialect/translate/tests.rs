//! The rules of the doors themselves; what each direction makes of what is in `golden`.

use serde_json::{Value, json};

use super::*;

mod accumulate;
mod golden;
mod google;
mod openai;
mod properties;

fn asked(client: Dialect, provider: Dialect, body: &Value) -> Value {
    let translated = request(client, provider, body.to_string().as_bytes(), "the-model").expect("it is translated");
    serde_json::from_slice(&translated.body).expect("it is JSON")
}

fn refused(client: Dialect, provider: Dialect, body: &str) -> Untranslatable {
    request(client, provider, body.as_bytes(), "the-model").expect_err("it is refused")
}

#[test]
fn a_request_of_chat_is_asked_of_messages() {
    let body = json!({
        "model": "x",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "stream": true,
    });
    assert_eq!(
        asked(Dialect::Chat, Dialect::Messages, &body),
        json!({
            "model": "the-model",
            "max_tokens": 4096,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0.5,
            "stream": true,
        })
    );
}

/// A request of Chat with an effort, as this model of Messages is asked it.
fn asked_with_effort(model: &str, more: &Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": "high"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let asked =
        request(Dialect::Chat, Dialect::Messages, body.to_string().as_bytes(), model).expect("it is asked").body;
    serde_json::from_slice(&asked).unwrap()
}

#[test]
fn where_a_tool_must_be_called_thinking_is_left_off() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for choice in [json!("required"), json!({"type": "function", "function": {"name": "f"}})] {
        for model in ["claude-sonnet-4-5", "claude-opus-4-6"] {
            let asked = asked_with_effort(model, &json!({"tools": tools, "tool_choice": choice, "temperature": 0.2}));
            assert_eq!(asked["thinking"], json!({"type": "disabled"}), "{asked}");
            assert_eq!((&asked["temperature"], &asked["max_tokens"]), (&json!(0.2), &json!(4096)), "{asked}");
            let effort = if model == "claude-opus-4-6" { json!({"effort": "high"}) } else { Value::Null };
            assert_eq!(asked["output_config"], effort, "{asked}");
        }
    }
    let most = json!({"tools": tools, "tool_choice": "required", "reasoning_effort": "max"});
    assert_eq!(asked_with_effort("claude-opus-4-8", &most)["output_config"], json!({"effort": "high"}));
    let free = asked_with_effort("claude-sonnet-4-5", &json!({"tools": tools, "tool_choice": "auto"}));
    assert_eq!(free["thinking"], json!({"type": "enabled", "budget_tokens": 24576}), "it thinks where it may choose");
    let none = asked_with_effort("claude-sonnet-4-5", &json!({"tool_choice": "required"}));
    assert_eq!(none["thinking"]["type"], "enabled", "where there is no tool, none must be called");
}

#[test]
fn with_thinking_a_temperature_gives_way() {
    for model in ["claude-sonnet-4-5", "claude-opus-4-6"] {
        let asked = asked_with_effort(model, &json!({"temperature": 0.2, "top_p": 0.5, "top_k": 5}));
        assert!(asked["thinking"].is_object(), "{asked}");
        assert_eq!([&asked["temperature"], &asked["top_p"], &asked["top_k"]], [&Value::Null; 3], "{asked}");
        assert_eq!(asked_with_effort(model, &json!({"top_p": 0.95}))["top_p"], 0.95);
        let off = asked_with_effort(model, &json!({"temperature": 0.2, "top_k": 5, "reasoning_effort": "none"}));
        assert_eq!((&off["temperature"], &off["top_k"]), (&json!(0.2), &json!(5)), "{off}");
    }
}

#[test]
fn a_model_is_sent_as_much_of_a_temperature_and_top_p_as_it_takes() {
    let sent = |model: &str, more: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "Hi"}], "top_k": 5});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asked = request(Dialect::Chat, Dialect::Messages, body.to_string().as_bytes(), model).unwrap().body;
        let asked: Value = serde_json::from_slice(&asked).unwrap();
        json!([asked["temperature"], asked["top_p"], asked["top_k"]])
    };
    let both = json!({"temperature": 0.5, "top_p": 0.9});
    assert_eq!(sent("claude-opus-4-20250514", both.clone()), json!([0.5, 0.9, 5]));
    for model in ["claude-opus-4-1-20250805", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-6"] {
        assert_eq!(sent(model, both.clone()), json!([0.5, null, 5]), "{model}");
        assert_eq!(sent(model, json!({"top_p": 0.9})), json!([null, 0.9, 5]), "{model}");
        assert_eq!(sent(model, json!({"top_p": 1})), json!([null, null, 5]), "it says nothing");
    }
    for model in ["claude-opus-4-7", "claude-sonnet-5", "claude-haiku-5-5", "claude-fable-5", "claude-mythos-preview"] {
        assert_eq!(sent(model, both.clone()), json!([null, null, null]), "{model}");
    }
}

#[test]
fn a_model_that_always_thinks_is_not_told_to_stop() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let forced = json!({"tools": tools, "tool_choice": "required", "reasoning_effort": "max"});
    for model in ["claude-fable-5", "claude-mythos-5"] {
        let asked = asked_with_effort(model, &forced);
        assert_eq!(
            (&asked["thinking"], &asked["output_config"]),
            (&json!({"type": "adaptive"}), &json!({"effort": "max"}))
        );
    }
    let refused = |model: &str, more: &Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request(Dialect::Chat, Dialect::Messages, body.to_string().as_bytes(), model).unwrap_err().param.unwrap()
    };
    for model in ["claude-fable-5-2", "claude-opus-5-5"] {
        assert_eq!(refused(model, &json!({"reasoning_effort": "none"})), "reasoning_effort", "{model}");
        assert_eq!(refused(model, &forced), "tool_choice", "{model}");
    }
    let both = json!({"tools": tools, "tool_choice": "required", "reasoning_effort": "none"});
    assert_eq!(refused("claude-fable-5", &both), "reasoning_effort");
    assert_eq!(own_bound(Dialect::Messages, Some("none"), "claude-fable-5"), 0);
}

#[test]
fn a_call_that_comes_back_without_what_was_thought_before_it_is_answered_without_thinking() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let turns = |thought: Value| {
        json!({"messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "tool_calls": [call], "thinking_blocks": thought},
            {"role": "tool", "tool_call_id": "c", "content": "noon"},
        ]})
    };
    let old = asked_with_effort("claude-sonnet-4-5", &turns(Value::Null));
    assert_eq!(old["thinking"], json!({"type": "disabled"}), "{old}");
    let sealed = turns(json!([{"type": "thinking", "thinking": "Hm.", "signature": "c2VhbA=="}]));
    assert_eq!(asked_with_effort("claude-sonnet-4-5", &sealed)["thinking"]["type"], "enabled");
    // A model that thinks adaptively takes such a turn.
    assert_eq!(asked_with_effort("claude-opus-4-8", &turns(Value::Null))["thinking"], json!({"type": "adaptive"}));
}

#[test]
fn a_refusal_names_the_field_and_repeats_nothing_of_the_request() {
    let cases = [
        (
            r#"{"messages":[],"logitbias":"S3CRET"}"#,
            "logitbias",
            "logitbias: it is not known, and cannot be said to this model's provider",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"text","txet":"S3CRET"}]}]}"#,
            "messages[0].content[0].txet",
            "messages[0].content[0].txet: it is not known, and cannot be said to this model's provider",
        ),
        (r#"{"messages":[{"content":"S3CRET"}]}"#, "messages[0].role", "messages[0].role: it is missing"),
        (r#"{"messages":[],"temperature":"S3CRET"}"#, "temperature", "temperature: expected a number"),
        (r#"{"messages":"S3CRET"}"#, "messages", "messages: expected a list"),
    ];
    for (body, param, message) in cases {
        let refused = refused(Dialect::Chat, Dialect::Messages, body);
        assert_eq!((refused.param.as_deref(), &*refused.message), (Some(param), message), "{body}");
    }
}

#[test]
fn a_body_that_is_no_json_is_refused_with_its_place() {
    for body in ["", "{", "{\"messages\":[}", "[1]", "{} {}", "\u{feff}{}"] {
        let refused = refused(Dialect::Chat, Dialect::Messages, body);
        assert!(!refused.message.is_empty(), "{body}");
    }
    assert_eq!(
        refused(Dialect::Messages, Dialect::Chat, "{\"max_tokens\":1,").message,
        "the body cannot be read: no valid JSON at line 1, column 16"
    );
}

#[test]
fn a_stream_that_is_cut_ends_as_one_that_ran_out_of_tokens() {
    let sse = golden::files("stream/messages").into_iter().find(|(name, _)| name == "tools").unwrap().1;
    let frames: Vec<&str> =
        sse.split_terminator("\n\n").filter_map(|frame| frame.split_once("data: ").map(|(_, d)| d)).collect();
    for events in 0..=frames.len() {
        let mut stream = Stream::new(Dialect::Messages, Dialect::Chat, golden::notes());
        let mut out = Vec::new();
        frames.iter().take(events).for_each(|data| stream.event(data.as_bytes(), &mut out).unwrap());
        stream.cut(Usage::default(), &mut out);
        let message = accumulate::stream(Dialect::Chat, std::str::from_utf8(&out).unwrap());
        let reason = if events == frames.len() { "tool_calls" } else { "length" };
        assert_eq!(message["choices"][0]["finish_reason"], reason, "after {events} events");
        assert!(stream.is_complete());
    }
}

#[test]
fn a_tool_keeps_the_clients_name_for_it_in_whole_answers_and_in_streams() {
    let name = "a_tool_whose_name_is_far_longer_than_the_sixty_four_letters_that_chat_takes";
    let body = json!({
        "model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": name, "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": name},
    });
    let translated = request(Dialect::Messages, Dialect::Chat, body.to_string().as_bytes(), "m").unwrap();
    let asked: Value = serde_json::from_slice(&translated.body).unwrap();
    let short = asked["tools"][0]["function"]["name"].as_str().unwrap();
    assert!(short.len() <= 64, "{short}");
    assert_eq!(asked["tool_choice"]["function"]["name"], short);

    let call = json!({"index": 0, "id": "c", "type": "function", "function": {"name": short, "arguments": "{}"}});
    let whole = json!({"id": "1", "choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]});
    let whole = answer(Dialect::Chat, Dialect::Messages, whole.to_string().as_bytes(), &translated.notes).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap()["content"][0]["name"], name);

    let mut stream = Stream::new(Dialect::Chat, Dialect::Messages, translated.notes);
    let mut out = Vec::new();
    let chunk = json!({"id": "1", "choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]});
    stream.event(chunk.to_string().as_bytes(), &mut out).unwrap();
    stream.event(b"[DONE]", &mut out).unwrap();
    let message = accumulate::stream(Dialect::Messages, std::str::from_utf8(&out).unwrap());
    assert_eq!(message["content"][0]["name"], name);
}

#[test]
fn an_answer_cannot_be_bound_to_what_would_mean_something_else() {
    let body = |schema: Value| {
        let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema}});
        json!({"messages": [{"role": "user", "content": "Hi"}], "response_format": format}).to_string()
    };
    let map = json!({"type": "object", "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}}}});
    let refused = refused(Dialect::Chat, Dialect::Messages, &body(map.clone()));
    assert_eq!(refused.param.as_deref(), Some("response_format"));
    assert!(refused.message.contains("an object whose members have no names"), "{refused}");

    let tool = json!({"type": "function", "function": {"name": "f", "strict": true, "parameters": map}});
    let tools = json!({"messages": [{"role": "user", "content": "Hi"}], "tools": [tool]});
    let asked = asked(Dialect::Chat, Dialect::Messages, &tools);
    assert_eq!(asked["tools"][0], json!({"name": "f", "input_schema": map}), "a tool is told of it, and not bound");
}

#[test]
fn an_older_gemini_reads_of_members_without_names_in_the_description() {
    let map = json!({"type": "object", "additionalProperties": {"type": "integer"}, "description": "Labels."});
    let schema = json!({"type": "object", "properties": {"labels": map}});
    let body = json!({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]});
    let asked = |model: &str| {
        let asked = request(Dialect::Chat, Dialect::Gemini, body.to_string().as_bytes(), model).unwrap().body;
        serde_json::from_slice::<Value>(&asked).unwrap()["tools"][0]["functionDeclarations"][0].clone()
    };
    let told = "Labels.\n\nIt must also satisfy {\"additionalProperties\":{\"type\":\"integer\"}}";
    assert_eq!(asked("gemini-2.0-flash")["parameters"]["properties"]["labels"]["description"], told);
    assert_eq!(asked("gemini-2.5-flash")["parametersJsonSchema"], schema);
}

#[test]
fn calls_that_wait_for_another_are_held_up_to_a_bound() {
    let mut stream = Stream::new(Dialect::Chat, Dialect::Messages, golden::notes());
    let mut put = |index: u64, name: Option<&str>, arguments: &str| {
        let call = json!({"index": index, "id": name, "function": {"name": name, "arguments": arguments}});
        let chunk = json!({"id": "1", "choices": [{"delta": {"tool_calls": [call]}}]});
        let mut out = Vec::new();
        stream.event(chunk.to_string().as_bytes(), &mut out).map(|()| out.len())
    };
    put(0, Some("f"), "{").unwrap();
    put(1, Some("g"), "{").unwrap();
    let mebibyte = "x".repeat(1 << 20);
    let held = (0..9).map(|_| put(1, None, &mebibyte)).find(|held| *held != Ok(0));
    assert!(held.unwrap().unwrap_err().foreign, "the provider is well, and its answer cannot be told");
}

/// A provider's answer with so many calls: whole, and as the events of a stream.
fn calls_of(provider: Dialect, count: usize) -> (Value, Vec<Value>) {
    let each = |call: &dyn Fn(usize) -> Value| (0..count).map(call).collect::<Vec<Value>>();
    match provider {
        Dialect::Messages => {
            let call = |id| json!({"type": "tool_use", "id": format!("c{id}"), "name": "f", "input": {}});
            let begin = |i: usize| json!({"type": "content_block_start", "index": i, "content_block": call(i)});
            (json!({"content": each(&|i| call(i)), "stop_reason": "tool_use"}), each(&begin))
        }
        Dialect::Gemini => {
            let answer = |parts| json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
            let call = |_| json!({"functionCall": {"name": "f", "args": {}}});
            (answer(each(&call)), each(&|i| answer(vec![call(i)])))
        }
        _ => {
            let call = |i: usize, arguments| json!({"index": i, "id": format!("c{i}"), "function": {"name": "f", "arguments": arguments}});
            let whole = json!({"message": {"tool_calls": each(&|i| call(i, "{}"))}, "finish_reason": "tool_calls"});
            let open = |i: usize| json!({"choices": [{"delta": {"tool_calls": [call(i, "{")]}}]});
            (json!({"choices": [whole]}), each(&open))
        }
    }
}

#[test]
fn an_answer_with_more_calls_than_a_model_makes_is_none() {
    for (provider, client) in [
        (Dialect::Chat, Dialect::Messages),
        (Dialect::Messages, Dialect::Chat),
        (Dialect::Gemini, Dialect::Chat),
        (Dialect::Gemini, Dialect::Messages),
    ] {
        for (count, fits) in [(MOST_CALLS, true), (MOST_CALLS + 1, false)] {
            let (whole, events) = calls_of(provider, count);
            let told = answer(provider, client, whole.to_string().as_bytes(), &golden::notes());
            assert_eq!(told.is_ok(), fits, "{provider:?} {count}");
            let mut stream = Stream::new(provider, client, golden::notes());
            let mut put = |event: &Value| stream.event(event.to_string().as_bytes(), &mut Vec::new());
            let told = events.iter().try_for_each(&mut put);
            assert_eq!(told.map_err(|malformed| malformed.foreign), if fits { Ok(()) } else { Err(false) });
        }
    }
}

#[test]
fn usage_ends_a_stream_of_chat_only_where_it_was_asked_for() {
    let sse = golden::files("stream/messages").into_iter().find(|(name, _)| name == "text").unwrap().1;
    for asked_for in [false, true] {
        let mut stream =
            Stream::new(Dialect::Messages, Dialect::Chat, Notes { include_usage: asked_for, ..golden::notes() });
        let mut out = Vec::new();
        for (_, data) in accumulate::events(&sse) {
            stream.event(data.as_bytes(), &mut out).unwrap();
        }
        let message = accumulate::stream(Dialect::Chat, std::str::from_utf8(&out).unwrap());
        assert_eq!(message["usage"].is_object(), asked_for);
    }
}

#[test]
fn schemas_keep_the_order_of_their_members() {
    let schema = r#"{"type":"object","properties":{"zulu":{"type":"string"},"alpha":{"type":"string"},"mike":{"type":"string"}}}"#;
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
    );
    for provider in [Dialect::Messages, Dialect::Gemini] {
        let asked = request(Dialect::Chat, provider, body.as_bytes(), "m").unwrap().body;
        let asked = String::from_utf8(asked).unwrap();
        let at = |word: &str| asked.find(word).expect("it is there");
        assert!(at("zulu") < at("alpha") && at("alpha") < at("mike"), "{asked}");
    }
}

#[test]
fn a_schema_whose_references_double_is_refused_at_once() {
    let mut defs = serde_json::Map::new();
    for step in 0..20 {
        let next = json!({"$ref": format!("#/$defs/d{}", step + 1)});
        defs.insert(format!("d{step}"), json!({"type": "object", "properties": {"a": next, "b": next}}));
    }
    defs.insert("d20".to_owned(), json!({"type": "string"}));
    let schema = json!({"$defs": defs, "type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}});
    let body = json!({
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
    });
    let began = crate::clock::now();
    let refused = refused(Dialect::Chat, Dialect::Gemini, &body.to_string());
    assert!(refused.message.contains("too long"), "{refused}");
    assert!(began.elapsed().as_secs() < 5, "it took {:?}", began.elapsed());
}

#[test]
fn a_schema_that_is_deep_and_large_but_repeats_nothing_is_written() {
    let mut schema = json!({"type": "string", "description": "x".repeat(10_000)});
    for _ in 0..10 {
        schema = json!({"type": "object", "properties": {"inner": schema, "other": {"type": "array", "items": {"type": "string"}}}});
    }
    let body = json!({
        "messages": [{"role": "user", "content": "x"}],
        "tools": vec![json!({"type": "function", "function": {"name": "f", "parameters": schema}}); 40],
    });
    request(Dialect::Chat, Dialect::Gemini, body.to_string().as_bytes(), "m").expect("it is asked");
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        format!(r#"{{"messages":{deep}}}"#),
        format!(r#"{{"messages":[{{"role":"user","content":{deep}}}]}}"#),
        format!(r#"{{"messages":[],"metadata":{deep}}}"#),
    ] {
        refused(Dialect::Chat, Dialect::Messages, &body);
    }
}

#[test]
fn a_prompt_with_images_of_megabytes_is_written_once() {
    let data = "A".repeat(5 << 20);
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#
    );
    for provider in [Dialect::Messages, Dialect::Gemini] {
        let asked = request(Dialect::Chat, provider, body.as_bytes(), "m").unwrap().body;
        assert!(asked.len() < body.len() + 512 && asked.capacity() < body.len() + 4096, "{}", asked.capacity());
    }
}
