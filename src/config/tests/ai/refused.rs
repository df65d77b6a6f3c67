//! What is refused, one small file each. The text of the messages is in the snapshot.

use super::*;

fn say(files: &[(&str, String)]) -> String {
    let one = |(what, text): &(&str, String)| format!("--- {what}\n{}\n", refused(text));
    files.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// A section with two providers and `more`.
fn section(more: &str) -> String {
    providers("a: { kind: openai, keys: k }\nb: { kind: openai_compatible, base_url: http://10.0.0.1:1 }", more)
}

/// The same with the models `m`.
fn model(text: &str) -> String {
    section(&format!("models: {{ m: {text} }}"))
}

/// The same with one route.
fn route(text: &str) -> String {
    section("models: { gpt-4: a }") + &format!("routes:\n  - {{ match: /a/, {text} }}\n")
}

#[test]
fn addresses_that_end_in_a_door_and_bounds_that_are_stripped_are() {
    snapshot(
        "refused_ai_doors",
        &say(&[
            (
                "a bound that is stripped",
                provider("kind: openai, keys: k, strip_body_fields: [seed, max_tokens, model]"),
            ),
            ("a door", provider("kind: openai, keys: k, base_url: http://10.0.0.1:1/v1/chat/completions")),
            (
                "a door of anthropic",
                provider("kind: anthropic, keys: k, base_url: https://api.anthropic.com/v1/messages/"),
            ),
            ("a door alone", provider("kind: openai_compatible, base_url: http://10.0.0.1:1/embeddings")),
            (
                "another dialect of gemini",
                provider("kind: gemini, keys: k, base_url: https://x.example.com/v1beta/openai/"),
            ),
        ]),
    );
}

#[test]
fn providers_are() {
    let pool =
        |more: &str, text: &str| provider(text) + &format!("pools: {{ app: {{ members: 10.0.0.1:80{more} }} }}\n");
    snapshot(
        "refused_ai_providers",
        &say(&[
            ("no providers", "listen: 127.0.0.1:80\nai: {}\n".to_owned()),
            ("an empty map", "listen: 127.0.0.1:80\nai: { providers: {} }\n".to_owned()),
            ("no kind", provider("keys: k")),
            ("a kind misspelt", provider("kind: open_ai, keys: k")),
            ("a strange name", providers("\"a/b\": { kind: openai, keys: k }", "")),
            ("no keys", provider("kind: openai")),
            ("an empty list of keys", provider("kind: anthropic, keys: []")),
            ("a placeholder", provider("kind: openai, keys: your-openai-api-key")),
            ("a key with a space", provider("kind: openai, keys: \"sk 12345\"")),
            ("a key in the syntax of another gateway", provider("kind: openai, keys: os.environ/OPENAI_API_KEY")),
            ("a key twice", provider("kind: openai, keys: [sk-1234567, { secret: sk-1234567, weight: 2 }]")),
            ("a name twice", provider("kind: openai, keys: [{ secret: sk-1, name: x }, { secret: sk-2, name: x }]")),
            ("a name out of the secret", provider("kind: openai, keys: { secret: sk-1234567890, name: sk-1234567 }")),
            ("a key without its secret", provider("kind: openai, keys: [{ name: x }]")),
            ("a key misspelt", provider("kind: openai, keys: [{ sekret: sk-1234567 }]")),
            ("a weight", provider("kind: openai, keys: [{ secret: sk-1234567, weight: 0 }]")),
            ("no address", provider("kind: azure_openai, keys: k")),
            (
                "a door of azure",
                provider("kind: azure_openai, keys: k, base_url: https://x.openai.azure.com/openai/v1/"),
            ),
            (
                "a deployment of azure",
                provider("kind: azure_openai, keys: k, base_url: https://x.openai.azure.com/openai/deployments/chat"),
            ),
            (
                "a project of azure",
                provider("kind: azure_openai, keys: k, base_url: https://x.services.ai.azure.com/api/projects/p"),
            ),
            ("a door of azure behind another", provider("kind: azure_openai, keys: k, base_url: https://a.b/x/openai")),
            ("a door of azure at a pool", pool("", "kind: azure_openai, keys: k, pool: app, base_path: /openai")),
            ("no address and no pool", provider("kind: openai_compatible")),
            ("both", pool("", "kind: openai_compatible, base_url: http://10.0.0.1:1, pool: app")),
            ("a pool that is not there", pool("", "kind: openai_compatible, pool: ap")),
            ("a pool with http2", pool(", http2: true", "kind: openai_compatible, pool: app")),
            ("tls beside a pool", pool("", "kind: openai_compatible, pool: app, tls: { sni: a.b }")),
            ("a base path", pool("", "kind: openai_compatible, pool: app, base_path: v1")),
            ("a base path beside a url", provider("kind: openai, keys: k, base_path: /v1")),
            ("a url without its scheme", provider("kind: openai, keys: k, base_url: api.openai.com")),
            ("a url with a password", provider("kind: openai, keys: k, base_url: \"https://me:hunter2@host/v1\"")),
            ("a url with a query", provider("kind: openai, keys: k, base_url: \"https://host/v1?key=hunter2\"")),
            ("a scheme", provider("kind: openai, keys: k, base_url: \"ws://host/\"")),
            ("tls on http", provider("kind: openai, keys: k, base_url: \"http://h:1\", tls: { sni: a.b }")),
            ("keys of flow", provider("kind: flow, keys: k, credentials: \"\"")),
            ("no credentials", provider("kind: flow")),
            ("a relative file", provider("kind: flow, credentials: secrets.json")),
            ("credentials of another kind", provider("kind: openai, keys: k, credentials: /s.json")),
            ("deployments of another kind", provider("kind: openai, keys: k, deployments: { a: b }")),
            ("a version of another kind", provider("kind: gemini, keys: k, api_version: v1")),
            ("a version", provider("kind: anthropic, keys: k, api_version: \"a&b\"")),
            ("a dialect", provider("kind: openai_compatible, base_url: \"http://h:1\", speaks: message")),
            ("a dialect that it has", provider("kind: openai, keys: k, speaks: [messages, responses]")),
            ("a dialect of another kind", provider("kind: anthropic, keys: k, speaks: responses")),
            ("a field for the key", provider("kind: openai, keys: k, key_header: Content-Length")),
            ("a field for no key", provider("kind: openai_compatible, base_url: \"http://h:1\", key_header: x-k")),
            ("the field of the key", provider("kind: anthropic, keys: k, headers: { X-Api-Key: x }")),
            ("a field of the connection", provider("kind: openai, keys: k, headers: { connection: close }")),
            ("a field twice", provider("kind: openai, keys: k, headers: { x-a: b, X-A: c }")),
            ("a model's name", provider("kind: openai, keys: k, models: [a b]")),
            ("an unknown key", provider("kind: openai, keys: k, baseurl: https://h")),
            ("a list", provider("kind: [openai]")),
            ("a word", providers("p: openai", "")),
        ]),
    );
}

#[test]
fn models_are() {
    snapshot(
        "refused_ai_models",
        &say(&[
            ("no models", section("models: {}")),
            ("a provider misspelt", model("[aa, b]")),
            ("another word for one", model("anthropic/claude")),
            ("no target", model("[]")),
            ("no targets", model("{ timeouts: { idle: 1s } }")),
            ("an empty list of targets", model("{ targets: [] }")),
            ("targets and one target", model("{ targets: a, provider: b }")),
            ("no provider", model("[{ model: x }]")),
            ("a target twice", model("[a, b, { provider: a, model: m }]")),
            ("a weight", model("[{ provider: a, weight: 1001 }]")),
            ("a weight of the model", model("{ provider: a, weight: 1 }")),
            ("a name", section("models: { \"a b\": a }")),
            ("an empty model", model("a/")),
            ("timeouts", model("{ provider: a, timeouts: { first_token: 5m, total: 1m } }")),
            ("a key of pools", model("{ provider: a, timeouts: { first_byte: 5s } }")),
        ]),
    );
}

#[test]
fn what_only_routes_read_of_a_pool_is_refused_where_providers_alone_ask_it() {
    let of = |keys: &str, routes: &str| {
        provider("kind: openai_compatible, pool: gpus")
            + &format!(
                "pools: {{ gpus: {{ members: 10.0.0.1:80, {keys} }} }}\nroutes: [{{ match: /v1/, ai: true }}{routes}]\n"
            )
    };
    for (keys, told) in [
        (
            "timeouts: { first_byte: 5s }",
            "pools.gpus.timeouts: `timeouts` has no meaning for a pool that only a provider asks",
        ),
        ("retry: off", "pools.gpus.retry: `retry` has no meaning for a pool that only a provider asks"),
    ] {
        let problem = load_text(&of(keys, "")).unwrap_err().to_string();
        assert!(problem.contains(told), "{problem}");
        load_text(&of(keys, ", { match: /app/, pool: gpus }")).unwrap();
    }
    load_text(&of("balance: least_tokens, max_requests_per_member: 5, health_check: tcp, slow_start: 5s", "")).unwrap();
}

#[test]
fn a_star_stands_at_the_end_of_a_name_and_where_it_can_mean_something() {
    let of_route = |models: &str, allowed: &str| {
        section(&format!("models: {models}")) + &format!("routes: [{{ match: /a/, ai: {{ models: [{allowed}] }} }}]\n")
    };
    for (text, told) in [
        (section("models: { \"gpt*4\": a }"), "`gpt*4` is not the name of a model"),
        (section("models: { \"gpt-**\": a }"), "is not the name of a model"),
        (section("models: { \"gpt-*\": \"a/*-x\" }"), "`*-x` is not the name of a model"),
        (section("models: { m: \"a/gpt-*\" }"), "`m` is one name, in which there is nothing that `*` could stand for"),
        (provider("kind: openai, keys: k, models: [\"gpt-*\"]"), "at the end of one under `ai.models`"),
        (of_route("{ \"gpt-*\": a }", "gpt4"), "there is no model `gpt4`"),
        (of_route("{ \"gpt-*\": a }", "\"claude-*\""), "there is no model `claude-*`"),
    ] {
        let problem = load_text(&text).unwrap_err().to_string();
        assert!(problem.contains(told), "{text}\n{problem}");
    }
    for (models, allowed) in [
        ("{ \"gpt-*\": a }", "gpt-4o, \"gpt-*\", \"gpt-4*\", \"g*\", \"*\""),
        ("{ gpt-4o: a }", "\"gpt-*\", \"*\""),
        ("{ \"openai/*\": \"a/*\", \"*\": a }", "openai/gpt-4o, anything"),
    ] {
        load_text(&of_route(models, allowed)).unwrap();
    }
}

#[test]
fn the_rest_of_the_section_is() {
    let price = |text: &str| section(&format!("prices: {{ models: {{ m: {{ {text} }} }} }}"));
    snapshot(
        "refused_ai_rest",
        &say(&[
            ("attempts", section("attempts: 21")),
            ("no attempts", section("attempts: 0")),
            ("a breaker", section("breaker: never")),
            ("a share without its sign", section("breaker: { error_threshold: 50 }")),
            ("a share of nothing", section("breaker: { error_threshold: 0% }")),
            ("a window", section("breaker: { window: 2h }")),
            ("a hold", section("hold: { bytes: 1GiB }")),
            ("a keepalive", section("keepalive: 10ms")),
            ("a switch", section("headers: yes")),
            ("timeouts", section("timeouts: { connect: 0s }")),
            ("a price with its sign", price("input: $2, output: 3")),
            ("a price too fine", price("input: 0.0000001, output: 3")),
            ("half a price", price("input: 2")),
            ("a comma", price("input: \"2,50\", output: 3")),
            ("a price too high", price("input: 1000001, output: 3")),
            ("a long context", price("input: 1, output: 2, long_context: { input: 3 }")),
            ("a tier of nothing", price("input: 1, output: 2, tiers: { flex: 0 }")),
            ("a tier as a share", price("input: 1, output: 2, tiers: { priority: 180% }")),
            ("what is unknown", section("prices: { unknown: free }")),
            ("half of what is unknown", section("prices: { unknown: { output: 1 } }")),
            ("a table", section("prices: { file: /nonexistent/prices.json }")),
            ("an unknown key", section("timeout: 5s")),
        ]),
    );
}

#[test]
fn routes_are() {
    let cached = |cache: &str, rules: &str| {
        route(&format!("ai: {{}}, cache: {cache}")) + &format!("caches: {{ c: {{ {rules} }} }}\n")
    };
    snapshot(
        "refused_ai_routes",
        &say(&[
            ("no section", "listen: 127.0.0.1:80\nroutes: { match: /a/, ai: {} }\n".to_owned()),
            ("two targets", route("ai: {}, respond: 200")),
            ("switched off", route("ai: false")),
            ("a word", route("ai: openai")),
            ("one path", route("ai: {}").replace("/a/", "/a")),
            (
                "what pools have",
                route(
                    "ai: {}, rewrite: { prefix: /b/ }, timeouts: { idle: 1s }, retry: off, retry_non_idempotent: true, balance: random, websocket: true",
                ),
            ),
            ("masking", route("ai: {}, sanitize: pii") + "sanitize: { pii: { rules: email } }\n"),
            ("a model", route("ai: { models: [gpt4, other] }")),
            ("a field", route("ai: { strip_body_fields: [model, \"\"] }")),
            (
                "a cut without a budget",
                route("ai: { cut_over_budget: true }, limits: l") + "limits: { l: { key: global, rate: 1/s } }\n",
            ),
            (
                "a cut for several",
                route("ai: { cut_over_budget: true }, limits: l, cache: c")
                    + "limits: { l: { key: global, tokens: 5/day } }\ncaches: { c: { ttl: 1m } }\n",
            ),
            ("more answers for no cache", route("ai: { cache_nondeterministic: true }")),
            ("an option", route("ai: { model: gpt-4 }")),
            ("a cache without a time", cached("c", "max_entries: 10")),
            ("a cache by fields", cached("c", "ttl: 1m, key_headers: x-tenant")),
            (
                "rules of HTTP",
                cached("{ use: c, heuristic: true, key_headers: x-a, request_directives: false }", "ttl: 1m"),
            ),
            ("no routes and no section", "listen: 127.0.0.1:80\n".to_owned()),
            ("routes misspelt", section("") + "rotes: { respond: 200 }\n"),
        ]),
    );
}

#[test]
fn what_was_refused_is_not_missed_as_well() {
    let one = |text: &str| {
        let errors = refused(text);
        assert_eq!(errors.problems.len(), 1, "{errors}\n{text}");
        told(&errors).remove(0)
    };
    for (text, message) in [
        (providers("p: [openai]", "models: { m: p }"), "ai.providers.p: a list stands here"),
        (provider("kind: openai, keys: \"${NONE}\""), "ai.providers.p.keys: the environment variable NONE is not set"),
        (provider("kind: [x]"), "ai.providers.p.kind: a list stands here"),
        (
            provider("kind: azure_openai, keys: k, base_url: \"${NONE}\""),
            "base_url: the environment variable NONE is not set",
        ),
        ("listen: 127.0.0.1:80\nai: [x]\n".to_owned(), "ai: a list stands here"),
        ("listen: 127.0.0.1:80\nai: [x]\nroutes: { match: /a/, ai: {} }\n".to_owned(), "ai: a list stands here"),
        (section("models: { m: { targets: [[x]] } }"), "targets[0]: a list stands here"),
        (provider("kind: openai, keys: k") + "routes: [{ match: /a/, ai: [x] }]\n", "routes[0].ai: a list stands here"),
    ] {
        let told = one(&text);
        assert!(told.ends_with(message), "{told}");
    }
}

#[test]
fn no_secret_of_the_section_is_shown() {
    for text in [
        "kind: openai, keys: [hunter2hunter2, { secret: hunter2hunter2 }], tls: 1",
        "kind: openai, keys: [{ secrt: hunter2hunter2 }]",
        "kind: openai, keys: { secret: \"hunter2 hunter2\" }",
        "kind: openai, key: hunter2hunter2",
        "kind: openai, kyes: hunter2hunter2",
        "kind: openai, the_key: hunter2hunter2",
        "kind: openai, master_key: hunter2",
        "kind: openai, keys: k, kyes: [sk-hunter2, AIzahunter2]",
        "kind: openai, keys: k, headers: { authorization: \"hunter2\\thunter2\" }",
    ] {
        let shown = refused(&provider(text)).to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_is_wrong_in_the_section_is_told_once() {
    let text =
        providers("openai: { kind: openai, keys: k }", "models: { a: openai, b: [openai/x, { provider: openai }] }");
    let misspelt = text.replace("  providers:", "  provider:");
    assert_eq!(told(&refused(&misspelt)), ["3:3 ai.provider: unknown key"]);
    let cached = provider("kind: openai, keys: k")
        + "caches: { answers: { ttl: 60 } }\nroutes: [{ match: /v1/, ai: true, cache: answers }]\n";
    assert_eq!(told(&refused(&cached)), ["5:27 caches.answers.ttl: `60` is not a duration"]);
}
