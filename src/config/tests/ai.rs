//! `ai`: what is refused, what is warned of, and what the values become.

use std::time::Duration;

use http::HeaderName;

use super::*;
use crate::config::ai::{
    Ai, AiTarget, AiTimeouts, Hold, KeyPlace, KeySecret, ModelTarget, Price, Provider, ProviderKey, ProviderKind,
    Speech, Tiers, UnknownPrice, Vendor,
};

mod flow;
mod refused;
mod warned;

/// A file with these providers, `more` in the section, and no routes.
fn providers(list: &str, more: &str) -> String {
    let indented = |text: &str, by: &str| text.lines().map(|line| format!("{by}{line}\n")).collect::<String>();
    format!("listen: 127.0.0.1:80\nai:\n  providers:\n{}{}", indented(list, "    "), indented(more, "  "))
}

/// A file whose one provider is `p`.
fn provider(text: &str) -> String {
    providers(&format!("p: {{ {text} }}"), "")
}

/// The section of a file that must load without a warning.
fn ai(text: &str) -> Arc<Ai> {
    config(text).ai.unwrap()
}

fn one(text: &str) -> Arc<Provider> {
    ai(&provider(text)).providers[0].clone()
}

fn warnings(text: &str) -> Vec<String> {
    let loaded = load_text(text).unwrap_or_else(|errors| panic!("{errors}"));
    loaded.warnings.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

fn plain(key: &KeySecret) -> String {
    match key {
        KeySecret::Plain(secret) => secret.reveal(),
        KeySecret::Flow { .. } => panic!("a plain key was expected"),
    }
}

#[test]
fn the_shortest_section_gets_every_default_and_a_route() {
    let config = config(&provider("kind: openai, keys: k1"));
    let ai = config.ai.unwrap();
    assert_eq!((ai.attempts, ai.headers, ai.assumed_output, ai.max_buffered), (3, true, 4096, 512 << 20));
    assert_eq!((ai.key_cooldown, ai.keepalive), (Duration::from_secs(60), Duration::from_secs(10)));
    assert_eq!(ai.timeouts, AiTimeouts::default());
    assert_eq!(ai.hold, Hold::default());
    let breaker = ai.breaker.unwrap();
    assert_eq!((breaker.error_percent, breaker.min_requests), (50, 10));
    assert_eq!((breaker.window, breaker.reset), (Duration::from_secs(10), Duration::from_secs(30)));
    assert_eq!((ai.prices.unknown, ai.prices.models.len()), (UnknownPrice::Block, 0));
    assert!(ai.prices.table.get(Vendor::OpenAi, "gpt-4o", 0).is_some(), "the table of the program");
    assert!(ai.models.is_empty(), "every model is served by its name");
    let [route] = config.routes.as_slice() else { panic!("one route was expected") };
    assert_eq!(&*route.name, "ai");
    assert_eq!(route.matching.path, PathPattern::Prefix("/v1/".to_owned()));
    assert!(matches!(&route.target, Target::Ai(target) if *target == AiTarget::default()));
    assert_eq!(route.max_body, 100 << 20);
    assert!(!route.websocket);
}

#[test]
fn each_kind_knows_where_it_is_and_where_its_key_goes() {
    let field = |name: &'static str| KeyPlace::Header(HeaderName::from_static(name));
    for (text, host, path, place) in [
        ("kind: openai, keys: k", "api.openai.com", "/v1", KeyPlace::Bearer),
        ("kind: anthropic, keys: k", "api.anthropic.com", "/v1", field("x-api-key")),
        ("kind: gemini, keys: k", "generativelanguage.googleapis.com", "/v1beta", field("x-goog-api-key")),
        (
            "kind: azure_openai, keys: k, base_url: https://a.openai.azure.com/",
            "a.openai.azure.com",
            "",
            field("api-key"),
        ),
        ("kind: openai_compatible, base_url: http://10.0.0.1:8000", "10.0.0.1:8000", "/v1", KeyPlace::Bearer),
        ("kind: openai, keys: k, base_url: \"http://[::1]:9000/x/y/\"", "[::1]:9000", "/x/y", KeyPlace::Bearer),
        ("kind: openai, keys: k, key_header: X-My-Key", "api.openai.com", "/v1", field("x-my-key")),
        (
            "kind: azure_openai, keys: k, base_url: https://x.azure-api.net/team/",
            "x.azure-api.net",
            "/team",
            field("api-key"),
        ),
        ("kind: azure_openai, keys: k, base_url: https://a.b, key_header: authorization", "a.b", "", KeyPlace::Bearer),
    ] {
        let found = one(text);
        assert_eq!(found.host.as_ref().unwrap(), host, "{text}");
        assert_eq!((found.base_path.as_str(), &found.key_place), (path, &place), "{text}");
        assert!(found.enabled, "{text}");
    }
}

#[test]
fn a_url_becomes_a_pool_of_one_member_that_is_asked_once() {
    let text = providers(
        "b: { kind: openai, keys: k }\na: { kind: openai_compatible, pool: app }",
        "timeouts: { connect: 1s, first_token: 7s, idle: 9s }",
    );
    let config = config(&format!("{text}pools: {{ app: {{ members: 10.0.0.1:80 }} }}\n"));
    let names: Vec<&str> = config.pools.iter().map(|pool| &*pool.name).collect();
    assert_eq!(names, ["app", "ai:b"]);
    let ai = config.ai.unwrap();
    assert_eq!(ai.providers.iter().map(|provider| provider.pool).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((&ai.providers[0].host, ai.providers[0].base_path.as_str()), (&None, "/v1"));
    let pool = &config.pools[1];
    assert_eq!(&*pool.members[0].name, "api.openai.com:443");
    assert_eq!(pool.members[0].address, MemberAddress::Host { host: "api.openai.com".into(), port: 443 });
    assert_eq!(pool.tls, Some(UpstreamTls::default()));
    assert_eq!((pool.retry.attempts, &pool.outlier, pool.http2), (1, &None, false));
    let seconds = Duration::from_secs;
    let timeouts = pool.timeouts;
    assert_eq!((timeouts.connect, timeouts.first_byte, timeouts.idle), (seconds(1), seconds(7), seconds(9)));
}

#[test]
fn a_pool_of_the_file_may_have_its_members_below_another_path_and_another_host() {
    for (more, path, host) in [
        ("", "/v1", None),
        (", base_path: /v1-openai/", "/v1-openai", None),
        (", base_path: /, headers: { host: llm.internal }", "", Some("llm.internal")),
    ] {
        let text = provider(&format!("kind: openai_compatible, pool: app{more}"));
        let ai = ai(&format!("{text}pools: {{ app: {{ members: 10.0.0.1:80 }} }}\n"));
        let found = &ai.providers[0];
        assert_eq!(found.base_path, path);
        assert_eq!(found.host.as_ref().map(|host| host.to_str().unwrap()), host);
        assert!(found.headers.is_empty());
    }
}

#[test]
fn tls_towards_a_provider_is_that_of_pools() {
    let config = config(&provider("kind: openai, keys: k, tls: { sni: other.test }"));
    assert_eq!(config.pools[0].tls.as_ref().unwrap().sni.as_deref(), Some("other.test"));
    assert!(config.pools[0].tls.as_ref().unwrap().verify);
}

#[test]
fn keys_have_names_and_weights_and_empty_ones_are_left_out() {
    let found = one(
        "kind: openai, keys: [one-1, \"${NONE:-}\", { secret: two-2, name: spare, weight: 5 }, { secret: three-3 }]",
    );
    let keys: Vec<_> = found.keys.iter().map(|key| (&*key.name, key.weight, plain(&key.secret))).collect();
    let expected = [("key-1", 1, "one-1"), ("spare", 5, "two-2"), ("key-4", 1, "three-3")];
    assert_eq!(keys, expected.map(|(name, weight, secret)| (name, weight, secret.to_owned())));
}

#[test]
fn a_provider_without_a_key_or_an_address_is_switched_off_with_a_warning() {
    let off = "this provider is switched off";
    for (text, key, why) in [
        ("kind: openai, keys: \"${K:-}\"", "keys", "there is no key, for all are empty"),
        (
            "kind: openai_compatible, base_url: http://10.0.0.1:1, keys: [\"\", { secret: \"\" }]",
            "keys",
            "there is no key, for all are empty",
        ),
        ("kind: azure_openai, keys: k, base_url: \"${URL:-}\"", "base_url", "the URL is empty"),
        ("kind: azure_openai, keys: \"\", base_url: \"\"", "base_url", "the URL is empty"),
        ("kind: flow, credentials: \"${FILE:-}\"", "credentials", "the path of the credentials is empty"),
    ] {
        let loaded = load_text(&providers(&format!("p: {{ {text} }}\nq: {{ kind: openai, keys: k }}"), "")).unwrap();
        let told: Vec<_> =
            loaded.warnings.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect();
        assert_eq!(told, [format!("ai.providers.p.{key}: {why}: {off}")], "{text}");
        let ai = loaded.config.ai.unwrap();
        assert!(!ai.providers[0].enabled && ai.providers[1].enabled);
        assert!(loaded.config.pools.get(ai.providers[0].pool).is_none(), "it needs no pool");
        assert_eq!(&*loaded.config.pools[ai.providers[1].pool].name, "ai:q");
    }
}

#[test]
fn a_model_that_nobody_serves_any_more_is_warned_of() {
    let text =
        providers("a: { kind: openai, keys: \"\" }\nb: { kind: openai, keys: k }", "models: { lost: a, kept: [a, b] }");
    let told = warnings(&text);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "ai.models.lost: every provider of this model is switched off");
    let all = warnings(&provider("kind: openai, keys: \"\""));
    assert_eq!(all[0], "ai.providers: every provider is switched off: all requests are answered with 503");
}

#[test]
fn one_that_is_switched_off_on_purpose_needs_nothing_and_is_not_warned_of() {
    for text in [
        "kind: openai, enabled: false",
        "kind: azure_openai, keys: [], base_url: https://a.b, enabled: false",
        "kind: flow, enabled: false",
        "kind: flow, credentials: /nonexistent/secrets.json, enabled: false",
        "kind: openai, keys: \"${K:-}\", enabled: false",
    ] {
        let text = providers(&format!("p: {{ {text} }}\nq: {{ kind: openai, keys: k }}"), "");
        let config = config(&text);
        assert_eq!(config.pools.len(), 1, "{text}");
        assert!(!config.ai.unwrap().providers[0].enabled);
    }
}

#[test]
fn what_belongs_to_a_kind_is_kept_with_it() {
    let ProviderKind::Anthropic { version } = &one("kind: anthropic, keys: k").kind else { panic!() };
    assert_eq!(version, "2023-06-01");
    let azure = "kind: azure_openai, keys: k, base_url: https://a.b, api_version: preview, deployments: { gpt-3.5-turbo: gpt-35-turbo }";
    let ProviderKind::AzureOpenAi { api_version, deployments } = &one(azure).kind else { panic!() };
    assert_eq!(api_version, "preview");
    assert_eq!(deployments, &[("gpt-3.5-turbo".to_owned(), "gpt-35-turbo".to_owned())]);
    let local =
        one("kind: openai_compatible, base_url: http://10.0.0.1:1, speaks: [messages, responses], models: [a/b, c]");
    assert_eq!(local.speaks, [Speech::Messages, Speech::Responses]);
    assert_eq!(local.models.iter().map(|name| &**name).collect::<Vec<_>>(), ["a/b", "c"]);
}

#[test]
fn models_may_be_written_short() {
    let target = |provider, model: Option<&str>, weight| ModelTarget { provider, model: model.map(Into::into), weight };
    let text = |model: &str| {
        providers(
            "a: { kind: openai, keys: k }\nb: { kind: openai, keys: l }",
            &format!("models: {{ m: {model}, all: [a, b] }}"),
        )
    };
    for (model, ranks) in [
        ("a", vec![vec![target(0, None, 1)]]),
        ("b/x/y", vec![vec![target(1, Some("x/y"), 1)]]),
        ("{ provider: b, model: z }", vec![vec![target(1, Some("z"), 1)]]),
        ("[a, b]", vec![vec![target(0, None, 1)], vec![target(1, None, 1)]]),
        ("[{ provider: a }, b/x]", vec![vec![target(0, None, 1)], vec![target(1, Some("x"), 1)]]),
        ("{ targets: a }", vec![vec![target(0, None, 1)]]),
        (
            "{ targets: [{ provider: a, weight: 9 }, { provider: b, weight: 1 }, a/x, { provider: b, model: y, weight: 2 }, { provider: a, model: z, weight: 3 }] }",
            vec![
                vec![target(0, None, 9), target(1, None, 1)],
                vec![target(0, Some("x"), 1)],
                vec![target(1, Some("y"), 2), target(0, Some("z"), 3)],
            ],
        ),
    ] {
        let ai = ai(&text(model));
        assert_eq!((&*ai.models[0].name, &ai.models[0].ranks), ("m", &ranks), "{model}");
        assert_eq!(ai.models[0].timeouts, ai.timeouts);
    }
}

#[test]
fn timeouts_of_a_model_go_over_those_of_the_section() {
    let more =
        "timeouts: { connect: 1s, first_token: 30s }\nmodels: { a: { provider: p, timeouts: { first_token: 90s } } }";
    let ai = ai(&providers("p: { kind: openai, keys: k }", more));
    let seconds = Duration::from_secs;
    let timeouts = ai.models[0].timeouts;
    assert_eq!((timeouts.connect, timeouts.first_token, timeouts.total), (seconds(1), seconds(90), seconds(600)));
}

#[test]
fn pauses_follow_the_first_token_until_they_are_written() {
    let idle = |of_all: &str, of_model: &str| {
        let more = format!("timeouts: {{ {of_all} }}\nmodels: {{ a: {{ provider: p, timeouts: {{ {of_model} }} }} }}");
        let ai = ai(&providers("p: { kind: openai, keys: k }", &more));
        (ai.timeouts.idle.as_secs(), ai.models[0].timeouts.idle.as_secs())
    };
    assert_eq!(idle("connect: 1s", "first_token: 90s"), (300, 900));
    assert_eq!(idle("first_token: 5s", "connect: 1s"), (50, 50));
    assert_eq!(idle("first_token: 5s", "first_token: 6s, idle: 9s"), (50, 9));
    assert_eq!(idle("idle: 7s", "first_token: 90s"), (7, 7));
}

#[test]
fn the_breaker_may_be_off_and_the_rest_be_set() {
    let more =
        "breaker: off\nattempts: 20\nkey_cooldown: 5m\nhold: { bytes: 0B, time: 0s }\nkeepalive: 0s\nheaders: false";
    let ai = ai(&providers("p: { kind: openai, keys: k }", more));
    assert!(ai.breaker.is_none() && !ai.headers);
    assert_eq!((ai.attempts, ai.key_cooldown), (20, Duration::from_secs(300)));
    assert_eq!((ai.hold.bytes, ai.hold.time, ai.keepalive), (0, Duration::ZERO, Duration::ZERO));
}

#[test]
fn prices_are_exact() {
    let more = "\
prices:
  unknown: { input: 1, output: 2.000001 }
  models:
    m: { input: 2.50, cached_input: 0.3, cache_write: 3.125, output: 10, reasoning: 12, long_context: { above: 200000, input: 5, output: 20 } }
    n:
      { input: 1, cache_write_1h: 2, output: 4, audio_input: 32, audio_output: 64, image_input: 8, image_output: 30.5,
        tiers: { flex: 0.5, flex_cached_input: 1, priority: 1.666667, ultrafast: 6 },
        long_context: { above: 100000, input: 5, cache_write_1h: 10, output: 20 } }";
    let prices = ai(&providers("p: { kind: openai, keys: k }", more)).prices.clone();
    let of_unknown = Price { input: 1_000_000, output: 2_000_001, ..Price::default() };
    assert_eq!(prices.unknown, UnknownPrice::Default(of_unknown));
    let (name, price) = &prices.models[0];
    assert_eq!((&**name, price.input, price.cached_input), ("m", 2_500_000, Some(300_000)));
    assert_eq!((price.cache_write, price.output, price.reasoning), (Some(3_125_000), 10_000_000, Some(12_000_000)));
    let long = price.long_context.unwrap();
    assert_eq!((long.above, long.input, long.output, long.reasoning), (200_000, 5_000_000, 20_000_000, None));
    let (name, price) = &prices.models[1];
    assert_eq!((&**name, price.cache_write_1h, price.cache_write), ("n", Some(2_000_000), None));
    assert_eq!((price.audio_input, price.audio_output), (Some(32_000_000), Some(64_000_000)));
    assert_eq!((price.image_input, price.image_output), (Some(8_000_000), Some(30_500_000)));
    assert_eq!(price.long_context.unwrap().cache_write_1h, Some(10_000_000));
    let tiers = Tiers {
        flex: Some(500_000),
        flex_cached_input: Some(1_000_000),
        priority: Some(1_666_667),
        ultrafast: Some(6_000_000),
    };
    assert_eq!(price.tiers, tiers);
    let zero = ai(&providers("p: { kind: openai, keys: k }", "prices: { unknown: zero }"));
    assert_eq!(zero.prices.unknown, UnknownPrice::Zero);
}

#[test]
fn a_table_of_prices_takes_the_place_of_the_programs_and_what_is_wrong_with_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json");
    let table = r#"{ "format": 1, "version": "ours", "date": "2026-11-28", "unit": "dollars", "sources": [],
        "models": [{ "vendor": "gemini", "model": "m", "input": "0.5", "output": "1" }] }"#;
    let text = providers("p: { kind: openai, keys: k }", &format!("prices: {{ file: {} }}", file.display()));
    let error = |text: &str| told(&refused(text)).join("\n").replace(directory.path().to_str().unwrap(), "DIR");
    assert!(error(&text).contains("ai.prices.file: DIR/prices.json does not exist"));
    std::fs::write(&file, table).unwrap();
    let prices = ai(&text).prices.clone();
    assert_eq!((prices.table.version.as_str(), prices.table.all().count()), ("ours", 1));
    assert_eq!(prices.table.get(Vendor::Gemini, "m", 0).unwrap().input, 500_000);
    std::fs::write(&file, table.replace("0.5", "a lot")).unwrap();
    let told = error(&text);
    assert!(told.contains("DIR/prices.json: the price of m: `a lot` is not an amount of dollars"), "{told}");
}

