//! Clients of one dialect and providers of another: all that was asked arrives, all that was answered comes back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;

const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// One mock as a provider of every kind: `o` is OpenAI's model, `c` Anthropic's, `g` Google's. It refuses fields that its
/// provider does not know.
async fn gateway_to_all(mock: &Mock) -> Gateway {
    mock.set_order("strict", "1");
    ai().openai("openai", mock)
        .anthropic("anthropic", mock)
        .gemini("gemini", mock)
        .model("o", &["openai"])
        .model("c", &["anthropic"])
        .model("g", &["gemini"])
        .start()
        .await
}

/// The body that the provider got last.
fn got(mock: &Mock) -> Value {
    serde_json::from_slice(&last_seen(mock).body).unwrap()
}

async fn chat_stream(gate: &Gateway, body: &Value) -> Told {
    let mut open = stream(gate, "chat/completions", &streamed(body.clone())).await;
    assert_eq!(open.status, 200);
    chat_told(&open.rest().await)
}

async fn messages_stream(gate: &Gateway, body: &Value) -> Told {
    let mut open = stream(gate, "messages", &streamed(body.clone())).await;
    assert_eq!(open.status, 200);
    messages_told(&open.rest().await)
}

#[tokio::test]
async fn a_chat_is_answered_by_a_provider_of_any_kind_whole_and_streamed() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    for model in ["o", "c", "g"] {
        let body = with(
            chat(model, "x"),
            json!({"messages": [
                {"role": "system", "content": "12345"},
                {"role": "user", "content": [{"type": "text", "text": "first"}]},
                {"role": "assistant", "content": "yes"},
                {"role": "developer", "content": "67890"},
                {"role": "user", "content": "again"},
            ], "temperature": 0.5, "top_p": 0.9, "max_tokens": 200}),
        );
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!(text_of(&answer), said("a", 23), "{model}: every turn arrived: {}", got(&a));
        let whole = answer.json();
        assert_eq!(
            (&whole["object"], &whole["choices"][0]["finish_reason"]),
            (&json!("chat.completion"), &json!("stop")),
            "{whole}"
        );
        assert!(whole["id"].is_string() && whole["created"].is_u64() && whole["model"].is_string(), "{whole}");
        assert_eq!(whole["choices"][0]["message"]["role"], "assistant");
        let told = chat_stream(&gate, &body).await;
        assert_eq!((told.text, told.finish.as_deref(), told.ended), (said("a", 23), Some("stop"), true), "{model}");
    }
}

#[tokio::test]
async fn messages_are_answered_by_a_provider_of_openais_kind_whole_and_streamed() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    for model in ["c", "o"] {
        let body = with(
            messages(model, "x"),
            json!({"system": [{"type": "text", "text": "12345"}], "temperature": 0.5, "messages": [
                {"role": "user", "content": [{"type": "text", "text": "first"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
                {"role": "user", "content": "again"},
            ]}),
        );
        let answer = ask(&gate, "messages", &body).await;
        let whole = answer.json();
        assert_eq!(
            (answer.status, &whole["type"], &whole["role"]),
            (200, &json!("message"), &json!("assistant")),
            "{whole}"
        );
        assert_eq!(whole["content"], json!([{"type": "text", "text": said("a", 18)}]), "{model}");
        assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!("end_turn"), &Value::Null), "{whole}");
        let told = messages_stream(&gate, &body).await;
        assert_eq!((told.text, told.finish.as_deref(), told.ended), (said("a", 18), Some("end_turn"), true), "{model}");
    }
}

/// Two tools, in OpenAI's words.
fn tools() -> Value {
    let schema = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}, "days": {"type": "integer"}}, "required": [name]});
    json!([
        {"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": schema("city")}},
        {"type": "function", "function": {"name": "get", "parameters": schema("what")}},
    ])
}

