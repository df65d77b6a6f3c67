use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::ai::usage::Advice;
use crate::config::ai::{Prices as Configured, Vendor, snapshot_of};
use crate::config::{Config, Environment, Overrides, parse};

mod bills;

const MODEL: Price = Price {
    input: 2_000_000,
    cached_input: Some(500_000),
    cache_write: Some(2_500_000),
    output: 8_000_000,
    ..Price::FREE
};

/// Providers in the order of their names: Anthropic, Azure, Flow, Gemini, OpenAI; a server without a key, another's service,
/// and a pool of vLLM with a key.
const FILE: &str = r#"
listen: 127.0.0.1:80
pools: { vllm: { members: 10.0.2.10:8000 } }
ai:
  providers:
    a-anthropic: { kind: anthropic, keys: [sk-ant-api03-5c1e8d0a7f2b] }
    b-azure: { kind: azure_openai, base_url: "https://eu.example.com", keys: [0f4c2ad9e1b7c3d5] }
    c-flow: { kind: flow, credentials: "secrets.json" }
    d-gemini: { kind: gemini, keys: [AIza-5c1e8d0a7f2b4936] }
    e-openai: { kind: openai, keys: [sk-proj-7f2b4936a8e1] }
    f-ollama: { kind: openai_compatible, base_url: "http://10.0.3.1:11434" }
    g-router: { kind: openai_compatible, base_url: "https://router.example.com", keys: [sk-or-7f2b4936a8e1] }
    h-gpus: { kind: openai_compatible, pool: vllm, keys: [local-7f2b4936a8e1] }
routes: { match: /v1/, ai: true }
"#;

const ANTHROPIC: usize = 0;
const AZURE: usize = 1;
const FLOW: usize = 2;
const GEMINI: usize = 3;
const OPENAI: usize = 4;
const OLLAMA: usize = 5;
const ROUTER: usize = 6;
const GPUS: usize = 7;

/// The configuration of [`FILE`], whose secrets are in `directory`.
fn configured(directory: &Path) -> Config {
    let secrets = directory.join("secrets.json");
    let client = r#"[{ "name": "one", "clientId": "c1", "clientSecret": "s-7f2b4936a8e1", "tenant": "t" }]"#;
    std::fs::write(&secrets, client).unwrap();
    let text = FILE.replace("secrets.json", secrets.to_str().unwrap());
    parse("sluicegate.yaml", &text, &Overrides::default(), &Environment::of([])).unwrap().config
}

fn prices(models: &[(&str, Price)], unknown: UnknownPrice) -> Prices {
    let mut table = PriceTable::new("2026-11-28".to_owned());
    for (vendor, model, price) in [
        (Vendor::OpenAi, "gpt-4o", MODEL),
        (Vendor::OpenAi, "gpt-4o-2024-05-13", Price { input: 5_000_000, ..MODEL }),
        (Vendor::OpenAi, "gpt-4", Price { input: 30_000_000, ..MODEL }),
        (Vendor::Anthropic, "claude-sonnet-4-5", Price { input: 3_000_000, ..MODEL }),
        (Vendor::Gemini, "gemini-2.5-pro", Price { input: 1_250_000, ..MODEL }),
    ] {
        assert!(table.insert(vendor, model, 0, price));
    }
    let directory = tempfile::tempdir().unwrap();
    let config = configured(directory.path());
    let mut ai = config.ai.as_deref().unwrap().clone();
    ai.prices = Configured {
        file: None,
        table: Arc::new(table),
        models: models.iter().map(|(model, price)| ((*model).into(), *price)).collect(),
        unknown,
    };
    let pools: Vec<&str> = config.pools.iter().map(|pool| &*pool.name).collect();
    Prices::new(&ai, &pools, &Arc::default())
}

/// What a million tokens of input cost there.
fn input(prices: &Prices, provider: usize, model: &str) -> Option<u64> {
    prices.cost(provider, model, "what the client asked for", &Usage { input: 1_000_000, ..Usage::default() })
}