#[test]
fn a_route_says_which_models_it_serves_and_what_it_takes_out() {
    let routes = "\
routes:
  - { match: /a/, ai: true }
  - { match: /b/, ai: {} }
  - { match: /c/, limits: l, ai: { models: [m], strip_body_fields: context_management, cut_over_budget: true } }
limits: { l: { key: global, tokens: 1000/1h } }
";
    let text = providers("p: { kind: openai, keys: k }", "models: { m: p }") + routes;
    let config = config(&text);
    let targets = config.routes.iter().map(|route| match &route.target {
        Target::Ai(target) => target.clone(),
        _ => panic!("models were to be asked"),
    });
    let targets: Vec<_> = targets.collect();
    assert_eq!(targets[0], AiTarget::default());
    assert_eq!(targets[1], AiTarget::default());
    let fields = vec!["context_management".to_owned()];
    assert_eq!(
        targets[2],
        AiTarget { models: vec!["m".into()], strip_body_fields: fields, cut_over_budget: true, ..AiTarget::default() }
    );
}

#[test]
fn without_models_or_with_one_for_all_others_a_route_may_name_any() {
    for more in ["", "models: { \"*\": p }"] {
        let text =
            providers("p: { kind: openai, keys: k }", more) + "routes: { match: /a/, ai: { models: [anything] } }\n";
        config(&text);
    }
}