#[tokio::test]
async fn tools_of_a_chat_are_called_by_a_provider_of_any_kind_and_their_results_arrive() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    for (model, times) in [("o", 1), ("c", 1), ("g", 1), ("o", 2), ("c", 2), ("g", 2)] {
        let order = if times == 2 { "call get_weather twice" } else { "call get_weather" };
        let body = with(chat(model, order), json!({"tools": tools()}));
        let answer = ask(&gate, "chat/completions", &body).await.json();
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{model}: {answer}");
        let calls = choice["message"]["tool_calls"].as_array().unwrap_or_else(|| panic!("{model}: {answer}")).clone();
        assert_eq!(calls.len(), times, "{answer}");
        for (n, call) in calls.iter().enumerate() {
            let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            assert_eq!(
                (&call["type"], &call["function"]["name"]),
                (&json!("function"), &json!("get_weather")),
                "{call}"
            );
            assert_eq!(arguments, json!({"city": format!("mock {}", n + 1), "days": n + 1}), "{model}");
        }
        let told = chat_stream(&gate, &body).await;
        assert_eq!((told.calls.len(), told.finish.as_deref()), (times, Some("tool_calls")), "{model}: {told:?}");
        let (id, name, arguments) = told.calls.last().unwrap();
        assert!(!id.is_empty() && name == "get_weather", "{told:?}");
        assert_eq!(serde_json::from_str::<Value>(arguments).unwrap()["days"], times, "{told:?}");

        let mut turns = vec![json!({"role": "user", "content": order}), choice["message"].clone()];
        turns.extend(calls.iter().map(|call| json!({"role": "tool", "tool_call_id": call["id"], "content": "sun"})));
        let next = with(chat(model, ""), json!({"messages": turns, "tools": tools()}));
        let text = text_of(&ask(&gate, "chat/completions", &next).await);
        assert!(text.contains(&format!("{times} tool results")), "{model}: {text}");
        let told = chat_stream(&gate, &next).await;
        assert_eq!((told.text, told.finish.as_deref()), (text, Some("stop")), "{model}");
    }
}

#[tokio::test]
async fn tools_of_messages_are_called_by_a_provider_of_openais_kind_and_their_results_arrive() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tools = json!([{"name": "get_weather", "description": "The weather.", "input_schema": schema}]);
    for (model, times) in [("c", 1), ("o", 1), ("c", 2), ("o", 2)] {
        let order = if times == 2 { "call get_weather twice" } else { "call get_weather" };
        let body = with(messages(model, order), json!({"tools": tools}));
        let answer = ask(&gate, "messages", &body).await.json();
        assert_eq!(answer["stop_reason"], "tool_use", "{model}: {answer}");
        let calls: Vec<&Value> =
            answer["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use").collect();
        assert_eq!(calls.len(), times, "{answer}");
        for (n, call) in calls.iter().enumerate() {
            assert_eq!(
                (&call["name"], &call["input"]),
                (&json!("get_weather"), &json!({"city": format!("mock {}", n + 1)}))
            );
        }
        let told = messages_stream(&gate, &body).await;
        assert_eq!((told.calls.len(), told.finish.as_deref()), (times, Some("tool_use")), "{model}: {told:?}");
        assert!(told.calls.iter().all(|(.., input)| serde_json::from_str::<Value>(input).unwrap()["city"].is_string()));

        let results: Vec<Value> = calls
            .iter()
            .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "sun"}]}))
            .collect();
        let turns = json!([{"role": "user", "content": order}, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": results}]);
        let next = with(messages(model, ""), json!({"messages": turns, "tools": tools}));
        let answer = ask(&gate, "messages", &next).await.json();
        let text = answer["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{model}: {answer}"));
        assert!(text.contains(&format!("{times} tool results")), "{model}: {text}");
    }
}

#[tokio::test]
async fn a_tool_that_must_be_called_is_called() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    for model in ["o", "c", "g"] {
        for (choice, called) in [
            (json!("required"), Some("get_weather")),
            (json!({"type": "function", "function": {"name": "get"}}), Some("get")),
            (json!("none"), None),
        ] {
            let body = with(chat(model, "hello"), json!({"tools": tools(), "tool_choice": choice}));
            let told = chat_stream(&gate, &body).await;
            assert_eq!(told.calls.first().map(|(_, name, _)| name.as_str()), called, "{model}: {choice}");
        }
    }
    let a_tool =
        json!([{"name": "get", "input_schema": {"type": "object", "properties": {"what": {"type": "string"}}}}]);
    for (choice, called) in
        [(json!({"type": "any"}), 1), (json!({"type": "tool", "name": "get"}), 1), (json!({"type": "none"}), 0)]
    {
        let body = with(messages("o", "hello"), json!({"tools": a_tool, "tool_choice": choice}));
        assert_eq!(messages_stream(&gate, &body).await.calls.len(), called, "{choice}");
    }
}

