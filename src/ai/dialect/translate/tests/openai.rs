//! What OpenAI's models take of a request of Messages, what a request of Chat may say for nothing, and details of its answers.

use super::*;

#[test]
fn a_model_of_openais_is_not_asked_what_it_refuses() {
    let sent = |model: &str, more: Value| {
        let mut body = json!({
            "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["x"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asked = request(Dialect::Messages, Dialect::Chat, body.to_string().as_bytes(), model).unwrap().body;
        let asked: Value = serde_json::from_slice(&asked).unwrap();
        json!([asked["reasoning_effort"], asked["temperature"], asked["top_p"], asked["stop"]])
    };
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 8000}});
    let effort = json!({"output_config": {"effort": "high"}});
    let adaptive = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}});
    let off = json!({"thinking": {"type": "disabled"}});
    for model in [
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-4.1-mini",
        "gpt-3.5-turbo",
        "gpt-35-turbo",
        "chatgpt-4o-latest",
        "gpt-5-chat-latest",
    ] {
        for more in [&thinking, &effort, &adaptive, &off] {
            assert_eq!(sent(model, more.clone()), json!([null, 0.5, 0.9, ["x"]]), "{model}: {more}");
        }
    }
    for model in ["gpt-5", "gpt-5-mini-2025-08-07", "gpt-5.2", "o1", "o3-mini", "o4-mini", "gpt-6"] {
        assert_eq!(sent(model, thinking.clone()), json!(["medium", null, null, null]), "{model}");
        assert_eq!(sent(model, json!({})), json!([null, null, null, null]), "{model}");
    }
    assert_eq!(sent("gpt-5.1-chat-latest", thinking.clone()), json!([null, null, null, null]));
    let many = json!({"stop_sequences": ["1", "2", "3", "4", "5"]});
    assert_eq!(sent("gpt-5", many), json!([null, null, null, null]), "of what is left out, any number is taken");
    assert_eq!(sent("gpt-5", off.clone()), json!(["minimal", null, null, null]));
    assert_eq!(sent("gpt-5.1", off), json!(["none", 0.5, 0.9, ["x"]]), "without thinking, it takes them");
    for model in ["qwen3", "gpt-oss-120b", "deepseek-r1"] {
        assert_eq!(sent(model, thinking.clone()), json!(["medium", 0.5, 0.9, ["x"]]), "{model}");
    }
}

#[test]
fn what_asks_for_nothing_is_no_reason_to_refuse() {
    let sent = |provider, model: &str, more: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request(Dialect::Chat, provider, body.to_string().as_bytes(), model)
            .map(|asked| serde_json::from_slice::<Value>(&asked.body).unwrap())
    };
    for (provider, model) in [(Dialect::Messages, "claude-opus-4-8"), (Dialect::Gemini, "gemini-3-pro")] {
        let plain = sent(provider, model, json!({})).unwrap();
        for nothing in [
            json!({"functions": []}),
            json!({"function_call": "none"}),
            json!({"functions": [], "function_call": "auto"}),
            json!({"tools": []}),
            json!({"tools": [], "tool_choice": "auto", "parallel_tool_calls": false}),
        ] {
            assert_eq!(sent(provider, model, nothing.clone()), Ok(plain.clone()), "{nothing}");
        }
        for (something, param) in [
            (json!({"functions": [{"name": "f"}]}), "functions"),
            (json!({"function_call": {"name": "f"}}), "function_call"),
            (json!({"n": 0}), "n"),
            (json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}), "thinking"),
        ] {
            assert_eq!(sent(provider, model, something).unwrap_err().param.as_deref(), Some(param));
        }
    }
    let off = json!({"thinking": {"type": "disabled"}});
    let asked = |provider, model| sent(provider, model, off.clone()).unwrap();
    assert_eq!(asked(Dialect::Messages, "claude-opus-4-8")["thinking"], json!({"type": "disabled"}));
    assert_eq!(asked(Dialect::Messages, "claude-fable-5").get("thinking"), None, "it always thinks");
    assert_eq!(asked(Dialect::Gemini, "gemini-2.5-flash")["generationConfig"]["thinkingConfig"]["thinkingBudget"], 0);
    assert_eq!(asked(Dialect::Gemini, "gemini-3-pro")["generationConfig"].get("thinkingConfig"), None);
}

#[test]
fn an_answer_that_says_nothing_says_it_as_openai_does() {
    let content = |blocks: Value, reason: &str| {
        let body = json!({"id": "1", "model": "m", "content": blocks, "stop_reason": reason});
        let body = answer(Dialect::Messages, Dialect::Chat, body.to_string().as_bytes(), &golden::notes()).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["choices"][0]["message"]["content"].clone()
    };
    assert_eq!(content(json!([]), "end_turn"), "");
    assert_eq!(content(json!([{"type": "thinking", "thinking": "Hm.", "signature": "c2VhbA=="}]), "max_tokens"), "");
    assert_eq!(content(json!([{"type": "tool_use", "id": "c", "name": "f", "input": {}}]), "tool_use"), Value::Null);
}