#[test]
fn a_section_that_no_route_uses_is_warned_of() {
    let text = provider("kind: openai, keys: k") + "routes: { respond: 200 }\n";
    assert_eq!(warnings(&text), ["ai: no route uses this: none has `ai`"]);
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let two = "a: { kind: openai, keys: k }\nb: { kind: openai, keys: l }";
    for (models, told) in [
        (
            "m: [{ provider: a, weight: 9 }, b]",
            "ai.models.m[0].weight: there is nothing to share: no neighbour has a weight",
        ),
        (
            "m: [a, { provider: b, weight: 9 }]",
            "ai.models.m[1].weight: there is nothing to share: no neighbour has a weight",
        ),
        ("m: a", "ai.providers.b: no model names this provider, so it is never asked"),
    ] {
        assert_eq!(warnings(&providers(two, &format!("models: {{ {models} }}"))), [told], "{models}");
    }
}

#[test]
fn keys_that_leave_the_house_unencrypted_are_warned_of() {
    let warned = |url: &str| warnings(&provider(&format!("kind: openai, keys: k, base_url: \"{url}\""))).len();
    for url in ["http://api.example.com", "http://203.0.113.9:8000", "http://[2001:db8::1]"] {
        assert_eq!(warned(url), 1, "{url}");
    }
    for url in [
        "https://api.example.com",
        "http://10.0.0.1",
        "http://127.0.0.1:1",
        "http://[::1]",
        "http://gpu1",
        "http://llm.internal",
    ] {
        assert_eq!(warned(url), 0, "{url}");
    }
    assert!(warnings(&provider("kind: openai_compatible, base_url: \"http://api.example.com\"")).is_empty(), "no key");
}

