//! What people write who come from other products: each is told what it is called here, once.

use super::*;

/// The one error of a file, as it is shown.
fn error(text: &str) -> String {
    let errors = refused(text);
    assert_eq!(errors.problems.len(), 1, "{errors}\n{text}");
    errors.problems[0].to_string()
}

/// A file with one provider.
fn provider(text: &str) -> String {
    format!("listen: 127.0.0.1:80\nai:\n  providers:\n    p: {{ {text} }}\n")
}

fn key(text: &str) -> String {
    let dates = "permissions: [read], expires_at: 2098-01-01T00:00:00Z";
    with(&format!("auth: {{ api_keys: {{ keys: [{{ id: a, {text}, {dates} }}] }} }}\n"))
}

/// Files in which `secret` stands where each kind of secret does.
fn with_secret(secret: &str) -> Vec<String> {
    let issuer = |secret: &str| with(&format!("auth: {{ jwt: {{ issuer: i, audience: a, secret: {secret} }} }}\n"));
    let hook =
        format!("log: {{ audit: {{ file: /tmp/a.log, webhook: {{ url: \"https://a.b/\", secret: {secret} }} }} }}\n");
    vec![
        with(&format!("admin: {{ address: 127.0.0.1:1, token: {secret} }}\n")),
        with(&format!("admin: {{ address: 0.0.0.0:1, token: {secret} }}\n")),
        key(&format!("secret: {secret}")),
        key(&format!(
            "secret: sk-sg-9Lr4wB6cU3-7f2b4936a8e1, previous: {{ secret: {secret}, until: 2098-01-01T00:00:00Z }}"
        )),
        issuer(secret),
        issuer(&format!("[{secret}]")),
        with(&hook),
        provider(&format!("kind: openai, keys: {secret}")),
        provider(&format!("kind: openai, keys: [sk-proj-7f2b4936a8e1, {secret}]")),
        provider(&format!("kind: openai, keys: {{ secret: {secret}, weight: 2 }}")),
        provider(&format!("kind: openai, keys: k, headers: {{ X-Api-Key: {secret} }}")),
        with_route(&format!("headers: {{ request: {{ set: {{ Authorization: {secret} }} }} }}")),
    ]
}

#[test]
fn a_variable_in_the_syntax_of_another_product_is_no_secret() {
    let syntaxes = [
        "$A_TOKEN",
        "\"{$A_TOKEN}\"",
        "$(A_TOKEN)",
        "\"{env.A_TOKEN}\"",
        "\"{env:A_TOKEN}\"",
        "env:A_TOKEN",
        "env.A_TOKEN",
        "\"%A_TOKEN%\"",
        "os.environ/A_TOKEN",
        "Bearer $A_TOKEN",
    ];
    for (syntax, text) in
        syntaxes.iter().flat_map(|syntax| with_secret(syntax).into_iter().map(move |text| (syntax, text)))
    {
        let told = error(&text);
        assert!(told.contains("is no way to name a variable here: the text itself would be the secret"), "{told}");
        assert!(told.contains("write \"${A_TOKEN}\""), "{syntax}: {told}");
    }
    let told = error(&key("secret: $hunter2hunter2"));
    assert!(told.contains("write \"${NAME}\"; a secret that begins with `$` is written with `$$`"), "{told}");
    assert!(!told.contains("hunter2"), "it may be a secret: {told}");
}

#[test]
fn a_secret_with_a_dollar_in_it_is_one() {
    let long = "7f2b4936a8e1c0d57f2b4936a8e1c0d5";
    for secret in ["x$A_TOKEN-", "$2b$12$", "$$A_TOKEN_", "$A-", "env:A/", "A_TOKEN"] {
        for text in with_secret(&format!("{secret}{long}")) {
            let loaded = load_text(&text);
            assert!(loaded.is_ok(), "{secret}: {}", loaded.unwrap_err());
        }
    }
    let environment = Environment::of([("T", "$A_TOKEN")]);
    let of_variable = with("admin: { address: 127.0.0.1:1, token: \"${T}\" }\n");
    parse("sluicegate.yaml", &of_variable, &Overrides::default(), &environment).unwrap();
    config(&with_route("headers: { request: { set: { X-Price: $AMOUNT } } }"));
}

