//! What Gemini alone does: ids of calls, one call at a time, and counting from the first event on.

use super::*;

fn translated(client: Dialect, more: Value) -> Result<Translated, Untranslatable> {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request(client, Dialect::Gemini, body.to_string().as_bytes(), "gemini-3-pro")
}

fn notes_of(client: Dialect) -> Notes {
    translated(client, json!({})).unwrap().notes
}

fn of_gemini(calls: &[Value]) -> Value {
    let parts: Vec<Value> = calls.iter().map(|call| json!({"functionCall": call})).collect();
    json!({
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 1},
    })
}

fn whole(client: Dialect, calls: &[Value], notes: &Notes) -> Value {
    let body = answer(Dialect::Gemini, client, of_gemini(calls).to_string().as_bytes(), notes).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// The same as a stream, with an event for each call.
fn streamed(client: Dialect, calls: &[Value], notes: &Notes) -> String {
    let mut stream = Stream::new(Dialect::Gemini, client, notes.clone());
    let mut out = Vec::new();
    for call in calls {
        stream.event(of_gemini(std::slice::from_ref(call)).to_string().as_bytes(), &mut out).unwrap();
    }
    stream.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn ids(client: Dialect, message: &Value) -> Vec<String> {
    let calls =
        if client == Dialect::Chat { &message["choices"][0]["message"]["tool_calls"] } else { &message["content"] };
    calls.as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn calls_of_an_answer_without_an_id_have_ids_of_their_own() {
    let calls = [json!({"name": "f", "args": {}}), json!({"name": "f", "args": {}})];
    for client in [Dialect::Chat, Dialect::Messages] {
        let notes = notes_of(client);
        let first = ids(client, &whole(client, &calls, &notes));
        assert_ne!(first[0], first[1]);
        let stream = accumulate::stream(client, &streamed(client, &calls, &notes));
        assert_eq!(ids(client, &stream), first, "they are those of the whole answer");
        let second = ids(client, &whole(client, &calls, &notes_of(client)));
        assert!(first.iter().all(|id| !second.contains(id)), "{first:?} {second:?}");
    }
}

#[test]
fn an_id_of_geminis_comes_back_to_it_and_no_other_does() {
    let call = [json!({"name": "f", "args": {}, "id": "8f2b-1_c"})];
    let notes = notes_of(Dialect::Chat);
    let message = whole(Dialect::Chat, &call, &notes)["choices"][0]["message"].clone();
    let id = message["tool_calls"][0]["id"].clone();
    assert_eq!(
        message["tool_calls"][0]["id"],
        accumulate::stream(Dialect::Chat, &streamed(Dialect::Chat, &call, &notes))["choices"][0]["message"]["tool_calls"]
            [0]["id"]
    );
    assert!(id.as_str().unwrap().contains("8f2b-1_c"), "{id}");
    let told = |message: &Value, id: &Value| {
        let result = json!({"role": "tool", "tool_call_id": id, "content": "sun"});
        let turns = json!({"messages": [{"role": "user", "content": "Hi"}, message, result]});
        let asked: Value = serde_json::from_slice(&translated(Dialect::Chat, turns).unwrap().body).unwrap();
        let ids = (
            &asked["contents"][1]["parts"][0]["functionCall"]["id"],
            &asked["contents"][2]["parts"][0]["functionResponse"]["id"],
        );
        (ids.0.clone(), ids.1.clone())
    };
    assert_eq!(told(&message, &id), (json!("8f2b-1_c"), json!("8f2b-1_c")));
    let blocks = whole(Dialect::Messages, &call, &notes)["content"].clone();
    assert_eq!(blocks[0]["id"], id);
    for other in ["call_ae3433", "toolu_01", "gem-", "gem-a b"] {
        let call = json!({"id": other, "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        assert_eq!(told(&message, &json!(other)), (Value::Null, Value::Null), "{other}");
    }
    for unusable in ["", "a b", "x\u{e9}", &"x".repeat(37)] {
        let given = whole(Dialect::Chat, &[json!({"name": "f", "args": {}, "id": unusable})], &notes);
        assert!(ids(Dialect::Chat, &given)[0].starts_with("call_"), "{given}");
    }
}

#[test]
fn who_wants_one_call_at_a_time_gets_the_first_of_an_answer() {
    let tools = |count: usize| -> Vec<&str> { ["f", "g"].into_iter().take(count).collect() };
    let calls = [json!({"name": "f", "args": {"a": 1}}), json!({"name": "g", "args": 7})];
    let chat = |count, choice: Value| {
        let tools: Vec<Value> =
            tools(count).iter().map(|name| json!({"type": "function", "function": {"name": name}})).collect();
        (Dialect::Chat, json!({"tools": tools, "parallel_tool_calls": false, "tool_choice": choice}))
    };
    let messages = |count, kind: &str| {
        let tools: Vec<Value> =
            tools(count).iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}})).collect();
        (Dialect::Messages, json!({"tools": tools, "tool_choice": {"type": kind, "disable_parallel_tool_use": true}}))
    };
    for (client, more) in [
        chat(2, Value::Null),
        chat(2, json!("auto")),
        chat(1, json!("required")),
        chat(2, json!("required")),
        messages(2, "auto"),
        messages(1, "any"),
    ] {
        let notes = translated(client, more.clone()).expect("it is asked").notes;
        assert_eq!(ids(client, &whole(client, &calls, &notes)).len(), 1, "{more}");
        let stream = accumulate::stream(client, &streamed(client, &calls, &notes));
        assert_eq!(ids(client, &stream).len(), 1, "{more}");
    }
}

#[test]
fn the_start_of_a_message_counts_no_output() {
    let text = streamed(Dialect::Messages, &[json!({"name": "f", "args": {}})], &notes_of(Dialect::Messages));
    let events = accumulate::events(&text);
    let usage = |at: usize| serde_json::from_str::<Value>(&events[at].1).unwrap();
    let start = &usage(0)["message"]["usage"];
    assert_eq!((&start["input_tokens"], &start["output_tokens"]), (&json!(7), &json!(0)), "{start}");
    assert!(start.get("output_tokens_details").is_none(), "{start}");
    assert_eq!(usage(events.len() - 2)["usage"]["output_tokens"], 6);
}