#[tokio::test]
async fn images_are_seen_by_a_provider_of_any_kind() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let data = format!("data:image/png;base64,{PIXEL}");
    for model in ["o", "c", "g"] {
        let parts = json!([
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": data}},
            {"type": "image_url", "image_url": {"url": data, "detail": "low"}},
        ]);
        let body = with(chat(model, ""), json!({"messages": [{"role": "user", "content": parts}]}));
        let text = text_of(&ask(&gate, "chat/completions", &body).await);
        assert_eq!(text, "This is a answering a question of 4 characters, 2 images.", "{model}");
        assert!(got(&a).to_string().contains(PIXEL), "{model}");
    }
    for model in ["o", "c"] {
        let parts = json!([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}]);
        let body = with(chat(model, ""), json!({"messages": [{"role": "user", "content": parts}]}));
        assert!(text_of(&ask(&gate, "chat/completions", &body).await).contains("1 images"), "{model}");
        let blocks = json!([
            {"type": "text", "text": "look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}},
        ]);
        let body = with(messages(model, ""), json!({"messages": [{"role": "user", "content": blocks}]}));
        let answer = ask(&gate, "messages", &body).await.json();
        assert_eq!(
            answer["content"][0]["text"], "This is a answering a question of 4 characters, 2 images.",
            "{model}: {answer}"
        );
    }
}

#[tokio::test]
async fn reasons_to_stop_are_told_in_the_words_of_the_client() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    for model in ["o", "c", "g"] {
        let long = with(chat(model, "say one two three four five"), json!({"max_tokens": 2}));
        let answer = ask(&gate, "chat/completions", &long).await;
        assert_eq!(
            (text_of(&answer), &answer.json()["choices"][0]["finish_reason"]),
            ("one two ".to_owned(), &json!("length")),
            "{model}"
        );
        let told = chat_stream(&gate, &long).await;
        assert_eq!((told.text.as_str(), told.finish.as_deref()), ("one two ", Some("length")), "{model}");
        let stopped = with(chat(model, "say one two three"), json!({"stop": ["three", "four"]}));
        let told = chat_stream(&gate, &stopped).await;
        assert_eq!((told.text.as_str(), told.finish.as_deref()), ("one two ", Some("stop")), "{model}");
        a.set_order("finish", "filter");
        assert_eq!(
            chat_stream(&gate, &chat(model, "hello")).await.finish.as_deref(),
            Some("content_filter"),
            "{model}"
        );
        a.clear_orders();
    }
    let long = with(messages("o", "say one two three four five"), json!({"max_tokens": 2}));
    assert_eq!(messages_stream(&gate, &long).await.finish.as_deref(), Some("max_tokens"));
    a.set_order("finish", "filter");
    assert_eq!(messages_stream(&gate, &messages("o", "hello")).await.finish.as_deref(), Some("refusal"));
}

#[tokio::test]
async fn usage_is_counted_as_the_client_counts_it() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    a.set_order("usage", "in=100,out=50,cached=30");
    for model in ["o", "c", "g"] {
        let answer = ask(&gate, "chat/completions", &chat(model, "hello")).await.json();
        let asked = with(chat(model, "hello"), json!({"stream_options": {"include_usage": true}}));
        let told = chat_stream(&gate, &asked).await;
        for usage in [&answer["usage"], &told.usage.unwrap()] {
            assert_eq!(
                (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
                (&json!(100), &json!(50), &json!(150)),
                "{model}: {usage}"
            );
            assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 30, "{model}: {usage}");
        }
        assert!(chat_stream(&gate, &chat(model, "hello")).await.usage.is_none(), "{model}: it was not asked for");
    }
    for model in ["c", "o"] {
        let answer = ask(&gate, "messages", &messages(model, "hello")).await.json();
        let told = messages_stream(&gate, &messages(model, "hello")).await;
        for usage in [&answer["usage"], &told.usage.unwrap()] {
            assert_eq!(
                (&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["output_tokens"]),
                (&json!(70), &json!(30), &json!(50)),
                "{model}: {usage}"
            );
        }
    }
    let lines = gate.access_log(13).await;
    for line in &lines {
        let told = ["tokens_input", "tokens_output", "tokens_cache_read"].map(|name| line[name].as_u64());
        assert_eq!(told, [Some(100), Some(50), Some(30)], "{line}");
    }
}