#[test]
fn a_variable_in_the_syntax_of_another_product_is_none_in_the_key_file_either() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "keys: [{ id: a, secret: $A_KEY, permissions: [read] }]\n").unwrap();
    let told = error(&with(&format!("auth: {{ api_keys: {{ file: {} }} }}\n", file.path().display())));
    assert!(told.contains("keys[0].secret: `$NAME` is no way") && told.contains("write \"${A_KEY}\""), "{told}");
}

#[test]
fn a_secret_that_is_not_set_is_one_error() {
    for text in with_secret("\"${PROD_SECRET}\"") {
        let told = error(&text);
        assert!(told.contains("the environment variable PROD_SECRET is not set"), "{told}");
    }
}

#[test]
fn a_variable_without_quotes_in_braces_is_told_to_need_them() {
    let providers = "listen: 127.0.0.1:80\nai:\n  providers:\n";
    for (text, place, inside) in [
        (format!("{providers}    openai: {{ kind: openai, keys: ${{OPENAI_API_KEY}} }}\n"), "4:35", "braces"),
        (
            format!(
                "{providers}    openai: {{ kind: openai, keys: ${{OPENAI_API_KEY:-}} }}\n    b: {{ kind: gemini }}\n"
            ),
            "4:35",
            "braces",
        ),
        (
            format!("{providers}    openai:\n      keys: [${{OPENAI_API_KEY}}]\n      kind: openai\n"),
            "5:14",
            "brackets",
        ),
        (
            format!("{providers}    openai: {{\n      kind: openai,\n      keys: ${{OPENAI_API_KEY}} }}\n"),
            "6:13",
            "braces",
        ),
    ] {
        let told = error(&text);
        let message = format!("sluicegate.yaml:{place}: a variable stands in {inside} without quotes");
        assert!(told.starts_with(&message), "{told}");
        assert!(told.contains("write \"${OPENAI_API_KEY}\""), "{told}");
    }
    let secret = error(&format!("{providers}    openai: {{ kind: openai, keys: ${{A:-hunter2hunter2}} }}\n"));
    assert!(!secret.contains("hunter2"), "{secret}");
    let other = error(&with("admin: { address: \"${A}\", token: \"it's ${B}\" ] # {${C}}\n"));
    assert!(!other.contains("without quotes"), "they have them: {other}");
}

#[test]
fn a_text_that_begins_with_a_star_is_told_to_need_quotes() {
    for (value, text) in [
        ("*.example.com", with_route("match:\n  host: *.example.com")),
        ("*.example.com", with_route("match: { host: *.example.com, path: /a/ }")),
        ("*", with_route("match:\n  host: *")),
        ("*", with("auth: { api_keys: { keys: [{ id: a, permissions: [*] }] } }\n")),
        (
            "*",
            "listen: 127.0.0.1:80\nai:\n  providers: { a: { kind: openai, keys: k } }\n  models:\n    *: a\n"
                .to_owned(),
        ),
    ] {
        let told = error(&text);
        assert!(told.contains(&format!("a text that begins with `*` stands in quotes: \"{value}\"")), "{told}");
    }
    let secret = error(&with("admin: { address: 127.0.0.1:1, token: *hunter2 }\n"));
    assert!(secret.contains("stands in quotes: \"*...\"") && !secret.contains("hunter2"), "{secret}");
}