#[test]
fn a_name_and_its_snapshots_have_a_price_and_its_neighbours_have_none() {
    let prices = prices(&[], UnknownPrice::Block);
    for (model, price) in [
        ("gpt-4o", Some(2_000_000)),
        ("gpt-4o-2024-08-06", Some(2_000_000)),
        ("gpt-4o-2024-05-13", Some(5_000_000)),
        ("gpt-4o-latest", Some(2_000_000)),
        ("gpt-4o-mini", None),
        ("gpt-4o-mini-2024-07-18", None),
        ("gpt-4o-2024-08", None),
        ("gpt-4o-24-08-06", None),
        ("gpt-4o-audio-preview", None),
        ("gpt-4o2024-08-06", None),
        ("gpt-4", Some(30_000_000)),
        ("gpt-4-1106-preview", None),
        ("gpt-4.1", None),
        ("gpt-4-32k", None),
        ("GPT-4o", None),
        ("gpt-4o-", None),
        ("gpt", None),
        ("-latest", None),
        ("", None),
        ("-", None),
        ("gpt-4o@20240806", Some(2_000_000)),
        ("gpt-4o-2024-08-06-latest", None),
        ("gpt-4o-é1", None),
    ] {
        assert_eq!(input(&prices, OPENAI, model), price, "{model}");
        assert_eq!(input(&prices, AZURE, model), price, "of Azure too: {model}");
    }
    assert_eq!(input(&prices, ANTHROPIC, "claude-sonnet-4-5-20250929"), Some(3_000_000));
    assert_eq!(input(&prices, ANTHROPIC, "claude-sonnet-4"), None);
    assert_eq!(input(&prices, ANTHROPIC, "gpt-4o"), None, "of another vendor");
    assert_eq!(input(&prices, GEMINI, "models/gemini-2.5-pro-001"), Some(1_250_000));
    assert_eq!(input(&prices, GEMINI, "gemini-2.5-pro-preview-06-05"), None);
    assert_eq!(prices.table().0, "2026-11-28");
}

#[test]
fn servers_of_ones_own_cost_nothing_unless_they_are_priced_and_those_of_others_are_not_known() {
    let none = prices(&[], UnknownPrice::Block);
    assert_eq!(input(&none, GPUS, "llama-3"), Some(0), "a pool of ours");
    assert_eq!(input(&none, ROUTER, "llama-3"), None, "somebody's service");
    assert_eq!(input(&none, OLLAMA, "llama-3"), Some(0), "it asks for no key");
    assert_eq!(input(&none, FLOW, "gpt-4o"), None, "what Flow takes is not known");
    assert_eq!(input(&none, 99, "gpt-4o"), None);
    let own = prices(&[("llama-3", MODEL), ("gpt-4o", Price { input: 7, ..MODEL })], UnknownPrice::Block);
    for provider in [FLOW, OLLAMA, ROUTER, GPUS] {
        assert_eq!(input(&own, provider, "llama-3"), Some(2_000_000));
        assert_eq!(input(&own, provider, "gpt-4o"), Some(7));
    }
    assert_eq!(input(&own, OPENAI, "gpt-4o-2024-08-06"), Some(7), "over the table, for its snapshots too");
    assert_eq!(input(&own, OPENAI, "gpt-4o-2024-05-13"), Some(5_000_000), "but for one that has a price of its own");
}

#[test]
fn a_price_may_be_that_of_one_provider() {
    let price = |input| Price { input, ..MODEL };
    let own = prices(
        &[
            ("e-openai/gpt-4o", price(7)),
            ("gpt-4o", price(8)),
            ("g-router/org/llama-3", price(9)),
            ("h-gpus/house-model", price(10)),
        ],
        UnknownPrice::Block,
    );
    assert_eq!(input(&own, OPENAI, "gpt-4o"), Some(7));
    assert_eq!(input(&own, OPENAI, "gpt-4o-2024-08-06"), Some(7), "its snapshots too");
    assert_eq!(input(&own, OPENAI, "gpt-4o-2024-05-13"), Some(5_000_000), "but for one that has a price of its own");
    assert_eq!(input(&own, AZURE, "gpt-4o"), Some(8), "of another provider");
    assert_eq!(input(&own, ROUTER, "org/llama-3"), Some(9));
    assert_eq!(input(&own, GPUS, "org/llama-3"), Some(0));
    assert_eq!(
        input(&own, ROUTER, "e-openai/gpt-4o"),
        Some(7),
        "a whole name, as one has it that sells what others make"
    );
    let one = Usage { input: 1_000_000, ..Usage::default() };
    assert_eq!(own.cost(GPUS, "llama-3", "house-model", &one), Some(0), "the provider has no such model");
}