#[tokio::test]
async fn thoughts_are_counted_and_shown_with_what_proves_them() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    a.set_order("think", "1");
    let thought = "I think about a question of 5 characters.";
    let answer = ask(&gate, "chat/completions", &chat("c", "hello")).await.json();
    let message = &answer["choices"][0]["message"];
    assert_eq!(
        (&message["reasoning_content"], &message["content"]),
        (&json!(thought), &json!(said("a", 5))),
        "{answer}"
    );
    assert_eq!(message["thinking_blocks"][0]["thinking"], thought, "{answer}");
    assert!(message["thinking_blocks"][0]["signature"].is_string(), "{answer}");
    let told = chat_stream(&gate, &chat("c", "hello")).await;
    assert_eq!((told.thinking.as_str(), told.text), (thought, said("a", 5)));
    let answer = ask(&gate, "chat/completions", &chat("g", "hello")).await.json();
    assert_eq!(answer["choices"][0]["message"]["reasoning_content"], thought, "{answer}");
    assert_eq!(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 8, "{answer}");
}

/// A messages request that thinks and calls a tool.
fn thinking(model: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let more = json!({
        "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tools": [{"name": "get_weather", "input_schema": schema}],
    });
    with(messages(model, "call get_weather"), more)
}

#[tokio::test]
async fn signed_thoughts_survive_two_turns_of_messages() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let first = thinking("c");
    let answer = ask(&gate, "messages", &first).await.json();
    assert_eq!(answer["content"][0]["type"], "thinking", "{answer}");
    let told = messages_stream(&gate, &first).await;
    assert_eq!(told.signatures, [answer["content"][0]["signature"].as_str().unwrap()]);
    let call = answer["content"].as_array().unwrap().iter().find(|block| block["type"] == "tool_use").unwrap();
    let result = json!([{"type": "tool_result", "tool_use_id": call["id"], "content": "sun"}]);
    let turns = json!([{"role": "user", "content": "call get_weather"}, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": result}]);
    let next = with(first.clone(), json!({"messages": turns}));
    let second = ask(&gate, "messages", &next).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let mut forged = next;
    forged["messages"][1]["content"][0]["signature"] = json!("Zm9yZ2Vk");
    assert_eq!(ask(&gate, "messages", &forged).await.status, 400, "the provider's word is passed on");
}

#[tokio::test]
async fn what_another_target_thought_does_not_go_to_anthropic_with_the_conversation() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let call =
        json!({"type": "tool_use", "id": "c", "name": "get_weather", "input": {"city": "x", "signature": "chat."}});
    let turns = |blocks: Value| {
        let result = json!([{"type": "tool_result", "tool_use_id": "c", "content": "sun"}]);
        json!([{"role": "user", "content": "call get_weather"}, {"role": "assistant", "content": blocks}, {"role": "user", "content": result}])
    };
    for signature in ["", "chat.", "gemini.c2VhbA==", "gemini-text.c2VhbA=="] {
        let thought = json!({"type": "thinking", "thinking": "Hm.", "signature": signature});
        let body = with(thinking("c"), json!({"messages": turns(json!([thought, call]))}));
        let answer = ask(&gate, "messages", &body).await;
        assert_eq!(answer.status, 200, "{signature}: {}", answer.text());
        assert_eq!(got(&a)["messages"], turns(json!([call])), "{signature}");
    }
    let untouched = with(messages("c", "x"), json!({"messages": turns(json!([call]))}));
    assert_eq!(ask(&gate, "messages", &untouched).await.status, 200);
    assert_eq!(got(&a)["messages"], turns(json!([call])));
}

