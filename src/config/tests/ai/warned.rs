//! What is warned of.

use super::*;

/// A route under a limit on money, with these keys in the section.
fn costly(more: &str) -> String {
    let list = "a: { kind: openai, keys: k }\ngpu: { kind: openai_compatible, base_url: http://10.0.0.1:1, keys: k }";
    providers(list, more)
        + "limits: { money: { key: global, cost: 5.00/day } }\nroutes: [{ match: /v1/, ai: true, limits: money }]\n"
}

#[test]
fn a_target_without_a_price_is_warned_of_where_money_is_limited() {
    let models = "models: { chat: [a/gpt-4o, gpu/llama-9], other: { provider: gpu } }";
    let text = costly(models);
    let loaded = load_text(&text).unwrap();
    let told: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let message = "`gpu/llama-9` has no price, so requests for this model are refused where money is limited";
    assert!(told[0].contains(&format!("ai.models.chat: {message}")), "{}", told[0]);
    assert!(told[0].contains("ai.prices.models: { llama-9: { input: 0.50, output: 1.50 } }"), "{}", told[0]);
    assert!(told[1].contains("ai.models.other: `gpu/other` has no price"), "{}", told[1]);

    let priced = "prices: { models: { llama-9: { input: 1.00, output: 1.00 }, other: { input: 1.00, output: 1.00 } } }";
    for fine in [
        costly(&format!("{models}\n{priced}")),
        costly(&format!("{models}\nprices: {{ unknown: zero }}")),
        text.replace("cost: 5.00/day", "tokens: 5/day"),
        text.replace("10.0.0.1:1, keys: k", "10.0.0.1:1"),
        text.replace("ai: true", "ai: { models: [one] }").replace("models: {", "models: { one: a/gpt-4o,"),
    ] {
        assert_eq!(warnings(&fine), [""; 0], "{fine}");
    }
    let by_client = costly(&format!("{models}\nprices: {{ models: {{ chat: {{ input: 1.00, output: 1.00 }} }} }}"));
    assert_eq!(warnings(&by_client).len(), 1, "the name of the client has a price");
}

#[test]
fn a_target_that_the_provider_does_not_list_is_warned_of() {
    let of = |targets: &str| {
        let list = "gpu: { kind: openai_compatible, base_url: http://10.0.0.1:1, models: [llama-8, qwen] }";
        providers(list, &format!("models: {{ chat: {targets}, llama-8: gpu, qwen: gpu }}"))
            + "routes: [{ match: /v1/, ai: true }]\n"
    };
    for (targets, key) in [
        ("gpu/llama-9", "ai.models.chat"),
        ("[gpu/qwen, gpu/llama-9]", "ai.models.chat[1]"),
        ("[{ provider: gpu, model: llama-9 }]", "ai.models.chat[0]"),
    ] {
        let message = "the provider `gpu` does not list the model `llama-9`";
        let loaded = load_text(&of(targets)).unwrap();
        let [warning] = &loaded.warnings[..] else { panic!("{targets}: {:?}", loaded.warnings) };
        assert_eq!((warning.key.as_str(), warning.message.as_str()), (key, message), "{targets}");
        assert!(warning.to_string().contains("did you mean `llama-8`?"), "{warning}");
    }
    assert_eq!(warnings(&of("gpu")), ["ai.models.chat: the provider `gpu` does not list the model `chat`"]);
    assert_eq!(warnings(&of("gpu/llama-8")), [""; 0]);
    assert_eq!(warnings(&of("gpu").replace("chat:", "\"*\":")), [""; 0], "any name may be meant");
}