#[test]
fn a_price_is_found_by_the_clients_name_too_where_the_configuration_has_it() {
    let own = prices(&[("house-model", Price { input: 7, ..MODEL })], UnknownPrice::Block);
    let one = Usage { input: 1_000_000, ..Usage::default() };
    assert_eq!(own.cost(ROUTER, "vendor/some-model", "house-model", &one), Some(7));
    assert_eq!(own.cost(ROUTER, "vendor/some-model", "house-model-2026-01-01", &one), Some(7));
    assert_eq!(own.cost(OPENAI, "gpt-4o", "house-model", &one), Some(2_000_000), "the provider's name says more");
    assert_eq!(own.cost(ROUTER, "vendor/some-model", "gpt-4o", &one), None, "the table is of vendors' names");
}

#[test]
fn a_model_without_a_price_is_what_the_configuration_says_of_it() {
    let usage = Usage { input: 9, output: 1, ..Usage::default() };
    let estimate = |unknown, model| prices(&[], unknown).estimate(OPENAI, model, model, &usage);
    assert_eq!(estimate(UnknownPrice::Block, "new"), None);
    assert_eq!(estimate(UnknownPrice::Block, "gpt-4o"), Some(31), "as if all of it was written to the cache");
    assert_eq!(estimate(UnknownPrice::Zero, "new"), Some(0));
    assert_eq!(estimate(UnknownPrice::Default(MODEL), "new"), Some(31));
    let one = Usage { input: 1_000_000, ..Usage::default() };
    let cost = |unknown| prices(&[], unknown).cost(OPENAI, "new", "new", &one);
    assert_eq!(cost(UnknownPrice::Block), None);
    assert_eq!(cost(UnknownPrice::Zero), Some(0));
    assert_eq!(cost(UnknownPrice::Default(MODEL)), Some(2_000_000));
}

#[test]
fn many_models_that_clients_make_up_leave_a_bounded_trace() {
    let free = prices(&[], UnknownPrice::Zero);
    let usage = Usage { input: 9, output: 1, ..Usage::default() };
    for n in 0..2_000 {
        let model = format!("made-up-{n}");
        assert_eq!(free.estimate(OPENAI, &model, &model, &usage), Some(0));
    }
    assert_eq!(free.warned.lock().unwrap().len(), MAX_WARNED);
}

#[test]
fn a_request_costs_the_sum_of_its_parts_rounded_up_once() {
    let usage =
        Usage { input: 1_000, cache_read: 600, cache_write: 100, output: 50, reasoning: 20, ..Usage::default() };
    // 300 x 2.00 + 600 x 0.50 + 100 x 2.50 + 50 x 8.00, in millionths.
    assert_eq!(cost(&MODEL, &usage), 600 + 300 + 250 + 400);
    let one = Usage { input: 1, ..Usage::default() };
    assert_eq!(cost(&Price { input: 1, ..MODEL }, &one), 1, "never nothing");
    assert_eq!(cost(&MODEL, &Usage::default()), 0);
    let thinking = Price { reasoning: Some(1_000_000), ..MODEL };
    assert_eq!(cost(&thinking, &usage), 600 + 300 + 250 + 240 + 20);
}