#[tokio::test]
async fn what_another_target_thought_does_not_go_to_openai_with_the_conversation() {
    let a = upstream("a").await;
    let azure = "keys: sk-of-azure, deployments: {}, api_version: \"2024-06-01\"";
    let gate = ai()
        .openai("openai", &a)
        .provider_with("azure", "azure_openai", &a, azure)
        .provider("own", "openai_compatible", &a)
        .model("o", &["openai"])
        .model("z", &["azure"])
        .model("own", &["own"])
        .start()
        .await;
    let seal = json!({"google": {"thought_signature": "c2VhbA=="}});
    let call = json!({"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}});
    let turns = |message: Value| json!([{"role": "user", "content": "call get_weather"}, message, {"role": "tool", "tool_call_id": "c", "content": "sun"}]);
    let bare = json!({"role": "assistant", "content": "Hm", "tool_calls": [call]});
    let block = json!({"type": "thinking", "thinking": "Hm.", "signature": "c2VhbA=="});
    let sealed_call = with(call.clone(), json!({"extra_content": seal}));
    let full = with(
        bare.clone(),
        json!({"reasoning_content": "Hm.", "thinking_blocks": [block], "extra_content": seal, "tool_calls": [sealed_call]}),
    );
    for (model, arrives) in [("o", &bare), ("z", &bare), ("own", &full)] {
        let body = with(chat(model, ""), json!({"messages": turns(full.clone()), "tools": tools()}));
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        assert_eq!(got(&a)["messages"], turns(arrives.clone()), "{model}");
    }
    // Nor does what a server of Chat thought, of which a client of Messages is told.
    let thought = json!({"type": "thinking", "thinking": "Hm.", "signature": "chat."});
    let turns = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": [thought, {"type": "text", "text": "Hm"}]}, {"role": "user", "content": "x"}]);
    for (model, arrives) in [("o", json!(null)), ("own", json!("Hm."))] {
        let answer = ask(&gate, "messages", &with(messages(model, ""), json!({"messages": turns}))).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        assert_eq!(got(&a)["messages"][1]["reasoning_content"], arrives, "{model}");
    }
}

#[tokio::test]
async fn signed_thoughts_survive_two_turns_of_a_chat_with_anthropic() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let question = json!({"role": "user", "content": "call get_weather"});
    let first = with(
        chat("c", ""),
        json!({"messages": [question], "tools": tools(), "reasoning_effort": "high", "max_tokens": 20000}),
    );
    let answer = ask(&gate, "chat/completions", &first).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let message = answer.json()["choices"][0]["message"].clone();
    assert!(message["reasoning_content"].is_string(), "{message}");
    let mut turns = vec![question, message.clone()];
    for call in message["tool_calls"].as_array().unwrap() {
        turns.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "sun"}));
    }
    let next = with(first, json!({"messages": turns}));
    let second = ask(&gate, "chat/completions", &next).await;
    assert!(text_of(&second).contains("1 tool results"));
    let sent = got(&a);
    let block = &sent["messages"][1]["content"][0];
    assert_eq!(
        (&block["type"], &block["signature"]),
        (&json!("thinking"), &message["thinking_blocks"][0]["signature"]),
        "{sent}"
    );
}

#[tokio::test]
async fn geminis_seals_survive_two_turns_of_a_chat() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    a.set_order("think", "1");
    let question = json!({"role": "user", "content": "call get_weather"});
    let first = with(chat("g", ""), json!({"messages": [question], "tools": tools()}));
    let message = ask(&gate, "chat/completions", &first).await.json()["choices"][0]["message"].clone();
    let seal = message["tool_calls"][0]["extra_content"]["google"]["thought_signature"].clone();
    assert!(seal.is_string(), "{message}");
    let result = json!({"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sun"});
    let next = with(first, json!({"messages": [question, message, result]}));
    let second = ask(&gate, "chat/completions", &next).await;
    assert!(text_of(&second).contains("1 tool results"));
    assert!(got(&a).to_string().contains(seal.as_str().unwrap()), "the seal went back: {}", got(&a));
}

#[tokio::test]
async fn an_answer_that_must_have_a_schema_has_it_or_the_request_is_refused() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "person", "strict": true, "schema": schema}});
    for model in ["o", "c", "g"] {
        let answer =
            ask(&gate, "chat/completions", &with(chat(model, "who"), json!({"response_format": format}))).await;
        if answer.status == 400 {
            assert!(answer.text().contains("response_format"), "{model}: {}", answer.text());
            continue;
        }
        let told: Value =
            serde_json::from_str(&text_of(&answer)).unwrap_or_else(|_| panic!("{model}: {}", answer.text()));
        assert_eq!(told, json!({"name": "mock 1", "age": 1}), "{model}");
    }
}