#[test]
fn a_model_in_a_providers_list_that_no_client_can_ask_for_is_warned_of() {
    let of = |models: &str| {
        let list = "gpu: { kind: openai_compatible, base_url: http://10.0.0.1:1, models: [llama-8, qwen] }\n\
                    far: { kind: openai_compatible, base_url: http://10.0.0.2:1 }";
        providers(list, &format!("models: {models}")) + "routes: [{ match: /v1/, ai: true }]\n"
    };
    let of_provider = "ai.providers.gpu.models: no client can ask for";
    for (models, told) in [
        ("{ qwen: gpu, chat: far }", "`llama-8`: nothing under `ai.models` leads there"),
        ("{ chat: [gpu/qwen, far] }", "`llama-8`: nothing under `ai.models` leads there"),
        ("{ \"q*\": gpu, \"*\": far }", "`llama-8`: nothing under `ai.models` leads there"),
        ("{ \"claude-*\": gpu, chat: far }", "`llama-8` and 1 more: nothing under `ai.models` leads there"),
    ] {
        assert_eq!(warnings(&of(models)), [format!("{of_provider} {told}")], "{models}");
    }
    for fine in ["{ qwen: gpu, llama-8: [far, gpu/qwen] }", "{ \"*\": [far, gpu] }", "{ \"gpu/*\": gpu/*, chat: far }"]
    {
        assert_eq!(warnings(&of(fine)), [""; 0], "{fine}");
    }
}

#[test]
fn a_route_that_lets_larger_bodies_in_than_may_be_held_is_warned_of() {
    let of = |max_buffered: &str, max_body: &str| {
        let section = providers("p: { kind: openai, keys: k }", &format!("max_buffered: {max_buffered}"));
        section + &format!("routes: [{{ name: r, match: /v1/, ai: true, max_body: {max_body} }}]\n")
    };
    let told = "ai.max_buffered: bodies on the route `r` may be larger than this, and are refused then (413)";
    assert_eq!(warnings(&of("1MiB", "2MiB")), [told]);
    assert_eq!(warnings(&of("2MiB", "2MiB")), [""; 0]);
}

#[test]
fn a_permission_for_a_service_that_is_nearly_one_is_warned_of() {
    let of = |permissions: &str, route: &str| {
        let key = format!(
            "{{ id: x, secret: sk-sg-9Lr4wB6cU3, expires_at: 2098-01-01T00:00:00Z, permissions: [{permissions}] }}"
        );
        provider("kind: openai, keys: k")
            + &format!("auth: {{ api_keys: {{ keys: [{key}] }} }}\nroutes: [{{ match: /v1/, ai: true{route} }}]\n")
    };
    let text = of("\"chat:*\", \"embeding:*\"", "");
    let loaded = load_text(&text).unwrap();
    let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    assert_eq!(warning.key, "auth.api_keys.keys[0].permissions[1]");
    assert_eq!(warning.message, "no door and no route asks for the service `embeding`");
    assert!(warning.to_string().contains("did you mean `embedding:*`?"), "{warning}");
    for (permissions, route) in [
        ("\"chat:*\", \"imgGen:write\", read, \"*:write\"", ""),
        ("\"research:use\"", ""),
        ("\"chats:use\"", ", permission: \"chats:use\""),
    ] {
        assert_eq!(warnings(&of(permissions, route)), [""; 0], "{permissions}");
    }
    let plain = text.replace("ai: true", "respond: 204").replace("ai:\n", "").replace("  providers:\n", "");
    let plain: String = plain.lines().filter(|line| !line.contains("p: {")).map(|line| format!("{line}\n")).collect();
    assert_eq!(warnings(&plain), [""; 0], "without models, services are the members' own");
}

#[test]
fn a_route_at_a_door_is_warned_of_or_refused_with_what_was_meant() {
    let of = |path: &str| provider("kind: openai, keys: k") + &format!("routes: [{{ match: {path}, ai: true }}]\n");
    let meant = "`match: /v1/`; which models it has says `ai: { models: [...] }`";
    for door in ["embeddings", "chat/completions"] {
        let refused = refused(&of(&format!("/v1/{door}"))).to_string();
        assert!(refused.contains(&format!("hint: {meant}")), "{refused}");
        let loaded = load_text(&of(&format!("/v1/{door}/"))).unwrap();
        let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
        assert_eq!(warning.message, format!("the door is at /v1/{door}/{door} then"));
        assert!(warning.to_string().contains(&format!("did you mean {meant}?")), "{warning}");
    }
    assert_eq!(warnings(&of("/my-embeddings/")), [""; 0]);
}