#[test]
fn a_long_prompt_costs_more_for_the_whole_request() {
    let long = LongContext { above: 200_000, input: 4_000_000, output: 12_000_000, ..LongContext::default() };
    let price = Price { long_context: Some(long), ..MODEL };
    let usage = |input| Usage { input, cache_read: 1_000, output: 1_000, ..Usage::default() };
    assert_eq!(cost(&price, &usage(200_000)), 398_000 + 500 + 8_000);
    assert_eq!(cost(&price, &usage(200_001)), 4 * 199_001 + 4_000 + 12_000);
}

#[test]
fn what_another_model_advised_costs_what_that_one_does() {
    let adviser = Price { input: 15_000_000, output: 75_000_000, ..Price::FREE };
    let by = |model: &str| {
        let mut usage = Usage { input: 1_100, output: 110, ..Usage::default() };
        usage.advised(Advice { model: model.into(), input: 1_000, output: 100, ..Advice::default() }).unwrap();
        usage
    };
    let own = [("gpt-4o", MODEL), ("opus", adviser)];
    let cost = |unknown, usage: &Usage| prices(&own, unknown).cost(OPENAI, "gpt-4o", "gpt-4o", usage);
    let itself = 100 * 2 + 10 * 8;
    assert_eq!(cost(UnknownPrice::Block, &by("opus")), Some(itself + 15_000 + 7_500));
    // Nobody knows what it costs: the dearer of what the configuration says of such and what the model itself costs.
    let (cheap, dear) = (Price { input: 1_000_000, ..Price::FREE }, Price { input: 90_000_000, ..Price::FREE });
    assert_eq!(cost(UnknownPrice::Block, &by("other")), Some(itself + 2_000 + 800));
    assert_eq!(cost(UnknownPrice::Default(cheap), &by("other")), Some(itself + 2_000 + 800));
    assert_eq!(cost(UnknownPrice::Default(dear), &by("other")), Some(itself + 90_000));
}

#[test]
fn what_is_held_for_an_hour_and_sound_and_pictures_have_prices_of_their_own() {
    let price = Price {
        cache_write_1h: Some(4_000_000),
        audio_input: Some(32_000_000),
        audio_output: Some(64_000_000),
        image_input: Some(10_000_000),
        image_output: Some(40_000_000),
        ..MODEL
    };
    let usage = Usage {
        input: 1_000,
        cache_read: 100,
        cache_write: 300,
        cache_write_1h: 200,
        audio_input: 50,
        image_input: 30,
        output: 500,
        reasoning: 100,
        audio_output: 20,
        image_output: 10,
        tier: None,
        ..Usage::default()
    };
    // Input: 520 x 2.00 + 100 x 0.50 + 100 x 2.50 + 200 x 4.00 + 50 x 32.00 + 30 x 10.00.
    // Output: 370 x 8.00 + 100 x 8.00 + 20 x 64.00 + 10 x 40.00. In millionths.
    let input = 1_040 + 50 + 250 + 800 + 1_600 + 300;
    assert_eq!(cost(&price, &usage), input + 2_960 + 800 + 1_280 + 400);
    // Without such prices all of it is input or output: 620 x 2.00 + 50 + 300 x 2.50 + 500 x 8.00, of which the first are
    // 520 + 50 + 30 = 600.
    assert_eq!(cost(&MODEL, &usage), 1_200 + 50 + 750 + 4_000);
}

#[test]
fn a_tier_of_service_costs_its_times_the_price_and_one_without_a_factor_costs_the_usual() {
    let tiers =
        Tiers { flex: Some(500_000), flex_cached_input: Some(1_000_000), priority: Some(1_666_667), ultrafast: None };
    let price = Price { tiers, ..MODEL };
    let usage = |tier| Usage { input: 1_000, cache_read: 600, output: 100, tier, ..Usage::default() };
    // 400 x 2.00 + 600 x 0.50 + 100 x 8.00.
    for usual in [None, Some(ServiceTier::Standard), Some(ServiceTier::Ultrafast)] {
        assert_eq!(cost(&price, &usage(usual)), 800 + 300 + 800, "{usual:?}");
    }
    assert_eq!(cost(&price, &usage(Some(ServiceTier::Flex))), 400 + 300 + 400, "its cache is no cheaper");
    // 1900 x 1.666667 = 3166.6673, rounded up.
    assert_eq!(cost(&price, &usage(Some(ServiceTier::Priority))), 3_167);
    let long = LongContext { above: 999, input: 4_000_000, output: 12_000_000, ..LongContext::default() };
    let price = Price { long_context: Some(long), ..price };
    // 400 x 4.00 x 0.5 + 600 x 4.00 + 100 x 12.00 x 0.5: the cache has no price of its own there, and no factor.
    assert_eq!(cost(&price, &usage(Some(ServiceTier::Flex))), 800 + 2_400 + 600);
}

