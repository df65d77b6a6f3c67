use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::*;

/// 2026-11-28.
const TODAY: u64 = 1_795_824_000_000;

fn with(models: &str) -> String {
    let head = r#""format": 1, "version": "v", "date": "2026-11-28", "unit": "dollars", "sources": []"#;
    format!("{{ {head}, \"models\": [{models}] }}")
}

/// The entries of the program's table, as they stand in it.
fn entries() -> Vec<Value> {
    let file: Value = serde_json::from_str(SHIPPED).unwrap();
    file["models"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_prices_of_the_program_make_sense() {
    let table = shipped().unwrap();
    assert!(table.all().count() > 100);
    for (vendor, model, price) in table.all() {
        let fits = |price: u64| price <= 200_000_000;
        assert!(fits(price.input) && fits(price.output), "{vendor:?} {model}");
        assert!(price.output == 0 || price.output > price.input, "{model}: output costs more than input");
        assert!(price.cached_input.is_none_or(|cached| cached < price.input), "{model}: a cache is cheaper");
        let write = price.cache_write;
        assert!(write.is_none_or(|write| write > price.input), "{model}: writing it is dearer");
        assert!(price.cache_write_1h.is_none_or(|hour| Some(hour) > write), "{model}: for an hour still more");
        assert!(price.audio_input.is_none_or(|heard| heard > price.input), "{model}: sound is dearer");
        assert!(price.audio_output.is_none_or(|sung| sung > price.output), "{model}");
        assert!(price.image_input.is_none_or(|seen| seen > price.input), "{model}: pictures are dearer");
        assert!(price.image_output.is_none_or(|drawn| drawn > price.output), "{model}");
        let Tiers { flex, flex_cached_input, priority, ultrafast } = price.tiers;
        assert!(flex.is_none_or(|times| times < 1_000_000), "{model}: flex is cheaper");
        assert!(flex_cached_input.is_none_or(|times| Some(times) > flex && times <= 1_000_000), "{model}");
        assert!(priority.is_none_or(|times| times > 1_000_000), "{model}: priority is dearer");
        assert!(ultrafast.is_none_or(|times| Some(times) > priority), "{model}");
        if let Some(long) = price.long_context {
            assert!(long.above >= 100_000 && long.input > price.input && long.output > price.output, "{model}");
            assert!(long.cached_input >= price.cached_input && long.cache_write >= price.cache_write, "{model}");
            assert_eq!(long.cached_input.is_some(), price.cached_input.is_some(), "{model}");
            assert_eq!(long.cache_write.is_some(), price.cache_write.is_some(), "{model}");
            assert_eq!(long.cache_write_1h.is_some(), price.cache_write_1h.is_some(), "{model}");
            assert!(long.cached_input.is_none_or(|cached| cached < long.input), "{model}");
        }
        if vendor == Vendor::Anthropic {
            assert_eq!(price.cache_write, Some(price.input * 5 / 4), "{model}: five minutes");
            assert_eq!(price.cache_write_1h, Some(price.input * 2), "{model}: an hour");
        }
    }
}

#[test]
fn nothing_is_free_that_is_not_declared_so() {
    for entry in entries() {
        let free = texts(&entry["free"]);
        for (key, value) in entry.as_object().unwrap() {
            let zero = value.as_str().is_some_and(|text| dollars(text) == Ok(0));
            assert_eq!(zero, free.contains(&key.as_str()), "{}: {key}", entry["model"]);
        }
        assert!(free.iter().all(|key| entry.get(*key).is_some()), "{}", entry["model"]);
    }
}

#[test]
fn every_price_was_checked_against_two_sources_that_are_named() {
    let file: Value = serde_json::from_str(SHIPPED).unwrap();
    let sources: Vec<&str> = texts(&file["sources"]).iter().map(|line| line.split_once(": ").unwrap().0).collect();
    let mut used = HashSet::new();
    for entry in entries() {
        let checked: HashSet<String> = texts(&entry["checked"]).iter().map(|id| (*id).to_owned()).collect();
        assert!(checked.len() >= 2, "{}: {checked:?}", entry["model"]);
        assert!(checked.iter().all(|id| sources.contains(&id.as_str())), "{}: {checked:?}", entry["model"]);
        used.extend(checked);
    }
    assert_eq!(used.len(), sources.len(), "no source stands there for nothing, or twice");
    assert_eq!(file["version"], file["date"]);
    assert!(beginning(file["date"].as_str().unwrap()).is_ok());
}

#[test]
fn no_name_means_two_models() {
    // A name that reads as the snapshot of another one is found under its own price: it may differ, but not by chance.
    let mut seen: HashMap<(String, String, String), String> = HashMap::new();
    for entry in entries() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        for name in [text("model").as_str()].into_iter().chain(texts(&entry["aliases"])) {
            let key = (text("vendor"), name.to_owned(), text("from"));
            if let Some(other) = seen.insert(key, text("model")) {
                panic!("{name} is in the prices of {other} and of {}", text("model"));
            }
            assert!(!name.contains(['/', ' ']) && name == name.to_ascii_lowercase(), "{name}");
        }
    }
    let table = shipped().unwrap();
    let dated: Vec<Value> = entries().into_iter().filter(|entry| entry.get("from").is_some()).collect();
    assert_eq!(dated.len(), 5);
    for entry in dated {
        let model = entry["model"].as_str().unwrap();
        assert!(table.get(Vendor::Gemini, model, TODAY).is_some(), "{model} has a price before it changes");
    }
}

#[test]
fn prices_are_exact() {
    let table = shipped().unwrap();
    let luna = table.get(Vendor::OpenAi, "gpt-6-luna", TODAY).unwrap();
    assert_eq!((luna.input, luna.cached_input, luna.cache_write), (100_000, Some(10_000), Some(125_000)));
    assert_eq!(luna.long_context.unwrap().above, 272_000);
    assert_eq!(luna.tiers, Tiers { flex: Some(500_000), priority: Some(2_000_000), ..Tiers::default() });
    assert_eq!(table.get(Vendor::Anthropic, "gpt-6-luna", TODAY), None);
    let mythos = table.get(Vendor::Anthropic, "claude-mythos-5-2", TODAY);
    assert_eq!(mythos, table.get(Vendor::Anthropic, "claude-fable-5-2", TODAY), "another name for it");
    assert!(mythos.is_some());
}

#[test]
fn a_price_of_the_program_changes_on_its_day() {
    let table = shipped().unwrap();
    // The last millisecond of 2026-11-30, and the first of December.
    let change = beginning("2026-12-01").unwrap();
    for (now, input, output) in [(change - 1, 2_000_000, 10_000_000), (change, 4_000_000, 20_000_000)] {
        let argon = table.get(Vendor::Gemini, "gemini-4-argon", now).unwrap();
        assert_eq!((argon.input, argon.output), (input, output));
    }
    assert_eq!(beginning("1970-01-01"), Ok(0));
    assert_eq!(beginning("2026-11-28"), Ok(TODAY));
}

#[test]
fn what_is_wrong_with_a_table_is_told() {
    let entry = r#"{ "vendor": "openai", "model": "m", "input": "1", "output": "2" }"#;
    assert!(parse(&with(entry)).is_ok());
    let also = |more: &str| with(&entry.replace("\"input\"", &format!("{more}, \"input\"")));
    for (text, told) in [
        ("{}".to_owned(), "missing field `format`"),
        (with(entry).replace("\"format\": 1", "\"format\": 2"), "only 1 is read"),
        (with(&format!("{entry}, {entry}")), "the price of m stands there twice"),
        (also(r#""aliases": ["n", "m"]"#), "the price of m stands there twice"),
        (also(r#""from": "2026-13-01""#), "the price of m: `2026-13-01` is no day such as 2027-01-01"),
        (also(r#""from": "1969-12-31""#), "the price of m: `1969-12-31` is no day"),
        (also(r#""tiers": { "flex": "-1" }"#), "the price of m: `-1` is not a factor"),
        (also(r#""tiers": { "flex": "0" }"#), "the price of m: `0` is out of range"),
        (also(r#""tiers": { "batch": "0.5" }"#), "unknown field `batch`"),
        (with(&entry.replace("\"1\"", "\"1.0000001\"")), "the price of m: `1.0000001` is not an amount of dollars"),
        (with(&entry.replace("\"1\"", "1.5")), "expected a string"),
        (with(&entry.replace("input", "inptu")), "unknown field `inptu`"),
        (with(&entry.replace("openai", "initech")), "unknown variant `initech`"),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}