#[test]
fn answers_of_models_may_be_cached() {
    let text = provider("kind: openai, keys: k")
        + "routes: { match: /a/, ai: {}, cache: { use: c, stale_if_error: 5s } }\ncaches: { c: { ttl: 5m, heuristic: false } }\n";
    let rules = config(&text).routes[0].cache.clone().unwrap().rules;
    assert_eq!((rules.ttl, rules.stale_if_error), (Some(Duration::from_secs(300)), Some(Duration::from_secs(5))));
}

#[test]
fn no_secret_of_a_provider_shows() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secrets.json");
    std::fs::write(&file, "[{ name: 'a', clientId: 'c', clientSecret: 'hunter2-flow', tenant: 't' }]").unwrap();
    let list = format!(
        "a: {{ kind: openai, keys: [hunter2-a, {{ secret: \"${{K}}\", name: x }}], headers: {{ x-own: hunter2-literal, authorization: \"${{K}}\" }}, key_header: x-k }}\nb: {{ kind: flow, credentials: {} }}",
        file.display()
    );
    let environment = Environment::of([("K", "hunter2-of-the-environment")]);
    let loaded = parse("f", &providers(&list, ""), &Overrides::default(), &environment).unwrap();
    assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");
    assert_eq!(loaded.config.ai.unwrap().providers[0].keys.len(), 2);
}

#[test]
fn models_that_everyone_may_ask_are_warned_of() {
    let open = |listen: &str, more: &str| {
        let provider = "ai: { providers: { p: { kind: openai, keys: sk-4711 } } }";
        warnings(&format!("listen: {listen}\n{provider}\nroutes: {{ match: /v1/, ai: true{more} }}\n"))
    };
    let told = open("0.0.0.0:80", "");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("everyone who reaches 0.0.0.0:80 may ask models with your keys"), "{told:?}");
    for (listen, more) in [("127.0.0.1:80", ""), ("unix:/run/a.sock", ""), ("0.0.0.0:80", ", allow: [10.0.0.0/8]")] {
        assert_eq!(open(listen, more), [""; 0], "{listen}{more}");
    }
}