#[test]
fn a_price_that_changes_holds_from_its_day_on() {
    let mut table = PriceTable::new("v".to_owned());
    assert!(table.insert(Vendor::Gemini, "m", 2_000, Price { input: 2, ..Price::FREE }));
    assert!(table.insert(Vendor::Gemini, "m", 0, Price { input: 1, ..Price::FREE }));
    assert!(table.insert(Vendor::Gemini, "m", 3_000, Price { input: 3, ..Price::FREE }));
    assert!(!table.insert(Vendor::Gemini, "m", 2_000, Price::FREE), "it has one from then on");
    for (now, input) in [(0, 1), (1_999, 1), (2_000, 2), (2_999, 2), (3_000, 3), (u64::MAX, 3)] {
        assert_eq!(table.get(Vendor::Gemini, "m", now).unwrap().input, input, "{now}");
    }
    let mut later = PriceTable::new("v".to_owned());
    assert!(later.insert(Vendor::Gemini, "m", 5, Price::FREE));
    assert_eq!(later.get(Vendor::Gemini, "m", 4), None);
    assert_eq!(table.all().count(), 3);
}

proptest! {
    #[test]
    fn nothing_overflows_and_no_request_costs_more_than_its_most(
        price in proptest::array::uniform10(0..1_000_000_000_000_u64), factors in proptest::array::uniform2(1..9_000_000_u64),
        input: u32, output: u32, parts in proptest::array::uniform7(0..=100_u64), flex: bool,
    ) {
        let [plain, cached, write, hour, spoken, reasoning, heard, sung, seen, drawn] = price;
        let price = Price {
            input: plain,
            cached_input: Some(cached),
            cache_write: Some(write),
            cache_write_1h: Some(hour),
            output: spoken,
            reasoning: Some(reasoning),
            audio_input: Some(heard),
            audio_output: Some(sung),
            image_input: Some(seen),
            image_output: Some(drawn),
            long_context: None,
            tiers: Tiers { flex: Some(factors[0]), flex_cached_input: Some(factors[1]), ..Tiers::default() },
        };
        let (input, output) = (u64::from(input), u64::from(output));
        let part = |whole: u64, at: usize| whole * parts[at] / 100;
        let usage = Usage {
                input,
            cache_read: part(input, 0),
            cache_write: part(input, 1),
            cache_write_1h: part(input, 2),
            audio_input: part(input, 3),
            image_input: part(input, 4),
            output,
            reasoning: part(output, 5),
            audio_output: part(output, 6),
            image_output: part(output, 0),
            tier: flex.then_some(ServiceTier::Flex),
            ..Usage::default()
        };
        let usage = usage.bounded();
        prop_assert!(cost(&price, &usage) <= most(&price, &usage));
        let all = Usage {
                input: u64::MAX,
            cache_read: u64::MAX,
            cache_write: u64::MAX,
            cache_write_1h: u64::MAX,
            audio_input: u64::MAX,
            image_input: u64::MAX,
            output: u64::MAX,
            reasoning: u64::MAX,
            audio_output: u64::MAX,
            image_output: u64::MAX,
            tier: usage.tier,
            ..Usage::default()
        };
        let huge = Price { input: u64::MAX, output: u64::MAX, ..Price::FREE };
        prop_assert_eq!(cost(&huge, &all), u64::MAX);
    }

    #[test]
    fn any_name_is_looked_up(name in ".{0,40}") {
        let _ = snapshot_of(&name);
    }
}