#[test]
fn keys_that_are_called_otherwise_elsewhere_are_told_their_name_here() {
    let of_provider = |key: &str| provider(&format!("kind: openai, keys: k, {key}"));
    let base = |key: &str| provider(&format!("kind: openai_compatible, {key}: http://10.0.0.1:1"));
    let of_ai = |key: &str| format!("{}  {key}\n", provider("kind: openai, keys: k"));
    let models = "`ai.models`: { chat: [openai/gpt-5.4, azure/gpt-5.4] }";
    for (text, hint) in [
        (provider("kind: openai, api_key: sk-proj-7f2b4936a8e1"), "this is called `keys` here"),
        (provider("kind: openai, apiKey: sk-proj-7f2b4936a8e1"), "this is called `keys` here"),
        (base("api_base"), "this is called `base_url` here"),
        (base("base"), "this is called `base_url` here"),
        (base("endpoint"), "this is called `base_url` here"),
        (of_provider("num_retries: 2"), "how often targets are tried is `ai.attempts`"),
        (of_provider("fallbacks: [b]"), models),
        (of_provider("rpm: 60"), "`limits` bound what callers ask"),
        (of_provider("tpm: 60000"), "`limits` bound what callers ask"),
        (of_provider("timeout: 30s"), "`ai.timeouts`"),
        (of_ai("num_retries: 2"), "this is called `attempts` here"),
        (of_ai("fallbacks: [a]"), models),
        (of_ai("model_list: [a]"), "this is called `models` here"),
        (with_route("match: /api/\nstrip_prefix: /api"), "`rewrite: { prefix: / }`"),
        (with("model_list: [a]\n"), "under `ai.models`"),
        (with("litellm_settings: { drop_params: true }\n"), "`ai`, `limits`"),
        (with("limits: { a: { key: global, rpm: 60 } }\n"), "`rate: 100/m`"),
        (of_ai("prices: { models: { m: { input: 1, output: 1, input_cost_per_token: 1 } } }"), "for a million tokens"),
        (with_route("match: /api/\npath_beg: /api"), "this is called `match` here"),
        (with_route("match: /api/\nheader: {}"), "this is called `headers` here"),
        (with("").replace("- pool: app", "- proxy_pass: app"), "this is called `pool` here"),
        (with("").replace("members:", "servers:"), "this is called `members` here"),
        (with("").replace("members:", "targets:"), "this is called `members` here"),
        (with_pool("lb_policy: random"), "this is called `balance` here"),
        (with_pool("health_check: { path: /, inter: 2s }"), "this is called `interval` here"),
        (with_pool("health_check: { uri: / }"), "this is called `path` here"),
    ] {
        let told = error(&text);
        assert!(told.contains("unknown key") && told.contains(hint), "{told}");
    }
}

#[test]
fn kinds_of_providers_that_are_called_otherwise_elsewhere_are_told_their_name_here() {
    for (kind, here) in [
        ("azure", "azure_openai"),
        ("vllm", "openai_compatible"),
        ("ollama", "openai_compatible"),
        ("sglang", "openai_compatible"),
        ("openrouter", "openai_compatible"),
        ("google", "gemini"),
        ("claude", "anthropic"),
    ] {
        let told = error(&provider(&format!("kind: {kind}, keys: k")));
        assert!(told.contains(&format!("write `kind: {here}`")), "{told}");
    }
    let told = error(&provider("kind: bedrock, keys: k"));
    assert!(!told.contains("hint"), "there is nothing like it: {told}");
}

#[test]
fn values_in_the_syntax_of_another_proxy_are_told_how_they_are_written_here() {
    let member = |text: &str| with("").replace("10.0.0.1:8080", text);
    let path = |text: &str| with_route(&format!("match: {{ path: '{text}' }}"));
    let no_regex = "there are no regular expressions";
    for (text, hint) in [
        (with_pool("timeouts: { connect: 5000 }"), "did you mean 5000ms, or 5000s?"),
        (with_pool("timeouts: { connect: 5 }"), "did you mean 5s, or 5ms?"),
        (member("\"127.0.0.1:31411 weight=2\""), "in a map: { address: 127.0.0.1:31411, weight: 2 }"),
        (member("\"10.0.0.1:80 weight=3 backup\""), "in a map: { address: 10.0.0.1:80, weight: 3, backup: true }"),
        (member("\"10.0.0.1:80 check\""), "in a map: { address: 10.0.0.1:80, weight: 2 }"),
        (path("~ ^/v[0-9]+/"), no_regex),
        (path("^/v1/"), no_regex),
        (path("/v[0-9]+/"), no_regex),
        (path("/api/.*"), no_regex),
        (path(r"/a\.json"), no_regex),
        (path("= /a"), "a path is exact unless it ends in `/`: /a"),
    ] {
        let told = error(&text);
        assert!(told.contains(hint), "{told}");
    }
    config(&path("/(a)/b.c+d/$x"));
}