/// A file with these models and prices.
fn priced(models: &str, prices: &[&str]) -> String {
    let list = "openai: { kind: openai, keys: k }\ngpu: { kind: openai_compatible, base_url: http://10.0.0.1:1 }";
    let prices: Vec<String> =
        prices.iter().map(|name| format!("\"{name}\": {{ input: 1.00, output: 2.00 }}")).collect();
    providers(list, &format!("models: {models}\nprices: {{ models: {{ {} }} }}", prices.join(", ")))
        + "routes: [{ match: /v1/, ai: true }]\n"
}

#[test]
fn a_price_that_nothing_is_charged_by_is_warned_of() {
    let models = "{ assistant: [openai/gpt-5.4-mini], local: gpu/org/llama-9 }";
    for (name, hint) in [
        ("gpt-5.4-mni", "did you mean `gpt-5.4-mini`?"),
        ("openai/gpt-5.4-mni", "did you mean `openai/gpt-5.4-mini`?"),
        ("gpu/gpt-5.4-mini", "did you mean `gpt-5.4-mini`?"),
        ("asistant", ""),
        ("locall", "did you mean `local`?"),
        ("assistant", "what the provider calls it has a price: name `gpt-5.4-mini`"),
        ("whatever", ""),
    ] {
        let loaded = load_text(&priced(models, &[name])).unwrap();
        let [warning] = &loaded.warnings[..] else { panic!("{name}: {:?}", loaded.warnings) };
        let key = KeyPath::default().key("ai").key("prices").key("models").key(name).to_string();
        assert_eq!((&warning.key, &*warning.message), (&key, "no request is charged by this price"));
        match hint {
            "" => assert_eq!(warning.hint, None, "{warning}"),
            hint => assert_eq!(warning.hint.as_deref(), Some(hint), "{warning}"),
        }
    }
    let both = warnings(&priced(models, &["gpt-5.4-mini", "openai/gpt-5.4-mini", "gpu/org/llama-9", "local"]));
    let told = "no request is charged by this price";
    assert_eq!(
        both,
        [format!("ai.prices.models.\"gpt-5.4-mini\": {told}"), format!("ai.prices.models.local: {told}")],
        "others are before them"
    );
}

fn idle(models: &str, prices: &[&str]) -> usize {
    warnings(&priced(models, prices)).iter().filter(|told| told.starts_with("ai.prices.models")).count()
}

#[test]
fn a_price_that_a_request_may_be_charged_by_is_not_warned_of() {
    let closed = "{ assistant: [openai/gpt-5.4-mini-2026-03-17], local: gpu/org/llama-9, gemini: gpu/models/g-1 }";
    for (models, price) in [
        (closed, "gpt-5.4-mini-2026-03-17"),
        (closed, "gpt-5.4-mini"),
        (closed, "openai/gpt-5.4-mini"),
        (closed, "openai/gpt-5.4-mini-2026-03-17"),
        (closed, "org/llama-9"),
        (closed, "gpu/org/llama-9"),
        (closed, "local"),
        (closed, "g-1"),
        ("{ \"*\": openai }", "any"),
        ("{ \"gpt-*\": openai }", "gpt-9"),
        ("{ \"gpt-*\": openai }", "openai/gpt-9"),
        ("{ \"gpt-5.4-2026*\": openai }", "gpt-5.4"),
        ("{ \"openai/*\": \"openai/*\", local: gpu }", "any"),
        ("{ \"house-*\": gpu/llama-9 }", "house-1"),
    ] {
        assert_eq!(idle(models, &[price]), 0, "{models} {price}");
    }
    let open = priced("{}", &["any", "gpu/any"]).replace("  models: {}\n", "");
    assert_eq!(warnings(&open), [""; 0], "any name may be asked for");
    for (models, price) in [("{ \"gpt-*\": openai }", "claude-5"), ("{ \"gpt-*\": openai }", "gpu/gpt-9")] {
        assert_eq!(idle(models, &[price]), 1, "{models} {price}");
    }
}