#[tokio::test]
async fn what_the_other_dialect_cannot_say_is_refused_by_name_and_never_dropped() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let audio = json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]);
    let chats = [
        ("c", json!({"n": 2}), "n"),
        ("g", json!({"logprobs": true, "top_logprobs": 3}), "logprobs"),
        ("c", json!({"logprobs": true}), "logprobs"),
        ("c", json!({"logit_bias": {"50256": -100}}), "logit_bias"),
        ("c", json!({"messages": audio}), "messages"),
        ("c", json!({"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "wav"}}), "modalities"),
        ("c", json!({"x_unheard_of": true}), "x_unheard_of"),
        ("g", json!({"x_unheard_of": true}), "x_unheard_of"),
    ];
    for (model, more, name) in chats {
        for stream in [false, true] {
            let body = with(with(chat(model, "hello"), more.clone()), json!({"stream": stream}));
            let answer = ask(&gate, "chat/completions", &body).await;
            assert_eq!((answer.status, a.hits()), (400, 0), "{model} {more}: {}", answer.text());
            let error = answer.json()["error"].clone();
            assert_eq!(
                (&error["code"], &error["type"]),
                (&json!("INVALID_REQUEST"), &json!("invalid_request_error")),
                "{error}"
            );
            assert!(error["message"].as_str().unwrap().contains(name), "{model} {more}: {error}");
        }
    }
    for (more, name) in [
        (json!({"top_k": 5, "x_unheard_of": 1}), "x_unheard_of"),
        (json!({"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]}), "mcp_servers"),
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), "tools"),
    ] {
        let answer = ask(&gate, "messages", &with(messages("o", "hello"), more.clone())).await;
        assert_eq!((answer.status, a.hits()), (400, 0), "{more}: {}", answer.text());
        let body = answer.json();
        assert_eq!(
            (&body["type"], &body["error"]["type"]),
            (&json!("error"), &json!("invalid_request_error")),
            "{body}"
        );
        assert!(body["error"]["message"].as_str().unwrap().contains(name), "{more}: {body}");
    }
    assert_eq!(
        ask(&gate, "chat/completions", &with(chat("c", "hello"), json!({"n": 1, "logprobs": false}))).await.status,
        200,
        "what says nothing is no hindrance"
    );
}

#[tokio::test]
async fn a_door_that_a_provider_does_not_have_is_refused_clearly_or_translated() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    for (door, body) in [
        ("embeddings", json!({"model": "c", "input": "hello"})),
        ("images/generations", json!({"model": "c", "prompt": "a cat"})),
        ("audio/speech", json!({"model": "c", "input": "hello", "voice": "x"})),
        ("rerank", json!({"model": "g", "query": "q", "documents": ["x"]})),
    ] {
        let answer = ask(&gate, door, &body).await;
        assert_eq!((answer.status, a.hits()), (400, 0), "{door}: {}", answer.text());
        assert!(answer.json()["error"]["message"].is_string(), "{door}");
    }
    let answer = ask(&gate, "responses", &responses("c", "hello")).await;
    match answer.status {
        400 => assert!(answer.json()["error"]["code"].is_string(), "{}", answer.text()),
        200 => assert!(answer.text().contains(&said("a", 5)), "{}", answer.text()),
        other => panic!("{other}: {}", answer.text()),
    }
}

#[tokio::test]
async fn a_target_that_cannot_say_it_is_passed_over_for_one_that_can() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).openai("second", &a).model("m", &["first", "second"]).start().await;
    let answer = ask(&gate, "chat/completions", &with(chat("m", "hello"), json!({"n": 2}))).await;
    match answer.status {
        400 => assert_eq!((a.hits(), code_of(&answer).as_str()), (0, "INVALID_REQUEST")),
        _ => assert_eq!(
            (answer.json()["choices"].as_array().map(Vec::len), last_seen(&a).path_and_query.as_str()),
            (Some(2), "/v1/chat/completions")
        ),
    }
}

#[tokio::test]
async fn a_server_that_speaks_messages_itself_is_asked_in_them() {
    let a = upstream("a").await;
    let gate = ai()
        .provider_with("plain", "openai_compatible", &a, "")
        .provider_with("both", "openai_compatible", &a, "speaks: [messages]")
        .model("p", &["plain"])
        .model("b", &["both"])
        .start()
        .await;
    let answer = ask(&gate, "messages", &messages("b", "hello")).await;
    assert_eq!((answer.status, last_seen(&a).path_and_query.as_str()), (200, "/v1/messages"), "{}", answer.text());
    let answer = ask(&gate, "messages", &messages("p", "hello")).await;
    assert_eq!(
        (answer.status, last_seen(&a).path_and_query.as_str()),
        (200, "/v1/chat/completions"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["content"][0]["text"], said("a", 5));
}

#[tokio::test]
async fn thinking_of_an_own_server_reaches_both_kinds_of_clients() {
    let a = upstream("a").await;
    a.set_order("flavour", "vllm");
    a.set_order("think", "1");
    let gate = ai().provider_with("gpus", "openai_compatible", &a, "").model("m", &["gpus"]).start().await;
    let thought = "I think about a question of 5 characters.";
    let told = chat_stream(&gate, &chat("m", "hello")).await;
    assert_eq!((told.thinking.as_str(), told.text), (thought, said("a", 5)));
    let told = messages_stream(&gate, &messages("m", "hello")).await;
    assert_eq!((told.thinking.as_str(), told.text), (thought, said("a", 5)));
}

#[tokio::test]
async fn the_tokens_of_a_prompt_are_counted_for_a_provider_that_does_not_count() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    let mut body = messages("o", "hello there, how are you?");
    body.as_object_mut().unwrap().remove("max_tokens");
    let answer = ask(&gate, "messages/count_tokens", &body).await;
    match answer.status {
        200 => assert!((4..=12).contains(&answer.json()["input_tokens"].as_u64().unwrap()), "{}", answer.text()),
        400 => assert_eq!(answer.json()["type"], "error", "{}", answer.text()),
        other => panic!("{other}: {}", answer.text()),
    }
}

#[tokio::test]
async fn where_a_provider_keeps_no_threads_anthropics_sdk_is_told_so_in_its_way() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let body = with(messages("m", "x"), json!({"thread": {"type": "create"}}));
    let answer = ask(&gate, "messages", &body).await;
    assert_eq!((answer.status, a.hits()), (400, 0), "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "invalid_request_error");
    assert_eq!(error["details"]["error_code"], "thread_unsupported_request", "{error}");
    // Also where the one that keeps them is away: without a thread, the other one can serve.
    let gate = ai().anthropic("claude", &a).openai("gpt", &a).model("m", &["claude", "gpt"]).start().await;
    assert_eq!(gate.ctl(&["drain", "claude"]).await.code, Some(0));
    let answer = ask(&gate, "messages", &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.json()["error"]["details"]["error_code"], "thread_unsupported_request");
}

#[tokio::test]
async fn what_a_provider_did_not_count_is_not_told_as_nothing() {
    let a = upstream("a").await;
    let gate = gateway_to_all(&a).await;
    a.set_fault(Some(Fault::NoUsage));
    for model in ["c", "g"] {
        let answer = ask(&gate, "chat/completions", &with(chat(model, "x"), json!({"max_tokens": 200}))).await;
        assert_eq!((answer.status, answer.json().get("usage")), (200, None), "{model}: {}", answer.text());
        let asks = with(chat(model, "x"), json!({"max_tokens": 200, "stream_options": {"include_usage": true}}));
        let told = chat_stream(&gate, &asks).await;
        assert_eq!((told.finish.as_deref(), told.usage), (Some("stop"), None), "{model}");
    }
    // Messages has no answer without it.
    let answer = ask(&gate, "messages", &messages("o", "x")).await;
    assert_eq!(answer.json()["usage"]["output_tokens"], 0, "{}", answer.text());
}

#[tokio::test]
async fn what_a_provider_does_not_get_is_no_reason_to_pass_it_over() {
    let a = upstream("a").await;
    let asks = with(chat("m", "x"), json!({"seed": 4711, "logprobs": true, "user": "u"}));
    let strip = format!("keys: {}, strip_body_fields: [seed, logprobs]", key_of("claude"));
    for (rest, status) in [(format!("keys: {}", key_of("claude")), 400), (strip, 200)] {
        let gate = ai().provider_at("claude", "anthropic", a.address(), &rest).model("m", &["claude"]).start().await;
        let answer = ask(&gate, "chat/completions", &asks).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let other = upstream("b").await;
    let rest = format!("keys: {}, strip_body_fields: seed", key_of("gpt"));
    let gate = ai().provider_at("gpt", "openai", other.address(), &rest).model("m", &["gpt"]).start().await;
    assert_eq!(ask(&gate, "chat/completions", &asks).await.status, 200);
    let got = got(&other);
    assert!(got.get("seed").is_none() && got["logprobs"] == true, "{got}");
}
